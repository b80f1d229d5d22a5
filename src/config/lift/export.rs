//! Exports of a target.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::config::code::Code;
use crate::config::diagnostic::Diagnostic;
use crate::config::fields::Fields;
use crate::config::lift::Lift;
use crate::config::lift::clash::Claim;
use crate::config::raw;
use crate::config::scalar::PathRule;
use crate::config::source::Place;
use crate::model::{
    ExportKind, ExportLayout, ExportSpec, FileAttributes, PasswordSource, PemFiles, PfxProfile,
    TrustFormat,
};

impl Lift<'_> {
    /// All exports of a target in the order of their names; `None` if one of them cannot be taken. The claims are of
    /// those that can.
    pub(super) fn exports(
        &mut self,
        target: &Fields<'_>,
        base: &FileAttributes,
    ) -> (Option<Vec<ExportSpec>>, Vec<Claim>) {
        let Some(all) = target.table("export", &raw::EXPORT) else {
            let absent = !target.has("export");
            return (absent.then(Vec::new), Vec::new());
        };
        let mut claims = Vec::new();
        let mut exports: BTreeMap<String, ExportSpec> = BTreeMap::new();
        let mut places: BTreeMap<String, Place> = BTreeMap::new();
        let mut good = true;
        for (form, schema) in FORMS {
            for (name, fields) in all.tables(form, schema) {
                if let Some(first) = places.insert(name.to_owned(), fields.header) {
                    let message = format!("two exports of this target have the name `{name}`");
                    let label = "the second one";
                    let problem = Diagnostic::error(Code::SameName, fields.header, message, label)
                        .also(first, "the first one");
                    self.problems
                        .push(problem.help("give one of them another name"));
                    good = false;
                }
                let attributes = self.attributes(&fields, base);
                let kind = match *form {
                    "pem" => self.pem(name, &fields, &mut claims),
                    "pfx" => self.pfx(&fields, &mut claims),
                    "jks" => self.jks(&fields, &mut claims),
                    "trust" => self.trust(&fields, &mut claims),
                    _ => self.layout(&fields, &mut claims),
                };
                match kind {
                    Some(kind) => {
                        let spec = ExportSpec {
                            name: name.to_owned(),
                            kind,
                            attributes,
                        };
                        exports.insert(name.to_owned(), spec);
                    }
                    None => good = false,
                }
            }
        }
        (good.then(|| exports.into_values().collect()), claims)
    }

    fn pem(
        &mut self,
        name: &str,
        fields: &Fields<'_>,
        claims: &mut Vec<Claim>,
    ) -> Option<ExportKind> {
        let keys = ["certificate", "chain", "fullchain", "key", "combined"];
        if !keys.iter().any(|key| fields.has(key)) {
            if !fields.is_partial() {
                let message = format!("export `{name}` writes nothing");
                let label = "names no file";
                let problem = Diagnostic::error(Code::NoExport, fields.header, message, label);
                self.problems.push(problem.help(
                    "write a path for `fullchain` and `key`, or `certificate`, `chain`, `combined`",
                ));
            }
            return None;
        }
        let mut good = true;
        let mut file = |key| {
            let path = self.file(fields, key, claims);
            good &= path.is_some() || !fields.has(key);
            path
        };
        let files = PemFiles {
            certificate: file("certificate"),
            chain: file("chain"),
            fullchain: file("fullchain"),
            key: file("key"),
            combined: file("combined"),
        };
        good.then_some(ExportKind::Pem(files))
    }

    fn pfx(&mut self, fields: &Fields<'_>, claims: &mut Vec<Claim>) -> Option<ExportKind> {
        let path = self.file(fields, "path", claims);
        let profile = profile(fields);
        let alias = self.alias(fields);
        let password = self.store_password(fields);
        Some(ExportKind::Pfx {
            path: path?,
            profile: profile?,
            alias: alias?,
            password: password?,
        })
    }

    fn jks(&mut self, fields: &Fields<'_>, claims: &mut Vec<Claim>) -> Option<ExportKind> {
        let path = self.file(fields, "path", claims);
        let alias = self.alias(fields);
        let password = self.store_password(fields);
        Some(ExportKind::Jks {
            path: path?,
            alias: alias?,
            password: password?,
        })
    }

    fn trust(&mut self, fields: &Fields<'_>, claims: &mut Vec<Claim>) -> Option<ExportKind> {
        let path = self.file(fields, "path", claims);
        let profile = profile(fields);
        let format = match fields.text("format") {
            Some(("jks", _)) => Some(TrustFormat::Jks),
            Some(("pkcs12", _)) => profile.map(TrustFormat::Pkcs12),
            Some(("pem", _)) => Some(TrustFormat::Pem),
            None if !fields.has("format") => Some(TrustFormat::Pem),
            _ => None,
        };
        let password = self.store_password(fields);
        if let Some(format) = format {
            let unused = match format {
                TrustFormat::Pem => &["profile", "password"][..],
                TrustFormat::Jks => &["profile"],
                TrustFormat::Pkcs12(_) => &[],
            };
            for key in unused {
                let Some(entry) = fields.entry(key) else {
                    continue;
                };
                let message = format!("`{key}` has no effect");
                let label = format!("the format is `{}`", format.word());
                let problem = Diagnostic::warning(Code::NoEffect, entry.key, message, label);
                self.problems.push(problem);
            }
        }
        Some(ExportKind::Trust {
            path: path?,
            format: format?,
            password: password?,
        })
    }

    fn layout(&mut self, fields: &Fields<'_>, claims: &mut Vec<Claim>) -> Option<ExportKind> {
        let layout = match fields.text("layout") {
            Some(("nginx", _)) => Some(ExportLayout::Nginx),
            Some(("apache", _)) => Some(ExportLayout::Apache),
            Some(("tomcat", _)) => Some(ExportLayout::Tomcat),
            Some(("iis", _)) => Some(ExportLayout::Iis),
            Some(("other", _)) => Some(ExportLayout::Other),
            _ => None,
        };
        let directory = if fields.has("directory") {
            self.place(fields, "directory")
        } else {
            Some((PathBuf::new(), fields.header))
        };
        let password = self.store_password(fields);
        if let (Some(layout), Some((directory, place))) = (layout, &directory) {
            let files = layout.files().iter();
            claims.extend(files.map(|file| Claim {
                path: directory.join(file),
                place: *place,
            }));
            let keyless = matches!(
                layout,
                ExportLayout::Nginx | ExportLayout::Apache | ExportLayout::Other
            );
            if let Some(entry) = fields.entry("password").filter(|_| keyless) {
                let message = "`password` has no effect";
                let label = "the files of this layout have no password";
                self.problems.push(Diagnostic::warning(
                    Code::NoEffect,
                    entry.key,
                    message,
                    label,
                ));
            }
        }
        Some(ExportKind::Layout {
            layout: layout?,
            directory: directory?.0,
            password: password?,
        })
    }

    /// A file that is written, with the claim to its path.
    fn file(&mut self, fields: &Fields<'_>, key: &str, claims: &mut Vec<Claim>) -> Option<PathBuf> {
        let (path, place) = self.place(fields, key)?;
        if self.state_dir.starts_with(&path) {
            let message = format!("`{key}` is a directory");
            let label = format!(
                "the state directory `{}` is in it",
                self.state_dir.display()
            );
            let problem = Diagnostic::error(Code::Path, place, message, label);
            self.problems.push(problem.help("write the path of a file"));
            return None;
        }
        claims.push(Claim {
            path: path.clone(),
            place,
        });
        Some(path)
    }

    /// A path of an export; the state directory is renewd's own.
    fn place(&mut self, fields: &Fields<'_>, key: &str) -> Option<(PathBuf, Place)> {
        let (path, place) = self.path(fields, key, PathRule::Export)?;
        if path.starts_with(&self.state_dir) {
            let message = format!("`{key}` lies in the state directory of renewd");
            let label = format!("`{}` is managed as a whole", self.state_dir.display());
            let problem = Diagnostic::error(Code::Path, place, message, label);
            self.problems.push(problem.help(
                "write a relative path, which lies in the target's generation, or a place elsewhere",
            ));
            return None;
        }
        Some((path, place))
    }

    fn alias(&mut self, fields: &Fields<'_>) -> Option<String> {
        if !fields.has("alias") {
            return Some(ALIAS.to_owned());
        }
        self.line(fields, "alias", 64).map(|(alias, _)| alias)
    }

    fn store_password(&mut self, fields: &Fields<'_>) -> Option<PasswordSource> {
        let reference = self.secret(fields, "password").ok()?;
        Some(reference.map_or(PasswordSource::Generated, PasswordSource::Given))
    }
}

/// By whom a PFX is read; `None` for a word that was complained about already.
fn profile(fields: &Fields<'_>) -> Option<PfxProfile> {
    match fields.text("profile") {
        Some(("modern", _)) => Some(PfxProfile::Modern),
        Some(("java8", _)) => Some(PfxProfile::Java8),
        Some(("windows2016", _)) => Some(PfxProfile::Windows2016),
        None if !fields.has("profile") => Some(PfxProfile::Modern),
        _ => None,
    }
}

const FORMS: &[(&str, &raw::Table)] = &[
    ("pem", &raw::PEM),
    ("pfx", &raw::PFX),
    ("jks", &raw::JKS),
    ("layout", &raw::LAYOUT),
    ("trust", &raw::TRUST),
];

/// Java servers take the first entry where none is named; the word says what it is for.
const ALIAS: &str = "server";
