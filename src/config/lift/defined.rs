//! Which issuers, targets and validations are defined, where, and whether anything uses them.

use std::collections::BTreeMap;

use crate::config::code::Code;
use crate::config::diagnostic::Diagnostic;
use crate::config::fields::Fields;
use crate::config::problems::Problems;
use crate::config::raw;
use crate::config::source::{Place, Sources};

/// The definitions of one noun over all its kinds.
pub(super) struct Defined<'a> {
    noun: &'static str,
    kinds: &'static [Kind],
    names: BTreeMap<&'a str, Definition>,
    /// Second definitions: kind and place.
    again: Vec<(&'a str, &'static str, Place)>,
}

/// A kind: its word in the header and its table.
type Kind = (&'static str, &'static raw::Table);

#[derive(Debug, Clone, Copy)]
struct Definition {
    kind: &'static str,
    place: Place,
    used: bool,
}

impl<'a> Defined<'a> {
    pub(super) fn issuers(top: &Fields<'a>) -> Self {
        Self::collect("issuer", ISSUERS, &raw::ISSUER, top)
    }

    pub(super) fn targets(top: &Fields<'a>) -> Self {
        Self::collect("target", TARGETS, &raw::TARGET, top)
    }

    pub(super) fn validations(top: &Fields<'a>) -> Self {
        Self::collect("validation", VALIDATIONS, &raw::VALIDATION, top)
    }

    fn collect(
        noun: &'static str,
        kinds: &'static [Kind],
        schema: &'static raw::Table,
        top: &Fields<'a>,
    ) -> Self {
        let mut defined = Self {
            noun,
            kinds,
            names: BTreeMap::new(),
            again: Vec::new(),
        };
        let Some(all) = top.table(noun, schema) else {
            return defined;
        };
        for (kind, schema) in kinds {
            for (name, fields) in all.tables(kind, schema) {
                let place = fields.header;
                let fresh = Definition {
                    kind,
                    place,
                    used: false,
                };
                if defined.names.contains_key(name) {
                    defined.again.push((name, kind, place));
                } else {
                    defined.names.insert(name, fresh);
                }
            }
        }
        defined
    }

    /// Name, kind and fields of each; of two with one name both, so that both are looked through.
    pub(super) fn each(&self, top: &Fields<'a>) -> Vec<(&'a str, &'static str, Fields<'a>)> {
        let schema = match self.noun {
            "issuer" => &raw::ISSUER,
            "validation" => &raw::VALIDATION,
            _ => &raw::TARGET,
        };
        let Some(all) = top.table(self.noun, schema) else {
            return Vec::new();
        };
        let kinds = self.kinds.iter();
        kinds
            .flat_map(|(kind, schema)| {
                let each = all.tables(kind, schema).into_iter();
                each.map(move |(name, fields)| (name, *kind, fields))
            })
            .collect()
    }

    /// Marks a name as used and gives its kind; reports a name that is not defined.
    pub(super) fn find(
        &mut self,
        name: &str,
        place: Place,
        problems: &mut Problems,
        sources: &Sources,
    ) -> Option<&'static str> {
        if let Some(definition) = self.names.get_mut(name) {
            definition.used = true;
            return Some(definition.kind);
        }
        // It may be defined in a file that could not be read.
        if !problems.is_incomplete() {
            let unknown = self.unknown(name, place, problems, sources);
            problems.push(unknown);
        }
        None
    }

    fn unknown(
        &self,
        name: &str,
        place: Place,
        problems: &mut Problems,
        sources: &Sources,
    ) -> Diagnostic {
        let noun = self.noun;
        let code = match noun {
            "issuer" => Code::UnknownIssuer,
            "validation" => Code::UnknownValidation,
            _ => Code::UnknownTarget,
        };
        let message = format!("unknown {noun} `{}`", name.escape_debug());
        let label = format!("no {noun} of this name in any policy file");
        let problem = Diagnostic::error(code, place, message, label);
        let at = |name: &str, definition: &Definition| {
            format!("`{name}` is defined in {}", sources.name(definition.place))
        };
        if let Some((kind, bare)) = name.split_once('.')
            && let Some(definition) = self.names.get(bare)
            && self.kinds.iter().any(|(word, _)| *word == kind)
        {
            let problem = problem.help(format!("write `{bare}`, without its kind"));
            return problem.help(at(bare, definition));
        }
        if let Some(near) = problems.suggest(name, self.names.keys().copied())
            && let Some(definition) = self.names.get(near)
        {
            return problem.help(at(near, definition));
        }
        if self.names.is_empty() {
            let headers: Vec<String> = self
                .kinds
                .iter()
                .map(|(kind, _)| format!("[{noun}.{kind}.{name}]"))
                .collect();
            return problem.help(format!("define it with {}", headers.join(" or ")));
        }
        let first = self.names.iter().take(MOST_SHOWN);
        let problem = first.fold(problem, |problem, (name, definition)| {
            problem.help(at(name, definition))
        });
        match self.names.len().checked_sub(MOST_SHOWN) {
            None | Some(0) => problem,
            Some(more) => problem.note(format!("and {more} more")),
        }
    }

    /// Names are unique over all kinds: a certificate gives the name alone.
    pub(super) fn report_same_names(&self, problems: &mut Problems) {
        for (name, kind, place) in &self.again {
            let Some(first) = self.names.get(name) else {
                continue;
            };
            let noun = self.noun;
            let message = format!("two {noun}s have the name `{name}`");
            let label = format!("also [{noun}.{kind}.{name}]");
            let problem = Diagnostic::error(Code::SameName, *place, message, label).also(
                first.place,
                format!("already [{noun}.{}.{name}]", first.kind),
            );
            problems.push(problem.help(format!(
                "give one of them another name: certificates name {noun}s without the kind"
            )));
        }
    }

    pub(super) fn report_unused(&self, problems: &mut Problems) {
        // A use may stand in what could not be read or was refused.
        if problems.hide_uses() {
            return;
        }
        for (name, definition) in &self.names {
            if !definition.used {
                let noun = self.noun;
                let message = format!("{noun} `{name}` is not used");
                let label = format!("no certificate names this {noun}");
                problems.push(Diagnostic::warning(
                    Code::Unused,
                    definition.place,
                    message,
                    label,
                ));
            }
        }
    }
}

const ISSUERS: &[Kind] = &[("pca", &raw::PCA), ("scm", &raw::SCM)];

const TARGETS: &[Kind] = &[
    ("nginx", &raw::NGINX),
    ("apache", &raw::APACHE),
    ("haproxy", &raw::HAPROXY),
    ("tomcat", &raw::TOMCAT),
    ("command", &raw::COMMAND),
    ("files", &raw::FILES),
];

const VALIDATIONS: &[Kind] = &[
    ("automatic", &raw::AUTOMATIC),
    ("huawei_dns", &raw::HUAWEI_DNS),
    ("rfc2136", &raw::RFC2136),
    ("command", &raw::BY_COMMAND),
    ("web_root", &raw::WEB_ROOT),
    ("responder", &raw::RESPONDER),
    ("email", &raw::EMAIL_PROOF),
];

/// Definitions that a help lists.
const MOST_SHOWN: usize = 4;
