//! Orders outlive their certificates: how long one may be valid, and the next one 30 days before its end (CCM API 4.1.5.1,
//! `validity_period`).
//!
//! The reference speaks of certificates of a year each. The industry's limit is below that since 2026, so a year takes
//! several; each is as long as is allowed on the day it is issued.

use jiff::ToSpan as _;
use jiff::tz::TimeZone;
use sqlx::SqliteConnection;

use crate::ccm_server::failure::Failure;
use crate::ccm_server::scm::orders::apply::Application;
use crate::ccm_server::scm::orders::order::{Order, seal_form};
use crate::ccm_server::scm::tags;
use crate::ccm_server::server::Shared;
use crate::ccm_server::text;
use crate::model::{Seconds, Timestamp};

/// When a certificate that is issued now ends, and what was paid for with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ends {
    /// Of the certificate.
    pub(super) not_after: Timestamp,
    /// Of the order's years.
    pub(super) paid_until: Timestamp,
    /// When the next is applied for, if there is one.
    pub(super) renew_at: Option<Timestamp>,
}

impl Ends {
    /// Of the first certificate of so many years.
    pub(super) fn first(now: Timestamp, years: i64) -> Self {
        Self::of(now, now, years_later(now, years))
    }

    /// Of the one after a certificate that ends at `before`.
    pub(super) fn next(now: Timestamp, before: Timestamp, paid_until: Timestamp) -> Self {
        Self::of(now, before, paid_until)
    }

    fn of(now: Timestamp, from: Timestamp, paid_until: Timestamp) -> Self {
        // One that was approved late begins late; nobody pays for the gap twice.
        let year = years_later(from.max(now), 1);
        let not_after = year.min(now + longest(now)).min(paid_until.max(now));
        Self {
            not_after,
            paid_until,
            renew_at: (paid_until > not_after + SLACK).then_some(not_after - AHEAD),
        }
    }
}

/// How many certificates follow one that ends at `end`, by the rules of now.
pub(super) fn still_to_come(end: Timestamp, paid_until: Timestamp, now: Timestamp) -> i64 {
    let mut count = 0;
    let mut end = end;
    while paid_until > end + SLACK && count < MOST {
        let next = Ends::next(now.max(end - AHEAD), end, paid_until).not_after;
        if next <= end {
            break;
        }
        end = next;
        count += 1;
    }
    count
}

/// CA/Browser Forum, ballot SC-081v3: how long a certificate may be valid that is issued on a day. Both ends count, so a
/// second is taken off.
fn longest(now: Timestamp) -> Seconds {
    let step = STEPS.iter().rev().find(|(from, _)| now >= *from);
    let days = step.map_or(STEPS[0].1, |(_, days)| *days);
    Seconds(Seconds::days(days).0 - 1)
}

fn years_later(at: Timestamp, years: i64) -> Timestamp {
    let later = jiff::Timestamp::from_second(at.0).ok().and_then(|stamp| {
        stamp
            .to_zoned(TimeZone::UTC)
            .checked_add(years.years())
            .ok()
    });
    later.map_or(at, |zoned| Timestamp(zoned.timestamp().as_second()))
}

/// Applies for the certificate after `order`, with what was said for it; answers the new id. The applicant's records are
/// asked for again, under the same token, so that whoever leaves them in place has nothing to do. Further domains that are being
/// verified are waited for as long as there is time: what has them ends soon, and the next one would be without them.
pub(super) async fn renew(
    shared: &Shared,
    order: &Order,
    now: Timestamp,
) -> Result<Option<String>, Failure> {
    let Some(form) = order.form(&shared.vault)? else {
        return Ok(None);
    };
    let id = text::scm_id();
    let sealed = seal_form(&shared.vault, &id, &form)?;
    let (own, new, said) = (order.id.clone(), id.clone(), order.form.clone());
    let proven_since = shared.life.reuse.since(now);
    let write = shared.db.write(|connection| {
        Box::pin(async move {
            // Somebody else may have been faster, or have revoked it.
            let Some(order) = Order::load(connection, &own).await? else {
                return Ok(false);
            };
            let lives = LIVES.contains(&order.status(now));
            if order.renew_at.is_none_or(|at| at > now.0) || !lives {
                return Ok(false);
            }
            if order.status(now) == "SUPPLEMENTCHECKING" {
                let last = order.not_after.map_or(now, |end| Timestamp(end) - AT_LAST);
                if now < last {
                    put_off(connection, &own, last).await?;
                    return Ok(false);
                }
            }
            if order.form != said {
                // Names were added since it was read.
                return Ok(false);
            }
            copy(connection, &order, &new, now).await?;
            let token = order.token.clone().unwrap_or_default();
            let application = Application {
                form: &form,
                sealed,
                token: &token,
                status: "CHECKING_DOMAIN",
                stage_end: None,
                proven_since,
            };
            application.put(connection, &new, now).await?;
            sqlx::query("UPDATE scm_order SET renew_at = NULL WHERE certificate = $1")
                .bind(&own)
                .execute(connection)
                .await?;
            Ok::<_, Failure>(true)
        })
    });
    let done = write.await?;
    if done {
        tracing::info!(certificate = %order.id, next = %id, "applied for the next certificate of an order");
    }
    Ok(done.then_some(id))
}

/// Applies for the next one at `last`, unless the supplement ends before.
async fn put_off(
    connection: &mut SqliteConnection,
    id: &str,
    last: Timestamp,
) -> Result<(), Failure> {
    sqlx::query("UPDATE scm_order SET renew_at = $1 WHERE certificate = $2")
        .bind(last.0)
        .bind(id)
        .execute(connection)
        .await?;
    Ok(())
}

/// Says when a supplement is over that the next one is due as if there had been none.
pub(super) async fn take_up(connection: &mut SqliteConnection, id: &str) -> Result<(), Failure> {
    sqlx::query(
        "UPDATE scm_order SET renew_at = min(renew_at, \
         (SELECT not_after FROM scm_certificate WHERE id = scm_order.certificate) - $1) \
         WHERE certificate = $2 AND renew_at IS NOT NULL",
    )
    .bind(AHEAD.0)
    .bind(id)
    .execute(connection)
    .await?;
    Ok(())
}

async fn copy(
    connection: &mut SqliteConnection,
    order: &Order,
    id: &str,
    now: Timestamp,
) -> Result<(), Failure> {
    sqlx::query(
        "INSERT INTO scm_certificate (id, account, name, status, domain, sans, kind, brand, domain_type, domain_count, \
         wildcard_count, order_id, validity_period, updated, description, deploy_support) \
         SELECT $1, account, name, 'PAID', domain, sans, kind, brand, domain_type, domain_count, wildcard_count, order_id, \
         validity_period, $2, description, 0 FROM scm_certificate WHERE id = $3",
    )
    .bind(id)
    .bind(now.0)
    .bind(&order.id)
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "INSERT INTO scm_order (certificate, years, primary_kind, singles, wildcards, paid_until, origin, renews) \
         SELECT $1, years, primary_kind, singles, wildcards, paid_until, coalesce(origin, certificate), certificate \
         FROM scm_order WHERE certificate = $2",
    )
    .bind(id)
    .bind(&order.id)
    .execute(&mut *connection)
    .await?;
    tags::copy(connection, &order.id, id).await
}

/// What is followed by the next. What was said for it has the names that are issued, also while further ones are verified.
pub(super) const LIVES: &[&str] = &["ISSUED", "SUPPLEMENTCHECKING", "EXPIRED"];
/// From when on how many days.
const STEPS: [(Timestamp, i64); 4] = [
    // 2020-09-01
    (Timestamp(1_598_918_400), 398),
    // 2026-03-15
    (Timestamp(1_773_532_800), 200),
    // 2027-03-15
    (Timestamp(1_805_068_800), 100),
    // 2029-03-15
    (Timestamp(1_868_227_200), 47),
];
/// CCM API 4.1.5.1: "30 days before the first certificate expires".
const AHEAD: Seconds = Seconds::days(30);
/// The next one waits for further domains until so long before the end: the applicant still has days to put it in place.
const AT_LAST: Seconds = Seconds::days(7);
/// What is left of the years by less than this is not worth a certificate.
const SLACK: Seconds = Seconds::days(1);
/// `remain_cert_number` ends here (CCM API 4.1.2.1).
const MOST: i64 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn the_steps_are_those_of_the_ballot() {
        for (day, days) in [
            ("2024-01-01", 398),
            ("2026-03-14", 398),
            ("2026-03-15", 200),
            ("2027-03-14", 200),
            ("2027-03-15", 100),
            ("2029-03-14", 100),
            ("2029-03-15", 47),
            ("2040-01-01", 47),
        ] {
            assert_eq!(longest(at(day)), Seconds(days * 86_400 - 1), "{day}");
        }
    }

    #[test]
    fn three_years_were_three_certificates_of_a_year() {
        let first = Ends::first(at("2021-02-01"), 3);
        assert_eq!(first.not_after, at("2022-02-01"));
        assert_eq!(first.paid_until, at("2024-02-01"));
        assert_eq!(first.renew_at, Some(at("2022-01-02")));
        assert_eq!(
            still_to_come(first.not_after, first.paid_until, at("2021-02-01")),
            2
        );
        let second = Ends::next(at("2022-01-02"), first.not_after, first.paid_until);
        assert_eq!(second.not_after, at("2023-02-01"));
        let third = Ends::next(at("2023-01-02"), second.not_after, first.paid_until);
        assert_eq!((third.not_after, third.renew_at), (at("2024-02-01"), None));
        assert_eq!(
            still_to_come(third.not_after, third.paid_until, at("2023-01-02")),
            0
        );
    }

    #[test]
    fn a_year_takes_as_many_certificates_as_the_limit_of_the_day_makes_it() {
        let now = at("2026-06-01");
        let first = Ends::first(now, 1);
        assert_eq!(first.not_after, Timestamp(at("2026-12-18").0 - 1));
        assert_eq!(still_to_come(first.not_after, first.paid_until, now), 1);
        let now = at("2029-06-01");
        let first = Ends::first(now, 1);
        assert_eq!(first.not_after, Timestamp(at("2029-07-18").0 - 1));
        // 17 days of each are new: the next begins 30 days before the end of the one before.
        assert_eq!(still_to_come(first.not_after, first.paid_until, now), 19);
        assert_eq!(Ends::first(at("2021-02-01"), 1).renew_at, None);
    }

    #[test]
    fn a_next_one_that_comes_too_late_ends_with_the_years() {
        let ends = Ends::next(at("2025-01-01"), at("2023-02-01"), at("2024-02-01"));
        assert_eq!(ends.not_after, at("2025-01-01"));
        assert_eq!(ends.renew_at, None);
    }
}
