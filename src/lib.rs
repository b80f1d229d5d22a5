//! renewd keeps every TLS certificate of a server valid, in use and proven.
//!
//! Two binaries come out of this library: **renewd**, the agent, and **renewd-ccm**, a server that speaks the API of
//! Huawei Cloud Certificate Manager with a real certificate authority behind it.
//!
//! ```text
//!   config/*.toml ── config::load ──▶ Policy ────────────┐
//!                                                        ▼
//!   files, issuers, store ── engine::observe ──▶ Snapshot ─▶ plan(policy, snapshot, now) ─▶ Plan
//!                                                                                          │
//!          ┌────────────────── engine::execute, one journalled step at a time ◀────────────┘
//!          ▼
//!   Order:    issuer (network) ─▶ pki (checks) ─▶ store (revision)
//!   Rollout:  pki (bundles) ─▶ deploy (stage, commit, test, reload, verify, or undo)
//!   Alert:    store (outbox) ─▶ standard error or the log
//! ```
//!
//! Start reading at [`model`] (the nouns), then [`plan`] (the decisions), then `engine` (the loop).
//! `docs/architecture.md` says where everything lives and who may depend on whom.

// Lets unit tests share the certificate maker of the integration tests, which speaks of `renewd::`.
#[cfg(test)]
extern crate self as renewd;

#[cfg(feature = "ccm-server")]
pub mod ccm_server;

pub mod ccm;
pub mod cli;
pub mod config;
pub mod control;
pub mod deploy;
pub mod engine;
pub mod issuer;
pub mod model;
pub mod notify;
pub mod pki;
pub mod plan;
pub mod store;
pub mod sys;
pub mod telemetry;
pub mod validation;
pub mod watch;
