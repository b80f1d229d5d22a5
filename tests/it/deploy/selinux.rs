//! A host that says SELinux is on, with a `restorecon` that writes down what it is told. A kernel with SELinux is not tried.
#![expect(
    clippy::disallowed_methods,
    reason = "tests arrange files and programs directly"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use renewd::model::RolloutStep;
use rustix::fs::{XattrFlags, setxattr};

use crate::deploy::stand::{Stand, pem, serial_in};

const CONTEXT: &[u8] = b"system_u:object_r:httpd_sys_content_t:s0\0";

/// A root with these parts of a host.
fn host(root: &Path, told: &Path, works: bool) {
    fs::create_dir_all(root.join("sys/fs/selinux")).unwrap();
    fs::write(root.join("sys/fs/selinux/enforce"), "1").unwrap();
    let program = root.join("usr/sbin/restorecon");
    fs::create_dir_all(program.parent().unwrap()).unwrap();
    let end = if works {
        ""
    } else {
        "echo no policy; exit 1\n"
    };
    let script = format!(
        "#!/bin/sh\nprintf '%s\\n' \"$@\" >> {}\n{end}",
        told.display()
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
}

fn told(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let _ = fs::remove_file(path);
    text.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn what_replaces_a_file_keeps_its_context_and_what_is_new_gets_that_of_the_policy() {
    let dir = tempfile::tempdir().unwrap();
    let (root, log, etc) = (
        dir.path().join("host"),
        dir.path().join("told"),
        dir.path().join("etc"),
    );
    fs::create_dir(&etc).unwrap();
    let (certificate, key) = (etc.join("www.pem"), etc.join("www.key"));
    fs::write(&certificate, "somebody's").unwrap();
    setxattr(
        &certificate,
        "security.selinux",
        CONTEXT,
        XattrFlags::empty(),
    )
    .unwrap();
    let at = |path: &Path| path.display().to_string();
    let mut stand = Stand::new(dir.path(), vec![pem("pem", &at(&certificate), &at(&key))]);
    let context = || renewd::sys::fs::label_of(&certificate);

    // Off: nobody is asked.
    stand.deployer = stand.deployer.clone().on_host(dir.path().join("no-host"));
    let first = stand.issue("www", &["www.test"]);
    let rollout = stand.open(std::slice::from_ref(&first));
    for step in [
        RolloutStep::Stage,
        RolloutStep::Commit,
        RolloutStep::Restore,
    ] {
        stand.step(&rollout, step).await.unwrap();
    }
    assert_eq!(told(&log), Vec::<String>::new());
    assert_eq!(
        context().as_deref(),
        Some(CONTEXT),
        "the very same file is back"
    );

    host(&root, &log, true);
    stand.deployer = stand.deployer.clone().on_host(root.clone());
    let rollout = stand.open(std::slice::from_ref(&first));
    let rollout = stand.drive(rollout).await;
    stand.live_now(&rollout);
    assert_eq!(context().as_deref(), Some(CONTEXT));
    assert_eq!(renewd::sys::fs::label_of(&key), None, "left to restorecon");
    let generation = stand.dir.join(format!(
        "state/targets/web/generations/{}",
        rollout.generation
    ));
    assert_eq!(told(&log), ["-R".to_owned(), at(&generation), at(&key)]);

    // Everything loose is there by now. One that fails is told and undoes nothing.
    host(&root, &log, false);
    let second = stand.issue("www", &["www.test"]);
    let rollout = stand.open(std::slice::from_ref(&second));
    let now = crate::deploy::stand::now();
    stand.step(&rollout, RolloutStep::Stage).await.unwrap();
    let done = stand
        .step_at(&rollout, RolloutStep::Commit, now)
        .await
        .unwrap();
    assert!(done.output.contains("no policy"), "{done:?}");
    assert_eq!(told(&log).len(), 2);
    assert_eq!(serial_in(&certificate), stand.serial(&second));
    assert_eq!(context().as_deref(), Some(CONTEXT));

    // Back from the copy, where the second name of the former file is gone.
    let kept = etc.join(format!(".www.pem.renewd-old-{}", rollout.generation));
    fs::remove_file(kept).unwrap();
    stand.step(&rollout, RolloutStep::Restore).await.unwrap();
    assert_eq!(serial_in(&certificate), stand.serial(&first));
    assert_eq!(context().as_deref(), Some(CONTEXT));
}
