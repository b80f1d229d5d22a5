//! Proofs of domains with real name servers and a real web server: published, looked for from where a CA looks, retracted.

mod cloud;
mod files;
mod records;
mod seen;

use std::sync::Arc;

use renewd::model::{DomainMethod, DomainProof, SecretRef};
use renewd::pki::Secret;
use renewd::sys::clock::{Clock, SystemClock};
use renewd::sys::process::SystemRunner;
use renewd::validation::Validations;

use crate::support::names::KEY;

/// With the key of the name servers behind every reference.
fn validations() -> Validations {
    validations_with(Arc::new(SystemClock), KEY)
}

fn validations_with(clock: Arc<dyn Clock>, secret: &'static str) -> Validations {
    let resolve = Arc::new(move |_: &SecretRef| Ok(Secret::from(secret.to_owned())));
    Validations::new(resolve, clock, Arc::new(SystemRunner))
}

/// A TXT record that a CA asks for.
fn record(domain: &str, place: &str, value: &str) -> DomainProof {
    DomainProof {
        domain: domain.to_owned(),
        method: DomainMethod::Dns,
        place: place.to_owned(),
        record_type: "TXT".to_owned(),
        value: value.to_owned(),
    }
}
