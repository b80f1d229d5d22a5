//! Decisions: what should happen next, why, why not yet, and when to look again.
//!
//! Pure functions over [`crate::model`]: no clock, no random numbers, no files, no network, no logging. The same input
//! gives the same output, so a decision can be tested, printed, repeated, and asked for another day (`renewd plan --at`).
//!
//! | file | decides |
//! |---|---|
//! | [`planner`] | the whole: one verdict per certificate, at most one action per order, rollout, certificate, target |
//! | [`checks`] | why a certificate needs a new revision: an ordered list, first hit wins |
//! | [`renewal`] | when renewal is due |
//! | [`entitlements`] | which certificates come without a purchase, and with which keys |
//! | [`order_machine`], [`rollout_machine`] | which step comes next, which phase an event leads to, what an error means |
//! | `certificates`, `targets` | what that means for one certificate, one target |
//! | `orders` | what a person must know of an order of a public certificate; how an order is given up |
//! | [`backoff`] | when a failed thing is tried again |
//! | [`clock`] | whether the clock can be believed |
//! | [`jobs`] | when what is done by the calendar is due |
//! | [`open`] | what an order or a rollout looks like when it is opened |
//! | `pacing` | what holds a rollout until a window opens or another reload is allowed |
//! | `blame` | which members a failed rollout sets aside, and in which parts the rest goes again |
//! | [`outage`] | what may be asked of an issuer that answers nobody |
//! | [`outcome`] | what a certificate or a target is after an order or a rollout |
//! | [`revoke`] | when a revision is revoked, which certificates of ours are deleted |
//! | [`push`] | when the newest revision goes to a place of the cloud |
//! | `accounts` | which issuers are one account, for what was bought |
//! | `again` | when what is blocked is tried again by itself |
//! | `alerts` | what a person must know |
//! | [`digest`] | what a digest says |
//! | [`mails`] | which letters leave now, and which of them together |
//! | [`watch`] | what is wrong with what is watched and not managed |
//! | [`metrics`] | all that is known, as text for Prometheus |
//! | `relied` | what renewd itself relies on and what ends |
//! | `widespread` | what is one alert for many certificates: an issuer, a way by which no alert leaves, a time of doing nothing |
//! | [`forecast`] | which renewals come until a day far ahead, and where a certificate would be missing |
//! | [`explain`] | the plan as text and as data for `renewd plan` |
//! | [`spending`] | what a plan would buy |
//! | `supplement` | whether added names go into the certificate that is there |
//! | [`status`] | all that is known, as data for `renewd status` and everything that watches |

mod accounts;
mod action;
mod again;
pub(crate) mod alerts;
pub mod backoff;
mod blame;
mod certificates;
pub mod checks;
pub mod clock;
pub mod digest;
mod draft;
mod drift;
pub mod entitlements;
pub mod explain;
pub mod forecast;
pub mod jobs;
pub mod mails;
pub mod metrics;
mod observed;
pub mod open;
pub mod order_machine;
mod orders;
pub mod outage;
pub mod outcome;
mod pacing;
pub mod planner;
pub mod push;
mod relied;
pub mod renewal;
pub mod revoke;
pub mod rollout_machine;
mod served;
pub mod spending;
pub mod status;
pub(crate) mod supplement;
mod targets;
#[cfg(test)]
pub(crate) mod testing;
pub mod watch;
mod widespread;

pub use accounts::count_by_account;
pub use action::{Action, IllegalTransition, Next, OnError, Plan, Tending, Trouble, Verdict};
pub use planner::plan;
