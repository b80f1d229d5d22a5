//! Asks a live server what it serves: one TLS handshake, looked at before anything is judged.

mod handshake;
mod judge;

pub use handshake::{KeyKind, ProbeError, Seen, handshake};
pub(super) use judge::{Behind, Expected, naming};
