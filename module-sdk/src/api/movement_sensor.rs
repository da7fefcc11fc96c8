//! `rdk:component:movement_sensor`: position, speed, heading.

use std::collections::BTreeMap;

use mainstay_proto::viam::{common::v1 as common, component::movementsensor::v1};

use crate::{
    Code, Object, Resource, Result, Value, api,
    spatial::{AngularVelocity, GeoPoint, Orientation, Vector3},
    wire::Message,
};

/// Movement sensor (`rdk:component:movement_sensor`). A model has those methods that its sensor can measure, and says so in
/// [`properties`](Self::properties).
///
/// ```
/// use mainstay_module::{api::movement_sensor::{MovementSensor, Position, Properties}, prelude::*, spatial::GeoPoint};
/// # struct Receiver;
/// # impl Resource for Receiver {}
///
/// #[async_trait]
/// impl MovementSensor for Receiver {
///     async fn properties(&self, extra: &Object) -> Result<Properties> {
///         Ok(Properties { position: true, ..Properties::default() })
///     }
///     async fn position(&self, extra: &Object) -> Result<Position> {
///         Ok(Position { coordinate: GeoPoint { latitude: 40.7, longitude: -74.0 }, altitude_m: 50.5 })
///     }
/// }
/// ```
#[api("rdk:component:movement_sensor", v1::MovementSensorService { DoCommand, GetStatus, GetGeometries })]
pub trait MovementSensor: Resource {
    /// Returns what the sensor measures.
    #[rpc(GetProperties)]
    async fn properties(&self, extra: &Object) -> Result<Properties>;

    /// Returns the position on the globe; NaN for both coordinates if there is no fix.
    #[rpc(GetPosition, optional)]
    async fn position(&self, extra: &Object) -> Result<Position>;

    /// Returns the velocity in metres per second.
    #[rpc(GetLinearVelocity -> linear_velocity, optional)]
    async fn linear_velocity(&self, extra: &Object) -> Result<Vector3>;

    /// Returns the angular velocity in degrees per second.
    #[rpc(GetAngularVelocity -> angular_velocity, optional)]
    async fn angular_velocity(&self, extra: &Object) -> Result<Vector3>;

    /// Returns the acceleration in metres per second squared.
    #[rpc(GetLinearAcceleration -> linear_acceleration, optional)]
    async fn linear_acceleration(&self, extra: &Object) -> Result<Vector3>;

    /// Returns the heading in degrees, 0 to 360: 0 is north, 90 is east.
    #[rpc(GetCompassHeading -> value, optional)]
    async fn compass_heading(&self, extra: &Object) -> Result<f64>;

    /// Returns the orientation.
    #[rpc(GetOrientation -> orientation, optional)]
    async fn orientation(&self, extra: &Object) -> Result<Orientation>;

    /// Returns how exact the measurements are.
    #[rpc(GetAccuracy, optional)]
    async fn accuracy(&self, extra: &Object) -> Result<Accuracy>;

    /// Returns all that the sensor measures as readings: `position`, `altitude`, `linear_velocity`, `linear_acceleration`,
    /// `angular_velocity`, `compass`, `orientation`. By default they are asked of the other methods, and those that are
    /// UNIMPLEMENTED left out.
    #[rpc(common::GetReadings -> readings)]
    async fn readings(&self, extra: &Object) -> Result<Object> {
        let mut readings = Object::new();
        if let Some(position) = offered(self.position(extra).await)? {
            readings.insert("position".into(), position.coordinate.into());
            readings.insert("altitude".into(), position.altitude_m.into());
        }
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                readings.insert(name.into(), value);
            }
        };
        put(
            "linear_velocity",
            offered(self.linear_velocity(extra).await)?.map(Into::into),
        );
        put(
            "linear_acceleration",
            offered(self.linear_acceleration(extra).await)?.map(Into::into),
        );
        put(
            "angular_velocity",
            offered(self.angular_velocity(extra).await)?.map(|velocity| AngularVelocity(velocity).into()),
        );
        put("compass", offered(self.compass_heading(extra).await)?.map(Into::into));
        put("orientation", offered(self.orientation(extra).await)?.map(Into::into));
        Ok(readings)
    }
}

/// Passes over what a model does not measure. Peers say it in words, not by a code.
fn offered<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.code() == Code::Unimplemented => Ok(None),
        Err(error) if error.message().to_lowercase().contains("unimplemented") => Ok(None),
        Err(error) => Err(error),
    }
}

/// What a movement sensor measures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Message)]
#[message(v1::GetPropertiesResponse)]
#[allow(missing_docs, reason = "the fields are the methods")]
pub struct Properties {
    #[message(linear_velocity_supported)]
    pub linear_velocity: bool,
    #[message(angular_velocity_supported)]
    pub angular_velocity: bool,
    #[message(orientation_supported)]
    pub orientation: bool,
    #[message(position_supported)]
    pub position: bool,
    #[message(compass_heading_supported)]
    pub compass_heading: bool,
    #[message(linear_acceleration_supported)]
    pub linear_acceleration: bool,
}

/// Position on the globe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Message)]
#[message(v1::GetPositionResponse)]
pub struct Position {
    /// Coordinates; NaN for both if there is no fix.
    pub coordinate: GeoPoint,
    /// Altitude above sea level, in metres.
    pub altitude_m: f32,
}

/// How exact the measurements of a movement sensor are; what is not known is absent, NaN, or 0 and less.
#[derive(Clone, Debug, Default, PartialEq, Message)]
#[message(v1::GetAccuracyResponse)]
pub struct Accuracy {
    /// Accuracy by name of the measurement, in units of the model's choice.
    pub accuracy: BTreeMap<String, f32>,
    /// Horizontal dilution of precision.
    pub position_hdop: Option<f32>,
    /// Vertical dilution of precision.
    pub position_vdop: Option<f32>,
    /// Quality of the fix, as in NMEA GGA: 0 none, 1 by satellites, 4 and 5 real-time kinematic; -1 not known.
    #[message(position_nmea_gga_fix)]
    pub position_nmea_gga_fix: Option<i32>,
    /// Error of the heading in degrees.
    pub compass_degrees_error: Option<f32>,
}
