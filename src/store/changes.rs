//! What changes of a certificate beside orders, and what a claim of the journal changes.

use std::collections::BTreeSet;

use sqlx::Row;

use crate::model::{
    CertificateId, CertificateState, Entitlement, Failures, Fingerprint, Offer, Order, OrderId,
    RemoteTrouble, RevisionId, StepFailure,
};
use crate::store::StoreError;
use crate::store::codec::decode;
use crate::store::rows::{
    ORDER, commit, count, query, read_open_of, write_certificate, write_open,
};
use crate::store::sqlite::SqliteStore;

/// A change of what is known of a certificate, beside orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateChange {
    /// A follower's account was asked.
    Offer {
        /// What it said.
        offer: Offer,
        /// Digest of the certificate's policy whose names were asked for.
        under: Fingerprint,
    },
    /// Asking a follower's account failed.
    SurveyFailed(StepFailure),
    /// A person asked for a new revision; clears what blocks one, also failures of the open order.
    Forced,
    /// Whether the stored revision can be used.
    Unusable(Option<String>),
    /// What the issuer says of the newest revision; `None`: it is in order.
    Remote(Option<RemoteTrouble>),
    /// What its issuer says of the orders at SCM that it came from.
    Entitlements(Vec<Entitlement>),
    /// The issuer took a revision back that is not the newest any more.
    Revoked(RevisionId),
}

/// What a claim changed beside the identity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claimed {
    /// Orders that were given up.
    pub orders: BTreeSet<OrderId>,
    /// Purchases that were taken over: their ids at SCM.
    pub purchases: BTreeSet<String>,
}

impl SqliteStore {
    pub(super) async fn write_change(
        &self,
        id: &CertificateId,
        change: CertificateChange,
    ) -> Result<(), StoreError> {
        const WHAT: &str = "change a certificate";
        let mut tx = self.begin(WHAT).await?;
        let row = sqlx::query("SELECT state FROM certificates WHERE id = $1")
            .bind(id.as_str())
            .fetch_optional(&mut *tx)
            .await
            .map_err(query(WHAT))?;
        let forced = matches!(change, CertificateChange::Forced);
        let mut state: CertificateState = match row {
            Some(row) => decode("certificates.state", row.get(0))?,
            None => CertificateState::default(),
        };
        match change {
            CertificateChange::Offer { offer, under } => {
                state.offer = Some(offer);
                state.offered_under = Some(under);
                state.survey_failures = Failures::default();
            }
            CertificateChange::SurveyFailed(failure) => count(&mut state.survey_failures, &failure),
            CertificateChange::Unusable(detail) => state.unusable = detail,
            CertificateChange::Remote(trouble) => state.remote = trouble,
            CertificateChange::Entitlements(all) => state.entitlements = all,
            CertificateChange::Revoked(revision) => {
                let mut earlier = state.earlier.iter_mut();
                if let Some(earlier) = earlier.find(|earlier| earlier.id == revision) {
                    earlier.revoked = true;
                }
            }
            CertificateChange::Forced => {
                state.forced = true;
                // A follower asks its account anew.
                state.offer = None;
                state.survey_failures = Failures::default();
                state.shortened = false;
                state.failures = Failures::default();
            }
        }
        write_certificate(&mut tx, id, &state).await?;
        if forced {
            const SQL: &str =
                "SELECT body FROM orders WHERE certificate = $1 AND closed_at IS NULL";
            let open: Option<Order> = read_open_of(&mut tx, SQL, id.as_str()).await?;
            if let Some(mut order) = open {
                order.failures = Failures::default();
                write_open(&mut tx, ORDER, order.id.as_str(), &order, None).await?;
            }
        }
        commit(tx, WHAT).await
    }
}
