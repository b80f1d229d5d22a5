//! Records come into a real zone and go again.
#![expect(
    clippy::disallowed_methods,
    reason = "tests arrange files and processes directly"
)]

use std::sync::Arc;

use renewd::model::{ErrorClass, Timestamp, TsigAlgorithm, ValidationKind};
use renewd::sys::clock::{Clock as _, SystemClock};
use renewd::validation::Sighting;

use super::{record, validations, validations_with};
use crate::support::names::{KEY, Names, PRIMARY, Zone};

const PLACE: &str = "_dnsauth.example.test";

#[tokio::test]
async fn two_certificates_are_proven_at_one_name_and_each_takes_only_its_own_record_away() {
    let names = Names::start(&[Zone::new("example.test", "")], "", "");
    let (validations, policy) = (validations(), names.policy());
    let one = [record("example.test", PLACE, "one")];
    let two = [record("*.example.test", PLACE, "two")];
    for proofs in [&one, &two, &one] {
        validations.publish(&policy, proofs).await.unwrap();
        let seen = validations.examine(&policy, proofs, None).await.unwrap();
        assert_eq!(seen, Sighting::Everywhere);
    }
    let mut both: Vec<String> = at(&names);
    both.sort();
    assert_eq!(both, ["\"one\"", "\"two\""]);
    validations.retract(&policy, &one).await.unwrap();
    assert_eq!(at(&names), ["\"two\""]);
    validations.retract(&policy, &one).await.unwrap();
    validations.retract(&policy, &two).await.unwrap();
    assert_eq!(at(&names), Vec::<String>::new());
    let seen = validations.examine(&policy, &two, None).await.unwrap();
    let text = seen.to_string();
    assert!(matches!(seen, Sighting::NotYet(_)), "{text}");
    assert!(
        text.contains("not visible yet at ns1.example.test (127.0.0.1:"),
        "{text}"
    );
}

#[tokio::test]
async fn a_key_that_the_server_does_not_know_is_told_from_one_that_is_wrong_or_may_not() {
    let zones = [Zone::new("example.test", "")];
    let names = Names::start(&zones, "", "");
    let proofs = [record("example.test", PLACE, "one")];
    let mut policy = names.policy();

    let wrong = validations_with(
        Arc::new(SystemClock),
        "b3RoZXIgb3RoZXIgb3RoZXIgb3RoZXIgb3RoZXI=",
    );
    let error = wrong.publish(&policy, &proofs).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Authentication, "{error}");
    assert!(error.message.contains("BADSIG"), "{error}");

    let literal = validations_with(Arc::new(SystemClock), "no base64!");
    let error = literal.publish(&policy, &proofs).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Configuration, "{error}");
    assert!(!error.message.contains("no base64!"), "{error}");

    // The top level is served there too, and the key may not change it.
    let other = [record("test", "_dnsauth.test", "one")];
    let error = validations().publish(&policy, &other).await.unwrap_err();
    assert!(error.message.contains("REFUSED"), "{error}");
    assert_eq!(error.class, ErrorClass::Authentication);

    if let ValidationKind::Rfc2136 { key_name, .. } = &mut policy.kind {
        *key_name = "unknown-key".to_owned();
    }
    let error = validations().publish(&policy, &proofs).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Authentication, "{error}");
    assert!(error.message.contains("BADKEY"), "{error}");
    assert!(!error.message.contains(KEY), "{error}");
    assert_eq!(at(&names), Vec::<String>::new());
}

#[tokio::test]
async fn every_algorithm_is_understood_by_the_server() {
    let names = Names::start(&[Zone::new("example.test", "")], "", "");
    let validations = validations();
    for algorithm in TsigAlgorithm::ALL {
        let value = algorithm.as_str();
        let proofs = [record("example.test", PLACE, value)];
        let policy = names.policy_by(algorithm);
        validations.publish(&policy, &proofs).await.unwrap();
        assert_eq!(at(&names), [format!("\"{value}\"")]);
        validations.retract(&policy, &proofs).await.unwrap();
    }
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_named_as_the_reason() {
    let names = Names::start(&[Zone::new("example.test", "")], "", "");
    let late = Late(SystemClock.now().0 + 3600);
    let validations = validations_with(Arc::new(late), KEY);
    let proofs = [record("example.test", PLACE, "one")];
    let error = validations
        .publish(&names.policy(), &proofs)
        .await
        .unwrap_err();
    assert!(
        error.message.contains("clock differs from ours by -36"),
        "{error}"
    );
    assert_eq!(error.class, ErrorClass::Configuration);
}

#[tokio::test]
async fn a_record_whose_place_is_an_alias_is_published_where_that_leads() {
    // The one zone takes no updates, and points into the other by way of itself.
    let fixed = Zone::fixed(
        "fixed.test",
        "_dnsauth CNAME second\nsecond CNAME proof.example.test.",
    );
    let names = Names::start(&[fixed, Zone::new("example.test", "")], "", "");
    let (validations, mut policy) = (validations(), names.policy());
    let proofs = [record("fixed.test", "_dnsauth.fixed.test", "one")];
    let at = |name: &str| {
        names
            .dig(PRIMARY, &[name, "TXT"])
            .lines()
            .last()
            .map(str::to_owned)
    };
    for zone in [
        None,
        Some("example.test".to_owned()),
        Some("fixed.test".to_owned()),
    ] {
        if let ValidationKind::Rfc2136 { zone: at, .. } = &mut policy.kind {
            *at = zone;
        }
        validations.publish(&policy, &proofs).await.unwrap();
        assert_eq!(at("proof.example.test").as_deref(), Some("\"one\""));
        let seen = validations.examine(&policy, &proofs, None).await.unwrap();
        assert_eq!(seen, Sighting::Everywhere);
        validations.retract(&policy, &proofs).await.unwrap();
        assert_eq!(at("proof.example.test"), None);
    }
    let alias = names.dig(PRIMARY, &["_dnsauth.fixed.test", "CNAME"]);
    assert_eq!(alias, "second.fixed.test.\n", "the alias stays");
}

#[tokio::test]
async fn an_alias_to_what_cannot_be_changed_is_named_as_the_reason() {
    let zone = Zone::new(
        "example.test",
        "_dnsauth CNAME elsewhere.fixed.test.\na CNAME b\nb CNAME a",
    );
    let names = Names::start(&[zone, Zone::fixed("fixed.test", "")], "", "");
    let proofs = [record("example.test", PLACE, "one")];
    let error = validations()
        .publish(&names.policy(), &proofs)
        .await
        .unwrap_err();
    for part in [
        "the name is an alias (CNAME) of elsewhere.fixed.test, and that cannot be changed",
        "the server refuses the update of the zone fixed.test (REFUSED)",
    ] {
        assert!(error.message.contains(part), "{error}");
    }
    let proofs = [record("example.test", "a.example.test", "one")];
    let error = validations()
        .publish(&names.policy(), &proofs)
        .await
        .unwrap_err();
    assert!(error.message.contains("without end"), "{error}");
    assert_eq!(error.class, ErrorClass::Configuration);
}

#[tokio::test]
async fn a_server_that_is_away_is_tried_again_later() {
    let names = Names::start(&[Zone::new("example.test", "")], "", "");
    let mut policy = names.policy();
    if let ValidationKind::Rfc2136 { server, .. } = &mut policy.kind {
        *server = format!("127.0.0.77:{}", names.port);
    }
    let proofs = [record("example.test", PLACE, "one")];
    let error = validations().publish(&policy, &proofs).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Transient, "{error}");
    assert!(error.message.contains("adding the record"), "{error}");
}

#[tokio::test]
async fn an_alias_that_is_asked_for_is_published_as_one() {
    let names = Names::start(&[Zone::new("example.test", "")], "", "");
    let mut proof = record("www.example.test", "_abc.www.example.test", "x.ca.example");
    proof.record_type = "CNAME".to_owned();
    let (validations, policy, proofs) = (validations(), names.policy(), [proof]);
    validations.publish(&policy, &proofs).await.unwrap();
    let seen = validations.examine(&policy, &proofs, None).await.unwrap();
    assert_eq!(seen, Sighting::Everywhere);
    validations.retract(&policy, &proofs).await.unwrap();
    assert_eq!(names.dig(PRIMARY, &["_abc.www.example.test", "CNAME"]), "");
}

#[tokio::test]
async fn commands_publish_by_the_tools_of_the_name_server() {
    let names = Names::start(&[Zone::new("example.test", "")], "", "");
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("hook");
    std::fs::write(
        &script,
        format!(
            "#!/bin/sh\n[ \"$CERTBOT_VALIDATION\" = \"$RENEWD_RECORD_VALUE\" ] || exit 3\n/usr/bin/nsupdate -y hmac-sha256:renewd-hmac-sha256:{KEY} <<END\nserver {PRIMARY} {}\nupdate $1 $RENEWD_RECORD_NAME 60 $RENEWD_RECORD_TYPE \"$RENEWD_RECORD_VALUE\"\nsend\nEND\n",
            names.port
        ),
    )
    .unwrap();
    let argv = |word: &str| {
        let script = script.display().to_string();
        vec!["/bin/sh".to_owned(), script, word.to_owned()]
    };
    let policy = names.policy_of(ValidationKind::Command {
        auth: argv("add"),
        cleanup: Some(argv("delete")),
        timeout: renewd::model::Seconds(60),
        method: renewd::model::DomainMethod::Dns,
    });
    let validations = validations();
    let proofs = [
        record("example.test", PLACE, "one"),
        record("www.example.test", "_dnsauth.www.example.test", "two"),
    ];
    validations.publish(&policy, &proofs).await.unwrap();
    let seen = validations.examine(&policy, &proofs, None).await.unwrap();
    assert_eq!(seen, Sighting::Everywhere);
    validations.retract(&policy, &proofs).await.unwrap();
    assert_eq!(at(&names), Vec::<String>::new());

    let failing = names.policy_of(ValidationKind::Command {
        auth: ["/bin/sh", "-c", "echo the zone is locked; exit 7"]
            .map(str::to_owned)
            .into(),
        cleanup: None,
        timeout: renewd::model::Seconds(60),
        method: renewd::model::DomainMethod::Dns,
    });
    let error = validations.publish(&failing, &proofs).await.unwrap_err();
    assert!(
        error
            .message
            .contains("it ended with 7, and said: the zone is locked"),
        "{error}"
    );
    validations.retract(&failing, &proofs).await.unwrap();
}

/// As of a name that was proven here and moved elsewhere.
#[tokio::test]
async fn a_record_that_cannot_be_taken_away_keeps_none_of_the_others() {
    let names = Names::start(&[Zone::new("example.test", "")], "", "");
    let validations = validations();
    let kept = [record("example.test", PLACE, "one")];
    let both = [
        record("example.org", "_dnsauth.example.org", "two"),
        kept[0].clone(),
    ];
    let policy = names.policy();
    validations.publish(&policy, &kept).await.unwrap();
    let error = validations.retract(&policy, &both).await.unwrap_err();
    assert!(error.message.contains("example.org"), "{error}");
    assert_eq!(at(&names), Vec::<String>::new());

    let dir = tempfile::tempdir().unwrap();
    let cleanup = format!(
        "echo $CERTBOT_DOMAIN >> {}/called; [ $CERTBOT_DOMAIN = example.test ]",
        dir.path().display()
    );
    let argv = |text: &str| ["/bin/sh", "-c", text].map(str::to_owned).to_vec();
    let hooks = names.policy_of(ValidationKind::Command {
        auth: argv(&cleanup),
        cleanup: Some(argv(&cleanup)),
        timeout: renewd::model::Seconds(60),
        method: renewd::model::DomainMethod::Dns,
    });
    let called = || std::fs::read_to_string(dir.path().join("called")).unwrap();
    let error = validations.retract(&hooks, &both).await.unwrap_err();
    assert!(
        error.message.contains("for example.org: it ended with 1"),
        "{error}"
    );
    assert_eq!(called(), "example.org\nexample.test\n");
    // What cannot be published is not half published for longer than it takes to say so.
    validations.publish(&hooks, &both).await.unwrap_err();
    assert_eq!(called(), "example.org\nexample.test\nexample.org\n");
}

fn at(names: &Names) -> Vec<String> {
    let text = names.dig(PRIMARY, &[PLACE, "TXT"]);
    text.lines().map(str::to_owned).collect()
}

/// A clock that stands still at a moment.
struct Late(i64);

impl renewd::sys::clock::Clock for Late {
    fn now(&self) -> Timestamp {
        Timestamp(self.0)
    }

    fn sleep_until<'a>(
        &'a self,
        _: Timestamp,
    ) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(std::future::ready(()))
    }

    fn steady(&self) -> renewd::model::Seconds {
        renewd::model::Seconds(0)
    }
}
