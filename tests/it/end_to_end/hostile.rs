//! A server that goes wrong in every way it can: each order still leads to exactly one certificate.

use renewd::ccm_server::{Fault, Faults};
use renewd::model::Seconds;

use crate::support::agent::write_secret;
use crate::support::ccm::Wanted;
use crate::support::engine::{Rig, due, healthy, id};

/// Three certificates in files: a key of ours, a key of CCM's, and one that keeps its key.
fn policy(rig: &Rig, authentication: &str) -> String {
    let issuer = rig.world.issuer();
    let access = issuer.find("access_key").unwrap();
    let times = issuer.find("connect_timeout").unwrap();
    let certificates: String = CERTIFICATES
        .iter()
        .map(|(name, more)| {
            format!(
                "[certificate.{name}]\nissuer = \"corp\"\nnames = [\"{name}.example.test\"]\nvalidity = \"30d\"\n\
                 targets = [\"store\"]\n{more}\n"
            )
        })
        .collect();
    let (keys, password) = match authentication {
        "password" => {
            let (user, endpoint) = (&rig.world.ccm.user, rig.world.ccm.endpoint());
            let table = format!(
                "[issuer.pca.corp.password]\niam_endpoint = \"{endpoint}\"\nuser = \"{}\"\npassword = \"file:{{dir}}/password\"\n\
                 domain = \"{}\"\nproject = \"{}\"\n",
                user.name, user.account, user.project
            );
            ("", table)
        }
        _ => (&issuer[access..times], String::new()),
    };
    format!(
        "{}{keys}{}{password}{certificates}[target.files.store]\n[target.files.store.export.pem.all]\ncombined = \"all.pem\"\n",
        &issuer[..access],
        &issuer[times..]
    )
}

async fn rig(faults: Faults, authentication: &str) -> Rig {
    let rig = Rig::new(Wanted::new().at("2027-04-01").faults(faults)).await;
    let password = rig.world.agent.path().join("password");
    write_secret(&password, rig.world.ccm.password());
    rig.world.agent.write_policy(&policy(&rig, authentication));
    rig
}

/// Orders that were opened and fulfilled, by the journal, and certificates that were issued, by the server.
async fn counts(rig: &Rig, name: &str) -> [usize; 3] {
    let entries = rig.history(name).await;
    let orders = |kind: &str, phase: &str| {
        let ours = entries.iter().filter(|one| one.machine == "order");
        ours.filter(|one| one.kind == kind && one.phase == phase)
            .count()
    };
    let host = format!("{name}.example.test");
    [
        orders("opened", "opened"),
        orders("succeeded", "fulfilled"),
        rig.world.ccm.issued(&host).await,
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_order_leads_to_one_certificate_whatever_goes_wrong_with_access_keys() {
    over_seeds(0..10, "keys").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_order_leads_to_one_certificate_whatever_goes_wrong_with_tokens() {
    over_seeds(10..20, "password").await;
}

async fn over_seeds(seeds: std::ops::Range<u64>, authentication: &str) {
    let mut hit = 0;
    for seed in seeds {
        let faults = Faults {
            rate_limited: 8,
            // Every other server wants more patience than a call has: then the plan waits.
            retry_after: if seed % 2 == 0 { 0 } else { 90 },
            server_error: 8,
            lost_request: 8,
            lost_response: 8,
            token_lifetime: Some(Seconds(120)),
            ..Faults::hostile(seed)
        };
        let rig = rig(faults, authentication).await;
        let plan = rig.settle().await;
        for (name, _) in CERTIFICATES {
            assert_eq!(counts(&rig, name).await, [1, 1, 1], "seed {seed}, {name}");
        }
        // And again when all are due.
        let last = CERTIFICATES.map(|(name, _)| due(&plan, name));
        rig.clock.set(last.into_iter().max().unwrap());
        rig.settle().await;
        for (name, _) in CERTIFICATES {
            assert_eq!(counts(&rig, name).await, [2, 2, 2], "seed {seed}, {name}");
            let engine = rig.engine().await;
            let state = &engine.store.snapshot().await.unwrap().certificates[&id(name)];
            let all = rig.world.agent.live("store").join(name).join("all.pem");
            let text = std::fs::read_to_string(all).unwrap();
            let leaf = &renewd::pki::pem::certificates(&text).unwrap()[0];
            let written = renewd::pki::facts(leaf).unwrap().serial;
            assert_eq!(written, state.newest.as_ref().unwrap().facts.serial);
        }
        let seen = rig.world.ccm.running.requests();
        hit += seen.iter().filter(|one| one.fault.is_some()).count();
        let tokens = rig.world.ccm.running.requests_of("iam.tokens");
        assert_eq!(tokens > 0, authentication == "password", "seed {seed}");
    }
    assert!(hit > 100, "only {hit} requests were hit by a fault");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_certificate_with_the_same_key_is_not_taken_for_the_one_that_was_lost() {
    let faults =
        Faults::none()
            .at("4.2.2.3", 3, Fault::LostRequest)
            .at("4.2.2.2", 2, Fault::LostRequest);
    let rig = rig(faults, "keys").await;
    assert!(healthy(&rig.settle().await));
    for name in ["kept", "remote"] {
        // Minutes later: what is there already has the same key, or the same names, and is as new.
        rig.clock.advance(Seconds::minutes(1));
        rig.force(name).await;
        rig.settle().await;
        let told = rig.told();
        let lost = told.iter().filter(|line| line.contains("submit failed"));
        assert_eq!(lost.count(), 1, "the application was to be lost: {told:#?}");
        assert_eq!(counts(&rig, name).await, [2, 2, 2], "{name}: {told:#?}");
    }
    let spki = |name: &str| {
        let all = rig.world.agent.live("store").join(name).join("all.pem");
        let pem = std::fs::read(all).unwrap();
        renewd::pki::PrivateKey::from_pem(&pem).unwrap().spki()
    };
    let engine = rig.engine().await;
    let revisions = engine.store.revisions(&id("kept")).await.unwrap();
    let keys: std::collections::BTreeSet<_> = revisions
        .iter()
        .map(|known| known.revision.facts.spki)
        .collect();
    assert_eq!(keys.into_iter().collect::<Vec<_>>(), [spki("kept")]);
    assert_eq!(revisions.len(), 2);
}

/// Names, and what is special about each.
const CERTIFICATES: [(&str, &str); 3] = [
    ("kept", "rekey = false"),
    ("local", ""),
    ("remote", "key = \"ccm\""),
];
