//! A daemon beside a person who edits the policy: it follows the files, and never undoes what a command did by newer ones.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::ccm::Ccm;
use crate::support::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_never_goes_on_by_a_policy_that_is_no_longer_on_disk() {
    let world = World::live(Ccm::start().await).await;
    let every_second = |policy: &str| {
        format!(
            "[job.check]\nschedule = \"* * * * * *\"\njitter = \"0s\"\nfloor = \"1s\"\n{policy}"
        )
    };
    let old = every_second(&world.policy());
    world.agent.write_policy(&old);
    let mut daemon = world
        .agent
        .command(&["run"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(daemon.stderr.take().unwrap()).lines();
    // Until then it may not have read the policy, and would begin with the new one.
    let started = lines.any(|line| line.unwrap().contains("started with a policy"));
    assert!(started, "the daemon did not start");

    let new = old.replace(
        r#"names = ["www.example.test"]"#,
        r#"names = ["www.example.test", "more.example.test"]"#,
    );
    assert_ne!(new, old);
    world.agent.write_policy(&new);
    // Whoever comes first orders the wider certificate; the other one finds it done.
    world.agent.run(&["once", "--wait", "30s"]).expect(0);
    let noticed = lines.any(|line| line.unwrap().contains("the policy's files changed"));
    assert!(noticed, "the daemon ended without noticing");
    let served = world.served();
    // A bad policy is refused, aloud, and changes nothing.
    world.agent.write_policy("nonsense = 1\n");
    let refused = lines.any(|line| line.unwrap().contains("the old one stays in force"));
    assert!(refused, "the daemon ended over a bad policy");
    world.agent.write_policy(&new);

    kill(
        Pid::from_raw(i32::try_from(daemon.id()).unwrap()),
        Signal::SIGTERM,
    )
    .unwrap();
    // Read to the end, so that the daemon never waits for a full pipe.
    lines.for_each(drop);
    assert!(daemon.wait().unwrap().success());
    assert_eq!(world.served(), served);
    let status = world.agent.status("www");
    assert_eq!(status["verdict"], "healthy", "{status}");
    assert_eq!(status["serial"], served);
    // The first one, and the wider one: nothing was ordered back and forth.
    assert_eq!(
        world.ccm.issued("www.example.test").await,
        2 + 1,
        "{status}"
    );
}
