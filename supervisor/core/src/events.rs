//! What happened to the machine, its modules and its resources, one thing after the other, with causes. Status, command
//! line and tests follow the same stream.

use std::sync::Arc;
use std::time::SystemTime;

use mainstay_model::{ModuleName, ModulePhase, Phase};

/// Events that are kept for those who come later.
pub const MAX_EVENTS: usize = 2000;
/// Bytes that these may take.
pub const MAX_BYTES: usize = 256 * 1024;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: SystemTime,
    /// What.
    pub what: What,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The machine as a whole.
    Machine(MachineNews),
    /// A module came into another state.
    Module {
        /// Which.
        name: ModuleName,
        /// Its state now.
        phase: ModulePhase,
        /// Its process, while it has one.
        pid: Option<u32>,
        /// Why, if it is not ready; with the last lines that it printed.
        cause: Option<Arc<str>>,
        /// When it is started again.
        next_try: Option<SystemTime>,
    },
    /// A resource came into another state.
    Resource {
        /// Its full name.
        name: Arc<str>,
        /// Its state now.
        phase: Phase,
        /// True while calls to it have somewhere to go.
        reachable: bool,
        /// Why, if it is not READY.
        cause: Option<Arc<str>>,
        /// The module that it lives in, or would.
        module: Option<ModuleName>,
    },
}

/// What happens to the machine as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MachineNews {
    /// The first pass over the config is over.
    Running,
    /// It is to end.
    Stopping,
}
