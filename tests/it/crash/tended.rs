//! Killed after a public certificate was issued: while it is brought to a service of the cloud, revoked, tidied away. Each
//! is done once, and nothing beside it.

use renewd::ccm::{Pca, PrivateStatus, Scm, ScmStatus};
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

/// Without resources a service has it as a whole, and nothing can be read back.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_after_a_whole_service_was_given_a_certificate_gives_it_once_more_and_notes_it() {
    let market = Market::at("2027-04-01").await;
    let place = format!(
        "key = \"ccm\"\npush = [\"edge\"]\n\n[push.edge]\naccount = \"public\"\nservice = \"WAF\"\nregion = \"{REGION}\"\n"
    );
    let agent = market.host(&policy(&market, "whole", &place, 1));
    let given = || {
        let of = |operation| market.shop.ccm.running.requests_of(operation);
        of("4.1.6.1") + of("4.1.6.2")
    };
    let done = async || {
        let state = &snapshot(&agent).await.certificates[&id("www")];
        let mut places = state.pushes.values();
        places.find_map(|place| Some(place.done.as_ref()?.revision.clone()))
    };
    let point = "push.place.effect";
    assert!(
        market.die(&agent, point, &ONCE).await,
        "{point} was never passed"
    );
    assert_eq!((given(), done().await), (1, None));
    market.settle(&agent, point).await;
    market.once(&agent).expect(0);
    assert_eq!((given(), done().await), (2, Some(newest(&agent).await.id)));
    market.once(&agent).expect(0);
    assert_eq!(given(), 2, "once it is known, it is left alone");
}

/// By `revoke_superseded`: nobody asked for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_while_what_was_replaced_is_revoked_revokes_it_and_notes_it_once() {
    let market = Market::at("2027-04-01").await;
    let ccm = &market.shop.ccm;
    let pca = Pca::new(ccm.client());
    for (nth, point) in ["revoke.noted", "revoke.effect", "revoke.done"]
        .iter()
        .enumerate()
    {
        let agent = market.host(&format!(
            "{}revoke_superseded = \"1h\"\n\n[certificate.www]\nissuer = \"corp\"\nnames = [\"w{nth}.example.test\"]\nvalidity = \"30d\"\n",
            ccm.issuer("2s")
        ));
        market.settle(&agent, point).await;
        let first = newest(&agent).await;
        let renew = ["renew", "www", "--wait", "0s"];
        let mut killed = market.die(&agent, point, &renew).await;
        for _ in 0..3 {
            if killed {
                break;
            }
            // It is for a check.
            market.shop.pass(Seconds::days(1)).await;
            killed = market.die(&agent, point, &ONCE).await;
        }
        assert!(killed, "{point} was never passed");
        market.settle(&agent, point).await;
        for _ in 0..3 {
            market.shop.pass(Seconds::days(1)).await;
            market.once(&agent).expect(0);
        }
        market.settle(&agent, point).await;
        let second = newest(&agent).await;
        for (revision, wanted) in [
            (&first, PrivateStatus::Revoked),
            (&second, PrivateStatus::Issued),
        ] {
            let shown = pca.show_certificate(&revision.reference).await.unwrap();
            assert_eq!(shown.status, wanted, "{point}");
        }
        let history = market.run(&agent, &["history", "www"]).stdout;
        for said in ["to be revoked: superseded", "was revoked: superseded"] {
            assert_eq!(history.matches(said).count(), 1, "{point}: {history}");
        }
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
