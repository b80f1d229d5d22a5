//! Lists of revoked certificates, and where they are published (CCM API 4.2.3).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use renewd::model::Seconds;
use serde_json::{Value, json};
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tokio::task::JoinSet;

use super::authorities::{CAS, create, root, show, subordinate};
use super::http::{Peer, Send, delete, get, post, post_nothing};
use super::openssl::{EC, csr, openssl, said};
use super::process::{Process, fresh, new_user};
use crate::support::ccm::{Ccm, Wanted};

const CERTIFICATES: &str = "/v1/private-certificates";

/// An agency and a bucket of it.
pub(super) async fn prepared(wanted: Wanted) -> Ccm {
    let ccm = wanted.start().await;
    add_bucket(&ccm, &ccm).await;
    ccm
}

/// The same of a server that runs, over the API as `peer`.
pub(super) async fn add_bucket(ccm: &Ccm, peer: &impl Peer) {
    let admin = ccm.running.admin();
    admin.add_bucket("pki-lists", "default").await.unwrap();
    post_nothing(peer, &format!("{CAS}/obs/agencies"))
        .await
        .expect(200);
}

pub(super) fn with_list(mut body: Value, days: i64) -> Value {
    body["crl_configuration"] =
        json!({"enabled": true, "obs_bucket_name": "pki-lists", "valid_days": days});
    body
}

/// Makes a certificate and answers its id and its PEM.
pub(super) async fn certificate(ccm: &impl Peer, ca: &str) -> (String, String) {
    let names = ["-subj", "/CN=www.example.com"];
    let body =
        json!({"issuer_id": ca, "csr": csr(EC, &names), "validity": {"type": "MONTH", "value": 3}});
    let id = post(ccm, &format!("{CERTIFICATES}/csr"), &body)
        .await
        .expect(200)
        .text("certificate_id");
    let plain = json!({"type": "NGINX", "is_compressed": "false"});
    let exported = post(ccm, &format!("{CERTIFICATES}/{id}/export"), &plain)
        .await
        .expect(200);
    (id, exported.text("certificate"))
}

/// The distribution point that a certificate names, read by OpenSSL.
pub(super) fn point_of(pem: &str) -> String {
    let text = super::openssl::text(pem);
    let lines = text.lines().map(str::trim);
    let mut uris = lines.filter_map(|line| line.strip_prefix("URI:"));
    uris.next().unwrap_or_else(|| panic!("{text}")).to_owned()
}

/// Fetches a list as any client would, without credentials; answers it as OpenSSL's text.
pub(super) async fn fetched(url: &str, directory: &Path) -> String {
    let answer = super::http::client().get(url).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{url}");
    assert_eq!(answer.headers()["content-type"], "application/pkix-crl");
    std::fs::write(directory.join("list.crl"), answer.bytes().await.unwrap()).unwrap();
    said(
        directory,
        &[
            "crl", "-inform", "DER", "-in", "list.crl", "-out", "list.pem",
        ],
    );
    said(directory, &["crl", "-in", "list.pem", "-noout", "-text"])
}

/// What OpenSSL says of a certificate with the list that was fetched last.
pub(super) fn judged(directory: &Path, anchors: &str, leaf: &str) -> String {
    std::fs::write(directory.join("anchors.pem"), anchors).unwrap();
    std::fs::write(directory.join("leaf.pem"), leaf).unwrap();
    let arguments = [
        "verify",
        "-crl_check",
        "-partial_chain",
        "-CAfile",
        "anchors.pem",
        "-CRLfile",
        "list.pem",
        "leaf.pem",
    ];
    let output = openssl(directory, &arguments);
    let both = [output.stdout, output.stderr].concat();
    String::from_utf8(both).unwrap()
}

pub(super) async fn pem_of(ccm: &Ccm, ca: &str) -> String {
    let exported = post_nothing(ccm, &format!("{CAS}/{ca}/export"))
        .await
        .expect(200);
    exported.text("certificate")
}

#[tokio::test]
async fn what_is_revoked_is_on_the_list_at_the_address_that_certificates_name() {
    let ccm = prepared(Wanted::new()).await;
    let top = create(&ccm, &with_list(root("Top", "RSA2048", "SHA256"), 30)).await;
    let low = create(
        &ccm,
        &with_list(subordinate("Low", "EC384", "SHA384", &top), 7),
    )
    .await;
    let shown = show(&ccm, &low).await["crl_configuration"].clone();
    assert_eq!(shown["crl_name"], json!(low));
    let point = shown["crl_dis_point"].as_str().unwrap().to_owned();
    assert_eq!(point, format!("{}/obs/pki-lists/{low}.crl", ccm.endpoint()));

    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let ca = pem_of(&ccm, &low).await;
    let (good, good_pem) = certificate(&ccm, &low).await;
    let (bad, bad_pem) = certificate(&ccm, &low).await;
    assert_eq!(point_of(&good_pem), point);
    // The list is there before anything is revoked.
    let first = fetched(&point, directory).await;
    assert!(first.contains("No Revoked Certificates"), "{first}");
    assert!(first.contains("ecdsa-with-SHA384"), "{first}");
    assert!(judged(directory, &ca, &bad_pem).contains("leaf.pem: OK"));

    post(
        &ccm,
        &format!("{CERTIFICATES}/{bad}/revoke"),
        &json!({"reason": "KEY_COMPROMISE"}),
    )
    .await
    .expect(204);
    let second = fetched(&point, directory).await;
    assert!(second.contains("Key Compromise"), "{second}");
    assert_ne!(number(&first), number(&second));
    assert!(judged(directory, &ca, &bad_pem).contains("certificate revoked"));
    assert!(judged(directory, &ca, &good_pem).contains("leaf.pem: OK"));
    // A certificate that was deleted stays revoked; a reason that is none is not said (RFC 5280 §5.3.1).
    post(&ccm, &format!("{CERTIFICATES}/{good}/revoke"), &json!({}))
        .await
        .expect(204);
    for id in [&bad, &good] {
        delete(&ccm, &format!("{CERTIFICATES}/{id}"))
            .await
            .expect(204);
    }
    let third = fetched(&point, directory).await;
    assert_eq!(third.matches("Serial Number:").count(), 2, "{third}");
    assert_eq!(third.matches("CRL Reason Code").count(), 1, "{third}");
    assert!(judged(directory, &ca, &good_pem).contains("certificate revoked"));

    // The CA itself is on its issuer's list.
    let above = point_of(&ca);
    assert_ne!(above, point);
    let top_pem = pem_of(&ccm, &top).await;
    assert!(
        fetched(&above, directory)
            .await
            .contains("No Revoked Certificates")
    );
    let revoke = format!("{CAS}/{low}/revoke");
    post(
        &ccm,
        &revoke,
        &json!({"reason": "CERTIFICATE_AUTHORITY_COMPROMISE"}),
    )
    .await
    .expect(204);
    let list = fetched(&above, directory).await;
    assert!(
        list.contains("CA Compromise") && list.contains("sha256WithRSAEncryption"),
        "{list}"
    );
    assert!(judged(directory, &top_pem, &ca).contains("certificate revoked"));
}

#[tokio::test]
async fn a_list_belongs_to_one_ca_and_a_bucket_to_one_account() {
    let ccm = prepared(Wanted::new()).await;
    let admin = ccm.running.admin();
    admin.add_bucket("second-lists", "default").await.unwrap();
    admin.add_bucket("foreign-lists", "other").await.unwrap();
    let named = |common_name: &str, bucket: &str| {
        let mut body = with_list(root(common_name, "EC256", "SHA256"), 7);
        body["crl_configuration"]["crl_name"] = json!("company");
        body["crl_configuration"]["obs_bucket_name"] = json!(bucket);
        body
    };
    let first = create(&ccm, &named("First", "pki-lists")).await;
    let point = show(&ccm, &first).await["crl_configuration"]["crl_dis_point"].clone();
    // Another one's list in its place would let what the first one revoked be good again.
    let twin = post(&ccm, CAS, &named("Twin", "pki-lists")).await;
    twin.refused(400, "PCA.00020204");
    let directory = tempfile::tempdir().unwrap();
    let list = fetched(point.as_str().unwrap(), directory.path()).await;
    assert!(list.contains("CN = First"), "{list}");
    create(&ccm, &named("Elsewhere", "second-lists")).await;
    let (bodies, path) = ([named("A", "pki-lists"), named("B", "pki-lists")], CAS);
    let [mut a, mut b] = bodies;
    for body in [&mut a, &mut b] {
        body["crl_configuration"]["crl_name"] = json!("at-once");
    }
    let (a, b) = tokio::join!(post(&ccm, path, &a), post(&ccm, path, &b));
    let mut both = [a.status, b.status];
    both.sort_unstable();
    assert_eq!(both, [200, 400]);
    let foreign = post(&ccm, CAS, &named("Thief", "foreign-lists")).await;
    foreign.refused(400, "PCA.00020204");
}

#[tokio::test]
async fn cas_that_share_a_list_from_before_are_named_at_the_start() {
    let (_directory, state) = fresh();
    let ccm = prepared(Wanted::new().state(&state)).await;
    let mut ids = Vec::new();
    for name in ["One", "Two", "Alone"] {
        ids.push(create(&ccm, &with_list(root(name, "EC256", "SHA256"), 7)).await);
    }
    create(&ccm, &root("Without", "EC256", "SHA256")).await;
    create(&ccm, &root("Without either", "EC256", "SHA256")).await;
    ccm.stop().await;
    let keys = new_user(&state, "user");
    let told = || {
        let log = Process::start(&state, keys.clone()).terminate();
        let lines = log.lines().filter(|line| line.contains("share one list"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(told().is_empty());
    let options = SqliteConnectOptions::new().filename(state.join("ccm.db"));
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let share = sqlx::query(
        "UPDATE authority SET crl = json_set(crl, '$.crl_name', 'both') WHERE id IN ($1, $2)",
    );
    let share = share.bind(&ids[0]).bind(&ids[1]);
    assert_eq!(
        share
            .execute(&mut connection)
            .await
            .unwrap()
            .rows_affected(),
        2
    );
    let lines = told();
    assert_eq!(lines.len(), 1, "{lines:?}");
    for part in [&ids[0], &ids[1], "pki-lists/both.crl", "crl_name", "WARN"] {
        assert!(lines[0].contains(part), "{part}: {lines:?}");
    }
    assert!(!lines[0].contains(&ids[2]), "{lines:?}");
    // As the days of a deleted CA leave it: it writes no more lists.
    let bury = sqlx::query("UPDATE authority SET key = NULL WHERE id = $1").bind(&ids[1]);
    bury.execute(&mut connection).await.unwrap();
    assert!(told().is_empty());
}

#[tokio::test]
async fn every_reason_of_the_reference_has_its_code_on_the_list() {
    let ccm = prepared(Wanted::new()).await;
    let ca = create(&ccm, &with_list(root("Top", "EC256", "SHA256"), 7)).await;
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let mut wanted = Vec::new();
    let mut point = String::new();
    for (reason, words) in [
        ("UNSPECIFIED", None),
        ("KEY_COMPROMISE", Some("Key Compromise")),
        ("CERTIFICATE_AUTHORITY_COMPROMISE", Some("CA Compromise")),
        ("AFFILIATION_CHANGED", Some("Affiliation Changed")),
        ("SUPERSEDED", Some("Superseded")),
        ("CESSATION_OF_OPERATION", Some("Cessation Of Operation")),
        ("CERTIFICATE_HOLD", Some("Certificate Hold")),
        ("PRIVILEGE_WITHDRAWN", Some("Privilege Withdrawn")),
        ("ATTRIBUTE_AUTHORITY_COMPROMISE", Some("AA Compromise")),
    ] {
        let (id, pem) = certificate(&ccm, &ca).await;
        let revoke = format!("{CERTIFICATES}/{id}/revoke");
        post(&ccm, &revoke, &json!({"reason": reason}))
            .await
            .expect(204);
        point = point_of(&pem);
        std::fs::write(directory.join("one.pem"), pem).unwrap();
        let serial = said(directory, &["x509", "-in", "one.pem", "-noout", "-serial"]);
        let serial = serial.trim().strip_prefix("serial=").unwrap().to_owned();
        wanted.push((serial, words));
    }
    let list = fetched(&point, directory).await;
    for (serial, words) in wanted {
        let entry = list
            .split("Serial Number: ")
            .find(|e| e.starts_with(&serial));
        let lines = entry.unwrap().lines().map(str::trim);
        let told = lines
            .skip_while(|line| *line != "X509v3 CRL Reason Code:")
            .nth(1);
        assert_eq!(told, words, "{list}");
    }
}

/// `X509v3 CRL Number` of a list.
pub(super) fn number(text: &str) -> u64 {
    let line = text
        .lines()
        .skip_while(|line| !line.contains("CRL Number"))
        .nth(1);
    line.unwrap_or_else(|| panic!("{text}"))
        .trim()
        .parse()
        .unwrap()
}

#[tokio::test]
async fn lists_are_renewed_before_they_end_and_survive_a_restart() {
    let state = tempfile::tempdir().unwrap();
    std::fs::set_permissions(
        state.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o700),
    )
    .unwrap();
    let ccm = prepared(Wanted::new().at("2027-01-01").state(state.path())).await;
    let top = create(&ccm, &with_list(root("Top", "EC256", "SHA256"), 7)).await;
    let point = show(&ccm, &top).await["crl_configuration"]["crl_dis_point"]
        .as_str()
        .unwrap()
        .to_owned();
    let file = state.path().join(format!("obs/pki-lists/{top}.crl"));
    let directory = tempfile::tempdir().unwrap();
    let first = fetched(&point, directory.path()).await;
    assert!(
        first.contains("Next Update: Jan  8 00:00:00 2027"),
        "{first}"
    );
    ccm.advance(Seconds::days(5));
    assert_eq!(fetched(&point, directory.path()).await, first);
    ccm.advance(Seconds::days(1));
    let next = fetched(&point, directory.path()).await;
    assert!(next.contains("Next Update: Jan 14 00:00:00 2027"), "{next}");
    assert_eq!(number(&next), number(&first) + 1);

    // Whoever reads the directory finds it renewed too, when nobody asked.
    let before = std::fs::read(&file).unwrap();
    ccm.stop().await;
    let ccm = Wanted::new()
        .at("2027-02-01")
        .state(state.path())
        .start()
        .await;
    for _ in 0..600 {
        if std::fs::read(&file).unwrap() != before {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_ne!(std::fs::read(&file).unwrap(), before);
    ccm.stop().await;
}

/// With a clock that was far ahead for a while, also where it is put right while the server is off.
#[tokio::test]
async fn a_list_from_the_future_is_made_anew_when_the_clock_is_right_again() {
    let (_directory, state) = fresh();
    let ccm = prepared(Wanted::new().at("2027-01-01").state(&state)).await;
    let nine_years = Seconds::days(3285);
    let mut points = Vec::new();
    for (name, days) in [("Week", 7), ("Month", 30)] {
        let mut body = with_list(root(name, "EC256", "SHA256"), days);
        body["validity"]["value"] = json!(20);
        let id = create(&ccm, &body).await;
        let point = show(&ccm, &id).await["crl_configuration"]["crl_dis_point"].clone();
        points.push(point.as_str().unwrap().to_owned());
    }
    let directory = tempfile::tempdir().unwrap();
    let now = "Last Update: Jan  1 00:00:00 2027";
    let ahead = "Last Update: Dec 30 00:00:00 2035";
    let jump = |ccm: &Ccm, by: Seconds| ccm.clock.as_ref().unwrap().jump(by);
    for point in &points {
        let first = fetched(point, directory.path()).await;
        assert!(first.contains(now), "{first}");
        jump(&ccm, nine_years);
        let wrong = fetched(point, directory.path()).await;
        assert!(wrong.contains(ahead), "{wrong}");
        jump(&ccm, Seconds(-nine_years.0));
        let right = fetched(point, directory.path()).await;
        assert!(right.contains(now), "{right}");
        assert!(number(&right) > number(&wrong));
        // Once is enough.
        assert_eq!(fetched(point, directory.path()).await, right);
        jump(&ccm, nine_years);
        let wrong = fetched(point, directory.path()).await;
        assert!(wrong.contains(ahead), "{wrong}");
        jump(&ccm, Seconds(-nine_years.0));
    }
    jump(&ccm, nine_years);
    let wrong = fetched(&points[0], directory.path()).await;
    assert!(wrong.contains(ahead), "{wrong}");
    let port = ccm.running.address().port();
    ccm.stop().await;
    let wanted = Wanted::new().at("2027-01-01").state(&state).port(port);
    let _ccm = wanted.start().await;
    for point in &points {
        let right = fetched(point, directory.path()).await;
        assert!(right.contains(now), "{right}");
    }
}

#[tokio::test]
async fn agency_and_bucket_come_first_and_names_stay_inside() {
    let ccm = Ccm::start().await;
    let (agencies, buckets) = (format!("{CAS}/obs/agencies"), format!("{CAS}/obs/buckets"));
    assert_eq!(
        get(&ccm, &agencies).await.expect(200).body,
        json!({"agency_granted": "false"})
    );
    get(&ccm, &buckets).await.refused(403, "PCA.00000006");
    let wanted = with_list(root("Top", "EC256", "SHA256"), 7);
    post(&ccm, CAS, &wanted).await.refused(403, "PCA.00000006");
    let id = post_nothing(&ccm, &agencies)
        .await
        .expect(200)
        .text("agency_id");
    assert_eq!(
        post_nothing(&ccm, &agencies)
            .await
            .expect(200)
            .text("agency_id"),
        id
    );
    assert_eq!(
        get(&ccm, &agencies).await.expect(200).body,
        json!({"agency_granted": "true"})
    );
    assert_eq!(
        get(&ccm, &buckets).await.expect(200).body,
        json!({"total": 0, "obs_buckets": []})
    );
    post(&ccm, CAS, &wanted).await.refused(400, "PCA.00020204");

    let admin = ccm.running.admin();
    for bad in ["", "ab", "UPPER", "..", "a/b", "-ab", "a..b"] {
        assert!(admin.add_bucket(bad, "default").await.is_err(), "{bad}");
    }
    admin.add_bucket("pki-lists", "default").await.unwrap();
    admin.add_bucket("pki-lists", "default").await.unwrap();
    assert!(admin.add_bucket("pki-lists", "other").await.is_err());
    let listed = get(&ccm, &buckets).await.expect(200).body;
    assert_eq!(listed["total"], 1);
    assert_eq!(listed["obs_buckets"][0]["bucket_name"], "pki-lists");

    for (field, value) in [
        ("crl_name", json!("../../x")),
        ("crl_name", json!("a b")),
        ("crl_name", json!(".x")),
        ("valid_days", json!(6)),
        ("valid_days", json!(31)),
        ("valid_days", Value::Null),
        ("obs_bucket_name", Value::Null),
        ("obs_bucket_name", json!("not-there")),
    ] {
        let mut body = wanted.clone();
        body["crl_configuration"][field] = value;
        post(&ccm, CAS, &body).await.refused(400, "PCA.00020204");
    }
    let mut named = wanted;
    named["crl_configuration"]["crl_name"] = json!("company-root");
    let id = create(&ccm, &named).await;
    let point = show(&ccm, &id).await["crl_configuration"]["crl_dis_point"].clone();
    assert!(
        point
            .as_str()
            .unwrap()
            .ends_with("/obs/pki-lists/company-root.crl"),
        "{point}"
    );
    for path in [
        "/obs/pki-lists/none.crl",
        "/obs/pki-lists/..%2f..%2fccm.db",
        "/obs/../ccm.db",
        "/obs/pki-lists/",
        "/obs/",
        "/obs/other/company-root.crl",
    ] {
        let reply = Send::new("GET", path).by_user(&ccm).send(&ccm).await;
        assert_eq!(reply.status, 404, "{path}");
    }
}

/// Some of them come while the list of those before is being made.
#[tokio::test(flavor = "multi_thread")]
async fn of_those_who_are_revoked_at_once_none_is_left_out() {
    let ccm = Arc::new(prepared(Wanted::new()).await);
    let top = create(&ccm, &with_list(root("Top", "RSA4096", "SHA256"), 30)).await;
    let mut ids = Vec::new();
    for _ in 0..40 {
        ids.push(certificate(&*ccm, &top).await.0);
    }
    let point = show(&ccm, &top).await["crl_configuration"]["crl_dis_point"].clone();
    let mut all = JoinSet::new();
    for (at, id) in ids.into_iter().enumerate() {
        let ccm = Arc::clone(&ccm);
        all.spawn(async move {
            tokio::time::sleep(Duration::from_millis(2 * at as u64)).await;
            let path = format!("{CERTIFICATES}/{id}/revoke");
            post(&*ccm, &path, &json!({"reason": "SUPERSEDED"}))
                .await
                .expect(204);
        });
    }
    all.join_all().await;
    let directory = tempfile::tempdir().unwrap();
    let list = fetched(point.as_str().unwrap(), directory.path()).await;
    assert_eq!(list.matches("Serial Number:").count(), 40, "{list}");
}
