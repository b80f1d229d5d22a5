//! The service's own commands: its configuration test, its reload, and its restart where the policy allows one.

use std::path::{Path, PathBuf};

use crate::deploy::tomcat::Manager;
use crate::deploy::{SecretResolver, StepError, haproxy, tomcat};
use crate::model::{ErrorClass, Probe, Reload, Seconds, SecretRef, TargetPolicy};
use crate::pki::Secret;
use crate::sys::pid;
use crate::sys::process::{End, Invocation, Outcome, Runner};

/// Runs the configuration test, if there is one, and returns its output.
pub(super) async fn test(runner: &dyn Runner, target: &TargetPolicy) -> Result<String, StepError> {
    run(runner, target, Told::Test, target.test.as_deref()).await
}

/// What is needed to tell a service.
pub(super) struct Host<'a> {
    pub(super) runner: &'a dyn Runner,
    pub(super) resolve: &'a SecretResolver,
    /// Files with key and certificate in one, as the service is pointed at them.
    pub(super) combined: &'a [PathBuf],
}

/// Tells the service, if it needs telling, and returns what was said.
pub(super) async fn reload(host: &Host<'_>, target: &TargetPolicy) -> Result<String, StepError> {
    let restart = target.restart.as_deref();
    let told = match &target.reload {
        None if restart.is_some() => return run(host.runner, target, Told::Restart, restart).await,
        None => return Ok(String::new()),
        Some(reload) => tell(host, target, reload).await,
    };
    match (told, restart) {
        (Ok(output), _) => Ok(output),
        (Err(error), None) => Err(error),
        // A restart would start who does not run.
        (Err(error), Some(_)) if !error.service_runs => Err(error),
        (Err(error), Some(argv)) => {
            tracing::warn!(target = %target.id, %error, "the reload failed; the policy allows a restart");
            let output = run(host.runner, target, Told::Restart, Some(argv)).await?;
            Ok(format!("{error}\n{output}"))
        }
    }
}

async fn tell(
    host: &Host<'_>,
    target: &TargetPolicy,
    reload: &Reload,
) -> Result<String, StepError> {
    let within = target.command_timeout.to_std();
    match reload {
        Reload::Command(argv) => run(host.runner, target, Told::Reload, Some(argv)).await,
        Reload::Signal(signal) => match &target.pid_file {
            Some(pid_file) => pid::tell(pid_file, *signal)
                .map(|()| String::new())
                .map_err(StepError::configuration),
            None => Err(StepError::configuration("there is no `pid_file`")),
        },
        Reload::UnitSignal { unit, signal } => {
            let signal = format!("--signal=SIG{}", signal.as_str());
            // The older of two spellings, which both old and new versions take.
            let argv = [SYSTEMCTL, "kill", "--kill-who=main", &signal, "--", unit];
            run(
                host.runner,
                target,
                Told::Reload,
                Some(&argv.map(str::to_owned)),
            )
            .await
        }
        Reload::Haproxy {
            admin_socket,
            otherwise,
        } => match haproxy::update(admin_socket, host.combined, within).await {
            Ok(said) => Ok(said),
            Err(problem) => {
                let said = Box::pin(tell(host, target, otherwise)).await?;
                Ok(format!("reloaded, since {problem}\n{said}"))
            }
        },
        Reload::HaproxyMaster(socket) => haproxy::reload(socket, within)
            .await
            .map_err(StepError::configuration),
        Reload::Tomcat {
            manager,
            path,
            user,
            password,
        } => {
            let password = secret(host.resolve, password).await?;
            let manager = Manager {
                address: manager,
                path,
                user,
                password: &password,
            };
            tomcat::reload(&manager, within)
                .await
                .map_err(|error| StepError {
                    // The probe's listener was found a moment ago: it is the manager alone that is not there.
                    service_runs: error.service_runs || matches!(target.probe, Probe::Tls { .. }),
                    ..error
                })
        }
    }
}

/// Read late; a file, so not here on an asynchronous thread.
async fn secret(resolve: &SecretResolver, reference: &SecretRef) -> Result<Secret, StepError> {
    let (resolve, owned) = (SecretResolver::clone(resolve), reference.clone());
    let read = tokio::task::spawn_blocking(move || resolve(&owned)).await;
    read.map_err(|error| error.to_string())
        .and_then(|secret| secret)
        .map_err(|problem| {
            StepError::configuration(format!("failed to read {reference}: {problem}"))
        })
}

/// Whether there is a service to tell at all, where no probe can say so: by its `pid_file`, else by whom the reload goes to,
/// which may be systemd or HAProxy's master process. Of another command only its failure tells, see [`nobody_was_told`].
pub(super) async fn runs(runner: &dyn Runner, target: &TargetPolicy) -> Result<(), StepError> {
    let Some(pid_file) = &target.pid_file else {
        return match told(target) {
            Some(ToldBy::Unit { systemctl, unit }) => {
                is_active(runner, target, systemctl, unit).await
            }
            Some(ToldBy::Master(socket)) => {
                haproxy::master_runs(socket, target.command_timeout.to_std())
                    .await
                    .map_err(|why| stopped(&why))
            }
            None => Ok(()),
        };
    };
    match pid::running(pid_file) {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(why)) => Err(stopped(&why.to_string())),
        Err(problem) => Err(StepError::configuration(format!(
            "cannot tell whether the service runs: {problem}"
        ))),
    }
}

/// Who passes a reload on to a service, and knows whether it runs.
enum ToldBy<'a> {
    /// systemd, or what is called like its program.
    Unit { systemctl: &'a str, unit: &'a str },
    /// HAProxy's master process, by its socket.
    Master(&'a Path),
}

/// By whom a target is reloaded, or restarted where that is the only way.
fn told(target: &TargetPolicy) -> Option<ToldBy<'_>> {
    match (&target.reload, &target.restart) {
        (Some(reload), _) => told_by(reload),
        (None, Some(argv)) => unit_of(argv),
        (None, None) => None,
    }
}

fn told_by(reload: &Reload) -> Option<ToldBy<'_>> {
    match reload {
        Reload::Command(argv) => unit_of(argv),
        Reload::UnitSignal { unit, .. } => Some(ToldBy::Unit {
            systemctl: SYSTEMCTL,
            unit,
        }),
        // The runtime API may be shut for another reason than that nobody runs.
        Reload::Haproxy { otherwise, .. } => told_by(otherwise),
        Reload::HaproxyMaster(socket) => Some(ToldBy::Master(socket)),
        Reload::Signal(_) | Reload::Tomcat { .. } => None,
    }
}

fn unit_of(argv: &[String]) -> Option<ToldBy<'_>> {
    let tells = |verb: &str| verb.contains("reload") || verb.contains("restart");
    match argv {
        [systemctl, verb, unit] if systemctl.ends_with("/systemctl") && tells(verb) => {
            Some(ToldBy::Unit { systemctl, unit })
        }
        _ => None,
    }
}

async fn is_active(
    runner: &dyn Runner,
    target: &TargetPolicy,
    systemctl: &str,
    unit: &str,
) -> Result<(), StepError> {
    let argv = [systemctl, "is-active", unit].map(str::to_owned);
    let outcome = runner
        .run(&Invocation {
            argv: argv.into(),
            env: Vec::new(),
            directory: None,
            user: None,
            timeout: target.command_timeout.to_std(),
            leaves_daemon: false,
        })
        .await;
    // systemctl(1): where nobody answers, nothing is known, and the reload itself will tell.
    match outcome.output.trim() {
        state @ ("inactive" | "failed") => Err(stopped(&format!("the unit {unit} is {state}"))),
        _ => Ok(()),
    }
}

/// A failed reload that could tell nobody, where neither probe nor `pid_file` could say so before: nginx finds the number
/// of its main process in a file of its own.
pub(super) fn nobody_was_told(target: &TargetPolicy, error: StepError) -> StepError {
    let blind = target.probe == Probe::None && target.pid_file.is_none();
    let text = &error.output;
    let no_number = text.contains("nginx: [error] invalid PID number")
        || (text.contains("nginx: [error] open()") && text.contains(".pid\" failed (2:"));
    if blind && no_number {
        StepError {
            output: error.output,
            ..stopped("it has no main process")
        }
    } else {
        error
    }
}

fn stopped(why: &str) -> StepError {
    StepError {
        service_runs: false,
        ..StepError::new(
            ErrorClass::Transient,
            format!("the service does not run: {why}; the new files are in place for its start"),
        )
    }
}

/// What a service's own command is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Test,
    Reload,
    Restart,
}

impl Told {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Test => "configuration test",
            Self::Reload => "reload",
            Self::Restart => "restart",
        }
    }
}

async fn run(
    runner: &dyn Runner,
    target: &TargetPolicy,
    told: Told,
    argv: Option<&[String]>,
) -> Result<String, StepError> {
    let Some(argv) = argv else {
        return Ok(String::new());
    };
    let invocation = Invocation {
        argv: argv.to_vec(),
        env: Vec::new(),
        directory: None,
        user: None,
        timeout: target.command_timeout.to_std(),
        leaves_daemon: told != Told::Test,
    };
    let outcome = runner.run(&invocation).await;
    if outcome.success() {
        return Ok(outcome.output);
    }
    Err(failure(
        target.command_timeout,
        told.as_str(),
        argv,
        outcome,
    ))
}

/// What an outcome that is no success means; `within` is the time that it had.
pub(super) fn failure(within: Seconds, what: &str, argv: &[String], outcome: Outcome) -> StepError {
    let command = argv.join(" ");
    let (class, how) = match &outcome.end {
        End::Exited(status) => (
            ErrorClass::Configuration,
            format!("ended with status {status}"),
        ),
        End::Signalled(signal) => (
            ErrorClass::Configuration,
            format!("was ended by signal {signal}"),
        ),
        End::TimedOut => (
            ErrorClass::Transient,
            format!("took longer than {within} and was killed with its children"),
        ),
        End::NotStarted(reason) => (ErrorClass::Configuration, format!("was not run: {reason}")),
    };
    let mut message = format!("the {what} `{command}` {how}");
    // Programs say what matters last.
    if let Some(line) = telling_line(&outcome.output) {
        message = format!("{message}: {line}");
    }
    StepError {
        output: outcome.output,
        ..StepError::new(class, message)
    }
}

/// The first line that looks like an error, else the last one.
fn telling_line(output: &str) -> Option<String> {
    let lines = || {
        output
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
    };
    let line = lines()
        .find(|line| is_alarming(line))
        .or_else(|| lines().next_back())?;
    Some(line.chars().take(LONGEST_LINE).collect())
}

/// Whether a line of a program's output looks like an error rather than a remark.
pub(super) fn is_alarming(line: &str) -> bool {
    let line = line.to_lowercase();
    ALARMING.iter().any(|word| line.contains(word))
}

/// Words of nginx, Apache (`… does not exist or is empty`) and HAProxy (`[ALERT] … unable to load …`).
const ALARMING: [&str; 9] = [
    "emerg",
    "error",
    "fatal",
    "failed",
    "cannot",
    "[alert]",
    "unable to",
    "does not exist",
    "no such file",
];

/// Where systemd is.
const SYSTEMCTL: &str = "/usr/bin/systemctl";

/// Of a message in a mail or a table.
const LONGEST_LINE: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_tells_is_found() {
        let nginx = "nginx: [emerg] unknown directive \"brokn\" in nginx.conf:3\nnginx: configuration file nginx.conf test failed\n";
        assert!(telling_line(nginx).unwrap().contains("[emerg]"));
        let haproxy = "[NOTICE]   (7) : haproxy version is 2.6.12\n[ALERT]    (7) : config : parsing [h.cfg:9] : 'bind :443' in section 'frontend' : unable to load certificate from file '/live/www/haproxy.pem'.\n";
        assert!(telling_line(haproxy).unwrap().contains("haproxy.pem"));
        // The line after the one that says where is the one that says what.
        let apache = "AH00526: Syntax error on line 3 of /etc/apache2/sites-enabled/x.conf:\nSSLCertificateFile: file '/live/www/server.crt' does not exist or is empty\nAction 'configtest' failed.\n";
        assert!(apache.lines().nth(1).is_some_and(is_alarming));
        assert_eq!(telling_line("one\ntwo\n\n").as_deref(), Some("two"));
        assert_eq!(telling_line(" \n"), None);
    }
}
