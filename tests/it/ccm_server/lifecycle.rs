//! Private CAs from elsewhere, and their end (CCM API 4.2.1.3, 4.2.1.5, 4.2.1.7, 4.2.1.11 to 4.2.1.13).

use std::sync::Arc;

use renewd::model::Seconds;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, SqliteConnection};
use tokio::task::JoinSet;

use super::authorities::{CAS, create, root, show, subordinate};
use super::http::{Reply, delete, get, post, post_nothing};
use super::openssl::{self, EC, csr, said};
use crate::support::ccm::{Ccm, Wanted};

const CERTIFICATES: &str = "/v1/private-certificates";

pub(super) fn pending(common_name: &str) -> Value {
    let mut body = subordinate(common_name, "EC256", "SHA256", "");
    body.as_object_mut().unwrap().remove("issuer_id");
    body
}

async fn issue(ccm: &Ccm, ca: &str) -> Reply {
    post(ccm, &format!("{CERTIFICATES}/csr"), &order(ca)).await
}

fn order(ca: &str) -> Value {
    let names = [
        "-subj",
        "/CN=www.example.com",
        "-addext",
        "subjectAltName=DNS:www.example.com",
    ];
    json!({"issuer_id": ca, "csr": csr(EC, &names), "validity": {"type": "MONTH", "value": 3}})
}

/// A company's own root on disk, which certifies the CSRs of others.
pub(super) struct Company(tempfile::TempDir);

impl Company {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let make = [
            "req",
            "-x509",
            "-days",
            "900",
            "-nodes",
            "-keyout",
            "root.key",
            "-out",
            "root.pem",
            "-subj",
            "/CN=Company Root",
            "-addext",
            "keyUsage=critical,keyCertSign,cRLSign",
        ];
        said(directory.path(), &[&make, EC].concat());
        Self(directory)
    }
    pub(super) fn root(&self) -> String {
        std::fs::read_to_string(self.0.path().join("root.pem")).unwrap()
    }
    /// Certifies with these extensions, whatever the request asks for.
    pub(super) fn certify_with(&self, request: &str, extensions: &str) -> String {
        std::fs::write(self.0.path().join("ca.csr"), request).unwrap();
        std::fs::write(self.0.path().join("ca.cnf"), extensions).unwrap();
        let sign = [
            "x509", "-req", "-in", "ca.csr", "-CA", "root.pem", "-CAkey", "root.key", "-days",
            "30", "-extfile", "ca.cnf",
        ];
        said(self.0.path(), &sign)
    }
    /// Certifies as the request asks, for so many days.
    pub(super) fn certify(&self, request: &str, days: &str) -> String {
        std::fs::write(self.0.path().join("ca.csr"), request).unwrap();
        let sign = [
            "x509",
            "-req",
            "-in",
            "ca.csr",
            "-CA",
            "root.pem",
            "-CAkey",
            "root.key",
            "-days",
            days,
            "-copy_extensions",
            "copyall",
            "-set_serial",
            "0x7e57",
        ];
        said(self.0.path(), &sign)
    }
}

#[tokio::test]
async fn a_ca_that_the_company_s_own_root_certified_issues_what_openssl_accepts() {
    let ccm = Ccm::start().await;
    let company = Company::new();
    let id = create(&ccm, &pending("Subordinate of the Company")).await;
    let at = format!("{CAS}/{id}");
    let request = get(&ccm, &format!("{at}/csr"))
        .await
        .expect(200)
        .text("csr");
    assert!(request.starts_with("-----BEGIN CERTIFICATE REQUEST-----\r\n"));
    let certificate = company.certify(&request, "800");
    let whole = json!({"certificate": certificate, "certificate_chain": company.root()});
    post(&ccm, &format!("{at}/import"), &whole)
        .await
        .expect(204);

    let shown = show(&ccm, &id).await;
    assert_eq!(shown["status"], "ACTIVED");
    assert_eq!(shown["gen_mode"], "IMPORT");
    assert_eq!(shown["issuer_name"], "Company Root");
    assert_eq!(shown["issuer_id"], Value::Null);
    assert_eq!(
        shown["distinguished_name"]["common_name"],
        "Subordinate of the Company"
    );
    // It issues, also by a CA below it, and the chain goes up to the company.
    let mut below = subordinate("Below", "EC256", "SHA256", &id);
    below["path_length"] = json!(0);
    let below = create(&ccm, &below).await;
    for ca in [&id, &below] {
        let made = issue(&ccm, ca).await.expect(200).text("certificate_id");
        let plain = json!({"type": "NGINX", "is_compressed": "false"});
        let export = format!("{CERTIFICATES}/{made}/export");
        let exported = post(&ccm, &export, &plain).await.expect(200);
        let chain = exported.text("certificate_chain");
        assert!(
            chain.replace("\r\n", "\n").ends_with(&company.root()),
            "{chain}"
        );
        openssl::verify(
            &company.root(),
            &chain,
            &exported.text("certificate"),
            "www.example.com",
        );
    }
    // Twice is once too often, and its issuer is not here to revoke it.
    post(&ccm, &format!("{at}/import"), &whole)
        .await
        .refused(403, "PCA.00030201");
    get(&ccm, &format!("{at}/csr"))
        .await
        .refused(403, "PCA.00030201");
    post(&ccm, &format!("{at}/revoke"), &json!({}))
        .await
        .refused(403, "PCA.00030201");
}

#[tokio::test]
async fn what_is_no_certificate_for_the_csr_is_refused_and_the_ca_waits_on() {
    let ccm = Ccm::start().await;
    let company = Company::new();
    let id = create(&ccm, &pending("Low")).await;
    let request = get(&ccm, &format!("{CAS}/{id}/csr"))
        .await
        .expect(200)
        .text("csr");
    let right = company.certify(&request, "30");
    let other = company.certify(
        &csr(
            EC,
            &[
                "-subj",
                "/CN=Other",
                "-addext",
                "basicConstraints=critical,CA:TRUE",
            ],
        ),
        "30",
    );
    let leaf = {
        std::fs::write(company.0.path().join("ca.csr"), &request).unwrap();
        said(
            company.0.path(),
            &[
                "x509", "-req", "-in", "ca.csr", "-CA", "root.pem", "-CAkey", "root.key",
            ],
        )
    };
    let stranger = Company::new();
    let import = format!("{CAS}/{id}/import");
    for (body, status, code) in [
        (json!({"certificate": "x"}), 400, "PCA.00020402"),
        (json!({}), 400, "PCA.00020402"),
        (
            json!({"certificate": format!("{right}{other}")}),
            400,
            "PCA.00020402",
        ),
        (json!({"certificate": leaf}), 400, "PCA.00020402"),
        (json!({"certificate": other}), 403, "PCA.00030301"),
        (
            json!({"certificate": right, "certificate_chain": stranger.root()}),
            400,
            "PCA.00020403",
        ),
        (
            json!({"certificate": right, "certificate_chain": "x"}),
            400,
            "PCA.00020403",
        ),
    ] {
        post(&ccm, &import, &body).await.refused(status, code);
        assert_eq!(show(&ccm, &id).await["status"], "PENDING");
    }
    // Without a chain it works, though it is not recommended; as large as the reference allows, too.
    let long = format!("{}{}", company.root(), " ".repeat(2_000_000));
    post(
        &ccm,
        &import,
        &json!({"certificate": right, "certificate_chain": long}),
    )
    .await
    .expect(204);
    assert_eq!(show(&ccm, &id).await["status"], "ACTIVED");
}

#[tokio::test]
async fn a_scheduled_deletion_is_taken_back_in_time_and_erases_the_key_after_it() {
    let ccm = Wanted::new().at("2027-01-01").start().await;
    let top = create(&ccm, &root("Top", "EC256", "SHA256")).await;
    let low = create(&ccm, &subordinate("Low", "EC256", "SHA256", &top)).await;
    let made = issue(&ccm, &low).await.expect(200).text("certificate_id");
    let at = format!("{CAS}/{low}");
    let used = async || {
        let quotas = get(&ccm, &format!("{CAS}/quotas")).await.expect(200).body;
        let resource = quotas["quotas"]["resources"][0].clone();
        assert_eq!(resource["type"], "CERTIFICATE_AUTHORITY");
        assert_eq!(resource["quota"], 100);
        resource["used"].as_i64().unwrap()
    };
    let before = used().await;

    // Only what is off can be deleted, and days must be given.
    delete(&ccm, &format!("{at}?pending_days=7"))
        .await
        .refused(403, "PCA.00030201");
    post_nothing(&ccm, &format!("{at}/disable"))
        .await
        .expect(204);
    for wrong in ["", "?pending_days=6", "?pending_days=31", "?pending_days=x"] {
        delete(&ccm, &format!("{at}{wrong}"))
            .await
            .refused(400, "PCA.00020001");
    }
    post_nothing(&ccm, &format!("{at}/restore"))
        .await
        .refused(403, "PCA.00030201");
    delete(&ccm, &format!("{at}?pending_days=7"))
        .await
        .expect(204);
    let shown = show(&ccm, &low).await;
    assert_eq!(shown["status"], "DELETED");
    let due = ccm.now() + Seconds::days(7);
    assert_eq!(shown["delete_time"], json!(due.0 * 1000));
    let listed = get(&ccm, &format!("{CAS}?status=DELETED"))
        .await
        .expect(200)
        .body;
    assert_eq!(listed["total"], 1);
    issue(&ccm, &low).await.refused(403, "PCA.00030201");
    post_nothing(&ccm, &format!("{at}/enable"))
        .await
        .refused(403, "PCA.00030201");

    ccm.advance(Seconds::days(6));
    post_nothing(&ccm, &format!("{at}/restore"))
        .await
        .expect(204);
    let shown = show(&ccm, &low).await;
    assert_eq!(
        (&shown["status"], &shown["delete_time"]),
        (&json!("DISABLED"), &Value::Null)
    );
    post_nothing(&ccm, &format!("{at}/enable"))
        .await
        .expect(204);
    issue(&ccm, &low).await.expect(200);

    // The second time nobody takes it back.
    post_nothing(&ccm, &format!("{at}/disable"))
        .await
        .expect(204);
    delete(&ccm, &format!("{at}?pending_days=30"))
        .await
        .expect(204);
    assert_eq!(used().await, before);
    ccm.advance(Seconds::days(30));
    for (reply, what) in [
        (get(&ccm, &at).await, "details"),
        (
            post_nothing(&ccm, &format!("{at}/restore")).await,
            "restore",
        ),
        (post_nothing(&ccm, &format!("{at}/export")).await, "export"),
    ] {
        reply.refused(404, "PCA.00030102");
        assert!(!what.is_empty());
    }
    assert_eq!(used().await, before - 1);
    // What it issued can still be had, with its chain.
    let plain = json!({"type": "OTHER", "is_compressed": "false"});
    let export = format!("{CERTIFICATES}/{made}/export");
    let chain = post(&ccm, &export, &plain)
        .await
        .expect(200)
        .text("certificate_chain");
    assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 2);
    // One that was never activated goes at once.
    let unborn = create(&ccm, &pending("Unborn")).await;
    delete(&ccm, &format!("{CAS}/{unborn}?pending_days=7"))
        .await
        .expect(204);
    get(&ccm, &format!("{CAS}/{unborn}"))
        .await
        .refused(404, "PCA.00030102");
}

#[tokio::test]
async fn a_revoked_ca_issues_no_more_and_is_not_switched_on_again() {
    let ccm = Ccm::start().await;
    let top = create(&ccm, &root("Top", "EC256", "SHA256")).await;
    let low = create(&ccm, &subordinate("Low", "EC256", "SHA256", &top)).await;
    let revoke = format!("{CAS}/{low}/revoke");
    post_nothing(&ccm, &revoke)
        .await
        .refused(400, "PCA.00020001");
    post(&ccm, &revoke, &json!({"reason": "BOREDOM"}))
        .await
        .refused(400, "PCA.00020001");
    post(&ccm, &revoke, &json!({"reason": "KEY_COMPROMISE"}))
        .await
        .expect(204);
    assert_eq!(show(&ccm, &low).await["status"], "DISABLED");
    issue(&ccm, &low).await.refused(403, "PCA.00030201");
    post_nothing(&ccm, &format!("{CAS}/{low}/enable"))
        .await
        .refused(403, "PCA.00030201");
    post(&ccm, &revoke, &json!({}))
        .await
        .refused(403, "PCA.00030201");
    post(&ccm, &format!("{CAS}/{top}/revoke"), &json!({}))
        .await
        .refused(403, "PCA.00030201");
}

#[tokio::test]
async fn quotas_are_counted_and_kept() {
    let ccm = Ccm::start().await;
    let used = async || {
        let quotas = get(&ccm, &format!("{CERTIFICATES}/quotas"))
            .await
            .expect(200)
            .body;
        let resource = quotas["quotas"]["resources"][0].clone();
        assert_eq!(resource["type"], "CERTIFICATE");
        assert_eq!(resource["quota"], 100_000);
        resource["used"].as_i64().unwrap()
    };
    assert_eq!(used().await, 0);
    let made = issue(&ccm, ccm.issuing())
        .await
        .expect(200)
        .text("certificate_id");
    issue(&ccm, ccm.issuing()).await.expect(200);
    assert_eq!(used().await, 2);
    delete(&ccm, &format!("{CERTIFICATES}/{made}"))
        .await
        .expect(204);
    assert_eq!(used().await, 1);

    // Two are there from the start.
    for number in 3..=100 {
        create(&ccm, &pending(&format!("CA {number}"))).await;
    }
    post(&ccm, CAS, &pending("One too many"))
        .await
        .refused(403, "PCA.00030001");
}

/// A server that has issued a certificate, and its state as another process opens it.
async fn opened() -> (tempfile::TempDir, Ccm, SqliteConnection) {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("ccm");
    let ccm = Wanted::new().state(&state).start().await;
    issue(&ccm, ccm.issuing()).await.expect(200);
    let options = SqliteConnectOptions::new().filename(state.join("ccm.db"));
    let beside = SqliteConnection::connect_with(&options).await.unwrap();
    (directory, ccm, beside)
}

/// They share a transaction, in which each must count those before it, and nobody else sees them yet.
#[tokio::test]
async fn those_who_come_at_once_pass_the_quota_as_little_as_one_by_one() {
    let (_directory, ccm, mut beside) = opened().await;
    sqlx::query("UPDATE stock SET certificates = 99995")
        .execute(&mut beside)
        .await
        .unwrap();
    let body = Arc::new(order(ccm.issuing()));
    let ccm = Arc::new(ccm);
    let mut all = JoinSet::new();
    for _ in 0..20 {
        let (ccm, body) = (Arc::clone(&ccm), Arc::clone(&body));
        all.spawn(async move { post(&*ccm, &format!("{CERTIFICATES}/csr"), &body).await });
    }
    let replies = all.join_all().await;
    let (made, refused): (Vec<_>, Vec<_>) = replies.into_iter().partition(|r| r.status == 200);
    assert_eq!((made.len(), refused.len()), (5, 15));
    for reply in refused {
        reply.refused(403, "PCA.00030001");
    }
}

#[tokio::test]
async fn a_ca_that_issued_and_that_another_process_disables_issues_nothing_more() {
    let (_directory, ccm, mut beside) = opened().await;
    let mut turn = async |status: &str| {
        sqlx::query("UPDATE authority SET status = $1 WHERE id = $2")
            .bind(status)
            .bind(ccm.issuing())
            .execute(&mut beside)
            .await
            .unwrap();
    };
    turn("DISABLED").await;
    for _ in 0..2 {
        issue(&ccm, ccm.issuing())
            .await
            .refused(403, "PCA.00030201");
    }
    turn("ACTIVED").await;
    issue(&ccm, ccm.issuing()).await.expect(200);
}
