//! Where certificates go: keys and revisions on disk, and the steps of a rollout.
//!
//! ```text
//!   Stage    preflight, render, write generations/<n> and temporary copies of loose files
//!   Commit   save what is at the loose places, rename loose files into place, switch `live` by one rename
//!   Test     the service's own configuration test
//!   Reload   tell the service
//!   Verify   TLS handshakes until the new leaf is served or the deadline passes
//!            └─ fails ─▶ Restore, ReloadBack, VerifyBack
//!   PreHook, PostHook, FailureHook   before Commit, after Verify, at a bad end, where the policy has such hooks
//! ```
//!
//! Every step answers "did it happen?" by itself: after a crash anywhere it is simply called again. Which step comes
//! next is decided by `plan`, and written down by `engine`; nothing here remembers anything but files.

mod arrived;
mod commit;
mod deployer;
mod drift;
mod error;
mod examine;
mod foreign;
mod former;
mod haproxy;
mod hooks;
mod keystores;
mod layout;
mod manifest;
mod material;
mod observe;
mod password;
mod places;
mod preflight;
mod prove;
mod prune;
mod readers;
mod selinux;
mod service;
mod site;
mod space;
mod stage;
mod told;
mod tomcat;
mod way_back;
mod wire;

pub mod probe;

pub use deployer::{Deployer, SecretResolver};
pub use error::{StepDone, StepError};
pub use examine::{Examined, Outcome};
pub use material::{MaterialError, Materials};
pub use observe::{Addresses, Resolver, SystemResolver};
pub use places::loose_directories;
pub use space::shortage;

/// Every boundary inside a step, for tests that kill the process at each. `name=2*off->return` in `FAILPOINTS` lets two
/// passes go and kills at the third.
pub const CRASH_POINTS: &[&str] = &[
    "order.store-revision.file",
    "rollout.stage.file",
    "rollout.stage.written",
    "rollout.stage.renamed",
    "rollout.stage.beside",
    "rollout.commit.save",
    "rollout.commit.saved",
    "rollout.commit.file",
    "rollout.commit.link",
    "rollout.commit.linked",
    "rollout.restore.linked",
    "rollout.restore.file",
    "rollout.verify-back.restored",
    "rollout.close.prune",
];
