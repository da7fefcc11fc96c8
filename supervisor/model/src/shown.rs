//! State of a resource as it is shown: to people in our words, to callers in those that peers know.

use std::sync::Arc;

use crate::phase::Phase;

/// Published state of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownState {
    /// Phase of the resource.
    pub phase: Phase,
    /// Cause, for people, if it is not READY.
    pub cause: Option<Arc<str>>,
    /// The same in the words that peers know, for callers; where it is not `cause`.
    pub wire: Option<Arc<str>>,
    /// True if it may come back by itself, because what it lacks is a process rather than a better config.
    pub transient: bool,
}

impl ShownState {
    /// State of a resource that can be called.
    pub const READY: Self = Self {
        phase: Phase::Ready,
        cause: None,
        wire: None,
        transient: false,
    };

    /// State of a resource that waits for something that may come by itself.
    pub fn waiting(cause: impl Into<Arc<str>>) -> Self {
        Self {
            phase: Phase::Configuring,
            cause: Some(cause.into()),
            wire: None,
            transient: true,
        }
    }

    /// State of a resource that does not work, and not for want of a process.
    pub fn broken(cause: impl Into<Arc<str>>) -> Self {
        Self {
            phase: Phase::Unhealthy,
            cause: Some(cause.into()),
            wire: None,
            transient: false,
        }
    }

    /// State of a resource that lacks a process; that may come back.
    pub fn gone(cause: impl Into<Arc<str>>) -> Self {
        Self {
            phase: Phase::Unhealthy,
            cause: Some(cause.into()),
            wire: None,
            transient: true,
        }
    }

    /// Same state, with the words that peers know for it.
    #[must_use]
    pub fn on_the_wire(mut self, wire: impl Into<Arc<str>>) -> Self {
        self.wire = Some(wire.into());
        self
    }

    /// Cause, in the words that peers know, if it is not READY.
    pub fn wire_cause(&self) -> Option<&str> {
        self.wire.as_deref().or(self.cause.as_deref())
    }
}
