//! CSRs that are kept at SCM (CCM API 4.1.4). The lengths that the reference prints for them cannot be meant (a CSR of at
//! most 255 characters, a key of at most 63), so those of 4.1.1.1 and 4.1.5.2 are taken.

use serde::{Deserialize, Serialize};

use crate::ccm::lenient::{answer, count, list, secret};
use crate::ccm::limits::{Chars, Known, Limit, Problems, Request, request};
use crate::ccm::paging::Page;
use crate::ccm::wire::words::{CsrAlgorithm, CsrUsage};
use crate::pki::Secret;

answer! {
    /// A CSR (4.1.4.1 to 4.1.4.4). Times are milliseconds since 1970.
    Csr {
        /// Its id, 32 hex digits.
        id: String;
        /// What its owner calls it.
        name: Option<String>,
        /// PEM; not in the answer that makes it.
        csr: Option<String>,
        /// Common name.
        domain_name: Option<String>,
        /// Further names, separated by `;`.
        sans: Option<String>,
        /// Such as `RSA_2048`.
        private_key_algo: CsrAlgorithm,
        /// For a person or an organisation.
        usage: CsrUsage,
        /// C.
        company_country: Option<String>,
        /// ST.
        company_province: Option<String>,
        /// L.
        company_city: Option<String>,
        /// O.
        company_name: Option<String>,
        /// When it was made.
        create_time: Option<i64>,
        /// When it was changed.
        update_time: Option<i64>,
    }
}

/// 4.1.4.2.
#[derive(Deserialize)]
pub(crate) struct CsrList {
    #[serde(deserialize_with = "count")]
    total: u64,
    #[serde(default, deserialize_with = "list")]
    csr_list: Vec<Csr>,
}

impl From<CsrList> for Page<Csr> {
    fn from(list: CsrList) -> Self {
        Self {
            total: list.total,
            items: list.csr_list,
        }
    }
}

/// The answer of 4.1.4.7.
#[derive(Deserialize)]
pub(crate) struct CsrKey {
    #[serde(default, deserialize_with = "secret")]
    pub(crate) private_key: Option<Secret>,
}

request! {
    /// A CSR whose key SCM makes and keeps (4.1.4.1).
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    CreateCsr {
        /// What its owner calls it.
        name: String = Chars(1, 63);
        /// Common name.
        domain_name: String = Chars(1, 63);
        /// Further names, separated by `;`.
        sans: Option<String> = Chars(0, 255);
        /// The key.
        private_key_algo: CsrAlgorithm = Known;
        /// For whom; an organisation's name and place must be given then.
        usage: CsrUsage = Known;
        /// C.
        company_country: Option<String> = Chars(0, 255);
        /// ST.
        company_province: Option<String> = Chars(0, 255);
        /// L.
        company_city: Option<String> = Chars(0, 255);
        /// O.
        company_name: Option<String> = Chars(0, 255);
    }

    /// Another name for a CSR (4.1.4.4).
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    RenameCsr {
        /// The new name.
        name: String = Chars(1, 255);
    }
}

/// A CSR made elsewhere (4.1.4.6).
#[derive(Serialize)]
pub struct UploadCsr<'a> {
    /// What its owner calls it, up to 63 characters.
    pub name: &'a str,
    /// PEM.
    pub csr: &'a str,
    /// PEM; SCM keeps it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private_key: Option<&'a str>,
}

impl Request for UploadCsr<'_> {
    fn check(&self, problems: &mut Problems) {
        Chars(1, 63).check("name", self.name, problems);
        Chars(1, 5120).check("csr", self.csr, problems);
        Chars(1, 4096).check("private_key", &self.private_key, problems);
    }
}
