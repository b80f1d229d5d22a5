//! Finds and reads the files of a policy, and drives the passes over them.

use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::config::code::Code;
use crate::config::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::config::problems::Problems;
use crate::config::source::{FileId, Place, Source, Sources};
use crate::config::tree::{self, SyntaxError, Table};
use crate::config::{check, layer, lift, mask};
use crate::model::Policy;
use crate::sys::fs::{self, FsError};

/// A policy that was read without an error.
#[derive(Debug)]
pub struct Loaded {
    /// What the administrator wants.
    pub policy: Policy,
    /// The files it came from, in the order in which they were applied.
    pub files: Vec<PathBuf>,
    /// What is allowed and probably not meant; never an error.
    pub warnings: Diagnostics,
}

/// Reads `file` and every `policy.d/*.toml` beside it, in the order of their names; a later file wins per key.
///
/// # Errors
/// All problems of all files, sorted by file and line.
pub fn load(file: &Path) -> Result<Loaded, Diagnostics> {
    let mut sources = Sources::default();
    let mut problems = Problems::default();
    let mut root = Table::default();
    let mut files = Vec::new();
    for path in find(file, &mut sources, &mut problems) {
        let id = sources.add(Source::new(path.clone(), String::new()));
        match read(&path) {
            Ok((text, metadata)) => {
                *sources.get_mut(id) = Source::new(path.clone(), text);
                if let Some(metadata) = metadata {
                    permissions(&path, &metadata, id, &mut problems);
                }
                layer::lay(&mut root, parse(id, &mut sources, &mut problems));
                files.push(path);
            }
            Err(problem) => {
                problems.incomplete(id, Vec::new());
                problems.push(problem.into_diagnostic(id, &path));
            }
        }
    }
    check::structure(&root, &mut problems);
    let policy = lift::policy(&root, &mut problems, &sources);
    drop(root);
    let refused = problems.has_errors();
    let diagnostics = Diagnostics::new(problems.into_items(), sources);
    if refused {
        return Err(diagnostics);
    }
    debug_assert!(diagnostics.iter().all(|p| p.severity == Severity::Warning));
    Ok(Loaded {
        policy,
        files,
        warnings: diagnostics,
    })
}

/// Changes whenever one of the policy's files does: their names, sizes, inodes and times. Reads no content.
#[must_use]
pub fn stamp(file: &Path) -> String {
    let (mut sources, mut problems) = (Sources::default(), Problems::default());
    let mut stamp = String::new();
    for path in find(file, &mut sources, &mut problems) {
        // Through links: what they point at is what is read.
        let seen = std::fs::metadata(&path)
            .map(|m| (m.ino(), m.size(), m.mtime_nsec(), m.ctime(), m.ctime_nsec()));
        stamp.push_str(&format!("{} {:?}\n", path.display(), seen.ok()));
    }
    stamp
}

/// The file and its drop-ins in the order in which they are applied.
fn find(file: &Path, sources: &mut Sources, problems: &mut Problems) -> Vec<PathBuf> {
    let mut found = vec![file.to_owned()];
    let directory = file.parent().unwrap_or(Path::new("")).join(DROP_INS);
    let mut refuse = |code, message: String, help: Option<String>| {
        let id = sources.add(Source::new(directory.clone(), String::new()));
        if code != Code::Permissions {
            problems.incomplete(id, Vec::new());
        }
        let problem = Diagnostic::of_file(code, id, message);
        problems.push(match help {
            Some(help) => problem.help(help),
            None => problem,
        });
    };
    let names = match fs::list(&directory) {
        Ok(names) => names,
        Err(error) => {
            let message = format!("cannot read {}: {}", directory.display(), error.io());
            refuse(Code::Unreadable, message, None);
            return found;
        }
    };
    if let Ok(metadata) = std::fs::metadata(&directory)
        && metadata.mode() & 0o002 != 0
    {
        let shown = directory.display();
        let message = format!("every user of this machine may add files to {shown}");
        let help = format!("run: chmod o-w {shown}");
        refuse(Code::Permissions, message, Some(help));
    }
    let paths = names.iter().filter(|name| {
        // Hidden files are what editors and package managers leave behind.
        let name = name.as_encoded_bytes();
        name.ends_with(b".toml") && !name.starts_with(b".")
    });
    let paths = paths.map(|name| directory.join(name));
    let drop_ins: Vec<PathBuf> = paths.filter(|path| !path.is_dir()).collect();
    if drop_ins.len() > MOST_FILES {
        let message = format!(
            "{} holds {} files; {MOST_FILES} are read at most",
            directory.display(),
            drop_ins.len()
        );
        refuse(Code::TooLarge, message, None);
        return found;
    }
    found.extend(drop_ins);
    found
}

/// Why a file was not read.
enum Unread {
    Failed(FsError),
    TooLarge,
    NotText { line: usize },
}

impl From<FsError> for Unread {
    fn from(error: FsError) -> Self {
        Self::Failed(error)
    }
}

impl Unread {
    fn into_diagnostic(self, id: FileId, path: &Path) -> Diagnostic {
        let shown = path.display();
        match self {
            Self::Failed(error) => {
                let message = format!("cannot read {shown}: {}", error.io());
                let problem = Diagnostic::of_file(Code::Unreadable, id, message);
                match error.io().kind() {
                    ErrorKind::NotFound => problem.help("give the policy file with --config FILE"),
                    ErrorKind::PermissionDenied => {
                        problem.help("run renewd as root or as the user that owns the policy")
                    }
                    _ => problem,
                }
            }
            Self::TooLarge => {
                let mib = LARGEST_FILE / 1024 / 1024;
                let message = format!("{shown} is larger than {mib} MiB");
                Diagnostic::of_file(Code::TooLarge, id, message)
                    .help("spread it over several files in policy.d")
            }
            Self::NotText { line } => {
                let message = format!("{shown} is not UTF-8 in line {line}");
                Diagnostic::of_file(Code::NotText, id, message).help("save the file as UTF-8 text")
            }
        }
    }
}

fn read(path: &Path) -> Result<(String, Option<Metadata>), Unread> {
    let mut seen = None;
    let bytes = fs::read_checked(path, LARGEST_FILE, |metadata| {
        if metadata.len() > LARGEST_FILE {
            return Err(Unread::TooLarge);
        }
        seen = Some(metadata.clone());
        Ok(())
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
        Unread::NotText { line }
    })?;
    Ok((text, seen))
}

/// The policy says which programs run, so who may change it is who may run programs as this user.
fn permissions(path: &Path, metadata: &Metadata, id: FileId, problems: &mut Problems) {
    let shown = path.display();
    let mode = metadata.mode() & 0o7777;
    let root = nix::unistd::geteuid().is_root();
    if mode & 0o002 != 0 {
        let message = format!("every user of this machine may change {shown} (mode {mode:04o})");
        let problem = Diagnostic::of_file(Code::Permissions, id, message);
        problems.push(problem.help(format!("run: chmod o-w {shown}")));
    } else if root && mode & 0o020 != 0 && metadata.gid() != 0 {
        let message = format!(
            "group {} may change {shown} (mode {mode:04o}), and with it what root runs",
            metadata.gid()
        );
        let problem = Diagnostic::of_file(Code::Permissions, id, message);
        problems.push(
            Diagnostic {
                severity: Severity::Warning,
                ..problem
            }
            .help(format!("run: chmod g-w {shown}")),
        );
    }
}

/// Parses one file; what cannot be parsed is reported, and the rest of the file is used all the same.
fn parse(id: FileId, sources: &mut Sources, problems: &mut Problems) -> Table {
    let parsed = tree::parse(id, sources.get(id));
    let mut secrets = mask::of_tree(&parsed.root);
    secrets.extend(mask::suspicious(sources.get(id).text(), &parsed.bad));
    sources.get_mut(id).seal(secrets);
    if !parsed.bad.is_empty() {
        problems.incomplete(id, parsed.bad);
    }
    for error in parsed.errors {
        problems.push(syntax(error));
    }
    parsed.root
}

fn syntax(error: SyntaxError) -> Diagnostic {
    let SyntaxError {
        place,
        message,
        duplicate,
    } = error;
    if duplicate {
        return Diagnostic::error(
            Code::Duplicate,
            place,
            "a key or table is written twice in one file",
            "the second time",
        )
        .help("leave one of them out; another file of policy.d may change a key of this one");
    }
    let place = visible(place);
    Diagnostic::error(Code::Syntax, place, "the file is not TOML here", message)
}

/// An empty span gets one byte, so that there is something to point at.
fn visible(place: Place) -> Place {
    Place {
        end: place.end.max(place.start),
        ..place
    }
}

/// Directory beside the policy file.
const DROP_INS: &str = "policy.d";

/// Bytes: more than 100 000 certificates with all their settings.
const LARGEST_FILE: u64 = 32 * 1024 * 1024;

/// Drop-ins: one per certificate of a large site, and a bound on memory.
const MOST_FILES: usize = 10_000;
