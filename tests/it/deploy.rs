//! Rollouts on real files, against a real nginx, driven by the machine that drives them in production.

mod apart;
mod arrived;
mod disk;
mod exports;
#[cfg(feature = "failpoints")]
mod faults;
mod files;
mod fit;
mod hooks;
mod keystores;
#[cfg(feature = "failpoints")]
mod killed;
mod listeners;
mod material;
mod nginx;
mod observe;
mod probe;
mod rights;
mod selinux;
mod served;
pub(crate) mod stand;
mod unproven;
