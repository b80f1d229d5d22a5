//! From files to a [`Policy`](crate::model::Policy): reads the policy file and its drop-ins, reports every problem at
//! once, and hands out a policy that cannot be wrong.
//!
//! ```text
//!   renewd.toml ─┐ tree (parse, places)           check (keys, types)
//!   policy.d/* ──┴────────▶ layer (join) ──▶ tree ──▶ lift (meaning, defaults, fit) ──▶ Policy
//!                                                 └──▶ problems ──▶ diagnostic, render
//! ```
//!
//! The TOML is not read by serde, since that stops at the first mistake; `raw` holds the format as data. Not here:
//! what the policy means (`model`), and any look at the world beyond the files themselves. Secrets stay references;
//! [`secret_ref::resolve`] reads one when it is used.

mod check;
mod code;
mod diagnostic;
mod digest;
mod fields;
mod halves;
mod layer;
mod lift;
mod load;
mod mask;
mod problems;
mod raw;
mod render;
mod scalar;
pub mod secret_ref;
mod source;
mod tree;

pub use code::Code;
pub use diagnostic::{Diagnostics, Problem, Severity};
pub use load::{Loaded, control, likely_state_dir, load, stamp};
pub use raw::{KeyInfo, keys};
