//! The journal on a disk that fails: nothing is done that it would not know of, it is told, and all goes on where it
//! stopped once the disk is back.

use std::os::unix::fs::PermissionsExt;

use renewd::engine::{EngineError, Patience, Scope};
use renewd::plan::Plan;
use renewd::sys::error_chain;

use crate::support::ccm::Wanted;
use crate::support::engine::{Rig, healthy};
use crate::support::tmpfs::Tmpfs;

const TARGETS: [&str; 2] = ["mail", "web"];

/// Two targets with one certificate each; every command that is run for a target is written down outside of the state
/// directory.
fn write_policy(rig: &Rig) {
    let mut policy = rig.world.issuer();
    for name in TARGETS {
        policy += &format!(
            r#"
[certificate.{name}]
issuer = "corp"
names = ["{name}.example.test"]
targets = ["{name}"]
validity = "30d"

[target.command.{name}]
test = ["{{dir}}/note", "{name}", "test"]
reload = ["{{dir}}/note", "{name}", "reload"]
probe = "none"

[target.command.{name}.hooks]
post = ["{{dir}}/note", "{name}", "post-hook"]

[target.command.{name}.export.pem.files]
fullchain = "fullchain.pem"
key = "key.pem"
"#
        );
    }
    rig.world.agent.write_policy(&policy);
    let dir = rig.world.agent.path();
    let note = dir.join("note");
    // The disk becomes full while `web` tests its configuration, if it is to.
    let body = format!(
        "#!/bin/sh\ncd {}\necho \"$1 $2\" >> ran\n[ \"$1 $2\" = 'web test' ] && [ -e fill ] || exit 0\nrm fill\nhead -c 64M /dev/zero > {}/ballast 2>&1\nexit 0\n",
        dir.display(),
        rig.world.agent.state().display()
    );
    std::fs::write(&note, body).unwrap();
    std::fs::set_permissions(&note, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn ran(rig: &Rig) -> Vec<String> {
    let text = std::fs::read_to_string(rig.world.agent.path().join("ran")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// As the daemon does: with a connection that is closed properly, so that the journal's log is no room in reserve.
async fn tick(rig: &Rig) -> Result<Plan, EngineError> {
    let engine = rig.engine().await;
    let done = async {
        let mut snapshot = engine.observe().await?;
        engine
            .converge(&mut snapshot, &Scope::All, Patience::NONE)
            .await
    };
    let done = done.await;
    engine.store.close().await.unwrap();
    done
}

async fn settle(rig: &Rig) {
    for _ in 0..50 {
        let plan = tick(rig).await.unwrap();
        if healthy(&plan) {
            return;
        }
        rig.wake(&plan);
    }
    panic!("{:#?}", rig.told());
}

/// Orders that were opened for it.
async fn orders(rig: &Rig, name: &str) -> usize {
    let history = rig.history(name).await;
    let opened = history
        .iter()
        .filter(|entry| entry.machine == "order" && entry.kind == "opened");
    opened.count()
}

/// Each command that was run is one whose intent the journal has.
async fn assert_known(rig: &Rig, what: &str) {
    for name in TARGETS {
        let history = rig.history(name).await;
        for step in ["test", "reload", "post-hook"] {
            let wanted = history.iter().filter(|entry| {
                entry.kind == "started"
                    && entry.target.as_deref() == Some(name)
                    && entry.step.as_deref() == Some(step)
            });
            let line = format!("{name} {step}");
            let ran = ran(rig).into_iter().filter(|ran| *ran == line);
            assert!(ran.count() <= wanted.count(), "{what}: {line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_directory_that_becomes_full_stops_rollouts_before_their_next_effect() {
    let rig = Rig::new(Wanted::new().at("2027-04-01")).await;
    let state = Tmpfs::mount(&rig.world.agent.state(), "8m");
    write_policy(&rig);
    settle(&rig).await;
    std::fs::remove_file(rig.world.agent.path().join("ran")).unwrap();

    std::fs::write(rig.world.agent.path().join("fill"), "").unwrap();
    for name in TARGETS {
        rig.force(name).await;
    }
    let error = tick(&rig).await.expect_err("the disk is full");
    let text = error_chain(&error);
    assert!(matches!(error, EngineError::Store(_)), "{text}");
    assert!(text.contains("journal") && text.contains("full"), "{text}");
    let stopped = ran(&rig);
    assert!(stopped.contains(&"web test".to_owned()), "{stopped:?}");
    assert!(!stopped.contains(&"web reload".to_owned()), "{stopped:?}");
    // Nothing more, however often it is tried.
    for _ in 0..2 {
        assert!(tick(&rig).await.is_err());
    }
    assert_eq!(ran(&rig), stopped);

    std::fs::remove_file(state.0.join("ballast")).unwrap();
    assert_known(&rig, "full").await;
    settle(&rig).await;
    for name in TARGETS {
        let all = ran(&rig);
        assert!(all.contains(&format!("{name} post-hook")), "{all:?}");
        assert_eq!(orders(&rig, name).await, 2);
    }
}

/// A disk that fails under each write of the journal in turn, and stays so for a while.
#[cfg(feature = "failpoints")]
#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_fails_at_any_write_loses_nothing_and_does_nothing_unknown() {
    let rig = Rig::new(Wanted::new().at("2027-04-01")).await;
    write_policy(&rig);
    settle(&rig).await;
    let mut renewed = 1;
    for point in ["journal.begin", "journal.commit"] {
        // Between two that are tried, an odd number: intents and outcomes take turns.
        for passes in (1..200).step_by(3) {
            let what = format!("{point} after {passes}");
            for name in TARGETS {
                rig.force(name).await;
            }
            renewed += 1;
            fail::cfg(point, &format!("{passes}*off->return")).unwrap();
            let failed = tick(&rig).await;
            let before = ran(&rig);
            let again = tick(&rig).await;
            fail::remove(point);
            if let Err(error) = failed {
                let text = error_chain(&error);
                assert!(text.contains("Input/output error"), "{what}: {text}");
                assert!(again.is_err(), "{what}");
                assert_eq!(ran(&rig), before, "{what}");
            }
            assert_known(&rig, &what).await;
            let whole = again.is_ok();
            settle(&rig).await;
            for name in TARGETS {
                assert_eq!(orders(&rig, name).await, renewed, "{what}");
            }
            if whole {
                break;
            }
            assert!(passes < 190, "it never ran to its end");
        }
    }
}
