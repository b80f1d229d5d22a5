//! The command line: parses, calls the engine, prints, and answers with a documented exit status.
//!
//! Data goes to standard output, everything else to standard error. Nothing here decides what is due.

mod act;
mod agent;
mod alert;
mod args;
mod bar;
mod ccm;
mod check;
mod context;
mod control;
mod exit;
mod jobs;
mod output;
mod revoke;
mod show;
mod state;
mod status;
mod systemd;
mod target;

use std::fmt;
use std::process::ExitCode;

pub use args::command;
pub use exit::{Attempt, Exit};

use args::{
    AlertCommand, Arguments, Command, JobsCommand, StateCommand, SystemdCommand, TargetCommand,
};

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    crate::sys::crash::setup();
    // Fails only when a provider is installed already, and then it is the same one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let arguments = match args::parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let exit = args::explain(&error);
            // Whoever watches reads the plugins' statuses only, and their first line.
            let words: Vec<_> = std::env::args_os().skip(1).collect();
            return if error.use_stderr() && args::command_of(&words) == Some("check") {
                output::data(
                    "RENEWD UNKNOWN - the command line is wrong, see `renewd check --help`\n",
                );
                Exit::CheckUnknown.into()
            } else {
                exit
            };
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            output::error(&format!("failed to start: {error}"));
            return Exit::Bug.into();
        }
    };
    let exit = runtime.block_on(dispatch(arguments));
    // A probe or a lookup that still hangs must not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    exit.into()
}

async fn dispatch(arguments: Arguments) -> Exit {
    let result = match &arguments.command {
        Command::Validate => show::validate(&arguments),
        Command::Plan { json, at } => show::plan(&arguments, *json, *at).await,
        Command::Status {
            names,
            tags,
            json,
            watch,
        } => {
            let ask = status::Ask {
                names,
                tags,
                json: *json,
                watch: *watch,
            };
            status::status(&arguments, ask).await
        }
        Command::Check(ask) => return check::check(&arguments, ask).await,
        Command::History { name, json } => show::history(&arguments, name, *json).await,
        Command::Once { wait } => act::once(&arguments, *wait).await,
        Command::Renew { name, wait } => act::renew(&arguments, name, *wait).await,
        Command::Rollback { name, to, force } => {
            act::rollback(&arguments, name, to.as_ref(), *force).await
        }
        Command::Release { name, force } => act::release(&arguments, name, *force).await,
        Command::State {
            command: StateCommand::Show { json },
        } => state::show(&arguments, *json).await,
        Command::State {
            command: StateCommand::Claim { yes },
        } => state::claim(&arguments, *yes).await,
        Command::Revoke(wanted) => revoke::revoke(&arguments, wanted).await,
        Command::Target {
            command: TargetCommand::List { json },
        } => target::list(&arguments, *json).await,
        Command::Target {
            command: TargetCommand::Test { name },
        } => target::test(&arguments, name).await,
        Command::Jobs {
            command: None,
            json,
        } => jobs::list(&arguments, *json).await,
        Command::Jobs {
            command: Some(JobsCommand::Run { name, wait }),
            ..
        } => jobs::run(&arguments, *name, *wait).await,
        Command::Alert {
            command: AlertCommand::Test { name },
        } => alert::test(&arguments, name.as_ref()).await,
        Command::Alert {
            command: AlertCommand::Preview { what },
        } => alert::preview(&arguments, *what).await,
        Command::Alert {
            command: AlertCommand::List { json },
        } => alert::list(&arguments, *json).await,
        Command::Completions { shell } => Ok(completions(*shell)),
        Command::Systemd {
            command: SystemdCommand::Dropin,
        } => systemd::drop_in(&arguments),
        Command::Reload => control::reload(&arguments).await,
        Command::Events { follow, json } => control::events(&arguments, *follow, *json).await,
        Command::NotifyAgent => agent::run(&arguments).await,
        Command::Ccm(command) => ccm::run(&arguments, command).await,
        Command::Run => act::run(&arguments).await,
    };
    match result {
        Ok(exit) => exit,
        Err(failure) => {
            output::error(&failure.message);
            failure.exit
        }
    }
}

fn completions(shell: clap_complete::Shell) -> Exit {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command(), "renewd", &mut text);
    output::data(&String::from_utf8_lossy(&text));
    Exit::Done
}

/// Why a command ended early.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
        }
    }
}

pub(crate) type CommandResult = Result<Exit, Failure>;
