//! `rdk:component:sensor`: sensors with readings by name.

use mainstay_proto::viam::{common::v1 as common, component::sensor::v1};

use crate::{Object, Resource, Result, api};

/// Sensor (`rdk:component:sensor`).
///
/// ```
/// use mainstay_module::prelude::*;
/// # struct Station;
/// # impl Resource for Station {}
///
/// #[async_trait]
/// impl Sensor for Station {
///     async fn readings(&self, extra: &Object) -> Result<Object> {
///         Ok(object! { "celsius" => 21.5, "wind" => object! { "kmh" => 4, "from" => "NW" } })
///     }
/// }
/// ```
#[api("rdk:component:sensor", v1::SensorService { DoCommand, GetStatus, GetGeometries })]
pub trait Sensor: Resource {
    /// Returns the current readings by name; units are the model's choice. [`Vector3`](crate::spatial::Vector3) and
    /// [`GeoPoint`](crate::spatial::GeoPoint) convert into tagged values, which clients recognise.
    #[rpc(common::GetReadings -> readings)]
    async fn readings(&self, extra: &Object) -> Result<Object>;
}
