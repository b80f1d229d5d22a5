//! Problems of a policy, and how they are shown.

use std::fmt;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The policy is refused.
    Error,
    /// The policy is accepted; this is probably not meant.
    Warning,
}

/// Every problem of a policy, sorted by file and line.
#[derive(Debug, Default)]
pub struct Diagnostics {}

impl Diagnostics {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        true
    }

    /// How many errors.
    #[must_use]
    pub fn errors(&self) -> usize {
        0
    }

    /// How many warnings.
    #[must_use]
    pub fn warnings(&self) -> usize {
        0
    }

    /// As rustc shows its own: code, message, file with line and column, the line with carets, help.
    #[must_use]
    pub fn render(&self, _colour: bool) -> String {
        String::new()
    }

    /// sysexits `EX_CONFIG`, or 0 without an error.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        if self.errors() > 0 { 78 } else { 0 }
    }
}

impl fmt::Display for Diagnostics {
    /// Without colour.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}
