//! An SCM account: entitlements, claims, purchases, applications, proofs, successors; what it answers to each step of an
//! order of a public certificate. Used by the scenarios and by random schedules.

use std::collections::BTreeSet;

use renewd::model::{
    CertificateFacts, DomainMethod, DomainProof, DomainType, Entitlement, Fingerprint,
    KeyAlgorithm, Order, OrderEvent, OrderId, OrderPhase, Purchase, Review, RevisionFacts,
    RevisionId, Seconds, Spent, SubjectAltNames, Supplement, Timestamp, Want,
};

/// Who asks: what an engine knows beside the order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Who<'a> {
    /// Of its journal.
    pub(crate) journal: &'a str,
    /// Public keys whose private ones it has.
    pub(crate) keys: &'a BTreeSet<Fingerprint>,
    /// References that are revisions, or belong to other open orders.
    pub(crate) known: &'a BTreeSet<String>,
    /// Open orders, this one aside.
    pub(crate) open: &'a BTreeSet<OrderId>,
    /// Orders that the journal remembers to have bought something.
    pub(crate) bought: &'a BTreeSet<OrderId>,
}

/// Tags of one kind: who and when, and from when on they are seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) journal: String,
    pub(crate) order: OrderId,
    pub(crate) at: Timestamp,
    pub(crate) seen_from: Timestamp,
}

/// How far an entitlement is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Unused.
    Paid,
    /// Applied for.
    Checking {
        key: Fingerprint,
        names: SubjectAltNames,
        /// Since when its domains are proven.
        proven_at: Option<Timestamp>,
    },
    /// There is a certificate.
    Issued {
        key: Fingerprint,
        names: SubjectAltNames,
        issued_at: Timestamp,
        not_after: Timestamp,
    },
    /// There is a certificate, and names are being added to it.
    Adding {
        key: Fingerprint,
        names: SubjectAltNames,
        issued_at: Timestamp,
        not_after: Timestamp,
        adds: SubjectAltNames,
        /// Since when they are proven.
        proven_at: Option<Timestamp>,
    },
}

/// One entitlement.
#[derive(Debug, Clone)]
pub(crate) struct Paper {
    pub(crate) reference: String,
    pub(crate) kind: String,
    pub(crate) domain_type: DomainType,
    pub(crate) domains: u32,
    /// Certificates that follow.
    pub(crate) remaining: u32,
    /// One follows in any case.
    pub(crate) auto_renew: bool,
    /// Listings have it from then on.
    pub(crate) appears_at: Timestamp,
    pub(crate) intent: Option<Mark>,
    pub(crate) claim: Option<Mark>,
    pub(crate) stage: Stage,
    /// What this one succeeds.
    pub(crate) renews: Option<String>,
    /// How often names were added to it.
    pub(crate) supplements: u32,
    has_successor: bool,
}

impl Paper {
    /// By which order it was bought, as far as its tags are seen.
    fn intent_seen(&self, seen: Timestamp) -> Option<&Mark> {
        self.intent.as_ref().filter(|mark| mark.seen_from <= seen)
    }

    /// Without a purchase, in time.
    pub(crate) const fn brings_another(&self) -> bool {
        self.remaining > 0 || self.auto_renew
    }

    /// With the key of this one.
    pub(crate) fn has_certificates_to_come(&self, now: Timestamp) -> bool {
        let alive = match &self.stage {
            Stage::Issued { not_after, .. } | Stage::Adding { not_after, .. } => *not_after > now,
            Stage::Paid | Stage::Checking { .. } => false,
        };
        alive && self.brings_another() && !self.has_successor
    }

    /// Of the application or the certificate.
    pub(crate) fn key(&self) -> Option<Fingerprint> {
        match &self.stage {
            Stage::Paid => None,
            Stage::Checking { key, .. } | Stage::Issued { key, .. } | Stage::Adding { key, .. } => {
                Some(*key)
            }
        }
    }

    /// Takes names that are being added away again.
    fn as_before(&mut self) {
        if let Stage::Adding {
            key,
            names,
            issued_at,
            not_after,
            ..
        } = self.stage.clone()
        {
            self.stage = Stage::Issued {
                key,
                names,
                issued_at,
                not_after,
            };
        }
    }
}

/// What an account says of a purchase whose answer is lost.
#[derive(Debug)]
pub(crate) enum Trace {
    /// It was made, or may have been.
    Event(OrderEvent),
    /// Complete answers do not have it.
    Absent,
    /// Somebody uses what may be it, whose tags are not seen yet.
    Untold,
}

/// The account.
#[derive(Debug, Clone)]
pub(crate) struct Scm {
    pub(crate) papers: Vec<Paper>,
    /// Proofs that somebody may look at: place and value.
    pub(crate) published: BTreeSet<(String, String)>,
    /// Validity of what is issued.
    pub(crate) lifetime: Seconds,
    /// From the proof of the domains to the issue.
    pub(crate) review: Seconds,
    /// How its domains are proven.
    pub(crate) method: DomainMethod,
    /// Purchases take effect so much later than they are sent.
    pub(crate) effect_in: Seconds,
    /// Tags are seen so much later than they are written.
    pub(crate) tags_in: Seconds,
    /// What is answered is so old.
    pub(crate) lag: Seconds,
    /// Certificates of an order beyond one for each year.
    pub(crate) more: u32,
    /// What is bought is renewed by itself, whatever it has left.
    pub(crate) auto_renew: bool,
    /// What it answers has no word of the next one of an order, for now.
    pub(crate) silent: bool,
    /// Whether it applies for successors.
    pub(crate) successors: bool,
    /// Purchases that were made.
    pub(crate) bought: u32,
    /// It adds no names to certificates.
    pub(crate) adds_none: bool,
    /// Supplements that were accepted.
    pub(crate) supplemented: u32,
}

impl Default for Scm {
    fn default() -> Self {
        Self {
            papers: Vec::new(),
            published: BTreeSet::new(),
            lifetime: Seconds::days(200),
            review: Seconds::minutes(5),
            method: DomainMethod::Dns,
            effect_in: Seconds(0),
            tags_in: Seconds(0),
            lag: Seconds(0),
            more: 0,
            auto_renew: false,
            silent: false,
            successors: true,
            bought: 0,
            adds_none: false,
            supplemented: 0,
        }
    }
}

impl Scm {
    /// What happens by itself: the account applies for successors.
    pub(crate) fn pass(&mut self, now: Timestamp) {
        for at in 0..self.papers.len() {
            let paper = &self.papers[at];
            let Stage::Issued {
                key,
                names,
                not_after,
                ..
            } = &paper.stage
            else {
                continue;
            };
            if !self.successors
                || !paper.brings_another()
                || paper.has_successor
                || *not_after - AHEAD > now
            {
                continue;
            }
            let next = Paper {
                reference: reference(self.papers.len()),
                remaining: paper.remaining.saturating_sub(1),
                appears_at: now,
                claim: None,
                stage: Stage::Checking {
                    key: *key,
                    names: names.clone(),
                    proven_at: None,
                },
                renews: Some(paper.reference.clone()),
                supplements: 0,
                has_successor: false,
                ..paper.clone()
            };
            self.papers[at].has_successor = true;
            self.papers.push(next);
        }
    }

    /// Puts an entitlement there.
    pub(crate) fn add(
        &mut self,
        kind: &str,
        domain_type: DomainType,
        domains: u32,
        years: u32,
        now: Timestamp,
    ) -> &mut Paper {
        self.papers.push(Paper {
            reference: reference(self.papers.len()),
            kind: kind.to_owned(),
            domain_type,
            domains,
            remaining: years.saturating_sub(1) + self.more,
            auto_renew: self.auto_renew,
            appears_at: now,
            intent: None,
            claim: None,
            stage: Stage::Paid,
            renews: None,
            supplements: 0,
            has_successor: false,
        });
        self.papers.last_mut().unwrap()
    }

    pub(crate) fn get(&self, reference: &str) -> &Paper {
        let mut all = self.papers.iter();
        all.find(|paper| paper.reference == reference).unwrap()
    }

    fn get_mut(&mut self, reference: &str) -> &mut Paper {
        let mut all = self.papers.iter_mut();
        all.find(|paper| paper.reference == reference).unwrap()
    }

    /// Unused and, as far as its tags are seen, free for this order.
    fn is_free(&self, paper: &Paper, order: &Order, who: &Who<'_>, now: Timestamp) -> bool {
        if paper.stage != Stage::Paid || who.known.contains(&paper.reference) {
            return false;
        }
        let seen = now - self.lag;
        let marks = [paper.claim.as_ref(), paper.intent.as_ref()];
        marks.into_iter().flatten().all(|mark| {
            let others = mark.order != order.id
                && (mark.journal != who.journal || who.open.contains(&mark.order));
            mark.seen_from > seen || !others || mark.at + FRESH <= now
        })
    }

    /// Writes a claim.
    pub(crate) fn claim(
        &mut self,
        reference: &str,
        order: &Order,
        who: &Who<'_>,
        now: Timestamp,
    ) -> OrderEvent {
        let seen_from = now + self.tags_in;
        self.get_mut(reference).claim = Some(Mark {
            journal: who.journal.to_owned(),
            order: order.id.clone(),
            at: now,
            seen_from,
        });
        OrderEvent::Claimed {
            reference: reference.to_owned(),
            confirm_at: now + CONFIRM,
        }
    }

    /// Answers a look through the account.
    pub(crate) fn look(&mut self, order: &Order, who: &Who<'_>, now: Timestamp) -> OrderEvent {
        let public = order.request.public.as_ref().unwrap();
        let seen = now - self.lag;
        let wanted = &order.request.names;
        let look_at = now + Seconds::hours(1);
        let mut foreign = None;
        let mut free: Option<(u8, &Paper)> = None;
        let mut listed = BTreeSet::new();
        let mut spent = Spent::default();
        for paper in self.papers.iter().filter(|paper| paper.appears_at <= seen) {
            if paper.stage != Stage::Paid && paper.intent_seen(seen).is_none() {
                spent.untold.insert(paper.reference.clone());
            }
            let bought = paper.intent.as_ref().filter(|mark| {
                let recent = mark.at + Seconds::days(30) > now;
                recent && mark.seen_from <= seen && paper.renews.is_none()
            });
            if let Some(intent) = bought {
                spent.at.push(intent.at);
                if intent.journal == who.journal && !who.bought.contains(&intent.order) {
                    spent.unknown.insert(paper.reference.clone());
                }
            }
            match &paper.stage {
                Stage::Paid => {
                    listed.insert(paper.reference.clone());
                    let fits = public.kind.as_ref().is_none_or(|kind| *kind == paper.kind)
                        && paper.domain_type == DomainType::of(wanted)
                        && paper.domains as usize >= wanted.len();
                    if fits && self.is_free(paper, order, who, now) {
                        // Its own first, then its journal's: another host may be looking for one of its own.
                        let rank = |mark: &Option<Mark>| match mark {
                            Some(mark) if mark.order == order.id => 2,
                            Some(mark) if mark.journal == who.journal => 1,
                            Some(_) | None => 0,
                        };
                        let rank = rank(&paper.claim).max(rank(&paper.intent));
                        if free.is_none_or(|(before, _)| rank > before) {
                            free = Some((rank, paper));
                        }
                    }
                }
                Stage::Checking { key, names, .. } | Stage::Issued { key, names, .. }
                    if names == wanted && !who.known.contains(&paper.reference) =>
                {
                    let over = matches!(&paper.stage, Stage::Issued { not_after, .. } if *not_after <= now);
                    if who.keys.contains(key) && !over {
                        return OrderEvent::Adopted {
                            reference: paper.reference.clone(),
                            spki: Some(*key),
                            poll_after: now,
                        };
                    }
                    if matches!(paper.stage, Stage::Checking { .. }) {
                        foreign = Some(paper.reference.clone());
                    }
                }
                Stage::Checking { .. } | Stage::Issued { .. } | Stage::Adding { .. } => {}
            }
        }
        let replaced = public.replaces.as_ref().map(|replaces| self.get(replaces));
        // A successor whose application came to nothing is unused, and the next one.
        let again = self.papers.iter().find(|paper| {
            let next = public.replaces.is_some() && paper.renews == public.replaces;
            next && self.is_free(paper, order, who, now)
        });
        if let Some(paper) = again {
            let reference = paper.reference.clone();
            return self.claim(&reference, order, who, now);
        }
        // Its own, and names were added to the one before since.
        let narrower = self.papers.iter().find(|paper| {
            let next = public.replaces.is_some() && paper.renews == public.replaces;
            let names = match &paper.stage {
                Stage::Checking { names, .. }
                | Stage::Issued { names, .. }
                | Stage::Adding { names, .. } => names,
                Stage::Paid => return false,
            };
            let ours = paper.key().is_some_and(|key| who.keys.contains(&key));
            let new = paper.appears_at <= seen && !who.known.contains(&paper.reference);
            next && ours && new && !names.cover(wanted)
        });
        if let Some(paper) = narrower {
            let detail = format!(
                "the next certificate of its order, {}, lacks names",
                paper.reference
            );
            let want = Want::Names { detail };
            return OrderEvent::Wanting { want, look_at };
        }
        if let Some(Stage::Issued { not_after, .. }) = replaced
            .filter(|paper| paper.brings_another() && (!self.silent || free.is_some()))
            .map(|paper| &paper.stage)
        {
            let want = Want::Successor {
                not_after: *not_after,
            };
            return OrderEvent::Wanting {
                want,
                look_at: now + Seconds::hours(12),
            };
        }
        if let Some(reference) = foreign {
            let detail =
                format!("an application for {wanted} is under way and not ours: {reference}");
            let want = Want::Person { detail };
            return OrderEvent::Wanting { want, look_at };
        }
        if let Some((_, paper)) = free {
            let reference = paper.reference.clone();
            return self.claim(&reference, order, who, now);
        }
        spent.at.sort();
        OrderEvent::NothingFree {
            listed,
            looked_at: now,
            spent,
        }
    }

    /// Reads a claim back.
    pub(crate) fn confirm(&self, order: &Order, now: Timestamp) -> OrderEvent {
        let OrderPhase::Claiming { reference, .. } = &order.phase else {
            panic!("confirm in {}", order.phase.code());
        };
        let paper = self.get(reference);
        let ours = paper
            .claim
            .as_ref()
            .is_some_and(|mark| mark.order == order.id);
        if ours && paper.stage == Stage::Paid {
            OrderEvent::Confirmed
        } else {
            OrderEvent::Yielded {
                look_at: now + Seconds::minutes(1),
            }
        }
    }

    /// A purchase that arrives; answers the id.
    pub(crate) fn buy(&mut self, order: &Order, who: &Who<'_>, now: Timestamp) -> String {
        let buying = order.request.public.as_ref().unwrap();
        let product = buying.buying.as_ref().unwrap().product.clone();
        let at = now + self.effect_in;
        let seen_from = at + self.tags_in;
        self.bought += 1;
        let paper = self.add(
            &product.kind,
            product.domain_type,
            product.domains,
            product.years,
            at,
        );
        paper.intent = Some(Mark {
            journal: who.journal.to_owned(),
            order: order.id.clone(),
            at,
            seen_from,
        });
        paper.reference.clone()
    }

    /// Looks for a purchase whose answer is lost.
    pub(crate) fn trace(
        &mut self,
        order: &Order,
        purchase: &Purchase,
        who: &Who<'_>,
        now: Timestamp,
    ) -> Trace {
        let seen = now - self.lag;
        let there = || self.papers.iter().filter(|paper| paper.appears_at <= seen);
        // What bears its tag, unused if there is any: somebody else may have used it.
        let mut ours: Vec<&Paper> = there()
            .filter(|paper| {
                let intent = paper.intent_seen(seen);
                paper.renews.is_none() && intent.is_some_and(|mark| mark.order == order.id)
            })
            .collect();
        ours.sort_by_key(|paper| paper.stage != Stage::Paid);
        if let Some(paper) = ours.first() {
            let reference = paper.reference.clone();
            return Trace::Event(OrderEvent::Bought { reference });
        }
        // Before, it may be another one's, whose tags are not seen yet.
        if now < purchase.decisive_at && purchase.absences == 0 {
            return Trace::Absent;
        }
        let public = order.request.public.as_ref().unwrap();
        let product = &public.buying.as_ref().unwrap().product;
        let new = |paper: &&Paper| {
            !purchase.listed.contains(&paper.reference)
                && paper.renews.is_none()
                && paper.intent_seen(seen).is_none()
                && paper.kind == product.kind
                && paper.domains == product.domains
        };
        let free = there()
            .filter(new)
            .find(|paper| self.is_free(paper, order, who, now));
        if let Some(paper) = free {
            let reference = paper.reference.clone();
            return Trace::Event(self.claim(&reference, order, who, now));
        }
        let taken = there()
            .filter(new)
            .any(|paper| !who.known.contains(&paper.reference));
        match taken && now < purchase.began_at + TOLD {
            true => Trace::Untold,
            false => Trace::Absent,
        }
    }

    /// An application that arrives; `false` where the entitlement is used already.
    pub(crate) fn apply(&mut self, reference: &str, order: &Order, key: Fingerprint) -> bool {
        let paper = self.get_mut(reference);
        if paper.stage != Stage::Paid {
            return false;
        }
        paper.stage = Stage::Checking {
            key,
            names: order.request.names.clone(),
            proven_at: None,
        };
        true
    }

    /// What became of an application whose answer is lost; `None`: nothing.
    pub(crate) fn applied(
        &self,
        reference: &str,
        key: Fingerprint,
        now: Timestamp,
    ) -> Option<OrderEvent> {
        let found = match &self.get(reference).stage {
            Stage::Paid => return None,
            Stage::Checking { key, .. } | Stage::Issued { key, .. } | Stage::Adding { key, .. } => {
                *key
            }
        };
        Some(if found == key {
            OrderEvent::Accepted {
                reference: reference.to_owned(),
                poll_after: now,
            }
        } else {
            OrderEvent::Wanting {
                want: Want::Person {
                    detail: format!("{reference} was used by somebody else"),
                },
                look_at: now + Seconds::minutes(5),
            }
        })
    }

    /// Names for an issued certificate arrive; `None`: they are refused.
    pub(crate) fn supplement(
        &mut self,
        supplement: &Supplement,
        now: Timestamp,
    ) -> Option<OrderEvent> {
        if let Some(event) = self.supplemented(supplement, now) {
            return Some(event);
        }
        if self.adds_none {
            return None;
        }
        let paper = self.get_mut(&supplement.reference);
        let Stage::Issued {
            key,
            names,
            issued_at,
            not_after,
        } = paper.stage.clone()
        else {
            return None;
        };
        let room = paper.domains as usize >= names.len() + supplement.adds.len();
        if paper.domain_type != DomainType::MultiDomain || !room || not_after <= now {
            return None;
        }
        paper.stage = Stage::Adding {
            key,
            names,
            issued_at,
            not_after,
            adds: supplement.adds.clone(),
            proven_at: None,
        };
        self.supplemented += 1;
        self.supplemented(supplement, now)
    }

    /// What became of names whose answer is lost; `None`: nothing.
    pub(crate) fn supplemented(
        &self,
        supplement: &Supplement,
        now: Timestamp,
    ) -> Option<OrderEvent> {
        let there = match &self.get(&supplement.reference).stage {
            Stage::Adding { adds, .. } => *adds == supplement.adds,
            Stage::Issued { names, .. } => names.cover(&supplement.adds),
            Stage::Paid | Stage::Checking { .. } => false,
        };
        there.then(|| OrderEvent::Supplemented {
            reference: supplement.reference.clone(),
            spki: supplement.spki,
            poll_after: now,
        })
    }

    /// Whether a certificate is issued without the names that an order adds.
    pub(crate) fn is_as_before(&self, supplement: &Supplement) -> bool {
        let stage = &self.get(&supplement.reference).stage;
        matches!(stage, Stage::Issued { names, .. } if !names.cover(&supplement.adds))
    }

    /// The CA turns them down.
    pub(crate) fn turn_down(&mut self, reference: &str) {
        self.get_mut(reference).as_before();
    }

    fn proofs(&self, reference: &str, names: &SubjectAltNames) -> Vec<DomainProof> {
        let mail = self.method == DomainMethod::Email;
        let all = names.iter().map(|name| {
            let domain = name.to_string();
            DomainProof {
                method: self.method,
                place: if mail {
                    format!("hostmaster@{domain}")
                } else {
                    format!("_dnsauth.{domain}")
                },
                record_type: if mail { "" } else { "TXT" }.to_owned(),
                value: format!("token-{reference}"),
                domain,
            }
        });
        all.collect()
    }

    /// How an application is: what is wanted, how far it is, or `None` when there is a certificate.
    pub(crate) fn fetch(&mut self, order: &Order, now: Timestamp) -> Option<OrderEvent> {
        let OrderPhase::Submitted { reference, .. } = &order.phase else {
            panic!("fetch in {}", order.phase.code());
        };
        let (review, lifetime) = (self.review, self.lifetime);
        let before = self.get(reference).stage.clone();
        let (proofs, proven_at, words) = match &before {
            Stage::Checking {
                names, proven_at, ..
            } => {
                let words = ["CHECKING_DOMAIN", "CHECKING_ORG"];
                (self.proofs(reference, names), *proven_at, words)
            }
            Stage::Adding {
                adds, proven_at, ..
            } => {
                let words = ["SUPPLEMENTCHECKING"; 2];
                (self.proofs(reference, adds), *proven_at, words)
            }
            Stage::Paid | Stage::Issued { .. } => return None,
        };
        let there = proofs.iter().all(|proof| {
            let key = (proof.place.clone(), proof.value.clone());
            self.published.contains(&key)
        });
        let proven_at = proven_at.or(there.then_some(now));
        let Some(proven_at) = proven_at else {
            return Some(OrderEvent::ProofWanted {
                by: order.request.public.as_ref().unwrap().validation.clone(),
                proofs,
                review: Review {
                    status: words[0].to_owned(),
                    since: now,
                },
                poll_after: now + Seconds::minutes(10),
            });
        };
        if proven_at + review > now {
            match &mut self.get_mut(reference).stage {
                Stage::Checking {
                    proven_at: known, ..
                }
                | Stage::Adding {
                    proven_at: known, ..
                } => *known = Some(proven_at),
                Stage::Paid | Stage::Issued { .. } => {}
            }
            return Some(OrderEvent::NotYet {
                poll_after: (proven_at + review).min(now + Seconds::hours(6)),
                review: Review {
                    status: words[1].to_owned(),
                    since: now,
                },
            });
        }
        let paper = self.get_mut(reference);
        paper.stage = match before {
            Stage::Checking { key, names, .. } => Stage::Issued {
                key,
                names,
                issued_at: now,
                not_after: now + lifetime,
            },
            Stage::Adding {
                key,
                names,
                adds,
                not_after,
                ..
            } => {
                paper.supplements += 1;
                Stage::Issued {
                    key,
                    names: names.iter().chain(adds.iter()).cloned().collect(),
                    issued_at: now,
                    not_after,
                }
            }
            stage @ (Stage::Paid | Stage::Issued { .. }) => stage,
        };
        None
    }

    /// A person has answered the CA's mail.
    pub(crate) fn answer_mails(&mut self, now: Timestamp) {
        for paper in &mut self.papers {
            if let Stage::Checking { proven_at, .. } = &mut paper.stage {
                proven_at.get_or_insert(now);
            }
        }
    }

    /// Takes an application back.
    pub(crate) fn withdraw(&mut self, reference: &str) {
        let paper = self.get_mut(reference);
        if let Stage::Checking { .. } = paper.stage {
            paper.stage = Stage::Paid;
        }
        paper.as_before();
    }

    pub(crate) fn publish(&mut self, proofs: &[DomainProof]) {
        let all = proofs.iter();
        let all = all.map(|proof| (proof.place.clone(), proof.value.clone()));
        self.published.extend(all);
    }

    pub(crate) fn retract<'a>(&mut self, proofs: impl Iterator<Item = &'a DomainProof>) {
        for proof in proofs {
            self.published
                .remove(&(proof.place.clone(), proof.value.clone()));
        }
    }

    /// As the engine would store it.
    pub(crate) fn revision(&self, reference: &str, order: &Order) -> RevisionFacts {
        let Stage::Issued {
            key,
            names,
            issued_at,
            not_after,
        } = &self.get(reference).stage
        else {
            panic!("{reference} is not issued");
        };
        let mut serial = reference.trim_start_matches("scs").to_owned();
        // It keeps its id.
        match self.get(reference).supplements {
            0 => {}
            count => serial.push_str(&format!("s{count}")),
        }
        RevisionFacts {
            id: RevisionId::new(&format!("r{serial}")).unwrap(),
            facts: CertificateFacts {
                serial,
                fingerprint: *key,
                spki: *key,
                common_name: None,
                names: names.clone(),
                issuer_name: order.issuer.to_string(),
                not_before: *issued_at,
                not_after: *not_after,
                key_algorithm: Some(KeyAlgorithm::EcP256),
            },
            issued_at: *issued_at,
            reference: reference.to_owned(),
            policy: Some(order.request.policy),
            applied: Some(order.request.names.clone()),
        }
    }

    /// What the account says of where a certificate came from.
    pub(crate) fn entitlement(&self, reference: &str, now: Timestamp) -> Entitlement {
        let paper = self.get(reference);
        let Stage::Issued { key, not_after, .. } = &paper.stage else {
            panic!("{reference} is not issued");
        };
        Entitlement {
            reference: reference.to_owned(),
            purchase: None,
            kind: None,
            domains: Some(paper.domains),
            spki: Some(*key),
            remaining: paper.remaining,
            auto_renew: paper.auto_renew,
            brought: false,
            until: *not_after,
            asked_at: now,
        }
    }
}

/// What an open order has laid its hand on.
pub(crate) fn taken(order: &Order) -> Option<&str> {
    match &order.phase {
        OrderPhase::Claiming { reference, .. }
        | OrderPhase::Entitled { reference }
        | OrderPhase::Submitted { reference, .. } => Some(reference),
        OrderPhase::KeyStored { entitlement, .. } | OrderPhase::Unclear { entitlement, .. } => {
            entitlement.as_deref()
        }
        OrderPhase::Opened
        | OrderPhase::Seeking { .. }
        | OrderPhase::Bare { .. }
        | OrderPhase::PurchaseUnclear { .. }
        | OrderPhase::Issued { .. }
        | OrderPhase::Ending { .. }
        | OrderPhase::Closed { .. } => None,
    }
}

fn reference(count: usize) -> String {
    format!("scs{:02}", count + 1)
}

/// A claim, or the intent of a purchase, keeps others off for so long.
const FRESH: Seconds = Seconds::hours(1);
/// From a purchase on, until its tags are seen for sure.
const TOLD: Seconds = Seconds::hours(2);
/// From a claim until it is read back.
const CONFIRM: Seconds = Seconds(30);
/// CCM API 4.1.5.1: the next certificate of an order is applied for so long before the end.
const AHEAD: Seconds = Seconds::days(30);
