//! `rdk:component:power_sensor`: voltage, current, power.

use mainstay_proto::viam::{common::v1 as common, component::powersensor::v1};

use crate::{Object, Resource, Result, api, object, wire::Message};

/// Power sensor (`rdk:component:power_sensor`).
///
/// ```
/// use mainstay_module::{api::power_sensor::{Current, PowerSensor, Voltage}, prelude::*};
/// # struct Meter;
/// # impl Resource for Meter {}
///
/// #[async_trait]
/// impl PowerSensor for Meter {
///     async fn voltage(&self, extra: &Object) -> Result<Voltage> {
///         Ok(Voltage { volts: 24.1, is_ac: false })
///     }
///     async fn current(&self, extra: &Object) -> Result<Current> {
///         Ok(Current { amperes: 1.5, is_ac: false })
///     }
///     async fn power(&self, extra: &Object) -> Result<f64> {
///         Ok(36.2)
///     }
/// }
/// ```
#[api("rdk:component:power_sensor", v1::PowerSensorService { DoCommand, GetStatus })]
pub trait PowerSensor: Resource {
    /// Returns the voltage.
    #[rpc(GetVoltage)]
    async fn voltage(&self, extra: &Object) -> Result<Voltage>;

    /// Returns the current.
    #[rpc(GetCurrent)]
    async fn current(&self, extra: &Object) -> Result<Current>;

    /// Returns the power in watts.
    #[rpc(GetPower -> watts)]
    async fn power(&self, extra: &Object) -> Result<f64>;

    /// Returns all of it as readings: `volts`, `amps`, `is_ac`, `watts`, by default asked of the other methods.
    #[rpc(common::GetReadings -> readings)]
    async fn readings(&self, extra: &Object) -> Result<Object> {
        let Voltage { volts, is_ac } = self.voltage(extra).await?;
        let Current { amperes, .. } = self.current(extra).await?;
        let watts = self.power(extra).await?;
        Ok(object! { "volts" => volts, "amps" => amperes, "is_ac" => is_ac, "watts" => watts })
    }
}

/// Voltage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Message)]
#[message(v1::GetVoltageResponse)]
pub struct Voltage {
    /// Volts.
    pub volts: f64,
    /// True for alternating current.
    pub is_ac: bool,
}

/// Current.
#[derive(Clone, Copy, Debug, Default, PartialEq, Message)]
#[message(v1::GetCurrentResponse)]
pub struct Current {
    /// Amperes.
    pub amperes: f64,
    /// True for alternating current.
    pub is_ac: bool,
}
