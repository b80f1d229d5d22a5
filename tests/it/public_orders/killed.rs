//! Killed at every boundary of an order of a public certificate, started again, converged: one purchase, one application, no
//! proof left over, the key kept. A step that is killed panics at a fail point: its future is gone at that very place, and
//! everything else of the process with it.

use renewd::ccm::ScmStatus;
use renewd::model::{OrderPhase, Seconds};
use renewd::plan::Plan;
use serde_json::json;

use crate::ccm_server::http::post;
use crate::support::engine::{healthy, id, tick};
use crate::support::shop::{Host, Shop, issuer, purchase};

const MOMENTS: [&str; 3] = ["started", "effect", "done"];

pub(super) fn boundaries(steps: &[&str]) -> Vec<String> {
    let each = steps
        .iter()
        .flat_map(|step| MOMENTS.map(|m| format!("order.{step}.{m}")));
    each.collect()
}

fn policy(shop: &Shop, name: &str, rest: &str, years: u32) -> String {
    let issuer = issuer(&shop.ccm.endpoint(), &purchase(50, years));
    format!("{issuer}\n[certificate.www]\nissuer = \"public\"\nnames = [\"{name}\"]\n{rest}")
}

/// One start of the host; `None` if it was killed at the point.
async fn start(host: &Host) -> Option<Plan> {
    let engine = host.engine().await;
    let same = std::sync::Arc::clone(&engine);
    let ended = tokio::spawn(async move {
        let mut snapshot = same.observe().await.unwrap();
        let scope = renewd::engine::Scope::All;
        let patience = renewd::engine::Patience::NONE;
        let plan = same.converge(&mut snapshot, &scope, patience).await;
        plan.ok()
    });
    let plan = ended.await.ok().flatten();
    if plan.is_none() {
        engine.store.close().await.unwrap();
    }
    plan
}

/// Starts the host until it dies at the point; answers whether it did.
pub(super) async fn die(shop: &Shop, host: &Host, point: &str, most: usize) -> bool {
    fail::cfg(point, "panic").unwrap();
    let mut died = false;
    for _ in 0..most {
        match start(host).await {
            None => {
                died = true;
                break;
            }
            Some(plan) => {
                let open = host.snapshot().await.orders;
                if healthy(&plan) && open.is_empty() {
                    break;
                }
                shop.wake(&plan).await;
            }
        }
    }
    fail::remove(point);
    died
}

async fn assert_one(shop: &Shop, host: &Host, before: (usize, usize, usize), at: &str) {
    host.settle(shop).await;
    // A check clears away what killed processes left.
    host.tick().await;
    let after = counts(shop).await;
    assert_eq!(after.0, before.0 + 1, "{at}: purchases\n{:#?}", host.told());
    assert_eq!(
        after.1,
        before.1 + 1,
        "{at}: applications\n{:#?}",
        host.told()
    );
    assert_eq!(after.2, before.2 + 1, "{at}: issued");
    assert_clean(shop, host, at).await;
}

pub(super) async fn assert_clean(shop: &Shop, host: &Host, at: &str) {
    assert_eq!(shop.board.left(), Vec::<String>::new(), "{at}: proofs stay");
    let engine = host.engine().await;
    let snapshot = host.snapshot().await;
    let newest = snapshot.certificates[&id("www")].newest.clone().unwrap();
    let kept = engine.deployer.materials().public_keys().unwrap();
    assert!(
        kept.contains(&newest.facts.spki),
        "{at}: its key is not kept"
    );
    let left: Vec<String> = renewd::sys::fs::list(&host.dir().join("state/keys"))
        .unwrap()
        .into_iter()
        .map(|name| name.to_string_lossy().into_owned())
        .filter(|name| name != "public")
        .collect();
    assert_eq!(
        left,
        Vec::<String>::new(),
        "{at}: keys of closed orders stay"
    );
}

/// Purchases, applications, issued certificates of the account.
async fn counts(shop: &Shop) -> (usize, usize, usize) {
    (
        shop.ccm.running.requests_of("4.1.3.1"),
        shop.ccm.running.requests_of("4.1.1.1"),
        shop.count(&ScmStatus::Issued).await,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_boundary_from_purchase_to_the_retracted_proof_converges_to_one_certificate()
{
    let shop = Shop::at("2027-04-01").await;
    let mut points = vec!["order.open.done".to_owned()];
    points.extend(boundaries(&[
        "look",
        "buy",
        "store-key",
        "submit",
        "fetch",
        "publish",
        "examine",
        "retract",
        "close",
    ]));
    for (nth, point) in points.iter().enumerate() {
        let name = format!("a{nth}.example.com");
        let host = shop.host(&policy(&shop, &name, "", 1));
        let before = counts(&shop).await;
        assert!(
            die(&shop, &host, point, 60).await,
            "{point} was never passed"
        );
        assert_one(&shop, &host, before, point).await;
    }
    println!("killed at {} boundaries", points.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_while_a_lost_purchase_or_application_is_looked_for_never_leads_to_a_second() {
    let shop = Shop::at("2027-04-01").await;
    let cases = [
        ("order.buy.effect", "trace"),
        ("order.submit.effect", "resolve"),
    ];
    for (nth, (first, step)) in cases.into_iter().enumerate() {
        for (also, point) in boundaries(&[step]).iter().enumerate() {
            let name = format!("b{nth}{also}.example.com");
            let host = shop.host(&policy(&shop, &name, "", 1));
            let before = counts(&shop).await;
            assert!(
                die(&shop, &host, first, 60).await,
                "{first} was never passed"
            );
            assert!(
                die(&shop, &host, point, 60).await,
                "{point} was never passed"
            );
            assert_one(&shop, &host, before, point).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_around_a_claim_takes_the_one_entitlement_once() {
    let shop = Shop::at("2027-04-01").await;
    for (nth, point) in boundaries(&["look", "confirm", "submit"])
        .iter()
        .enumerate()
    {
        let body = json!({
            "cert_brand": "GEOTRUST", "cert_type": "DV_SSL_CERT", "domain_type": "SINGLE_DOMAIN", "effective_time": 1,
            "domain_numbers": 1, "order_number": 1, "agree_privacy_protection": true,
        });
        let before = counts(&shop).await;
        post(&shop.ccm, "/v3/scm/certificates/buy", &body)
            .await
            .expect(200);
        let name = format!("c{nth}.example.com");
        let host = shop.host(&policy(&shop, &name, "", 1));
        assert!(
            die(&shop, &host, point, 60).await,
            "{point} was never passed"
        );
        // The person's purchase is the one.
        assert_one(&shop, &host, before, point).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_while_an_application_is_taken_back_leaves_neither_it_nor_its_proof() {
    let shop = Shop::at("2027-04-01").await;
    for (nth, point) in boundaries(&["withdraw", "retract", "close"])
        .iter()
        .enumerate()
    {
        let name = format!("d{nth}.example.com");
        let host = shop.host(&policy(&shop, &name, "", 1));
        *shop.board.silent.lock().unwrap() = true;
        let mut published = false;
        for _ in 0..60 {
            let plan = host.tick().await;
            published = !shop.board.left().is_empty();
            if published {
                break;
            }
            shop.wake(&plan).await;
        }
        assert!(published, "{:#?}", host.told());
        // Nobody wants it any more.
        host.write(&policy(&shop, &name, "order = \"never\"\n", 1));
        assert!(
            die(&shop, &host, point, 60).await,
            "{point} was never passed\n{:#?}",
            host.told()
        );
        for _ in 0..60 {
            let plan = host.tick().await;
            if host.snapshot().await.orders.is_empty() {
                break;
            }
            shop.wake(&plan).await;
        }
        *shop.board.silent.lock().unwrap() = false;
        assert_eq!(
            host.snapshot().await.orders.len(),
            0,
            "{point}: {:#?}",
            host.told()
        );
        assert_eq!(
            shop.board.left(),
            Vec::<String>::new(),
            "{point}: proofs stay"
        );
        let under_way = shop.all().await;
        let under_way = under_way.iter().filter(|one| one.status != ScmStatus::Paid);
        assert_eq!(under_way.count(), 0, "{point}: the application stays");
        // What was bought is there for the next who needs it; here the test takes it away.
        shop.clear().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_while_a_successor_is_taken_over_neither_loses_nor_buys_one() {
    for (nth, point) in boundaries(&["look", "fetch", "close"]).iter().enumerate() {
        let shop = Shop::at("2027-04-01").await;
        let name = format!("e{nth}.example.com");
        let host = shop.host(&policy(&shop, &name, "", 2));
        host.settle(&shop).await;
        let first = host.snapshot().await.certificates[&id("www")]
            .newest
            .clone()
            .unwrap();
        // To where the account brings the next one.
        let due = first.facts.not_after - Seconds::days(32);
        while shop.clock_now() < due {
            shop.pass(Seconds::days(1)).await;
        }
        assert!(
            die(&shop, &host, point, 400).await,
            "{point} was never passed\n{:#?}",
            host.told()
        );
        let mut newest = first.clone();
        for _ in 0..400 {
            let plan = tick(&host.engine().await).await;
            let snapshot = host.snapshot().await;
            newest = snapshot.certificates[&id("www")].newest.clone().unwrap();
            let open = snapshot
                .orders
                .values()
                .any(|order| !matches!(order.phase, OrderPhase::Seeking { .. }));
            if newest.id != first.id && !open {
                break;
            }
            shop.wake(&plan).await;
        }
        assert_ne!(newest.id, first.id, "{point}: {:#?}", host.told());
        assert_eq!(
            newest.facts.spki, first.facts.spki,
            "{point}: it comes with the first key"
        );
        assert_eq!(shop.ccm.running.requests_of("4.1.3.1"), 1, "{point}");
        assert_clean(&shop, &host, point).await;
    }
}
