//! Names of DNS: as text in lower case without the final dot, and as bytes.

/// Writes a name, uncompressed. `None` for one that is too long or has other characters than host names and `_` have.
pub(super) fn write(name: &str, out: &mut Vec<u8>) -> Option<()> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.len() > LONGEST {
        return None;
    }
    if !name.is_empty() {
        for label in name.split('.') {
            let plain = label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'*'));
            if label.is_empty() || label.len() > 63 || !plain {
                return None;
            }
            out.push(u8::try_from(label.len()).ok()?);
            out.extend(label.bytes().map(|byte| byte.to_ascii_lowercase()));
        }
    }
    out.push(0);
    Some(())
}

/// Reads a name that begins here, and says where what follows begins. Bytes that are in no host name are escaped, so that
/// such a name is never taken for another one.
pub(super) fn read(bytes: &[u8], start: usize) -> Option<(String, usize)> {
    let mut text = String::new();
    let mut at = start;
    let mut next = None;
    loop {
        let length = usize::from(*bytes.get(at)?);
        match length {
            0 => return Some((text, next.unwrap_or(at + 1))),
            1..=63 => {
                let label = bytes.get(at + 1..at + 1 + length)?;
                if !text.is_empty() {
                    text.push('.');
                }
                for byte in label {
                    match byte {
                        b'-' | b'_' | b'*' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                            text.push(char::from(byte.to_ascii_lowercase()));
                        }
                        _ => text.push_str(&format!("\\{byte:03}")),
                    }
                }
                if text.len() > 4 * LONGEST {
                    return None;
                }
                at += 1 + length;
            }
            0xC0..=0xFF => {
                let low = usize::from(*bytes.get(at + 1)?);
                let to = (length & 0x3F) << 8 | low;
                next.get_or_insert(at + 2);
                // Only backwards, so that it ends.
                if to >= at {
                    return None;
                }
                at = to;
            }
            _ => return None,
        }
    }
}

/// A name as it is compared: lower case, without the final dot.
pub(super) fn plain(name: &str) -> String {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.to_ascii_lowercase()
}

/// The name, the one above it, and so on down to the top level; not the root.
pub(super) fn upwards(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(name), |name| {
        name.split_once('.').map(|(_, above)| above)
    })
    .filter(|name| !name.is_empty())
}

/// Whether a name is this one or below it.
pub(super) fn is_within(name: &str, zone: &str) -> bool {
    zone.is_empty()
        || name == zone
        || name
            .strip_suffix(zone)
            .is_some_and(|rest| rest.ends_with('.'))
}

/// Characters.
const LONGEST: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_were_written() {
        for name in ["", "a", "_dnsauth.www.example.com"] {
            let mut bytes = Vec::new();
            write(name, &mut bytes).unwrap();
            assert_eq!(read(&bytes, 0), Some((name.to_owned(), bytes.len())));
        }
        let mut bytes = Vec::new();
        write("WWW.Example.com.", &mut bytes).unwrap();
        assert_eq!(read(&bytes, 0).unwrap().0, "www.example.com");
    }

    #[test]
    fn what_is_no_name_is_not_written() {
        let label = "a".repeat(64);
        let long = ["abcdefgh"; 40].join(".");
        for name in ["a..b", ".a", "a b", "ä", "a\\.b", &label, &long] {
            assert_eq!(write(name, &mut Vec::new()), None, "{name}");
        }
    }

    #[test]
    fn a_pointer_leads_back_only() {
        let bytes = [1, b'a', 0, 1, b'b', 0xC0, 0, 9];
        assert_eq!(read(&bytes, 3), Some(("b.a".to_owned(), 7)));
        assert_eq!(read(&[0xC0, 0], 0), None);
        assert_eq!(read(&[1, b'a', 0xC0, 0], 0), None, "round and round");
        assert_eq!(read(&[0xC0, 9], 0), None);
    }

    #[test]
    fn a_dot_within_a_label_is_no_dot() {
        assert_eq!(read(&[3, b'a', b'.', b'b', 0], 0).unwrap().0, "a\\046b");
    }

    #[test]
    fn upwards_ends_at_the_top_level() {
        let all: Vec<&str> = upwards("a.b.example").collect();
        assert_eq!(all, ["a.b.example", "b.example", "example"]);
        assert!(is_within("a.example", "example") && !is_within("anexample", "example"));
    }
}
