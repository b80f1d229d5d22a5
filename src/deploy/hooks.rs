//! The hooks of a target: what they are told, and what their end means. Which one is run when is decided by `plan`.

use std::collections::BTreeSet;

use crate::deploy::site::Site;
use crate::deploy::{StepError, service};
use crate::model::{
    CertificateId, ErrorClass, Hook, Hooks, Name, RevisionId, RolloutPhase, TargetPolicy,
};
use crate::pki::facts;
use crate::sys::error_chain;
use crate::sys::process::{Invocation, Runner};

/// Runs a hook and returns its output.
pub(super) async fn run(
    runner: &dyn Runner,
    hooks: &Hooks,
    hook: Hook,
    argv: &[String],
    env: Vec<(String, String)>,
) -> Result<String, StepError> {
    let invocation = Invocation {
        argv: argv.to_vec(),
        env,
        directory: hooks.directory.clone(),
        user: hooks.user.clone(),
        timeout: hooks.timeout.to_std(),
        leaves_daemon: false,
    };
    let outcome = runner.run(&invocation).await;
    if outcome.success() {
        return Ok(outcome.output);
    }
    let what = format!("{hook} hook");
    Err(StepError {
        class: match hook {
            // It refused the set; asking again at once would be answered alike.
            Hook::Pre => ErrorClass::Configuration,
            // Mostly what it talks to is away.
            Hook::Post | Hook::OnFailure => ErrorClass::Transient,
        },
        ..service::failure(hooks.timeout, &what, argv, outcome)
    })
}

/// The environment of a hook, as `renewd.toml(5)` documents it.
pub(super) fn environment(
    site: &Site<'_>,
    target: &TargetPolicy,
    hook: Hook,
) -> Vec<(String, String)> {
    let rollout = site.rollout;
    let changing: Vec<(&CertificateId, &RevisionId)> = rollout
        .revisions
        .iter()
        .filter(|(id, _)| rollout.reasons.contains_key(*id))
        .collect();
    let reasons = rollout.reasons.values().map(|reason| reason.code());
    let mut all = vec![
        ("HOOK", hook.code().to_owned()),
        ("TARGET", target.id.to_string()),
        ("KIND", target.kind.word().to_owned()),
        ("ROLLOUT", rollout.id.to_string()),
        ("OUTCOME", outcome(&rollout.phase).to_owned()),
        ("LIVE", site.layout.live().display().to_string()),
        ("GENERATION", site.generation().display().to_string()),
        ("CERTIFICATES", joined(changing.iter().map(|(id, _)| id))),
        ("REASONS", joined(reasons)),
        ("SERIALS", serials(site, &changing)),
        ("NAMES", names(site, &changing)),
        ("PATHS", paths(site, &changing)),
    ];
    if let RolloutPhase::OnFailure { closing } = &rollout.phase
        && let Some(cause) = closing.cause()
    {
        all.push(("ERROR", format!("{}: {}", cause.step, cause.message)));
    }
    let omitted: Vec<&str> = all
        .iter()
        .filter(|(_, value)| value.len() > LONGEST_VALUE)
        .map(|(name, _)| *name)
        .collect();
    let omitted = joined(omitted.into_iter().map(|name| format!("{PREFIX}{name}")));
    all.retain(|(_, value)| value.len() <= LONGEST_VALUE);
    all.push(("OMITTED", omitted));
    all.into_iter()
        .map(|(name, value)| (format!("{PREFIX}{name}"), value.replace('\0', "")))
        .collect()
}

const fn outcome(phase: &RolloutPhase) -> &'static str {
    match phase {
        RolloutPhase::Verified { .. } | RolloutPhase::PostHooks => "live",
        RolloutPhase::OnFailure { closing } | RolloutPhase::Closed { closing } => closing.code(),
        RolloutPhase::Opened
        | RolloutPhase::Staged
        | RolloutPhase::PreHooks
        | RolloutPhase::Committed
        | RolloutPhase::Tested
        | RolloutPhase::Reloaded
        | RolloutPhase::AwaitingService { .. }
        | RolloutPhase::Undoing { .. } => "pending",
    }
}

/// In the order of the certificates; `-` for one that cannot be read.
fn serials(site: &Site<'_>, changing: &[(&CertificateId, &RevisionId)]) -> String {
    joined(changing.iter().map(|(id, revision)| {
        let public = site.materials.load_public(id, revision);
        let serial = public.map_err(|error| error_chain(&error)).and_then(|all| {
            let leaf = all.first().ok_or("it has no certificate")?;
            let facts = facts(leaf).map_err(|error| error_chain(&error))?;
            Ok(facts.serial)
        });
        serial.unwrap_or_else(|error| {
            tracing::warn!(certificate = %id, %revision, error, "a hook is not told the serial number");
            "-".to_owned()
        })
    }))
}

fn names(site: &Site<'_>, changing: &[(&CertificateId, &RevisionId)]) -> String {
    let names: BTreeSet<&Name> = changing
        .iter()
        .filter_map(|(id, _)| site.names.get(*id))
        .flat_map(|names| names.iter())
        .collect();
    joined(names)
}

/// Where the files are once they are committed, one a line.
fn paths(site: &Site<'_>, changing: &[(&CertificateId, &RevisionId)]) -> String {
    let Some(manifest) = site.manifest() else {
        return String::new();
    };
    let concerned: BTreeSet<&CertificateId> = changing.iter().map(|(id, _)| *id).collect();
    let live = site.layout.live();
    let paths: Vec<String> = manifest
        .files
        .iter()
        .filter(|entry| concerned.contains(&entry.certificate))
        // An absolute path replaces what it is joined to.
        .map(|entry| live.join(&entry.path).display().to_string())
        .collect();
    paths.join("\n")
}

fn joined<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    items.join(" ")
}

/// Of all that is said about a rollout.
const PREFIX: &str = "RENEWD_";

/// Bytes: Linux starts no program with a longer text than 128 KiB (`MAX_ARG_STRLEN`).
const LONGEST_VALUE: usize = 96 * 1024;
