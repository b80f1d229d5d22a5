//! What may be typed after `renewd ccm scm`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::ccm::{
    Brand, CloudService, CsrAlgorithm, CsrUsage, DomainMethod, DomainType, PrimaryDomainType,
    ResourceKind, ScmKind, ScmSort, ScmStatus, ServiceFilter, SortDirection, TagAction,
};
use crate::cli::ccm::args::{Output, Paging, pair, word};
use crate::cli::ccm::args_v2::V2;

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum ScmCommand {
    /// List certificates (CCM API 4.1.5.1)
    List(ListCertificates),
    /// Show a certificate in full (CCM API 4.1.5.3)
    Show {
        /// Its id
        id: String,
    },
    /// Bring a certificate in with its key (CCM API 4.1.5.2)
    Import {
        /// What it shall be called, 3 to 63 characters
        #[arg(long, value_name = "NAME")]
        name: String,
        /// PEM file with the certificate; a chain behind it is taken along
        #[arg(long, value_name = "FILE")]
        cert: PathBuf,
        /// PEM file with the chain, intermediates first
        #[arg(long, value_name = "FILE")]
        chain: Option<PathBuf>,
        /// PEM file with the private key
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
    /// Export certificate, chain and key as PEM (CCM API 4.1.5.5)
    Export {
        /// Its id
        id: String,
        #[command(flatten)]
        output: Output,
    },
    /// Delete a certificate with its key, for good (CCM API 4.1.5.4)
    Delete {
        /// Its id
        id: String,
    },
    /// Buy certificates, for money (CCM API 4.1.3.1)
    Buy(BuyCertificates),
    /// Apply for a certificate that was bought (CCM API 4.1.1.1)
    Apply {
        /// Its id
        id: String,
        #[command(flatten)]
        application: Application,
        /// How the domain is proven
        #[arg(long, value_name = "METHOD", value_parser = word::<DomainMethod>(), ignore_case = true)]
        method: DomainMethod,
        /// The key that the service makes where there is no CSR
        #[arg(long, value_name = "ALGORITHM", value_parser = word::<CsrAlgorithm>(), ignore_case = true)]
        key_algorithm: Option<CsrAlgorithm>,
        /// Have the service put the proof into Huawei Cloud DNS
        #[arg(long)]
        auto_dns: bool,
    },
    /// Withdraw an application (CCM API 4.1.1.2)
    Cancel {
        /// The certificate's id
        id: String,
    },
    /// Push a certificate to a service of a project (CCM API 4.1.6.1)
    Push {
        /// Its id
        id: String,
        /// The service
        #[arg(long, value_name = "SERVICE", value_parser = word::<CloudService>(), ignore_case = true)]
        service: CloudService,
        /// The project, such as cn-north-7
        #[arg(long, value_name = "PROJECT")]
        target_project: String,
    },
    /// Push a certificate to a service of several projects (CCM API 4.1.6.2)
    BatchPush {
        /// Its id
        id: String,
        /// The service
        #[arg(long, value_name = "SERVICE", value_parser = word::<CloudService>(), ignore_case = true)]
        service: CloudService,
        /// A project; may be given up to ten times
        #[arg(long = "target-project", value_name = "PROJECT", required = true)]
        target_projects: Vec<String>,
    },
    /// Have things of a service use a certificate (CCM API 4.1.6.3)
    Deploy(DeployCertificate),
    /// Show where certificates are used (CCM API 4.1.6.4)
    Deployed {
        /// Their ids
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
        /// Only at this service; may be given several times
        #[arg(long = "service", value_name = "SERVICE", value_parser = word::<ServiceFilter>(), ignore_case = true, default_value = "ALL")]
        services: Vec<ServiceFilter>,
    },
    /// CSRs that are kept at SCM
    #[command(subcommand)]
    Csr(CsrCommand),
    /// Tags of certificates
    #[command(subcommand)]
    Tag(TagCommand),
    /// The former face of the API, chapter 7
    V2(V2),
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ListCertificates {
    /// Only of this status
    #[arg(long, value_name = "STATUS", value_parser = word::<ScmStatus>(), ignore_case = true)]
    pub(crate) status: Option<ScmStatus>,
    /// Only those that are valid now and end within so many days, by the service's own reading of that
    #[arg(long, value_name = "DAYS")]
    pub(crate) expired_days_since: Option<u32>,
    /// Only those that can be deployed to other services
    #[arg(long)]
    pub(crate) deployable: bool,
    /// Those that other accounts share, too
    #[arg(long)]
    pub(crate) shared: bool,
    /// Sort by
    #[arg(long, value_name = "KEY", value_parser = word::<ScmSort>(), ignore_case = true)]
    pub(crate) sort: Option<ScmSort>,
    /// In which direction
    #[arg(long, value_name = "DIRECTION", value_parser = word::<SortDirection>(), ignore_case = true)]
    pub(crate) order: Option<SortDirection>,
    #[command(flatten)]
    pub(crate) paging: Paging,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct BuyCertificates {
    /// Whose certificate
    #[arg(long, value_name = "BRAND", value_parser = word::<Brand>(), ignore_case = true)]
    pub(crate) brand: Brand,
    /// How much is proven of the owner
    #[arg(long = "type", value_name = "TYPE", value_parser = word::<ScmKind>(), ignore_case = true)]
    pub(crate) kind: ScmKind,
    /// For how many names
    #[arg(long, value_name = "TYPE", value_parser = word::<DomainType>(), ignore_case = true)]
    pub(crate) domain_type: DomainType,
    /// Years
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) years: i64,
    /// Number of names
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) domains: i64,
    /// Number of certificates
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) count: i64,
    /// Agree to the privacy statement, without which nothing is sold
    #[arg(long)]
    pub(crate) agree_privacy: bool,
    /// What the first name of a multi-domain certificate is
    #[arg(long, value_name = "TYPE", value_parser = word::<PrimaryDomainType>(), ignore_case = true)]
    pub(crate) primary_domain_type: Option<PrimaryDomainType>,
    /// Further names that are no wildcards
    #[arg(long, value_name = "N")]
    pub(crate) single_domains: Option<i64>,
    /// Further wildcards
    #[arg(long, value_name = "N")]
    pub(crate) wildcard_domains: Option<i64>,
    /// Pay from the account's balance at once
    #[arg(long)]
    pub(crate) auto_pay: bool,
    /// An order to go on with
    #[arg(long, value_name = "ID")]
    pub(crate) order_id: Option<String>,
    /// A tag of the new certificates; may be given up to ten times
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) tags: Vec<(String, String)>,
}

/// An application, in both faces of the API.
#[derive(Debug, Clone, Args)]
pub(crate) struct Application {
    /// The domain, or the first of several
    #[arg(long, value_name = "NAME")]
    pub(crate) domain: String,
    /// Further names, separated by ;
    #[arg(long, value_name = "NAMES")]
    pub(crate) sans: Option<String>,
    /// PEM file with a CSR; without it the service makes the key
    #[arg(long, value_name = "FILE")]
    pub(crate) csr: Option<PathBuf>,
    /// The organisation, for OV and EV
    #[arg(long, value_name = "TEXT")]
    pub(crate) company_name: Option<String>,
    /// Its unit
    #[arg(long, value_name = "TEXT")]
    pub(crate) company_unit: Option<String>,
    /// Its state, for OV and EV
    #[arg(long, value_name = "TEXT")]
    pub(crate) company_province: Option<String>,
    /// Its city, for OV and EV
    #[arg(long, value_name = "TEXT")]
    pub(crate) company_city: Option<String>,
    /// Its country in two letters, for OV and EV
    #[arg(long, value_name = "CODE")]
    pub(crate) country: Option<String>,
    /// Who applies
    #[arg(long, value_name = "TEXT")]
    pub(crate) applicant_name: String,
    /// Phone of who applies
    #[arg(long, value_name = "TEXT")]
    pub(crate) applicant_phone: String,
    /// Mail of who applies
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) applicant_email: String,
    /// Whom to ask about technical matters
    #[arg(long, value_name = "TEXT")]
    pub(crate) contact_name: Option<String>,
    /// Phone of whom to ask
    #[arg(long, value_name = "TEXT")]
    pub(crate) contact_phone: Option<String>,
    /// Mail of whom to ask
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) contact_email: Option<String>,
    /// Agree to the privacy statement, without which nothing is applied for
    #[arg(long)]
    pub(crate) agree_privacy: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct DeployCertificate {
    /// Its id
    pub(crate) id: String,
    /// The service
    #[arg(long, value_name = "SERVICE", value_parser = word::<CloudService>(), ignore_case = true)]
    pub(crate) service: CloudService,
    /// The project, such as cn-north-7; CDN has none
    #[arg(long, value_name = "PROJECT")]
    pub(crate) target_project: Option<String>,
    /// Id of what shall use it: a certificate of ELB, a domain of WAF; may be given several times
    #[arg(long = "resource", value_name = "ID")]
    pub(crate) resources: Vec<String>,
    /// A domain of CDN that shall use it; may be given several times
    #[arg(long = "domain", value_name = "NAME")]
    pub(crate) domains: Vec<String>,
    /// The mode of WAF
    #[arg(long = "type", value_name = "TYPE", value_parser = word::<ResourceKind>(), ignore_case = true)]
    pub(crate) kind: Option<ResourceKind>,
    /// Enterprise project of the things
    #[arg(long, value_name = "ID")]
    pub(crate) enterprise_project: Option<String>,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum CsrCommand {
    /// Make a key and a CSR at SCM (CCM API 4.1.4.1)
    Create(CreateCsrArgs),
    /// List CSRs (CCM API 4.1.4.2)
    List {
        /// Those whose name contains it
        #[arg(long, value_name = "TEXT")]
        name: Option<String>,
        /// Only with such a key
        #[arg(long, value_name = "ALGORITHM", value_parser = word::<CsrAlgorithm>(), ignore_case = true)]
        algorithm: Option<CsrAlgorithm>,
        #[command(flatten)]
        paging: Paging,
    },
    /// Show a CSR (CCM API 4.1.4.3)
    Show {
        /// Its id
        id: String,
    },
    /// Give a CSR another name (CCM API 4.1.4.4)
    Update {
        /// Its id
        id: String,
        /// The new name
        #[arg(long, value_name = "NAME")]
        name: String,
    },
    /// Delete a CSR with its key, for good (CCM API 4.1.4.5)
    Delete {
        /// Its id
        id: String,
    },
    /// Bring a CSR in that was made elsewhere (CCM API 4.1.4.6)
    Upload {
        /// What it shall be called
        #[arg(long, value_name = "NAME")]
        name: String,
        /// PEM file with the CSR
        #[arg(long, value_name = "FILE")]
        csr: PathBuf,
        /// PEM file with its private key, for SCM to keep
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
    },
    /// Export the private key of a CSR (CCM API 4.1.4.7)
    Key {
        /// The CSR's id
        id: String,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Clone, Args)]
pub(crate) struct CreateCsrArgs {
    /// What it shall be called
    #[arg(long, value_name = "NAME")]
    pub(crate) name: String,
    /// Common name
    #[arg(long, value_name = "NAME")]
    pub(crate) domain: String,
    /// Further names, separated by ;
    #[arg(long, value_name = "NAMES")]
    pub(crate) sans: Option<String>,
    /// The key
    #[arg(long, value_name = "ALGORITHM", value_parser = word::<CsrAlgorithm>(), ignore_case = true, default_value = "EC_P256")]
    pub(crate) algorithm: CsrAlgorithm,
    /// For whom; an organisation's name and place must be given then
    #[arg(long, value_name = "USAGE", value_parser = word::<CsrUsage>(), ignore_case = true, default_value = "PERSONAL")]
    pub(crate) usage: CsrUsage,
    /// Country of the organisation
    #[arg(long, value_name = "CODE")]
    pub(crate) company_country: Option<String>,
    /// Its state
    #[arg(long, value_name = "TEXT")]
    pub(crate) company_province: Option<String>,
    /// Its city
    #[arg(long, value_name = "TEXT")]
    pub(crate) company_city: Option<String>,
    /// The organisation
    #[arg(long, value_name = "TEXT")]
    pub(crate) company_name: Option<String>,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum TagCommand {
    /// Add a tag to a certificate (CCM API 4.1.2.3)
    Add {
        /// The certificate's id
        id: String,
        /// The tag
        #[arg(value_name = "KEY=VALUE", value_parser = pair)]
        tag: (String, String),
    },
    /// Add several tags or take them away (CCM API 4.1.2.2)
    Batch {
        /// The certificate's id
        id: String,
        /// What is done with them
        #[arg(value_name = "ACTION", value_parser = word::<TagAction>(), ignore_case = true)]
        action: TagAction,
        /// The tags
        #[arg(value_name = "KEY=VALUE", value_parser = pair, required = true)]
        tags: Vec<(String, String)>,
    },
    /// List the tags of a certificate (CCM API 4.1.2.4)
    List {
        /// The certificate's id
        id: String,
    },
    /// List all tags of the account (CCM API 4.1.2.5)
    All,
    /// List certificates by their tags (CCM API 4.1.2.1)
    Filter(FilterByTags),
}

#[derive(Debug, Clone, Args)]
pub(crate) struct FilterByTags {
    /// With this key, and one of its values; several must all be there
    #[arg(long = "tag", value_name = "KEY=VALUE,…", value_parser = pair)]
    pub(crate) tags: Vec<(String, String)>,
    /// With one of these keys
    #[arg(long = "any", value_name = "KEY=VALUE,…", value_parser = pair)]
    pub(crate) any: Vec<(String, String)>,
    /// Without these keys, all of them together
    #[arg(long = "not", value_name = "KEY=VALUE,…", value_parser = pair)]
    pub(crate) not: Vec<(String, String)>,
    /// Without any one of these keys
    #[arg(long = "not-any", value_name = "KEY=VALUE,…", value_parser = pair)]
    pub(crate) not_any: Vec<(String, String)>,
    /// Only those without any tag
    #[arg(long)]
    pub(crate) untagged: bool,
    /// Those whose name contains it
    #[arg(long, value_name = "TEXT")]
    pub(crate) name: Option<String>,
    /// Only how many there are
    #[arg(long)]
    pub(crate) count: bool,
    #[command(flatten)]
    pub(crate) paging: Paging,
}
