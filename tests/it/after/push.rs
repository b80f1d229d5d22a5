//! Certificates brought to ELB, WAF and CDN.

use renewd::ccm::Scm;
use renewd::ccm_server::NewResource;
use renewd::model::{KeyAlgorithm, Seconds};
use renewd::pki::{facts, pem};
use serde_json::{Value, json};

use super::{cloud, pushed, uploads};
use crate::cli::status::validate;
use crate::support::ccm::{Ccm, Wanted};
use crate::support::certs;
use crate::support::engine::{Rig, healthy};
use crate::support::shop::faults;
use crate::support::world::{NAME, World};

pub(crate) const REGION: &str = "ap-southeast-3";

pub(crate) async fn resource(ccm: &Ccm, service: &str, name: &str) -> String {
    let new = NewResource {
        account: "default".to_owned(),
        service: service.to_owned(),
        region: if service == "CDN" { "" } else { REGION }.to_owned(),
        name: name.to_owned(),
        kind: None,
        enterprise_project: "0".to_owned(),
    };
    let added = ccm.running.admin().add_resource(new).await.unwrap();
    added["id"].as_str().unwrap().to_owned()
}

/// Serial of what a resource serves.
pub(crate) async fn served(ccm: &Ccm, resource: &str) -> Option<String> {
    let served = ccm.running.admin().served(resource).await.unwrap()?;
    let leaf = pem::certificates(&served.certificate).unwrap().remove(0);
    Some(facts(&leaf).unwrap().serial)
}

fn place(name: &str, service: &str, resources: &[&str], import: bool) -> String {
    let region = match service {
        "CDN" => String::new(),
        _ => format!("region = \"{REGION}\"\n"),
    };
    format!(
        "\n[push.{name}]\naccount = \"cloud\"\nservice = \"{service}\"\n{region}resources = {resources:?}\nimport = {import}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_certificate_is_imported_once_deployed_to_each_listener_and_again_when_it_is_renewed()
 {
    let rig = Rig::live(Wanted::new().at("2027-04-01")).await;
    let ccm = &rig.world.ccm;
    let (front, back) = (
        resource(ccm, "ELB", "front").await,
        resource(ccm, "ELB", "back").await,
    );
    let text = pushed(&rig.world.policy(), &["list", "edge"])
        + &cloud(ccm)
        + &place("edge", "ELB", &[&front, &back], true)
        + &place("list", "WAF", &[], true);
    rig.world.agent.write_policy(&text);
    assert!(healthy(&rig.tick().await));
    let told = rig.told();
    let serial = rig.newest("www").await.facts.serial;
    for listener in [&front, &back] {
        assert_eq!(
            served(ccm, listener).await.as_ref(),
            Some(&serial),
            "{told:#?}"
        );
    }
    let there = uploads(ccm).await;
    assert_eq!(
        there.len(),
        1,
        "both places take the same upload: {told:#?}"
    );
    let tags = Scm::new(ccm.client())
        .list_tags(&there[0].id)
        .await
        .unwrap();
    let tag = |key: &str| {
        let found = tags.tags.iter().find(|tag| tag.key == key);
        found.and_then(|tag| tag.value.clone())
    };
    assert_eq!(tag("managed-by").as_deref(), Some("renewd"));
    assert_eq!(tag("renewd-certificate").as_deref(), Some("www"));
    // Once.
    assert!(healthy(&rig.tick().await));
    assert_eq!(rig.told(), Vec::<String>::new());

    rig.force("www").await;
    assert!(healthy(&rig.settle().await));
    rig.tick().await;
    let newer = rig.newest("www").await.facts.serial;
    assert_ne!(newer, serial);
    for listener in [&front, &back] {
        assert_eq!(
            served(ccm, listener).await.as_ref(),
            Some(&newer),
            "{:#?}",
            rig.told()
        );
    }
    let there = uploads(ccm).await;
    assert_eq!(there.len(), 2, "what was there before is left");
    let history = rig.history("www").await;
    assert!(
        history
            .iter()
            .any(|entry| entry.machine == "push" && entry.kind == "succeeded"),
        "{history:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_some_resources_refuse_is_told_by_name_and_tried_again_and_the_others_have_it() {
    let rig = Rig::live(Wanted::new().at("2027-04-01")).await;
    let ccm = &rig.world.ccm;
    let front = resource(ccm, "ELB", "front").await;
    let gone = "0123456789abcdef0123456789abcdef";
    let text = pushed(&rig.world.policy(), &["cdn", "edge"])
        + &cloud(ccm)
        + &place("edge", "ELB", &[&front, gone], true)
        + &place("cdn", "CDN", &[NAME], true);
    rig.world.agent.write_policy(&text);
    rig.tick().await;
    let serial = rig.newest("www").await.facts.serial;
    assert_eq!(served(ccm, &front).await.as_ref(), Some(&serial));
    let told = rig.told();
    for resource in [gone, NAME] {
        let named = told
            .iter()
            .any(|line| line.starts_with("alert warning: www: ") && line.ends_with(resource));
        assert!(named, "{resource}: {told:#?}");
    }
    // Not before its time.
    rig.tick().await;
    assert_eq!(rig.told(), Vec::<String>::new());
    let domain = resource(ccm, "CDN", NAME).await;
    rig.clock.advance(Seconds::hours(1));
    rig.tick().await;
    assert_eq!(served(ccm, &domain).await.as_ref(), Some(&serial));
    let told = rig.told();
    assert!(
        told.iter()
            .any(|line| line.starts_with("resolved: www: CDN")),
        "{told:#?}"
    );
    assert_eq!(uploads(ccm).await.len(), 1, "{told:#?}");
    // A person mends the policy.
    rig.world
        .agent
        .write_policy(&text.replace(&format!(", \"{gone}\""), ""));
    rig.tick().await;
    let told = rig.told();
    assert!(
        told.iter()
            .any(|line| line.starts_with("resolved: www: ELB")),
        "{told:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_a_person_deleted_is_brought_in_again_once_something_misses_it() {
    let rig = Rig::live(Wanted::new().at("2027-04-01")).await;
    let ccm = &rig.world.ccm;
    let text = pushed(&rig.world.policy(), &["edge", "far"])
        + &cloud(ccm)
        + &place("edge", "CDN", &[NAME], true)
        + &place("far", "CDN", &[NAME], true);
    rig.world.agent.write_policy(&text);
    rig.tick().await;
    let before = uploads(ccm).await;
    assert_eq!(before.len(), 1, "{:#?}", rig.told());
    Scm::new(ccm.client())
        .delete_certificate(&before[0].id)
        .await
        .unwrap();
    let domain = resource(ccm, "CDN", NAME).await;
    rig.clock.advance(Seconds::hours(1));
    assert!(healthy(&rig.settle().await), "{:#?}", rig.told());
    let serial = rig.newest("www").await.facts.serial;
    assert_eq!(served(ccm, &domain).await, Some(serial));
    let after = uploads(ccm).await;
    assert_eq!(
        after.len(),
        1,
        "both miss it, and it is brought in once: {:#?}",
        rig.told()
    );
    assert_ne!(after[0].id, before[0].id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_that_takes_nothing_holds_back_neither_the_others_nor_the_next_certificate() {
    let rig = Rig::live(Wanted::new().at("2027-04-01")).await;
    let ccm = &rig.world.ccm;
    let front = resource(ccm, "ELB", "front").await;
    let gone = "0123456789abcdef0123456789abcdef";
    let text = pushed(&rig.world.policy(), &["edge"])
        + &cloud(ccm)
        + &place("edge", "ELB", &[&front, gone], true);
    rig.world.agent.write_policy(&text);
    rig.tick().await;
    // It fails for hours, and is asked ever more rarely.
    for _ in 0..4 {
        rig.clock.advance(Seconds::hours(2));
        rig.tick().await;
    }
    let deploys = ccm.running.requests_of("4.1.6.3");
    rig.force("www").await;
    assert!(healthy(&rig.settle().await));
    rig.tick().await;
    let newest = rig.newest("www").await.facts.serial;
    assert_eq!(
        served(ccm, &front).await.as_ref(),
        Some(&newest),
        "{:#?}",
        rig.told()
    );
    // It, too, is asked about the new one at once, and then left alone again.
    assert_eq!(ccm.running.requests_of("4.1.6.3"), deploys + 1);
    rig.tick().await;
    assert_eq!(ccm.running.requests_of("4.1.6.3"), deploys + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_fails_as_a_whole_is_made_for_each_resource() {
    let rig = Rig::live(Wanted::new().at("2027-04-01").managed()).await;
    let ccm = &rig.world.ccm;
    let (front, back) = (
        resource(ccm, "ELB", "front").await,
        resource(ccm, "ELB", "back").await,
    );
    let gone = "0123456789abcdef0123456789abcdef";
    let text = pushed(&rig.world.policy(), &["edge"])
        + &cloud(ccm)
        + &place("edge", "ELB", &[&front, gone, &back], true);
    rig.world.agent.write_policy(&text);
    faults(ccm, "at=4.1.6.3:1:server-error,at=4.1.6.3:2:server-error").await;
    rig.tick().await;
    let told = rig.told();
    let serial = rig.newest("www").await.facts.serial;
    assert_eq!(
        served(ccm, &back).await.as_ref(),
        Some(&serial),
        "{told:#?}"
    );
    assert_eq!(
        served(ccm, &front).await,
        None,
        "its own request failed, too"
    );
    let alerts = || told.iter().filter(|line| line.starts_with("alert"));
    assert!(alerts().all(|line| !line.contains(&back)), "{told:#?}");
    assert!(alerts().any(|line| line.contains(gone)), "{told:#?}");
    rig.clock.advance(Seconds::minutes(2));
    rig.tick().await;
    assert_eq!(served(ccm, &front).await.as_ref(), Some(&serial));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_that_only_meets_errors_waits_alone_and_keeps_the_next_certificate_from_no_other()
 {
    let rig = Rig::live(Wanted::new().at("2027-04-01").managed()).await;
    let ccm = &rig.world.ccm;
    let mut all = Vec::new();
    for name in ["front", "back", "odd"] {
        all.push(resource(ccm, "ELB", name).await);
    }
    let names: Vec<&str> = all.iter().map(String::as_str).collect();
    let text =
        pushed(&rig.world.policy(), &["edge"]) + &cloud(ccm) + &place("edge", "ELB", &names, true);
    rig.world.agent.write_policy(&text);
    // The whole, and the last by itself; then the last alone, twice; then both again with the next certificate.
    let failing = [1, 4, 5, 6, 7, 10].map(|nth| format!("at=4.1.6.3:{nth}:server-error"));
    faults(ccm, &failing.join(",")).await;
    rig.tick().await;
    let deploys = || ccm.running.requests_of("4.1.6.3");
    let mut counted = vec![deploys()];
    for _ in 0..2 {
        rig.clock.advance(Seconds::hours(1));
        rig.tick().await;
        counted.push(deploys());
    }
    let told = rig.told();
    assert_eq!(counted, [4, 5, 6], "{told:#?}");
    let status = rig.world.agent.status("www");
    let edge = &status["pushes"][0];
    assert_eq!(edge["failures"], json!(0), "{edge}");
    let states = |edge: &Value| {
        let all = edge["resources"].as_array().unwrap().iter();
        let all = all.map(|one| (one["state"].clone(), one["failures"].clone()));
        all.collect::<Vec<(Value, Value)>>()
    };
    let used = (json!("in-use"), json!(0));
    let odd = (json!("failing"), json!(3));
    assert_eq!(states(edge), [used.clone(), used, odd], "{edge}");
    rig.force("www").await;
    assert!(healthy(&rig.settle().await));
    rig.tick().await;
    let newest = rig.newest("www").await.facts.serial;
    for one in &all[..2] {
        let told = rig.told();
        assert_eq!(served(ccm, one).await.as_ref(), Some(&newest), "{told:#?}");
    }
    assert_ne!(served(ccm, &all[2]).await, Some(newest.clone()));
    assert_eq!(deploys(), 10);
    rig.clock.advance(Seconds::days(1));
    rig.tick().await;
    assert_eq!(served(ccm, &all[2]).await, Some(newest));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_every_resource_answers_alike_is_of_the_place_and_the_next_certificate_does_not_wait()
{
    let rig = Rig::live(Wanted::new().at("2027-04-01").managed()).await;
    let ccm = &rig.world.ccm;
    let (front, back) = (
        resource(ccm, "ELB", "front").await,
        resource(ccm, "ELB", "back").await,
    );
    let text = pushed(&rig.world.policy(), &["edge"])
        + &cloud(ccm)
        + &place("edge", "ELB", &[&front, &back], true);
    rig.world.agent.write_policy(&text);
    let failing: Vec<String> = (1..=9)
        .map(|nth| format!("at=4.1.6.3:{nth}:server-error"))
        .collect();
    faults(ccm, &failing.join(",")).await;
    rig.tick().await;
    for _ in 0..2 {
        rig.clock.advance(Seconds::hours(1));
        rig.tick().await;
    }
    assert_eq!(ccm.running.requests_of("4.1.6.3"), 9);
    let told = rig.told();
    let whole = |line: &String| line.starts_with("alert warning: www: not brought to edge");
    assert!(told.iter().any(whole), "{told:#?}");
    let edge = &rig.world.agent.status("www")["pushes"][0];
    assert_eq!(edge["failures"], json!(3), "{edge}");
    rig.force("www").await;
    assert!(healthy(&rig.settle().await));
    rig.tick().await;
    let newest = rig.newest("www").await.facts.serial;
    for one in [&front, &back] {
        let told = rig.told();
        assert_eq!(served(ccm, one).await.as_ref(), Some(&newest), "{told:#?}");
    }
}

/// Uploads of others, which all end when ours does.
async fn crowd(rig: &Rig, count: usize) {
    let ours = rig.newest("www").await.facts;
    let validity = certs::Validity(ours.not_before, ours.not_after);
    let sample = certs::sample(KeyAlgorithm::EcP256, &["other.example.test"], validity);
    let key = sample.material.key.to_pem();
    for n in 0..count {
        let name = format!("other-{n}");
        let (leaf, chain) = (sample.material.leaf_pem(), sample.material.chain_pem());
        let key = key.expose_str().unwrap();
        let ccm = &rig.world.ccm;
        ccm.import_scm(&name, "UPLOAD", &leaf, &chain, key).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_with_a_lost_answer_is_found_behind_a_thousand_others_or_waited_for() {
    let rig = Rig::live(Wanted::new().at("2027-04-01").managed()).await;
    let ccm = &rig.world.ccm;
    let front = resource(ccm, "ELB", "front").await;
    let text = pushed(&rig.world.policy(), &["edge"])
        + &cloud(ccm)
        + &place("edge", "ELB", &[&front], true);
    // As many before it as after it: no order of a listing shows it among the first.
    crowd(&rig, 525).await;
    rig.clock.advance(Seconds::minutes(1));
    rig.world.agent.write_policy(&text);
    faults(ccm, "at=4.1.5.2:1:lost-response").await;
    rig.tick().await;
    assert_eq!(ccm.running.requests_of("4.1.5.2"), 1);
    assert_eq!(served(ccm, &front).await, None);
    rig.clock.advance(Seconds::minutes(1));
    crowd(&rig, 525).await;
    // What 4.1.5.1 shows of them is not all, and 4.1.2.1 says nothing: then nothing is known.
    let silent: Vec<String> = (1..=60)
        .map(|n| format!("at=4.1.2.1:{n}:server-error"))
        .collect();
    faults(ccm, &silent.join(",")).await;
    for _ in 0..3 {
        rig.clock.advance(Seconds::hours(1));
        rig.tick().await;
    }
    let told = rig.told();
    assert_eq!(ccm.running.requests_of("4.1.5.2"), 1, "{told:#?}");
    let waits = |line: &&String| {
        line.starts_with("alert warning: www: not brought to edge")
            && line.contains("is unknown: ")
            && line.contains(" of 1051 uploaded certificates")
    };
    assert!(told.iter().any(|line| waits(&line)), "{told:#?}");
    faults(ccm, "").await;
    rig.clock.advance(Seconds::hours(2));
    rig.tick().await;
    let serial = rig.newest("www").await.facts.serial;
    assert_eq!(
        served(ccm, &front).await.as_ref(),
        Some(&serial),
        "{:#?}",
        rig.told()
    );
    assert_eq!(ccm.running.requests_of("4.1.5.2"), 1);
    // That another one is not there is certain all the same.
    rig.force("www").await;
    assert!(healthy(&rig.settle().await));
    rig.tick().await;
    let newest = rig.newest("www").await.facts.serial;
    assert_eq!(
        served(ccm, &front).await.as_ref(),
        Some(&newest),
        "{:#?}",
        rig.told()
    );
    assert_eq!(ccm.running.requests_of("4.1.5.2"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn status_shows_each_place_and_each_resource() {
    let world = World::live(Ccm::start().await).await;
    let front = resource(&world.ccm, "ELB", "front").await;
    let gone = "0123456789abcdef0123456789abcdef";
    let text = pushed(&world.policy(), &["edge", "list"])
        + &cloud(&world.ccm)
        + &place("edge", "ELB", &[&front, gone], true)
        + &place("list", "CDN", &[], true);
    world.agent.write_policy(&text);
    let before = world.agent.status("www");
    assert_eq!(before["pushes"][0]["state"], "due");
    world.agent.run(&["once"]);
    let all = world.agent.run(&["status", "--json"]).expect(0).json();
    validate(&all);
    let pushes = &all["certificates"][0]["pushes"];
    let (edge, list) = (&pushes[0], &pushes[1]);
    assert_eq!(
        (&edge["name"], &edge["state"]),
        (&json!("edge"), &json!("failing"))
    );
    assert_eq!(
        (&list["name"], &list["state"]),
        (&json!("list"), &json!("in-use"))
    );
    assert_eq!(
        (&list["resources"], &list["message"]),
        (&json!([]), &json!(null))
    );
    let of = |name: &str| {
        let mut all = edge["resources"].as_array().unwrap().iter();
        all.find(|one| one["name"] == name).unwrap()
    };
    assert_eq!(of(&front)["state"], "in-use");
    assert_eq!(of(&front)["reference"], list["reference"]);
    assert_eq!(
        (&of(gone)["state"], &of(gone)["failures"]),
        (&json!("failing"), &json!(1))
    );
    for key in ["since", "message", "next_at"] {
        assert!(of(gone)[key].is_string(), "{key}: {edge}");
    }
    let text = world.agent.run(&["status"]).expect(0).stdout;
    let since = |value: &Value| value["since"].as_str().unwrap().to_owned();
    for line in [
        format!(
            "  pushed to edge (ELB {REGION}): failing since {}",
            since(edge)
        ),
        format!("    {front}: in use since {}", since(of(&front))),
        format!(
            "    {gone}: failing since {}, failed once: ",
            since(of(gone))
        ),
        format!("  pushed to list (CDN): in use since {}", since(list)),
    ] {
        assert!(text.contains(&line), "{line}\n{text}");
    }
    let check = world.agent.run(&["check"]).expect(1).stdout;
    assert!(
        check.contains(&format!("www at edge: not in use: {gone}: ")),
        "{check}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_the_account_is_pushed_as_it_is() {
    let rig = Rig::new(Wanted::new().at("2027-04-01")).await;
    let ccm = &rig.world.ccm;
    let now = rig.clock_now();
    let validity = certs::Validity(now - Seconds::days(1), now + Seconds::days(80));
    let sample = certs::sample(KeyAlgorithm::EcP256, &[NAME], validity);
    let key = sample.material.key.to_pem();
    let reference = ccm
        .import_scm(
            "bought",
            "ISSUED",
            &sample.material.leaf_pem(),
            &sample.material.chain_pem(),
            key.expose_str().unwrap(),
        )
        .await;
    let firewall = resource(ccm, "WAF", NAME).await;
    let waf = format!("cloud:{firewall}");
    let text = cloud(ccm)
        + &place("wall", "WAF", &[&waf], false)
        + &format!(
            "\n[certificate.www]\nissuer = \"cloud\"\norder = \"never\"\nnames = [\"{NAME}\"]\npush = [\"wall\"]\n"
        );
    rig.world.agent.write_policy(&text);
    rig.tick().await;
    let told = rig.told();
    assert_eq!(
        served(ccm, &firewall).await,
        Some(sample.material.facts().unwrap().serial),
        "{told:#?}"
    );
    assert_eq!(rig.reference("www").await, reference);
    assert!(uploads(ccm).await.is_empty(), "nothing is imported");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_boundary_of_a_push_leads_to_one_upload_and_the_newest_in_use() {
    let world = World::live(Ccm::start().await).await;
    let front = resource(&world.ccm, "ELB", "front").await;
    let text = pushed(&world.policy(), &["edge"])
        + &cloud(&world.ccm)
        + &place("edge", "ELB", &[&front], true);
    world.agent.write_policy(&text);
    world.agent.run(&["once"]).expect(0);
    for point in [
        "push.import.effect",
        "push.import.done",
        "push.deploy.effect",
        "push.done",
    ] {
        let before = uploads(&world.ccm).await.len();
        let killed = world
            .agent
            .run_with(&format!("{point}=return"), &["renew", "www"]);
        assert_eq!(killed.signal, Some(9), "{point} is not on the way");
        world.agent.run(&["once"]).expect(0);
        let serial = world.agent.status("www")["serial"].clone();
        assert_eq!(
            served(&world.ccm, &front).await.as_deref(),
            serial.as_str(),
            "{point}"
        );
        let there = uploads(&world.ccm).await;
        assert_eq!(there.len(), before + 1, "{point}");
        // What is not marked as ours is never deleted.
        let scm = Scm::new(world.ccm.client());
        for one in there {
            let tags = scm.list_tags(&one.id).await.unwrap().tags;
            let mut all = tags.iter().filter(|tag| tag.key == "managed-by");
            let ours = all.any(|tag| tag.value.as_deref() == Some("renewd"));
            assert!(ours, "{point}: {} of {tags:?}", one.id);
        }
    }
}
