//! Killed after a public certificate was issued: while it is brought to a service of the cloud, revoked, tidied away. Each
//! is done once, and nothing beside it.

use renewd::ccm::{Scm, ScmStatus};
use renewd::model::{RevisionFacts, Seconds};

use crate::after::push::{REGION, resource, served};
use crate::after::{CLOUD, uploads};
use crate::crash::public::{assert_clean, counts, policy};
use crate::support::agent::Agent;
use crate::support::engine::id;
use crate::support::market::{Market, ONCE, snapshot};

async fn newest(agent: &Agent) -> RevisionFacts {
    let snapshot = snapshot(agent).await;
    snapshot.certificates[&id("www")].newest.clone().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_while_a_public_certificate_is_pushed_has_it_used_where_the_policy_says_and_nowhere_else()
 {
    let market = Market::at("2027-04-01").await;
    let ccm = &market.shop.ccm;
    for (nth, point) in ["push.deploy.effect", "push.done"].iter().enumerate() {
        let wanted = resource(ccm, "ELB", &format!("front{nth}")).await;
        let other = resource(ccm, "ELB", &format!("back{nth}")).await;
        let place = format!(
            "key = \"ccm\"\npush = [\"edge\"]\n\n[push.edge]\naccount = \"public\"\nservice = \"ELB\"\nregion = \"{REGION}\"\nresources = [\"{wanted}\"]\n"
        );
        let agent = market.host(&policy(&market, &format!("p{nth}"), &place, 1));
        let before = counts(&market.shop).await;
        assert!(
            market.die(&agent, point, &ONCE).await,
            "{point} was never passed"
        );
        market.settle(&agent, point).await;
        market.once(&agent).expect(0);
        let serial = newest(&agent).await.facts.serial;
        assert_eq!(served(ccm, &wanted).await, Some(serial), "{point}");
        assert_eq!(served(ccm, &other).await, None, "{point}: not asked for");
        let after = counts(&market.shop).await;
        assert_eq!(after[..2], [before[0] + 1, before[1] + 1], "{point}");
        assert_eq!(
            uploads(ccm).await.len(),
            0,
            "{point}: it is in the account already"
        );
        assert_eq!(market.proofs(), Vec::<String>::new(), "{point}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_while_a_public_certificate_is_revoked_revokes_it_once_and_has_one_in_its_place() {
    let market = Market::at("2027-04-01").await;
    let line = [
        "revoke",
        "www",
        "--reason",
        "key_compromise",
        "--yes",
        "--wait",
        "0s",
    ];
    for (nth, point) in ["revoke.asked", "revoke.effect", "revoke.done"]
        .iter()
        .enumerate()
    {
        let agent = market.host(&policy(&market, &format!("r{nth}"), "", 1));
        market.settle(&agent, point).await;
        let (first, before) = (newest(&agent).await, counts(&market.shop).await);
        assert!(
            market.die(&agent, point, &line).await,
            "{point} was never passed"
        );
        market.settle(&agent, point).await;
        let second = newest(&agent).await;
        assert_ne!(second.facts.spki, first.facts.spki, "{point}: a new key");
        assert_clean(&market, &agent, point).await;
        let after = counts(&market.shop).await;
        let each = [before[0] + 1, before[1] + 1, before[2], before[3] + 1];
        assert_eq!(
            after, each,
            "{point}: purchases, applications, issued, revocations"
        );
        let scm = Scm::new(market.shop.ccm.client());
        let status = |reference: String| {
            let scm = &scm;
            async move { scm.show_certificate(&reference).await.unwrap().status }
        };
        let old = status(first.reference).await;
        assert!(
            matches!(old, ScmStatus::Revoked | ScmStatus::Revoking),
            "{point}: {old:?}"
        );
        assert_eq!(status(second.reference).await, ScmStatus::Issued, "{point}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_while_what_has_expired_is_deleted_deletes_it_and_nothing_else() {
    let market = Market::at("2027-04-01").await;
    let ccm = &market.shop.ccm;
    let agent = market.host(&format!(
        "{}{}delete_expired = true\n\n[push.list]\naccount = \"cloud\"\nservice = \"ELB\"\nregion = \"{REGION}\"\nimport = true\n\n[certificate.www]\nissuer = \"corp\"\nnames = [\"www.example.test\"]\nvalidity = \"30d\"\npush = [\"list\"]\n",
        ccm.issuer("2s"),
        CLOUD.replace("ENDPOINT", &ccm.endpoint()),
    ));
    market.settle(&agent, "the first").await;
    market.once(&agent).expect(0);
    let first = uploads(ccm).await;
    assert_eq!(first.len(), 1);
    for _ in 0..25 {
        market.shop.pass(Seconds::days(1)).await;
    }
    market.settle(&agent, "the second").await;
    market.once(&agent).expect(0);
    assert_eq!(uploads(ccm).await.len(), 2);
    market.shop.pass(Seconds::days(7)).await;
    let point = "upkeep.delete.effect";
    assert!(
        market.die(&agent, point, &ONCE).await,
        "{point} was never passed"
    );
    market.settle(&agent, point).await;
    let left = uploads(ccm).await;
    assert_eq!(left.len(), 1, "{left:?}");
    assert_ne!(left[0].id, first[0].id);
}
