//! The front of renewd-ccm: who may do what, for how long, by which transport, and what it says of itself.

mod description;
mod killed;
mod permissions;
mod temporary;
mod tls;
mod users;
