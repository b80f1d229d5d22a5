//! The Huawei Cloud CCM client: PCA (`/v1`), SCM (`/v3` and its former face `/v2`), IAM tokens and the keys of agencies;
//! and of Huawei Cloud DNS what proofs of domains need. Knows HTTP and nothing of policies or orders.
//!
//! One [`Client`] per endpoint and account; [`Pca`], [`Scm`] and [`ScmV2`] name the operations, all of which stand in
//! [`OPERATIONS`]. Every call is bounded in time and size, follows no redirect, and fails with a [`CcmError`] that tells
//! what helps ([`Class`]) and whether the call may have had its effect all the same ([`Effect`]). Retries happen only
//! inside one call's time, and only where repeating it is harmless; anything longer is the planner's business.

mod answer;
mod client;
mod codes;
mod dns;
mod error;
mod http;
mod iam;
mod lenient;
mod limit;
mod limits;
mod listing;
mod metadata;
mod operations;
mod pace;
mod paging;
mod pca;
mod projects;
mod scm;
mod sign;
mod v2;
mod wire;

pub use client::{Access, Auth, Client};
pub use dns::{Dns, DnsZone, RecordSet, RecordSetWanted};
pub use error::{CcmError, Class, Effect, Operation};
pub use limit::Limit;
pub use limits::Word;
pub use listing::Listing;
pub use operations::{Described, OPERATIONS};
pub use paging::{Collector, Page};
pub use pca::{AuthorityQuery, CertificateQuery, Pca};
pub use projects::{Project, Projects};
pub use scm::{CsrQuery, Scm, ScmQuery};
pub use v2::{OrderQuery, ScmV2};
pub use wire::authorities::{
    ActivateAuthority, Authority, AuthorityCsr, AuthorityMade, CreateAuthority, CrlConfiguration,
    CrlWanted, DistinguishedName, ImportAuthority, ObsAgency, ObsAgencyMade, ObsBucket, ObsBuckets,
    Quota, QuotaAnswer, Quotas, Revoke, Validity,
};
pub use wire::csr::{CreateCsr, Csr, RenameCsr, UploadCsr};
pub use wire::deploy::{
    BatchPush, Deploy, DeployFailure, DeployResult, Deployed, Push, PushResult, PushResults,
    Resource, Using, UsingList, UsingRegion, UsingResource, UsingService,
};
pub use wire::orders::{Apply, Bought, Buy, Cancelled, Purchase, RequestInfo};
pub use wire::private::{
    CustomizedExtension, ExportWanted, ExportedPem, ExtendedKeyUsage, Issue, IssueByCsr, ParseCsr,
    ParsedCsr, PrivateCertificate, SubjectAlternativeName,
};
pub use wire::scm::{ApplicationInfo, Authentification, Import, Made, ScmCertificate, ScmDetails};
pub use wire::tags::{
    AddTag, AllTags, BatchTags, Described as TagAnswer, FilterTags, Match, ShownTag, Tag,
    TagChoice, TagValues, TaggedCertificate, TaggedDetail, Tags, Values,
};
pub use wire::v2::{
    ApplyV2, AuthV2, BuyV2, CheckCsr, CheckedCsr, DetailsV2, DomainVerification, LowerMethod,
    Message, Modify, OrderPage, OrderV2, Product, Products, PushHistory, PushV2, PushedV2,
    ResponseInfo, RevokeV2, SavedApplication, Supplement, UploadV2, Uploaded,
};
pub use wire::words::{
    AuthenticationKind, AuthorityKind, AuthoritySort, AuthorityStatus, Brand, CertificateKind,
    CertificateSort, CloudService, CsrAlgorithm, CsrUsage, DomainMethod, DomainType, ExportKind,
    GenMode, KeyUsage, ModifyKey, NameKind, PcaAlgorithm, PrimaryDomainType, PrivateStatus,
    ResourceKind, RevocationReason, ScmKind, ScmSort, ScmStatus, ServiceFilter, SignatureAlgorithm,
    SortDirection, TagAction, ValidityUnit,
};

/// The answer of a call.
pub type Answer<T> = Result<T, Box<CcmError>>;
