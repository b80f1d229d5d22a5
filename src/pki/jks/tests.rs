//! The reader against malformed stores, and the writer's details that Java depends on.

use proptest::prelude::*;

use super::*;
use crate::model::KeyAlgorithm;
use crate::pki::certs;
use crate::pki::tests::{NAMES, year};

fn password() -> Secret {
    Secret::from("changeit".to_owned())
}

fn store(alias: &str) -> Vec<u8> {
    let material = certs::sample(KeyAlgorithm::EcP256, NAMES, year()).material;
    let store = write(&material, alias, Some(&password())).unwrap();
    store.expose().to_vec()
}

/// A store with this body and the right digest: what is wrong with it is found behind the first check.
fn sealed(mut body: Vec<u8>) -> Vec<u8> {
    let digest = store_digest(&utf16("changeit"), &body);
    body.extend_from_slice(digest.as_ref());
    body
}

fn body(store: &[u8]) -> Vec<u8> {
    store[..store.len() - DIGEST].to_vec()
}

fn problem(read: Result<Vec<Entry>, PkiError>) -> String {
    read.err().expect("refused").to_string()
}

#[test]
fn aliases_are_written_in_lower_case_and_modified_utf8() {
    for alias in ["Tomcat", "别名😀", "ÄÖ\u{0}ß", "ŝ\u{7ff}\u{800}\u{ffff}"] {
        let entries = read(&store(alias), &password()).unwrap();
        assert_eq!(entries[0].alias, alias.to_lowercase());
        assert_eq!(
            entries[0].created,
            crate::pki::tests::NOW - crate::model::Seconds::days(1)
        );
    }
    let mut text = Vec::new();
    put_text(&mut text, "\u{0}😀").unwrap();
    // U+1F600 is D83D DE00 in UTF-16.
    assert_eq!(text, [0, 8, 0xc0, 0x80, 0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80]);
}

#[test]
fn aliases_that_the_format_cannot_hold_are_refused() {
    let material = certs::sample(KeyAlgorithm::EcP256, NAMES, year()).material;
    let write = |alias: &str| write(&material, alias, Some(&password()));
    assert!(write("").is_err());
    assert!(write(&"a".repeat(65_535)).is_ok());
    assert!(write(&"a".repeat(65_536)).is_err());
}

#[test]
fn another_password_or_a_changed_byte_is_an_integrity_error() {
    let store = store("tomcat");
    let other = Secret::from("changeme".to_owned());
    assert!(problem(read(&store, &other)).contains("wrong password"));
    for at in [9, 40, store.len() - 1] {
        let mut changed = store.clone();
        changed[at] ^= 1;
        assert!(problem(read(&changed, &password())).contains("damaged"));
    }
}

#[test]
fn two_keys_under_one_password_never_share_a_key_stream() {
    let password = utf16("changeit");
    let salt = |pkcs8: &[u8]| sealed_key(&protect(pkcs8, &password)).unwrap()[..DIGEST].to_vec();
    assert_eq!(salt(b"one key"), salt(b"one key"));
    assert_ne!(salt(b"one key"), salt(b"another"));
}

#[test]
fn lengths_beyond_the_end_cost_nothing() {
    let good = body(&store("a"));
    // Count of entries, length of the key, count of certificates, length of the first certificate.
    let key = usize::try_from(u32::from_be_bytes(good[27..31].try_into().unwrap())).unwrap();
    for at in [8, 27, 31 + key, 31 + key + 11] {
        let mut bad = good.clone();
        bad[at..at + 4].copy_from_slice(&[0xff; 4]);
        assert!(problem(read(&sealed(bad), &password())).contains("ends too early"));
    }
}

#[test]
fn stores_that_are_something_else_are_told_apart() {
    let good = body(&store("a"));
    let changed = |at: usize, value: u8| {
        let mut bad = good.clone();
        bad[at] = value;
        problem(read(&sealed(bad), &password()))
    };
    assert!(changed(0, 0xce).contains("not a JKS"));
    assert!(changed(7, 1).contains("not version 2"));
    assert!(changed(15, 3).contains("unknown kind"));
    assert!(changed(18, 0xff).contains("modified UTF-8"));
    let mut longer = good.clone();
    longer.push(0);
    assert!(problem(read(&sealed(longer), &password())).contains("behind the last"));
    assert!(problem(read(&[], &password())).contains("ends too early"));
}

#[test]
fn trusted_certificates_are_passed_over() {
    let mut both = body(&store("a"));
    both[11] = 2;
    both.extend(TRUSTED_CERTIFICATE.to_be_bytes());
    put_text(&mut both, "root").unwrap();
    both.extend([0; 8]);
    put_text(&mut both, X509).unwrap();
    put_bytes(&mut both, b"der").unwrap();
    assert_eq!(read(&sealed(both), &password()).unwrap().len(), 1);
}

proptest! {
    #[test]
    fn any_body_with_the_right_digest_is_read_without_panic(
        body in proptest::collection::vec(any::<u8>(), 0..200),
        entries in 0u32..3,
    ) {
        let mut head = Vec::new();
        head.extend(MAGIC.to_be_bytes());
        head.extend(VERSION.to_be_bytes());
        head.extend(entries.to_be_bytes());
        head.extend(body);
        let _ = read(&sealed(head), &password());
    }

    #[test]
    fn mutated_stores_with_the_right_digest_are_read_without_panic(
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..5),
        cut in any::<proptest::sample::Index>(),
        shorten in any::<bool>(),
    ) {
        static STORE: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| body(&store("tomcat")));
        let mut bad = STORE.clone();
        for (at, value) in edits {
            let at = at.index(bad.len());
            bad[at] = value;
        }
        if shorten {
            bad.truncate(cut.index(bad.len()));
        }
        let _ = read(&sealed(bad), &password());
    }

    #[test]
    fn any_alias_survives(alias in "\\PC{1,40}") {
        let mut bytes = Vec::new();
        put_text(&mut bytes, &alias).unwrap();
        let read = Input(&bytes).text().unwrap();
        prop_assert_eq!(read, alias);
    }
}
