//! Commands that act: once, run, renew, rollback, release.

use std::collections::BTreeMap;

use crate::cli::args::Arguments;
use crate::cli::context::{self, Executor};
use crate::cli::exit::Exit;
use crate::cli::{CommandResult, Failure, output};
use crate::engine::{Engine, Patience, RunOptions, Scope};
use crate::model::{
    CertificateId, RevisionFacts, RevisionId, Seconds, Snapshot, TargetId, TargetState,
};
use crate::plan::{Plan, Verdict};
use crate::store::CertificateChange;

/// Everything that is due now.
pub(crate) async fn once(arguments: &Arguments, wait: Seconds) -> CommandResult {
    let loaded = context::load(arguments)?;
    let executor = Executor::new(loaded.policy, output::progress_sink(arguments.quiet)).await?;
    converge(&executor, &Scope::All, wait, arguments.quiet).await
}

/// A new revision now.
pub(crate) async fn renew(
    arguments: &Arguments,
    name: &CertificateId,
    wait: Seconds,
) -> CommandResult {
    let loaded = context::load(arguments)?;
    context::known(&loaded.policy, name)?;
    let executor = Executor::new(loaded.policy, output::progress_sink(arguments.quiet)).await?;
    let engine = &executor.engine;
    engine
        .store
        .change_certificate(name, CertificateChange::Forced)
        .await
        .map_err(|error| context::store_failure(&error))?;
    unblock_targets(engine, name).await?;
    converge(&executor, &Scope::One(name.clone()), wait, arguments.quiet).await
}

/// An earlier revision again.
pub(crate) async fn rollback(
    arguments: &Arguments,
    name: &CertificateId,
    to: Option<&RevisionId>,
) -> CommandResult {
    let loaded = context::load(arguments)?;
    let policy = context::known(&loaded.policy, name)?;
    let targets = policy.targets.clone();
    if targets.is_empty() {
        return Err(Failure::new(
            Exit::Usage,
            format!("certificate {name} has no targets to roll back"),
        ));
    }
    let executor = Executor::new(loaded.policy, output::progress_sink(arguments.quiet)).await?;
    let engine = &executor.engine;
    let snapshot = snapshot(engine).await?;
    if let Some(open) = snapshot
        .rollouts
        .values()
        .find(|r| targets.contains(&r.target))
    {
        return Err(Failure::new(
            Exit::TryLater,
            format!(
                "a rollout of target {} is open ({}); `renewd once` ends it",
                open.target,
                open.phase.code()
            ),
        ));
    }
    let stored: Vec<RevisionFacts> = engine
        .store
        .revisions(name)
        .await
        .map_err(|error| context::store_failure(&error))?
        .into_iter()
        .map(|(_, facts)| facts)
        .collect();
    let now = engine.clock.now();
    for target in &targets {
        let mut state = snapshot.targets.get(target).cloned().unwrap_or_default();
        let goal = choose(&stored, state.live.get(name), to, now)
            .map_err(|why| Failure::new(Exit::DataInvalid, format!("{name} on {target}: {why}")))?;
        let mut wanted = state.live.clone();
        wanted.insert(name.clone(), goal.id.clone());
        state.wanted = Some(wanted);
        // Whatever is newer stays away, were it never rolled out.
        let newer = stored.iter().take_while(|revision| revision.id != goal.id);
        state.held.extend(newer.map(|revision| revision.id.clone()));
        unblock(&mut state);
        change(engine, target, &state).await?;
    }
    converge(
        &executor,
        &Scope::One(name.clone()),
        Seconds(0),
        arguments.quiet,
    )
    .await
}

fn choose<'a>(
    stored: &'a [RevisionFacts],
    live: Option<&RevisionId>,
    to: Option<&RevisionId>,
    now: crate::model::Timestamp,
) -> Result<&'a RevisionFacts, String> {
    let goal = match (to, live) {
        (Some(id), _) => stored
            .iter()
            .find(|r| r.id == *id)
            .ok_or_else(|| format!("there is no revision {id}; `renewd history` lists them"))?,
        (None, Some(live)) => stored
            .iter()
            .skip_while(|r| r.id != *live)
            .nth(1)
            .ok_or("there is no revision before the live one")?,
        (None, None) => return Err("nothing is live there yet".to_owned()),
    };
    if goal.facts.not_after <= now {
        return Err(format!(
            "revision {} expired at {}; an expired certificate is never put back",
            goal.id, goal.facts.not_after
        ));
    }
    Ok(goal)
}

/// Ends a hold.
pub(crate) async fn release(arguments: &Arguments, name: &CertificateId) -> CommandResult {
    let loaded = context::load(arguments)?;
    let policy = context::known(&loaded.policy, name)?;
    let targets = policy.targets.clone();
    let executor = Executor::new(loaded.policy, output::progress_sink(arguments.quiet)).await?;
    let engine = &executor.engine;
    let snapshot = snapshot(engine).await?;
    let stored = engine
        .store
        .revisions(name)
        .await
        .map_err(|error| context::store_failure(&error))?;
    for target in &targets {
        let Some(mut state) = snapshot.targets.get(target).cloned() else {
            continue;
        };
        for (_, revision) in &stored {
            state.held.remove(&revision.id);
        }
        change(engine, target, &state).await?;
    }
    converge(
        &executor,
        &Scope::One(name.clone()),
        Seconds(0),
        arguments.quiet,
    )
    .await
}

/// The daemon.
pub(crate) async fn run(arguments: &Arguments) -> CommandResult {
    let loaded = context::load(arguments)?;
    crate::telemetry::start();
    let file = arguments.config.clone();
    let options = RunOptions {
        load: Box::new(move || {
            crate::config::load(&file)
                .map(|loaded| loaded.policy)
                .map_err(|diagnostics| diagnostics.to_string())
        }),
        engine: Box::new(|policy| {
            Box::pin(async move {
                context::engine(policy, crate::engine::log_sink())
                    .await
                    .map_err(|failure| failure.message)
            })
        }),
        lock: Box::new(|state_dir| {
            Box::pin(async move {
                context::lock(&state_dir)
                    .await
                    .map_err(|failure| failure.message)
            })
        }),
    };
    crate::engine::run(loaded.policy, options)
        .await
        .map_err(|message| Failure::new(Exit::Bug, message))?;
    Ok(Exit::Done)
}

async fn converge(executor: &Executor, scope: &Scope, wait: Seconds, quiet: bool) -> CommandResult {
    let engine = &executor.engine;
    let mut snapshot = engine
        .observe()
        .await
        .map_err(|error| context::engine_failure(&error))?;
    let plan = engine
        .converge(&mut snapshot, scope, Patience { total: wait })
        .await
        .map_err(|error| context::engine_failure(&error))?;
    let exit = summary(&plan, scope);
    if !quiet {
        output::note(&counts(&plan));
    }
    Ok(exit)
}

fn summary(plan: &Plan, scope: &Scope) -> Exit {
    in_scope(plan, scope)
        .values()
        .fold(Exit::Done, |exit, verdict| exit.worse(Exit::of(verdict)))
}

fn in_scope<'a>(plan: &'a Plan, scope: &Scope) -> BTreeMap<&'a CertificateId, &'a Verdict> {
    plan.verdicts
        .iter()
        .filter(|(id, _)| match scope {
            Scope::All => true,
            Scope::One(wanted) => *id == wanted,
        })
        .collect()
}

fn counts(plan: &Plan) -> String {
    let (mut healthy, mut waiting, mut blocked) = (0, 0, 0);
    for verdict in plan.verdicts.values() {
        match verdict {
            Verdict::Healthy { .. } => healthy += 1,
            Verdict::Act(_) | Verdict::Wait(_) => waiting += 1,
            Verdict::Blocked(_) => blocked += 1,
        }
    }
    format!(
        "{} certificates: {healthy} healthy, {waiting} waiting, {blocked} blocked; next look at {}",
        plan.verdicts.len(),
        plan.next_wake
    )
}

async fn unblock_targets(engine: &Engine, name: &CertificateId) -> Result<(), Failure> {
    let snapshot = snapshot(engine).await?;
    let Some(policy) = engine.policy.certificates.get(name) else {
        return Ok(());
    };
    for target in &policy.targets {
        if let Some(mut state) = snapshot.targets.get(target).cloned() {
            unblock(&mut state);
            change(engine, target, &state).await?;
        }
    }
    Ok(())
}

/// A person asked: what failed before is tried again.
fn unblock(state: &mut TargetState) {
    state.undo_failed = None;
    state.failures = crate::model::Failures::default();
}

async fn snapshot(engine: &Engine) -> Result<Snapshot, Failure> {
    engine
        .store
        .snapshot()
        .await
        .map_err(|error| context::store_failure(&error))
}

async fn change(engine: &Engine, target: &TargetId, state: &TargetState) -> Result<(), Failure> {
    engine
        .store
        .change_target(target, state)
        .await
        .map_err(|error| context::store_failure(&error))
}
