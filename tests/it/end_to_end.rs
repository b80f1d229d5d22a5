//! Everything together: policy, engine or binary, a CA over HTTP, a real nginx, and months of time.
#![expect(
    clippy::disallowed_methods,
    reason = "tests arrange files and processes directly"
)]

mod bad_member;
mod batch;
mod drift;
mod following;
mod hooks;
mod hostile;
mod journal;
mod observed;
mod probe_at_fault;
mod revoked;
mod rounds;
mod targets;
mod time;
mod windows;
