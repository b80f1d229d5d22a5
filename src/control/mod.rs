//! The control socket: requests and answers as lines of JSON over a UNIX socket; the daemon's end and the commands' end.
//!
//! ```text
//!   client ── one line per request ──▶ session ── Wish ──▶ engine::wake, at its next tick
//!          ◀── events, one answer ───         ◀─ Outcome ─
//!                                     session ◀─ Feed ◀── Progress, as it happens
//! ```
//!
//! Nothing here can hold the daemon up: sessions are tasks of their own, a request is bounded in length, clients in number,
//! and one that does not read misses events and is told so, or is cut off. Reading (`status`, `alerts`, `events`) never
//! waits for a tick. docs/control.md describes the protocol for other programs.

mod client;
mod feed;
mod line;
mod protocol;
mod server;
mod session;

pub use client::{Client, ClientError, Connected, Message};
pub use feed::{Entry, Feed};
pub use protocol::{Answer, Fault, FaultCode, Operation, Request, VERSION, parse};
pub use server::{Look, Server, Surroundings};
