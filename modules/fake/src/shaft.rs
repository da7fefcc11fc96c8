//! What a fake motor is doing: the newest order counts, and a run that ends by itself gives way to it.

use tokio::{sync::watch, time::sleep};

use crate::{drive::Run, spindle::Coupling};

/// The encoder on a shaft, and how fast it turns there.
#[derive(Debug)]
pub(crate) struct Link {
    pub spindle: Coupling,
    pub ticks_per_rotation: f64,
    /// Revolutions per minute at full power.
    pub max_rpm: f64,
}

impl Link {
    /// Position in revolutions, as the encoder shows it.
    pub(crate) fn shown(&self) -> f64 {
        self.spindle.now().shown() / self.ticks_per_rotation
    }

    /// Position in revolutions, between two updates of the encoder too.
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
    /// Counts the orders given so far; a run is over as soon as its own is no longer the newest.
    order: u64,
}

/// The shaft of one motor. Orders may come from several tasks at once.
#[derive(Debug)]
pub(crate) struct Shaft {
    state: watch::Sender<State>,
    link: Option<Link>,
}

impl Shaft {
    /// A shaft at rest.
    pub(crate) fn new(link: Option<Link>) -> Self {
        Self {
            state: watch::Sender::default(),
            link,
        }
    }

    /// The encoder, if it has one.
    pub(crate) fn link(&self) -> Option<&Link> {
        self.link.as_ref()
    }

    /// The share of full power, -1 to 1 unless someone asked for more.
    pub(crate) fn power(&self) -> f64 {
        self.state.borrow().power
    }

    /// Turns with `power` until the next order, and ends what was running.
    pub(crate) fn set_power(&self, power: f64) {
        self.order(power);
    }

    /// Rests, and ends what was running.
    pub(crate) fn stop(&self) {
        self.order(0.0);
    }

    /// Turns for the time of the run, then rests exactly at its end. Ends early, and well, when another order comes.
    /// Dropping it stops the shaft, unless another order came.
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

    /// Rests, at `goal` if there is one, unless another order came.
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

/// Ends a run whose caller gave up: a motor must not go on for someone who no longer waits for it.
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
