//! Small fakes: components whose whole behaviour is a constant or the last value they were given.

use std::sync::Mutex;

use mainstay_module::{
    api::{
        base,
        movement_sensor::{Accuracy, Position, Properties},
        power_sensor::{Current, Voltage},
        switch::Positions,
    },
    prelude::*,
    spatial::{AngularVelocity, GeoPoint, Orientation, Quaternion, Vector3},
};

use crate::numbers::natural;

/// Base that stands still, whatever it is told.
#[derive(Debug)]
pub struct FakeBase;

/// Button that writes each push to the log.
#[derive(Debug)]
pub struct FakeButton;

/// Movement sensor of a machine that always passes the same place.
#[derive(Debug)]
pub struct FakeMovementSensor;

/// Power sensor of a constant load.
#[derive(Debug)]
pub struct FakePowerSensor;

/// Servo that keeps the angle it was told.
#[derive(Debug, Default)]
pub struct FakeServo(Mutex<u32>);

/// Switch that keeps the position it was told.
#[derive(Debug)]
pub struct FakeSwitch {
    name: String,
    position: Mutex<u32>,
    count: u32,
    labels: Vec<String>,
}

/// Attributes of [`FakeSwitch`].
#[derive(Debug, Deserialize)]
#[serde(default)]
pub struct SwitchAttributes {
    /// Number of positions.
    #[serde(deserialize_with = "natural")]
    pub position_count: u64,
    /// A label for each; another number of them is as none.
    pub labels: Vec<String>,
    /// True if building it fails, to try how that looks.
    pub fail_new: bool,
}

impl Default for SwitchAttributes {
    fn default() -> Self {
        Self {
            position_count: 2,
            labels: Vec::new(),
            fail_new: false,
        }
    }
}

/// Models without attributes.
macro_rules! plain {
    ($($fake:ident $make:expr),*) => {
        $(impl FromConfig for $fake {
            type Attributes = ();
            async fn from_config(_: Config<()>, _: Dependencies) -> Result<Self> { Ok($make) }
        })*
    };
}

plain!(FakeBase Self, FakeButton Self, FakeMovementSensor Self, FakePowerSensor Self, FakeServo Self::default());

impl Resource for FakeBase {}
impl Resource for FakeButton {}
impl Resource for FakeServo {}
impl Resource for FakeSwitch {}

/// Peers' fakes of these two answer every command with nothing.
macro_rules! silent {
    ($($fake:ident),*) => {
        $(#[async_trait]
        impl Resource for $fake {
            async fn do_command(&self, _: Object) -> Result<Object> { Ok(Object::new()) }
        })*
    };
}

silent!(FakeMovementSensor, FakePowerSensor);

#[async_trait]
impl Base for FakeBase {
    async fn move_straight(&self, _: i64, _: f64, _: &Object) -> Result<()> {
        Ok(())
    }

    async fn spin(&self, _: f64, _: f64, _: &Object) -> Result<()> {
        Ok(())
    }

    async fn set_power(&self, _: Vector3, _: Vector3, _: &Object) -> Result<()> {
        Ok(())
    }

    async fn set_velocity(&self, _: Vector3, _: Vector3, _: &Object) -> Result<()> {
        Ok(())
    }

    async fn stop(&self, _: &Object) -> Result<()> {
        Ok(())
    }

    async fn is_moving(&self) -> Result<bool> {
        Ok(false)
    }

    async fn properties(&self, _: &Object) -> Result<base::Properties> {
        Ok(base::Properties {
            width_meters: 0.6,
            ..base::Properties::default()
        })
    }
}

#[async_trait]
impl Button for FakeButton {
    async fn push(&self, _: &Object) -> Result<()> {
        mainstay_module::tracing::info!("pushed");
        Ok(())
    }
}

#[async_trait]
impl MovementSensor for FakeMovementSensor {
    async fn properties(&self, _: &Object) -> Result<Properties> {
        Ok(Properties {
            linear_velocity: true,
            angular_velocity: true,
            orientation: true,
            position: true,
            compass_heading: true,
            linear_acceleration: true,
        })
    }

    async fn position(&self, _: &Object) -> Result<Position> {
        let coordinate = GeoPoint {
            latitude: 40.7,
            longitude: -73.98,
        };
        Ok(Position {
            coordinate,
            altitude_m: 50.5,
        })
    }

    async fn linear_velocity(&self, _: &Object) -> Result<Vector3> {
        Ok(Vector3 { x: 0.0, y: 5.4, z: 0.0 })
    }

    async fn angular_velocity(&self, _: &Object) -> Result<Vector3> {
        Ok(Vector3 { x: 0.0, y: 0.0, z: 1.0 })
    }

    async fn linear_acceleration(&self, _: &Object) -> Result<Vector3> {
        Ok(Vector3 { x: 2.2, y: 4.5, z: 2.0 })
    }

    async fn compass_heading(&self, _: &Object) -> Result<f64> {
        Ok(25.0)
    }

    async fn orientation(&self, _: &Object) -> Result<Orientation> {
        Ok(Orientation::default())
    }

    async fn accuracy(&self, _: &Object) -> Result<Accuracy> {
        // Zeros are no accuracy; a peer's server says so by NaN.
        Ok(Accuracy {
            position_hdop: Some(f32::NAN),
            position_vdop: Some(f32::NAN),
            position_nmea_gga_fix: Some(4),
            compass_degrees_error: Some(f32::NAN),
            ..Accuracy::default()
        })
    }

    async fn readings(&self, extra: &Object) -> Result<Object> {
        let position = self.position(extra).await?;
        Ok(object! {
            "position" => position.coordinate,
            "altitude" => position.altitude_m,
            "linear_velocity" => self.linear_velocity(extra).await?,
            "linear_acceleration" => self.linear_acceleration(extra).await?,
            "angular_velocity" => AngularVelocity(self.angular_velocity(extra).await?),
            "compass" => self.compass_heading(extra).await?,
            // Of this model peers send the quaternion.
            "orientation" => Quaternion { w: 1.0, x: 0.0, y: 0.0, z: 0.0 },
        })
    }
}

#[async_trait]
impl PowerSensor for FakePowerSensor {
    async fn voltage(&self, _: &Object) -> Result<Voltage> {
        Ok(Voltage {
            volts: 1.5,
            is_ac: true,
        })
    }

    async fn current(&self, _: &Object) -> Result<Current> {
        Ok(Current {
            amperes: 2.2,
            is_ac: true,
        })
    }

    async fn power(&self, _: &Object) -> Result<f64> {
        Ok(9.8)
    }
}

#[async_trait]
impl Servo for FakeServo {
    async fn move_to(&self, angle_deg: u32, _: &Object) -> Result<()> {
        *self.0.lock().expect("nobody panics with it") = angle_deg;
        Ok(())
    }

    async fn position(&self, _: &Object) -> Result<u32> {
        Ok(*self.0.lock().expect("nobody panics with it"))
    }

    async fn stop(&self, _: &Object) -> Result<()> {
        Ok(())
    }

    async fn is_moving(&self) -> Result<bool> {
        Ok(false)
    }
}

impl FromConfig for FakeSwitch {
    type Attributes = SwitchAttributes;

    async fn from_config(config: Config<SwitchAttributes>, _: Dependencies) -> Result<Self> {
        let SwitchAttributes {
            position_count,
            labels,
            fail_new,
        } = config.attributes;
        if fail_new {
            return Err(Error::unknown("whoops"));
        }
        let count = u32::try_from(position_count).map_err(|_| {
            Error::invalid_argument(format_args!("`position_count` is {position_count}; that is too many"))
        })?;
        Ok(Self {
            name: config.name,
            position: Mutex::new(0),
            count,
            labels,
        })
    }
}

#[async_trait]
impl Switch for FakeSwitch {
    async fn set_position(&self, position: u32, _: &Object) -> Result<()> {
        if position >= self.count {
            return Err(Error::unknown(format_args!(
                "switch component rdk:component:switch/{} position {position} is invalid (valid range: 0-{})",
                self.name,
                // Peers count down from 0 likewise.
                self.count.wrapping_sub(1)
            )));
        }
        *self.position.lock().expect("nobody panics with it") = position;
        Ok(())
    }

    async fn position(&self, _: &Object) -> Result<u32> {
        Ok(*self.position.lock().expect("nobody panics with it"))
    }

    async fn positions(&self, _: &Object) -> Result<Positions> {
        let fit = self.labels.len() == self.count as usize;
        Ok(Positions {
            count: self.count,
            labels: if fit { self.labels.clone() } else { Vec::new() },
        })
    }
}

#[cfg(test)]
mod tests {
    use mainstay_module::from_object;

    use super::*;

    async fn switch(attributes: Object) -> Result<FakeSwitch> {
        let config = Config::new("lights", from_object::<SwitchAttributes>(attributes)?);
        FakeSwitch::from_config(config, Dependencies::none()).await
    }

    #[tokio::test]
    async fn a_switch_keeps_its_position_within_its_range() {
        let lights = switch(object! { "position_count" => 3, "labels" => ["off", "dim", "on"] })
            .await
            .unwrap();
        lights.set_position(2, NO_EXTRA).await.unwrap();
        let error = lights.set_position(3, NO_EXTRA).await.unwrap_err();
        let text = "switch component rdk:component:switch/lights position 3 is invalid (valid range: 0-2)";
        assert_eq!(error.message(), text);
        assert_eq!(lights.position(NO_EXTRA).await.unwrap(), 2);
        assert_eq!(lights.positions(NO_EXTRA).await.unwrap().labels.len(), 3);

        let two = switch(object! { "labels" => ["only one"] })
            .await
            .unwrap()
            .positions(NO_EXTRA)
            .await
            .unwrap();
        assert_eq!((two.count, two.labels.len()), (2, 0));
        let none = switch(object! { "position_count" => 0 }).await.unwrap();
        let error = none.set_position(0, NO_EXTRA).await.unwrap_err();
        assert!(error.message().ends_with("(valid range: 0-4294967295)"), "{error}");
        assert_eq!(
            switch(object! { "fail_new" => true }).await.unwrap_err().message(),
            "whoops"
        );
    }

    #[tokio::test]
    async fn a_servo_keeps_any_angle() {
        let servo = FakeServo::default();
        for angle in [0, 181, 100_000] {
            servo.move_to(angle, NO_EXTRA).await.unwrap();
            assert_eq!(servo.position(NO_EXTRA).await.unwrap(), angle);
        }
    }

    #[tokio::test]
    async fn readings_have_the_types_that_clients_know() {
        let readings = FakeMovementSensor.readings(NO_EXTRA).await.unwrap();
        assert_eq!(readings["position"].as_geo_point().unwrap().longitude, -73.98);
        assert_eq!(readings["angular_velocity"].as_vector3().unwrap().z, 1.0);
        assert_eq!(readings.len(), 7);
        let power = FakePowerSensor.readings(NO_EXTRA).await.unwrap();
        assert_eq!(
            power,
            object! { "volts" => 1.5, "amps" => 2.2, "is_ac" => true, "watts" => 9.8 }
        );
    }
}
