//! The one integration-test binary: one link step for all of them.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests stop at the first surprise, as tests do"
)]

mod after;
mod architecture;
mod bundles;
mod catalog;
mod ccm_client;
mod ccm_server;
mod ccm_tokens;
mod cli;
mod client_and_server;
mod clock;
mod config;
mod crash;
mod demo;
mod deploy;
mod docs;
mod end_to_end;
mod follower;
mod issuer;
mod mail;
mod man;
mod operations;
mod outage;
mod pace;
mod planner;
mod policy_change;
mod proof;
mod public_orders;
mod sample;
mod schedule;
mod scm_orders;
mod sdk;
mod secrets;
mod servers;
mod soak;
mod store_contract;
mod support;
mod systemd;
mod targets;
mod units;
mod validation;
mod watch;
