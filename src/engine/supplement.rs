//! Names that are added to an issued certificate (CCM API 7.1.20), as steps of an order.

use crate::engine::order_effect::{Failure, Outcome, material_failure};
use crate::engine::public_order::orders;
use crate::engine::{Engine, EngineError};
use crate::issuer::{IssuedPem, IssuerError, Orders, Supplemented, Whose};
use crate::model::{
    CertificateId, CertificateState, ErrorClass, Failures, Order, OrderEvent, Review, Seconds,
    Supplement, Timestamp, Unseen,
};
use crate::pki;
use crate::plan;
use crate::plan::order_machine::{self, Timing};
use crate::plan::supplement::late::{self, Step};
use crate::store::{CertificateChange, Touched};
use crate::sys::{crash, error_chain};

/// What became of names that may come late.
enum Late {
    /// They did not come.
    NotYet,
    /// Names are being added, and they are not, or may not be, what was sent.
    Unsure,
    /// They came, and were taken back.
    TakenBack,
    /// They are in the certificate.
    Issued,
    /// Nothing is added to it any more.
    Over,
}

impl Engine {
    /// Sends them, unless it happened already. The key is kept for what comes of it first.
    pub(super) async fn supplement(
        &self,
        order: &Order,
        now: Timestamp,
    ) -> Result<Outcome, Failure> {
        let wanted = wanted(order)?;
        let issuer = self.issuers.get(&order.issuer)?;
        let orders = orders(&*issuer)?;
        if let Some(spki) = wanted.spki {
            let key = self.key_of(order, spki)?;
            let kept = self.deployer.materials().keep_public_key(&key);
            kept.map_err(|error| material_failure(&error))?;
        }
        match orders.supplemented(wanted).await? {
            Supplemented::Open => {}
            Supplemented::Done | Supplemented::UnderWay(Whose::Ours | Whose::Wider) => {
                return Ok(accepted(wanted, now, "are added already"));
            }
            Supplemented::UnderWay(Whose::Unclear | Whose::Others) => {
                let reference = &wanted.reference;
                return Err(busy(&format!("somebody adds other names to {reference}")));
            }
            Supplemented::Busy { detail } => return Err(busy(&detail)),
            Supplemented::Over { detail } => {
                return Err(Failure::local(ErrorClass::Rejected, detail));
            }
        }
        let refused = match orders.supplement(wanted).await {
            Ok(()) => return Ok(accepted(wanted, self.clock.now(), "are being added")),
            Err(error) if error.class == ErrorClass::Rejected => error,
            Err(error) => return Err(error.into()),
        };
        // Another order would cost money: the no must not be of a moment in which it was done.
        Err(match orders.supplemented(wanted).await? {
            Supplemented::Done | Supplemented::UnderWay(Whose::Ours | Whose::Wider) => {
                return Ok(accepted(wanted, self.clock.now(), "are added already"));
            }
            Supplemented::UnderWay(Whose::Unclear | Whose::Others) | Supplemented::Busy { .. } => {
                busy(&refused.message)
            }
            Supplemented::Open | Supplemented::Over { .. } => refused.into(),
        })
    }

    /// Looks what became of names with a lost answer.
    pub(super) async fn resolve_supplement(
        &self,
        order: &Order,
        orders: &Orders,
        now: Timestamp,
    ) -> Result<Outcome, Failure> {
        let wanted = wanted(order)?;
        Ok(match orders.supplemented(wanted).await? {
            // Where the account does not say which names it proves, they are those that were sent a moment ago.
            Supplemented::Done
            | Supplemented::UnderWay(Whose::Ours | Whose::Wider | Whose::Unclear) => {
                accepted(wanted, now, "were accepted")
            }
            Supplemented::Open => {
                let event = order_machine::absent(order, self.timing(order), now);
                let message = format!("{} is as it was", wanted.reference);
                Outcome::new(event, message)
            }
            Supplemented::UnderWay(Whose::Others) => {
                let reference = &wanted.reference;
                return Err(busy(&format!("somebody adds other names to {reference}")));
            }
            Supplemented::Busy { detail } => return Err(busy(&detail)),
            // Sent once more it is refused, and another order follows.
            Supplemented::Over { detail } => {
                let event = order_machine::absent(order, self.timing(order), now);
                Outcome::new(event, format!("nothing is added any more: {detail}"))
            }
        })
    }

    /// Names that were asked to be added in vain may have come after all: nothing is bought in their place.
    pub(super) async fn added_late(
        &self,
        order: &Order,
        orders: &Orders,
        now: Timestamp,
    ) -> Result<Option<Outcome>, Failure> {
        let state = self.certificate_state(&order.certificate).await;
        let state =
            state.map_err(|error| Failure::local(ErrorClass::Transient, error_chain(&error)))?;
        let Some(late) = plan::supplement::late(order, &state) else {
            return Ok(None);
        };
        let Supplement {
            reference, spki, ..
        } = &late;
        let how = match orders.supplemented(&late).await? {
            Supplemented::Done => "were added after all",
            Supplemented::UnderWay(Whose::Ours | Whose::Wider) => "are being added after all",
            // What is due is not held up by what may be somebody else's.
            Supplemented::UnderWay(Whose::Unclear) if self.is_due(order, &state, now) => {
                return Ok(None);
            }
            Supplemented::UnderWay(Whose::Unclear) => {
                let message = format!("names are being added to {reference}, perhaps these");
                return Err(Failure::local(ErrorClass::Transient, message));
            }
            Supplemented::UnderWay(Whose::Others)
            | Supplemented::Open
            | Supplemented::Busy { .. }
            | Supplemented::Over { .. } => return Ok(None),
        };
        let event = OrderEvent::Adopted {
            reference: reference.clone(),
            spki: *spki,
            poll_after: now,
        };
        let message = format!("{} {how} to {reference}", late.adds);
        Ok(Some(Outcome::new(event, message)))
    }

    /// Whether the certificate that an order replaces is due by its rule, whatever the order was opened for.
    fn is_due(&self, order: &Order, state: &CertificateState, now: Timestamp) -> bool {
        let certificate = self.policy.certificates.get(&order.certificate);
        certificate
            .zip(state.newest.as_ref())
            .is_some_and(|(certificate, newest)| {
                plan::renewal::of(&self.policy, certificate, state, newest).renew_at <= now
            })
    }

    /// Looks for names that may come late and that nobody waits for, and takes them back.
    pub(super) async fn take_back(
        &self,
        certificate: &CertificateId,
        supplement: &Supplement,
        now: Timestamp,
    ) -> Result<Touched, EngineError> {
        let mut touched = Touched::default();
        touched.certificates.insert(certificate.clone());
        // An order may have sent names there since the plan was made.
        let snapshot = self.known().await?;
        let state = snapshot.certificates.get(certificate);
        let mut all = state.into_iter().flat_map(|state| &state.unseen);
        let Some(unseen) = all.find(|one| one.supplement == *supplement) else {
            return Ok(touched);
        };
        let step = late::step(&self.policy, &snapshot, certificate, unseen, now);
        let (left, news) = match step {
            Step::Waits(_) => return Ok(touched),
            Step::Over => (None, None),
            Step::Due if self.issuers.is_silent(&unseen.issuer) => return Ok(touched),
            Step::Due => self.take_back_due(certificate, unseen, now).await,
        };
        crash::point("supplement.late.effect");
        let change = CertificateChange::Unseen {
            supplement: Box::new(supplement.clone()),
            left: left.map(Box::new),
            news,
        };
        self.store.change_certificate(certificate, change).await?;
        crash::point("supplement.late.done");
        Ok(touched)
    }

    /// What is known of them afterwards, and what is to be told.
    async fn take_back_due(
        &self,
        certificate: &CertificateId,
        unseen: &Unseen,
        now: Timestamp,
    ) -> (Option<Unseen>, Option<(Timestamp, bool, String)>) {
        let round = self.issuers.round();
        let (issuer, one) = (&unseen.issuer, &unseen.supplement);
        let looked = |unsure| Unseen {
            looked_at: now,
            unsure,
            failures: Failures::default(),
            ..unseen.clone()
        };
        match self.late(unseen, now).await {
            Ok(found) => {
                self.issuers.answered(issuer);
                match found {
                    Late::NotYet => (Some(looked(false)), None),
                    Late::Unsure => (Some(looked(true)), None),
                    Late::Over => (None, None),
                    Late::Issued => {
                        let message = late::issued(unseen);
                        self.done(certificate, message.clone());
                        let issued = Some(self.clock.now());
                        let left = Unseen {
                            issued,
                            ..looked(false)
                        };
                        (Some(left), Some((self.clock.now(), false, message)))
                    }
                    Late::TakenBack => {
                        let message = format!(
                            "{} taken back from {}: they came after all, and nobody waits for them any more",
                            one.adds, one.reference
                        );
                        self.done(certificate, message.clone());
                        (None, Some((self.clock.now(), false, message)))
                    }
                }
            }
            Err(error) => {
                let what = format!("looking for {} in {}", one.adds, one.reference);
                let failure = self.tending_failed(certificate, issuer, &what, error, (round, now));
                let news = (failure.at, true, failure.message.clone());
                let mut after = unseen.clone();
                after.failures.add(failure);
                (Some(after), Some(news))
            }
        }
    }

    async fn late(&self, unseen: &Unseen, now: Timestamp) -> Result<Late, IssuerError> {
        let issuer = self.issuers.get(&unseen.issuer)?;
        let Some(orders) = issuer.orders() else {
            return Ok(Late::Over);
        };
        let supplement = &unseen.supplement;
        Ok(match orders.supplemented(supplement).await? {
            Supplemented::Open
            | Supplemented::Busy { .. }
            | Supplemented::UnderWay(Whose::Others) => Late::NotYet,
            // What was asked for long ago is no reason to take back what may be somebody else's, and what has names beside
            // these is not what was sent.
            Supplemented::UnderWay(Whose::Unclear | Whose::Wider) => Late::Unsure,
            Supplemented::UnderWay(Whose::Ours) if !late::may_be_ours(unseen, now) => Late::Unsure,
            Supplemented::UnderWay(Whose::Ours) => {
                if orders.withdraw_late(supplement).await? {
                    Late::TakenBack
                } else {
                    // It is another state than a moment ago: the next look says which.
                    Late::NotYet
                }
            }
            Supplemented::Done => Late::Issued,
            Supplemented::Over { .. } => Late::Over,
        })
    }

    /// Whether what is issued lacks the names that the order adds: what to do then.
    pub(super) async fn lacking(
        &self,
        order: &Order,
        pem: &IssuedPem,
    ) -> Result<Option<Outcome>, Failure> {
        let Some(wanted) = of(order) else {
            return Ok(None);
        };
        let leaf = pki::pem::certificates(&pem.certificate);
        let leaf = leaf.ok().and_then(|all| all.into_iter().next());
        let Some(Ok(facts)) = leaf.map(|leaf| pki::facts(&leaf)) else {
            // Whatever it is, the check of what was issued says so.
            return Ok(None);
        };
        if wanted.adds.iter().all(|name| facts.covers_name(name)) {
            return Ok(None);
        }
        let review = Review {
            status: ISSUED.to_owned(),
            since: self.clock.now(),
        };
        let timing = self.issuers.policy(&order.issuer).map(Timing::from);
        if timing.is_some_and(|timing| order_machine::was_taken_back(order, &review, timing)) {
            let issuer = self.issuers.get(&order.issuer)?;
            let said = orders(&*issuer)?.why_not_supplemented(&wanted.reference);
            let why = said.await?.unwrap_or_else(|| NO_REASON.to_owned());
            return Err(Failure::local(ErrorClass::Rejected, why));
        }
        let poll_after = self.clock.now() + AGAIN;
        let message = format!("{} is issued without them yet", wanted.reference);
        let event = OrderEvent::NotYet { poll_after, review };
        Ok(Some(Outcome::new(event, message)))
    }
}

fn of(order: &Order) -> Option<&Supplement> {
    order.request.public.as_ref()?.supplements.as_deref()
}

fn wanted(order: &Order) -> Result<&Supplement, Failure> {
    of(order).ok_or_else(|| {
        let message = format!("order {} adds no names", order.id);
        Failure::local(ErrorClass::Bug, message)
    })
}

fn accepted(wanted: &Supplement, poll_after: Timestamp, how: &str) -> Outcome {
    let event = OrderEvent::Supplemented {
        reference: wanted.reference.clone(),
        spki: wanted.spki,
        poll_after,
    };
    let message = format!("{} {how} to {}", wanted.adds, wanted.reference);
    Outcome::new(event, message)
}

fn busy(detail: &str) -> Failure {
    let message = format!("no names are added yet: {detail}");
    Failure::local(ErrorClass::Transient, message)
}

/// `status` of what has a certificate.
const ISSUED: &str = "ISSUED";
const NO_REASON: &str = "its new names were not issued, and no reason is given";
/// Until the next look whether it is issued with them.
const AGAIN: Seconds = Seconds::minutes(2);
