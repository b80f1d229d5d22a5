//! Single values: read, checked, and their defaults where a default needs no context.

use std::path::PathBuf;

use crate::config::code::Code;
use crate::config::diagnostic::Diagnostic;
use crate::config::fields::Fields;
use crate::config::lift::Lift;
use crate::config::scalar::{self, PathRule};
use crate::config::source::Place;
use crate::config::tree::Value;
use crate::model::{AclReader, FileAttributes, Seconds, SecretRef};

/// A value was refused and the reason reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reported;

impl Lift<'_> {
    /// A text without control characters, not empty, not too long.
    pub(super) fn line(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        longest: usize,
    ) -> Option<(String, Place)> {
        let (text, place) = fields.text(key)?;
        let why = if text.trim().is_empty() {
            "is empty".to_owned()
        } else if text.chars().any(char::is_control) {
            "has a control character in it".to_owned()
        } else if text.chars().count() > longest {
            format!("is longer than {longest} characters")
        } else {
            return Some((text.to_owned(), place));
        };
        let message = format!("`{key}` {why}");
        self.problems
            .push(Diagnostic::error(Code::Text, place, message, ""));
        None
    }

    /// A path and where it stands.
    pub(super) fn path(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        rule: PathRule,
    ) -> Option<(PathBuf, Place)> {
        let (text, place) = fields.text(key)?;
        match scalar::path(text, rule) {
            Ok(path) => Some((path, place)),
            Err(refusal) => {
                let what = format!("`{key}`");
                self.problems.refuse(Code::Path, place, &what, refusal);
                None
            }
        }
    }

    /// A length of time between two others.
    pub(super) fn duration(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        default: Seconds,
        (least, most): (Seconds, Seconds),
    ) -> Option<Seconds> {
        let Some((text, place)) = fields.text(key) else {
            return (!fields.has(key)).then_some(default);
        };
        match scalar::duration(text) {
            Ok(length) if length < least || length > most => {
                let message = format!(
                    "`{key}` is {}",
                    if length < least {
                        "too short"
                    } else {
                        "too long"
                    }
                );
                let problem = Diagnostic::error(Code::Duration, place, message, "");
                self.problems
                    .push(problem.help(format!("write a time from {least} to {most}")));
                None
            }
            Ok(length) => Some(length),
            Err(refusal) => {
                let what = format!("`{key}`");
                self.problems.refuse(Code::Duration, place, &what, refusal);
                None
            }
        }
    }

    /// A reference to a secret; `Ok(None)` where there is none, `Err` where it was refused.
    pub(super) fn secret(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
    ) -> Result<Option<SecretRef>, Reported> {
        let Some((text, place)) = fields.text(key) else {
            return if fields.has(key) {
                Err(Reported)
            } else {
                Ok(None)
            };
        };
        match scalar::reference(text) {
            Ok(reference) => Ok(Some(reference)),
            Err((code, refusal)) => {
                let what = format!("`{key}`");
                self.problems.refuse(code, place, &what, refusal);
                Err(Reported)
            }
        }
    }

    /// A command as argv; `Ok(None)` where there is none.
    pub(super) fn command(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
    ) -> Result<Option<Vec<String>>, Reported> {
        let Some(list) = fields.list(key) else {
            return if fields.has(key) {
                Err(Reported)
            } else {
                Ok(None)
            };
        };
        let words = list.texts;
        let Some((program, at)) = words.first().copied() else {
            if list.whole {
                let message = format!("`{key}` is empty");
                let problem = Diagnostic::error(Code::Command, list.place, message, "");
                self.problems.push(problem.help(
                    "write program and arguments, or leave the key out where there is nothing to run",
                ));
            }
            return Err(Reported);
        };
        let mut good = list.whole;
        if !program.starts_with('/') {
            let message = format!("the program of `{key}` has no absolute path");
            let label = "begins without `/`";
            let problem = Diagnostic::error(Code::Command, at, message, label);
            let name = program.split_whitespace().next().unwrap_or("nginx");
            self.problems.push(problem.help(format!(
                "no search path is used; write what `command -v {name}` prints"
            )));
            good = false;
        } else if words.len() == 1 && program.contains(char::is_whitespace) {
            let argv: Vec<String> = program
                .split_whitespace()
                .map(|w| format!("{w:?}"))
                .collect();
            let message = format!("`{key}` is one word with spaces in it");
            let label = "no shell takes this apart";
            let problem = Diagnostic::error(Code::Command, at, message, label);
            self.problems
                .push(problem.help(format!("write `{key} = [{}]`", argv.join(", "))));
            good = false;
        }
        for (word, at) in &words {
            if word.contains('\0') || word.len() > LONGEST_ARGUMENT {
                let message = format!("an argument of `{key}` cannot be passed to a program");
                let label = "holds a zero byte or is too long";
                self.problems
                    .push(Diagnostic::error(Code::Command, *at, message, label));
                good = false;
            }
        }
        if !good {
            return Err(Reported);
        }
        Ok(Some(
            words.iter().map(|(word, _)| (*word).to_owned()).collect(),
        ))
    }

    /// An endpoint.
    pub(super) fn endpoint(&mut self, fields: &Fields<'_>, key: &str) -> Option<String> {
        let (text, place) = fields.text(key)?;
        let example = match key {
            "iam_endpoint" => "https://iam.ap-southeast-3.myhuaweicloud.com",
            "manager" => "http://127.0.0.1:8080",
            "metadata_endpoint" => "http://169.254.169.254",
            _ if fields.knows("account") => "https://dns.ap-southeast-3.myhuaweicloud.com",
            _ => "https://ccm.ap-southeast-3.myhuaweicloud.com",
        };
        let read = match key {
            "metadata_endpoint" => scalar::metadata,
            _ => scalar::endpoint,
        };
        match read(text, example) {
            Ok(url) => Some(url),
            Err(refusal) => {
                let what = format!("`{key}`");
                self.problems.refuse(Code::Endpoint, place, &what, refusal);
                None
            }
        }
    }

    /// Owner, group, modes and readers, with those of the target for what is not written.
    pub(super) fn attributes(
        &mut self,
        fields: &Fields<'_>,
        base: &FileAttributes,
    ) -> FileAttributes {
        let owner = account(self, fields, "owner").or_else(|| base.owner.clone());
        let group = account(self, fields, "group").or_else(|| base.group.clone());
        let key_mode = fields
            .knows("key_mode")
            .then(|| mode(self, fields, "key_mode", scalar::KEY_FORBIDDEN))
            .flatten();
        FileAttributes {
            owner,
            group,
            mode: mode(self, fields, "mode", 0).unwrap_or(base.mode),
            key_mode: key_mode.unwrap_or(base.key_mode),
            acl: self.acl(fields).unwrap_or_else(|| base.acl.clone()),
            reader: account(self, fields, "reader").or_else(|| base.reader.clone()),
        }
    }

    /// Whom an access list names; `None` where there is no list.
    fn acl(&mut self, fields: &Fields<'_>) -> Option<Vec<AclReader>> {
        let list = fields.list("acl")?;
        let mut readers = Vec::new();
        for (text, place) in list.texts {
            let mut refuse = |message: String| {
                let problem = Diagnostic::error(Code::Attributes, place, message, "");
                self.problems.push(problem.help(
                    "write for example `acl = [\"u:tomcat:r\", \"g:ssl-cert:r\"]`: users and groups that may read the files",
                ));
            };
            let parts: Vec<&str> = text.split(':').collect();
            let [kind, name, rights] = parts.as_slice() else {
                refuse(format!(
                    "`acl` has {text:?}, which is not of the form `u:NAME:r`"
                ));
                continue;
            };
            if !matches!(*rights, "r" | "r--") {
                refuse(format!(
                    "`acl` gives {rights:?}; others can only read what renewd writes"
                ));
                continue;
            }
            if !is_account(name) {
                refuse(format!(
                    "`acl` names {name:?}, which is neither the name nor the number of an account"
                ));
                continue;
            }
            let reader = match *kind {
                "u" | "user" => AclReader::User((*name).to_owned()),
                "g" | "group" => AclReader::Group((*name).to_owned()),
                _ => {
                    refuse(format!(
                        "`acl` has {text:?}; only users (`u`) and groups (`g`) can be named"
                    ));
                    continue;
                }
            };
            if readers.contains(&reader) {
                refuse(format!("`acl` names {text:?} twice"));
            } else {
                readers.push(reader);
            }
        }
        readers.sort();
        Some(readers)
    }
}

/// A user or group: a name or a number.
pub(super) fn account(lift: &mut Lift<'_>, fields: &Fields<'_>, key: &str) -> Option<String> {
    let node = fields.node(key)?;
    let text = match &node.value {
        Value::Text(text) => text.clone(),
        Value::Integer {
            value: Some(number),
            ..
        } => number.to_string(),
        _ => return None,
    };
    if is_account(&text) {
        return Some(text);
    }
    let message = format!("`{key}` is neither the name nor the number of an account");
    let problem = Diagnostic::error(Code::Attributes, node.place, message, "");
    lift.problems.push(problem);
    None
}

fn is_account(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '$');
    match text.parse::<u64>() {
        // The highest number means "unchanged" to chown.
        Ok(number) => number < u64::from(u32::MAX),
        Err(_) => {
            !text.is_empty() && text.len() <= 32 && !text.starts_with('-') && text.chars().all(good)
        }
    }
}

/// A mode: octal digits in a string, or a TOML octal number.
pub(super) fn mode(
    lift: &mut Lift<'_>,
    fields: &Fields<'_>,
    key: &str,
    forbidden: u32,
) -> Option<u32> {
    let node = fields.node(key)?;
    let bits = match &node.value {
        Value::Text(text) => {
            let octal = (3..=4).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
            octal.then(|| u32::from_str_radix(text, 8).ok()).flatten()
        }
        Value::Integer {
            value: Some(value),
            radix: 8,
        } => u32::try_from(*value).ok(),
        _ => None,
    };
    let what = format!("`{key}`");
    let checked = match bits {
        Some(bits) => scalar::mode(bits, forbidden),
        None => Err(scalar::Refusal::new("is no octal file mode")
            .help(format!("write for example `{key} = \"0640\"`"))),
    };
    match checked {
        Ok(bits) => Some(bits),
        Err(refusal) => {
            lift.problems
                .refuse(Code::Attributes, node.place, &what, refusal);
            None
        }
    }
}

/// Bytes: Linux passes no single argument longer than 128 KiB (`MAX_ARG_STRLEN`); nobody needs as much.
const LONGEST_ARGUMENT: usize = 16 * 1024;
