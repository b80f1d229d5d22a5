//! Keys at rest: everything secret in the state is sealed with AES-256-GCM under one master key.
//!
//! The master key comes from a file, the environment or a systemd credential. Without any, a file of mode 0600 is made
//! in the state directory: that keeps copies of the database alone harmless, and nothing more.

use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};

use crate::ccm_server::text;
use crate::pki::Secret;
use crate::sys::entropy;
use crate::sys::fs::{self, Attributes, FsError};

/// The key under which all others are sealed.
pub struct MasterKey {
    bytes: Secret,
    origin: String,
    generated: bool,
}

/// Why there is no usable master key, or a sealed value does not open.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The file cannot be read.
    #[error("failed to read the master key")]
    Read(#[source] FsError),
    /// The generated key cannot be kept.
    #[error("failed to write a new master key")]
    Write(#[source] FsError),
    /// The text is no key.
    #[error(
        "the master key from {0} is no key; it must be 64 hexadecimal digits (openssl rand -hex 32)"
    )]
    Malformed(String),
    /// The state was sealed under another key.
    #[error(
        "the master key from {origin} does not open the state in {state}; give the key that the state was made with"
    )]
    Wrong {
        /// Where the key came from.
        origin: String,
        /// The state directory.
        state: PathBuf,
    },
    /// There is a state, and no key for it.
    #[error(
        "the state in {state} is sealed and its master key {path} is missing; restore the file or give the key with --key-file"
    )]
    Missing {
        /// The state directory.
        state: PathBuf,
        /// Where the key was.
        path: PathBuf,
    },
    /// A sealed value was damaged or moved.
    #[error("a sealed value in the state does not open: {0}")]
    Damaged(String),
    /// The random generator failed.
    #[error("the random generator failed")]
    Random,
}

impl MasterKey {
    /// Reads 64 hexadecimal digits from a file.
    ///
    /// # Errors
    /// [`VaultError::Read`], [`VaultError::Malformed`].
    pub fn from_file(path: &Path) -> Result<Self, VaultError> {
        let bytes = fs::read(path, FILE_LIMIT).map_err(VaultError::Read)?;
        let content = Secret::new(bytes);
        Self::from_text(
            content.expose_str().unwrap_or_default(),
            path.display().to_string(),
        )
    }

    /// Reads 64 hexadecimal digits; `origin` is for messages.
    ///
    /// # Errors
    /// [`VaultError::Malformed`].
    pub fn from_text(hex: &str, origin: String) -> Result<Self, VaultError> {
        match text::unhex(hex.trim()) {
            Some(bytes) if bytes.len() == KEY_LENGTH => Ok(Self {
                bytes: Secret::new(bytes),
                origin,
                generated: false,
            }),
            _ => Err(VaultError::Malformed(origin)),
        }
    }

    /// Reads `master.key` in the state directory, or makes it when there is no state yet.
    ///
    /// # Errors
    /// [`VaultError`] as it applies.
    pub fn in_state(state: &Path) -> Result<Self, VaultError> {
        let path = state.join(FILE);
        if path.exists() {
            return Self::from_file(&path);
        }
        if state.join("ccm.db").exists() {
            return Err(VaultError::Missing {
                state: state.to_owned(),
                path,
            });
        }
        let mut bytes = vec![0; KEY_LENGTH];
        entropy::fill(&mut bytes);
        let line = Secret::new(
            format!(
                "{}
",
                text::hex(&bytes)
            )
            .into_bytes(),
        );
        fs::create_new(&path, line.expose(), &Attributes::PRIVATE)
            .and_then(|()| fs::sync_dir(state))
            .map_err(VaultError::Write)?;
        Ok(Self {
            bytes: Secret::new(bytes),
            origin: path.display().to_string(),
            generated: true,
        })
    }

    /// Where it came from.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Whether it was made just now.
    #[must_use]
    pub const fn generated(&self) -> bool {
        self.generated
    }
}

/// Seals and opens.
pub(super) struct Vault(RandomizedNonceKey);

impl Vault {
    /// With this master key.
    pub(super) fn new(key: &MasterKey) -> Result<Self, VaultError> {
        RandomizedNonceKey::new(&AES_256_GCM, key.bytes.expose())
            .map(Self)
            .map_err(|_| VaultError::Malformed(key.origin.clone()))
    }

    /// Seals `plain` for the place `label`, such as `certificate.key/<id>`: it opens nowhere else.
    pub(super) fn seal(&self, label: &str, plain: &[u8]) -> Result<Vec<u8>, VaultError> {
        // A growing buffer would leave unzeroised copies behind.
        let mut sealed = Vec::with_capacity(plain.len() + AES_256_GCM.tag_len());
        sealed.extend_from_slice(plain);
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::from(label), &mut sealed)
            .map_err(|_| VaultError::Random)?;
        let mut whole = Vec::with_capacity(1 + NONCE_LEN + sealed.len());
        whole.push(VERSION);
        whole.extend_from_slice(nonce.as_ref());
        whole.extend_from_slice(&sealed);
        Ok(whole)
    }

    /// Opens what was sealed for `label`.
    pub(super) fn open(&self, label: &str, sealed: &[u8]) -> Result<Secret, VaultError> {
        let damaged = || VaultError::Damaged(label.to_owned());
        let (version, rest) = sealed.split_first().ok_or_else(damaged)?;
        let (nonce, body) = rest.split_at_checked(NONCE_LEN).ok_or_else(damaged)?;
        if *version != VERSION {
            return Err(damaged());
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| damaged())?;
        let mut buffer = body.to_vec();
        let length = self
            .0
            .open_in_place(nonce, Aad::from(label), &mut buffer)
            .map_err(|_| damaged())?
            .len();
        buffer.truncate(length);
        Ok(Secret::new(buffer))
    }
}

/// Of AES-256.
const KEY_LENGTH: usize = 32;
/// A key file has 65 bytes; whatever is longer is another file.
const FILE_LIMIT: u64 = 4096;
/// Below the state directory.
const FILE: &str = "master.key";
/// The first byte of a sealed value, so that another algorithm can follow.
const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn vault(digit: &str) -> Vault {
        let key = MasterKey::from_text(&digit.repeat(64), "a test".to_owned());
        Vault::new(&key.unwrap()).unwrap()
    }

    #[test]
    fn a_sealed_value_opens_in_its_place_with_its_key_and_nowhere_else() {
        let sealed = vault("1").seal("a/1", b"secret").unwrap();
        assert_eq!(vault("1").open("a/1", &sealed).unwrap().expose(), b"secret");
        assert!(
            vault("1").open("a/2", &sealed).is_err(),
            "moved to another row"
        );
        assert!(
            vault("2").open("a/1", &sealed).is_err(),
            "under another key"
        );
        assert!(!sealed.windows(6).any(|part| part == b"secret"));
        let again = vault("1").seal("a/1", b"secret").unwrap();
        assert_ne!(sealed, again, "a nonce is never used twice");
    }

    #[test]
    fn a_damaged_value_does_not_open_and_does_not_panic() {
        let sealed = vault("1").seal("a", b"secret").unwrap();
        for length in 0..sealed.len() {
            assert!(vault("1").open("a", &sealed[..length]).is_err());
        }
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert!(vault("1").open("a", &damaged).is_err());
        }
    }
}
