//! Commands that act: once, run, renew, rollback, release.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::cli::args::Arguments;
use crate::cli::context::{self, execute};
use crate::cli::exit::{Attempt, Exit};
use crate::cli::{CommandResult, Failure, control, output, revoke};
use crate::engine::{
    Begun, Engine, NotAsked, Patience, Rings, RunError, RunOptions, Scope, Wanted, log_sink,
    look_at_services,
};
use crate::model::{
    CertificateId, JobName, Policy, RevisionId, Seconds, Snapshot, TargetId, Waiting,
};
use crate::plan::explain::counted;
use crate::plan::{Plan, Verdict, jobs, rollout_machine};
use crate::store::{Foreseen, journal};

/// Everything that is due now.
pub(crate) async fn once(arguments: &Arguments, wait: Seconds) -> CommandResult {
    let loaded = match context::load(arguments) {
        Ok(loaded) => loaded,
        Err(failure) => return control::despite(arguments, failure, Wanted::Once, wait).await,
    };
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
    let wanted = Wanted::Renew(name.clone());
    let loaded = match context::load(arguments) {
        Ok(loaded) => loaded,
        Err(failure) => return control::despite(arguments, failure, wanted, wait).await,
    };
    context::known(&loaded.policy, name)?;
    let quiet = arguments.quiet;
    let control = &loaded.policy.control;
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
    let policy = with_targets(arguments, name)?;
    let quiet = arguments.quiet;
    let wanted = Wanted::Rollback {
        name: name.clone(),
        to: to.cloned(),
        force,
    };
    if let Some(exit) = control::through(arguments, &policy.control, wanted, Seconds(0)).await? {
        return Ok(exit);
    }
    execute(policy, output::progress_sink(quiet), async |engine| {
        asked(engine.ask_rollback(name, to, force).await)?;
        converge(engine, &Scope::One(name.clone()), Seconds(0), quiet).await
    })
    .await
}

/// Ends a hold; with `force` also what somebody else put there.
pub(crate) async fn release(
    arguments: &Arguments,
    name: &CertificateId,
    force: bool,
) -> CommandResult {
    let policy = with_targets(arguments, name)?;
    let quiet = arguments.quiet;
    let wanted = Wanted::Release {
        name: name.clone(),
        force,
    };
    if let Some(exit) = control::through(arguments, &policy.control, wanted, Seconds(0)).await? {
        return Ok(exit);
    }
    execute(policy, output::progress_sink(quiet), async |engine| {
        asked(engine.ask_release(name, force).await)?;
        converge(engine, &Scope::One(name.clone()), Seconds(0), quiet).await
    })
    .await
}

pub(crate) fn asked(result: Result<Vec<String>, NotAsked>) -> Result<(), Failure> {
    match result {
        Ok(notes) => {
            notes.iter().for_each(|note| output::note(note));
            Ok(())
        }
        Err(NotAsked::Unknown(why)) => Err(Failure::new(Exit::Usage, why)),
        Err(NotAsked::Open(why)) => Err(Failure::new(Exit::TryLater, why)),
        Err(NotAsked::Unfit(why)) => Err(Failure::new(Exit::DataInvalid, why)),
        Err(NotAsked::Failed(error)) => Err(context::engine_failure(&error)),
    }
}

/// For commands about what the targets of one certificate serve.
fn with_targets(arguments: &Arguments, name: &CertificateId) -> Result<Policy, Failure> {
    let policy = context::load(arguments)?.policy;
    if context::known(&policy, name)?.targets.is_empty() {
        return Err(Failure::new(
            Exit::Usage,
            format!("certificate {name} has no targets"),
        ));
    }
    Ok(policy)
}

/// The daemon.
pub(crate) async fn run(arguments: &Arguments) -> CommandResult {
    let first_stamp = crate::config::stamp(&arguments.config);
    let likely = crate::config::likely_state_dir(&arguments.config);
    // On a thread of the runtime, while this one reads the policy.
    let foreseen = tokio::spawn(Foreseen::read(journal(&likely)));
    let loaded = context::load(arguments)?;
    // The scheduler says at every start that it has begun; what it has to say of trouble is kept.
    crate::telemetry::start("info,tokio_cron_scheduler=warn");
    let given = arguments.clone();
    let stamped = arguments.config.clone();
    // One over all reloads: what it heard of the time stays true.
    let clock = context::clock();
    let prover = context::prover(&clock);
    let policy = Arc::new(loaded.policy);
    let mut desk = control::Desk::open(arguments, &policy);
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
            let prover = Arc::clone(&prover);
            let progress = Arc::clone(&progress);
            Box::pin(async move { context::engine(policy, clock, prover, progress).await })
        }),
        lock: Box::new(|state_dir| Box::pin(async move { context::lock(&state_dir).await })),
        judge: Arc::new(control::judge),
        in_force: desk.in_force,
        foreseen: Some(foreseen),
        rings: Rings::default(),
        naps: tokio::sync::watch::Sender::default(),
    };
    let ended = crate::engine::run(policy, options, desk.wishes).await;
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

pub(crate) async fn converge(
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
    for error in unrevoked(engine, &snapshot, scope) {
        output::error(&error);
    }
    if !quiet {
        output::note(&counts(&plan));
    }
    Ok(exit)
}

pub(crate) fn summary(engine: &Engine, snapshot: &Snapshot, plan: &Plan, scope: &Scope) -> Exit {
    let exit = in_scope(plan, scope)
        .into_iter()
        .fold(Exit::Done, |exit, (id, verdict)| {
            exit.worse(Exit::of(verdict, attempt(engine, snapshot, id)))
        });
    if unrevoked(engine, snapshot, scope).is_empty() {
        exit
    } else {
        exit.worse(Exit::TryLater)
    }
}

/// What a person wants revoked of the one certificate that is asked for, and that is not.
pub(crate) fn unrevoked(engine: &Engine, snapshot: &Snapshot, scope: &Scope) -> Vec<String> {
    match scope {
        Scope::All => Vec::new(),
        Scope::One(name) => revoke::pending(&engine.policy, snapshot, name, engine.clock.now()),
    }
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
