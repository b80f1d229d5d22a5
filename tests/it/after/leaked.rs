//! Orders of several years whose key may have become known to others.

use renewd::ccm::{Scm, ScmStatus};
use renewd::engine::Revocation;
use renewd::model::{Fingerprint, RevocationReason, Seconds};

use super::check;
use crate::public_orders::supplement::{newest, sent};
use crate::support::engine::id;
use crate::support::shop::{Host, Shop, issuer, purchase};

fn policy(shop: &Shop, rest: &str) -> String {
    let issuer = issuer(&shop.ccm.endpoint(), &purchase(50, 2));
    format!("{issuer}\n[certificate.www]\nissuer = \"public\"\nnames = [\"a.example.com\"]\n{rest}")
}

/// A person says that others may know the key of what is there.
async fn leak(host: &Host) -> Vec<String> {
    let wanted = Revocation {
        name: id("www"),
        revision: None,
        reason: RevocationReason::KeyCompromise,
        at_once: false,
    };
    let engine = host.engine().await;
    engine.ask_revocation(&wanted).await.unwrap()
}

async fn status(shop: &Shop, reference: &str) -> ScmStatus {
    let scm = Scm::new(shop.ccm.client());
    scm.show_certificate(reference).await.unwrap().status
}

async fn is_revoked(shop: &Shop, reference: &str) -> bool {
    matches!(
        status(shop, reference).await,
        ScmStatus::Revoked | ScmStatus::Revoking
    )
}

/// Lives on, with a look at what is noted each day, and never takes this key.
async fn never_with(shop: &Shop, host: &Host, key: Fingerprint, time: Seconds) {
    let end = shop.clock_now() + time;
    let mut checked = shop.clock_now();
    while shop.clock_now() < end {
        let plan = if checked + Seconds::days(1) <= shop.clock_now() {
            checked = shop.clock_now();
            check(&host.engine().await).await
        } else {
            host.tick().await
        };
        let told = host.told();
        let newest = newest(host).await;
        assert_ne!(newest.facts.spki, key, "{told:#?}");
        assert!(newest.facts.not_after > shop.clock_now(), "{told:#?}");
        shop.wake(&plan).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaked_key_of_several_years_takes_its_certificates_along_and_one_order_follows() {
    let shop = Shop::at("2027-04-01").await;
    let host = shop.host(&policy(&shop, ""));
    host.settle(&shop).await;
    let first = newest(&host).await;
    let mut second = first.clone();
    for _ in 0..300 {
        let plan = host.tick().await;
        second = newest(&host).await;
        if second.id != first.id && host.snapshot().await.orders.is_empty() {
            break;
        }
        shop.wake(&plan).await;
    }
    assert_ne!(second.reference, first.reference, "{:#?}", host.told());
    assert_eq!(second.facts.spki, first.facts.spki, "of one order");
    assert!(first.facts.not_after > shop.clock_now());
    let (_, bought, applied) = sent(&shop);
    assert_eq!(bought, 1);
    let notes = leak(&host).await;
    let along = format!("revision {} has the same key", first.id);
    assert!(notes.iter().any(|note| note.contains(&along)), "{notes:?}");
    host.settle(&shop).await;
    host.tick().await;
    let told = host.told();
    let third = newest(&host).await;
    assert_ne!(third.facts.spki, first.facts.spki, "{told:#?}");
    for old in [&first, &second] {
        assert!(is_revoked(&shop, &old.reference).await, "{told:#?}");
    }
    assert_eq!(status(&shop, &third.reference).await, ScmStatus::Issued);
    let (_, bought, applied_since) = sent(&shop);
    assert_eq!((bought, applied_since), (2, applied + 1), "{told:#?}");
    let snapshot = host.snapshot().await;
    assert_eq!(snapshot.certificates[&id("www")].revoking, []);
    // What the first order would have brought is not missed.
    never_with(&shop, &host, first.facts.spki, Seconds::days(400)).await;
    assert_eq!(shop.ccm.running.requests_of("4.1.3.1"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successor_with_a_leaked_key_that_is_in_the_account_already_is_not_taken() {
    let shop = Shop::at("2027-04-01").await;
    let host = shop.host(&policy(&shop, "renew_at = \"1/10\"\n"));
    host.settle(&shop).await;
    let first = newest(&host).await;
    let comes = first.facts.not_after - Seconds::days(28);
    shop.pass(shop.clock_now().until(comes)).await;
    shop.look().await;
    let all = shop.all().await;
    let next = all.iter().find(|one| one.id != first.reference).unwrap();
    shop.approve(&next.id).await;
    assert_eq!(status(&shop, &next.id).await, ScmStatus::Issued);
    let (_, bought, applied) = sent(&shop);
    leak(&host).await;
    host.settle(&shop).await;
    host.tick().await;
    let told = host.told();
    let then = newest(&host).await;
    assert_ne!(then.facts.spki, first.facts.spki, "{told:#?}");
    assert_ne!(then.reference, next.id);
    assert!(is_revoked(&shop, &first.reference).await, "{told:#?}");
    let (_, bought_since, applied_since) = sent(&shop);
    assert_eq!((bought_since, applied_since), (bought + 1, applied + 1));
    never_with(&shop, &host, first.facts.spki, Seconds::days(60)).await;
    // Nobody serves it, and who has its key could.
    assert!(is_revoked(&shop, &next.id).await, "{told:#?}");
    assert_eq!(shop.ccm.running.requests_of("4.1.3.1"), bought + 1);
}
