//! How long a step may take by the policy: systemd's watchdog must not kill what only waits as it was told to.

use std::time::Duration;

use crate::model::{Hooks, Policy, Probe, Seconds, TargetPolicy, ValidationKind};

/// The longest step that the policy allows, between two signs of life: a call of an issuer, a hook, or what a target's
/// commands and proof take on the way back.
pub(super) fn longest_step(policy: &Policy) -> Duration {
    let calls = policy.issuers.values().map(|issuer| {
        let access = &issuer.access;
        let call = access.connect_timeout.0.saturating_add(access.timeout.0);
        // All who may ask at once wait for their turns.
        let pace = issuer.pace;
        let turns = pace.concurrency / pace.requests_per_second.max(1);
        Seconds(call.saturating_add(i64::from(turns)))
    });
    let steps = policy.targets.values().map(of_target);
    let proofs = policy.validations.values();
    let proofs = proofs.map(|validation| of_validation(&validation.kind));
    let longest = calls.chain(steps).chain(proofs).max().unwrap_or(Seconds(0));
    longest.to_std()
}

/// Each proof of a domain is a sign of life.
fn of_validation(kind: &ValidationKind) -> Seconds {
    match kind {
        ValidationKind::Command { timeout, .. } => {
            Seconds(timeout.0.max(LOOK.0).saturating_add(DYING.0))
        }
        ValidationKind::HuaweiDns { access } => {
            let call = access.connect_timeout.0.saturating_add(access.timeout.0);
            Seconds(call.max(LOOK.0))
        }
        ValidationKind::Automatic
        | ValidationKind::Rfc2136 { .. }
        | ValidationKind::WebRoot { .. }
        | ValidationKind::Responder { .. }
        | ValidationKind::Email => LOOK,
    }
}

fn of_target(target: &TargetPolicy) -> Seconds {
    let (proof, look) = match &target.probe {
        Probe::Tls { deadline, .. } => (deadline.0, LOOK.0),
        Probe::None => (0, 0),
    };
    // An undo tests, reloads, restarts if it must, and proves; where something went back late, it proves before as well.
    let undo = target.command_timeout.0.saturating_mul(3);
    let undo = undo.saturating_add(proof.saturating_mul(2));
    let hook = if target.hooks == Hooks::default() {
        0
    } else {
        target.hooks.timeout.0
    };
    // What does not end by itself is given time to die.
    Seconds(undo.max(hook).max(look).saturating_add(DYING.0))
}

/// From the end of a command's time to that of its last child.
const DYING: Seconds = Seconds(11);

/// For all names of a service at a check, where each answers as late as it may; for one proof of a domain where no name
/// server answers.
const LOOK: Seconds = Seconds(120);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::target;

    #[test]
    fn a_command_that_publishes_may_take_its_time() {
        let kind = ValidationKind::Command {
            auth: vec!["/bin/true".to_owned()],
            cleanup: None,
            timeout: Seconds::hours(1),
            method: crate::model::DomainMethod::Dns,
        };
        assert_eq!(of_validation(&kind), Seconds(3611));
    }

    #[test]
    fn hooks_and_the_way_back_may_take_their_time() {
        let mut web = target("web");
        web.command_timeout = Seconds(10);
        assert_eq!(of_target(&web), Seconds(41));
        web.probe = Probe::Tls {
            connect: "127.0.0.1:443".to_owned().into(),
            deadline: Seconds(600),
            roots: None,
            wildcard_label: "renewd-probe".into(),
            prelude: crate::model::Prelude::default(),
        };
        assert_eq!(of_target(&web), Seconds(30 + 2 * 600 + 11));
        web.hooks.timeout = Seconds::hours(2);
        assert_eq!(of_target(&web), Seconds(7211));
        // Whatever somebody writes there, nothing overflows.
        web.command_timeout = Seconds(i64::MAX);
        assert_eq!(of_target(&web), Seconds(i64::MAX));
    }
}
