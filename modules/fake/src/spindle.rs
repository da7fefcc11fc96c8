//! What a fake motor turns and a fake encoder reads. Both live in this process, so they share it instead of calling
//! each other.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::motion::Motion;

/// The moving part of one fake encoder: a [`Motion`] by the clock.
#[derive(Debug)]
pub(crate) struct Spindle(Mutex<Motion>);

impl Spindle {
    /// Stands at zero, and shows a new position every `step`.
    pub(crate) fn new(step: Duration) -> Self {
        Self(Mutex::new(Motion::new(step, Instant::now())))
    }

    /// Position as the encoder shows it, in ticks.
    pub(crate) fn shown(&self) -> f64 {
        self.motion().shown(Instant::now())
    }

    /// Position between two updates of the encoder too, in ticks.
    pub(crate) fn exact(&self) -> f64 {
        self.motion().exact(Instant::now())
    }

    /// Turns at `speed` ticks per minute from now on.
    pub(crate) fn set_speed(&self, speed: f64) {
        self.motion().set_speed(speed, Instant::now());
    }

    /// Stands at `ticks` now; its speed stays.
    pub(crate) fn set_ticks(&self, ticks: f64) {
        self.motion().set_ticks(ticks, Instant::now());
    }

    fn motion(&self) -> MutexGuard<'_, Motion> {
        // No code that holds it can leave a half-made motion behind.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
