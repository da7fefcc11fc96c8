//! What a fake motor turns and a fake encoder reads. Both live in this process, so they share it instead of calling
//! each other.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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

    /// Stands and turns as `other` does from now on.
    fn take_over(&self, other: &Self) {
        let (other, now) = (*other.motion(), Instant::now());
        self.motion().take_over(&other, now);
    }

    fn motion(&self) -> MutexGuard<'_, Motion> {
        // No code that holds it can leave a half-made motion behind.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a shaft turns: the spindle of an encoder that may be made anew meanwhile.
pub(crate) struct Coupling {
    find: Box<dyn Fn() -> Option<Arc<Spindle>> + Send + Sync>,
    last: Mutex<Arc<Spindle>>,
}

impl Coupling {
    /// `find` gives the spindle that is there now, if one is.
    pub(crate) fn new(spindle: Arc<Spindle>, find: impl Fn() -> Option<Arc<Spindle>> + Send + Sync + 'static) -> Self {
        Self {
            find: Box::new(find),
            last: Mutex::new(spindle),
        }
    }

    /// The spindle as it is now. A shaft goes on turning when its encoder is made anew.
    pub(crate) fn now(&self) -> Arc<Spindle> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(now) = (self.find)()
            && !Arc::ptr_eq(&now, &last)
        {
            now.take_over(&last);
            *last = now;
        }
        last.clone()
    }
}

impl fmt::Debug for Coupling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.now().fmt(f)
    }
}

#[cfg(test)]
mod coupling_tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_shaft_goes_on_turning_when_its_encoder_is_made_anew() {
        let there = Arc::new(Mutex::new(Arc::new(Spindle::new(Duration::ZERO))));
        let encoder = || there.lock().expect("no thread panicked").clone();
        let find = there.clone();
        let coupling = Coupling::new(encoder(), move || find.lock().ok().map(|there| there.clone()));
        coupling.now().set_speed(60.0);
        tokio::time::advance(Duration::from_secs(2)).await;
        *there.lock().expect("no thread panicked") = Arc::new(Spindle::new(Duration::ZERO));
        assert_eq!(coupling.now().exact(), 2.0);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(encoder().exact(), 3.0);
    }
}
