//! The main process of a service, by the file that holds its number.

use std::path::Path;

use nix::sys::signal::{Signal as Native, kill};
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
    if is_alive(pid) {
        Ok(Ok(pid))
    } else {
        Ok(Err(format!("the process {pid} of {at} is gone")))
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

/// A process that has ended and was not reaped yet does not count.
fn is_alive(pid: i32) -> bool {
    let stat = fs::read_if_exists(Path::new(&format!("/proc/{pid}/stat")), MOST_BYTES);
    let Ok(Some(stat)) = stat else {
        return false;
    };
    let stat = String::from_utf8_lossy(&stat);
    // The name in parentheses may hold anything.
    let state = stat
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

/// Of a pid file and of a line in /proc.
const MOST_BYTES: u64 = 4096;

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "tests arrange files directly")]

    use super::*;

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
