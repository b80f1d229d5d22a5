//! Keys and revisions on disk: the source of everything that is exported. Never in the journal, never elsewhere.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::model::{CertificateId, Fingerprint, OrderId, RevisionId};
use crate::pki::{self, Material, PkiError, PrivateKey, Secret};
use crate::sys::crash;
use crate::sys::error_chain;
use crate::sys::fs::{self, Attributes, FsError, Stat};

/// `keys/` and `revisions/` of a state directory. Every call is idempotent, and durable when it returns.
#[derive(Debug, Clone)]
pub struct Materials {
    state_dir: PathBuf,
}

/// Why a key or a revision could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum MaterialError {
    /// The files.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// Their content.
    #[error("failed to use {}", path.display())]
    Content {
        /// Which file or directory.
        path: PathBuf,
        /// What is wrong with it.
        source: PkiError,
    },
    /// Another certificate is in the directory than its name says, or a key that is not its own.
    #[error("failed to use {}: {problem}", path.display())]
    Mismatch {
        /// Which directory.
        path: PathBuf,
        /// What does not fit.
        problem: &'static str,
    },
}

impl Materials {
    /// Over this state directory, which exists.
    #[must_use]
    pub fn new(state_dir: PathBuf) -> Self {
        Self { state_dir }
    }

    /// Stores the key of an order, which must be there before its CSR leaves the host, and returns the digest of the
    /// public key that is on disk afterwards. A usable key that is there already stays, since its CSR may be on the
    /// way; an unusable one is replaced.
    ///
    /// # Errors
    /// [`MaterialError::Fs`].
    pub fn store_key(
        &self,
        order: &OrderId,
        key: &PrivateKey,
    ) -> Result<Fingerprint, MaterialError> {
        match self.load_key(order) {
            Ok(Some(there)) => return Ok(there.spki()),
            Ok(None) | Err(MaterialError::Content { .. }) => {}
            Err(error) => return Err(error),
        }
        let path = self.key_path(order);
        fs::create_dir_all(&self.state_dir.join("keys"), PRIVATE_DIRECTORY)?;
        fs::write_atomic(&path, key.to_pem().expose(), &Attributes::PRIVATE)?;
        Ok(key.spki())
    }

    /// The key of an order; `None` if none was stored.
    ///
    /// # Errors
    /// A file that cannot be read or is no key. It was never used then: a new key may take its place.
    pub fn load_key(&self, order: &OrderId) -> Result<Option<PrivateKey>, MaterialError> {
        let path = self.key_path(order);
        let Some(pem) = fs::read_if_exists(&path, MOST_BYTES)? else {
            return Ok(None);
        };
        let pem = Secret::new(pem);
        match PrivateKey::from_pem(pem.expose()) {
            Ok(key) => Ok(Some(key)),
            Err(source) => Err(MaterialError::Content { path, source }),
        }
    }

    /// Removes the key of an order that is closed; its revision has its own copy.
    ///
    /// # Errors
    /// [`MaterialError::Fs`].
    pub fn remove_key(&self, order: &OrderId) -> Result<(), MaterialError> {
        fs::remove_file(&self.key_path(order))?;
        Ok(())
    }

    /// Stores a revision: key first, leaf last, so that a leaf means all is there.
    ///
    /// # Errors
    /// [`MaterialError::Fs`].
    pub fn store_revision(
        &self,
        certificate: &CertificateId,
        material: &Material,
    ) -> Result<RevisionId, MaterialError> {
        let revision = material.revision_id();
        if self.load_revision(certificate, &revision).is_ok() {
            return Ok(revision);
        }
        let dir = self.revision_path(certificate, &revision);
        fs::create_dir_all(&dir, PRIVATE_DIRECTORY)?;
        fs::sweep(&dir)?;
        let key = material.key.to_pem();
        let (chain, leaf) = (material.chain_pem(), material.leaf_pem());
        for (name, bytes) in [
            (KEY, key.expose()),
            (CHAIN, chain.as_bytes()),
            (LEAF, leaf.as_bytes()),
        ] {
            fs::write_atomic(&dir.join(name), bytes, &Attributes::PRIVATE)?;
            crash::point("order.store-revision.file");
        }
        if let Ok(Some(stats)) = stats(&dir) {
            remember_good(&dir, &stats);
        }
        Ok(revision)
    }

    /// A revision with its key, which was checked against the leaf.
    ///
    /// # Errors
    /// Missing, unreadable or mixed-up files.
    pub fn load_revision(
        &self,
        certificate: &CertificateId,
        revision: &RevisionId,
    ) -> Result<Material, MaterialError> {
        let path = self.revision_path(certificate, revision);
        let key = Secret::new(fs::read(&path.join(KEY), MOST_BYTES)?);
        let (leaf, chain) = (text(&path.join(LEAF))?, text(&path.join(CHAIN))?);
        let content = |source| MaterialError::Content {
            path: path.clone(),
            source,
        };
        let mismatch = |problem| MaterialError::Mismatch {
            path: path.clone(),
            problem,
        };
        let key = PrivateKey::from_pem(key.expose()).map_err(content)?;
        let spki = key.spki();
        let material = Material::from_pem(key, &leaf, &chain).map_err(content)?;
        if material.revision_id() != *revision {
            return Err(mismatch("another certificate is in it than its name says"));
        }
        if material.facts().map_err(content)?.spki != spki {
            return Err(mismatch("the key is not the certificate's"));
        }
        Ok(material)
    }

    /// Leaf and chain of a revision, DER, without touching its key.
    ///
    /// # Errors
    /// Missing or unreadable files.
    pub fn load_public(
        &self,
        certificate: &CertificateId,
        revision: &RevisionId,
    ) -> Result<Vec<Vec<u8>>, MaterialError> {
        let path = self.revision_path(certificate, revision);
        let mut all = String::new();
        for name in [LEAF, CHAIN] {
            all.push_str(&text(&path.join(name))?);
        }
        pki::pem::certificates(&all).map_err(|source| MaterialError::Content { path, source })
    }

    /// What is wrong with a stored revision: missing, incomplete, damaged, or no pair. What cannot be looked at (a disk in
    /// trouble) counts as good: only what is certainly lost is worth another order. Its files are read only where the
    /// file system says that they were touched since they were last found good.
    #[must_use]
    pub fn revision_fault(
        &self,
        certificate: &CertificateId,
        revision: &RevisionId,
    ) -> Option<String> {
        let path = self.revision_path(certificate, revision);
        let stats = match stats(&path) {
            Ok(Some(stats)) => stats,
            Ok(None) => {
                return Some(format!(
                    "revision {revision} is missing or incomplete on disk"
                ));
            }
            Err(_) => return None,
        };
        if seen_good(&path).as_ref() == Some(&stats) {
            return None;
        }
        match self.load_revision(certificate, revision) {
            Ok(_) => {
                remember_good(&path, &stats);
                None
            }
            Err(MaterialError::Fs(_)) => None,
            Err(error @ (MaterialError::Content { .. } | MaterialError::Mismatch { .. })) => {
                Some(format!(
                    "revision {revision} is damaged on disk: {}",
                    error_chain(&error)
                ))
            }
        }
    }

    /// The revisions of a certificate that are on disk, in the order of their names.
    ///
    /// # Errors
    /// [`MaterialError::Fs`].
    pub fn revisions(&self, certificate: &CertificateId) -> Result<Vec<RevisionId>, MaterialError> {
        let names = fs::list(&self.certificate_path(certificate))?;
        let ids = names.iter().filter_map(|name| name.to_str());
        Ok(ids.filter_map(|id| RevisionId::new(id).ok()).collect())
    }

    /// Removes every revision of a certificate but these.
    ///
    /// # Errors
    /// [`MaterialError::Fs`].
    pub fn prune(
        &self,
        certificate: &CertificateId,
        keep: &BTreeSet<RevisionId>,
    ) -> Result<(), MaterialError> {
        for revision in self.revisions(certificate)? {
            if !keep.contains(&revision) {
                fs::remove_tree(&self.revision_path(certificate, &revision))?;
            }
        }
        Ok(())
    }

    /// Removes the keys of all orders but these: of orders that were refused or given up. Only under the lock.
    ///
    /// # Errors
    /// [`MaterialError::Fs`].
    pub fn keep_keys(&self, open: &BTreeSet<OrderId>) -> Result<(), MaterialError> {
        for name in fs::list(&self.state_dir.join("keys"))? {
            let order = name.to_str().and_then(|name| name.strip_suffix(".key"));
            let Some(order) = order.and_then(|id| OrderId::new(id).ok()) else {
                continue;
            };
            if !open.contains(&order) {
                self.remove_key(&order)?;
            }
        }
        Ok(())
    }

    /// Keeps a private key for as long as a certificate for it may come: by its public one, whichever order it was made for.
    ///
    /// # Errors
    /// [`MaterialError::Fs`].
    pub fn keep_public_key(&self, key: &PrivateKey) -> Result<(), MaterialError> {
        let spki = key.spki();
        if matches!(self.load_public_key(spki), Ok(Some(_))) {
            return Ok(());
        }
        fs::create_dir_all(&self.kept_path(), PRIVATE_DIRECTORY)?;
        let path = self.kept_path().join(format!("{spki}.key"));
        fs::write_atomic(&path, key.to_pem().expose(), &Attributes::PRIVATE)?;
        Ok(())
    }

    /// The private key to a public one that is kept.
    ///
    /// # Errors
    /// A file that cannot be read, is no key, or is another one.
    pub fn load_public_key(&self, spki: Fingerprint) -> Result<Option<PrivateKey>, MaterialError> {
        let path = self.kept_path().join(format!("{spki}.key"));
        let Some(pem) = fs::read_if_exists(&path, MOST_BYTES)? else {
            return Ok(None);
        };
        let pem = Secret::new(pem);
        let key = match PrivateKey::from_pem(pem.expose()) {
            Ok(key) => key,
            Err(source) => return Err(MaterialError::Content { path, source }),
        };
        if key.spki() != spki {
            let problem = "another key is in it than its name says";
            return Err(MaterialError::Mismatch { path, problem });
        }
        Ok(Some(key))
    }

    /// The public keys of all that are kept.
    ///
    /// # Errors
    /// [`MaterialError::Fs`].
    pub fn public_keys(&self) -> Result<BTreeSet<Fingerprint>, MaterialError> {
        let names = fs::list(&self.kept_path())?;
        let names = names.iter().filter_map(|name| name.to_str());
        let digests = names.filter_map(|name| name.strip_suffix(".key"));
        Ok(digests.filter_map(Fingerprint::parse).collect())
    }

    /// Removes the kept keys of all public ones but these. Only under the lock.
    ///
    /// # Errors
    /// [`MaterialError::Fs`].
    pub fn keep_public_keys(&self, keep: &BTreeSet<Fingerprint>) -> Result<(), MaterialError> {
        for spki in self.public_keys()? {
            if !keep.contains(&spki) {
                fs::remove_file(&self.kept_path().join(format!("{spki}.key")))?;
            }
        }
        Ok(())
    }

    fn kept_path(&self) -> PathBuf {
        self.state_dir.join("keys").join("public")
    }

    /// Removes what a killed process left of unfinished writes. Only under the lock.
    ///
    /// # Errors
    /// [`MaterialError::Fs`].
    pub fn sweep(&self) -> Result<(), MaterialError> {
        fs::sweep(&self.state_dir.join("keys"))?;
        fs::sweep(&self.kept_path())?;
        Ok(())
    }

    fn key_path(&self, order: &OrderId) -> PathBuf {
        self.state_dir.join("keys").join(format!("{order}.key"))
    }

    fn certificate_path(&self, certificate: &CertificateId) -> PathBuf {
        self.state_dir.join("revisions").join(certificate.as_str())
    }

    fn revision_path(&self, certificate: &CertificateId, revision: &RevisionId) -> PathBuf {
        self.certificate_path(certificate).join(revision.as_str())
    }
}

/// How the files of a revision look; `None` where one is missing.
fn stats(directory: &Path) -> Result<Option<Vec<Stat>>, FsError> {
    let stats = [KEY, CHAIN, LEAF].map(|name| fs::stat(&directory.join(name)));
    stats.into_iter().collect()
}

/// How they looked when they were found good. Only a shortcut: where it is missing or different the files are read.
fn seen_good(directory: &Path) -> Option<Vec<Stat>> {
    let text = fs::read_if_exists(&directory.join(SEEN), MOST_BYTES).ok()??;
    serde_json::from_slice(&text).ok()
}

fn remember_good(directory: &Path, stats: &[Stat]) {
    let Ok(text) = serde_json::to_vec(stats) else {
        return;
    };
    if let Err(error) = fs::write_atomic(&directory.join(SEEN), &text, &Attributes::PRIVATE) {
        tracing::debug!(%error, "the look of a revision was not written down");
    }
}

fn text(path: &Path) -> Result<String, MaterialError> {
    let bytes = fs::read(path, MOST_BYTES)?;
    // What is not UTF-8 is no PEM either, and the PEM reader says so.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

const KEY: &str = "key.pem";
const LEAF: &str = "cert.pem";
const CHAIN: &str = "chain.pem";
/// How they looked when they were read last.
const SEEN: &str = "seen.json";
/// Nobody but us looks in.
const PRIVATE_DIRECTORY: u32 = 0o700;
/// Far more than the longest chain; a bound against a mixed-up path.
const MOST_BYTES: u64 = 4 << 20;
