//! Tests that need more than one file of this module: what was taken apart comes back, no bytes bring a reader down,
//! and secrets cannot be printed.

use std::fmt::{Debug, Display};

use p12_keystore::{KeyStore, KeyStoreEntry, Pkcs12ImportPolicy};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::model::{KeyAlgorithm, PfxProfile, Seconds, Timestamp};
use crate::pki::certs::{self, Sample, Validity};
use crate::pki::{Material, PkiError, PrivateKey, Secret, Signer, chain, facts, jks, pem, pfx};

/// 2026-12-01T00:00:00Z.
pub(super) const NOW: Timestamp = Timestamp(1_796_083_200);

/// All four kinds of name.
pub(super) const NAMES: &[&str] = &[
    "www.example.com",
    "*.wild.example",
    "192.0.2.7",
    "2001:db8::7",
    "spiffe://corp/web",
    "ops@example.com",
];

/// From yesterday, for a year.
pub(super) fn year() -> Validity {
    Validity(NOW - Seconds::days(1), NOW + Seconds::days(364))
}

/// Refuses to compile if a type has one of the traits: then both implementations fit, and `_` has two meanings.
macro_rules! has_none {
    ($type:ty: $($forbidden:path),+) => {$({
        trait OneMeaning<A> {
            fn call() {}
        }
        impl<T: ?Sized> OneMeaning<()> for T {}
        struct Other;
        impl<T: ?Sized + $forbidden> OneMeaning<Other> for T {}
        let _ = Other;
        <$type as OneMeaning<_>>::call();
    })+};
}

#[test]
fn secrets_can_be_neither_printed_nor_copied_nor_serialised() {
    macro_rules! silent {
        ($($type:ty),+) => {$(
            has_none!($type: Debug, Display, Clone, serde::Serialize);
        )+};
    }
    silent!(
        Secret,
        PrivateKey,
        Signer,
        Material,
        jks::Entry,
        crate::pki::bundle::BundleFile
    );
}

#[test]
fn errors_never_repeat_what_they_were_given() {
    let marker = "hunter2-marker";
    let errors = [
        PrivateKey::from_pem(
            format!("-----BEGIN PRIVATE KEY-----\n{marker}\n-----END PRIVATE KEY-----").as_bytes(),
        )
        .err(),
        PrivateKey::from_pem(marker.as_bytes()).err(),
        PrivateKey::from_pkcs8(marker.as_bytes()).err(),
        pfx::write(
            &sample().material,
            "a",
            PfxProfile::Modern,
            Some(&Secret::from(format!("{marker}é"))),
        )
        .err(),
        jks::write(
            &sample().material,
            "a",
            Some(&Secret::from(format!("{marker}\n"))),
        )
        .err(),
        jks::read(&[0; 64], &Secret::from(marker.to_owned())).err(),
    ];
    for error in errors {
        let error: PkiError = error.expect("refused");
        assert!(!format!("{error:?} {error}").contains(marker), "{error}");
    }
}

fn sample() -> Sample {
    certs::sample(KeyAlgorithm::EcP256, NAMES, year())
}

/// The parts of a PFX, by the library's reader.
fn open_pfx(bytes: &[u8], password: &str) -> Option<(String, Vec<u8>, Vec<Vec<u8>>)> {
    let store = KeyStore::from_pkcs12(bytes, password, Pkcs12ImportPolicy::Strict).ok()?;
    let (alias, entry) = store.entries().next()?;
    let KeyStoreEntry::PrivateKeyChain(entry) = entry else {
        return None;
    };
    let certificates = entry.certs().iter().map(|one| one.as_der().to_vec());
    Some((
        alias.clone(),
        entry.key().as_der().to_vec(),
        certificates.collect(),
    ))
}

fn some_key() -> impl Strategy<Value = KeyAlgorithm> {
    prop_oneof![
        Just(KeyAlgorithm::Rsa2048),
        Just(KeyAlgorithm::EcP256),
        Just(KeyAlgorithm::EcP384),
    ]
}

proptest! {
    // Each case makes certificates and derives keys by thousands of rounds.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn key_and_chain_survive_pem_pfx_and_jks(
        algorithm in some_key(),
        alias in "[a-z0-9äß密]{1,12}",
        password in "[ -~]{6,40}",
        order in Just([0usize, 1, 2]).prop_shuffle(),
        old in any::<bool>(),
        line_ends in prop_oneof![Just("\n"), Just("\r\n"), Just("")],
    ) {
        let Sample { material, .. } = certs::sample(algorithm, NAMES, year());
        let parts = [&material.leaf, &material.chain[0], &material.chain[1]];
        let shuffled: String = order.iter().map(|at| pem::certificate(parts[*at])).collect();
        let key = String::from_utf8(material.key.to_pem().expose().to_vec()).unwrap();

        let key = PrivateKey::from_pem(key.replace('\n', line_ends).as_bytes()).unwrap();
        prop_assert_eq!(key.pkcs8(), material.key.pkcs8());
        let read = Material::from_pem(key, &shuffled.replace('\n', line_ends), "").unwrap();
        prop_assert_eq!(&read.leaf, &material.leaf);
        prop_assert_eq!(&read.chain, &material.chain);

        let expected = vec![material.leaf.clone(), material.chain[0].clone()];
        let secret = Secret::from(password.clone());
        let profile = if old { PfxProfile::Windows2016 } else { PfxProfile::Modern };
        let file = pfx::write(&read, &alias, profile, Some(&secret)).unwrap();
        let (name, pkcs8, certificates) = open_pfx(file.expose(), &password).unwrap();
        prop_assert_eq!(&name, &alias);
        prop_assert_eq!(pkcs8.as_slice(), material.key.pkcs8());
        prop_assert_eq!(&certificates, &expected);
        let other = format!("{password}x");
        prop_assert!(open_pfx(file.expose(), &other).is_none());

        let file = jks::write(&read, &alias, Some(&secret)).unwrap();
        let again = jks::write(&read, &alias, Some(&secret)).unwrap();
        prop_assert_eq!(file.expose(), again.expose());
        let entries = jks::read(file.expose(), &secret).unwrap();
        prop_assert_eq!(entries.len(), 1);
        prop_assert_eq!(&entries[0].alias, &alias.to_lowercase());
        prop_assert_eq!(entries[0].pkcs8.expose(), material.key.pkcs8());
        prop_assert_eq!(&entries[0].certificates, &expected);
    }
}

/// Replaces, inserts and removes bytes.
fn mutate(bytes: &mut Vec<u8>, edits: &[(usize, u8, u8)]) {
    for (at, kind, value) in edits {
        let at = at % bytes.len().max(1);
        match kind % 4 {
            0 if at < bytes.len() => bytes[at] = *value,
            1 => bytes.insert(at.min(bytes.len()), *value),
            2 if at < bytes.len() => {
                bytes.remove(at);
            }
            3 if at < bytes.len() => bytes[at] ^= 1 << (value % 8),
            _ => {}
        }
    }
}

/// Everything that reads DER of a certificate.
fn read_certificate(der: &[u8], other: &[u8]) {
    let _ = facts(der);
    let _ = chain::link(der, other);
    let _ = chain::link(other, der);
    let _ = chain::verify(der, &[other.to_vec()], &[other.to_vec()], NOW);
    let _ = chain::sort(der, vec![other.to_vec(), der.to_vec()]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn random_bytes_bring_no_reader_down(bytes in vec(any::<u8>(), 0..400)) {
        read_certificate(&bytes, &bytes);
        let _ = PrivateKey::from_pkcs8(&bytes);
        let _ = PrivateKey::from_pem(&bytes);
        let text = String::from_utf8_lossy(&bytes);
        let _ = pem::certificates(&text);
        let wrapped = pem::certificate(&bytes);
        let key = certs::key(KeyAlgorithm::EcP256);
        prop_assert!(Material::from_pem(key, &wrapped, &text).is_err());
        prop_assert!(jks::read(&bytes, &Secret::from("changeit".to_owned())).is_err());
    }

    #[test]
    fn mutated_certificates_and_keys_bring_no_reader_down(
        edits in vec((any::<usize>(), any::<u8>(), any::<u8>()), 1..6),
    ) {
        let Sample { root, intermediate, material, .. } = sample();
        let mut der = material.leaf.clone();
        mutate(&mut der, &edits);
        read_certificate(&der, &intermediate.der);
        let broken = Material {
            key: certs::key(KeyAlgorithm::EcP256),
            leaf: material.leaf.clone(),
            chain: vec![der, root.der],
        };
        let order = certs::request(KeyAlgorithm::EcP256, NAMES);
        let _ = crate::pki::check::issued(&broken, &order, NOW);

        let mut pkcs8 = material.key.pkcs8().to_vec();
        mutate(&mut pkcs8, &edits);
        let _ = PrivateKey::from_pkcs8(&pkcs8);

        let mut text = pem::certificate(&material.leaf).into_bytes();
        mutate(&mut text, &edits);
        let _ = pem::certificates(&String::from_utf8_lossy(&text));
    }
}
