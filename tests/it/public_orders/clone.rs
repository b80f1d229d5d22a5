//! A copy of a state directory on another machine, beside its owner: what the owner has applied for is left alone, whatever
//! the copy's own policy says of it.

use renewd::ccm::ScmStatus;
use renewd::model::{OrderPhase, Seconds};
use renewd::plan::Verdict;

use super::claim::{belongs_to_another, copy, policy};
use super::late::{comes, turned_down};
use super::supplement::{self, newest, until_published};
use crate::support::engine::id;
use crate::support::shop::{Host, Shop, issuer, issuer_proven, purchase};

/// A host whose application waits for a proof that the CA does not see yet.
async fn applied(shop: &Shop) -> Host {
    let owner = shop.host(&policy(shop, &purchase(3, 1)));
    shop.board.hide();
    until_published(shop, &owner).await;
    assert_eq!(shop.board.left().len(), 1);
    owner
}

/// Its state directory on another machine, with another policy.
async fn clone_of(shop: &Shop, owner: &Host, policy: &str) -> Host {
    let clone = shop.host(policy);
    owner.engine().await.store.close().await.unwrap();
    copy(&owner.dir().join("state"), &clone.dir().join("state"));
    belongs_to_another(&clone.dir().join("state"));
    clone
}

async fn phase(host: &Host) -> OrderPhase {
    let mut orders = host.snapshot().await.orders.into_values();
    orders.next().unwrap().phase
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_does_not_want_the_certificate_leaves_its_owners_application_and_proof() {
    let shop = Shop::at("2027-04-01").await;
    let owner = applied(&shop).await;
    let endpoint = shop.ccm.endpoint();
    let other = issuer_proven(&endpoint, "", "").replace("scm.public", "scm.other");
    let zone = "[validation.command.zone]\nauth = [\"/usr/bin/true\"]\n";
    let never = policy(&shop, &purchase(3, 1)) + "order = \"never\"\n";
    let elsewhere = format!(
        "{other}{zone}\n[certificate.www]\nissuer = \"other\"\nnames = [\"www.example.test\"]\n"
    );
    for policy in [
        issuer(&endpoint, &purchase(3, 1)),
        format!("{other}{zone}"),
        elsewhere,
        never,
    ] {
        let clone = clone_of(&shop, &owner, &policy).await;
        for _ in 0..6 {
            let plan = clone.tick().await;
            assert_eq!(phase(&clone).await.code(), "submitted", "{policy}");
            let told = plan
                .alerts
                .keys()
                .any(|key| key.as_str() == "stale-journal/public");
            assert!(told, "{policy}: {:?}", plan.alerts);
            for verdict in plan.verdicts.values() {
                let Verdict::Blocked(blocked) = verdict else {
                    panic!("{policy}: {verdict:?}");
                };
                assert_eq!(blocked.code(), "stale-journal", "{policy}");
            }
            shop.pass(Seconds::minutes(10)).await;
        }
        assert_eq!(shop.count(&ScmStatus::Paid).await, 0, "{policy}");
        assert_eq!(shop.board.left().len(), 1, "{policy}");
    }
    shop.board.show();
    owner.settle(&shop).await;
    assert_eq!(shop.ccm.running.requests_of("4.1.3.1"), 1);
    assert_eq!(shop.count(&ScmStatus::Issued).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_was_made_while_its_owner_gave_up_takes_nothing_back_that_was_applied_for_since()
 {
    let shop = Shop::at("2027-04-01").await;
    let owner = applied(&shop).await;
    let wanted = policy(&shop, &purchase(3, 1));
    owner.write(&issuer(&shop.ccm.endpoint(), &purchase(3, 1)));
    // The account does not take it back at once.
    shop.faults("at=4.1.1.2:1:server-error").await;
    owner.tick().await;
    let OrderPhase::Ending {
        withdraw: Some(_), ..
    } = phase(&owner).await
    else {
        panic!("{:?}", phase(&owner).await);
    };
    let clone = clone_of(&shop, &owner, &wanted).await;
    owner.settle(&shop).await;
    assert_eq!(shop.count(&ScmStatus::Paid).await, 1);
    owner.write(&wanted);
    until_published(&shop, &owner).await;
    assert_eq!(shop.count(&ScmStatus::Paid).await, 0, "it applied again");
    for _ in 0..6 {
        let plan = clone.tick().await;
        let verdict = &plan.verdicts[&id("www")];
        let Verdict::Blocked(blocked) = verdict else {
            panic!("{verdict:?}");
        };
        assert_eq!(blocked.code(), "stale-journal");
        shop.pass(Seconds::minutes(10)).await;
    }
    assert_eq!(shop.count(&ScmStatus::Paid).await, 0);
    assert_eq!(shop.board.left().len(), 1);
    shop.board.show();
    owner.settle(&shop).await;
    assert_eq!(shop.ccm.running.requests_of("4.1.3.1"), 1);
    assert_eq!(shop.count(&ScmStatus::Issued).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_takes_no_names_back_that_its_owner_waits_for() {
    let shop = Shop::at("2027-04-01").await;
    let named = |names: &[&str]| supplement::policy(&shop, names, "").replace(&purchase(50, 1), "");
    let (owner, first) = turned_down(&shop, 3, named).await;
    // It wants them still, the copy does not.
    let clone = clone_of(&shop, &owner, &named(&["a", "b"])).await;
    comes(&shop, &first.reference, "b.example.com", "c.example.com").await;
    for _ in 0..6 {
        clone.tick().await;
        shop.pass(Seconds::minutes(30)).await;
    }
    assert_eq!(shop.count(&ScmStatus::SupplementChecking).await, 1);
    shop.approve(&first.reference).await;
    owner.settle(&shop).await;
    supplement::is_supplemented(&first, &newest(&owner).await);
    shop.board.show();
}
