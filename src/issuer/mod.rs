//! Who signs: one trait over PCA and SCM (and ACME later), in the words of the order machine.

mod account;
mod authority;
mod connect;
mod exported;
mod failure;
mod newest;
mod orders;
mod pca;
mod push;
mod revoke;
mod scm;

use std::future::Future;
use std::pin::Pin;

use crate::model::{
    DomainProof, ErrorClass, Fingerprint, Listed, Offer, OrderRequest, RevocationReason, Standing,
    SubjectAltNames, Timestamp,
};
use crate::pki::Secret;

pub use crate::ccm::Limit;
pub use connect::{client, client_of, connect, connect_within, limit};
pub use orders::{Applied, Intent, Look, Orders, Sibling, Sighting, Supplemented, Traced, Whose};
pub use push::{Pushing, Refusal, Said, Upload, Whereto};

/// An async answer of a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A service that issues certificates.
pub trait Issuer: Send + Sync {
    /// Sends the application. An error whose `effect` is [`Effect::Unknown`] may have had its effect: `lookup` tells.
    fn submit<'a>(
        &'a self,
        request: &'a OrderRequest,
        csr_pem: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Accepted, IssuerError>>;

    /// Did a submit that began at `submitted_at` have an effect? Compares public keys (`spki`), or for a key made at
    /// CCM the exact names, among what the issuer created since 15 minutes before. Of several it tells the newest: if
    /// that one is a revision's reference already, this submit had no effect.
    fn lookup<'a>(
        &'a self,
        request: &'a OrderRequest,
        spki: Option<Fingerprint>,
        submitted_at: Timestamp,
    ) -> BoxFuture<'a, Result<Lookup, IssuerError>>;

    /// The certificate with its chain (and its key, for `with_key`), once there is one.
    fn fetch<'a>(
        &'a self,
        reference: &'a str,
        with_key: bool,
    ) -> BoxFuture<'a, Result<Fetched, IssuerError>>;

    /// The certificate of the account that was issued last, is valid at `now`, covers `names`, and can be exported
    /// with its key. `asked_at` of the answer is `now`.
    fn offer<'a>(
        &'a self,
        names: &'a SubjectAltNames,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Offer, IssuerError>>;

    /// Revokes by the issuer's id (CCM API 4.2.2.9, 7.1.16). One that is revoked already, or on its way there, is no
    /// error: asking twice is harmless. One that is not there any more is none either: asking again would not help.
    fn revoke<'a>(
        &'a self,
        reference: &'a str,
        reason: RevocationReason,
    ) -> BoxFuture<'a, Result<Revoked, IssuerError>>;

    /// What the issuer says of certificates that it issued, in their order; `None`: in order. The CA is asked once, then
    /// each certificate. The first failure ends the list: whether a certificate is in order is then not known, which is
    /// never the same as revoked.
    fn standings<'a>(
        &'a self,
        references: &'a [String],
    ) -> BoxFuture<'a, Vec<Result<Option<Trouble>, IssuerError>>>;

    /// When the CA that signs ends, as far as it said so; `None` where no one CA does.
    fn ends(&self) -> Option<Timestamp> {
        None
    }

    /// A part of the account's listing; `None` where the API has no such filter.
    fn list(&self, part: Part) -> BoxFuture<'_, Result<Option<Account>, IssuerError>>;

    /// Orders of public certificates; `None` for an issuer without.
    fn orders(&self) -> Option<&Orders> {
        None
    }

    /// What is done with certificates after they are issued; `None` for an issuer without.
    fn pushing(&self) -> Option<Pushing<'_>> {
        None
    }

    /// One line for people: who will sign, such as `CA corp-issuing (6f7e…) at https://…`.
    fn describe<'a>(&'a self) -> BoxFuture<'a, Result<String, IssuerError>>;
}

/// What a revocation came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revoked {
    /// It is taken back.
    Done,
    /// The issuer does not have it any more, and cannot take it back.
    Gone,
}

/// Which part of an account's listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Without any filter.
    Whole,
    /// By `expired_days_since` (CCM API 4.1.5.1), which documents read in two ways.
    Ending(u32),
    /// Of status EXPIRED.
    Expired,
}

/// A part of an account's listing, as far as it could be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// What was read.
    pub listed: Vec<Listed>,
    /// How many more there are, by the remote side.
    pub unread: u64,
}

/// What is not in order with a certificate, and one line about it.
pub type Trouble = (Standing, String);

/// A submit that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The issuer's own id.
    pub reference: String,
    /// Seconds until the first look makes sense; 0 where issuing is immediate.
    pub poll_after: i64,
}

/// What a lookup found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// It had its effect.
    Found {
        /// The issuer's own id.
        reference: String,
    },
    /// A complete listing (collected = total) does not have it.
    Absent,
}

/// What a fetch brought.
pub enum Fetched {
    /// Not issued yet; look again after so many seconds.
    NotYet {
        /// Seconds.
        poll_after: i64,
        /// How far it is, in the issuer's word; empty where it does not say.
        status: String,
        /// What proves the domains, where the issuer waits for that.
        proofs: Vec<DomainProof>,
    },
    /// As the issuer sent it, unchecked.
    Issued(IssuedPem),
}

/// An issued certificate as PEM, unchecked.
pub struct IssuedPem {
    /// The leaf.
    pub certificate: String,
    /// Intermediates and perhaps the root.
    pub chain: String,
    /// PKCS #8, PKCS #1 or SEC 1, where it was asked for.
    pub private_key: Option<Secret>,
    /// The certificate of the CA that was to sign it, where the policy names one.
    pub authority: Option<String>,
}

/// Whether a failed call may have changed something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Certainly not: refused with an answer, or never sent.
    None,
    /// Sent, and the answer was lost or says nothing (time-out, broken connection, 5xx).
    Unknown,
}

/// Why an issuer could not do it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct IssuerError {
    /// What helps.
    pub class: ErrorClass,
    /// Whether it may have happened all the same.
    pub effect: Effect,
    /// What was attempted and what came back, with the remote code and the request id.
    pub message: String,
    /// Not before, where the remote side said so: seconds from the answer.
    pub retry_after: Option<i64>,
    /// Whether any other call to this issuer would have met the same: nobody answered, or the credentials are refused.
    pub everybody: bool,
}
