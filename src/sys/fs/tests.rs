//! What guarded files must do.

#![expect(clippy::disallowed_methods, reason = "tests arrange files directly")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use crate::model::ErrorClass;
use crate::sys::fs::*;

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn names(path: &Path) -> Vec<String> {
    let names = list(path).unwrap();
    names
        .into_iter()
        .map(|n| n.into_string().unwrap())
        .collect()
}

const OPEN: Attributes = Attributes {
    mode: 0o644,
    uid: None,
    gid: None,
    acl: None,
    label: None,
};

#[test]
fn a_write_replaces_the_whole_file_and_leaves_nothing_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    write_atomic(&path, b"a long first content", &OPEN).unwrap();
    write_atomic(&path, b"second", &Attributes::PRIVATE).unwrap();
    assert_eq!(read(&path, 100).unwrap(), b"second");
    assert_eq!(mode(&path), 0o600);
    assert_eq!(names(dir.path()), ["file"]);
}

#[test]
fn the_mode_does_not_depend_on_the_umask_and_owners_are_set() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let (uid, gid) = own_ids();
    // Only root may give files away; anybody may keep his own.
    let (uid, gid) = if uid == 0 {
        (12_345, 54_321)
    } else {
        (uid, gid)
    };
    let wanted = Attributes {
        mode: 0o666,
        uid: Some(uid),
        gid: Some(gid),
        acl: None,
        label: None,
    };
    write_atomic(&path, b"x", &wanted).unwrap();
    let stat = stat(&path).unwrap().unwrap();
    assert_eq!(
        (stat.mode, stat.uid, stat.gid, stat.kind),
        (0o666, uid, gid, Kind::File)
    );
    create_dir_all(&dir.path().join("a/b"), 0o711).unwrap();
    assert_eq!(mode(&dir.path().join("a")), 0o711);
    assert_eq!(mode(&dir.path().join("a/b")), 0o711);
    create_dir_all(&dir.path().join("a/b/c"), 0o700).unwrap();
    assert_eq!(
        mode(&dir.path().join("a/b")),
        0o711,
        "existing ones keep theirs"
    );
}

#[test]
fn a_link_as_the_last_component_is_replaced_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let (aim, link) = (dir.path().join("aim"), dir.path().join("link"));
    fs::write(&aim, "untouched").unwrap();
    symlink(&aim, &link).unwrap();
    write_atomic(&link, b"new", &OPEN).unwrap();
    assert_eq!(fs::read(&aim).unwrap(), b"untouched");
    assert_eq!(stat(&link).unwrap().unwrap().kind, Kind::File);
}

#[test]
fn a_link_on_the_way_is_followed_only_out_of_a_trusted_directory() {
    let dir = tempfile::tempdir().unwrap();
    let (real, link) = (dir.path().join("real"), dir.path().join("link"));
    fs::create_dir(&real).unwrap();
    symlink("real", &link).unwrap();
    write_atomic(&link.join("file"), b"x", &OPEN).unwrap();
    assert_eq!(names(&real), ["file"]);
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let refused = write_atomic(&link.join("file"), b"y", &OPEN).unwrap_err();
    assert!(
        refused.io().to_string().contains("others can write"),
        "{refused:?}"
    );
    assert_eq!(refused.class(), ErrorClass::Configuration);
    let refused = create_dir_all(&link.join("sub"), 0o711).unwrap_err();
    assert!(
        refused.io().to_string().contains("others can write"),
        "{refused:?}"
    );
    // The same directory by its real name is fine: nothing is followed.
    write_atomic(&real.join("file"), b"y", &OPEN).unwrap();
}

#[test]
fn links_in_a_circle_end_with_an_error() {
    let dir = tempfile::tempdir().unwrap();
    symlink("two", dir.path().join("one")).unwrap();
    symlink("one", dir.path().join("two")).unwrap();
    assert!(write_atomic(&dir.path().join("one/file"), b"x", &OPEN).is_err());
}

#[test]
fn a_prepared_file_is_adopted_by_a_rename_and_a_kept_one_comes_back_itself() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, "old").unwrap();
    let inode = stat(&path).unwrap().unwrap().inode;
    prepare(&path, "new-1", b"new", &Attributes::PRIVATE).unwrap();
    prepare(&path, "new-1", b"newer", &Attributes::PRIVATE).unwrap();
    assert!(keep(&path, "old-1").unwrap());
    assert!(adopt(&path, "new-1").unwrap());
    assert_eq!(fs::read(&path).unwrap(), b"newer");
    assert!(!adopt(&path, "new-1").unwrap());
    assert!(adopt(&path, "old-1").unwrap());
    assert_eq!(stat(&path).unwrap().unwrap().inode, inode);
    // Kept and brought back without a change in between.
    assert!(keep(&path, "old-1").unwrap());
    assert!(adopt(&path, "old-1").unwrap());
    prepare(&path, "new-2", b"", &OPEN).unwrap();
    discard(&path, "new-2").unwrap();
    discard(&path, "new-2").unwrap();
    discard(&dir.path().join("no/such/file"), "new-2").unwrap();
    assert_eq!(names(dir.path()), ["file"]);
}

#[test]
fn a_link_is_switched_by_one_rename() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("live");
    assert_eq!(read_link(&link).unwrap(), None);
    switch_link(&link, Path::new("generations/1")).unwrap();
    switch_link(&link, Path::new("generations/2")).unwrap();
    assert_eq!(
        read_link(&link).unwrap().unwrap(),
        Path::new("generations/2")
    );
    assert!(remove_file(&link).unwrap());
    assert!(!remove_file(&link).unwrap());
    assert_eq!(read_link(&dir.path().join("no/link")).unwrap(), None);
    assert!(names(dir.path()).is_empty());
}

#[test]
fn reads_are_bounded_and_only_of_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, "12345").unwrap();
    assert_eq!(read(&path, 5).unwrap(), b"12345");
    assert!(
        read(&path, 4)
            .unwrap_err()
            .io()
            .to_string()
            .contains("longer than 4")
    );
    assert!(read(dir.path(), 4).is_err());
    assert!(
        read_if_exists(&dir.path().join("none"), 4)
            .unwrap()
            .is_none()
    );
    // A pipe nobody writes to must not hang us.
    let pipe = dir.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(
        read(&pipe, 4)
            .unwrap_err()
            .io()
            .to_string()
            .contains("no regular file")
    );
}

#[test]
fn what_is_to_be_written_back_is_read_through_no_link() {
    let dir = tempfile::tempdir().unwrap();
    let (place, secret) = (dir.path().join("place"), dir.path().join("secret"));
    fs::write(&secret, "another's").unwrap();
    fs::write(&place, "old").unwrap();
    let (bytes, seen) = read_in_place(&place, 10).unwrap();
    assert_eq!(
        (bytes.as_slice(), Some(seen)),
        (&b"old"[..], stat(&place).unwrap())
    );
    fs::remove_file(&place).unwrap();
    symlink(&secret, &place).unwrap();
    assert!(read_in_place(&place, 10).is_err());
    assert_eq!(read(&place, 10).unwrap(), b"another's");
}

#[test]
fn trees_are_removed_and_leftovers_swept() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(".k.key.renewd-77-0"), "secret").unwrap();
    fs::write(dir.path().join("k.key"), "secret").unwrap();
    sweep(dir.path()).unwrap();
    assert_eq!(names(dir.path()), ["k.key"]);
    let outside = dir.path().join("outside");
    fs::create_dir_all(outside.join("x")).unwrap();
    let tree = dir.path().join("tree");
    create_dir_all(&tree.join("a/b"), 0o700).unwrap();
    symlink(&outside, tree.join("a/link")).unwrap();
    rename_dir(&tree, &dir.path().join("moved")).unwrap();
    remove_tree(&dir.path().join("moved")).unwrap();
    remove_tree(&dir.path().join("moved")).unwrap();
    assert_eq!(names(dir.path()), ["k.key", "outside"]);
    assert_eq!(names(&outside), ["x"]);
}

#[test]
fn an_error_names_operation_path_and_remedy() {
    let full = FsError::new("write", Path::new("/a/b"), nix::errno::Errno::ENOSPC);
    assert_eq!(
        full.to_string(),
        "failed to write /a/b; free space (or inodes) on its file system"
    );
    assert_eq!(full.class(), ErrorClass::Transient);
    let error = write_atomic(Path::new("/no/such/dir/file"), b"", &OPEN).unwrap_err();
    assert_eq!(error.path(), Path::new("/no"));
    assert!(write_atomic(Path::new("/"), b"", &OPEN).is_err());
    assert!(write_atomic(Path::new(""), b"", &OPEN).is_err());
}

#[tokio::test]
async fn a_second_writer_is_told_who_holds_the_lock() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let first = Lock::try_acquire(&path, "renewd run").unwrap();
    let LockError::Busy { holder, .. } =
        Lock::acquire(&path, "renewd once", Duration::from_millis(50))
            .await
            .unwrap_err()
    else {
        panic!("not busy");
    };
    assert_eq!(
        holder,
        format!("process {} (renewd run)", std::process::id())
    );
    drop(first);
    let second = Lock::try_acquire(&path, "renewd once").unwrap();
    drop(second);
    assert_eq!(fs::read(&path).unwrap(), b"");
}

/// Whoever can open it can hold it, and stop everybody else.
#[test]
fn a_lock_is_its_owners_alone_whatever_it_was_before() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["new", "old"] {
        let path = dir.path().join(name);
        if name == "old" {
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        }
        let _lock = Lock::try_acquire(&path, "renewd run").unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}
