//! Child processes: argv arrays, never a shell; bounded in time and output; killed as a group.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

/// What is to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// Absolute path of the program, then its arguments.
    pub argv: Vec<String>,
    /// Added to the minimal environment (`PATH`, `LANG`).
    pub env: Vec<(String, String)>,
    /// Working directory; `/` when absent.
    pub directory: Option<PathBuf>,
    /// After this the process group gets SIGTERM, and SIGKILL five seconds later.
    pub timeout: Duration,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Status, or why there is none.
    pub end: End,
    /// Standard output and error in the order in which they came, lossy UTF-8, limited to [`OUTPUT_LIMIT`] with a
    /// note of how much was left out.
    pub output: String,
    /// From start to end.
    pub elapsed: Duration,
}

/// The end of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It exited with this status.
    Exited(i32),
    /// A signal ended it.
    Signalled(i32),
    /// It took too long and was killed.
    TimedOut,
    /// It could not be started.
    NotStarted(String),
}

impl Outcome {
    /// Whether the status was 0.
    #[must_use]
    pub fn success(&self) -> bool {
        self.end == End::Exited(0)
    }
}

/// Runs programs.
pub trait Runner: Send + Sync {
    /// Runs to the end; every failure is an [`Outcome`], never an error.
    fn run<'a>(
        &'a self,
        invocation: &'a Invocation,
    ) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;
}

/// Bytes of output that are kept of one process.
pub const OUTPUT_LIMIT: usize = 64 * 1024;
