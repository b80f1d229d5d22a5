//! What tells this host from others.

use std::path::Path;

use crate::model::HostSeed;
use crate::sys::fs;

/// Of `/etc/machine-id`, else of the host's name; the same at each start.
#[must_use]
pub fn seed() -> HostSeed {
    let id = fs::read(Path::new(MACHINE_ID), LONGEST).unwrap_or_default();
    let id = id.trim_ascii();
    // Images are made with an empty one, and with this word.
    if !id.is_empty() && id != b"uninitialized" {
        return seed_of(id);
    }
    let name = nix::unistd::gethostname().unwrap_or_default();
    seed_of(name.as_encoded_bytes())
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
    }
}
