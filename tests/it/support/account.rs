//! A CCM account in memory behind a [`Peer`], and an issuer connected to it: for pages, crowds, changes and errors.

use std::sync::{Arc, Mutex};

use renewd::issuer::{Issuer, IssuerError, Lookup, connect};
use renewd::model::{
    Fingerprint, IssuerId, IssuerKind, IssuerPolicy, KeyAlgorithm, Name, OrderRequest, PcaPolicy,
    RemoteAccess, RemoteAuth, ScmPolicy, Seconds, SecretRef, Source, SubjectAltNames, Timestamp,
};
use renewd::pki::{PrivateKey, Secret, pem};
use renewd::sys::clock::{Clock, ManualClock, SystemClock};
use serde_json::{Value, json};

use crate::support::ccm::Ccm;
use crate::support::certs;
use crate::support::peer::{Peer, Reply, Request};

pub(crate) const NOW: Timestamp = Timestamp(1_800_000_000);
pub(crate) const CA: &str = "4c0e772e-a30c-4029-b929-b7acb04143f7";
pub(crate) const CAS: &str = "/v1/private-certificate-authorities";
pub(crate) const CERTIFICATES: &str = "/v1/private-certificates";
pub(crate) const SCM: &str = "/v3/scm/certificates";

/// What an account holds; the peer reads it at every request, so a test may change it meanwhile.
pub(crate) struct Account {
    pub(crate) authorities: Vec<Value>,
    pub(crate) private: Vec<Entry>,
    pub(crate) public: Vec<Entry>,
    /// Items of a page at most, whatever was asked for.
    pub(crate) page: usize,
    signer: certs::Authority,
    /// Called before every list request is answered.
    pub(crate) meanwhile: Option<fn(&mut Vec<Entry>)>,
    /// SCM refuses offsets beyond this one.
    pub(crate) last_offset: usize,
}

pub(crate) struct Entry {
    pub(crate) listed: Value,
    pub(crate) certificate: String,
    pub(crate) key: Option<String>,
}

impl Account {
    pub(crate) fn new() -> Self {
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
    pub(crate) fn leaf(&self, key: &PrivateKey, names: &[&str], from: Timestamp) -> String {
        let validity = certs::Validity(from, from + Seconds::days(90));
        let parameters = certs::leaf(names, validity);
        let der = self.signer.sign(&key.signer().unwrap(), &parameters);
        // As PCA sends it.
        pem::certificate(&der).replace('\n', "\r\n")
    }

    /// Puts a private certificate into the account, made `age` seconds ago; returns its key.
    pub(crate) fn add(&mut self, id: &str, names: &[&str], age: i64, gen_mode: &str) -> PrivateKey {
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
    pub(crate) fn add_public(&mut self, id: &str, names: &[&str], age: i64, status: &str) {
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

    pub(crate) fn answer(&mut self, request: &Request) -> Reply {
        let path = request.path().to_owned();
        let get = request.method == "GET";
        let unknown = || {
            let (code, text) = if path.starts_with(SCM) {
                ("SCM.0094", "Resource not found.")
            } else {
                ("PCA.00030102", "CA or certificate is not found.")
            };
            Reply::json(404, &json!({"error_code": code, "error_msg": text}))
        };
        if get && [CAS, CERTIFICATES, SCM].contains(&path.as_str()) {
            return self.list(request, &path);
        }
        if let Some(rest) = path.strip_prefix(&format!("{CAS}/")) {
            let id = rest.strip_suffix("/export").unwrap_or(rest);
            let found = self.authorities.iter().find(|one| one["ca_id"] == id);
            let exported = json!({"certificate": CA_CERTIFICATE, "certificate_chain": null});
            let answer = if get { None } else { Some(exported) };
            return found.map_or_else(unknown, |one| {
                Reply::json(200, answer.as_ref().unwrap_or(one))
            });
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
        let ready = entry.listed["not_ready"].is_null();
        if !ready || !["ISSUED", "UPLOAD"].contains(&entry.listed["status"].as_str().unwrap()) {
            let body = json!({"error_code": "PCA.00030201", "error_msg": "Operation not allowed in the current status."});
            return Reply::json(403, &body);
        }
        let body = json!({"certificate": entry.certificate, "certificate_chain": null, "private_key": entry.key});
        Reply::json(200, &body)
    }

    pub(crate) fn list(&mut self, request: &Request, path: &str) -> Reply {
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
pub(crate) struct Scene {
    pub(crate) peer: Peer,
    pub(crate) account: Arc<Mutex<Account>>,
    pub(crate) issuer: Box<dyn Issuer>,
}

pub(crate) async fn scene(kind: IssuerKind, account: Account) -> Scene {
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

pub(crate) fn connected(url: &str, kind: IssuerKind) -> Result<Box<dyn Issuer>, IssuerError> {
    let clock = Arc::new(ManualClock::new(NOW));
    connect(
        &policy(url, kind),
        &|name| Ok(Secret::from(name.to_string())),
        clock,
    )
}

/// An issuer that speaks to renewd-ccm, with its user and its clock.
pub(crate) fn connected_to(ccm: &Ccm, kind: IssuerKind) -> Box<dyn Issuer> {
    let resolve = |name: &SecretRef| {
        let value = match name.to_string().as_str() {
            "env:AK" => ccm.access_key(),
            _ => ccm.secret_key(),
        };
        Ok(Secret::from(value.to_owned()))
    };
    let clock: Arc<dyn Clock> = match &ccm.clock {
        Some(clock) => Arc::<ManualClock>::clone(clock),
        None => Arc::new(SystemClock),
    };
    connect(&policy(&ccm.endpoint(), kind), &resolve, clock).unwrap()
}

/// Signed with the access key `env:AK` and `env:SK`.
pub(crate) fn policy(url: &str, kind: IssuerKind) -> IssuerPolicy {
    IssuerPolicy {
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
        credentials_expire: None,
        settle: Seconds(120),
        digest: Fingerprint([0; 32]),
        pace: renewd::model::IssuerPace::default(),
    }
}

pub(crate) fn corp() -> IssuerKind {
    named("corp")
}

pub(crate) fn named(ca: &str) -> IssuerKind {
    IssuerKind::Pca(PcaPolicy {
        ca: ca.to_owned(),
        superseded: renewd::model::Superseded::Keep,
    })
}

pub(crate) fn public() -> IssuerKind {
    IssuerKind::Scm(ScmPolicy::default())
}

pub(crate) fn names(texts: &[&str]) -> SubjectAltNames {
    texts
        .iter()
        .map(|text| Name::parse(text).unwrap())
        .collect()
}

pub(crate) fn request(source: Source) -> OrderRequest {
    OrderRequest {
        source,
        ..certs::request(KeyAlgorithm::EcP256, &["www.example.com", "10.0.0.1"])
    }
}

impl Scene {
    pub(crate) async fn submit(&self, request: &OrderRequest) -> Result<String, IssuerError> {
        let csr = (request.source == Source::Csr).then_some("-----BEGIN CERTIFICATE REQUEST-----");
        let accepted = self.issuer.submit(request, csr).await?;
        Ok(accepted.reference)
    }

    pub(crate) async fn lookup(&self, spki: Option<Fingerprint>) -> Result<Lookup, IssuerError> {
        let source = spki.map_or(Source::Ccm, |_| Source::Csr);
        self.issuer.lookup(&request(source), spki, NOW).await
    }

    pub(crate) async fn offered(&self, wanted: &[&str]) -> Option<String> {
        let offer = self.issuer.offer(&names(wanted), NOW).await.unwrap();
        assert_eq!(offer.asked_at, NOW);
        assert_eq!(offer.reference.is_some(), offer.issued_at.is_some());
        offer.reference
    }

    /// Ids that were exported, in their order.
    pub(crate) fn exports(&self) -> Vec<String> {
        let requests = self.peer.requests();
        let ids = requests
            .iter()
            .filter(|one| !one.path().starts_with(CAS))
            .filter_map(|one| one.path().strip_suffix("/export"));
        ids.map(|path| path.rsplit('/').next().unwrap().to_owned())
            .collect()
    }

    pub(crate) fn bodies(&self, path: &str) -> Vec<Value> {
        let requests = self.peer.requests();
        let sent = requests
            .iter()
            .filter(|one| one.path() == path && one.method == "POST");
        sent.map(Request::json).collect()
    }
}

/// Whose certificate it is does not matter to the issuer: it hands it on.
const CA_CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
