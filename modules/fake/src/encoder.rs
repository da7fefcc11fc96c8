//! Fake `rdk:component:encoder`: counts ticks, and is turned by the fake motor that names it.

use std::{sync::Arc, time::Duration};

use mainstay_module::{
    api::encoder::{Position, Properties, Unit},
    prelude::*,
};

use crate::{numbers::whole, spindle::Spindle};

const DEFAULT_UPDATE_MS: i64 = 100;

/// Attributes of [`FakeEncoder`].
#[derive(Debug, Default, Deserialize)]
pub struct Attributes {
    /// Interval between position updates in milliseconds; 0 stands for 100.
    #[serde(default, deserialize_with = "whole")]
    pub update_rate_msec: i64,
}

/// Encoder without hardware, at rest until a fake motor turns it.
#[derive(Debug)]
pub struct FakeEncoder {
    spindle: Arc<Spindle>,
}

impl FakeEncoder {
    /// Moving part, shared with the motor.
    pub(crate) fn spindle(&self) -> Arc<Spindle> {
        self.spindle.clone()
    }
}

impl Resource for FakeEncoder {}

impl FromConfig for FakeEncoder {
    type Attributes = Attributes;

    fn validate(config: &Config<Attributes>) -> Result<DependencySpec> {
        update_interval(config.attributes.update_rate_msec)?;
        Ok(DependencySpec::none())
    }

    async fn from_config(config: Config<Attributes>, _: Dependencies) -> Result<Self> {
        let step = update_interval(config.attributes.update_rate_msec)?;
        Ok(Self {
            spindle: Arc::new(Spindle::new(step)),
        })
    }
}

fn update_interval(ms: i64) -> Result<Duration> {
    let ms = if ms == 0 { DEFAULT_UPDATE_MS } else { ms };
    u64::try_from(ms).map(Duration::from_millis).map_err(|_| {
        Error::invalid_argument(format_args!(
            "`update_rate_msec` is {ms}; it must be a number of milliseconds above 0"
        ))
    })
}

#[async_trait]
impl Encoder for FakeEncoder {
    async fn position(&self, unit: Option<Unit>, _: &Object) -> Result<Position> {
        if unit == Some(Unit::Degrees) {
            return Err(Error::unknown(
                r#"encoder does not support "degrees"; use a different PositionType"#,
            ));
        }
        Ok(Position {
            value: self.spindle.shown() as f32,
            unit: Unit::Ticks,
        })
    }

    async fn reset_position(&self, _: &Object) -> Result<()> {
        self.spindle.set_ticks(0.0);
        Ok(())
    }

    async fn properties(&self, _: &Object) -> Result<Properties> {
        Ok(Properties {
            ticks: true,
            degrees: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use mainstay_module::from_object;

    use super::*;

    async fn encoder(attributes: Object) -> Result<FakeEncoder> {
        let config = Config::new("encoder", from_object::<Attributes>(attributes)?);
        FakeEncoder::validate(&config)?;
        FakeEncoder::from_config(config, Dependencies::none()).await
    }

    #[tokio::test(start_paused = true)]
    async fn it_counts_ticks_at_its_update_rate_and_can_be_reset() {
        let encoder = encoder(object! { "update_rate_msec" => 200 }).await.unwrap();
        encoder.spindle.set_speed(60_000.0);
        tokio::time::advance(Duration::from_millis(399)).await;
        let position = Position {
            value: 200.0,
            unit: Unit::Ticks,
        };
        assert_eq!(encoder.position(None, NO_EXTRA).await.unwrap(), position);
        assert_eq!(encoder.position(Some(Unit::Ticks), NO_EXTRA).await.unwrap(), position);
        encoder.reset_position(NO_EXTRA).await.unwrap();
        assert_eq!(encoder.position(None, NO_EXTRA).await.unwrap().value, 0.0);
    }

    #[tokio::test]
    async fn it_knows_ticks_and_no_degrees() {
        let encoder = encoder(Object::new()).await.unwrap();
        assert_eq!(
            encoder.properties(NO_EXTRA).await.unwrap(),
            Properties {
                ticks: true,
                degrees: false
            }
        );
        let error = encoder.position(Some(Unit::Degrees), NO_EXTRA).await.unwrap_err();
        assert_eq!(
            error,
            Error::unknown("encoder does not support \"degrees\"; use a different PositionType")
        );
    }

    #[tokio::test]
    async fn an_update_rate_below_0_is_refused() {
        let error = encoder(object! { "update_rate_msec" => -5 }).await.unwrap_err();
        assert!(error.message().starts_with("`update_rate_msec` is -5"), "{error}");
    }
}
