//! Fake `rdk:component:input_controller`: a stick and a button that nobody touches, and that send events all the same.

use std::time::Duration;

use futures_util::stream;
use mainstay_module::{
    api::input_controller::{Event, Subscription, event},
    prelude::*,
};
use tokio::time::sleep;

/// Names of its controls.
const CONTROLS: [&str; 2] = ["AbsoluteX", "ButtonStart"];

/// Attributes of [`FakeInputController`].
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Attributes {
    /// Value of each event; another each time if absent.
    pub event_value: Option<f64>,
    /// Seconds between events; 1 to 2 if absent.
    pub callback_delay_sec: Option<f64>,
}

/// Input controller without hands.
#[derive(Debug)]
pub struct FakeInputController {
    value: Option<f64>,
    delay: Option<Duration>,
}

impl FakeInputController {
    fn value(&self, n: u64) -> f64 {
        self.value.unwrap_or_else(|| spread(n))
    }
}

/// Numbers from 0 to 1 that look random and are the same each time: those of the golden ratio lie as far apart as can be.
fn spread(n: u64) -> f64 {
    (n as f64 * 0.618_033_988_749_895 + 0.5).fract()
}

impl Resource for FakeInputController {}

impl FromConfig for FakeInputController {
    type Attributes = Attributes;

    fn validate(config: &Config<Attributes>) -> Result<DependencySpec> {
        match config.attributes.callback_delay_sec {
            Some(seconds) if Duration::try_from_secs_f64(seconds).is_err() => Err(Error::invalid_argument(
                format_args!("`callback_delay_sec` is {seconds}; it must be 0 or more"),
            )),
            _ => Ok(DependencySpec::none()),
        }
    }

    async fn from_config(config: Config<Attributes>, _: Dependencies) -> Result<Self> {
        let Attributes {
            event_value,
            callback_delay_sec,
        } = config.attributes;
        let delay = callback_delay_sec.map(Duration::try_from_secs_f64).transpose()?;
        Ok(Self {
            value: event_value,
            delay,
        })
    }
}

#[async_trait]
impl InputController for FakeInputController {
    async fn controls(&self, _: &Object) -> Result<Vec<String>> {
        Ok(CONTROLS.map(str::to_owned).to_vec())
    }

    async fn events(&self, _: &Object) -> Result<Vec<Event>> {
        Ok(vec![Event::now(event::POSITION_CHANGE_ABS, CONTROLS[0], self.value(0))])
    }

    async fn stream_events(&self, wanted: &[Subscription], _: &Object) -> Result<Streaming<Event>> {
        // One event for each control and kind that is wanted, unknown ones too, each time with one value.
        let kinds = |subscription: &Subscription| -> Vec<(String, String)> {
            let named = subscription
                .events
                .iter()
                .filter(|name| !subscription.cancelled_events.contains(name));
            named.map(|name| (subscription.control.clone(), name.clone())).collect()
        };
        let wanted: Vec<_> = wanted.iter().flat_map(kinds).collect();
        let (value, delay) = (self.value, self.delay);
        let rounds = stream::unfold(0_u64, move |n| {
            let wanted = wanted.clone();
            async move {
                if wanted.is_empty() {
                    return std::future::pending().await;
                }
                sleep(delay.unwrap_or_else(|| Duration::from_secs_f64(1.0 + spread(n)))).await;
                let value = value.unwrap_or_else(|| spread(n));
                let events: Vec<_> = wanted
                    .iter()
                    .map(|(control, name)| Ok(Event::now(name, control, value)))
                    .collect();
                Some((stream::iter(events), n + 1))
            }
        });
        Ok(Box::pin(futures_util::StreamExt::flatten(rounds)))
    }

    async fn trigger_event(&self, _: Event, _: &Object) -> Result<()> {
        Err(Error::unknown("unsupported"))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_wanted_event_comes_after_each_delay() {
        let attributes = Attributes {
            event_value: Some(0.5),
            callback_delay_sec: Some(0.2),
        };
        let pad = FakeInputController::from_config(Config::new("pad", attributes), Dependencies::none())
            .await
            .unwrap();
        let wanted = |control: &str, names: &[&str]| Subscription {
            control: control.into(),
            events: names.iter().map(ToString::to_string).collect(),
            ..Subscription::default()
        };
        let wanted = [
            wanted("ButtonStart", &["ButtonPress", "Unknown"]),
            wanted("AbsoluteX", &["PositionChangeAbs"]),
        ];
        let start = Instant::now();
        let events = pad
            .stream_events(&wanted, NO_EXTRA)
            .await
            .unwrap()
            .take(6)
            .collect::<Vec<_>>()
            .await;
        assert_eq!(start.elapsed(), Duration::from_millis(400));
        let names: Vec<_> = events
            .iter()
            .map(|event| event.as_ref().unwrap().event.as_str())
            .collect();
        assert_eq!(names, ["ButtonPress", "Unknown", "PositionChangeAbs"].repeat(2));
        assert!(events.iter().all(|event| event.as_ref().unwrap().value == 0.5));
        assert_eq!(
            pad.trigger_event(events[0].clone().unwrap(), NO_EXTRA)
                .await
                .unwrap_err()
                .message(),
            "unsupported"
        );
    }

    #[test]
    fn values_that_nobody_set_are_spread_over_their_range() {
        assert!((0..1000).map(spread).all(|value| (0.0..1.0).contains(&value)));
        assert!((spread(3) - spread(4)).abs() > 0.1);
    }
}
