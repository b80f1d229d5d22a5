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
    Migrator::with_migrations(migrations().into())
}

fn migrations() -> [Migration; 4] {
    let steps = [
        (1, "journal", include_str!("migrations/0001_journal.sql")),
        (
            2,
            "purchases",
            include_str!("migrations/0002_purchases.sql"),
        ),
        (3, "by time", include_str!("migrations/0003_by_time.sql")),
        (4, "fates", include_str!("migrations/0004_fates.sql")),
    ];
    steps.map(|(version, name, sql)| {
        let (kind, sql) = (MigrationType::Simple, sqlx::SqlStr::from_static(sql));
        Migration::new(version, name.into(), kind, sql, false)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        CertificateFacts, CertificateId, CertificateState, EarlierRevision, Fingerprint,
        RemoteTrouble, RevisionFacts, RevisionId, Seconds, Standing, Timestamp,
    };
    use crate::store::codec::encode;

    fn revision(id: &str) -> RevisionFacts {
        RevisionFacts {
            id: RevisionId::new(id).unwrap(),
            facts: CertificateFacts {
                serial: id.to_owned(),
                fingerprint: Fingerprint([1; 32]),
                spki: Fingerprint([2; 32]),
                common_name: None,
                names: std::iter::empty().collect(),
                issuer_name: "corp".to_owned(),
                not_before: Timestamp(0),
                not_after: Timestamp(0) + Seconds::days(90),
                key_algorithm: None,
            },
            issued_at: Timestamp(0),
            reference: format!("at-ca-{id}"),
            policy: None,
            applied: None,
        }
    }

    /// What the journal told of its revisions in events and states, it knows of them after that.
    #[tokio::test]
    async fn a_journal_of_before_knows_what_it_applied_for_and_what_was_taken_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = journal(directory.path());
        let old = SqliteStore::connect(&path, options(&path).create_if_missing(true));
        let old = old.await.unwrap();
        let before = Migrator::with_migrations(migrations()[..3].to_vec());
        before.run(&old.pool).await.unwrap();
        let write = async |sql: &'static str, values: &[&str]| {
            let mut query = sqlx::query(sql);
            for value in values {
                query = query.bind((*value).to_owned());
            }
            query.execute(&old.pool).await.unwrap();
        };
        let state = CertificateState {
            newest: Some(revision("5")),
            earlier: vec![EarlierRevision {
                id: RevisionId::new("4").unwrap(),
                serial: "4".to_owned(),
                not_after: Timestamp(0),
                reference: "at-ca-4".to_owned(),
                revoked: true,
            }],
            remote: Some(RemoteTrouble {
                revision: RevisionId::new("5").unwrap(),
                standing: Standing::Revoked,
                detail: String::new(),
            }),
            ..CertificateState::default()
        };
        let state = encode("certificates.state", &state).unwrap();
        write("INSERT INTO certificates VALUES ('www', $1)", &[&state]).await;
        // The first was submitted, the second found after a lost answer, the third by a follower; the fourth and the fifth
        // are known as revoked by the state, the first by an event.
        for (id, step) in [
            ("1", "submit"),
            ("2", "resolve"),
            ("3", "locate"),
            ("4", "submit"),
            ("5", "submit"),
        ] {
            let facts = encode("revisions.facts", &revision(id)).unwrap();
            let sql = "INSERT INTO revisions (certificate, id, issuer, facts, issued_at) VALUES ('www', $1, 'corp', $2, 0)";
            write(sql, &[id, &facts]).await;
            write("INSERT INTO subjects VALUES ('www', 'order', $1)", &[id]).await;
            let sql = "INSERT INTO events (machine, id, at, kind, step, phase, message)
                       VALUES ('order', $1, 0, 'succeeded', $2, 'submitted', 'accepted as at-ca-' || $1)";
            write(sql, &[id, step]).await;
        }
        let sql = "INSERT INTO events (machine, id, at, kind, phase, message)
                   VALUES ('revocation', '1/www', 0, 'succeeded', 'revoked', '')";
        write(sql, &[]).await;
        old.pool.close().await;
        let now = SqliteStore::open(&path).await.unwrap();
        let www = CertificateId::new("www").unwrap();
        let known = now.read_revisions(&www).await.unwrap();
        let known: Vec<(&str, bool, bool)> = known
            .iter()
            .map(|one| (one.revision.id.as_str(), one.ours, one.revoked))
            .collect();
        let expected = [
            ("5", true, true),
            ("4", true, true),
            ("3", false, false),
            ("2", true, false),
            ("1", true, true),
        ];
        assert_eq!(known, expected);
    }
}
