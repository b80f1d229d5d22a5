//! Public certificates from an empty account on: bought at most once, proven, issued, renewed; by several hosts, and
//! through whatever may go wrong.

pub(crate) mod claim;
mod clone;
mod copied;
mod foreseen;
mod gone;
pub(crate) mod late;
mod life;
mod proven;
mod real;
mod schedules;
mod successor;
pub(crate) mod supplement;
