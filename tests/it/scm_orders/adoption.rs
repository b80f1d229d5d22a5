//! What is taken over instead of bought: successors, what colleagues have, what was given back; and what is not.

use renewd::ccm::{Apply, DomainMethod, Scm};
use renewd::issuer::{Applied, Sighting};
use renewd::model::{KeyAlgorithm, OrderRequest, RevocationReason, Seconds, Timestamp};
use renewd::pki::csr;
use serde_json::{Value, json};

use super::hand::{Hand, at_ccm, by_hand, replacing, wanted};
use crate::ccm_server::applicant::Applicant;
use crate::support::certs;

/// Issued for an order of this host with a key made here; the end of its validity.
async fn issued(scene: &Applicant, host: &mut Hand, request: &OrderRequest) -> (String, Timestamp) {
    let id = host.buy("o-1", scene.ccm.now()).await.unwrap();
    let key = host.key();
    host.apply(&id, request, Some(&key)).await.unwrap();
    scene.prove(&id).await;
    scene.pass(Seconds::minutes(1)).await;
    assert_eq!(scene.status(&id).await, "ISSUED");
    let entitlement = host.orders().entitlement(&id, scene.ccm.now()).await;
    (id, entitlement.unwrap().until)
}

/// What a colleague hands in by hand.
fn colleague(domain: &str, csr: Option<String>) -> Apply {
    Apply {
        domain: domain.to_owned(),
        csr,
        applicant_name: "Ann".to_owned(),
        applicant_phone: "13212345678".to_owned(),
        applicant_email: "ann@example.com".to_owned(),
        agree_privacy_protection: true,
        domain_method: DomainMethod::Dns,
        ..Apply::default()
    }
}

async fn applied_by_a_colleague(scene: &Applicant, scm: &Scm, csr: Option<String>) -> String {
    let id = scene.buy("DV_SSL_CERT", "SINGLE_DOMAIN", 1).await;
    let application = colleague("www.example.com", csr);
    scm.apply(&id, &application).await.unwrap();
    id
}

async fn reject(scene: &Applicant, id: &str) {
    let path = format!("/applications/{id}/reject");
    let reason = json!({"reason": "the domain is on a list"});
    let (status, said) = scene.manage("POST", &path, &reason).await;
    assert_eq!(status, 200, "{said}");
}

#[tokio::test]
async fn a_successor_is_waited_for_and_taken_over_on_the_first_key() {
    let scene = Applicant::at("2027-04-01").await;
    let mut host = Hand::on("one", &scene.ccm);
    let request = wanted(&["www.example.com"]);
    let (first, until) = issued(&scene, &mut host, &request).await;
    host.known.insert(first.clone());
    let request = replacing(request, &first, until);
    let spki = host.keys.first().copied();
    let seen = host.look("o-2", &request, scene.ccm.now()).await.unwrap();
    assert_eq!(seen, Sighting::SuccessorToCome);

    // The server's name server forgets nothing, but a CA may: without its record the successor waits.
    scene.names.clear("_dnsauth.www.example.com");
    scene
        .pass(scene.ccm.now().until(until - Seconds::days(29)))
        .await;
    let seen = host.look("o-2", &request, scene.ccm.now()).await.unwrap();
    let Sighting::UnderWay {
        reference,
        spki: key,
    } = seen
    else {
        panic!("{seen:?}");
    };
    assert_ne!(reference, first);
    assert_eq!(key, spki);

    // Nobody takes over what is known already, and another journal has no key of it.
    let mut stranger = Hand::on("two", &scene.ccm);
    stranger.key();
    let seen = stranger.look("o-9", &request, scene.ccm.now()).await;
    let Sighting::Foreign { detail } = seen.unwrap() else {
        panic!("a stranger took it over");
    };
    assert!(detail.contains(&reference), "{detail}");
    assert!(detail.contains("a key that is not here"), "{detail}");

    // The CA says no: what was paid for is applied for again, and nothing is bought.
    reject(&scene, &reference).await;
    let seen = host.look("o-2", &request, scene.ccm.now()).await.unwrap();
    let again = Sighting::Unused {
        reference: reference.clone(),
    };
    assert_eq!(seen, again);
    // Withdrawn it is as free as anything that is paid for, but for those whose order it is not.
    let key = host.key();
    host.apply(&reference, &request, Some(&key)).await.unwrap();
    host.orders().withdraw(&reference, None).await.unwrap();
    let seen = host.look("o-2", &request, scene.ccm.now()).await.unwrap();
    assert_eq!(seen, again);
    let theirs = wanted(&["www.example.com"]);
    let seen = stranger.look("o-9", &theirs, scene.ccm.now()).await;
    assert!(matches!(seen.unwrap(), Sighting::Nothing { .. }));
    let key = host.key();
    host.apply(&reference, &request, Some(&key)).await.unwrap();
    scene.prove(&reference).await;
    scene.pass(Seconds::minutes(1)).await;
    let seen = host.look("o-2", &request, scene.ccm.now()).await.unwrap();
    let issued = Sighting::Issued {
        reference,
        spki: Some(key.spki()),
    };
    assert_eq!(seen, issued);
}

#[tokio::test]
async fn a_successor_on_a_key_made_here_is_taken_over_where_the_policy_wants_ccms_by_now() {
    let scene = Applicant::at("2027-04-01").await;
    let mut host = Hand::on("one", &scene.ccm);
    let request = wanted(&["www.example.com"]);
    let (first, until) = issued(&scene, &mut host, &request).await;
    host.known.insert(first.clone());
    let request = replacing(at_ccm(request), &first, until);
    let spki = host.keys.first().copied();
    let seen = host.look("o-2", &request, scene.ccm.now()).await.unwrap();
    assert_eq!(seen, Sighting::SuccessorToCome);
    // Without its record it waits.
    scene.names.clear("_dnsauth.www.example.com");
    let near = scene.ccm.now().until(until - Seconds::days(29));
    scene.pass(near).await;
    let seen = host.look("o-2", &request, scene.ccm.now()).await.unwrap();
    let Sighting::UnderWay {
        reference,
        spki: key,
    } = seen
    else {
        panic!("{seen:?}");
    };
    assert_eq!(key, spki);
    scene.prove(&reference).await;
    scene.pass(Seconds::minutes(1)).await;
    let issued = Sighting::Issued { reference, spki };
    let seen = host.look("o-2", &request, scene.ccm.now()).await.unwrap();
    assert_eq!(seen, issued);
    // It is another's for whoever has no such key, and one that is known to others is not waited for.
    let mut stranger = Hand::on("two", &scene.ccm);
    stranger.key();
    let seen = stranger.look("o-9", &request, scene.ccm.now()).await;
    assert!(matches!(seen.unwrap(), Sighting::Nothing { .. }));
}

#[tokio::test]
async fn a_successor_on_a_key_that_is_not_here_any_more_is_not_waited_for() {
    let scene = Applicant::at("2027-04-01").await;
    let mut host = Hand::on("one", &scene.ccm);
    let request = wanted(&["www.example.com"]);
    let (first, until) = issued(&scene, &mut host, &request).await;
    host.known.insert(first.clone());
    host.keys.clear();
    host.key();
    let other = replacing(request, &first, until);
    let seen = host.look("o-2", &other, scene.ccm.now()).await.unwrap();
    assert!(matches!(seen, Sighting::Nothing { .. }), "{seen:?}");
    // Neither is one for other names.
    let other = replacing(wanted(&["shop.example.com"]), &first, until);
    let seen = host.look("o-3", &other, scene.ccm.now()).await.unwrap();
    assert!(matches!(seen, Sighting::Nothing { .. }), "{seen:?}");
}

#[tokio::test]
async fn successors_cost_nothing_though_they_bear_the_tags_of_the_first() {
    let scene = Applicant::at("2029-04-01").await;
    let mut host = Hand::on("one", &scene.ccm);
    let request = wanted(&["www.example.com"]);
    let bought_at = scene.ccm.now();
    let (_, until) = issued(&scene, &mut host, &request).await;
    // 47 days: the next is applied for 17 days later, well within the month of the budget.
    scene
        .pass(scene.ccm.now().until(until - Seconds::days(29)))
        .await;
    let other = wanted(&["shop.example.com"]);
    let seen = host.look("o-2", &other, scene.ccm.now()).await.unwrap();
    let Sighting::Nothing { spent, .. } = seen else {
        panic!("{seen:?}");
    };
    assert_eq!(spent.at, [bought_at]);
}

#[tokio::test]
async fn a_colleagues_certificate_is_taken_over_where_ccm_hands_its_key_out_and_the_policy_takes_it()
 {
    let scene = Applicant::at("2027-04-01").await;
    let host = Hand::on("one", &scene.ccm);
    let id = scene.issued("www.example.com", 1).await;
    let request = wanted(&["www.example.com"]);
    let now = scene.ccm.now();
    let seen = host.look("o-1", &at_ccm(request.clone()), now).await;
    let taken = Sighting::Issued {
        reference: id.clone(),
        spki: None,
    };
    assert_eq!(seen.unwrap(), taken);
    let seen = host.look("o-1", &request, now).await.unwrap();
    assert!(matches!(seen, Sighting::Nothing { .. }), "{seen:?}");
    // As something else than the policy wants it is not.
    let mut other = at_ccm(request.clone());
    other.public.as_mut().unwrap().kind = Some("OV_SSL_CERT".to_owned());
    let seen = host.look("o-1", &other, now).await.unwrap();
    assert!(matches!(seen, Sighting::Nothing { .. }), "{seen:?}");
    // Nor with another kind of key.
    let mut other = at_ccm(request.clone());
    other.key_algorithm = KeyAlgorithm::Rsa2048;
    let seen = host.look("o-1", &other, now).await.unwrap();
    assert!(matches!(seen, Sighting::Nothing { .. }), "{seen:?}");
    // Nor where what is there is as good.
    let mut held = Hand::on("two", &scene.ccm);
    let until = host.orders().entitlement(&id, now).await.unwrap().until;
    held.known.insert("scs0000000000000".to_owned());
    let same = replacing(at_ccm(request), "scs0000000000000", until);
    let seen = held.look("o-1", &same, now).await.unwrap();
    assert!(matches!(seen, Sighting::Nothing { .. }), "{seen:?}");
}

#[tokio::test]
async fn an_application_that_cannot_be_shown_to_be_ours_is_told_and_left_alone() {
    let scene = Applicant::at("2027-04-01").await;
    let host = Hand::on("one", &scene.ccm);
    let scm = by_hand(&scene.ccm);
    let request = wanted(&["www.example.com"]);
    let now = scene.ccm.now();
    let theirs = certs::key(KeyAlgorithm::EcP256);
    let csr = csr::build(&theirs, &request).unwrap();
    let id = applied_by_a_colleague(&scene, &scm, Some(csr)).await;
    let Sighting::Foreign { detail } = host.look("o-1", &request, now).await.unwrap() else {
        panic!("it was not seen");
    };
    assert!(
        detail.contains(&id) && detail.contains("CHECKING_DOMAIN"),
        "{detail}"
    );
    let became = host.orders().applied(&id, &request, Some(theirs.spki()));
    assert_eq!(became.await.unwrap(), Applied::Ours);
    let ours = certs::key(KeyAlgorithm::EcP256).spki();
    let became = host.orders().applied(&id, &request, Some(ours)).await;
    assert!(matches!(became.unwrap(), Applied::Taken { .. }));
    let became = host.orders().applied(&id, &request, None).await.unwrap();
    assert!(matches!(became, Applied::Taken { .. }));
    // It is in nobody's way who wants something else, and nothing of it is free.
    let other = wanted(&["shop.example.com"]);
    let seen = host.look("o-1", &other, now).await.unwrap();
    let Sighting::Nothing { unused, .. } = seen else {
        panic!("{seen:?}");
    };
    assert!(unused.is_empty());
}

#[tokio::test]
async fn an_application_whose_key_ccm_makes_is_not_for_a_policy_that_wants_its_own() {
    let scene = Applicant::at("2027-04-01").await;
    let host = Hand::on("one", &scene.ccm);
    let scm = by_hand(&scene.ccm);
    let id = applied_by_a_colleague(&scene, &scm, None).await;
    let (now, request) = (scene.ccm.now(), wanted(&["www.example.com"]));
    let seen = host.look("o-1", &request, now).await.unwrap();
    assert!(matches!(seen, Sighting::Foreign { .. }), "{seen:?}");
    let seen = host.look("o-1", &at_ccm(request), now).await.unwrap();
    let under_way = Sighting::UnderWay {
        reference: id,
        spki: None,
    };
    assert_eq!(seen, under_way);
}

#[tokio::test]
async fn what_the_ca_turned_down_is_used_again_by_whose_it_is_and_by_nobody_else() {
    let scene = Applicant::at("2027-04-01").await;
    let (mut one, two) = (Hand::on("one", &scene.ccm), Hand::on("two", &scene.ccm));
    let request = wanted(&["www.example.com"]);
    let id = one.buy("o-1", scene.ccm.now()).await.unwrap();
    let key = one.key();
    one.apply(&id, &request, Some(&key)).await.unwrap();
    scene.look().await;
    reject(&scene, &id).await;
    let error = one.issuer.fetch(&id, false).await.err().unwrap();
    assert_eq!(error.class, renewd::model::ErrorClass::Rejected);
    assert!(error.message.contains("the domain is on a list"), "{error}");
    let now = scene.ccm.now() + Seconds::days(2);
    let unused = Sighting::Unused {
        reference: id.clone(),
    };
    assert_eq!(one.look("o-2", &request, now).await.unwrap(), unused);
    let seen = two.look("o-3", &request, now).await.unwrap();
    let Sighting::Nothing { unused, .. } = seen else {
        panic!("{seen:?}");
    };
    assert_eq!(unused, [id].into());
}

#[tokio::test]
async fn proofs_are_told_for_each_name_and_each_way() {
    let scene = Applicant::at("2027-04-01").await;
    let mut host = Hand::on("one", &scene.ccm);
    let key = host.key();
    let fetched = async |host: &Hand, id: &str| match host.issuer.fetch(id, false).await.unwrap() {
        renewd::issuer::Fetched::NotYet { proofs, .. } => proofs,
        renewd::issuer::Fetched::Issued(_) => panic!("{id} is issued"),
    };
    let several = scene.buy("OV_SSL_CERT", "MULTI_DOMAIN", 2).await;
    let request = wanted(&["www.example.com", "*.example.org"]);
    host.apply(&several, &request, Some(&key)).await.unwrap();
    let mut places: Vec<String> = fetched(&host, &several)
        .await
        .into_iter()
        .map(|proof| proof.place)
        .collect();
    places.sort();
    assert_eq!(places, ["_dnsauth.example.org", "_dnsauth.www.example.com"]);

    let address = scene.buy("DV_SSL_CERT", "SINGLE_DOMAIN", 1).await;
    let request = wanted(&["192.0.2.7"]);
    let csr = csr::build(&key, &request).unwrap();
    let web_root = renewd::model::ValidationKind::Responder {
        listen: "127.0.0.1:0".to_owned(),
    };
    let applicant = super::hand::applicant();
    let orders = host.orders();
    orders
        .apply(&address, &request, &applicant, &web_root, Some(&csr))
        .await
        .unwrap();
    let proofs = fetched(&host, &address).await;
    assert_eq!(proofs.len(), 1);
    assert_eq!(proofs[0].method, renewd::model::DomainMethod::File);
    assert_eq!(proofs[0].domain, "192.0.2.7");
    assert!(proofs[0].place.starts_with("/.well-known/"), "{proofs:?}");
    assert!(!proofs[0].value.is_empty() && proofs[0].record_type.is_empty());

    let mail = scene.buy("OV_SSL_CERT", "SINGLE_DOMAIN", 1).await;
    let request = wanted(&["www.example.com"]);
    let csr = csr::build(&key, &request).unwrap();
    let by_mail = renewd::model::ValidationKind::Email;
    orders
        .apply(&mail, &request, &applicant, &by_mail, Some(&csr))
        .await
        .unwrap();
    let proofs = fetched(&host, &mail).await;
    assert_eq!(proofs.len(), 1);
    assert_eq!(proofs[0].method, renewd::model::DomainMethod::Email);
    assert_eq!(proofs[0].place, "tom@example.com");
}

#[tokio::test]
async fn the_service_writes_the_record_only_where_the_policy_says_so() {
    let scene = Applicant::at("2027-04-01").await;
    let mut host = Hand::on("one", &scene.ccm);
    let key = host.key();
    let request = wanted(&["www.example.com"]);
    let csr = csr::build(&key, &request).unwrap();
    let scm = by_hand(&scene.ccm).v2(scene.ccm.user.project_id.clone());
    for (way, automatic) in [
        (renewd::model::ValidationKind::Automatic, true),
        (super::hand::way(), false),
    ] {
        let id = scene.buy("DV_SSL_CERT", "SINGLE_DOMAIN", 1).await;
        let applicant = super::hand::applicant();
        host.orders()
            .apply(&id, &request, &applicant, &way, Some(&csr))
            .await
            .unwrap();
        let said = scm.domain_verification(&id).await.unwrap();
        assert_eq!(said.auto_dns_auth, Some(automatic));
    }
}

#[tokio::test]
async fn a_certificate_is_marked_revoked_and_deleted_and_each_twice_does_no_harm() {
    let scene = Applicant::at("2027-04-01").await;
    let mut host = Hand::on("one", &scene.ccm);
    let request = wanted(&["www.example.com"]);
    let (id, _) = issued(&scene, &mut host, &request).await;
    let scm = by_hand(&scene.ccm);
    let tags = async || -> Value {
        let all = scm.list_tags(&id).await.unwrap().tags;
        let pairs = all.into_iter().map(|tag| (tag.key, tag.value.into()));
        Value::Object(pairs.collect())
    };
    let pushing = host.issuer.pushing().unwrap();
    for _ in 0..2 {
        let wanted = [("renewd-certificate", "shop"), ("managed-by", "renewd")];
        let wanted = wanted.map(|(key, value)| (key.to_owned(), value.to_owned()));
        pushing.tag(&id, &wanted.into()).await.unwrap();
    }
    let all = tags().await;
    assert_eq!(all["renewd-certificate"], "shop");
    assert_eq!(all["renewd-host"], "one");
    assert_eq!(all["renewd-intent"], "o-1");
    for _ in 0..2 {
        host.issuer
            .revoke(&id, RevocationReason::KeyCompromise)
            .await
            .unwrap();
    }
    let shown = scm.show_certificate(&id).await.unwrap();
    assert_eq!(shown.status, renewd::ccm::ScmStatus::Revoked);
    assert_eq!(shown.revoke_reason.as_deref(), Some("key_compromise"));
    let entitlement = host.orders().entitlement(&id, scene.ccm.now()).await;
    let entitlement = entitlement.unwrap();
    assert_eq!((entitlement.remaining, entitlement.auto_renew), (0, false));
    for _ in 0..2 {
        pushing.delete(&id).await.unwrap();
    }
    assert!(
        host.orders()
            .entitlement(&id, scene.ccm.now())
            .await
            .is_err()
    );
    assert_eq!(pushing.tags(&id).await.unwrap(), None);
}
