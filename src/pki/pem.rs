//! PEM in (lenient, as issuers really send it) and out (RFC 7468 strict).
//!
//! Own code for two reasons: CCM's examples lose line ends or have CRLF, and buffers that held a key are zeroised.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::{Zeroize, Zeroizing};

use crate::pki::PkiError;

/// One block.
pub(super) struct Block<'a> {
    /// Text between `BEGIN ` and the dashes.
    pub(super) label: &'a str,
    /// Has the header lines of an encrypted PKCS #1 or SEC 1 key (RFC 1421 §4.6.1.1).
    pub(super) encrypted: bool,
    /// Decoded content.
    pub(super) der: Zeroizing<Vec<u8>>,
}

/// Every certificate of a PEM text in its order, as DER. Accepts CRLF, missing line ends and text between blocks;
/// passes over blocks that are no certificates.
///
/// # Errors
/// Malformed blocks, more than [`MAX_CERTIFICATES`] certificates, more than [`MAX_TEXT`] bytes.
pub fn certificates(text: &str) -> Result<Vec<Vec<u8>>, PkiError> {
    let mut found = Vec::new();
    for block in blocks(text)? {
        if matches!(block.label, "CERTIFICATE" | "X509 CERTIFICATE") {
            if found.len() == MAX_CERTIFICATES {
                let problem = format!("more than {MAX_CERTIFICATES} certificates");
                return Err(PkiError::malformed("PEM", problem));
            }
            found.push(block.der.to_vec());
        }
    }
    Ok(found)
}

/// A certificate as a PEM block with LF line ends.
#[must_use]
pub fn certificate(der: &[u8]) -> String {
    // What `encode` writes is ASCII.
    String::from_utf8_lossy(&encode("CERTIFICATE", der)).into_owned()
}

/// Blocks of any kind, in their order.
pub(super) fn blocks(text: &str) -> Result<Vec<Block<'_>>, PkiError> {
    let wrong = |problem: String| PkiError::malformed("PEM", problem);
    if text.len() > MAX_TEXT {
        return Err(wrong(format!("longer than {MAX_TEXT} bytes")));
    }
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(BEGIN) {
        let Some((label, after)) = after.split_once(DASHES) else {
            return Err(wrong("a BEGIN line that does not end".to_owned()));
        };
        if label.len() > MAX_LABEL || label.contains(['\n', '\r']) {
            return Err(wrong("a BEGIN line that does not end".to_owned()));
        }
        let Some((body, after)) = after.split_once(&format!("{END}{label}{DASHES}")) else {
            return Err(wrong(format!("`{label}` has no END line")));
        };
        if body.contains(DASHES) {
            return Err(wrong(format!("`{label}` has no END line")));
        }
        blocks.push(block(label, body)?);
        rest = after;
    }
    Ok(blocks)
}

fn block<'a>(label: &'a str, body: &str) -> Result<Block<'a>, PkiError> {
    let encrypted = body.contains("Proc-Type:") && body.contains("ENCRYPTED");
    if encrypted {
        return Ok(Block {
            label,
            encrypted,
            der: Zeroizing::default(),
        });
    }
    // Sized once, so that no half-filled copy of a key is left behind by growing.
    let mut text = Zeroizing::new(Vec::with_capacity(body.len()));
    text.extend(body.bytes().filter(|byte| !byte.is_ascii_whitespace()));
    let mut der = Zeroizing::new(vec![0; text.len() / 4 * 3 + 3]);
    let length = STANDARD
        .decode_slice(&*text, &mut der)
        .map_err(|error| PkiError::malformed("PEM", format!("`{label}`: {error}")))?;
    der.truncate(length);
    Ok(Block {
        label,
        encrypted,
        der,
    })
}

/// A block with 64 columns and LF line ends.
pub(super) fn encode(label: &str, der: &[u8]) -> Zeroizing<Vec<u8>> {
    let body = der.len().div_ceil(BYTES_PER_LINE) * (COLUMNS + 1);
    // Sized once, so that no half-filled copy of a key is left behind by growing.
    let mut out = Zeroizing::new(Vec::with_capacity(body + 2 * (label.len() + 20)));
    out.extend_from_slice(format!("{BEGIN}{label}{DASHES}\n").as_bytes());
    let mut line = [0; COLUMNS];
    for chunk in der.chunks(BYTES_PER_LINE) {
        // A chunk of at most 48 bytes always fits in 64 columns.
        let length = STANDARD.encode_slice(chunk, &mut line).unwrap_or(0);
        out.extend_from_slice(&line[..length]);
        out.push(b'\n');
    }
    line.zeroize();
    out.extend_from_slice(format!("{END}{label}{DASHES}\n").as_bytes());
    out
}

/// A chain of public CAs has three or four certificates; private ones at most PCA's path length 7 and the root.
pub const MAX_CERTIFICATES: usize = 32;
/// Twice the longest chain that PCA documents (CCM API 4.2.1.10).
pub const MAX_TEXT: usize = 4 << 20;
const MAX_LABEL: usize = 64;
const COLUMNS: usize = 64;
const BYTES_PER_LINE: usize = 48;
const DASHES: &str = "-----";
const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn line_ends_of_any_kind_or_none_at_all_are_accepted() {
        let der: Vec<u8> = (0..=255).collect();
        let two = certificate(&der).repeat(2);
        for text in [
            two.clone(),
            two.replace('\n', "\r\n"),
            two.replace('\n', ""),
            two.replace('\n', " \t"),
            format!("subject=CN = x\n{two}\ntrailing words"),
        ] {
            assert_eq!(certificates(&text).unwrap(), [der.clone(), der.clone()]);
        }
    }

    #[test]
    fn blocks_of_other_kinds_are_passed_over() {
        let text = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n";
        assert!(certificates(text).unwrap().is_empty());
        assert!(certificates("no PEM at all").unwrap().is_empty());
    }

    #[test]
    fn damaged_blocks_are_refused() {
        for text in [
            "-----BEGIN CERTIFICATE-----\nAAAA",
            "-----BEGIN CERTIFICATE",
            "-----BEGIN CERTIFICATE\n-----\nAAAA\n-----END CERTIFICATE-----",
            "-----BEGIN CERTIFICATE-----\nAA!A\n-----END CERTIFICATE-----",
            "-----BEGIN CERTIFICATE-----\nAAA\n-----END CERTIFICATE-----",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE REQUEST-----",
            "-----BEGIN A-----\nAAAA\n-----BEGIN B-----\nAAAA\n-----END A-----",
        ] {
            assert!(certificates(text).is_err(), "{text}");
        }
    }

    #[test]
    fn more_certificates_than_any_chain_has_are_refused() {
        let text = certificate(&[1]).repeat(MAX_CERTIFICATES);
        assert_eq!(certificates(&text).unwrap().len(), MAX_CERTIFICATES);
        assert!(certificates(&(text + &certificate(&[1]))).is_err());
        assert!(certificates(&" ".repeat(MAX_TEXT + 1)).is_err());
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(der in proptest::collection::vec(any::<u8>(), 0..300)) {
            let text = certificate(&der);
            prop_assert!(text.lines().all(|line| line.len() <= COLUMNS));
            prop_assert_eq!(certificates(&text).unwrap(), [der]);
        }

        #[test]
        fn no_text_brings_the_reader_down(text in "(-----(BEGIN|END) (A|B)?(-----)?|\n|AAA=|é|[ -~]){0,12}") {
            let _ = certificates(&text);
        }
    }
}
