//! Policies in files: what is accepted, and how everything else is told.
//!
//! `tests/fixtures/config/bad/NAME.toml` (or a directory `NAME/` with `renewd.toml` and `policy.d/`) is loaded and what is
//! printed is compared with `NAME.txt`; `UPDATE_GOLDEN=1 cargo test --test it config::` writes those files anew.
#![expect(
    clippy::disallowed_methods,
    reason = "tests arrange files and processes directly"
)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use renewd::config::{self, Code, Diagnostics, Loaded, Severity};

fn fixtures(kind: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/config");
    root.join(kind)
}

/// A directory as `/etc/renewd` would be, whatever owner and mode the files of the checkout have.
pub(crate) struct Etc(tempfile::TempDir);

impl Etc {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.0.path().join("renewd.toml")
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    }

    pub(crate) fn load(&self) -> Result<Loaded, Diagnostics> {
        config::load(&self.file())
    }

    /// As an administrator would see it.
    pub(crate) fn shown(&self, diagnostics: &Diagnostics) -> String {
        let here = self.0.path().to_str().unwrap();
        diagnostics.render(false).replace(here, "/etc/renewd")
    }
}

/// From a fixture: one file, or a directory.
fn arrange(fixture: &Path) -> Etc {
    let etc = Etc::new();
    if fixture.is_file() {
        etc.write("renewd.toml", fs::read(fixture).unwrap());
        return etc;
    }
    etc.write(
        "renewd.toml",
        fs::read(fixture.join("renewd.toml")).unwrap(),
    );
    for entry in fs::read_dir(fixture.join("policy.d")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        etc.write(&format!("policy.d/{name}"), fs::read(&path).unwrap());
    }
    etc
}

/// All fixtures of a kind with the path of their golden file.
fn each(kind: &str) -> Vec<(PathBuf, PathBuf)> {
    let entries = fs::read_dir(fixtures(kind)).unwrap();
    let mut found: Vec<(PathBuf, PathBuf)> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir() || path.extension().is_some_and(|e| e == "toml"))
        .map(|path| (path.clone(), path.with_extension("txt")))
        .collect();
    found.sort();
    assert!(!found.is_empty(), "no fixtures in {kind}");
    found
}

fn compare(golden: &Path, shown: &str) -> Result<(), String> {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(golden, shown).unwrap();
        return Ok(());
    }
    let wanted = fs::read_to_string(golden).unwrap_or_default();
    if wanted == shown {
        return Ok(());
    }
    Err(format!(
        "{} differs:\n--- wanted\n{wanted}\n--- shown\n{shown}",
        golden.display()
    ))
}

fn check(results: Vec<Result<(), String>>) {
    let failed: Vec<String> = results.into_iter().filter_map(Result::err).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

#[test]
fn every_bad_policy_is_refused_in_the_words_of_its_golden_file() {
    let results = each("bad").into_iter().map(|(fixture, golden)| {
        let etc = arrange(&fixture);
        match etc.load() {
            Ok(_) => Err(format!("{} was accepted", fixture.display())),
            Err(diagnostics) => {
                assert_eq!(diagnostics.exit_code(), 78);
                compare(&golden, &etc.shown(&diagnostics))
            }
        }
    });
    check(results.collect());
}
