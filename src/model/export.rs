//! In which forms and where a revision is written for its users.

use std::fmt;
use std::path::PathBuf;

use crate::model::SecretRef;

/// One export of every certificate of a target.
///
/// Paths may hold `{certificate}`. A relative path lies in the target's generation, below a directory of the
/// certificate's name, and changes together with everything else there by one rename; an absolute path is a loose
/// file, written under the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportSpec {
    /// Name in the policy, unique within the target.
    pub name: String,
    /// Form and place.
    pub kind: ExportKind,
    /// Owner, group, mode and access list, set before the content is visible.
    pub attributes: FileAttributes,
}

/// The forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExportKind {
    /// PEM files, each optional.
    Pem(PemFiles),
    /// A PKCS #12 file.
    Pfx {
        /// Where.
        path: PathBuf,
        /// By which algorithms it is encrypted.
        profile: PfxProfile,
        /// Name of the entry.
        alias: String,
        /// Protects the file; ASCII only, since Java refuses others.
        password: PasswordSource,
    },
    /// A Java keystore of the old `JKS` type.
    Jks {
        /// Where.
        path: PathBuf,
        /// Name of the entry.
        alias: String,
        /// Protects store and key alike.
        password: PasswordSource,
    },
    /// The CA certificates of the chain, for programs that verify; no private key is in it.
    Trust {
        /// Where.
        path: PathBuf,
        /// In which form.
        format: TrustFormat,
        /// Protects the keystore forms against change; those of PKCS #12 are encrypted by it as well.
        password: PasswordSource,
    },
    /// The files of CCM's own export (CCM API 4.2.2.8), in a directory.
    Layout {
        /// Which of the five.
        layout: ExportLayout,
        /// The directory; empty for the certificate's directory in the generation.
        directory: PathBuf,
        /// For `tomcat` and `iis`, written to `keystorePass.txt`.
        password: PasswordSource,
    },
}

impl ExportKind {
    /// The paths of its files, as the policy has them.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        match self {
            Self::Pem(files) => {
                let all = [
                    &files.key,
                    &files.chain,
                    &files.certificate,
                    &files.fullchain,
                    &files.combined,
                ];
                all.into_iter().flatten().cloned().collect()
            }
            Self::Pfx { path, .. } | Self::Jks { path, .. } | Self::Trust { path, .. } => {
                vec![path.clone()]
            }
            Self::Layout {
                layout, directory, ..
            } => {
                let files = layout.files().iter();
                files.map(|file| directory.join(file)).collect()
            }
        }
    }
}

/// Which PEM files are written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PemFiles {
    /// The leaf alone.
    pub certificate: Option<PathBuf>,
    /// The chain without leaf and without root.
    pub chain: Option<PathBuf>,
    /// Leaf, then chain.
    pub fullchain: Option<PathBuf>,
    /// The private key, PKCS #8.
    pub key: Option<PathBuf>,
    /// Key, leaf, chain in one file, as HAProxy and others want it.
    pub combined: Option<PathBuf>,
}

/// By whom a PFX is read, which decides how it is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PfxProfile {
    /// AES-256-CBC with PBKDF2-HMAC-SHA256 and an HMAC-SHA256 integrity check: OpenSSL 1.1 and newer, Java 8 from
    /// update 301 and every later one, Windows Server 2019 and newer.
    Modern,
    /// 3DES and HMAC-SHA1: Java 8 before update 301 knows this and RC2-40, of which 3DES is the stronger.
    Java8,
    /// 3DES and HMAC-SHA1: Windows Server 2016 and older do not open AES-256 or an HMAC-SHA256.
    Windows2016,
}

impl PfxProfile {
    /// The word for it in the policy.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Modern => "modern",
            Self::Java8 => "java8",
            Self::Windows2016 => "windows2016",
        }
    }
}

/// The forms of a trust store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrustFormat {
    /// One PEM block after the other, the issuing CA first.
    Pem,
    /// A Java keystore of the old `JKS` type with `trustedCertEntry`s.
    Jks,
    /// A PKCS #12 file whose certificates carry Java's attribute for trusted ones.
    Pkcs12(PfxProfile),
}

impl TrustFormat {
    /// The word for it in the policy.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pem => "pem",
            Self::Jks => "jks",
            Self::Pkcs12(_) => "pkcs12",
        }
    }
}

/// The five types of CCM's export (CCM API 4.2.2.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportLayout {
    /// `server.crt` (leaf and chain), `server.key`.
    Nginx,
    /// `server.crt` (leaf), `chain.crt`, `server.key`.
    Apache,
    /// `server.jks`, `keystorePass.txt`.
    Tomcat,
    /// `server.pfx`, `keystorePass.txt`.
    Iis,
    /// `cert.pem` (leaf), `chain.pem`, `key.pem`.
    Other,
}

impl ExportLayout {
    /// The names of its files.
    #[must_use]
    pub const fn files(self) -> &'static [&'static str] {
        match self {
            Self::Nginx => &["server.crt", "server.key"],
            Self::Apache => &["server.crt", "chain.crt", "server.key"],
            Self::Tomcat => &["server.jks", "keystorePass.txt"],
            Self::Iis => &["server.pfx", "keystorePass.txt"],
            Self::Other => &["cert.pem", "chain.pem", "key.pem"],
        }
    }
}

/// Where the password of a keystore comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PasswordSource {
    /// Made once per target, export and certificate, kept in the state directory, survives renewals.
    Generated,
    /// Given by the administrator.
    Given(SecretRef),
}

/// Whose the files of an export are, and who reads them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileAttributes {
    /// User name or number; `None` keeps the process's own.
    pub owner: Option<String>,
    /// Group name or number; `None` keeps the process's own.
    pub group: Option<String>,
    /// Mode of files that hold a private key.
    pub key_mode: u32,
    /// Mode of files that hold none.
    pub mode: u32,
    /// Who may read them besides; what `group` may do is said by the modes alone.
    pub acl: Vec<AclReader>,
    /// The user that must be able to read them, name or number; `None`: nothing is checked, as for a service that reads
    /// as root.
    pub reader: Option<String>,
}

/// Somebody in an access list; name or number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum AclReader {
    /// `u:NAME:r`.
    User(String),
    /// `g:NAME:r`.
    Group(String),
}

impl fmt::Display for AclReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(name) => write!(f, "u:{name}:r"),
            Self::Group(name) => write!(f, "g:{name}:r"),
        }
    }
}

impl Default for FileAttributes {
    fn default() -> Self {
        Self {
            owner: None,
            group: None,
            key_mode: 0o600,
            mode: 0o644,
            acl: Vec::new(),
            reader: None,
        }
    }
}
