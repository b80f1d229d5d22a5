//! Commands outside of the sandbox of renewd's own unit: systemd is asked to run each in a unit of its own.
//!
//! A configuration test or a hook writes logs and pid files where renewd itself may not write. So where renewd is a
//! service, `systemd-run --wait --pipe --collect` runs it: PID 1 starts it in the background of the machine, with none of
//! our restrictions, and its output comes back through our pipe. What is run is argv from the policy, never a shell.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::sys::process::{self, End, Invocation, Outcome, Runner, SystemRunner};
use crate::sys::{error_chain, fs, systemd};

/// The runner that fits: outside where renewd is a service of a running systemd, plain children elsewhere. `RENEWD_COMMANDS`
/// decides instead: `outside`, or `inside` for units without a sandbox.
#[must_use]
pub fn runner() -> Arc<dyn Runner> {
    if is_wanted() {
        Arc::new(OutsideRunner)
    } else {
        Arc::new(SystemRunner)
    }
}

/// Runs a program in the way that fits, with this on its standard input; every failure is an [`Outcome`].
pub async fn feed(invocation: &Invocation, input: &[u8]) -> Outcome {
    if is_wanted() {
        run(invocation, Some(input)).await
    } else {
        process::feed(invocation, input).await
    }
}

fn is_wanted() -> bool {
    match std::env::var("RENEWD_COMMANDS").as_deref() {
        Ok("outside") => true,
        Ok("inside") => false,
        _ => systemd::booted() && systemd::is_service(),
    }
}

/// Has each program run by PID 1.
#[derive(Debug, Clone, Copy, Default)]
pub struct OutsideRunner;

impl Runner for OutsideRunner {
    fn run<'a>(
        &'a self,
        invocation: &'a Invocation,
    ) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        Box::pin(run(invocation, None))
    }
}

async fn run(invocation: &Invocation, input: Option<&[u8]>) -> Outcome {
    let start = Instant::now();
    // What would fail there is told here, in the words of every other runner.
    if let Err(reason) = check(invocation).await {
        return Outcome {
            end: End::NotStarted(reason),
            output: String::new(),
            elapsed: start.elapsed(),
        };
    }
    let unit = unit_name();
    let asked = asking(invocation, &unit);
    let outcome = match input {
        Some(input) => process::feed(&asked, input).await,
        None => SystemRunner.run(&asked).await,
    };
    if outcome.end == End::TimedOut {
        // `systemd-run` is gone, and what it started is not.
        kill(&unit).await;
    }
    Outcome {
        elapsed: start.elapsed(),
        ..understood(outcome, &unit)
    }
}

async fn check(invocation: &Invocation) -> Result<(), String> {
    process::check(invocation).await?;
    let program = invocation.argv.first().map(Path::new);
    let there = program.map(fs::stat).transpose();
    match there.map_err(|error| error_chain(&error))? {
        Some(Some(_)) => Ok(()),
        _ => Err(format!("{:?} is not there", invocation.argv.first())),
    }
}

/// Unique on this machine: the start of our unit, by which its `ExecStopPost=` ends what a killed renewd left; the
/// process; a count.
fn unit_name() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let start = systemd::invocation().unwrap_or_else(|| "0".to_owned());
    format!(
        "renewd-command-{start}-{}-{count}.service",
        std::process::id()
    )
}

/// The call of `systemd-run`. The environment is handed to `systemd-run` itself and by name only, so that no value is
/// in an argument.
fn asking(invocation: &Invocation, unit: &str) -> Invocation {
    let mut argv: Vec<String> = [
        SYSTEMD_RUN,
        "--wait",
        "--pipe",
        "--collect",
        "--no-ask-password",
        "--description=a command of renewd",
        "--property=TimeoutStopSec=5s",
    ]
    .map(str::to_owned)
    .into();
    argv.push(format!("--unit={unit}"));
    if invocation.leaves_daemon {
        // By default systemd ends what is left when the program itself has ended.
        argv.push("--property=KillMode=process".to_owned());
    }
    // Should renewd be killed meanwhile, and nobody end it, it ends all the same.
    let longest = invocation.timeout + AFTER_OURS;
    argv.push(format!("--property=RuntimeMaxSec={}s", longest.as_secs()));
    let directory = invocation.directory.clone();
    let directory = directory.unwrap_or_else(|| PathBuf::from("/"));
    argv.push(format!("--working-directory={}", directory.display()));
    if let Some(user) = &invocation.user {
        argv.push(format!("--uid={user}"));
    }
    let base = process::ENVIRONMENT.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut env: Vec<(String, String)> = base.into();
    env.extend(invocation.env.iter().cloned());
    argv.extend(env.iter().map(|(name, _)| format!("--setenv={name}")));
    argv.push("--".to_owned());
    // systemd takes `$` for the beginning of a variable. The program's own path is not looked at.
    let mut words = invocation.argv.iter();
    argv.extend(words.next().cloned());
    argv.extend(words.map(|word| word.replace('$', "$$")));
    Invocation {
        argv,
        env,
        directory: None,
        user: None,
        timeout: invocation.timeout,
        leaves_daemon: false,
    }
}

/// SIGTERM to all of it, SIGKILL five seconds later; returns when it is gone.
async fn kill(unit: &str) {
    let ask = async |words: &[&str]| {
        let argv = [SYSTEMCTL].iter().chain(words).chain([&unit]);
        let invocation = Invocation {
            argv: argv.map(|word| (*word).to_owned()).collect(),
            env: Vec::new(),
            directory: None,
            user: None,
            timeout: STOPPING,
            leaves_daemon: false,
        };
        SystemRunner.run(&invocation).await
    };
    // Also those that a stop passes over, since they may stay after a good end.
    ask(&["kill", "--signal=TERM"]).await;
    let stopped = ask(&["stop"]).await;
    ask(&["kill", "--signal=KILL"]).await;
    // It may have ended by itself in this moment, and is unknown then.
    if stopped.end == End::TimedOut {
        tracing::warn!(
            unit,
            "a command did not end in time and could not be killed"
        );
    }
}

/// Takes what `systemd-run` says about the unit out of the output, and the end of the program from it.
fn understood(outcome: Outcome, unit: &str) -> Outcome {
    let mut output = outcome.output;
    // The program may have said something before.
    let begun = output.find(&format!("Running as unit: {unit}"));
    if let Some(at) = begun {
        let end = output[at..]
            .find('\n')
            .map_or(output.len(), |end| at + end + 1);
        output.replace_range(at..end, "");
    }
    let told = output.rfind(RESULT).and_then(|at| {
        let told = Told::read(&output[at..])?;
        output.truncate(at);
        Some(told)
    });
    let end = match outcome.end {
        End::Exited(status) => match told {
            Some(told) => told.end(status),
            None if begun.is_none() => End::NotStarted(output.trim().to_owned()),
            None => End::Exited(status),
        },
        end @ (End::Signalled(_) | End::TimedOut | End::NotStarted(_)) => end,
    };
    Outcome {
        end,
        output,
        elapsed: outcome.elapsed,
    }
}

/// The last lines of `systemd-run`.
struct Told {
    result: String,
    /// `code=killed/status=TERM`, or `code=killed, status=15/TERM` of later versions.
    main: String,
}

impl Told {
    /// `None` if somebody else only wrote the same words.
    fn read(text: &str) -> Option<Self> {
        let (first, rest) = text.split_once('\n')?;
        let mut main = "";
        for line in rest.lines() {
            match line.strip_prefix(MAIN) {
                Some(told) => main = told,
                None if FURTHER.iter().any(|begin| line.starts_with(begin)) => {}
                None => return None,
            }
        }
        Some(Self {
            result: first.strip_prefix(RESULT)?.to_owned(),
            main: main.to_owned(),
        })
    }

    /// `status` is what `systemd-run` ended with: that of the program where it exited.
    fn end(&self, status: i32) -> End {
        let by_signal = self.main.contains("code=killed") || self.main.contains("code=dumped");
        let known = NOT_STARTED.iter().find(|(known, _)| *known == status);
        match (self.result.as_str(), known) {
            ("timeout", _) => End::TimedOut,
            _ if by_signal => End::Signalled(signal_number(&self.main)),
            ("success", _) => End::Exited(0),
            (_, Some((_, why))) => End::NotStarted((*why).to_owned()),
            (_, None) => End::Exited(status),
        }
    }
}

/// From `…status=KILL` or `…status=9/KILL`.
fn signal_number(text: &str) -> i32 {
    let status = text.rsplit("status=").next().unwrap_or_default();
    let name = status.rsplit('/').next().unwrap_or_default().trim();
    let full = format!("SIG{name}");
    full.parse::<nix::sys::signal::Signal>()
        .map_or(0, |signal| signal as i32)
}

const SYSTEMD_RUN: &str = "/usr/bin/systemd-run";

const SYSTEMCTL: &str = "/usr/bin/systemctl";

/// Beyond our own time-out, which comes first.
const AFTER_OURS: Duration = Duration::from_secs(30);

/// For the end of a unit that has five seconds for it.
const STOPPING: Duration = Duration::from_secs(15);

/// The first of the last lines of `systemd-run`.
const RESULT: &str = "Finished with result: ";

/// The second one.
const MAIN: &str = "Main processes terminated with: ";

/// Beginnings of those that follow, in versions up to 257.
const FURTHER: [&str; 7] = [
    "Service runtime: ",
    "CPU time consumed: ",
    "IP traffic ",
    "IO bytes ",
    "Memory peak: ",
    "Memory swap peak: ",
    "Swap peak: ",
];

/// Statuses that systemd gives a process which it could not set up (systemd.exec(5)).
const NOT_STARTED: [(i32, &str); 4] = [
    (200, "systemd could not change to its working directory"),
    (203, "systemd could not execute it"),
    (216, "systemd could not change to its group"),
    (217, "systemd could not change to its user"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn end(output: &str, status: i32) -> (End, String) {
        let outcome = Outcome {
            end: End::Exited(status),
            output: output.to_owned(),
            elapsed: Duration::ZERO,
        };
        let outcome = understood(outcome, "renewd-command-7-1.service");
        (outcome.end, outcome.output)
    }

    #[test]
    fn the_words_of_systemd_run_are_taken_for_what_they_mean() {
        let begun = "Running as unit: renewd-command-7-1.service\n";
        let good = format!(
            "{begun}syntax is ok\nFinished with result: success\nMain processes terminated with: code=exited/status=0\nService runtime: 5ms\nCPU time consumed: 4ms\n"
        );
        assert_eq!(end(&good, 0), (End::Exited(0), "syntax is ok\n".to_owned()));
        let later = format!(
            "{begun}Finished with result: exit-code\nMain processes terminated with: code=exited, status=7/NOTRUNNING\nMemory peak: 1M\n"
        );
        assert_eq!(end(&later, 7), (End::Exited(7), String::new()));
        let killed = format!(
            "{begun}Finished with result: signal\nMain processes terminated with: code=killed/status=KILL\n"
        );
        assert_eq!(end(&killed, 255).0, End::Signalled(9));
        let killed = format!(
            "{begun}Finished with result: signal\nMain processes terminated with: code=killed, status=15/TERM\n"
        );
        assert_eq!(end(&killed, 255).0, End::Signalled(15));
        let slow = format!(
            "{begun}Finished with result: timeout\nMain processes terminated with: code=killed/status=TERM\n"
        );
        assert_eq!(end(&slow, 1).0, End::TimedOut);
    }

    #[test]
    fn what_only_looks_like_it_is_output() {
        let text = "early Running as unit: renewd-command-7-1.service\nFinished with result: success\nand more, Finished with result: exit-code\nMain processes terminated with: code=exited/status=3\n";
        let said = "early Finished with result: success\nand more, ".to_owned();
        assert_eq!(end(text, 3), (End::Exited(3), said));
    }

    #[test]
    fn a_refusal_of_systemd_is_no_output_of_the_program() {
        let text = "Failed to start transient service unit: Access denied\n";
        let why = "Failed to start transient service unit: Access denied".to_owned();
        assert_eq!(end(text, 1).0, End::NotStarted(why));
    }

    #[test]
    fn no_value_of_the_environment_is_an_argument() {
        let invocation = Invocation {
            argv: vec!["/usr/bin/true".to_owned(), "--only=$5".to_owned()],
            env: vec![("RENEWD_PATHS".to_owned(), "/a\n/b".to_owned())],
            directory: None,
            user: Some("deploy".to_owned()),
            timeout: Duration::from_secs(60),
            leaves_daemon: false,
        };
        let asking = asking(&invocation, "u.service");
        assert!(
            !asking.argv.iter().any(|word| word.contains("/a")),
            "{:?}",
            asking.argv
        );
        let told = |word: &str| asking.argv.iter().any(|known| known == word);
        assert!(
            told("--setenv=RENEWD_PATHS") && told("--uid=deploy") && told("--working-directory=/")
        );
        assert!(!told("--property=KillMode=process"));
        assert!(asking.env.contains(&invocation.env[0]));
        assert!(asking.argv.ends_with(&[
            "--".to_owned(),
            "/usr/bin/true".to_owned(),
            "--only=$$5".to_owned()
        ]));
    }
}
