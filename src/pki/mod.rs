//! Codecs: keys, requests, certificates and bundles; bytes in, bytes out.
//!
//! No files, no network, no clock. What a file is called and who may read it is `deploy`'s business.

mod secret;

pub use secret::Secret;
