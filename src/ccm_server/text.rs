//! Small texts: hexadecimal digits, ids, the dates and serial numbers of the reference, percent-coding.

use crate::model::Timestamp;
use crate::sys::entropy;

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    let digit = |n: u8| char::from(DIGITS[usize::from(n)]);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// The bytes of hexadecimal digits in either case.
pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|c| c.to_digit(16).and_then(|n| u8::try_from(n).ok()))
        .collect();
    let digits = digits?;
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    Some(
        digits
            .chunks_exact(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect(),
    )
}

/// Random lower-case hexadecimal digits, two for each byte.
pub(super) fn random_hex<const BYTES: usize>() -> String {
    hex(&random::<BYTES>())
}

/// Random bytes.
pub(super) fn random<const BYTES: usize>() -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    entropy::fill(&mut bytes);
    bytes
}

/// So many random decimal digits.
pub(super) fn random_digits(count: usize) -> String {
    let mut text = String::with_capacity(count);
    while text.len() < count {
        // 250 is the greatest multiple of ten in a byte; above it the digits would not be equally likely.
        let [byte] = random::<1>();
        if byte < 250 {
            text.push(char::from(b'0' + byte % 10));
        }
    }
    text
}

/// The API's serial number: the UTC time to the millisecond and seven random digits, 24 in all. It is not the serial
/// number in the certificate. The clock counts seconds, so the milliseconds are random as well.
pub(super) fn serial_number(now: Timestamp) -> String {
    let stamp: String = now
        .to_string()
        .chars()
        .filter(char::is_ascii_digit)
        .collect();
    format!("{stamp}{}", random_digits(24 - stamp.len()))
}

/// An id of PCA.
pub(super) fn uuid() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Whether this is an id of PCA: 36 characters, hexadecimal digits and hyphens.
pub(super) fn is_uuid(text: &str) -> bool {
    text.len() == 36 && uuid::Uuid::try_parse(text).is_ok()
}

/// An id of SCM: `scs` and 13 digits.
pub(super) fn scm_id() -> String {
    format!("scs{}", random_digits(13))
}

/// Whether this may be an id of SCM.
pub(super) fn is_scm_id(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|c| c.is_ascii_alphanumeric())
}

/// SCM's form of a moment: `2021-05-27 16:46:25.0`.
pub(super) fn scm_time(at: Timestamp) -> String {
    let text = at.to_string();
    format!("{}.0", text.trim_end_matches('Z').replace('T', " "))
}

/// IAM's form of a moment: `2019-02-13T06:52:13.855000Z`.
pub(super) fn iam_time(at: Timestamp) -> String {
    format!("{}.000000Z", at.to_string().trim_end_matches('Z'))
}

/// Milliseconds, as PCA counts.
pub(super) const fn millis(at: i64) -> i64 {
    at.saturating_mul(1000)
}

/// Decodes `%XX`; a broken escape stays as it is.
pub(super) fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = text.get(at + 1..at + 3).and_then(unhex);
        match (bytes[at], escape.as_deref()) {
            (b'%', Some([byte])) => {
                decoded.push(*byte);
                at += 3;
            }
            (byte, _) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// Encodes everything but the unreserved characters of RFC 3986.
pub(super) fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push_str(&hex(&[byte]).to_ascii_uppercase());
        }
    }
    encoded
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_number_has_24_digits_and_begins_with_the_time() {
        let at = Timestamp::parse("2022-03-07T03:22:54Z").unwrap();
        let serial = serial_number(at);
        assert_eq!(serial.len(), 24);
        assert!(serial.starts_with("20220307032254"), "{serial}");
        assert_ne!(serial, serial_number(at));
    }

    #[test]
    fn moments_take_the_forms_of_the_two_services() {
        let at = Timestamp::parse("2021-05-27T16:46:25Z").unwrap();
        assert_eq!(scm_time(at), "2021-05-27 16:46:25.0");
        assert_eq!(iam_time(at), "2021-05-27T16:46:25.000000Z");
    }

    #[test]
    fn percent_coding_goes_both_ways_and_survives_nonsense() {
        assert_eq!(percent_decode("a%20b%2Bc%zz%4"), "a b+c%zz%4");
        assert_eq!(percent_encode("a b+c/é~"), "a%20b%2Bc%2F%C3%A9~");
        assert_eq!(percent_decode("%C3%A9"), "é");
    }

    #[test]
    fn hexadecimal_digits_go_both_ways() {
        assert_eq!(unhex("00fF"), Some(vec![0, 255]));
        assert_eq!(unhex("0"), None);
        assert_eq!(unhex("zz"), None);
        assert_eq!(hex(&[0, 255]), "00ff");
    }
}
