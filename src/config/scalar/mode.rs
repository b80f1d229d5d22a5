//! File modes.

use crate::config::scalar::Refusal;

/// Checks a mode that was read as an octal number; `forbidden` are bits it must not have.
pub(in crate::config) fn mode(bits: u32, forbidden: u32) -> Result<u32, Refusal> {
    if bits > 0o777 || bits & 0o111 != 0 {
        return Err(Refusal::new("has other bits than reading and writing")
            .help("write for example \"0640\": owner, group, others; 4 is read, 2 is write"));
    }
    if bits & 0o400 == 0 {
        return Err(Refusal::new("keeps the owner from reading"));
    }
    if bits & 0o002 != 0 {
        return Err(Refusal::new("lets everybody write"));
    }
    if bits & forbidden != 0 {
        return Err(Refusal::new("lets everybody read a private key")
            .help("give the file to a group and write \"0640\""));
    }
    Ok(bits)
}

/// Others must not read a private key.
pub(in crate::config) const KEY_FORBIDDEN: u32 = 0o007;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_never_for_everybody() {
        assert_eq!(mode(0o640, KEY_FORBIDDEN), Ok(0o640));
        assert_eq!(mode(0o644, 0), Ok(0o644));
        assert!(mode(0o644, KEY_FORBIDDEN).is_err());
        assert!(mode(0o666, 0).is_err());
        assert!(mode(0o755, 0).is_err());
        assert!(mode(0o4600, 0).is_err());
        assert!(mode(0o040, 0).is_err());
    }
}
