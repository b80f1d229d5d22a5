//! Passwords of keystores: made here, and checked against what readers of the two formats accept.

use crate::pki::{PkiError, Secret};

/// A new password of 28 characters with 140 bits of entropy. Lower-case letters and digits that cannot be mistaken for
/// one another: it goes unquoted into XML, shell and property files, and can be typed from paper.
///
/// `entropy` fills its argument with random bytes.
pub fn generate(entropy: &mut dyn FnMut(&mut [u8])) -> Secret {
    let mut bytes = zeroize::Zeroizing::new(vec![0; LENGTH]);
    entropy(&mut bytes);
    for byte in bytes.iter_mut() {
        // 32 symbols: five bits of each byte, without bias.
        *byte = ALPHABET[usize::from(*byte & 31)];
    }
    Secret::from(bytes)
}

/// The password as text, if every reader of PFX can use it.
///
/// # Errors
/// An empty one, or one that is not printable ASCII: Java then answers `Password is not ASCII`.
pub(super) fn for_pfx(password: Option<&Secret>) -> Result<&str, PkiError> {
    let text = text("PFX", password)?;
    if text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        Ok(text)
    } else {
        Err(refused(
            "PFX",
            "has characters beyond printable ASCII, which Java cannot read; choose another",
        ))
    }
}

/// The password as text, if keytool can use it.
///
/// # Errors
/// An empty one, one of fewer than six characters (keytool's minimum) or with control characters.
pub(super) fn for_jks(password: Option<&Secret>) -> Result<&str, PkiError> {
    let text = text("JKS", password)?;
    if text.chars().count() < 6 {
        Err(refused(
            "JKS",
            "has fewer than six characters, the minimum of keytool",
        ))
    } else if text.chars().any(char::is_control) {
        Err(refused("JKS", "has control characters, such as a line end"))
    } else {
        Ok(text)
    }
}

fn text<'a>(format: &'static str, password: Option<&'a Secret>) -> Result<&'a str, PkiError> {
    let Some(password) = password else {
        return Err(refused(format, "is missing"));
    };
    match password.expose_str() {
        Some("") => Err(refused(format, "is empty")),
        Some(text) => Ok(text),
        None => Err(refused(format, "is not UTF-8")),
    }
}

const fn refused(format: &'static str, problem: &'static str) -> PkiError {
    PkiError::Password { format, problem }
}

const LENGTH: usize = 28;
/// Letters and digits without `l`, `o`, `0` and `1`.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_password_uses_every_symbol_and_fits_both_formats() {
        let mut next = 0u8;
        let mut count = |bytes: &mut [u8]| {
            for byte in bytes {
                *byte = next;
                next = next.wrapping_add(1);
            }
        };
        let (one, two) = (generate(&mut count), generate(&mut count));
        assert_eq!(one.expose_str(), Some("abcdefghijkmnpqrstuvwxyz2345"));
        assert_ne!(one.expose(), two.expose());
        assert!(for_pfx(Some(&one)).is_ok());
        assert!(for_jks(Some(&two)).is_ok());
    }

    #[test]
    fn passwords_that_readers_refuse_are_refused_first() {
        let secret = |text: &str| Secret::from(text.to_owned());
        for bad in ["", "pässwörd", "密码密码密码", "line\nend", "tab\t"] {
            assert!(for_pfx(Some(&secret(bad))).is_err(), "{bad:?}");
        }
        assert!(for_pfx(Some(&secret(" ~"))).is_ok());
        for bad in ["", "short", "line\nend"] {
            assert!(for_jks(Some(&secret(bad))).is_err(), "{bad:?}");
        }
        assert!(for_jks(Some(&secret("密码密码密码"))).is_ok());
        assert!(for_pfx(None).is_err() && for_jks(None).is_err());
        assert!(for_pfx(Some(&Secret::new(vec![0xff]))).is_err());
        assert!(for_jks(Some(&Secret::new(vec![0xff; 6]))).is_err());
    }
}
