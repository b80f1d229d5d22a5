//! Orders of public certificates in this process: renewd-ccm with a name server, and hosts whose engines share its clock.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

use renewd::ccm::{Scm, ScmCertificate, ScmQuery, ScmStatus};
use renewd::ccm_server::{Faults, ProofReuse, ScmOptions};
use renewd::engine::{Engine, ProofError, Prover, Proving, Resumed, Seen};
use renewd::model::{
    DomainMethod, DomainProof, ErrorClass, Policy, Seconds, Snapshot, Timestamp, ValidationPolicy,
};
use renewd::plan::Plan;
use renewd::sys::clock::{Clock, ManualClock};

use crate::ccm_server::http::client;
use crate::ccm_server::resolver::Resolver;
use crate::support::agent::write_secret;
use crate::support::ccm::{Ccm, Wanted};
use crate::support::engine::{healthy, make, tick};

/// The account, and the name server that its CA asks.
pub(crate) struct Shop {
    pub(crate) ccm: Ccm,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) board: Arc<Board>,
}

/// Publishes proofs in the name server of a shop at once.
pub(crate) struct Board {
    names: Resolver,
    shown: Mutex<BTreeMap<String, BTreeSet<String>>>,
    /// Calls that fail before they do anything.
    pub(crate) failing: Mutex<u32>,
    /// What is published is shown to nobody yet.
    silent: Mutex<bool>,
}

impl Board {
    pub(crate) fn new(names: Resolver) -> Self {
        Self {
            names,
            shown: Mutex::default(),
            failing: Mutex::default(),
            silent: Mutex::default(),
        }
    }

    /// Shows what is published to nobody, until [`Self::show`].
    pub(crate) fn hide(&self) {
        *self.silent.lock().unwrap() = true;
    }

    /// Shows what is published, also what was hidden.
    pub(crate) fn show(&self) {
        *self.silent.lock().unwrap() = false;
        for (place, values) in self.shown.lock().unwrap().iter() {
            self.names.clear(place);
            for value in values {
                self.names.put(place, value);
            }
        }
    }

    /// Names of the records that are there.
    pub(crate) fn left(&self) -> Vec<String> {
        self.shown.lock().unwrap().keys().cloned().collect()
    }

    fn fails(&self) -> Result<(), ProofError> {
        let mut failing = self.failing.lock().unwrap();
        if *failing == 0 {
            return Ok(());
        }
        *failing -= 1;
        Err(ProofError {
            class: ErrorClass::Transient,
            message: "the name server does not answer".to_owned(),
        })
    }
}

impl Prover for Board {
    fn publish<'a>(
        &'a self,
        _: &'a ValidationPolicy,
        proofs: &'a [DomainProof],
    ) -> Proving<'a, Seconds> {
        Box::pin(async move {
            self.fails()?;
            let mut shown = self.shown.lock().unwrap();
            for proof in proofs {
                assert_eq!(proof.method, DomainMethod::Dns, "{proof:?}");
                let values = shown.entry(proof.place.clone()).or_default();
                if values.insert(proof.value.clone()) && !*self.silent.lock().unwrap() {
                    self.names.put(&proof.place, &proof.value);
                }
            }
            Ok(Seconds(5))
        })
    }

    fn examine<'a>(
        &'a self,
        _: &'a ValidationPolicy,
        proofs: &'a [DomainProof],
        _: Option<&'a str>,
    ) -> Proving<'a, Seen> {
        Box::pin(async move {
            self.fails()?;
            let shown = self.shown.lock().unwrap();
            let there = |proof: &DomainProof| {
                let values = shown.get(&proof.place);
                values.is_some_and(|values| values.contains(&proof.value))
            };
            Ok(match proofs.iter().find(|proof| !there(proof)) {
                Some(proof) => Seen::NotYet(format!("{} is not there", proof.place)),
                None => Seen::Everywhere,
            })
        })
    }

    fn retract<'a>(
        &'a self,
        _: &'a ValidationPolicy,
        proofs: &'a [DomainProof],
    ) -> Proving<'a, ()> {
        Box::pin(async move {
            self.fails()?;
            let mut shown = self.shown.lock().unwrap();
            for proof in proofs {
                if let Some(values) = shown.get_mut(&proof.place) {
                    values.remove(&proof.value);
                    self.names.clear(&proof.place);
                    for value in values.iter() {
                        self.names.put(&proof.place, value);
                    }
                    if values.is_empty() {
                        shown.remove(&proof.place);
                    }
                }
            }
            Ok(())
        })
    }

    fn resume<'a>(&'a self, _: &'a [(&'a ValidationPolicy, &'a [DomainProof])]) -> Resumed<'a> {
        Box::pin(async { Vec::new() })
    }
}

/// An SCM issuer with keys in the agent's directory, which `{dir}` stands for.
pub(crate) fn issuer(endpoint: &str, purchase: &str) -> String {
    let hook = "[validation.command.zone]\nauth = [\"/usr/bin/true\"]\n";
    issuer_proven(endpoint, purchase, hook)
}

/// The same with another table for `zone`.
pub(crate) fn issuer_proven(endpoint: &str, purchase: &str, validation: &str) -> String {
    format!(
        r#"
[issuer.scm.public]
endpoint = "{endpoint}"
access_key = "file:{{dir}}/ak"
secret_key = "file:{{dir}}/sk"
timeout = "20s"
settle = "30s"
validation = "zone"

[issuer.scm.public.applicant]
name = "Tom"
phone = "13212345678"
email = "tom@example.com"

{purchase}
{validation}
"#
    )
}

/// A purchase table with such a budget and so many years.
pub(crate) fn purchase(per_day: u32, years: u32) -> String {
    let per_month = per_day * 20;
    format!(
        r#"
[issuer.scm.public.purchase]
brand = "GEOTRUST"
type = "DV_SSL_CERT"
years = {years}
automatic_payment = true
max_orders_per_day = {per_day}
max_orders_per_month = {per_month}
"#
    )
}

impl Shop {
    pub(crate) async fn at(moment: &str) -> Self {
        Self::with(moment, Faults::none()).await
    }

    pub(crate) async fn with(moment: &str, faults: Faults) -> Self {
        let (wanted, names) = wanted(moment).await;
        let ccm = wanted.faults(faults).start().await;
        Self::of(ccm, names)
    }

    /// Its CA uses proofs of domains again.
    pub(crate) async fn reusing(moment: &str, proof_reuse: ProofReuse) -> Self {
        let names = Resolver::start().await;
        let scm = ScmOptions {
            dns_servers: vec![names.address],
            proof_reuse,
            ..ScmOptions::default()
        };
        let ccm = Wanted::new().at(moment).scm(scm).managed();
        Self::of(ccm.start().await, names)
    }

    pub(crate) fn of(ccm: Ccm, names: Resolver) -> Self {
        let clock = ccm.clock.clone().expect("a clock that stands still");
        let board = Board::new(names);
        Self {
            ccm,
            clock,
            board: Arc::new(board),
        }
    }

    /// A host with a state directory of its own.
    pub(crate) fn host(&self, policy: &str) -> Host {
        let root = Path::new("/dev/shm");
        let directory = if root.is_dir() {
            tempfile::tempdir_in(root).unwrap()
        } else {
            tempfile::tempdir().unwrap()
        };
        let dir = directory.path();
        write_secret(&dir.join("ak"), self.ccm.access_key());
        write_secret(&dir.join("sk"), self.ccm.secret_key());
        let host = Host {
            directory,
            clock: Arc::clone(&self.clock),
            board: Arc::clone(&self.board),
            told: Arc::default(),
        };
        host.write(policy);
        host
    }

    /// Lets time pass, and the server look at what is due.
    pub(crate) async fn pass(&self, time: Seconds) {
        self.clock.advance(time);
        self.look().await;
    }

    pub(crate) async fn look(&self) {
        let admin = self.ccm.running.admin();
        admin.look_at_applications().await.unwrap();
    }

    /// Goes to the plan's next moment, in steps of a day at most.
    pub(crate) async fn wake(&self, plan: &Plan) {
        let now = self.clock.now();
        let wait = now.until(plan.next_wake).0.clamp(1, Seconds::days(1).0);
        self.pass(Seconds(wait)).await;
    }

    pub(crate) fn clock_now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Everything in the account, by whatever is there.
    pub(crate) async fn all(&self) -> Vec<ScmCertificate> {
        let scm = Scm::new(self.ccm.client());
        for _ in 0..100 {
            let mut found: Vec<ScmCertificate> = Vec::new();
            loop {
                let query = ScmQuery {
                    limit: 50,
                    offset: u64::try_from(found.len()).unwrap(),
                    ..ScmQuery::default()
                };
                match scm.list_certificates(&query).await {
                    Ok(page) if page.items.is_empty() => return found,
                    Ok(page) => found.extend(page.items),
                    // A fault of the test's own.
                    Err(_) => break,
                }
            }
        }
        panic!("the account cannot be listed");
    }

    /// Another plan of faults; answers the one before.
    pub(crate) async fn faults(&self, plan: &str) -> String {
        faults(&self.ccm, plan).await
    }

    /// The CA says no to an application, or to names that are added.
    pub(crate) async fn reject(&self, reference: &str, reason: &str) {
        let body = serde_json::json!({ "reason": reason });
        self.decide(reference, "reject", &body).await;
    }

    /// The CA is content with an application, or with names that are added.
    pub(crate) async fn approve(&self, reference: &str) {
        self.decide(reference, "approve", &serde_json::json!({}))
            .await;
    }

    async fn decide(&self, reference: &str, how: &str, body: &serde_json::Value) {
        self.manage(&format!("applications/{reference}/{how}"), body)
            .await;
    }

    /// How reviews of domains end: `pass` or `hold`.
    pub(crate) async fn outcome(&self, outcome: &str) {
        let body = serde_json::json!({ "outcome": outcome });
        self.manage("reviews/dv", &body).await;
    }

    async fn manage(&self, path: &str, body: &serde_json::Value) {
        let address = self.ccm.running.management().unwrap();
        let url = format!("http://{address}/{path}");
        let request = client().request("POST".parse().unwrap(), &url);
        let answer = request.body(body.to_string()).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200);
    }

    /// Takes back and deletes whatever is there.
    pub(crate) async fn clear(&self) {
        let scm = Scm::new(self.ccm.client());
        for one in self.all().await {
            scm.delete_certificate(&one.id).await.unwrap();
        }
    }

    /// So many of a status.
    pub(crate) async fn count(&self, status: &ScmStatus) -> usize {
        let all = self.all().await;
        all.iter().filter(|one| one.status == *status).count()
    }
}

/// Another plan of faults of a server that is managed; answers the one before.
pub(crate) async fn faults(ccm: &Ccm, plan: &str) -> String {
    let address = ccm.running.management().unwrap();
    let url = format!("http://{address}/faults");
    let before = client().request("GET".parse().unwrap(), &url);
    let before = before.send().await.unwrap().text().await.unwrap();
    let before: serde_json::Value = serde_json::from_str(&before).unwrap();
    let body = serde_json::json!({ "plan": plan }).to_string();
    let request = client().request("POST".parse().unwrap(), &url).body(body);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    before["plan"].as_str().unwrap().to_owned()
}

/// How a server of a shop is started, and the name server that it asks.
pub(crate) async fn wanted(moment: &str) -> (Wanted, Resolver) {
    let names = Resolver::start().await;
    let scm = ScmOptions {
        dns_servers: vec![names.address],
        ..ScmOptions::default()
    };
    (Wanted::new().at(moment).scm(scm).managed(), names)
}

/// One host of the account.
pub(crate) struct Host {
    directory: tempfile::TempDir,
    clock: Arc<ManualClock>,
    board: Arc<Board>,
    told: Arc<Mutex<Vec<renewd::engine::Progress>>>,
}

impl Host {
    pub(crate) fn dir(&self) -> &Path {
        self.directory.path()
    }

    #[expect(clippy::disallowed_methods, reason = "tests arrange files directly")]
    pub(crate) fn write(&self, policy: &str) {
        let dir = self.dir().display().to_string();
        let text = format!(
            "state_dir = \"{dir}/state\"\n{}",
            policy.replace("{dir}", &dir)
        );
        std::fs::write(self.dir().join("renewd.toml"), text).unwrap();
    }

    pub(crate) fn policy(&self) -> Policy {
        let loaded = renewd::config::load(&self.dir().join("renewd.toml"));
        loaded
            .unwrap_or_else(|problems| panic!("{problems}"))
            .policy
    }

    /// As after a start of the process.
    pub(crate) async fn engine(&self) -> Arc<Engine> {
        let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&self.clock);
        let mut engine = make(self.policy(), clock, Arc::clone(&self.told)).await;
        engine.prover = Arc::<Board>::clone(&self.board);
        Arc::new(engine)
    }

    /// What a start of the process does at this moment.
    pub(crate) async fn tick(&self) -> Plan {
        tick(&self.engine().await).await
    }

    pub(crate) async fn snapshot(&self) -> Snapshot {
        self.engine().await.store.snapshot().await.unwrap()
    }

    /// Ticks at each moment that the plan asks for, until everything is healthy.
    pub(crate) async fn settle(&self, shop: &Shop) -> Plan {
        let engine = self.engine().await;
        for _ in 0..MOST_TICKS {
            let plan = tick(&engine).await;
            if healthy(&plan) && engine.store.snapshot().await.unwrap().orders.is_empty() {
                return plan;
            }
            shop.wake(&plan).await;
        }
        panic!("not healthy after {MOST_TICKS} ticks:\n{:#?}", self.told());
    }

    pub(crate) fn told(&self) -> Vec<String> {
        let told = std::mem::take(&mut *self.told.lock().unwrap());
        told.into_iter().map(crate::support::engine::line).collect()
    }
}

const MOST_TICKS: usize = 200;
