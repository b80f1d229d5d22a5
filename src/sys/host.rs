//! What tells this host from others.

use std::path::Path;

use crate::model::HostSeed;
use crate::sys::fs;

/// Of `/etc/machine-id`, else of the host's name; the same at each start.
#[must_use]
pub fn seed() -> HostSeed {
    seed_of(&own_id())
}

/// A digest of the same, by which a journal knows the machine that it was made on.
#[must_use]
pub fn machine() -> String {
    machine_of(&own_id())
}

fn machine_of(id: &[u8]) -> String {
    let mut text = b"renewd: machine of a journal\0".to_vec();
    text.extend_from_slice(id);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &text);
    let first = digest.as_ref().iter().take(16);
    first.map(|byte| format!("{byte:02x}")).collect()
}

fn own_id() -> Vec<u8> {
    let id = fs::read(Path::new(MACHINE_ID), LONGEST).unwrap_or_default();
    let id = id.trim_ascii();
    // Images are made with an empty one, and with this word.
    if !id.is_empty() && id != b"uninitialized" {
        return id.to_vec();
    }
    let name = nix::unistd::gethostname().unwrap_or_default();
    name.as_encoded_bytes().to_vec()
}

/// The name this host calls itself by, if it has one.
#[must_use]
pub fn name() -> Option<String> {
    let name = nix::unistd::gethostname().ok()?.into_string().ok()?;
    Some(name).filter(|name| !name.is_empty())
}

/// From an id that is told to nobody: only a digest under our own name is used (machine-id(5)).
#[must_use]
pub fn seed_of(id: &[u8]) -> HostSeed {
    let mut text = b"renewd: host seed\0".to_vec();
    text.extend_from_slice(id);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &text);
    let mut number = [0; 8];
    for (to, from) in number.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
    HostSeed(u64::from_be_bytes(number))
}

const MACHINE_ID: &str = "/etc/machine-id";

/// Bytes; an id has 33.
const LONGEST: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_the_same_for_ever_and_hides_the_id() {
        let one = seed_of(b"0123456789abcdef0123456789abcdef");
        assert_eq!(one, HostSeed(12_188_617_794_365_653_438));
        assert_ne!(one, seed_of(b"0123456789abcdef0123456789abcdee"));
        assert_eq!(seed(), seed());
        assert_eq!(machine(), machine());
        assert_eq!(machine().len(), 32);
        assert_ne!(machine_of(b"one"), machine_of(b"two"));
    }
}
