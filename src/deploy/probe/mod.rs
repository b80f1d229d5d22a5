//! Asks a live server what it serves: one TLS handshake, looked at before anything is judged.

mod handshake;
mod judge;
mod prelude;

pub use handshake::{KeyKind, ProbeError, Seen, handshake, handshake_after};
pub(super) use judge::{Behind, Expected, naming};
