//! What is remembered of the orders that public certificates came from: asked for after the issue, and at each check.

use crate::engine::{Engine, EngineError};
use crate::model::{
    Entitlement, Fingerprint, IssuerKind, Order, RevisionFacts, Seconds, Snapshot, Timestamp,
};
use crate::store::CertificateChange;

impl Engine {
    /// Of what was just issued. The account's answer is for later decisions only: without it, what is known is kept.
    pub(super) async fn entitlement(
        &self,
        order: &Order,
        revision: &RevisionFacts,
        spki: Option<Fingerprint>,
        now: Timestamp,
    ) -> Option<Entitlement> {
        order.request.public.as_ref()?;
        let mut known = Entitlement {
            reference: revision.reference.clone(),
            purchase: None,
            kind: None,
            domains: None,
            spki,
            remaining: 0,
            auto_renew: false,
            brought: false,
            until: revision.facts.not_after,
            asked_at: now,
        };
        if let Ok(issuer) = self.issuers.get(&order.issuer)
            && let Some(orders) = issuer.orders()
        {
            match orders.entitlement(&known.reference, now).await {
                Ok(said) => merge(&mut known, said),
                Err(error) => {
                    tracing::info!(order = %order.id, %error, "what is left of the order could not be read");
                }
            }
        }
        Some(known)
    }

    /// Asks anew for those that are older than a day.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub(super) async fn refresh_entitlements(
        &self,
        snapshot: &mut Snapshot,
    ) -> Result<(), EngineError> {
        let now = self.clock.now();
        for (id, state) in &mut snapshot.certificates {
            let Some(policy) = self.policy.certificates.get(id) else {
                continue;
            };
            let scm = self.issuers.policy(&policy.issuer);
            let scm = scm.is_some_and(|issuer| matches!(issuer.kind, IssuerKind::Scm(_)));
            if !scm || state.entitlements.is_empty() {
                continue;
            }
            let Ok(issuer) = self.issuers.get(&policy.issuer) else {
                continue;
            };
            let Some(orders) = issuer.orders() else {
                continue;
            };
            let mut fresh = state.entitlements.clone();
            fresh.retain(|one| !is_over(one, now));
            for one in &mut fresh {
                // A clock that was set back asks again.
                if (0..AGE.0).contains(&one.asked_at.until(now).0) {
                    continue;
                }
                match orders.entitlement(&one.reference, now).await {
                    Ok(said) => {
                        let (before, until) = (one.clone(), one.until);
                        merge(one, said);
                        one.after(&before);
                        one.until = one.until.max(until);
                        one.asked_at = now;
                    }
                    Err(error) if error.everybody => break,
                    Err(error) => {
                        tracing::info!(certificate = %id, %error, "what is left of an order could not be read");
                    }
                }
            }
            if fresh != state.entitlements {
                state.entitlements.clone_from(&fresh);
                let change = CertificateChange::Entitlements(fresh);
                self.store.change_certificate(id, change).await?;
            }
        }
        Ok(())
    }
}

fn merge(known: &mut Entitlement, said: Entitlement) {
    known.purchase = said.purchase.or(known.purchase.take());
    known.kind = said.kind.or(known.kind.take());
    known.domains = said.domains.or(known.domains);
    known.spki = known.spki.or(said.spki);
    known.remaining = said.remaining;
    known.auto_renew = said.auto_renew;
    if said.until > Timestamp(0) {
        known.until = said.until;
    }
}

/// Nothing comes of it any more.
fn is_over(one: &Entitlement, now: Timestamp) -> bool {
    one.until + LATE < now
}

/// Between two questions for one.
const AGE: Seconds = Seconds::hours(20);
/// After its end a successor may still come, late.
const LATE: Seconds = Seconds::days(30);
