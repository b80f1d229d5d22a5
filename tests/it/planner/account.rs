//! The issuer's side of a scenario: what was applied for, what exists, what is offered.

use std::collections::{BTreeMap, BTreeSet};

use renewd::model::{
    CertificateFacts, CertificateId, Fingerprint, KeyAlgorithm, Order, RevisionFacts, RevisionId,
    Seconds, SubjectAltNames, Timestamp,
};

/// One certificate of the account.
#[derive(Debug, Clone)]
pub(crate) struct Issued {
    pub(crate) serial: String,
    pub(crate) names: SubjectAltNames,
    pub(crate) key: Fingerprint,
    pub(crate) key_algorithm: KeyAlgorithm,
    pub(crate) issued_at: Timestamp,
    pub(crate) not_after: Timestamp,
    /// The order that applied for it; `None` for what others obtained.
    pub(crate) order: Option<String>,
    /// How many looks it still takes.
    pub(crate) pending: u32,
}

/// The account.
#[derive(Debug, Clone, Default)]
pub(crate) struct Account {
    /// By reference.
    pub(crate) issued: BTreeMap<String, Issued>,
    /// What a follower is offered.
    pub(crate) offers: BTreeMap<CertificateId, String>,
    /// Given instead of what is asked for.
    pub(crate) lifetime: Option<Seconds>,
    /// The CA's own end cuts what it issues.
    pub(crate) ends: Option<Timestamp>,
    /// Looks until the next certificates are issued.
    pub(crate) pending: u32,
    /// Keys and orders that may not be applied for again: the property that no certificate is issued twice.
    applied: BTreeSet<String>,
    count: u32,
}

impl Account {
    /// Applies; panics on a second application that nobody allowed.
    pub(crate) fn submit(&mut self, order: &Order, key: Fingerprint, now: Timestamp) -> String {
        self.sent(order, key);
        let lifetime = self.lifetime.unwrap_or(order.request.validity);
        let mut not_after = now + lifetime;
        if let Some(ends) = self.ends {
            not_after = not_after.min(ends);
        }
        self.add(Issued {
            serial: String::new(),
            names: order.request.names.clone(),
            key,
            key_algorithm: order.request.key_algorithm,
            issued_at: now,
            not_after,
            order: Some(order.id.to_string()),
            pending: self.pending,
        })
    }

    /// An application left the host, whether or not it arrives.
    pub(crate) fn sent(&mut self, order: &Order, key: Fingerprint) {
        let id = format!("{} {key}", order.id);
        assert!(self.applied.insert(id), "applied twice: {order:?}");
    }

    /// The order is known to have had no effect.
    pub(crate) fn allow_again(&mut self, order: &Order) {
        let before = format!("{} ", order.id);
        assert!(
            self.lookup(order).is_none(),
            "had an effect and is sent again: {order:?}"
        );
        self.applied.retain(|id| !id.starts_with(&before));
    }

    /// Puts a certificate there; answers its reference.
    pub(crate) fn add(&mut self, mut issued: Issued) -> String {
        self.count += 1;
        issued.serial = format!("{:02x}", self.count);
        let reference = format!("ref-{}", issued.serial);
        self.issued.insert(reference.clone(), issued);
        reference
    }

    /// Did an order have an effect?
    pub(crate) fn lookup(&self, order: &Order) -> Option<String> {
        self.issued
            .iter()
            .find(|(_, issued)| issued.order.as_deref() == Some(order.id.as_str()))
            .map(|(reference, _)| reference.clone())
    }

    /// As the engine would store it.
    pub(crate) fn revision(&self, reference: &str, order: &Order) -> RevisionFacts {
        let issued = &self.issued[reference];
        RevisionFacts {
            id: RevisionId::new(&format!("r{}", issued.serial)).unwrap(),
            facts: CertificateFacts {
                serial: issued.serial.clone(),
                fingerprint: issued.key,
                spki: issued.key,
                common_name: None,
                names: issued.names.clone(),
                issuer_name: order.issuer.to_string(),
                not_before: issued.issued_at,
                not_after: issued.not_after,
                key_algorithm: Some(issued.key_algorithm),
            },
            issued_at: issued.issued_at,
            reference: reference.to_owned(),
            policy: Some(order.request.policy),
            applied: Some(order.request.names.clone()),
        }
    }
}
