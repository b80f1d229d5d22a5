//! The issuers against an account that is paged, crowded, changing or wrong.

use std::sync::{Arc, Mutex};

use renewd::issuer::{Effect, Fetched, Issuer, IssuerError, Lookup, connect};
use renewd::model::{
    ErrorClass, Fingerprint, IssuerId, IssuerKind, IssuerPolicy, KeyAlgorithm, Name, OrderRequest,
    PcaPolicy, RemoteAccess, RemoteAuth, ScmPolicy, Seconds, SecretRef, Source, SubjectAltNames,
    Timestamp,
};
use renewd::pki::{PrivateKey, Secret, pem};
use renewd::sys::clock::ManualClock;
use serde_json::{Value, json};

use crate::support::certs;
use crate::support::peer::{Peer, Reply, Request};

const NOW: Timestamp = Timestamp(1_800_000_000);
const CA: &str = "4c0e772e-a30c-4029-b929-b7acb04143f7";
const CAS: &str = "/v1/private-certificate-authorities";
const CERTIFICATES: &str = "/v1/private-certificates";
const SCM: &str = "/v3/scm/certificates";

/// What an account holds; the peer reads it at every request, so a test may change it meanwhile.
struct Account {
    authorities: Vec<Value>,
    private: Vec<Entry>,
    public: Vec<Entry>,
    /// Items of a page at most, whatever was asked for.
    page: usize,
    signer: certs::Authority,
    /// Called before every list request is answered.
    meanwhile: Option<fn(&mut Vec<Entry>)>,
    /// SCM refuses offsets beyond this one.
    last_offset: usize,
}

struct Entry {
    listed: Value,
    certificate: String,
    key: Option<String>,
}

impl Account {
    fn new() -> Self {
        let validity = certs::Validity(NOW - Seconds::days(900), NOW + Seconds::days(900));
        let authority = json!({
            "ca_id": CA, "type": "SUBORDINATE", "status": "ACTIVED", "freeze_flag": 0,
            "distinguished_name": {"common_name": "corp"},
        });
        Self {
            authorities: vec![authority],
            private: Vec::new(),
            public: Vec::new(),
            page: 3,
            signer: certs::Authority::root("corp", KeyAlgorithm::EcP256, validity),
            meanwhile: None,
            last_offset: usize::MAX,
        }
    }

    /// A leaf for `key`, valid from `from` for 90 days.
    fn leaf(&self, key: &PrivateKey, names: &[&str], from: Timestamp) -> String {
        let validity = certs::Validity(from, from + Seconds::days(90));
        let parameters = certs::leaf(names, validity);
        let der = self.signer.sign(&key.signer().unwrap(), &parameters);
        // As PCA sends it.
        pem::certificate(&der).replace('\n', "\r\n")
    }

    /// Puts a private certificate into the account, made `age` seconds ago; returns its key.
    fn add(&mut self, id: &str, names: &[&str], age: i64, gen_mode: &str) -> PrivateKey {
        let key = certs::key(KeyAlgorithm::EcP256);
        let from = NOW - Seconds(age);
        let certificate = self.leaf(&key, names, from);
        let common_name = names[0];
        self.private.push(Entry {
            listed: json!({
                "certificate_id": id, "status": "ISSUED", "issuer_id": CA, "gen_mode": gen_mode,
                "create_time": from.0 * 1000, "not_before": from.0 * 1000,
                "not_after": (from + Seconds::days(90)).0 * 1000,
                "distinguished_name": {"common_name": common_name},
            }),
            certificate,
            key: (gen_mode == "GENERATE").then(|| {
                let pem = key.to_pem();
                pem.expose_str().unwrap().to_owned()
            }),
        });
        key
    }

    /// Puts a public certificate into the account.
    fn add_public(&mut self, id: &str, names: &[&str], age: i64, status: &str) {
        let key = certs::key(KeyAlgorithm::EcP256);
        let from = NOW - Seconds(age);
        let certificate = self.leaf(&key, names, from);
        let end = (from + Seconds::days(90)).to_string();
        let key = key.to_pem().expose_str().unwrap().to_owned();
        self.public.push(Entry {
            listed: json!({
                "id": id, "status": status, "domain": names[0], "sans": names[1..].join(";"),
                "expire_time": end.replace('T', " ").replace('Z', ".0"),
                "fingerprint": id, "not_before": null,
            }),
            // Without line ends, as in the example of 4.1.5.5.
            certificate: certificate.replace("\r\n", ""),
            key: Some(key.replace('\n', "")),
        });
    }

    fn answer(&mut self, request: &Request) -> Reply {
        let path = request.path().to_owned();
        let get = request.method == "GET";
        let unknown = || {
            Reply::json(
                404,
                &json!({"error_code": "PCA.00030102", "error_msg": "CA or certificate is not found."}),
            )
        };
        if get && [CAS, CERTIFICATES, SCM].contains(&path.as_str()) {
            return self.list(request, &path);
        }
        if let Some(id) = path.strip_prefix(&format!("{CAS}/")) {
            let found = self.authorities.iter().find(|one| one["ca_id"] == id);
            return found.map_or_else(unknown, |one| Reply::json(200, one));
        }
        if path == format!("{CERTIFICATES}/csr") || path == CERTIFICATES {
            return Reply::json(200, &json!({"certificate_id": "new"}));
        }
        let (entries, key, rest) = if let Some(rest) = path.strip_prefix(&format!("{SCM}/")) {
            (&self.public, "id", rest)
        } else {
            let rest = path.strip_prefix(&format!("{CERTIFICATES}/")).unwrap();
            (&self.private, "certificate_id", rest)
        };
        let id = rest.strip_suffix("/export").unwrap_or(rest);
        let Some(entry) = entries.iter().find(|one| one.listed[key] == id) else {
            return unknown();
        };
        if get {
            return Reply::json(200, &entry.listed);
        }
        if !["ISSUED", "UPLOAD"].contains(&entry.listed["status"].as_str().unwrap()) {
            let body = json!({"error_code": "PCA.00030201", "error_msg": "Operation not allowed in the current status."});
            return Reply::json(403, &body);
        }
        let body = json!({"certificate": entry.certificate, "certificate_chain": null, "private_key": entry.key});
        Reply::json(200, &body)
    }

    fn list(&mut self, request: &Request, path: &str) -> Reply {
        let number = |name| request.query(name).parse::<usize>().unwrap();
        let (offset, limit) = (number("offset"), number("limit").min(self.page));
        let name = request.query("name").replace("%20", " ");
        let status = request.query("status");
        if path == SCM && offset > self.last_offset {
            let body =
                json!({"error_code": "SCM.0005", "error_msg": "Incorrect request parameter."});
            return Reply::json(400, &body);
        }
        if let Some(meanwhile) = self.meanwhile
            && path != CAS
        {
            meanwhile(if path == SCM {
                &mut self.public
            } else {
                &mut self.private
            });
        }
        let mut all: Vec<&Value> = match path {
            CAS => self.authorities.iter().collect(),
            CERTIFICATES => self.private.iter().map(|one| &one.listed).collect(),
            _ => self.public.iter().map(|one| &one.listed).collect(),
        };
        all.retain(|one| {
            let common_name = one["distinguished_name"]["common_name"].as_str();
            common_name.unwrap_or("").contains(&name)
                && (status.is_empty() || one["status"] == status)
        });
        all.sort_by_key(|one| std::cmp::Reverse(one["create_time"].as_i64()));
        let (total, counted, items) = match path {
            CAS => ("total", all.len(), "certificateAuthorities"),
            CERTIFICATES => ("total", all.len(), "certificates"),
            _ => ("total_count", all.len(), "certificates"),
        };
        let page: Vec<&Value> = all.into_iter().skip(offset).take(limit).collect();
        Reply::json(200, &json!({total: counted, items: page}))
    }
}

/// An account behind a peer, and an issuer connected to it.
struct Scene {
    peer: Peer,
    account: Arc<Mutex<Account>>,
    issuer: Box<dyn Issuer>,
}

async fn scene(kind: IssuerKind, account: Account) -> Scene {
    let account = Arc::new(Mutex::new(account));
    let same = Arc::clone(&account);
    let peer = Peer::start(move |request| same.lock().unwrap().answer(request)).await;
    let issuer = connected(&peer.url, kind).unwrap();
    Scene {
        peer,
        account,
        issuer,
    }
}

fn connected(url: &str, kind: IssuerKind) -> Result<Box<dyn Issuer>, IssuerError> {
    let policy = IssuerPolicy {
        id: IssuerId::new("corp").unwrap(),
        kind,
        access: RemoteAccess {
            endpoint: url.to_owned(),
            roots: None,
            auth: RemoteAuth::AccessKey {
                access_key: SecretRef::Env("AK".to_owned()),
                secret_key: SecretRef::Env("SK".to_owned()),
                security_token: None,
            },
            connect_timeout: Seconds(2),
            timeout: Seconds(10),
        },
        settle: Seconds(120),
        digest: Fingerprint([0; 32]),
    };
    let resolve = |reference: &SecretRef| Ok(Secret::from(reference.to_string()));
    connect(&policy, &resolve, Arc::new(ManualClock::new(NOW)))
}

fn corp() -> IssuerKind {
    named("corp")
}

fn named(ca: &str) -> IssuerKind {
    IssuerKind::Pca(PcaPolicy { ca: ca.to_owned() })
}

const fn public() -> IssuerKind {
    IssuerKind::Scm(ScmPolicy {})
}

fn names(texts: &[&str]) -> SubjectAltNames {
    texts
        .iter()
        .map(|text| Name::parse(text).unwrap())
        .collect()
}

fn request(source: Source) -> OrderRequest {
    OrderRequest {
        source,
        ..certs::request(KeyAlgorithm::EcP256, &["www.example.com", "10.0.0.1"])
    }
}

impl Scene {
    async fn submit(&self, request: &OrderRequest) -> Result<String, IssuerError> {
        let csr = (request.source == Source::Csr).then_some("-----BEGIN CERTIFICATE REQUEST-----");
        let accepted = self.issuer.submit(request, csr).await?;
        Ok(accepted.reference)
    }

    async fn lookup(&self, spki: Option<Fingerprint>) -> Result<Lookup, IssuerError> {
        let source = spki.map_or(Source::Ccm, |_| Source::Csr);
        self.issuer.lookup(&request(source), spki, NOW).await
    }

    async fn offered(&self, wanted: &[&str]) -> Option<String> {
        let offer = self.issuer.offer(&names(wanted), NOW).await.unwrap();
        assert_eq!(offer.asked_at, NOW);
        assert_eq!(offer.reference.is_some(), offer.issued_at.is_some());
        offer.reference
    }

    /// Ids that were exported, in their order.
    fn exports(&self) -> Vec<String> {
        let requests = self.peer.requests();
        let ids = requests
            .iter()
            .filter_map(|one| one.path().strip_suffix("/export"));
        ids.map(|path| path.rsplit('/').next().unwrap().to_owned())
            .collect()
    }

    fn bodies(&self, path: &str) -> Vec<Value> {
        let requests = self.peer.requests();
        let sent = requests
            .iter()
            .filter(|one| one.path() == path && one.method == "POST");
        sent.map(Request::json).collect()
    }
}

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
    let old = account.add("old", &["www.example.com"], 16 * 60, "CSR");
    account.add("their-key", &["www.example.com"], 10, "GENERATE");
    account.add("longer-name", &["www.example.com.au"], 10, "CSR");
    account.add("other-ca", &["www.example.com"], 10, "CSR");
    account.private.last_mut().unwrap().listed["issuer_id"] = json!("another");
    account.add("revoked", &["www.example.com"], 10, "CSR");
    account.private.last_mut().unwrap().listed["status"] = json!("REVOKED");
    account.add("candidate", &["www.example.com"], 14 * 60, "CSR");
    let scene = scene(corp(), account).await;
    assert_eq!(
        scene.lookup(Some(old.spki())).await.unwrap(),
        Lookup::Absent
    );
    assert_eq!(scene.exports(), ["candidate"]);
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
    assert!(scene.issuer.revoke("scs1").await.is_err());
    assert!(scene.peer.requests().is_empty());
}

#[test]
fn an_issuer_that_cannot_be_reached_by_its_policy_is_named() {
    let text = |url| connected(url, corp()).map(|_| ()).unwrap_err().message;
    assert!(text("http://ccm.example.com").starts_with("issuer corp: endpoint"));
    let policy_secret = |reference: &SecretRef| Err(format!("{reference} is not set"));
    let mut policy = IssuerPolicy {
        id: IssuerId::new("corp").unwrap(),
        kind: corp(),
        access: RemoteAccess {
            endpoint: "https://ccm.example.com".to_owned(),
            roots: Some("/nowhere/roots.pem".into()),
            auth: RemoteAuth::AccessKey {
                access_key: SecretRef::Env("AK".to_owned()),
                secret_key: SecretRef::Env("SK".to_owned()),
                security_token: None,
            },
            connect_timeout: Seconds(2),
            timeout: Seconds(10),
        },
        settle: Seconds(120),
        digest: Fingerprint([0; 32]),
    };
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
