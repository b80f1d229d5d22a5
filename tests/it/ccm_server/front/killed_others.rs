//! The clients of the SIGKILL test that buy, apply, tag, import and push SSL certificates, and those that make CAs; and what
//! of theirs must be there afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Row as _};

use crate::ccm_server::applicant::{form, order};
use crate::ccm_server::authorities::{CAS, root};
use crate::ccm_server::front::killed_faces::{self, Known};
use crate::ccm_server::http::{Peer, Reply, Send, get};
use crate::ccm_server::openssl::self_signed;
use crate::ccm_server::process::Process;

const CERTIFICATES: &str = "/v3/scm/certificates";

/// What was answered, with the id of what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fact {
    /// With the tag of the purchase.
    Bought(String),
    Applied(String),
    Tagged(String),
    Imported(String),
    Pushed(String),
    Authority(String),
    Disabled(String),
    Enabled(String),
    /// Asked for last and not answered: one of the two above, or neither.
    Unknown(String),
    /// A value of the clients that speak otherwise.
    Known(Known),
    Token(String),
    /// AK, SK and security token.
    Temporary(String, String, String),
}

/// Sends a change; `None` when the server is gone.
pub(super) async fn change(
    server: &Process,
    answered: &AtomicUsize,
    request: Send,
) -> Option<Reply> {
    let path = request.target.clone();
    let reply = request.by_user(server).attempt(server).await.ok()?;
    answered.fetch_add(1, Ordering::Relaxed);
    assert!(reply.status < 300, "{path}: {}", reply.body);
    Some(reply)
}

async fn post(server: &Process, answered: &AtomicUsize, path: &str, body: &Value) -> Option<Reply> {
    change(server, answered, Send::new("POST", path).json(body)).await
}

/// One client of SCM: what it was told, until the server is gone. It comes to few answers, so what it begins with is another thing
/// in the next round.
pub(super) async fn scm(
    server: Arc<Process>,
    answered: Arc<AtomicUsize>,
    imports_first: bool,
) -> Vec<Fact> {
    let mut facts = Vec::new();
    if imports_first {
        // Whatever is asked for after the last answer is in doubt, and nothing is claimed of it.
        let _ = imports(&server, &answered, &mut facts).await;
    }
    while orders(&server, &answered, &mut facts).await.is_some()
        && imports(&server, &answered, &mut facts).await.is_some()
    {}
    facts
}

async fn orders(server: &Process, answered: &AtomicUsize, facts: &mut Vec<Fact>) -> Option<()> {
    let mut purchase = order("DV_SSL_CERT", "SINGLE_DOMAIN", 1);
    purchase["tags"] = json!([{"key": "order", "value": "load"}]);
    let path = format!("{CERTIFICATES}/buy");
    let bought = post(server, answered, &path, &purchase).await?;
    let id = bought.body["cert"][0]["cert_id"]
        .as_str()
        .unwrap()
        .to_owned();
    facts.push(Fact::Bought(id.clone()));
    let path = format!("{CERTIFICATES}/{id}/apply");
    post(server, answered, &path, &form("load.example")).await?;
    facts.push(Fact::Applied(id.clone()));
    let tag = json!({"tag": {"key": "late", "value": "1"}});
    post(server, answered, &format!("/v3/scm/{id}/tags"), &tag).await?;
    facts.push(Fact::Tagged(id));
    Some(())
}

async fn imports(server: &Process, answered: &AtomicUsize, facts: &mut Vec<Fact>) -> Option<()> {
    let (certificate, key) = self_signed("load.example", "DNS:load.example", "30");
    let import = json!({
        "name": "load", "certificate": certificate, "private_key": key, "duplicate_check": true,
    });
    let path = format!("{CERTIFICATES}/import");
    let imported = post(server, answered, &path, &import).await?;
    let id = imported.text("certificate_id");
    facts.push(Fact::Imported(id.clone()));
    let push = json!({"target_service": "WAF", "target_project": "ap-southeast-3"});
    let path = format!("{CERTIFICATES}/{id}/push");
    post(server, answered, &path, &push).await?;
    facts.push(Fact::Pushed(id));
    Some(())
}

/// One client that makes a CA, then disables and enables it until the server is gone: an account may have a hundred.
pub(super) async fn authorities(server: Arc<Process>, answered: Arc<AtomicUsize>) -> Vec<Fact> {
    let body = root("Load", "EC256", "SHA256");
    let Some(made) = post(&server, &answered, CAS, &body).await else {
        return Vec::new();
    };
    let id = made.text("ca_id");
    let mut facts = vec![Fact::Authority(id.clone())];
    loop {
        for (verb, fact) in [
            ("disable", Fact::Disabled(id.clone())),
            ("enable", Fact::Enabled(id.clone())),
        ] {
            // Of the states only the last counts.
            facts.truncate(1);
            facts.push(Fact::Unknown(id.clone()));
            let path = format!("{CAS}/{id}/{verb}");
            if post(&server, &answered, &path, &json!({})).await.is_none() {
                return facts;
            }
            facts.truncate(1);
            facts.push(fact);
        }
    }
}

/// Stops the test unless all of it is in the state.
pub(super) async fn check(connection: &mut SqliteConnection, facts: &[Fact]) {
    for fact in facts {
        let (id, sql) = match fact {
            Fact::Bought(id) => (
                id,
                "FROM scm_certificate c JOIN scm_order o ON o.certificate = c.id JOIN scm_tag t ON t.certificate = c.id \
                 WHERE c.id = $1 AND t.key = 'order' AND t.value = 'load'",
            ),
            Fact::Applied(id) => (
                id,
                "FROM scm_certificate c JOIN scm_order o ON o.certificate = c.id JOIN scm_domain d ON d.certificate = c.id \
                 WHERE c.id = $1 AND c.status <> 'PAID' AND c.domain = 'load.example' AND o.form IS NOT NULL",
            ),
            Fact::Tagged(id) => (id, "FROM scm_tag WHERE certificate = $1 AND key = 'late'"),
            Fact::Imported(id) => (
                id,
                "FROM scm_certificate WHERE id = $1 AND status = 'UPLOAD' AND key IS NOT NULL",
            ),
            Fact::Pushed(id) => (
                id,
                "FROM scm_copy c JOIN scm_push p ON p.certificate = c.original WHERE c.original = $1",
            ),
            Fact::Authority(id) | Fact::Unknown(id) => {
                (id, "FROM authority WHERE id = $1 AND key IS NOT NULL")
            }
            Fact::Known(known) => {
                known.check(connection).await;
                continue;
            }
            // Only the API can say whether these are good.
            Fact::Token(_) | Fact::Temporary(..) => continue,
            Fact::Disabled(id) => (id, "FROM authority WHERE id = $1 AND status = 'DISABLED'"),
            Fact::Enabled(id) => (id, "FROM authority WHERE id = $1 AND status = 'ACTIVED'"),
        };
        let found = number(connection, &format!("SELECT count(*) {sql}"), id).await;
        assert_eq!(found, 1, "{fact:?}");
    }
}

/// What must hold whatever was answered: counters are what is counted, and purchases are whole.
pub(super) async fn consistent(connection: &mut SqliteConnection) {
    for wrong in [
        // The counter that answers quotas and totals is kept by triggers.
        "FROM (SELECT account, certificates AS n FROM stock WHERE certificates <> 0 EXCEPT \
         SELECT account, count(*) FROM certificate GROUP BY 1)",
        "FROM (SELECT account, count(*) FROM certificate GROUP BY 1 EXCEPT SELECT account, certificates FROM stock)",
        "FROM (SELECT account, status, day, certificates FROM stock_day EXCEPT \
         SELECT account, status, not_after / 86400, count(*) FROM certificate GROUP BY 1, 2, 3)",
        "FROM (SELECT account, status, not_after / 86400, count(*) FROM certificate GROUP BY 1, 2, 3 EXCEPT \
         SELECT account, status, day, certificates FROM stock_day)",
        "FROM (SELECT account, status, certificates FROM scm_stock WHERE certificates <> 0 EXCEPT \
         SELECT account, status, count(*) FROM scm_certificate GROUP BY 1, 2)",
        "FROM (SELECT account, status, count(*) FROM scm_certificate GROUP BY 1, 2 EXCEPT \
         SELECT account, status, certificates FROM scm_stock)",
        "FROM scm_certificate c WHERE status <> 'UPLOAD' \
         AND (NOT EXISTS (SELECT 1 FROM scm_order WHERE certificate = c.id) \
         OR c.domain_type = 'SINGLE_DOMAIN' \
         AND NOT EXISTS (SELECT 1 FROM scm_tag WHERE certificate = c.id AND key = 'order'))",
        "FROM scm_certificate WHERE status = 'ISSUED' AND (certificate IS NULL OR key IS NULL)",
        "FROM scm_copy WHERE original NOT IN (SELECT certificate FROM scm_push)",
    ] {
        let found = number(connection, &format!("SELECT count(*) {wrong}"), "").await;
        assert_eq!(found, 0, "{wrong}");
    }
}

async fn number(connection: &mut SqliteConnection, sql: &str, id: &str) -> i64 {
    let row = sqlx::query(AssertSqlSafe(sql.to_owned())).bind(id.to_owned());
    row.fetch_one(connection).await.unwrap().get(0)
}

/// The same over the API, of a server that has started anew.
pub(super) async fn found(peer: &impl Peer, facts: &[Fact]) {
    for fact in facts {
        let (path, field, wanted) = match fact {
            Fact::Applied(id) => (
                format!("{CERTIFICATES}/{id}"),
                "status",
                &["CHECKING_DOMAIN", "ISSUING", "ISSUED"][..],
            ),
            Fact::Imported(id) => (format!("{CERTIFICATES}/{id}"), "status", &["UPLOAD"][..]),
            Fact::Disabled(id) => (format!("{CAS}/{id}"), "status", &["DISABLED"][..]),
            Fact::Enabled(id) => (format!("{CAS}/{id}"), "status", &["ACTIVED"][..]),
            Fact::Known(known) => {
                known.found(peer).await;
                continue;
            }
            Fact::Token(token) => {
                killed_faces::token_is_good(peer, token).await;
                continue;
            }
            Fact::Temporary(access, secret, token) => {
                killed_faces::key_is_good(peer, access, secret, token).await;
                continue;
            }
            Fact::Bought(_)
            | Fact::Tagged(_)
            | Fact::Pushed(_)
            | Fact::Authority(_)
            | Fact::Unknown(_) => continue,
        };
        let shown = get(peer, &path).await.expect(200);
        assert!(
            wanted.contains(&shown.text(field).as_str()),
            "{fact:?}: {}",
            shown.body
        );
    }
}
