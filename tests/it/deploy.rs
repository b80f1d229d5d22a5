//! Rollouts on real files, against a real nginx, driven by the machine that drives them in production.

mod disk;
mod exports;
mod files;
#[cfg(feature = "failpoints")]
mod killed;
mod material;
mod nginx;
mod observe;
mod probe;
mod rights;
mod served;
pub(crate) mod stand;
