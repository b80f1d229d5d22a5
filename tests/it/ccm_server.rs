//! renewd-ccm from outside: over HTTP, with requests signed by the tests' own code.
#![expect(
    clippy::disallowed_methods,
    reason = "tests arrange files and processes directly"
)]

mod able_authorities;
mod answers;
pub(crate) mod applicant;
mod applications;
mod archives;
mod authentication;
mod authorities;
mod bought;
mod certificates;
mod chapter5;
mod command_line;
mod conformance;
mod contract;
mod crl;
mod durability;
mod examples_of_orders;
mod failing_lists;
mod foreign_authorities;
mod front;
pub(crate) mod http;
#[cfg(feature = "failpoints")]
mod hung_buckets;
mod late_purchases;
mod life;
mod lifecycle;
mod manage;
pub(crate) mod openssl;
mod orders;
mod process;
mod quiet;
pub(crate) mod resolver;
mod scm;
mod scm_csr;
mod scm_deploy;
mod scm_tags;
mod scm_v2;
mod supplements;
mod unpleasant;
mod version2;
mod zones;
