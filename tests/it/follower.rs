//! Followers: what they are offered in crowded accounts, and what they fetch.

use renewd::issuer::Fetched;
use renewd::model::{ErrorClass, Seconds};
use renewd::pki::PrivateKey;
use serde_json::json;

use crate::support::account::{Account, Entry, NOW, corp, names, public, scene};

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
