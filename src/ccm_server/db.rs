//! The state in one SQLite file: WAL, `synchronous=FULL`, and every change of a request in one `BEGIN IMMEDIATE`.
//!
//! FULL, so that what was answered survives the loss of power; IMMEDIATE, since a transaction that reads first and
//! writes later loses to another writer. The command line opens the same file beside a running server.
//!
//! Changes of several requests share one transaction, and hence one `fsync` (see `group`): each is a savepoint of its
//! own, and none is answered before the transaction is on disk.

mod group;
mod once;

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};

use crate::ccm_server::db::group::Writer;
pub(super) use crate::ccm_server::db::once::Once;

/// Why the state could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// The file cannot be opened.
    #[error("failed to open the state in {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// The file's schema cannot be brought up to date; also when a newer renewd-ccm wrote it.
    #[error("failed to bring the state in {path} up to date")]
    Migrate {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: sqlx::migrate::MigrateError,
    },
    /// A statement failed.
    #[error("failed to read or write the state")]
    Statement(#[from] sqlx::Error),
}

/// The state of one server.
pub(super) struct Db {
    read: SqlitePool,
    write: Writer,
}

/// What a change does on the connection of its transaction.
pub(super) type Work<'c, T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'c>>;

impl Db {
    /// Opens or creates `ccm.db` in `state` and brings its schema up to date.
    pub(super) async fn open(state: &Path) -> Result<Self, DbError> {
        let path = state.join(FILE);
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY)
            .pragma("cache_size", WRITE_CACHE)
            .pragma("wal_autocheckpoint", CHECKPOINT)
            .foreign_keys(true);
        let open = |source| DbError::Open {
            path: path.clone(),
            source,
        };
        let pool = |most| {
            SqlitePoolOptions::new()
                .max_connections(most)
                .acquire_timeout(QUEUE)
                .idle_timeout(None)
                .max_lifetime(None)
                // A file on this host does not go away as a server does.
                .test_before_acquire(false)
        };
        // One writer: SQLite has no more, and waiting in the pool is fairer than waiting for the file.
        let write = Writer::connect(pool(1), options.clone())
            .await
            .map_err(open)?;
        let migrate = |source| DbError::Migrate {
            path: path.clone(),
            source,
        };
        migrator().run(write.pool()).await.map_err(migrate)?;
        let options = options.pragma("cache_size", READ_CACHE);
        let read = pool(READERS).connect_with(options).await.map_err(open)?;
        Ok(Self { read, write })
    }

    /// For statements that only read.
    pub(super) const fn read(&self) -> &SqlitePool {
        &self.read
    }

    /// Runs `work` as one change: on disk when this returns a success, without a trace when it returns a failure.
    pub(super) async fn write<T, E>(
        &self,
        work: impl for<'c> FnOnce(&'c mut SqliteConnection) -> Work<'c, T, E> + Send,
    ) -> Result<T, E>
    where
        T: Send,
        E: From<sqlx::Error> + Send,
    {
        self.write.run(work).await
    }

    /// Makes one change that is a single statement; answers whether it changed anything, and is on disk when this returns. For what
    /// comes often.
    pub(super) async fn once(&self, change: Once) -> Result<bool, sqlx::Error> {
        self.write.once(change).await
    }

    /// Gives back what connections keep: pages, statements, the schema. The next request after it opens another reader.
    pub(super) async fn rest(&self) {
        for _ in 0..READERS {
            let Some(idle) = self.read.try_acquire() else {
                break;
            };
            // It only read: nothing is lost with it.
            let _ = idle.close().await;
        }
        self.write.rest().await;
    }

    /// Closes the file, so that the write-ahead log is folded in.
    pub(super) async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
    }
}

fn migrator() -> Migrator {
    let migrations = MIGRATIONS.iter().map(|(version, name, sql)| {
        let sql = sqlx::SqlStr::from_static(sql);
        Migration::new(*version, (*name).into(), MigrationType::Simple, sql, false)
    });
    Migrator::with_migrations(migrations.collect())
}

/// Each is applied once, in this order; one that was released is never changed.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "initial", include_str!("migrations/0001_initial.sql")),
    (
        2,
        "scm orders",
        include_str!("migrations/0002_scm_orders.sql"),
    ),
    (3, "SCM", include_str!("migrations/0003_scm.sql")),
    (4, "front", include_str!("migrations/0004_front.sql")),
    (
        5,
        "stock by day",
        include_str!("migrations/0005_stock_days.sql"),
    ),
    (6, "zones", include_str!("migrations/0006_zones.sql")),
    (7, "searches", include_str!("migrations/0007_searches.sql")),
    (8, "due", include_str!("migrations/0008_due.sql")),
];
/// Below the state directory.
const FILE: &str = "ccm.db";
/// How long one waits in this process's queue: longer than a request may take, whose own limit then decides. A busy
/// server is slow, not broken.
const QUEUE: Duration = Duration::from_secs(300);
/// How long one waits for another process's transaction.
const BUSY: Duration = Duration::from_secs(10);
/// Readers beside the writer; more would only share two cores.
const READERS: u32 = 4;
/// Pages of the write-ahead log, 16 MiB, after which they are written into the file: a page of an index that changes with every
/// certificate is then written once for thousands of them, where SQLite's own limit of 4 MiB wrote it for some hundred.
const CHECKPOINT: &str = "4096";
/// KiB of pages, as SQLite wants them said, that a reader keeps. Behind them the kernel has the file's pages anyway, and pages of
/// lists of 100 000 certificates take as long with 64 KiB as with 512.
const READ_CACHE: &str = "-128";
/// The same of the writer, whose pages of indices come again with every certificate.
const WRITE_CACHE: &str = "-512";

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_rests_keeps_no_readers_and_goes_on_when_it_is_asked() {
        let directory = tempfile::tempdir().unwrap();
        let db = Db::open(directory.path()).await.unwrap();
        let busy = db.read().acquire().await.unwrap();
        let idle = db.read().acquire().await.unwrap();
        drop(idle);
        // A task brings it back to the pool.
        while db.read().num_idle() == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(db.read().size(), 2);
        db.rest().await;
        assert_eq!(db.read().size(), 1, "who reads goes on reading");
        drop(busy);
        let count = sqlx::query_scalar("SELECT count(*) FROM account");
        let count: i64 = count.fetch_one(db.read()).await.unwrap();
        assert_eq!(count, 0);
        let change = Once::new("INSERT INTO meta (name, value) VALUES (?, ?) RETURNING ?");
        let change = change.bind("x").bind(vec![1]);
        assert!(db.once(change).await.unwrap());
        db.rest().await;
        db.close().await;
    }
}
