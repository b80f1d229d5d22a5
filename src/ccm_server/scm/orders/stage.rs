//! One step of an application, from stage to stage. Every step names the attempt it is for, so that what was cancelled or
//! changed while somebody worked on it stays as it is.

use sqlx::SqliteConnection;

use crate::ccm_server::codes::code;
use crate::ccm_server::failure::Failure;
use crate::ccm_server::scm::orders::apply::back_to_issued;
use crate::ccm_server::scm::orders::form::Form;
use crate::ccm_server::scm::orders::order::{Order, UNDER_WAY, domains};
use crate::ccm_server::scm::orders::review::{Class, Outcome};
use crate::ccm_server::scm::orders::{issue, validation, zones};
use crate::ccm_server::server::Shared;
use crate::model::{Seconds, Timestamp};

/// Carries an application as far as it goes now; whether it moved.
pub(super) async fn advance(shared: &Shared, id: &str, now: Timestamp) -> Result<bool, Failure> {
    let mut moved = false;
    // A bound on what has at most five stages.
    for _ in 0..8 {
        if !step(shared, id, false, now).await? {
            return Ok(moved);
        }
        moved = true;
    }
    Ok(moved)
}

/// Lets an application pass its present stage, whatever that waits for, and carries it on.
pub(in crate::ccm_server) async fn approve(
    shared: &Shared,
    id: &str,
    now: Timestamp,
) -> Result<(), Failure> {
    if !step(shared, id, true, now).await? {
        return Err(nothing(id));
    }
    advance(shared, id, now).await?;
    shared.life.ring();
    Ok(())
}

/// Ends an application as UNPASSED, a supplement or a revocation without effect.
pub(in crate::ccm_server) async fn reject(
    shared: &Shared,
    id: &str,
    reason: &str,
    now: Timestamp,
) -> Result<(), Failure> {
    let order = {
        let mut connection = shared.db.read().acquire().await?;
        Order::load(&mut connection, id).await?
    };
    let Some(order) = order else {
        return Err(nothing(id));
    };
    let stage = PENDING.iter().find(|stage| **stage == order.status(now));
    match stage {
        Some(stage) if fail(shared, &order, stage, reason, now).await? => Ok(()),
        _ => Err(nothing(id)),
    }
}

fn nothing(id: &str) -> Failure {
    Failure::because(
        code("SCM.0010"),
        format!("{id} is no certificate that waits for a decision"),
    )
}

async fn step(shared: &Shared, id: &str, approved: bool, now: Timestamp) -> Result<bool, Failure> {
    let order = {
        let mut connection = shared.db.read().acquire().await?;
        Order::load(&mut connection, id).await?
    };
    let Some(order) = order else { return Ok(false) };
    let over = approved || order.stage_end.is_none_or(|end| end <= now.0);
    match order.status(now) {
        "CHECKING" if over => moved(shared, &order, "CHECKING", "CHECKING_DOMAIN", None, now).await,
        "CHECKING" | "REVOKING" if !over => wait(shared, &order, order.stage_end).await,
        "CHECKING_DOMAIN" => prove(shared, &order, "CHECKING_DOMAIN", approved, now).await,
        // Nobody gets further domains of what has ended, however long somebody holds them back.
        "SUPPLEMENTCHECKING" if order.not_after.is_some_and(|end| end <= now.0) => {
            fail(shared, &order, "SUPPLEMENTCHECKING", issue::ENDED, now).await
        }
        "SUPPLEMENTCHECKING" => prove(shared, &order, "SUPPLEMENTCHECKING", approved, now).await,
        "CHECKING_ORG" => decide(shared, &order, "CHECKING_ORG", approved, now).await,
        "ISSUING" => decide(shared, &order, "ISSUING", approved, now).await,
        "REVOKING" => moved(shared, &order, "REVOKING", "REVOKE", None, now).await,
        // It ended, was deleted or cancelled: nobody need look again.
        _ => wait(shared, &order, None).await,
    }
}

/// The domains: those that are not proven yet are looked at.
async fn prove(
    shared: &Shared,
    order: &Order,
    from: &'static str,
    approved: bool,
    now: Timestamp,
) -> Result<bool, Failure> {
    if from == "CHECKING_DOMAIN" {
        push_again(shared, order).await?;
    }
    let names = {
        let mut connection = shared.db.read().acquire().await?;
        domains(&mut connection, &order.id).await?
    };
    let open: Vec<_> = names.into_iter().filter(|name| !name.validated).collect();
    let looked = if approved || shared.life.validation.off {
        open.iter().map(|name| (name.position, None)).collect()
    } else {
        validation::look(shared, order, &open).await
    };
    let all = looked.len() == open.len() && looked.iter().all(|(_, problem)| problem.is_none());
    note(shared, order, looked, now).await?;
    if all {
        return match (from, order.class()) {
            ("SUPPLEMENTCHECKING", class)
                if !approved && shared.life.review(class).outcome == Outcome::Hold =>
            {
                wait(shared, order, order.not_after).await
            }
            ("SUPPLEMENTCHECKING", _) => issue::issue(shared, order, from, now).await,
            // The owner of a next certificate was looked at for the first one.
            (_, Class::Ov | Class::Ev) if order.renews.is_none() => {
                let end = now + shared.life.review(order.class()).issuing;
                moved(shared, order, from, "CHECKING_ORG", Some(end), now).await
            }
            (_, class) => {
                let review = shared.life.review(class);
                let length = if order.renews.is_none() {
                    review.issuing
                } else {
                    Seconds(0)
                };
                moved(shared, order, from, "ISSUING", Some(now + length), now).await
            }
        };
    }
    let begun = Timestamp(order.submitted.unwrap_or(now.0));
    if begun + PATIENCE <= now {
        let reason = "the domains were not verified within 30 days";
        return fail(shared, order, from, reason, now).await;
    }
    let again = if order.method.as_deref() == Some("EMAIL") {
        begun + PATIENCE
    } else {
        now + pause(begun, now)
    };
    let end = order.not_after.filter(|_| from == "SUPPLEMENTCHECKING");
    wait(
        shared,
        order,
        Some(end.map_or(again.0, |end| end.min(again.0))),
    )
    .await
}

/// A zone may have come since the application did. Further domains (CCM API 7.1.20) are not asked for with `auto_dns_auth`.
async fn push_again(shared: &Shared, order: &Order) -> Result<(), Failure> {
    let Some(form) = order.form(&shared.vault)?.filter(Form::is_pushed) else {
        return Ok(());
    };
    let (id, attempt) = (order.id.clone(), order.attempt);
    let write = shared.db.write(|connection| {
        Box::pin(async move {
            match Order::load(connection, &id).await? {
                Some(order) if order.attempt == attempt => {
                    zones::push(connection, &id, &form).await
                }
                _ => Ok(()),
            }
        })
    });
    write.await
}

/// The last stage: time, and what comes of it.
async fn decide(
    shared: &Shared,
    order: &Order,
    from: &'static str,
    approved: bool,
    now: Timestamp,
) -> Result<bool, Failure> {
    if approved {
        return issue::issue(shared, order, from, now).await;
    }
    if order.stage_end.is_some_and(|end| end > now.0) {
        return wait(shared, order, order.stage_end).await;
    }
    let outcome = match order.renews {
        Some(_) => Outcome::Pass,
        None => shared.life.review(order.class()).outcome,
    };
    match outcome {
        Outcome::Pass => issue::issue(shared, order, from, now).await,
        Outcome::Fail => fail(shared, order, from, "the CA rejected the application", now).await,
        Outcome::Hold => wait(shared, order, None).await,
    }
}

/// Goes into the next stage, which is looked at at once.
async fn moved(
    shared: &Shared,
    order: &Order,
    from: &'static str,
    to: &'static str,
    stage_end: Option<Timestamp>,
    now: Timestamp,
) -> Result<bool, Failure> {
    let (id, attempt) = (order.id.clone(), order.attempt);
    let write = shared.db.write(|connection| {
        Box::pin(async move {
            if !enter(connection, &id, attempt, from, to, now).await? {
                return Ok(false);
            }
            let due = (to != "REVOKE").then_some(now.0);
            // No next one follows a revoked one.
            sqlx::query(
                "UPDATE scm_order SET stage_end = $1, due = $2, \
                 renew_at = CASE WHEN $4 = 'REVOKE' THEN NULL ELSE renew_at END WHERE certificate = $3",
            )
                .bind(stage_end.map(|end| end.0))
                .bind(due)
                .bind(&id)
                .bind(to)
                .execute(connection)
                .await?;
            Ok::<_, Failure>(true)
        })
    });
    write.await
}

/// Changes the status, unless somebody else has changed it since this attempt was looked at.
pub(super) async fn enter(
    connection: &mut SqliteConnection,
    id: &str,
    attempt: i64,
    from: &str,
    to: &str,
    now: Timestamp,
) -> Result<bool, Failure> {
    let changed = sqlx::query(
        "UPDATE scm_certificate SET status = $1, updated = $2 WHERE id = $3 AND status = $4 \
         AND EXISTS (SELECT 1 FROM scm_order WHERE certificate = $3 AND attempt = $5)",
    )
    .bind(to)
    .bind(now.0)
    .bind(id)
    .bind(from)
    .bind(attempt)
    .execute(connection)
    .await?;
    Ok(changed.rows_affected() == 1)
}

/// Ends an attempt with a reason.
pub(super) async fn fail(
    shared: &Shared,
    order: &Order,
    from: &'static str,
    reason: &str,
    now: Timestamp,
) -> Result<bool, Failure> {
    let (id, attempt) = (order.id.clone(), order.attempt);
    let reason: String = reason.chars().take(REASON).collect();
    let back = !UNDER_WAY.contains(&from);
    let write = shared.db.write(|connection| {
        Box::pin(async move {
            let to = if back { "ISSUED" } else { "UNPASSED" };
            if !enter(connection, &id, attempt, from, to, now).await? {
                return Ok(false);
            }
            let Some(order) = Order::load(connection, &id).await? else {
                return Ok(false);
            };
            if back {
                back_to_issued(connection, &order, now, Some(&reason)).await?;
            } else {
                sqlx::query(
                    "UPDATE scm_order SET attempt = attempt + 1, stage_end = NULL, due = NULL, fail_reason = $1 \
                     WHERE certificate = $2",
                )
                .bind(&reason)
                .bind(&id)
                .execute(connection)
                .await?;
            }
            Ok::<_, Failure>(true)
        })
    });
    write.await
}

/// Says when to look again; nothing has moved.
async fn wait(shared: &Shared, order: &Order, until: Option<i64>) -> Result<bool, Failure> {
    let (id, attempt) = (order.id.clone(), order.attempt);
    let write = shared.db.write::<_, Failure>(|connection| {
        Box::pin(async move {
            sqlx::query("UPDATE scm_order SET due = $1 WHERE certificate = $2 AND attempt = $3")
                .bind(until)
                .bind(id)
                .bind(attempt)
                .execute(connection)
                .await?;
            Ok(false)
        })
    });
    write.await
}

/// Keeps what was seen of each name.
async fn note(
    shared: &Shared,
    order: &Order,
    looked: Vec<(i64, Option<String>)>,
    now: Timestamp,
) -> Result<(), Failure> {
    if looked.is_empty() {
        return Ok(());
    }
    let (id, attempt) = (order.id.clone(), order.attempt);
    let write = shared.db.write::<_, Failure>(|connection| {
        Box::pin(async move {
            for (position, problem) in looked {
                let validated = problem.is_none().then_some(now.0);
                sqlx::query(
                    "UPDATE scm_domain SET validated = $1, problem = $2 WHERE certificate = $3 AND position = $4 \
                     AND EXISTS (SELECT 1 FROM scm_order WHERE certificate = $3 AND attempt = $5)",
                )
                .bind(validated)
                .bind(problem)
                .bind(&id)
                .bind(position)
                .bind(attempt)
                .execute(&mut *connection)
                .await?;
            }
            Ok(())
        })
    });
    write.await
}

/// A tenth of the time since the application; two seconds at least, a quarter of an hour at most.
fn pause(begun: Timestamp, now: Timestamp) -> Seconds {
    Seconds((begun.until(now).0 / 10).clamp(SHORTEST.0, LONGEST.0))
}

/// Somebody may decide about these.
const PENDING: &[&str] = &[
    "CHECKING",
    "CHECKING_DOMAIN",
    "CHECKING_ORG",
    "ISSUING",
    "SUPPLEMENTCHECKING",
    "REVOKING",
];
/// How long domains may take: a token is good for 30 days with public CAs (Baseline Requirements §3.2.2.4.7).
const PATIENCE: Seconds = Seconds::days(30);
const SHORTEST: Seconds = Seconds(2);
const LONGEST: Seconds = Seconds(900);
/// Characters of `fail_reason` (CCM API 4.1.2.1).
const REASON: usize = 255;
