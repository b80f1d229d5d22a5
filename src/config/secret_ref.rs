//! Reads a secret behind its reference, at the moment of use.

use std::fs::{File, Metadata, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::model::SecretRef;
use crate::pki::Secret;

/// Why a secret cannot be had. Names the reference and never the value.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file is missing or may not be read.
    #[error("secret {reference} cannot be read")]
    Read {
        /// As in the policy.
        reference: SecretRef,
        /// What the system said.
        source: std::io::Error,
    },
    /// A directory, a device, a pipe.
    #[error("secret {reference} is no regular file")]
    NotAFile {
        /// As in the policy.
        reference: SecretRef,
    },
    /// Others may read or change it.
    #[error("secret {reference} may be {what} (mode {mode:04o}); run: chmod {fix} {}", path.display())]
    Open {
        /// As in the policy.
        reference: SecretRef,
        /// Who may do what.
        what: &'static str,
        /// Its present mode.
        mode: u32,
        /// Argument of chmod that helps.
        fix: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// Somebody else owns it and could change it at any time.
    #[error("secret {reference} belongs to user {owner}; run: chown {want} {}", path.display())]
    Owner {
        /// As in the policy.
        reference: SecretRef,
        /// Its owner's number.
        owner: u32,
        /// Who should own it.
        want: u32,
        /// The file.
        path: PathBuf,
    },
    /// More than a secret can be.
    #[error("secret {reference} is larger than {LIMIT} bytes")]
    TooLarge {
        /// As in the policy.
        reference: SecretRef,
    },
    /// Nothing, or nothing but a line end.
    #[error("secret {reference} is empty")]
    Empty {
        /// As in the policy.
        reference: SecretRef,
    },
    /// The environment variable is not set.
    #[error("secret {reference}: the environment has no variable of this name")]
    NoVariable {
        /// As in the policy.
        reference: SecretRef,
    },
    /// Not started by systemd with `LoadCredential=` or `SetCredential=`.
    #[error(
        "secret {reference}: no $CREDENTIALS_DIRECTORY; add LoadCredential={name}:/path to the unit"
    )]
    NoCredentials {
        /// As in the policy.
        reference: SecretRef,
        /// Of the credential.
        name: String,
    },
}

/// The value behind a reference, without a final line end.
///
/// # Errors
/// [`SecretError`] names the reference, what is wrong, and the command that helps where there is one.
pub fn resolve(reference: &SecretRef) -> Result<Secret, SecretError> {
    match reference {
        SecretRef::File(path) => from_file(reference, path),
        SecretRef::Env(name) => {
            let value = std::env::var_os(name).ok_or_else(|| SecretError::NoVariable {
                reference: reference.clone(),
            })?;
            finish(reference, std::os::unix::ffi::OsStringExt::into_vec(value))
        }
        SecretRef::Credential(name) => {
            let directory = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(|| {
                SecretError::NoCredentials {
                    reference: reference.clone(),
                    name: name.clone(),
                }
            })?;
            from_file(reference, &Path::new(&directory).join(name))
        }
    }
}

fn from_file(reference: &SecretRef, path: &Path) -> Result<Secret, SecretError> {
    let failed = |source| SecretError::Read {
        reference: reference.clone(),
        source,
    };
    // A pipe must not block the open; the checks are on the opened file, so that it cannot be swapped in between.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(path)
        .map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    check(reference, path, &metadata)?;
    let bytes = read(reference, &file)?;
    finish(reference, bytes)
}

fn check(reference: &SecretRef, path: &Path, metadata: &Metadata) -> Result<(), SecretError> {
    if !metadata.is_file() {
        return Err(SecretError::NotAFile {
            reference: reference.clone(),
        });
    }
    let mode = metadata.mode() & 0o7777;
    let open = if mode & 0o002 != 0 {
        Some(("changed by every user of this machine", "o="))
    } else if mode & 0o007 != 0 {
        Some(("read by every user of this machine", "o="))
    } else if mode & 0o020 != 0 {
        Some(("changed by its group", "g-w"))
    } else {
        None
    };
    if let Some((what, fix)) = open {
        return Err(SecretError::Open {
            reference: reference.clone(),
            what,
            mode,
            fix,
            path: path.to_owned(),
        });
    }
    let own = nix::unistd::geteuid().as_raw();
    if metadata.uid() != 0 && metadata.uid() != own {
        return Err(SecretError::Owner {
            reference: reference.clone(),
            owner: metadata.uid(),
            want: own,
            path: path.to_owned(),
        });
    }
    Ok(())
}

fn read(reference: &SecretRef, file: &File) -> Result<Vec<u8>, SecretError> {
    // Room for all of it at once: a buffer that grows leaves copies of the secret behind in freed memory.
    let mut bytes = Vec::with_capacity(LIMIT + 1);
    file.take(LIMIT as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| SecretError::Read {
            reference: reference.clone(),
            source,
        })?;
    Ok(bytes)
}

fn finish(reference: &SecretRef, mut bytes: Vec<u8>) -> Result<Secret, SecretError> {
    if bytes.len() > LIMIT {
        drop(Secret::new(bytes));
        return Err(SecretError::TooLarge {
            reference: reference.clone(),
        });
    }
    if bytes.ends_with(b"\n") {
        bytes.pop();
        if bytes.ends_with(b"\r") {
            bytes.pop();
        }
    }
    if bytes.is_empty() {
        return Err(SecretError::Empty {
            reference: reference.clone(),
        });
    }
    Ok(Secret::new(bytes))
}

/// Bytes; a token of IAM is the longest thing that is ever referred to, and is far below this.
const LIMIT: usize = 64 * 1024;
