//! `rdk:component:camera`: images and point clouds. Their bytes are shared, not copied.

use std::{borrow::Cow, sync::Arc, time::SystemTime};

use bytes::Bytes;
use mainstay_proto::viam::{app::data::v1 as data, common::v1::ResponseMetadata, component::camera::v1};

use crate::{
    __private::answered,
    Error, Object, Resource, Result, api,
    image::without_lazy,
    spatial::{Orientation, Vector3},
    wire::{Malformed, Message, Wire},
};

/// MIME type of JPEG images.
pub const JPEG: &str = "image/jpeg";
/// MIME type of PNG images.
pub const PNG: &str = "image/png";
/// MIME type of QOI images.
pub const QOI: &str = "image/qoi";
/// MIME type of raw pixels: a 12-byte header, then R, G, B, A of each pixel, one byte each.
pub const RAW_RGBA: &str = "image/vnd.viam.rgba";
/// MIME type of depth maps: a 24-byte header, then the distance of each pixel in millimetres, 16 bits big-endian.
pub const RAW_DEPTH: &str = "image/vnd.viam.dep";
/// MIME type of point clouds as PCD files.
pub const PCD: &str = "pointcloud/pcd";

/// Camera (`rdk:component:camera`).
///
/// ```
/// use std::time::SystemTime;
///
/// use mainstay_module::{
///     api::camera::{Image, Images, JPEG, PCD, PointCloud, Properties},
///     prelude::*,
/// };
/// # struct Eye;
/// # impl Eye { async fn capture(&self) -> Result<Vec<u8>> { Ok(Vec::new()) } }
/// # impl Resource for Eye {}
///
/// #[async_trait]
/// impl Camera for Eye {
///     async fn images(&self, sources: &[String], extra: &Object) -> Result<Images> {
///         if let Some(other) = sources.iter().find(|source| *source != "color") {
///             return Err(Error::invalid_argument(format_args!("there is no source `{other}`")));
///         }
///         let bytes = self.capture().await?.into();
///         let image = Image { source: "color".into(), mime_type: JPEG.into(), bytes, ..Image::default() };
///         Ok(Images { images: vec![image], captured_at: Some(SystemTime::now()) })
///     }
///     // If there is something to tell:
///     async fn properties(&self) -> Result<Properties> {
///         Ok(Properties { mime_types: vec![JPEG.into()], frame_rate: Some(30.0), ..Properties::default() })
///     }
///     async fn point_cloud(&self, mime_type: &str, extra: &Object) -> Result<PointCloud> {
///         let bytes = "VERSION .7\n".into();
///         Ok(PointCloud { mime_type: PCD.into(), bytes })
///     }
/// }
/// ```
#[api("rdk:component:camera", v1::CameraService { DoCommand, GetStatus, GetGeometries })]
pub trait Camera: Resource {
    /// Captures one image from each of the named sources, or from all sources if the list is empty. All images belong to
    /// one moment. No source is named twice.
    ///
    /// # Errors
    /// Models return INVALID_ARGUMENT for an unknown source.
    #[rpc(GetImages { filter_source_names: sources }, serve = serve_images)]
    async fn images(&self, sources: &[String], extra: &Object) -> Result<Images>;

    /// Captures a point cloud, in metres. `mime_type` is the caller's preferred format, mostly [`PCD`].
    #[rpc(GetPointCloud, optional)]
    async fn point_cloud(&self, mime_type: &str, extra: &Object) -> Result<PointCloud>;

    /// Returns the optional features and the calibration of the camera. Empty by default.
    #[rpc(GetProperties, call = call_properties)]
    async fn properties(&self) -> Result<Properties> {
        Ok(Properties::default())
    }
}

/// Images of one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Images {
    /// One image per source.
    pub images: Vec<Image>,
    /// Time of capture.
    pub captured_at: Option<SystemTime>,
}

/// Encoded image.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Image {
    /// Name of the source, such as `color` or `depth`; empty for a camera with one source.
    pub source: String,
    /// MIME type, such as [`JPEG`].
    pub mime_type: Cow<'static, str>,
    /// Encoded image.
    pub bytes: Bytes,
    /// Objects recognised in the image; mostly empty.
    pub annotations: Annotations,
}

/// Objects recognised in an image.
#[derive(Clone, Debug, Default, PartialEq, Message)]
#[message(data::Annotations, default)]
pub struct Annotations {
    /// Objects in a region of the image.
    #[message(bboxes)]
    pub boxes: Vec<BoundingBox>,
    /// Labels of the whole image.
    pub classifications: Vec<Classification>,
}

/// Labelled region of an image. Its edges are fractions of the width and height, 0 to 1.
#[derive(Clone, Debug, Default, PartialEq, Message)]
#[message(data::BoundingBox)]
#[allow(missing_docs, reason = "the edges name themselves")]
pub struct BoundingBox {
    /// Identifier assigned by a data store; may be empty.
    pub id: String,
    /// Label.
    pub label: String,
    #[message(x_min_normalized)]
    pub x_min: f64,
    #[message(y_min_normalized)]
    pub y_min: f64,
    #[message(x_max_normalized)]
    pub x_max: f64,
    #[message(y_max_normalized)]
    pub y_max: f64,
    /// Confidence, 0 to 1.
    pub confidence: Option<f64>,
}

/// Label of a whole image.
#[derive(Clone, Debug, Default, PartialEq, Message)]
#[message(data::Classification)]
pub struct Classification {
    /// Identifier assigned by a data store; may be empty.
    pub id: String,
    /// Label.
    pub label: String,
    /// Confidence, 0 to 1.
    pub confidence: Option<f64>,
}

/// Encoded point cloud.
#[derive(Clone, Debug, Default, PartialEq, Eq, Message)]
#[message(v1::GetPointCloudResponse)]
pub struct PointCloud {
    /// MIME type, [`PCD`].
    pub mime_type: Cow<'static, str>,
    /// Encoded point cloud, coordinates in metres.
    #[message(point_cloud)]
    pub bytes: Bytes,
}

/// Optional features and calibration of a camera.
#[derive(Clone, Debug, Default, PartialEq, Message)]
#[message(v1::GetPropertiesResponse)]
pub struct Properties {
    /// True if [`Camera::point_cloud`] is supported.
    pub supports_pcd: bool,
    /// Pinhole parameters.
    #[message(intrinsic_parameters)]
    pub intrinsics: Option<Intrinsics>,
    /// Lens distortion.
    #[message(distortion_parameters)]
    pub distortion: Option<Distortion>,
    /// Pose of the camera in its frame.
    #[message(extrinsic_parameters)]
    pub extrinsics: Option<Extrinsics>,
    /// MIME types that [`Camera::images`] may return.
    pub mime_types: Vec<String>,
    /// Frame rate in Hz.
    pub frame_rate: Option<f32>,
    /// Reference frame of its point clouds; empty for its own frame.
    pub default_reference_frame: String,
}

/// Pinhole parameters of a camera, in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Message)]
#[message(v1::IntrinsicParameters)]
#[allow(missing_docs, reason = "the usual names of these numbers")]
pub struct Intrinsics {
    pub width_px: u32,
    pub height_px: u32,
    pub focal_x_px: f64,
    pub focal_y_px: f64,
    pub center_x_px: f64,
    pub center_y_px: f64,
}

/// Distortion parameters of a lens.
#[derive(Clone, Debug, Default, PartialEq, Message)]
#[message(v1::DistortionParameters)]
pub struct Distortion {
    /// Model: `brown_conrady`, `brown_conrady_k6` or `inverse_brown_conrady`.
    pub model: String,
    /// Coefficients, as many as the model has.
    pub parameters: Vec<f64>,
}

/// Pose of a camera in its frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Message)]
#[message(v1::ExtrinsicParameters)]
pub struct Extrinsics {
    /// Translation in millimetres.
    pub translation: Vector3,
    /// Orientation, passed on unchanged: peers disagree about its unit.
    pub orientation: Orientation,
}

async fn serve_images(camera: Arc<dyn Camera>, request: v1::GetImagesRequest) -> Result<v1::GetImagesResponse> {
    let sources = request.filter_source_names;
    if let Some((_, twice)) = sources
        .iter()
        .enumerate()
        .find(|(n, source)| sources[..*n].contains(source))
    {
        return Err(Error::invalid_argument(format_args!(
            "duplicate source name in filter: {twice}"
        )));
    }
    let images = camera
        .images(&sources, &Wire::from_wire(request.extra, "extra")?)
        .await?;
    Ok(images.into_wire())
}

impl Wire<v1::GetImagesResponse> for Images {
    fn into_wire(self) -> v1::GetImagesResponse {
        let captured_at = self.captured_at.into_wire();
        v1::GetImagesResponse {
            images: self.images.into_wire(),
            // Peers fail without this message, so it is there even when it says nothing.
            response_metadata: Some(ResponseMetadata { captured_at }),
        }
    }

    fn from_wire(wire: v1::GetImagesResponse, _: &'static str) -> Result<Self, Malformed> {
        let captured_at = wire.response_metadata.and_then(|metadata| metadata.captured_at);
        Ok(Self {
            images: Wire::from_wire(wire.images, "images")?,
            // A time that the clock of this machine cannot hold is as good as none.
            captured_at: captured_at.and_then(|time| time.try_into().ok()),
        })
    }
}

impl Wire<v1::Image> for Image {
    fn into_wire(self) -> v1::Image {
        let annotations = (self.annotations != Annotations::default()).then(|| self.annotations.into_wire());
        v1::Image {
            source_name: self.source,
            image: self.bytes,
            mime_type: self.mime_type.into_owned(),
            annotations,
        }
    }

    fn from_wire(wire: v1::Image, _: &'static str) -> Result<Self, Malformed> {
        let v1::Image {
            source_name,
            image,
            mime_type,
            annotations,
        } = wire;
        Ok(Self {
            source: source_name,
            mime_type: without_lazy(&mime_type).to_owned().into(),
            bytes: image,
            annotations: Wire::from_wire(annotations, "annotations")?,
        })
    }
}

/// As a field, which peers may leave out: no picture.
impl Wire<Option<v1::Image>> for Image {
    fn into_wire(self) -> Option<v1::Image> {
        Some(self.into_wire())
    }

    fn from_wire(wire: Option<v1::Image>, field: &'static str) -> Result<Self, Malformed> {
        Self::from_wire(wire.unwrap_or_default(), field)
    }
}

async fn call_properties(client: &CameraClient) -> Result<Properties> {
    let name = client.0.name().to_owned();
    let request = client.0.request(v1::GetPropertiesRequest { name });
    let answer = client
        .0
        .response(async move { client.stub().get_properties(request).await });
    let mut properties: Properties = answered(answer.await?, "properties")?;
    // Peers send an empty model where they know none.
    properties.distortion = properties.distortion.filter(|distortion| !distortion.model.is_empty());
    Ok(properties)
}
