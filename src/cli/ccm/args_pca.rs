//! What may be typed after `renewd ccm pca`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::ccm::{
    AuthorityKind, AuthoritySort, AuthorityStatus, CertificateKind, CertificateSort, ExportKind,
    KeyUsage, PcaAlgorithm, PrivateStatus, RevocationReason, SignatureAlgorithm, SortDirection,
    Validity,
};
use crate::cli::ccm::args::{Output, Paging, pair, validity, word};
use crate::model::Timestamp;

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum PcaCommand {
    /// Private CAs
    #[command(subcommand)]
    Ca(CaCommand),
    /// Private certificates
    #[command(subcommand)]
    Cert(CertCommand),
    /// What revocation lists need of the object storage
    #[command(subcommand)]
    Obs(ObsCommand),
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum CaCommand {
    /// List CAs (CCM API 4.2.1.1)
    List(ListAuthorities),
    /// Create a CA, for money (CCM API 4.2.1.2)
    Create(Box<CreateCa>),
    /// Show a CA in full (CCM API 4.2.1.4)
    Show {
        /// Its id
        id: String,
    },
    /// Show how many CAs there are and may be (CCM API 4.2.1.3)
    Quota,
    /// Delete a CA, after some days (CCM API 4.2.1.5)
    Delete {
        /// Its id
        id: String,
        /// After so many days, 7 to 30; a pending CA goes at once
        #[arg(long, value_name = "N", default_value_t = 7)]
        days: u32,
    },
    /// Have another CA sign a pending one (CCM API 4.2.1.6)
    Activate {
        /// Id of the pending CA
        id: String,
        /// Id of the CA that signs
        #[arg(long, value_name = "ID")]
        parent: String,
        /// How many CAs may follow, 0 to 6
        #[arg(long, value_name = "N", default_value_t = 0)]
        path_length: i64,
        /// Digest of the signature
        #[arg(long, value_name = "DIGEST", value_parser = word::<SignatureAlgorithm>(), ignore_case = true, default_value = "SHA256")]
        signature_algorithm: SignatureAlgorithm,
        /// For how long: 12h, 90d, 6mo, 3y
        #[arg(long, value_name = "LENGTH", value_parser = validity)]
        validity: Validity,
        /// From then on: 2027-04-01 or 2027-04-01T12:00:00Z
        #[arg(long, value_name = "DATE", value_parser = Timestamp::parse)]
        from: Option<Timestamp>,
    },
    /// Show the CSR of a pending CA, for others to sign (CCM API 4.2.1.7)
    Csr {
        /// Its id
        id: String,
    },
    /// Stop a CA from issuing (CCM API 4.2.1.8)
    Disable {
        /// Its id
        id: String,
    },
    /// Let a CA issue again (CCM API 4.2.1.9)
    Enable {
        /// Its id
        id: String,
    },
    /// Show certificate and chain of a CA as PEM (CCM API 4.2.1.10)
    Export {
        /// Its id
        id: String,
        /// Write it to this file instead
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Replace the file if it exists
        #[arg(long, requires = "output")]
        force: bool,
    },
    /// Give a pending CA the certificate that others signed (CCM API 4.2.1.11)
    Import {
        /// Its id
        id: String,
        /// PEM file with the certificate
        #[arg(long, value_name = "FILE")]
        cert: PathBuf,
        /// PEM file with the chain, from the signer up
        #[arg(long, value_name = "FILE")]
        chain: Option<PathBuf>,
    },
    /// Take the deletion of a CA back (CCM API 4.2.1.12)
    Restore {
        /// Its id
        id: String,
    },
    /// Revoke a subordinate CA and with it all that it signed (CCM API 4.2.1.13)
    Revoke {
        /// Its id
        id: String,
        /// Why
        #[arg(long, value_name = "REASON", value_parser = word::<RevocationReason>(), ignore_case = true)]
        reason: Option<RevocationReason>,
    },
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ListAuthorities {
    /// Those whose common name contains it
    #[arg(long, value_name = "TEXT")]
    pub(crate) name: Option<String>,
    /// Only of this status
    #[arg(long, value_name = "STATUS", value_parser = word::<AuthorityStatus>(), ignore_case = true)]
    pub(crate) status: Option<AuthorityStatus>,
    /// Only of this kind
    #[arg(long = "type", value_name = "TYPE", value_parser = word::<AuthorityKind>(), ignore_case = true)]
    pub(crate) kind: Option<AuthorityKind>,
    /// Sort by
    #[arg(long, value_name = "KEY", value_parser = word::<AuthoritySort>(), ignore_case = true)]
    pub(crate) sort: Option<AuthoritySort>,
    /// In which direction
    #[arg(long, value_name = "DIRECTION", value_parser = word::<SortDirection>(), ignore_case = true)]
    pub(crate) order: Option<SortDirection>,
    #[command(flatten)]
    pub(crate) paging: Paging,
}

/// A distinguished name; a CA needs all of it, a certificate takes the rest from its CA.
#[derive(Debug, Clone, Args)]
pub(crate) struct Name {
    /// Common name
    #[arg(long, value_name = "NAME")]
    pub(crate) common_name: String,
    /// Country in two letters
    #[arg(long, value_name = "CODE")]
    pub(crate) country: Option<String>,
    /// State or province
    #[arg(long, value_name = "TEXT")]
    pub(crate) state: Option<String>,
    /// City
    #[arg(long, value_name = "TEXT")]
    pub(crate) locality: Option<String>,
    /// Organisation
    #[arg(long, value_name = "TEXT")]
    pub(crate) organization: Option<String>,
    /// Its unit
    #[arg(long, value_name = "TEXT")]
    pub(crate) organizational_unit: Option<String>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct CreateCa {
    /// Root or subordinate
    #[arg(long = "type", value_name = "TYPE", value_parser = word::<AuthorityKind>(), ignore_case = true)]
    pub(crate) kind: AuthorityKind,
    #[command(flatten)]
    pub(crate) name: Name,
    /// The key
    #[arg(long, value_name = "ALGORITHM", value_parser = word::<PcaAlgorithm>(), ignore_case = true, default_value = "EC256")]
    pub(crate) key_algorithm: PcaAlgorithm,
    /// Digest of the signature; a root needs it
    #[arg(long, value_name = "DIGEST", value_parser = word::<SignatureAlgorithm>(), ignore_case = true)]
    pub(crate) signature_algorithm: Option<SignatureAlgorithm>,
    /// For how long: 12h, 90d, 6mo, 3y; a root needs it
    #[arg(long, value_name = "LENGTH", value_parser = validity)]
    pub(crate) validity: Option<Validity>,
    /// From then on: 2027-04-01 or 2027-04-01T12:00:00Z
    #[arg(long, value_name = "DATE", value_parser = Timestamp::parse, requires = "validity")]
    pub(crate) from: Option<Timestamp>,
    /// Id of the CA that signs a subordinate one
    #[arg(long, value_name = "ID")]
    pub(crate) parent: Option<String>,
    /// How many CAs may follow a subordinate one, 0 to 6
    #[arg(long, value_name = "N")]
    pub(crate) path_length: Option<i64>,
    /// What its key may be used for; may be given several times
    #[arg(long = "key-usage", value_name = "USAGE", value_parser = word::<KeyUsage>(), ignore_case = true)]
    pub(crate) key_usages: Vec<KeyUsage>,
    /// Bucket that its revocation lists go to; without it there are none
    #[arg(long, value_name = "NAME")]
    pub(crate) crl_bucket: Option<String>,
    /// Name of the list
    #[arg(long, value_name = "NAME", requires = "crl_bucket")]
    pub(crate) crl_name: Option<String>,
    /// Days until the next list, 7 to 30
    #[arg(long, value_name = "N", requires = "crl_bucket")]
    pub(crate) crl_days: Option<i64>,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum CertCommand {
    /// List certificates (CCM API 4.2.2.1)
    List(ListPrivate),
    /// Apply for a certificate whose key PCA makes (CCM API 4.2.2.2)
    Apply(Box<ApplyPrivate>),
    /// Have a CSR signed (CCM API 4.2.2.3)
    Issue {
        /// Id of the CA
        #[arg(long, value_name = "ID")]
        ca: String,
        /// PEM file with the CSR
        #[arg(long, value_name = "FILE")]
        csr: PathBuf,
        /// For how long: 12h, 90d, 6mo, 3y
        #[arg(long, value_name = "LENGTH", value_parser = validity)]
        validity: Validity,
        /// From then on: 2027-04-01 or 2027-04-01T12:00:00Z
        #[arg(long, value_name = "DATE", value_parser = Timestamp::parse)]
        from: Option<Timestamp>,
        /// What is made
        #[arg(long = "type", value_name = "TYPE", value_parser = word::<CertificateKind>(), ignore_case = true)]
        kind: Option<CertificateKind>,
        /// How many CAs may follow an intermediate one, 0 to 6
        #[arg(long, value_name = "N")]
        path_length: Option<i64>,
    },
    /// Show what PCA reads in a CSR (CCM API 4.2.2.4)
    Parse {
        /// PEM file with the CSR
        #[arg(value_name = "FILE")]
        csr: PathBuf,
    },
    /// Show how many certificates there are and may be (CCM API 4.2.2.5)
    Quota,
    /// Show a certificate (CCM API 4.2.2.6)
    Show {
        /// Its id
        id: String,
    },
    /// Delete a certificate, for good; it is not revoked by that (CCM API 4.2.2.7)
    Delete {
        /// Its id
        id: String,
    },
    /// Export certificate, chain and key for a server (CCM API 4.2.2.8)
    Export {
        /// Its id
        id: String,
        /// For which server; IIS and Tomcat get a keystore
        #[arg(long = "type", value_name = "TYPE", value_parser = word::<ExportKind>(), ignore_case = true, default_value = "OTHER")]
        kind: ExportKind,
        /// As an archive; always so for IIS and Tomcat, and where the file ends in .zip
        #[arg(long)]
        zip: bool,
        #[command(flatten)]
        output: Output,
    },
    /// Revoke a certificate (CCM API 4.2.2.9)
    Revoke {
        /// Its id
        id: String,
        /// Why
        #[arg(long, value_name = "REASON", value_parser = word::<RevocationReason>(), ignore_case = true)]
        reason: Option<RevocationReason>,
    },
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ListPrivate {
    /// Those whose common name contains it
    #[arg(long, value_name = "TEXT")]
    pub(crate) name: Option<String>,
    /// Only of this status
    #[arg(long, value_name = "STATUS", value_parser = word::<PrivateStatus>(), ignore_case = true)]
    pub(crate) status: Option<PrivateStatus>,
    /// Sort by
    #[arg(long, value_name = "KEY", value_parser = word::<CertificateSort>(), ignore_case = true)]
    pub(crate) sort: Option<CertificateSort>,
    /// In which direction
    #[arg(long, value_name = "DIRECTION", value_parser = word::<SortDirection>(), ignore_case = true)]
    pub(crate) order: Option<SortDirection>,
    #[command(flatten)]
    pub(crate) paging: Paging,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ApplyPrivate {
    /// Id of the CA
    #[arg(long, value_name = "ID")]
    pub(crate) ca: String,
    #[command(flatten)]
    pub(crate) name: Name,
    /// The key
    #[arg(long, value_name = "ALGORITHM", value_parser = word::<PcaAlgorithm>(), ignore_case = true, default_value = "EC256")]
    pub(crate) key_algorithm: PcaAlgorithm,
    /// Digest of the signature
    #[arg(long, value_name = "DIGEST", value_parser = word::<SignatureAlgorithm>(), ignore_case = true, default_value = "SHA256")]
    pub(crate) signature_algorithm: SignatureAlgorithm,
    /// For how long: 12h, 90d, 6mo, 3y
    #[arg(long, value_name = "LENGTH", value_parser = validity)]
    pub(crate) validity: Validity,
    /// From then on: 2027-04-01 or 2027-04-01T12:00:00Z
    #[arg(long, value_name = "DATE", value_parser = Timestamp::parse)]
    pub(crate) from: Option<Timestamp>,
    /// A host name that it is valid for; may be given several times, as those below
    #[arg(long = "dns", value_name = "NAME")]
    pub(crate) dns: Vec<String>,
    /// An address
    #[arg(long = "ip", value_name = "ADDRESS")]
    pub(crate) ip: Vec<String>,
    /// A mail address
    #[arg(long = "email", value_name = "ADDRESS")]
    pub(crate) email: Vec<String>,
    /// A URI
    #[arg(long = "uri", value_name = "URI")]
    pub(crate) uri: Vec<String>,
    /// What its key may be used for
    #[arg(long = "key-usage", value_name = "USAGE", value_parser = word::<KeyUsage>(), ignore_case = true)]
    pub(crate) key_usages: Vec<KeyUsage>,
    /// For TLS servers
    #[arg(long)]
    pub(crate) server_auth: bool,
    /// For TLS clients
    #[arg(long)]
    pub(crate) client_auth: bool,
    /// For signed programs
    #[arg(long)]
    pub(crate) code_signing: bool,
    /// For signed mail
    #[arg(long)]
    pub(crate) email_protection: bool,
    /// For time stamps
    #[arg(long)]
    pub(crate) time_stamping: bool,
    /// An extension of one's own, by its number
    #[arg(long, value_name = "OID=VALUE", value_parser = pair)]
    pub(crate) extension: Option<(String, String)>,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum ObsCommand {
    /// Show whether PCA may write to buckets of the account (CCM API 4.2.3.1)
    Agency,
    /// Let PCA write to buckets of the account (CCM API 4.2.3.2)
    Grant,
    /// List buckets (CCM API 4.2.3.3)
    Buckets,
}
