//! Public certificates: what is bought at SCM, who lays claim to it, what a host remembers of it.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::{
    Failures, Fingerprint, IssuerId, Name, OrderId, Seconds, SubjectAltNames, Timestamp,
    ValidationId,
};

/// How much a CA proves before it issues (CCM API 4.1.3.1, `cert_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Assurance {
    /// Who controls the domain.
    Domain,
    /// Also who the organization is; takes three to ten working days.
    Organization,
    /// The same, by stricter rules.
    Extended,
}

impl Assurance {
    /// By the reference's word, such as `OV_SSL_CERT_PRO`.
    #[must_use]
    pub fn of_kind(kind: &str) -> Option<Self> {
        match kind.get(..2)? {
            "DV" => Some(Self::Domain),
            "OV" => Some(Self::Organization),
            "EV" => Some(Self::Extended),
            _ => None,
        }
    }

    /// How much sooner than by the policy's rule an order is begun, and how long it may be under review before a person is
    /// told.
    #[must_use]
    pub const fn lead(self) -> Seconds {
        match self {
            Self::Domain => Seconds(0),
            Self::Organization | Self::Extended => Seconds::days(14),
        }
    }
}

/// Whose names a product is for (CCM API 4.1.3.1, `domain_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DomainType {
    /// One name.
    SingleDomain,
    /// One wildcard.
    Wildcard,
    /// Several of either kind.
    MultiDomain,
}

impl DomainType {
    /// As the API writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SingleDomain => "SINGLE_DOMAIN",
            Self::Wildcard => "WILDCARD",
            Self::MultiDomain => "MULTI_DOMAIN",
        }
    }

    /// What these names need.
    #[must_use]
    pub fn of(names: &SubjectAltNames) -> Self {
        let mut all = names.iter();
        match (all.next(), all.next()) {
            (Some(only), None) if only.to_string().starts_with("*.") => Self::Wildcard,
            (Some(_), None) | (None, _) => Self::SingleDomain,
            (Some(_), Some(_)) => Self::MultiDomain,
        }
    }
}

/// What one order at SCM buys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    /// `cert_brand`, such as `GEOTRUST`.
    pub brand: String,
    /// `cert_type`, such as `OV_SSL_CERT`.
    pub kind: String,
    /// `domain_type`.
    pub domain_type: DomainType,
    /// `domain_numbers`.
    pub domains: u32,
    /// `effective_time`, in years.
    pub years: u32,
    /// Of which kinds several names are. `None` for one name, and in orders of a journal from before this was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kinds: Option<NameKinds>,
}

/// Of which kinds the names of a product for several are (CCM API 4.1.3.1). Wildcards cost more than other names, and an
/// application for more of them than were bought is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameKinds {
    /// `primary_domain_type`: whether the primary name, which is the common name, is a wildcard.
    pub primary_wildcard: bool,
    /// `single_domain_number`: further names without `*`.
    pub singles: u32,
    /// `wildcard_domain_number`: further wildcards.
    pub wildcards: u32,
}

impl NameKinds {
    /// Of these names, `primary` among them.
    #[must_use]
    pub fn of(primary: &str, names: &SubjectAltNames) -> Self {
        let further = names.iter().filter(|name| name.to_string() != primary);
        let (wildcards, singles): (Vec<&Name>, Vec<&Name>) =
            further.partition(|name| name.is_wildcard());
        let count = |names: Vec<&Name>| u32::try_from(names.len()).unwrap_or(u32::MAX);
        Self {
            primary_wildcard: primary.starts_with("*."),
            singles: count(singles),
            wildcards: count(wildcards),
        }
    }

    /// Wildcards, the primary name among them.
    #[must_use]
    pub fn all_wildcards(self) -> u32 {
        self.wildcards
            .saturating_add(u32::from(self.primary_wildcard))
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            brand,
            kind,
            domain_type,
            domains,
            years,
            kinds,
        } = self;
        let wild = match kinds.map_or(0, NameKinds::all_wildcards) {
            0 => String::new(),
            1 => " with 1 wildcard".to_owned(),
            more => format!(" with {more} wildcards"),
        };
        let (sort, plural) = (
            domain_type.as_str(),
            if *years == 1 { "year" } else { "years" },
        );
        write!(
            f,
            "{brand} {kind} {sort} for {domains}{wild}, {years} {plural}"
        )
    }
}

/// How much may be bought of an issuer, by all hosts that use its account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Within any 24 hours.
    pub per_day: u32,
    /// Within any 30 days.
    pub per_month: u32,
}

/// What a purchase is made with. Absent: nothing is ever bought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Buying {
    /// What.
    pub product: Product,
    /// `is_auto_pay`: paid from the account's balance at once. Without, a lost answer is a person's to clear up.
    pub automatic_payment: bool,
    /// How many.
    pub budget: Budget,
    /// A place is taken in the queue of those who buy from the account, so that hosts keep within the budget together.
    #[serde(default)]
    pub reserve: bool,
}

/// What an order of a public certificate needs beside its names, frozen when it is opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicRequest {
    /// With what it may be bought.
    pub buying: Option<Buying>,
    /// How its names are proven.
    pub validation: ValidationId,
    /// What a certificate that is taken over must have been bought as; `None`: anything that is for these names.
    #[serde(default)]
    pub kind: Option<String>,
    /// The newest revision's reference at SCM, whose successor may be on its way.
    #[serde(default)]
    pub replaces: Option<String>,
    /// End of validity of that one.
    #[serde(default)]
    pub replaces_until: Option<Timestamp>,
    /// The issued certificate that the names are added to: all that the order does, and it costs nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supplements: Option<Box<Supplement>>,
}

/// Names that are added to an issued certificate of several domains, which is then issued again under its id, with its key
/// and until its end (CCM API 7.1.20).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Supplement {
    /// The certificate's id at SCM.
    pub reference: String,
    /// Of our key in it; `None` where CCM hands it out.
    pub spki: Option<Fingerprint>,
    /// Which names; those that it has already are not among them.
    pub adds: SubjectAltNames,
}

/// Names that could not be added to a certificate: all of them are ordered anew, and nobody asks for them there again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsupplemented {
    /// The certificate's id at SCM.
    pub reference: String,
    /// Which names.
    pub adds: SubjectAltNames,
    /// In the words of CCM, or of what was seen of the certificate.
    pub why: String,
    /// When.
    pub at: Timestamp,
}

/// Names that were sent to be added to a certificate by an order that ended without having seen them there. They may come
/// late, and are taken back where nobody waits for them any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unseen {
    /// At which account.
    pub issuer: IssuerId,
    /// What was sent.
    pub supplement: Supplement,
    /// When its order ended.
    pub since: Timestamp,
    /// When they were last looked for.
    pub looked_at: Timestamp,
    /// End of the certificate: nothing is added to it any more.
    pub until: Timestamp,
    /// Names are being added, and they are not, or may not be, what was sent.
    #[serde(default)]
    pub unsure: bool,
    /// When they were seen in the certificate itself, which nobody takes back: told, and then forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued: Option<Timestamp>,
    /// Of looking for them and taking them back, in a row.
    #[serde(default)]
    pub failures: Failures,
}

/// Of purchases: what the account's tags and the journal say, each for itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// When each purchase was made, in order, within the last 30 days.
    pub at: Vec<Timestamp>,
    /// Purchases that bear this journal's name and that it does not know: it is a copy, or an old one. Ids at SCM.
    #[serde(default)]
    pub unknown: BTreeSet<String>,
    /// A look from then on counts everybody who is earlier in the queue; `None` without a place in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placed: Option<Timestamp>,
    /// Entitlements that fit, are used by whomever, and bear no word of who bought them: ids at SCM. A purchase that comes
    /// later is none of them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub untold: BTreeSet<String>,
}

/// A purchase whose answer is lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purchase {
    /// When it began.
    pub began_at: Timestamp,
    /// From when on a complete answer without it counts: ten minutes after the call's time-out, and then ten minutes after
    /// each that counted.
    pub decisive_at: Timestamp,
    /// Complete answers without it that counted, ten minutes apart.
    pub absences: u32,
    /// Entitlements that were there before, unused or with no word of who bought them: their ids at SCM.
    pub listed: BTreeSet<String>,
    /// Whether it is paid for by itself; if not, a person must look.
    pub automatic_payment: bool,
}

/// What is remembered of an entitlement that a certificate came from, by certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entitlement {
    /// The certificate's id at SCM, `scs` and 13 digits.
    pub reference: String,
    /// The order of the account that it was bought by, where it says so.
    #[serde(default)]
    pub purchase: Option<String>,
    /// What it was bought as, such as `OV_SSL_CERT`, where the account says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// `domain_number`: names that it was bought for; `None` where the account did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domains: Option<u32>,
    /// Of the key in the first application's CSR: what follows comes with it. `None` where CCM made the key.
    #[serde(default)]
    pub spki: Option<Fingerprint>,
    /// `remain_cert_number`: certificates of the order that are yet to come.
    #[serde(default)]
    pub remaining: u32,
    /// `auto_renew_status`: the account applies for the next one by itself.
    #[serde(default)]
    pub auto_renew: bool,
    /// It had a certificate to come, and has none any more: that one is there, as far as anybody knows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub brought: bool,
    /// End of validity of its present certificate.
    pub until: Timestamp,
    /// When the account said so.
    pub asked_at: Timestamp,
}

impl Entitlement {
    /// Whether it brings another certificate without a purchase: on the key of its first application.
    #[must_use]
    pub const fn has_successor(&self) -> bool {
        brings_successor(self.remaining, self.auto_renew)
    }

    /// Remembers what was known before the account said this.
    pub fn after(&mut self, before: &Self) {
        self.brought |= before.brought || before.has_successor() && !self.has_successor();
    }
}

/// Whether what the account says of an order (CCM API 4.1.2.1, `remain_cert_number` and `auto_renew_status`) means that a
/// certificate follows by itself. The reference has no word on how the two go together; each alone is enough, since a purchase in
/// the successor's place is paid for twice, while one that is waited for in vain is told 20 days before the end.
#[must_use]
pub const fn brings_successor(remaining: u32, auto_renew: bool) -> bool {
    remaining > 0 || auto_renew
}

/// Who a journal is, as tags at the account name it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Made at random with the journal, and anew by `renewd state claim`; letters and digits.
    pub journal: String,
    /// Of the machine that the journal was made or claimed on: a digest, since a machine-id is confidential.
    pub machine: String,
    /// Host name, for people.
    pub host: String,
}

impl Identity {
    /// Why a journal of this identity must not buy on this machine, if so.
    #[must_use]
    pub fn stale_on(&self, machine: &str) -> Option<Stale> {
        (self.machine != machine).then_some(Stale::OtherMachine)
    }
}

/// Why a host must not buy, or not even take what is there: its journal may be a copy, or too old.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Stale {
    /// It was made on another machine.
    OtherMachine,
    /// The account has purchases of it that it does not know.
    UnknownPurchases {
        /// Their ids at SCM.
        references: BTreeSet<String>,
    },
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherMachine => f.write_str(
                "the journal was made on another machine: it is a copy, and its first owner may be at work too",
            ),
            Self::UnknownPurchases { references } => {
                let all: Vec<&str> = references.iter().map(String::as_str).collect();
                write!(
                    f,
                    "the account has purchases of this journal that it does not know ({}): it was restored from an earlier state, or copied",
                    all.join(", ")
                )
            }
        }
    }
}

/// Words of the tag that claims an entitlement: `<host>:<order>:<unix seconds>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// [`Identity::journal`].
    pub journal: String,
    /// For which order.
    pub order: OrderId,
    /// When it was written.
    pub at: Timestamp,
}

impl Claim {
    /// The key of its tag.
    pub const KEY: &'static str = "renewd-claim";

    /// Reads a tag's value; `None` for what is none.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let mut parts = value.rsplitn(3, ':');
        let at = parts.next()?.parse().ok().map(Timestamp)?;
        let order = OrderId::new(parts.next()?).ok()?;
        let journal = parts.next()?.to_owned();
        Some(Self { journal, order, at })
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.journal, self.order, self.at.0)
    }
}
