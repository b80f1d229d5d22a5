//! What every journal must do, whatever keeps it.
#![expect(
    clippy::disallowed_methods,
    reason = "tests arrange files and processes directly"
)]

mod purchases;

use std::collections::{BTreeMap, BTreeSet};

use renewd::model::{
    CertificateFacts, CertificateId, CertificateState, ChannelId, Delivery, ErrorClass, Failures,
    Fingerprint, IssuerId, JobName, JobResult, JobRun, KeyAlgorithm, KeyReuse, LONGEST_QUEUE,
    Letter, Occasion, Order, OrderClosing, OrderEvent, OrderId, OrderPhase, OrderRequest,
    OrderStep, Post, Reason, RevisionFacts, RevisionId, Rollout, RolloutEvent, RolloutId,
    RolloutPhase, RolloutStep, Seconds, Severity, Source, Started, StepFailure, Subject, TargetId,
    TargetState, Timestamp,
};
use renewd::store::{
    CertificateChange, OrderAdvance, RolloutAdvance, SqliteStore, Store, StoreError, StoredAlert,
    Touched,
};

const T0: Timestamp = Timestamp(1_800_000_000);

async fn store() -> (tempfile::TempDir, SqliteStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&dir.path().join("state.db"))
        .await
        .unwrap();
    (dir, store)
}

fn order(id: &str, certificate: &str) -> Order {
    Order {
        id: OrderId::new(id).unwrap(),
        certificate: CertificateId::new(certificate).unwrap(),
        issuer: IssuerId::new("corp").unwrap(),
        reason: Reason::NoRevision,
        request: OrderRequest {
            source: Source::Csr,
            common_name: "www.example.com".into(),
            names: std::iter::empty().collect(),
            subject: Subject::default(),
            key_algorithm: KeyAlgorithm::EcP256,
            key_reuse: KeyReuse::Rekey,
            validity: Seconds::days(90),
            policy: Fingerprint([7; 32]),
            public: None,
        },
        opened_at: T0,
        phase: OrderPhase::Opened,
        started: None,
        failures: Failures::default(),
    }
}

fn rollout(id: &str, target: &str, certificate: &str) -> Rollout {
    let certificate = CertificateId::new(certificate).unwrap();
    Rollout {
        overwrite: BTreeSet::new(),
        strange: BTreeSet::new(),
        wary: false,
        id: RolloutId::new(id).unwrap(),
        target: TargetId::new(target).unwrap(),
        reasons: BTreeMap::from([(certificate, Reason::NotDeployed)]),
        revisions: BTreeMap::new(),
        previous: BTreeMap::new(),
        generation: 1,
        previous_generation: None,
        policy: Fingerprint([8; 32]),
        hooks: renewd::model::HookSteps::default(),
        opened_at: T0,
        phase: RolloutPhase::Opened,
        started: None,
        failures: Failures::default(),
    }
}

fn failure(message: &str) -> StepFailure {
    StepFailure {
        at: T0 + Seconds(5),
        class: ErrorClass::Transient,
        message: message.into(),
        retry_after: None,
        policy: Fingerprint([7; 32]),
    }
}

fn key_stored(order: &Order) -> OrderAdvance {
    let spki = Fingerprint([1; 32]);
    OrderAdvance {
        id: order.id.clone(),
        at: T0 + Seconds(9),
        step: Some(OrderStep::StoreKey),
        event: OrderEvent::KeyStored { spki },
        phase: OrderPhase::KeyStored {
            spki,
            entitlement: None,
        },
        message: "key stored".into(),
        revision: None,
        certificate: None,
    }
}

#[tokio::test]
async fn a_certificate_has_at_most_one_open_order() {
    let (_dir, store) = store().await;
    store.open_order(&order("a", "www")).await.unwrap();
    let second = store.open_order(&order("b", "www")).await.unwrap_err();
    assert!(
        matches!(second, StoreError::AlreadyOpen(ref of) if of == "www"),
        "{second}"
    );
    store.open_order(&order("c", "mail")).await.unwrap();
    assert_eq!(store.snapshot().await.unwrap().orders.len(), 2);
}

#[tokio::test]
async fn the_intent_is_in_the_snapshot_until_the_outcome_is() {
    let (_dir, store) = store().await;
    let order = order("a", "www");
    store.open_order(&order).await.unwrap();
    store
        .order_started(&order.id, OrderStep::StoreKey, T0)
        .await
        .unwrap();
    let seen = store.snapshot().await.unwrap().orders[&order.id].clone();
    let intent = Started {
        step: OrderStep::StoreKey,
        at: T0,
    };
    assert_eq!(seen.started, Some(intent));
    store
        .order_failed(&order.id, OrderStep::StoreKey, &failure("disk full"))
        .await
        .unwrap();
    let seen = store.snapshot().await.unwrap().orders[&order.id].clone();
    assert_eq!((seen.started, seen.failures.count), (None, 1));
    store.order_advanced(&key_stored(&order)).await.unwrap();
    let seen = store.snapshot().await.unwrap().orders[&order.id].clone();
    assert_eq!(seen.failures, Failures::default());
    assert_eq!(seen.phase.code(), "key-stored");
}

#[tokio::test]
async fn a_closed_order_leaves_the_snapshot_and_takes_no_more_events() {
    let (_dir, store) = store().await;
    let order = order("a", "www");
    store.open_order(&order).await.unwrap();
    let closing = OrderClosing::Abandoned {
        message: "policy changed".into(),
    };
    let mut advance = key_stored(&order);
    advance.event = OrderEvent::Closed {
        closing: closing.clone(),
    };
    advance.phase = OrderPhase::Closed { closing };
    let state = CertificateState {
        forced: true,
        ..CertificateState::default()
    };
    advance.certificate = Some((order.certificate.clone(), state.clone()));
    store.order_advanced(&advance).await.unwrap();
    let snapshot = store.snapshot().await.unwrap();
    assert!(snapshot.orders.is_empty());
    assert_eq!(snapshot.certificates[&order.certificate], state);
    let late = store.order_advanced(&key_stored(&order)).await.unwrap_err();
    assert!(matches!(late, StoreError::Missing(_)), "{late}");
    store.open_order(&self::order("b", "www")).await.unwrap();
}

#[tokio::test]
async fn a_refused_outcome_leaves_nothing_behind() {
    let (_dir, store) = store().await;
    let order = order("a", "www");
    // Never opened: neither the certificate nor an event may appear.
    let mut advance = key_stored(&order);
    advance.certificate = Some((order.certificate.clone(), CertificateState::default()));
    store.order_advanced(&advance).await.unwrap_err();
    assert!(store.snapshot().await.unwrap().certificates.is_empty());
    assert!(store.history(&order.certificate).await.unwrap().is_empty());
}

#[tokio::test]
async fn everything_survives_closing_and_opening() {
    let (dir, store) = store().await;
    let (order, rollout) = (order("a", "www"), rollout("r", "web", "www"));
    store.open_order(&order).await.unwrap();
    store.open_rollout(&rollout).await.unwrap();
    store
        .rollout_started(&rollout.id, RolloutStep::Stage, T0)
        .await
        .unwrap();
    let target = TargetState {
        generation: Some(4),
        ..TargetState::default()
    };
    store.change_target(&rollout.target, &target).await.unwrap();
    let before = store.snapshot().await.unwrap();
    store.close().await.unwrap();
    let again = SqliteStore::open(&dir.path().join("state.db"))
        .await
        .unwrap();
    assert_eq!(again.snapshot().await.unwrap(), before);
    assert_eq!(
        before.rollouts[&rollout.id].started.as_ref().unwrap().step,
        RolloutStep::Stage
    );
}

/// More than are read at once, and an end of what is read in the middle of ids that begin alike.
#[tokio::test]
async fn a_snapshot_has_each_of_many() {
    let (_dir, store) = store().await;
    let numbers = 0..600;
    let certificates: BTreeSet<CertificateId> = numbers
        .clone()
        .map(|number| CertificateId::new(&format!("w{number}")).unwrap())
        .collect();
    for id in &certificates {
        let forced = CertificateChange::Forced;
        store.change_certificate(id, forced).await.unwrap();
    }
    let targets: BTreeSet<TargetId> = numbers
        .map(|number| TargetId::new(&format!("t{number}")).unwrap())
        .collect();
    for id in &targets {
        let state = TargetState::default();
        store.change_target(id, &state).await.unwrap();
    }
    let snapshot = store.snapshot().await.unwrap();
    let found: BTreeSet<CertificateId> = snapshot.certificates.keys().cloned().collect();
    assert_eq!(found, certificates);
    assert!(snapshot.certificates.values().all(|state| state.forced));
    let found: BTreeSet<TargetId> = snapshot.targets.keys().cloned().collect();
    assert_eq!(found, targets);
}

#[tokio::test]
async fn revisions_of_one_second_keep_the_order_in_which_they_came() {
    let (_dir, store) = store().await;
    // Neither order of the ids is that of their coming.
    let came = ["5b", "0a", "ff", "11"];
    for id in came {
        let order = order(&format!("order-{id}"), "www");
        store.open_order(&order).await.unwrap();
        let closing = OrderClosing::Abandoned {
            message: "made room for the next".into(),
        };
        let mut advance = key_stored(&order);
        advance.event = OrderEvent::Closed {
            closing: closing.clone(),
        };
        advance.phase = OrderPhase::Closed { closing };
        advance.revision = Some((order.certificate, order.issuer, revision(id)));
        store.order_advanced(&advance).await.unwrap();
    }
    let www = CertificateId::new("www").unwrap();
    let stored = store.revisions(&www).await.unwrap();
    let ids: Vec<&str> = stored.iter().map(|r| r.revision.id.as_str()).collect();
    assert_eq!(ids, ["11", "ff", "0a", "5b"], "newest first");
}

fn revision(id: &str) -> RevisionFacts {
    RevisionFacts {
        id: RevisionId::new(id).unwrap(),
        facts: CertificateFacts {
            serial: id.into(),
            fingerprint: Fingerprint([1; 32]),
            spki: Fingerprint([2; 32]),
            common_name: None,
            names: std::iter::empty().collect(),
            issuer_name: "corp".into(),
            not_before: T0,
            not_after: T0 + Seconds::days(90),
            key_algorithm: Some(KeyAlgorithm::EcP256),
        },
        issued_at: T0,
        reference: id.into(),
        policy: None,
        applied: Some(std::iter::empty().collect()),
    }
}

#[tokio::test]
async fn a_generation_is_never_given_twice() {
    let (_dir, store) = store().await;
    let (web, mail) = (
        TargetId::new("web").unwrap(),
        TargetId::new("mail").unwrap(),
    );
    assert_eq!(store.next_generation(&web).await.unwrap(), 1);
    assert_eq!(store.next_generation(&mail).await.unwrap(), 1);
    // Another state of the target does not touch the count.
    store
        .change_target(&web, &TargetState::default())
        .await
        .unwrap();
    assert_eq!(store.next_generation(&web).await.unwrap(), 2);
}

#[tokio::test]
async fn a_refresh_says_whether_anything_changed() {
    let (_dir, store) = store().await;
    let order = order("a", "www");
    let mut snapshot = store.snapshot().await.unwrap();
    let mut touched = Touched::default();
    touched.orders.insert(order.id.clone());
    touched.certificates.insert(order.certificate.clone());
    assert!(!store.refresh(&mut snapshot, &touched).await.unwrap());
    store.open_order(&order).await.unwrap();
    assert!(store.refresh(&mut snapshot, &touched).await.unwrap());
    assert!(!store.refresh(&mut snapshot, &touched).await.unwrap());
    assert_eq!(snapshot, store.snapshot().await.unwrap());
}

#[tokio::test]
async fn the_history_of_a_certificate_has_its_orders_and_rollouts_in_order() {
    let (_dir, store) = store().await;
    let (order, rollout) = (order("a", "www"), rollout("r", "web", "www"));
    store.open_order(&order).await.unwrap();
    store.open_order(&self::order("x", "mail")).await.unwrap();
    store.order_advanced(&key_stored(&order)).await.unwrap();
    store.open_rollout(&rollout).await.unwrap();
    store
        .rollout_failed(
            &rollout.id,
            RolloutStep::Stage,
            &failure("no space"),
            "df says 0",
        )
        .await
        .unwrap();
    let mut staged = rollout.clone();
    staged.phase = RolloutPhase::Staged;
    let advance = RolloutAdvance {
        id: rollout.id.clone(),
        at: T0 + Seconds(20),
        step: Some(RolloutStep::Stage),
        event: RolloutEvent::Staged,
        rollout: staged,
        message: "bundles written".into(),
        output: String::new(),
        target: None,
    };
    store.rollout_advanced(&advance).await.unwrap();
    let seen: Vec<String> = store
        .history(&order.certificate)
        .await
        .unwrap()
        .into_iter()
        .map(|e| {
            format!(
                "{} {} {} {}",
                e.machine,
                e.kind,
                e.step.unwrap_or_default(),
                e.output
            )
        })
        .collect();
    let wanted = [
        "order opened  ",
        "order succeeded store-key ",
        "rollout opened  ",
        "rollout failed stage df says 0",
        "rollout succeeded stage ",
    ];
    assert_eq!(seen, wanted);
}

#[tokio::test]
async fn an_alert_is_raised_once_until_it_is_over() {
    let (_dir, store) = store().await;
    let alert = StoredAlert {
        key: "expired/www".into(),
        severity: "critical".into(),
        title: "www expired".into(),
        text: "mend the issuer".into(),
        step: 0,
        raised_at: T0,
    };
    assert!(store.raise_alert(&alert, &[]).await.unwrap());
    assert!(!store.raise_alert(&alert, &[]).await.unwrap());
    assert_eq!(
        store.undelivered_alerts().await.unwrap(),
        std::slice::from_ref(&alert)
    );
    store.alert_delivered(&alert.key, T0).await.unwrap();
    assert!(store.undelivered_alerts().await.unwrap().is_empty());
    // What has grown worse is told again, and does not become better by half.
    let worse = StoredAlert {
        step: 2,
        ..alert.clone()
    };
    assert!(store.raise_alert(&worse, &[]).await.unwrap());
    assert!(!store.raise_alert(&alert, &[]).await.unwrap());
    assert_eq!(
        store.undelivered_alerts().await.unwrap(),
        std::slice::from_ref(&worse)
    );
    store.alert_delivered(&alert.key, T0).await.unwrap();
    assert!(store.resolve_alert(&alert.key, T0, &[]).await.unwrap());
    assert!(!store.resolve_alert(&alert.key, T0, &[]).await.unwrap());
    assert!(store.open_alerts().await.unwrap().is_empty());
    assert!(store.raise_alert(&alert, &[]).await.unwrap());
    assert_eq!(
        store.undelivered_alerts().await.unwrap(),
        std::slice::from_ref(&alert)
    );
}

#[tokio::test]
async fn a_reader_neither_waits_for_a_writer_nor_writes() {
    let (dir, store) = store().await;
    let path = dir.path().join("state.db");
    store.open_order(&order("a", "www")).await.unwrap();
    let reader = SqliteStore::open_read_only(&path).await.unwrap().unwrap();
    // A second writer in the middle of a transaction must not hold the reader up.
    let blocker = SqliteStore::open(&path).await.unwrap();
    let writing = blocker.hold_write_lock().await.unwrap();
    assert_eq!(reader.snapshot().await.unwrap().orders.len(), 1);
    drop(writing);
    let refused = reader
        .change_certificate(
            &CertificateId::new("www").unwrap(),
            CertificateChange::Forced,
        )
        .await;
    assert!(refused.is_err());
    let missing = SqliteStore::open_read_only(&dir.path().join("other.db"))
        .await
        .unwrap();
    assert!(missing.is_none());
}

#[tokio::test]
async fn a_damaged_journal_is_an_error_and_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    std::fs::write(
        &path,
        b"this is no database, it only looks like one from far away",
    )
    .unwrap();
    let error = SqliteStore::open(&path).await.err().expect("refused");
    assert!(error.to_string().contains("state.db"), "{error}");
    assert!(
        std::fs::read(&path)
            .unwrap()
            .starts_with(b"this is no database")
    );
}

#[tokio::test]
async fn a_person_who_asks_need_not_wait_for_what_failed_before() {
    let (_dir, store) = store().await;
    let failure = StepFailure {
        at: T0,
        class: ErrorClass::Authentication,
        message: "the signature is wrong".into(),
        retry_after: None,
        policy: Fingerprint([7; 32]),
    };
    let (order, rollout) = (order("o1", "www"), rollout("r1", "web", "www"));
    store.open_order(&order).await.unwrap();
    store.open_rollout(&rollout).await.unwrap();
    let failed = store.order_failed(&order.id, OrderStep::Submit, &failure);
    failed.await.unwrap();
    let failed = store.rollout_failed(&rollout.id, RolloutStep::Stage, &failure, "");
    failed.await.unwrap();
    let counts = async || {
        let snapshot = store.snapshot().await.unwrap();
        let order = &snapshot.orders[&order.id];
        let rollout = &snapshot.rollouts[&rollout.id];
        [order.failures.count, rollout.failures.count]
    };
    assert_eq!(counts().await, [1, 1]);
    let forced = store.change_certificate(&order.certificate, CertificateChange::Forced);
    forced.await.unwrap();
    assert_eq!(counts().await, [0, 1]);
    store.hurry_rollout(&rollout.target).await.unwrap();
    assert_eq!(counts().await, [0, 0]);
    // Nothing open is nothing to hurry.
    let other = TargetId::new("other").unwrap();
    store.hurry_rollout(&other).await.unwrap();
}

#[tokio::test]
async fn the_last_run_of_each_job_is_remembered_and_no_other() {
    let (_dir, store) = store().await;
    let run = |at: Timestamp, result, message: &str| JobRun {
        started_at: at,
        took_ms: 1234,
        result,
        message: message.to_owned(),
    };
    assert!(store.snapshot().await.unwrap().jobs.is_empty());
    let first = run(T0, JobResult::Done, "all is well");
    store.job_ran(JobName::Check, &first).await.unwrap();
    // The clock was set back meanwhile.
    let second = run(T0 - Seconds::days(90), JobResult::Failed, "disk full");
    store.job_ran(JobName::Check, &second).await.unwrap();
    store.job_ran(JobName::Renew, &first).await.unwrap();
    let jobs = store.snapshot().await.unwrap().jobs;
    let expected = BTreeMap::from([(JobName::Check, second), (JobName::Renew, first)]);
    assert_eq!(jobs, expected);
}

#[tokio::test]
async fn the_history_is_forgotten_by_age_and_by_count_and_what_is_open_stays() {
    let (_dir, store) = store().await;
    let id = |name: &str| CertificateId::new(name).unwrap();
    let at = |n: i64| Order {
        opened_at: T0 + Seconds::days(n),
        ..order(&format!("o{n}"), &format!("c{n}"))
    };
    for n in 0..10 {
        store.open_order(&at(n)).await.unwrap();
    }
    let closed = OrderEvent::Closed {
        closing: OrderClosing::Abandoned {
            message: "old".into(),
        },
    };
    let advance = OrderAdvance {
        id: OrderId::new("o0").unwrap(),
        at: T0 + Seconds(1),
        step: None,
        event: closed.clone(),
        phase: OrderPhase::Closed {
            closing: OrderClosing::Abandoned {
                message: "old".into(),
            },
        },
        message: String::new(),
        revision: None,
        certificate: None,
    };
    store.order_advanced(&advance).await.unwrap();
    assert_eq!(store.forget(T0, 100).await.unwrap(), 0);
    // By age: the first day's, its order closed, and the second day's, its order open.
    let gone = store.forget(T0 + Seconds::days(1) + Seconds(1), 100).await;
    assert_eq!(gone.unwrap(), 3);
    assert_eq!(store.history(&id("c0")).await.unwrap(), []);
    assert_eq!(store.history(&id("c1")).await.unwrap(), []);
    assert_eq!(store.history(&id("c2")).await.unwrap().len(), 1);
    let open = store.snapshot().await.unwrap().orders;
    assert_eq!(open.len(), 9, "{open:?}");
    // By count.
    store.forget(T0, 3).await.unwrap();
    let mut left = 0;
    for n in 0..10 {
        left += store.history(&id(&format!("c{n}"))).await.unwrap().len();
    }
    assert!(left <= 3, "{left}");
    assert_eq!(store.snapshot().await.unwrap().orders.len(), 9);
}

fn post(number: u32) -> Post {
    Post {
        channel: ChannelId::new("ops").unwrap(),
        recipient: "ops@example.test".to_owned(),
        letter: Letter {
            host: "web1".to_owned(),
            key: format!("expiring/c{number}"),
            occasion: Occasion::Raised(0),
            severity: Severity::Warning,
            title: "expires".to_owned(),
            text: String::new(),
            certificates: Vec::new(),
            digest: None,
            raised_at: T0,
            date: T0,
            message_id: format!("<{number}@web1>"),
            follows: None,
        },
        due_at: T0,
    }
}

#[tokio::test]
async fn letters_for_one_recipient_are_bounded_and_there_is_room_again_when_one_left() {
    let (_dir, store) = store().await;
    let posts: Vec<Post> = (0..LONGEST_QUEUE + 5).map(post).collect();
    store.queue_posts(&posts).await.unwrap();
    let count = async || store.posts(2 * LONGEST_QUEUE).await.unwrap().len();
    let most = usize::try_from(LONGEST_QUEUE).unwrap();
    assert_eq!(count().await, most);
    let slips = store.slips(T0).await.unwrap();
    let first = slips.values().next().unwrap()[0].seq;
    let sent = Delivery::Sent("250 ok".to_owned());
    store.posts_tried(&[(first, sent)], T0).await.unwrap();
    store.queue_posts(&posts).await.unwrap();
    assert_eq!(count().await, most + 1);
    let state = &store.snapshot().await.unwrap().channels;
    assert_eq!(state.values().next().unwrap().longest_queue, LONGEST_QUEUE);
}
