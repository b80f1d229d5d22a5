//! Further domains for a certificate that is issued (CCM API 7.1.20): they are verified, then the certificate is replaced.

use crate::ccm_server::answer::Answer;
use crate::ccm_server::codes::code;
use crate::ccm_server::failure::Failure;
use crate::ccm_server::operation::Call;
use crate::ccm_server::scm::orders::apply::success;
use crate::ccm_server::scm::orders::form::{fits, names};
use crate::ccm_server::scm::orders::order::{Order, domains, is_address};
use crate::ccm_server::scm::orders::reuse;
use crate::model::{Name, Timestamp};

/// 7.1.20
pub(in crate::ccm_server) async fn supplement(
    call: &Call<'_>,
    id: &str,
) -> Result<Answer, Failure> {
    let before = names(call.body.text("ori_sans"))?;
    let add = names(call.body.text("add_sans"))?;
    let email = call.body.text("email");
    if !email.is_empty() && !matches!(Name::parse(email), Ok(Name::Email(_))) {
        return Err(Failure::because(
            code("SCM.0005"),
            "email must be a mailbox such as example@huawei.com",
        ));
    }
    let now = call.now;
    let proven_since = call.shared.life.reuse.since(now);
    let (own, account) = (id.to_owned(), call.account().to_owned());
    let write = call.shared.db.write(|connection| {
        Box::pin(async move {
            let order = Order::find(connection, &account, &own).await?;
            order.must_be(now, &["ISSUED"])?;
            let all = checked(&order, before, add, now)?;
            let before = domains(connection, &own).await?;
            let mut proven = Vec::with_capacity(all.len());
            for (position, name) in all.iter().enumerate() {
                // Where proofs are used again, they end some day.
                proven.push(match proven_since {
                    Some(_) => reuse::held(connection, &own, name, proven_since).await?,
                    // Without an end, they are those of before.
                    None => (position < order.sans().len() + 1).then_some(now.0 - 1),
                });
            }
            sqlx::query("DELETE FROM scm_domain WHERE certificate = $1")
                .bind(&own)
                .execute(&mut *connection)
                .await?;
            for (position, (name, proven)) in all.iter().zip(proven).enumerate() {
                let known = before.iter().find(|known| known.domain == *name);
                sqlx::query(
                    "INSERT INTO scm_domain (certificate, position, domain, validated, zone) VALUES ($1, $2, $3, $4, $5)",
                )
                .bind(&own)
                .bind(i64::try_from(position).unwrap_or(i64::MAX))
                .bind(name)
                .bind(proven)
                .bind(known.and_then(|known| known.zone.as_deref()))
                .execute(&mut *connection)
                .await?;
            }
            sqlx::query(
                "UPDATE scm_certificate SET status = 'SUPPLEMENTCHECKING', updated = $1 WHERE id = $2",
            )
            .bind(now.0)
            .bind(&own)
            .execute(&mut *connection)
            .await?;
            sqlx::query(
                "UPDATE scm_order SET attempt = attempt + 1, submitted = $1, stage_end = NULL, due = $1, fail_reason = NULL \
                 WHERE certificate = $2",
            )
            .bind(now.0)
            .bind(&own)
            .execute(connection)
            .await?;
            Ok::<_, Failure>(())
        })
    });
    write.await?;
    call.shared.life.ring();
    Ok(success())
}

/// All names in the end, the primary one first.
fn checked(
    order: &Order,
    before: Vec<String>,
    add: Vec<String>,
    now: Timestamp,
) -> Result<Vec<String>, Failure> {
    if order.domain_type != "MULTI_DOMAIN" {
        let detail = "only a multi-domain certificate takes further domains";
        return Err(Failure::because(code("SCM.0066"), detail));
    }
    if order.token.is_none() {
        let detail = format!(
            "the certificate is {}, but nobody applied for it here",
            order.status(now)
        );
        return Err(Failure::because(code("SCM.0010"), detail));
    }
    let have = order.sans();
    let mut given: Vec<&String> = before
        .iter()
        .filter(|name| **name != order.domain)
        .collect();
    let mut wanted: Vec<&String> = have.iter().collect();
    given.sort();
    wanted.sort();
    if given != wanted {
        let detail = format!(
            "the certificate has the additional domains {:?}",
            have.join(";")
        );
        return Err(Failure::because(code("SCM.0067"), detail));
    }
    if add.is_empty() {
        return Err(Failure::because(
            code("SCM.0005"),
            "add_sans names no domain",
        ));
    }
    if let Some(twice) = add
        .iter()
        .find(|name| have.contains(name) || **name == order.domain)
    {
        let detail = format!("{twice} is in the certificate already");
        return Err(Failure::because(code("SCM.0063"), detail));
    }
    if add
        .iter()
        .any(|name| is_address(name) != is_address(&order.domain))
    {
        let detail = "domains and IP addresses are verified in different ways, and do not go into one certificate";
        return Err(Failure::because(code("SCM.0015"), detail));
    }
    let sans: Vec<String> = have.into_iter().chain(add).collect();
    fits(order, &order.domain, &sans)?;
    Ok(std::iter::once(order.domain.clone()).chain(sans).collect())
}
