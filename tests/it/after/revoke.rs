//! Revocations that a person asks for, and those that the policy wants.

use renewd::ccm::{Pca, PrivateStatus};
use renewd::engine::{Engine, NotAsked, Revocation};
use renewd::model::{
    Fingerprint, IssuerKind, RevisionFacts, RevisionId, RevocationReason, RevokedBy, Seconds,
    Superseded,
};
use renewd::pki::PrivateKey;
use std::sync::Arc;

use super::check;
use crate::cli::daemon::Daemon;
use crate::support::ccm::{Ccm, Wanted};
use crate::support::engine::{Rig, healthy, id, tick};
use crate::support::world::{NAME, World};

pub(super) fn start() -> Wanted {
    Wanted::new().at("2027-04-01")
}

fn wanted(at_once: bool) -> Revocation {
    Revocation {
        name: id("www"),
        revision: None,
        reason: RevocationReason::KeyCompromise,
        at_once,
    }
}

fn key(rig: &Rig) -> Fingerprint {
    let pem = std::fs::read(rig.world.loose().1).unwrap();
    PrivateKey::from_pem(&pem).unwrap().spki()
}

pub(super) async fn is_revoked(ccm: &Ccm, reference: &str) -> bool {
    let pca = Pca::new(ccm.client());
    let shown = pca.show_certificate(reference).await.unwrap();
    shown.status == PrivateStatus::Revoked
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_known_to_others_is_replaced_everywhere_before_its_certificate_is_revoked() {
    let rig = Rig::live(start()).await;
    let policy = rig.world.policy();
    let reuse = policy.replace(
        "validity = \"30d\"\n",
        "validity = \"30d\"\nrekey = false\n",
    );
    rig.world.agent.write_policy(&reuse);
    let (first, reference) = (key(&rig), rig.reference("www").await);
    let engine = rig.engine().await;
    engine.ask_revocation(&wanted(false)).await.unwrap();
    // The service does not take the new one: nothing is revoked, and that is told.
    rig.world.write_reload(false);
    tick(&engine).await;
    assert_ne!(
        rig.reference("www").await,
        reference,
        "another one is ordered at once"
    );
    assert!(!is_revoked(&rig.world.ccm, &reference).await);
    rig.clock.advance(Seconds::hours(1));
    tick(&engine).await;
    let told = rig.told();
    let alert = told
        .iter()
        .find(|line| line.contains("is not revoked yet: web does not serve revision"));
    assert!(
        alert.is_some_and(|line| line.starts_with("alert warning")),
        "{told:#?}"
    );
    rig.world.write_reload(true);
    assert!(healthy(&rig.settle().await));
    rig.tick().await;
    assert!(
        is_revoked(&rig.world.ccm, &reference).await,
        "{:#?}",
        rig.told()
    );
    assert_ne!(key(&rig), first, "whatever the policy says of keys");
    let state = rig.engine().await.store.snapshot().await.unwrap();
    let state = &state.certificates["www"];
    assert!(state.revoking.is_empty());
    assert!(state.earlier[0].revoked, "nothing returns to it");
    let history = rig.history("www").await;
    let last = history.iter().rfind(|entry| entry.machine == "revocation");
    assert_eq!(last.unwrap().kind, "succeeded", "{history:#?}");
    // The old key stays given up.
    rig.force("www").await;
    assert!(healthy(&rig.settle().await));
    assert_ne!(key(&rig), first);
}

/// A host whose newest revision has the key of the one before; answers both.
async fn with_one_key() -> (Rig, [RevisionFacts; 2]) {
    let rig = Rig::live(start()).await;
    let policy = rig.world.policy();
    let reuse = policy.replace(
        "validity = \"30d\"\n",
        "validity = \"30d\"\nrekey = false\n",
    );
    rig.world.agent.write_policy(&reuse);
    let first = rig.newest("www").await;
    rig.force("www").await;
    assert!(healthy(&rig.settle().await));
    let second = rig.newest("www").await;
    assert_eq!(first.facts.spki, second.facts.spki);
    rig.told();
    (rig, [first, second])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_known_to_others_takes_every_certificate_with_it_along_and_never_returns() {
    let (rig, [first, second]) = with_one_key().await;
    let ccm = &rig.world.ccm;
    let engine = rig.engine().await;
    let notes = engine.ask_revocation(&wanted(false)).await.unwrap();
    let wanted = format!(
        "www: revision {} has the same key and will be revoked, too (serial {})",
        first.id, first.facts.serial
    );
    assert_eq!(notes, [wanted]);
    // Neither is revoked yet, and the first one is not put back in the place of the second.
    let www = id("www");
    let back = engine.ask_rollback(&www, Some(&first.id), false);
    match back.await {
        Err(NotAsked::Unfit(why)) => assert!(why.contains("others may know the key"), "{why}"),
        other => panic!("{other:?}"),
    }
    // The service does not take the new one.
    rig.world.write_reload(false);
    tick(&engine).await;
    let third = rig.newest("www").await;
    assert_ne!(third.facts.spki, first.facts.spki);
    for old in [&first, &second] {
        assert!(!is_revoked(ccm, &old.reference).await, "{:#?}", rig.told());
    }
    rig.clock.advance(Seconds::hours(1));
    rig.world.write_reload(true);
    assert!(healthy(&rig.settle().await));
    rig.tick().await;
    for old in [&first, &second] {
        assert!(is_revoked(ccm, &old.reference).await, "{:#?}", rig.told());
    }
    assert!(!is_revoked(ccm, &third.reference).await);
    let state = engine.store.snapshot().await.unwrap();
    let state = &state.certificates["www"];
    assert_eq!(state.revoking, []);
    assert!(
        state.is_given_up(&first.facts.spki),
        "as long as either of them is valid"
    );
    // Until both have ended.
    rig.clock.advance(Seconds::days(31));
    rig.force("www").await;
    rig.settle().await;
    let state = engine.store.snapshot().await.unwrap();
    assert_eq!(state.certificates["www"].compromised, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_wait_takes_every_certificate_with_its_key_along_at_once() {
    let (rig, old) = with_one_key().await;
    let engine = rig.engine().await;
    rig.world.write_reload(false);
    engine.ask_revocation(&wanted(true)).await.unwrap();
    tick(&engine).await;
    for old in &old {
        let revoked = is_revoked(&rig.world.ccm, &old.reference).await;
        assert!(revoked, "{:#?}", rig.told());
    }
}

/// Another reason says nothing of the key.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_revoked_for_another_reason_leaves_the_others_with_its_key() {
    let (rig, [first, second]) = with_one_key().await;
    let engine = rig.engine().await;
    let superseded = Revocation {
        reason: RevocationReason::Superseded,
        ..wanted(false)
    };
    let notes = engine.ask_revocation(&superseded).await.unwrap();
    assert_eq!(notes, Vec::<String>::new());
    assert!(healthy(&rig.settle().await));
    rig.tick().await;
    let ccm = &rig.world.ccm;
    assert!(is_revoked(ccm, &second.reference).await);
    assert!(!is_revoked(ccm, &first.reference).await);
    // A person who learns of it later says so of the one that is revoked, and has the other one revoked.
    let later = Revocation {
        revision: Some(second.id.clone()),
        ..wanted(false)
    };
    let notes = engine.ask_revocation(&later).await.unwrap();
    assert!(notes[0].contains("is revoked already"), "{notes:?}");
    assert!(notes[1].contains("has the same key"), "{notes:?}");
    tick(&engine).await;
    assert!(is_revoked(ccm, &first.reference).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_wait_is_revoked_at_once_and_another_one_follows() {
    let rig = Rig::live(start()).await;
    let (first, reference) = (key(&rig), rig.reference("www").await);
    let issued = rig.world.ccm.issued(NAME).await;
    let engine = rig.engine().await;
    // The service is stuck.
    rig.world.write_reload(false);
    engine.ask_revocation(&wanted(true)).await.unwrap();
    tick(&engine).await;
    assert!(
        is_revoked(&rig.world.ccm, &reference).await,
        "{:#?}",
        rig.told()
    );
    rig.world.write_reload(true);
    assert!(healthy(&rig.settle().await));
    assert_ne!(key(&rig), first);
    assert_eq!(rig.world.ccm.issued(NAME).await, issued + 1, "one for it");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_revoked_already_is_done_and_what_cannot_be_revoked_is_refused() {
    let rig = Rig::live(start()).await;
    let reference = rig.reference("www").await;
    let engine = rig.engine().await;
    let unknown = Revocation {
        revision: Some(RevisionId::new("nobody").unwrap()),
        ..wanted(false)
    };
    assert!(engine.ask_revocation(&unknown).await.is_err());
    let nobody = Revocation {
        name: id("nobody"),
        ..wanted(false)
    };
    assert!(engine.ask_revocation(&nobody).await.is_err());
    engine.ask_revocation(&wanted(true)).await.unwrap();
    let pca = Pca::new(rig.world.ccm.client());
    pca.revoke_certificate(&reference, None).await.unwrap();
    tick(&engine).await;
    let snapshot = engine.store.snapshot().await.unwrap();
    assert!(
        snapshot.certificates["www"].revoking.is_empty(),
        "{:#?}",
        rig.told()
    );
    // Asking again for the same one says so.
    let old = snapshot.certificates["www"].earlier[0].id.clone();
    let again = Revocation {
        revision: Some(old),
        ..wanted(false)
    };
    let notes = engine.ask_revocation(&again).await.unwrap();
    assert!(notes[0].contains("is revoked already"), "{notes:?}");
}

/// The policy as it will be read from `revoke_superseded`.
pub(super) async fn with_grace(rig: &Rig, grace: Seconds) -> Arc<Engine> {
    let mut policy = rig.policy();
    for issuer in policy.issuers.values_mut() {
        if let IssuerKind::Pca(pca) = &mut issuer.kind {
            pca.superseded = Superseded::RevokeAfter(grace);
        }
    }
    Arc::new((rig.maker())(policy).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_replaced_is_revoked_after_its_time_unless_it_is_in_use_again() {
    let rig = Rig::live(start()).await;
    let first = rig.reference("www").await;
    check(&rig.engine().await).await;
    rig.force("www").await;
    assert!(healthy(&rig.settle().await));
    let second = rig.reference("www").await;
    check(&rig.engine().await).await;
    rig.clock.advance(Seconds::days(10));
    check(&rig.engine().await).await;
    assert!(
        !is_revoked(&rig.world.ccm, &first).await,
        "the policy says nothing of it"
    );

    let engine = with_grace(&rig, Seconds::days(2)).await;
    check(&engine).await;
    let noted = engine.store.snapshot().await.unwrap();
    let noted = &noted.certificates["www"].revoking;
    assert_eq!(noted.len(), 1, "{noted:?}");
    assert_eq!(noted[0].by, RevokedBy::Policy);
    rig.clock.advance(Seconds::days(1));
    check(&engine).await;
    assert!(!is_revoked(&rig.world.ccm, &first).await, "it has two days");
    rig.clock.advance(Seconds::days(1));
    tick(&engine).await;
    assert!(
        is_revoked(&rig.world.ccm, &first).await,
        "{:#?}",
        rig.told()
    );
    assert!(!is_revoked(&rig.world.ccm, &second).await);

    // A person goes back to the one before: it is served, so it stays.
    rig.force("www").await;
    let mut plan = tick(&engine).await;
    while !healthy(&plan) {
        rig.wake(&plan);
        plan = tick(&engine).await;
    }
    check(&engine).await;
    engine.ask_rollback(&id("www"), None, false).await.unwrap();
    tick(&engine).await;
    rig.clock.advance(Seconds::days(3));
    check(&engine).await;
    assert!(
        !is_revoked(&rig.world.ccm, &second).await,
        "{:#?}",
        rig.told()
    );
    engine.ask_release(&id("www"), false).await.unwrap();
    tick(&engine).await;
    tick(&engine).await;
    assert!(
        is_revoked(&rig.world.ccm, &second).await,
        "{:#?}",
        rig.told()
    );
}

/// Renews it, with the engine that is to carry it on.
pub(super) async fn renew(rig: &Rig, engine: &Arc<Engine>) {
    rig.force("www").await;
    let mut plan = tick(engine).await;
    while !healthy(&plan) {
        rig.wake(&plan);
        plan = tick(engine).await;
    }
}

/// Of the history: what was written down as to be revoked.
async fn noted(rig: &Rig) -> usize {
    let history = rig.history("www").await;
    let all = history.iter().filter(|entry| entry.machine == "revocation");
    all.filter(|entry| entry.kind == "opened").count()
}

/// More renewals within a validity than the state of a certificate remembers.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_revoked_after_its_time_is_not_revoked_again_whatever_followed_it() {
    const RENEWALS: usize = 7;
    let rig = Rig::live(start()).await;
    let long = rig.world.policy();
    let long = long.replace("validity = \"30d\"\n", "validity = \"365d\"\n");
    rig.world.agent.write_policy(&long);
    let engine = with_grace(&rig, Seconds::hours(1)).await;
    for _ in 0..RENEWALS {
        renew(&rig, &engine).await;
    }
    check(&engine).await;
    rig.clock.advance(Seconds::hours(2));
    check(&engine).await;
    let told = rig.told();
    let revoked = told
        .iter()
        .filter(|line| line.contains("was revoked: superseded"));
    assert_eq!(revoked.count(), RENEWALS, "{told:#?}");
    assert_eq!(noted(&rig).await, RENEWALS);
    for _ in 0..3 {
        rig.clock.advance(Seconds::days(1));
        check(&engine).await;
        tick(&engine).await;
        assert_eq!(noted(&rig).await, RENEWALS, "{:#?}", rig.told());
    }
}

/// Events are forgotten long before a certificate of three years ends.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_replaced_is_revoked_also_when_the_journal_has_forgotten_how_it_came() {
    let rig = Rig::live(start()).await;
    let first = rig.reference("www").await;
    rig.force("www").await;
    assert!(healthy(&rig.settle().await));
    let engine = with_grace(&rig, Seconds::hours(1)).await;
    let later = rig.clock_now() + Seconds::days(1);
    engine.store.forget(later, i64::MAX).await.unwrap();
    assert_eq!(rig.history("www").await, []);
    check(&engine).await;
    rig.clock.advance(Seconds::hours(2));
    check(&engine).await;
    assert!(
        is_revoked(&rig.world.ccm, &first).await,
        "{:#?}",
        rig.told()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_by_command_line_is_confirmed_survives_a_kill_at_each_boundary_and_is_made_once()
 {
    let world = World::live(Ccm::start().await).await;
    let line = ["revoke", "www", "--reason", "key_compromise"];
    let asked = world.agent.run(&line).expect(64);
    assert!(asked.stderr.contains("say --yes"), "{}", asked.stderr);
    assert!(
        asked.stderr.contains("with the same key"),
        "{}",
        asked.stderr
    );
    let other = ["revoke", "www", "--reason", "superseded"];
    let other = world.agent.run(&other).expect(64).stderr;
    assert!(!other.contains("with the same key"), "{other}");
    world
        .agent
        .run(&["revoke", "www", "--reason", "boredom", "--yes"])
        .expect(64);
    for point in ["revoke.asked", "revoke.effect", "revoke.done"] {
        let (issued, old) = (world.ccm.issued(NAME).await, reference(&world).await);
        let killed = world.agent.run_with(
            &format!("{point}=return"),
            &["revoke", "www", "--reason", "keyCompromise", "--yes"],
        );
        assert_eq!(killed.signal, Some(9), "{point} is not on the way");
        world.agent.run(&["once"]).expect(0);
        assert!(is_revoked(&world.ccm, &old).await, "{point}");
        assert_eq!(world.ccm.issued(NAME).await, issued + 1, "{point}");
        assert_eq!(world.agent.status("www")["verdict"], "healthy", "{point}");
    }
    let old = reference(&world).await;
    let done = world
        .agent
        .run(&["revoke", "www", "--reason", "superseded", "--yes"])
        .expect(0);
    assert!(is_revoked(&world.ccm, &old).await, "{}", done.stderr);
    // Of what cannot be replaced now it is said why, and it goes on later.
    world.write_reload(false);
    let waits = world.agent.run(&[
        "revoke",
        "www",
        "--reason",
        "superseded",
        "--yes",
        "--wait",
        "0s",
    ]);
    assert_ne!(waits.code, Some(0), "{}", waits.stderr);
    assert!(
        waits
            .stderr
            .contains("is not revoked yet: web does not serve"),
        "{}",
        waits.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_revokes_what_its_command_is_asked_for() {
    let world = World::live(Ccm::start().await).await;
    let old = reference(&world).await;
    let daemon = Daemon::start(&world.agent);
    daemon.tells("STATUS=1 of 1 certificate healthy");
    let line = ["revoke", "www", "--reason", "key_compromise", "--yes"];
    let done = world.agent.run(&line).expect(0);
    assert!(
        done.stderr.contains("was revoked: key_compromise"),
        "{}",
        done.stderr
    );
    assert!(is_revoked(&world.ccm, &old).await);
    let nobody = ["revoke", "nobody", "--reason", "key_compromise", "--yes"];
    world.agent.run(&nobody).expect(64);
}

/// The issuer's id of the newest revision, from the journal.
async fn reference(world: &World) -> String {
    use renewd::store::{SqliteStore, Store as _};
    let journal = world.agent.state().join("state.db");
    let store = SqliteStore::open(&journal).await.unwrap();
    let snapshot = store.snapshot().await.unwrap();
    let reference = snapshot.certificates["www"]
        .newest
        .clone()
        .unwrap()
        .reference;
    store.close().await.unwrap();
    reference
}
