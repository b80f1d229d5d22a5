//! Why the journal could not be read or written.

use std::path::PathBuf;

use sqlx::migrate::MigrateError;

/// Why the journal could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Opening or migrating it failed.
    #[error("failed to open the journal {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// The schema could not be brought up to date.
    #[error("failed to bring the schema of the journal {path} up to date")]
    Migrate {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: MigrateError,
    },
    /// A query failed.
    #[error("failed to {what} in the journal")]
    Query {
        /// What was attempted.
        what: &'static str,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// A value could not be written as JSON.
    #[error("failed to write the journal column {what}")]
    Encode {
        /// Which column.
        what: &'static str,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A value could not be read.
    #[error("failed to read the journal column {what}")]
    Decode {
        /// Which column.
        what: &'static str,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// Written by a newer renewd.
    #[error(
        "the journal column {what} has version {found}, which this renewd does not know; use a newer renewd"
    )]
    Version {
        /// Which column.
        what: &'static str,
        /// Which version.
        found: u32,
    },
    /// A certificate has an open order, or a target an open rollout.
    #[error("{0} has one open already")]
    AlreadyOpen(String),
    /// The row is not there (any more).
    #[error("the journal does not have {0}")]
    Missing(String),
    /// An id in the journal is not one.
    #[error("the journal holds the impossible id {0:?}")]
    Id(String),
}

impl StoreError {
    /// Whether the cause is a full or read-only disk.
    #[must_use]
    pub fn is_full_or_read_only(&self) -> bool {
        // SQLITE_READONLY, SQLITE_IOERR, SQLITE_FULL.
        matches!(self.sqlite_code(), Some(8 | 10 | 13))
    }

    /// Whether the file is no journal, or no whole one.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        // SQLITE_CORRUPT, SQLITE_NOTADB.
        matches!(self.sqlite_code(), Some(11 | 26))
    }

    /// The primary result code; extended ones have theirs in the lowest byte.
    fn sqlite_code(&self) -> Option<u32> {
        let source = match self {
            Self::Query { source, .. } | Self::Open { source, .. } => source,
            Self::Migrate { source, .. } => match source {
                MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) => source,
                _ => return None,
            },
            Self::Encode { .. }
            | Self::Decode { .. }
            | Self::Version { .. }
            | Self::AlreadyOpen(_)
            | Self::Missing(_)
            | Self::Id(_) => return None,
        };
        let code = source.as_database_error()?.code()?.parse::<u32>().ok()?;
        Some(code & 0xff)
    }
}
