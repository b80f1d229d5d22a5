//! What travels: the JSON of PCA (CCM API 4.2) and SCM (4.1, 7), by group.
//!
//! Written apart from renewd-ccm's own types on purpose: both are tested against the reference's examples, so that a
//! misspelt field cannot agree with itself. Answers are read leniently (`lenient`); requests hold no null and are held
//! to their limits before they leave (`limits`).

pub(crate) mod authorities;
pub(crate) mod csr;
pub(crate) mod deploy;
pub(crate) mod orders;
pub(crate) mod private;
pub(crate) mod scm;
pub(crate) mod tags;
pub(crate) mod v2;
pub(crate) mod words;

#[cfg(test)]
mod tests;
