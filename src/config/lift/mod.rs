//! From a checked tree to a [`Policy`]: what each value means, and whether the values fit each other.
//!
//! Every function reports what it finds and goes on; `None` always means that the reason was reported. The policy
//! is handed out only if nothing was.

mod alert;
mod certificate;
mod clash;
mod control;
mod defined;
mod export;
mod hooks;
mod issuer;
mod job;
mod metrics;
mod names;
mod pacing;
mod proving;
mod public;
mod push;
mod scm;
mod sockets;
mod target;
mod told;
mod twins;
mod validation;
mod value;
mod watch;
mod way;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::config::fields::Fields;
use crate::config::problems::Problems;
use crate::config::raw;
use crate::config::scalar::PathRule;
use crate::config::source::Sources;
use crate::config::tree::Table;
use crate::model::{CertificateId, DEFAULT_STATE_DIR, Family, IssuerId, Policy, TargetId};

use clash::Claim;
use defined::Defined;

/// What everything below needs.
struct Lift<'a> {
    problems: &'a mut Problems,
    sources: &'a Sources,
    state_dir: PathBuf,
    /// Whose paths recipes take.
    family: Family,
    /// Which certificates name a target, whatever else is wrong with them.
    users: BTreeMap<TargetId, Vec<CertificateId>>,
    /// Of what is watched, for those who are told by tag.
    watch_tags: BTreeSet<String>,
    /// The ways of proving domains.
    validations_defined: Defined<'a>,
}

/// The policy as far as it can be made out; complete and right if no error was reported. `host` is what this host is.
pub(super) fn policy(
    root: &Table,
    host: Family,
    problems: &mut Problems,
    sources: &Sources,
) -> Policy {
    let top = Fields::top(root);
    let mut lift = Lift {
        problems,
        sources,
        state_dir: PathBuf::from(DEFAULT_STATE_DIR),
        family: match top.text("family") {
            Some(("debian", _)) => Family::Debian,
            Some(("rhel", _)) => Family::Rhel,
            _ => host,
        },
        users: BTreeMap::new(),
        watch_tags: BTreeSet::new(),
        validations_defined: Defined::validations(&top),
    };
    if let Some(path) = lift.path(&top, "state_dir", PathRule::Absolute) {
        lift.state_dir = path.0;
    }
    let control = lift.control(&top);
    let jobs = lift.jobs(&top, top.has("watch"));

    let mut issuers_defined = Defined::issuers(&top);
    let mut targets_defined = Defined::targets(&top);
    issuers_defined.report_same_names(lift.problems);
    targets_defined.report_same_names(lift.problems);
    lift.validations_defined.report_same_names(lift.problems);

    let mut issuers = BTreeMap::new();
    for (name, kind, fields) in issuers_defined.each(&top) {
        if let Ok(id) = IssuerId::new(name)
            && let Some(issuer) = lift.issuer(id.clone(), kind, &fields)
        {
            issuers.insert(id, issuer);
        }
    }

    let validations = lift.validations(&top, &issuers, &mut issuers_defined);

    let mut targets = BTreeMap::new();
    let mut claims: BTreeMap<TargetId, Vec<Claim>> = BTreeMap::new();
    for (name, kind, fields) in targets_defined.each(&top) {
        if let Ok(id) = TargetId::new(name) {
            let (target, written) = lift.target(id.clone(), kind, &fields);
            claims.insert(id.clone(), written);
            if let Some(target) = target {
                targets.insert(id, target);
            }
        }
    }

    let mut pushes = lift.pushes(&top, &mut issuers_defined);
    let mut certificates = BTreeMap::new();
    let mut headers = BTreeMap::new();
    for (name, fields) in top.tables("certificate", &raw::CERTIFICATE) {
        if let Ok(id) = CertificateId::new(name) {
            let certificate = lift.certificate(
                id.clone(),
                &fields,
                &issuers,
                &mut issuers_defined,
                &mut targets_defined,
            );
            let push = lift.pushed_to(&id, &fields, certificate.as_ref(), &mut pushes);
            if let (Some(mut certificate), Some(push)) = (certificate, push) {
                certificate.push = push;
                lift.validation_fits(&certificate, &fields, &validations);
                headers.insert(id.clone(), fields.header);
                certificates.insert(id, certificate);
            }
        }
    }

    // The first step of alerts; the longest that the listing of an account is asked about.
    let days = top
        .counts("alert_days")
        .map_or_else(Vec::new, |(days, _)| days);
    let days = days
        .iter()
        .filter_map(|(days, _)| u32::try_from(*days).ok());
    let days = days
        .filter(|days| (1..=1095).contains(days))
        .max()
        .unwrap_or(30);
    let watches = lift.watches(&top, days, &mut issuers_defined);
    let alerting = lift.alerting(&top, &certificates);
    let metrics = lift.metrics(&top);

    twins::report(&targets, &certificates, &headers, lift.problems);
    clash::report(&lift.users, &claims, lift.problems);
    issuers_defined.report_unused(lift.problems);
    pushes.report_unused(lift.problems);
    targets_defined.report_unused(lift.problems);
    lift.validations_defined.report_unused(lift.problems);
    Policy {
        state_dir: lift.state_dir,
        control,
        jobs,
        issuers,
        certificates,
        targets,
        alerting,
        watches,
        metrics,
        validations,
        pushes: pushes.into_policies(),
    }
}
