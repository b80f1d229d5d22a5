//! What may be typed after `renewd ccm scm v2`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::ccm::{
    AuthenticationKind, Brand, CloudService, DomainMethod, DomainType, ModifyKey, ScmKind, ScmSort,
    ScmStatus, SortDirection,
};
use crate::cli::ccm::args::{Paging, word};
use crate::cli::ccm::args_scm::Application;

#[derive(Debug, Clone, Args)]
pub(crate) struct V2 {
    /// Id of the project; by default $HUAWEICLOUD_SDK_PROJECT_ID
    #[arg(long, global = true, value_name = "ID")]
    pub(crate) project: Option<String>,
    #[command(subcommand)]
    pub(crate) command: V2Command,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum V2Command {
    /// Buy certificates, for money (CCM API 7.1.1)
    Buy {
        /// Whose certificate
        #[arg(long, value_name = "BRAND", value_parser = word::<Brand>(), ignore_case = true)]
        brand: Brand,
        /// How much is proven of the owner
        #[arg(long = "type", value_name = "TYPE", value_parser = word::<ScmKind>(), ignore_case = true)]
        kind: ScmKind,
        /// For how many names
        #[arg(long, value_name = "TYPE", value_parser = word::<DomainType>(), ignore_case = true)]
        domain_type: DomainType,
        /// Years
        #[arg(long, value_name = "N", default_value_t = 1)]
        years: i64,
        /// Number of names
        #[arg(long, value_name = "N", default_value_t = 1)]
        domains: i64,
        /// Number of certificates
        #[arg(long, value_name = "N", default_value_t = 1)]
        count: i64,
        /// Agree to the privacy statement, without which nothing is sold
        #[arg(long)]
        agree_privacy: bool,
    },
    /// List certificates (CCM API 7.1.2)
    List {
        /// Only of this status
        #[arg(long, value_name = "STATUS", value_parser = word::<ScmStatus>(), ignore_case = true)]
        status: Option<ScmStatus>,
        /// Those whose name or domain contains it
        #[arg(long, value_name = "TEXT")]
        content: Option<String>,
        /// Sort by
        #[arg(long, value_name = "KEY", value_parser = word::<ScmSort>(), ignore_case = true)]
        sort: Option<ScmSort>,
        /// In which direction
        #[arg(long, value_name = "DIRECTION", value_parser = word::<SortDirection>(), ignore_case = true)]
        order: Option<SortDirection>,
        #[command(flatten)]
        paging: Paging,
    },
    /// Show a certificate in full (CCM API 7.1.3)
    Show {
        /// Its id
        id: String,
    },
    /// Change name or description of a certificate (CCM API 7.1.4)
    Modify {
        /// Its id
        id: String,
        /// Which of both
        #[arg(value_name = "WHAT", value_parser = word::<ModifyKey>(), ignore_case = true)]
        what: ModifyKey,
        /// The new text
        value: String,
    },
    /// List what can be bought (CCM API 7.1.5)
    Products,
    /// Show something that can be bought (CCM API 7.1.6)
    Product {
        /// Its id
        id: String,
    },
    /// Apply for a certificate that was bought (CCM API 7.1.7)
    Apply {
        /// Its id
        id: String,
        #[command(flatten)]
        application: Application,
        /// How the domain is proven
        #[arg(long, value_name = "METHOD", value_parser = word::<DomainMethod>(), ignore_case = true)]
        method: DomainMethod,
        /// Have the service put the proof into Huawei Cloud DNS
        #[arg(long)]
        auto_dns: bool,
    },
    /// Show the common name that the service reads in a CSR (CCM API 7.1.8)
    CheckCsr {
        /// PEM file with the CSR
        #[arg(value_name = "FILE")]
        csr: PathBuf,
    },
    /// Keep an application without handing it in (CCM API 7.1.9)
    Save {
        /// The certificate's id
        id: String,
        #[command(flatten)]
        application: Application,
    },
    /// Show what was kept of an application (CCM API 7.1.10)
    Read {
        /// The certificate's id
        id: String,
    },
    /// Withdraw an application (CCM API 7.1.11)
    Cancel {
        /// The certificate's id
        id: String,
    },
    /// Delete a certificate, for good (CCM API 7.1.12)
    Delete {
        /// Its id
        id: String,
    },
    /// Hand in a picture for the review (CCM API 7.1.13)
    UploadAuthentication {
        /// The certificate's id
        id: String,
        /// BL, a bank account opening permit, or TL, a business licence
        #[arg(value_name = "KIND", value_parser = word::<AuthenticationKind>(), ignore_case = true)]
        kind: AuthenticationKind,
        /// The picture
        #[arg(value_name = "FILE")]
        picture: PathBuf,
    },
    /// Download a certificate with its key as an archive (CCM API 7.1.14)
    Download {
        /// Its id
        id: String,
        /// Write it to this file, for its owner alone
        #[arg(long, short, value_name = "FILE")]
        output: PathBuf,
        /// Replace the file if it exists
        #[arg(long)]
        force: bool,
    },
    /// Bring a certificate in with its key (CCM API 7.1.15)
    Upload {
        /// What it shall be called
        #[arg(long, value_name = "NAME")]
        name: String,
        /// PEM file with certificate and chain
        #[arg(long, value_name = "FILE")]
        cert: PathBuf,
        /// PEM file with the private key
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
    /// Have a certificate revoked (CCM API 7.1.16)
    Revoke {
        /// Its id
        id: String,
        /// Why, in up to 63 characters
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Push a certificate to CDN or WAF of a project (CCM API 7.1.17)
    Push {
        /// Its id
        id: String,
        /// CDN or WAF
        #[arg(long, value_name = "SERVICE", value_parser = word::<CloudService>(), ignore_case = true)]
        service: CloudService,
        /// The project, such as ap-southeast-1
        #[arg(long, value_name = "PROJECT")]
        target_project: String,
    },
    /// List the pushes of a certificate (CCM API 7.1.18)
    PushHistory {
        /// Its id
        id: String,
    },
    /// Take the consent to the use of personal data back (CCM API 7.1.19)
    WithdrawConsent {
        /// The certificate's id
        id: String,
    },
    /// Add names to a multi-domain certificate (CCM API 7.1.20)
    Supplement {
        /// Its id
        id: String,
        /// The names it has, separated by ;
        #[arg(long, value_name = "NAMES")]
        has: String,
        /// The names to be added, separated by ;
        #[arg(long, value_name = "NAMES")]
        add: Option<String>,
        /// Mail address for the proof
        #[arg(long, value_name = "ADDRESS")]
        email: Option<String>,
    },
    /// Show how a domain is to be proven (CCM API 7.1.21)
    Verify {
        /// The certificate's id
        id: String,
    },
}
