//! What the account or the way to it does to orders: answers that are lost or late, listings that are long or not whole,
//! hosts that want the same.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use renewd::ccm::{Brand, Buy, DomainType, ScmKind};
use renewd::ccm_server::Faults;
use renewd::issuer::{Applied, Effect, Intent, Sighting, Traced};
use renewd::model::{
    ErrorClass, Identity, IssuerKind, RemoteAuth, RevocationReason, ScmPolicy, Seconds, SecretRef,
};
use renewd::pki::Secret;
use serde_json::{Value, json};

use super::hand::{Hand, buying, by_hand, lost, order, wanted};
use crate::ccm_server::applicant::Applicant;
use crate::support::account::{NOW, connected, policy};
use crate::support::ccm::{Ccm, Wanted};
use crate::support::peer::{Peer, Reply, Request};

async fn faults(scene: &Applicant, plan: &str) {
    let (status, said) = scene
        .manage("POST", "/faults", &json!({"plan": plan}))
        .await;
    assert_eq!(status, 200, "{said}");
}

#[tokio::test]
async fn a_purchase_with_a_lost_answer_is_unknown_and_found_by_its_tag() {
    let scene = Applicant::at("2027-04-01").await;
    let host = Hand::on("one", &scene.ccm);
    let (now, request) = (scene.ccm.now(), wanted(&["www.example.com"]));
    faults(&scene, "at=4.1.3.1:1:lost-response").await;
    let error = host.buy("o-1", now).await.unwrap_err();
    assert_eq!(error.effect, Effect::Unknown, "{error}");
    let found = host.trace("o-1", &request, &lost(now, &[]), now).await;
    let Traced::Found { reference } = found.unwrap() else {
        panic!("it was bought");
    };
    assert_eq!(scene.status(&reference).await, "PAID");
    // It is another order's for everybody else: for one host a purchase, for the other nothing.
    let found = host.trace("o-2", &request, &lost(now, &[]), now).await;
    assert_eq!(found.unwrap(), Traced::Absent);
}

#[tokio::test]
async fn a_purchase_that_was_refused_certainly_was_not_made() {
    let scene = Applicant::at("2027-04-01").await;
    let host = Hand::on("one", &scene.ccm);
    let id = order("o-1");
    let intent = Intent {
        order: &id,
        identity: &host.identity,
        certificate: "www",
        now: scene.ccm.now(),
    };
    // A wildcard is for one name.
    let wrong = buying(renewd::model::DomainType::Wildcard, 2);
    let error = host.orders().buy(&wrong, intent).await.unwrap_err();
    assert_eq!(
        (error.class, error.effect),
        (ErrorClass::Rejected, Effect::None)
    );
    faults(&scene, "at=4.1.3.1:1:server-error").await;
    let single = buying(renewd::model::DomainType::SingleDomain, 1);
    let error = host.orders().buy(&single, intent).await.unwrap_err();
    assert_eq!(error.effect, Effect::Unknown, "{error}");
}

#[tokio::test]
async fn what_takes_effect_late_is_absent_until_then() {
    let scene = Applicant::at("2027-04-01").await;
    let host = Hand::on("one", &scene.ccm);
    let (began, request) = (scene.ccm.now(), wanted(&["www.example.com"]));
    faults(&scene, "late-effect=300,at=4.1.3.1:1:lost-response").await;
    host.buy("o-1", began).await.unwrap_err();
    let purchase = lost(began, &[]);
    let absent = host.trace("o-1", &request, &purchase, began).await;
    assert_eq!(absent.unwrap(), Traced::Absent);
    scene.pass(Seconds(301)).await;
    let found = host
        .trace("o-1", &request, &purchase, scene.ccm.now())
        .await;
    assert!(matches!(found.unwrap(), Traced::Found { .. }));
}

#[tokio::test]
async fn what_is_there_without_its_tags_may_be_ours_once_they_had_their_time() {
    let scene = Applicant::at("2027-04-01").await;
    let host = Hand::on("one", &scene.ccm);
    let (began, request) = (scene.ccm.now(), wanted(&["www.example.com"]));
    let before = scene.buy("DV_SSL_CERT", "SINGLE_DOMAIN", 1).await;
    // Not what the policy buys.
    scene.buy("OV_SSL_CERT", "SINGLE_DOMAIN", 1).await;
    faults(&scene, "late-tags=3600,at=4.1.3.1:1:lost-response").await;
    host.buy("o-1", began).await.unwrap_err();
    let purchase = lost(began, &[before.as_str()]);
    let early = host.trace("o-1", &request, &purchase, began).await;
    assert_eq!(early.unwrap(), Traced::Absent);
    scene.pass(Seconds::minutes(11)).await;
    let now = scene.ccm.now();
    let late = host.trace("o-1", &request, &purchase, now).await.unwrap();
    let Traced::Perhaps { reference } = late else {
        panic!("{late:?}");
    };
    assert_ne!(reference, before);
    // Once another host lays claim to it, or has applied with it, it is not to be taken; nor is it known to be another's.
    let mut other = Hand::on("two", &scene.ccm);
    other.claim(&reference, "o-9", now).await;
    let claimed = host.trace("o-1", &request, &purchase, now).await.unwrap();
    let Traced::Untold { detail } = claimed else {
        panic!("{claimed:?}");
    };
    assert!(detail.contains(&reference), "{detail}");
    let key = other.key();
    let applied = other.apply(&reference, &request, Some(&key)).await;
    applied.unwrap();
    let used = host.trace("o-1", &request, &purchase, now).await.unwrap();
    assert!(matches!(used, Traced::Untold { .. }), "{used:?}");
    // Whoever looked when it was used already did not buy it.
    let mut third = Hand::on("three", &scene.ccm);
    third.known.insert(before.clone());
    let others = wanted(&["api.example.com"]);
    let looks = async || {
        let seen = third.look("o-2", &others, scene.ccm.now()).await.unwrap();
        let Sighting::Nothing { spent, .. } = seen else {
            panic!("{seen:?}");
        };
        spent.untold
    };
    assert_eq!(looks().await, [reference.clone()].into());
    let later = lost(began, &[before.as_str(), reference.as_str()]);
    let absent = third.trace("o-2", &request, &later, now).await;
    assert_eq!(absent.unwrap(), Traced::Absent);
    // Issued it may be this order's as well.
    scene.prove(&reference).await;
    scene.pass(Seconds::minutes(1)).await;
    assert_eq!(scene.status(&reference).await, "ISSUED");
    let used = host.trace("o-1", &request, &purchase, scene.ccm.now());
    let used = used.await.unwrap();
    assert!(matches!(used, Traced::Untold { .. }), "{used:?}");
    // Its tags tell.
    scene.pass(Seconds::minutes(50)).await;
    let found = host.trace("o-1", &request, &purchase, scene.ccm.now());
    assert_eq!(found.await.unwrap(), Traced::Found { reference });
    // What was issued days before is nothing that a purchase has brought.
    scene.pass(Seconds::days(2)).await;
    assert!(looks().await.is_empty());
}

#[tokio::test]
async fn what_others_use_without_any_tags_is_waited_for_no_longer_than_tags_can_be_late() {
    let scene = Applicant::at("2027-04-01").await;
    let (host, mut other) = (Hand::on("one", &scene.ccm), Hand::on("two", &scene.ccm));
    let (began, request) = (scene.ccm.now(), wanted(&["www.example.com"]));
    let purchase = lost(began, &[]);
    // Bought by a person meanwhile, and applied for.
    let theirs = scene.buy("DV_SSL_CERT", "SINGLE_DOMAIN", 1).await;
    let key = other.key();
    other.apply(&theirs, &request, Some(&key)).await.unwrap();
    scene.pass(Seconds::minutes(30)).await;
    let now = scene.ccm.now();
    let early = host.trace("o-1", &request, &purchase, now).await.unwrap();
    assert!(matches!(early, Traced::Untold { .. }), "{early:?}");
    scene.pass(Seconds::hours(2)).await;
    let late = host.trace("o-1", &request, &purchase, scene.ccm.now());
    assert_eq!(late.await.unwrap(), Traced::Absent);
}

#[tokio::test]
async fn purchases_of_all_hosts_count_for_a_month_and_unknown_ones_of_this_journal_are_told() {
    let scene = Applicant::at("2027-04-01").await;
    let (mut one, two) = (Hand::on("one", &scene.ccm), Hand::on("two", &scene.ccm));
    let began = scene.ccm.now();
    let first = one.buy("o-1", began).await.unwrap();
    let second = two.buy("o-2", began + Seconds::days(1)).await.unwrap();
    let now = began + Seconds::days(29);
    // Nothing fits, so that purchases are what is told.
    let request = wanted(&["www.example.com", "example.com"]);
    let spent = async |host: &Hand, now| match host.look("o-5", &request, now).await.unwrap() {
        Sighting::Nothing { spent, unused, .. } => {
            assert_eq!(unused, [first.clone(), second.clone()].into());
            spent
        }
        other => panic!("{other:?}"),
    };
    let told = spent(&one, now).await;
    assert_eq!(told.at, [began, began + Seconds::days(1)]);
    assert_eq!(told.unknown, BTreeSet::from([first.clone()]));
    one.purchases.insert(order("o-1"));
    assert!(spent(&one, now).await.unknown.is_empty());
    let told = spent(&one, began + Seconds::days(30)).await;
    assert_eq!(told.at, [began + Seconds::days(1)]);
    assert!(spent(&one, began + Seconds::days(31)).await.at.is_empty());
}

#[tokio::test]
async fn of_twenty_hosts_that_claim_one_entitlement_one_has_it() {
    let scene = Applicant::at("2027-04-01").await;
    let id = scene.buy("DV_SSL_CERT", "SINGLE_DOMAIN", 1).await;
    let (now, request) = (scene.ccm.now(), wanted(&["www.example.com"]));
    let hosts: Vec<(Hand, String)> = (0..20)
        .map(|n| (Hand::on(&format!("h{n}"), &scene.ccm), format!("o-{n}")))
        .collect();
    // All see it free before anybody writes.
    for (host, own) in &hosts {
        let seen = host.look(own, &request, now).await.unwrap();
        assert!(matches!(seen, Sighting::Unused { .. }));
    }
    for (host, own) in &hosts {
        host.claim(&id, own, now).await;
    }
    let mut have = 0;
    for (host, own) in &hosts {
        have += usize::from(host.confirm(&id, own).await);
    }
    assert_eq!(have, 1);
    // Whoever looks now has to go without, but for the one.
    let mut free = 0;
    for (host, own) in &hosts {
        let seen = host.look(own, &request, now).await.unwrap();
        free += usize::from(matches!(seen, Sighting::Unused { .. }));
    }
    assert_eq!(free, 1);
}

#[tokio::test]
async fn an_account_with_more_than_an_offset_reaches_is_seen_whole() {
    let scene = Applicant::at("2027-04-01").await;
    let scm = by_hand(&scene.ccm);
    for _ in 0..2 {
        let many = Buy {
            cert_brand: Brand::Geotrust,
            cert_type: ScmKind::Ov,
            domain_type: DomainType::Single,
            effective_time: 1,
            domain_numbers: 1,
            order_number: 90,
            agree_privacy_protection: true,
            ..Buy::default()
        };
        scm.buy(&many).await.unwrap();
    }
    let host = Hand::on("one", &scene.ccm);
    let (now, request) = (scene.ccm.now(), wanted(&["www.example.com"]));
    let seen = host.look("o-1", &request, now).await.unwrap();
    let Sighting::Nothing { unused, .. } = seen else {
        panic!("{seen:?}");
    };
    assert_eq!(unused.len(), 180);
    let id = scene.buy("DV_SSL_CERT", "SINGLE_DOMAIN", 1).await;
    let seen = host.look("o-1", &request, now).await.unwrap();
    assert_eq!(seen, Sighting::Unused { reference: id });
}

#[tokio::test]
async fn a_hostile_way_never_makes_nothing_of_something() {
    let ccm = Wanted::new().faults(Faults::hostile(7)).start().await;
    let host = Hand::on("one", &ccm);
    let (now, request) = (ccm.now(), wanted(&["www.example.com"]));
    // Some purchases arrive, whatever their answers say.
    for n in 0..8 {
        let error = host.buy(&format!("o-{n}"), now).await.err();
        assert!(error.is_none_or(|error| {
            error.effect == Effect::Unknown
                || matches!(error.class, ErrorClass::Transient | ErrorClass::RateLimited)
        }));
    }
    let mut seen = 0;
    for _ in 0..60 {
        match host.look("o-0", &request, now).await {
            Ok(Sighting::Unused { .. }) => seen += 1,
            Ok(other) => panic!("{other:?}"),
            Err(error) => assert!(
                matches!(error.class, ErrorClass::Transient | ErrorClass::RateLimited),
                "{error}"
            ),
        }
    }
    assert!(seen > 0);
}

#[tokio::test]
async fn no_answer_of_the_account_is_never_an_empty_account() {
    let scene = Applicant::at("2027-04-01").await;
    let host = Hand::on("one", &scene.ccm);
    let (now, request) = (scene.ccm.now(), wanted(&["www.example.com"]));
    for (plan, class) in [
        ("at=4.1.2.1:1:server-error", ErrorClass::Transient),
        ("at=4.1.5.1:1:server-error", ErrorClass::Transient),
        ("at=4.1.2.1:1:lost-request", ErrorClass::Transient),
    ] {
        faults(&scene, plan).await;
        let error = host.look("o-1", &request, now).await.unwrap_err();
        assert_eq!((error.class, error.effect), (class, Effect::None), "{plan}");
        faults(&scene, plan).await;
        let purchase = lost(now, &[]);
        let error = host.trace("o-1", &request, &purchase, now).await;
        assert_eq!(error.unwrap_err().class, class, "{plan}");
    }
}

/// An account of few words, which says what it is told to.
async fn told(resources: Value, total: u64) -> (Peer, Arc<Mutex<Vec<Value>>>) {
    let sent = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&sent);
    let peer = Peer::start(move |request: &Request| {
        let path = request.path().to_owned();
        if path == "/v3/scm/resource_instances/action" {
            return Reply::json(200, &json!({"total_count": total, "resources": resources}));
        }
        if path == "/v3/scm/certificates" {
            return Reply::json(200, &json!({"total_count": 0, "certificates": []}));
        }
        if path == "/v3/scm/certificates/buy" {
            return Reply::json(200, &json!({"order_id": "CS1", "cert": []}));
        }
        if request.method == "GET" && path == "/v3/scm/certificates/scs1" {
            let body = json!({"error_code": "SCM.0094", "error_msg": "Resource not found."});
            return Reply::json(404, &body);
        }
        if path.ends_with("/tags/action") {
            let body = request.json();
            let mut sent = seen.lock().unwrap();
            let first = sent.is_empty();
            sent.push(body);
            if first {
                let body = json!({"error_code": "SCM.0311", "error_msg": "Duplicate tag key."});
                return Reply::json(400, &body);
            }
            return Reply::json(200, &json!({"desc": "success"}));
        }
        Reply::json(
            200,
            &json!({"tags": [{"key": "renewd-claim", "value": "jold:o-0:1"}]}),
        )
    })
    .await;
    (peer, sent)
}

fn host(peer: &Peer) -> Hand {
    let kind = IssuerKind::Scm(ScmPolicy::default());
    Hand {
        issuer: connected(&peer.url, kind).unwrap(),
        identity: Identity {
            journal: "jone".to_owned(),
            machine: "m".to_owned(),
            host: "one".to_owned(),
        },
        keys: BTreeSet::new(),
        known: BTreeSet::new(),
        purchases: BTreeSet::new(),
    }
}

fn resource(status: &str) -> Value {
    json!([{"resource_id": "scs1", "tags": [], "resource_detail": {
        "cert_id": "scs1", "order_status": status, "domain": "www.example.com", "cert_type": "DV_SSL_CERT",
        "cert_brand": "GEOTRUST", "domain_type": "SINGLE_DOMAIN", "domain_num": 1,
    }}])
}

#[tokio::test]
async fn a_listing_that_lacks_something_is_no_listing() {
    let request = wanted(&["www.example.com"]);
    let (peer, _) = told(json!([]), 1).await;
    let host = host(&peer);
    let error = host.look("o-1", &request, NOW).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Transient);
    assert!(error.message.contains("0 of 1 read"), "{error}");
    let error = host.trace("o-1", &request, &lost(NOW, &[]), NOW).await;
    assert_eq!(error.unwrap_err().class, ErrorClass::Transient);
}

#[tokio::test]
async fn only_what_no_listing_has_is_taken_for_deleted() {
    let request = wanted(&["www.example.com"]);
    for (resources, total, said) in [
        (resource("PAID"), 1, "and is listed there"),
        (json!([]), 1, "0 of 1 read"),
    ] {
        let (peer, _) = told(resources, total).await;
        let host = host(&peer);
        let error = host.orders().applied("scs1", &request, None).await;
        let error = error.unwrap_err();
        assert_eq!(error.class, ErrorClass::Transient);
        assert!(error.message.contains(said), "{error}");
    }
    let (peer, _) = told(json!([]), 0).await;
    let host = host(&peer);
    let gone = host.orders().applied("scs1", &request, None).await;
    assert!(matches!(gone, Ok(Applied::Gone { .. })), "{gone:?}");
}

#[tokio::test]
async fn what_is_being_withdrawn_is_waited_for() {
    let (peer, _) = told(resource("CANCELCHECKING"), 1).await;
    let request = wanted(&["www.example.com"]);
    let error = host(&peer).look("o-1", &request, NOW).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Transient);
    assert!(error.message.contains("is being withdrawn"), "{error}");
    let other = wanted(&["shop.example.com"]);
    let seen = host(&peer).look("o-1", &other, NOW).await.unwrap();
    assert!(matches!(seen, Sighting::Nothing { .. }), "{seen:?}");
}

#[tokio::test]
async fn a_purchase_that_names_no_certificate_may_have_been_made() {
    let (peer, _) = told(json!([]), 0).await;
    let error = host(&peer).buy("o-1", NOW).await.unwrap_err();
    assert_eq!(
        (error.class, error.effect),
        (ErrorClass::Transient, Effect::Unknown)
    );
    let body = peer
        .requests()
        .iter()
        .find(|one| one.path().ends_with("/buy"))
        .unwrap()
        .json();
    assert_eq!(body["order_number"], 1);
    assert_eq!(body["is_auto_pay"], true);
    assert_eq!(body["agree_privacy_protection"], true);
    let tags: Vec<(&str, &str)> = body["tags"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tag| (tag["key"].as_str().unwrap(), tag["value"].as_str().unwrap()))
        .collect();
    let claim = format!("jone:o-1:{}", NOW.0);
    let bought = NOW.0.to_string();
    assert_eq!(
        tags,
        [
            ("renewd-intent", "o-1"),
            ("renewd-claim", claim.as_str()),
            ("renewd-bought", bought.as_str()),
            ("renewd-journal", "jone"),
            ("renewd-host", "one"),
            ("renewd-certificate", "www"),
            ("managed-by", "renewd"),
        ]
    );
}

#[tokio::test]
async fn where_a_key_that_is_there_is_refused_the_old_tag_goes_first() {
    let (peer, sent) = told(json!([]), 0).await;
    host(&peer).claim("scs1234567890123", "o-1", NOW).await;
    let sent = sent.lock().unwrap();
    let actions: Vec<&str> = sent
        .iter()
        .map(|body| body["action"].as_str().unwrap())
        .collect();
    assert_eq!(actions, ["create", "delete", "create"]);
    assert_eq!(sent[1]["tags"][0]["value"], "jold:o-0:1");
    let claim = format!("jone:o-1:{}", NOW.0);
    assert_eq!(sent[2]["tags"][0]["value"], claim);
}

#[tokio::test]
async fn the_project_of_the_policy_is_asked_for_nowhere() {
    let scene = Applicant::at("2027-04-01").await;
    let mut hosts = Vec::new();
    for project in [None, Some("0123456789abcdef0123456789abcdef".to_owned())] {
        let mut host = Hand::on("one", &scene.ccm);
        let policy = ScmPolicy {
            project,
            ..ScmPolicy::default()
        };
        host.issuer = crate::support::account::connected_to(&scene.ccm, IssuerKind::Scm(policy));
        hosts.push(host);
    }
    let id = scene.issued("www.example.com", 1).await;
    let by_token = by_token(&scene.ccm);
    by_token
        .issuer
        .revoke(&id, RevocationReason::Superseded)
        .await
        .unwrap();
    let id = scene.issued("shop.example.com", 1).await;
    // With somebody else's project nothing is revoked, and with that of IAM it is.
    let error = hosts[1]
        .issuer
        .revoke(&id, RevocationReason::Superseded)
        .await
        .unwrap_err();
    assert!(error.message.contains("SCM.0002"), "{error}");
    hosts[0]
        .issuer
        .revoke(&id, RevocationReason::Superseded)
        .await
        .unwrap();
}

/// A host that has a password, and tokens for one project.
fn by_token(ccm: &Ccm) -> Hand {
    let mut host = Hand::on("one", ccm);
    let mut policy = policy(&ccm.endpoint(), IssuerKind::Scm(ScmPolicy::default()));
    policy.access.auth = RemoteAuth::Password {
        iam_endpoint: ccm.endpoint(),
        user: ccm.user.name.clone(),
        password: SecretRef::Env("PASSWORD".to_owned()),
        domain: ccm.user.account.clone(),
        project: ccm.user.project.clone(),
    };
    let password = ccm.password().to_owned();
    let clock = Arc::clone(ccm.clock.as_ref().unwrap());
    let resolve = move |_: &SecretRef| Ok(Secret::from(password.clone()));
    host.issuer = renewd::issuer::connect(&policy, &resolve, clock).unwrap();
    host
}
