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
use crate::model::{Control, DEFAULT_STATE_DIR, Family, Policy};
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
    let (policy, files, diagnostics, refused) = read_all(file);
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

/// Where the daemon is reached, by a policy that need not be right: its faults must not keep a reload from naming them.
#[must_use]
pub fn control(file: &Path) -> Control {
    read_all(file).0.control
}

/// The policy as far as it can be made out, its files, what is to be said of them, and whether that forbids its use.
fn read_all(file: &Path) -> (Policy, Vec<PathBuf>, Diagnostics, bool) {
    let mut sources = Sources::default();
    let mut problems = Problems::default();
    let mut root = Table::default();
    let mut files = Vec::new();
    let mut left = LARGEST_POLICY;
    for path in find(file, &mut sources, &mut problems) {
        let id = sources.add(Source::new(path.clone(), String::new()));
        match read(&path, left.min(LARGEST_FILE)) {
            Ok((text, access)) => {
                left = left.saturating_sub(text.len() as u64);
                *sources.get_mut(id) = Source::new(path.clone(), text);
                let as_root = nix::unistd::geteuid().is_root();
                let open = access.and_then(|access| permissions(&path, access, as_root, id));
                open.into_iter().for_each(|problem| problems.push(problem));
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
    let policy = lift::policy(&root, host_family(), &mut problems, &sources);
    free(root, LARGEST_POLICY - left);
    let refused = problems.has_errors();
    let diagnostics = Diagnostics::new(problems.into_items(), sources);
    (policy, files, diagnostics, refused)
}

/// Frees the tree of files of this size, of a large one beside what comes next: that takes as long as planning.
fn free(root: Table, bytes: u64) {
    if bytes >= LARGE {
        // Where there can be no further thread it is freed here.
        let _ = std::thread::Builder::new().spawn(move || drop(root));
    }
}

/// From about a thousand certificates.
const LARGE: u64 = 1 << 17;

/// Where the state is, by the first lines of the file alone; the policy may come to another end, by a drop-in for example.
#[must_use]
pub fn likely_state_dir(file: &Path) -> PathBuf {
    let text = fs::read(file, LARGEST_FILE).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines = text.split_inclusive('\n');
    let head: String = lines.take_while(|line| !line.starts_with('[')).collect();
    let head = toml::from_str::<toml::Table>(&head).unwrap_or_default();
    let written = head.get("state_dir").and_then(toml::Value::as_str);
    PathBuf::from(written.unwrap_or(DEFAULT_STATE_DIR))
}

/// By what the host says of itself; Debian where it says nothing.
fn host_family() -> Family {
    OS_RELEASE
        .iter()
        .find_map(|path| fs::read(Path::new(path), LARGEST_OS_RELEASE).ok())
        .map(|text| Family::of_os_release(&String::from_utf8_lossy(&text)))
        .unwrap_or_default()
}

/// os-release(5): the second is what the first usually points at.
const OS_RELEASE: &[&str] = &["/etc/os-release", "/usr/lib/os-release"];

const LARGEST_OS_RELEASE: u64 = 1 << 16;

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
        && let as_root = nix::unistd::geteuid().is_root()
        && let Some((who, fix)) = strangers(Access::from(&metadata), as_root)
    {
        let shown = directory.display();
        let message = format!("{who} may add files to {shown}");
        let help = format!("run: {fix} {shown}");
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
                let (file, all) = (LARGEST_FILE / MIB, LARGEST_POLICY / MIB);
                let message = format!("{shown} is too large");
                Diagnostic::of_file(Code::TooLarge, id, message).help(format!(
                    "a file may have {file} MiB, all files together {all} MiB"
                ))
            }
            Self::NotText { line } => {
                let message = format!("{shown} is not UTF-8 in line {line}");
                Diagnostic::of_file(Code::NotText, id, message).help("save the file as UTF-8 text")
            }
        }
    }
}

fn read(path: &Path, limit: u64) -> Result<(String, Option<Access>), Unread> {
    let mut seen = None;
    let bytes = fs::read_checked(path, limit, |metadata| {
        if metadata.len() > limit {
            return Err(Unread::TooLarge);
        }
        seen = Some(Access::from(metadata));
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
fn permissions(path: &Path, access: Access, root: bool, id: FileId) -> Option<Diagnostic> {
    let shown = path.display();
    let (who, fix) = strangers(access, root)?;
    let what = if root {
        "what root runs"
    } else {
        "what runs as you"
    };
    let message = format!("{who} may change {shown}, and with it {what}");
    let problem = Diagnostic::of_file(Code::Permissions, id, message);
    Some(problem.help(format!("run: {fix} {shown}")))
}

/// Who else may write, and what ends that.
fn strangers(access: Access, root: bool) -> Option<(String, &'static str)> {
    let Access { mode, owner, group } = access;
    if mode & 0o002 != 0 {
        let who = format!("every user of this machine (mode {mode:04o})");
        Some((who, "chmod o-w"))
    } else if root && owner != 0 {
        Some((format!("user {owner}"), "chown root"))
    } else if root && mode & 0o020 != 0 && group != 0 {
        Some((format!("group {group}"), "chmod g-w"))
    } else {
        None
    }
}

/// Who may do what with a file.
#[derive(Debug, Clone, Copy)]
struct Access {
    mode: u32,
    owner: u32,
    group: u32,
}

impl From<&Metadata> for Access {
    fn from(metadata: &Metadata) -> Self {
        Self {
            mode: metadata.mode() & 0o7777,
            owner: metadata.uid(),
            group: metadata.gid(),
        }
    }
}

/// Parses one file; what cannot be parsed is reported, and the rest of the file is used all the same.
fn parse(id: FileId, sources: &mut Sources, problems: &mut Problems) -> Table {
    let parsed = tree::parse(id, sources.get(id));
    let secrets = mask::of_tree(&parsed.root);
    sources.get_mut(id).hide(secrets, parsed.bad.clone());
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
const LARGEST_FILE: u64 = 32 * MIB;

/// Bytes of all files together: a bound on memory.
const LARGEST_POLICY: u64 = 128 * MIB;

const MIB: u64 = 1024 * 1024;

/// Drop-ins: one per certificate of a large site.
const MOST_FILES: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_looked_for_where_the_policy_begins_with() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("renewd.toml");
        let likely = |text: &str| {
            fs::write_atomic(&file, text.as_bytes(), &fs::Attributes::PRIVATE).unwrap();
            likely_state_dir(&file)
        };
        let table = "[job.check]\nstate_dir = \"/x\"\n";
        let usual = Path::new(DEFAULT_STATE_DIR);
        assert_eq!(likely_state_dir(Path::new("/nowhere")), usual);
        assert_eq!(likely(table), usual);
        assert_eq!(likely("state_dir = \"/unfinished"), usual);
        let written = format!("# Here.\nstate_dir = \"/srv/renewd\"\n{table}");
        assert_eq!(likely(&written), Path::new("/srv/renewd"));
    }

    fn said(mode: u32, owner: u32, group: u32, root: bool) -> Option<(Severity, String)> {
        let access = Access { mode, owner, group };
        let problem = permissions(Path::new("/p"), access, root, FileId(0))?;
        Some((problem.severity, problem.helps.join(" ")))
    }

    #[test]
    fn who_may_change_what_root_runs_is_told() {
        let error = |help: &str| Some((Severity::Error, help.to_owned()));
        assert_eq!(said(0o644, 0, 0, true), None);
        assert_eq!(said(0o664, 0, 0, true), None);
        assert_eq!(said(0o646, 0, 0, true), error("run: chmod o-w /p"));
        assert_eq!(said(0o664, 0, 50, true), error("run: chmod g-w /p"));
        assert_eq!(said(0o600, 1000, 0, true), error("run: chown root /p"));
    }

    #[test]
    fn an_ordinary_user_is_spared_the_details() {
        assert_eq!(said(0o664, 1000, 1000, false), None);
        assert_eq!(said(0o644, 0, 0, false), None);
        assert!(said(0o666, 1000, 1000, false).is_some());
    }
}
