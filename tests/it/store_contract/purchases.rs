//! Who a journal is, and what it bought; and a journal of the first schema.

use std::collections::{BTreeMap, BTreeSet};

use renewd::model::{
    CertificateId, Identity, IssuerId, Order, OrderEvent, OrderPhase, OrderStep, PublicRequest,
    Seconds, Spent, Timestamp, ValidationId,
};
use renewd::store::{OrderAdvance, SqliteStore, Store, Touched};

use super::{T0, failure, order, store};

fn public(id: &str) -> Order {
    let mut order = order(id, "shop");
    order.request.public = Some(Box::new(PublicRequest {
        buying: None,
        validation: ValidationId::new("zone").unwrap(),
        kind: None,
        replaces: None,
        replaces_until: None,
        supplements: None,
    }));
    order
}

fn advance(order: &Order, step: OrderStep, event: OrderEvent, phase: OrderPhase) -> OrderAdvance {
    OrderAdvance {
        id: order.id.clone(),
        at: T0 + Seconds(9),
        step: Some(step),
        event,
        phase,
        message: String::new(),
        revision: None,
        certificate: None,
    }
}

/// An order in the phase that may buy.
async fn bare(store: &SqliteStore, id: &str, unknown: &[&str]) -> Order {
    let order = public(id);
    store.open_order(&order).await.unwrap();
    let spent = Spent {
        unknown: unknown.iter().map(|id| (*id).to_owned()).collect(),
        ..Spent::default()
    };
    let (listed, looked_at) = (BTreeSet::new(), T0);
    let event = OrderEvent::NothingFree {
        listed: listed.clone(),
        looked_at,
        spent: spent.clone(),
    };
    let phase = OrderPhase::Bare {
        listed,
        looked_at,
        spent,
    };
    let advance = advance(&order, OrderStep::Look, event, phase);
    store.order_advanced(&advance).await.unwrap();
    order
}

async fn bought(store: &SqliteStore) -> Vec<Timestamp> {
    let snapshot = store.snapshot().await.unwrap();
    let all = snapshot.purchases.get(&IssuerId::new("corp").unwrap());
    all.cloned().unwrap_or_default()
}

#[tokio::test]
async fn a_purchase_is_known_with_its_intent_and_counts_until_it_certainly_was_not_made() {
    let (_dir, store) = store().await;
    let order = bare(&store, "a", &[]).await;
    assert_eq!(bought(&store).await, []);
    store
        .order_started(&order.id, OrderStep::Buy, T0)
        .await
        .unwrap();
    assert_eq!(bought(&store).await, [T0], "it may have been made");
    assert_eq!(
        store.bought().await.unwrap(),
        BTreeMap::from([(order.id.clone(), T0)])
    );
    // A refusal is an answer.
    store
        .order_failed(&order.id, OrderStep::Buy, &failure("no balance"))
        .await
        .unwrap();
    assert_eq!(bought(&store).await, []);
    // Its tag is this journal's all the same.
    assert_eq!(store.bought().await.unwrap().len(), 1);
    store
        .order_started(&order.id, OrderStep::Buy, T0 + Seconds(60))
        .await
        .unwrap();
    let reference = "scs1".to_owned();
    let event = OrderEvent::Bought {
        reference: reference.clone(),
    };
    let phase = OrderPhase::Entitled { reference };
    let advance = advance(&order, OrderStep::Buy, event, phase);
    store.order_advanced(&advance).await.unwrap();
    assert_eq!(bought(&store).await, [T0 + Seconds(60)]);
    let mut part = store.snapshot().await.unwrap();
    part.purchases.clear();
    let mut touched = Touched::default();
    touched.orders.insert(order.id.clone());
    assert!(store.refresh(&mut part, &touched).await.unwrap());
    assert_eq!(part.purchases.len(), 1, "a part of the snapshot has it");
}

#[tokio::test]
async fn a_claim_names_the_journal_anew_and_gives_up_what_nothing_was_applied_for() {
    let (_dir, store) = store().await;
    assert_eq!(store.identity().await.unwrap(), None);
    let one = Identity {
        journal: "one".to_owned(),
        machine: "m1".to_owned(),
        host: "h1".to_owned(),
    };
    let two = Identity {
        journal: "two".to_owned(),
        machine: "m2".to_owned(),
        host: "h2".to_owned(),
    };
    store.identify(&one).await.unwrap();
    store.identify(&two).await.unwrap();
    assert_eq!(
        store.identity().await.unwrap().unwrap(),
        one,
        "it has a name"
    );
    let open = bare(&store, "a", &["scs7", "scs8"]).await;
    let private = order("b", "www");
    store.open_order(&private).await.unwrap();
    let claimed = store.claim(&two, T0 + Seconds(99)).await.unwrap();
    assert_eq!(claimed.orders, BTreeSet::from([open.id.clone()]));
    assert_eq!(claimed.purchases.len(), 2);
    let snapshot = store.snapshot().await.unwrap();
    assert_eq!(snapshot.identity, Some(two));
    assert_eq!(
        snapshot.orders.keys().collect::<Vec<_>>(),
        [&private.id],
        "an order of another issuer goes on"
    );
    assert_eq!(bought(&store).await, [T0 + Seconds(99); 2]);
}

#[tokio::test]
async fn a_journal_of_the_first_schema_goes_on_with_everything_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let dump = std::fs::File::open(
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/journal/0001.sql"),
    );
    let made = std::process::Command::new("sqlite3")
        .arg(&path)
        .stdin(dump.unwrap())
        .status();
    assert!(made.unwrap().success());
    // A reader comes before the first executor of the new version.
    let reader = SqliteStore::open_read_only(&path).await.unwrap().unwrap();
    let before = reader.snapshot().await.unwrap();
    assert_eq!(before.identity, None);
    assert_eq!(before.orders.len(), 1);
    drop(reader);
    let store = SqliteStore::open(&path).await.unwrap();
    let after = store.snapshot().await.unwrap();
    assert_eq!(after, before);
    let www = CertificateId::new("www").unwrap();
    assert_eq!(store.revisions(&www).await.unwrap().len(), 1);
    assert!(store.history(&www).await.unwrap().len() > 5);
    let order = bare(&store, "a", &[]).await;
    store
        .order_started(&order.id, OrderStep::Buy, T0)
        .await
        .unwrap();
    assert_eq!(bought(&store).await, [T0]);
}
