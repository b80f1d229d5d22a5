//! Which entitlement fits which names, and which of several is the least that does.

use crate::ccm::{Brand, DomainType as Sort, ScmCertificate, TaggedDetail};
use crate::model::{Name, OrderRequest, PublicRequest, SubjectAltNames};

/// What was bought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sold {
    pub(super) brand: Brand,
    /// Such as `OV_SSL_CERT`.
    pub(super) kind: String,
    pub(super) domain_type: Sort,
    /// Names it is for.
    pub(super) domains: u32,
    /// Wildcards among them; 0 also where that was left open.
    pub(super) wildcards: u32,
    /// Whether the first name must be a wildcard, where that was laid down.
    pub(super) primary_wildcard: Option<bool>,
    /// Years, where the account says so.
    pub(super) years: u32,
}

impl Sold {
    pub(super) fn of_detail(detail: &TaggedDetail) -> Self {
        Self {
            brand: Brand::from(detail.cert_brand.clone().unwrap_or_default()),
            kind: detail.cert_type.clone().unwrap_or_default(),
            domain_type: Sort::from(detail.domain_type.clone().unwrap_or_default()),
            domains: number(detail.domain_num),
            wildcards: number(detail.wildcard_number),
            primary_wildcard: match detail.multi_domain_type.as_deref() {
                Some("primary_wildcard") => Some(true),
                Some("primary_single") => Some(false),
                Some(_) | None => None,
            },
            years: number(detail.purchase_period),
        }
    }

    pub(super) fn of_entry(entry: &ScmCertificate) -> Self {
        Self {
            brand: Brand::from(entry.brand.clone().unwrap_or_default()),
            kind: entry.kind.clone().unwrap_or_default(),
            domain_type: Sort::from(entry.domain_type.clone().unwrap_or_default()),
            domains: number(entry.domain_count),
            wildcards: number(entry.wildcard_count),
            primary_wildcard: None,
            years: number(entry.validity_period.map(|months| months / 12)),
        }
    }

    /// Whether these names can be applied for with it, and it is what the policy asks for.
    pub(super) fn fits(&self, wanted: &Wanted) -> bool {
        self.is_kind(wanted) && self.holds(wanted)
    }

    fn is_kind(&self, wanted: &Wanted) -> bool {
        let kind = wanted.kind.as_ref();
        let brand = wanted.brand.as_ref();
        kind.is_none_or(|kind| self.kind.eq_ignore_ascii_case(kind))
            && brand.is_none_or(|brand| self.brand == *brand)
    }

    /// Whether a certificate that was made of it may be taken over.
    pub(super) fn may_be_taken_over(&self, wanted: &Wanted) -> bool {
        let kind = wanted.taken_over.as_ref();
        kind.is_none_or(|kind| self.kind.eq_ignore_ascii_case(kind))
    }

    fn holds(&self, wanted: &Wanted) -> bool {
        // CA/Browser Forum, EV Guidelines §9.2.2 and §9.8.1.
        if self.kind.starts_with("EV") && (wanted.wildcards > 0 || wanted.addresses > 0) {
            return false;
        }
        let one = wanted.total == 1;
        match self.domain_type {
            Sort::Single => one && wanted.wildcards == 0,
            Sort::Wildcard => one && wanted.wildcards == 1,
            Sort::Multi => self.holds_several(wanted),
            Sort::Unknown(_) => false,
        }
    }

    fn holds_several(&self, wanted: &Wanted) -> bool {
        let primary = self.primary_wildcard;
        if wanted.total > self.domains || primary.is_some_and(|wild| wild != wanted.first_is_wild) {
            return false;
        }
        // Kinds that were not counted when it was bought are counted as they come.
        let open = self.wildcards == 0 && primary.is_none();
        let singles = wanted.total - wanted.wildcards;
        open || wanted.wildcards <= self.wildcards
            && singles <= self.domains.saturating_sub(self.wildcards)
    }

    /// The least comes first: of what is worth the least.
    pub(super) fn rank(&self) -> (u32, u32, u32) {
        let kind = match self.domain_type {
            Sort::Single => 0,
            Sort::Wildcard => 1,
            Sort::Multi => 2,
            Sort::Unknown(_) => 3,
        };
        (kind, self.domains, self.years)
    }
}

/// What an order needs of an entitlement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// As they are applied for.
    pub(super) names: SubjectAltNames,
    total: u32,
    wildcards: u32,
    addresses: u32,
    first_is_wild: bool,
    /// As what a certificate must have been bought that is taken over.
    taken_over: Option<String>,
    kind: Option<String>,
    brand: Option<Brand>,
}

impl Wanted {
    pub(super) fn of(request: &OrderRequest, public: &PublicRequest) -> Self {
        let names = names(request);
        let count = |of: fn(&Name) -> bool| {
            u32::try_from(names.iter().filter(|name| of(name)).count()).unwrap_or(u32::MAX)
        };
        let product = public.buying.as_ref().map(|buying| &buying.product);
        Self {
            total: count(|_| true),
            wildcards: count(Name::is_wildcard),
            addresses: count(|name| matches!(name, Name::Ip(_))),
            first_is_wild: request.common_name.starts_with("*."),
            taken_over: public.kind.clone(),
            kind: public
                .kind
                .clone()
                .or_else(|| product.map(|product| product.kind.clone())),
            brand: product.map(|product| Brand::from(product.brand.clone())),
            names,
        }
    }
}

/// All names of an application: the first of them is the common name, which need not be among the others.
pub(super) fn names(request: &OrderRequest) -> SubjectAltNames {
    let first = Name::parse(&request.common_name).ok();
    request.names.iter().cloned().chain(first).collect()
}

fn number(given: Option<i64>) -> u32 {
    given.map_or(0, |number| u32::try_from(number).unwrap_or(0))
}
