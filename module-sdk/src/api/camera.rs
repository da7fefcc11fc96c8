//! `rdk:component:camera`: images and point clouds. Their bytes are shared, not copied.

use std::{borrow::Cow, time::SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use mainstay_proto::viam::{
    app::data::v1 as data,
    common::v1::ResponseMetadata,
    component::camera::v1::{
        DistortionParameters, ExtrinsicParameters, GetImagesRequest, GetImagesResponse, GetPointCloudRequest,
        GetPointCloudResponse, GetPropertiesRequest, GetPropertiesResponse, Image as WireImage, IntrinsicParameters,
        camera_service_client::CameraServiceClient,
        camera_service_server::{CameraService, CameraServiceServer},
    },
};

use super::{
    macros::{resource_api, send, serve},
    unimplemented,
};
use crate::{
    Error, Object, Resource, Result,
    spatial::{Orientation, Vector3},
    value::wire::{from_struct, to_extra},
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
#[async_trait]
pub trait Camera: Resource {
    /// Captures one image from each of the named sources, or from all sources if the list is empty. All images belong to
    /// one moment. No source is named twice.
    ///
    /// # Errors
    /// Models return INVALID_ARGUMENT for an unknown source.
    async fn images(&self, sources: &[String], extra: &Object) -> Result<Images>;

    /// Captures a point cloud, in metres. `mime_type` is the caller's preferred format, mostly [`PCD`].
    async fn point_cloud(&self, mime_type: &str, extra: &Object) -> Result<PointCloud> {
        let _ = (mime_type, extra);
        unimplemented("GetPointCloud")
    }

    /// Returns the optional features and the calibration of the camera. Empty by default.
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
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Annotations {
    /// Objects in a region of the image.
    pub boxes: Vec<BoundingBox>,
    /// Labels of the whole image.
    pub classifications: Vec<Classification>,
}

/// Labelled region of an image. Its edges are fractions of the width and height, 0 to 1.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "the edges name themselves")]
pub struct BoundingBox {
    /// Identifier assigned by a data store; may be empty.
    pub id: String,
    /// Label.
    pub label: String,
    pub x_min: f64,
    pub y_min: f64,
    pub x_max: f64,
    pub y_max: f64,
    /// Confidence, 0 to 1.
    pub confidence: Option<f64>,
}

/// Label of a whole image.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Classification {
    /// Identifier assigned by a data store; may be empty.
    pub id: String,
    /// Label.
    pub label: String,
    /// Confidence, 0 to 1.
    pub confidence: Option<f64>,
}

/// Encoded point cloud.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PointCloud {
    /// MIME type, [`PCD`].
    pub mime_type: Cow<'static, str>,
    /// Encoded point cloud, coordinates in metres.
    pub bytes: Bytes,
}

/// Optional features and calibration of a camera.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Properties {
    /// True if [`Camera::point_cloud`] is supported.
    pub supports_pcd: bool,
    /// Pinhole parameters.
    pub intrinsics: Option<Intrinsics>,
    /// Lens distortion.
    pub distortion: Option<Distortion>,
    /// Pose of the camera in its frame.
    pub extrinsics: Option<Extrinsics>,
    /// MIME types that [`Camera::images`] may return.
    pub mime_types: Vec<String>,
    /// Frame rate in Hz.
    pub frame_rate: Option<f32>,
    /// Reference frame of its point clouds; empty for its own frame.
    pub default_reference_frame: String,
}

/// Pinhole parameters of a camera, in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
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
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distortion {
    /// Model: `brown_conrady`, `brown_conrady_k6` or `inverse_brown_conrady`.
    pub model: String,
    /// Coefficients, as many as the model has.
    pub parameters: Vec<f64>,
}

/// Pose of a camera in its frame.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Extrinsics {
    /// Translation in millimetres.
    pub translation: Vector3,
    /// Orientation, passed on unchanged: peers disagree about its unit.
    pub orientation: Orientation,
}

resource_api!(
    dyn Camera = "rdk:component:camera" via CameraServiceServer, CameraServiceClient as Client with get_geometries
);

serve! {
    impl CameraService for dyn Camera with get_geometries {
        fn get_images(camera, request: GetImagesRequest) -> GetImagesResponse {
            let sources = request.filter_source_names;
            if let Some(twice) = sources.iter().enumerate().find(|(n, source)| sources[..*n].contains(source)) {
                let text = format_args!("duplicate source name in filter: {}", twice.1);
                return Err(Error::invalid_argument(text));
            }
            let Images { images, captured_at } = camera.images(&sources, &from_struct(request.extra)).await?;
            let images = images.into_iter().map(WireImage::from).collect();
            // Peers fail without this message, so it is there even when it says nothing.
            let response_metadata = Some(ResponseMetadata { captured_at: captured_at.map(Into::into) });
            GetImagesResponse { images, response_metadata }
        }
        fn get_point_cloud(camera, request: GetPointCloudRequest) -> GetPointCloudResponse {
            let PointCloud { mime_type, bytes } =
                camera.point_cloud(&request.mime_type, &from_struct(request.extra)).await?;
            GetPointCloudResponse { mime_type: mime_type.into_owned(), point_cloud: bytes }
        }
        fn get_properties(camera, _request: GetPropertiesRequest) -> GetPropertiesResponse {
            camera.properties().await?.into()
        }
    }
}

#[async_trait]
impl Camera for Client {
    async fn images(&self, sources: &[String], extra: &Object) -> Result<Images> {
        let request = GetImagesRequest {
            name: self.name(),
            filter_source_names: sources.to_vec(),
            extra: to_extra(extra),
        };
        let answer = send!(self.get_images(request))?;
        let images = answer.images.into_iter().map(Image::from).collect();
        let captured_at = answer.response_metadata.and_then(|metadata| metadata.captured_at);
        // A time that the clock of this machine cannot hold is as good as none.
        Ok(Images {
            images,
            captured_at: captured_at.and_then(|time| time.try_into().ok()),
        })
    }

    async fn point_cloud(&self, mime_type: &str, extra: &Object) -> Result<PointCloud> {
        let (name, mime_type, extra) = (self.name(), mime_type.to_owned(), to_extra(extra));
        let answer = send!(self.get_point_cloud(GetPointCloudRequest { name, mime_type, extra }))?;
        Ok(PointCloud {
            mime_type: answer.mime_type.into(),
            bytes: answer.point_cloud,
        })
    }

    async fn properties(&self) -> Result<Properties> {
        Ok(send!(self.get_properties(GetPropertiesRequest { name: self.name() }))?.into())
    }
}

impl From<Image> for WireImage {
    fn from(
        Image {
            source,
            mime_type,
            bytes,
            annotations,
        }: Image,
    ) -> Self {
        let annotations = (annotations != Annotations::default()).then(|| annotations.into());
        Self {
            source_name: source,
            image: bytes,
            mime_type: mime_type.into_owned(),
            annotations,
        }
    }
}

impl From<WireImage> for Image {
    fn from(
        WireImage {
            source_name,
            image,
            mut mime_type,
            annotations,
        }: WireImage,
    ) -> Self {
        // Old peers say this way that they did not decode the picture.
        if let Some(plain) = mime_type.strip_suffix("+lazy") {
            mime_type.truncate(plain.len());
        }
        let annotations = annotations.unwrap_or_default().into();
        Self {
            source: source_name,
            mime_type: mime_type.into(),
            bytes: image,
            annotations,
        }
    }
}

impl From<Annotations> for data::Annotations {
    fn from(Annotations { boxes, classifications }: Annotations) -> Self {
        let bboxes = boxes.into_iter().map(
            |BoundingBox {
                 id,
                 label,
                 x_min,
                 y_min,
                 x_max,
                 y_max,
                 confidence,
             }| {
                data::BoundingBox {
                    id,
                    label,
                    x_min_normalized: x_min,
                    y_min_normalized: y_min,
                    x_max_normalized: x_max,
                    y_max_normalized: y_max,
                    confidence,
                }
            },
        );
        let classifications = classifications
            .into_iter()
            .map(|Classification { id, label, confidence }| data::Classification { id, label, confidence });
        Self {
            bboxes: bboxes.collect(),
            classifications: classifications.collect(),
        }
    }
}

impl From<data::Annotations> for Annotations {
    fn from(
        data::Annotations {
            bboxes,
            classifications,
        }: data::Annotations,
    ) -> Self {
        let boxes = bboxes.into_iter().map(|found| BoundingBox {
            id: found.id,
            label: found.label,
            x_min: found.x_min_normalized,
            y_min: found.y_min_normalized,
            x_max: found.x_max_normalized,
            y_max: found.y_max_normalized,
            confidence: found.confidence,
        });
        let classifications = classifications
            .into_iter()
            .map(|data::Classification { id, label, confidence }| Classification { id, label, confidence });
        Self {
            boxes: boxes.collect(),
            classifications: classifications.collect(),
        }
    }
}

impl From<Properties> for GetPropertiesResponse {
    fn from(properties: Properties) -> Self {
        Self {
            supports_pcd: properties.supports_pcd,
            intrinsic_parameters: properties.intrinsics.map(|intrinsics| {
                let Intrinsics {
                    width_px,
                    height_px,
                    focal_x_px,
                    focal_y_px,
                    center_x_px,
                    center_y_px,
                } = intrinsics;
                IntrinsicParameters {
                    width_px,
                    height_px,
                    focal_x_px,
                    focal_y_px,
                    center_x_px,
                    center_y_px,
                }
            }),
            distortion_parameters: properties
                .distortion
                .map(|Distortion { model, parameters }| DistortionParameters { model, parameters }),
            mime_types: properties.mime_types,
            frame_rate: properties.frame_rate,
            extrinsic_parameters: properties.extrinsics.map(
                |Extrinsics {
                     translation,
                     orientation,
                 }| {
                    ExtrinsicParameters {
                        translation: Some(translation.into()),
                        orientation: Some(orientation.into()),
                    }
                },
            ),
            default_reference_frame: properties.default_reference_frame,
        }
    }
}

impl From<GetPropertiesResponse> for Properties {
    fn from(answer: GetPropertiesResponse) -> Self {
        Self {
            supports_pcd: answer.supports_pcd,
            intrinsics: answer.intrinsic_parameters.map(|intrinsics| {
                let IntrinsicParameters {
                    width_px,
                    height_px,
                    focal_x_px,
                    focal_y_px,
                    center_x_px,
                    center_y_px,
                } = intrinsics;
                Intrinsics {
                    width_px,
                    height_px,
                    focal_x_px,
                    focal_y_px,
                    center_x_px,
                    center_y_px,
                }
            }),
            // Peers send an empty model where they know none.
            distortion: answer
                .distortion_parameters
                .filter(|distortion| !distortion.model.is_empty())
                .map(|DistortionParameters { model, parameters }| Distortion { model, parameters }),
            extrinsics: answer.extrinsic_parameters.map(
                |ExtrinsicParameters {
                     translation,
                     orientation,
                 }| Extrinsics {
                    translation: translation.unwrap_or_default().into(),
                    orientation: orientation.map_or_else(Orientation::default, Into::into),
                },
            ),
            mime_types: answer.mime_types,
            frame_rate: answer.frame_rate,
            default_reference_frame: answer.default_reference_frame,
        }
    }
}
