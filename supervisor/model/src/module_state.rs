//! The state of a module as its task publishes it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::limit::Limit;
use crate::phase::ModulePhase;

/// The published state of one module; written by the module's own task.
#[derive(Debug, Clone)]
pub struct ModuleState {
    /// Phase of the module's life.
    pub phase: ModulePhase,
    /// Number of its newest process, from 1; 0 before the first. One that could not be spawned counts.
    pub life: u64,
    /// Process id, while it has one.
    pub pid: Option<u32>,
    /// Time at which `phase` last changed.
    pub since: SystemTime,
    /// Time at which the present process was started.
    pub started: Option<SystemTime>,
    /// The newest thing worth saying: why it is not ready, or else why it was last restarted.
    pub last: Option<Arc<str>>,
    /// Time at which `last` happened.
    pub last_at: Option<SystemTime>,
    /// Time that the last start took until Ready.
    pub start_time: Option<Duration>,
    /// Number of starts after the first.
    pub restarts: u32,
    /// Failures since it was last READY.
    pub consecutive_failures: u32,
    /// Last failure; kept until it is READY again.
    pub error: Option<Arc<str>>,
    /// Time of the next start.
    pub next_try: Option<SystemTime>,
    /// Configured limits, with their enforcement.
    pub limits: Arc<[Limit]>,
}

impl ModuleState {
    /// Not started yet, since `since`.
    pub fn pending(since: SystemTime) -> Self {
        Self {
            phase: ModulePhase::Pending,
            life: 0,
            pid: None,
            since,
            started: None,
            last: None,
            last_at: None,
            start_time: None,
            restarts: 0,
            consecutive_failures: 0,
            error: None,
            next_try: None,
            limits: Arc::default(),
        }
    }
}
