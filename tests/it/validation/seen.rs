//! What a CA would see is told apart: not everywhere yet, another value, a broken chain of signatures, a CAA record, no zone.

use renewd::model::{ErrorClass, ValidationKind, ValidationPolicy};
use renewd::validation::Sighting;

use super::{record, validations};
use crate::support::names::{Names, Signed, Zone, sign};

const PLACE: &str = "_dnsauth.example.test";

/// Of a record that somebody else publishes.
async fn look(names: &Names, place: &str, value: &str) -> Sighting {
    let policy = names.policy_of(ValidationKind::Automatic);
    let domain = place.trim_start_matches("_dnsauth.");
    let proofs = [record(domain, place, value)];
    let seen = validations()
        .examine(&policy, &proofs, Some("GEOTRUST"))
        .await;
    seen.unwrap()
}

#[tokio::test]
async fn a_server_that_was_not_told_yet_is_named() {
    let mut names = Names::start(&[Zone::new("example.test", "").on_both()], "", "");
    let validations = validations();
    let policy: ValidationPolicy = names.policy();
    let proofs = [record("example.test", PLACE, "one")];
    validations.publish(&policy, &proofs).await.unwrap();
    let seen = look(&names, PLACE, "one").await;
    let text = seen.to_string();
    assert!(
        matches!(&seen, Sighting::NotYet(gaps) if gaps.len() == 1),
        "{text}"
    );
    assert!(
        text.contains("not visible yet at ns2.example.test ([::1]:"),
        "{text}"
    );
    assert_eq!(seen.problem().unwrap().0, ErrorClass::Transient);

    names.notify("example.test");
    let mut seen = look(&names, PLACE, "one").await;
    for _ in 0..500 {
        if seen == Sighting::Everywhere {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        seen = look(&names, PLACE, "one").await;
    }
    assert_eq!(seen, Sighting::Everywhere);

    names.stop_secondary();
    let seen = look(&names, PLACE, "one").await;
    let text = seen.to_string();
    assert!(
        text.contains("ns2.example.test ([::1]:") && text.contains("cannot be asked"),
        "{text}"
    );
}

#[tokio::test]
async fn another_value_and_an_alias_are_seen_for_what_they_are() {
    let zone = Zone::new(
        "example.test",
        "_dnsauth TXT \"an old one\"\n_dnsauth.www CNAME proof.other.test.\n",
    );
    let other = Zone::new("other.test", "proof TXT \"far away\"\n");
    let names = Names::start(&[zone, other], "", "");
    let seen = look(&names, PLACE, "one").await;
    let text = seen.to_string();
    assert!(matches!(seen, Sighting::NotYet(_)), "{text}");
    assert!(
        text.contains("another value than the proof's: \"an old one\""),
        "{text}"
    );
    let seen = look(&names, "_dnsauth.www.example.test", "far away").await;
    assert_eq!(seen, Sighting::Everywhere);
}

#[tokio::test]
async fn a_record_among_too_many_for_a_datagram_is_seen() {
    let mut records: String = (0..40)
        .map(|number| format!("_dnsauth TXT \"{}{number}\"\n", "x".repeat(100)))
        .collect();
    records.push_str("_dnsauth TXT \"one\"\n");
    let names = Names::start(&[Zone::new("example.test", &records)], "", "");
    assert_eq!(look(&names, PLACE, "one").await, Sighting::Everywhere);
    let seen = look(&names, PLACE, "two").await;
    assert!(
        seen.to_string().contains("another value than the proof's"),
        "{seen}"
    );
}

#[tokio::test]
async fn a_domain_without_a_zone_is_told_from_one_whose_record_is_missing() {
    let names = Names::start(&[Zone::new("example.test", "")], "", "");
    let seen = look(&names, "_dnsauth.unregistered.test", "one").await;
    let text = seen.to_string();
    assert!(matches!(seen, Sighting::Hindered(_)), "{text}");
    assert!(text.contains("no zone holds it"), "{text}");
    let seen = look(&names, PLACE, "one").await;
    assert!(matches!(seen, Sighting::NotYet(_)), "{seen}");
}

#[tokio::test]
async fn a_caa_record_that_forbids_the_ca_is_told_with_the_record_that_is_missing() {
    let zone = Zone::new(
        "example.test",
        "@ CAA 0 issue \"letsencrypt.org\"\n_dnsauth TXT \"one\"\ngood CAA 0 issue \"digicert.com\"\n_dnsauth.a.good TXT \"one\"\n",
    );
    let names = Names::start(&[zone], "", "");
    let seen = look(&names, PLACE, "one").await;
    let (class, text) = seen.problem().unwrap();
    assert_eq!(class, ErrorClass::Configuration);
    assert!(text.contains("a CAA record forbids the CA"), "{text}");
    assert!(
        text.contains("example.test lets \"letsencrypt.org\" issue"),
        "{text}"
    );
    assert!(text.contains("CAA 0 issue \"digicert.com\""), "{text}");
    // The nearest record decides, also from above.
    let seen = look(&names, "_dnsauth.a.good.example.test", "one").await;
    assert_eq!(seen, Sighting::Everywhere);
}

#[tokio::test]
async fn a_broken_chain_of_signatures_is_told_from_a_record_that_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let text = |name: &str| Zone::new(name, "_dnsauth TXT \"the proof\"\n").text();
    let signed =
        |name: &str, arguments: &[&str]| sign(&dir.path().join(name), name, &text(name), arguments);
    let good = signed("good.test", &[]);
    let ended = signed(
        "ended.test",
        &["-s", "20200101000000", "-e", "20200201000000"],
    );
    let changed = signed("changed.test", &[]);
    let content = std::fs::read_to_string(&changed.file).unwrap();
    #[expect(clippy::disallowed_methods, reason = "tests arrange files directly")]
    std::fs::write(&changed.file, content.replace("the proof", "another one")).unwrap();
    // Signed by the word of the zone above, and not signed.
    let bare = signed("bare.test", &[]);
    let zones = [
        Zone::signed("good.test", &good.file),
        Zone::signed("ended.test", &ended.file),
        Zone::signed("changed.test", &changed.file),
        Zone::new("bare.test", "_dnsauth TXT \"the proof\"\n"),
    ];
    let all = [&good, &ended, &changed, &bare];
    let top: String = all.iter().map(|one| one.ds.as_str()).collect();
    let anchors =
        |all: &[&Signed]| -> String { all.iter().map(|one| one.anchor.as_str()).collect() };

    // A resolver that checks nothing: what can be seen without keys is seen.
    let names = Names::start(&zones, &top, "");
    let seen = look(&names, "_dnsauth.good.test", "the proof").await;
    assert_eq!(seen, Sighting::Everywhere);
    for (zone, why) in [
        ("ended.test", "signature ended 2020-02-01T00:00:00Z"),
        ("bare.test", "comes without a signature"),
    ] {
        let seen = look(&names, &format!("_dnsauth.{zone}"), "the proof").await;
        let (class, text) = seen.problem().unwrap();
        assert_eq!(class, ErrorClass::Configuration, "{text}");
        assert!(
            text.contains("the DNSSEC chain is broken") && text.contains(why),
            "{text}"
        );
    }
    drop(names);

    // One that checks refuses all that does not fit.
    let names = Names::start(&zones, &top, &anchors(&all));
    let seen = look(&names, "_dnsauth.good.test", "the proof").await;
    assert_eq!(seen, Sighting::Everywhere);
    let seen = look(&names, "_dnsauth.good.test", "something else").await;
    assert!(matches!(seen, Sighting::NotYet(_)), "{seen}");
    for (zone, value) in [
        ("changed.test", "another one"),
        ("ended.test", "the proof"),
        ("bare.test", "the proof"),
    ] {
        let seen = look(&names, &format!("_dnsauth.{zone}"), value).await;
        let (class, text) = seen.problem().unwrap();
        assert_eq!(class, ErrorClass::Configuration, "{zone}: {text}");
        assert!(
            text.contains("a validating resolver refuses"),
            "{zone}: {text}"
        );
    }
}
