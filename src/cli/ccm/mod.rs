//! `renewd ccm …`: every operation of the CCM API by hand, with the account of an issuer or of the environment.
//!
//! The chapter of the reference stands at the end of each command's description; `docs/ccm-operations.md` is made from it.
//!
//! - `args`, `args_scm`, `args_pca`, `args_v2`: what may be typed.
//! - `scm`, `pca`, `v2`: from what was typed to a call, and from its answer to what is shown.
//! - `account`: whose account; `confirm`: what is asked before; `files`: what is read and written; `show`: tables and JSON.

mod account;
mod args;
mod args_pca;
mod args_scm;
mod args_v2;
mod confirm;
mod files;
mod pca;
mod scm;
mod show;
mod v2;

pub(crate) use args::Ccm;
pub(crate) use confirm::confirm;

use crate::ccm::{CcmError, Class, Effect, OPERATIONS};
use crate::cli::args::Arguments;
use crate::cli::{CommandResult, Exit, Failure};

use args::Service;
use args_scm::ScmCommand;

/// Carries out one operation and shows its answer.
pub(crate) async fn run(arguments: &Arguments, ccm: &Ccm) -> CommandResult {
    let shown = match &ccm.service {
        Service::Scm { command } => match &**command {
            ScmCommand::V2(v2) => v2::run(arguments, ccm, v2).await?,
            command => scm::run(arguments, ccm, command).await?,
        },
        Service::Pca { command } => pca::run(arguments, ccm, command).await?,
    };
    show::print(shown, ccm.json)
}

/// The exit status says who can help; the message what the service said.
fn failed(error: Box<CcmError>) -> Failure {
    let unsent = error.status.is_none() && error.effect == Effect::None;
    let exit = match error.class {
        // Held to its limits here, and never sent.
        Class::Rejected if unsent => Exit::Usage,
        Class::Rejected => Exit::DataInvalid,
        Class::Transient | Class::RateLimited => Exit::Unavailable,
        Class::Authentication => Exit::NoPermission,
        Class::Configuration => Exit::Configuration,
        Class::Bug => Exit::Bug,
    };
    let acts = error.operation.as_ref().is_some_and(|called| {
        let mut all = OPERATIONS.iter();
        all.any(|known| known.name == called.name && !known.repeatable)
    });
    let doubt = if acts && error.effect == Effect::Unknown {
        "; it may have been done all the same: look before you try again"
    } else {
        ""
    };
    Failure::new(exit, format!("{error}{doubt}"))
}
