//! Exports: which files an export kind has, what is in each, and in which order they are safe to write.
//!
//! Owner, mode and the writing itself are `deploy`'s business.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use aws_lc_rs::hmac;
use aws_lc_rs::pbkdf2;

use crate::model::{
    CertificateId, ExportKind, ExportLayout, Fingerprint, PemFiles, PfxProfile, TrustFormat,
};
use crate::pki::{Material, PkiError, PrivateKey, Secret, chain, jks, pem, pfx, trust};

/// One file to write.
pub struct BundleFile {
    /// Where, with `{certificate}` replaced; absolute or relative as the export says.
    pub path: PathBuf,
    /// What.
    pub bytes: Secret,
    /// A private key or a password is inside: decides which mode the file gets.
    pub holds_key: bool,
}

/// The files of one export in the order in which they are safe to write: key, chain, certificate last, so that a reader
/// never finds a new certificate whose key is not there yet.
///
/// No form holds the root but a trust store, keystores included: a client that lacks it does not trust it when it is sent (RFC 8446
/// §4.4.2), and importing a PFX on Windows would quietly make it a trusted one. Only a separate chain file that would
/// be empty gets it: services refuse an empty one.
///
/// # Errors
/// A missing or unusable password, an alias that the format refuses.
pub fn render(
    material: &Material,
    kind: &ExportKind,
    certificate: &CertificateId,
    password: Option<&Secret>,
) -> Result<Vec<BundleFile>, PkiError> {
    let open = |path: PathBuf, bytes: String| BundleFile {
        path,
        bytes: Secret::from(bytes),
        holds_key: false,
    };
    let sealed = |path: PathBuf, bytes: Secret| BundleFile {
        path,
        bytes,
        holds_key: true,
    };
    match kind {
        ExportKind::Pem(files) => Ok(pem_files(material, files, certificate)),
        ExportKind::Pfx {
            path,
            profile,
            alias,
            password: _,
        } => {
            let bytes = pfx::write(material, alias, *profile, password)?;
            Ok(vec![sealed(expand(path, certificate), bytes)])
        }
        ExportKind::Jks {
            path,
            alias,
            password: _,
        } => {
            let bytes = jks::write(material, alias, password)?;
            Ok(vec![sealed(expand(path, certificate), bytes)])
        }
        ExportKind::Trust {
            path,
            format,
            password: _,
        } => Ok(vec![BundleFile {
            path: expand(path, certificate),
            bytes: trust::write(material, *format, password)?,
            holds_key: false,
        }]),
        ExportKind::Layout {
            layout,
            directory,
            password: _,
        } => {
            let at = |name: &str| expand(&directory.join(name), certificate);
            Ok(match layout {
                ExportLayout::Nginx => vec![
                    sealed(at("server.key"), material.key.to_pem()),
                    open(at("server.crt"), fullchain(material)),
                ],
                ExportLayout::Apache => vec![
                    sealed(at("server.key"), material.key.to_pem()),
                    open(at("chain.crt"), chain_file(material)),
                    open(at("server.crt"), material.leaf_pem()),
                ],
                ExportLayout::Tomcat => {
                    let store = jks::write(material, LAYOUT_ALIAS, password)?;
                    vec![
                        sealed(at(PASSWORD_FILE), password_file(password)),
                        sealed(at("server.jks"), store),
                    ]
                }
                ExportLayout::Iis => {
                    let store = pfx::write(material, LAYOUT_ALIAS, LAYOUT_PROFILE, password)?;
                    vec![
                        sealed(at(PASSWORD_FILE), password_file(password)),
                        sealed(at("server.pfx"), store),
                    ]
                }
                ExportLayout::Other => vec![
                    sealed(at("key.pem"), material.key.to_pem()),
                    open(at("chain.pem"), chain_file(material)),
                    open(at("cert.pem"), material.leaf_pem()),
                ],
            })
        }
    }
}

/// SHA-256 over everything that determines the content of an export: equal digests mean that nothing needs writing,
/// although a PFX has other bytes each time. The password goes in through an HMAC under the private key, so that the
/// digest may be kept beside the files and tells nothing of it. A trust store outlives the key: its password is stretched
/// as in the store itself, which is written for everybody to read.
#[must_use]
pub fn input_digest(
    material: &Material,
    kind: &ExportKind,
    certificate: &CertificateId,
    password: Option<&Secret>,
) -> Fingerprint {
    let open = Open {
        spki: material.key.spki(),
        leaf: &material.leaf,
        chain: &material.chain,
    };
    let seal = Seal {
        key: &material.key,
        password,
    };
    digest_of(&open, kind, certificate, Some(&seal))
        .expect("invariant: with key and password there is a digest")
}

/// The same from what everybody may see, without the private key; `spki` is the digest of its public one. `None` for an export
/// with a password.
#[must_use]
pub fn open_digest(
    spki: Fingerprint,
    leaf: &[u8],
    chain: &[Vec<u8>],
    kind: &ExportKind,
    certificate: &CertificateId,
) -> Option<Fingerprint> {
    digest_of(&Open { spki, leaf, chain }, kind, certificate, None)
}

/// What goes into every digest.
struct Open<'a> {
    spki: Fingerprint,
    leaf: &'a [u8],
    chain: &'a [Vec<u8>],
}

/// What goes into those of exports with a password.
struct Seal<'a> {
    key: &'a PrivateKey,
    password: Option<&'a Secret>,
}

fn digest_of(
    open: &Open<'_>,
    kind: &ExportKind,
    certificate: &CertificateId,
    seal: Option<&Seal<'_>>,
) -> Option<Fingerprint> {
    let mut input = Input::new();
    input.add(certificate.as_str().as_bytes());
    if !matches!(kind, ExportKind::Trust { .. }) {
        input.add(&open.spki.0);
        input.add(open.leaf);
    }
    for der in open.chain {
        input.add(der);
    }
    let protected = |input: &mut Input| {
        let Seal { key, password } = seal?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.pkcs8());
        let secret = password.map_or(&[][..], Secret::expose);
        input.add(hmac::sign(&key, secret).as_ref());
        Some(())
    };
    match kind {
        ExportKind::Pem(PemFiles {
            certificate,
            chain,
            fullchain,
            key,
            combined,
        }) => {
            input.add(b"pem");
            for path in [certificate, chain, fullchain, key, combined] {
                input.add_path(path.as_deref());
            }
        }
        ExportKind::Pfx {
            path,
            profile,
            alias,
            password: _,
        } => {
            input.add(b"pfx");
            input.add(profile.word().as_bytes());
            input.add_path(Some(path));
            input.add(alias.as_bytes());
            protected(&mut input)?;
        }
        ExportKind::Jks {
            path,
            alias,
            password: _,
        } => {
            input.add(b"jks");
            input.add_path(Some(path));
            input.add(alias.as_bytes());
            protected(&mut input)?;
        }
        ExportKind::Trust {
            path,
            format,
            password: _,
        } => {
            input.add(b"trust");
            input.add(format.word().as_bytes());
            input.add_path(Some(path));
            match format {
                TrustFormat::Pem => {}
                TrustFormat::Jks => input.add(&stretched(seal?.password)),
                TrustFormat::Pkcs12(profile) => {
                    input.add(profile.word().as_bytes());
                    input.add(&stretched(seal?.password));
                }
            }
        }
        ExportKind::Layout {
            layout,
            directory,
            password: _,
        } => {
            input.add_path(Some(directory));
            match layout {
                ExportLayout::Nginx => input.add(b"layout nginx"),
                ExportLayout::Apache => input.add(b"layout apache"),
                ExportLayout::Other => input.add(b"layout other"),
                ExportLayout::Tomcat => {
                    input.add(b"layout tomcat");
                    protected(&mut input)?;
                }
                ExportLayout::Iis => {
                    input.add(b"layout iis");
                    protected(&mut input)?;
                }
            }
        }
    }
    Some(input.finish())
}

/// As slow to guess from as a PKCS #12 file.
fn stretched(password: Option<&Secret>) -> [u8; 32] {
    let mut out = [0; 32];
    pbkdf2::derive(
        pbkdf2::PBKDF2_HMAC_SHA256,
        ROUNDS,
        b"renewd trust store",
        password.map_or(&[][..], Secret::expose),
        &mut out,
    );
    out
}

fn pem_files(
    material: &Material,
    files: &PemFiles,
    certificate: &CertificateId,
) -> Vec<BundleFile> {
    let mut all = Vec::new();
    let mut add = |path: &Option<PathBuf>, holds_key, bytes: &dyn Fn() -> Secret| {
        if let Some(path) = path {
            all.push(BundleFile {
                path: expand(path, certificate),
                bytes: bytes(),
                holds_key,
            });
        }
    };
    add(&files.key, true, &|| material.key.to_pem());
    add(&files.combined, true, &|| combined(material));
    add(&files.chain, false, &|| chain_file(material).into());
    add(&files.fullchain, false, &|| fullchain(material).into());
    add(&files.certificate, false, &|| material.leaf_pem().into());
    all
}

/// Leaf, then chain.
fn fullchain(material: &Material) -> String {
    let mut text = material.leaf_pem();
    for der in chain::without_root(&material.chain) {
        text.push_str(&pem::certificate(der));
    }
    text
}

/// Key, leaf, chain.
fn combined(material: &Material) -> Secret {
    let (key, rest) = (material.key.to_pem(), fullchain(material));
    // Sized once, so that no copy of the key is left behind by growing.
    let mut bytes = Vec::with_capacity(key.expose().len() + rest.len());
    bytes.extend_from_slice(key.expose());
    bytes.extend_from_slice(rest.as_bytes());
    Secret::new(bytes)
}

/// The chain in a file of its own.
fn chain_file(material: &Material) -> String {
    match chain::without_root(&material.chain) {
        [] => material.chain_pem(),
        without => without.iter().map(|der| pem::certificate(der)).collect(),
    }
}

/// Without line end: what reads the file takes every byte of it.
fn password_file(password: Option<&Secret>) -> Secret {
    Secret::new(password.map_or_else(Vec::new, |secret| secret.expose().to_vec()))
}

fn expand(path: &Path, certificate: &CertificateId) -> PathBuf {
    // Paths come from a TOML text, so they are UTF-8; another one has no placeholder.
    match path.to_str() {
        Some(text) => PathBuf::from(text.replace(PLACEHOLDER, certificate.as_str())),
        None => path.to_owned(),
    }
}

/// Hashes fields so that no two lists of fields look alike: each with its length before it.
struct Input(digest::Context);

impl Input {
    fn new() -> Self {
        let mut input = Self(digest::Context::new(&digest::SHA256));
        // Another way to write a form gets another number, which makes every export of it due.
        input.add(b"renewd export 2");
        input
    }

    fn add(&mut self, field: &[u8]) {
        self.0.update(&(field.len() as u64).to_be_bytes());
        self.0.update(field);
    }

    fn add_path(&mut self, path: Option<&Path>) {
        match path {
            Some(path) => self.add(path.as_os_str().as_encoded_bytes()),
            // Longer than any field, so unlike any path.
            None => self.0.update(&u64::MAX.to_be_bytes()),
        }
    }

    fn finish(self) -> Fingerprint {
        let mut print = [0; 32];
        print.copy_from_slice(self.0.finish().as_ref());
        Fingerprint(print)
    }
}

const PLACEHOLDER: &str = "{certificate}";
/// Tomcat's default `certificateKeyAlias` in its own examples, and harmless elsewhere.
const LAYOUT_ALIAS: &str = "tomcat";
/// `iis` has no choice of profile; Windows Server 2019 and newer read this one.
const LAYOUT_PROFILE: PfxProfile = PfxProfile::Modern;
/// Of PBKDF2, as in the stores.
const ROUNDS: NonZeroU32 = NonZeroU32::new(10_000).unwrap();
const PASSWORD_FILE: &str = "keystorePass.txt";

#[cfg(test)]
mod tests;
