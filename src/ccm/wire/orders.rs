//! Buying certificates and applying for them (CCM API 4.1.1, 4.1.3).

use crate::ccm::lenient::answer;
use crate::ccm::limits::{Agreed, Chars, Country, Each, Inner, Known, Range, request};
use crate::ccm::wire::tags::Tag;
use crate::ccm::wire::words::{
    Brand, CsrAlgorithm, DomainMethod, DomainType, PrimaryDomainType, ScmKind,
};

request! {
    /// A purchase (4.1.3.1). It costs money.
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    Buy {
        /// Whose certificate.
        cert_brand: Brand = Known;
        /// How much is proven.
        cert_type: ScmKind = Known;
        /// For how many names.
        domain_type: DomainType = Known;
        /// Years.
        effective_time: i64 = Range(1, 3);
        /// Names.
        domain_numbers: i64 = Range(1, 100);
        /// Certificates.
        order_number: i64 = Range(1, 100);
        /// Nothing is sold without.
        agree_privacy_protection: bool = Agreed;
        /// What the first name of a multi-domain certificate is.
        primary_domain_type: Option<PrimaryDomainType> = Known;
        /// Further names that are no wildcards.
        single_domain_number: Option<i64> = Range(1, 100);
        /// Further wildcards.
        wildcard_domain_number: Option<i64> = Range(1, 100);
        /// Whether the order is paid from the account's balance at once.
        is_auto_pay: Option<bool> = crate::ccm::limits::Either;
        /// An order to go on with.
        order_id: Option<String> = Chars(1, 63);
        /// Tags of the new certificates.
        tags: Vec<Tag> = Each(0, 10, Inner);
    }

    /// An application for a certificate that was bought (4.1.1.1). The reference's own example leaves `domain_method`
    /// out, and its table demands it.
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    Apply {
        /// The domain, or the first of several.
        domain: String = Chars(1, 255);
        /// Further names, separated by `;`.
        sans: Option<String> = Chars(0, 4096);
        /// PEM; without it the service makes the key.
        csr: Option<String> = Chars(0, 5120);
        /// The organisation; needed for OV and EV, as the rest of its place is.
        company_name: Option<String> = Chars(0, 63);
        /// Its unit.
        company_unit: Option<String> = Chars(0, 63);
        /// Its state.
        company_province: Option<String> = Chars(0, 63);
        /// Its city.
        company_city: Option<String> = Chars(0, 63);
        /// Two letters.
        country: Option<String> = Country;
        /// Who applies. The table says up to 63 characters and the text 4 to 100.
        applicant_name: String = Chars(1, 100);
        /// Phone.
        applicant_phone: String = Chars(1, 63);
        /// Mail.
        applicant_email: String = Chars(1, 256);
        /// Whom to ask about technical matters.
        contact_name: Option<String> = Chars(0, 63);
        /// Phone.
        contact_phone: Option<String> = Chars(0, 63);
        /// Mail.
        contact_email: Option<String> = Chars(0, 256);
        /// Whether the proof is put into Huawei's DNS by the service.
        auto_dns_auth: Option<bool> = crate::ccm::limits::Either;
        /// Nothing is applied for without.
        agree_privacy_protection: bool = Agreed;
        /// How the domain is proven.
        domain_method: DomainMethod = Known;
        /// The key that the service makes; RSA of 2048 bit without it.
        key_algorithm: Option<CsrAlgorithm> = Known;
    }
}

answer! {
    /// A certificate that was bought (4.1.3.1, 7.1.1).
    Bought {
        /// Its id.
        cert_id: String;
    }

    /// The answer of 4.1.3.1 and 7.1.1.
    Purchase {
        /// The order.
        order_id: String;
        /// Its certificates.
        cert: Vec<Bought>,
    }

    /// The answer of 4.1.1.1 and its like in chapter 7.
    RequestInfo {
        ;
        /// `success`.
        request_info: Option<String>,
    }

    /// The answer of 4.1.1.2 and 7.1.11.
    Cancelled {
        ;
        /// The certificate.
        cert_id: Option<String>,
        /// `success`.
        message: Option<String>,
    }
}
