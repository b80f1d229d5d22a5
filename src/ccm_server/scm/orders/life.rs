//! Looks at applications and orders when something is due, by the server's clock.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{MutexGuard, Notify};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::ccm_server::failure::Failure;
use crate::ccm_server::scm::orders::late::{self, Late, LateWork};
use crate::ccm_server::scm::orders::order::Order;
use crate::ccm_server::scm::orders::reuse::ProofReuse;
use crate::ccm_server::scm::orders::review::{Class, Review};
use crate::ccm_server::scm::orders::validation::Validation;
use crate::ccm_server::scm::orders::{renewal, stage};
use crate::ccm_server::server::Shared;
use crate::model::{Seconds, Timestamp};

/// How applications for SSL certificates are looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScmOptions {
    /// Resolvers that are asked for TXT records; empty: those of `/etc/resolv.conf`.
    pub dns_servers: Vec<SocketAddr>,
    /// Where the file of every IP address is fetched; absent: at port 80 of the address.
    pub http_validation: Option<SocketAddr>,
    /// Domains count as proven without a look. For rehearsals.
    pub no_validation: bool,
    /// How long a proof of a domain is used again.
    pub proof_reuse: ProofReuse,
    /// Reviews; a class that is not in here is not kept waiting.
    pub reviews: BTreeMap<Class, Review>,
}

/// What the server knows of applications beside the state.
#[derive(Default)]
pub(in crate::ccm_server) struct Life {
    pub(super) validation: Validation,
    pub(super) reuse: ProofReuse,
    reviews: Mutex<BTreeMap<Class, Review>>,
    bell: Notify,
    looking: tokio::sync::Mutex<()>,
    making: tokio::sync::Mutex<()>,
    late: LateWork,
}

impl Life {
    /// As it was asked for.
    pub(in crate::ccm_server) fn new(options: ScmOptions) -> Self {
        Self {
            validation: Validation {
                resolvers: options.dns_servers,
                web: options.http_validation,
                off: options.no_validation,
            },
            reuse: options.proof_reuse,
            reviews: Mutex::new(options.reviews),
            ..Self::default()
        }
    }

    /// The review of a class.
    pub(in crate::ccm_server) fn review(&self, class: Class) -> Review {
        let reviews = self.reviews.lock().unwrap_or_else(PoisonError::into_inner);
        reviews.get(&class).copied().unwrap_or_default()
    }

    /// The reviews of all classes.
    pub(in crate::ccm_server) fn reviews(&self) -> Vec<(Class, Review)> {
        let classes = Class::ALL.into_iter();
        classes.map(|class| (class, self.review(class))).collect()
    }

    /// Something may be due earlier than was thought.
    pub(in crate::ccm_server) fn ring(&self) {
        self.bell.notify_one();
    }

    /// Lets something come at this moment.
    pub(super) fn put_off(&self, at: Timestamp, late: Late) {
        self.late.put(at, late);
        self.ring();
    }

    /// Held by who makes a CA.
    pub(super) async fn making(&self) -> MutexGuard<'_, ()> {
        self.making.lock().await
    }
}

/// Changes the review of a class; what was held by the old one is looked at again. Until the server ends.
pub(in crate::ccm_server) async fn set_review(
    shared: &Shared,
    class: Class,
    review: Review,
    now: Timestamp,
) -> Result<(), Failure> {
    {
        let mut reviews = shared
            .life
            .reviews
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        reviews.insert(class, review);
    }
    let write = shared.db.write::<_, Failure>(|connection| {
        Box::pin(async move {
            sqlx::query(
                "UPDATE scm_order SET due = $1 WHERE (due IS NULL AND certificate IN \
                 (SELECT id FROM scm_certificate WHERE status IN ('CHECKING_ORG', 'ISSUING'))) \
                 OR certificate IN (SELECT id FROM scm_certificate WHERE status = 'SUPPLEMENTCHECKING')",
            )
            .bind(now.0)
            .execute(connection)
            .await?;
            Ok(())
        })
    });
    write.await?;
    shared.life.ring();
    Ok(())
}

/// Looks whenever something is due, until `stop`.
pub(in crate::ccm_server) async fn keep(shared: Arc<Shared>, stop: CancellationToken) {
    loop {
        let looking = async {
            if let Err(failure) = look(&shared).await {
                let detail = failure.detail();
                tracing::warn!(detail, "failed to look at applications");
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = looking => {}
        }
        let until = next(&shared).await;
        let sleep = async {
            match until {
                Some(until) => shared.clock.sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = shared.life.bell.notified() => {}
            () = sleep => {}
        }
    }
}

/// Looks at everything that is due now, once; one look at a time.
pub(in crate::ccm_server) async fn look(shared: &Arc<Shared>) -> Result<(), Failure> {
    let _alone = shared.life.looking.lock().await;
    for _ in 0..PASSES {
        let now = shared.clock.now();
        late::carry_out(shared, &shared.life.late, now).await;
        let renewed = renew_due(shared, now).await?;
        let ids: Vec<String> = sqlx::query_scalar(
            "SELECT certificate FROM scm_order WHERE due <= $1 ORDER BY due LIMIT 64",
        )
        .bind(now.0)
        .fetch_all(shared.db.read())
        .await?;
        if ids.is_empty() && !renewed {
            return Ok(());
        }
        let mut work = JoinSet::new();
        for id in ids {
            if work.len() >= AT_A_TIME {
                work.join_next().await;
            }
            let shared = Arc::clone(shared);
            work.spawn(async move { one(&shared, &id, now).await });
        }
        while work.join_next().await.is_some() {}
    }
    Ok(())
}

async fn one(shared: &Shared, id: &str, now: Timestamp) {
    if let Err(failure) = stage::advance(shared, id, now).await {
        let detail = failure.detail();
        tracing::warn!(
            certificate = id,
            detail,
            "failed to carry on an application"
        );
        later(shared, id, "due", now).await;
    }
}

async fn renew_due(shared: &Shared, now: Timestamp) -> Result<bool, Failure> {
    let ids: Vec<String> = sqlx::query_scalar(
        "SELECT certificate FROM scm_order WHERE renew_at <= $1 ORDER BY renew_at LIMIT 64",
    )
    .bind(now.0)
    .fetch_all(shared.db.read())
    .await?;
    for id in &ids {
        let order = {
            let mut connection = shared.db.read().acquire().await?;
            Order::load(&mut connection, id).await?
        };
        let Some(order) = order else { continue };
        let done = match order.status(now) {
            // One that ended without its successor is one that nobody looked at in time, such as a server that was off: the
            // years that were paid for go on.
            status if renewal::LIVES.contains(&status) => renewal::renew(shared, &order, now).await,
            _ => Ok(None),
        };
        match done {
            Ok(Some(_)) => {}
            Ok(None) => later(shared, id, "renew_at", now).await,
            Err(failure) => {
                let detail = failure.detail();
                tracing::warn!(certificate = %id, detail, "failed to apply for the next certificate");
                later(shared, id, "renew_at", now).await;
            }
        }
    }
    Ok(!ids.is_empty())
}

/// What could not be done is tried again, not at once.
async fn later(shared: &Shared, id: &str, column: &'static str, now: Timestamp) {
    let sql =
        format!("UPDATE scm_order SET {column} = $1 WHERE certificate = $2 AND {column} <= $3");
    let id = id.to_owned();
    let write = shared.db.write::<_, sqlx::Error>(|connection| {
        Box::pin(async move {
            sqlx::query(sqlx::AssertSqlSafe(sql))
                .bind((now + AGAIN).0)
                .bind(id)
                .bind(now.0)
                .execute(connection)
                .await
        })
    });
    if let Err(error) = write.await {
        tracing::warn!(%error, "failed to put off what could not be done");
    }
}

/// When the next thing is due; after now in any case.
async fn next(shared: &Shared) -> Option<Timestamp> {
    let at = sqlx::query_scalar(
        "SELECT min(at) FROM (SELECT min(due) AS at FROM scm_order WHERE due IS NOT NULL \
         UNION ALL SELECT min(renew_at) FROM scm_order WHERE renew_at IS NOT NULL)",
    );
    let soonest = shared.clock.now() + Seconds(1);
    let at: Result<Option<i64>, sqlx::Error> = at.fetch_one(shared.db.read()).await;
    match at {
        Ok(at) => {
            let all = at.map(Timestamp).into_iter().chain(shared.life.late.next());
            all.min().map(|at| at.max(soonest))
        }
        Err(error) => {
            tracing::warn!(%error, "failed to see when an application is due");
            Some(soonest + AGAIN)
        }
    }
}

/// Applications at a time; each asks for all of its names at once.
const AT_A_TIME: usize = 8;
/// Of one look. What is still due then is looked at in the next.
const PASSES: usize = 100;
const AGAIN: Seconds = Seconds(60);
