//! Rollback, hold and release by hand, on a real nginx.

use std::time::Duration;

use renewd::ccm::Pca;
use renewd::model::{KeyAlgorithm, Seconds};
use renewd::sys::clock::{Clock, SystemClock};
use serde_json::Value;

use crate::cli::Plain;
use crate::support::ccm::Ccm;
use crate::support::certs::{self, Validity};
use crate::support::world::{NAME, World};

/// The revisions that orders brought, oldest first.
fn revisions(history: &Value) -> Vec<String> {
    let events = history[0]["events"].as_array().unwrap();
    let messages = events
        .iter()
        .map(|event| event["message"].as_str().unwrap());
    messages
        .filter_map(|text| text.strip_prefix("order fulfilled: revision "))
        .map(str::to_owned)
        .collect()
}

fn place(world: &World) -> Value {
    world.agent.status("www")["targets"][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_holds_until_it_is_released_or_something_newer_comes() {
    let world = World::live(Ccm::start().await).await;
    let first = world.served();
    world.agent.run(&["renew", "www"]).expect(0);
    let second = world.served();
    let reloads = world.reloads();

    world.agent.run(&["rollback", "www"]).expect(0).silent();
    assert_eq!(world.served(), first);
    assert_eq!(world.written(), first);
    assert_eq!(world.reloads(), reloads + 1);
    let status = world.agent.status("www");
    assert_eq!(
        (&status["verdict"], &status["reason"]),
        (&"blocked".into(), &"held".into())
    );
    assert_eq!(status["serial"], second, "the newest");
    assert_eq!(place(&world)["state"], "held");
    assert_eq!(place(&world)["serial"], first, "what is served");

    // It holds: nothing changes, and that is as it should be.
    world.agent.run(&["once"]).expect(0);
    assert_eq!(
        (world.served(), world.reloads()),
        (first.clone(), reloads + 1)
    );
    world
        .agent
        .run(&["rollback", "www", "--to", "0000000000000000"])
        .expect(65)
        .says("kept are");

    world.agent.run(&["release", "www"]).expect(0).silent();
    assert_eq!(world.served(), second);
    assert_eq!(world.agent.status("www")["verdict"], "healthy");
    world
        .agent
        .run(&["release", "www"])
        .expect(0)
        .says("www: nothing was held");

    // By name, and ended by a newer one.
    let history = world
        .agent
        .run(&["history", "www", "--json"])
        .expect(0)
        .json();
    let ids = revisions(&history);
    let to = &ids[ids.len() - 2];
    world.agent.run(&["rollback", "www", "--to", to]).expect(0);
    assert_eq!(world.served(), first);
    world.agent.run(&["renew", "www"]).expect(0).silent();
    let third = world.served();
    assert!(third != first && third != second);
    let status = world.agent.status("www");
    assert_eq!(
        (&status["verdict"], &status["serial"]),
        (&"healthy".into(), &third.into())
    );
    let text = world.agent.run(&["history", "www"]).expect(0).stdout;
    assert!(
        text.contains("a person asked for an earlier revision"),
        "{text}"
    );
    assert!(!text.contains('\x1b'), "{text}");
    assert_eq!(world.ccm.issued("www.example.test").await, ids.len() + 1);

    let newest = ids.len();
    let history = world
        .agent
        .run(&["history", "www", "--json"])
        .expect(0)
        .json();
    let newest = &revisions(&history)[newest];
    let run = world
        .agent
        .run(&["rollback", "www", "--to", newest])
        .expect(0);
    run.says("is live and the newest; nothing to do");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_that_fails_is_undone_and_forgotten_when_somebody_renews() {
    let world = World::live(Ccm::start().await).await;
    world.agent.run(&["renew", "www"]).expect(0);
    let second = world.served();
    world.write_reload(false);
    let failed = world.agent.run(&["rollback", "www"]);
    assert_eq!(failed.code, Some(65), "{}", failed.stderr);
    assert!(
        failed.stderr.contains("rolled back, because verify failed"),
        "{}",
        failed.stderr
    );
    assert_eq!(
        (world.served(), world.written()),
        (second.clone(), second.clone())
    );
    world.write_reload(true);
    world.agent.run(&["renew", "www"]).expect(0);
    let third = world.served();
    assert_ne!(third, second);
    assert_eq!(place(&world)["state"], "live");
    world.agent.run(&["once"]).expect(0);
    assert_eq!(world.served(), third, "nobody wants the old one any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_holds_the_newest_off_even_if_it_never_went_in() {
    let world = World::live(Ccm::start().await).await;
    let first = world.served();
    world.agent.run(&["renew", "www"]).expect(0);
    let second = world.served();
    world.nginx.break_configuration();
    let run = world.agent.run(&["renew", "www"]).expect(65);
    run.says("brokn")
        .says("no reload on the way back: the service refuses the old set as well")
        .silent();
    assert_eq!(world.served(), second);
    assert_eq!(place(&world)["state"], "behind");
    world.nginx.mend();
    let history = world
        .agent
        .run(&["history", "www", "--json"])
        .expect(0)
        .json();
    let ids = revisions(&history);
    let first_id = &ids[ids.len() - 3];
    world
        .agent
        .run(&["rollback", "www", "--to", first_id])
        .expect(0);
    assert_eq!(world.served(), first);
    world.agent.run(&["once"]).expect(0);
    assert_eq!(world.served(), first, "the newest is held off");
    assert_eq!(place(&world)["state"], "held");
    world.agent.run(&["release", "www"]).expect(0);
    assert_eq!(place(&world)["state"], "live");
    assert!(![first, second].contains(&world.served()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_hangs_ends_with_65_and_its_old_certificate() {
    let world = World::live(Ccm::start().await).await;
    let old = world.served();
    let quick = "command_timeout = \"1s\"\ntest = ";
    world
        .agent
        .write_policy(&world.policy().replace("test = ", quick));
    // It does its work and then never ends.
    let script = world.agent.path().join("reload");
    let text = std::fs::read_to_string(&script).unwrap();
    std::fs::write(&script, format!("{text}exec tail -f /dev/null\n")).unwrap();
    let run = world.agent.run(&["renew", "www"]).expect(65);
    run.says("took longer than 1s and was killed")
        .says("rolled back, because reload failed")
        .silent();
    assert_eq!((world.served(), world.written()), (old.clone(), old));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_kept_can_be_put_back_and_on_all_targets_or_none() {
    let plain = Plain::new().await;
    let agent = &plain.agent;
    agent
        .run(&["rollback", "www"])
        .expect(65)
        .says("nothing is live there yet");
    agent.run(&["once"]).expect(0);
    agent
        .run(&["rollback", "www"])
        .expect(65)
        .says("no revision before the live one is kept");
    for _ in 0..7 {
        agent.run(&["renew", "www"]).expect(0);
    }
    let history = agent.run(&["history", "www", "--json"]).expect(0).json();
    let ids = revisions(&history);
    assert_eq!(ids.len(), 8);
    let live = plain.serial();
    let run = agent.run(&["rollback", "www", "--to", &ids[0]]).expect(65);
    run.says("is not here (any more)").says(&ids[6]).silent();
    assert_eq!(plain.serial(), live);

    // A second target that has nothing yet.
    let policy = plain
        .policy()
        .replace("[\"store\"]", "[\"store\", \"other\"]")
        + "\n[target.files.other.export.layout.site]\nlayout = \"nginx\"\n";
    agent.write_policy(&policy);
    agent
        .run(&["rollback", "www"])
        .expect(65)
        .says("www on other: nothing is live");
    assert_eq!(plain.serial(), live, "nothing was changed on the first");
    agent.run(&["once"]).expect(0);
    assert_eq!(plain.serial(), live);
    agent.run(&["rollback", "www"]).expect(0);
    assert_ne!(plain.serial(), live);
    let states = agent.status("www")["targets"].clone();
    let states = states.as_array().unwrap();
    assert!(
        states.iter().all(|one| one["state"] == "held"),
        "{states:?}"
    );

    agent.write_policy(&plain.policy().replace("targets = [\"store\"]", ""));
    agent
        .run(&["rollback", "www"])
        .expect(64)
        .says("has no targets");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_needs_no_service_that_runs() {
    let mut world = World::live(Ccm::start().await).await;
    let first = world.served();
    world.nginx.stop();
    world
        .agent
        .run(&["renew", "www", "--wait", "0s"])
        .expect(75);
    let second = world.written();
    assert_ne!(second, first);
    let state = place(&world);
    assert!(state["state"] == "pending", "{state}");

    world.agent.run(&["rollback", "www"]).expect(75);
    assert_eq!(world.written(), first);
    world.nginx.start();
    assert_eq!(world.served(), first);
    world.agent.run(&["once", "--wait", "90s"]).expect(0);
    assert_eq!(place(&world)["state"], "held");
    world.agent.run(&["release", "www"]).expect(0);
    assert_eq!(world.served(), second);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_one_replaces_what_somebody_else_installed_only_by_force() {
    let world = World::live(Ccm::start().await).await;
    let ours = world.served();
    let (certificate, key) = world.loose();
    // Ours may begin in this very second; theirs is to be later.
    let live = SystemClock.now();
    while SystemClock.now() <= live {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let now = SystemClock.now();
    let (validity, name) = (Validity(now, now + Seconds::days(60)), NAME);
    let material = certs::sample(KeyAlgorithm::EcP256, &[name], validity).material;
    std::fs::write(&certificate, material.leaf_pem()).unwrap();
    std::fs::write(&key, material.key.to_pem().expose()).unwrap();
    let theirs = material.facts().unwrap().serial;

    world.agent.run(&["once"]).expect(65);
    assert_eq!(world.written(), theirs);
    let targets = world.agent.run(&["target", "list", "--json"]).expect(0);
    let web = &targets.json()[0];
    assert_eq!(web["state"], "drifted");
    assert_eq!(web["drift"][0]["code"], "newer-elsewhere");
    world
        .agent
        .run(&["release", "www"])
        .expect(65)
        .says("nothing was held");
    assert_eq!(world.written(), theirs);
    world.agent.run(&["release", "www", "--force"]).expect(0);
    assert_eq!((world.written(), world.served()), (ours.clone(), ours));
    assert_eq!(world.agent.status("www")["verdict"], "healthy");
    world
        .agent
        .run(&["release", "www", "--force"])
        .expect(0)
        .says("nothing was held");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_certificate_is_replaced_by_a_run_and_never_put_back() {
    let world = World::live(Ccm::start().await).await;
    let first = world.served();
    let history = world.agent.run(&["history", "www"]).expect(0).stdout;
    let (_, reference) = history.rsplit_once("CSR sent: ").unwrap();
    let reference = reference.lines().next().unwrap();
    let pca = Pca::new(world.ccm.client());
    pca.revoke_certificate(reference, None).await.unwrap();
    world
        .agent
        .run(&["once"])
        .expect(0)
        .says("was revoked by its issuer")
        .says("the issuer took it back");
    let second = world.served();
    assert_ne!(second, first);
    let refused = world.agent.run(&["rollback", "www"]).expect(65);
    refused.says("a revoked certificate is never put back");
    assert_eq!(world.served(), second);
}
