//! Randomness from the operating system. Everybody else takes random values as arguments.

use std::fmt::Write as _;

/// Fills the buffer with random bytes that are good for keys.
///
/// # Panics
/// When the operating system refuses, which Linux does not do after boot; there is no safe way to go on.
pub fn fill(buffer: &mut [u8]) {
    aws_lc_rs::rand::fill(buffer).expect("the kernel's random number generator answers");
}

/// So many random bytes in lower-case hex: ids of orders and rollouts, names of temporary things.
#[must_use]
pub fn hex(bytes: usize) -> String {
    let mut buffer = vec![0; bytes];
    fill(&mut buffer);
    let mut text = String::with_capacity(bytes * 2);
    for byte in buffer {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ids_are_never_the_same() {
        let one = hex(8);
        assert_eq!(one.len(), 16);
        assert!(one.bytes().all(|c| c.is_ascii_hexdigit()));
        assert_ne!(one, hex(8));
    }
}
