//! The Huawei Cloud CCM client: PCA (`/v1`), SCM (`/v3`) and IAM tokens. Knows HTTP and nothing of policies or orders.
//!
//! One [`Client`] per endpoint and account; [`Pca`] and [`Scm`] name the operations. Every call is bounded in time and
//! size, follows no redirect, and fails with a [`CcmError`] that tells what helps ([`Class`]) and whether the call may
//! have had its effect all the same ([`Effect`]). Retries happen only inside one call's time, and only where repeating
//! it is harmless; anything longer is the planner's business.

mod answer;
mod client;
mod codes;
mod error;
mod http;
mod iam;
mod lenient;
mod limit;
mod paging;
mod pca;
mod scm;
mod sign;
mod wire;

pub use client::{Access, Auth, Client};
pub use error::{CcmError, Class, Effect, Operation};
pub use limit::Limit;
pub use paging::{Collector, Page};
pub use pca::{AuthorityQuery, CertificateQuery, Pca};
pub use scm::{Scm, ScmQuery};
pub use wire::{
    Authority, AuthorityStatus, DistinguishedName, ExportedPem, ExtendedKeyUsage, GenMode, Import,
    Issue, IssueByCsr, PrivateCertificate, PrivateStatus, ScmCertificate, ScmDetails, ScmStatus,
    SubjectAlternativeName, Validity,
};

/// The answer of a call.
pub type Answer<T> = Result<T, Box<CcmError>>;
