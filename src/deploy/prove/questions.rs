//! Which names are asked for, and what must be served for each.

use std::collections::{BTreeMap, BTreeSet};

use crate::deploy::keystores::Opened;
use crate::deploy::manifest::{MOST_BYTES, Saved, Was, read_kept};
use crate::deploy::probe::{Behind, Expected, KeyKind};
use crate::deploy::prove::Trust;
use crate::deploy::site::Site;
use crate::deploy::{StepError, arrived};
use crate::model::{
    CertificateId, DriftKind, ErrorClass, ExportKind, ExportLayout, Name, Reason, RevisionId,
    SubjectAltNames, TargetPolicy, Timestamp,
};
use crate::pki::chain::{is_ca, without_root};
use crate::pki::{Secret, facts, pem};
use crate::sys::error_chain as causes;
use crate::sys::fs;

/// One name to ask for.
#[derive(Debug, Clone)]
pub(in crate::deploy) struct Question {
    /// As reports call it.
    pub(super) name: String,
    /// Sent in SNI; addresses are not.
    pub(super) sni: Option<String>,
    /// Any one of these.
    pub(super) expected: Vec<Expected>,
    /// Whose name it is.
    pub(super) of: BTreeSet<CertificateId>,
}

impl Question {
    /// As reports call it.
    pub(in crate::deploy) fn name(&self) -> &str {
        &self.name
    }

    /// What resolves to addresses: the host name, or the address itself; `None` where no name is asked for.
    pub(in crate::deploy) fn host(&self) -> Option<&str> {
        let is_address = || self.name.parse::<std::net::IpAddr>().is_ok();
        match &self.sni {
            Some(host) => Some(host),
            None => is_address().then_some(self.name.as_str()),
        }
    }

    /// Whatever is presented behind the leaf.
    pub(in crate::deploy) fn for_the_leaf_alone(mut self) -> Self {
        for expected in &mut self.expected {
            expected.behind = None;
        }
        self
    }
}

/// Questions by name and kind of key: two certificates with one name in common are told apart by their keys, or else
/// either will do.
#[derive(Default)]
struct Questions(BTreeMap<(String, KeyKind), Question>);

impl Questions {
    fn add(
        &mut self,
        of: &CertificateId,
        names: Vec<Name>,
        wildcard_label: &str,
        expected: &Expected,
    ) {
        for name in names {
            let (name, sni) = match &name {
                Name::Dns(dns) => {
                    let dns = match dns.strip_prefix("*.") {
                        Some(rest) => format!("{wildcard_label}.{rest}"),
                        None => dns.clone(),
                    };
                    (dns.clone(), Some(dns))
                }
                Name::Ip(address) => (address.to_string(), None),
                // Nothing in a handshake says them.
                Name::Uri(_) | Name::Email(_) => continue,
            };
            let question = self
                .0
                .entry((name.clone(), expected.keys()))
                .or_insert(Question {
                    name,
                    sni,
                    expected: Vec::new(),
                    of: BTreeSet::new(),
                });
            question.of.insert(of.clone());
            if !question.expected.contains(expected) {
                question.expected.push(expected.clone());
            }
        }
    }

    fn add_nameless(&mut self, expected: Expected) {
        let name = "no name".to_owned();
        let question = Question {
            name: name.clone(),
            sni: None,
            expected: vec![expected],
            of: BTreeSet::new(),
        };
        self.0.insert((name, KeyKind::Any), question);
    }

    fn into_list(self) -> Vec<Question> {
        self.0.into_values().collect()
    }
}

/// For whom it is asked what comes behind the leaf, and which roots that must reach.
pub(in crate::deploy) enum Chains {
    /// For what a rollout brings.
    Incoming(Option<Trust>),
    /// For everything.
    All(Option<Trust>),
}

/// What must be served after a commit.
pub(in crate::deploy) fn forward(
    site: &Site<'_>,
    target: &TargetPolicy,
    wildcard_label: &str,
    chains: Chains,
    now: Timestamp,
) -> Result<Vec<Question>, StepError> {
    let mut questions = Questions::default();
    // What somebody else put there and the rollout spares is served, not ours.
    let kept = match &chains {
        Chains::Incoming(_) => read_kept(&site.generation())?,
        Chains::All(_) => BTreeSet::new(),
    };
    for (certificate, revision) in &site.rollout.revisions {
        if site.rollout.leaves_strange(certificate) || kept.contains(certificate) {
            continue;
        }
        let (leaf, chain) = match public(site, certificate, revision) {
            Ok(public) => public,
            // What only stays, and whose own store is damaged, must not keep the others from their proof.
            Err(error) if site.rollout.repeats(certificate) => {
                tracing::warn!(target = %site.rollout.target, %certificate, %error, "it is not asked for");
                continue;
            }
            Err(error) => return Err(error),
        };
        let at_least = presentable(target, &chain).len();
        let names = asked(site, certificate, &leaf);
        let (asked_behind, trust) = match &chains {
            Chains::All(trust) => (true, trust.as_ref()),
            // What was there before is still to be served, and how only where that is what is put right; that clients accept it was a matter of its own rollout, and
            // one that has expired since must not keep the others away.
            Chains::Incoming(trust) => {
                let comes_in = site.rollout.previous.get(certificate) != Some(revision);
                let mends = matches!(
                    site.rollout.reasons.get(certificate),
                    Some(Reason::Drifted {
                        kind: DriftKind::ServedChain,
                        ..
                    })
                );
                (comes_in || mends, trust.as_ref().filter(|_| comes_in))
            }
        };
        let expected = Expected {
            leaf: Some(leaf),
            not: None,
            behind: asked_behind.then(|| Behind {
                chain,
                at_least,
                trust: trust.cloned().map(|trust| (trust, now)),
            }),
        };
        questions.add(certificate, names, wildcard_label, &expected);
        if questions.0.is_empty() && site.rollout.revisions.len() == 1 {
            // Without a name to ask for it can only be what everybody gets.
            questions.add_nameless(expected);
        }
    }
    Ok(questions.into_list())
}

/// The part of a chain that a service of this target has to present: all but the root, or nothing where no export
/// holds the chain.
pub(in crate::deploy) fn presentable<'a>(
    target: &TargetPolicy,
    chain: &'a [Vec<u8>],
) -> &'a [Vec<u8>] {
    let mut exports = target.exports.iter();
    if exports.any(|export| holds_chain(&export.kind)) {
        without_root(chain)
    } else {
        &[]
    }
}

/// What must be served after a restore: the former leaf of each certificate, where it is known. Nothing is asked of those
/// that could not go back (`stays`), and of a member that was left to somebody else's newer one.
pub(in crate::deploy) fn backward(
    site: &Site<'_>,
    wildcard_label: &str,
    stays: BTreeSet<CertificateId>,
    now: Timestamp,
) -> Vec<Question> {
    let mut questions = Questions::default();
    let rollout = site.rollout;
    let mut left = stays;
    left.extend(arrived::of(site, now));
    left.extend(read_kept(&site.generation()).unwrap_or_default());
    for (certificate, revision) in &rollout.previous {
        if rollout.strange.contains(certificate) || left.contains(certificate) {
            continue;
        }
        if let Ok((leaf, _)) = public(site, certificate, revision) {
            let names = asked(site, certificate, &leaf);
            questions.add(
                certificate,
                names,
                wildcard_label,
                &Expected {
                    leaf: Some(leaf),
                    not: None,
                    behind: None,
                },
            );
        }
    }
    for (certificate, revision) in &rollout.revisions {
        let Some(original) = original(site, certificate) else {
            continue;
        };
        if rollout.previous.contains_key(certificate) || left.contains(certificate) {
            continue;
        }
        // The names that the service is known to have; what the original says of itself may never have been asked for.
        if let Ok((leaf, _)) = public(site, certificate, revision) {
            let names = asked(site, certificate, &leaf);
            // Of a file that nobody can read it is known at least what must be gone.
            let not = original.leaf.is_none().then_some(leaf);
            let expected = Expected {
                leaf: original.leaf,
                not,
                behind: None,
            };
            questions.add(certificate, names, wildcard_label, &expected);
        }
    }
    questions.into_list()
}

/// Whether every certificate that would be served again after a restore is past its end.
pub(in crate::deploy) fn former_expired(site: &Site<'_>, now: Timestamp) -> bool {
    let rollout = site.rollout;
    let expired = |leaf: &[u8]| facts(leaf).is_ok_and(|facts| facts.not_after <= now);
    let mut formers = rollout
        .revisions
        .iter()
        .filter_map(
            |(certificate, revision)| match rollout.previous.get(certificate) {
                Some(former) if former == revision => None,
                Some(former) => {
                    Some(public(site, certificate, former).is_ok_and(|(leaf, _)| expired(&leaf)))
                }
                None => original(site, certificate)
                    .and_then(|original| original.leaf)
                    .map(|leaf| expired(&leaf)),
            },
        );
    // What is not replaced is as good as it was.
    formers
        .next()
        .is_some_and(|first| first && formers.all(|ended| ended))
}

fn public(
    site: &Site<'_>,
    certificate: &CertificateId,
    revision: &RevisionId,
) -> Result<(Vec<u8>, Vec<Vec<u8>>), StepError> {
    let wrong = |problem: String| {
        StepError::new(
            ErrorClass::Configuration,
            format!("certificate {certificate}, revision {revision}: {problem}"),
        )
    };
    let mut all = site
        .materials
        .load_public(certificate, revision)
        .map_err(|error| wrong(causes(&error)))?;
    if all.is_empty() {
        return Err(wrong("its files hold no certificate".to_owned()));
    }
    let leaf = all.remove(0);
    Ok((leaf, all))
}

/// The names of the policy that the leaf is good for; all that it has, where the policy has none of them.
fn asked(site: &Site<'_>, certificate: &CertificateId, leaf: &[u8]) -> Vec<Name> {
    let own = names_of(leaf);
    let wanted = site
        .names
        .get(certificate)
        .into_iter()
        .flat_map(|n| n.iter());
    let asked: Vec<Name> = wanted
        .filter(|name| own.iter().any(|have| have.covers(name)))
        .cloned()
        .collect();
    if asked.is_empty() { own } else { asked }
}

/// That the leaf is good for every name that the policy has for the certificate: the service is asked for each.
pub(in crate::deploy) fn fits(
    site: &Site<'_>,
    certificate: &CertificateId,
    leaf: &[u8],
) -> Result<(), StepError> {
    let Some(wanted) = site.names.get(certificate) else {
        return Ok(());
    };
    let own = names_of(leaf);
    let uncovered = |name: &&Name| !own.iter().any(|own| own.covers(name));
    let missing: SubjectAltNames = wanted.iter().filter(uncovered).cloned().collect();
    if missing.is_empty() {
        return Ok(());
    }
    let own: SubjectAltNames = own.into_iter().collect();
    Err(StepError::new(
        ErrorClass::Rejected,
        format!(
            "{certificate}: the certificate is for {own}, the policy wants {missing}; `renewd renew {certificate}` gets one"
        ),
    ))
}

fn names_of(leaf: &[u8]) -> Vec<Name> {
    let Ok(facts) = facts(leaf) else {
        return Vec::new();
    };
    if facts.names.is_empty() {
        let name = facts.common_name.and_then(|name| Name::parse(&name).ok());
        return name.into_iter().collect();
    }
    facts.names.iter().cloned().collect()
}

/// What was at the loose places of a certificate before renewd.
struct Original {
    /// The leaf, if it could be read.
    leaf: Option<Vec<u8>>,
}

fn original(site: &Site<'_>, certificate: &CertificateId) -> Option<Original> {
    let generation = site.generation();
    let manifest = site.manifest()?;
    let saved = Saved::read(&generation).ok()??;
    let mut found = None;
    for place in &saved.places {
        let entry = manifest.files.get(place.index);
        let Some(entry) = entry.filter(|entry| entry.certificate == *certificate) else {
            continue;
        };
        if !matches!(place.was, Was::File { .. }) {
            continue;
        }
        let bytes = fs::read(&site.records().saved_copy(place.index), MOST_BYTES)
            .ok()
            .map(Secret::new);
        if let Some(bytes) = &bytes
            && let Opened::Keys(held) = site.keystores().open(entry, bytes.expose())
        {
            // Of several nobody can say which is served; without any it is a trust store.
            let mut leaves = held.into_iter().map(|held| held.certificates);
            match (leaves.next(), leaves.next()) {
                (None, _) => {}
                (Some(only), None) => {
                    found = Some(Original {
                        leaf: only.into_iter().next(),
                    });
                }
                (Some(_), Some(_)) => found = Some(Original { leaf: None }),
            }
            continue;
        }
        let text = bytes.as_ref().and_then(Secret::expose_str);
        let certificates = text
            .and_then(|text| pem::certificates(text).ok())
            .unwrap_or_default();
        // A trust store, or a chain file: what is in it is served behind a leaf, never as one.
        if certificates.first().is_some_and(|der| is_ca(der)) {
            continue;
        }
        let original = found.get_or_insert(Original { leaf: None });
        // The file with the leaf comes last among those of an export.
        if let Some(leaf) = certificates.into_iter().next() {
            original.leaf = Some(leaf);
        }
    }
    found
}

/// Whether a service that uses this export has the chain to present.
fn holds_chain(kind: &ExportKind) -> bool {
    match kind {
        ExportKind::Pem(files) => {
            files.chain.is_some() || files.fullchain.is_some() || files.combined.is_some()
        }
        ExportKind::Pfx { .. } | ExportKind::Jks { .. } => true,
        // A server does not present what it trusts.
        ExportKind::Trust { .. } => false,
        ExportKind::Layout { layout, .. } => match layout {
            ExportLayout::Nginx
            | ExportLayout::Apache
            | ExportLayout::Tomcat
            | ExportLayout::Iis
            | ExportLayout::Other => true,
        },
    }
}
