//! `rdk:service:vision`: what is in a picture, and where.

use std::sync::Arc;

use bytes::Bytes;
use mainstay_proto::viam::service::vision::v1;

pub use super::{
    camera::Image,
    world::{PointCloudObject, Transform},
};
use crate::{
    __private::answered,
    Object, Resource, Result, api,
    wire::{Malformed, Message, Wire},
};

/// Vision (`rdk:service:vision`). Pictures come along with the call, or from a camera of the machine; an empty camera name is
/// the service's default camera. A model has what it can do, and says so in [`properties`](Self::properties).
///
/// ```
/// use mainstay_module::{api::vision::{Capture, Captured, Detection, Properties, Vision}, prelude::*};
/// # struct Eyes;
/// # impl Resource for Eyes {}
///
/// #[async_trait]
/// impl Vision for Eyes {
///     async fn detections_from_camera(&self, camera: &str, extra: &Object) -> Result<Vec<Detection>> {
///         let cup = Detection { x_max: 40, y_max: 30, class_name: "cup".into(), confidence: 0.9, ..Detection::default() };
///         Ok(vec![cup])
///     }
///     async fn properties(&self, extra: &Object) -> Result<Properties> {
///         Ok(Properties { detections: true, ..Properties::default() })
///     }
///     async fn capture_all(&self, camera: &str, wanted: Capture, extra: &Object) -> Result<Captured> {
///         let mut captured = Captured::default();
///         if wanted.detections {
///             captured.detections = self.detections_from_camera(camera, extra).await?;
///         }
///         Ok(captured)
///     }
/// }
/// ```
#[api("rdk:service:vision", v1::VisionService { DoCommand, GetStatus })]
pub trait Vision: Resource {
    /// Finds objects in an encoded picture. Clients mostly call it `image/jpeg` whatever it is: go by the bytes.
    #[rpc(GetDetections -> detections, optional)]
    async fn detections(
        &self,
        image: Bytes,
        width: i64,
        height: i64,
        mime_type: &str,
        extra: &Object,
    ) -> Result<Vec<Detection>>;

    /// Finds objects in a camera's picture.
    #[rpc(GetDetectionsFromCamera { camera_name: camera } -> detections, optional)]
    async fn detections_from_camera(&self, camera: &str, extra: &Object) -> Result<Vec<Detection>>;

    /// Says what an encoded picture shows: the best `count` classes, or all if that is 0 or less.
    #[rpc(GetClassifications { n: count } -> classifications, optional)]
    async fn classifications(
        &self,
        image: Bytes,
        width: i32,
        height: i32,
        mime_type: &str,
        count: i32,
        extra: &Object,
    ) -> Result<Vec<Classification>>;

    /// Says what a camera's picture shows: the best `count` classes, or all if that is 0 or less.
    #[rpc(GetClassificationsFromCamera { camera_name: camera, n: count } -> classifications, optional)]
    async fn classifications_from_camera(
        &self,
        camera: &str,
        count: i32,
        extra: &Object,
    ) -> Result<Vec<Classification>>;

    /// Finds objects in space.
    #[rpc(GetDetections3D { camera_name: camera } -> detections_3d, optional)]
    async fn detections_3d(&self, camera: &str, extra: &Object) -> Result<Vec<Detection3D>>;

    /// Finds objects in a camera's point cloud. `mime_type` is the wanted format, mostly
    /// [`PCD`](super::camera::PCD).
    #[rpc(GetObjectPointClouds { camera_name: camera }, optional)]
    async fn object_point_clouds(&self, camera: &str, mime_type: &str, extra: &Object) -> Result<ObjectPointClouds>;

    /// Returns what the service can do.
    #[rpc(GetProperties)]
    async fn properties(&self, extra: &Object) -> Result<Properties>;

    /// Returns all that is wanted of one picture. What is not wanted, or not supported, stays empty.
    #[rpc(CaptureAllFromCamera { camera_name: camera }, serve = serve_capture, call = call_capture)]
    async fn capture_all(&self, camera: &str, wanted: Capture, extra: &Object) -> Result<Captured>;
}

/// Object in a picture, in a box of pixels.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "the edges name themselves")]
pub struct Detection {
    pub x_min: i64,
    pub y_min: i64,
    pub x_max: i64,
    pub y_max: i64,
    /// The same as fractions of width and height, 0 to 1: `[x_min, y_min, x_max, y_max]`.
    pub normalized: Option<[f64; 4]>,
    /// Confidence, 0 to 1.
    pub confidence: f64,
    /// Class of the object.
    pub class_name: String,
}

/// Class of a picture.
#[derive(Clone, Debug, Default, PartialEq, Message)]
#[message(v1::Classification)]
pub struct Classification {
    /// Name of the class.
    pub class_name: String,
    /// Confidence, 0 to 1.
    pub confidence: f64,
}

/// Object in space.
#[derive(Clone, Debug, Default, PartialEq, Message)]
#[message(v1::Detection3D)]
pub struct Detection3D {
    /// Where it is, and its solids.
    pub transforms: Vec<Transform>,
    /// What it may be.
    pub classifications: Vec<Classification>,
    /// What else the model knows.
    pub metadata: Object,
}

/// Objects in a point cloud.
#[derive(Clone, Debug, Default, PartialEq, Message)]
#[message(v1::GetObjectPointCloudsResponse)]
pub struct ObjectPointClouds {
    /// Format of the clouds, [`PCD`](super::camera::PCD).
    pub mime_type: String,
    /// The objects.
    pub objects: Vec<PointCloudObject>,
}

/// What a vision service can do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Message)]
#[message(v1::GetPropertiesResponse)]
#[allow(missing_docs, reason = "the fields are the methods")]
pub struct Properties {
    #[message(classifications_supported)]
    pub classifications: bool,
    #[message(detections_supported)]
    pub detections: bool,
    #[message(object_point_clouds_supported)]
    pub object_point_clouds: bool,
    #[message(detections_3d_supported)]
    pub detections_3d: bool,
    /// Camera that an empty name stands for.
    pub default_camera: Option<String>,
}

/// What is wanted of a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the methods")]
pub struct Capture {
    pub image: bool,
    pub classifications: bool,
    pub detections: bool,
    pub object_point_clouds: bool,
    pub detections_3d: bool,
}

/// What was captured of one picture.
#[derive(Clone, Debug, Default, PartialEq, Message)]
#[message(v1::CaptureAllFromCameraResponse)]
#[allow(missing_docs, reason = "the fields are the methods")]
pub struct Captured {
    pub image: Image,
    pub detections: Vec<Detection>,
    pub classifications: Vec<Classification>,
    #[message(objects)]
    pub object_point_clouds: Vec<PointCloudObject>,
    pub detections_3d: Vec<Detection3D>,
    /// What else the model knows.
    pub extra: Object,
}

async fn serve_capture(
    vision: Arc<dyn Vision>,
    request: v1::CaptureAllFromCameraRequest,
) -> Result<v1::CaptureAllFromCameraResponse> {
    let wanted = Capture {
        image: request.return_image,
        classifications: request.return_classifications,
        detections: request.return_detections,
        object_point_clouds: request.return_object_point_clouds,
        detections_3d: request.return_detections_3d,
    };
    let extra = Wire::from_wire(request.extra, "extra")?;
    Ok(vision
        .capture_all(&request.camera_name, wanted, &extra)
        .await?
        .into_wire())
}

async fn call_capture(client: &VisionClient, camera: &str, wanted: Capture, extra: &Object) -> Result<Captured> {
    let Capture {
        image,
        classifications,
        detections,
        object_point_clouds,
        detections_3d,
    } = wanted;
    let request = client.0.request(v1::CaptureAllFromCameraRequest {
        name: client.0.name().to_owned(),
        camera_name: camera.to_owned(),
        return_image: image,
        return_classifications: classifications,
        return_detections: detections,
        return_object_point_clouds: object_point_clouds,
        return_detections_3d: detections_3d,
        extra: extra.clone().into_wire(),
    });
    let answer = client
        .0
        .response(async move { client.stub().capture_all_from_camera(request).await });
    answered(answer.await?, "the answer")
}

impl Wire<v1::Detection> for Detection {
    fn into_wire(self) -> v1::Detection {
        let part = |n: usize| self.normalized.map(|edges| edges[n]);
        // All four edges are sent: clients fail on a detection without one.
        v1::Detection {
            x_min: Some(self.x_min),
            y_min: Some(self.y_min),
            x_max: Some(self.x_max),
            y_max: Some(self.y_max),
            x_min_normalized: part(0),
            y_min_normalized: part(1),
            x_max_normalized: part(2),
            y_max_normalized: part(3),
            confidence: self.confidence,
            class_name: self.class_name,
        }
    }

    fn from_wire(wire: v1::Detection, _: &'static str) -> Result<Self, Malformed> {
        let edge = |edge: Option<i64>, name| edge.ok_or_else(|| Malformed::missing(name));
        let normalized = match (
            wire.x_min_normalized,
            wire.y_min_normalized,
            wire.x_max_normalized,
            wire.y_max_normalized,
        ) {
            (Some(x_min), Some(y_min), Some(x_max), Some(y_max)) => Some([x_min, y_min, x_max, y_max]),
            _ => None,
        };
        Ok(Self {
            x_min: edge(wire.x_min, "x_min")?,
            y_min: edge(wire.y_min, "y_min")?,
            x_max: edge(wire.x_max, "x_max")?,
            y_max: edge(wire.y_max, "y_max")?,
            normalized,
            confidence: wire.confidence,
            class_name: wire.class_name,
        })
    }
}
