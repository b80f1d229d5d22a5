//! Whether there is room for what an order would bring, asked before it is opened: a certificate that cannot be stored is
//! paid for nothing.

use std::collections::BTreeMap;
use std::path::Path;

use crate::model::{Scarce, Shortage, TargetPolicy};
use crate::sys::fs::{self, Room};

/// What one file system must take.
struct Load {
    room: Room,
    bytes: u64,
    files: u64,
}

/// The first file system without enough room for the revisions of so many orders and a new generation of each target
/// with so many certificates. A file system that cannot be asked counts as roomy: the write itself will tell.
#[must_use]
pub fn shortage(
    state_dir: &Path,
    orders: usize,
    targets: &[(&TargetPolicy, usize)],
) -> Option<Shortage> {
    let mut loads: BTreeMap<u64, Load> = BTreeMap::new();
    let mut put = |path: &Path, bytes: u64, files: u64| {
        if let Ok(room) = fs::room(path) {
            let load = loads.entry(room.device).or_insert(Load {
                room,
                bytes: 0,
                files: 0,
            });
            load.bytes = load.bytes.saturating_add(bytes);
            load.files = load.files.saturating_add(files);
        }
    };
    let orders = count(orders);
    put(
        state_dir,
        JOURNAL.saturating_add(orders.saturating_mul(REVISION_FILES * FILE)),
        JOURNAL_FILES.saturating_add(orders.saturating_mul(REVISION_FILES)),
    );
    for (target, certificates) in targets {
        let certificates = count(*certificates);
        for path in target.exports.iter().flat_map(|export| export.kind.files()) {
            // With what is beside it while it changes: the former one and, of a loose file, a copy in the generation.
            let (files, bytes) = (certificates * 2, certificates * 2 * FILE);
            put(state_dir, bytes, files);
            if path.is_absolute() {
                put(&path, bytes, files);
            }
        }
    }
    loads.into_values().find_map(|load| {
        let lacks = |of, free: u64, needed: u64| {
            (free < needed).then(|| Shortage {
                path: load.room.at.clone(),
                of,
                free,
                needed,
            })
        };
        let inodes = load.room.inodes;
        lacks(Scarce::Bytes, load.room.bytes, load.bytes)
            .or_else(|| inodes.and_then(|free| lacks(Scarce::Inodes, free, load.files)))
    })
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// Bytes of one file: a chain of RSA-4096 and a keystore with it stay below two blocks.
const FILE: u64 = 8 * 1024;
/// Key, leaf, chain, and the key of the order.
const REVISION_FILES: u64 = 4;
/// What SQLite may need for its log.
const JOURNAL: u64 = 512 * 1024;
/// Log, shared memory, records of a generation and directories.
const JOURNAL_FILES: u64 = 16;
