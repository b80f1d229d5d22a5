//! How a service is tested and told: its commands, or a signal.

use std::path::PathBuf;

use crate::config::code::Code;
use crate::config::diagnostic::Diagnostic;
use crate::config::digest::Canon;
use crate::config::fields::Fields;
use crate::config::lift::Lift;
use crate::config::lift::value::Reported;
use crate::config::scalar::PathRule;
use crate::model::{Probe, Recipe, Reload, Signal, TargetKind};

/// How a service is tested and told.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) test: Option<Vec<String>>,
    pub(super) reload: Option<Reload>,
    pub(super) restart: Option<Vec<String>>,
    pub(super) pid_file: Option<PathBuf>,
}

impl Told {
    pub(super) fn put_into(&self, canon: &mut Canon) {
        let argv = |canon: &mut Canon, name: &str, argv: Option<&[String]>| {
            canon.maybe(name, argv.map(<[String]>::len));
            canon.list(name, argv.unwrap_or_default());
        };
        argv(canon, "test", self.test.as_deref());
        match &self.reload {
            None => argv(canon, "reload", None),
            Some(Reload::Command(words)) => argv(canon, "reload", Some(words)),
            Some(Reload::Signal(signal)) => canon.put("signal", signal.as_str()),
            Some(
                other @ (Reload::UnitSignal { .. }
                | Reload::Haproxy { .. }
                | Reload::HaproxyMaster(_)
                | Reload::Tomcat { .. }),
            ) => canon.put("told", other),
        }
        if let Some(Reload::Tomcat { user, password, .. }) = &self.reload {
            canon.put("user", user);
            canon.put("password", password);
        }
        argv(canon, "restart", self.restart.as_deref());
        canon.maybe(
            "pid_file",
            self.pid_file.as_ref().map(|path| path.display()),
        );
    }
}

impl Lift<'_> {
    /// What is written, else what the recipe says.
    pub(super) fn told(&mut self, kind: TargetKind, fields: &Fields<'_>) -> Result<Told, Reported> {
        let recipe = kind.recipe(self.family);
        let options = match kind {
            TargetKind::Nginx => self.nginx_options(fields),
            TargetKind::Apache
            | TargetKind::Haproxy
            | TargetKind::Tomcat
            | TargetKind::Command
            | TargetKind::Files => Vec::new(),
        };
        let mut told = self.own(fields)?;
        if kind == TargetKind::Nginx && told.test.is_some() && told.reload.is_some() {
            self.report_idle_options(fields);
        }
        match kind {
            TargetKind::Haproxy => self.haproxy(fields, &mut told)?,
            TargetKind::Tomcat => self.tomcat(fields, &mut told)?,
            TargetKind::Nginx | TargetKind::Apache | TargetKind::Command | TargetKind::Files => {}
        }
        fill(&mut told, recipe, &options);
        if kind == TargetKind::Haproxy {
            self.runtime_api(fields, &mut told)?;
        }
        Ok(told)
    }

    /// What is written.
    fn own(&mut self, fields: &Fields<'_>) -> Result<Told, Reported> {
        let test = self.command(fields, "test");
        let reload = self.command(fields, "reload");
        let restart = if fields.knows("restart") {
            self.command(fields, "restart")
        } else {
            Ok(None)
        };
        let pid_file = if fields.knows("pid_file") {
            let path = self.path(fields, "pid_file", PathRule::Absolute);
            if path.is_none() && fields.has("pid_file") {
                return Err(Reported);
            }
            path
        } else {
            None
        };
        let signal = if fields.knows("signal") {
            self.signal(fields)
        } else {
            Ok(None)
        };
        let (reload, signal) = (reload?, signal?);
        Ok(Told {
            test: test?,
            reload: signal.or(reload.map(Reload::Command)),
            restart: restart?,
            pid_file: pid_file.map(|(path, _)| path),
        })
    }

    fn signal(&mut self, fields: &Fields<'_>) -> Result<Option<Reload>, Reported> {
        let unit = self.unit(fields)?;
        let Some((word, place)) = fields.text("signal") else {
            return if fields.has("signal") {
                Err(Reported)
            } else {
                Ok(None)
            };
        };
        if let Some(reload) = fields.entry("reload") {
            let message = "`signal` and `reload` both tell the service";
            let problem = Diagnostic::error(Code::Command, place, message, "a signal")
                .also(reload.key, "a command");
            self.problems.push(problem.help("leave one of them out"));
            return Err(Reported);
        }
        if unit.is_none() && !fields.has("pid_file") {
            let message = "`signal` has nobody to go to";
            let label = "needs a process";
            let problem = Diagnostic::error(Code::Command, place, message, label);
            self.problems.push(problem.help(
                "write `unit`, the service's systemd unit, or `pid_file`, the file in which it keeps its number",
            ));
            return Err(Reported);
        }
        let signal = Signal::ALL.into_iter().find(|s| s.as_str() == word);
        let signal = signal.ok_or(Reported)?;
        Ok(Some(match unit {
            Some(unit) => Reload::UnitSignal { unit, signal },
            None => Reload::Signal(signal),
        }))
    }

    /// The unit that the signal goes to.
    fn unit(&mut self, fields: &Fields<'_>) -> Result<Option<String>, Reported> {
        let Some((unit, place)) = fields.text("unit") else {
            return if fields.has("unit") {
                Err(Reported)
            } else {
                Ok(None)
            };
        };
        if !is_unit(unit) {
            let message = format!("`{unit}` is no name of a service unit");
            let problem = Diagnostic::error(Code::Command, place, message, "as systemd names it");
            let help = "such as \"postfix.service\"; letters, digits and `:-_.\\@`, without a path";
            self.problems.push(problem.help(help));
            return Err(Reported);
        }
        if !fields.has("signal") {
            let message = "`unit` has no effect";
            let label = "it takes a signal, and there is none";
            let problem = Diagnostic::warning(Code::NoEffect, place, message, label);
            let help = "write `signal`, or `reload = [\"/usr/bin/systemctl\", \"reload\", UNIT]`";
            self.problems.push(problem.help(help));
        } else if let Some(entry) = fields.entry("pid_file") {
            let message = "`unit` and `pid_file` both name the process";
            let problem = Diagnostic::error(Code::Command, place, message, "systemd knows it")
                .also(entry.key, "a file says it");
            self.problems.push(problem.help("leave one of them out"));
            return Err(Reported);
        }
        Ok(Some(if unit.ends_with(".service") {
            unit.to_owned()
        } else {
            format!("{unit}.service")
        }))
    }

    /// A pid file says something only where no probe does, or where it takes the signal.
    pub(super) fn report_idle_pid_file(&mut self, fields: &Fields<'_>, probe: Option<&Probe>) {
        if fields.knows("pid_file")
            && let (Some(entry), Some(Probe::Tls { .. })) = (fields.entry("pid_file"), probe)
            && !(fields.knows("signal") && fields.has("signal"))
        {
            let message = "`pid_file` has no effect";
            let label = "the probe shows whether the service runs";
            let problem = Diagnostic::warning(Code::NoEffect, entry.key, message, label);
            self.problems.push(problem);
        }
    }

    /// Prefix and configuration file as options of nginx.
    fn nginx_options(&mut self, fields: &Fields<'_>) -> Vec<String> {
        let prefix = self.path(fields, "prefix", PathRule::Absolute);
        let config = self.path(fields, "config", PathRule::Absolute);
        let mut options = Vec::new();
        for (option, path) in [("-p", prefix), ("-c", config)] {
            if let Some((path, _)) = path {
                options.push(option.to_owned());
                options.push(path.display().to_string());
            }
        }
        options
    }

    fn report_idle_options(&mut self, fields: &Fields<'_>) {
        for key in ["prefix", "config"] {
            if let Some(entry) = fields.entry(key) {
                let message = format!("`{key}` has no effect");
                let label = "both commands are written out";
                let problem = Diagnostic::warning(Code::NoEffect, entry.key, message, label);
                self.problems
                    .push(problem.help(format!("leave `{key}` out, or `test` and `reload`")));
            }
        }
    }
}

/// Whether systemd could know a service by this name (systemd.unit(5)).
fn is_unit(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    let other = |suffix: &str| suffix != "service" && SUFFIXES.contains(&suffix);
    !name.is_empty()
        && name.len() <= 255
        && !name.starts_with(['-', '.', '@'])
        && name.chars().all(fits)
        && !name
            .rsplit_once('.')
            .is_some_and(|(_, suffix)| other(suffix))
}

/// Kinds of unit; only services have a main process.
const SUFFIXES: [&str; 9] = [
    "socket",
    "device",
    "mount",
    "automount",
    "swap",
    "target",
    "path",
    "timer",
    "slice",
];

fn fill(told: &mut Told, recipe: &Recipe, options: &[String]) {
    let with = |base: &[&str]| {
        let words = base.iter().map(|word| (*word).to_owned());
        words.chain(options.iter().cloned()).collect::<Vec<_>>()
    };
    if told.test.is_none() {
        told.test = recipe.test.map(with);
    }
    if told.reload.is_none() {
        told.reload = recipe.reload.map(with).map(Reload::Command);
    }
    if told.pid_file.is_none() {
        told.pid_file = recipe.pid_file.map(PathBuf::from);
    }
}
