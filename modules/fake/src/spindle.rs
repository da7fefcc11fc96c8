//! Moving part shared by a fake motor, which turns it, and a fake encoder, which reads it. Both run in this process, so
//! they do not call each other over gRPC.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::motion::Motion;

/// Moving part of one fake encoder: a [`Motion`] by the clock.
#[derive(Debug)]
pub(crate) struct Spindle(Mutex<Motion>);

impl Spindle {
    /// Creates a spindle at rest at zero that updates its reading every `step`.
    pub(crate) fn new(step: Duration) -> Self {
        Self(Mutex::new(Motion::new(step, Instant::now())))
    }

    /// Position at the encoder's last update, in ticks.
    pub(crate) fn shown(&self) -> f64 {
        self.motion().shown(Instant::now())
    }

    /// Exact position in ticks, also between two updates of the encoder.
    pub(crate) fn exact(&self) -> f64 {
        self.motion().exact(Instant::now())
    }

    /// Sets the speed in ticks per minute.
    pub(crate) fn set_speed(&self, speed: f64) {
        self.motion().set_speed(speed, Instant::now());
    }

    /// Sets the position in ticks and keeps the speed.
    pub(crate) fn set_ticks(&self, ticks: f64) {
        self.motion().set_ticks(ticks, Instant::now());
    }

    /// Takes over position and speed of `other`.
    fn take_over(&self, other: &Self) {
        let (other, now) = (*other.motion(), Instant::now());
        self.motion().take_over(&other, now);
    }

    fn motion(&self) -> MutexGuard<'_, Motion> {
        // No code that holds it can leave a half-made motion behind.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Coupling of a shaft to the spindle of an encoder, which may be rebuilt meanwhile.
pub(crate) struct Coupling {
    find: Box<dyn Fn() -> Option<Arc<Spindle>> + Send + Sync>,
    last: Mutex<Arc<Spindle>>,
}

impl Coupling {
    /// Creates a coupling; `find` returns the encoder's current spindle, if there is one.
    pub(crate) fn new(spindle: Arc<Spindle>, find: impl Fn() -> Option<Arc<Spindle>> + Send + Sync + 'static) -> Self {
        Self {
            find: Box::new(find),
            last: Mutex::new(spindle),
        }
    }

    /// Returns the current spindle. A shaft goes on turning when its encoder is rebuilt.
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
