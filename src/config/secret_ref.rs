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
    resolve_with(reference, |name| std::env::var_os(name))
}

fn resolve_with(
    reference: &SecretRef,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Secret, SecretError> {
    match reference {
        SecretRef::File(path) => from_file(reference, path),
        SecretRef::Env(name) => {
            let value = variable(name).ok_or_else(|| SecretError::NoVariable {
                reference: reference.clone(),
            })?;
            finish(reference, OsString::into_vec(value))
        }
        SecretRef::Credential(name) => {
            let directory =
                variable("CREDENTIALS_DIRECTORY").ok_or_else(|| SecretError::NoCredentials {
                    reference: reference.clone(),
                    name: name.clone(),
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
    let own = nix::unistd::geteuid().as_raw();
    let checked = |metadata: &Metadata| {
        let (mode, owner) = (metadata.mode() & 0o7777, metadata.uid());
        check(reference, path, mode, owner, own).map_err(Unread::Refused)
    };
    match fs::read_checked(path, LIMIT, checked) {
        Ok(bytes) => finish(reference, bytes),
        Err(Unread::Refused(error)) => Err(error),
        Err(Unread::Failed(source)) => Err(SecretError::Read {
            reference: reference.clone(),
            source,
        }),
    }
}

/// Nobody but root and renewd may have a say in a secret, and not everybody may know it.
fn check(
    reference: &SecretRef,
    path: &Path,
    mode: u32,
    owner: u32,
    own: u32,
) -> Result<(), SecretError> {
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
    if owner != 0 && owner != own {
        return Err(SecretError::Owner {
            reference: reference.clone(),
            owner,
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

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests arrange files directly")]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    fn file(content: &[u8], mode: u32) -> (tempfile::TempDir, SecretRef) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        (directory, SecretRef::File(path))
    }

    fn text(reference: &SecretRef) -> Result<String, String> {
        let none = |_: &str| None;
        let secret = resolve_with(reference, none).map_err(|error| error.to_string())?;
        Ok(secret.expose_str().unwrap().to_owned())
    }

    #[test]
    fn one_line_end_is_taken_off() {
        for (content, want) in [
            (&b"secret"[..], "secret"),
            (b"secret\n", "secret"),
            (b"secret\r\n", "secret"),
            (b"secret\n\n", "secret\n"),
            (b" s \n", " s "),
        ] {
            let (_keep, reference) = file(content, 0o600);
            assert_eq!(text(&reference).as_deref(), Ok(want));
        }
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_with_the_command_that_helps() {
        for (mode, fix) in [
            (0o604, "chmod o= "),
            (0o602, "chmod o= "),
            (0o644, "chmod o= "),
            (0o620, "chmod g-w "),
        ] {
            let (_keep, reference) = file(b"hunter2", mode);
            let error = text(&reference).unwrap_err();
            assert!(error.contains(&reference.to_string()), "{error}");
            assert!(error.contains(fix), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        let (_keep, reference) = file(b"hunter2", 0o440);
        assert_eq!(
            text(&reference).as_deref(),
            Ok("hunter2"),
            "a group may read"
        );
    }

    #[test]
    fn a_file_of_somebody_else_is_refused() {
        let path = Path::new("/etc/secret");
        let reference = SecretRef::File(path.to_owned());
        assert!(check(&reference, path, 0o600, 0, 1000).is_ok());
        assert!(check(&reference, path, 0o600, 1000, 1000).is_ok());
        let error = check(&reference, path, 0o600, 1001, 1000).unwrap_err();
        let want = "secret file:/etc/secret belongs to user 1001; run: chown 1000 /etc/secret";
        assert_eq!(error.to_string(), want);
    }

    #[test]
    fn nothing_and_too_much_are_no_secrets() {
        let (_keep, reference) = file(b"\n", 0o600);
        assert!(text(&reference).unwrap_err().ends_with("is empty"));
        let (_keep, reference) = file(&vec![b'x'; 64 * 1024 + 1], 0o600);
        let none = |_: &str| None;
        let Err(error) = resolve_with(&reference, none) else {
            panic!("accepted");
        };
        let cause = std::error::Error::source(&error).and_then(std::error::Error::source);
        assert!(cause.unwrap().to_string().contains("longer than 65536"));
    }

    #[test]
    fn a_missing_file_and_a_directory_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let missing = SecretRef::File(directory.path().join("missing"));
        assert!(text(&missing).unwrap_err().ends_with("cannot be read"));
        let reference = SecretRef::File(directory.path().to_owned());
        assert!(text(&reference).is_err());
    }

    #[test]
    fn a_variable_and_a_credential_are_read() {
        let (keep, _) = file(b"from systemd\n", 0o400);
        let directory = keep.path().as_os_str().to_owned();
        let variable = move |name: &str| match name {
            "TOKEN" => Some(OsString::from("from the environment")),
            "CREDENTIALS_DIRECTORY" => Some(directory.clone()),
            _ => None,
        };
        let read = |reference: SecretRef| {
            let secret = resolve_with(&reference, &variable).ok()?;
            Some(secret.expose_str()?.to_owned())
        };
        let found = read(SecretRef::Env("TOKEN".to_owned()));
        assert_eq!(found.as_deref(), Some("from the environment"));
        let found = read(SecretRef::Credential("secret".to_owned()));
        assert_eq!(found.as_deref(), Some("from systemd"));
        assert_eq!(read(SecretRef::Credential("other".to_owned())), None);
        assert_eq!(read(SecretRef::Env("OTHER".to_owned())), None);
    }

    #[test]
    fn a_credential_without_systemd_says_what_to_add() {
        let error = text(&SecretRef::Credential("ak".to_owned())).unwrap_err();
        assert!(error.contains("LoadCredential=ak:/path"), "{error}");
    }
}
