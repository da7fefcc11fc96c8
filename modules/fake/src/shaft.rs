//! Command state of a fake motor: a new command replaces the running one.

use tokio::{sync::watch, time::sleep};

use crate::{drive::Run, spindle::Coupling};

/// Encoder on a shaft, with its gearing.
#[derive(Debug)]
pub(crate) struct Link {
    pub spindle: Coupling,
    pub ticks_per_rotation: f64,
    /// Speed at full power, in revolutions per minute.
    pub max_rpm: f64,
}

impl Link {
    /// Position in revolutions at the encoder's last update.
    pub(crate) fn shown(&self) -> f64 {
        self.spindle.now().shown() / self.ticks_per_rotation
    }

    /// Exact position in revolutions, also between two updates of the encoder.
    pub(crate) fn exact(&self) -> f64 {
        self.spindle.now().exact() / self.ticks_per_rotation
    }

    fn turn(&self, power: f64) {
        self.spindle
            .now()
            .set_speed(self.max_rpm * power * self.ticks_per_rotation);
    }

    fn set(&self, revolutions: f64) {
        self.spindle.now().set_ticks(revolutions * self.ticks_per_rotation);
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    power: f64,
    /// Number of commands so far; a run ends as soon as its command is no longer the newest.
    order: u64,
}

/// Shaft of one motor. Commands may come from several tasks at once.
#[derive(Debug)]
pub(crate) struct Shaft {
    state: watch::Sender<State>,
    link: Option<Link>,
}

impl Shaft {
    /// Creates a shaft at rest.
    pub(crate) fn new(link: Option<Link>) -> Self {
        Self {
            state: watch::Sender::default(),
            link,
        }
    }

    /// Returns the encoder, if the shaft has one.
    pub(crate) fn link(&self) -> Option<&Link> {
        self.link.as_ref()
    }

    /// Returns the fraction of full power, -1 to 1 unless commanded beyond.
    pub(crate) fn power(&self) -> f64 {
        self.state.borrow().power
    }

    /// Turns with `power` until the next command, and ends the running movement.
    pub(crate) fn set_power(&self, power: f64) {
        self.order(power);
    }

    /// Stops, and ends the running movement.
    pub(crate) fn stop(&self) {
        self.order(0.0);
    }

    /// Turns for the duration of the run, then stops exactly at its end. Returns early, without error, at the next command.
    /// Dropping the future stops the shaft, unless another command came.
    pub(crate) async fn run(&self, run: Run) {
        let goal = self.link.as_ref().map(|link| link.exact() + run.revolutions);
        let mut newest = self.state.subscribe();
        let order = self.order(run.power);
        let _rest = RestOnDrop { shaft: self, order };
        tokio::select! {
            // It cannot fail: the sender is in `self`.
            _ = newest.wait_for(|state| state.order != order) => {}
            () = sleep(run.time) => self.rest_if_newest(order, goal),
        }
    }

    fn order(&self, power: f64) -> u64 {
        let mut order = 0;
        self.state.send_modify(|state| {
            order = state.order + 1;
            *state = State { power, order };
            // Under the lock of the state, so that two orders at once cannot leave the power of one with the speed of
            // the other.
            if let Some(link) = &self.link {
                link.turn(power);
            }
        });
        order
    }

    /// Stops, at `goal` if there is one, unless another command came.
    fn rest_if_newest(&self, order: u64, goal: Option<f64>) {
        self.state.send_if_modified(|state| {
            let newest = state.order == order;
            if newest {
                state.power = 0.0;
                if let Some(link) = &self.link {
                    link.turn(0.0);
                    goal.inspect(|goal| link.set(*goal));
                }
            }
            newest
        });
    }
}

impl Drop for Shaft {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Guard that stops a run whose caller gave up: a motor must not go on when nobody waits for it.
struct RestOnDrop<'a> {
    shaft: &'a Shaft,
    order: u64,
}

impl Drop for RestOnDrop<'_> {
    fn drop(&mut self) {
        self.shaft.rest_if_newest(self.order, None);
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use tokio::time::{Instant, advance, timeout};

    use super::*;
    use crate::{drive::run_for, spindle::Spindle};

    const TICKS: f64 = 100.0;
    const MAX_RPM: f64 = 100.0;

    fn shaft() -> (Shaft, Arc<Spindle>) {
        let spindle = Arc::new(Spindle::new(Duration::from_millis(100)));
        let link = Link {
            spindle: Coupling::new(spindle.clone(), || None),
            ticks_per_rotation: TICKS,
            max_rpm: MAX_RPM,
        };
        (Shaft::new(Some(link)), spindle)
    }

    #[tokio::test(start_paused = true)]
    async fn the_position_advances_while_it_turns_and_stays_when_it_stops() {
        let (shaft, spindle) = shaft();
        shaft.set_power(0.6);
        advance(Duration::from_secs(2)).await;
        assert!((shaft.link().unwrap().shown() - 2.0).abs() < 1e-9);
        shaft.stop();
        advance(Duration::from_secs(2)).await;
        assert!((spindle.shown() - 2.0 * TICKS).abs() < 1e-9);
        assert_eq!(shaft.power(), 0.0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_ends_after_its_time_exactly_at_its_goal() {
        let (shaft, spindle) = shaft();
        let start = Instant::now();
        // Ten times too fast for the motor, which lags behind and is then put where it was asked to be.
        shaft.run(run_for(10.0 * MAX_RPM, -5.0, MAX_RPM).unwrap()).await;
        assert_eq!(start.elapsed(), Duration::from_millis(300));
        assert_eq!((spindle.shown(), shaft.power()), (-5.0 * TICKS, 0.0));
    }

    #[tokio::test(start_paused = true)]
    async fn another_order_ends_a_run_and_is_not_disturbed_by_it() {
        let (shaft, _spindle) = shaft();
        let long = run_for(60.0, 60.0, MAX_RPM).unwrap();
        tokio::join!(shaft.run(long), async {
            sleep(Duration::from_secs(1)).await;
            shaft.set_power(-0.2);
        });
        assert_eq!(shaft.power(), -0.2);

        tokio::join!(shaft.run(long), async { shaft.stop() });
        assert_eq!(shaft.power(), 0.0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_that_nobody_waits_for_any_more_stops() {
        let (shaft, spindle) = shaft();
        let run = shaft.run(run_for(60.0, 60.0, MAX_RPM).unwrap());
        assert!(timeout(Duration::from_secs(1), run).await.is_err());
        assert_eq!(shaft.power(), 0.0);
        advance(Duration::from_secs(1)).await;
        assert!((spindle.shown() - TICKS).abs() < 1.0, "stands at {}", spindle.shown());
    }

    #[tokio::test(start_paused = true)]
    async fn a_shaft_that_is_removed_leaves_its_encoder_standing() {
        let (shaft, spindle) = shaft();
        shaft.set_power(1.0);
        drop(shaft);
        advance(Duration::from_secs(1)).await;
        assert_eq!(spindle.shown(), 0.0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_shaft_without_an_encoder_just_takes_its_time() {
        let shaft = Shaft::new(None);
        let start = Instant::now();
        shaft.run(run_for(60.0, 1.0, MAX_RPM).unwrap()).await;
        assert_eq!(start.elapsed(), Duration::from_secs(1));
    }
}
