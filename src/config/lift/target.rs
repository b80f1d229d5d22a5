//! Targets.

use std::path::PathBuf;

use crate::config::code::Code;
use crate::config::diagnostic::Diagnostic;
use crate::config::digest::Canon;
use crate::config::fields::Fields;
use crate::config::lift::Lift;
use crate::config::lift::clash::Claim;
use crate::config::lift::told::Told;
use crate::config::scalar::{self, PathRule};
use crate::model::{
    DriftMode, ExportKind, ExportSpec, FileAttributes, Listeners, Name, Observe, Pacing,
    PasswordSource, PemFiles, Prelude, Probe, ProxyProtocol, RecipeExport, Roots, Seconds,
    StartTls, TargetId, TargetKind, TargetPolicy,
};

impl Lift<'_> {
    /// One target of any kind, and the paths that it writes, as far as they are known.
    pub(super) fn target(
        &mut self,
        id: TargetId,
        kind: &str,
        fields: &Fields<'_>,
    ) -> (Option<TargetPolicy>, Vec<Claim>) {
        let kind = TargetKind::ALL
            .into_iter()
            .find(|known| known.word() == kind)
            .unwrap_or(TargetKind::Files);
        let recipe = kind.recipe(self.family);
        let base = FileAttributes {
            group: recipe.group.map(str::to_owned),
            key_mode: recipe.key_mode,
            reader: recipe.reader.map(str::to_owned),
            ..FileAttributes::default()
        };
        let attributes = self.attributes(fields, &base);
        let (exports, claims) = self.exports(fields, &attributes);
        let exports = self.or_default(&id, kind, fields, exports, attributes);
        let (told, command_timeout, probe) = match kind {
            TargetKind::Files => (
                Ok(Told::default()),
                Some(COMMAND_TIMEOUT),
                Some(Probe::None),
            ),
            TargetKind::Nginx
            | TargetKind::Apache
            | TargetKind::Haproxy
            | TargetKind::Tomcat
            | TargetKind::Command => {
                let word = if recipe.probed { "tls" } else { "" };
                (
                    self.told(kind, fields),
                    self.command_timeout(fields),
                    self.probe(fields, word, recipe.listener),
                )
            }
        };
        let observe = self.observe(fields, probe.as_ref());
        self.report_idle_pid_file(fields, probe.as_ref());
        let hooks = self.hooks(fields);
        let pacing = match (kind, &told) {
            (TargetKind::Files, _) => Ok(Pacing::default()),
            (_, Ok(told)) => self.pacing(fields, told.reload.is_some() || told.restart.is_some()),
            // Whether anything is reloaded is not known; what else is wrong is told all the same.
            (_, Err(_)) => self.pacing(fields, true),
        };
        let (
            Ok(told),
            Some(command_timeout),
            Some(probe),
            Some(exports),
            Ok(hooks),
            Ok(pacing),
            Some(observe),
        ) = (
            told,
            command_timeout,
            probe,
            exports,
            hooks,
            pacing,
            observe,
        )
        else {
            return (None, claims);
        };
        let mut canon = Canon::new("target");
        canon.put("kind", kind.word());
        canon.put("exports", exports.len());
        for export in &exports {
            canon.export(export);
        }
        told.put_into(&mut canon);
        canon.put("command_timeout", command_timeout.0);
        canon.probe(&probe);
        canon.hooks(&hooks);
        let target = TargetPolicy {
            id,
            kind,
            exports,
            test: told.test,
            reload: told.reload,
            restart: told.restart,
            pid_file: told.pid_file,
            command_timeout,
            probe,
            hooks,
            pacing,
            observe,
            digest: canon.finish(),
            drift: match fields.text("drift") {
                Some(("report", _)) => DriftMode::Report,
                // Another word is reported already.
                Some(_) | None => DriftMode::Repair,
            },
        };
        (Some(target), claims)
    }

    /// What the recipe says where nothing else is written; kinds without one have to say what they want.
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
        let word = kind.word();
        let Some(export) = kind.recipe(self.family).export else {
            let message = format!("target `{id}` writes nothing");
            let label = "has no export";
            let problem = Diagnostic::error(Code::NoExport, fields.header, message, label);
            self.problems.push(problem.help(format!(
                "add for example [target.{word}.{id}.export.pem.files] with `fullchain` and `key`; there are pem, pfx, jks, layout and trust"
            )));
            return None;
        };
        let form = match export {
            RecipeExport::Layout(layout) => ExportKind::Layout {
                layout,
                directory: PathBuf::new(),
                password: PasswordSource::Generated,
            },
            RecipeExport::Combined(file) => ExportKind::Pem(PemFiles {
                combined: Some(PathBuf::from(file)),
                ..PemFiles::default()
            }),
        };
        Some(vec![ExportSpec {
            name: word.to_owned(),
            kind: form,
            attributes,
        }])
    }

    fn command_timeout(&mut self, fields: &Fields<'_>) -> Option<Seconds> {
        let limits = (Seconds(1), Seconds::hours(1));
        self.duration(fields, "command_timeout", COMMAND_TIMEOUT, limits)
    }

    /// How it is proven; `word` and `listener` stand in for what is not written.
    fn probe(&mut self, fields: &Fields<'_>, word: &str, listener: Option<&str>) -> Option<Probe> {
        let limits = (Seconds(1), Seconds::minutes(30));
        let deadline = self.duration(fields, "deadline", DEADLINE, limits);
        let roots = self.roots(fields);
        let label = self.wildcard_label(fields);
        let connect = self.connect(fields);
        let prelude = prelude(fields);
        let word = match fields.text("probe") {
            Some((word, _)) => word,
            None if fields.has("probe") => return None,
            None => word,
        };
        match word {
            "none" => {
                for key in [
                    "connect",
                    "deadline",
                    "roots",
                    "wildcard_label",
                    "starttls",
                    "proxy_protocol",
                    "observe",
                ] {
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
                    Some(listener) if !fields.has("connect") => Some(listener.to_owned().into()),
                    _ => connect,
                };
                Some(Probe::Tls {
                    connect: connect?,
                    deadline: deadline?,
                    roots,
                    wildcard_label: label?,
                    prelude: prelude?,
                })
            }
            _ => None,
        }
    }

    /// Where else names are looked at; a place without a port has that of the listener.
    fn observe(&mut self, fields: &Fields<'_>, probe: Option<&Probe>) -> Option<Vec<Observe>> {
        if !fields.knows("observe") {
            return Some(Vec::new());
        }
        let Some(list) = fields.list("observe") else {
            return (!fields.has("observe")).then(Vec::new);
        };
        let port = match probe? {
            Probe::Tls { connect, .. } => connect.first().rsplit_once(':').map(|(_, port)| port),
            Probe::None => None,
        };
        let mut places = Vec::new();
        for (text, place) in &list.texts {
            let wanted = match (*text, port) {
                ("names", _) => Ok(Observe::Names),
                (text, Some(port)) => scalar::host_maybe_port(text, port).map(Observe::At),
                (_, None) => continue,
            };
            match wanted {
                Ok(wanted) if !places.contains(&wanted) => places.push(wanted),
                Ok(_) => {}
                Err(refusal) => {
                    self.problems
                        .refuse(Code::Probe, *place, "`observe`", refusal);
                    return None;
                }
            }
        }
        if places.len() > MOST_OBSERVED {
            let message = format!("`observe` has more than {MOST_OBSERVED} places");
            let problem = Diagnostic::error(Code::Probe, list.place, message, "");
            self.problems
                .push(problem.help(
                    "name those that matter; \"names\" stands for all that names resolve to",
                ));
            return None;
        }
        // There is nobody to ask without a probe, which is reported already.
        if port.is_none() {
            places.clear();
        }
        list.whole.then_some(places)
    }

    fn connect(&mut self, fields: &Fields<'_>) -> Option<Listeners> {
        let list = fields.texts("connect")?;
        let mut listeners = Vec::new();
        let mut whole = list.whole;
        for (text, place) in list.texts {
            match scalar::host_port(text) {
                Ok(address) => listeners.push(address),
                Err(refusal) => {
                    self.problems
                        .refuse(Code::Probe, place, "`connect`", refusal);
                    whole = false;
                }
            }
        }
        let bounds = match listeners.len() {
            0 => "names no listener".to_owned(),
            few if few <= MOST_LISTENERS => return whole.then(|| listeners.into_iter().collect()),
            _ => format!("names more than {MOST_LISTENERS} listeners"),
        };
        if whole {
            let message = format!("`connect` {bounds}");
            let problem = Diagnostic::error(Code::Probe, list.place, message, "");
            self.problems
                .push(problem.help("write those at which the service presents its certificates"));
        }
        None
    }

    fn roots(&mut self, fields: &Fields<'_>) -> Option<Roots> {
        if fields.text("roots").is_some_and(|(word, _)| word == SYSTEM) {
            return Some(Roots::System);
        }
        let path = self.path(fields, "roots", PathRule::Absolute);
        path.map(|(path, _)| Roots::File(path))
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

/// What the listener awaits before TLS; `None` where a word is wrong, which is reported already.
pub(super) fn prelude(fields: &Fields<'_>) -> Option<Prelude> {
    let mut prelude = Prelude::default();
    if fields.has("proxy_protocol") {
        let (word, _) = fields.text("proxy_protocol")?;
        let mut all = ProxyProtocol::ALL.into_iter();
        prelude.proxy_protocol = Some(all.find(|version| version.as_str() == word)?);
    }
    if fields.has("starttls") {
        let (word, _) = fields.text("starttls")?;
        let mut all = StartTls::ALL.into_iter();
        prelude.starttls = Some(all.find(|protocol| protocol.as_str() == word)?);
    }
    Some(prelude)
}

/// A configuration test with many thousand files takes some seconds.
const COMMAND_TIMEOUT: Seconds = Seconds(60);
/// Old workers of a loaded nginx may serve for some seconds after a reload.
const DEADLINE: Seconds = Seconds(30);
/// In the place of a path: what this host trusts.
const SYSTEM: &str = "system";
/// Each is asked for every name.
const MOST_LISTENERS: usize = 16;
/// Each is asked for every name.
const MOST_OBSERVED: usize = 16;
/// Unlikely to have a listener of its own.
const WILDCARD_LABEL: &str = "renewd-probe";
