//! Certificates: made, signed and taken apart. Bytes and values only; what is kept and who may ask is decided elsewhere.
//!
//! Certificates are written by hand (`der`, `certificate`), since an issuer's name must go into what it signs byte for
//! byte, and since nothing of a CSR may slip into a certificate that is not put there on purpose.

mod certificate;
mod crl;
mod csr;
mod der;
mod name;
mod pem;
mod read;
mod request;
mod signer;
mod sm2;
mod validity;

pub(super) use certificate::{BasicConstraints, ExtendedUsage, KeyUsage, Template, issue};
pub(super) use crl::{List, Revoked, list};
pub(super) use csr::{Request, request_of_authority};
pub(super) use name::Subject;
pub(super) use pem::{LineEnd, certificates, encode, encode_all, private_key_pem, public_key_pem};
pub(super) use read::{Facts, facts, signed_by};
pub(super) use request::{Requester, request};
pub(super) use signer::{Hash, KeyKind, Signer, Signers};
pub(super) use sm2::Sm2Key;
pub(super) use validity::{Period, Unit, new_serial};

/// Why something could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum X509Error {
    /// A key does not load or does not sign.
    #[error("failed to {0} with a key")]
    Key(&'static str),
    /// What was given is not what it should be.
    #[error("{0}")]
    Malformed(String),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CSR: &str = include_str!("../../../tests/fixtures/certs/example.csr.pem");

    proptest! {
        #[test]
        fn anything_may_come_in_as_a_request_or_certificate(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let request = encode("CERTIFICATE REQUEST", &bytes, LineEnd::Lf);
            prop_assert!(Request::parse(&request).is_err());
            prop_assert!(facts(&bytes).is_err());
            let _ = signed_by(&bytes, &bytes);
            let _ = Request::parse(&String::from_utf8_lossy(&bytes));
            let _ = certificates(&String::from_utf8_lossy(&bytes));
            let _ = private_key_pem(&bytes, LineEnd::Lf);
        }

        #[test]
        fn a_request_with_one_changed_signed_byte_is_never_accepted(at in any::<prop::sample::Index>(), flip in 1_u8..) {
            let mut der = pem::one(CSR, &["CERTIFICATE REQUEST"]).expect("a fixture");
            // What is signed: the first value inside, with its header of four bytes.
            let signed = 4..8 + (usize::from(der[6]) << 8 | usize::from(der[7]));
            let at = signed.start + at.index(signed.len());
            der[at] ^= flip;
            prop_assert!(Request::parse(&encode("CERTIFICATE REQUEST", &der, LineEnd::Lf)).is_err());
        }
    }

    #[test]
    fn the_unchanged_request_is_accepted() {
        let request = Request::parse(CSR).expect("a fixture");
        assert_eq!(request.subject.common_name, "www.example.com");
        assert_eq!(request.names.len(), 2);
    }
}
