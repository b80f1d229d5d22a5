//! One test for each reason against a certificate.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyUsagePurpose, PublicKeyData, SignatureAlgorithm,
};

use super::*;
use crate::model::KeyReuse;
use crate::pki::certs::{self, Authority, Sample, Validity, key, leaf, request};
use crate::pki::der;
use crate::pki::tests::{NAMES, NOW, year};

fn sample() -> Sample {
    certs::sample(KeyAlgorithm::EcP256, NAMES, year())
}

fn order() -> OrderRequest {
    request(KeyAlgorithm::EcP256, NAMES)
}

/// What is said against the material, by `order` and at `NOW`.
fn against(material: &Material, order: &OrderRequest) -> Vec<Failure> {
    match issued(material, order, NOW) {
        Ok(_) => Vec::new(),
        Err(unfit) => unfit.failures,
    }
}

/// The sample with another leaf by the same issuer for the same key.
fn with_leaf(change: impl FnOnce(&mut CertificateParams)) -> Material {
    let Sample {
        intermediate,
        mut material,
        ..
    } = sample();
    let mut parameters = leaf(NAMES, year());
    change(&mut parameters);
    material.leaf = intermediate.sign(&material.key.signer().unwrap(), &parameters);
    material
}

#[test]
fn what_was_ordered_is_fit_for_every_kind_of_key() {
    for algorithm in KeyAlgorithm::ALL {
        let sample = certs::sample(algorithm, NAMES, year());
        let facts = issued(&sample.material, &request(algorithm, NAMES), NOW).unwrap();
        assert_eq!(facts.key_algorithm, Some(algorithm));
        assert!(facts.covers(&order().names));
    }
}

#[test]
fn a_certificate_for_another_key_is_named_with_both_digests() {
    let mut material = sample().material;
    let found = material.key.spki();
    material.key = key(KeyAlgorithm::EcP256);
    let ours = material.key.spki();
    assert_eq!(
        against(&material, &order()),
        [Failure::KeyMismatch { ours, found }]
    );
}

#[test]
fn another_kind_of_key_than_ordered_is_unfit_but_not_for_a_follower() {
    let mut order = request(KeyAlgorithm::EcP384, NAMES);
    let material = sample().material;
    let wrong = Failure::KeyAlgorithm {
        wanted: KeyAlgorithm::EcP384,
        found: Some(KeyAlgorithm::EcP256),
    };
    assert_eq!(against(&material, &order), [wrong]);
    order.source = Source::Follow;
    assert_eq!(against(&material, &order), []);
}

#[test]
fn names_that_are_missing_are_listed() {
    let mut order = request(
        KeyAlgorithm::EcP256,
        &[NAMES[0], "b.other.example", "10.9.9.9"],
    );
    order.key_reuse = KeyReuse::Reuse;
    let failures = against(&sample().material, &order);
    let [Failure::NamesMissing { missing, .. }] = failures.as_slice() else {
        panic!("{failures:?}");
    };
    assert_eq!(missing.to_string(), "b.other.example, 10.9.9.9");
}

#[test]
fn a_wildcard_covers_the_names_below_it() {
    let order = request(KeyAlgorithm::EcP256, &[NAMES[0], "any.wild.example"]);
    assert_eq!(against(&sample().material, &order), []);
}

#[test]
fn another_common_name_is_unfit_but_none_at_all_is_fine() {
    let other = with_leaf(|parameters| {
        parameters
            .distinguished_name
            .push(DnType::CommonName, "other.example");
    });
    let wrong = Failure::CommonName {
        wanted: NAMES[0].to_owned(),
        found: "other.example".to_owned(),
    };
    assert_eq!(against(&other, &order()), [wrong]);
    let follower = OrderRequest {
        source: Source::Follow,
        ..order()
    };
    assert_eq!(against(&other, &follower), []);
    let none = with_leaf(|parameters| parameters.distinguished_name = DistinguishedName::new());
    assert_eq!(against(&none, &order()), []);
}

#[test]
fn the_begin_of_validity_may_be_five_minutes_ahead_and_no_more() {
    let ahead = |length: Seconds| {
        let until = NOW + Seconds::days(90);
        certs::sample(KeyAlgorithm::EcP256, NAMES, Validity(NOW + length, until)).material
    };
    assert_eq!(against(&ahead(Seconds::minutes(5)), &order()), []);
    let failures = against(&ahead(Seconds(301)), &order());
    // Intermediate and leaf alike; the dates of a root do not count.
    assert_eq!(failures.len(), 2);
    let early = |failure: &Failure| matches!(failure, Failure::NotYetValid { .. });
    assert!(failures.iter().all(early), "{failures:?}");
}

#[test]
fn an_expired_leaf_is_unfit() {
    let last = with_leaf(|parameters| parameters.not_after = date(NOW));
    assert_eq!(against(&last, &order()), []);
    let past = with_leaf(|parameters| parameters.not_after = date(NOW - Seconds(1)));
    let expired = Failure::Expired {
        subject: NAMES[0].to_owned(),
        not_after: NOW - Seconds(1),
        now: NOW,
    };
    assert_eq!(against(&past, &order()), [expired]);
}

#[test]
fn an_expired_issuer_is_unfit() {
    let root = Authority::root("Root", KeyAlgorithm::EcP256, year());
    let past = Validity(NOW - Seconds::days(9), NOW - Seconds::days(1));
    let issuing = root.intermediate("Old Issuing", KeyAlgorithm::EcP256, past);
    let key = key(KeyAlgorithm::EcP256);
    let leaf = issuing.sign(&key.signer().unwrap(), &leaf(NAMES, year()));
    let chain = vec![issuing.der, root.der];
    let failures = against(&Material { key, leaf, chain }, &order());
    assert!(
        matches!(failures.as_slice(), [Failure::Expired { subject, .. }] if subject == "Old Issuing"),
        "{failures:?}"
    );
}

#[test]
fn an_expired_root_does_not_matter() {
    let past = Validity(NOW - Seconds::days(9), NOW - Seconds::days(1));
    let root = Authority::root("Old Root", KeyAlgorithm::EcP256, past);
    let issuing = root.intermediate("Issuing", KeyAlgorithm::EcP256, year());
    let key = key(KeyAlgorithm::EcP256);
    let leaf = issuing.sign(&key.signer().unwrap(), &leaf(NAMES, year()));
    let chain = vec![issuing.der, root.der];
    assert_eq!(against(&Material { key, leaf, chain }, &order()), []);
}

#[test]
fn a_certificate_by_another_ca_is_told_even_if_the_ca_has_the_same_name() {
    let Sample {
        root,
        intermediate,
        material,
    } = sample();
    assert!(issued_by(&material, &intermediate.der).is_ok());
    let twin = root.intermediate("Sample Issuing", KeyAlgorithm::EcP256, year());
    for other in [&root.der, &twin.der] {
        let failures = issued_by(&material, other).unwrap_err().failures;
        assert!(
            matches!(failures.as_slice(), [Failure::OtherIssuer { .. }]),
            "{failures:?}"
        );
    }
    let failures = issued_by(&material, b"none").unwrap_err().failures;
    assert!(matches!(failures.as_slice(), [Failure::Unreadable(_)]));
}

#[test]
fn a_validity_much_longer_than_asked_is_fine() {
    let long = with_leaf(|parameters| parameters.not_after = date(NOW + Seconds::days(36_500)));
    assert_eq!(against(&long, &order()), []);
}

#[test]
fn no_chain_is_unfit_except_for_a_follower_and_a_self_signed_leaf() {
    let mut material = sample().material;
    material.chain.clear();
    let issuer = "CN=Sample Issuing".to_owned();
    assert_eq!(
        against(&material, &order()),
        [Failure::ChainMissing { issuer }]
    );
    let follower = OrderRequest {
        source: Source::Follow,
        ..order()
    };
    assert_eq!(against(&material, &follower), []);

    let own = leaf(NAMES, year());
    material.leaf = own
        .self_signed(&material.key.signer().unwrap())
        .unwrap()
        .der()
        .to_vec();
    assert_eq!(against(&material, &order()), []);
}

#[test]
fn a_gap_in_the_chain_is_told_from_a_bad_signature() {
    let Sample {
        root, mut material, ..
    } = sample();
    material.chain = vec![root.der.clone()];
    let gap = Failure::ChainGap {
        subject: NAMES[0].to_owned(),
        issuer: "CN=Sample Issuing".to_owned(),
        next: "CN=Sample Root".to_owned(),
    };
    assert_eq!(against(&material, &order()), [gap]);

    let forged = root.intermediate("Sample Issuing", KeyAlgorithm::EcP256, year());
    material.chain = vec![forged.der, root.der];
    let bad = Failure::BadSignature {
        subject: NAMES[0].to_owned(),
        issuer: "Sample Issuing".to_owned(),
    };
    assert_eq!(against(&material, &order()), [bad]);
}

#[test]
fn a_changed_byte_in_an_intermediate_is_a_bad_signature() {
    let mut material = sample().material;
    let last = material.chain[0].len() - 1;
    material.chain[0][last] ^= 1;
    let failures = against(&material, &order());
    assert!(
        matches!(failures.as_slice(), [Failure::BadSignature { subject, .. }] if subject == "Sample Issuing"),
        "{failures:?}"
    );
}

#[test]
fn a_leaf_that_is_a_ca_is_unfit() {
    let ca = with_leaf(|parameters| parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    assert_eq!(against(&ca, &order()), [Failure::LeafIsCa]);
}

#[test]
fn a_leaf_for_other_uses_is_unfit_and_one_without_limits_is_fine() {
    let client = with_leaf(|parameters| {
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    let purpose = |extension, lacks| Failure::Purpose { extension, lacks };
    assert_eq!(
        against(&client, &order()),
        [purpose("extended key usage", "serverAuth")]
    );
    let agreement = with_leaf(|parameters| {
        parameters.key_usages = vec![KeyUsagePurpose::KeyEncipherment];
    });
    assert_eq!(
        against(&agreement, &order()),
        [purpose("key usage", "digitalSignature")]
    );
    let free = with_leaf(|parameters| {
        parameters.key_usages.clear();
        parameters.extended_key_usages.clear();
    });
    assert_eq!(against(&free, &order()), []);
}

#[test]
fn an_issuer_that_is_no_ca_is_unfit() {
    let root = Authority::root("Root", KeyAlgorithm::EcP256, year());
    let server = leaf(&["server.example"], year());
    let server = Authority::with(server, KeyAlgorithm::EcP256, Some(&root));
    let key = key(KeyAlgorithm::EcP256);
    let leaf = server.sign(&key.signer().unwrap(), &leaf(NAMES, year()));
    let chain = vec![server.der, root.der];
    let subject = "server.example".to_owned();
    assert_eq!(
        against(&Material { key, leaf, chain }, &order()),
        [Failure::IssuerIsNoCa { subject }]
    );
}

#[test]
fn a_path_longer_than_an_issuer_allows_is_unfit() {
    let root = Authority::root("Root", KeyAlgorithm::EcP256, year());
    let mut short = certs::authority("Short", year());
    short.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let short = Authority::with(short, KeyAlgorithm::EcP256, Some(&root));
    let below = short.intermediate("Below", KeyAlgorithm::EcP256, year());
    let key = key(KeyAlgorithm::EcP256);
    let leaf = below.sign(&key.signer().unwrap(), &leaf(NAMES, year()));
    let chain = vec![below.der, short.der, root.der];
    let failures = against(&Material { key, leaf, chain }, &order());
    assert!(
        matches!(failures.as_slice(), [Failure::Path(_)]),
        "{failures:?}"
    );
}

#[test]
fn a_weak_rsa_key_is_unfit() {
    struct Rsa1024(Vec<u8>);
    impl PublicKeyData for Rsa1024 {
        fn der_bytes(&self) -> &[u8] {
            &self.0
        }
        fn algorithm(&self) -> &'static SignatureAlgorithm {
            &rcgen::PKCS_RSA_SHA256
        }
    }
    let mut numbers = Vec::new();
    der::write(&mut numbers, der::INTEGER, &[&[0], &[0xc3; 128]]);
    der::write(&mut numbers, der::INTEGER, &[&[1, 0, 1]]);
    let mut weak = Vec::new();
    der::write(&mut weak, der::SEQUENCE, &[&numbers]);

    let Sample {
        intermediate,
        mut material,
        ..
    } = sample();
    material.leaf = intermediate.sign(&Rsa1024(weak), &leaf(NAMES, year()));
    let failures = against(&material, &order());
    let subject = NAMES[0].to_owned();
    assert!(failures.contains(&Failure::WeakKey {
        subject,
        bits: 1024
    }));
}

#[test]
fn a_signature_with_sha1_or_md5_is_unfit() {
    // The last byte of `sha256WithRSAEncryption` decides on the digest (RFC 8017 A.2.4).
    for (last, digest) in [(5, "SHA-1"), (4, "MD5")] {
        let root = Authority::root("Root", KeyAlgorithm::Rsa2048, year());
        let key = key(KeyAlgorithm::EcP256);
        let mut leaf = root.sign(&key.signer().unwrap(), &leaf(NAMES, year()));
        let good = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
        let found: Vec<usize> = (0..leaf.len() - good.len())
            .filter(|at| leaf[*at..].starts_with(&good))
            .collect();
        assert_eq!(found.len(), 2);
        for at in found {
            leaf[at + good.len() - 1] = last;
        }
        let chain = vec![root.der];
        let subject = NAMES[0].to_owned();
        assert_eq!(
            against(&Material { key, leaf, chain }, &order()),
            [Failure::WeakSignature { subject, digest }]
        );
    }
}

#[test]
fn every_reason_is_told_and_not_only_the_first() {
    let mut material = with_leaf(|parameters| {
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        parameters.not_after = date(NOW - Seconds::days(1));
    });
    material.key = key(KeyAlgorithm::EcP256);
    material.chain.pop();
    let text = issued(&material, &order(), NOW).unwrap_err().to_string();
    for part in ["another key", "expired at", "lacks serverAuth"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn what_is_no_certificate_is_unreadable() {
    let mut material = sample().material;
    material.leaf.truncate(100);
    let failures = against(&material, &order());
    assert!(matches!(failures.as_slice(), [Failure::Unreadable(_)]));
}

fn date(at: Timestamp) -> time::OffsetDateTime {
    time::OffsetDateTime::from_unix_timestamp(at.0).unwrap()
}
