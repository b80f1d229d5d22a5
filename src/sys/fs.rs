//! Files: atomic writes, modes and owners, locks.
