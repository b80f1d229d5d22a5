//! From files to a [`Policy`]: reads the policy file and its drop-ins, reports every problem at once, and hands out a
//! policy that cannot be wrong.
//!
//! Not here: what the policy means (`model`), and any look at the world beyond the files themselves. Secrets stay
//! references; [`secret_ref::resolve`] reads one when it is used.

mod diagnostic;
mod load;
pub mod secret_ref;

pub use diagnostic::{Diagnostics, Severity};
pub use load::{Loaded, load};
