//! An account of SCM, real name servers, and renewd processes that live by the account's clock: each sees one moment, and
//! the test lets time pass between them.

use std::path::PathBuf;
use std::process::Command;

use renewd::ccm_server::ScmOptions;
use renewd::model::{Seconds, Snapshot, Timestamp};
use renewd::store::{SqliteStore, Store as _};

use crate::ccm_server::resolver::Resolver;
use crate::clock::library;
use crate::support::agent::{Agent, Run, write_secret};
use crate::support::ccm::Wanted;
use crate::support::names::{KEY, Names, PRIMARY, Zone};
use crate::support::shop::{Shop, issuer_proven};

/// Where every name of a policy is.
pub(crate) const ZONE: &str = "example.test";

/// The account with its CA, and the name servers.
pub(crate) struct Market {
    pub(crate) shop: Shop,
    names: Names,
    faketime: PathBuf,
}

impl Market {
    /// At a moment such as `2027-04-01`, later than the machine's own: no timer of a process goes off then.
    pub(crate) async fn at(moment: &str) -> Self {
        Self::with(moment, true).await
    }

    /// The same with a CA that asks a name server which knows no proof.
    pub(crate) async fn unseen(moment: &str) -> Self {
        Self::with(moment, false).await
    }

    async fn with(moment: &str, seen: bool) -> Self {
        let names = Names::start(&[Zone::new(ZONE, "")], "", "");
        let empty = Resolver::start().await;
        let asked = if seen {
            names.resolver().parse().unwrap()
        } else {
            empty.address
        };
        let scm = ScmOptions {
            dns_servers: vec![asked],
            ..ScmOptions::default()
        };
        let ccm = Wanted::new().at(moment).scm(scm).managed().start().await;
        Self {
            shop: Shop::of(ccm, empty),
            names,
            faketime: library(),
        }
    }

    /// The issuer `public`, whose proofs a hook brings to the name server.
    pub(crate) fn issuer(&self, purchase: &str) -> String {
        let hook = |word: &str| format!(r#"["/bin/sh", "{{dir}}/hook", "{word}"]"#);
        let validation = format!(
            r#"
[validation.command.zone]
auth = {}
cleanup = {}
resolvers = ["{}"]
dns_port = {}
"#,
            hook("add"),
            hook("delete"),
            self.names.resolver(),
            self.names.port
        );
        issuer_proven(&self.shop.ccm.endpoint(), purchase, &validation)
    }

    /// A host of the account.
    pub(crate) fn host(&self, policy: &str) -> Agent {
        let agent = Agent::new(policy);
        let file = |name: &str| agent.path().join(name);
        write_secret(&file("ak"), self.shop.ccm.access_key());
        write_secret(&file("sk"), self.shop.ccm.secret_key());
        let hook = format!(
            "exec /usr/bin/nsupdate -y hmac-sha256:renewd-hmac-sha256:{KEY} <<END\nserver {PRIMARY} {}\nupdate $1 $RENEWD_RECORD_NAME 60 $RENEWD_RECORD_TYPE \"$RENEWD_RECORD_VALUE\"\nsend\nEND\n",
            self.names.port
        );
        write_secret(&file("hook"), &hook);
        agent
    }

    /// A process at this moment.
    pub(crate) fn run(&self, agent: &Agent, arguments: &[&str]) -> Run {
        self.run_with(agent, "", arguments)
    }

    /// The same with fail points.
    pub(crate) fn run_with(&self, agent: &Agent, failpoints: &str, arguments: &[&str]) -> Run {
        let mut command = agent.command(arguments);
        self.hold(&mut command);
        Run::new(&command.env("FAILPOINTS", failpoints).output().unwrap())
    }

    /// Has a process see this moment for as long as it lives.
    fn hold(&self, command: &mut Command) {
        let moment = self.shop.clock_now().to_string();
        command
            .env("LD_PRELOAD", &self.faketime)
            .env("FAKETIME", moment.replace('T', " ").replace('Z', ""))
            .env("TZ", "UTC")
            // Rust's own waits hang otherwise.
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    }

    /// Everything that is due now, without waiting.
    pub(crate) fn once(&self, agent: &Agent) -> Run {
        self.run(agent, &ONCE)
    }

    /// Runs again and again until one is killed at the point; answers whether one was. The first does what is asked for.
    pub(crate) async fn die(&self, agent: &Agent, point: &str, first: &[&str]) -> bool {
        let mut arguments = first;
        for _ in 0..MOST_RUNS {
            let run = self.run_with(agent, &format!("{point}=return"), arguments);
            if run.signal == Some(9) {
                self.shop.pass(Seconds(1)).await;
                return true;
            }
            assert_eq!(run.signal, None, "{point}: {}", run.stderr);
            if self.is_over(agent, &run).await {
                return false;
            }
            self.wake(&run).await;
            arguments = &ONCE;
        }
        false
    }

    /// Runs at each moment that the last run named, until everything is done.
    pub(crate) async fn settle(&self, agent: &Agent, at: &str) {
        let mut said = String::new();
        for _ in 0..MOST_RUNS {
            let run = self.once(agent);
            said.push_str(&run.stderr);
            if self.is_over(agent, &run).await {
                return;
            }
            self.wake(&run).await;
        }
        panic!("{at}: not done after {MOST_RUNS} runs:\n{said}");
    }

    async fn is_over(&self, agent: &Agent, run: &Run) -> bool {
        if run.code != Some(0) {
            return false;
        }
        let snapshot = snapshot(agent).await;
        let mut all = snapshot.certificates.values();
        snapshot.orders.is_empty() && all.all(|state| state.revoking.is_empty())
    }

    /// Lets time pass until the moment that a run named, a day at most.
    pub(crate) async fn wake(&self, run: &Run) {
        let Some((_, moment)) = run.stderr.rsplit_once(NEXT) else {
            panic!("it says nothing of what comes next:\n{}", run.stderr);
        };
        let moment = moment.split_whitespace().next().unwrap();
        let now = self.shop.clock_now();
        let wait = now.until(Timestamp::parse(moment).unwrap()).0;
        let wait = wait.clamp(1, Seconds::days(1).0);
        self.shop.pass(Seconds(wait)).await;
    }

    /// Values of the proofs that the name server has.
    pub(crate) fn proofs(&self) -> Vec<String> {
        let zone = self.names.dig(PRIMARY, &[ZONE, "AXFR"]);
        assert!(zone.contains("hostmaster"), "{zone}");
        let texts = zone.lines().filter(|line| line.starts_with('"'));
        texts.map(str::to_owned).collect()
    }
}

/// What the journal of a host says.
pub(crate) async fn snapshot(agent: &Agent) -> Snapshot {
    let journal = agent.state().join("state.db");
    let store = SqliteStore::open(&journal).await.unwrap();
    let snapshot = store.snapshot().await.unwrap();
    store.close().await.unwrap();
    snapshot
}

pub(crate) const ONCE: [&str; 3] = ["once", "--wait", "0s"];
const NEXT: &str = "next look at ";
/// More than any order needs.
const MOST_RUNS: usize = 80;
