//! renewd-ccm from outside: over HTTP, with requests signed by the tests' own code.
#![expect(
    clippy::disallowed_methods,
    reason = "tests arrange files and processes directly"
)]

mod authentication;
mod authorities;
mod certificates;
mod command_line;
mod conformance;
mod crl;
mod durability;
mod front;
pub(crate) mod http;
mod lifecycle;
pub(crate) mod openssl;
mod process;
mod scm;
mod scm_csr;
mod scm_deploy;
mod scm_tags;
mod scm_v2;
mod unpleasant;
