//! Opening the journal: for an executor, for a reader, and on a read-only file system.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::Row;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use crate::store::StoreError;
use crate::store::rows::{fault, query};
use crate::store::sqlite::SqliteStore;

/// The file of the journal.
#[must_use]
pub fn journal(state_dir: &Path) -> PathBuf {
    state_dir.join("state.db")
}

impl SqliteStore {
    /// Opens or creates `state.db` for an executor that holds the lock, and brings its schema up to date.
    ///
    /// # Errors
    /// [`StoreError::Open`], [`StoreError::Migrate`].
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let options = options(path).create_if_missing(true);
        let store = Self::connect(path, options).await?;
        let failed = |source| StoreError::Migrate {
            path: path.to_owned(),
            source,
        };
        migrator().run(&store.pool).await.map_err(failed)?;
        Ok(store)
    }

    /// Opens an existing journal for reading only: never writes, never waits for the executor. `None` when there is
    /// no journal yet.
    ///
    /// # Errors
    /// [`StoreError::Open`].
    pub async fn open_read_only(path: &Path) -> Result<Option<Self>, StoreError> {
        match path.try_exists() {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            // A directory that may not be entered is no empty one.
            Err(error) => {
                return Err(StoreError::Open {
                    path: path.to_owned(),
                    source: sqlx::Error::Io(error),
                });
            }
        }
        let reader = SqliteConnectOptions::new().filename(path).read_only(true);
        let store = match Self::connect(path, reader.clone()).await {
            Ok(store) => store,
            // Without a log beside it, or with an empty one, nobody writes, and a directory that we may not write to
            // would need the log's index.
            Err(_) if wal(path).metadata().map_or(0, |log| log.len()) == 0 => {
                Self::connect(path, reader.immutable(true)).await?
            }
            Err(error) => return Err(error),
        };
        // The first executor is just making it.
        Ok(store.has_schema().await?.then_some(store))
    }

    /// Opens an existing journal for reading beside whoever is about to open it, which notices what is written by others.
    pub(super) async fn open_beside(path: &Path) -> Result<Self, StoreError> {
        let reader = SqliteConnectOptions::new().filename(path).read_only(true);
        Self::connect(path, reader).await
    }

    /// The same journal once more, with a connection of its own.
    pub(super) async fn open_another(&self) -> Result<Self, StoreError> {
        let options = self.pool.connect_options().as_ref().clone();
        let path = options.get_filename().to_owned();
        fault("journal.another").map_err(|source| StoreError::Open {
            path: path.clone(),
            source,
        })?;
        Self::connect(&path, options).await
    }

    async fn has_schema(&self) -> Result<bool, StoreError> {
        let row = sqlx::query("SELECT count(*) FROM sqlite_master WHERE name = 'certificates'")
            .fetch_one(&self.pool)
            .await
            .map_err(query("look at the schema"))?;
        Ok(row.get::<i64, _>(0) > 0)
    }

    async fn connect(path: &Path, options: SqliteConnectOptions) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Open {
            path: path.to_owned(),
            source,
        };
        // One connection: SQLite has one writer anyway, and readers of this process never hold it for long.
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(Duration::from_secs(30))
            .connect_with(options)
            .await
            .map_err(failed)?;
        sqlx::query("SELECT count(*) FROM sqlite_master")
            .fetch_one(&pool)
            .await
            .map_err(failed)?;
        Ok(Self { pool })
    }
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(10))
        .pragma("cache_size", CACHE)
        .foreign_keys(true)
}

/// KiB of pages that a connection keeps. A snapshot reads each page once, and a step a few: the 2 MiB that SQLite would keep for
/// each connection were of use to nobody, for as long as the daemon runs.
const CACHE: &str = "-256";

fn wal(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    PathBuf::from(name)
}

fn migrator() -> Migrator {
    let steps = [
        (1, "journal", include_str!("migrations/0001_journal.sql")),
        (
            2,
            "purchases",
            include_str!("migrations/0002_purchases.sql"),
        ),
        (3, "by time", include_str!("migrations/0003_by_time.sql")),
    ];
    let steps = steps.map(|(version, name, sql)| {
        let (kind, sql) = (MigrationType::Simple, sqlx::SqlStr::from_static(sql));
        Migration::new(version, name.into(), kind, sql, false)
    });
    Migrator::with_migrations(steps.into())
}
