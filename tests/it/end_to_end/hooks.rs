//! Commands around a rollout: what they may stop, what they may not undo, and what they are told.

use renewd::model::Seconds;

use crate::support::agent::{Agent, Run};
use crate::support::ccm::{Ccm, Wanted};
use crate::support::engine::{Rig, healthy};
use crate::support::world::World;

/// The policy of a world with these lines about hooks; `{dir}` is the agent's directory.
fn hooked(world: &World, hooks: &str) -> String {
    format!("{}\n[target.nginx.web.hooks]\n{hooks}\n", world.policy())
}

fn shell(script: &str) -> String {
    format!("[\"/bin/sh\", \"-c\", {script:?}]")
}

fn lines(world: &World, file: &str) -> Vec<String> {
    let text = std::fs::read_to_string(world.agent.path().join(file)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[track_caller]
fn says(run: &Run, texts: &[&str]) {
    for text in texts {
        assert!(run.stderr.contains(text), "{text}\n{}", run.stderr);
    }
}

fn history(world: &World) -> String {
    world.agent.run(&["history", "www"]).expect(0).stdout
}

fn target(world: &World) -> serde_json::Value {
    let list = world.agent.run(&["target", "list", "--json"]);
    list.expect(0).json()[0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_pre_hook_stops_the_rollout_before_anything_is_in_place() {
    let world = World::live(Ccm::start().await).await;
    let (old, reloads) = (world.served(), world.reloads());
    let link = || std::fs::read_link(world.agent.live("web")).unwrap();
    let before = link();
    let pre = shell("echo not today; ls $RENEWD_GENERATION/www; exit 3");
    let failed = shell("env >>{dir}/told; exit 5");
    world.agent.write_policy(&hooked(
        &world,
        &format!("pre = {pre}\non_failure = {failed}\npost = [\"/bin/false\"]"),
    ));
    let run = world.agent.run(&["renew", "www"]).expect(65);
    says(&run, &["pre hook", "not today", "ALERT"]);
    assert_eq!((world.served(), world.written()), (old.clone(), old));
    assert_eq!((link(), world.reloads()), (before, reloads));

    let told = lines(&world, "told");
    for said in [
        "RENEWD_HOOK=on_failure",
        "RENEWD_OUTCOME=abandoned",
        "RENEWD_TARGET=web",
        "RENEWD_KIND=nginx",
        "RENEWD_CERTIFICATES=www",
        "RENEWD_NAMES=www.example.test",
    ] {
        assert!(told.iter().any(|line| line == said), "{said}: {told:?}");
    }
    let error = told.iter().find(|line| line.starts_with("RENEWD_ERROR="));
    assert!(
        error.unwrap().contains("pre-hook: the pre hook"),
        "{told:?}"
    );
    let history = history(&world);
    assert!(history.contains("      | not today\n"), "{history}");
    assert!(history.contains("      | server.crt\n"), "{history}");
    assert!(history.contains("the on_failure hook"), "{history}");
    // It failed, which changed nothing: the rollout is put away.
    assert_eq!(target(&world)["rollout"], serde_json::Value::Null);
    world.agent.write_policy(&world.policy());
    world.agent.run(&["once", "--wait", "60s"]).expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_rollback_the_on_failure_hook_is_run_once_with_the_old_set_in_place() {
    let world = World::live(Ccm::start().await).await;
    let old = world.served();
    let failed = shell(
        "echo run >>{dir}/runs; cat $RENEWD_LIVE/www/server.crt >{dir}/seen; env >{dir}/told; echo somebody was called",
    );
    let post = shell("echo run >>{dir}/post");
    world.agent.write_policy(&hooked(
        &world,
        &format!("on_failure = {failed}\npost = {post}"),
    ));
    // The changed policy has a rollout of its own.
    world.agent.run(&["once", "--wait", "0s"]).expect(0);
    assert_eq!(lines(&world, "post").len(), 1);
    world.write_reload(false);
    let run = world
        .agent
        .run(&["renew", "www", "--wait", "0s"])
        .expect(65);
    says(&run, &["rolled back, because verify failed", "ALERT"]);
    assert_eq!(
        (world.served(), world.written()),
        (old.clone(), old.clone())
    );
    assert_eq!(lines(&world, "runs"), ["run"]);
    assert_eq!(lines(&world, "post").len(), 1, "only for what is live");
    let seen = std::fs::read_to_string(world.agent.path().join("seen")).unwrap();
    let seen = renewd::pki::pem::certificates(&seen).unwrap();
    assert_eq!(renewd::pki::facts(&seen[0]).unwrap().serial, old);
    let told = lines(&world, "told");
    for said in [
        "RENEWD_HOOK=on_failure",
        "RENEWD_OUTCOME=rolled-back",
        "RENEWD_REASONS=not-deployed",
    ] {
        assert!(told.iter().any(|line| line == said), "{said}: {told:?}");
    }
    let error = told
        .iter()
        .find(|line| line.starts_with("RENEWD_ERROR=verify: "));
    assert!(error.is_some(), "{told:?}");
    let serial = told.iter().find(|line| line.starts_with("RENEWD_SERIALS="));
    assert!(
        !serial.unwrap().contains(&old),
        "of what was refused: {told:?}"
    );
    assert!(history(&world).contains("      | somebody was called\n"));
    assert_eq!(target(&world)["rollout"], serde_json::Value::Null);
    world.agent.run(&["once", "--wait", "0s"]).expect(65);
    assert_eq!(lines(&world, "runs"), ["run"], "it is not repeated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_hook_that_fails_twice_is_run_three_times_and_undoes_nothing() {
    let rig = Rig::live(Wanted::new().at("2027-04-01")).await;
    let world = &rig.world;
    let post = shell(
        "test -e {dir}/away || exit 0; echo run >>{dir}/runs; test $(wc -l <{dir}/runs) -ge 3",
    );
    world
        .agent
        .write_policy(&hooked(world, &format!("post = {post}")));
    // The changed policy has a rollout of its own.
    let plan = rig.tick().await;
    assert!(healthy(&plan), "{:?}", plan.verdicts);
    let (old, reloads) = (world.served(), world.reloads());
    std::fs::write(world.agent.path().join("away"), "").unwrap();
    rig.force("www").await;
    let runs = || lines(world, "runs").len();
    let mut plan = rig.tick().await;
    assert_eq!((runs(), healthy(&plan)), (1, false));
    let new = world.served();
    rig.tick().await;
    assert_eq!(runs(), 1, "not before its time");
    for run in 2..=3 {
        rig.clock.advance(Seconds::minutes(3));
        plan = rig.tick().await;
        assert_eq!(runs(), run, "{:?}", rig.told());
        assert_eq!(world.served(), new);
    }
    assert!(healthy(&plan), "{:?}", plan.verdicts);
    assert_ne!(new, old);
    assert_eq!(world.reloads(), reloads + 1, "nothing went back");
    rig.clock.advance(Seconds::hours(1));
    rig.tick().await;
    assert_eq!(runs(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_hook_that_never_passes_is_told_and_keeps_no_newer_certificate_away() {
    let world = World::live(Ccm::start().await).await;
    let old = world.served();
    let post = shell("echo nobody there; exit 4");
    let policy = hooked(&world, &format!("post = {post}"));
    world.agent.write_policy(&policy);
    let run = world.agent.run(&["renew", "www"]).expect(75);
    says(&run, &["post hook", "nobody there"]);
    let first = world.served();
    assert_ne!(first, old);
    world.agent.run(&["once", "--wait", "0s"]).expect(75);
    let shown = target(&world);
    assert_eq!(shown["state"], "post-hook", "{shown}");
    assert!(shown["proven_at"].is_string(), "{shown}");
    assert!(history(&world).contains("      | nobody there\n"));

    world.agent.run(&["renew", "www"]).expect(75);
    let second = world.served();
    assert!(![old, first].contains(&second));
    assert_eq!(world.written(), second);
    // Without the hook there is nothing left to do.
    world.agent.write_policy(&world.policy());
    world.agent.run(&["once", "--wait", "60s"]).expect(0);
    assert_eq!(target(&world)["state"], "live");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_while_a_post_hook_fails_is_found_told_and_put_right() {
    let rig = Rig::live(Wanted::new().at("2027-04-01")).await;
    let world = &rig.world;
    let post = shell("date >>{dir}/runs; exit 4");
    let policy = hooked(world, &format!("post = {post}"));
    world.agent.write_policy(&policy);
    rig.tick().await;
    let runs = || lines(world, "runs").len();
    let before = (runs(), world.served(), world.reloads());
    rig.told();

    // Files: put right by a rollout of its own, and the hook is run again, which fails as before.
    let (loose, _) = world.loose();
    let content = std::fs::read(&loose).unwrap();
    std::fs::write(&loose, "edited by hand\n").unwrap();
    rig.tick().await;
    let told = rig.told();
    assert_eq!(std::fs::read(&loose).unwrap(), content, "{told:#?}");
    assert_eq!(
        (runs(), world.served(), world.reloads()),
        (before.0 + 1, before.1.clone(), before.2 + 1),
        "{told:#?}"
    );
    for said in ["alert warning: web: ", "the target differs", "was changed"] {
        assert!(
            told.iter().any(|line| line.contains(said)),
            "{said}: {told:#?}"
        );
    }
    // Nothing differs, so nothing but the hook is repeated.
    rig.tick().await;
    assert_eq!(world.reloads(), before.2 + 1, "{:#?}", rig.told());

    // The wire: nginx serves the former certificate from files that are the new ones.
    rig.force("www").await;
    rig.tick().await;
    let (first, second) = (before.1, world.served());
    assert_ne!(first, second, "{:#?}", rig.told());
    let live = world.agent.live("web");
    let old = live.parent().unwrap().join("generations/1");
    world.nginx.edit(&live, &old);
    let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while world.served() != first {
        assert!(std::time::Instant::now() < end, "nginx was not told");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    world.nginx.mend();
    let reloads = world.reloads();
    rig.tick().await;
    let told = rig.told();
    assert_eq!(world.served(), second, "{told:#?}");
    assert_eq!(world.reloads(), reloads + 1, "{told:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_runs_as_its_user_in_its_directory_with_what_it_needs_to_know() {
    let world = World::live(Ccm::start().await).await;
    let post = shell("id -un; id -G; pwd; env");
    world.agent.write_policy(&hooked(
        &world,
        &format!("post = {post}\nuser = \"nobody\"\ndirectory = \"/usr/share\""),
    ));
    world.agent.run(&["renew", "www"]).expect(0);
    let history = history(&world);
    let serial = format!("RENEWD_SERIALS={}", world.served());
    let (certificate, _) = world.loose();
    for line in [
        "nobody",
        "65534",
        "/usr/share",
        "HOME=/nonexistent",
        "RENEWD_HOOK=post",
        "RENEWD_OUTCOME=live",
        "RENEWD_NAMES=www.example.test",
        "RENEWD_OMITTED=",
        &serial,
        &certificate.display().to_string(),
    ] {
        let line = format!("      | {line}\n");
        assert!(history.contains(&line), "{line}{history}");
    }
    assert!(!history.contains("CARGO"), "our own environment leaks");

    // What cannot be started undoes nothing either.
    world.agent.write_policy(&hooked(
        &world,
        "post = [\"/bin/true\"]\nuser = \"no-such-user\"",
    ));
    let run = world.agent.run(&["once", "--wait", "0s"]).expect(75);
    says(&run, &["there is no user \"no-such-user\""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_takes_too_long_is_ended_with_its_children() {
    let world = World::live(Ccm::start().await).await;
    let old = world.served();
    let pre = shell("tail -f /dev/null & echo $! >{dir}/child; wait");
    world
        .agent
        .write_policy(&hooked(&world, &format!("pre = {pre}\ntimeout = \"1s\"")));
    let run = world.agent.run(&["once", "--wait", "0s"]).expect(65);
    says(
        &run,
        &["took longer than 1s and was killed with its children"],
    );
    assert_eq!(world.served(), old);
    let child = lines(&world, "child").remove(0);
    let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().unwrap_or_default();
    assert!(state.is_empty() || state.starts_with('Z'), "{stat}");
}

#[test]
fn a_wrong_hook_is_refused_with_its_place() {
    let agent = Agent::new(concat!(
        "[target.files.box.export.layout.site]\nlayout = \"nginx\"\n",
        "[target.files.box.hooks]\npost = [\"announce\"]\npre = []\ntimeout = \"0s\"\n",
        "directory = \"here\"\nuser = \"a b\"\non_fail = [\"/bin/true\"]\n",
    ));
    let run = agent.run(&["validate"]).expect(78);
    for said in [
        "the program of `post` has no absolute path",
        "`pre` is empty",
        "`timeout`",
        "`directory`",
        "`user` is neither the name nor the number",
        "did you mean `on_failure`",
    ] {
        assert!(run.stderr.contains(said), "{said}\n{}", run.stderr);
    }
    assert!(run.stderr.contains("renewd.toml:5:9"), "{}", run.stderr);
}
