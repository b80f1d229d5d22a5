//! The journal read ahead: while a daemon that begins still reads its policy, so that the start takes as long as the longer of
//! the two.

use std::path::{Path, PathBuf};

use crate::model::Snapshot;
use crate::store::sqlite::SqliteStore;
use crate::store::{Store, StoreError};

/// What the journal said, for as long as nobody has written into it since.
pub struct Foreseen {
    path: PathBuf,
    reader: SqliteStore,
    version: i64,
    snapshot: Snapshot,
}

impl Foreseen {
    /// Reads a journal and changes nothing. `None` where that cannot be done: whoever opens it says what is wrong with it.
    pub async fn read(path: PathBuf) -> Option<Self> {
        let reader = SqliteStore::open_beside(&path).await.ok()?;
        match look(&reader).await {
            Ok((version, snapshot)) => Some(Self {
                path,
                reader,
                version,
                snapshot,
            }),
            Err(_) => {
                let _ = reader.close().await;
                None
            }
        }
    }

    /// What it said, if it is this journal and still says so.
    pub async fn still(self, path: &Path) -> Option<Snapshot> {
        let version = self.reader.data_version().await;
        // Another connection counts for itself, so it is the same one that is asked.
        let same = self.path == path && version.is_ok_and(|version| version == self.version);
        let _ = self.reader.close().await;
        same.then_some(self.snapshot)
    }
}

async fn look(reader: &SqliteStore) -> Result<(i64, Snapshot), StoreError> {
    // First: what is written between the two is noticed.
    let version = reader.data_version().await?;
    Ok((version, reader.snapshot().await?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Heard, Timestamp};

    #[tokio::test]
    async fn what_was_read_ahead_counts_until_somebody_writes() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("state.db");
        assert!(Foreseen::read(path.clone()).await.is_none(), "no journal");
        assert!(!path.exists(), "and none is made");
        let first = SqliteStore::open(&path).await.unwrap();
        first.close().await.unwrap();

        let foreseen = Foreseen::read(path.clone()).await.unwrap();
        let store = SqliteStore::open(&path).await.unwrap();
        let known = foreseen.still(&path).await.expect("nobody wrote");
        assert_eq!(known, store.snapshot().await.unwrap());

        let foreseen = Foreseen::read(path.clone()).await.unwrap();
        let now = Timestamp(1_800_000_000);
        let heard = Heard { date: now, at: now };
        store.time_heard(heard).await.unwrap();
        assert!(foreseen.still(&path).await.is_none(), "it is another one");

        let foreseen = Foreseen::read(path.clone()).await.unwrap();
        let other = place.path().join("other.db");
        assert!(foreseen.still(&other).await.is_none());
        store.close().await.unwrap();
    }
}
