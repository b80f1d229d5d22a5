//! A machine with a systemd of its own: the files of this one under a throw-away overlay, booted by systemd-nspawn.
//!
//! Everything of it (mounts, processes) lives in namespaces that end with their first process, and that one ends when the
//! test does, however the test ends. Its network is a loopback of its own. Needs root.
#![expect(
    clippy::disallowed_methods,
    reason = "tests arrange files and processes directly"
)]

use std::fmt::Debug;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Gone, with all that is in it, when dropped.
pub(crate) struct Machine {
    name: String,
    /// Where its files are mounted, as seen by its own processes only.
    place: tempfile::TempDir,
    /// `unshare`; its child is the first process of the namespaces.
    holder: Child,
    first: u32,
    /// While it is on: `nsenter` that became systemd-nspawn, and the machine's own process 1.
    power: Option<(Child, u32)>,
    begun: Instant,
}

/// What a command in the machine said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Machine {
    /// Mounted and not started: files can be put into [`Machine::root`].
    pub(crate) fn new() -> Self {
        let begun = Instant::now();
        let place = tempfile::tempdir().unwrap();
        let mut holder = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "--pid", "--fork"])
            .args(["--kill-child=KILL", "--mount-proc", "sh", "-c", HOLD, "sh"])
            .arg(place.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare is installed");
        let mut answer = String::new();
        let stdout = holder.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut answer).unwrap();
        assert_eq!(answer, "ready\n", "a machine needs root and overlayfs");
        let first = child_of(holder.id()).expect("the holder's child");
        Self {
            name: format!("renewd-{}", uuid::Uuid::new_v4().simple()),
            place,
            holder,
            first,
            power: None,
            begun,
        }
    }

    /// Its file system, also while it is off. What its systemd mounts is not in it, such as `/run`.
    pub(crate) fn root(&self) -> PathBuf {
        let place = self.place.path().strip_prefix("/").unwrap();
        let of_holder = PathBuf::from(format!("/proc/{}/root", self.first));
        of_holder.join(place).join("root")
    }

    /// Writes a file, with the directories above it.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Boots it, and waits until that is over.
    pub(crate) fn start(&mut self) {
        assert!(self.power.is_none(), "it is on");
        let log = std::fs::File::create(self.place.path().join("console")).unwrap();
        let mut nspawn = Command::new("nsenter")
            .args(["--mount", "--pid", "--target", &self.first.to_string()])
            .args(["sh", "-c", POWER, "sh", &self.name])
            .args(["systemd-nspawn", "--quiet", "--directory"])
            .arg(self.place.path().join("root"))
            .arg(format!("--machine={}", &self.name[..20]))
            .args(["--register=no", "--keep-unit", "--private-network"])
            .args(["--link-journal=no", "--console=pipe", "--boot"])
            // What is enabled on this machine is nothing to the tests: the basics, and what they start.
            .arg("systemd.unit=basic.target")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("nsenter is installed");
        let end = Instant::now() + PATIENCE;
        loop {
            assert!(
                nspawn.try_wait().unwrap().is_none() && Instant::now() < end,
                "the machine did not boot:\n{}",
                self.console()
            );
            let init = child_of(nspawn.id()).and_then(child_of);
            if let Some(init) = init
                && let state = inside(init, &["systemctl", "is-system-running"])
                && ["running\n", "degraded\n"].contains(&state.stdout.as_str())
            {
                self.power = Some((nspawn, init));
                return;
            }
            std::thread::sleep(BETWEEN_LOOKS);
        }
    }

    /// Ends everything in it at once; what is on its disk stays, and it can be started again.
    pub(crate) fn cut_power(&mut self) {
        let (mut nspawn, init) = self.power.take().expect("it is on");
        // Its children go with process 1.
        let pid = nix::unistd::Pid::from_raw(i32::try_from(init).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        nspawn.wait().unwrap();
    }

    /// Runs a command in it, for two minutes at most.
    pub(crate) fn run(&self, argv: &[&str]) -> Said {
        let (_, init) = self.power.as_ref().expect("it is on");
        inside(*init, argv)
    }

    /// The same where it must go well; answers standard output without the last line end.
    #[track_caller]
    pub(crate) fn ok(&self, argv: &[&str]) -> String {
        let said = self.run(argv);
        assert_eq!(said.code, Some(0), "{argv:?}: {said:?}\n{}", self.journal());
        said.stdout.trim_end().to_owned()
    }

    /// A property of a unit, as `systemctl show` has it.
    #[track_caller]
    pub(crate) fn show(&self, unit: &str, property: &str) -> String {
        self.ok(&["systemctl", "show", "--value", "--property", property, unit])
    }

    /// Looks until it is so; then answers what was seen.
    #[track_caller]
    pub(crate) fn until<T: Debug>(&self, look: impl Fn() -> T, so: impl Fn(&T) -> bool) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            let seen = look();
            if so(&seen) {
                return seen;
            }
            assert!(
                Instant::now() < end,
                "it stayed {seen:?}\n{}",
                self.journal()
            );
            std::thread::sleep(BETWEEN_LOOKS);
        }
    }

    /// The journal's entries for these matches, oldest first, each an object with all its fields.
    #[track_caller]
    pub(crate) fn entries(&self, matches: &[&str]) -> Vec<serde_json::Value> {
        let argv = ["journalctl", "--no-pager", "--all", "--output=json"];
        let text = self.ok(&[&argv, matches].concat());
        let lines = text.lines().filter(|line| line.starts_with('{'));
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The end of its journal, for messages of tests that fail.
    pub(crate) fn journal(&self) -> String {
        self.run(&["journalctl", "--no-pager", "--lines=60", "--output=short"])
            .stdout
    }

    fn console(&self) -> String {
        std::fs::read_to_string(self.place.path().join("console")).unwrap_or_default()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The holder's child reads until the pipe is closed; its end is that of all namespaces.
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
        if let Some((mut nspawn, _)) = self.power.take() {
            let _ = nspawn.kill();
            let _ = nspawn.wait();
        }
        for hierarchy in ["systemd", "unified", "."] {
            let group = Path::new("/sys/fs/cgroup").join(hierarchy).join(&self.name);
            remove_group(&group);
        }
        let seconds = self.begun.elapsed().as_secs_f32();
        let _ = writeln!(
            std::io::stderr(),
            "the machine was there for {seconds:.1} s"
        );
    }
}

/// A directory of the control groups, the deepest first: their files cannot be removed.
fn remove_group(group: &Path) {
    let Ok(entries) = std::fs::read_dir(group) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.path().is_dir() {
            remove_group(&entry.path());
        }
    }
    let _ = std::fs::remove_dir(group);
}

fn inside(init: u32, argv: &[&str]) -> Said {
    let output = Command::new("timeout")
        .args(["--kill-after=5", "120", "nsenter", "--target"])
        .arg(init.to_string())
        .args(["--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup"])
        .arg("--")
        .args(argv)
        .env_clear()
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .env("LANG", "C.UTF-8")
        .stdin(Stdio::null())
        .output();
    output.expect("nsenter is installed").into()
}

/// The first child of a process, as this machine numbers it.
fn child_of(parent: u32) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
    children.ok()?.split_whitespace().next()?.parse().ok()
}

/// The overlay's upper layer must be on another file system than the lower one. Timers of this machine, such as those that
/// look for updates, are nothing to the tests.
const HOLD: &str = r#"
set -e
mount -t tmpfs -o mode=0755 tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
rm -rf "$1/root/etc/systemd/system/timers.target.wants" "$1/root/usr/sbin/policy-rc.d" "$1/root/var/lib/renewd"
: >"$1/root/etc/machine-id"
echo ready
exec cat
"#;

/// A control group of its own, or machines side by side would share one.
const POWER: &str = r#"
for hierarchy in /sys/fs/cgroup/systemd /sys/fs/cgroup/unified /sys/fs/cgroup; do
  if [ -e "$hierarchy/cgroup.procs" ]; then
    mkdir -p "$hierarchy/$1" && echo 0 >"$hierarchy/$1/cgroup.procs"
  fi
done
shift
exec "$@"
"#;

/// For whatever is waited for; ample for a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

const BETWEEN_LOOKS: Duration = Duration::from_millis(50);
