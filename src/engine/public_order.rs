//! The effects of the steps that only an order of a public certificate has: entitlements, purchases, applications.

use std::collections::BTreeSet;

use crate::engine::Engine;
use crate::engine::order_effect::{Failure, Outcome, material_failure, wrong_phase};
use crate::issuer::{Accepted, Applied, Intent, Issuer, Look, Orders, Sighting, Traced};
use crate::model::{
    Buying, Claim, ErrorClass, Fingerprint, Identity, IssuerKind, Order, OrderClosing, OrderEvent,
    OrderId, OrderPhase, PublicRequest, Reason, Seconds, Snapshot, Spent, Timestamp, Want,
};
use crate::pki::PrivateKey;
use crate::plan::{count_by_account, entitlements, order_machine};
use crate::sys::{crash, error_chain, host};

/// What a look goes by.
struct Ours {
    identity: Identity,
    keys: BTreeSet<Fingerprint>,
    known: BTreeSet<String>,
    purchases: BTreeSet<OrderId>,
}

impl Ours {
    const fn look<'a>(&'a self, order: &'a Order, now: Timestamp) -> Look<'a> {
        Look {
            order: &order.id,
            request: &order.request,
            identity: &self.identity,
            keys: &self.keys,
            known: &self.known,
            purchases: &self.purchases,
            now,
        }
    }
}

impl Engine {
    pub(super) async fn look(&self, order: &Order, now: Timestamp) -> Result<Outcome, Failure> {
        let issuer = self.issuers.get(&order.issuer)?;
        let orders = orders(&*issuer)?;
        let ours = self.ours(order).await?;
        let public = public(order)?;
        let wanting = |want, interval, message: String| {
            let look_at = self.clock.now() + interval;
            Outcome::new(OrderEvent::Wanting { want, look_at }, message)
        };
        let sighting = orders.look(&ours.look(order, now)).await?;
        // Whatever costs money, and what a person would be asked about, is looked at only where nothing came late.
        if matches!(
            sighting,
            Sighting::Nothing { .. } | Sighting::Unused { .. } | Sighting::Foreign { .. }
        ) && let Some(late) = self.added_late(order, orders, now).await?
        {
            return Ok(late);
        }
        Ok(match sighting {
            Sighting::Issued { reference, spki } => adopted(reference, spki, now, "issued already"),
            Sighting::UnderWay { reference, spki } => {
                adopted(reference, spki, now, "applied for already")
            }
            Sighting::SuccessorToCome => {
                let not_after = public.replaces_until.unwrap_or(now);
                let message = format!(
                    "the next certificate of the order of several years comes by itself; the present one ends at {not_after}"
                );
                let want = Want::Successor { not_after };
                wanting(want, SUCCESSOR_INTERVAL, message)
            }
            Sighting::Foreign { detail } => {
                let message = detail.clone();
                wanting(Want::Person { detail }, PERSON_INTERVAL, message)
            }
            Sighting::Narrower { detail } => {
                let message = detail.clone();
                wanting(Want::Names { detail }, PERSON_INTERVAL, message)
            }
            Sighting::Unused { reference } => {
                self.lay_claim(orders, order, &ours.identity, reference, now)
                    .await?
            }
            Sighting::Nothing { unused, mut spent } => {
                if let Some(buying) = public.buying.as_ref().filter(|buying| buying.reserve) {
                    let place = self.place(orders, order, (buying, &spent), &ours, now);
                    spent.placed = place.await?;
                }
                let message = format!(
                    "the account has nothing for {} that may be taken; {} unused for others, {} bought within 30 days",
                    order.request.names,
                    unused.len(),
                    spent.at.len()
                );
                let event = OrderEvent::NothingFree {
                    listed: unused,
                    looked_at: now,
                    spent,
                };
                Outcome::new(event, message)
            }
        })
    }

    /// From when on a look counts everybody who is earlier in the queue of those who buy. A place is taken where there is
    /// none and the budget leaves room: one that waits for the budget would keep others waiting for it.
    async fn place(
        &self,
        orders: &Orders,
        order: &Order,
        (buying, spent): (&Buying, &Spent),
        ours: &Ours,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Failure> {
        let settle = self.timing(order).settle;
        let taken = match (spent.placed, remembered(order, settle, now)) {
            (Some(taken), _) => taken,
            (None, Some(taken)) if now < taken + settle => taken,
            (None, Some(taken)) => {
                // Another one would show as little, and the next look would take one more.
                let message = format!(
                    "the account does not show the place in the queue of those who buy from it that was taken at {taken}: nothing is bought without it"
                );
                return Err(Failure::local(ErrorClass::Transient, message));
            }
            (None, None) => {
                let snapshot = self.store.snapshot().await;
                let mut snapshot = snapshot
                    .map_err(|error| Failure::local(ErrorClass::Transient, error_chain(&error)))?;
                count_by_account(&self.policy, &mut snapshot);
                let journal = snapshot.purchases.get(&order.issuer);
                let journal = journal.map_or(&[][..], Vec::as_slice);
                if order_machine::allowed_at(buying.budget, journal, &spent.at, now).is_some() {
                    return Ok(None);
                }
                let taken = orders.reserve(&ours.look(order, now)).await?;
                crash::point("queue.take.effect");
                taken
            }
        };
        // Others may have written before, and be seen later.
        Ok(Some(taken + settle))
    }

    async fn lay_claim(
        &self,
        orders: &Orders,
        order: &Order,
        identity: &Identity,
        reference: String,
        now: Timestamp,
    ) -> Result<Outcome, Failure> {
        let claim = Claim {
            journal: identity.journal.clone(),
            order: order.id.clone(),
            at: now,
        };
        orders.claim(&reference, &claim).await?;
        // Another host may have written at the same moment, and what was written late counts.
        let confirm_at = self.clock.now() + self.timing(order).settle;
        let message = format!("unused entitlement {reference} claimed; read back at {confirm_at}");
        let event = OrderEvent::Claimed {
            reference,
            confirm_at,
        };
        Ok(Outcome::new(event, message))
    }

    pub(super) async fn confirm(&self, order: &Order, now: Timestamp) -> Result<Outcome, Failure> {
        let OrderPhase::Claiming { reference, .. } = &order.phase else {
            return Err(wrong_phase("confirm", order));
        };
        let issuer = self.issuers.get(&order.issuer)?;
        if orders(&*issuer)?.confirm(reference, &order.id).await? {
            let message = format!("entitlement {reference} is ours");
            return Ok(Outcome::new(OrderEvent::Confirmed, message));
        }
        let look_at = now + YIELDED;
        let message = format!("entitlement {reference} went to another host");
        Ok(Outcome::new(OrderEvent::Yielded { look_at }, message))
    }

    pub(super) async fn buy(&self, order: &Order, now: Timestamp) -> Result<Outcome, Failure> {
        let Some(buying) = &public(order)?.buying else {
            return Err(Failure::local(
                ErrorClass::Bug,
                "buy without a purchase in the order".to_owned(),
            ));
        };
        let identity = self.identity().await?;
        let issuer = self.issuers.get(&order.issuer)?;
        let intent = Intent {
            order: &order.id,
            identity: &identity,
            certificate: order.certificate.as_str(),
            now,
        };
        let reference = orders(&*issuer)?.buy(buying, intent).await?;
        let message = format!("bought {}: {reference}", buying.product);
        Ok(Outcome::new(OrderEvent::Bought { reference }, message))
    }

    pub(super) async fn trace(&self, order: &Order, now: Timestamp) -> Result<Outcome, Failure> {
        let OrderPhase::PurchaseUnclear { purchase, .. } = &order.phase else {
            return Err(wrong_phase("trace", order));
        };
        let issuer = self.issuers.get(&order.issuer)?;
        let orders = orders(&*issuer)?;
        let ours = self.ours(order).await?;
        match orders.trace(&ours.look(order, now), purchase).await? {
            Traced::Found { reference } => {
                let message = format!("the purchase was made: {reference}");
                Ok(Outcome::new(OrderEvent::Bought { reference }, message))
            }
            Traced::Perhaps { reference } => {
                // What the journal's other owner bought looks the same.
                if let Some(stale) = ours.identity.stale_on(&host::machine()) {
                    let message = format!(
                        "{reference} may be what was bought, and is not taken: {stale}; `renewd state claim` where this is the one that goes on"
                    );
                    return Err(Failure::local(ErrorClass::Transient, message));
                }
                self.lay_claim(orders, order, &ours.identity, reference, now)
                    .await
            }
            Traced::Untold { detail } => {
                let message = format!("{detail}; its tags are waited for");
                Ok(Outcome::new(order_machine::untold(now), message))
            }
            Traced::Absent => {
                let event = order_machine::not_bought(order, now);
                let message = "the account does not show the purchase".to_owned();
                Ok(Outcome::new(event, message))
            }
        }
    }

    pub(super) async fn withdraw(&self, order: &Order) -> Result<Outcome, Failure> {
        let OrderPhase::Ending {
            withdraw: Some(reference),
            ..
        } = &order.phase
        else {
            return Err(wrong_phase("withdraw", order));
        };
        let issuer = self.issuers.get(&order.issuer)?;
        let supplement = public(order)?.supplements.as_deref();
        orders(&*issuer)?.withdraw(reference, supplement).await?;
        let message = format!("application {reference} taken back");
        Ok(Outcome::new(OrderEvent::Withdrawn, message))
    }

    /// Applies with an entitlement. The key is kept for what may come of it first, whatever becomes of the order.
    pub(super) async fn apply(
        &self,
        order: &Order,
        entitlement: &str,
        key: Option<&PrivateKey>,
        csr: Option<&str>,
    ) -> Result<Accepted, Failure> {
        let issuer = self.issuers.get(&order.issuer)?;
        let orders = orders(&*issuer)?;
        let applicant = match self
            .issuers
            .policy(&order.issuer)
            .map(|policy| &policy.kind)
        {
            Some(IssuerKind::Scm(scm)) => scm.applicant.as_ref(),
            Some(IssuerKind::Pca(_)) | None => None,
        };
        let Some(applicant) = applicant else {
            let message = format!("issuer {} has no applicant in the policy", order.issuer);
            return Err(Failure::local(ErrorClass::Configuration, message));
        };
        let way = self.way(&public(order)?.validation)?;
        if let Some(key) = key {
            let kept = self.deployer.materials().keep_public_key(key);
            kept.map_err(|error| material_failure(&error))?;
        }
        let request = &order.request;
        let applied = orders.apply(entitlement, request, applicant, &way.kind, csr);
        let refused = match applied.await {
            Err(error) if error.class == ErrorClass::Rejected => error,
            answer => return Ok(answer?),
        };
        // What was bought a moment ago may not be there yet, and an order that ends would be followed by another purchase.
        let spki = key.map(PrivateKey::spki);
        match orders.applied(entitlement, request, spki).await? {
            Applied::Ours => Ok(Accepted {
                reference: entitlement.to_owned(),
                poll_after: 0,
            }),
            Applied::Gone { .. } | Applied::Foreign { .. } if self.has_bought(order).await? => {
                let message = format!("not there yet: {}", refused.message);
                Err(Failure::local(ErrorClass::Transient, message))
            }
            Applied::Unused
            | Applied::Taken { .. }
            | Applied::Gone { .. }
            | Applied::Foreign { .. } => Err(refused.into()),
        }
    }

    /// Whether the order itself bought what it applies with, not long ago.
    async fn has_bought(&self, order: &Order) -> Result<bool, Failure> {
        let bought = self.bought_at(order).await?;
        Ok(bought.is_some_and(|at| self.clock.now() < at + SETTLED))
    }

    /// When the order itself bought something. It may have waited long for that.
    async fn bought_at(&self, order: &Order) -> Result<Option<Timestamp>, Failure> {
        let bought = self.store.bought().await;
        let bought =
            bought.map_err(|error| Failure::local(ErrorClass::Transient, error_chain(&error)))?;
        Ok(bought.get(&order.id).copied())
    }

    /// Looks what became of an application with a lost answer.
    pub(super) async fn resolve_application(
        &self,
        order: &Order,
        entitlement: &str,
        spki: Option<Fingerprint>,
        now: Timestamp,
    ) -> Result<Outcome, Failure> {
        let issuer = self.issuers.get(&order.issuer)?;
        if public(order)?.supplements.is_some() {
            return self.resolve_supplement(order, orders(&*issuer)?, now).await;
        }
        let applied = orders(&*issuer)?.applied(entitlement, &order.request, spki);
        match applied.await? {
            Applied::Ours => {
                let message = format!("the application had its effect: {entitlement}");
                let event = OrderEvent::Accepted {
                    reference: entitlement.to_owned(),
                    poll_after: now,
                };
                Ok(Outcome::new(event, message))
            }
            Applied::Unused => {
                let event = order_machine::absent(order, self.timing(order), now);
                let message = format!("entitlement {entitlement} is unused still");
                Ok(Outcome::new(event, message))
            }
            // Another order, which finds or buys what this one needs.
            Applied::Taken { detail } => {
                let closing = OrderClosing::Abandoned {
                    message: format!("another host was faster with the entitlement: {detail}"),
                };
                let message = format!("the entitlement is taken: {detail}");
                Ok(Outcome::new(OrderEvent::Closed { closing }, message))
            }
            Applied::Gone { detail } => {
                let bought = self.bought_at(order).await?;
                let event = order_machine::gone(order, &detail, now, bought);
                Ok(Outcome::new(event, detail))
            }
            // It may be ours all the same, so the order and its key stay; another one would have to be paid for.
            Applied::Foreign { detail } => Err(Failure::local(
                ErrorClass::Rejected,
                format!(
                    "{detail}; nothing shows that it is ours: look at it in the console, cancel it if nobody wants it"
                ),
            )),
        }
    }

    /// The private key to a public one: of the order itself, of an earlier application, or of a revision.
    pub(super) fn key_of(&self, order: &Order, spki: Fingerprint) -> Result<PrivateKey, Failure> {
        let materials = self.deployer.materials();
        let ours = match materials.load_key(&order.id) {
            Ok(key) => key.filter(|key| key.spki() == spki),
            Err(error) => {
                tracing::warn!(order = %order.id, error = error_chain(&error), "its key cannot be read");
                None
            }
        };
        if let Some(key) = ours {
            return Ok(key);
        }
        match materials.load_public_key(spki) {
            Ok(Some(key)) => return Ok(key),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%spki, error = error_chain(&error), "a kept key cannot be read");
            }
        }
        let revisions = materials.revisions(&order.certificate);
        for revision in revisions.map_err(|error| material_failure(&error))? {
            if let Ok(material) = materials.load_revision(&order.certificate, &revision)
                && material.key.spki() == spki
            {
                return Ok(material.key);
            }
        }
        Err(Failure::local(
            ErrorClass::Rejected,
            format!(
                "the private key to the public key {} is not here any more",
                spki.short()
            ),
        ))
    }

    async fn identity(&self) -> Result<Identity, Failure> {
        let identity = self.store.identity().await;
        let identity =
            identity.map_err(|error| Failure::local(ErrorClass::Transient, error_chain(&error)))?;
        identity.ok_or_else(|| {
            Failure::local(ErrorClass::Bug, "the journal has no identity".to_owned())
        })
    }

    async fn ours(&self, order: &Order) -> Result<Ours, Failure> {
        // Of this moment: what other orders of this host have taken since the plan was made is not free any more.
        let snapshot = self.store.snapshot().await;
        let snapshot = &snapshot
            .map_err(|error| Failure::local(ErrorClass::Transient, error_chain(&error)))?;
        let purchases = self.store.bought().await;
        let purchases = purchases
            .map_err(|error| Failure::local(ErrorClass::Transient, error_chain(&error)))?;
        Ok(Ours {
            identity: self.identity().await?,
            keys: self.usable_keys(order, snapshot)?,
            known: known_references(order, snapshot),
            purchases: purchases.into_keys().collect(),
        })
    }

    /// Public keys to which the private ones are here, and not known to anybody else.
    fn usable_keys(
        &self,
        order: &Order,
        snapshot: &Snapshot,
    ) -> Result<BTreeSet<Fingerprint>, Failure> {
        let materials = self.deployer.materials();
        let mut keys = materials
            .public_keys()
            .map_err(|error| material_failure(&error))?;
        let compromised = snapshot.certificates.values();
        let compromised = compromised.flat_map(|state| &state.compromised);
        let mut spoilt: BTreeSet<Fingerprint> = compromised.map(|key| key.spki).collect();
        if let Some(state) = snapshot.certificates.get(&order.certificate) {
            let newest = state.newest.iter().map(|newest| &newest.id);
            let earlier = state.earlier.iter().map(|earlier| &earlier.id);
            for id in newest.chain(earlier) {
                let Ok(chain) = materials.load_public(&order.certificate, id) else {
                    continue;
                };
                let leaf = chain.first().map(|leaf| crate::pki::facts(leaf));
                let Some(Ok(facts)) = leaf else { continue };
                let is_newest = state.newest.as_ref().is_some_and(|newest| newest.id == *id);
                let renewed = is_newest && order.reason == Reason::Revoked;
                if renewed
                    || state.is_revoked(id)
                    || state.revoking.iter().any(|one| one.revision == *id)
                    || state.is_given_up(&facts.spki)
                {
                    spoilt.insert(facts.spki);
                } else {
                    keys.insert(facts.spki);
                }
            }
        }
        keys.retain(|spki| !spoilt.contains(spki));
        Ok(keys)
    }

    /// Keys that no order and no entitlement refers to any more go.
    pub(super) fn tidy_kept_keys(&self, snapshot: &Snapshot) {
        let now = self.clock.now();
        let mut keep = BTreeSet::new();
        for state in snapshot.certificates.values() {
            let entitlements = state.entitlements.iter();
            keep.extend(entitlements.filter_map(|entitlement| entitlement.spki));
            // What an application that was given up may have come to all the same.
            keep.extend(entitlements::keys(state, now));
        }
        keep.extend(
            snapshot
                .orders
                .values()
                .filter_map(|order| spki(&order.phase)),
        );
        if let Err(error) = self.deployer.materials().keep_public_keys(&keep) {
            tracing::warn!(
                error = error_chain(&error),
                "keys that nothing comes for any more stay"
            );
        }
    }
}

pub(super) fn orders(issuer: &dyn Issuer) -> Result<&Orders, Failure> {
    issuer.orders().ok_or_else(|| {
        Failure::local(
            ErrorClass::Configuration,
            "the issuer of the order sells no public certificates any more".to_owned(),
        )
    })
}

fn public(order: &Order) -> Result<&PublicRequest, Failure> {
    order.request.public.as_deref().ok_or_else(|| {
        let message = format!("order {} is for no public certificate", order.id);
        Failure::local(ErrorClass::Bug, message)
    })
}

/// When the order took its place in the queue, while it would be relied on if it were seen.
fn remembered(order: &Order, settle: Seconds, now: Timestamp) -> Option<Timestamp> {
    let OrderPhase::Bare { spent, .. } = &order.phase else {
        return None;
    };
    let taken = spent.placed? - settle;
    // One of the future was written before the clock was set back.
    let holds = Orders::PLACE_HOLDS;
    (taken + holds > now && taken <= now + holds).then_some(taken)
}

fn adopted(reference: String, spki: Option<Fingerprint>, now: Timestamp, what: &str) -> Outcome {
    let message = format!("{what}, and taken over: {reference}");
    let event = OrderEvent::Adopted {
        reference,
        spki,
        poll_after: now,
    };
    Outcome::new(event, message)
}

/// Of the key that an order applied with, or is about to.
const fn spki(phase: &OrderPhase) -> Option<Fingerprint> {
    match phase {
        OrderPhase::KeyStored { spki, .. } => Some(*spki),
        OrderPhase::Unclear { spki, .. } | OrderPhase::Submitted { spki, .. } => *spki,
        OrderPhase::Opened
        | OrderPhase::Seeking { .. }
        | OrderPhase::Claiming { .. }
        | OrderPhase::Bare { .. }
        | OrderPhase::PurchaseUnclear { .. }
        | OrderPhase::Entitled { .. }
        | OrderPhase::Issued { .. }
        | OrderPhase::Ending { .. }
        | OrderPhase::Closed { .. } => None,
    }
}

/// What of the account is a revision here already, or another order's.
fn known_references(order: &Order, snapshot: &Snapshot) -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    for state in snapshot.certificates.values() {
        known.extend(state.newest.iter().map(|newest| newest.reference.clone()));
        known.extend(
            state
                .earlier
                .iter()
                .map(|earlier| earlier.reference.clone()),
        );
        let entitlements = state.entitlements.iter();
        known.extend(entitlements.map(|entitlement| entitlement.reference.clone()));
    }
    let others = snapshot.orders.values().filter(|one| one.id != order.id);
    known.extend(others.filter_map(|one| reference(&one.phase).cloned()));
    known.remove("");
    if let (Reason::Unusable { .. }, Some(state)) =
        (&order.reason, snapshot.certificates.get(&order.certificate))
    {
        // What is damaged here is whole there.
        if let Some(newest) = &state.newest {
            known.remove(&newest.reference);
        }
    }
    known
}

const fn reference(phase: &OrderPhase) -> Option<&String> {
    match phase {
        OrderPhase::Claiming { reference, .. }
        | OrderPhase::Entitled { reference }
        | OrderPhase::Submitted { reference, .. } => Some(reference),
        OrderPhase::KeyStored { entitlement, .. } | OrderPhase::Unclear { entitlement, .. } => {
            entitlement.as_ref()
        }
        OrderPhase::Ending { withdraw, .. } => withdraw.as_ref(),
        OrderPhase::Opened
        | OrderPhase::Seeking { .. }
        | OrderPhase::Bare { .. }
        | OrderPhase::PurchaseUnclear { .. }
        | OrderPhase::Issued { .. }
        | OrderPhase::Closed { .. } => None,
    }
}

/// Between looks for what the account brings by itself.
const SUCCESSOR_INTERVAL: Seconds = Seconds::hours(6);
/// Between looks for what a person does.
const PERSON_INTERVAL: Seconds = Seconds::hours(1);
/// After a purchase: by then what it brought is there.
const SETTLED: Seconds = Seconds::days(2);
/// After another host's claim was seen: by then it has applied, or given up.
const YIELDED: Seconds = Seconds::minutes(5);
