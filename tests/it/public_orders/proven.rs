//! Names whose proof the CA has already: they are not asked for again while it holds, and are afterwards.

use std::collections::BTreeSet;

use renewd::ccm_server::ProofReuse;
use renewd::model::{RevisionFacts, Seconds};

use super::supplement::{has, is_supplemented, policy, sent, with};
use crate::support::engine::id;
use crate::support::shop::{Host, Shop};

/// Until a certificate comes after this one, and its order is over; also the places of all records that were published.
async fn next(
    shop: &Shop,
    host: &Host,
    before: Option<&RevisionFacts>,
) -> (RevisionFacts, BTreeSet<String>) {
    let mut published = BTreeSet::new();
    for _ in 0..400 {
        let plan = host.tick().await;
        published.extend(shop.board.left());
        let snapshot = host.snapshot().await;
        let state = snapshot.certificates.get(&id("www"));
        let newest = state.and_then(|state| state.newest.clone());
        if let Some(newest) = newest.filter(|newest| before.is_none_or(|one| one.id != newest.id))
            && snapshot.orders.is_empty()
        {
            assert_eq!(shop.board.left(), Vec::<String>::new(), "proofs stay");
            return (newest, published);
        }
        shop.wake(&plan).await;
    }
    panic!("there is no other certificate: {:#?}", host.told());
}

fn places(names: &[&str]) -> BTreeSet<String> {
    let place = |name: &&str| format!("_dnsauth.{name}.example.com");
    names.iter().map(place).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_is_proven_anew_only_where_the_proof_does_not_hold_any_more() {
    // 100 days for a certificate, and for a proof.
    let shop = Shop::reusing("2027-04-01", ProofReuse::Ballot).await;
    let host = shop.host(&policy(&shop, &["a"], ""));
    let (first, published) = next(&shop, &host, None).await;
    assert_eq!(published, places(&["a"]));
    let (second, published) = next(&shop, &host, Some(&first)).await;
    let age = first.issued_at.until(second.issued_at).0 / 86_400;
    assert!((40..100).contains(&age), "{age} days");
    assert_eq!(published, BTreeSet::new(), "it is proven still");
    let (third, published) = next(&shop, &host, Some(&second)).await;
    let age = first.issued_at.until(third.issued_at).0 / 86_400;
    assert!(age > 100, "{age} days");
    assert_eq!(published, places(&["a"]), "the proof is over");
}

#[tokio::test(flavor = "multi_thread")]
async fn from_2029_on_every_renewal_is_proven_anew() {
    // 47 days for a certificate, ten for a proof.
    let shop = Shop::reusing("2029-04-01", ProofReuse::Ballot).await;
    let host = shop.host(&policy(&shop, &["a"], ""));
    let mut before = None;
    for _ in 0..3 {
        let (newest, published) = next(&shop, &host, before.as_ref()).await;
        assert_eq!(published, places(&["a"]));
        before = Some(newest);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_names_only_those_without_a_proof_are_published() {
    let shop = Shop::reusing("2027-04-01", ProofReuse::Days(30)).await;
    let host = shop.host(&policy(&shop, &["a"], ""));
    let (first, _) = next(&shop, &host, None).await;
    shop.pass(Seconds::days(1)).await;
    // One that was bought for one name takes no other: it is a new application.
    host.write(&policy(&shop, &["a", "b"], ""));
    let (second, published) = next(&shop, &host, Some(&first)).await;
    assert_ne!(second.reference, first.reference);
    has(&second, &["a", "b"]);
    assert_eq!(published, places(&["b"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_added_also_where_the_ca_wants_the_old_ones_proven_again() {
    // Ten days for a proof.
    let shop = Shop::reusing("2029-04-01", ProofReuse::Ballot).await;
    let (host, first) = with(&shop, &["a", "b"], 3).await;
    shop.pass(Seconds::days(20)).await;
    let before = sent(&shop);
    host.write(&policy(&shop, &["a", "b", "c"], ""));
    let (then, published) = next(&shop, &host, Some(&first)).await;
    is_supplemented(&first, &then);
    has(&then, &["a", "b", "c"]);
    assert_eq!(published, places(&["a", "b", "c"]));
    assert_eq!(sent(&shop), (before.0 + 1, before.1, before.2));
}
