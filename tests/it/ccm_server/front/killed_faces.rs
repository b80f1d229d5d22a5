//! The clients of the SIGKILL test that keep CSRs, that speak version 2 of SCM, and that ask IAM for tokens and keys; and what
//! of theirs must be there afterwards.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Row as _};

use crate::ccm_server::applicant::form;
use crate::ccm_server::front::killed_others::{Fact, change};
use crate::ccm_server::http::{Peer, Send, date, get};
use crate::ccm_server::openssl::{EC, csr_and_key, self_signed};
use crate::ccm_server::process::Process;
use crate::ccm_server::scm_csr;

/// A user by all that IAM and version 2 want of it: what `user add --json` prints.
#[derive(Clone)]
pub(super) struct User(pub(super) Arc<Value>);

impl User {
    fn text(&self, field: &str) -> &str {
        self.0[field].as_str().unwrap()
    }
}

/// One value of the state, and what it may be: one after an answer; of before and after while there is none; `None` is absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    what: What,
    id: String,
    may_be: Vec<Option<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    CsrName,
    CertificateName,
    Bought,
    Form,
    Paper,
    AppliedFor,
    Pushed,
    FurtherDomain,
    Revoked,
}

impl What {
    const fn sql(self) -> &'static str {
        match self {
            Self::CsrName => "SELECT name FROM scm_csr WHERE id = $1 AND key IS NOT NULL",
            Self::CertificateName => "SELECT name FROM scm_certificate WHERE id = $1",
            Self::Bought => {
                "SELECT c.domain_type FROM scm_certificate c JOIN scm_order o ON o.certificate = c.id WHERE c.id = $1"
            }
            Self::Form => {
                "SELECT 'kept' FROM scm_order WHERE certificate = $1 AND form IS NOT NULL"
            }
            Self::Paper => "SELECT kind FROM scm_paper WHERE certificate = $1",
            Self::AppliedFor => {
                "SELECT c.domain FROM scm_certificate c JOIN scm_domain d ON d.certificate = c.id \
                 WHERE c.id = $1 AND c.status <> 'PAID' AND d.position = 0 AND d.domain = c.domain"
            }
            Self::Pushed => {
                "SELECT p.service FROM scm_push p JOIN scm_copy c ON c.original = p.certificate WHERE p.certificate = $1"
            }
            Self::FurtherDomain => {
                "SELECT domain FROM scm_domain WHERE certificate = $1 AND position = 1"
            }
            Self::Revoked => {
                "SELECT revoke_reason FROM scm_certificate WHERE id = $1 AND status IN ('REVOKING', 'REVOKE')"
            }
        }
    }
}

/// Puts what is known of a value in the place of what was known before.
fn know(facts: &mut Vec<Fact>, what: What, id: &str, may_be: &[Option<&str>]) {
    facts
        .retain(|fact| !matches!(fact, Fact::Known(known) if known.what == what && known.id == id));
    facts.push(Fact::Known(Known {
        what,
        id: id.to_owned(),
        may_be: may_be.iter().map(|v| v.map(str::to_owned)).collect(),
    }));
}

impl Known {
    /// Whether it is about a CSR.
    pub(super) fn is_of_a_csr(&self) -> bool {
        self.what == What::CsrName
    }

    /// Stops the test unless the state has one of the values.
    pub(super) async fn check(&self, connection: &mut SqliteConnection) {
        let row = sqlx::query(AssertSqlSafe(self.what.sql())).bind(&self.id);
        let found = row.fetch_optional(connection).await.unwrap();
        let found = found.map(|row| row.get::<String, _>(0));
        assert!(self.may_be.contains(&found), "{self:?}: {found:?}");
    }

    /// The same over the API, of what it shows in the same words.
    pub(super) async fn found(&self, peer: &impl Peer) {
        let path = match self.what {
            What::CsrName => format!("/v3/scm/csr/{}", self.id),
            What::CertificateName => format!("/v3/scm/certificates/{}", self.id),
            _ => return,
        };
        let reply = get(peer, &path).await;
        let name = (reply.status == 200).then(|| reply.text("name"));
        assert!(self.may_be.contains(&name), "{self:?}: {}", reply.body);
        if self.what == What::CsrName && reply.status == 200 {
            let key = get(peer, &format!("{path}/private-key")).await.expect(200);
            assert!(key.text("private_key").contains("PRIVATE KEY"));
        }
    }
}

/// Changes one value, which is in doubt until the answer.
#[derive(Clone, Copy)]
struct Changing<'a> {
    server: &'a Process,
    answered: &'a AtomicUsize,
}

impl Changing<'_> {
    async fn send(
        self,
        facts: &mut Vec<Fact>,
        what: What,
        id: &str,
        values: [Option<&str>; 2],
        request: Send,
    ) -> Option<()> {
        know(facts, what, id, &values);
        change(self.server, self.answered, request).await?;
        know(facts, what, id, &values[1..]);
        Some(())
    }
}

/// One client that keeps CSRs, until the server is gone.
pub(super) async fn csrs(server: Arc<Process>, answered: Arc<AtomicUsize>) -> Vec<Fact> {
    let mut facts = Vec::new();
    let _ = csrs_until_gone(&server, &answered, &mut facts).await;
    facts
}

async fn csrs_until_gone(
    server: &Process,
    answered: &AtomicUsize,
    facts: &mut Vec<Fact>,
) -> Option<()> {
    const CSR: &str = "/v3/scm/csr";
    let (csr, key) = csr_and_key(EC, &["-subj", "/CN=load.example"]);
    let upload = json!({"name": "brought", "csr": csr, "private_key": key});
    let make = scm_csr::order("EC_P256");
    let all = Changing { server, answered };
    for turn in 0.. {
        let made = change(server, answered, Send::new("POST", CSR).json(&make)).await?;
        let made = made.text("id");
        know(facts, What::CsrName, &made, &[Some("front")]);
        let path = format!("{CSR}/upload");
        let brought = change(server, answered, Send::new("POST", &path).json(&upload)).await?;
        let brought = brought.text("id");
        know(facts, What::CsrName, &brought, &[Some("brought")]);
        let rename = Send::new("PUT", &format!("{CSR}/{made}")).json(&json!({"name": "renamed"}));
        let names = [Some("front"), Some("renamed")];
        all.send(facts, What::CsrName, &made, names, rename).await?;
        if turn % 2 == 1 {
            let remove = Send::new("DELETE", &format!("{CSR}/{brought}"));
            let names = [Some("brought"), None];
            all.send(facts, What::CsrName, &brought, names, remove)
                .await?;
        }
    }
    Some(())
}

/// One client of version 2, until the server is gone.
pub(super) async fn version_2(
    server: Arc<Process>,
    answered: Arc<AtomicUsize>,
    user: User,
) -> Vec<Fact> {
    let mut facts = Vec::new();
    let _ = version_2_until_gone(&server, &answered, &user, &mut facts).await;
    facts
}

async fn version_2_until_gone(
    server: &Process,
    answered: &AtomicUsize,
    user: &User,
    facts: &mut Vec<Fact>,
) -> Option<()> {
    let base = format!("/v2/{}/scm/cert", user.text("project_id"));
    let all = Changing { server, answered };
    let (certificate, key) = self_signed("load.example", "DNS:load.example", "30");
    let upload = json!({"cert_name": "own", "cert": certificate, "private_key": key});
    // None with a tag, unlike those of version 3: the check of whole purchases tells them apart by their type.
    let purchase = json!({
        "cert_brand": "GLOBALSIGN", "cert_type": "OV_SSL_CERT", "domain_type": "MULTI_DOMAIN", "effective_time": 1,
        "domain_numbers": 3, "order_number": 1, "agree_privacy_protection": true,
    });
    let mut application = form("load.example");
    application["domain_method"] = json!("dns");
    let post = |path: &str, body: &Value| Send::new("POST", &format!("{base}/{path}")).json(body);
    let mut before: Option<String> = None;
    for turn in 0.. {
        let bought = change(server, answered, post("purchase", &purchase)).await?;
        let id = bought.body["cert"][0]["cert_id"].as_str().unwrap();
        know(facts, What::Bought, id, &[Some("MULTI_DOMAIN")]);
        let on = |what: &str, body: &Value| post(&format!("{id}/{what}"), body);
        let kept = [None, Some("kept")];
        all.send(facts, What::Form, id, kept, on("save", &application))
            .await?;
        let paper = on("info/BL/upload_authentication", &json!({"a": 1}));
        all.send(facts, What::Paper, id, [None, Some("BL")], paper)
            .await?;
        let applied = [None, Some("load.example")];
        let complete = on("complete", &application);
        all.send(facts, What::AppliedFor, id, applied, complete)
            .await?;

        let own = change(server, answered, post("upload", &upload)).await?;
        let own = own.text("cert_id");
        know(facts, What::CertificateName, &own, &[Some("own")]);
        let modify = json!({"modify_key": "CERT_NAME", "modify_value": "renamed"});
        let modify = Send::new("PUT", &format!("{base}/{own}")).json(&modify);
        let names = [Some("own"), Some("renamed")];
        all.send(facts, What::CertificateName, &own, names, modify)
            .await?;
        if turn % 2 == 0 {
            let push = json!({"service_type": "WAF", "remote_project": "ap-southeast-3"});
            let push = post(&format!("{own}/push"), &push);
            all.send(facts, What::Pushed, &own, [None, Some("WAF")], push)
                .await?;
        } else {
            let remove = Send::new("DELETE", &format!("{base}/{own}"));
            let names = [Some("renamed"), None];
            all.send(facts, What::CertificateName, &own, names, remove)
                .await?;
        }
        // What was applied for in the last turn may be issued by now.
        if let Some(last) = before.replace(id.to_owned()) {
            after_issue(all, &base, &last, turn, facts).await?;
        }
    }
    Some(())
}

/// What can be done only with a certificate that is issued: a further domain, a revocation, or an applicant forgotten.
async fn after_issue(
    all: Changing<'_>,
    base: &str,
    id: &str,
    turn: usize,
    facts: &mut Vec<Fact>,
) -> Option<()> {
    let look = Send::new("GET", &format!("/v3/scm/certificates/{id}")).by_user(all.server);
    let shown = look.attempt(all.server).await.ok()?.expect(200);
    if shown.text("status") != "ISSUED" {
        return Some(());
    }
    let post =
        |what: &str, body: &Value| Send::new("POST", &format!("{base}/{id}/{what}")).json(body);
    match turn % 3 {
        0 => {
            let more = json!({"ori_sans": "", "add_sans": "more.example"});
            let values = [None, Some("more.example")];
            let request = post("supplement", &more);
            all.send(facts, What::FurtherDomain, id, values, request)
                .await
        }
        1 => {
            let values = [None, Some("no longer used")];
            let request = post("revoke", &json!({"reason": "no longer used"}));
            all.send(facts, What::Revoked, id, values, request).await
        }
        _ => {
            let project = base.trim_end_matches("/cert");
            let request = Send::new("DELETE", &format!("{project}/privacy-protection/{id}"));
            // The papers go with what the applicant said, in one change.
            know(facts, What::Paper, id, &[Some("BL"), None]);
            all.send(facts, What::Form, id, [Some("kept"), None], request)
                .await?;
            know(facts, What::Paper, id, &[None]);
            Some(())
        }
    }
}

/// One client of IAM, until the server is gone.
pub(super) async fn iam(server: Arc<Process>, answered: Arc<AtomicUsize>, user: User) -> Vec<Fact> {
    let mut facts = Vec::new();
    let _ = iam_until_gone(&server, &answered, &user, &mut facts).await;
    facts
}

async fn iam_until_gone(
    server: &Process,
    answered: &AtomicUsize,
    user: &User,
    facts: &mut Vec<Fact>,
) -> Option<()> {
    let login = json!({"auth": {
        "identity": {"methods": ["password"], "password": {"user": {
            "name": user.text("name"), "password": user.text("password"), "domain": {"name": user.text("account")},
        }}},
        "scope": {"project": {"id": user.text("project_id")}},
    }});
    let wish =
        json!({"auth": {"identity": {"methods": ["token"], "token": {"duration_seconds": 86400}}}});
    loop {
        let temporary = Send::new("POST", "/v3.0/OS-CREDENTIAL/securitytokens").json(&wish);
        let temporary = change(server, answered, temporary).await?;
        let text = |field: &str| {
            let value = temporary.body["credential"][field].as_str();
            value.unwrap().to_owned()
        };
        facts.push(Fact::Temporary(
            text("access"),
            text("secret"),
            text("securitytoken"),
        ));
        let token = change(
            server,
            answered,
            Send::new("POST", "/v3/auth/tokens").json(&login),
        );
        let token = token.await?;
        let token = token.header("x-subject-token").unwrap();
        facts.push(Fact::Token(token.to_owned()));
    }
}

/// Stops the test unless a token is good.
pub(super) async fn token_is_good(peer: &impl Peer, token: &str) {
    let send = Send::new("GET", "/v3/auth/domains").header("x-auth-token", token);
    send.send(peer).await.expect(200);
}

/// Stops the test unless a temporary key is good.
pub(super) async fn key_is_good(peer: &impl Peer, access: &str, secret: &str, token: &str) {
    let send = Send::new("GET", "/v3/auth/domains").header("x-security-token", token);
    let send = send.signed(peer, access, secret, &date(peer));
    send.send(peer).await.expect(200);
}
