//! End of a module's process: its cause, the calls that were under way, and the recovery from it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// A call that was under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InFlight {
    /// The method without its service, such as `GetReadings`.
    pub method: String,
    /// The resource's full name.
    pub resource: Arc<str>,
    /// Time that it had been under way.
    pub age: Duration,
    /// Name of the caller.
    pub caller: String,
}

/// A resource that was built again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuilt {
    /// Full name of the resource.
    pub name: Arc<str>,
    /// Dependency that was lost, if it lives in another module than the one that ended.
    pub because: Option<Arc<str>>,
}

/// The end of one process, or of a start that came to no process.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProcessEnd {
    /// Number of the module's process, from 1.
    pub life: u64,
    /// Time at which it ended, or was found to be of no use.
    pub at: Option<SystemTime>,
    /// Time that it had been up, from its spawn.
    pub up: Duration,
    /// True if it had become READY.
    pub was_ready: bool,
    /// Cause in few words: `killed by SIGSEGV`, `restarted: asked for`.
    pub cause: String,
    /// True if somebody asked for it.
    pub asked: bool,
    /// Exit code, if it had one.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<String>,
    /// The calls that were under way, oldest first; some of them.
    pub in_flight: Vec<InFlight>,
    /// Number of calls that were under way.
    pub calls: u32,
    /// Last lines of its output.
    pub last_output: Vec<String>,
    /// Folder with what was found out about the process.
    pub evidence: Option<PathBuf>,
    /// Number of unasked ends within the 24 hours up to this one, itself included.
    pub within_day: u32,
    /// Recovery from this end.
    pub followed: Recovery,
}

/// Recovery from an end: the next start, and what was built again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovery {
    /// Time at which a start is due, while it is waited for.
    pub next_try: Option<SystemTime>,
    /// A new process was started so long after.
    pub started_after: Option<Duration>,
    /// Time from the start of the new process to its READY.
    pub ready_after: Option<Duration>,
    /// Resources that were built again, in this order.
    pub rebuilt: Vec<Rebuilt>,
    /// Number of further ones of which no name is kept.
    pub more_rebuilt: u32,
}
