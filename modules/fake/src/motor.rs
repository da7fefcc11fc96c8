//! Fake `rdk:component:motor`: keeps its commanded power, and turns the fake encoder that it names.

use mainstay_module::{
    api::motor::{Powered, Properties},
    prelude::*,
};

use crate::{
    FakeEncoder,
    drive::{is_moving, power_of_rpm, run_for, run_to},
    names::named,
    numbers::{natural, whole},
    shaft::{Link, Shaft},
    spindle::Coupling,
};

const DEFAULT_MAX_RPM: f64 = 100.0;

/// Attributes of [`FakeMotor`]. Those of a real motor that change nothing here (`min_power_pct`, `max_power_pct`,
/// `direction_flip`, `pins.dir`) are accepted and ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Attributes {
    /// Fake encoder of the same machine; without one the motor has no position.
    #[serde(deserialize_with = "named")]
    pub encoder: Option<Dependency<dyn Encoder>>,
    /// Encoder ticks per revolution; must be above 0 with an encoder.
    #[serde(deserialize_with = "whole")]
    pub ticks_per_rotation: i64,
    /// Speed at full power, in revolutions per minute; 0 stands for 100.
    pub max_rpm: f64,
    /// Board of `pins`.
    #[serde(deserialize_with = "named")]
    pub board: Option<Dependency<dyn Board>>,
    /// Pins of a motor driver.
    pub pins: PinAttributes,
    /// PWM frequency in Hz, set once on the PWM pin of the board.
    #[serde(deserialize_with = "natural")]
    pub pwm_freq: u64,
}

/// Pins of a [`FakeMotor`].
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct PinAttributes {
    /// PWM pin; only its frequency is set.
    pub pwm: String,
}

impl Attributes {
    fn max_rpm(&self) -> Result<f64> {
        match self.max_rpm {
            0.0 => Ok(DEFAULT_MAX_RPM),
            rpm if rpm.is_finite() && rpm > 0.0 => Ok(rpm),
            rpm => Err(Error::invalid_argument(format_args!(
                "`max_rpm` is {rpm}; it must be above 0"
            ))),
        }
    }

    fn check(&self) -> Result<()> {
        self.max_rpm()?;
        if self.encoder.is_some() && self.ticks_per_rotation <= 0 {
            return Err(Error::invalid_argument(
                "need nonzero TicksPerRotation for encoded motor",
            ));
        }
        Ok(())
    }
}

/// Motor without hardware. A new movement ends the running one, whose call returns without error.
#[derive(Debug)]
pub struct FakeMotor {
    shaft: Shaft,
    max_rpm: f64,
}

impl FakeMotor {
    fn link(&self) -> Result<&Link> {
        self.shaft
            .link()
            .ok_or_else(|| Error::unknown("encoder is not defined"))
    }
}

#[async_trait]
impl Resource for FakeMotor {
    async fn close(&self) {
        self.shaft.stop();
    }
}

impl FromConfig for FakeMotor {
    type Attributes = Attributes;

    fn validate(config: &Config<Attributes>) -> Result<DependencySpec> {
        config.attributes.check()?;
        Ok(DependencySpec::none())
    }

    async fn from_config(config: Config<Attributes>, dependencies: Dependencies) -> Result<Self> {
        let attributes = config.attributes;
        attributes.check()?;
        let max_rpm = attributes.max_rpm()?;
        let link = match &attributes.encoder {
            Some(encoder) => {
                let ticks_per_rotation = attributes.ticks_per_rotation as f64;
                Some(Link {
                    spindle: coupling(encoder.name(), &dependencies)?,
                    ticks_per_rotation,
                    max_rpm,
                })
            }
            None => None,
        };
        if let (Some(board), false) = (attributes.board, attributes.pins.pwm.is_empty()) {
            let pin = &attributes.pins.pwm;
            board
                .resolve(&dependencies)?
                .set_pwm_frequency(pin, attributes.pwm_freq, NO_EXTRA)
                .await
                .map_err(|error| {
                    error.context(format_args!(
                        "setting the frequency of pin `{pin}` on board `{}`",
                        board.name()
                    ))
                })?;
        }
        Ok(Self {
            shaft: Shaft::new(link),
            max_rpm,
        })
    }
}

fn coupling(encoder: &str, dependencies: &Dependencies) -> Result<Coupling> {
    let fake = dependencies.local::<FakeEncoder>(encoder).ok_or_else(|| {
        Error::failed_precondition(format_args!(
            "`{encoder}` is not an encoder of model `fake` on this machine, and a fake motor can turn no other; give it \
             that model, or take `encoder` out of the motor's attributes"
        ))
    })?;
    let spindle = fake.get()?.spindle();
    let find = move || fake.get().ok().map(|encoder| encoder.spindle());
    Ok(Coupling::new(spindle, find))
}

#[async_trait]
impl Motor for FakeMotor {
    async fn set_power(&self, power: f64, _: &Object) -> Result<()> {
        // Kept as it is, also beyond 1: a test wants to read back what its program asked for.
        self.shaft.set_power(power);
        Ok(())
    }

    async fn go_for(&self, rpm: f64, revolutions: f64, _: &Object) -> Result<()> {
        self.shaft.run(run_for(rpm, revolutions, self.max_rpm)?).await;
        Ok(())
    }

    async fn go_to(&self, rpm: f64, position: f64, _: &Object) -> Result<()> {
        let from = self.link()?.exact();
        self.shaft.run(run_to(rpm, from, position, self.max_rpm)?).await;
        Ok(())
    }

    async fn set_rpm(&self, rpm: f64, _: &Object) -> Result<()> {
        self.shaft.set_power(power_of_rpm(rpm, self.max_rpm)?);
        Ok(())
    }

    async fn reset_zero_position(&self, offset: f64, _: &Object) -> Result<()> {
        // The offset counts as ticks and not as revolutions: so does the model that this one stands for.
        self.link()?.spindle.now().set_ticks(-offset);
        Ok(())
    }

    async fn position(&self, _: &Object) -> Result<f64> {
        Ok(self.link()?.shown())
    }

    async fn properties(&self, _: &Object) -> Result<Properties> {
        Ok(Properties {
            position_reporting: self.shaft.link().is_some(),
        })
    }

    async fn stop(&self, _: &Object) -> Result<()> {
        self.shaft.stop();
        Ok(())
    }

    async fn powered(&self, _: &Object) -> Result<Powered> {
        let power = self.shaft.power();
        Ok(Powered {
            on: is_moving(power),
            power,
        })
    }

    async fn is_moving(&self) -> Result<bool> {
        Ok(is_moving(self.shaft.power()))
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use mainstay_module::from_object;
    use tokio::time::{Instant, advance, sleep, timeout};

    use super::*;
    use crate::FakeBoard;

    async fn motor(attributes: Object, dependencies: Dependencies) -> Result<FakeMotor> {
        let config = Config::new("motor", from_object::<Attributes>(attributes)?);
        FakeMotor::validate(&config)?;
        FakeMotor::from_config(config, dependencies).await
    }

    /// Motor with an encoder of 100 ticks per revolution that updates its position every 100 ms.
    async fn encoded() -> (FakeMotor, Arc<FakeEncoder>) {
        let config = Config::new("e", from_object(Object::new()).unwrap());
        let encoder = Arc::new(FakeEncoder::from_config(config, Dependencies::none()).await.unwrap());
        let dependencies = Dependencies::none().with::<dyn Encoder, FakeEncoder>("e", encoder.clone());
        let motor = motor(object! { "encoder" => "e", "ticks_per_rotation" => 100 }, dependencies).await;
        (motor.unwrap(), encoder)
    }

    #[tokio::test]
    async fn power_is_kept_as_it_was_given() {
        let motor = motor(Object::new(), Dependencies::none()).await.unwrap();
        for (power, on) in [(0.5, true), (2.0, true), (-3.0, true), (0.004, false), (0.0, false)] {
            motor.set_power(power, NO_EXTRA).await.unwrap();
            assert_eq!(motor.powered(NO_EXTRA).await.unwrap(), Powered { on, power });
            assert_eq!(motor.is_moving().await.unwrap(), on);
        }
        motor.set_power(f64::NAN, NO_EXTRA).await.unwrap();
        assert!(motor.powered(NO_EXTRA).await.unwrap().power.is_nan());
        motor.set_rpm(-250.0, NO_EXTRA).await.unwrap();
        assert_eq!(motor.powered(NO_EXTRA).await.unwrap().power, -2.5);
        motor.stop(NO_EXTRA).await.unwrap();
        assert_eq!(
            motor.powered(NO_EXTRA).await.unwrap(),
            Powered { on: false, power: 0.0 }
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_position_follows_the_power_and_the_encoder_counts_along() {
        let (motor, encoder) = encoded().await;
        assert!(motor.properties(NO_EXTRA).await.unwrap().position_reporting);
        motor.set_power(0.6, NO_EXTRA).await.unwrap();
        advance(Duration::from_secs(2)).await;
        assert!((motor.position(NO_EXTRA).await.unwrap() - 2.0).abs() < 1e-9);
        assert!((encoder.position(None, NO_EXTRA).await.unwrap().value - 200.0).abs() < 1e-3);
        motor.set_rpm(-60.0, NO_EXTRA).await.unwrap();
        advance(Duration::from_secs(3)).await;
        assert!((motor.position(NO_EXTRA).await.unwrap() + 1.0).abs() < 1e-9);
        motor.close().await;
        advance(Duration::from_secs(3)).await;
        assert!((motor.position(NO_EXTRA).await.unwrap() + 1.0).abs() < 1e-9);
    }

    #[tokio::test(start_paused = true)]
    async fn runs_end_exactly_where_they_should() {
        let (motor, _encoder) = encoded().await;
        let start = Instant::now();
        motor.go_for(60.0, -1.5, NO_EXTRA).await.unwrap();
        assert_eq!(start.elapsed(), Duration::from_millis(1_500));
        assert_eq!(motor.position(NO_EXTRA).await.unwrap(), -1.5);
        motor.go_to(-60.0, 0.5, NO_EXTRA).await.unwrap();
        assert_eq!(start.elapsed(), Duration::from_millis(3_500));
        assert_eq!(motor.position(NO_EXTRA).await.unwrap(), 0.5);
        assert!(!motor.is_moving().await.unwrap());
        let error = motor.go_to(60.0, 0.5, NO_EXTRA).await.unwrap_err();
        assert_eq!(error.message(), "Cannot move motor for 0 revolutions");
    }

    #[tokio::test(start_paused = true)]
    async fn zero_is_set_in_ticks() {
        let (motor, _encoder) = encoded().await;
        motor.go_for(60.0, 1.0, NO_EXTRA).await.unwrap();
        for (offset, position) in [(0.5, -0.005), (0.0, 0.0)] {
            motor.reset_zero_position(offset, NO_EXTRA).await.unwrap();
            assert_eq!(motor.position(NO_EXTRA).await.unwrap(), position);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_cut_short_is_no_error_and_a_caller_that_leaves_stops_the_motor() {
        let motor = motor(Object::new(), Dependencies::none()).await.unwrap();
        let (ended, ()) = tokio::join!(motor.go_for(60.0, 100.0, NO_EXTRA), async {
            sleep(Duration::from_secs(1)).await;
            motor.stop(NO_EXTRA).await.unwrap();
        });
        ended.unwrap();
        assert!(
            timeout(Duration::from_secs(1), motor.go_for(60.0, 100.0, NO_EXTRA))
                .await
                .is_err()
        );
        assert!(!motor.is_moving().await.unwrap());
    }

    #[tokio::test]
    async fn without_an_encoder_there_is_no_position() {
        let motor = motor(Object::new(), Dependencies::none()).await.unwrap();
        assert!(!motor.properties(NO_EXTRA).await.unwrap().position_reporting);
        for error in [
            motor.position(NO_EXTRA).await.unwrap_err(),
            motor.reset_zero_position(0.0, NO_EXTRA).await.unwrap_err(),
            motor.go_to(10.0, 1.0, NO_EXTRA).await.unwrap_err(),
        ] {
            assert_eq!(error.message(), "encoder is not defined");
        }
    }

    #[tokio::test]
    async fn a_configuration_that_cannot_work_is_refused() {
        for (attributes, text) in [
            (
                object! { "encoder" => "e" },
                "need nonzero TicksPerRotation for encoded motor",
            ),
            (
                object! { "encoder" => "e", "ticks_per_rotation" => -1 },
                "need nonzero TicksPerRotation",
            ),
            (object! { "max_rpm" => -100 }, "`max_rpm` is -100; it must be above 0"),
            (
                object! { "encoder" => "other_model", "ticks_per_rotation" => 1 },
                "`other_model` is not an encoder of model `fake`",
            ),
        ] {
            let error = motor(attributes.clone(), Dependencies::none()).await.unwrap_err();
            assert!(error.message().starts_with(text), "{error} for {attributes:?}");
        }
    }

    #[tokio::test]
    async fn the_pwm_pin_of_its_board_gets_the_frequency() {
        let config = Config::new("b", from_object(Object::new()).unwrap());
        let board = Arc::new(FakeBoard::from_config(config, Dependencies::none()).await.unwrap());
        let dependencies = Dependencies::none().with::<dyn Board, FakeBoard>("b", board.clone());
        let attributes =
            object! { "board" => "b", "pins" => object! { "dir" => "3", "pwm" => "5" }, "pwm_freq" => 800 };
        motor(attributes, dependencies).await.unwrap();
        assert_eq!(board.pwm_frequency("5", NO_EXTRA).await.unwrap(), 800);
    }
}
