//! DNS: messages as bytes, questions, signed updates, and what a CA would see.

mod ask;
mod caa;
mod examine;
mod find;
mod name;
mod tsig;
mod update;
mod wire;

pub(super) use caa::forbids;
pub(super) use examine::record;
pub(super) use find::Resolvers;
pub(super) use tsig::TsigKey;
pub(super) use update::{Changed, Primary, change};
