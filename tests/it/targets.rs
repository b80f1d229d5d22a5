//! `renewd target list` and `renewd target test`, with a real nginx.

use serde_json::json;

use crate::support::ccm::Ccm;
use crate::support::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn targets_are_listed_with_resolved_values_and_present_state() {
    let mut world = World::new(Ccm::start().await).await;
    let list = |world: &World| {
        let list = world.agent.run(&["target", "list", "--json"]).expect(0);
        list.json()[0].clone()
    };
    let web = list(&world);
    assert_eq!(
        (
            &web["name"],
            &web["kind"],
            &web["state"],
            &web["certificates"]
        ),
        (
            &json!("web"),
            &json!("nginx"),
            &json!("empty"),
            &json!(["www"])
        )
    );
    assert_eq!(web["test"], json!(world.nginx.test()));
    assert_eq!(web["probe"]["connect"], json!(world.nginx.address()));
    assert_eq!(web["probe"]["wildcard_label"], "renewd-probe");
    let live = world.agent.live("web").join("{certificate}/server.crt");
    let files: Vec<&str> = web["exports"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|export| export["files"].as_array().unwrap())
        .map(|file| file.as_str().unwrap())
        .collect();
    assert!(files.contains(&live.to_str().unwrap()), "{files:?}");
    // Nobody runs: the first set waits for its service, and that is shown.
    world.agent.run(&["once", "--wait", "0s"]).expect(75);
    let web = list(&world);
    assert_eq!(web["state"], "pending", "{web}");
    assert!(
        web["detail"].as_str().unwrap().contains("nobody listens"),
        "{web}"
    );
    let text = world.agent.run(&["target", "list"]).expect(0).stdout;
    assert!(text.contains("web (nginx): pending"), "{text}");
    world.nginx.start();
    world.agent.run(&["renew", "www"]).expect(0);
    let web = list(&world);
    assert_eq!(web["state"], "live", "{web}");
    assert!(
        web["proven_at"].is_string() && web["live"]["www"].is_string(),
        "{web}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_is_tested_without_changing_anything() {
    let mut world = World::live(Ccm::start().await).await;
    let serial = world.served();
    let test = |world: &World, code| {
        world
            .agent
            .run(&["target", "test", "web"])
            .expect(code)
            .stdout
    };
    let said = test(&world, 0);
    assert_eq!(said.matches("ok ").count(), 4, "{said}");
    world.nginx.break_configuration();
    let said = test(&world, 78);
    assert!(
        said.contains("fail  test") && said.contains("brokn"),
        "{said}"
    );
    assert_eq!(said.matches("ok ").count(), 3, "{said}");
    world.nginx.mend();
    world.nginx.stop();
    let said = test(&world, 75);
    assert!(said.contains("fail  probe"), "{said}");
    world.nginx.start();
    assert_eq!(world.served(), serial);
    let unknown = world.agent.run(&["target", "test", "wbe"]).expect(64);
    assert!(
        unknown.stderr.contains("`renewd target list`"),
        "{}",
        unknown.stderr
    );
}
