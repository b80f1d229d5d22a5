//! What ends a certificate or what is known about its applicant (CCM API 7.1.16 and 7.1.19).

use serde_json::json;

use crate::ccm_server::answer::Answer;
use crate::ccm_server::codes::code;
use crate::ccm_server::failure::Failure;
use crate::ccm_server::operation::Call;
use crate::ccm_server::scm::orders::order::{Order, UNDER_WAY};

/// 7.1.16: at once, or when the CA's people have looked at it. No further certificate follows.
pub(in crate::ccm_server) async fn revoke(call: &Call<'_>, id: &str) -> Result<Answer, Failure> {
    let reason = call.body.text("reason").trim().to_owned();
    if reason.is_empty() {
        return Err(Failure::new(code("SCM.0027")));
    }
    let now = call.now;
    let life = &call.shared.life;
    let class = Order::of_call(call, id).await?.class();
    let length = life.review(class).revoking;
    let (own, account) = (id.to_owned(), call.account().to_owned());
    let write = call.shared.db.write(|connection| {
        Box::pin(async move {
            let order = Order::find(connection, &account, &own).await?;
            order.must_be(now, &["ISSUED"])?;
            let at_once = length.0 == 0;
            sqlx::query(
                "UPDATE scm_certificate SET status = $1, revoke_reason = $2, updated = $3, deploy_support = 0 WHERE id = $4",
            )
            .bind(if at_once { "REVOKE" } else { "REVOKING" })
            .bind(reason)
            .bind(now.0)
            .bind(&own)
            .execute(&mut *connection)
            .await?;
            // What was put there as if bought has no order yet.
            sqlx::query("INSERT OR IGNORE INTO scm_order (certificate, years) VALUES ($1, 1)")
                .bind(&own)
                .execute(&mut *connection)
                .await?;
            // What is taken back after all goes on; what is revoked is checked before the next one is made.
            let end = (!at_once).then_some((now + length).0);
            sqlx::query(
                "UPDATE scm_order SET attempt = attempt + 1, stage_end = $1, due = $1, \
                 renew_at = CASE WHEN $1 IS NULL THEN NULL ELSE renew_at END WHERE certificate = $2",
            )
            .bind(end)
            .bind(&own)
            .execute(connection)
            .await?;
            Ok::<_, Failure>(())
        })
    });
    write.await?;
    life.ring();
    Ok(Answer::ok(json!({"message": "success"})))
}

/// 7.1.19: forgets what the applicant said and uploaded. The next certificate of the order would need it, so none comes.
pub(in crate::ccm_server) async fn forget(call: &Call<'_>, id: &str) -> Result<Answer, Failure> {
    let now = call.now;
    let (own, account) = (id.to_owned(), call.account().to_owned());
    let write = call.shared.db.write(|connection| {
        Box::pin(async move {
            let order = Order::find(connection, &account, &own).await?;
            let status = order.status(now);
            if !order.is_bought() || UNDER_WAY.contains(&status) || status == "SUPPLEMENTCHECKING" {
                let detail = format!("the certificate is {status}, and its applicant is needed");
                return Err(Failure::because(code("SCM.0010"), detail));
            }
            sqlx::query("UPDATE scm_order SET form = NULL, renew_at = NULL WHERE certificate = $1")
                .bind(&own)
                .execute(&mut *connection)
                .await?;
            sqlx::query("DELETE FROM scm_paper WHERE certificate = $1")
                .bind(&own)
                .execute(connection)
                .await?;
            Ok::<_, Failure>(())
        })
    });
    write.await?;
    Ok(Answer::ok(json!({"message": "success"})))
}
