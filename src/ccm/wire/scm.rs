//! Public and imported certificates (CCM API 4.1.5).

use serde::{Deserialize, Serialize};

use crate::ccm::lenient::{answer, count, list};
use crate::ccm::limits::{Chars, Limit, Problems, Request};
use crate::ccm::paging::Page;
use crate::ccm::wire::words::ScmStatus;

answer! {
    /// An SCM certificate in a listing (4.1.5.1).
    ScmCertificate {
        /// Its id, `scs` and 13 digits.
        id: String,
        /// How far it is.
        status: ScmStatus;
        /// What its owner calls it.
        name: Option<String>,
        /// The domain it is bound to.
        domain: Option<String>,
        /// Further names, separated by `;`.
        sans: Option<String>,
        /// Such as `SHA256withRSA`.
        signature_algorithm: Option<String>,
        /// Whether it can be deployed to services of the cloud.
        deploy_support: Option<bool>,
        /// Such as `OV_SSL_CERT`.
        #[serde(rename = "type")]
        kind: Option<String>,
        /// Such as `GEOTRUST`.
        brand: Option<String>,
        /// End of validity such as `2021-05-27 16:46:25.0`, in no stated zone.
        expire_time: Option<String>,
        /// `SINGLE_DOMAIN`, `MULTI_DOMAIN` or `WILDCARD`.
        domain_type: Option<String>,
        /// Months.
        validity_period: Option<i64>,
        /// Names it is for.
        domain_count: Option<i64>,
        /// Wildcards among them.
        wildcard_count: Option<i64>,
        /// What its owner says about it.
        description: Option<String>,
        /// The account it belongs to.
        domain_id: Option<String>,
        /// Enterprise project; known to the SDK only.
        enterprise_project_id: Option<String>,
    }

    /// A record that proves a domain (4.1.5.3).
    Authentification {
        ;
        /// Where.
        record_name: Option<String>,
        /// `TXT`.
        record_type: Option<String>,
        /// What.
        record_value: Option<String>,
        /// Which domain.
        domain: Option<String>,
    }

    /// Who applied for a certificate (4.1.5.3).
    ApplicationInfo {
        ;
        /// C.
        country: Option<String>,
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
    }

    /// An SCM certificate in full (4.1.5.3).
    ScmDetails {
        /// Its id.
        id: String,
        /// How far it is.
        status: ScmStatus;
        /// The order it was bought by.
        order_id: Option<String>,
        /// What its owner calls it.
        name: Option<String>,
        /// Such as `OV_SSL_CERT`.
        #[serde(rename = "type")]
        kind: Option<String>,
        /// Such as `GEOTRUST`.
        brand: Option<String>,
        /// `ON` or `OFF`: whether it can be pushed.
        push_support: Option<String>,
        /// Why it was revoked.
        revoke_reason: Option<String>,
        /// Such as `SHA256withRSA`.
        signature_algorithm: Option<String>,
        /// When it was issued, in the form of `expire_time`.
        issue_time: Option<String>,
        /// Begin of validity, in the form of `expire_time`.
        not_before: Option<String>,
        /// End of validity, in the form of `expire_time`.
        not_after: Option<String>,
        /// Months.
        validity_period: Option<i64>,
        /// How its domains are proven.
        validation_method: Option<String>,
        /// `SINGLE_DOMAIN`, `MULTI_DOMAIN` or `WILDCARD`.
        domain_type: Option<String>,
        /// What the first name is, `primary_single` or `primary_wildcard`.
        multi_domain_type: Option<String>,
        /// The domain it is bound to.
        domain: Option<String>,
        /// Further names, separated by `;`.
        sans: Option<String>,
        /// Names it is for.
        domain_count: Option<i64>,
        /// Wildcards among them.
        wildcard_count: Option<i64>,
        /// SHA-1 of the certificate, 40 hex digits: tells whether the id holds another certificate than before.
        fingerprint: Option<String>,
        /// Whether another account shares it.
        shared: Option<bool>,
        /// Who applied for it.
        application_info: Option<ApplicationInfo>,
        /// What its owner says about it.
        description: Option<String>,
        /// The records that prove its domains.
        authentification: Vec<Authentification>,
        /// Enterprise project; known to the SDK only.
        enterprise_project_id: Option<String>,
    }

    /// The answer of an operation that makes a certificate (4.1.5.2, 4.2.2.2, 4.2.2.3).
    Made {
        /// The new certificate.
        certificate_id: String;
    }
}

/// 4.1.5.1.
#[derive(Deserialize)]
pub(crate) struct ScmCertificateList {
    #[serde(deserialize_with = "count")]
    total_count: u64,
    #[serde(default, deserialize_with = "list")]
    certificates: Vec<ScmCertificate>,
}

impl From<ScmCertificateList> for Page<ScmCertificate> {
    fn from(list: ScmCertificateList) -> Self {
        Self {
            total: list.total_count,
            items: list.certificates,
        }
    }
}

/// A certificate brought in (4.1.5.2). `duplicate_check` is never sent: the reference and the SDK read it in opposite
/// ways.
#[derive(Serialize)]
pub struct Import<'a> {
    /// 3 to 63 characters.
    pub name: &'a str,
    /// PEM.
    pub certificate: &'a str,
    /// PEM, intermediates first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_chain: Option<&'a str>,
    /// PEM.
    pub private_key: &'a str,
}

impl Request for Import<'_> {
    fn check(&self, problems: &mut Problems) {
        Chars(3, 63).check("name", self.name, problems);
        Chars(1, 4096).check("certificate", self.certificate, problems);
        Chars(1, 8192).check("certificate_chain", &self.certificate_chain, problems);
        Chars(1, 4096).check("private_key", self.private_key, problems);
    }
}
