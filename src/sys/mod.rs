//! The edge: the only place that may call clock, files, processes, signals and entropy.

pub mod clock;
pub mod crash;
pub mod entropy;
pub mod fs;
pub mod process;
pub mod systemd;
