//! Keystores at the places of exports, opened by the password that each export has. Reads only.

use crate::deploy::layout::Layout;
use crate::deploy::manifest::Entry;
use crate::deploy::{SecretResolver, password};
use crate::model::ExportSpec;
use crate::pki::inspect::{self, Held};

/// What is needed to open them.
#[derive(Clone, Copy)]
pub(super) struct Keystores<'a> {
    pub(super) layout: &'a Layout,
    pub(super) resolve: &'a SecretResolver,
    /// Of the target, as the policy has them now; none where it is not known, and then nothing opens.
    pub(super) exports: &'a [ExportSpec],
}

/// What the bytes at a place are.
pub(super) enum Opened {
    /// No keystore: something else, or a damaged one.
    None,
    /// A keystore with another password than the export's.
    Sealed,
    /// Its private keys.
    Keys(Vec<Held>),
}

impl Keystores<'_> {
    /// Opens what is at the place of an entry.
    pub(super) fn open(&self, entry: &Entry, bytes: &[u8]) -> Opened {
        if !inspect::is_keystore(bytes) {
            return Opened::None;
        }
        let mut exports = self.exports.iter();
        let export = exports.find(|export| export.name == entry.export);
        let password = export.and_then(|export| {
            password::existing(self.layout, self.resolve, export, &entry.certificate)
        });
        let keys = password.and_then(|password| inspect::keystore_keys(bytes, &password).ok());
        keys.map_or(Opened::Sealed, Opened::Keys)
    }
}
