//! Followers as hosts run them: the binary applies for nothing, and serves the newest that the account has.

use renewd::ccm::{Import, Scm};
use renewd::model::{KeyAlgorithm, Seconds, Timestamp, Waiting};
use renewd::pki::facts;
use renewd::plan::Verdict;
use renewd::sys::clock::{Clock, SystemClock};

use crate::support::agent::{Agent, write_secret};
use crate::support::ccm::{Ccm, Wanted};
use crate::support::certs;
use crate::support::engine::{Rig, id};
use crate::support::world::{NAME, World};

/// Everything that makes something: CAs, certificates, imports (CCM API 4.2.1.2, 4.2.1.6, 4.2.2.2, 4.2.2.3, 4.1.5.2).
const MAKING: [&str; 5] = ["4.2.1.2", "4.2.1.6", "4.2.2.2", "4.2.2.3", "4.1.5.2"];

fn made(ccm: &Ccm) -> usize {
    let counts = MAKING.iter().map(|one| ccm.running.requests_of(one));
    counts.sum()
}

/// A host that makes certificates for others, and one that nobody but itself can use.
fn maker(world: &World) -> Agent {
    let policy = format!(
        r#"{}
[certificate.wildcard]
issuer = "corp"
names = ["*.example.test", "example.test"]
key = "ccm"

[certificate.other]
issuer = "corp"
names = ["mail.example.org"]
key = "ccm"

[certificate.own]
issuer = "corp"
names = ["{NAME}"]
"#,
        world.issuer()
    );
    let agent = Agent::new(&policy);
    write_secret(&agent.path().join("ak"), world.ccm.access_key());
    write_secret(&agent.path().join("sk"), world.ccm.secret_key());
    agent
}

fn following(world: &World) -> String {
    let policy = world.policy();
    policy.replace("validity = \"30d\"", "order = \"never\"")
}

fn serial(agent: &Agent, name: &str) -> String {
    agent.status(name)["serial"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_serves_what_another_one_obtains_from_pca_and_applies_for_nothing() {
    let mut world = World::new(Ccm::start().await).await;
    world.agent.write_policy(&following(&world));
    let nothing = world.agent.run(&["once", "--wait", "0s"]).expect(75);
    assert!(
        nothing
            .stderr
            .contains("ALERT (warning) www: the account has no certificate for its names"),
        "{}",
        nothing.stderr
    );
    assert_eq!(world.agent.status("www")["reason"], "no-offer");
    assert_eq!(made(&world.ccm), 0);

    let maker = maker(&world);
    maker.run(&["once"]).expect(0);
    // The newest for this very name, and of no use: its key never left that host.
    maker.run(&["renew", "own"]).expect(0);
    let before = made(&world.ccm);
    world
        .agent
        .run(&["renew", "www", "--wait", "0s"])
        .expect(75);
    world.nginx.start();
    // Whoever started the service has it looked at now.
    let seen = world.agent.run(&["once", "--wait", "0s"]).expect(0);
    assert!(
        seen.stderr.contains("handshake proven for 1 name\n"),
        "{}",
        seen.stderr
    );
    let first = serial(&maker, "wildcard");
    assert_eq!(world.served(), first);
    assert_eq!(serial(&world.agent, "www"), first);
    world.agent.run(&["once"]).expect(0);
    assert_eq!(made(&world.ccm), before, "the follower made something");
    assert_eq!(world.reloads(), 1);

    maker.run(&["renew", "wildcard"]).expect(0);
    maker.run(&["renew", "other"]).expect(0);
    maker.run(&["renew", "own"]).expect(0);
    let before = made(&world.ccm);
    world.agent.run(&["renew", "www"]).expect(0);
    let second = serial(&maker, "wildcard");
    assert_ne!(second, first);
    assert_eq!(world.served(), second);
    assert_eq!(made(&world.ccm), before);
    let told = world.agent.run(&["history", "www"]).expect(0).stdout;
    assert!(
        !told.contains("submit") && told.contains("locate"),
        "{told}"
    );
}

/// A certificate as somebody else bought it.
struct Bought {
    material: renewd::pki::Material,
}

impl Bought {
    fn new(names: &[&str], from: Timestamp, days: i64) -> Self {
        let validity = certs::Validity(from, from + Seconds::days(days));
        let material = certs::sample(KeyAlgorithm::EcP256, names, validity).material;
        Self { material }
    }

    async fn put(&self, ccm: &Ccm, name: &str) {
        let key = self.material.key.to_pem();
        let (leaf, chain) = (self.material.leaf_pem(), self.material.chain_pem());
        let key = key.expose_str().unwrap();
        ccm.import_scm(name, "ISSUED", &leaf, &chain, key).await;
    }

    async fn upload(&self, ccm: &Ccm, name: &str) {
        let scm = Scm::new(ccm.client());
        let key = self.material.key.to_pem();
        let import = Import {
            name,
            certificate: &self.material.leaf_pem(),
            certificate_chain: Some(&self.material.chain_pem()),
            private_key: key.expose_str().unwrap(),
        };
        scm.import_certificate(&import).await.unwrap();
    }

    fn serial(&self) -> String {
        facts(&self.material.leaf).unwrap().serial
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_serves_the_newest_that_was_bought_or_uploaded_at_scm() {
    let mut world = World::new(Ccm::start().await).await;
    let policy = following(&world)
        .replace("issuer.pca.corp", "issuer.scm.corp")
        .lines()
        .filter(|line| !line.starts_with("ca = "))
        .collect::<Vec<_>>()
        .join("\n");
    world.agent.write_policy(&policy);
    let now = SystemClock.now();
    let ago = |days| now - Seconds::days(days);
    let both = ["*.example.test", "example.test"];
    let bought = Bought::new(&both, ago(30), 90);
    bought.put(&world.ccm, "bought").await;
    world.agent.run(&["once", "--wait", "0s"]).expect(75);
    world.nginx.start();
    world.agent.run(&["once", "--wait", "0s"]).expect(0);
    assert_eq!(world.served(), bought.serial());
    assert_eq!(made(&world.ccm), 0);

    // All of these came later, and each is unfit for a reason of its own.
    Bought::new(&both, ago(95), 90)
        .put(&world.ccm, "expired")
        .await;
    Bought::new(&both, ago(40), 90)
        .put(&world.ccm, "older")
        .await;
    Bought::new(&both, now + Seconds::days(1), 90)
        .put(&world.ccm, "not-yet-valid")
        .await;
    Bought::new(&["example.test"], ago(2), 90)
        .put(&world.ccm, "narrow")
        .await;
    for n in 0..4 {
        let other = Bought::new(&["mail.example.org"], ago(1), 90);
        other.put(&world.ccm, &format!("other-{n}")).await;
    }
    world.agent.run(&["renew", "www"]).expect(0);
    assert_eq!(world.served(), bought.serial());
    assert_eq!(serial(&world.agent, "www"), bought.serial());

    let uploaded = Bought::new(&[NAME], ago(10), 90);
    uploaded.upload(&world.ccm, "uploaded").await;
    let before = made(&world.ccm);
    world.agent.run(&["renew", "www"]).expect(0);
    assert_eq!(world.served(), uploaded.serial());
    assert_eq!(made(&world.ccm), before, "the follower made something");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_looks_every_hour_and_takes_what_is_newer_by_itself() {
    let mut rig = Rig::new(Wanted::new().at("2027-04-01")).await;
    let own = rig.world.policy();
    let made = format!(
        r#"
[certificate.made]
issuer = "corp"
names = ["{NAME}"]
key = "ccm"
validity = "30d"
"#
    );
    let policy = following(&rig.world) + &made;
    assert!(policy.contains("order = \"never\"") && policy.len() > own.len());
    rig.world.agent.write_policy(&policy);
    rig.tick().await;
    rig.clock.advance(Seconds::hours(1));
    rig.tick().await;
    rig.world.nginx.start();
    rig.settle().await;
    assert_eq!(rig.world.reloads(), 1);

    // Through the months the two stay together, and an hour is the longest that the follower is behind.
    let until = rig.clock_now() + Seconds::days(65);
    let mut renewals = std::collections::BTreeSet::new();
    let mut listings = 0;
    while rig.clock_now() < until {
        for later in [Seconds::hours(12), Seconds::hours(1)] {
            rig.clock.advance(later);
            let plan = rig.tick().await;
            let waits = matches!(
                &plan.verdicts[&id("www")],
                // Its own moment may come before that of the one who orders.
                Verdict::Healthy { .. } | Verdict::Wait(Waiting::NoOffer { .. })
            );
            assert!(waits, "{:?}\n{:#?}", plan.verdicts, rig.told());
        }
        listings += 2;
        let engine = rig.engine().await;
        let snapshot = engine.store.snapshot().await.unwrap();
        let newest = |name: &str| {
            let state = &snapshot.certificates[&id(name)];
            state.newest.as_ref().unwrap().facts.serial.clone()
        };
        let made = snapshot.certificates[&id("made")].newest.as_ref().unwrap();
        if newest("www") != newest("made")
            && made.issued_at + Seconds::minutes(30) > rig.clock_now()
        {
            // Renewed in this very tick, after the follower had asked.
            continue;
        }
        assert_eq!(newest("www"), newest("made"));
        assert_eq!(rig.world.written(), newest("made"));
        renewals.insert(newest("made"));
    }
    assert!(renewals.len() >= 3, "{} renewals", renewals.len());
    assert_eq!(rig.world.served(), rig.world.written());
    assert_eq!(rig.world.ccm.issued(NAME).await, renewals.len());
    assert_eq!(rig.world.reloads(), renewals.len());
    let asked = rig.world.ccm.running.requests_of("4.2.2.1");
    assert!(asked >= listings, "{asked} listings");
}
