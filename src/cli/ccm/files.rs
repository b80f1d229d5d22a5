//! What commands read from files and write to them. What may hold a key is for its owner alone, and nothing is replaced
//! unless that was asked for.

use std::path::Path;

use crate::cli::ccm::args::Output;
use crate::cli::{Exit, Failure};
use crate::pki::Secret;
use crate::sys::error_chain;
use crate::sys::fs::{self, Attributes};

/// A file of text, such as PEM.
pub(super) fn text(path: &Path) -> Result<String, Failure> {
    String::from_utf8(bytes(path)?).map_err(|_| {
        Failure::new(
            Exit::DataInvalid,
            format!("{} is no text; PEM is wanted", path.display()),
        )
    })
}

/// A text that may be left out.
pub(super) fn maybe_text(path: Option<&Path>) -> Result<Option<String>, Failure> {
    path.map(text).transpose()
}

/// A file with a private key in PEM.
pub(super) fn key(path: &Path) -> Result<Secret, Failure> {
    let key = Secret::new(bytes(path)?);
    match key.expose_str() {
        Some(text) if text.contains("PRIVATE KEY-----") => Ok(key),
        _ => Err(Failure::new(
            Exit::DataInvalid,
            format!("{} holds no private key in PEM", path.display()),
        )),
    }
}

/// A file of any kind.
pub(super) fn bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path, LARGEST).map_err(|error| Failure::new(Exit::Usage, error_chain(&error)))
}

/// Whether the file may be written; asked before the call, so that nothing is exported in vain.
pub(super) fn may_write(path: &Path, force: bool) -> Result<(), Failure> {
    let there = fs::stat(&absolute(path)?)
        .map_err(|error| Failure::new(Exit::CannotWrite, error_chain(&error)))?;
    if there.is_some() && !force {
        return Err(exists(path));
    }
    Ok(())
}

/// Writes a file that only its owner can read.
pub(super) fn write(path: &Path, force: bool, content: &[u8]) -> Result<(), Failure> {
    may_write(path, force)?;
    let whole = absolute(path)?;
    let written = if force {
        fs::write_atomic(&whole, content, &Attributes::PRIVATE)
    } else {
        // Fails where somebody made it meanwhile.
        fs::create_new(&whole, content, &Attributes::PRIVATE)
    };
    written.map_err(|error| Failure::new(Exit::CannotWrite, error_chain(&error)))
}

/// Before an export: may the file be written, or, without one, is it clear what happens to the key?
pub(super) fn prepare(output: &Output) -> Result<(), Failure> {
    match &output.output {
        Some(path) => may_write(path, output.force),
        None => Ok(()),
    }
}

fn exists(path: &Path) -> Failure {
    let text = format!("{} exists; say --force to replace it", path.display());
    Failure::new(Exit::CannotWrite, text)
}

fn absolute(path: &Path) -> Result<std::path::PathBuf, Failure> {
    std::path::absolute(path)
        .map_err(|error| Failure::new(Exit::CannotWrite, format!("{}: {error}", path.display())))
}

/// Bytes: a picture for a review; PEM is far below this.
const LARGEST: u64 = 8 << 20;
