//! The engine in this process over a clock that the test moves and that renewd-ccm shares: months in milliseconds.

use std::sync::{Arc, Mutex};

use renewd::config::secret_ref;
use renewd::deploy::Deployer;
use renewd::engine::{Engine, Issuers, Patience, Progress, Resolve, Scope};
use renewd::model::{CertificateId, HostSeed, Policy, RevisionFacts, Seconds, Timestamp};
use renewd::plan::{Plan, Verdict};
use renewd::store::{CertificateChange, HistoryEntry, SqliteStore, Store};
use renewd::sys::clock::{Clock, ManualClock};
use renewd::sys::process::SystemRunner;
use renewd::sys::reference::Reference;
use renewd::validation::Validations;

use crate::support::ccm::Wanted;
use crate::support::world::World;

/// An answer that comes later.
pub(crate) type BoxFuture<T> = std::pin::Pin<Box<dyn Future<Output = T> + Send>>;

/// A world whose renewd runs in this process.
pub(crate) struct Rig {
    pub(crate) world: World,
    pub(crate) clock: Arc<ManualClock>,
    told: Arc<Mutex<Vec<Progress>>>,
    /// What is changed of each engine before it is used.
    pub(crate) adjust: Adjust,
}

/// Changes an engine before it is used.
pub(crate) type Adjust = Arc<dyn Fn(&mut Engine) + Send + Sync>;

impl Rig {
    /// Nothing was issued, and nginx does not run.
    pub(crate) async fn new(wanted: Wanted) -> Self {
        let world = World::new(wanted.start().await).await;
        let clock = world.ccm.clock.clone().expect("a clock that stands still");
        Self {
            world,
            clock,
            told: Arc::default(),
            adjust: Arc::new(|_| {}),
        }
    }

    /// The first certificate is served.
    pub(crate) async fn live(wanted: Wanted) -> Self {
        let mut rig = Self::new(wanted).await;
        rig.tick().await;
        rig.world.nginx.start();
        rig.clock.advance(Seconds::minutes(2));
        let plan = rig.tick().await;
        assert!(healthy(&plan), "{:?}\n{:?}", plan.verdicts, rig.told());
        rig.told();
        rig
    }

    /// As after a start of the process: policy and journal are read anew.
    pub(crate) async fn engine(&self) -> Arc<Engine> {
        Arc::new((self.maker())(self.policy()).await)
    }

    /// The policy as it lies there.
    pub(crate) fn policy(&self) -> Policy {
        let file = self.world.agent.path().join("renewd.toml");
        let loaded = renewd::config::load(&file);
        loaded
            .unwrap_or_else(|problems| panic!("{problems}"))
            .policy
    }

    /// Makes engines as `renewd run` has them made.
    pub(crate) fn maker(&self) -> impl Fn(Policy) -> BoxFuture<Engine> + Send + Sync + 'static {
        self.maker_over(Arc::<ManualClock>::clone(&self.clock))
    }

    /// As [`Rig::maker`], and the engines keep what issuers say of the time.
    pub(crate) fn doubting(&self) -> impl Fn(Policy) -> BoxFuture<Engine> + Send + Sync + 'static {
        self.maker_over(Arc::new(Reference::new(Arc::clone(&self.clock))))
    }

    /// As [`Rig::maker`], over a clock that goes by the rig's.
    pub(crate) fn maker_over(
        &self,
        clock: Arc<dyn Clock>,
    ) -> impl Fn(Policy) -> BoxFuture<Engine> + Send + Sync + 'static {
        let (told, adjust) = (Arc::clone(&self.told), Arc::clone(&self.adjust));
        move |policy| {
            let (made, adjust) = (
                make(policy, Arc::clone(&clock), Arc::clone(&told)),
                Arc::clone(&adjust),
            );
            Box::pin(async move {
                let mut engine = made.await;
                adjust(&mut engine);
                engine
            })
        }
    }

    /// What a start of the process does at this moment, without waiting for anything.
    pub(crate) async fn tick(&self) -> Plan {
        tick(&self.engine().await).await
    }

    /// What the check of the schedule does: as [`Rig::tick`], and the issuers are asked.
    pub(crate) async fn check(&self) -> Plan {
        let engine = self.engine().await;
        let mut snapshot = engine.observe().await.unwrap();
        engine.observe_issuers(&mut snapshot).await.unwrap();
        let plan = engine.converge(&mut snapshot, &Scope::All, Patience::NONE);
        plan.await.unwrap()
    }

    /// The issuer's id of the newest revision.
    pub(crate) async fn reference(&self, name: &str) -> String {
        self.newest(name).await.reference
    }

    /// The newest revision.
    pub(crate) async fn newest(&self, name: &str) -> RevisionFacts {
        let snapshot = self.engine().await.store.snapshot().await.unwrap();
        snapshot.certificates[name].newest.clone().unwrap()
    }

    /// Ticks at each moment that the plan asks for, until everything is healthy.
    pub(crate) async fn settle(&self) -> Plan {
        let engine = self.engine().await;
        for _ in 0..MOST_TICKS {
            let plan = tick(&engine).await;
            if healthy(&plan) {
                return plan;
            }
            self.wake(&plan);
        }
        panic!("not healthy after {MOST_TICKS} ticks:\n{:#?}", self.told());
    }

    /// Goes to the plan's next moment.
    pub(crate) fn wake(&self, plan: &Plan) {
        let later = self.clock.now() + Seconds(1);
        self.clock.set(plan.next_wake.max(later));
    }

    pub(crate) fn clock_now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A person asks for a new revision.
    pub(crate) async fn force(&self, name: &str) {
        let engine = self.engine().await;
        let (name, change) = (id(name), CertificateChange::Forced);
        let changed = engine.store.change_certificate(&name, change);
        changed.await.unwrap();
    }

    /// The journal of a certificate.
    pub(crate) async fn history(&self, name: &str) -> Vec<HistoryEntry> {
        let engine = self.engine().await;
        engine.store.history(&id(name)).await.unwrap()
    }

    /// What was told since the last time, a line each.
    pub(crate) fn told(&self) -> Vec<String> {
        let told = std::mem::take(&mut *self.told.lock().unwrap());
        told.into_iter().map(line).collect()
    }
}

pub(crate) async fn make(
    policy: Policy,
    clock: Arc<dyn Clock>,
    told: Arc<Mutex<Vec<Progress>>>,
) -> Engine {
    let state = policy.state_dir.clone();
    renewd::sys::fs::create_dir_all(&state, 0o711).unwrap();
    let journal = state.join("state.db");
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&journal).await.unwrap());
    let resolve: Resolve =
        Arc::new(|secret| secret_ref::resolve(secret).map_err(|error| error.to_string()));
    let runner = Arc::new(SystemRunner);
    let prover = Validations::new(
        Arc::clone(&resolve),
        Arc::clone(&clock),
        Arc::clone(&runner) as _,
    );
    Engine {
        deployer: Deployer::new(state, runner, Arc::clone(&resolve)).asking_for(policy.names()),
        issuers: Issuers::new(policy.issuers.clone(), resolve, Arc::clone(&clock)),
        policy: Arc::new(policy),
        prover: Arc::new(prover),
        store,
        clock,
        progress: Arc::new(move |progress| told.lock().unwrap().push(progress)),
        host: HostSeed(1),
        stop: Arc::default(),
    }
}

/// What the daemon does when it wakes.
pub(crate) async fn tick(engine: &Arc<Engine>) -> Plan {
    let mut snapshot = engine.observe().await.unwrap();
    engine.observe_services(&mut snapshot).await.unwrap();
    let plan = engine.converge(&mut snapshot, &Scope::All, Patience::NONE);
    plan.await.unwrap()
}

pub(crate) fn line(progress: Progress) -> String {
    match progress {
        Progress::Done { subject, text, .. } => format!("ok {subject}: {text}"),
        Progress::Failed { subject, text, .. } => format!("fail {subject}: {text}"),
        Progress::Waiting { subject, text } => format!("wait {subject}: {text}"),
        Progress::Alert {
            severity, title, ..
        } => format!("alert {severity}: {title}"),
        Progress::Policy { text, .. } => format!("policy: {text}"),
        Progress::Resolved { title, .. } => format!("resolved: {title}"),
    }
}

pub(crate) fn healthy(plan: &Plan) -> bool {
    let mut verdicts = plan.verdicts.values();
    verdicts.all(|verdict| matches!(verdict, Verdict::Healthy { .. }))
}

/// When a healthy certificate is renewed.
#[track_caller]
pub(crate) fn due(plan: &Plan, name: &str) -> Timestamp {
    match &plan.verdicts[&id(name)] {
        Verdict::Healthy { renew_at } => *renew_at,
        other => panic!("{name}: {other:?}"),
    }
}

pub(crate) fn id(name: &str) -> CertificateId {
    CertificateId::new(name).unwrap()
}

/// More than any of the tests needs.
const MOST_TICKS: usize = 300;
