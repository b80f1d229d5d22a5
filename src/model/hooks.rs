//! Commands of the administrator's own around a rollout.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::model::Seconds;

/// What is run around each rollout of a target, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hooks {
    /// As argv, before anything is committed; its failure abandons the rollout.
    pub pre: Option<Vec<String>>,
    /// As argv, once the new set is proven; its failure undoes nothing and is repeated.
    pub post: Option<Vec<String>>,
    /// As argv, when a rollout ends as abandoned, rolled back or not even that; its failure changes nothing.
    pub on_failure: Option<Vec<String>>,
    /// For each of them; then its process group is ended.
    pub timeout: Seconds,
    /// Name or number of the account that they run as; `None`: as renewd itself.
    pub user: Option<String>,
    /// Where they run; `None`: in `/`.
    pub directory: Option<PathBuf>,
}

impl Hooks {
    /// The command of a hook.
    #[must_use]
    pub fn argv(&self, hook: Hook) -> Option<&[String]> {
        match hook {
            Hook::Pre => self.pre.as_deref(),
            Hook::Post => self.post.as_deref(),
            Hook::OnFailure => self.on_failure.as_deref(),
        }
    }

    /// Which there are: what a rollout keeps of them.
    #[must_use]
    pub const fn steps(&self) -> HookSteps {
        HookSteps {
            pre: self.pre.is_some(),
            post: self.post.is_some(),
            on_failure: self.on_failure.is_some(),
        }
    }
}

impl Default for Hooks {
    fn default() -> Self {
        Self {
            pre: None,
            post: None,
            on_failure: None,
            timeout: DEFAULT_TIMEOUT,
            user: None,
            directory: None,
        }
    }
}

/// Which hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// Before the commit.
    Pre,
    /// After the proof.
    Post,
    /// At a bad end.
    OnFailure,
}

impl Hook {
    /// As the policy writes it.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Pre => "pre",
            Self::Post => "post",
            Self::OnFailure => "on_failure",
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

/// Which hooks a target had when a rollout was opened. Without one its step does not exist.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HookSteps {
    /// Before the commit.
    pub pre: bool,
    /// After the proof.
    pub post: bool,
    /// At a bad end.
    pub on_failure: bool,
}

impl HookSteps {
    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        !(self.pre || self.post || self.on_failure)
    }
}

/// As for the other commands of a target.
const DEFAULT_TIMEOUT: Seconds = Seconds(60);
