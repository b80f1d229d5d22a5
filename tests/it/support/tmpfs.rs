//! A small file system of its own, to be filled and to be made read-only; mounting one needs root.
#![expect(
    clippy::disallowed_methods,
    reason = "tests arrange files and mounts directly"
)]

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Unmounted when dropped.
pub(crate) struct Tmpfs(pub(crate) PathBuf);

impl Tmpfs {
    /// Of this size, at a directory that is made.
    pub(crate) fn mount(at: &Path, size: &str) -> Self {
        Self::mount_as("tmpfs", at, size)
    }

    /// Of another kind: `ramfs` has neither a limit nor access lists.
    pub(crate) fn mount_as(kind: &str, at: &Path, size: &str) -> Self {
        fs::create_dir_all(at).unwrap();
        let size = format!("size={size}");
        run(&[
            "mount",
            "-t",
            kind,
            "-o",
            &size,
            kind,
            &at.display().to_string(),
        ]);
        Self(at.to_owned())
    }

    /// Such as `ro` and `rw`.
    pub(crate) fn remount(&self, how: &str) {
        let how = format!("remount,{how}");
        run(&["mount", "-o", &how, &self.0.display().to_string()]);
    }

    /// Takes all the space that is left; removing the file gives it back.
    pub(crate) fn fill(&self) -> PathBuf {
        let path = self.0.join("ballast");
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        path
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[track_caller]
fn run(argv: &[&str]) {
    let output = Command::new(argv[0]).args(&argv[1..]).output().unwrap();
    assert!(
        output.status.success(),
        "{argv:?} (this test needs root): {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
