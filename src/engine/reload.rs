//! Another policy comes into force, or does not and the old one stays.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::exposition::Exposition;
use crate::engine::wake::{Daemon, RunOptions, announce, make_engine};
use crate::engine::watchdog::longest_step;
use crate::engine::{Outcome, Progress};
use crate::model::{Milestone, Seconds, Timestamp};
use crate::plan::explain::counted;
use crate::sys::systemd;

impl Daemon {
    /// A person's command reads the policy as it is now; a daemon that went on by an older one would undo what that
    /// command did, and order certificates for names that nobody wants any more. Answers once nobody seems to write any
    /// more; changes nothing, so that it need not be waited for.
    pub(super) async fn has_changed<E: fmt::Display>(&self, options: &RunOptions<E>) -> bool {
        let mut seen = (options.stamp)();
        if seen == self.stamp {
            return false;
        }
        // Somebody may still be writing, and a file that was only emptied so far would pass for a policy without
        // certificates. So two looks must agree; who writes for ever is not waited for.
        for _ in 0..MOST_LOOKS {
            tokio::time::sleep(BETWEEN_LOOKS).await;
            let again = (options.stamp)();
            if again == seen {
                break;
            }
            seen = again;
        }
        tracing::info!("the policy's files changed");
        true
    }

    pub(super) async fn reload<E: fmt::Display>(&mut self, options: &RunOptions<E>) -> Outcome {
        systemd::reloading();
        // Before reading: a change in between is noticed at the next tick.
        self.stamp = (options.stamp)();
        self.retried = self.engine.clock.now();
        let outcome = self.take_over(options).await;
        self.judged(&outcome, why(&outcome));
        systemd::ready();
        outcome
    }

    /// A policy can be refused for what is not in its files: a directory, a user, a step under way. So it is tried once a
    /// minute, and told when something else comes of it.
    pub(super) async fn reload_again<E: fmt::Display>(&mut self, options: &RunOptions<E>) {
        let now = self.engine.clock.now();
        if self.refused.is_none() || self.retried.until(now).0.abs() < BETWEEN_ATTEMPTS.0 {
            return;
        }
        self.retried = now;
        let outcome = self.take_over(options).await;
        let why = why(&outcome);
        if why != self.refused {
            self.judged(&outcome, why);
        }
    }

    fn judged(&mut self, outcome: &Outcome, refused: Option<String>) {
        let accepted = refused.is_none();
        let text = if accepted {
            outcome.note.clone()
        } else {
            outcome.errors.join("\n")
        };
        self.refused = refused;
        if !accepted {
            tracing::error!(event = Milestone::PolicyRefused.code(), "{text}");
            systemd::status(REFUSED);
            // It is told now, and for as long as it is so.
            self.due = self.engine.clock.now();
        }
        (self.engine.progress)(Progress::Policy { accepted, text });
    }

    async fn take_over<E: fmt::Display>(&mut self, options: &RunOptions<E>) -> Outcome {
        let policy = match (options.load)() {
            Ok(policy) => Arc::new(policy),
            Err(problems) => {
                return Outcome::refused(BAD_POLICY, format!("{REFUSED}\n{problems}"));
            }
        };
        if policy.state_dir != self.engine.policy.state_dir && !self.steps.is_empty() {
            let why = format!("{REFUSED}: a step is under way that uses the present state_dir");
            return Outcome::refused(TRY_LATER, why);
        }
        // The journal of this state directory is in order; a person's command may hold its lock.
        let made = if policy.state_dir == self.engine.policy.state_dir {
            (options.engine)(policy).await
        } else {
            make_engine(policy, options).await
        };
        match made {
            Ok(mut engine) => {
                let now = engine.clock.now();
                let longest = longest_step(&engine.policy);
                systemd::allow(longest);
                // Steps that were begun under the old one are given its time.
                self.longest = if self.steps.is_empty() {
                    longest
                } else {
                    longest.max(self.longest)
                };
                engine.stop = Arc::clone(&self.engine.stop);
                self.deliveries.hire(&engine).await;
                let old = std::mem::replace(&mut self.engine, Arc::new(engine));
                let state_dir = &self.engine.policy.state_dir;
                let (moved, control) = (
                    old.policy.state_dir != *state_dir,
                    old.policy.control.clone(),
                );
                if moved {
                    self.presence = announce(state_dir).await;
                    self.marked = Timestamp::default();
                }
                // The address of the old one may be wanted again.
                if let Some(exposition) = self.exposition.take() {
                    exposition.close().await;
                }
                self.exposition = Exposition::open(&self.engine).await;
                self.retired.push(old);
                if self.steps.is_empty() {
                    self.retire().await;
                }
                self.begin_anew(now);
                let policy = &self.engine.policy;
                if policy.control.socket != control.socket || policy.control.group != control.group
                {
                    tracing::warn!("the control socket changes with the next start of renewd");
                }
                options.in_force.send_replace(Arc::clone(policy));
                tracing::info!(event = Milestone::PolicyInForce.code(), "policy reloaded");
                Outcome {
                    exit: 0,
                    note: format!(
                        "the policy is in force: {}",
                        counted(policy.certificates.len(), "certificate")
                    ),
                    errors: Vec::new(),
                }
            }
            Err(error) => Outcome::refused(TRY_LATER, format!("{REFUSED}: {error}")),
        }
    }
}

/// Why a policy was refused, if it was.
fn why(outcome: &Outcome) -> Option<String> {
    if outcome.errors.is_empty() {
        return None;
    }
    let text = outcome.errors.join("\n");
    let why = text.strip_prefix(REFUSED).unwrap_or(&text);
    Some(why.trim_start_matches([':', ' ', '\n']).to_owned())
}

/// The exit statuses of the command line that a reload can have.
const BAD_POLICY: u8 = 78;
const TRY_LATER: u8 = 75;
const REFUSED: &str = "the new policy cannot be used; the old one stays in force";
/// Before what else there is to say, for as long as that is so.
pub(super) const NOT_IN_FORCE: &str = "the policy cannot be used and an older one is in force; ";
/// Between two attempts to take over a policy that was refused.
const BETWEEN_ATTEMPTS: Seconds = Seconds::minutes(1);
/// Between two looks at files that changed.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
/// Of these.
const MOST_LOOKS: u32 = 30;
