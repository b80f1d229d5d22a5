//! Access lists, and whether those who are to read the files can, with real users: this needs root, `getfacl` and
//! `setfacl`.
#![expect(
    clippy::disallowed_methods,
    reason = "tests arrange files and run tools directly"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use renewd::deploy::Outcome;
use renewd::model::{AclReader, ErrorClass, ExportSpec, FileAttributes, RolloutStep, TargetState};

use crate::deploy::stand::{Stand, class, now, pem, serial_in};
use crate::support::tmpfs::Tmpfs;

#[track_caller]
fn run(argv: &[&str]) -> String {
    let output = Command::new(argv[0])
        .args(&argv[1..])
        .output()
        .unwrap_or_else(|e| panic!("{argv:?}: {e}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{argv:?} (this test needs root): {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// A user of this machine while the test runs, with a group beside its own one.
struct Reader {
    name: String,
    group: String,
}

impl Reader {
    fn new(word: &str) -> Self {
        let name = format!("rnw-{word}-{}", std::process::id());
        let reader = Self {
            group: format!("{name}-g"),
            name,
        };
        run(&["groupadd", "--system", &reader.group]);
        run(&[
            "useradd",
            "--system",
            "--no-create-home",
            "--groups",
            &reader.group,
            &reader.name,
        ]);
        reader
    }

    /// Whether `cat` as this user, with its groups, gives the content.
    fn reads(&self, path: &Path) -> bool {
        let output = Command::new("setpriv")
            .args([
                "--reuid",
                &self.name,
                "--regid",
                &self.name,
                "--init-groups",
            ])
            .arg("cat")
            .arg(path)
            .output()
            .unwrap();
        output.status.success() && output.stdout == fs::read(path).unwrap()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        for argv in [["userdel", &self.name], ["groupdel", &self.group]] {
            let _ = Command::new(argv[0]).arg(argv[1]).output();
        }
    }
}

/// A directory that everybody may pass through.
fn open_directory() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    chmod(dir.path(), 0o755);
    dir
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Beside the certificate in the generation and as loose files, with these attributes.
fn exports(etc: &Path, attributes: &FileAttributes) -> Vec<ExportSpec> {
    let at = |name: &str| etc.join(name).display().to_string();
    let with = |export| ExportSpec {
        attributes: attributes.clone(),
        ..export
    };
    vec![
        with(pem("loose", &at("www.pem"), &at("www.key"))),
        with(pem("pem", "fullchain.pem", "key.pem")),
    ]
}

fn acl(path: &Path) -> Vec<String> {
    let path = path.display().to_string();
    let text = run(&["getfacl", "--omit-header", "--absolute-names", &path]);
    let lines = text.lines().filter(|line| !line.is_empty());
    // Rights that the mask takes away are remarked behind the line.
    lines
        .map(|line| line.split('\t').next().unwrap_or(line).to_owned())
        .collect()
}

#[tokio::test]
async fn an_access_list_lets_another_user_read_and_is_seen_by_getfacl() {
    let (dir, user) = (open_directory(), Reader::new("acl"));
    let by_group = Reader::new("aclg");
    let stranger = Reader::new("aclx");
    let etc = dir.path().join("etc");
    fs::create_dir(&etc).unwrap();
    let attributes = FileAttributes {
        acl: vec![
            AclReader::User(user.name.clone()),
            AclReader::Group(by_group.group.clone()),
        ],
        reader: Some(user.name.clone()),
        ..FileAttributes::default()
    };
    let mut stand = Stand::new(dir.path(), exports(&etc, &attributes));
    let new = stand.issue("www", &["www.test"]);
    let rollout = stand.open(std::slice::from_ref(&new));
    let rollout = stand.drive(rollout).await;
    stand.live_now(&rollout);
    for key in [etc.join("www.key"), stand.live_path("www/key.pem")] {
        assert_eq!(
            acl(&key),
            [
                "user::rw-".to_owned(),
                format!("user:{}:r--", user.name),
                "group::---".to_owned(),
                format!("group:{}:r--", by_group.group),
                "mask::r--".to_owned(),
                "other::---".to_owned(),
            ]
        );
        assert!(
            user.reads(&key) && by_group.reads(&key),
            "{}",
            key.display()
        );
        assert!(!stranger.reads(&key), "{}", key.display());
    }
    assert_eq!(stand.drift(), None);

    // The same list, set again by a person, is no difference; one more name is.
    let key = etc.join("www.key");
    let text = key.display().to_string();
    run(&["setfacl", "-m", &format!("u:{}:r", user.name), &text]);
    assert_eq!(stand.drift(), None);
    run(&["setfacl", "-m", &format!("u:{}:r", stranger.name), &text]);
    let drift = stand.drift().unwrap();
    assert!(
        drift.contains("www.key") && drift.contains("access list"),
        "{drift}"
    );
    run(&["setfacl", "--remove-all", &text]);
    chmod(&key, 0o640);
    let drift = stand.drift().unwrap();
    assert!(drift.contains("no access list"), "{drift}");

    // The next rollout puts it right.
    let next = stand.issue("www", &["www.test"]);
    let rollout = stand.open(std::slice::from_ref(&next));
    let rollout = stand.drive(rollout).await;
    stand.live_now(&rollout);
    assert_eq!(stand.drift(), None);
    assert!(user.reads(&key));
    assert!(!stranger.reads(&key));
}

#[tokio::test]
async fn what_a_directory_hands_down_does_not_open_a_key() {
    let (dir, user) = (open_directory(), Reader::new("dfl"));
    let etc = dir.path().join("etc");
    fs::create_dir(&etc).unwrap();
    let state = dir.path().join("state");
    fs::create_dir(&state).unwrap();
    for directory in [&etc, &state] {
        let default = format!("d:u:{}:rwx,d:g::rwx,d:m::rwx", user.name);
        run(&["setfacl", "-m", &default, &directory.display().to_string()]);
    }
    // With a mode whose group bits would become the mask of what was inherited.
    let attributes = FileAttributes {
        key_mode: 0o640,
        ..FileAttributes::default()
    };
    let mut stand = Stand::new(dir.path(), exports(&etc, &attributes));
    let old = stand.issue("www", &["www.test"]);
    let rollout = stand.open(std::slice::from_ref(&old));
    let rollout = stand.drive(rollout).await;
    stand.live_now(&rollout);
    let revision = state.join(format!("revisions/www/{}/key.pem", old.1));
    for key in [
        etc.join("www.key"),
        stand.live_path("www/key.pem"),
        revision,
    ] {
        let list = acl(&key);
        assert!(
            !list.iter().any(|line| line.starts_with("user:rnw")),
            "{}: {list:?}",
            key.display()
        );
        assert!(!user.reads(&key), "{}", key.display());
    }
}

#[tokio::test]
async fn the_access_list_of_a_file_that_was_there_comes_back_with_it() {
    let (dir, user) = (open_directory(), Reader::new("back"));
    let etc = dir.path().join("etc");
    fs::create_dir(&etc).unwrap();
    let key = etc.join("www.key");
    fs::write(&key, "somebody's").unwrap();
    chmod(&key, 0o600);
    let text = key.display().to_string();
    run(&["setfacl", "-m", &format!("u:{}:rw", user.name), &text]);
    let before = acl(&key);
    let mut stand = Stand::new(dir.path(), exports(&etc, &FileAttributes::default()));
    let new = stand.issue("www", &["www.test"]);
    let rollout = stand.open(std::slice::from_ref(&new));
    for step in [RolloutStep::Stage, RolloutStep::Commit] {
        stand.step(&rollout, step).await.unwrap();
    }
    assert_eq!(acl(&key), ["user::rw-", "group::---", "other::---"]);
    // Without the second name that brings back the very same file, from the copy.
    let kept = etc.join(format!(".www.key.renewd-old-{}", rollout.generation));
    fs::remove_file(kept).unwrap();
    stand.step(&rollout, RolloutStep::Restore).await.unwrap();
    assert_eq!(fs::read(&key).unwrap(), b"somebody's");
    assert_eq!(acl(&key), before);
    assert!(user.reads(&key));
}

#[tokio::test]
async fn a_file_system_without_access_lists_is_named_with_its_remedy() {
    let dir = open_directory();
    let etc = Tmpfs::mount_as("ramfs", &dir.path().join("etc"), "1m");
    let attributes = FileAttributes {
        acl: vec![AclReader::User("nobody".to_owned())],
        ..FileAttributes::default()
    };
    let mut stand = Stand::new(dir.path(), exports(&etc.0, &FileAttributes::default()));
    let old = stand.issue("www", &["www.test"]);
    let rollout = stand.open(std::slice::from_ref(&old));
    let rollout = stand.drive(rollout).await;
    stand.live_now(&rollout);
    stand.target.exports = exports(&etc.0, &attributes);
    let new = stand.issue("www", &["www.test"]);
    let rollout = stand.open(std::slice::from_ref(&new));
    let rollout = stand.drive(rollout).await;
    assert_eq!(rollout.phase.code(), "abandoned");
    let error = stand.error(RolloutStep::Stage);
    class(error, ErrorClass::Configuration);
    for part in ["www.key", "keeps no POSIX access lists", "`acl`"] {
        assert!(error.message.contains(part), "{part}: {}", error.message);
    }
    assert_eq!(serial_in(&etc.0.join("www.pem")), stand.serial(&old));
    let left: Vec<_> = fs::read_dir(&etc.0).unwrap().collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

/// A stand whose files are for this reader, with an old set live; and where its loose files are.
async fn stand_for(
    dir: &Path,
    attributes: FileAttributes,
) -> (
    Stand,
    PathBuf,
    (renewd::model::CertificateId, renewd::model::RevisionId),
) {
    let etc = dir.join("etc");
    fs::create_dir(&etc).unwrap();
    let mut stand = Stand::new(dir, exports(&etc, &attributes));
    let old = stand.issue("www", &["www.test"]);
    let rollout = stand.open(std::slice::from_ref(&old));
    let rollout = stand.drive(rollout).await;
    stand.live_now(&rollout);
    (stand, etc, old)
}

#[tokio::test]
async fn a_service_whose_user_cannot_read_its_files_is_told_before_anything_is_committed() {
    let (dir, user) = (open_directory(), Reader::new("read"));
    let attributes = FileAttributes {
        group: Some(user.group.clone()),
        key_mode: 0o640,
        reader: Some(user.name.clone()),
        ..FileAttributes::default()
    };
    let (mut stand, etc, old) = stand_for(dir.path(), attributes.clone()).await;
    assert!(
        user.reads(&etc.join("www.key")),
        "by a group beside its own"
    );

    // The directory of the loose files, the state directory, and the files themselves.
    let state = dir.path().join("state");
    let unreadable = FileAttributes {
        group: None,
        ..attributes.clone()
    };
    for (at, own, says) in [
        (
            Some(&etc),
            &attributes,
            "may not pass through the directory",
        ),
        (
            Some(&state),
            &attributes,
            "may not pass through the directory",
        ),
        (None, &unreadable, "the file itself is closed to it"),
    ] {
        stand.target.exports = exports(&etc, own);
        let mode = at.map(|at| fs::metadata(at).unwrap().permissions().mode());
        if let Some(at) = at {
            chmod(at, 0o700);
        }
        let new = stand.issue("www", &["www.test"]);
        let rollout = stand.open(std::slice::from_ref(&new));
        let rollout = stand.drive(rollout).await;
        assert_eq!(rollout.phase.code(), "abandoned");
        let error = stand.error(RolloutStep::Stage);
        class(error, ErrorClass::Configuration);
        let path = at.map_or_else(|| etc.join("www.key"), |at| at.clone());
        for part in [says, &user.name, &path.display().to_string(), "www"] {
            assert!(error.message.contains(part), "{part}: {}", error.message);
        }
        assert!(error.named.is_empty(), "all of them: {error:?}");
        // What was live is live.
        for file in [etc.join("www.pem"), stand.live_path("www/fullchain.pem")] {
            assert_eq!(serial_in(&file), stand.serial(&old));
        }
        if let (Some(at), Some(mode)) = (at, mode) {
            chmod(at, mode);
        }
    }

    // An access list on the directory is enough, as is one on the file.
    chmod(&etc, 0o700);
    let text = etc.display().to_string();
    run(&["setfacl", "-m", &format!("u:{}:x", user.name), &text]);
    stand.target.exports = exports(
        &etc,
        &FileAttributes {
            acl: vec![AclReader::User(user.name.clone())],
            ..unreadable
        },
    );
    let new = stand.issue("www", &["www.test"]);
    let rollout = stand.open(std::slice::from_ref(&new));
    let rollout = stand.drive(rollout).await;
    stand.live_now(&rollout);
    assert!(user.reads(&etc.join("www.key")));
}

#[tokio::test]
async fn only_the_members_that_cannot_be_read_are_named() {
    let (dir, user) = (open_directory(), Reader::new("one"));
    let etc = dir.path().join("etc");
    fs::create_dir_all(etc.join("api")).unwrap();
    fs::create_dir_all(etc.join("www")).unwrap();
    chmod(&etc.join("api"), 0o700);
    let at = |name: &str| etc.join("{certificate}").join(name).display().to_string();
    let mut stand = Stand::new(
        dir.path(),
        vec![ExportSpec {
            attributes: FileAttributes {
                owner: Some(user.name.clone()),
                reader: Some(user.name.clone()),
                ..FileAttributes::default()
            },
            ..pem("loose", &at("x.pem"), &at("x.key"))
        }],
    );
    let set = [
        stand.issue("api", &["api.test"]),
        stand.issue("www", &["www.test"]),
    ];
    let rollout = stand.open(&set);
    let error = stand.step(&rollout, RolloutStep::Stage).await.unwrap_err();
    let named: Vec<_> = error.named.iter().map(|id| id.as_str()).collect();
    assert_eq!(named, ["api"], "{error:?}");
    assert!(error.message.contains("2 files"), "{error:?}");

    // An unknown user is a matter of the policy.
    stand.target.exports[0].attributes.reader = Some("no-such-user".to_owned());
    let rollout = stand.open(&set);
    let error = stand.step(&rollout, RolloutStep::Stage).await.unwrap_err();
    assert!(
        error.message.contains("no-such-user") && error.message.contains("`reader`"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_look_at_a_target_asks_as_its_reader_too() {
    let (dir, user) = (open_directory(), Reader::new("look"));
    let attributes = FileAttributes {
        owner: Some(user.name.clone()),
        reader: Some(user.name.clone()),
        ..FileAttributes::default()
    };
    let (stand, etc, _) = stand_for(dir.path(), attributes).await;
    let state = TargetState {
        live: stand.live.clone(),
        generation: stand.generation,
        ..TargetState::default()
    };
    let preflight = async || {
        let all = stand
            .deployer
            .examine(
                &stand.target,
                &state,
                &std::collections::BTreeMap::new(),
                now(),
            )
            .await;
        let found = all.into_iter().find(|one| one.what == "preflight");
        found.unwrap().outcome
    };
    assert!(matches!(preflight().await, Outcome::Good(_)));
    chmod(&etc, 0o700);
    let Outcome::Bad(error) = preflight().await else {
        panic!("it can read through a closed directory");
    };
    assert!(
        error.message.contains(&etc.display().to_string()),
        "{error:?}"
    );
}
