//! Writes DER (X.690): the few forms that certificates are made of.

use crate::model::Timestamp;

/// Tag, length, content.
pub(super) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 5);
    out.push(tag);
    let length = content.len();
    if length < 0x80 {
        out.push(u8::try_from(length).unwrap_or(0));
    } else {
        let bytes = length.to_be_bytes();
        let used = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
        out.push(0x80 | u8::try_from(used.len()).unwrap_or(0));
        out.extend_from_slice(used);
    }
    out.extend_from_slice(content);
    out
}

/// `SEQUENCE` of parts that are DER already.
pub(super) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(SEQUENCE, &parts.concat())
}

/// `SET` of one part.
pub(super) fn set(part: &[u8]) -> Vec<u8> {
    tlv(0x31, part)
}

/// A non-negative `INTEGER` from big-endian bytes.
pub(super) fn unsigned(bytes: &[u8]) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let used = &bytes[zeros.min(bytes.len().saturating_sub(1))..];
    match used.first() {
        None => tlv(0x02, &[0]),
        Some(first) if *first >= 0x80 => tlv(0x02, &[&[0], used].concat()),
        Some(_) => tlv(0x02, used),
    }
}

/// `BOOLEAN TRUE`.
pub(super) fn yes() -> Vec<u8> {
    tlv(0x01, &[0xff])
}

/// `NULL`.
pub(super) fn null() -> Vec<u8> {
    tlv(0x05, &[])
}

/// `OCTET STRING`.
pub(super) fn octets(content: &[u8]) -> Vec<u8> {
    tlv(0x04, content)
}

/// `BIT STRING` of whole bytes.
pub(super) fn bits(content: &[u8]) -> Vec<u8> {
    tlv(0x03, &[&[0], content].concat())
}

/// `BIT STRING` of named bits, shortest form (X.690 §11.2.2); bit 0 is the first.
pub(super) fn named_bits(set: &[u8]) -> Vec<u8> {
    let Some(last) = set.iter().max() else {
        return tlv(0x03, &[0]);
    };
    let mut bytes = vec![0_u8; usize::from(*last) / 8 + 1];
    for bit in set {
        bytes[usize::from(*bit) / 8] |= 0x80 >> (bit % 8);
    }
    let unused = 7 - last % 8;
    tlv(0x03, &[&[unused], bytes.as_slice()].concat())
}

/// `UTF8String`.
pub(super) fn utf8(text: &str) -> Vec<u8> {
    tlv(0x0c, text.as_bytes())
}

/// `PrintableString`.
pub(super) fn printable(text: &str) -> Vec<u8> {
    tlv(0x13, text.as_bytes())
}

/// `OBJECT IDENTIFIER` from its parts.
pub(super) fn oid(parts: &[u64]) -> Vec<u8> {
    let mut content = Vec::new();
    let (first, rest) = match parts {
        [a, b, rest @ ..] => (a * 40 + b, rest),
        _ => (0, [].as_slice()),
    };
    for part in std::iter::once(first).chain(rest.iter().copied()) {
        let mut groups = vec![u8::try_from(part & 0x7f).unwrap_or(0)];
        let mut left = part >> 7;
        while left > 0 {
            groups.push(0x80 | u8::try_from(left & 0x7f).unwrap_or(0));
            left >>= 7;
        }
        content.extend(groups.iter().rev());
    }
    tlv(0x06, &content)
}

/// `UTCTime` through 2049, then `GeneralizedTime` (RFC 5280 §4.1.2.5).
pub(super) fn time(at: Timestamp) -> Vec<u8> {
    let digits: String = at
        .to_string()
        .chars()
        .filter(char::is_ascii_digit)
        .collect();
    if ("1950".."2050").contains(&digits.get(..4).unwrap_or_default()) {
        let short = digits.get(2..).unwrap_or_default();
        tlv(0x17, format!("{short}Z").as_bytes())
    } else {
        tlv(0x18, format!("{digits}Z").as_bytes())
    }
}

/// `[n]` around content, primitive.
pub(super) fn context(n: u8, content: &[u8]) -> Vec<u8> {
    tlv(0x80 | n, content)
}

/// `[n]` around content, constructed.
pub(super) fn context_constructed(n: u8, content: &[u8]) -> Vec<u8> {
    tlv(0xa0 | n, content)
}

const SEQUENCE: u8 = 0x30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_the_shortest_form() {
        assert_eq!(tlv(0x04, &[0; 127])[..2], [0x04, 0x7f]);
        assert_eq!(tlv(0x04, &[0; 128])[..3], [0x04, 0x81, 0x80]);
        assert_eq!(tlv(0x04, &[0; 256])[..4], [0x04, 0x82, 0x01, 0x00]);
    }

    #[test]
    fn integers_are_positive_and_short() {
        assert_eq!(unsigned(&[0x80]), [0x02, 2, 0, 0x80]);
        assert_eq!(unsigned(&[0, 0, 1]), [0x02, 1, 1]);
        assert_eq!(unsigned(&[0]), [0x02, 1, 0]);
        assert_eq!(unsigned(&[]), [0x02, 1, 0]);
    }

    #[test]
    fn identifiers_and_bits_are_those_of_the_standards() {
        // 1.2.840.113549.1.1.11, sha256WithRSAEncryption.
        assert_eq!(
            oid(&[1, 2, 840, 113_549, 1, 1, 11]),
            [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 0x0b]
        );
        // digitalSignature, keyCertSign, cRLSign.
        assert_eq!(named_bits(&[0, 5, 6]), [3, 2, 1, 0x86]);
        // decipherOnly alone is the ninth bit.
        assert_eq!(named_bits(&[8]), [3, 3, 7, 0, 0x80]);
    }

    #[test]
    fn times_change_their_form_in_2050() {
        let last = Timestamp::parse("2049-12-31T23:59:59Z").unwrap();
        assert_eq!(
            time(last),
            [&[0x17, 13], b"491231235959Z".as_slice()].concat()
        );
        let first = Timestamp::parse("2050-01-01T00:00:00Z").unwrap();
        assert_eq!(
            time(first),
            [&[0x18, 15], b"20500101000000Z".as_slice()].concat()
        );
    }
}
