//! `renewd revoke`: what a person wants revoked, asked for once more, and what has become of it.

use crate::cli::act;
use crate::cli::args::{Arguments, Revoke};
use crate::cli::ccm::confirm;
use crate::cli::context::{self, execute};
use crate::cli::{CommandResult, control, output};
use crate::engine::{Revocation, Scope, Wanted};
use crate::model::{CertificateId, Policy, RevocationReason, RevokedBy, Snapshot, Timestamp};
use crate::plan::revoke::{self, Step};

/// Has a revision revoked.
pub(crate) async fn revoke(arguments: &Arguments, wanted: &Revoke) -> CommandResult {
    let loaded = context::load(arguments)?;
    let quiet = arguments.quiet;
    let name = &wanted.name;
    confirm(wanted.yes, &question(wanted))?;
    let revocation = Revocation {
        name: name.clone(),
        revision: wanted.revision.clone(),
        reason: wanted.reason,
        at_once: wanted.now,
    };
    let control = &loaded.policy.control;
    let wish = Wanted::Revoke(revocation.clone());
    if let Some(exit) = control::through(arguments, control, wish, wanted.wait).await? {
        return Ok(exit);
    }
    execute(
        loaded.policy,
        output::progress_sink(quiet),
        async |engine| {
            act::asked(engine.ask_revocation(&revocation).await)?;
            let scope = Scope::One(name.clone());
            act::converge(engine, &scope, wanted.wait, quiet).await
        },
    )
    .await
}

fn question(wanted: &Revoke) -> String {
    let which = match &wanted.revision {
        Some(revision) => format!("Revision {revision} of certificate {}", wanted.name),
        None => format!("The newest revision of certificate {}", wanted.name),
    };
    let when = if wanted.now {
        "at once, although it may be in use"
    } else {
        "as soon as nothing uses it; where it is the newest, another one with a new key is ordered first"
    };
    let alike = if wanted.reason == RevocationReason::KeyCompromise {
        " So will be every other revision of it with the same key that has not ended."
    } else {
        ""
    };
    format!(
        "{which} will be revoked ({}) {when}.{alike} It cannot be undone.",
        wanted.reason
    )
}

/// What is to be revoked still, one line each.
pub(crate) fn pending(
    policy: &Policy,
    snapshot: &Snapshot,
    name: &CertificateId,
    now: Timestamp,
) -> Vec<String> {
    let state = snapshot.certificates.get(name);
    let all = state.into_iter().flat_map(|state| &state.revoking);
    let all = all.filter(|revoking| revoking.by != RevokedBy::Policy);
    let lines = all.filter_map(|revoking| {
        let why = match revoke::step(policy, snapshot, name, revoking, now) {
            Step::Due => "it is tried".to_owned(),
            Step::Waits { why, .. } => why,
            Step::Dropped | Step::Ended => return None,
        };
        let revision = &revoking.revision;
        Some(format!(
            "{name}: revision {revision} is not revoked yet: {why}"
        ))
    });
    lines.collect()
}
