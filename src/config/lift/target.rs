//! Targets.

use crate::config::code::Code;
use crate::config::diagnostic::Diagnostic;
use crate::config::digest::Canon;
use crate::config::fields::Fields;
use crate::config::lift::Lift;
use crate::config::lift::clash::Claim;
use crate::config::lift::value::{Reported, Values};
use crate::config::scalar::{self, PathRule};
use crate::model::{
    ExportKind, ExportLayout, ExportSpec, FileAttributes, Name, PasswordSource, Probe, Seconds,
    TargetId, TargetKind, TargetPolicy,
};

/// The two commands of a service.
struct Commands {
    test: Option<Vec<String>>,
    reload: Option<Vec<String>>,
}

impl Lift<'_> {
    /// One target of any kind, and the paths that it writes, as far as they are known.
    pub(super) fn target(
        &mut self,
        id: TargetId,
        kind: &str,
        fields: &Fields<'_>,
    ) -> (Option<TargetPolicy>, Vec<Claim>) {
        let kind = match kind {
            "nginx" => TargetKind::Nginx,
            "command" => TargetKind::Command,
            _ => TargetKind::Files,
        };
        let attributes = self.attributes(fields, &FileAttributes::default());
        let (exports, claims) = self.exports(fields, &attributes);
        let exports = self.or_default(&id, kind, fields, exports, attributes);
        let (commands, command_timeout, probe) = match kind {
            TargetKind::Nginx => (
                self.nginx(fields),
                self.command_timeout(fields),
                self.probe(fields, "tls", Some(NGINX_LISTENER)),
            ),
            TargetKind::Command => (
                self.own_commands(fields),
                self.command_timeout(fields),
                self.probe(fields, "", None),
            ),
            TargetKind::Files => (
                Ok(Commands {
                    test: None,
                    reload: None,
                }),
                Some(COMMAND_TIMEOUT),
                Some(Probe::None),
            ),
        };
        let (Ok(commands), Some(command_timeout), Some(probe), Some(exports)) =
            (commands, command_timeout, probe, exports)
        else {
            return (None, claims);
        };
        let mut canon = Canon::new("target");
        canon.put("kind", word(kind));
        canon.put("exports", exports.len());
        for export in &exports {
            canon.export(export);
        }
        for (name, argv) in [("test", &commands.test), ("reload", &commands.reload)] {
            canon.maybe(name, argv.as_ref().map(Vec::len));
            canon.list(name, argv.as_deref().unwrap_or_default());
        }
        canon.put("command_timeout", command_timeout.0);
        canon.probe(&probe);
        let target = TargetPolicy {
            id,
            kind,
            exports,
            test: commands.test,
            reload: commands.reload,
            command_timeout,
            probe,
            digest: canon.finish(),
        };
        (Some(target), claims)
    }

    /// nginx reads the nginx layout where nothing else is written; other targets have to say what they want.
    fn or_default(
        &mut self,
        id: &TargetId,
        kind: TargetKind,
        fields: &Fields<'_>,
        exports: Option<Vec<ExportSpec>>,
        attributes: FileAttributes,
    ) -> Option<Vec<ExportSpec>> {
        let exports = exports?;
        if !exports.is_empty() || fields.is_partial() {
            return Some(exports);
        }
        match kind {
            TargetKind::Nginx => Some(vec![ExportSpec {
                name: "nginx".to_owned(),
                kind: ExportKind::Layout {
                    layout: ExportLayout::Nginx,
                    directory: std::path::PathBuf::new(),
                    password: PasswordSource::Generated,
                },
                attributes,
            }]),
            TargetKind::Command | TargetKind::Files => {
                let message = format!("target `{id}` writes nothing");
                let label = "has no export";
                let problem = Diagnostic::error(Code::NoExport, fields.header, message, label);
                let word = word(kind);
                self.problems.push(problem.help(format!(
                    "add for example [target.{word}.{id}.export.pem.files] with `fullchain` and `key`; there are pem, pfx, jks and layout"
                )));
                None
            }
        }
    }

    /// The commands of nginx, with prefix and configuration file as its options.
    fn nginx(&mut self, fields: &Fields<'_>) -> Result<Commands, Reported> {
        let prefix = self.path(fields, "prefix", PathRule::Absolute);
        let config = self.path(fields, "config", PathRule::Absolute);
        let mut options = Vec::new();
        for (option, path) in [("-p", prefix), ("-c", config)] {
            if let Some((path, _)) = path {
                options.push(option.to_owned());
                options.push(path.display().to_string());
            }
        }
        let with = |base: &[&str]| {
            let words = base.iter().map(|word| (*word).to_owned());
            Some(words.chain(options.iter().cloned()).collect())
        };
        let commands = self.own_commands(fields)?;
        if commands.test.is_some() && commands.reload.is_some() {
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
        Ok(Commands {
            test: commands.test.or_else(|| with(&["/usr/sbin/nginx", "-t"])),
            reload: commands
                .reload
                .or_else(|| with(&["/usr/sbin/nginx", "-s", "reload"])),
        })
    }

    fn own_commands(&mut self, fields: &Fields<'_>) -> Result<Commands, Reported> {
        let test = self.command(fields, "test");
        let reload = self.command(fields, "reload");
        Ok(Commands {
            test: test?,
            reload: reload?,
        })
    }

    fn command_timeout(&mut self, fields: &Fields<'_>) -> Option<Seconds> {
        let limits = (Seconds(1), Seconds::hours(1));
        self.duration(fields, "command_timeout", COMMAND_TIMEOUT, limits)
    }

    /// How it is proven; `word` and `listener` stand in for what is not written.
    fn probe(&mut self, fields: &Fields<'_>, word: &str, listener: Option<&str>) -> Option<Probe> {
        let limits = (Seconds(1), Seconds::minutes(30));
        let deadline = self.duration(fields, "deadline", DEADLINE, limits);
        let roots = self.path(fields, "roots", PathRule::Absolute);
        let label = self.wildcard_label(fields);
        let connect = self.connect(fields);
        let word = match fields.text("probe") {
            Some((word, _)) => word,
            None if fields.has("probe") => return None,
            None => word,
        };
        match word {
            "none" => {
                for key in ["connect", "deadline", "roots", "wildcard_label"] {
                    if let Some(entry) = fields.entry(key) {
                        let message = format!("`{key}` has no effect");
                        let label = "nothing is probed with `probe = \"none\"`";
                        self.problems.push(Diagnostic::warning(
                            Code::NoEffect,
                            entry.key,
                            message,
                            label,
                        ));
                    }
                }
                Some(Probe::None)
            }
            "tls" => {
                if !fields.has("connect") && listener.is_none() && !fields.is_partial() {
                    let message = "`connect` is missing beside `probe = \"tls\"`";
                    let place = fields.text("probe").map(|(_, place)| place);
                    let problem = Diagnostic::error(
                        Code::Probe,
                        place.unwrap_or(fields.header),
                        message,
                        "needs a listener to probe",
                    );
                    self.problems
                        .push(problem.help("write `connect = \"127.0.0.1:443\"`"));
                }
                let connect = match listener {
                    Some(listener) if !fields.has("connect") => Some(listener.to_owned()),
                    _ => connect,
                };
                Some(Probe::Tls {
                    connect: connect?,
                    deadline: deadline?,
                    roots: roots.map(|(path, _)| path),
                    wildcard_label: label?,
                })
            }
            _ => None,
        }
    }

    fn connect(&mut self, fields: &Fields<'_>) -> Option<String> {
        let (text, place) = fields.text("connect")?;
        match scalar::host_port(text) {
            Ok(address) => Some(address),
            Err(refusal) => {
                self.problems
                    .refuse(Code::Probe, place, "`connect`", refusal);
                None
            }
        }
    }

    fn wildcard_label(&mut self, fields: &Fields<'_>) -> Option<String> {
        let Some((text, place)) = fields.text("wildcard_label") else {
            return (!fields.has("wildcard_label")).then(|| WILDCARD_LABEL.to_owned());
        };
        match Name::parse(text) {
            Ok(Name::Dns(label)) if !label.contains(['.', '*']) => Some(label),
            _ => {
                let message = "`wildcard_label` is no label of a host name";
                let problem = Diagnostic::error(Code::Probe, place, message, "");
                self.problems.push(problem.help(
                    "write the first label only: with \"probe\", *.example.com is probed as probe.example.com",
                ));
                None
            }
        }
    }
}

const fn word(kind: TargetKind) -> &'static str {
    match kind {
        TargetKind::Nginx => "nginx",
        TargetKind::Command => "command",
        TargetKind::Files => "files",
    }
}

/// Where nginx listens if nobody says otherwise; this host's own listener is what decides.
const NGINX_LISTENER: &str = "127.0.0.1:443";
/// A configuration test with many thousand files takes some seconds.
const COMMAND_TIMEOUT: Seconds = Seconds(60);
/// Old workers of a loaded nginx may serve for some seconds after a reload.
const DEADLINE: Seconds = Seconds(30);
/// Unlikely to have a listener of its own.
const WILDCARD_LABEL: &str = "renewd-probe";
