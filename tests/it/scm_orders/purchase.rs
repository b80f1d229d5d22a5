//! What an order may take of an account, and what it buys.

use renewd::issuer::{Sighting, Traced};
use renewd::model::{Buying, ErrorClass, NameKinds, OrderRequest, Seconds, Spent};

use super::hand::{Hand, lost, order, wanted};
use crate::ccm_server::applicant::Applicant;

#[tokio::test]
async fn an_empty_account_has_nothing_and_nothing_was_spent() {
    let scene = Applicant::at("2027-04-01").await;
    let host = Hand::on("one", &scene.ccm);
    let seen = host
        .look("o-1", &wanted(&["www.example.com"]), scene.ccm.now())
        .await
        .unwrap();
    let nothing = Sighting::Nothing {
        unused: [].into(),
        spent: Spent::default(),
    };
    assert_eq!(seen, nothing);
}

#[tokio::test]
async fn what_was_bought_is_found_by_its_order_first_and_counts_against_the_budget() {
    let scene = Applicant::at("2027-04-01").await;
    let mut host = Hand::on("one", &scene.ccm);
    let now = scene.ccm.now();
    let id = host.buy("o-1", now).await.unwrap();
    host.purchases.insert(order("o-1"));
    let request = wanted(&["www.example.com"]);
    let seen = host.look("o-1", &request, now).await.unwrap();
    let unused = Sighting::Unused {
        reference: id.clone(),
    };
    assert_eq!(seen, unused);
    assert!(host.confirm(&id, "o-1").await);
    let found = host.trace("o-1", &request, &lost(now, &[]), now).await;
    assert_eq!(found.unwrap(), Traced::Found { reference: id });
    // For names that it does not fit it is listed, and was paid for.
    let several = wanted(&["www.example.com", "example.com"]);
    let seen = host.look("o-1", &several, now).await.unwrap();
    let Sighting::Nothing { unused, spent } = seen else {
        panic!("{seen:?}");
    };
    assert_eq!(unused.len(), 1);
    assert_eq!(spent.at, [now]);
    assert!(spent.unknown.is_empty());
    // The journal is of before that, with the same order.
    host.purchases.clear();
    let seen = host.look("o-1", &several, now).await.unwrap();
    let Sighting::Nothing { spent, .. } = seen else {
        panic!("{seen:?}");
    };
    assert_eq!(spent.unknown.len(), 1);
}

/// What is sold as a request of these names buys it, and what it is for.
fn several(names: &[&str]) -> (Buying, OrderRequest) {
    let mut request = wanted(names);
    let public = request.public.as_mut().unwrap();
    let buying = public.buying.as_mut().unwrap();
    buying.product.kinds = Some(NameKinds::of(names[0], &request.names));
    (buying.clone(), request)
}

#[tokio::test]
async fn what_is_bought_for_several_names_is_for_wildcards_as_many_as_are_among_them() {
    let scene = Applicant::at("2027-04-01").await;
    let mut host = Hand::on("one", &scene.ccm);
    let now = scene.ccm.now();
    let names = ["www.example.com", "example.com", "*.example.org"];
    let (buying, request) = several(&names);
    let more = ["www.example.com", "*.example.com", "*.example.org"];
    let first = ["*.example.org", "www.example.com", "example.com"];
    let (_, more) = several(&more);
    let (_, first) = several(&first);
    let id = host.buy_as(&buying, "o-1", now).await.unwrap();
    for other in [&more, &first] {
        let seen = host.look("o-2", other, now).await.unwrap();
        assert!(matches!(seen, Sighting::Nothing { .. }), "{seen:?}");
        // Nor does the account take an application for them.
        let key = host.key();
        let refused = host.apply(&id, other, Some(&key)).await.unwrap_err();
        assert_eq!(refused.class, ErrorClass::Rejected, "{refused:?}");
        assert!(refused.message.contains("SCM.0015"), "{refused:?}");
    }
    let unused = Sighting::Unused {
        reference: id.clone(),
    };
    assert_eq!(host.look("o-1", &request, now).await.unwrap(), unused);
    let key = host.key();
    host.apply(&id, &request, Some(&key)).await.unwrap();
}

#[tokio::test]
async fn a_primary_wildcard_is_bought_as_one() {
    let scene = Applicant::at("2027-04-01").await;
    let mut host = Hand::on("one", &scene.ccm);
    let now = scene.ccm.now();
    let (buying, request) = several(&["*.example.org", "www.example.com"]);
    let id = host.buy_as(&buying, "o-1", now).await.unwrap();
    let (_, turned) = several(&["www.example.com", "*.example.org"]);
    let seen = host.look("o-2", &turned, now).await.unwrap();
    assert!(matches!(seen, Sighting::Nothing { .. }), "{seen:?}");
    let key = host.key();
    host.apply(&id, &request, Some(&key)).await.unwrap();
}

#[tokio::test]
async fn a_claim_keeps_another_host_away_for_an_hour() {
    let scene = Applicant::at("2027-04-01").await;
    let id = scene.buy("DV_SSL_CERT", "SINGLE_DOMAIN", 1).await;
    let (one, two) = (Hand::on("one", &scene.ccm), Hand::on("two", &scene.ccm));
    let (now, request) = (scene.ccm.now(), wanted(&["www.example.com"]));
    let free = Sighting::Unused {
        reference: id.clone(),
    };
    assert_eq!(one.look("o-1", &request, now).await.unwrap(), free);
    one.claim(&id, "o-1", now).await;
    let seen = two.look("o-2", &request, now).await.unwrap();
    assert!(matches!(seen, Sighting::Nothing { .. }), "{seen:?}");
    assert!(one.confirm(&id, "o-1").await);
    assert!(!two.confirm(&id, "o-2").await);
    let later = now + Seconds::hours(1);
    assert_eq!(two.look("o-2", &request, later).await.unwrap(), free);
    two.claim(&id, "o-2", later).await;
    assert!(!one.confirm(&id, "o-1").await, "another claim stands");
    assert!(two.confirm(&id, "o-2").await);
    assert_eq!(order("o-1").as_str(), "o-1");
}
