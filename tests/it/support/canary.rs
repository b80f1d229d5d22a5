//! The writings in which a secret could be seen where it must not be.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};

/// Raw, in base64, in hexadecimal digits, and percent-encoded. Base64 in each of the three ways in which the secret may
/// lie in what was encoded with it.
pub(crate) fn writings(secret: &str) -> Vec<String> {
    assert!(secret.len() >= 12, "too short to be searched for");
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let percent: String = secret.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let mut found = vec![
        secret.to_owned(),
        STANDARD.encode(secret),
        URL_SAFE.encode(secret),
        hex.to_uppercase(),
        hex,
        percent,
    ];
    for before in 0..3_usize {
        let text = format!("{}{secret}", "\0".repeat(before));
        let coded = STANDARD_NO_PAD.encode(text);
        // Neither the characters that what lies before has a part in, nor those of what follows.
        let whole = &coded[(before * 4).div_ceil(3)..coded.len() - 2];
        found.push(whole.to_owned());
    }
    found
}

/// Fails where one of the secrets is in one of the places.
#[track_caller]
pub(crate) fn nowhere(secrets: &[(&str, &str)], places: &[(String, Vec<u8>)]) {
    for (place, bytes) in places {
        assert!(!bytes.is_empty(), "{place} is empty");
        for (name, secret) in secrets {
            for writing in writings(secret) {
                let found = bytes
                    .windows(writing.len())
                    .any(|window| window == writing.as_bytes());
                assert!(!found, "{name} is in {place}, as {writing}");
            }
        }
    }
}

#[test]
fn a_secret_is_found_in_every_writing() {
    let secret = "canary-of-a-secret";
    for text in [
        secret.to_owned(),
        STANDARD.encode(secret),
        STANDARD.encode(format!("\0user\0{secret}")),
        STANDARD.encode(format!("{{\"a\":\"{secret}\"}}")),
        STANDARD.encode(format!("ab{secret}cd")),
    ] {
        let found = writings(secret)
            .iter()
            .any(|writing| text.contains(writing));
        assert!(found, "{text}");
    }
}
