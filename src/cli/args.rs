//! What may be typed.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::cli::Exit;
use crate::cli::ccm::Ccm;
use crate::model::{
    CertificateId, ChannelId, JobName, RevisionId, RevocationReason, Seconds, TargetId, Timestamp,
};

/// The command line as a value, for man pages and completions.
#[must_use]
pub fn command() -> clap::Command {
    Arguments::command()
}

pub(crate) fn parse() -> Result<Arguments, clap::Error> {
    Arguments::try_parse()
}

/// Prints help, version or what is wrong with the line.
pub(crate) fn explain(error: &clap::Error) -> ExitCode {
    // A closed standard output is no reason to fail.
    let _ = error.print();
    if error.use_stderr() {
        Exit::Usage.into()
    } else {
        Exit::Done.into()
    }
}

/// The command of a line that may be wrong elsewhere: the first word that is no option and no value of one.
pub(crate) fn command_of(words: &[OsString]) -> Option<&str> {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let word = word.to_str()?;
        if matches!(word, "-c" | "--config" | "--socket") {
            words.next();
        } else if !word.starts_with('-') {
            return Some(word);
        }
    }
    None
}

/// Keeps every TLS certificate of this server valid, in use and proven.
#[derive(Debug, Clone, Parser)]
#[command(name = "renewd", version, arg_required_else_help = true)]
pub(crate) struct Arguments {
    /// Policy file; drop-ins are read from `policy.d` beside it
    #[arg(
        long,
        short,
        global = true,
        value_name = "FILE",
        default_value = "/etc/renewd/renewd.toml"
    )]
    pub(crate) config: PathBuf,

    /// Control socket of the daemon, instead of the one that the policy says
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,

    /// Show only errors and alerts, no progress
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Command {
    /// Check the policy and report every problem in it
    Validate,
    /// Show what would be done and why, for every certificate; changes nothing
    Plan {
        /// As JSON: an array with one object per certificate
        #[arg(long)]
        json: bool,
        /// As if it were then: 2027-04-01 or 2027-04-01T12:00:00Z
        #[arg(long, value_name = "DATE", value_parser = Timestamp::parse)]
        at: Option<Timestamp>,
    },
    /// Do everything that is due now, then end
    Once {
        /// Wait at most this long for what cannot be done yet, such as an issuer at work
        #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
        wait: Seconds,
    },
    /// Stay and keep every certificate valid; what the systemd unit runs
    Run,
    /// Show every certificate, the most urgent first: what is served, what happens next, what is wrong; changes nothing
    Status {
        /// Only these certificates of the policy
        #[arg(value_name = "NAME")]
        names: Vec<CertificateId>,
        /// Only certificates with this tag; may be given several times
        #[arg(long = "tag", value_name = "TAG")]
        tags: Vec<String>,
        /// As JSON: one object, described by status.schema.json
        #[arg(long)]
        json: bool,
        /// Draw it anew every other second until Ctrl-C
        #[arg(long, conflicts_with = "json")]
        watch: bool,
    },
    /// Answer as a plugin of Nagios and Icinga: 0 well, 1 warning, 2 critical, 3 unknown; changes nothing
    Check(Check),
    /// Obtain a new revision of a certificate now and roll it out
    Renew {
        /// A certificate of the policy
        name: CertificateId,
        /// Wait at most this long for what cannot be done yet
        #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
        wait: Seconds,
    },
    /// Put an earlier revision of a certificate back on its targets and hold the newest off
    Rollback {
        /// A certificate of the policy
        name: CertificateId,
        /// Which revision; without it the one issued before the live one
        #[arg(long, value_name = "REVISION")]
        to: Option<RevisionId>,
        /// Also over a certificate that somebody else installed and that was issued later
        #[arg(long)]
        force: bool,
    },
    /// End the hold of a rollback by hand, so that the newest revision is rolled out again
    Release {
        /// A certificate of the policy
        name: CertificateId,
        /// Put back what renewd has where others changed it, also over a certificate that was issued later
        #[arg(long)]
        force: bool,
    },
    /// Have the issuer revoke a certificate; one with another key is obtained and rolled out first
    Revoke(Revoke),
    /// Show each step of every order and rollout of a certificate; changes nothing
    History {
        /// A certificate of the policy
        name: CertificateId,
        /// As JSON: an array with one object for the certificate, its events in `events`
        #[arg(long)]
        json: bool,
    },
    /// Show what is done by the calendar: last run, result, duration, next run; changes nothing
    #[command(args_conflicts_with_subcommands = true)]
    Jobs {
        /// As JSON: an array with one object per job
        #[arg(long)]
        json: bool,
        #[command(subcommand)]
        command: Option<JobsCommand>,
    },
    /// Have the daemon read its policy again; says whether the new one is in force
    Reload,
    /// Show what the daemon did last, or is doing; changes nothing
    Events {
        /// What happens from now on, until it is interrupted
        #[arg(long, short)]
        follow: bool,
        /// As JSON: one object per line
        #[arg(long)]
        json: bool,
    },
    /// Show alerts on the desktop of the user who runs it; what the systemd user unit runs
    NotifyAgent,
    /// Look at targets, where certificates are used
    Target {
        #[command(subcommand)]
        command: TargetCommand,
    },
    /// Try the ways by which people are told of alerts, and see what was sent
    Alert {
        #[command(subcommand)]
        command: AlertCommand,
    },
    /// Show whose journal the state directory holds and what it bought, or make it this machine's
    State {
        #[command(subcommand)]
        command: StateCommand,
    },
    /// Call operations of Huawei Cloud CCM by hand
    Ccm(Box<Ccm>),
    /// Print completions of this command line, for packagers and for shells without a package
    Completions {
        /// For which shell
        shell: Shell,
    },
    /// Help with systemd
    Systemd {
        #[command(subcommand)]
        command: SystemdCommand,
    },
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Revoke {
    /// A certificate of the policy, or one that left it
    pub(crate) name: CertificateId,
    /// Why, by RFC 5280: key_compromise, superseded, cessation_of_operation, affiliation_changed, privilege_withdrawn,
    /// ca_compromise, aa_compromise, certificate_hold or unspecified
    #[arg(long, value_name = "REASON")]
    pub(crate) reason: RevocationReason,
    /// Which revision; without it the newest
    #[arg(long, value_name = "REVISION")]
    pub(crate) revision: Option<RevisionId>,
    /// Revoke it at once, although it is in use: clients may refuse it before another one is in its place
    #[arg(long)]
    pub(crate) now: bool,
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Wait at most this long for what cannot be done yet
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub(crate) wait: Seconds,
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Check {
    /// Only these certificates
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<CertificateId>,
    /// Only certificates with this tag; may be given several times
    #[arg(long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<String>,
    /// Warn when less than this is left: 14d, or a share of the lifetime such as 20%; by default when renewal is late by a
    /// quarter of the time that it has
    #[arg(long, short, value_name = "LEFT", value_parser = Threshold::parse)]
    pub(crate) warning: Option<Threshold>,
    /// Critical when less than this is left; by default when less than a tenth of the lifetime is, or half of the time that
    /// renewal has
    #[arg(long, value_name = "LEFT", value_parser = Threshold::parse)]
    pub(crate) critical: Option<Threshold>,
    /// Critical when renewd did not get on for so long; by default 30m for a daemon and 3h for runs by a timer
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) stale: Option<Seconds>,
    /// Read this status file, neither policy nor journal; what others than root do with /run/renewd/status.json
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

/// How little may be left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Threshold {
    Time(Seconds),
    /// Of the lifetime, in hundredths.
    Share(u32),
}

impl Threshold {
    fn parse(text: &str) -> Result<Self, String> {
        const FORMS: &str = "write days (14 or 14d), hours (36h), or a share of the lifetime (20%)";
        if let Some(share) = text.strip_suffix('%') {
            let share: u32 = share.parse().map_err(|_| FORMS)?;
            return if share <= 100 {
                Ok(Self::Share(share))
            } else {
                Err("a share is at most 100%".to_owned())
            };
        }
        if let Ok(days) = text.parse::<u32>() {
            return Ok(Self::Time(Seconds::days(i64::from(days))));
        }
        duration(text).map(Self::Time).map_err(|_| FORMS.to_owned())
    }
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum AlertCommand {
    /// Send a letter about nothing to everybody now, and say how it went
    Test {
        /// Only by this way, such as `ops` of `[alert.email.ops]`
        name: Option<ChannelId>,
    },
    /// Show what a mail about an alert looks like, or the digest of this moment; sends nothing
    Preview {
        /// The mail
        #[arg(value_enum, default_value_t = Preview::Alert)]
        what: Preview,
    },
    /// Show the letters that were queued last, and how they fared; changes nothing
    List {
        /// As JSON: an array with one object per letter, the latest first
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Preview {
    /// About something made up
    Alert,
    /// About everything, as it is
    Digest,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum SystemdCommand {
    /// Print a drop-in for the units: where the policy lets renewd write, which their sandbox must allow
    Dropin,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum JobsCommand {
    /// Run a job now, whatever its schedule says, and do what it finds due
    Run {
        /// check, renew, watch or digest
        name: JobName,
        /// Wait at most this long for what cannot be done yet
        #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
        wait: Seconds,
    },
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum StateCommand {
    /// Show whose journal it is, whether it may buy, and what it bought within 30 days; changes nothing
    Show {
        /// As JSON: one object
        #[arg(long)]
        json: bool,
    },
    /// Let a journal that was copied, moved or restored buy again: as a new one, of this machine
    Claim {
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum TargetCommand {
    /// Show every target with its resolved values and its present state; changes nothing
    List {
        /// As JSON: an array with one object per target
        #[arg(long)]
        json: bool,
    },
    /// Check what is live on a target: certificates, files, the service's own test, a probe; changes nothing
    Test {
        /// A target of the policy
        name: TargetId,
    },
}

fn duration(text: &str) -> Result<Seconds, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err("write a number and a unit: 30s, 10m, 2h, 1d".to_owned()),
    };
    let number: i64 = digits
        .parse()
        .map_err(|_| "write a number and a unit: 30s, 10m, 2h, 1d".to_owned())?;
    Ok(Seconds(number.saturating_mul(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn the_command_of_a_line_is_its_first_word_that_is_no_option() {
        for (line, command) in [
            ("check --nonsense", Some("check")),
            ("-q --config=x check", Some("check")),
            ("--config check status", Some("status")),
            ("-c check --socket check history check", Some("history")),
            ("jobs run check --nonsense", Some("jobs")),
            ("--nonsense", None),
            ("", None),
        ] {
            let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
            assert_eq!(command_of(&words), command, "{line}");
        }
    }
}
