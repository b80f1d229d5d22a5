//! Whom the clients of a service trust: the roots of this host, or those of a file that the policy names.

use std::path::Path;
use std::sync::Arc;

use rustls_native_certs::load_native_certs;

use crate::deploy::StepError;
use crate::deploy::manifest::MOST_BYTES;
use crate::model::{Roots, Timestamp};
use crate::pki::chain::{is_root, verify};
use crate::pki::{PkiError, facts, pem};
use crate::sys::error_chain as causes;
use crate::sys::fs;

/// Roots, read once. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::deploy) struct Trust {
    /// DER.
    roots: Arc<[Vec<u8>]>,
    whose: Roots,
}

impl Trust {
    /// Reads them. The system's are found as OpenSSL finds them: `SSL_CERT_FILE`, `SSL_CERT_DIR`, else the usual places.
    ///
    /// # Errors
    /// They cannot be read, or there are none.
    pub(in crate::deploy) fn of(whose: &Roots) -> Result<Self, StepError> {
        let roots = match whose {
            Roots::System => system()?,
            Roots::File(path) => in_file(path)?,
        };
        Ok(Self {
            roots: roots.into(),
            whose: whose.clone(),
        })
    }

    /// Whether a client with these roots follows the path, as it is presented; else why not, and what to do.
    pub(in crate::deploy) fn accepts(
        &self,
        leaf: &[u8],
        presented: &[Vec<u8>],
        now: Timestamp,
    ) -> Result<(), String> {
        let Err(error) = verify(leaf, presented, &self.roots, now) else {
            return Ok(());
        };
        let PkiError::UnknownIssuer = error else {
            return Err(format!("with {}: {}", self.named(), causes(&error)));
        };
        let top = presented.last().map_or(leaf, Vec::as_slice);
        let issuer = facts(top).map_or_else(|_| "?".to_owned(), |facts| facts.issuer_name);
        let help = match &self.whose {
            Roots::System => {
                "install it there (update-ca-certificates, update-ca-trust), or give its file in `roots`"
            }
            Roots::File(_) => "add it there, or mend the chain",
        };
        Err(format!(
            "the path ends at the issuer `{issuer}`, which is not among {}; {help}",
            self.named()
        ))
    }

    fn named(&self) -> String {
        match &self.whose {
            Roots::System => "the roots of this host".to_owned(),
            Roots::File(path) => format!("the roots in {}", path.display()),
        }
    }
}

fn system() -> Result<Vec<Vec<u8>>, StepError> {
    let found = load_native_certs();
    // A store holds what some programs understand and others do not: one such is no reason to trust nobody.
    let roots = found.certs.iter().map(|root| root.to_vec());
    let roots: Vec<Vec<u8>> = roots.filter(|root| is_root(root)).collect();
    if roots.is_empty() {
        let why: Vec<String> = found.errors.iter().map(|error| causes(error)).collect();
        let why = match why.as_slice() {
            [] => String::new(),
            why => format!(" ({})", why.join("; ")),
        };
        return Err(StepError::configuration(format!(
            "`roots = \"system\"`: this host has no roots{why}; install ca-certificates, or look at SSL_CERT_FILE and SSL_CERT_DIR"
        )));
    }
    Ok(roots)
}

fn in_file(path: &Path) -> Result<Vec<Vec<u8>>, StepError> {
    let text = fs::read(path, MOST_BYTES)?;
    let wrong = |problem: String| {
        StepError::configuration(format!(
            "failed to use the roots in {}: {problem}",
            path.display()
        ))
    };
    let roots = pem::certificates(&String::from_utf8_lossy(&text))
        .map_err(|error| wrong(causes(&error)))?;
    if roots.is_empty() {
        return Err(wrong("there is no certificate in it".to_owned()));
    }
    Ok(roots)
}
