//! PEM: read leniently, written with the line ends of the service that answers.

use pem::{EncodeConfig, LineEnding, Pem};

use crate::ccm_server::x509::{X509Error, der};

/// PCA answers with CRLF, SCM with LF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ccm_server) enum LineEnd {
    /// `\n`
    Lf,
    /// `\r\n`
    CrLf,
}

/// One block.
pub(in crate::ccm_server) fn encode(label: &str, der: &[u8], end: LineEnd) -> String {
    let ending = match end {
        LineEnd::Lf => LineEnding::LF,
        LineEnd::CrLf => LineEnding::CRLF,
    };
    let config = EncodeConfig::new().set_line_ending(ending);
    pem::encode_config(&Pem::new(label, der), config)
}

/// Certificates, one after the other.
pub(in crate::ccm_server) fn encode_all<'a>(
    certificates: impl IntoIterator<Item = &'a [u8]>,
    end: LineEnd,
) -> String {
    let blocks = certificates.into_iter();
    blocks.map(|der| encode("CERTIFICATE", der, end)).collect()
}

/// A public key.
pub(in crate::ccm_server) fn public_key_pem(spki: &[u8], end: LineEnd) -> String {
    encode("PUBLIC KEY", spki, end)
}

/// A private key as CCM exports it: RSA as `RSA PRIVATE KEY` (PKCS #1), as the examples show; EC as PKCS #8, for the
/// form inside lacks its curve.
pub(in crate::ccm_server) fn private_key_pem(pkcs8: &[u8], end: LineEnd) -> String {
    match rsa_inside(pkcs8) {
        Some(pkcs1) => encode("RSA PRIVATE KEY", pkcs1, end),
        None => encode("PRIVATE KEY", pkcs8, end),
    }
}

/// The first block with one of these labels.
pub(super) fn one(text: &str, labels: &[&str]) -> Option<Vec<u8>> {
    let blocks = pem::parse_many(text).ok()?;
    let found = blocks
        .into_iter()
        .find(|block| labels.contains(&block.tag()))?;
    Some(found.into_contents())
}

/// All certificates of a text, in its order; line ends may be missing altogether, as in the reference's examples.
pub(in crate::ccm_server) fn certificates(text: &str) -> Result<Vec<Vec<u8>>, X509Error> {
    let blocks = pem::parse_many(text.as_bytes())
        .map_err(|error| X509Error::Malformed(format!("the text is no PEM: {error}")))?;
    let certificates = blocks
        .into_iter()
        .filter(|block| block.tag() == "CERTIFICATE");
    Ok(certificates.map(Pem::into_contents).collect())
}

/// The PKCS #1 key inside a PKCS #8 key, if it is one of RSA.
fn rsa_inside(pkcs8: &[u8]) -> Option<&[u8]> {
    let inside = content(pkcs8, 0x30)?.0;
    let after_version = content(inside, 0x02)?.1;
    let (algorithm, rest) = content(after_version, 0x30)?;
    if !algorithm.starts_with(&der::oid(RSA)) {
        return None;
    }
    Some(content(rest, 0x04)?.0)
}

/// Content of the value at the front, and what follows it.
pub(super) fn content(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (first, rest) = bytes.split_first()?;
    if *first != tag {
        return None;
    }
    let (length, rest) = rest.split_first()?;
    let (length, rest) = if *length < 0x80 {
        (usize::from(*length), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
        if digits.len() > 3 {
            return None;
        }
        let length = digits
            .iter()
            .fold(0, |sum, digit| sum << 8 | usize::from(*digit));
        (length, rest)
    };
    rest.split_at_checked(length)
}

const RSA: &[u64] = &[1, 2, 840, 113_549, 1, 1, 1];
