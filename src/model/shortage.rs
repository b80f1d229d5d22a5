//! A disk without room for what an order would bring.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where there is too little of what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shortage {
    /// A directory on the file system in question.
    pub path: PathBuf,
    /// Of what.
    pub of: Scarce,
    /// There is.
    pub free: u64,
    /// There should be.
    pub needed: u64,
}

/// What a file system runs out of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scarce {
    /// Bytes.
    Bytes,
    /// Inodes: as many files as there may be.
    Inodes,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.of {
            Scarce::Bytes => write!(
                f,
                "{path} has {} KiB free, and {} KiB are needed",
                self.free / 1024,
                self.needed.div_ceil(1024)
            ),
            Scarce::Inodes => write!(
                f,
                "{path} has {} inodes free, and {} are needed",
                self.free, self.needed
            ),
        }
    }
}
