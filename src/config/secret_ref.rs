//! Reads a secret behind its reference, at the moment of use.

use std::ffi::OsString;
use std::fs::Metadata;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::model::SecretRef;
use crate::pki::Secret;
use crate::sys::fs::{self, FsError};

/// Why a secret cannot be had. Names the reference and never the value.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file is missing, may not be read, is no regular file or far too long.
    #[error("secret {reference} cannot be read")]
    Read {
        /// As in the policy.
        reference: SecretRef,
        /// What the system said.
        source: FsError,
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
    #[error("secret {reference} is longer than {LIMIT} bytes")]
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
            finish(reference, OsString::into_vec(value))
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

/// Either what the system says, or what we say to it.
enum Unread {
    Failed(FsError),
    Refused(SecretError),
}

impl From<FsError> for Unread {
    fn from(error: FsError) -> Self {
        Self::Failed(error)
    }
}

fn from_file(reference: &SecretRef, path: &Path) -> Result<Secret, SecretError> {
    let checked = |metadata: &Metadata| check(reference, path, metadata).map_err(Unread::Refused);
    match fs::read_checked(path, LIMIT, checked) {
        Ok(bytes) => finish(reference, bytes),
        Err(Unread::Refused(error)) => Err(error),
        Err(Unread::Failed(source)) => Err(SecretError::Read {
            reference: reference.clone(),
            source,
        }),
    }
}

fn check(reference: &SecretRef, path: &Path, metadata: &Metadata) -> Result<(), SecretError> {
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

fn finish(reference: &SecretRef, mut bytes: Vec<u8>) -> Result<Secret, SecretError> {
    if bytes.len() as u64 > LIMIT {
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
const LIMIT: u64 = 64 * 1024;
