//! The entry of the fuzz target on seeds and on damaged seeds, a bounded number of each (`make fuzz` goes on for longer).

use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::TestRng;
use renewd::ccm_server::fuzz::{Outcome, contents, request};
use renewd::model::Timestamp;
use serde_json::json;

use crate::ccm_server::http::{Peer, Send, date};

const KEY: &str = "the key of the seeds, 40 characters long";
const OTHER: &str = "another key that nobody has signed with.";

/// A server that is nowhere, at a time that stands still.
struct Nowhere;

impl Peer for Nowhere {
    fn endpoint(&self) -> String {
        "http://ccm.example".to_owned()
    }
    fn keys(&self) -> (String, String) {
        ("SEEDSEEDSEEDSEEDSEED".to_owned(), KEY.to_owned())
    }
    fn time(&self) -> Timestamp {
        Timestamp::parse("2027-01-01").unwrap()
    }
}

/// As it goes over the wire.
fn bytes(send: Send) -> Vec<u8> {
    let (access_key, secret_key) = Nowhere.keys();
    let send = send.signed(&Nowhere, &access_key, &secret_key, &date(&Nowhere));
    let mut text = format!("{} {} HTTP/1.1\n", send.method, send.target);
    for (name, value) in &send.headers {
        text.push_str(&format!("{name}: {value}\n"));
    }
    text.push('\n');
    let mut bytes = text.into_bytes();
    bytes.extend(send.body);
    bytes
}

macro_rules! pem {
    ($name:literal) => {
        include_str!(concat!("../../../fixtures/certs/fuzz-", $name, ".pem"))
    };
}

/// The inside of a PEM text.
fn der(text: &str) -> Vec<u8> {
    pem::parse(text).unwrap().into_contents()
}

/// With something that is no JSON behind it, on the only path that takes that.
fn raw(body: Vec<u8>) -> Send {
    let path = "/v2/0605767a5a0010f52f7ac01e4d3a4b2f/scm/cert/scs1554192131150/info/BL/upload_authentication";
    let mut send = Send::new("POST", path);
    send.body = body;
    send
}

fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let id = "a6bbf0be-79f3-4f66-858a-0fdcb96dfcbe";
    let csr = include_str!("../../../fixtures/certs/example.csr.pem");
    let list = "/v1/private-certificates?limit=10&name=a%20b&offset=0&status=ISSUED";
    let create = json!({
        "issuer_id": id, "key_algorithm": "EC256", "signature_algorithm": "SHA256",
        "distinguished_name": {"common_name": "www.example.com", "country": "CN"},
        "validity": {"type": "DAY", "value": 90},
        "subject_alternative_names": [{"type": "DNS", "value": "www.example.com"}],
        "extended_key_usage": {"server_auth": true},
    });
    let token = json!({"auth": {"identity": {"methods": ["password"], "password": {"user": {
        "name": "u", "password": "p", "domain": {"name": "d"},
    }}}}});
    let by_csr = json!({"issuer_id": id, "csr": csr, "validity": {"type": "DAY", "value": "9"}});
    let import = json!({"name": "own", "certificate": csr, "private_key": "x"});
    let export = format!("/v1/private-certificateAuthorities/{id}/export");
    let certificates = "/v3/scm/certificates";
    let whole = json!({"name": "own", "certificate": pem!("ec.cert"), "private_key": pem!("ec.key"),
        "certificate_chain": pem!("ec.cert"), "duplicate_check": true});
    let older = json!({"cert_name": "own", "cert": pem!("ec.cert"), "private_key": pem!("ec.key")});
    let sm2 = json!({"name": "own", "csr": pem!("sm2.csr"), "private_key": pem!("sm2.key")});
    let buy = json!({"cert_brand": "GEOTRUST", "cert_type": "DV_SSL_CERT", "domain_type": "MULTI_DOMAIN",
        "effective_time": 1, "domain_numbers": "2", "order_number": 1, "agree_privacy_protection": "true",
        "tags": [{"key": "a", "value": "b"}]});
    let filter = json!({"action": "filter", "limit": 10, "tags": [{"key": "a", "values": ["b"]}],
        "not_tags_any": [{"key": "c", "values": []}], "matches": [{"key": "resource_name", "value": "x"}]});
    let apply = json!({"domain": "a.example", "sans": "b.example;*.c.example", "domain_method": "DNS",
        "agree_privacy_protection": true, "applicant_name": "Tom", "applicant_phone": "13212345678",
        "applicant_email": "tom@example.com", "country": "CN", "key_algorithm": "EC_P256"});
    let authority = json!({"type": "ROOT", "key_algorithm": "EC256", "signature_algorithm": "SHA256",
        "distinguished_name": {"common_name": "r", "country": "CN", "state": "s", "locality": "l",
            "organization": "o", "organizational_unit": "u"},
        "validity": {"type": "YEAR", "value": 1},
        "crl_configuration": {"enabled": true, "crl_name": "n", "obs_bucket_name": "bucket", "valid_days": 8}});
    let deploy = json!({"service_name": "ELB", "project_name": "p", "resources": [{"id": "x", "type": "cloud",
        "enterprise_project_id": "0", "domain_name": "a.example"}]});
    let post = |target: &str, body: &serde_json::Value| Send::new("POST", target).json(body);
    let seed = |name, send| (name, bytes(send));
    vec![
        seed("list", Send::new("GET", list)),
        seed("create", post("/v1/private-certificates", &create)),
        seed("by-csr", post("/v1/private-certificates/csr", &by_csr)),
        seed("import", post("/v3/scm/certificates/import", &import)),
        seed("token", post("/v3/auth/tokens", &token)),
        seed("export", Send::new("POST", &export)),
        seed("import-whole", post("/v3/scm/certificates/import", &whole)),
        seed("upload-2", post("/v2/p/scm/cert/upload", &older)),
        seed("csr-sm2", post("/v3/scm/csr/upload", &sm2)),
        seed("buy", post("/v3/scm/certificates/buy", &buy)),
        seed("filter", post("/v3/scm/resource_instances/action", &filter)),
        seed(
            "apply",
            post(&format!("{certificates}/scs1554192131150/apply"), &apply),
        ),
        seed(
            "authority",
            post("/v1/private-certificate-authorities", &authority),
        ),
        seed(
            "deploy",
            post(&format!("{certificates}/scs1554192131150/deploy"), &deploy),
        ),
        seed("der-sm2-csr", raw(der(pem!("sm2.csr")))),
        seed("der-sm2-key", raw(der(pem!("sm2.key")))),
        seed("der-key", raw(der(pem!("ec.key")))),
        seed("der-certificate", raw(der(pem!("ec.cert")))),
        seed(
            "der-csr",
            raw(der(include_str!("../../../fixtures/certs/example.csr.pem"))),
        ),
    ]
}

#[test]
fn the_seeds_of_the_fuzzer_are_signed_requests_within_their_limits() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/request");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    for (name, bytes) in seeds() {
        assert_eq!(request(&bytes, KEY.as_bytes()), Outcome::Accepted, "{name}");
        assert_eq!(
            request(&bytes, OTHER.as_bytes()),
            Outcome::Unsigned,
            "{name}"
        );
        let file = directory.join(name);
        if update {
            std::fs::write(&file, &bytes).unwrap();
        }
        let kept = std::fs::read(&file).unwrap_or_default();
        assert!(kept == bytes, "{} is old: make man", file.display());
    }
}

#[test]
fn what_is_no_http_is_told_from_what_is() {
    for (text, wanted) in [
        (
            "GET /v1/private-certificates HTTP/1.1\nhost: x\n\n",
            Outcome::Unsigned,
        ),
        (
            "GET /v1/private-certificates HTTP/1.1\r\nhost: x\r\n\r\n",
            Outcome::Unsigned,
        ),
        (
            "GET /v1/private-certificates HTTP/3.0\nhost: x\n\n",
            Outcome::Malformed,
        ),
        (
            "GET /v1/private-certificates HTTP/1.1\nbad name: x\n\n",
            Outcome::Malformed,
        ),
        (
            "GET /v1/private certificates HTTP/1.1\nhost: x\n\n",
            Outcome::Malformed,
        ),
        ("", Outcome::Malformed),
    ] {
        assert_eq!(request(text.as_bytes(), KEY.as_bytes()), wanted, "{text:?}");
    }
}

#[test]
fn a_body_is_held_against_every_operation_that_could_take_it() {
    let of = |wanted: &str| {
        let (_, bytes) = seeds()
            .into_iter()
            .find(|(name, _)| *name == wanted)
            .unwrap();
        contents(&bytes).unwrap()
    };
    assert!(of("buy") >= 2, "version 3 and 2");
    assert!(of("upload-2") >= 1);
    assert_eq!(of("der-key"), 0);
}

/// One damage: bytes taken out, others put in their place.
fn damage(seed: &[u8], at: usize, out: usize, put: &[u8]) -> Vec<u8> {
    let at = at % (seed.len() + 1);
    let end = (at + out).min(seed.len());
    [&seed[..at], put, &seed[end..]].concat()
}

/// The method, and the body behind the first empty line.
fn signed_parts(bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let method = bytes.split(|byte| *byte == b' ').next().unwrap_or_default();
    let ends = [&b"\n\n"[..], b"\n\r\n"].map(|mark| {
        let at = bytes.windows(mark.len()).position(|part| part == mark);
        at.map_or(bytes.len(), |at| at + mark.len())
    });
    (method.to_vec(), bytes[ends[0].min(ends[1])..].to_vec())
}

#[test]
fn damaged_and_random_requests_end_in_a_refusal_and_no_signature_is_forged() {
    let config = ProptestConfig {
        cases: 4000,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let random = TestRng::deterministic_rng(config.rng_algorithm);
    let mut runner = proptest::test_runner::TestRunner::new_with_rng(config, random);
    let seeds = seeds();
    let damages = prop::collection::vec(
        (
            any::<usize>(),
            0_usize..40,
            prop::collection::vec(any::<u8>(), 0..6),
        ),
        1..5,
    );
    let cases = (0..seeds.len(), damages, any::<bool>());
    let done = runner.run(&cases, |(seed, damages, alone)| {
        let mut bytes = if alone {
            Vec::new()
        } else {
            seeds[seed].1.clone()
        };
        for (at, out, put) in &damages {
            bytes = damage(&bytes, *at, *out, put);
        }
        let other = request(&bytes, OTHER.as_bytes());
        prop_assert!(matches!(
            other,
            Outcome::Malformed | Outcome::Unknown | Outcome::Unsigned
        ));
        prop_assert!(contents(&bytes).is_ok(), "{:?}", contents(&bytes));
        let mine = request(&bytes, KEY.as_bytes());
        // Method and body are as they were signed, or the signature has fallen.
        if mine == Outcome::Accepted {
            prop_assert_eq!(signed_parts(&bytes), signed_parts(&seeds[seed].1));
        }
        Ok(())
    });
    done.unwrap();
}
