//! What certificates are marked with: who bought them, for which order, and who lays claim to them.

use std::collections::BTreeMap;

use crate::ccm::{BatchTags, Class, Scm, Tag, TagAction};
use crate::issuer::IssuerError;
use crate::issuer::failure::reading;
use crate::issuer::orders::{Intent, Look};
use crate::issuer::scm::is_gone;
use crate::model::{Claim, Identity, OrderId, Seconds, Timestamp};
use crate::sys::crash;

/// Order that something was bought for.
pub(super) const INTENT: &str = "renewd-intent";
/// When it was bought, in seconds since 1970.
pub(super) const BOUGHT: &str = "renewd-bought";
/// Journal of the host that bought it.
pub(super) const JOURNAL: &str = "renewd-journal";
const HOST: &str = "renewd-host";
const CERTIFICATE: &str = "renewd-certificate";
pub(super) const MANAGED: (&str, &str) = ("managed-by", "renewd");

/// The tags of one certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::issuer) struct Tags(pub(in crate::issuer) BTreeMap<String, String>);

impl Tags {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    pub(super) fn claim(&self) -> Option<Claim> {
        self.get(Claim::KEY).and_then(Claim::parse)
    }

    /// The host that cares for it.
    pub(super) fn host(&self) -> Option<&str> {
        self.get(HOST).filter(|text| !text.is_empty())
    }

    /// Which order it was bought for.
    pub(super) fn intent(&self) -> Option<&str> {
        self.get(INTENT).filter(|text| !text.is_empty())
    }

    pub(super) fn bought(&self) -> Option<Timestamp> {
        self.get(BOUGHT)?.trim().parse().ok().map(Timestamp)
    }

    pub(super) fn journal(&self) -> Option<&str> {
        self.get(JOURNAL).filter(|text| !text.is_empty())
    }

    /// Whether they name this very order.
    pub(super) fn are_of(&self, order: &OrderId) -> bool {
        self.intent() == Some(order.as_str())
            || self.claim().is_some_and(|claim| claim.order == *order)
    }

    /// Whether they name this journal, for whatever order.
    pub(super) fn are_of_journal(&self, identity: &Identity) -> bool {
        let journal = Some(identity.journal.as_str()).filter(|journal| !journal.is_empty());
        journal.is_some()
            && (self.journal() == journal
                || self
                    .claim()
                    .is_some_and(|claim| Some(claim.journal.as_str()) == journal))
    }

    /// Whether somebody else is at it. What this journal marked for orders that are over is free again, since those that
    /// are open are among [`Look::known`].
    pub(super) fn held_by_others(&self, look: &Look<'_>) -> bool {
        let fresh = |at: Timestamp| at + FRESH > look.now && at < look.now + AHEAD;
        let claimed = self.claim().is_some_and(|claim| {
            claim.order != *look.order && claim.journal != look.identity.journal && fresh(claim.at)
        });
        let intended = self.intent().is_some_and(|intent| {
            intent != look.order.as_str()
                && self.journal() != Some(look.identity.journal.as_str())
                // Without a time it cannot be told how long ago; the claim that was bought with it has one.
                && self.bought().is_some_and(fresh)
        });
        claimed || intended
    }
}

/// What is bought is born with these.
pub(super) fn of_purchase(intent: Intent<'_>) -> Vec<Tag> {
    let claim = Claim {
        journal: intent.identity.journal.clone(),
        order: intent.order.clone(),
        at: intent.now,
    };
    let tags = [
        (INTENT, intent.order.to_string()),
        (Claim::KEY, claim.to_string()),
        (BOUGHT, intent.now.0.to_string()),
        (JOURNAL, intent.identity.journal.clone()),
        (HOST, intent.identity.host.clone()),
        (CERTIFICATE, intent.certificate.to_owned()),
        (MANAGED.0, MANAGED.1.to_owned()),
    ];
    let tags = tags.into_iter();
    tags.map(|(key, value)| tag(key, &value)).collect()
}

fn tag(key: &str, value: &str) -> Tag {
    Tag {
        key: key.to_owned(),
        value: legal(value),
    }
}

/// CCM API 4.1.2.1: letters, digits, spaces and `_ . : = + - @`; at most 255 characters.
fn legal(value: &str) -> String {
    let legal = |c: char| c.is_alphanumeric() || " _.:=+-@".contains(c);
    let characters = value.chars().map(|c| if legal(c) { c } else { '_' });
    characters.take(LONGEST).collect()
}

/// The tags of one certificate (4.1.2.4); `None` where it is gone.
pub(in crate::issuer) async fn of(scm: &Scm, id: &str) -> Result<Option<Tags>, IssuerError> {
    match scm.list_tags(id).await {
        Ok(found) => {
            let tags = found.tags.into_iter();
            let tags = tags.map(|tag| (tag.key, tag.value.unwrap_or_default()));
            Ok(Some(Tags(tags.collect())))
        }
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(reading(error)),
    }
}

/// Writes tags over whatever stands under their keys. Doing it twice does no harm.
pub(in crate::issuer) async fn put(
    scm: &Scm,
    id: &str,
    wanted: &[(&str, &str)],
) -> Result<(), IssuerError> {
    let batch = |action, tags: Vec<Tag>| BatchTags { action, tags };
    let wanted: Vec<Tag> = wanted.iter().map(|(key, value)| tag(key, value)).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let written = scm
        .batch_tags(id, &batch(TagAction::Create, wanted.clone()))
        .await;
    let Err(refused) = written else {
        return Ok(());
    };
    if refused.class != Class::Rejected || refused.status.is_none() {
        return Err(reading(refused));
    }
    // The reference does not say that a key which is there gets the new value: then the old one goes first.
    let Some(there) = of(scm, id).await? else {
        return Err(reading(refused));
    };
    let others = wanted.iter().filter_map(|tag| {
        let old = there.0.get(&tag.key)?;
        (*old != tag.value).then(|| Tag {
            key: tag.key.clone(),
            value: old.clone(),
        })
    });
    let others: Vec<Tag> = others.collect();
    if others.is_empty() {
        return Err(reading(refused));
    }
    scm.batch_tags(id, &batch(TagAction::Delete, others))
        .await
        .map_err(reading)?;
    // Whoever is stopped here has written nothing down either, and begins again: the key is nobody's meanwhile.
    crash::point("tags.replace.cleared");
    let written = scm.batch_tags(id, &batch(TagAction::Create, wanted)).await;
    written.map(|_| ()).map_err(reading)
}

/// How long a claim keeps others away from what is not applied for yet.
pub(super) const FRESH: Seconds = Seconds::hours(1);
/// How far the clock of another host may be ahead; a claim from beyond that is none, lest it stand for ever.
const AHEAD: Seconds = Seconds::hours(1);
/// Characters of a value.
const LONGEST: usize = 255;
