//! No order without room for what it brings: real small file systems, which need root.

use std::fs::OpenOptions;
use std::path::Path;

use crate::cli::Plain;
use crate::support::tmpfs::Tmpfs;

/// Leaves so many KiB of a file system free.
fn leave(disk: &Tmpfs, kib: u64) -> std::path::PathBuf {
    let ballast = disk.fill();
    let file = OpenOptions::new().write(true).open(&ballast).unwrap();
    let length = file.metadata().unwrap().len();
    file.set_len(length - kib * 1024).unwrap();
    ballast
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_ordered_while_the_state_directory_is_almost_full() {
    let plain = Plain::new().await;
    let agent = &plain.agent;
    let state = Tmpfs::mount(&agent.state(), "8m");
    agent.run(&["once"]).expect(0);
    let serial = plain.serial();
    // The journal can be written, what an order brings cannot.
    let ballast = leave(&state, 300);
    let path = state.0.display().to_string();
    for command in [&["renew", "www"][..], &["once"]] {
        agent
            .run(command)
            .expect(73)
            .says(&path)
            .says("KiB are needed");
    }
    let status = agent.status("www");
    assert_eq!(status["verdict"], "wait", "{status}");
    assert_eq!(status["reason"], "no-space", "{status}");
    assert_eq!(
        plain.ccm.issued("www.example.test").await,
        1,
        "paid for nothing"
    );
    assert_eq!(plain.serial(), serial);
    std::fs::remove_file(ballast).unwrap();
    // What a person asked for is still wanted.
    agent.run(&["once"]).expect(0);
    assert_ne!(plain.serial(), serial);
    assert_eq!(plain.ccm.issued("www.example.test").await, 2);
    assert_eq!(agent.status("www")["verdict"], "healthy");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_is_told_of_weeks_before_anything_is_ordered() {
    let plain = Plain::new().await;
    let agent = &plain.agent;
    let state = Tmpfs::mount(&agent.state(), "8m");
    agent.run(&["once"]).expect(0);
    let path = state.0.display().to_string();
    let alert = format!("no-space/{path}");
    let stands = || {
        let status = agent.run(&["status", "--json"]).stdout;
        status.contains(&alert)
    };
    assert!(!stands());
    let ballast = leave(&state, 300);
    let run = agent.run(&["jobs", "run", "check"]);
    run.says("no room for new certificates").says(&path);
    assert!(stands());
    assert_eq!(agent.status("www")["verdict"], "healthy", "nothing is due");
    // Told once, and over with room.
    let again = agent.run(&["once"]).expect(0);
    assert!(!again.stderr.contains("no room"), "{}", again.stderr);
    assert!(stands());
    std::fs::remove_file(ballast).unwrap();
    agent
        .run(&["once"])
        .expect(0)
        .says("resolved: ")
        .says("no room for new certificates");
    assert!(!stands());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_ordered_while_the_place_of_loose_files_has_neither_blocks_nor_inodes() {
    let plain = Plain::new().await;
    let agent = &plain.agent;
    let etc = Tmpfs::mount(&agent.path().join("etc"), "256k,nr_inodes=64");
    let key = etc.0.join("www/tls/www.key");
    plain.change(
        "layout = \"nginx\"",
        &format!(
            "layout = \"nginx\"\n\n[target.files.store.export.pem.loose]\nkey = \"{}\"",
            key.display()
        ),
    );
    agent.run(&["once"]).expect(0);
    let before = std::fs::read(&key).unwrap();
    let path = etc.0.display().to_string();
    let refused = async |says: &str| {
        let run = agent.run(&["renew", "www"]).expect(73);
        run.says(&path).says(says);
        assert_eq!(plain.ccm.issued("www.example.test").await, 1);
        assert_eq!(std::fs::read(&key).unwrap(), before);
    };
    let ballast = leave(&etc, 8);
    refused("KiB are needed").await;
    std::fs::remove_file(ballast).unwrap();

    let crowd = etc.0.join("crowd");
    std::fs::create_dir(&crowd).unwrap();
    let more = |number: usize| std::fs::write(crowd.join(number.to_string()), "").is_ok();
    assert!((0..100).any(|number| !more(number)), "inodes without end");
    refused("inodes free").await;
    std::fs::remove_dir_all(crowd).unwrap();
    agent.run(&["once"]).expect(0);
    assert_eq!(plain.ccm.issued("www.example.test").await, 2);
    assert!(Path::new(&key).exists() && std::fs::read(&key).unwrap() != before);
}
