//! A host that orders at SCM, and what it would remember in its journal.

use std::collections::BTreeSet;

use renewd::ccm::Scm;
use renewd::issuer::{Accepted, Intent, Issuer, IssuerError, Look, Orders, Sighting, Traced};
use renewd::model::{
    Applicant, Budget, Buying, Claim, DomainType, Fingerprint, Identity, IssuerKind, KeyAlgorithm,
    OrderId, OrderRequest, Product, PublicRequest, Purchase, ScmPolicy, Seconds, Source, Subject,
    Timestamp, ValidationId, ValidationKind,
};
use renewd::pki::{PrivateKey, csr};

use crate::ccm_server::applicant;
use crate::support::account::connected_to;
use crate::support::ccm::Ccm;
use crate::support::certs;

/// One host with its keys.
pub(crate) struct Hand {
    pub(crate) issuer: Box<dyn Issuer>,
    pub(crate) identity: Identity,
    /// Of the keys that are here.
    pub(crate) keys: BTreeSet<Fingerprint>,
    /// References of revisions, and of other open orders.
    pub(crate) known: BTreeSet<String>,
    /// Orders that bought something.
    pub(crate) purchases: BTreeSet<OrderId>,
}

impl Hand {
    /// On a host of this name; its journal is called alike.
    pub(crate) fn on(host: &str, ccm: &Ccm) -> Self {
        Self {
            issuer: connected_to(ccm, IssuerKind::Scm(ScmPolicy::default())),
            identity: Identity {
                journal: format!("j{host}"),
                machine: "m".to_owned(),
                host: host.to_owned(),
            },
            keys: BTreeSet::new(),
            known: BTreeSet::new(),
            purchases: BTreeSet::new(),
        }
    }

    pub(crate) fn orders(&self) -> &Orders {
        self.issuer.orders().unwrap()
    }

    /// A new key that is here.
    pub(crate) fn key(&mut self) -> PrivateKey {
        let key = certs::key(KeyAlgorithm::EcP256);
        self.keys.insert(key.spki());
        key
    }

    pub(crate) fn at<'a>(
        &'a self,
        order: &'a OrderId,
        request: &'a OrderRequest,
        now: Timestamp,
    ) -> Look<'a> {
        Look {
            order,
            request,
            identity: &self.identity,
            keys: &self.keys,
            known: &self.known,
            purchases: &self.purchases,
            now,
        }
    }

    pub(crate) async fn look(
        &self,
        id: &str,
        request: &OrderRequest,
        now: Timestamp,
    ) -> Result<Sighting, IssuerError> {
        let id = order(id);
        self.orders().look(&self.at(&id, request, now)).await
    }

    pub(crate) async fn claim(&self, reference: &str, id: &str, now: Timestamp) {
        let claim = Claim {
            journal: self.identity.journal.clone(),
            order: order(id),
            at: now,
        };
        self.orders().claim(reference, &claim).await.unwrap();
    }

    pub(crate) async fn confirm(&self, reference: &str, id: &str) -> bool {
        self.orders().confirm(reference, &order(id)).await.unwrap()
    }

    pub(crate) async fn buy(&self, id: &str, now: Timestamp) -> Result<String, IssuerError> {
        self.buy_as(&buying(DomainType::SingleDomain, 1), id, now)
            .await
    }

    pub(crate) async fn buy_as(
        &self,
        buying: &Buying,
        id: &str,
        now: Timestamp,
    ) -> Result<String, IssuerError> {
        let id = order(id);
        let intent = Intent {
            order: &id,
            identity: &self.identity,
            certificate: "www",
            now,
        };
        self.orders().buy(buying, intent).await
    }

    pub(crate) async fn trace(
        &self,
        id: &str,
        request: &OrderRequest,
        purchase: &Purchase,
        now: Timestamp,
    ) -> Result<Traced, IssuerError> {
        let id = order(id);
        let look = self.at(&id, request, now);
        self.orders().trace(&look, purchase).await
    }

    pub(crate) async fn apply(
        &self,
        reference: &str,
        request: &OrderRequest,
        key: Option<&PrivateKey>,
    ) -> Result<Accepted, IssuerError> {
        let csr = key.map(|key| csr::build(key, request).unwrap());
        self.orders()
            .apply(reference, request, &applicant(), &way(), csr.as_deref())
            .await
    }
}

/// What people do by hand, or other programs.
pub(crate) fn by_hand(ccm: &Ccm) -> Scm {
    Scm::new(ccm.client())
}

pub(crate) fn order(id: &str) -> OrderId {
    OrderId::new(id).unwrap()
}

/// Records that somebody writes.
pub(crate) fn way() -> ValidationKind {
    ValidationKind::Command {
        auth: vec!["/bin/true".to_owned()],
        cleanup: None,
        timeout: Seconds(1),
        method: renewd::model::DomainMethod::Dns,
    }
}

pub(crate) fn applicant() -> Applicant {
    Applicant {
        name: "Tom".to_owned(),
        phone: "13212345678".to_owned(),
        email: "tom@example.com".to_owned(),
        company: Some("Example Ltd".to_owned()),
        contact: Some((
            "Jacky".to_owned(),
            "13512345678".to_owned(),
            "jacky@example.com".to_owned(),
        )),
    }
}

pub(crate) fn buying(domain_type: DomainType, domains: u32) -> Buying {
    Buying {
        product: Product {
            brand: "GEOTRUST".to_owned(),
            kind: "DV_SSL_CERT".to_owned(),
            domain_type,
            domains,
            years: 1,
            kinds: None,
        },
        automatic_payment: true,
        budget: Budget {
            per_day: 1,
            per_month: 5,
        },
        reserve: false,
    }
}

/// A request for these names, with a key made here.
pub(crate) fn wanted(names: &[&str]) -> OrderRequest {
    let domains = u32::try_from(names.len()).unwrap();
    let request = certs::request(KeyAlgorithm::EcP256, names);
    let domain_type = DomainType::of(&request.names);
    OrderRequest {
        subject: Subject {
            country: Some("CN".to_owned()),
            state: Some("Sichuan".to_owned()),
            locality: Some("Chengdu".to_owned()),
            organization: Some("Example Ltd".to_owned()),
            organizational_unit: None,
        },
        public: Some(Box::new(PublicRequest {
            buying: Some(buying(domain_type, domains)),
            validation: ValidationId::new("zone").unwrap(),
            kind: None,
            replaces: None,
            replaces_until: None,
            supplements: None,
        })),
        ..request
    }
}

/// The same with the key made at CCM.
pub(crate) fn at_ccm(request: OrderRequest) -> OrderRequest {
    OrderRequest {
        source: Source::Ccm,
        ..request
    }
}

/// The same in place of a certificate that ends then.
pub(crate) fn replacing(
    mut request: OrderRequest,
    reference: &str,
    until: Timestamp,
) -> OrderRequest {
    let public = request.public.as_mut().unwrap();
    public.replaces = Some(reference.to_owned());
    public.replaces_until = Some(until);
    request
}

/// A purchase that began then, with its answer lost.
pub(crate) fn lost(began_at: Timestamp, listed: &[&str]) -> Purchase {
    Purchase {
        began_at,
        decisive_at: began_at + Seconds::minutes(11),
        absences: 0,
        listed: listed.iter().map(|id| (*id).to_owned()).collect(),
        automatic_payment: true,
    }
}

/// Puts every record that an application wants into the name server.
pub(crate) fn publish(applicant: &applicant::Applicant, fetched: &[renewd::model::DomainProof]) {
    for proof in fetched {
        applicant.names.put(&proof.place, &proof.value);
    }
}
