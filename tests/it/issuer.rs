//! Issuers against an account that is paged, changing or wrong: applying, and finding a lost application again.

use std::sync::{Arc, Mutex};

use renewd::issuer::{Effect, Fetched, IssuerError, Lookup, connect};
use renewd::model::{
    ErrorClass, IssuerPolicy, KeyAlgorithm, Name, OrderRequest, RevocationReason, Seconds,
    SecretRef, Source, Standing, SubjectAltNames,
};
use renewd::pki::Secret;
use renewd::sys::clock::ManualClock;
use serde_json::{Value, json};

use crate::support::account::{
    Account, CA, CAS, CERTIFICATES, Entry, NOW, connected, corp, named, names, policy, public,
    request, scene,
};
use crate::support::certs;
use crate::support::peer::{Peer, Reply, Request};

fn authority(id: u8, name: &str, status: &str) -> Value {
    json!({
        "ca_id": format!("00000000-0000-0000-0000-0000000000{id:02}"), "status": status,
        "distinguished_name": {"common_name": name},
    })
}

#[tokio::test]
async fn a_ca_is_found_by_id_or_by_exact_name_and_asked_for_once() {
    for ca in [CA, "corp"] {
        let mut account = Account::new();
        account
            .authorities
            .extend((0..7).map(|n| authority(n, "corp-other", "ACTIVED")));
        let scene = scene(named(ca), account).await;
        for _ in 0..3 {
            assert_eq!(scene.submit(&request(Source::Csr)).await.unwrap(), "new");
        }
        let asked = scene
            .peer
            .requests()
            .iter()
            .filter(|one| one.path().starts_with(CAS))
            .count();
        assert_eq!(
            asked,
            if ca == CA { 1 } else { 3 },
            "one look, of three pages by name"
        );
        assert_eq!(
            scene.bodies("/v1/private-certificates/csr")[0]["issuer_id"],
            CA
        );
        let text = scene.issuer.describe().await.unwrap();
        assert!(
            text.starts_with(&format!("CA corp ({CA}, ACTIVED) at 127.0.0.1:")),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_ca_that_cannot_sign_is_named_with_what_to_do() {
    let wrong = "00000000-0000-0000-0000-000000000009";
    for (ca, more, words) in [
        (
            "nobody",
            vec![],
            "no CA has the common name `nobody`; the account has CA corp",
        ),
        (wrong, vec![], "the account has CA corp"),
        (
            "twice",
            vec![
                authority(1, "twice", "ACTIVED"),
                authority(2, "twice", "ACTIVED"),
            ],
            "several CAs have the common name `twice`",
        ),
        (
            "off",
            vec![authority(1, "off", "DISABLED")],
            "is disabled; enable it",
        ),
        (
            "new",
            vec![authority(1, "new", "PENDING")],
            "is not activated",
        ),
        ("odd", vec![authority(1, "odd", "MELTED")], "cannot issue"),
    ] {
        let mut account = Account::new();
        account.authorities.extend(more);
        let scene = scene(named(ca), account).await;
        let error = scene.submit(&request(Source::Csr)).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Configuration, "{error}");
        assert_eq!(error.effect, Effect::None, "{error}");
        assert!(error.message.contains(words), "{error}");
        assert_eq!(scene.peer.count("/v1/private-certificates/csr"), 0);
    }
}

#[tokio::test]
async fn an_old_ca_of_the_same_name_does_not_stand_in_the_way() {
    let mut account = Account::new();
    account.authorities.push(authority(1, "corp", "DELETED"));
    account.authorities.push(authority(2, "corp", "EXPIRED"));
    let scene = scene(corp(), account).await;
    assert_eq!(scene.submit(&request(Source::Csr)).await.unwrap(), "new");
    assert_eq!(
        scene.bodies("/v1/private-certificates/csr")[0]["issuer_id"],
        CA
    );
}

#[tokio::test]
async fn a_ca_that_was_mended_is_seen() {
    let mut account = Account::new();
    account.authorities[0]["status"] = json!("DISABLED");
    let scene = scene(corp(), account).await;
    scene.submit(&request(Source::Csr)).await.unwrap_err();
    scene.account.lock().unwrap().authorities[0]["status"] = json!("ACTIVED");
    assert_eq!(scene.submit(&request(Source::Csr)).await.unwrap(), "new");
}

#[tokio::test]
async fn an_application_says_what_was_asked_for() {
    let scene = scene(corp(), Account::new()).await;
    scene.submit(&request(Source::Csr)).await.unwrap();
    let sans =
        json!([{"type": "DNS", "value": "www.example.com"}, {"type": "IP", "value": "10.0.0.1"}]);
    assert_eq!(
        scene.bodies("/v1/private-certificates/csr")[0],
        json!({
            "issuer_id": CA, "csr": "-----BEGIN CERTIFICATE REQUEST-----", "type": "ENTITY_CERT",
            "validity": {"type": "DAY", "value": 90}, "subject_alternative_names": sans,
        })
    );
    let mut with_key = request(Source::Ccm);
    with_key.validity = Seconds::hours(25);
    with_key.subject.organization = Some("Example".to_owned());
    scene.submit(&with_key).await.unwrap();
    assert_eq!(
        scene.bodies(CERTIFICATES)[0],
        json!({
            "issuer_id": CA, "key_algorithm": "EC256", "signature_algorithm": "SHA256",
            "distinguished_name": {"common_name": "www.example.com", "organization": "Example"},
            "validity": {"type": "HOUR", "value": 25}, "key_usages": ["digitalSignature"],
            "subject_alternative_names": sans, "extended_key_usage": {"server_auth": true},
        })
    );
}

#[tokio::test]
async fn what_pca_cannot_make_is_refused_here() {
    let scene = scene(corp(), Account::new()).await;
    let many: Vec<String> = (0..21).map(|n| format!("h{n}.example.com")).collect();
    let many: SubjectAltNames = many.iter().map(|text| Name::parse(text).unwrap()).collect();
    for (request, words) in [
        (
            OrderRequest {
                key_algorithm: KeyAlgorithm::Rsa3072,
                ..request(Source::Ccm)
            },
            "3072",
        ),
        (
            OrderRequest {
                names: many.clone(),
                ..request(Source::Ccm)
            },
            "21 names",
        ),
        (
            OrderRequest {
                validity: Seconds(0),
                ..request(Source::Csr)
            },
            "validity",
        ),
    ] {
        let error = scene.submit(&request).await.unwrap_err();
        assert_eq!(
            (error.class, error.effect),
            (ErrorClass::Configuration, Effect::None)
        );
        assert!(error.message.contains(words), "{error}");
    }
    let long = "x".repeat(5121);
    let error = scene
        .issuer
        .submit(&request(Source::Csr), Some(&long))
        .await
        .unwrap_err();
    assert!(error.message.contains("5121 characters"), "{error}");
    let many = OrderRequest {
        names: many,
        ..request(Source::Csr)
    };
    scene.submit(&many).await.unwrap();
    let sent = &scene.bodies("/v1/private-certificates/csr")[0];
    assert!(
        sent.get("subject_alternative_names").is_none(),
        "PCA ignores them there"
    );
}

#[tokio::test]
async fn only_the_application_itself_can_have_had_an_effect() {
    let broken = Arc::new(Mutex::new(""));
    let same = Arc::clone(&broken);
    let mut account = Account::new();
    let peer = Peer::start(move |request| {
        if request.path() == *same.lock().unwrap() {
            Reply::Close
        } else {
            account.answer(request)
        }
    })
    .await;
    let issuer = connected(&peer.url, corp()).unwrap();
    for (path, effect) in [
        (CAS, Effect::None),
        ("/v1/private-certificates/csr", Effect::Unknown),
    ] {
        *broken.lock().unwrap() = path;
        let error = issuer
            .submit(&request(Source::Csr), Some("x"))
            .await
            .unwrap_err();
        assert_eq!(
            (error.class, error.effect),
            (ErrorClass::Transient, effect),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_lost_application_is_found_by_its_public_key() {
    let mut account = Account::new();
    for n in 0..5 {
        account.add(&format!("other-{n}"), &["www.example.com"], 60 + n, "CSR");
    }
    let key = account.add("ours", &["www.example.com"], 300, "CSR");
    let scene = scene(corp(), account).await;
    let found = scene.lookup(Some(key.spki())).await.unwrap();
    assert_eq!(
        found,
        Lookup::Found {
            reference: "ours".to_owned()
        }
    );
    let stranger = certs::key(KeyAlgorithm::EcP256).spki();
    assert_eq!(scene.lookup(Some(stranger)).await.unwrap(), Lookup::Absent);
}

#[tokio::test]
async fn only_candidates_are_exported() {
    let mut account = Account::new();
    // Made long before: the clocks may differ, and the key decides.
    account.add("old", &["www.example.com"], 16 * 60, "CSR");
    account.add("their-key", &["www.example.com"], 10, "GENERATE");
    account.add("longer-name", &["www.example.com.au"], 10, "CSR");
    account.add("other-ca", &["www.example.com"], 10, "CSR");
    account.private.last_mut().unwrap().listed["issuer_id"] = json!("another");
    account.add("revoked", &["www.example.com"], 10, "CSR");
    account.private.last_mut().unwrap().listed["status"] = json!("REVOKED");
    account.add("candidate", &["www.example.com"], 14 * 60, "CSR");
    let scene = scene(corp(), account).await;
    let stranger = certs::key(KeyAlgorithm::EcP256).spki();
    assert_eq!(scene.lookup(Some(stranger)).await.unwrap(), Lookup::Absent);
    let mut exports = scene.exports();
    exports.sort();
    assert_eq!(exports, ["candidate", "old"]);
    let asked = scene.peer.requests();
    let filtered = |one: &Request| one.query("name") == "www.example.com";
    assert!(
        asked
            .iter()
            .filter(|one| one.path() == CERTIFICATES)
            .all(filtered)
    );
}

#[tokio::test]
async fn a_candidate_that_is_not_ready_is_not_taken_for_absence() {
    let mut account = Account::new();
    let key = account.add("ours", &["www.example.com"], 10, "CSR");
    account.private[0].listed["not_ready"] = json!(true);
    let scene = scene(corp(), account).await;
    let error = scene.lookup(Some(key.spki())).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Transient, "{error}");
    assert!(matches!(
        scene.issuer.fetch("ours", false).await,
        Ok(Fetched::NotYet { .. })
    ));
    scene.account.lock().unwrap().private[0].listed["not_ready"] = json!(null);
    let found = scene.lookup(Some(key.spki())).await.unwrap();
    assert_eq!(
        found,
        Lookup::Found {
            reference: "ours".to_owned()
        }
    );
}

#[tokio::test]
async fn a_lost_application_with_a_key_of_ccm_is_found_by_its_exact_names() {
    let mut account = Account::new();
    account.add("fewer", &["www.example.com"], 10, "GENERATE");
    account.add("older", &["www.example.com", "10.0.0.1"], 30, "GENERATE");
    account.add("newer", &["www.example.com", "10.0.0.1"], 20, "GENERATE");
    account.add("by-csr", &["www.example.com", "10.0.0.1"], 5, "CSR");
    let scene = scene(corp(), account).await;
    let found = scene.lookup(None).await.unwrap();
    assert_eq!(
        found,
        Lookup::Found {
            reference: "newer".to_owned()
        }
    );
    assert_eq!(scene.exports(), ["fewer", "newer"]);
}

#[tokio::test]
async fn a_wildcard_is_looked_up_by_the_name_below_it() {
    let mut account = Account::new();
    let key = account.add("ours", &["*.example.com"], 10, "CSR");
    let scene = scene(corp(), account).await;
    let mut request = request(Source::Csr);
    request.common_name = "*.example.com".to_owned();
    let found = scene
        .issuer
        .lookup(&request, Some(key.spki()), NOW)
        .await
        .unwrap();
    assert_eq!(
        found,
        Lookup::Found {
            reference: "ours".to_owned()
        }
    );
    let requests = scene.peer.requests();
    let listing = requests
        .iter()
        .find(|one| one.path() == CERTIFICATES)
        .unwrap();
    assert_eq!(listing.query("name"), "example.com");
}

#[tokio::test]
async fn a_listing_that_changes_meanwhile_is_never_taken_for_absence() {
    let mut account = Account::new();
    for n in 0..5 {
        account.add(&format!("c{n}"), &["www.example.com"], 1000 + n, "GENERATE");
    }
    // A new certificate in front at every page: one of them is always missed.
    account.meanwhile = Some(|entries| {
        let mut listed = entries[0].listed.clone();
        listed["certificate_id"] = json!(format!("new{}", entries.len()));
        listed["create_time"] = json!(NOW.0 * 1000 + entries.len() as i64);
        entries.push(Entry {
            listed,
            certificate: String::new(),
            key: None,
        });
    });
    let scene = scene(corp(), account).await;
    let spki = certs::key(KeyAlgorithm::EcP256).spki();
    let error = scene.lookup(Some(spki)).await.unwrap_err();
    assert_eq!(
        (error.class, error.effect),
        (ErrorClass::Transient, Effect::None)
    );
    assert!(error.message.contains("incomplete"), "{error}");
    let error = scene
        .issuer
        .offer(&names(&["no.example.org"]), NOW)
        .await
        .unwrap_err();
    assert!(error.message.contains("incomplete"), "{error}");
}

#[tokio::test]
async fn a_candidate_that_cannot_be_read_is_not_taken_for_absence() {
    let mut account = Account::new();
    account.add("damaged", &["www.example.com"], 10, "CSR");
    account.private[0].certificate =
        "-----BEGIN CERTIFICATE-----AAAA-----END CERTIFICATE-----".to_owned();
    let scene = scene(corp(), account).await;
    let spki = certs::key(KeyAlgorithm::EcP256).spki();
    let error = scene.lookup(Some(spki)).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Transient, "{error}");
    assert!(error.message.contains("damaged"), "{error}");
}

fn standings(
    answers: Vec<Result<Option<(Standing, String)>, IssuerError>>,
) -> Vec<Result<Option<Standing>, ErrorClass>> {
    let answers = answers.into_iter();
    answers
        .map(|answer| match answer {
            Ok(trouble) => Ok(trouble.map(|(standing, _)| standing)),
            Err(error) => Err(error.class),
        })
        .collect()
}

fn ids(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

fn account_in_trouble() -> Account {
    let mut account = Account::new();
    for id in ["good", "revoked", "frozen"] {
        account.add(id, &["www.example.com"], 10, "CSR");
    }
    account.private[1].listed["status"] = json!("REVOKED");
    account.private[2].listed["freeze_flag"] = json!(1);
    account
}

#[tokio::test]
async fn what_pca_says_of_its_certificates_is_read_with_the_state_of_the_ca() {
    let asked = ids(&["good", "revoked", "gone", "frozen"]);
    let scene_now = scene(corp(), account_in_trouble()).await;
    let own = [
        Ok(None),
        Ok(Some(Standing::Revoked)),
        Ok(Some(Standing::Deleted)),
        Ok(Some(Standing::Frozen)),
    ];
    let said = scene_now.issuer.standings(&asked).await;
    assert_eq!(standings(said), own);
    for (key, value, standing) in [
        ("status", json!("DISABLED"), Standing::IssuerDisabled),
        ("status", json!("DELETED"), Standing::IssuerDisabled),
        ("freeze_flag", json!(2), Standing::Frozen),
    ] {
        let mut account = account_in_trouble();
        account.authorities[0][key] = value;
        let scene = scene(corp(), account).await;
        let said = scene.issuer.standings(&asked).await;
        let mut expected = own;
        expected[0] = Ok(Some(standing));
        assert_eq!(standings(said), expected, "its own trouble comes first");
    }
    // A CA that is gone has issued all the same.
    let scene = scene(named("gone"), account_in_trouble()).await;
    let said = scene.issuer.standings(&asked).await;
    assert_eq!(standings(said), own);
}

#[tokio::test]
async fn what_scm_says_of_its_certificates_is_read_and_no_answer_says_nothing() {
    let mut account = Account::new();
    for (id, status) in [
        ("good", "ISSUED"),
        ("revoked", "REVOKE"),
        ("going", "REVOKEING"),
    ] {
        account.add_public(id, &["www.example.com"], 10, status);
    }
    let scene = scene(public(), account).await;
    let asked = ids(&["good", "revoked", "going", "gone"]);
    let said = scene.issuer.standings(&asked).await;
    let expected = [
        Ok(None),
        Ok(Some(Standing::Revoked)),
        Ok(None),
        Ok(Some(Standing::Deleted)),
    ];
    assert_eq!(standings(said), expected);
    for kind in [corp(), public()] {
        let nobody = connected("http://127.0.0.1:9", kind).unwrap();
        let said = nobody.standings(&asked).await;
        assert_eq!(standings(said), [Err(ErrorClass::Transient)]);
    }
}

#[tokio::test]
async fn scm_takes_no_orders_yet() {
    let scene = scene(public(), Account::new()).await;
    let error = scene.submit(&request(Source::Csr)).await.unwrap_err();
    assert_eq!(
        (error.class, error.effect),
        (ErrorClass::Configuration, Effect::None)
    );
    assert!(error.message.contains("use order = \"never\""), "{error}");
    assert!(scene.lookup(None).await.is_err());
    assert!(
        scene
            .issuer
            .revoke("scs1", RevocationReason::Superseded)
            .await
            .is_err()
    );
    assert!(scene.peer.requests().is_empty());
}

#[test]
fn an_issuer_that_cannot_be_reached_by_its_policy_is_named() {
    let text = |url| connected(url, corp()).map(|_| ()).unwrap_err().message;
    assert!(text("http://ccm.example.com").starts_with("issuer corp: endpoint"));
    let policy_secret = |reference: &SecretRef| Err(format!("{reference} is not set"));
    let mut policy = policy("https://ccm.example.com", corp());
    policy.access.roots = Some("/nowhere/roots.pem".into());
    let error = |policy: &IssuerPolicy, resolve: &dyn Fn(&SecretRef) -> Result<Secret, String>| {
        let clock = Arc::new(ManualClock::new(NOW));
        let error = connect(policy, resolve, clock).map(|_| ()).unwrap_err();
        assert_eq!(
            (error.class, error.effect),
            (ErrorClass::Configuration, Effect::None)
        );
        error.message
    };
    assert_eq!(
        error(&policy, &policy_secret),
        "issuer corp: secret env:AK: env:AK is not set"
    );
    let given = |_: &SecretRef| Ok(Secret::from("x".to_owned()));
    let text = error(&policy, &given);
    assert!(
        text.contains("/nowhere/roots.pem") && text.contains("No such file"),
        "{text}"
    );
    policy.access.roots = None;
    let empty = |_: &SecretRef| Ok(Secret::from(String::new()));
    assert!(error(&policy, &empty).contains("is empty"));
}
