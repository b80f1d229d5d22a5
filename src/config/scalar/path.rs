//! Paths of the policy.

use std::path::{Component, Path, PathBuf};

use crate::config::scalar::Refusal;

/// What a path is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum PathRule {
    /// Absolute, as it stands.
    Absolute,
    /// Of an export: absolute or in the generation, with `{certificate}` if wanted.
    Export,
}

/// Reads a path without `..` and gives it back without superfluous slashes and dots.
pub(in crate::config) fn path(text: &str, rule: PathRule) -> Result<PathBuf, Refusal> {
    if text.is_empty() {
        return Err(Refusal::new("is empty"));
    }
    if text.chars().any(char::is_control) {
        return Err(Refusal::new("has a control character in it"));
    }
    if text.len() > LONGEST {
        return Err(Refusal::new(format!("is longer than {LONGEST} bytes")));
    }
    let path = Path::new(text);
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(Refusal::new("has `..` in it").help("write the path without `..`"));
    }
    let clean: PathBuf = path
        .components()
        .filter(|part| *part != Component::CurDir)
        .collect();
    let file = clean.file_name().is_some();
    if !file {
        return Err(Refusal::new("names no file or directory"));
    }
    match rule {
        PathRule::Absolute => {
            if !clean.is_absolute() {
                return Err(Refusal::new("is not absolute")
                    .help("begin with `/`: a service has no directory of its own"));
            }
        }
        PathRule::Export => {
            let rest = text.replace("{certificate}", "");
            if rest.contains(['{', '}']) {
                return Err(
                    Refusal::new("has a placeholder that is not `{certificate}`").help(
                        "`{certificate}` stands for the name of the certificate; there is no other",
                    ),
                );
            }
        }
    }
    Ok(clean)
}

/// Bytes: `PATH_MAX` of Linux, with room for the state directory before it.
const LONGEST: usize = 3072;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned() {
        let export = |text| path(text, PathRule::Export);
        assert_eq!(export("./a//b/./c"), Ok(PathBuf::from("a/b/c")));
        assert_eq!(
            export("/x/{certificate}.pem"),
            Ok(PathBuf::from("/x/{certificate}.pem"))
        );
        assert_eq!(path("/a/", PathRule::Absolute), Ok(PathBuf::from("/a")));
    }

    #[test]
    fn paths_that_lead_astray_are_refused() {
        for bad in [
            "",
            "..",
            "a/../b",
            "/",
            ".",
            "a\0b",
            "a\nb",
            "{name}.pem",
            "{certificate",
        ] {
            assert!(path(bad, PathRule::Export).is_err(), "{bad:?}");
        }
        assert!(path("a/b", PathRule::Absolute).is_err());
    }
}
