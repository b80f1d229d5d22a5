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

    /// Names that it is for, where the account says so.
    pub(super) fn room(&self) -> Option<u32> {
        match self.domain_type {
            Sort::Single | Sort::Wildcard => Some(1),
            Sort::Multi => Some(self.domains).filter(|domains| *domains > 0),
            Sort::Unknown(_) => None,
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Budget, Buying, DomainType, Fingerprint, KeyAlgorithm, KeyReuse, Product, Seconds, Source,
        Subject, ValidationId,
    };

    fn sold(kind: &str, domain_type: Sort, domains: u32, wildcards: u32) -> Sold {
        Sold {
            brand: Brand::Geotrust,
            kind: kind.to_owned(),
            domain_type,
            domains,
            wildcards,
            primary_wildcard: None,
            years: 1,
        }
    }

    fn wanted_as(names: &[&str], kind: Option<&str>, buying: Option<Buying>) -> Wanted {
        let request = OrderRequest {
            source: Source::Csr,
            common_name: names[0].to_owned(),
            names: names
                .iter()
                .map(|name| Name::parse(name).unwrap())
                .collect(),
            subject: Subject::default(),
            key_algorithm: KeyAlgorithm::EcP256,
            key_reuse: KeyReuse::Rekey,
            validity: Seconds::days(90),
            policy: Fingerprint([0; 32]),
            public: None,
        };
        let public = PublicRequest {
            buying,
            validation: ValidationId::new("zone").unwrap(),
            kind: kind.map(str::to_owned),
            replaces: None,
            replaces_until: None,
            supplements: None,
        };
        Wanted::of(&request, &public)
    }

    fn wanted(names: &[&str]) -> Wanted {
        wanted_as(names, None, None)
    }

    #[test]
    fn an_entitlement_fits_by_number_and_kind_of_names() {
        const DV: &str = "DV_SSL_CERT";
        const EV: &str = "EV_SSL_CERT";
        let one: &[&str] = &["www.example.com"];
        let two: &[&str] = &["www.example.com", "example.com"];
        let wild: &[&str] = &["*.example.com"];
        let mixed: &[&str] = &["www.example.com", "*.example.org"];
        let address: &[&str] = &["192.0.2.7"];
        let (single, multi, wildcard) = (Sort::Single, Sort::Multi, Sort::Wildcard);
        for (kind, domain_type, domains, wildcards, names, fits) in [
            (DV, &single, 1, 0, one, true),
            (DV, &single, 1, 0, address, true),
            (DV, &single, 1, 0, two, false),
            (DV, &single, 1, 0, wild, false),
            (DV, &wildcard, 1, 1, wild, true),
            (DV, &wildcard, 1, 1, one, false),
            (DV, &wildcard, 1, 1, mixed, false),
            (DV, &multi, 2, 0, one, true),
            (DV, &multi, 2, 0, two, true),
            (DV, &multi, 3, 0, two, true),
            // Kinds were left open.
            (DV, &multi, 2, 0, mixed, true),
            (DV, &multi, 2, 1, mixed, true),
            (DV, &multi, 2, 2, mixed, false),
            (DV, &multi, 2, 1, two, false),
            (DV, &multi, 1, 0, two, false),
            (EV, &single, 1, 0, one, true),
            (EV, &single, 1, 0, address, false),
            (EV, &multi, 2, 0, mixed, false),
            (DV, &Sort::Unknown("NEW".to_owned()), 9, 9, one, false),
        ] {
            let sold = sold(kind, domain_type.clone(), domains, wildcards);
            assert_eq!(sold.fits(&wanted(names)), fits, "{sold:?} {names:?}");
        }
    }

    #[test]
    fn the_first_name_is_of_the_kind_that_was_bought() {
        let both = Sold {
            primary_wildcard: Some(false),
            ..sold("DV_SSL_CERT", Sort::Multi, 2, 1)
        };
        assert!(both.fits(&wanted(&["www.example.com", "*.example.org"])));
        assert!(!both.fits(&wanted(&["*.example.org", "www.example.com"])));
        let no_wildcard = Sold {
            wildcards: 0,
            ..both
        };
        assert!(!no_wildcard.fits(&wanted(&["www.example.com", "*.example.org"])));
    }

    #[test]
    fn an_entitlement_is_what_the_policy_buys_or_asks_for() {
        let buying = Buying {
            product: Product {
                brand: "GEOTRUST".to_owned(),
                kind: "OV_SSL_CERT".to_owned(),
                domain_type: DomainType::SingleDomain,
                domains: 1,
                years: 1,
                kinds: None,
            },
            automatic_payment: true,
            budget: Budget {
                per_day: 1,
                per_month: 1,
            },
            reserve: false,
        };
        let names = &["www.example.com"];
        let of = |kind: &str| sold(kind, Sort::Single, 1, 0);
        let other = Sold {
            brand: Brand::Globalsign,
            ..of("OV_SSL_CERT")
        };
        let bought = wanted_as(names, None, Some(buying));
        assert!(of("OV_SSL_CERT").fits(&bought));
        assert!(!of("DV_SSL_CERT").fits(&bought) && !other.fits(&bought));
        assert!(of("DV_SSL_CERT").may_be_taken_over(&bought));
        let kind = wanted_as(names, Some("OV_SSL_CERT"), None);
        assert!(of("OV_SSL_CERT").fits(&kind) && other.fits(&kind));
        assert!(!of("OV_SSL_CERT_PRO").fits(&kind));
        assert!(!of("DV_SSL_CERT").may_be_taken_over(&kind));
        assert!(of("DV_SSL_CERT").fits(&wanted(names)));
    }

    #[test]
    fn the_least_is_taken_first() {
        let mut all = [
            sold("DV_SSL_CERT", Sort::Multi, 2, 0),
            sold("DV_SSL_CERT", Sort::Multi, 5, 0),
            sold("DV_SSL_CERT", Sort::Single, 1, 0),
        ];
        all.sort_by_key(Sold::rank);
        let domains: Vec<u32> = all.iter().map(|sold| sold.domains).collect();
        assert_eq!(domains, [1, 2, 5]);
    }
}
