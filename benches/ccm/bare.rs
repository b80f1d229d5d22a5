//! What the machine can do at all: signatures, verifications, and writes that are on disk. A rate of certificates is held against them.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _,
    UnparsedPublicKey,
};

/// Signatures with EC P-256 and verifications of one, each by one thread and in a second.
pub(super) fn signing() -> (f64, f64) {
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("a key");
    let random = SystemRandom::new();
    // About as long as what is signed of a certificate.
    let message = [7; 600];
    let signature = key.sign(&random, &message).expect("a signature");
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key.public_key().as_ref());
    let signs = a_second(|| {
        key.sign(&random, &message).expect("a signature");
    });
    let verifies = a_second(|| {
        public
            .verify(&message, signature.as_ref())
            .expect("it fits");
    });
    (signs, verifies)
}

/// Appends of a page to a file in this directory, each on disk before the next begins, in a second.
pub(super) fn writes(dir: &Path) -> f64 {
    let mut file = File::create(dir.join("appended")).expect("a file");
    a_second(|| {
        file.write_all(&[7; 4096]).expect("it is written");
        file.sync_data().expect("it is on disk");
    })
}

fn a_second(mut work: impl FnMut()) -> f64 {
    let begin = Instant::now();
    let mut count = 0_u32;
    while begin.elapsed() < WATCHED {
        work();
        count += 1;
    }
    f64::from(count) / begin.elapsed().as_secs_f64()
}

const WATCHED: Duration = Duration::from_secs(2);
