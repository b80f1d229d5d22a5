//! No two certificates of one service may be alike to whoever asks it: only one of them is ever served, and nothing could
//! prove the other.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::code::Code;
use crate::config::diagnostic::Diagnostic;
use crate::config::problems::Problems;
use crate::config::source::Place;
use crate::model::{
    CertificateId, CertificatePolicy, KeyAlgorithm, Name, Probe, TargetId, TargetPolicy,
};

/// Reports every certificate without a name of its own among those of a probed target that have its kind of key. A server
/// may well have one of each kind for a name, and is asked for both.
pub(super) fn report(
    targets: &BTreeMap<TargetId, TargetPolicy>,
    certificates: &BTreeMap<CertificateId, CertificatePolicy>,
    headers: &BTreeMap<CertificateId, Place>,
    problems: &mut Problems,
) {
    let mut groups: BTreeMap<(&TargetId, bool), Vec<&CertificatePolicy>> = BTreeMap::new();
    for certificate in certificates.values() {
        for target in &certificate.targets {
            if targets
                .get(target)
                .is_some_and(|target| target.probe != Probe::None)
            {
                let alike = (target, is_rsa(certificate.key_algorithm));
                groups.entry(alike).or_default().push(certificate);
            }
        }
    }
    for ((target, _), members) in groups {
        let mut owners: BTreeMap<&Name, BTreeSet<&CertificateId>> = BTreeMap::new();
        for member in &members {
            for name in asked(member) {
                owners.entry(name).or_default().insert(&member.id);
            }
        }
        // The later ones, so that the first of two stays.
        for member in members.iter().rev() {
            let twin = |name| {
                owners
                    .get(name)?
                    .iter()
                    .copied()
                    .find(|id| **id != member.id)
            };
            let twins: Option<BTreeSet<&str>> = asked(member)
                .map(|name| twin(name).map(CertificateId::as_str))
                .collect();
            let twins = twins.filter(|twins| !twins.is_empty());
            let (Some(twins), Some(header)) = (twins, headers.get(&member.id)) else {
                continue;
            };
            let twins: Vec<&str> = twins.into_iter().collect();
            let message = format!(
                "certificate {} has no name of its own on target {target}: {} has the same with the same kind of key",
                member.id,
                twins.join(" and "),
            );
            let label = "a service presents one of them, and the other is never seen";
            let problem = Diagnostic::error(Code::Probe, *header, message, label);
            problems.push(problem.help(
                "give each a name of its own, another kind of key (`key_algorithm`), or a target of its own; or take one away",
            ));
            for name in asked(member) {
                if let Some(owners) = owners.get_mut(name) {
                    owners.remove(&member.id);
                }
            }
        }
    }
}

/// What a service can be asked for.
fn asked(certificate: &CertificatePolicy) -> impl Iterator<Item = &Name> {
    let names = certificate.names.iter();
    names.filter(|name| matches!(name, Name::Dns(_) | Name::Ip(_)))
}

const fn is_rsa(algorithm: KeyAlgorithm) -> bool {
    match algorithm {
        KeyAlgorithm::Rsa2048 | KeyAlgorithm::Rsa3072 | KeyAlgorithm::Rsa4096 => true,
        KeyAlgorithm::EcP256 | KeyAlgorithm::EcP384 => false,
    }
}
