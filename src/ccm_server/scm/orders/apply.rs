//! Applications: submitted, saved, read back, cancelled (CCM API 4.1.1.1, 4.1.1.2, 7.1.7, 7.1.9, 7.1.10, 7.1.11).

use serde_json::{Value, json};
use sqlx::SqliteConnection;

use crate::ccm_server::answer::Answer;
use crate::ccm_server::codes::code;
use crate::ccm_server::failure::Failure;
use crate::ccm_server::operation::Call;
use crate::ccm_server::scm::orders::form::{Form, Purpose};
use crate::ccm_server::scm::orders::order::{Order, UNDER_WAY, seal_form};
use crate::ccm_server::scm::orders::review::Class;
use crate::ccm_server::scm::orders::{papers, renewal, reuse, zones};
use crate::ccm_server::text;
use crate::model::Timestamp;

/// 4.1.1.1 and 7.1.7
pub(in crate::ccm_server) async fn submit(call: &Call<'_>, id: &str) -> Result<Answer, Failure> {
    let order = Order::of_call(call, id).await?;
    order.must_be(call.now, BEFORE)?;
    let form = Form::read(call.shared, &call.body, &order, Purpose::Submit).await?;
    let sealed = seal_form(&call.shared.vault, id, &form)?;
    let review = call.shared.life.review(order.class());
    let now = call.now;
    let proven_since = call.shared.life.reuse.since(now);
    let (own, account) = (id.to_owned(), call.account().to_owned());
    let write = call.shared.db.write(|connection| {
        Box::pin(async move {
            let order = Order::find(connection, &account, &own).await?;
            order.must_be(now, BEFORE)?;
            let application = Application {
                form: &form,
                sealed,
                token: &token(now),
                // The domain of a DV certificate is all there is to look at.
                status: match order.class() {
                    Class::Dv => "CHECKING_DOMAIN",
                    Class::Ov | Class::Ev => "CHECKING",
                },
                stage_end: Some((now + review.checking).0),
                proven_since,
            };
            application.put(connection, &order.id, now).await
        })
    });
    write.await?;
    call.shared.life.ring();
    Ok(success())
}

/// An application on its way into the state.
pub(super) struct Application<'a> {
    pub(super) form: &'a Form,
    pub(super) sealed: Vec<u8>,
    pub(super) token: &'a str,
    pub(super) status: &'static str,
    pub(super) stage_end: Option<i64>,
    /// Names that were proven after this moment are not proven again.
    pub(super) proven_since: Option<Timestamp>,
}

impl Application<'_> {
    /// Begins the review.
    pub(super) async fn put(
        self,
        connection: &mut SqliteConnection,
        id: &str,
        now: Timestamp,
    ) -> Result<(), Failure> {
        sqlx::query(
            "UPDATE scm_certificate SET status = $1, domain = $2, sans = $3, updated = $4 WHERE id = $5",
        )
        .bind(self.status)
        .bind(&self.form.domain)
        .bind(self.form.sans.join(";"))
        .bind(now.0)
        .bind(id)
        .execute(&mut *connection)
        .await?;
        sqlx::query(
            "UPDATE scm_order SET form = $1, method = $2, token = $3, attempt = attempt + 1, submitted = $4, \
             stage_end = $5, due = $4, fail_reason = NULL WHERE certificate = $6",
        )
        .bind(self.sealed)
        .bind(&self.form.method)
        .bind(self.token)
        .bind(now.0)
        .bind(self.stage_end)
        .bind(id)
        .execute(&mut *connection)
        .await?;
        count_wildcards(connection, id, self.form).await?;
        let mut proven = Vec::new();
        for name in self.form.names() {
            proven.push(reuse::held(connection, id, name, self.proven_since).await?);
        }
        sqlx::query("DELETE FROM scm_domain WHERE certificate = $1")
            .bind(id)
            .execute(&mut *connection)
            .await?;
        for ((position, name), proven) in (0_i64..).zip(self.form.names()).zip(proven) {
            sqlx::query(
                "INSERT INTO scm_domain (certificate, position, domain, validated) VALUES ($1, $2, $3, $4)",
            )
            .bind(id)
            .bind(position)
            .bind(name)
            .bind(proven)
            .execute(&mut *connection)
            .await?;
        }
        zones::push(connection, id, self.form).await
    }
}

/// Where the kinds of names were left open when it was bought, they are counted as they come.
pub(super) async fn count_wildcards(
    connection: &mut SqliteConnection,
    id: &str,
    form: &Form,
) -> Result<(), Failure> {
    let wildcards = form.names().filter(|name| name.starts_with("*."));
    sqlx::query(
        "UPDATE scm_certificate SET wildcard_count = $1 WHERE id = $2 \
         AND EXISTS (SELECT 1 FROM scm_order WHERE certificate = $2 AND coalesce(singles, wildcards) IS NULL)",
    )
    .bind(i64::try_from(wildcards.count()).unwrap_or(i64::MAX))
    .bind(id)
    .execute(connection)
    .await?;
    Ok(())
}

/// 4.1.1.2 and 7.1.11: back to what was before. No CA of this server takes time to agree, so CANCELCHECKING and
/// CANCELSUPPLEMENTING are never seen.
pub(in crate::ccm_server) async fn cancel(call: &Call<'_>, id: &str) -> Result<Answer, Failure> {
    let now = call.now;
    let (own, account) = (id.to_owned(), call.account().to_owned());
    let write = call.shared.db.write(|connection| {
        Box::pin(async move {
            let order = Order::find(connection, &account, &own).await?;
            match order.status(now) {
                "SUPPLEMENTCHECKING" | "REVOKING" => {
                    back_to_issued(connection, &order, now, None).await
                }
                status if UNDER_WAY.contains(&status) => {
                    back_to_paid(connection, &order, now).await
                }
                status => Err(Failure::because(
                    code("SCM.0010"),
                    format!("the certificate is {status}, and there is nothing to cancel"),
                )),
            }
        })
    });
    write.await?;
    Ok(Answer::ok(json!({"cert_id": id, "message": "success"})))
}

async fn back_to_paid(
    connection: &mut SqliteConnection,
    order: &Order,
    now: Timestamp,
) -> Result<(), Failure> {
    sqlx::query(
        "UPDATE scm_certificate SET status = 'PAID', domain = '', sans = '', updated = $1 WHERE id = $2",
    )
    .bind(now.0)
    .bind(&order.id)
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "UPDATE scm_order SET method = NULL, token = NULL, attempt = attempt + 1, submitted = NULL, stage_end = NULL, \
         due = NULL, fail_reason = NULL WHERE certificate = $1",
    )
    .bind(&order.id)
    .execute(&mut *connection)
    .await?;
    sqlx::query("DELETE FROM scm_domain WHERE certificate = $1")
        .bind(&order.id)
        .execute(connection)
        .await?;
    Ok(())
}

/// Ends a supplement or a revocation that comes to nothing: the certificate is as it was.
pub(super) async fn back_to_issued(
    connection: &mut SqliteConnection,
    order: &Order,
    now: Timestamp,
    reason: Option<&str>,
) -> Result<(), Failure> {
    sqlx::query(
        "UPDATE scm_certificate SET status = 'ISSUED', revoke_reason = NULL, updated = $1, \
         deploy_support = key IS NOT NULL WHERE id = $2",
    )
    .bind(now.0)
    .bind(&order.id)
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "UPDATE scm_order SET attempt = attempt + 1, stage_end = NULL, due = NULL, fail_reason = $1 WHERE certificate = $2",
    )
    .bind(reason)
    .bind(&order.id)
    .execute(&mut *connection)
    .await?;
    sqlx::query("DELETE FROM scm_domain WHERE certificate = $1 AND position > $2")
        .bind(&order.id)
        .bind(i64::try_from(order.sans().len()).unwrap_or(i64::MAX))
        .execute(&mut *connection)
        .await?;
    renewal::take_up(connection, &order.id).await
}

/// 7.1.9
pub(in crate::ccm_server) async fn save(call: &Call<'_>, id: &str) -> Result<Answer, Failure> {
    let order = Order::of_call(call, id).await?;
    order.must_be(call.now, BEFORE)?;
    let form = Form::read(call.shared, &call.body, &order, Purpose::Save).await?;
    let sealed = seal_form(&call.shared.vault, id, &form)?;
    let now = call.now;
    let (own, account) = (id.to_owned(), call.account().to_owned());
    let write = call.shared.db.write(|connection| {
        Box::pin(async move {
            let order = Order::find(connection, &account, &own).await?;
            order.must_be(now, BEFORE)?;
            sqlx::query("UPDATE scm_order SET form = $1 WHERE certificate = $2")
                .bind(sealed)
                .bind(&own)
                .execute(connection)
                .await?;
            Ok::<_, Failure>(())
        })
    });
    write.await?;
    Ok(success())
}

/// 7.1.10: what was saved or submitted last; null where nothing was.
pub(in crate::ccm_server) async fn read(call: &Call<'_>, id: &str) -> Result<Answer, Failure> {
    let order = Order::of_call(call, id).await?;
    if !order.is_bought() {
        let detail = "the certificate was uploaded, and nobody applied for it";
        return Err(Failure::because(code("SCM.0010"), detail));
    }
    let mut body = match order.form(&call.shared.vault)? {
        Some(form) => form.read_back(),
        None => {
            let fields = NOTHING.iter().map(|name| ((*name).to_owned(), Value::Null));
            Value::Object(fields.collect())
        }
    };
    let uploaded = papers::kinds(call.shared, id).await?;
    for (field, kind) in [("bl", "BL"), ("tl", "TL")] {
        let there = uploaded.iter().any(|have| have == kind);
        body[field] = if there { "1" } else { "0" }.into();
    }
    Ok(Answer::ok(body))
}

/// What operations of applications answer.
pub(super) fn success() -> Answer {
    Answer::ok(json!({"request_info": "success"}))
}

/// The day, a number, and letters and digits, as in the examples of 4.1.5.3 and 7.1.21.
fn token(now: Timestamp) -> String {
    let day = now.date().replace('-', "");
    let tail: Vec<u8> = text::random::<TAIL>()
        .iter()
        .map(|byte| LETTERS[usize::from(*byte) % LETTERS.len()])
        .collect();
    format!("{day}0000001{}", String::from_utf8_lossy(&tail))
}

/// From where one can apply.
const BEFORE: &[&str] = &["PAID", "UNPASSED"];
/// 240 random bits.
const TAIL: usize = 48;
/// 32 of them, so that every one is equally likely.
const LETTERS: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";
/// The fields of 7.1.10.
const NOTHING: &[&str] = &[
    "domain_name",
    "sans",
    "CSR",
    "country",
    "company_name",
    "company_unit",
    "company_province",
    "company_city",
    "applicant_name",
    "applicant_phone",
    "applicant_email",
    "contact_name",
    "contact_phone",
    "contact_email",
];
