//! ZIP archives (APPNOTE 6.3): a few small files, stored as they are. Keys and keystores would not get smaller.

/// An archive that files are put into.
#[derive(Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    directory: Vec<u8>,
    files: u16,
}

impl Archive {
    /// Puts a file into it. Names are ASCII, with `/` between directories.
    pub(super) fn add(&mut self, name: &str, content: &[u8]) {
        let at = fitting(self.bytes.len());
        let mut common = Vec::with_capacity(26);
        common.extend(VERSION.to_le_bytes());
        // No flags; stored; no time of day, and the first day that there is.
        common.extend([0, 0, 0, 0, 0, 0]);
        common.extend(FIRST_DAY.to_le_bytes());
        common.extend(checksum(content).to_le_bytes());
        common.extend(fitting(content.len()).to_le_bytes());
        common.extend(fitting(content.len()).to_le_bytes());
        common.extend(u16::try_from(name.len()).unwrap_or(u16::MAX).to_le_bytes());
        // No extra field.
        common.extend([0, 0]);

        self.bytes.extend(b"PK\x03\x04");
        self.bytes.extend(&common);
        self.bytes.extend(name.as_bytes());
        self.bytes.extend(content);

        self.directory.extend(b"PK\x01\x02");
        self.directory.extend(MADE_BY.to_le_bytes());
        self.directory.extend(&common);
        // No comment, first disk, no internal attributes.
        self.directory.extend([0, 0, 0, 0, 0, 0]);
        self.directory.extend(ATTRIBUTES.to_le_bytes());
        self.directory.extend(at.to_le_bytes());
        self.directory.extend(name.as_bytes());
        self.files = self.files.saturating_add(1);
    }

    /// The whole archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let at = fitting(self.bytes.len());
        let size = fitting(self.directory.len());
        self.bytes.append(&mut self.directory);
        self.bytes.extend(b"PK\x05\x06");
        // This disk is the first and has the directory.
        self.bytes.extend([0, 0, 0, 0]);
        self.bytes.extend(self.files.to_le_bytes());
        self.bytes.extend(self.files.to_le_bytes());
        self.bytes.extend(size.to_le_bytes());
        self.bytes.extend(at.to_le_bytes());
        self.bytes.extend([0, 0]);
        self.bytes
    }
}

/// Archives here are far below 4 GiB.
fn fitting(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// CRC-32 (ISO 3309), bit by bit: a few kilobytes do not need a table.
fn checksum(content: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in content {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            let low = sum & 1;
            sum >>= 1;
            if low == 1 {
                sum ^= 0xedb8_8320;
            }
        }
    }
    !sum
}

/// 2.0: directories in names.
const VERSION: u16 = 20;
/// 2.0 on Unix, whose modes are in [`ATTRIBUTES`].
const MADE_BY: u16 = 0x0314;
/// A regular file that only its owner reads and writes, since keys are among them.
const ATTRIBUTES: u32 = 0o100_600 << 16;
/// 1 January 1980.
const FIRST_DAY: u16 = 1 << 5 | 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_standard_s() {
        assert_eq!(checksum(b"123456789"), 0xcbf4_3926);
        assert_eq!(checksum(b""), 0);
    }
}
