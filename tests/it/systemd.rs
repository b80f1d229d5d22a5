//! The shipped units in a real systemd, with Debian's packaged nginx: what `renewd.service` promises, tried.

mod daemon;
mod host;
mod package;
mod recipes;
mod sandbox;
mod signal;
mod socket;
