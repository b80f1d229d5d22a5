//! Purchases whose effect or tags come late, for rehearsals: kept in memory only, and carried out by `life` when the
//! server's clock says so.

use std::sync::{Mutex, PoisonError};

use crate::ccm_server::failure::Failure;
use crate::ccm_server::scm::orders::buy::Purchase;
use crate::ccm_server::scm::tags;
use crate::ccm_server::server::Shared;
use crate::model::Timestamp;

/// What comes late.
pub(super) enum Late {
    /// All of a purchase.
    Purchase(Purchase),
    /// The tags of one that has taken effect.
    Tags {
        account: String,
        ids: Vec<String>,
        /// Keys and values.
        tags: Vec<(String, String)>,
    },
}

/// What is still to come, and when.
#[derive(Default)]
pub(super) struct LateWork(Mutex<Vec<(Timestamp, Late)>>);

impl LateWork {
    /// Comes at this moment.
    pub(super) fn put(&self, at: Timestamp, late: Late) {
        self.lock().push((at, late));
    }

    /// When the next comes.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.lock().iter().map(|(at, _)| *at).min()
    }

    /// Takes out what has come by now, in the order in which it was put off.
    fn due(&self, now: Timestamp) -> Vec<Late> {
        let mut all = self.lock();
        let due = all.extract_if(.., |(at, _)| *at <= now);
        due.map(|(_, late)| late).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(Timestamp, Late)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Carries out what has come by now. What fails is told and forgotten: it was answered long ago.
pub(super) async fn carry_out(shared: &Shared, work: &LateWork, now: Timestamp) {
    for late in work.due(now) {
        let done = match late {
            Late::Purchase(purchase) => purchase.carry_out(shared, now).await,
            Late::Tags { account, ids, tags } => put(shared, account, ids, tags).await,
        };
        if let Err(failure) = done {
            let detail = failure.detail();
            tracing::warn!(detail, "failed to carry out a purchase that was put off");
        }
    }
}

/// A certificate that was deleted in between gets none.
async fn put(
    shared: &Shared,
    account: String,
    ids: Vec<String>,
    tags: Vec<(String, String)>,
) -> Result<(), Failure> {
    let write = shared.db.write(|connection| {
        Box::pin(async move {
            for id in &ids {
                let there: Option<i64> =
                    sqlx::query_scalar("SELECT 1 FROM scm_certificate WHERE id = $1")
                        .bind(id)
                        .fetch_optional(&mut *connection)
                        .await?;
                if there.is_none() {
                    continue;
                }
                for (key, value) in &tags {
                    tags::put(connection, &account, id, key, value).await?;
                }
            }
            Ok::<_, Failure>(())
        })
    });
    write.await
}
