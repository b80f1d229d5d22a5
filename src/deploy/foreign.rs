//! Certificates that somebody else put where a revision of ours belongs.
//!
//! What is valid, for the same names, with its key beside it and issued later than ours was put there on purpose, by a
//! person or by another tool: it is never replaced by what is older (unless a person says so). Anything else that is
//! there is damage. A keystore is opened by the password of its export; of one that does not open nobody can say what is in
//! it, so it is left as it is until a person decides or something later is to be put there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::deploy::StepError;
use crate::deploy::drift::Look;
use crate::deploy::keystores::{Keystores, Opened};
use crate::deploy::manifest::{Entry, MOST_BYTES, Manifest};
use crate::deploy::site::Site;
use crate::model::{
    CertificateFacts, CertificateId, Difference, Drift, ErrorClass, SubjectAltNames, Timestamp,
};
use crate::pki::chain::{is_ca, is_self_issued};
use crate::pki::inspect::Held;
use crate::pki::{PkiError, PrivateKey, Secret, facts, pem};
use crate::sys::error_chain as causes;
use crate::sys::fs;

/// What a certificate has to be later than, and for whom.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ours<'a> {
    /// Of the revision that belongs there.
    pub(super) facts: &'a CertificateFacts,
    /// What the policy wants; without it, the names of the revision.
    pub(super) names: Option<&'a SubjectAltNames>,
}

/// A newer one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Newer {
    /// Where.
    pub(super) path: PathBuf,
    /// What.
    pub(super) facts: CertificateFacts,
}

impl Newer {
    /// One line, that begins with the path.
    pub(super) fn describe(&self, ours: &CertificateFacts) -> String {
        format!(
            "{} holds serial {} from {}, issued at {}, later than serial {} of renewd",
            self.path.display(),
            self.facts.serial,
            self.facts.issuer_name,
            self.facts.not_before,
            ours.serial,
        )
    }
}

/// The newer certificate among the files of one export of one certificate; `at` says where an entry is looked for.
pub(super) fn newer<'a>(
    entries: impl Iterator<Item = &'a Entry>,
    at: impl Fn(&Entry) -> PathBuf,
    ours: Ours<'_>,
    keystores: Keystores<'_>,
    now: Timestamp,
) -> Option<Newer> {
    let mut leaf: Option<Newer> = None;
    let mut keys = Vec::new();
    let mut needs_key = false;
    for entry in entries {
        let path = at(entry);
        // Secret, since there may be a key in it.
        let bytes = fs::read(&path, MOST_BYTES).ok().map(Secret::new);
        if let Some(bytes) = &bytes
            && let Opened::Keys(held) = keystores.open(entry, bytes.expose())
        {
            let mut found = held.iter().filter_map(|held| in_keystore(&path, held));
            match found.find(|found| is_newer(&found.facts, ours, now)) {
                Some(found) => return Some(found),
                None => continue,
            }
        }
        if entry.holds_key {
            needs_key = true;
            let key = bytes.as_ref().map(|key| PrivateKey::from_pem(key.expose()));
            keys.extend(key.and_then(Result::ok));
        }
        let text = bytes.as_ref().and_then(Secret::expose_str);
        if let (None, Some(text)) = (&leaf, text) {
            leaf = in_text(&path, text);
        }
    }
    let found = leaf?;
    let paired = !needs_key || keys.iter().any(|key| key.spki() == found.facts.spki);
    (paired && is_newer(&found.facts, ours, now)).then_some(found)
}

/// That the commit will replace nothing newer of somebody else, unless a person wants it to. Answers the members that the
/// rollout only repeats and whose places are left alone, so that the others go on. `ours` is asked for what goes in of a member
/// (`None` for one of which nothing does), and only where something of somebody else may be: a rollout of one certificate is
/// about all of its target.
pub(super) fn spare(
    site: &Site<'_>,
    manifest: &Manifest,
    ours: impl Fn(&CertificateId) -> Option<Result<CertificateFacts, PkiError>>,
    now: Timestamp,
) -> Result<BTreeSet<CertificateId>, StepError> {
    let layout = &site.layout;
    let look = Look {
        layout,
        materials: site.materials,
        names: site.names,
        keystores: site.keystores(),
        now,
        beat: &|| {},
    };
    let former = site.rollout.previous_generation;
    let drift = former.and_then(|generation| look.at(generation, false));
    let known = former.and_then(|number| Manifest::read(&layout.generation(number)));
    let known = known.iter().flat_map(Manifest::loose);
    let known: BTreeSet<&Path> = known.map(|(_, entry)| entry.path.as_path()).collect();
    // Places that renewd did not write so far.
    let mut fresh: BTreeMap<&CertificateId, BTreeMap<&str, Vec<&Entry>>> = BTreeMap::new();
    for (_, entry) in manifest.loose() {
        if !known.contains(entry.path.as_path()) {
            let exports = fresh.entry(&entry.certificate).or_default();
            exports.entry(&entry.export).or_default().push(entry);
        }
    }
    let mut found_newer = BTreeMap::new();
    let suspects: Vec<&Difference> = drift.iter().flat_map(Drift::perhaps_newer).collect();
    for certificate in site.rollout.revisions.keys() {
        let mut of_it = suspects.iter();
        let suspect = of_it.any(|found| found.certificate.as_ref() == Some(certificate));
        if site.rollout.overwrite.contains(certificate)
            || !(suspect || fresh.contains_key(certificate))
        {
            continue;
        }
        let Some(ours) = ours(certificate) else {
            continue;
        };
        let ours = ours.map_err(|error| {
            StepError::new(ErrorClass::Rejected, causes(&error)).about(certificate)
        })?;
        let mut later = suspects
            .iter()
            .filter(|found| found.certificate.as_ref() == Some(certificate))
            // Later, and not the very one that goes in and is there already.
            .filter(|found| found.issued_at.is_some_and(|at| at > ours.not_before))
            .map(|found| found.detail.clone());
        let found = later.next().or_else(|| {
            fresh.get(certificate)?.values().find_map(|entries| {
                let entries = entries.iter().copied();
                let compared = Ours {
                    facts: &ours,
                    names: site.names.get(certificate),
                };
                let at = |entry: &Entry| entry.path.clone();
                let newer = newer(entries, at, compared, site.keystores(), now)?;
                Some(newer.describe(&ours))
            })
        });
        if let Some(detail) = found {
            let text = nothing_older(certificate, &detail);
            let error = StepError::new(ErrorClass::Rejected, text).about(certificate);
            found_newer.insert(certificate.clone(), error);
        }
    }
    site.without(found_newer)
}

/// Why somebody else's stays, and what helps.
pub(super) fn nothing_older(certificate: &CertificateId, detail: &str) -> String {
    format!(
        "{detail}; nothing older replaces it: `renewd renew {certificate}` obtains a later one, `renewd release {certificate} --force` overwrites it"
    )
}

/// What is said of a keystore that is not ours and that the password of its export does not open.
pub(super) fn sealed(path: &Path) -> String {
    format!(
        "{} is a keystore of somebody else, and the password of its export does not open it: nobody can say whether what is in it is newer",
        path.display()
    )
}

/// Whether a certificate is one that ours must not replace.
pub(super) fn is_newer(found: &CertificateFacts, ours: Ours<'_>, now: Timestamp) -> bool {
    let names = ours.names.unwrap_or(&ours.facts.names);
    found.fingerprint != ours.facts.fingerprint
        && found.not_before > ours.facts.not_before
        && found.not_before <= now
        && found.not_after > now
        && found.covers(names)
}

/// The leaf of a private key in a keystore, if it is the key's own.
fn in_keystore(path: &Path, held: &Held) -> Option<Newer> {
    let leaf = held.certificates.first()?;
    let facts = facts(leaf).ok()?;
    let is_leaf = facts.spki == held.spki && !is_ca(leaf) && !is_self_issued(leaf);
    is_leaf.then(|| Newer {
        path: path.to_owned(),
        facts,
    })
}

fn in_text(path: &Path, text: &str) -> Option<Newer> {
    let leaf = pem::certificates(text).ok()?.into_iter().next()?;
    // A chain or a trust store has no leaf, and what signs itself is a placeholder.
    if is_ca(&leaf) || is_self_issued(&leaf) {
        return None;
    }
    Some(Newer {
        path: path.to_owned(),
        facts: facts(&leaf).ok()?,
    })
}

/// The entries of one export of one certificate.
pub(super) fn of_export<'a>(
    files: &'a [Entry],
    certificate: &'a CertificateId,
    export: &'a str,
) -> impl Iterator<Item = &'a Entry> {
    files
        .iter()
        .filter(move |entry| entry.certificate == *certificate && entry.export == export)
}
