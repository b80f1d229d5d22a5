//! An order as the state keeps it, and as the API and the management listener show it.

use serde_json::{Map, Value, json};
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row, SqliteConnection};

use crate::ccm_server::answer::Answer;
use crate::ccm_server::codes::code;
use crate::ccm_server::failure::Failure;
use crate::ccm_server::operation::Call;
use crate::ccm_server::scm::orders::form::Form;
use crate::ccm_server::scm::orders::review::Class;
use crate::ccm_server::scm::orders::{renewal, web};
use crate::ccm_server::server::Shared;
use crate::ccm_server::vault::Vault;
use crate::model::{Name, Timestamp};
use crate::pki::Secret;

/// A certificate and its order.
pub(super) struct Order {
    pub(super) id: String,
    pub(super) account: String,
    status: String,
    pub(super) kind: String,
    pub(super) domain_type: String,
    pub(super) domain_count: i64,
    pub(super) domain: String,
    sans: String,
    pub(super) not_after: Option<i64>,
    /// Sealed.
    pub(super) key: Option<Vec<u8>>,
    /// Absent for what was put there as if bought.
    pub(super) years: Option<i64>,
    pub(super) primary: Option<String>,
    pub(super) singles: Option<i64>,
    pub(super) wildcards: Option<i64>,
    pub(super) paid_until: Option<i64>,
    pub(super) origin: Option<String>,
    pub(super) renews: Option<String>,
    pub(super) renew_at: Option<i64>,
    /// Sealed; what the applicant said.
    pub(super) form: Option<Vec<u8>>,
    pub(super) method: Option<String>,
    pub(super) token: Option<String>,
    pub(super) attempt: i64,
    pub(super) submitted: Option<i64>,
    pub(super) stage_end: Option<i64>,
    due: Option<i64>,
    pub(super) fail_reason: Option<String>,
}

const COLUMNS: &str = "SELECT c.*, o.years, o.primary_kind, o.singles, o.wildcards, o.paid_until, o.origin, o.renews, \
     o.renew_at, o.form, o.method, o.token, o.attempt, o.submitted, o.stage_end, o.due, o.fail_reason \
     FROM scm_certificate c LEFT JOIN scm_order o ON o.certificate = c.id";

impl Order {
    fn from_row(row: &SqliteRow) -> Self {
        let optional = |column: &str| row.get::<Option<String>, _>(column);
        Self {
            id: row.get("id"),
            account: row.get("account"),
            status: row.get("status"),
            kind: optional("kind").unwrap_or_default(),
            domain_type: row.get("domain_type"),
            domain_count: row.get("domain_count"),
            domain: row.get("domain"),
            sans: row.get("sans"),
            not_after: row.get("not_after"),
            key: row.get("key"),
            years: row.get("years"),
            primary: optional("primary_kind"),
            singles: row.get("singles"),
            wildcards: row.get("wildcards"),
            paid_until: row.get("paid_until"),
            origin: optional("origin"),
            renews: optional("renews"),
            renew_at: row.get("renew_at"),
            form: row.get("form"),
            method: optional("method"),
            token: optional("token"),
            attempt: row.get::<Option<i64>, _>("attempt").unwrap_or(0),
            submitted: row.get("submitted"),
            stage_end: row.get("stage_end"),
            due: row.get("due"),
            fail_reason: optional("fail_reason"),
        }
    }

    /// The order of this id, whoever owns it.
    pub(super) async fn load(
        connection: &mut SqliteConnection,
        id: &str,
    ) -> Result<Option<Self>, Failure> {
        let sql = format!("{COLUMNS} WHERE c.id = $1");
        let row = sqlx::query(AssertSqlSafe(sql))
            .bind(id)
            .fetch_optional(connection)
            .await?;
        Ok(row.as_ref().map(Self::from_row))
    }

    /// The order of this id in the account.
    pub(super) async fn find(
        connection: &mut SqliteConnection,
        account: &str,
        id: &str,
    ) -> Result<Self, Failure> {
        let found = Self::load(connection, id).await?;
        found
            .filter(|order| order.account == account)
            .ok_or_else(|| {
                Failure::because(code("SCM.0094"), format!("there is no certificate {id}"))
            })
    }

    /// The order of a call.
    pub(super) async fn of_call(call: &Call<'_>, id: &str) -> Result<Self, Failure> {
        let mut connection = call.shared.db.read().acquire().await?;
        Self::find(&mut connection, call.account(), id).await
    }

    /// The status at a moment: what is issued expires by itself.
    pub(super) fn status(&self, now: Timestamp) -> &str {
        let ended = self.not_after.is_some_and(|end| end < now.0);
        if ended && ["ISSUED", "UPLOAD"].contains(&self.status.as_str()) {
            "EXPIRED"
        } else {
            &self.status
        }
    }

    /// How closely the owner is looked at.
    pub(super) fn class(&self) -> Class {
        Class::of(&self.kind)
    }

    /// Whether it was bought, here or as if.
    pub(super) fn is_bought(&self) -> bool {
        !self.kind.is_empty()
    }

    /// Refuses unless the status is one of these.
    pub(super) fn must_be(&self, now: Timestamp, wanted: &[&str]) -> Result<(), Failure> {
        let status = self.status(now);
        if wanted.contains(&status) {
            return Ok(());
        }
        let code = if UNDER_WAY.contains(&status) && wanted.contains(&"PAID") {
            code("SCM.0064")
        } else {
            code("SCM.0010")
        };
        let detail = format!("the certificate is {status}, not {}", wanted.join(" or "));
        Err(Failure::because(code, detail))
    }

    /// The names beside the primary one.
    pub(super) fn sans(&self) -> Vec<String> {
        let names = self.sans.split(';').filter(|name| !name.is_empty());
        names.map(str::to_owned).collect()
    }

    /// What the applicant said, unsealed.
    pub(super) fn form(&self, vault: &Vault) -> Result<Option<Form>, Failure> {
        let Some(sealed) = &self.form else {
            return Ok(None);
        };
        let opened = vault.open(&form_label(&self.id), sealed)?;
        Ok(Some(serde_json::from_slice(opened.expose())?))
    }

    /// What came before it and what comes after, in the fields of CCM API 4.1.2.1.
    pub(super) fn succession(&self, now: Timestamp) -> [(&'static str, Value); 4] {
        [
            ("origin_cert_id", self.origin.as_deref().into()),
            ("renewal_cert_id", self.renews.as_deref().into()),
            (
                "auto_renew_status",
                i64::from(self.renew_at.is_some()).into(),
            ),
            ("remain_cert_number", self.remaining(now).into()),
        ]
    }

    /// What was bought for the primary name, in the words of CCM API 4.1.5.3.
    pub(super) fn multi_domain_type(&self) -> Option<&'static str> {
        match self.primary.as_deref()? {
            "WILDCARD_DOMAIN" => Some("primary_wildcard"),
            _ => Some("primary_single"),
        }
    }

    /// Of a year or more that was paid for, how many certificates are still to come.
    fn remaining(&self, now: Timestamp) -> i64 {
        match (self.renew_at, self.not_after, self.paid_until) {
            (Some(_), Some(end), Some(paid)) => {
                renewal::still_to_come(Timestamp(end), Timestamp(paid), now)
            }
            _ => 0,
        }
    }
}

/// Seals what an applicant said for the order of this id.
pub(super) fn seal_form(vault: &Vault, id: &str, form: &Form) -> Result<Vec<u8>, Failure> {
    let text = Secret::new(serde_json::to_vec(form)?);
    Ok(vault.seal(&form_label(id), text.expose())?)
}

fn form_label(id: &str) -> String {
    format!("scm_order.form/{id}")
}

/// One name of an application.
pub(super) struct Domain {
    pub(super) position: i64,
    pub(super) domain: String,
    pub(super) validated: bool,
    proven_at: Option<i64>,
    /// Where the server wrote its record.
    pub(super) zone: Option<String>,
    problem: Option<String>,
}

impl Domain {
    /// Whether it was proven before this application, which asks for no proof of it then.
    pub(super) fn was_proven(&self, order: &Order) -> bool {
        let times = self.proven_at.zip(order.submitted);
        times.is_some_and(|(proven, submitted)| proven < submitted)
    }
}

/// The names of an application, the primary one first.
pub(super) async fn domains(
    connection: &mut SqliteConnection,
    id: &str,
) -> Result<Vec<Domain>, Failure> {
    let rows = sqlx::query(
        "SELECT position, domain, validated, problem, zone FROM scm_domain WHERE certificate = $1 ORDER BY position",
    )
    .bind(id)
    .fetch_all(connection)
    .await?;
    let domains = rows.iter().map(|row| Domain {
        position: row.get(0),
        domain: row.get(1),
        validated: row.get::<Option<i64>, _>(2).is_some(),
        proven_at: row.get(2),
        problem: row.get(3),
        zone: row.get(4),
    });
    Ok(domains.collect())
}

/// Name, type and value of what proves a name (CCM API 4.1.5.3, `Authentification`).
pub(super) fn proof(method: &str, token: &str, domain: &str) -> Value {
    let (name, kind) = match method {
        "FILE" => (web::PATH.to_owned(), "FILE"),
        "EMAIL" => (String::new(), "EMAIL"),
        _ => (record_name(domain), "TXT"),
    };
    json!({"record_name": name, "record_type": kind, "record_value": token, "domain": domain})
}

/// Where the TXT record of a name is looked for; a wildcard is proven by what is above it.
pub(super) fn record_name(domain: &str) -> String {
    let domain = domain.strip_prefix("*.").unwrap_or(domain);
    format!("_dnsauth.{domain}")
}

/// 7.1.21: the primary name's proof.
pub(in crate::ccm_server) async fn verification(
    call: &Call<'_>,
    id: &str,
) -> Result<Answer, Failure> {
    let order = Order::of_call(call, id).await?;
    let form = order.form(&call.shared.vault)?;
    let mut names = {
        let mut connection = call.shared.db.read().acquire().await?;
        domains(&mut connection, id).await?.into_iter()
    };
    // Where proofs are not used again, the one that it had is shown further.
    let again = call.shared.life.reuse.since(call.now).is_some();
    let first = names.next();
    let asked = first.is_none_or(|first| !(again && first.was_proven(&order)));
    let (true, Some(method), Some(token)) = (asked, &order.method, &order.token) else {
        let detail = format!(
            "the certificate is {}, and nothing is to be verified",
            order.status(call.now)
        );
        return Err(Failure::because(code("SCM.0010"), detail));
    };
    let proof = proof(method, token, &order.domain);
    let email = form.as_ref().map(|form| form.applicant_email.clone());
    let asked = (method == "EMAIL").then(|| email.clone()).flatten();
    Ok(Answer::ok(json!({
        "domain_name": order.domain,
        "domain_email": asked,
        "record_name": proof["record_name"],
        "record_value": token,
        "record_type": proof["record_type"],
        "domain_method": method,
        "applicant_email": email,
        "auto_dns_auth": form.is_some_and(|form| form.auto_dns_auth),
    })))
}

/// The orders that were applied for, latest first, as the management listener shows them; without what applicants said of
/// themselves.
pub(in crate::ccm_server) async fn listed(
    shared: &Shared,
    only: Option<&str>,
    now: Timestamp,
) -> Result<Vec<Value>, Failure> {
    let sql = format!(
        "{COLUMNS} WHERE o.certificate IS NOT NULL AND ($1 IS NULL OR c.id = $1) ORDER BY c.updated DESC, c.seq DESC LIMIT {MOST}"
    );
    let mut connection = shared.db.read().acquire().await?;
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(only.map(str::to_owned))
        .fetch_all(&mut *connection)
        .await?;
    let mut all = Vec::with_capacity(rows.len());
    for row in &rows {
        let order = Order::from_row(row);
        let mut names = Vec::new();
        for domain in domains(&mut connection, &order.id).await? {
            let mut one = match (&order.method, &order.token) {
                (Some(method), Some(token)) => proof(method, token, &domain.domain),
                _ => json!({"domain": domain.domain}),
            };
            if let Some(fields) = one.as_object_mut() {
                fields.insert("validated".to_owned(), domain.validated.into());
                fields.insert("problem".to_owned(), domain.problem.into());
                fields.insert("zone".to_owned(), domain.zone.into());
            }
            names.push(one);
        }
        let mut shown = Map::new();
        let mut put = |name: &str, value: Value| shown.insert(name.to_owned(), value);
        put("certificate_id", order.id.as_str().into());
        put("account", order.account.as_str().into());
        put("status", order.status(now).into());
        put("type", order.kind.as_str().into());
        put("domain", order.domain.as_str().into());
        put("method", order.method.as_deref().into());
        put("domains", names.into());
        put(
            "next_look",
            order.due.map(|at| Timestamp(at).to_string()).into(),
        );
        put("fail_reason", order.fail_reason.as_deref().into());
        for (name, value) in order.succession(now) {
            put(name, value);
        }
        all.push(Value::Object(shown));
    }
    Ok(all)
}

/// Whether this name is an address.
pub(super) fn is_address(name: &str) -> bool {
    matches!(Name::parse(name), Ok(Name::Ip(_)))
}

/// An application is being worked on.
pub(super) const UNDER_WAY: &[&str] = &["CHECKING", "CHECKING_DOMAIN", "CHECKING_ORG", "ISSUING"];
/// Of a listing; newer ones come first.
const MOST: i64 = 1000;
