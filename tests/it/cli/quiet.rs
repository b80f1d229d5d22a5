//! A host where nothing is due: many certificates on services that would be told. Nothing is written, and nobody is told.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::cli::Plain;

const CERTIFICATES: usize = 100;
const TARGETS: usize = 4;

/// Of each file below a directory: which one it is, and when its content and anything of it were last changed.
fn look(directory: &Path, found: &mut BTreeMap<PathBuf, (u64, i64, i64, i64)>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let metadata = std::fs::metadata(&path).unwrap();
        if metadata.is_dir() {
            look(&path, found);
        } else {
            let changed = (
                metadata.mtime(),
                metadata.mtime_nsec(),
                metadata.ctime_nsec(),
            );
            found.insert(path, (metadata.ino(), changed.0, changed.1, changed.2));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_is_due_no_file_is_written_and_no_service_is_told() {
    let plain = Plain::new().await;
    let dir = plain.agent.path();
    let mut policy = plain.ccm.issuer("30s");
    for target in 0..TARGETS {
        policy += &format!(
            r#"
[target.command.t{target}]
reload = ["{{dir}}/tell"]
probe = "none"

[target.command.t{target}.export.pem.live]
fullchain = "fullchain.pem"
key = "key.pem"

[target.command.t{target}.export.pem.loose]
fullchain = "{{dir}}/etc/{{certificate}}/tls.pem"
key = "{{dir}}/etc/{{certificate}}/tls.key"
"#
        );
    }
    for at in 0..CERTIFICATES {
        policy += &format!(
            "[certificate.c{at:03}]\nissuer = \"corp\"\nnames = [\"c{at:03}.example.test\"]\ntargets = [\"t{}\"]\n",
            at % TARGETS
        );
    }
    plain.agent.write_policy(&policy);
    let (script, told) = (dir.join("tell"), dir.join("told"));
    std::fs::write(
        &script,
        format!("#!/bin/sh\necho told >>'{}'\n", told.display()),
    )
    .unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    plain.agent.run(&["once", "--wait", "60s"]).expect(0);
    let state = || {
        let mut files = BTreeMap::new();
        look(&dir.join("etc"), &mut files);
        for target in 0..TARGETS {
            look(&plain.agent.live(&format!("t{target}")), &mut files);
        }
        look(&plain.agent.state().join("revisions"), &mut files);
        (files, std::fs::read_to_string(&told).unwrap())
    };
    let before = state();
    // Two pairs and three files of the revision each, and one reload for each service.
    assert!(before.0.len() >= 7 * CERTIFICATES, "{}", before.0.len());
    assert!(before.1.lines().count() >= TARGETS);
    for _ in 0..3 {
        plain.agent.run(&["once"]).expect(0);
    }
    plain.agent.run(&["jobs", "run", "check"]).expect(0);
    assert_eq!(state(), before);
}
