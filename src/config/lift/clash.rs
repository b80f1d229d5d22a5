//! No two exports may write one file.

use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::config::code::Code;
use crate::config::diagnostic::Diagnostic;
use crate::config::problems::Problems;
use crate::config::source::Place;
use crate::model::{CertificateId, TargetId};

/// A file that an export writes, with `{certificate}` still in it.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    /// Relative in the generation, or absolute.
    pub(super) path: PathBuf,
    /// Where the policy says so.
    pub(super) place: Place,
}

impl Claim {
    fn expand(&self, certificate: &CertificateId) -> Self {
        let template = self.path.to_string_lossy();
        Self {
            path: PathBuf::from(template.replace(PLACEHOLDER, certificate.as_str())),
            place: self.place,
        }
    }
}

/// Who writes a file.
#[derive(Debug, Clone, Copy)]
struct Owner<'a> {
    place: Place,
    certificate: &'a CertificateId,
}

/// A path, in the order of paths, where `a/b` comes before `a.b`. A policy of ten thousand certificates compares some hundred
/// thousand pairs of them, and [`Path`] takes both apart each time. Made of clean paths only.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Sorted(Vec<u8>);

impl Sorted {
    fn new(path: String) -> Self {
        let mut bytes = path.into_bytes();
        exchange(&mut bytes, b'/', LEAST);
        Self(bytes)
    }

    fn is_above(&self, below: &Self) -> bool {
        let rest = below.0.strip_prefix(self.0.as_slice());
        rest.is_some_and(|rest| rest.first() == Some(&LEAST))
    }

    fn to_path(&self) -> PathBuf {
        let mut bytes = self.0.clone();
        exchange(&mut bytes, LEAST, b'/');
        PathBuf::from(OsString::from_vec(bytes))
    }
}

fn exchange(bytes: &mut [u8], from: u8, to: u8) {
    for byte in bytes.iter_mut().filter(|byte| **byte == from) {
        *byte = to;
    }
}

/// In no path: control characters are refused.
const LEAST: u8 = 0;

/// Reports every place that two would write to.
pub(super) fn report(
    users: &BTreeMap<TargetId, Vec<CertificateId>>,
    claims: &BTreeMap<TargetId, Vec<Claim>>,
    problems: &mut Problems,
) {
    let mut said = BTreeSet::new();
    for (target, claims) in claims {
        within(claims, &mut said, problems);
        // `{certificate}.pem` and `www.pem` are one file for the certificate `www`.
        let (named, fixed): (Vec<&Claim>, Vec<&Claim>) = claims
            .iter()
            .filter(|claim| claim.path.is_relative())
            .partition(|claim| claim.path.to_string_lossy().contains(PLACEHOLDER));
        if !named.is_empty() && !fixed.is_empty() {
            for certificate in users.get(target).into_iter().flatten() {
                let claims: Vec<Claim> = claims.iter().map(|c| c.expand(certificate)).collect();
                within(&claims, &mut said, problems);
            }
        }
    }
    let mut owners = BTreeMap::new();
    for (target, claims) in claims {
        let users = users.get(target).map_or(&[][..], Vec::as_slice);
        for claim in claims.iter().filter(|claim| claim.path.is_absolute()) {
            loose(target, claim, users, &mut owners, &mut said, problems);
        }
    }
    // In the order of paths, what lies below a path follows it at once.
    for ((path, owner), (below, other)) in owners.iter().zip(owners.iter().skip(1)) {
        if path.is_above(below) && said.insert(pair(owner.place, other.place)) {
            file_and_directory(problems, &path.to_path(), owner.place, other.place);
        }
    }
}

/// Claims of one target on one path: the same for every certificate.
fn within(claims: &[Claim], said: &mut BTreeSet<(Place, Place)>, problems: &mut Problems) {
    let mut sorted: Vec<&Claim> = claims.iter().collect();
    sorted.sort_by(|a, b| (&a.path, a.place).cmp(&(&b.path, b.place)));
    for two in sorted.windows(2) {
        let (first, second) = (two[0], two[1]);
        if !said.contains(&pair(first.place, second.place)) {
            if first.path == second.path {
                said.insert(pair(first.place, second.place));
                let (early, late) = pair(first.place, second.place);
                let message = format!("two files would be written to {}", second.path.display());
                let problem = Diagnostic::error(Code::Clash, late, message, "the second file");
                let problem = if early == late {
                    problem
                } else {
                    problem.also(early, "the first file")
                };
                problems.push(problem.help("write another path for one of them"));
            } else if second.path.starts_with(&first.path) {
                said.insert(pair(first.place, second.place));
                file_and_directory(problems, &first.path, first.place, second.place);
            }
        }
    }
}

/// A loose file, for every certificate that uses the target.
fn loose<'a>(
    target: &TargetId,
    claim: &Claim,
    users: &'a [CertificateId],
    owners: &mut BTreeMap<Sorted, Owner<'a>>,
    said: &mut BTreeSet<(Place, Place)>,
    problems: &mut Problems,
) {
    let template = claim.path.to_string_lossy();
    let each = template.contains(PLACEHOLDER);
    if let ([first, second, ..], false) = (users, each) {
        let message =
            format!("certificates `{first}` and `{second}` would both be written to {template}");
        let count = users.len();
        let label =
            format!("{count} certificates use the target `{target}`, and there is one path");
        let problem = Diagnostic::error(Code::Clash, claim.place, message, label);
        problems.push(problem.help(format!("write `{}`", own_path(&claim.path))));
    }
    for certificate in users.iter().take(if each { usize::MAX } else { 1 }) {
        let path = template.replace(PLACEHOLDER, certificate.as_str());
        let owner = Owner {
            place: claim.place,
            certificate,
        };
        let before = match owners.entry(Sorted::new(path)) {
            Slot::Vacant(slot) => {
                slot.insert(owner);
                continue;
            }
            Slot::Occupied(slot) => *slot.get(),
        };
        let path = claim.expand(certificate).path;
        if said.insert(pair(before.place, owner.place)) {
            let (early, late) = pair(before.place, owner.place);
            let message = if before.certificate == owner.certificate {
                format!(
                    "certificate `{certificate}` would be written twice to {}",
                    path.display()
                )
            } else {
                format!(
                    "certificates `{}` and `{certificate}` would both be written to {}",
                    before.certificate,
                    path.display()
                )
            };
            let problem = Diagnostic::error(Code::Clash, late, message, "this path")
                .also(early, "and this one are the same file");
            problems.push(problem.help("write another path for one of them"));
        }
    }
}

fn file_and_directory(problems: &mut Problems, path: &Path, file: Place, below: Place) {
    let message = format!("{} would be a file and a directory", path.display());
    let problem =
        Diagnostic::error(Code::Clash, below, message, "lies below it").also(file, "is a file");
    problems.push(problem.help("write another path for one of them"));
}

/// The same path with a place for the certificate's name.
fn own_path(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    let parent = path.parent().unwrap_or(Path::new("/"));
    parent.join(PLACEHOLDER).join(name).display().to_string()
}

fn pair(a: Place, b: Place) -> (Place, Place) {
    if a <= b { (a, b) } else { (b, a) }
}

const PLACEHOLDER: &str = "{certificate}";
