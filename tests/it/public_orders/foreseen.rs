//! `renewd plan --at 2029-04-01` over fifty certificates that live for 200, 100 and 47 days now: which renewals come, and that
//! no certificate is missing on the way; and the same of public ones that live for 47 days.
#![expect(clippy::disallowed_methods, reason = "tests start processes directly")]

use std::collections::BTreeMap;
use std::process::Command;

use renewd::model::{Seconds, Timestamp};
use serde_json::Value;

use crate::clock::library;
use crate::support::agent::Run;
use crate::support::shop::{Host, Shop, issuer, purchase};

const AT: &str = "2029-04-01";

/// When renewal is due: by default, by another share, by days, and late.
const RULES: [&str; 4] = [
    "",
    "renew_at = \"1/2\"\n",
    "expired_days_since = 10\n",
    "renew_at = \"1/10\"\n",
];

/// The account's issuer, and one of private certificates.
fn issuers(shop: &Shop) -> String {
    let public = issuer(&shop.ccm.endpoint(), &purchase(50, 1));
    public + &shop.ccm.issuer("20s")
}

fn public(name: &str) -> String {
    format!("\n[certificate.{name}]\nissuer = \"public\"\nnames = [\"{name}.example.com\"]\n")
}

fn private(name: &str, days: u32) -> String {
    format!(
        "\n[certificate.{name}]\nissuer = \"corp\"\nnames = [\"{name}.corp.test\"]\nvalidity = \"{days}d\"\n"
    )
}

/// A process by the account's clock.
fn run(shop: &Shop, host: &Host, arguments: &[&str]) -> Run {
    let moment = shop.clock_now().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_renewd"))
        .arg("--config")
        .arg(host.dir().join("renewd.toml"))
        .args(arguments)
        .env_remove("FAILPOINTS")
        .env("LD_PRELOAD", library())
        .env("FAKETIME", moment.replace('T', " ").replace('Z', ""))
        .env("TZ", "UTC")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .output();
    Run::new(&output.unwrap())
}

fn moment(value: &Value) -> Timestamp {
    Timestamp::parse(value.as_str().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_certificates_are_foreseen_until_2029_without_a_gap() {
    // The last days of 200 days.
    let shop = Shop::at("2027-03-12").await;
    let mut text = issuers(&shop);
    for (number, rule) in RULES.iter().enumerate() {
        text.push_str(&(public(&format!("long{number:02}")) + rule));
    }
    let host = shop.host(&text);
    host.settle(&shop).await;
    shop.pass(Seconds::days(5)).await;
    for (number, rule) in RULES.iter().enumerate() {
        text.push_str(&(public(&format!("hundred{number:02}")) + rule));
    }
    for number in 0..21 {
        let rule = RULES[number % RULES.len()];
        text.push_str(&(private(&format!("short{number:02}"), 47) + rule));
        text.push_str(&(private(&format!("inner{number:02}"), 200) + rule));
    }
    host.write(&text);
    host.settle(&shop).await;
    let now = shop.clock_now();
    let until = Timestamp::parse(AT).unwrap();
    let run = run(&shop, &host, &["plan", "--at", AT, "--json"]).expect(0);
    let all = run.json();
    let all = all.as_array().unwrap();
    assert_eq!(all.len(), 50);
    let present = host.snapshot().await;
    let mut lengths: BTreeMap<i64, u32> = BTreeMap::new();
    let mut later: BTreeMap<i64, u32> = BTreeMap::new();
    for one in all {
        let name = one["name"].as_str().unwrap();
        let foreseen = &one["foreseen"];
        assert_eq!(foreseen["gaps"], serde_json::json!([]), "{one}");
        assert_eq!(moment(&foreseen["until"]), until, "{one}");
        let facts = &present.certificates[name].newest.as_ref().unwrap().facts;
        let mut end = facts.not_after;
        *lengths
            .entry((facts.lifetime().0 + 3600) / 86_400)
            .or_default() += 1;
        let renewals = foreseen["renewals"].as_array().unwrap();
        for renewal in renewals {
            let (at, ends) = (moment(&renewal["at"]), moment(&renewal["not_after"]));
            assert!(now <= at && at < end, "{name}: {renewal} after {end}");
            end = ends;
            *later.entry(at.until(ends).0 / 86_400).or_default() += 1;
            let proven = name.starts_with("long") || name.starts_with("hundred");
            assert_eq!(renewal["proof"].is_boolean(), proven, "{renewal}");
        }
        assert!(end > until, "{name}: a gap from {end}");
        assert!(!renewals.is_empty(), "{name}");
    }
    let expected = [(47, 21), (100, 4), (200, 25)].into();
    assert_eq!(lengths, expected, "as they are now");
    assert!(later.keys().eq(&[47, 100, 200]), "{later:?}");
    let text = self::run(&shop, &host, &["plan", "--at", AT])
        .expect(0)
        .stdout;
    let last = text.lines().last().unwrap();
    let sum: u32 = later.values().sum();
    assert_eq!(last, format!("no gap: 50 certificates, {sum} renewals"));
    // One that nobody can renew is told.
    let gone = text.lines().any(|line| line.contains("GAP"));
    assert!(!gone, "{text}");
    let follower = public("theirs") + "order = \"never\"\n";
    host.write(&(issuers(&shop) + &follower));
    let text = self::run(&shop, &host, &["plan", "--at", AT])
        .expect(0)
        .stdout;
    assert!(text.contains("theirs: GAP from "), "{text}");
    assert!(
        text.ends_with("1 of 1 certificate with a gap, 0 renewals\n"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn public_ones_of_47_days_are_foreseen_by_their_rules_and_each_proves_its_names_anew() {
    let shop = Shop::at("2029-03-20").await;
    let mut text = issuers(&shop);
    for number in 0..12 {
        let rule = RULES[number % RULES.len()];
        text.push_str(&(public(&format!("c{number:02}")) + rule));
    }
    let host = shop.host(&text);
    host.settle(&shop).await;
    let now = shop.clock_now();
    let until = Timestamp::parse("2030-01-01").unwrap();
    let run = run(&shop, &host, &["plan", "--at", "2030-01-01", "--json"]).expect(0);
    let all = run.json();
    let present = host.snapshot().await;
    for (number, one) in all.as_array().unwrap().iter().enumerate() {
        let name = one["name"].as_str().unwrap();
        let facts = &present.certificates[name].newest.as_ref().unwrap().facts;
        let days = (facts.lifetime().0 + 3600) / 86_400;
        assert_eq!(days, 47, "{name}");
        assert_eq!(one["foreseen"]["gaps"], serde_json::json!([]), "{one}");
        let mut end = facts.not_after;
        for renewal in one["foreseen"]["renewals"].as_array().unwrap() {
            let (at, ends) = (moment(&renewal["at"]), moment(&renewal["not_after"]));
            assert!(now <= at && at < end, "{name}: {renewal} after {end}");
            let left = at.until(end).0 as f64 / 86_400.0;
            // By the rule, or a twentieth of the lifetime earlier.
            let rule = [47.0 / 3.0, 23.5, 10.0, 4.7][number % RULES.len()];
            let latest = rule - 0.1;
            assert!((latest..rule + 2.5).contains(&left), "{name}: {left}");
            assert_eq!(at.until(ends), Seconds::days(47), "{renewal}");
            assert_eq!(renewal["proof"], true, "a proof holds for ten days");
            end = ends;
        }
        assert!(end > until, "{name}: a gap from {end}");
    }
    assert_eq!(all.as_array().unwrap().len(), 12);
}
