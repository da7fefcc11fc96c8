//! Events of the machine, its modules and its resources, in order and with causes. Status, command line and tests
//! follow the same stream.

use std::sync::Arc;
use std::time::SystemTime;

use crate::module_name::ModuleName;
use crate::phase::{ModulePhase, Phase};

/// Event of the machine, with its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Time of the event.
    pub at: SystemTime,
    /// Content of the event.
    pub what: EventKind,
}

/// Content of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// The machine as a whole.
    Machine(MachineEvent),
    /// A module came into another state.
    Module {
        /// Name of the module.
        name: ModuleName,
        /// State after the event.
        phase: ModulePhase,
        /// Process id, while there is a process.
        pid: Option<u32>,
        /// Cause, if it is not ready; with the last lines that it printed.
        cause: Option<Arc<str>>,
        /// Time of the next start.
        next_try: Option<SystemTime>,
    },
    /// A resource came into another state.
    Resource {
        /// Full name of the resource.
        name: Arc<str>,
        /// State after the event.
        phase: Phase,
        /// True while calls to it have somewhere to go.
        reachable: bool,
        /// Cause, if it is not READY.
        cause: Option<Arc<str>>,
        /// The module that it lives in, or would.
        module: Option<ModuleName>,
    },
    /// Something was done for somebody.
    Note {
        /// What it is about.
        kind: NoteKind,
        /// What was done and why.
        text: Arc<str>,
        /// Full names of the resources that it was done to; empty for all of them.
        resources: Vec<Arc<str>>,
        /// The module because of which it was done.
        module: Option<ModuleName>,
    },
}

/// Subject of a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoteKind {
    /// A client fell silent.
    Session,
    /// Something was stopped by request, or because a module is lost.
    Stop,
    /// A config was read, applied, refused or taken back.
    Config,
    /// A job ran or failed.
    Job,
    /// A module's program was built, or could not be.
    Build,
    /// Another machine was connected, or lost.
    Remote,
}

impl NoteKind {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Stop => "stop",
            Self::Config => "config",
            Self::Job => "job",
            Self::Build => "build",
            Self::Remote => "remote",
        }
    }
}

/// Event of the machine as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MachineEvent {
    /// The first pass over the config is over.
    Running,
    /// The machine stops.
    Stopping,
}
