//! References to secrets.

use std::path::PathBuf;

use crate::config::code::Code;
use crate::config::scalar::Refusal;
use crate::model::SecretRef;

/// Reads `file:/path`, `env:NAME` or `credential:NAME`. What is none of these may be a secret: it is never repeated.
pub(in crate::config) fn reference(text: &str) -> Result<SecretRef, (Code, Refusal)> {
    let bad = |refusal| Err((Code::Reference, refusal));
    if let Some(path) = text.strip_prefix("file:") {
        if !path.starts_with('/') {
            return bad(Refusal::new("is no absolute path").help("write `file:/path/of/the/file`"));
        }
        if path.contains('\0') || path.ends_with('/') {
            return bad(Refusal::new("is no path of a file"));
        }
        return Ok(SecretRef::File(PathBuf::from(path)));
    }
    if let Some(name) = text.strip_prefix("env:") {
        let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty()
            || name.starts_with(|c: char| c.is_ascii_digit())
            || !name.chars().all(good)
        {
            return bad(Refusal::new("is no name of an environment variable")
                .help("write `env:NAME`, with letters, digits and `_`"));
        }
        return Ok(SecretRef::Env(name.to_owned()));
    }
    if let Some(name) = text.strip_prefix("credential:") {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if name.is_empty() || name.starts_with('.') || !name.chars().all(good) {
            return bad(Refusal::new("is no name of a credential")
                .help("write `credential:NAME`, as in LoadCredential=NAME:/path"));
        }
        return Ok(SecretRef::Credential(name.to_owned()));
    }
    Err((
        Code::LiteralSecret,
        Refusal::new("must be a reference, never the secret itself").help(REFERENCES),
    ))
}

/// The three kinds.
pub(in crate::config) const REFERENCES: &str = "put it into a file of mode 0600 and write `file:/path`, or `env:NAME`, or `credential:NAME` (systemd)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_kinds_of_reference_are_read() {
        assert_eq!(reference("file:/a b"), Ok(SecretRef::File("/a b".into())));
        assert_eq!(reference("env:A_1"), Ok(SecretRef::Env("A_1".into())));
        assert_eq!(
            reference("credential:renewd.sk"),
            Ok(SecretRef::Credential("renewd.sk".into()))
        );
    }

    #[test]
    fn what_is_no_reference_is_refused_without_being_repeated() {
        for (text, code) in [
            ("hunter2", Code::LiteralSecret),
            ("", Code::LiteralSecret),
            ("vault:hunter2", Code::LiteralSecret),
            ("FILE:/hunter2", Code::LiteralSecret),
            ("file:hunter2", Code::Reference),
            ("env:1", Code::Reference),
            ("env:a b", Code::Reference),
            ("credential:../hunter2", Code::Reference),
        ] {
            let (found, refusal) = reference(text).unwrap_err();
            assert_eq!(found, code, "{text}");
            assert!(!format!("{refusal:?}").contains("hunter2"), "{text}");
        }
    }
}
