//! What is watched and not managed.

use std::collections::BTreeMap;

use crate::config::code::Code;
use crate::config::diagnostic::Diagnostic;
use crate::config::digest::Canon;
use crate::config::fields::Fields;
use crate::config::lift::Lift;
use crate::config::lift::defined::Defined;
use crate::config::lift::target::prelude;
use crate::config::raw;
use crate::config::scalar::{self, PathRule};
use crate::model::{Fingerprint, IssuerId, Name, Seconds, WatchId, WatchPolicy, Watched};

impl Lift<'_> {
    /// Every table `[watch.NAME]`; `days` is the earliest step of alerts.
    pub(super) fn watches(
        &mut self,
        top: &Fields<'_>,
        days: u32,
        issuers: &mut Defined<'_>,
    ) -> BTreeMap<WatchId, WatchPolicy> {
        let mut watches = BTreeMap::new();
        for (name, fields) in top.tables("watch", &raw::WATCH) {
            if let Ok(id) = WatchId::new(name)
                && let Some(watch) = self.watch(id.clone(), &fields, days, issuers)
            {
                self.watch_tags.extend(watch.tags.iter().cloned());
                watches.insert(id, watch);
            }
        }
        watches
    }

    fn watch(
        &mut self,
        id: WatchId,
        fields: &Fields<'_>,
        days: u32,
        issuers: &mut Defined<'_>,
    ) -> Option<WatchPolicy> {
        let tags = self.tags(fields);
        let kinds: Vec<_> = KINDS
            .into_iter()
            .filter_map(|(kind, own)| Some((kind, own, fields.entry(kind)?)))
            .collect();
        let (kind, own) = match kinds.as_slice() {
            [(kind, own, _)] => (*kind, *own),
            [] => {
                if !fields.is_partial() {
                    let message = format!("`watch.{id}` has nothing to look at");
                    let problem = Diagnostic::error(Code::Watch, fields.header, message, "");
                    self.problems.push(problem.help(
                        "write `files = [\"/etc/…/*.pem\"]`, `host = \"mail.example.com:993\"` or `account = \"ISSUER\"`",
                    ));
                }
                return None;
            }
            [(first, _, one), (second, _, other), ..] => {
                let message = format!("`watch.{id}` has both `{first}` and `{second}`");
                let problem = Diagnostic::error(Code::Watch, other.key, message, "the second")
                    .also(one.key, "the first");
                self.problems
                    .push(problem.help("write a table for each of them"));
                return None;
            }
        };
        let others = KINDS.iter().flat_map(|(_, keys)| keys.iter());
        for key in others.filter(|key| !own.contains(key)) {
            if let Some(entry) = fields.entry(key) {
                let message = format!("`{key}` has no effect beside `{kind}`");
                let problem = Diagnostic::warning(Code::NoEffect, entry.key, message, "");
                self.problems.push(problem);
            }
        }
        let what = match kind {
            "files" => self.watched_files(fields),
            "host" => self.watched_host(fields),
            _ => self.watched_account(fields, days, issuers),
        };
        let (what, tags) = (what?, tags?);
        Some(WatchPolicy {
            digest: digest(&what),
            id,
            what,
            tags,
        })
    }

    fn watched_files(&mut self, fields: &Fields<'_>) -> Option<Watched> {
        let password = self.secret(fields, "password").ok();
        let list = fields.list("files")?;
        let mut good = list.whole;
        let mut paths: Vec<String> = Vec::new();
        for (text, place) in &list.texts {
            let why = if !text.starts_with('/') {
                "begins without `/`".to_owned()
            } else if text.contains('\0') {
                "has a zero byte in it".to_owned()
            } else if text.contains("**") {
                "has `**`, which would go through whole trees; write a `*` for each directory"
                    .to_owned()
            } else if let Err(error) = glob::Pattern::new(text) {
                format!("is no pattern: {error}")
            } else if paths.iter().any(|path| path == text) {
                "is there twice".to_owned()
            } else {
                paths.push((*text).to_owned());
                continue;
            };
            let message = format!("{text:?} {why}");
            self.problems
                .push(Diagnostic::error(Code::Watch, *place, message, ""));
            good = false;
        }
        if good && paths.is_empty() {
            let problem = Diagnostic::error(Code::Watch, list.place, "`files` is empty", "");
            self.problems.push(problem);
            return None;
        }
        let password = password?;
        good.then_some(Watched::Files { paths, password })
    }

    fn watched_host(&mut self, fields: &Fields<'_>) -> Option<Watched> {
        let prelude = prelude(fields);
        let timeout = self.duration(fields, "timeout", TIMEOUT, (Seconds(1), Seconds(60)));
        let roots = self.path(fields, "roots", PathRule::Absolute);
        if fields.has("roots") && roots.is_none() {
            return None;
        }
        let (text, place) = fields.text("host")?;
        let connect = match scalar::host_port(text) {
            Ok(connect) => connect,
            Err(refusal) => {
                self.problems.refuse(Code::Watch, place, "`host`", refusal);
                return None;
            }
        };
        let written = match fields.list("names") {
            Some(list) if !list.whole => return None,
            Some(list) => list.texts,
            None if fields.has("names") => return None,
            None => Vec::new(),
        };
        let host = connect.rsplit_once(':').map_or("", |(host, _)| host);
        let own = [(host.trim_matches(['[', ']']), place)];
        let written = if written.is_empty() {
            own.as_slice()
        } else {
            written.as_slice()
        };
        let mut names = Vec::new();
        let mut good = true;
        for (text, place) in written {
            match Name::parse(text) {
                Ok(name @ (Name::Dns(_) | Name::Ip(_))) if !text.starts_with('*') => {
                    if !names.contains(&name) {
                        names.push(name);
                    }
                }
                Ok(_) => {
                    let message = format!("{text:?} cannot be asked for in a handshake");
                    let problem = Diagnostic::error(Code::Watch, *place, message, "");
                    self.problems
                        .push(problem.help("write a host name without `*`, or an address"));
                    good = false;
                }
                Err(error) => {
                    let message = format!("{text:?} cannot be a name: {error}");
                    self.problems
                        .push(Diagnostic::error(Code::Watch, *place, message, ""));
                    good = false;
                }
            }
        }
        if names.len() > MOST_NAMES {
            let message = format!("`names` has more than {MOST_NAMES} names");
            self.problems
                .push(Diagnostic::error(Code::Watch, place, message, ""));
            return None;
        }
        let (prelude, timeout) = (prelude?, timeout?);
        good.then_some(Watched::Host {
            connect,
            names,
            prelude,
            roots: roots.map(|(path, _)| path),
            timeout,
        })
    }

    fn watched_account(
        &mut self,
        fields: &Fields<'_>,
        days: u32,
        issuers: &mut Defined<'_>,
    ) -> Option<Watched> {
        let days = match fields.count("expired_days_since") {
            None if fields.has("expired_days_since") => None,
            None => Some(days),
            Some((number, place)) => {
                let fits = u32::try_from(number)
                    .ok()
                    .filter(|number| (1..=MOST_DAYS).contains(number));
                if fits.is_none() {
                    let message = format!("`expired_days_since` is {number}");
                    let label = format!("expected 1 to {MOST_DAYS}");
                    self.problems
                        .push(Diagnostic::error(Code::Watch, place, message, label));
                }
                fits
            }
        };
        let ignore = match fields.list("ignore") {
            None => (!fields.has("ignore")).then(Vec::new),
            Some(list) => {
                let mut good = list.whole;
                let mut patterns = Vec::new();
                for (text, place) in &list.texts {
                    if text.trim().is_empty() || text.len() > LONGEST {
                        let message = "`ignore` has a pattern that is empty or too long";
                        self.problems
                            .push(Diagnostic::error(Code::Watch, *place, message, ""));
                        good = false;
                    }
                    patterns.push(text.to_ascii_lowercase());
                }
                good.then_some(patterns)
            }
        };
        let (name, place) = fields.text("account")?;
        issuers.find(name, place, self.problems, self.sources)?;
        Some(Watched::Account {
            issuer: IssuerId::new(name).ok()?,
            days: days?,
            ignore: ignore?,
        })
    }
}

/// Tags and time-outs change nothing that was seen.
fn digest(what: &Watched) -> Fingerprint {
    let mut canon = Canon::new("watch");
    canon.put("kind", what.word());
    match what {
        Watched::Files { paths, password } => {
            canon.list("files", paths);
            canon.maybe("password", password.as_ref());
        }
        Watched::Host {
            connect,
            names,
            prelude,
            roots,
            timeout: _,
        } => {
            canon.put("host", connect);
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            canon.list("names", &names);
            canon.maybe("starttls", prelude.starttls.map(|one| one.as_str()));
            canon.maybe("proxy", prelude.proxy_protocol.map(|one| one.as_str()));
            canon.maybe("roots", roots.as_ref().map(|path| path.display()));
        }
        Watched::Account {
            issuer,
            days,
            ignore,
        } => {
            canon.put("account", issuer);
            canon.put("days", days);
            canon.list("ignore", ignore);
        }
    }
    canon.finish()
}

/// What says what is looked at, and the keys that only go with it.
const KINDS: [(&str, &[&str]); 3] = [
    ("files", &["password"]),
    (
        "host",
        &["names", "starttls", "proxy_protocol", "roots", "timeout"],
    ),
    ("account", &["expired_days_since", "ignore"]),
];
/// A listener that takes longer is in trouble.
const TIMEOUT: Seconds = Seconds(10);
/// As the API's own bound (CCM API 4.1.5.1).
const MOST_DAYS: u32 = 1095;
/// Each is a handshake.
const MOST_NAMES: usize = 32;
/// A domain name.
const LONGEST: usize = 255;
