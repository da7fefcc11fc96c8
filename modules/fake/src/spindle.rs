//! What a fake motor turns and a fake encoder reads, found by the encoder's name.
//!
//! Both live in this process, so they share memory instead of calling each other. A motor looks its encoder up at each
//! use: an encoder that is built anew is found at once, and one that is gone is named.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::time::Instant;

use crate::motion::Motion;

/// A motor's encoder is not one that it can turn.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "there is no fake encoder `{0}` here, and a fake motor can turn no other; add an encoder of that name with model \
     `fake` to the same machine, or take `encoder` out of the motor's attributes"
)]
pub(crate) struct NoSpindle(pub String);

/// The moving part of one fake encoder.
#[derive(Debug)]
pub(crate) struct Spindle(Mutex<Motion>);

impl Spindle {
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

/// The fake encoders of one module, by resource name.
#[derive(Debug, Default)]
pub(crate) struct Spindles(Mutex<BTreeMap<String, Weak<Spindle>>>);

impl Spindles {
    /// Those of this process: a module is one process, and its models have nothing else in common.
    pub(crate) fn of_this_process() -> &'static Self {
        static SPINDLES: Spindles = Spindles(Mutex::new(BTreeMap::new()));
        &SPINDLES
    }

    /// Makes the spindle of encoder `name`, which shows a new position every `step`. It is found until it is dropped.
    pub(crate) fn add(&self, name: &str, step: Duration) -> Arc<Spindle> {
        let spindle = Arc::new(Spindle(Mutex::new(Motion::new(step, Instant::now()))));
        let mut known = self.known();
        known.retain(|_, spindle| spindle.strong_count() > 0);
        known.insert(name.to_owned(), Arc::downgrade(&spindle));
        spindle
    }

    /// The spindle of encoder `name`.
    pub(crate) fn find(&self, name: &str) -> Result<Arc<Spindle>, NoSpindle> {
        self.known().get(name).and_then(Weak::upgrade).ok_or_else(|| NoSpindle(name.to_owned()))
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Weak<Spindle>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_spindle_is_found_by_name_as_long_as_its_encoder_lives() {
        let spindles = Spindles::default();
        let encoder = spindles.add("enc", Duration::ZERO);
        spindles.find("enc").unwrap().set_ticks(7.0);
        assert_eq!(encoder.shown(), 7.0);

        let rebuilt = spindles.add("enc", Duration::ZERO);
        drop(encoder);
        assert_eq!(spindles.find("enc").unwrap().shown(), 0.0);
        drop(rebuilt);
        assert_eq!(spindles.find("enc").unwrap_err(), NoSpindle("enc".into()));
    }
}
