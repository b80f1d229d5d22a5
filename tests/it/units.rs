//! The systemd units and the install script: accepted by systemd without a word, and gone after their undo.
#![expect(
    clippy::disallowed_methods,
    reason = "tests arrange files and processes directly"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

#[test]
fn systemd_accepts_every_unit_without_a_word() {
    let directory = TempDir::new().expect("a temporary directory");
    let units = rendered_units(directory.path());
    assert!(units.len() >= 4, "units were not found: {units:?}");
    let verify = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .args(&units)
        .output()
        .expect("systemd-analyze is installed");
    // The status is 0 even for an unknown key, which is only mentioned.
    assert_eq!(
        (said(&verify).as_str(), verify.status.code()),
        ("", Some(0))
    );
}

#[test]
fn systemd_of_a_user_accepts_the_unit_for_the_desktop() {
    let directory = TempDir::new().expect("a temporary directory");
    let unit = repository().join("systemd/user/renewd-notify.service");
    let text = fs::read_to_string(unit).expect("the unit");
    let program = concat!(env!("CARGO_BIN_EXE_renewd"), " ");
    assert!(text.contains("ExecStart=/usr/bin/renewd "), "{text}");
    let unit = directory.path().join("renewd-notify.service");
    fs::write(&unit, text.replace("/usr/bin/renewd ", program)).expect("a rendered unit");
    let verify = Command::new("systemd-analyze")
        .args(["--user", "verify", "--man=no"])
        .arg(&unit)
        .env("XDG_RUNTIME_DIR", directory.path())
        .output()
        .expect("systemd-analyze is installed");
    assert_eq!(
        (said(&verify).as_str(), verify.status.code()),
        ("", Some(0))
    );
}

#[test]
fn an_unknown_key_in_a_unit_would_be_noticed() {
    let directory = TempDir::new().expect("a temporary directory");
    let unit = directory.path().join("wrong.service");
    fs::write(&unit, "[Service]\nExecStart=/bin/true\nRestartSex=5\n").expect("the unit");
    let verify = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(&unit)
        .output()
        .expect("systemd-analyze is installed");
    assert!(said(&verify).contains("RestartSex"), "{}", said(&verify));
}

#[test]
fn the_unit_of_the_server_agrees_with_its_manual() {
    let unit = fs::read_to_string(repository().join("systemd/renewd-ccm.service")).expect("unit");
    let manual = fs::read_to_string(repository().join("docs/man/renewd-ccm.8.md")).expect("page");
    let after = |mark: &str| {
        let rest = unit.split(mark).nth(1).unwrap_or_default();
        rest.split([':', '\n'])
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    let credential = after("LoadCredentialEncrypted=");
    assert!(
        !credential.is_empty() && manual.contains(&format!("`{credential}`")),
        "{credential}"
    );
    let port = unit.split("--listen 127.0.0.1:").nth(1).unwrap_or_default();
    let port = port.lines().next().unwrap_or_default();
    assert!(
        !port.is_empty() && manual.contains(&format!("127.0.0.1:{port}")),
        "{port}"
    );
}

/// Out of descriptors, a server can neither accept nor read what it is asked for.
#[test]
fn the_unit_of_the_server_gives_it_a_descriptor_for_each_connection_and_as_many_beside() {
    let unit = fs::read_to_string(repository().join("systemd/renewd-ccm.service")).expect("unit");
    let limit = unit
        .lines()
        .find_map(|line| line.strip_prefix("LimitNOFILE="));
    let limit: usize = limit.expect("a limit").parse().expect("a number");
    // The API, lists of revoked certificates, management.
    let connections = 3 * renewd::ccm_server::Limits::default().connections;
    assert!(limit >= 2 * connections, "{limit} for {connections}");
}

#[test]
fn services_run_in_a_box() {
    let directory = TempDir::new().expect("a temporary directory");
    for unit in rendered_units(directory.path()) {
        let name = unit
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        // Exposure times ten: the server needs next to nothing, the agent runs as root and keeps a few capabilities.
        let threshold = match name.as_str() {
            "renewd-ccm.service" => "15",
            "renewd.service" | "renewd-once.service" => "30",
            _ => continue,
        };
        let security = Command::new("systemd-analyze")
            .args([
                "security",
                "--no-pager",
                "--offline=yes",
                "--threshold",
                threshold,
            ])
            .arg(&unit)
            .output()
            .expect("systemd-analyze is installed");
        assert!(security.status.success(), "{name}: {}", said(&security));
    }
}

/// Who prefers the timer loses nothing by it.
#[test]
fn both_units_of_the_agent_have_one_sandbox_and_no_unit_leaves_a_dump_of_memory() {
    let directory = TempDir::new().expect("a temporary directory");
    let mut boxes = BTreeMap::new();
    for unit in rendered_units(directory.path()) {
        let name = unit.file_name().unwrap_or_default().to_string_lossy();
        let text = fs::read_to_string(&unit).expect("a unit");
        let is_boxed = |line: &&str| {
            [
                "Capability",
                "NoNew",
                "Protect",
                "Private",
                "Restrict",
                "Lock",
                "Memory",
                "System",
                "LimitCORE",
                "UMask",
                "StateDirectory",
            ]
            .iter()
            .any(|key| line.starts_with(key))
        };
        let lines: BTreeSet<String> = text.lines().filter(is_boxed).map(str::to_owned).collect();
        if name.ends_with(".service") {
            assert!(lines.contains("LimitCORE=0"), "{name}");
            boxes.insert(name.into_owned(), lines);
        }
    }
    assert_eq!(boxes["renewd.service"], boxes["renewd-once.service"]);
}

#[test]
fn the_directories_can_be_made() {
    let made = TempDir::new().expect("a temporary directory");
    let root_option = format!("--root={}", made.path().display());
    // Users are looked up in the root that is worked on.
    fs::create_dir(made.path().join("etc")).expect("etc");
    fs::write(
        made.path().join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\n",
    )
    .expect("passwd");
    fs::write(made.path().join("etc/group"), "root:x:0:\n").expect("group");
    // Only root may give files to root; whoever runs the tests gives them to himself.
    let tmpfiles = fs::read_to_string(repository().join("systemd/renewd.tmpfiles"));
    let own = format!("{} {}", nix::unistd::getuid(), nix::unistd::getgid());
    let own = tmpfiles.expect("the file").replace("root root", &own);
    fs::write(made.path().join("renewd.tmpfiles"), own).expect("the rendered file");
    let run = Command::new("systemd-tmpfiles")
        .args(["--create", &root_option])
        .arg(made.path().join("renewd.tmpfiles"))
        .output()
        .expect("systemd is installed");
    assert!(run.status.success(), "{}", said(&run));
    assert_eq!(mode(&made.path().join("etc/renewd/secrets")), 0o700);
    assert_eq!(mode(&made.path().join("var/lib/renewd")), 0o711);
}

#[test]
fn what_is_installed_is_complete_and_the_undo_leaves_nothing() {
    let destination = TempDir::new().expect("a temporary directory");
    install(destination.path(), &[]);
    let installed = files(destination.path());
    for expected in [
        "etc/renewd/renewd.toml",
        "opt/r/bin/renewd",
        "opt/r/bin/renewd-ccm",
        "opt/r/lib/systemd/system/renewd.service",
        "opt/r/lib/systemd/system/renewd-once.service",
        "opt/r/lib/systemd/system/renewd.timer",
        "opt/r/lib/systemd/system/renewd-ccm.service",
        "opt/r/lib/systemd/user/renewd-notify.service",
        "opt/r/lib/systemd/system-preset/80-renewd.preset",
        "opt/r/lib/sysusers.d/renewd.conf",
        "opt/r/lib/systemd/catalog/renewd.catalog",
        "opt/r/lib/tmpfiles.d/renewd.conf",
        "opt/r/share/doc/renewd/LICENSE",
        "opt/r/share/man/man8/renewd.8",
        "opt/r/share/man/man8/renewd-ccm.8",
        "opt/r/share/man/man5/renewd.toml.5",
    ] {
        assert!(
            installed.contains(expected),
            "{expected} is missing in {installed:#?}"
        );
    }
    assert_eq!(mode(&destination.path().join("opt/r/bin/renewd")), 0o755);
    assert_eq!(mode(&destination.path().join("etc/renewd/secrets")), 0o700);
    let unit = fs::read_to_string(
        destination
            .path()
            .join("opt/r/lib/systemd/system/renewd.service"),
    );
    let unit = unit.expect("the unit");
    assert!(unit.contains("ExecStart=/opt/r/bin/renewd run\n"), "{unit}");

    install(destination.path(), &["--undo"]);
    assert_eq!(files(destination.path()), BTreeSet::new());
    assert_eq!(
        fs::read_dir(destination.path())
            .expect("the directory")
            .count(),
        0,
        "directories are left"
    );
}

#[test]
fn installing_again_changes_nothing() {
    let destination = TempDir::new().expect("a temporary directory");
    install(destination.path(), &[]);
    let manifest = destination.path().join("opt/r/share/renewd/manifest");
    let first = fs::read_to_string(&manifest).expect("the manifest");
    install(destination.path(), &[]);
    assert_eq!(fs::read_to_string(&manifest).expect("the manifest"), first);
    install(destination.path(), &["--undo"]);
    assert_eq!(files(destination.path()), BTreeSet::new());
}

#[test]
fn an_edited_configuration_and_the_state_survive_upgrade_and_undo_but_not_a_purge() {
    let destination = TempDir::new().expect("a temporary directory");
    let policy = destination.path().join("etc/renewd/renewd.toml");
    let key = destination.path().join("var/lib/renewd/keys/1.key");
    install(destination.path(), &[]);
    fs::write(&policy, "# mine\n").expect("the policy");
    fs::create_dir_all(key.parent().expect("a parent")).expect("the state directory");
    fs::write(&key, "state").expect("state");

    install(destination.path(), &[]);
    assert_eq!(fs::read_to_string(&policy).expect("the policy"), "# mine\n");
    install(destination.path(), &["--undo"]);
    assert_eq!(fs::read_to_string(&policy).expect("the policy"), "# mine\n");
    let left: BTreeSet<String> = ["etc/renewd/renewd.toml", "var/lib/renewd/keys/1.key"]
        .map(str::to_owned)
        .into();
    assert_eq!(files(destination.path()), left);

    install(destination.path(), &["--undo", "--purge"]);
    assert_eq!(files(destination.path()), BTreeSet::new());
}

#[test]
fn a_configuration_that_was_there_first_is_never_touched() {
    let destination = TempDir::new().expect("a temporary directory");
    let policy = destination.path().join("etc/renewd/renewd.toml");
    fs::create_dir_all(policy.parent().expect("a parent")).expect("the directory");
    fs::write(&policy, "# here before\n").expect("the policy");
    install(destination.path(), &[]);
    install(destination.path(), &["--undo"]);
    assert_eq!(
        fs::read_to_string(&policy).expect("the policy"),
        "# here before\n"
    );
    assert_eq!(files(destination.path()).len(), 1);
}

#[test]
fn a_program_that_was_not_built_is_named() {
    let destination = TempDir::new().expect("a temporary directory");
    let run = Command::new(repository().join("packaging/install.sh"))
        .args(["--prefix", "/opt/r", "--from", "/nonexistent"])
        .env("DESTDIR", destination.path())
        .output()
        .expect("the script runs");
    assert_eq!(run.status.code(), Some(66));
    assert!(
        said(&run).contains("/nonexistent/renewd is missing"),
        "{}",
        said(&run)
    );
    assert_eq!(files(destination.path()), BTreeSet::new());
}

/// Runs the install script on a directory that stands for the whole system.
fn install(destination: &Path, options: &[&str]) {
    // The script only copies programs; small ones do.
    let programs = TempDir::new().expect("a temporary directory");
    for name in ["renewd", "renewd-ccm"] {
        let program = programs.path().join(name);
        fs::write(&program, "#!/bin/sh\n").expect("a program");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("its mode");
    }
    let run = Command::new(repository().join("packaging/install.sh"))
        .args(["--prefix", "/opt/r", "--from"])
        .arg(programs.path())
        .args(options)
        .env("DESTDIR", destination)
        .output()
        .expect("the script runs");
    assert!(run.status.success(), "{options:?}: {}", said(&run));
}

/// The units with the programs that were just built, since systemd looks whether the program exists.
fn rendered_units(directory: &Path) -> Vec<PathBuf> {
    let mut units = Vec::new();
    for entry in fs::read_dir(repository().join("systemd")).expect("systemd/") {
        let path = entry.expect("a directory entry").path();
        let kind = path
            .extension()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if kind != "service" && kind != "timer" {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a unit");
        let text = text
            .replace("/usr/bin/renewd-ccm", env!("CARGO_BIN_EXE_renewd-ccm"))
            .replace(
                "/usr/bin/renewd ",
                concat!(env!("CARGO_BIN_EXE_renewd"), " "),
            );
        let unit = directory.join(path.file_name().expect("a name"));
        fs::write(&unit, text).expect("a rendered unit");
        units.push(unit);
    }
    units.sort();
    units
}

/// Every file below a directory, by its path from there.
fn files(directory: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).expect("a directory") {
            let path = entry.expect("a directory entry").path();
            if path.is_dir() {
                open.push(path);
            } else {
                let inside = path.strip_prefix(directory).expect("it was found there");
                found.insert(inside.display().to_string());
            }
        }
    }
    found
}

fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]]
        .map(String::from_utf8_lossy)
        .concat()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it exists").permissions().mode() & 0o7777
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
