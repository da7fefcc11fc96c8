//! `rdk:service:slam`: a map, and where the machine is on it.

use bytes::Bytes;
use mainstay_proto::viam::service::slam::v1;

use super::Streaming;
use crate::{Resource, Result, api, spatial::Pose, wire::Message};

/// SLAM (`rdk:service:slam`). X and Y of a map are the ground, Z points up.
///
/// ```
/// use bytes::Bytes;
/// use mainstay_module::{api::{Streaming, slam::{MappingMode, Properties, Slam}}, prelude::*, spatial::Pose};
/// # struct Mapper;
/// # impl Mapper { fn pcd(&self) -> Vec<Result<Bytes>> { Vec::new() } }
/// # impl Resource for Mapper {}
///
/// #[async_trait]
/// impl Slam for Mapper {
///     async fn position(&self) -> Result<Pose> {
///         Ok(Pose::default())
///     }
///     async fn point_cloud_map(&self, edited: Option<bool>) -> Result<Streaming<Bytes>> {
///         Ok(Box::pin(futures_util::stream::iter(self.pcd())))
///     }
///     async fn internal_state(&self) -> Result<Streaming<Bytes>> {
///         Ok(Box::pin(futures_util::stream::iter([Ok(Bytes::from_static(b"state"))])))
///     }
///     async fn properties(&self) -> Result<Properties> {
///         Ok(Properties::new(MappingMode::CreateNewMap))
///     }
/// }
/// ```
#[api("rdk:service:slam", v1::SlamService { DoCommand, GetStatus })]
pub trait Slam: Resource {
    /// Returns the pose of the machine on the map.
    #[rpc(GetPosition -> pose)]
    async fn position(&self) -> Result<Pose>;

    /// Streams the map: the pieces together are one PCD file, in metres. `edited` asks for the map as people have edited it.
    #[rpc(stream GetPointCloudMap { return_edited_map: edited } -> point_cloud_pcd_chunk)]
    async fn point_cloud_map(&self, edited: Option<bool>) -> Result<Streaming<Bytes>>;

    /// Streams what the algorithm needs to go on from here: the pieces together are one file of its own format.
    #[rpc(stream GetInternalState -> internal_state_chunk)]
    async fn internal_state(&self) -> Result<Streaming<Bytes>>;

    /// Returns how the service maps, and with what.
    #[rpc(GetProperties)]
    async fn properties(&self) -> Result<Properties>;
}

/// How a SLAM service maps, and with what.
#[derive(Clone, Debug, PartialEq, Eq, Message)]
#[message(v1::GetPropertiesResponse)]
pub struct Properties {
    /// True if the map is made elsewhere.
    pub cloud_slam: bool,
    /// What it does with maps.
    pub mapping_mode: MappingMode,
    /// Extension of the file of [`Slam::internal_state`].
    pub internal_state_file_type: Option<String>,
    /// Its sensors.
    #[message(sensor_info)]
    pub sensors: Vec<Sensor>,
}

impl Properties {
    /// Creates the properties of a service that maps here, with sensors that it does not tell.
    #[must_use]
    pub fn new(mapping_mode: MappingMode) -> Self {
        Self {
            cloud_slam: false,
            mapping_mode,
            internal_state_file_type: None,
            sensors: Vec::new(),
        }
    }
}

/// What a SLAM service does with maps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Message)]
#[message(v1::MappingMode, default)]
pub enum MappingMode {
    /// Not said.
    #[default]
    Unspecified,
    /// Makes a new one.
    CreateNewMap,
    /// Finds its place on one that there is.
    LocalizeOnly,
    /// Goes on with one that there is.
    UpdateExistingMap,
}

/// Sensor of a SLAM service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Message)]
#[message(v1::SensorInfo)]
pub struct Sensor {
    /// Name of the component.
    pub name: String,
    /// Kind of sensor.
    #[message(r#type)]
    pub kind: SensorType,
}

/// Kind of a sensor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Message)]
#[message(v1::SensorType, default)]
pub enum SensorType {
    /// Not said.
    #[default]
    Unspecified,
    /// Camera, a lidar included.
    Camera,
    /// Movement sensor.
    MovementSensor,
}
