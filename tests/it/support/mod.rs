//! What the tests share.

pub(crate) mod account;
pub(crate) mod agent;
pub(crate) mod answers;
pub(crate) mod canary;
pub(crate) mod ccm;
pub(crate) mod certs;
pub(crate) mod contract;
pub(crate) mod described;
pub(crate) mod engine;
pub(crate) mod gate;
pub(crate) mod machine;
pub(crate) mod mail;
pub(crate) mod market;
pub(crate) mod names;
pub(crate) mod nginx;
pub(crate) mod peer;
pub(crate) mod reader;
pub(crate) mod server;
pub(crate) mod shop;
pub(crate) mod tmpfs;
pub(crate) mod world;
