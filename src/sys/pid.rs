//! The main process of a service, by the file that holds its number.

use std::path::Path;

use nix::sys::signal::{Signal as Native, kill};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use nix::unistd::Pid;

use crate::model::Signal;
use crate::sys::error_chain;
use crate::sys::fs;

/// The number of the process, if it is alive; else why it is not, in words that follow "the service does not run: ".
///
/// # Errors
/// The file cannot be read for another reason than that it is not there, or what is in it is no number of a service.
pub fn running(pid_file: &Path) -> Result<Result<i32, String>, String> {
    let at = pid_file.display();
    let text = fs::read_if_exists(pid_file, MOST_BYTES).map_err(|error| error_chain(&error))?;
    let Some(text) = text else {
        return Ok(Err(format!("{at} is not there")));
    };
    let text = String::from_utf8_lossy(&text);
    let number = text.lines().next().unwrap_or_default().trim();
    let Some(pid) = number.parse::<i32>().ok().filter(|pid| *pid > 1) else {
        return Err(format!("{at} holds no number of a process"));
    };
    match started(pid) {
        None => Ok(Err(format!("the process {pid} of {at} is gone"))),
        Some(started) if is_stranger(pid_file, started) => Ok(Err(format!(
            "the process {pid} of {at} is another one, which started after that file was written; `touch` the file if it is the service all the same"
        ))),
        Some(_) => Ok(Ok(pid)),
    }
}

/// Sends a signal to the process, which must be alive.
///
/// # Errors
/// As for [`running`], or the signal was refused.
pub fn tell(pid_file: &Path, signal: Signal) -> Result<(), String> {
    let pid = running(pid_file)??;
    let native = match signal {
        Signal::Hup => Native::SIGHUP,
        Signal::Usr1 => Native::SIGUSR1,
        Signal::Usr2 => Native::SIGUSR2,
    };
    kill(Pid::from_raw(pid), native)
        .map_err(|error| format!("failed to send SIG{} to {pid}: {error}", signal.as_str()))
}

/// When a process started, in ticks since the host did; `None` for one that is not alive. One that has ended and was not
/// reaped yet does not count.
fn started(pid: i32) -> Option<u64> {
    let stat = fs::read_if_exists(Path::new(&format!("/proc/{pid}/stat")), MOST_BYTES).ok()??;
    let stat = String::from_utf8_lossy(&stat);
    // The name in parentheses may hold anything. proc(5): what follows is field 3, the state; field 22 is the start.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(22 - 4)?.parse().ok()
}

/// Whether a process that started then cannot be the one whose number was written to the file: numbers are given again, and
/// a service that was killed leaves its file behind.
///
/// The file has the time of a clock that may have been set since, the process that of one that nobody sets. A file of a
/// memory file system that seems older than the host's start tells that the clock was set forward meanwhile, and then
/// nothing can be compared. A clock that was set back makes the file look newer, and strangers are not found; one that was
/// set forward by less than the host had run when the service started makes the service a stranger, which delays rollouts
/// and harms nobody.
fn is_stranger(pid_file: &Path, started: u64) -> bool {
    let (Ok(Some(file)), Some(boot)) = (fs::stat_followed(pid_file), booted()) else {
        return false;
    };
    let written = file.modified.div_euclid(1_000_000_000);
    let in_memory = statfs(pid_file).is_ok_and(|at| at.filesystem_type() == TMPFS_MAGIC);
    if in_memory && written + TOLERANCE < boot {
        return false;
    }
    let started = boot.saturating_add_unsigned(started / TICKS_PER_SECOND);
    started > written + TOLERANCE
}

/// When the host started, in seconds since 1970 by the clock as it is now.
fn booted() -> Option<i64> {
    let stat = fs::read_if_exists(Path::new("/proc/stat"), MOST_BYTES_OF_ALL).ok()??;
    let stat = String::from_utf8_lossy(&stat);
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok()
}

/// A service writes its number when it starts; seconds are rounded twice, and clocks are corrected by little.
const TOLERANCE: i64 = 10;
/// USER_HZ: the kernel's unit for programs, the same on all architectures for which renewd is built.
const TICKS_PER_SECOND: u64 = 100;
/// A line for each processor and each interrupt.
const MOST_BYTES_OF_ALL: u64 = 4 << 20;
/// Of a pid file and of a line in /proc.
const MOST_BYTES: u64 = 4096;

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "tests arrange files directly")]

    use super::*;

    #[test]
    fn a_process_that_started_after_the_file_was_written_is_a_stranger() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        let own = i32::try_from(std::process::id()).unwrap();
        std::fs::write(&path, format!("{own}\n")).unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        let write_at = |seconds: i64| {
            let since = std::time::Duration::from_secs(u64::try_from(seconds).unwrap());
            file.set_modified(std::time::SystemTime::UNIX_EPOCH + since)
                .unwrap();
        };
        let start = booted().unwrap() + i64::try_from(started(own).unwrap() / 100).unwrap();
        for (after_start, is_service) in
            [(5, true), (-TOLERANCE / 2, true), (-TOLERANCE - 5, false)]
        {
            write_at(start + after_start);
            let found = running(&path).unwrap();
            assert_eq!(found.is_ok(), is_service, "{after_start}: {found:?}");
            if !is_service {
                assert!(found.unwrap_err().contains("another one"));
                // It would end this very test.
                assert!(
                    tell(&path, Signal::Hup)
                        .unwrap_err()
                        .contains("another one")
                );
            }
        }
        // Before the host started: on a disk it is of another life of it, in memory the clock was set since.
        write_at(1);
        let in_memory = statfs(&path).unwrap().filesystem_type() == TMPFS_MAGIC;
        assert_eq!(running(&path).unwrap().is_ok(), in_memory);
    }

    #[test]
    fn a_process_is_found_by_its_file_and_a_missing_one_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        assert!(
            running(&file)
                .unwrap()
                .unwrap_err()
                .contains("is not there")
        );
        let own = i32::try_from(std::process::id()).unwrap();
        std::fs::write(&file, format!("{own}\n")).unwrap();
        assert_eq!(running(&file), Ok(Ok(own)));
        std::fs::write(&file, "2147483647\n").unwrap();
        assert!(running(&file).unwrap().unwrap_err().contains("is gone"));
        for bad in ["", "1", "-1", "0", "x"] {
            std::fs::write(&file, bad).unwrap();
            assert!(running(&file).unwrap_err().contains("no number"), "{bad}");
        }
    }
}
