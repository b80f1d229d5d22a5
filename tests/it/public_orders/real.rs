//! The whole life against real programs: BIND, nginx, renewd-ccm with a name server to ask. From an empty account through
//! purchase, proof, issue and rollout to the renewal of an order of several years, and on to a revocation; each certificate
//! goes to a load balancer of the cloud, too.

use std::sync::Arc;

use renewd::ccm::{Scm, ScmStatus};
use renewd::ccm_server::ScmOptions;
use renewd::config::secret_ref;
use renewd::engine::Revocation;
use renewd::model::{RevocationReason, Seconds};
use renewd::plan::Plan;
use renewd::sys::clock::SystemClock;
use renewd::sys::process::SystemRunner;
use renewd::validation::Validations;

use crate::after::push::{REGION, resource, served};
use crate::support::agent::write_secret;
use crate::support::ccm::Wanted;
use crate::support::engine::{Rig, healthy, id};
use crate::support::names::{KEY, Names, PRIMARY, Zone};
use crate::support::shop::{issuer_proven, purchase};
use crate::support::world::NAME;

/// Ticks until `done`, in the server's time.
async fn until(rig: &Rig, most: usize, what: &str, done: impl AsyncFn(&Plan) -> bool) {
    for _ in 0..most {
        let plan = rig.tick().await;
        if done(&plan).await {
            return;
        }
        let now = rig.clock_now();
        let wait = now.until(plan.next_wake).0.clamp(1, Seconds::days(1).0);
        rig.clock.advance(Seconds(wait));
        let admin = rig.world.ccm.running.admin();
        admin.look_at_applications().await.unwrap();
    }
    panic!("{what} never came:\n{:#?}", rig.told());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_of_two_years_is_bought_proven_served_renewed_and_replaced_when_it_is_revoked() {
    let names = Names::start(&[Zone::new("example.test", "")], "", "");
    let scm = ScmOptions {
        dns_servers: vec![names.resolver().parse().unwrap()],
        ..ScmOptions::default()
    };
    let mut rig = Rig::new(Wanted::new().at("2027-04-01").scm(scm)).await;
    write_secret(&rig.world.agent.path().join("tsig"), KEY);
    let validation = format!(
        r#"
[validation.rfc2136.zone]
server = "{PRIMARY}:{}"
key_name = "renewd-hmac-sha256"
tsig_key = "file:{{dir}}/tsig"
resolvers = ["{}"]
dns_port = {}
"#,
        names.port,
        names.resolver(),
        names.port
    );
    let listener = resource(&rig.world.ccm, "ELB", "front").await;
    let validation = validation
        + &format!(
            "\n[push.edge]\naccount = \"public\"\nservice = \"ELB\"\nregion = \"{REGION}\"\nresources = [\"{listener}\"]\nimport = true\n"
        );
    let endpoint = rig.world.ccm.endpoint();
    let issuer = issuer_proven(&endpoint, &purchase(2, 2), &validation);
    let old = rig.world.policy();
    let target = old.split_once("[target.nginx.web]").unwrap().1;
    rig.world.agent.write_policy(&format!(
        "{issuer}\n[certificate.www]\nissuer = \"public\"\nnames = [\"{NAME}\"]\ntargets = [\"web\"]\npush = [\"edge\"]\n\n[target.nginx.web]{target}"
    ));
    // Signed updates go by the time that BIND has, too.
    rig.adjust = Arc::new(|engine| {
        let resolve =
            Arc::new(|secret: &_| secret_ref::resolve(secret).map_err(|error| error.to_string()));
        let prover = Validations::new(resolve, Arc::new(SystemClock), Arc::new(SystemRunner));
        engine.prover = Arc::new(prover);
    });
    let bought = || rig.world.ccm.running.requests_of("4.1.3.1");

    // An empty account: a purchase, a proof, a certificate, and files that wait for their service.
    let live = rig.world.agent.live("web");
    until(&rig, 40, "the first certificate", async |_| live.exists()).await;
    rig.world.nginx.start();
    until(&rig, 40, "its service", async |plan| healthy(plan)).await;
    assert_eq!(bought(), 1);
    let first = rig.newest("www").await;
    assert_eq!(rig.world.served(), first.facts.serial);
    let records = || names.dig(PRIMARY, &["_dnsauth.www.example.test", "TXT"]);
    assert_eq!(records(), "", "the proof is gone");
    let balanced = async || served(&rig.world.ccm, &listener).await.unwrap_or_default();
    let there = first.facts.serial.clone();
    until(&rig, 20, "the first at the load balancer", async |_| {
        balanced().await == there
    })
    .await;

    // The account brings the next one, which nobody pays for.
    until(&rig, 900, "the successor", async |plan| {
        healthy(plan) && rig.newest("www").await.id != first.id
    })
    .await;
    let second = rig.newest("www").await;
    assert_eq!(bought(), 1, "{:#?}", rig.told());
    assert!(rig.clock_now() < first.facts.not_after, "in time");
    assert_ne!(second.reference, first.reference);
    assert_eq!(rig.world.served(), second.facts.serial);
    assert_eq!(records(), "", "the proof of the second is gone");
    let there = second.facts.serial.clone();
    until(&rig, 20, "the second at the load balancer", async |_| {
        balanced().await == there
    })
    .await;

    // Its key is known to others: `renewd revoke` brings one with another key first, and has CCM revoke this one then.
    let wanted = Revocation {
        name: id("www"),
        revision: None,
        reason: RevocationReason::KeyCompromise,
        at_once: false,
    };
    rig.engine().await.ask_revocation(&wanted).await.unwrap();
    let scm = Scm::new(rig.world.ccm.client());
    let revoked = async || {
        let shown = scm.show_certificate(&second.reference).await.unwrap();
        matches!(shown.status, ScmStatus::Revoking | ScmStatus::Revoked)
    };
    until(&rig, 60, "the one in its place", async |_| {
        let others = rig.newest("www").await.id != second.id;
        assert!(
            others || !revoked().await,
            "revoked before another one was there"
        );
        others
    })
    .await;
    until(&rig, 60, "its revocation", async |plan| {
        healthy(plan) && revoked().await
    })
    .await;
    let third = rig.newest("www").await;
    assert_ne!(third.facts.spki, second.facts.spki);
    assert_eq!(rig.world.served(), third.facts.serial);
    assert_eq!(records(), "");
    let there = third.facts.serial.clone();
    until(&rig, 20, "the third at the load balancer", async |_| {
        balanced().await == there
    })
    .await;
    assert_eq!(bought(), 2);
}
