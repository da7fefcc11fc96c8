//! `rdk:component:sensor`: sensors with readings by name.

use async_trait::async_trait;
use mainstay_proto::viam::{
    common::v1::{GetReadingsRequest, GetReadingsResponse},
    component::sensor::v1::{
        sensor_service_client::SensorServiceClient,
        sensor_service_server::{SensorService, SensorServiceServer},
    },
};

use super::macros::{resource_api, send, serve};
use crate::{
    Object, Resource, Result,
    value::wire::{from_struct, from_value, to_extra, to_value},
};

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
#[async_trait]
pub trait Sensor: Resource {
    /// Returns the current readings by name; units are the model's choice. [`Vector3`](crate::spatial::Vector3) and
    /// [`GeoPoint`](crate::spatial::GeoPoint) convert into tagged values, which clients recognise.
    async fn readings(&self, extra: &Object) -> Result<Object>;
}

resource_api!(
    dyn Sensor = "rdk:component:sensor" via SensorServiceServer, SensorServiceClient as Client with get_geometries
);

serve! {
    impl SensorService for dyn Sensor with get_geometries {
        fn get_readings(sensor, request: GetReadingsRequest) -> GetReadingsResponse {
            let readings = sensor.readings(&from_struct(request.extra)).await?;
            GetReadingsResponse { readings: readings.into_iter().map(|(name, value)| (name, to_value(value))).collect() }
        }
    }
}

#[async_trait]
impl Sensor for Client {
    async fn readings(&self, extra: &Object) -> Result<Object> {
        let request = GetReadingsRequest {
            name: self.name(),
            extra: to_extra(extra),
        };
        let answer = send!(self.get_readings(request))?;
        Ok(answer
            .readings
            .into_iter()
            .map(|(name, value)| (name, from_value(value)))
            .collect())
    }
}
