//! Writes and signs lists of revoked certificates (RFC 5280 §5).

use crate::ccm_server::x509::certificate::{extension, key_identifier};
use crate::ccm_server::x509::signer::{Hash, Signer};
use crate::ccm_server::x509::{X509Error, der};
use crate::model::Timestamp;

/// What a list says.
pub(in crate::ccm_server) struct List<'a> {
    /// The issuer's subject, byte for byte.
    pub(in crate::ccm_server) issuer: &'a [u8],
    /// The identifier of the issuer's key as its certificate has it; absent: made from the key.
    pub(in crate::ccm_server) issuer_key: Option<&'a [u8]>,
    /// Grows with every list.
    pub(in crate::ccm_server) number: u64,
    /// When it is made.
    pub(in crate::ccm_server) this_update: Timestamp,
    /// When the next one is there at the latest.
    pub(in crate::ccm_server) next_update: Timestamp,
    /// What is on it.
    pub(in crate::ccm_server) revoked: &'a [Revoked],
}

/// One that is revoked.
pub(in crate::ccm_server) struct Revoked {
    /// Big-endian.
    pub(in crate::ccm_server) serial: Vec<u8>,
    /// Since when.
    pub(in crate::ccm_server) at: Timestamp,
    /// In the API's words.
    pub(in crate::ccm_server) reason: String,
}

/// The list as DER.
pub(in crate::ccm_server) fn list(
    list: &List<'_>,
    signer: &Signer,
    hash: Hash,
) -> Result<Vec<u8>, X509Error> {
    let algorithm = signer.algorithm(hash);
    let entries: Vec<u8> = list.revoked.iter().flat_map(entry).collect();
    // RFC 5280 §5.1.2.6: absent, not empty.
    let entries = if entries.is_empty() {
        Vec::new()
    } else {
        der::tlv(0x30, &entries)
    };
    let key = match list.issuer_key {
        Some(known) => known.to_vec(),
        None => key_identifier(signer.spki())?,
    };
    let key = der::sequence(&[&der::context(0, &key)]);
    let mut extensions = extension(&[2, 5, 29, 35], false, &key);
    let number = der::unsigned(&list.number.to_be_bytes());
    extensions.extend(extension(&[2, 5, 29, 20], false, &number));
    let tbs = der::sequence(&[
        &der::unsigned(&[1]),
        &algorithm,
        list.issuer,
        &der::time(list.this_update),
        &der::time(list.next_update),
        &entries,
        &der::context_constructed(0, &der::tlv(0x30, &extensions)),
    ]);
    let signature = signer.sign(signer.hash(hash), &tbs)?;
    Ok(der::sequence(&[&tbs, &algorithm, &der::bits(&signature)]))
}

fn entry(revoked: &Revoked) -> Vec<u8> {
    let serial = der::unsigned(&revoked.serial);
    let at = der::time(revoked.at);
    // RFC 5280 §5.3.1: `unspecified` is said by saying nothing.
    let Some(reason) = reason_code(&revoked.reason) else {
        return der::sequence(&[&serial, &at]);
    };
    let reason = extension(&[2, 5, 29, 21], false, &der::tlv(0x0a, &[reason]));
    der::sequence(&[&serial, &at, &der::tlv(0x30, &reason)])
}

/// `CRLReason` of the API's words (CCM API 4.2.2.9).
fn reason_code(reason: &str) -> Option<u8> {
    match reason {
        "KEY_COMPROMISE" => Some(1),
        "CERTIFICATE_AUTHORITY_COMPROMISE" => Some(2),
        "AFFILIATION_CHANGED" => Some(3),
        "SUPERSEDED" => Some(4),
        "CESSATION_OF_OPERATION" => Some(5),
        "CERTIFICATE_HOLD" => Some(6),
        "PRIVILEGE_WITHDRAWN" => Some(9),
        "ATTRIBUTE_AUTHORITY_COMPROMISE" => Some(10),
        _ => None,
    }
}
