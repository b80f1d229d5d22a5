//! Commands that act: once, run, renew, rollback, release.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::cli::args::Arguments;
use crate::cli::context::{self, execute};
use crate::cli::exit::{Attempt, Exit};
use crate::cli::{CommandResult, Failure, control, output};
use crate::engine::{
    Begun, Engine, Patience, RunError, RunOptions, Scope, Wanted, forget_wish, log_sink,
    look_at_services, unblock,
};
use crate::model::{
    CertificateId, Failures, JobName, Policy, RevisionFacts, RevisionId, RolloutPhase, Seconds,
    Snapshot, TargetId, TargetState, Timestamp, Waiting,
};
use crate::plan::explain::counted;
use crate::plan::{Plan, Verdict, jobs, rollout_machine};

/// Everything that is due now.
pub(crate) async fn once(arguments: &Arguments, wait: Seconds) -> CommandResult {
    let loaded = context::load(arguments)?;
    let quiet = arguments.quiet;
    let control = &loaded.policy.control;
    if let Some(exit) = control::through(arguments, control, Wanted::Once, wait).await? {
        return Ok(exit);
    }
    execute(
        loaded.policy,
        output::progress_sink(quiet),
        async |engine| converge(engine, &Scope::All, wait, quiet).await,
    )
    .await
}

/// A new revision now.
pub(crate) async fn renew(
    arguments: &Arguments,
    name: &CertificateId,
    wait: Seconds,
) -> CommandResult {
    let loaded = context::load(arguments)?;
    context::known(&loaded.policy, name)?;
    let quiet = arguments.quiet;
    let control = &loaded.policy.control;
    let wanted = Wanted::Renew(name.clone());
    if let Some(exit) = control::through(arguments, control, wanted, wait).await? {
        return Ok(exit);
    }
    execute(
        loaded.policy,
        output::progress_sink(quiet),
        async |engine| {
            let asked = engine.ask_renewal(name).await;
            asked.map_err(|error| context::store_failure(&error))?;
            converge(engine, &Scope::One(name.clone()), wait, quiet).await
        },
    )
    .await
}

/// An earlier revision again.
pub(crate) async fn rollback(
    arguments: &Arguments,
    name: &CertificateId,
    to: Option<&RevisionId>,
    force: bool,
) -> CommandResult {
    let (policy, targets) = targets_of(arguments, name)?;
    let quiet = arguments.quiet;
    execute(policy, output::progress_sink(quiet), async |engine| {
        put_back(engine, name, &targets, to, force).await?;
        converge(engine, &Scope::One(name.clone()), Seconds(0), quiet).await
    })
    .await
}

/// Writes the wish for an earlier revision down for all targets, or for none.
async fn put_back(
    engine: &Engine,
    name: &CertificateId,
    targets: &BTreeSet<TargetId>,
    to: Option<&RevisionId>,
    force: bool,
) -> Result<(), Failure> {
    let snapshot = snapshot(engine).await?;
    // One that only waits for its service has its set in place and can be left; any other is on its way.
    let mut awaiting = BTreeMap::new();
    for open in snapshot.rollouts.values() {
        match &open.phase {
            _ if !targets.contains(&open.target) => {}
            // A set whose `post` hook fails is the live one: another one may follow it.
            _ if rollout_machine::waits_for_post_hook(open) => {}
            RolloutPhase::AwaitingService { .. } if rollout_machine::may_be_superseded(open) => {
                awaiting.insert(&open.target, &open.revisions);
            }
            phase => {
                return Err(Failure::new(
                    Exit::TryLater,
                    format!(
                        "a rollout of target {} is open ({}); `renewd once` carries it on",
                        open.target,
                        phase.code()
                    ),
                ));
            }
        }
    }
    let stored = on_disk(engine, name).await?;
    let certificate = snapshot.certificates.get(name);
    let newest = certificate
        .and_then(|state| state.newest.as_ref())
        .map(|newest| &newest.id);
    let now = engine.clock.now();
    // Nothing is changed on any target unless it can be on all.
    let mut changes = BTreeMap::new();
    for target in targets {
        let mut state = snapshot.targets.get(target).cloned().unwrap_or_default();
        let in_place = awaiting.get(target).copied().unwrap_or(&state.live);
        let there = in_place.get(name);
        let goal = choose(&stored, there, to, now)
            .map_err(|why| Failure::new(Exit::DataInvalid, format!("{name} on {target}: {why}")))?;
        if certificate.is_some_and(|state| state.is_revoked(&goal.id)) {
            return Err(Failure::new(
                Exit::DataInvalid,
                format!(
                    "{name} on {target}: revision {} was revoked; a revoked certificate is never put back",
                    goal.id
                ),
            ));
        }
        if there == Some(&goal.id) && newest == Some(&goal.id) {
            output::note(&format!(
                "{name} on {target}: revision {} is live and the newest; nothing to do",
                goal.id
            ));
            continue;
        }
        let mut wanted = in_place.clone();
        // Whatever is live at the moment: the newest stays off until it is released.
        let newer = newest.filter(|newest| **newest != goal.id);
        state.held.extend(newer.cloned());
        state.held.remove(&goal.id);
        wanted.insert(name.clone(), goal.id.clone());
        state.wanted = Some(wanted);
        // Whatever is newer stays away, were it never rolled out.
        let newer = stored.iter().take_while(|revision| revision.id != goal.id);
        state.held.extend(newer.map(|revision| revision.id.clone()));
        unblock(&mut state);
        if force {
            state.overwrite.insert(name.clone());
        }
        changes.insert(target, state);
    }
    for (target, state) in changes {
        change(engine, target, &state).await?;
    }
    Ok(())
}

/// The revisions of a certificate that can be put somewhere, newest first. The journal remembers more than are kept.
async fn on_disk(engine: &Engine, name: &CertificateId) -> Result<Vec<RevisionFacts>, Failure> {
    let stored = engine.store.revisions(name).await;
    let materials = engine.deployer.materials();
    Ok(stored
        .map_err(|error| context::store_failure(&error))?
        .into_iter()
        .map(|(_, facts)| facts)
        .filter(|facts| materials.revision_exists(name, &facts.id))
        .collect())
}

fn choose<'a>(
    stored: &'a [RevisionFacts],
    live: Option<&RevisionId>,
    to: Option<&RevisionId>,
    now: Timestamp,
) -> Result<&'a RevisionFacts, String> {
    let goal = match (to, live) {
        (Some(id), _) => stored
            .iter()
            .find(|r| r.id == *id)
            .ok_or_else(|| format!("revision {id} is not here (any more); {}", kept(stored)))?,
        (None, Some(live)) => stored
            .iter()
            .skip_while(|r| r.id != *live)
            .nth(1)
            .ok_or_else(|| format!("no revision before the live one is kept; {}", kept(stored)))?,
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

fn kept(stored: &[RevisionFacts]) -> String {
    if stored.is_empty() {
        return "none is kept".to_owned();
    }
    let all: Vec<String> = stored
        .iter()
        .map(|r| format!("{} (until {})", r.id, r.facts.not_after.date()))
        .collect();
    format!("kept are {}", all.join(", "))
}

/// Ends a hold; with `force` also what somebody else put there.
pub(crate) async fn release(
    arguments: &Arguments,
    name: &CertificateId,
    force: bool,
) -> CommandResult {
    let (policy, targets) = targets_of(arguments, name)?;
    let quiet = arguments.quiet;
    execute(policy, output::progress_sink(quiet), async |engine| {
        let_go(engine, name, &targets, force).await?;
        converge(engine, &Scope::One(name.clone()), Seconds(0), quiet).await
    })
    .await
}

/// Takes holds and wishes of rollbacks by hand back on all targets.
async fn let_go(
    engine: &Engine,
    name: &CertificateId,
    targets: &BTreeSet<TargetId>,
    force: bool,
) -> Result<(), Failure> {
    // What is there now, not at the last check.
    let snapshot = match engine.observe().await {
        Ok(snapshot) => snapshot,
        Err(error) => return Err(context::engine_failure(&error)),
    };
    let stored = engine
        .store
        .revisions(name)
        .await
        .map_err(|error| context::store_failure(&error))?;
    let mut released = false;
    for target in targets {
        let Some(mut state) = snapshot.targets.get(target).cloned() else {
            continue;
        };
        let before = state.clone();
        for (_, revision) in &stored {
            state.held.remove(&revision.id);
        }
        forget_wish(&mut state, name);
        if force && is_in_the_way(&state, name) {
            state.overwrite.insert(name.clone());
        }
        if state != before {
            released = true;
            state.failures = Failures::default();
            state.aside.clear();
            state.split = None;
            change(engine, target, &state).await?;
        }
    }
    if !released {
        output::note(&format!("{name}: nothing was held"));
    }
    Ok(())
}

/// Something that others left keeps ours away: a difference that was found, or what a rollout stumbled over.
fn is_in_the_way(state: &TargetState, name: &CertificateId) -> bool {
    let disk = state.drift.iter().flat_map(|drift| &drift.differences);
    let wire = state.wire.iter().flat_map(|wire| &wire.differences);
    let differs = disk.chain(wire).any(|found| {
        let whose = found.certificate.as_ref();
        whose.is_none_or(|whose| whose == name)
    });
    differs || state.failed.is_some() || state.aside.contains_key(name)
}

/// For commands about what the targets of one certificate serve.
fn targets_of(
    arguments: &Arguments,
    name: &CertificateId,
) -> Result<(Policy, BTreeSet<TargetId>), Failure> {
    let policy = context::load(arguments)?.policy;
    let targets = context::known(&policy, name)?.targets.clone();
    if targets.is_empty() {
        return Err(Failure::new(
            Exit::Usage,
            format!("certificate {name} has no targets"),
        ));
    }
    Ok((policy, targets))
}

/// The daemon.
pub(crate) async fn run(arguments: &Arguments) -> CommandResult {
    let first_stamp = crate::config::stamp(&arguments.config);
    let loaded = context::load(arguments)?;
    // The scheduler says at every start that it has begun; what it has to say of trouble is kept.
    crate::telemetry::start("info,tokio_cron_scheduler=warn");
    let given = arguments.clone();
    let stamped = arguments.config.clone();
    // One over all reloads: what it heard of the time stays true.
    let clock = context::clock();
    let mut desk = control::Desk::open(arguments, &loaded.policy);
    let server = desk.server();
    let progress = desk.feed.beside(log_sink());
    let options = RunOptions {
        stamp: Box::new(move || crate::config::stamp(&stamped)),
        first_stamp,
        load: Box::new(move || match crate::config::load(&given.config) {
            Ok(mut loaded) => {
                context::elsewhere(&given, &mut loaded.policy);
                Ok(loaded.policy)
            }
            Err(diagnostics) => Err(diagnostics.to_string()),
        }),
        engine: Box::new(move |policy| {
            let clock = Arc::clone(&clock);
            let progress = Arc::clone(&progress);
            Box::pin(async move { context::engine(policy, clock, progress).await })
        }),
        lock: Box::new(|state_dir| Box::pin(async move { context::lock(&state_dir).await })),
        judge: Arc::new(control::judge),
        in_force: desk.in_force,
    };
    let ended = crate::engine::run(loaded.policy, options, desk.wishes).await;
    if let Some(server) = server {
        server.stop().await;
    }
    match ended {
        Ok(()) => Ok(Exit::Done),
        Err(RunError::Given(failure)) => Err(failure),
        Err(RunError::Setup(message)) => Err(Failure::new(Exit::Bug, message)),
    }
}

/// Says what came of it; the answer is the exit status for everything that was asked for.
pub(crate) fn tell(engine: &Engine, snapshot: &Snapshot, plan: &Plan, quiet: bool) -> Exit {
    if !quiet {
        output::note(&counts(plan));
    }
    summary(engine, snapshot, plan, &Scope::All)
}

async fn converge(
    engine: &Arc<Engine>,
    scope: &Scope,
    wait: Seconds,
    quiet: bool,
) -> CommandResult {
    let begun = Begun::now(&*engine.clock);
    let mut snapshot = engine
        .observe()
        .await
        .map_err(|error| context::engine_failure(&error))?;
    let patience = Patience { total: wait };
    let plan = if *scope == Scope::All {
        look_at_services(&mut snapshot, begun.at);
        // A run of every job: whoever says `once`, or has a timer say it, waits for no schedule. A digest has its day.
        let mut all = JobName::ONCE.to_vec();
        let due = jobs::due(&engine.policy, &snapshot, begun.at);
        all.extend(due.into_iter().filter(|name| *name == JobName::Digest));
        snapshot.jobs.clear();
        let run = engine.run_jobs(&all, begun, &mut snapshot, patience);
        run.await
    } else {
        engine.converge(&mut snapshot, scope, patience).await
    };
    let plan = plan.map_err(|error| context::engine_failure(&error))?;
    let exit = summary(engine, &snapshot, &plan, scope);
    for error in shortages(&plan, scope) {
        output::error(&error);
    }
    if !quiet {
        output::note(&counts(&plan));
    }
    Ok(exit)
}

pub(crate) fn summary(engine: &Engine, snapshot: &Snapshot, plan: &Plan, scope: &Scope) -> Exit {
    in_scope(plan, scope)
        .into_iter()
        .fold(Exit::Done, |exit, (id, verdict)| {
            exit.worse(Exit::of(verdict, attempt(engine, snapshot, id)))
        })
}

/// An alert is raised once; whoever asks again still wants to know why nothing happens. Once for each disk.
pub(crate) fn shortages(plan: &Plan, scope: &Scope) -> Vec<String> {
    let mut told = BTreeSet::new();
    let mut errors = Vec::new();
    for (id, verdict) in in_scope(plan, scope) {
        if let Verdict::Wait(waiting @ Waiting::NoSpace { shortage, .. }) = verdict
            && told.insert(&shortage.path)
        {
            errors.push(format!("{id}: {waiting}"));
        }
    }
    errors
}

/// What is tried again for a certificate that waits for another attempt.
fn attempt(engine: &Engine, snapshot: &Snapshot, id: &CertificateId) -> Attempt {
    let policy = engine.policy.certificates.get(id);
    let mut orders = snapshot.orders.values();
    let (Some(policy), false) = (policy, orders.any(|order| order.certificate == *id)) else {
        return Attempt::Order;
    };
    let targets = || policy.targets.iter();
    let failed = |target: &TargetId| snapshot.targets.get(target)?.failed.as_ref();
    let open = |target: &TargetId| snapshot.rollouts.values().find(|r| r.target == *target);
    if targets().any(|target| open(target).is_some_and(rollout_machine::waits_for_post_hook)) {
        Attempt::PostHook
    } else if targets().any(|target| failed(target).is_some_and(|failed| failed.rolled_back > 0)) {
        Attempt::UndoneRollout
    } else if targets().any(|target| {
        failed(target).is_some() || open(target).is_some_and(|open| open.failures.count > 0)
    }) {
        Attempt::Rollout
    } else {
        Attempt::Order
    }
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

pub(crate) fn counts(plan: &Plan) -> String {
    let (mut healthy, mut waiting, mut blocked) = (0, 0, 0);
    for verdict in plan.verdicts.values() {
        match verdict {
            Verdict::Healthy { .. } => healthy += 1,
            Verdict::Act(_) | Verdict::Wait(_) => waiting += 1,
            Verdict::Blocked(_) => blocked += 1,
        }
    }
    format!(
        "{}: {healthy} healthy, {waiting} waiting, {blocked} blocked; next look at {}",
        counted(plan.verdicts.len(), "certificate"),
        plan.next_wake
    )
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
