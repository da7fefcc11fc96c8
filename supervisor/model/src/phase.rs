//! The words for where a module or a resource is in its life: for events, status and whoever decides by them.

/// Phase of a module's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModulePhase {
    /// Not started yet.
    Pending,
    /// The process runs and has not answered Ready.
    Starting,
    /// The module answered Ready.
    Ready,
    /// The module was READY and misses probes; nothing was done about it yet.
    Unresponsive,
    /// The module failed or died; `error` says how, `next_try` when it is started again.
    Unhealthy,
    /// The module is being stopped.
    Closing,
}

impl ModulePhase {
    /// The number of `ModuleStatus.State` on the wire, which knows no module that does not answer.
    pub fn wire(self) -> i32 {
        match self {
            Self::Pending => 1,
            Self::Starting => 2,
            Self::Ready => 3,
            Self::Unhealthy | Self::Unresponsive => 4,
            Self::Closing => 5,
        }
    }
}

/// Phase of a resource's life; the numbers are those of `ResourceStatus.State` on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Phase {
    /// Waiting to be built: for its module, for a dependency, or for its turn.
    Configuring = 2,
    /// Built and alive.
    Ready = 3,
    /// Being taken out of its module.
    Removing = 4,
    /// Cannot be built or is gone; `error` says why.
    Unhealthy = 5,
}
