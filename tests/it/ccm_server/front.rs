//! The front of renewd-ccm: who may do what, for how long, by which transport, and what it says of itself.

mod crl_listener;
mod description;
mod full;
mod fuzz;
mod killed;
mod killed_faces;
mod killed_others;
mod lists;
mod permissions;
mod temporary;
mod tls;
mod users;
