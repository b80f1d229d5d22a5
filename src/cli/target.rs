//! Commands about targets: what each one is, and how it is. They change nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::cli::args::Arguments;
use crate::cli::exit::Exit;
use crate::cli::output::{self, BOLD, GREEN, RED, YELLOW};
use crate::cli::{CommandResult, Failure, context};
use crate::config;
use crate::deploy::{Deployer, Outcome};
use crate::model::{
    Difference, ErrorClass, ExportKind, ExportSpec, Observed, Policy, Probe, ProxyProtocol,
    Rollout, RolloutPhase, SightKind, Snapshot, StartTls, TargetId, TargetPolicy, TargetState,
};
use crate::plan::rollout_machine::waits_for_post_hook;
use crate::store::Store;
use crate::sys::clock::{Clock, SystemClock};
use crate::sys::error_chain;
use crate::sys::outside;

/// Every target with its resolved values and its present state.
pub(crate) async fn list(arguments: &Arguments, as_json: bool) -> CommandResult {
    let loaded = context::load(arguments)?;
    let snapshot = snapshot(&loaded.policy).await?;
    let all: Vec<Value> = loaded
        .policy
        .targets
        .values()
        .map(|target| object(&loaded.policy, target, &snapshot))
        .collect();
    if as_json {
        let mut text = serde_json::to_string_pretty(&all)
            .map_err(|error| Failure::new(Exit::Bug, error.to_string()))?;
        text.push('\n');
        output::data(&text);
    } else {
        output::data(&all.iter().map(text).collect::<String>());
    }
    Ok(Exit::Done)
}

/// Preflight of what is live, its files, the service's test, and a probe.
pub(crate) async fn test(arguments: &Arguments, name: &TargetId) -> CommandResult {
    let loaded = context::load(arguments)?;
    let policy = loaded.policy;
    let Some(target) = policy.targets.get(name) else {
        return Err(Failure::new(
            Exit::Usage,
            format!("the policy has no target `{name}`; `renewd target list` shows them"),
        ));
    };
    let snapshot = snapshot(&policy).await?;
    let state = snapshot.targets.get(name).cloned().unwrap_or_default();
    let resolve = Arc::new(|reference: &crate::model::SecretRef| {
        config::secret_ref::resolve(reference).map_err(|error| error_chain(&error))
    });
    let deployer = Deployer::new(policy.state_dir.clone(), outside::runner(), resolve)
        .asking_for(policy.names());
    let mut exit = Exit::Done;
    let newest = policy.certificates.values().filter_map(|certificate| {
        let is_on = certificate.targets.contains(name);
        let known = snapshot
            .certificates
            .get(&certificate.id)
            .filter(|_| is_on)?;
        Some((certificate.id.clone(), known.newest.as_ref()?.id.clone()))
    });
    let (newest, now) = (newest.collect(), SystemClock.now());
    for examined in deployer.examine(target, &state, &newest, now).await {
        let what = examined.what;
        let line = match examined.outcome {
            Outcome::Good(text) => format!("{GREEN}ok{GREEN:#}    {what:<9}  {text}\n"),
            Outcome::Skipped(text) => {
                let text = text.replace('\n', "\n                 ");
                format!("{YELLOW}-{YELLOW:#}     {what:<9}  {text}\n")
            }
            Outcome::Bad(error) => {
                exit = exit.worse(exit_of(error.class));
                let mut line = format!("{RED}fail{RED:#}  {what:<9}  {}\n", error.message);
                for said in error.output.trim_end().lines() {
                    line.push_str(&format!("      | {said}\n"));
                }
                line
            }
        };
        output::data(&line);
    }
    Ok(exit)
}

const fn exit_of(class: ErrorClass) -> Exit {
    match class {
        ErrorClass::Transient | ErrorClass::RateLimited => Exit::TryLater,
        ErrorClass::Rejected => Exit::DataInvalid,
        ErrorClass::Authentication => Exit::NoPermission,
        ErrorClass::Configuration => Exit::Configuration,
        ErrorClass::Bug => Exit::Bug,
    }
}

async fn snapshot(policy: &Policy) -> Result<Snapshot, Failure> {
    match context::reader(policy).await? {
        Some(store) => store
            .snapshot()
            .await
            .map_err(|error| context::store_failure(&error)),
        None => Ok(Snapshot::default()),
    }
}

fn object(policy: &Policy, target: &TargetPolicy, snapshot: &Snapshot) -> Value {
    let id = &target.id;
    let live = policy
        .state_dir
        .join("targets")
        .join(id.as_str())
        .join("live");
    let state = snapshot.targets.get(id).cloned().unwrap_or_default();
    let mut rollouts = snapshot.rollouts.values();
    let rollout = rollouts.find(|rollout| rollout.target == *id);
    let certificates: Vec<&str> = policy
        .certificates
        .values()
        .filter(|certificate| certificate.targets.contains(id))
        .map(|certificate| certificate.id.as_str())
        .collect();
    let probe = match &target.probe {
        Probe::None => json!({ "kind": "none" }),
        Probe::Tls {
            connect,
            deadline,
            roots,
            wildcard_label,
            prelude,
        } => json!({
            "kind": "tls", "connect": connect.iter().collect::<Vec<_>>(), "deadline": deadline.to_string(),
            "roots": roots.as_ref().map(ToString::to_string), "wildcard_label": wildcard_label,
            "starttls": prelude.starttls.map(StartTls::as_str),
            "proxy_protocol": prelude.proxy_protocol.map(ProxyProtocol::as_str),
        }),
    };
    let disk = state.drift.iter().flat_map(|drift| &drift.differences);
    let wire = state.wire.iter().flat_map(|wire| &wire.differences);
    let (word, detail) = state_of(target, &state, rollout);
    json!({
        "name": id,
        "kind": target.kind.word(),
        "certificates": certificates,
        "live_directory": live,
        "exports": target.exports.iter().map(|export| export_object(&live, export)).collect::<Vec<_>>(),
        "test": target.test,
        "reload": target.reload.as_ref().map(ToString::to_string),
        "restart": target.restart,
        "pid_file": target.pid_file,
        "command_timeout": target.command_timeout.to_string(),
        "on_drift": target.drift.as_str(),
        "probe": probe,
        "windows": target.pacing.windows.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "reloads_per_hour": target.pacing.reloads_per_hour,
        "reloads": state.reloads.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "state": word,
        "detail": detail,
        "rollout": rollout.map(|rollout| rollout.phase.code()),
        "live": state.live,
        "generation": state.generation,
        "proven_at": state.proven_at.map(|at| at.to_string()),
        "held": state.held,
        "failures": state.failures.count,
        "drift": disk.chain(wire).map(difference).collect::<Vec<_>>(),
        "observe": target.observe.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "observed": state.observed.as_ref().filter(|_| !target.observe.is_empty()).map(observed),
    })
}

fn observed(observed: &Observed) -> Value {
    let sights = observed.sights.iter();
    let sights = sights.map(|sight| {
        json!({
            "name": sight.name, "address": sight.address, "code": sight.kind.code(), "detail": sight.detail,
        })
    });
    json!({
        "at": observed.at.to_string(),
        "code": observed.worst().code(),
        "since": observed.since.map(|at| at.to_string()),
        "places": sights.collect::<Vec<_>>(),
        "left": observed.left,
    })
}

fn difference(found: &Difference) -> Value {
    json!({ "code": found.kind.code(), "certificate": found.certificate, "detail": found.detail })
}

/// A word for the present state, and what there is to say about it.
fn state_of(
    target: &TargetPolicy,
    state: &TargetState,
    rollout: Option<&Rollout>,
) -> (&'static str, Option<String>) {
    if let Some(detail) = &state.undo_failed {
        return ("undo-failed", Some(detail.clone()));
    }
    match rollout.map(|rollout| &rollout.phase) {
        Some(RolloutPhase::AwaitingService { detail, .. }) => {
            return ("pending", Some(detail.clone()));
        }
        Some(RolloutPhase::Verified { .. }) if rollout.is_some_and(waits_for_post_hook) => {
            let last = rollout.and_then(|rollout| rollout.failures.last.as_ref());
            return ("post-hook", last.map(|last| last.message.clone()));
        }
        Some(phase) => return ("rolling-out", Some(phase.code().to_owned())),
        None => {}
    }
    if let Some(drift) = &state.drift {
        return ("drifted", Some(drift.to_string()));
    }
    if let Some(first) = state.wire.iter().flat_map(|wire| &wire.differences).next() {
        return ("drifted", Some(first.detail.clone()));
    }
    let failed = state
        .failed
        .as_ref()
        .map(|failed| failed.cause.message.clone());
    match (state.live.is_empty(), &target.probe) {
        (true, _) => ("empty", failed),
        (false, Probe::None) => ("unproven", failed),
        (false, Probe::Tls { .. }) => ("live", failed),
    }
}

fn export_object(live: &Path, export: &ExportSpec) -> Value {
    let form = match &export.kind {
        ExportKind::Pem(_) => "pem",
        ExportKind::Pfx { .. } => "pfx",
        ExportKind::Jks { .. } => "jks",
        ExportKind::Trust { .. } => "trust",
        ExportKind::Layout { .. } => "layout",
    };
    let files = export.kind.files();
    // An absolute path replaces what it is joined to.
    let files: Vec<PathBuf> = files
        .iter()
        .map(|file| live.join("{certificate}").join(file))
        .collect();
    let attributes = &export.attributes;
    json!({
        "name": export.name, "form": form, "files": files,
        "owner": attributes.owner, "group": attributes.group,
        "mode": format!("{:04o}", attributes.mode), "key_mode": format!("{:04o}", attributes.key_mode),
        "acl": attributes.acl.iter().map(ToString::to_string).collect::<Vec<_>>(), "reader": attributes.reader,
    })
}

fn text(target: &Value) -> String {
    let plain = |value: &Value| match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let words: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            words.join(" ")
        }
        other => other.to_string(),
    };
    let mut lines = format!(
        "{BOLD}{}{BOLD:#} ({}): {}\n",
        plain(&target["name"]),
        plain(&target["kind"]),
        plain(&target["state"])
    );
    let mut line = |name: &str, value: String| {
        lines.push_str(&format!("  {name:<13} {value}\n"));
    };
    if !target["detail"].is_null() {
        line("", plain(&target["detail"]));
    }
    for name in [
        "certificates",
        "test",
        "reload",
        "restart",
        "pid_file",
        "proven_at",
    ] {
        line(name, plain(&target[name]));
    }
    let probe = &target["probe"];
    let mut proof = plain(&probe["kind"]);
    if !probe["connect"].is_null() {
        proof = format!(
            "{proof} {} within {}",
            plain(&probe["connect"]),
            plain(&probe["deadline"])
        );
    }
    for (name, key) in [("PROXY", "proxy_protocol"), ("STARTTLS", "starttls")] {
        if !probe[key].is_null() {
            proof.push_str(&format!(", {name} {}", plain(&probe[key])));
        }
    }
    line("probe", proof);
    let windows = target["windows"].as_array().into_iter().flatten();
    let windows: Vec<&str> = windows.filter_map(Value::as_str).collect();
    if !windows.is_empty() {
        line("windows", format!("{} (UTC)", windows.join("; ")));
    }
    if !target["reloads_per_hour"].is_null() {
        let budget = plain(&target["reloads_per_hour"]);
        line("reloads", format!("{budget} in an hour at most"));
    }
    if target["observe"] != json!([]) {
        line("observe", plain(&target["observe"]));
    }
    let observed = &target["observed"];
    if !observed.is_null() {
        let word = format!("{} at {}", plain(&observed["code"]), plain(&observed["at"]));
        line("observed", word);
        for sight in observed["places"].as_array().into_iter().flatten() {
            if sight["code"] != SightKind::Same.code() {
                line("", plain(&sight["detail"]));
            }
        }
        if observed["left"] != 0 {
            line("", format!("{} more were not looked at", observed["left"]));
        }
    }
    for export in target["exports"].as_array().into_iter().flatten() {
        for file in export["files"].as_array().into_iter().flatten() {
            line("file", plain(file));
        }
    }
    lines
}
