//! Entitlements that are not there: not yet, or not any more.

use renewd::ccm::ScmStatus;
use renewd::model::Seconds;
use serde_json::json;

use crate::ccm_server::http::post;
use crate::support::engine::id;
use crate::support::shop::{Host, Shop, issuer, purchase};
use crate::support::world::NAME;

fn policy(shop: &Shop) -> String {
    let issuer = issuer(&shop.ccm.endpoint(), &purchase(3, 1));
    format!("{issuer}\n[certificate.www]\nissuer = \"public\"\nnames = [\"{NAME}\"]\n")
}

fn bought(shop: &Shop) -> usize {
    shop.ccm.running.requests_of("4.1.3.1")
}

/// By a person, in the console.
async fn buy(shop: &Shop) {
    let body = json!({
        "cert_brand": "GEOTRUST", "cert_type": "DV_SSL_CERT", "domain_type": "SINGLE_DOMAIN", "effective_time": 1,
        "domain_numbers": 1, "order_number": 1, "agree_privacy_protection": true,
    });
    let bought = post(&shop.ccm, "/v3/scm/certificates/buy", &body).await;
    bought.expect(200);
}

async fn phases(host: &Host) -> Vec<&'static str> {
    let orders = host.snapshot().await.orders;
    orders.values().map(|order| order.phase.code()).collect()
}

/// Until it is not known whether its application was taken, and then what it is for is deleted.
async fn deleted_while_unclear(shop: &Shop, host: &Host) {
    shop.faults("at=4.1.1.1:1:lost-request").await;
    for _ in 0..20 {
        let plan = host.tick().await;
        if phases(host).await == ["unclear"] {
            assert_eq!(shop.count(&ScmStatus::Paid).await, 1);
            shop.clear().await;
            return;
        }
        shop.wake(&plan).await;
    }
    panic!("it was never lost: {:#?}", host.told());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_while_an_application_for_it_is_unclear_is_not_waited_for() {
    let shop = Shop::at("2027-04-01").await;
    buy(&shop).await;
    let host = shop.host(&policy(&shop));
    deleted_while_unclear(&shop, &host).await;
    let begun = shop.clock_now();
    host.settle(&shop).await;
    let took = begun.until(shop.clock_now());
    assert!(took < Seconds::hours(1), "{took}");
    assert_eq!(bought(&shop), 2, "one by hand, one in its place");
    assert_eq!(shop.count(&ScmStatus::Issued).await, 1);
    let history = host.engine().await.store.history(&id("www")).await.unwrap();
    let says = |text: &str| history.iter().any(|entry| entry.message.contains(text));
    assert!(says("is not there at"), "{history:#?}");
    assert_eq!(shop.board.left(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_order_bought_itself_is_looked_for_for_hours_before_it_is_taken_for_deleted() {
    let shop = Shop::at("2027-04-01").await;
    let host = shop.host(&policy(&shop));
    let begun = shop.clock_now();
    deleted_while_unclear(&shop, &host).await;
    while shop.clock_now() < begun + Seconds::minutes(350) {
        host.tick().await;
        assert_eq!(phases(&host).await, ["unclear"], "{:#?}", host.told());
        shop.pass(Seconds::minutes(5)).await;
    }
    assert_eq!(bought(&shop), 1);
    host.settle(&shop).await;
    assert_eq!(bought(&shop), 2);
    assert!(shop.clock_now() < begun + Seconds::hours(8));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_bought_after_days_of_waiting_may_not_be_there_at_once_either() {
    let shop = Shop::at("2027-04-01").await;
    // One purchase a day, so that the last of them waits for three days.
    let issuer = issuer(&shop.ccm.endpoint(), &purchase(1, 1));
    let certificates: String = ["a", "b", "c", "d"]
        .map(|name| {
            format!(
                "\n[certificate.{name}]\nissuer = \"public\"\nnames = [\"{name}.example.test\"]\n"
            )
        })
        .concat();
    let host = shop.host(&format!("{issuer}{certificates}"));
    for _ in 0..400 {
        let plan = host.tick().await;
        if bought(&shop) == 3 {
            break;
        }
        shop.wake(&plan).await;
    }
    assert_eq!(bought(&shop), 3, "{:#?}", host.told());
    // What is bought next is there an hour later.
    shop.faults("late-effect=3600").await;
    let mut last = None;
    for _ in 0..400 {
        let plan = host.tick().await;
        let snapshot = host.snapshot().await;
        if bought(&shop) == 4 {
            last = snapshot.orders.values().next().cloned();
            break;
        }
        shop.wake(&plan).await;
    }
    let last = last.unwrap_or_else(|| panic!("{:#?}", host.told()));
    let waited = last.opened_at.until(shop.clock_now());
    assert!(waited > Seconds::hours(60), "{waited}");
    host.settle(&shop).await;
    let told = host.told();
    assert!(
        told.iter().any(|line| line.contains("not there yet")),
        "{told:#?}"
    );
    let history = host.engine().await.store.history(&last.certificate).await;
    let history = history.unwrap();
    let orders = history.iter().filter(|entry| entry.machine == "order");
    let other: Vec<_> = orders
        .filter(|entry| entry.id != last.id.to_string())
        .collect();
    assert!(other.is_empty(), "{other:#?}");
    assert_eq!(bought(&shop), 4);
    assert_eq!(shop.count(&ScmStatus::Issued).await, 4);
}
