//! Purchases, and whether one with a lost answer was made.

use crate::ccm::{Brand, Buy, DomainType, PrimaryDomainType, ScmKind};
use crate::issuer::failure::{acting, own};
use crate::issuer::orders::survey::{One, Survey};
use crate::issuer::orders::{Intent, Look, Orders, Traced, survey, tags};
use crate::issuer::{Effect, IssuerError};
use crate::model::{Buying, ErrorClass, Purchase, Seconds};

impl Orders {
    /// CCM API 4.1.3.1. One at a time, and always with the word of who pays.
    pub(super) async fn purchase(
        &self,
        buying: &Buying,
        intent: Intent<'_>,
    ) -> Result<String, IssuerError> {
        let product = &buying.product;
        let number = |number: u32| (number > 0).then_some(i64::from(number));
        let kinds = product.kinds;
        let request = Buy {
            cert_brand: Brand::from(product.brand.clone()),
            cert_type: ScmKind::from(product.kind.clone()),
            domain_type: DomainType::from(product.domain_type.as_str().to_owned()),
            effective_time: product.years.into(),
            domain_numbers: product.domains.into(),
            order_number: 1,
            agree_privacy_protection: true,
            primary_domain_type: kinds.map(|kinds| match kinds.primary_wildcard {
                true => PrimaryDomainType::Wildcard,
                false => PrimaryDomainType::Single,
            }),
            // From 1 on: what is not wanted is not named.
            single_domain_number: kinds.and_then(|kinds| number(kinds.singles)),
            wildcard_domain_number: kinds.and_then(|kinds| number(kinds.wildcards)),
            is_auto_pay: Some(buying.automatic_payment),
            tags: tags::of_purchase(intent),
            ..Buy::default()
        };
        let bought = self.scm.buy(&request).await.map_err(acting)?;
        let mut ids = bought.cert.into_iter().map(|one| one.cert_id);
        let Some(id) = ids.next() else {
            let message = format!(
                "SCM buy certificate at {}: order {} names no certificate",
                self.scm.host(),
                bought.order_id
            );
            return Err(IssuerError {
                effect: Effect::Unknown,
                ..own(ErrorClass::Transient, message)
            });
        };
        let more: Vec<String> = ids.collect();
        if !more.is_empty() {
            tracing::error!(order = %bought.order_id, ?more, "one certificate was to be bought, and more were");
        }
        Ok(id)
    }

    /// By tag first, then by what is new among the unused. What bears nobody's mark may be ours, its tags late: it is
    /// offered only once tags had their time, since it may as well be somebody else's.
    pub(super) async fn find_purchase(
        &self,
        look: &Look<'_>,
        purchase: &Purchase,
    ) -> Result<Traced, IssuerError> {
        let mut ids = survey::marked(&self.scm, tags::INTENT, look.order.as_str()).await?;
        let survey = Survey::of(&self.scm).await?;
        let by_survey = survey.0.values().filter(|one| {
            let intended = one.tags.intent() == Some(look.order.as_str());
            intended && one.follows.is_empty()
        });
        ids.extend(by_survey.map(|one| one.id.clone()));
        // What follows within an order has the tags of its first certificate.
        ids.retain(|id| survey.0.get(id).is_none_or(|one| one.follows.is_empty()));
        ids.sort_by_key(|id| {
            let unused = survey.0.get(id).is_some_and(One::is_unused);
            (!unused, id.clone())
        });
        ids.dedup();
        if ids.len() > 1 {
            tracing::error!(order = %look.order, ?ids, "an order has bought more than one certificate");
        }
        if let Some(reference) = ids.into_iter().next() {
            return Ok(Traced::Found { reference });
        }
        if look.now < purchase.decisive_at {
            return Ok(Traced::Absent);
        }
        let mut taken = None;
        for (one, free) in Self::new_ones(look, &survey, purchase)? {
            // Asked for itself: what lists by tags may lag.
            let Some(found) = tags::of(&self.scm, &one.id).await? else {
                continue;
            };
            let reference = one.id.clone();
            match found.intent() {
                Some(intent) if intent == look.order.as_str() => {
                    return Ok(Traced::Found { reference });
                }
                Some(_) => continue,
                None => {}
            }
            if free && !found.held_by_others(look) && self.is_unused(&reference).await? {
                return Ok(Traced::Perhaps { reference });
            }
            taken.get_or_insert_with(|| one.told());
        }
        // Another host that looks for a purchase of its own may have taken this one's for it: both tags were late then, and
        // what it bought itself is left to us. So nothing is absent before that is told.
        if let Some(taken) = taken
            && look.now < purchase.began_at + TOLD
        {
            let detail = format!(
                "{taken} came after the purchase was sent, somebody else has it, and nothing says yet who bought it"
            );
            return Ok(Traced::Untold { detail });
        }
        Ok(Traced::Absent)
    }
}

/// By then the tags of a purchase are seen, if it has any.
const TOLD: Seconds = Seconds::hours(2);
