//! Fake `rdk:component:board`: pins that keep their settings, analogs that count, interrupts that tick.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::stream;
use mainstay_module::{
    api::board::{Analog, PowerMode, Tick, Ticks},
    prelude::*,
};
use tokio::{
    sync::watch,
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};

use crate::pins::{ANALOG_MAX, Pins};

/// Interval between two ticks of an interrupt.
const TICK_INTERVAL: Duration = Duration::from_millis(700);

/// Attributes of [`FakeBoard`].
#[derive(Debug, Default, Deserialize)]
pub struct Attributes {
    /// Analogs of the board.
    #[serde(default)]
    pub analogs: Vec<AnalogAttributes>,
    /// Digital interrupts of the board.
    #[serde(default)]
    pub digital_interrupts: Vec<InterruptAttributes>,
    /// Makes validation fail, to try out a refused configuration.
    #[serde(default)]
    pub fail_new: bool,
}

/// Attributes of one analog.
#[derive(Debug, Default, Deserialize)]
pub struct AnalogAttributes {
    /// Required.
    #[serde(default)]
    pub name: String,
    /// Pin. The analog on pin `1` reads back the value written to it; any other counts up.
    #[serde(default)]
    pub pin: String,
}

/// Attributes of one digital interrupt.
#[derive(Debug, Default, Deserialize)]
pub struct InterruptAttributes {
    /// Required.
    #[serde(default)]
    pub name: String,
    /// Pin, required. The interrupt on pin `0` counts its reads; any other reads 0.
    #[serde(default)]
    pub pin: String,
}

impl Attributes {
    fn check(&self) -> Result<()> {
        let analogs = self
            .analogs
            .iter()
            .enumerate()
            .map(|(i, analog)| ("analogs", i, "name", &analog.name));
        let interrupts = self.digital_interrupts.iter().enumerate().flat_map(|(i, interrupt)| {
            [("name", &interrupt.name), ("pin", &interrupt.pin)]
                .map(|(field, value)| ("digital_interrupts", i, field, value))
        });
        if let Some((list, i, field, _)) = analogs.chain(interrupts).find(|(.., value)| value.is_empty()) {
            return Err(Error::invalid_argument(format_args!(
                "Error validating, missing required field. Path: \"{list}.{i}\" Field: \"{field}\""
            )));
        }
        if self.fail_new {
            Err(Error::invalid_argument("whoops"))
        } else {
            Ok(())
        }
    }
}

/// Board without hardware.
#[derive(Debug)]
pub struct FakeBoard {
    pins: Mutex<Pins>,
    /// Ends the streams of ticks when it is set or dropped.
    closed: watch::Sender<bool>,
}

impl FakeBoard {
    fn pins(&self) -> MutexGuard<'_, Pins> {
        // Every change is one assignment, so a panic cannot leave half of one.
        self.pins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Resource for FakeBoard {
    async fn close(&self) {
        self.closed.send_replace(true);
    }
}

impl FromConfig for FakeBoard {
    type Attributes = Attributes;

    fn validate(config: &Config<Attributes>) -> Result<DependencySpec> {
        config.attributes.check()?;
        Ok(DependencySpec::none())
    }

    async fn from_config(config: Config<Attributes>, _: Dependencies) -> Result<Self> {
        config.attributes.check()?;
        let mut pins = Pins::default();
        for analog in &config.attributes.analogs {
            pins.add_analog(&analog.name, &analog.pin);
        }
        for interrupt in &config.attributes.digital_interrupts {
            pins.add_interrupt(&interrupt.name, &interrupt.pin);
        }
        Ok(Self {
            pins: Mutex::new(pins),
            closed: watch::Sender::new(false),
        })
    }
}

#[async_trait]
impl Board for FakeBoard {
    async fn set_gpio(&self, pin: &str, high: bool, _: &Object) -> Result<()> {
        self.pins().change(pin, |pin| {
            pin.high = high;
            pin.duty = 0.0;
            pin.frequency_hz = 0;
        });
        Ok(())
    }

    async fn gpio(&self, pin: &str, _: &Object) -> Result<bool> {
        Ok(self.pins().pin(pin).high)
    }

    async fn pwm(&self, pin: &str, _: &Object) -> Result<f64> {
        Ok(self.pins().pin(pin).duty)
    }

    async fn set_pwm(&self, pin: &str, duty: f64, _: &Object) -> Result<()> {
        self.pins().change(pin, |pin| pin.duty = duty);
        Ok(())
    }

    async fn pwm_frequency(&self, pin: &str, _: &Object) -> Result<u64> {
        Ok(self.pins().pin(pin).frequency_hz)
    }

    async fn set_pwm_frequency(&self, pin: &str, frequency_hz: u64, _: &Object) -> Result<()> {
        self.pins().change(pin, |pin| pin.frequency_hz = frequency_hz);
        Ok(())
    }

    async fn read_analog(&self, analog: &str, _: &Object) -> Result<Analog> {
        let value = self.pins().read_analog(analog)?;
        Ok(Analog {
            value,
            min: 0.0,
            max: ANALOG_MAX as f32,
            step: 1.0,
        })
    }

    async fn write_analog(&self, pin: &str, value: i32, _: &Object) -> Result<()> {
        Ok(self.pins().write_analog(pin, value)?)
    }

    async fn digital_interrupt(&self, interrupt: &str, _: &Object) -> Result<i64> {
        Ok(self.pins().read_interrupt(interrupt)?)
    }

    async fn ticks(&self, interrupts: &[String], _: &Object) -> Result<Ticks> {
        self.pins().check_interrupts(interrupts)?;
        let ticker = Ticker::new(interrupts, self.closed.subscribe());
        Ok(Box::pin(stream::unfold(Some(ticker), Ticker::next)))
    }

    async fn set_power_mode(&self, _: PowerMode, _: Option<Duration>, _: &Object) -> Result<()> {
        Err(Error::unimplemented("Unimplemented"))
    }
}

/// Stream of ticks: every interval one tick per interrupt, in the order of the request.
struct Ticker {
    interrupts: Vec<String>,
    /// Index of the next interrupt to tick.
    next: usize,
    interval: Interval,
    closed: watch::Receiver<bool>,
}

impl Ticker {
    fn new(interrupts: &[String], closed: watch::Receiver<bool>) -> Self {
        let mut interval = interval_at(Instant::now() + TICK_INTERVAL, TICK_INTERVAL);
        // Nobody wants the ticks that passed while nobody read.
        interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
        Self {
            interrupts: interrupts.to_vec(),
            next: 0,
            interval,
            closed,
        }
    }

    async fn next(this: Option<Self>) -> Option<(Result<Tick>, Option<Self>)> {
        let mut this = this?;
        if this.next == 0 {
            tokio::select! {
                _ = this.closed.wait_for(|closed| *closed) => {
                    return Some((Err(Error::unavailable("the board was removed or is being rebuilt")), None));
                }
                () = due(&mut this.interval, this.interrupts.is_empty()) => {}
            }
        }
        let tick = Tick {
            pin: this.interrupts[this.next].clone(),
            time_ns: now_ns(),
            high: flip(),
        };
        this.next = (this.next + 1) % this.interrupts.len();
        Some((Ok(tick), Some(this)))
    }
}

/// Waits for the next round of ticks; for ever if the stream has no interrupts.
async fn due(interval: &mut Interval, never: bool) {
    if never {
        std::future::pending::<()>().await;
    }
    interval.tick().await;
}

fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Returns a random boolean, good enough for a fake: the standard library seeds its hashers randomly.
fn flip() -> bool {
    RandomState::new().build_hasher().finish() & 1 == 1
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use mainstay_module::from_object;

    use super::*;

    async fn board(attributes: serde_json::Value) -> Result<FakeBoard> {
        let Value::Object(attributes) = attributes.into() else {
            panic!("attributes are an object")
        };
        let config = Config::new("board", from_object::<Attributes>(attributes)?);
        FakeBoard::validate(&config)?;
        FakeBoard::from_config(config, Dependencies::none()).await
    }

    async fn usual() -> FakeBoard {
        board(serde_json::json!({
            "analogs": [{"name": "echo", "pin": "1", "average_over_ms": 10}, {"name": "count"}],
            "digital_interrupts": [{"name": "a", "pin": "11"}, {"name": "b", "pin": "0"}],
        }))
        .await
        .unwrap()
    }

    #[tokio::test]
    async fn setting_a_level_ends_the_pwm_of_that_pin_and_pwm_leaves_the_level() {
        let board = usual().await;
        board.set_gpio("37", true, NO_EXTRA).await.unwrap();
        board.set_pwm("37", -0.5, NO_EXTRA).await.unwrap();
        board.set_pwm_frequency("37", 200, NO_EXTRA).await.unwrap();
        let state = async || {
            let high = board.gpio("37", NO_EXTRA).await.unwrap();
            (
                high,
                board.pwm("37", NO_EXTRA).await.unwrap(),
                board.pwm_frequency("37", NO_EXTRA).await.unwrap(),
            )
        };
        assert_eq!(state().await, (true, -0.5, 200));
        board.set_gpio("37", false, NO_EXTRA).await.unwrap();
        assert_eq!(state().await, (false, 0.0, 0));
    }

    #[tokio::test]
    async fn analogs_and_interrupts_go_by_their_names() {
        let board = usual().await;
        board.write_analog("echo", 5000, NO_EXTRA).await.unwrap();
        let expected = Analog {
            value: 5000,
            min: 0.0,
            max: 1000.0,
            step: 1.0,
        };
        assert_eq!(board.read_analog("echo", NO_EXTRA).await.unwrap(), expected);
        assert_eq!(board.read_analog("count", NO_EXTRA).await.unwrap().value, 1);
        assert_eq!(board.digital_interrupt("b", NO_EXTRA).await.unwrap(), 1);
        let error = board.read_analog("1", NO_EXTRA).await.unwrap_err();
        assert_eq!(error.message(), "can't find AnalogReader (1)");
    }

    #[tokio::test(start_paused = true)]
    async fn every_700_ms_each_interrupt_of_a_stream_ticks_once() {
        let board = usual().await;
        let start = Instant::now();
        let ticks = board.ticks(&["b".into(), "a".into()], NO_EXTRA).await.unwrap();
        let ticks: Vec<_> = ticks.take(4).map(Result::unwrap).collect().await;
        assert_eq!(start.elapsed(), 2 * TICK_INTERVAL);
        assert_eq!(
            ticks.iter().map(|tick| tick.pin.as_str()).collect::<Vec<_>>(),
            ["b", "a", "b", "a"]
        );
        // Nanoseconds, and not one of the coarser units.
        assert!(ticks[0].time_ns > 1_000_000_000_000_000_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_without_names_stays_open_and_silent() {
        let mut ticks = usual().await.ticks(&[], NO_EXTRA).await.unwrap();
        // The board is dropped here already, which is news even to a silent stream.
        assert!(ticks.next().await.unwrap().is_err());

        let board = usual().await;
        let mut ticks = board.ticks(&[], NO_EXTRA).await.unwrap();
        assert!(tokio::time::timeout(100 * TICK_INTERVAL, ticks.next()).await.is_err());
    }

    #[tokio::test]
    async fn an_unknown_interrupt_fails_its_stream_and_a_removed_board_ends_all() {
        let board = usual().await;
        let Err(error) = board.ticks(&["a".into(), "x".into()], NO_EXTRA).await else {
            panic!("x is unknown")
        };
        assert_eq!(error.message(), "cant find DigitalInterrupt (x)");

        let mut ticks = board.ticks(&["a".into()], NO_EXTRA).await.unwrap();
        board.close().await;
        assert_eq!(
            ticks.next().await.unwrap().unwrap_err().code(),
            mainstay_module::Code::Unavailable
        );
        assert!(ticks.next().await.is_none());
    }

    #[tokio::test]
    async fn what_is_missing_in_the_configuration_is_named() {
        for (attributes, text) in [
            (serde_json::json!({"fail_new": true}), "whoops"),
            (
                serde_json::json!({"analogs": [{"name": "x"}, {"pin": "1"}]}),
                r#"Error validating, missing required field. Path: "analogs.1" Field: "name""#,
            ),
            (
                serde_json::json!({"digital_interrupts": [{"name": "x"}]}),
                r#"Error validating, missing required field. Path: "digital_interrupts.0" Field: "pin""#,
            ),
        ] {
            assert_eq!(
                board(attributes.clone()).await.unwrap_err().message(),
                text,
                "for {attributes}"
            );
        }
    }

    #[tokio::test]
    async fn it_has_no_power_modes() {
        let error = usual()
            .await
            .set_power_mode(PowerMode::Normal, None, NO_EXTRA)
            .await
            .unwrap_err();
        assert_eq!(error, Error::unimplemented("Unimplemented"));
    }
}
