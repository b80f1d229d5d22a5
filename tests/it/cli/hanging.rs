//! A file system that gives no answer, and a daemon that goes on.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::cli::Plain;
use crate::cli::daemon::Daemon;

/// `www` in one target, and `slow` in another whose place hangs once it is read again.
async fn two_targets() -> (Plain, PathBuf) {
    let plain = Plain::new().await;
    let slow = r#"
[certificate.slow]
issuer = "corp"
names = ["slow.example.test"]
targets = ["slow"]

[target.files.slow.export.pem.both]
fullchain = "{dir}/slow/b.pem"
key = "{dir}/slow/b.key"
"#;
    std::fs::create_dir(plain.agent.path().join("slow")).unwrap();
    plain
        .agent
        .write_policy(&format!("{}{slow}", plain.policy()));
    plain.agent.run(&["once"]).expect(0);
    let file = plain.agent.path().join("slow/b.pem");
    std::fs::write(&file, "touched").unwrap();
    (plain, file)
}

/// Whether the status says that the files of the target give no answer; one alert of it comes after two minutes.
fn is_silent(plain: &Plain) -> bool {
    let status = plain.agent.run(&["status"]).expect(0).stdout;
    status.contains("have given no answer since")
}

const HANGS: &str = "fs.read=return(HANG /slow/b.pem)";

#[tokio::test(flavor = "multi_thread")]
async fn a_file_system_that_hangs_keeps_nothing_back_but_its_own_target() {
    let (plain, file) = two_targets().await;
    let daemon = Daemon::start_with(&plain.agent, HANGS);
    daemon.tells("READY=1");
    let before = plain.serial();
    plain.agent.run(&["renew", "www"]).expect(0);
    assert_ne!(plain.serial(), before);
    assert!(is_silent(&plain));
    // What comes of it is not put where nobody answers.
    plain.agent.run(&["renew", "slow"]).expect(73);
    assert!(is_silent(&plain));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "touched");

    // The server is back. What is put there then has the name that hangs.
    std::fs::remove_file(&file).unwrap();
    let begun = Instant::now();
    while is_silent(&plain) {
        assert!(begun.elapsed() < MOST, "{}", daemon.log());
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_system_that_hangs_holds_up_no_stop() {
    let (plain, file) = two_targets().await;
    let daemon = Daemon::start_with(&plain.agent, HANGS);
    daemon.tells("READY=1");
    let begun = Instant::now();
    daemon.stop();
    assert!(begun.elapsed() < STOPS, "{:?}", begun.elapsed());
    // Nor that of a command, once it is known.
    let run = plain.agent.run_with(HANGS, &["once"]);
    assert_eq!(run.code, Some(73), "{}", run.stderr);
    assert!(is_silent(&plain));
    std::fs::write(&file, "touched again").unwrap();
    plain.agent.run(&["once"]).expect(0);
    assert!(!is_silent(&plain));
    assert!(!std::fs::read_to_string(&file).unwrap().contains("touched"));
}

/// It is looked at again each minute.
const MOST: Duration = Duration::from_secs(150);
/// Whoever waits for the answer takes ten seconds, or for ever.
const STOPS: Duration = Duration::from_secs(8);
