//! What a proof leaves behind: what each handshake showed is kept and told, and what nobody looked at is called unproven.

#![expect(
    clippy::disallowed_methods,
    reason = "tests arrange files and processes directly"
)]

mod mail;
mod postgres;
mod roots;
mod service;

use serde_json::{Value, json};

use crate::support::agent::Agent;
use crate::support::ccm::Ccm;
use crate::support::world::{NAME, World};

/// The steps of this name that went well, oldest first.
fn succeeded(agent: &Agent, step: &str) -> Vec<Value> {
    let history = agent.run(&["history", "www", "--json"]).expect(0).json();
    let events = history[0]["events"].as_array().unwrap().iter();
    events
        .filter(|event| event["step"] == step && event["kind"] == "succeeded")
        .cloned()
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_keeps_what_each_handshake_showed_on_the_way_there_and_back() {
    let world = World::live(Ccm::start().await).await;
    let serial = world.served();
    let verified = succeeded(&world.agent, "verify");
    let probes = verified.last().unwrap()["probes"].as_array().unwrap();
    let probe = &probes[0];
    assert_eq!(probes.len(), 1, "{probes:?}");
    assert_eq!(
        (
            &probe["name"],
            &probe["address"],
            &probe["serial"],
            &probe["names"],
            &probe["chain"],
            &probe["protocol"]
        ),
        (
            &json!(NAME),
            &json!(world.nginx.address()),
            &json!(serial),
            &json!(NAME),
            &json!(2),
            &json!("TLSv1.3")
        )
    );
    assert!(probe["milliseconds"].is_u64(), "{probe}");
    assert_eq!(probe["not_after"], world.agent.status("www")["not_after"]);
    let text = world.agent.run(&["history", "www"]).expect(0).stdout;
    let line = format!(
        "\n      - {NAME} at {}: serial {serial}, names {NAME}, valid until ",
        world.nginx.address()
    );
    assert!(text.contains(&line), "{line}\n{text}");

    // A reload without effect: the set that is served again is proven as well.
    world.write_reload(false);
    world.agent.run(&["renew", "www"]).expect(65);
    let back = succeeded(&world.agent, "verify-back");
    assert_eq!(back.len(), 1, "{back:?}");
    assert_eq!(back[0]["probes"][0]["serial"], serial, "{back:?}");
    assert_eq!(back[0]["phase"], "undo-verified");
    assert_eq!(succeeded(&world.agent, "verify").len(), verified.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_looked_at_is_unproven_wherever_it_is_shown() {
    let world = World::live(Ccm::start().await).await;
    let connect = format!("connect = \"{}\"\ndeadline = \"3s\"", world.nginx.address());
    let policy = world.policy();
    assert!(policy.contains(&connect), "{policy}");
    let agent = &world.agent;
    agent.write_policy(&policy.replace(&connect, "probe = \"none\""));
    agent.run(&["once"]).expect(0);
    let verified = succeeded(agent, "verify");
    let last = verified.last().unwrap();
    assert_eq!(last["probes"], json!([]), "{last}");
    let message = "unproven: the policy says `probe = \"none\"`";
    assert_eq!(last["message"], message);
    let text = agent.run(&["history", "www"]).expect(0).stdout;
    assert!(text.contains(message), "{text}");

    let place = agent.status("www")["targets"][0].clone();
    assert_eq!(place["state"], "unproven", "{place}");
    assert_eq!(place["proven_at"], Value::Null, "{place}");
    let text = agent.run(&["status"]).expect(0).stdout;
    assert_eq!(text.matches("  on web: unproven, serial ").count(), 1);
    assert_eq!(text.matches("unproven").count(), 1, "{text}");
    let list = agent.run(&["target", "list", "--json"]).expect(0).json();
    assert_eq!(list[0]["state"], "unproven", "{list}");
    assert_eq!(list[0]["probe"], json!({ "kind": "none" }), "{list}");
    let text = agent.run(&["target", "list"]).expect(0).stdout;
    assert!(text.contains("web (nginx): unproven"), "{text}");
    // Once somebody looks again it is proven again.
    agent.write_policy(&policy);
    agent.run(&["once"]).expect(0);
    assert_eq!(agent.status("www")["targets"][0]["state"], "live");
}
