//! What a fake motor is doing: the newest order counts, and a run that ends by itself gives way to it.

use std::fmt;

use tokio::{sync::watch, time::sleep};

use crate::{
    drive::Run,
    spindle::{NoSpindle, Spindles},
};

/// The encoder on a shaft, and how fast it turns there.
pub(crate) struct Link {
    pub spindles: &'static Spindles,
    /// Resource name of the encoder.
    pub encoder: String,
    pub ticks_per_rotation: f64,
    /// Revolutions per minute at full power.
    pub max_rpm: f64,
}

impl Link {
    fn turn(&self, power: f64) -> Result<(), NoSpindle> {
        self.spindles.find(&self.encoder)?.set_speed(self.max_rpm * power * self.ticks_per_rotation);
        Ok(())
    }

    /// Position in revolutions, as the encoder shows it.
    pub(crate) fn shown(&self) -> Result<f64, NoSpindle> {
        Ok(self.spindles.find(&self.encoder)?.shown() / self.ticks_per_rotation)
    }

    /// Position in revolutions, between two updates of the encoder too.
    pub(crate) fn exact(&self) -> Result<f64, NoSpindle> {
        Ok(self.spindles.find(&self.encoder)?.exact() / self.ticks_per_rotation)
    }

    /// Sets the encoder to `ticks`.
    pub(crate) fn set_ticks(&self, ticks: f64) -> Result<(), NoSpindle> {
        self.spindles.find(&self.encoder)?.set_ticks(ticks);
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    power: f64,
    /// Counts the orders given so far; a run is over as soon as its own is no longer the newest.
    order: u64,
}

/// The shaft of one motor. Orders may come from several tasks at once.
pub(crate) struct Shaft {
    state: watch::Sender<State>,
    link: Option<Link>,
}

impl fmt::Debug for Shaft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shaft").field("state", &*self.state.borrow()).finish_non_exhaustive()
    }
}

impl Shaft {
    /// A shaft at rest.
    pub(crate) fn new(link: Option<Link>) -> Self {
        Self { state: watch::Sender::default(), link }
    }

    /// The encoder, if it has one.
    pub(crate) fn link(&self) -> Option<&Link> {
        self.link.as_ref()
    }

    /// The share of full power, -1 to 1 unless someone asked for more.
    pub(crate) fn power(&self) -> f64 {
        self.state.borrow().power
    }

    /// Turns with `power` until the next order, which ends what was running.
    pub(crate) fn set_power(&self, power: f64) -> Result<(), NoSpindle> {
        self.order(power).map(drop)
    }

    /// Rests. Works without the encoder too, because stopping must always work.
    pub(crate) fn stop(&self) {
        self.state.send_modify(|state| {
            state.order += 1;
            self.rest(state);
        });
    }

    /// Turns for the time of the run, then rests exactly at its end. Ends early, and well, when another order comes.
    /// Dropping it stops the shaft, unless another order came.
    pub(crate) async fn run(&self, run: Run) -> Result<(), NoSpindle> {
        let goal = match &self.link {
            Some(link) => Some(link.exact()? + run.revolutions),
            None => None,
        };
        let mut newest = self.state.subscribe();
        let order = self.order(run.power)?;
        let _rest = RestOnDrop { shaft: self, order };
        tokio::select! {
            // It cannot fail: the sender is in `self`.
            _ = newest.wait_for(|state| state.order != order) => Ok(()),
            () = sleep(run.time) => self.arrive(order, goal),
        }
    }

    fn order(&self, power: f64) -> Result<u64, NoSpindle> {
        let mut result = Ok(0);
        self.state.send_if_modified(|state| {
            // Under the lock of the state, so that two orders at once cannot leave the power of one with the speed of
            // the other.
            result = match &self.link {
                Some(link) => link.turn(power),
                None => Ok(()),
            }
            .map(|()| {
                *state = State { power, order: state.order + 1 };
                state.order
            });
            result.is_ok()
        });
        result
    }

    fn arrive(&self, order: u64, goal: Option<f64>) -> Result<(), NoSpindle> {
        let mut result = Ok(());
        self.state.send_if_modified(|state| {
            if state.order != order {
                return false;
            }
            self.rest(state);
            if let (Some(link), Some(goal)) = (&self.link, goal) {
                result = link.set_ticks(goal * link.ticks_per_rotation);
            }
            true
        });
        result
    }

    fn rest(&self, state: &mut State) {
        state.power = 0.0;
        if let Some(link) = &self.link {
            // An encoder that is gone does not turn either.
            let _ = link.turn(0.0);
        }
    }
}

impl Drop for Shaft {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Ends a run whose caller gave up: a motor must not go on for someone who no longer waits for it.
struct RestOnDrop<'a> {
    shaft: &'a Shaft,
    order: u64,
}

impl Drop for RestOnDrop<'_> {
    fn drop(&mut self) {
        self.shaft.state.send_if_modified(|state| {
            let current = state.order == self.order;
            if current {
                self.shaft.rest(state);
            }
            current
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, advance, timeout};

    use super::*;
    use crate::{drive::run_for, spindle::Spindle};

    const TICKS: f64 = 100.0;
    const MAX_RPM: f64 = 100.0;

    fn shaft(encoder: &str) -> (Shaft, std::sync::Arc<Spindle>) {
        let spindles = Spindles::of_this_process();
        let spindle = spindles.add(encoder, Duration::from_millis(100));
        let link = Link { spindles, encoder: encoder.to_owned(), ticks_per_rotation: TICKS, max_rpm: MAX_RPM };
        (Shaft::new(Some(link)), spindle)
    }

    #[tokio::test(start_paused = true)]
    async fn the_position_advances_while_it_turns_and_stays_when_it_stops() {
        let (shaft, spindle) = shaft("advances");
        shaft.set_power(0.6).unwrap();
        advance(Duration::from_secs(2)).await;
        assert!((shaft.link().unwrap().shown().unwrap() - 2.0).abs() < 1e-9);
        shaft.stop();
        advance(Duration::from_secs(2)).await;
        assert!((spindle.shown() - 2.0 * TICKS).abs() < 1e-9);
        assert_eq!(shaft.power(), 0.0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_ends_after_its_time_exactly_at_its_goal() {
        let (shaft, spindle) = shaft("run");
        let start = Instant::now();
        // Ten times too fast for the motor, which lags behind and is then put where it was asked to be.
        shaft.run(run_for(10.0 * MAX_RPM, -5.0, MAX_RPM).unwrap()).await.unwrap();
        assert_eq!(start.elapsed(), Duration::from_millis(300));
        assert_eq!((spindle.shown(), shaft.power()), (-5.0 * TICKS, 0.0));
    }

    #[tokio::test(start_paused = true)]
    async fn another_order_ends_a_run_without_an_error_and_is_not_disturbed_by_it() {
        let (shaft, _spindle) = shaft("superseded");
        let long = run_for(60.0, 60.0, MAX_RPM).unwrap();
        let (ended, ()) = tokio::join!(shaft.run(long), async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            shaft.set_power(-0.2).unwrap();
        });
        assert_eq!((ended, shaft.power()), (Ok(()), -0.2));

        let (ended, ()) = tokio::join!(shaft.run(long), async { shaft.stop() });
        assert_eq!((ended, shaft.power()), (Ok(()), 0.0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_that_nobody_waits_for_any_more_stops() {
        let (shaft, spindle) = shaft("dropped");
        let run = shaft.run(run_for(60.0, 60.0, MAX_RPM).unwrap());
        assert!(timeout(Duration::from_secs(1), run).await.is_err());
        assert_eq!(shaft.power(), 0.0);
        advance(Duration::from_secs(1)).await;
        assert!((spindle.shown() - TICKS).abs() < 1.0, "stands at {}", spindle.shown());
    }

    #[tokio::test(start_paused = true)]
    async fn without_its_encoder_it_moves_no_more_but_stops() {
        let (shaft, spindle) = shaft("gone");
        shaft.set_power(0.5).unwrap();
        drop(spindle);
        assert_eq!(shaft.set_power(0.7), Err(NoSpindle("gone".into())));
        assert_eq!(shaft.power(), 0.5);
        shaft.stop();
        assert_eq!(shaft.power(), 0.0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_shaft_that_is_removed_leaves_its_encoder_standing() {
        let (shaft, spindle) = shaft("removed");
        shaft.set_power(1.0).unwrap();
        drop(shaft);
        advance(Duration::from_secs(1)).await;
        assert_eq!(spindle.shown(), 0.0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_shaft_without_an_encoder_just_takes_its_time() {
        let shaft = Shaft::new(None);
        let start = Instant::now();
        shaft.run(run_for(60.0, 1.0, MAX_RPM).unwrap()).await.unwrap();
        assert_eq!(start.elapsed(), Duration::from_secs(1));
    }
}
