//! Group commit: the changes of requests that are under way together share one transaction and one `fsync`.
//!
//! ```text
//!   request ─▶ lock ─▶ savepoint, work, release ─▶ unlock ─▶ wait for the commit ─▶ answer
//!                       └ fails ─▶ back to the savepoint ──────────────────────────▶ answer
//!   committer: woken by the first of a group ─▶ lock (behind those that queue already) ─▶ commit ─▶ tells all
//! ```
//!
//! The lock is fair, so a group is who was waiting when its first member opened it; the next one gathers while the disk
//! works. A lone request waits for nobody. Changes that are a single statement each (see `once`) do not queue for the lock: the
//! committer carries out those that wait before it commits.
//!
//! A committer that ends, which only a fault of the program can make it do, takes nobody with it: whoever waits for it is told that the
//! change is not on disk, what it left is rolled back, and another one begins.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use sqlx::{Connection as _, Sqlite, SqliteConnection, Transaction};
use tokio::sync::{Mutex, Notify, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::ccm_server::db::Work;
use crate::ccm_server::db::once::{self, Done, Once, Queue, Queued};

/// The one who writes.
pub(super) struct Writer {
    inner: Arc<Inner>,
    /// Ends the committer.
    _end: DropGuard,
}

struct Inner {
    pool: SqlitePool,
    group: Mutex<Option<Group>>,
    /// A group is open, or something waits in the queue.
    wanted: Notify,
    queue: Queue,
    /// The connection is not to be used again.
    broken: Arc<AtomicBool>,
    /// Where a test wants the committer to fail next.
    #[cfg(test)]
    fault: std::sync::Mutex<Option<tests::Fault>>,
}

/// Changes that are made and not yet on disk.
struct Group {
    transaction: Transaction<'static, Sqlite>,
    /// `None` until it is known; dropped without a word when the transaction is lost.
    outcome: watch::Sender<Option<Outcome>>,
}

/// Whether all of a group is on disk, and if not, why.
pub(super) type Outcome = Result<(), Arc<str>>;

impl Writer {
    /// Opens the one connection; `pool` says how one waits for it.
    pub(super) async fn connect(
        pool: SqlitePoolOptions,
        options: SqliteConnectOptions,
    ) -> Result<Self, sqlx::Error> {
        let broken = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&broken);
        let pool = pool
            .max_connections(1)
            .after_release(move |connection, _| {
                let whole = !flag.swap(false, Ordering::Relaxed);
                Box::pin(async move {
                    // What is to be rolled back is, by then. A commit that fails on a full disk has ended the transaction by itself,
                    // and sqlx goes on counting it.
                    connection.ping().await?;
                    Ok(whole && !connection.is_in_transaction())
                })
            })
            .connect_with(options)
            .await?;
        let inner = Arc::new(Inner {
            pool,
            group: Mutex::new(None),
            wanted: Notify::new(),
            queue: Queue::default(),
            broken,
            #[cfg(test)]
            fault: std::sync::Mutex::default(),
        });
        let end = CancellationToken::new();
        tokio::spawn(keep_committing(Arc::clone(&inner), end.clone()));
        Ok(Self {
            inner,
            _end: end.drop_guard(),
        })
    }

    /// For what has to be done before the first change.
    pub(super) fn pool(&self) -> &SqlitePool {
        &self.inner.pool
    }

    /// Makes one change: when this returns a success, it is on disk; when it returns a failure, nothing of it stays.
    pub(super) async fn run<T, E>(
        &self,
        work: impl for<'c> FnOnce(&'c mut SqliteConnection) -> Work<'c, T, E> + Send,
    ) -> Result<T, E>
    where
        T: Send,
        E: From<sqlx::Error> + Send,
    {
        let mut slot = self.inner.group.lock().await;
        if slot.is_none() {
            self.inner.wanted.notify_one();
        }
        let group = self.inner.opened(&mut slot).await?;
        let waiting = group.outcome.subscribe();
        // Dropped in the middle, it goes back to where it began by itself.
        let mut savepoint = group.transaction.begin().await?;
        let (result, intact) = match work(&mut savepoint).await {
            Ok(value) => match savepoint.commit().await {
                Ok(()) => (Ok(value), true),
                Err(error) => (Err(error.into()), false),
            },
            Err(error) => {
                let intact = savepoint.rollback().await.is_ok();
                (Err(error), intact)
            }
        };
        if !intact {
            self.inner.give_up(&mut slot);
        }
        drop(slot);
        let value = result?;
        committed(waiting).await?;
        Ok(value)
    }

    /// Makes one change that is a single statement; answers whether it returned a row.
    pub(super) async fn once(&self, change: Once) -> Result<bool, sqlx::Error> {
        let told = self.inner.queue.add(change);
        self.inner.wanted.notify_one();
        let done = told.await.map_err(|_| lost("the server ends"))??;
        if done.changed {
            committed(done.outcome).await?;
        }
        Ok(done.changed)
    }

    /// Gives back the pages that the connection keeps, unless somebody is at work.
    pub(super) async fn rest(&self) {
        let Ok(slot) = self.inner.group.try_lock() else {
            return;
        };
        if slot.is_none() {
            let shrink = sqlx::query("PRAGMA shrink_memory");
            if let Err(error) = shrink.execute(&self.inner.pool).await {
                tracing::warn!(%error, "failed to give back memory of the state");
            }
        }
    }

    /// Commits what is open, and closes the connection.
    pub(super) async fn close(&self) {
        let mut slot = self.inner.group.lock().await;
        if let Some(group) = slot.take() {
            group.commit().await;
        }
        drop(slot);
        self.inner.pool.close().await;
    }
}

impl Inner {
    /// The group whose transaction is open, or a new one.
    async fn opened<'s>(&self, slot: &'s mut Option<Group>) -> Result<&'s mut Group, sqlx::Error> {
        if slot.is_none() {
            let transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
            *slot = Some(Group {
                transaction,
                outcome: watch::Sender::new(None),
            });
        }
        slot.as_mut().ok_or_else(|| lost("there is no transaction"))
    }

    /// Ends a group whose transaction is not what it was.
    fn give_up(&self, slot: &mut Option<Group>) {
        // The disk is full, for example: SQLite has given the whole transaction up, and with it what others did.
        // sqlx goes on counting its savepoints, so the next group gets another connection.
        self.broken.store(true, Ordering::Relaxed);
        *slot = None;
    }

    /// Carries out the single statements that wait, as many as one group should have.
    async fn work_off(&self, slot: &mut Option<Group>) {
        let mut count = 0;
        while count < LARGEST {
            let some = self.queue.take();
            if some.is_empty() {
                return;
            }
            count += some.len();
            if let Err(error) = self.attempt(slot, some).await {
                // Another process holds the file, for example: whoever waits behind them waited as long.
                self.queue.fail(&error.to_string());
                return;
            }
        }
        if !self.queue.is_empty() {
            self.wanted.notify_one();
        }
    }

    /// Carries them out together, or one by one where one of them fails; fails itself where there is no transaction to be had.
    async fn attempt(
        &self,
        slot: &mut Option<Group>,
        some: Vec<Queued>,
    ) -> Result<(), sqlx::Error> {
        let group = match self.opened(slot).await {
            Ok(group) => group,
            Err(error) => {
                let why = error.to_string();
                some.into_iter().for_each(|one| one.tell(Err(lost(&why))));
                return Err(error);
            }
        };
        let error = match once::carry_out(&mut group.transaction, &some).await {
            Ok(changed) => {
                for (one, changed) in some.into_iter().zip(changed) {
                    let outcome = group.outcome.subscribe();
                    one.tell(Ok(Done { changed, outcome }));
                }
                return Ok(());
            }
            Err(error) => error,
        };
        if once::go_back(&mut group.transaction).await.is_err() {
            self.give_up(slot);
        }
        if some.len() > 1 {
            let mut left = some.into_iter();
            while let Some(one) = left.next() {
                if let Err(error) = Box::pin(self.attempt(slot, vec![one])).await {
                    let why = error.to_string();
                    left.for_each(|one| one.tell(Err(lost(&why))));
                    return Err(error);
                }
            }
        } else if let Some(one) = some.into_iter().next() {
            one.tell(Err(error));
        }
        Ok(())
    }
}

impl Group {
    async fn commit(self) {
        let done = self.transaction.commit().await;
        let outcome = done.map_err(|error| Arc::from(error.to_string()));
        // Nobody waits when all of them were cancelled.
        self.outcome.send_replace(Some(outcome));
    }
}

/// Watches the committer until the writer is dropped.
async fn keep_committing(inner: Arc<Inner>, end: CancellationToken) {
    loop {
        let committer = tokio::spawn(commit_groups(Arc::clone(&inner), end.clone()));
        let Err(error) = committer.await else {
            return;
        };
        tracing::error!(%error, "the committer of changes ended; those that waited for it fail, and another one begins");
        // Whether what is open is as it should be is not known.
        let mut slot = inner.group.lock().await;
        inner.give_up(&mut slot);
        inner.queue.fail("the committer ended");
    }
}

async fn commit_groups(inner: Arc<Inner>, end: CancellationToken) {
    loop {
        tokio::select! {
            () = end.cancelled() => return,
            () = inner.wanted.notified() => {}
        }
        // Whoever queues for the lock by now is still of this group.
        let mut slot = inner.group.lock().await;
        #[cfg(test)]
        inner.fail_at(tests::Fault::Begin);
        inner.work_off(&mut slot).await;
        if let Some(group) = slot.take() {
            #[cfg(test)]
            inner.fail_at(tests::Fault::Commit);
            group.commit().await;
        }
    }
}

/// Waits until the group is on disk.
async fn committed(mut waiting: watch::Receiver<Option<Outcome>>) -> Result<(), sqlx::Error> {
    let outcome = match waiting.wait_for(Option::is_some).await {
        Ok(outcome) => outcome.clone(),
        Err(_) => None,
    };
    match outcome {
        Some(Ok(())) => Ok(()),
        Some(Err(why)) => Err(lost(&why)),
        None => Err(lost("a change beside it ended the transaction")),
    }
}

/// Of single statements in a group, so that the first of them does not wait for ever.
const LARGEST: usize = 256;

pub(super) fn lost(why: &str) -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::other(format!(
        "the change is not on disk: {why}"
    )))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use sqlx::sqlite::SqliteJournalMode;
    use sqlx::{AssertSqlSafe, Row as _};

    use super::*;

    async fn writer(directory: &std::path::Path) -> (Arc<Writer>, SqlitePool) {
        let options = SqliteConnectOptions::new()
            .filename(directory.join("t.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal);
        let pool = || SqlitePoolOptions::new().max_connections(1);
        let writer = Writer::connect(pool(), options.clone()).await.unwrap();
        sqlx::query("CREATE TABLE t (n INTEGER PRIMARY KEY)")
            .execute(writer.pool())
            .await
            .unwrap();
        let read = pool().connect_with(options).await.unwrap();
        (Arc::new(writer), read)
    }

    async fn insert(writer: &Writer, n: i64) -> Result<(), sqlx::Error> {
        writer
            .run(|connection| {
                Box::pin(async move {
                    sqlx::query("INSERT INTO t VALUES ($1)")
                        .bind(n)
                        .execute(connection)
                        .await
                        .map(|_| ())
                })
            })
            .await
    }

    async fn count(pool: &SqlitePool) -> i64 {
        let row = sqlx::query("SELECT count(*) FROM t").fetch_one(pool).await;
        row.unwrap().get(0)
    }

    #[tokio::test]
    async fn what_is_answered_is_seen_by_others_and_what_failed_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let (writer, read) = writer(directory.path()).await;
        insert(&writer, 1).await.unwrap();
        assert_eq!(count(&read).await, 1);
        let tasks: Vec<_> = (0..200)
            .map(|n| {
                // Every second one comes twice, and one of the two must fail alone.
                let (writer, read) = (Arc::clone(&writer), read.clone());
                tokio::spawn(async move {
                    let done = insert(&writer, 10 + n / 2 * 2).await.is_ok();
                    if done {
                        let seen = sqlx::query("SELECT 1 FROM t WHERE n = $1")
                            .bind(10 + n / 2 * 2)
                            .fetch_optional(&read)
                            .await
                            .unwrap();
                        assert!(seen.is_some(), "answered, and not there");
                    }
                    usize::from(done)
                })
            })
            .collect();
        let mut done = 0;
        for task in tasks {
            done += task.await.unwrap();
        }
        assert_eq!(done, 100);
        assert_eq!(count(&read).await, 101);
    }

    const ONCE: &str = "INSERT INTO t SELECT ? WHERE ? < 1000 RETURNING ?";

    fn one(n: i64) -> Once {
        Once::new(ONCE).bind(n).bind(n)
    }

    #[tokio::test]
    async fn a_single_statement_is_on_disk_or_left_out_and_fails_alone() {
        let directory = tempfile::tempdir().unwrap();
        let (writer, read) = writer(directory.path()).await;
        assert!(writer.once(one(1)).await.unwrap());
        assert_eq!(count(&read).await, 1);
        // What it asks for does not hold.
        let left_out = writer.once(one(1000)).await;
        assert!(!left_out.unwrap());
        let tasks: Vec<_> = (0..200)
            .map(|n| {
                // Every second one comes twice, in both ways, and one of the two must fail alone.
                let writer = Arc::clone(&writer);
                let value = 10 + n / 4 * 4;
                tokio::spawn(async move {
                    if n % 4 < 2 {
                        writer.once(one(value)).await.is_ok()
                    } else {
                        insert(&writer, value + n % 2).await.is_ok()
                    }
                })
            })
            .collect();
        let mut done = 0;
        for task in tasks {
            done += i64::from(task.await.unwrap());
        }
        // Of each four: one of three for the same number, and the other.
        assert_eq!(done, 100);
        assert_eq!(count(&read).await, 1 + done);
    }

    #[tokio::test]
    async fn a_single_statement_that_is_given_up_hinders_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let (writer, read) = writer(directory.path()).await;
        for n in 1_i64..50 {
            let once = writer.once(one(n));
            let given_up = tokio::time::timeout(
                std::time::Duration::from_micros(5 * n.cast_unsigned()),
                once,
            );
            let _ = given_up.await;
        }
        insert(&writer, 100).await.unwrap();
        let repeated = writer.once(one(100)).await;
        assert!(repeated.is_err(), "{repeated:?}");
        writer.close().await;
        let row = sqlx::query("SELECT max(n) FROM t").fetch_one(&read).await;
        assert_eq!(row.unwrap().get::<i64, _>(0), 100);
    }

    #[tokio::test]
    async fn those_who_come_together_share_a_commit() {
        let directory = tempfile::tempdir().unwrap();
        let (writer, read) = writer(directory.path()).await;
        let version = |pool: SqlitePool| async move {
            // Changes with each commit of another connection.
            let row = sqlx::query("PRAGMA data_version").fetch_one(&pool).await;
            row.unwrap().get::<i64, _>(0)
        };
        let first = version(read.clone()).await;
        let begun = Arc::new(AtomicUsize::new(0));
        let hold = Arc::new(Notify::new());
        let tasks: Vec<_> = (0..20)
            .map(|n| {
                let (writer, begun, hold) =
                    (Arc::clone(&writer), Arc::clone(&begun), Arc::clone(&hold));
                tokio::spawn(async move {
                    begun.fetch_add(1, Ordering::Relaxed);
                    writer
                        .run::<_, sqlx::Error>(|connection| {
                            Box::pin(async move {
                                if n == 0 {
                                    hold.notified().await;
                                }
                                let sql = format!("INSERT INTO t VALUES ({n})");
                                sqlx::query(AssertSqlSafe(sql)).execute(connection).await
                            })
                        })
                        .await
                        .unwrap();
                })
            })
            .collect();
        while begun.load(Ordering::Relaxed) < 20 {
            tokio::task::yield_now().await;
        }
        hold.notify_one();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(count(&read).await, 20);
        let commits = version(read).await - first;
        assert!(
            (1..=3).contains(&commits),
            "{commits} commits for 20 changes"
        );
    }

    #[tokio::test]
    async fn a_change_that_is_given_up_leaves_nothing_and_hinders_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let (writer, read) = writer(directory.path()).await;
        let never = writer.run::<(), sqlx::Error>(|connection| {
            Box::pin(async move {
                sqlx::query("INSERT INTO t VALUES (7)")
                    .execute(connection)
                    .await?;
                std::future::pending().await
            })
        });
        let given_up = tokio::time::timeout(std::time::Duration::from_millis(50), never).await;
        assert!(given_up.is_err());
        insert(&writer, 8).await.unwrap();
        assert_eq!(count(&read).await, 1);
        writer.close().await;
    }

    /// Where the committer fails.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(super) enum Fault {
        /// Woken, and nothing done yet.
        Begin,
        /// What was queued is carried out.
        Commit,
    }

    impl Inner {
        pub(super) fn fail_at(&self, here: Fault) {
            let wanted = self.fault.lock().unwrap().take_if(|wanted| *wanted == here);
            assert!(wanted.is_none(), "the committer fails, as a test wants it");
        }
    }

    #[tokio::test]
    async fn a_committer_that_ends_leaves_nobody_waiting_and_another_one_begins() {
        let directory = tempfile::tempdir().unwrap();
        let (writer, read) = writer(directory.path()).await;
        for (n, fault) in [(10, Fault::Begin), (20, Fault::Commit)] {
            *writer.inner.fault.lock().unwrap() = Some(fault);
            let both = async { tokio::join!(insert(&writer, n), writer.once(one(n + 1))) };
            let both = tokio::time::timeout(std::time::Duration::from_secs(10), both).await;
            let (group, single) = both.expect("they wait for ever");
            for error in [group.unwrap_err(), single.unwrap_err()] {
                assert!(error.to_string().contains("not on disk"), "{error}");
            }
            assert_eq!(count(&read).await, n / 10 * 2 - 2, "nothing of it stays");
            insert(&writer, n).await.unwrap();
            assert!(writer.once(one(n + 1)).await.unwrap());
            assert_eq!(count(&read).await, n / 10 * 2);
        }
        writer.close().await;
    }

    #[tokio::test]
    async fn a_lost_transaction_is_told_to_everybody_who_was_in_it() {
        let directory = tempfile::tempdir().unwrap();
        let (writer, read) = writer(directory.path()).await;
        let inside = Arc::new(Notify::new());
        let first = {
            let (writer, inside) = (Arc::clone(&writer), Arc::clone(&inside));
            tokio::spawn(async move {
                writer
                    .run::<(), sqlx::Error>(|connection| {
                        Box::pin(async move {
                            sqlx::query("INSERT INTO t VALUES (1)")
                                .execute(connection)
                                .await?;
                            inside.notify_one();
                            Ok(())
                        })
                    })
                    .await
            })
        };
        inside.notified().await;
        // What SQLite does by itself when the disk is full.
        let second = writer.run::<(), sqlx::Error>(|connection| {
            Box::pin(async move {
                sqlx::query("ROLLBACK").execute(connection).await?;
                Err(sqlx::Error::RowNotFound)
            })
        });
        let second = second.await;
        assert!(matches!(second, Err(sqlx::Error::RowNotFound)));
        // Depending on who came first, the first was committed on its own or lost with the second; never both.
        let told = first.await.unwrap().is_ok();
        assert_eq!(count(&read).await, i64::from(told));
        insert(&writer, 2).await.unwrap();
    }
}
