//! Followers: what they are offered in crowded accounts, and what they fetch.

use renewd::ccm_server::Faults;
use renewd::issuer::{Fetched, Issuer};
use renewd::model::{
    ErrorClass, KeyAlgorithm, Offer, OrderRequest, RevocationReason, Seconds, Source,
};
use renewd::pki::{Material, PrivateKey, check};
use serde_json::json;

use crate::support::account::{
    Account, Entry, NOW, connected_to, corp, named, names, public, scene,
};
use crate::support::ccm::{Ccm, Wanted};
use crate::support::certs;

#[tokio::test]
async fn a_follower_is_offered_the_newest_that_covers_its_names() {
    let mut account = Account::new();
    account.add("old", &["*.example.com"], 5000, "GENERATE");
    account.add("new", &["*.example.com", "example.com"], 3000, "GENERATE");
    account.add("narrow", &["www.example.com"], 2000, "GENERATE");
    account.add("by-csr", &["*.example.com", "example.com"], 1000, "CSR");
    account.add("mail", &["mail.example.org"], 500, "GENERATE");
    let scene = scene(corp(), account).await;
    let wanted = ["www.example.com", "example.com"];
    let offer = scene.issuer.offer(&names(&wanted), NOW).await.unwrap();
    assert_eq!(offer.reference.as_deref(), Some("new"));
    assert_eq!(offer.issued_at, Some(NOW - Seconds(3000)));
    assert_eq!(
        scene.exports(),
        ["narrow", "new"],
        "keys of strangers stay where they are"
    );
    assert_eq!(scene.offered(&wanted).await.as_deref(), Some("new"));
    assert_eq!(scene.exports().len(), 2, "what was seen once is remembered");
}

#[tokio::test]
async fn a_certificate_of_another_common_name_is_a_follower_s_last_resort() {
    let mut account = Account::new();
    account.add(
        "shared",
        &["everything.example.net", "www.example.com"],
        100,
        "GENERATE",
    );
    for n in 0..50 {
        account.add(
            &format!("mail-{n}"),
            &["mail.example.org"],
            200 + n,
            "GENERATE",
        );
    }
    let scene = scene(corp(), account).await;
    assert_eq!(
        scene.offered(&["www.example.com"]).await.as_deref(),
        Some("shared")
    );
    assert_eq!(scene.offered(&["no.example.net"]).await, None);
    assert_eq!(scene.exports().len(), 32, "the newest few");
    assert_eq!(scene.offered(&["no.example.net"]).await, None);
    assert_eq!(scene.exports().len(), 32);
}

#[tokio::test]
async fn a_follower_fetches_certificate_and_key() {
    let mut account = Account::new();
    let key = account.add("one", &["www.example.com"], 100, "GENERATE");
    account.add("by-csr", &["www.example.com"], 100, "CSR");
    account.add("gone", &["www.example.com"], 100, "GENERATE");
    account.private[2].listed["status"] = json!("REVOKED");
    account.add("soon", &["www.example.com"], 100, "GENERATE");
    account.private[3].listed["status"] = json!("BREWING");
    let scene = scene(corp(), account).await;
    let Fetched::Issued(pem) = scene.issuer.fetch("one", true).await.unwrap() else {
        panic!("it is issued");
    };
    let exported = PrivateKey::from_pem(pem.private_key.unwrap().expose()).unwrap();
    assert_eq!(exported.spki(), key.spki());
    let Fetched::Issued(pem) = scene.issuer.fetch("one", false).await.unwrap() else {
        panic!("it is issued");
    };
    assert!(pem.private_key.is_none(), "nobody asked for it");
    assert!(matches!(
        scene.issuer.fetch("soon", true).await,
        Ok(Fetched::NotYet { .. })
    ));
    for (id, words) in [
        ("by-csr", "without its key"),
        ("gone", "is REVOKED"),
        ("none", "404"),
    ] {
        let error = scene.issuer.fetch(id, true).await.map(|_| ()).unwrap_err();
        assert_eq!(error.class, ErrorClass::Rejected, "{error}");
        assert!(error.message.contains(words), "{error}");
    }
}

#[tokio::test]
async fn scm_offers_the_newest_issued_or_imported_certificate() {
    let mut account = Account::new();
    account.add_public("scs1", &["*.example.com", "example.com"], 5000, "ISSUED");
    account.add_public("scs2", &["*.example.com", "example.com"], 1000, "UPLOAD");
    account.add_public("scs3", &["*.example.com", "example.com"], 500, "REVOKE");
    account.add_public("scs4", &["www.example.com"], 500, "ISSUED");
    account.add_public(
        "scs5",
        &["*.example.com", "example.com"],
        91 * 86_400,
        "ISSUED",
    );
    account.add_public("scs6", &["*.example.com", "example.com"], 100, "CHECKING");
    for n in 10..20 {
        account.add_public(&format!("scs{n}"), &["mail.example.org"], 50, "ISSUED");
    }
    let scene = scene(public(), account).await;
    let wanted = ["www.example.com", "example.com"];
    let offer = scene.issuer.offer(&names(&wanted), NOW).await.unwrap();
    assert_eq!(offer.reference.as_deref(), Some("scs2"));
    assert_eq!(offer.issued_at, Some(NOW - Seconds(1000)));
    let mut exports = scene.exports();
    exports.sort();
    assert_eq!(exports, ["scs1", "scs2"]);
    assert_eq!(scene.offered(&wanted).await.as_deref(), Some("scs2"));
    assert_eq!(scene.exports().len(), 2, "what was seen once is remembered");
    assert_eq!(scene.offered(&["no.example.net"]).await, None);
    for request in scene.peer.requests() {
        assert!(!request.target.contains("expired_days_since"));
        assert!(["", "50"].contains(&request.query("limit")));
    }
    let Fetched::Issued(pem) = scene.issuer.fetch("scs2", true).await.unwrap() else {
        panic!("it is issued");
    };
    PrivateKey::from_pem(pem.private_key.unwrap().expose()).unwrap();
}

#[tokio::test]
async fn a_reissued_scm_certificate_is_looked_at_again() {
    let mut account = Account::new();
    account.add_public("scs1", &["www.example.com"], 5000, "ISSUED");
    let scene = scene(public(), account).await;
    assert_eq!(
        scene.offered(&["www.example.com"]).await.as_deref(),
        Some("scs1")
    );
    {
        let mut account = scene.account.lock().unwrap();
        account.public.clear();
        account.add_public("scs1", &["www.example.com"], 10, "ISSUED");
        account.public[0].listed["fingerprint"] = json!("another");
    }
    let offer = scene
        .issuer
        .offer(&names(&["www.example.com"]), NOW)
        .await
        .unwrap();
    assert_eq!(offer.issued_at, Some(NOW - Seconds(10)));
}

#[tokio::test]
async fn a_time_without_a_zone_hides_no_newer_certificate() {
    let mut account = Account::new();
    account.add_public("scs1", &["www.example.com"], 1000, "ISSUED");
    account.add_public("scs2", &["www.example.com"], 500, "ISSUED");
    // Told by a clock far west of UTC, half a day behind.
    let local = (NOW - Seconds(500 + 12 * 3600)).to_string();
    let local = local.replace('T', " ").replace('Z', ".0");
    account.public[1].listed["not_before"] = json!(local);
    let scene = scene(public(), account).await;
    let offered = scene.offered(&["www.example.com"]).await;
    assert_eq!(offered.as_deref(), Some("scs2"));
}

#[tokio::test]
async fn an_account_larger_than_scm_lists_still_offers_its_newest() {
    let mut account = Account::new();
    account.last_offset = 100;
    account.page = 50;
    account.add_public("scs1", &["www.example.com"], 10, "ISSUED");
    let other = account.public[0].listed.clone();
    for n in 0..300 {
        let mut listed = other.clone();
        listed["id"] = json!(format!("other{n}"));
        listed["domain"] = json!("mail.example.org");
        account.public.push(Entry {
            listed,
            certificate: String::new(),
            key: None,
        });
    }
    let scene = scene(public(), account).await;
    assert_eq!(
        scene.offered(&["www.example.com"]).await.as_deref(),
        Some("scs1")
    );
    let error = scene
        .issuer
        .offer(&names(&["no.example.net"]), NOW)
        .await
        .unwrap_err();
    assert!(error.message.contains("SCM.0005"), "{error}");
}

/// renewd-ccm with short pages, further fields and CRLF.
async fn server() -> Ccm {
    let faults = Faults {
        page_limit: Some(3),
        extra_fields: true,
        crlf: true,
        ..Faults::none()
    };
    Wanted::new().at("2027-04-01").faults(faults).start().await
}

async fn offer(ccm: &Ccm, issuer: &dyn Issuer, wanted: &[&str]) -> Offer {
    issuer.offer(&names(wanted), ccm.now()).await.unwrap()
}

/// What a follower ends up with: key and certificate of the offer, checked as every order is.
async fn followed(ccm: &Ccm, issuer: &dyn Issuer, wanted: &[&str]) -> Option<(String, Material)> {
    let reference = offer(ccm, issuer, wanted).await.reference?;
    let Fetched::Issued(pem) = issuer.fetch(&reference, true).await.unwrap() else {
        panic!("an offer is issued");
    };
    let key = PrivateKey::from_pem(pem.private_key.unwrap().expose()).unwrap();
    let material = Material::from_pem(key, &pem.certificate, &pem.chain).unwrap();
    let request = OrderRequest {
        source: Source::Follow,
        ..certs::request(material.key.algorithm(), wanted)
    };
    check::issued(&material, &request, ccm.now()).unwrap();
    Some((reference, material))
}

#[tokio::test]
async fn a_host_follows_what_another_one_orders_from_pca() {
    let ccm = server().await;
    let issuer = connected_to(&ccm, named(&ccm.cas.issuing_name));
    let wanted = ["www.example.com", "mail.example.com"];
    assert!(followed(&ccm, &*issuer, &wanted).await.is_none());
    let order = |names: &[&str], source| OrderRequest {
        source,
        ..certs::request(KeyAlgorithm::EcP256, names)
    };
    for n in 0..4 {
        let other = format!("host-{n}.example.org");
        issuer
            .submit(&order(&[&other], Source::Ccm), None)
            .await
            .unwrap();
    }
    let wildcard = order(&["*.example.com"], Source::Ccm);
    let first = issuer.submit(&wildcard, None).await.unwrap().reference;
    let (reference, material) = followed(&ccm, &*issuer, &wanted).await.unwrap();
    assert_eq!(reference, first);

    ccm.advance(Seconds::days(60));
    let second = issuer.submit(&wildcard, None).await.unwrap().reference;
    let newer = offer(&ccm, &*issuer, &wanted).await;
    assert_eq!(newer.reference.as_deref(), Some(second.as_str()));
    assert_eq!(newer.issued_at, Some(ccm.now()));
    let (_, renewed) = followed(&ccm, &*issuer, &wanted).await.unwrap();
    assert_ne!(renewed.revision_id(), material.revision_id());

    for _ in 0..2 {
        issuer
            .revoke(&second, RevocationReason::KeyCompromise)
            .await
            .unwrap();
    }
    let (reference, _) = followed(&ccm, &*issuer, &wanted).await.unwrap();
    assert_eq!(reference, first, "what was revoked is not followed");
    ccm.advance(Seconds::days(31));
    assert!(
        followed(&ccm, &*issuer, &wanted).await.is_none(),
        "nor what has expired"
    );
}

#[tokio::test]
async fn a_host_follows_what_was_bought_or_imported_at_scm() {
    let ccm = server().await;
    let issuer = connected_to(&ccm, public());
    let wanted = ["www.example.com", "example.com"];
    assert!(followed(&ccm, &*issuer, &wanted).await.is_none());
    let put = async |name: &str, status: &str, names: &[&str], days: i64| {
        let from = ccm.now() - Seconds::days(days);
        let validity = certs::Validity(from, from + Seconds::days(90));
        let material = certs::sample(KeyAlgorithm::Rsa2048, names, validity).material;
        let key = material.key.to_pem();
        let (leaf, chain) = (material.leaf_pem(), material.chain_pem());
        ccm.import_scm(name, status, &leaf, &chain, key.expose_str().unwrap())
            .await
    };
    let both = ["*.example.com", "example.com"];
    for n in 0..4 {
        put(&format!("other-{n}"), "ISSUED", &["example.org"], 1).await;
    }
    put("expired", "ISSUED", &both, 95).await;
    put("narrow", "ISSUED", &["*.example.com"], 1).await;
    let bought = put("bought", "ISSUED", &both, 30).await;
    let (reference, material) = followed(&ccm, &*issuer, &wanted).await.unwrap();
    assert_eq!(reference, bought);
    assert_eq!(material.chain.len(), 2);

    let imported = put("imported", "UPLOAD", &both, 10).await;
    put("older", "UPLOAD", &both, 40).await;
    let newer = offer(&ccm, &*issuer, &wanted).await;
    assert_eq!(newer.reference.as_deref(), Some(imported.as_str()));
    assert_eq!(newer.issued_at, Some(ccm.now() - Seconds::days(10)));
    ccm.advance(Seconds::days(59));
    let (reference, _) = followed(&ccm, &*issuer, &wanted).await.unwrap();
    assert_eq!(reference, imported);
    ccm.advance(Seconds::days(22));
    assert!(followed(&ccm, &*issuer, &wanted).await.is_none());
}
