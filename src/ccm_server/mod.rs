//! renewd-ccm: a server that speaks the API of Huawei Cloud Certificate Manager, with a real certificate authority.
//!
//! ```text
//!   http ─▶ dispatch ─▶ route (operations) ─▶ auth ─▶ field (limits) ─▶ pca │ scm, scm2 │ iam ─▶ x509, db, vault
//!                └────────────── failure: every refusal in the reference's codes ◀──────┘
//! ```
//!
//! - `http` accepts, limits and times connections, by `tls` where that is wanted, `peers` counts who has how many, and `progress` lets go who does not read; `dispatch` is the path of one request, faults included.
//! - `operation` is what an operation is made of; `route` finds it, in both spellings of the reference; `openapi` describes all.
//! - `auth` knows callers by `signature` or token; `users` and `keys` are what the state has of them.
//! - `scm2` is version 2 of SCM, another face of the state of `scm`.
//! - `codes` and `failure` are the only source of refusals.
//! - `x509` makes certificates; `db` keeps everything, one change per request and one write to disk for those that come together; `vault` seals keys at rest.
//! - `searches` keeps what the first page of a list found for the pages after it.
//! - `layout` is what a kind of server reads of a certificate, and `archive` packs it.
//! - `scm` knows SSL certificates in version 3, `scm2` is another face of the same; `scm::orders` is how they come about.
//! - `manage` is the listener beside the API: clock, applications, faults, requests seen.
//! - `lists` is the listener for lists of revoked certificates, by plain HTTP.
//! - `admin` is what the command line and the tests do beside the API; `faults` makes the server unpleasant on purpose.
//!
//! It shares no wire type and no signing code with the client (`ccm`): what both get wrong alike, no test would find.

mod admin;
mod answer;
mod archive;
mod auth;
pub mod cli;
mod codes;
mod db;
mod dispatch;
mod failure;
mod faults;
mod field;
pub mod fuzz;
mod http;
mod iam;
mod keys;
mod layout;
mod lists;
mod manage;
mod openapi;
mod operation;
mod pca;
mod peers;
mod progress;
mod route;
mod scm;
mod scm2;
mod searches;
mod seen;
mod server;
mod signature;
mod text;
mod tls;
mod upkeep;
mod users;
mod vault;
mod x509;

pub use admin::{Admin, Authorities, NewResource, ScmImport, Served, UserKeys};
pub use db::DbError;
pub use faults::{ExpiryFilter, Fault, Faults, FaultsError, Trigger};
pub use http::Limits;
pub use route::chapters;
pub use scm::{Class, Outcome, ProofReuse, ProofReuseError, Review, ReviewError, ScmOptions};
pub use seen::Seen;
pub use server::{Running, Server, ServerError, ServerOptions};
pub use tls::{TlsError, TlsSource};
pub use vault::{MasterKey, VaultError};
pub use x509::X509Error;
