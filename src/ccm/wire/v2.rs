//! The former face of SCM (CCM API chapter 7): other field names for the same things.

use serde::Serialize;

use crate::ccm::lenient::answer;
use crate::ccm::limits::{Agreed, Chars, Country, Either, Known, Limit, Problems, Range};
use crate::ccm::limits::{Request, request};
use crate::ccm::paging::Page;
use crate::ccm::wire::words::{
    Brand, CloudService, DomainMethod, DomainType, ModifyKey, ScmKind, ScmStatus,
};

request! {
    /// A purchase (7.1.1). It costs money.
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    BuyV2 {
        /// Whose certificate.
        cert_brand: Brand = Known;
        /// How much is proven.
        cert_type: ScmKind = Known;
        /// For how many names.
        domain_type: DomainType = Known;
        /// Years.
        effective_time: i64 = Range(1, 2);
        /// Names.
        domain_numbers: i64 = Range(1, 100);
        /// Certificates.
        order_number: i64 = Range(1, 1000);
        /// Nothing is sold without.
        agree_privacy_protection: bool = Agreed;
    }

    /// A change of a certificate's name or description (7.1.4).
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    Modify {
        /// Which of both.
        modify_key: ModifyKey = Known;
        /// The new text.
        modify_value: String = Chars(0, 255);
    }

    /// An application (7.1.7). What is saved (7.1.9) is the same without `auto_dns_auth` and `domain_method`.
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    ApplyV2 {
        /// The domain, or the first of several.
        domain: String = Chars(1, 255);
        /// Further names, separated by `;`.
        sans: Option<String> = Chars(0, 4096);
        /// PEM; without it the service makes the key.
        csr: Option<String> = Chars(0, 5120);
        /// The organisation.
        company_name: String = Chars(1, 63);
        /// Its unit.
        company_unit: Option<String> = Chars(0, 63);
        /// Its state.
        company_province: String = Chars(1, 63);
        /// Its city.
        company_city: String = Chars(1, 63);
        /// Two letters.
        country: String = Country;
        /// Who applies.
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
        auto_dns_auth: Option<bool> = Either;
        /// Nothing is applied for without.
        agree_privacy_protection: bool = Agreed;
        /// How the domain is proven; sent in lower case, as this chapter has it.
        domain_method: Option<LowerMethod> = LowerKnown;
    }

    /// A CSR to be looked at (7.1.8).
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    CheckCsr {
        /// PEM.
        csr: String = Chars(1, 5120);
    }

    /// Why a certificate is revoked (7.1.16).
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    RevokeV2 {
        /// In words.
        reason: String = Chars(1, 63);
    }

    /// To which service of which project (7.1.17).
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    PushV2 {
        /// The service, CDN or WAF.
        service_type: CloudService = CdnOrWaf;
        /// The project.
        remote_project: String = Chars(1, 255);
    }

    /// Further names for a multi-domain certificate (7.1.20).
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    Supplement {
        /// Those it has, separated by `;`.
        ori_sans: String = Chars(1, 4096);
        /// Those that are added, separated by `;`.
        add_sans: Option<String> = Chars(0, 4096);
        /// For the proof.
        email: Option<String> = Chars(0, 256);
    }
}

/// A method of proof in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LowerMethod(pub DomainMethod);

impl Serialize for LowerMethod {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0.as_str().to_ascii_lowercase())
    }
}

struct LowerKnown;

impl Limit<LowerMethod> for LowerKnown {
    fn check(&self, field: &str, value: &LowerMethod, problems: &mut Problems) {
        Known.check(field, &value.0, problems);
    }
}

/// Chapter 7 knows no ELB.
struct CdnOrWaf;

impl Limit<CloudService> for CdnOrWaf {
    fn check(&self, field: &str, value: &CloudService, problems: &mut Problems) {
        if !matches!(value, CloudService::Cdn | CloudService::Waf) {
            problems.add(field, format_args!("`{value}` is none of CDN, WAF"));
        }
    }
}

/// A certificate brought in (7.1.15).
#[derive(Serialize)]
pub struct UploadV2<'a> {
    /// Up to 63 characters.
    pub cert_name: &'a str,
    /// PEM, the leaf first.
    pub cert: &'a str,
    /// PEM.
    pub private_key: &'a str,
}

impl Request for UploadV2<'_> {
    fn check(&self, problems: &mut Problems) {
        Chars(1, 63).check("cert_name", self.cert_name, problems);
        Chars(1, 12_288).check("cert", self.cert, problems);
        Chars(1, 4096).check("private_key", self.private_key, problems);
    }
}

answer! {
    /// A certificate in a listing (7.1.2).
    OrderV2 {
        /// Its id.
        cert_id: String;
        /// What its owner calls it.
        cert_name: Option<String>,
        /// The domain it is bound to.
        domain: Option<String>,
        /// Such as `OV_SSL_CERT`.
        cert_type: Option<String>,
        /// Whose it is.
        cert_brand: Brand,
        /// For how many names; with blanks in the example.
        domain_type: DomainType,
        /// Years.
        purchase_period: Option<i64>,
        /// End of validity.
        expired_time: Option<String>,
        /// How far it is; `order_state` in the example.
        #[serde(alias = "order_state")]
        order_status: ScmStatus,
        /// Names it is for.
        domain_num: Option<i64>,
        /// Wildcards among them.
        wildcard_number: Option<i64>,
        /// What its owner says about it.
        cert_des: Option<String>,
    }

    /// The answer of 7.1.2.
    OrderPage {
        /// How many there are in all.
        total: u64;
        /// Test certificates that are still free; a text in the example.
        free_remain: Option<i64>,
        /// Those of this page.
        order_list: Vec<OrderV2>,
    }

    /// The proof of one domain (7.1.3).
    AuthV2 {
        ;
        /// How.
        method: Option<String>,
        /// How far it is.
        status: Option<String>,
        /// Which domain.
        domain_name: Option<String>,
        /// Where.
        host_record: Option<String>,
        /// `TXT`.
        record_type: Option<String>,
        /// What.
        record: Option<String>,
    }

    /// A certificate in full (7.1.3).
    DetailsV2 {
        /// Its id.
        cert_id: String;
        /// The order it was bought by.
        order_id: Option<String>,
        /// What its owner calls it.
        cert_name: Option<String>,
        /// Such as `OV`.
        cert_type: Option<String>,
        /// Whose it is.
        cert_brand: Brand,
        /// For how many names.
        domain_type: DomainType,
        /// Its names, separated by `;`.
        domain_name: Option<String>,
        /// How many.
        domain_number: Option<i64>,
        /// What its owner says about it.
        cert_describe: Option<String>,
        /// Whether it can be pushed.
        push_support: Option<String>,
        /// Why it was revoked.
        revoke_reason: Option<String>,
        /// The organisation.
        company_name: Option<String>,
        /// Its state.
        company_province: Option<String>,
        /// Its city.
        company_city: Option<String>,
        /// Who applied.
        applicant_name: Option<String>,
        /// Phone.
        applicant_phone: Option<String>,
        /// Mail.
        applicant_email: Option<String>,
        /// Whom to ask about technical matters.
        contact_name: Option<String>,
        /// Phone.
        contact_phone: Option<String>,
        /// Mail.
        contact_email: Option<String>,
        /// How far it is.
        status: ScmStatus,
        /// Such as `SHA256withRSA2048`.
        encrypt_type: Option<String>,
        /// C.
        country: Option<String>,
        /// OU.
        organization_unit: Option<String>,
        /// `ON`, `OFF` or `NONE`: whether the proof was put into Huawei's DNS.
        #[serde(rename = "DNS_push_status")]
        dns_push_status: Option<String>,
        /// The proofs.
        auth: Vec<AuthV2>,
    }

    /// The answer of 7.1.4.
    ResponseInfo {
        ;
        /// `success`.
        response_info: Option<String>,
    }

    /// Something that can be bought (7.1.5, 7.1.6).
    Product {
        ;
        /// How much is proven.
        cert_type: ScmKind,
        /// Whose it is.
        cert_brand: Brand,
        /// For how many names.
        domain_type: DomainType,
        /// Its id; not in 7.1.6, which is asked by it.
        product_id: Option<String>,
        /// Years.
        effective_time: Option<i64>,
        /// Its name.
        product_name: Option<String>,
    }

    /// The answer of 7.1.5.
    Products {
        ;
        /// Each of them.
        type_list: Vec<Product>,
    }

    /// The answer of 7.1.8; the field is `domain_name` in the table and `domain` in the example, and an answer may have
    /// both.
    CheckedCsr {
        ;
        /// Common name of the CSR.
        domain_name: Option<String>,
        /// The same; taken over into `domain_name` where that is missing.
        domain: Option<String>,
    }

    /// What was saved of an application (7.1.10).
    SavedApplication {
        ;
        /// The domain.
        domain_name: Option<String>,
        /// Further names, separated by `;`.
        sans: Option<String>,
        /// PEM.
        #[serde(rename = "CSR")]
        csr: Option<String>,
        /// C.
        country: Option<String>,
        /// The organisation.
        company_name: Option<String>,
        /// Its unit.
        company_unit: Option<String>,
        /// Its state.
        company_province: Option<String>,
        /// Its city.
        company_city: Option<String>,
        /// Who applies.
        applicant_name: Option<String>,
        /// Phone.
        applicant_phone: Option<String>,
        /// Mail.
        applicant_email: Option<String>,
        /// Whom to ask about technical matters.
        contact_name: Option<String>,
        /// Phone.
        contact_phone: Option<String>,
        /// Mail.
        contact_email: Option<String>,
        /// `1` when the bank account opening permit was handed in.
        bl: Option<String>,
        /// `1` when the business licence was handed in.
        tl: Option<String>,
    }

    /// The answer of operations that say only how they went (7.1.12, 7.1.16, 7.1.17, 7.1.19).
    Message {
        ;
        /// `success`.
        message: Option<String>,
    }

    /// The answer of 7.1.15.
    Uploaded {
        /// The new certificate.
        cert_id: String;
    }

    /// One push (7.1.18).
    PushedV2 {
        ;
        /// When, in milliseconds since 1970.
        push_time: Option<i64>,
        /// To which project.
        push_remote_project: Option<String>,
        /// To which service.
        push_service: CloudService,
    }

    /// The answer of 7.1.18.
    PushHistory {
        ;
        /// Each push.
        push_history_list: Vec<PushedV2>,
    }

    /// How a domain is proven (7.1.21).
    DomainVerification {
        ;
        /// Which domain.
        domain_name: Option<String>,
        /// Where a mail goes.
        domain_email: Option<String>,
        /// Where the record must be.
        record_name: Option<String>,
        /// What it must hold.
        record_value: Option<String>,
        /// `TXT`.
        record_type: Option<String>,
        /// How.
        domain_method: DomainMethod,
        /// Mail of who applied.
        applicant_email: Option<String>,
        /// Whether the service puts the record into Huawei's DNS.
        auto_dns_auth: Option<bool>,
    }
}

impl From<OrderPage> for Page<OrderV2> {
    fn from(list: OrderPage) -> Self {
        Self {
            total: list.total,
            items: list.order_list,
        }
    }
}
