//! The loop: observe, plan, execute, sleep until the next wake.
//!
//! There is no recovery path: after a crash the planner sees an open order or rollout and plans its next step like
//! any other. Every step is journalled before and after its effect, and can be asked "did it happen?".

mod accounts;
mod alerts;
mod bell;
mod clock;
mod converge;
mod courier;
mod credentials;
mod deliveries;
mod digest;
mod entitlements;
mod exposition;
mod hanging;
mod identity;
mod ids;
mod issuers;
mod jobs;
mod observe;
mod order;
mod order_effect;
mod places;
mod progress;
mod proving;
mod public_order;
mod publish;
mod push;
mod put_back;
mod reload;
mod remote;
mod revoke;
mod rollout;
mod siblings;
mod space;
mod status;
mod steps;
mod supplement;
mod upkeep;
mod wake;
mod watch;
mod watchdog;
mod wish;
mod wishes;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

pub use bell::Rings;
pub use converge::{Patience, Scope};
pub use courier::{Courier, Round};
pub use digest::digest_letter;
pub use identity::new as new_identity;
pub use issuers::{Issuers, Resolve};
pub use jobs::Begun;
pub use progress::{Progress, ProgressSink, log_sink};
pub use proving::{ProofError, Prover, Proving, Resumed, Seen};
pub use publish::{Publisher, STATUS_FILE, status_file};
pub use put_back::NotAsked;
pub use revoke::Revocation;
pub use space::plan_within_space;
pub use status::status;
pub use wake::{Answer, RunError, RunOptions, run};
pub use wish::{Judge, Judged, Outcome, Wanted, Wish, look_at_services};

use crate::deploy::Deployer;
use crate::model::{HostSeed, Policy};
use crate::store::{Store, StoreError};
use crate::sys::clock::Clock;

/// Everything a step may use. One per policy; a reload makes a new one.
pub struct Engine {
    /// What is wanted.
    pub policy: Arc<Policy>,
    /// The journal.
    pub store: Arc<dyn Store>,
    /// Files, commands and probes of targets; keys and revisions on disk.
    pub deployer: Deployer,
    /// Connections to issuers, made when first needed.
    pub issuers: Issuers,
    /// Who publishes proofs of domains.
    pub prover: Arc<dyn Prover>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Who is told of each step.
    pub progress: ProgressSink,
    /// Of this host, for what is to differ between hosts.
    pub host: HostSeed,
    /// Set when the process shall stop after the steps under way.
    pub stop: Arc<AtomicBool>,
}

/// Why a tick could not be finished. Failures of steps are no such errors: they are in the journal.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The journal could not be read or written: nothing may be done that it would not know of.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A fault of renewd.
    #[error("{0}; this is a bug of renewd")]
    Bug(String),
}
