//! Keys, requests and single certificates against OpenSSL.

use renewd::model::KeyAlgorithm;
use renewd::pki::check::{self, Failure};
use renewd::pki::{Material, PrivateKey, csr};

use super::{Desk, NAMES, sample};
use crate::support::certs;

#[test]
fn facts_agree_with_openssl() {
    let (desk, sample) = (Desk::new(), sample(KeyAlgorithm::EcP384));
    desk.put("leaf.pem", sample.material.leaf_pem());
    let shown = desk.openssl(
        "x509 -in leaf.pem -noout -serial -fingerprint -sha256 -dates -dateopt iso_8601 -ext subjectAltName",
    );
    let facts = sample.material.facts().unwrap();
    let line = |start: &str| {
        let found = shown.lines().find_map(|line| line.strip_prefix(start));
        found
            .unwrap_or_else(|| panic!("{start} in {shown}"))
            .to_owned()
    };
    assert_eq!(line("serial=").to_lowercase(), facts.serial);
    let print = line("sha256 Fingerprint=").replace(':', "").to_lowercase();
    assert_eq!(print, facts.fingerprint.to_string());
    assert_eq!(
        line("notBefore=").replace(' ', "T"),
        facts.not_before.to_string()
    );
    assert_eq!(
        line("notAfter=").replace(' ', "T"),
        facts.not_after.to_string()
    );
    for name in [
        "DNS:www.example.com",
        "DNS:*.wild.example",
        "IP Address:192.0.2.7",
        "IP Address:2001:DB8:0:0:0:0:0:7",
        "URI:spiffe://corp/web",
        "email:ops@example.com",
    ] {
        assert!(shown.contains(name), "{name} in {shown}");
    }
    assert_eq!(facts.names.len(), 6);
}

#[test]
fn openssl_verifies_the_request_of_every_kind_of_key() {
    for algorithm in KeyAlgorithm::ALL {
        let desk = Desk::new();
        let mut order = certs::request(algorithm, NAMES);
        order.subject.country = Some("DE".to_owned());
        order.subject.organization = Some("Beispiel 有限公司".to_owned());
        let key = certs::key(algorithm);
        desk.put("request.pem", csr::build(&key, &order).unwrap());
        desk.put("key.pem", key.to_pem().expose());
        let shown = desk.openssl(
            "req -in request.pem -verify -noout -text -nameopt utf8,sep_comma_plus,esc_ctrl",
        );
        let rsa = matches!(
            algorithm,
            KeyAlgorithm::Rsa2048 | KeyAlgorithm::Rsa3072 | KeyAlgorithm::Rsa4096
        );
        let usage = if rsa {
            "Digital Signature, Key Encipherment\n"
        } else {
            "Digital Signature\n"
        };
        for part in [
            "self-signature verify OK",
            "C=DE,O=Beispiel 有限公司,CN=www.example.com",
            "DNS:www.example.com",
            "DNS:*.wild.example",
            "IP Address:192.0.2.7",
            "IP Address:2001:DB8:0:0:0:0:0:7",
            "URI:spiffe://corp/web",
            "email:ops@example.com",
            usage,
            "TLS Web Server Authentication\n",
        ] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
        assert_eq!(
            desk.openssl("req -in request.pem -noout -pubkey"),
            desk.openssl("pkey -in key.pem -pubout")
        );
    }
}

#[test]
fn keys_in_every_form_that_openssl_writes_are_read() {
    let desk = Desk::new();
    for (make, algorithm) in [
        (
            "genrsa -traditional -out key.pem 2048",
            KeyAlgorithm::Rsa2048,
        ),
        ("genrsa -out key.pem 2048", KeyAlgorithm::Rsa2048),
        (
            "ecparam -genkey -name prime256v1 -out key.pem",
            KeyAlgorithm::EcP256,
        ),
        (
            "ecparam -genkey -noout -name secp384r1 -out key.pem",
            KeyAlgorithm::EcP384,
        ),
        (
            "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out key.pem",
            KeyAlgorithm::EcP384,
        ),
    ] {
        desk.openssl(make);
        let key = PrivateKey::from_pem(&desk.read("key.pem")).unwrap();
        assert_eq!(key.algorithm(), algorithm, "{make}");
        // Our form is the one that OpenSSL itself writes.
        desk.openssl("pkcs8 -topk8 -nocrypt -in key.pem -out canonical.pem");
        assert_eq!(key.to_pem().expose(), desk.read("canonical.pem"), "{make}");
    }
}

#[test]
fn keys_that_servers_or_clients_cannot_use_are_refused_with_the_reason() {
    let desk = Desk::new();
    for (make, reason) in [
        (
            "genrsa -traditional -aes256 -passout env:TEST_PASSWORD -out key.pem 2048",
            "encrypted",
        ),
        (
            "genrsa -aes256 -passout env:TEST_PASSWORD -out key.pem 2048",
            "encrypted",
        ),
        ("genrsa -out key.pem 1024", "PKCS #8"),
        ("genrsa -out key.pem 2560", "2560 bit"),
        (
            "ecparam -genkey -name secp256k1 -out key.pem",
            "another curve",
        ),
        ("genpkey -algorithm ed25519 -out key.pem", "another kind"),
        (
            "genpkey -algorithm rsa-pss -pkeyopt rsa_keygen_bits:2048 -out key.pem",
            "another kind",
        ),
        ("dsaparam -genkey -out key.pem 1024", "another kind"),
    ] {
        desk.openssl(make);
        let error = PrivateKey::from_pem(&desk.read("key.pem")).err().unwrap();
        assert!(error.to_string().contains(reason), "{make}: {error}");
    }
}

#[test]
fn a_certificate_that_openssl_signed_with_sha1_is_unfit() {
    let desk = Desk::new();
    desk.openssl(
        "req -x509 -newkey rsa:2048 -nodes -subj /CN=Old -keyout ca.key -out ca.pem -days 9",
    );
    desk.openssl("req -newkey rsa:2048 -nodes -subj /CN=www.example.com -keyout key.pem -out request.pem -addext subjectAltName=DNS:www.example.com");
    for options in ["-sha1", "-sha1 -sigopt rsa_padding_mode:pss"] {
        desk.openssl(&format!(
            "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -days 5 -copy_extensions copyall -out leaf.pem {options}"
        ));
        let text = |name: &str| String::from_utf8(desk.read(name)).unwrap();
        let key = PrivateKey::from_pem(&desk.read("key.pem")).unwrap();
        let material = Material::from_pem(key, &text("leaf.pem"), &text("ca.pem")).unwrap();
        let now = material.facts().unwrap().not_before;
        let order = certs::request(KeyAlgorithm::Rsa2048, &["www.example.com"]);
        let unfit = check::issued(&material, &order, now).unwrap_err();
        let weak = |failure: &Failure| {
            matches!(
                failure,
                Failure::WeakSignature {
                    digest: "SHA-1",
                    ..
                }
            )
        };
        assert!(unfit.failures.iter().any(weak), "{options}: {unfit}");
    }
}
