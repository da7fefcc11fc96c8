//! `rdk:component:camera`: pictures and clouds of points. Bytes are shared, never copied on the way.

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

/// `image/jpeg`
pub const JPEG: &str = "image/jpeg";
/// `image/png`
pub const PNG: &str = "image/png";
/// `image/qoi`
pub const QOI: &str = "image/qoi";
/// Pixels as they are: a 12-byte head, then R, G, B, A of each.
pub const RAW_RGBA: &str = "image/vnd.viam.rgba";
/// Distances: a 24-byte head, then big-endian 16-bit millimetres.
pub const RAW_DEPTH: &str = "image/vnd.viam.dep";
/// `pointcloud/pcd`
pub const PCD: &str = "pointcloud/pcd";

/// Takes pictures.
#[async_trait]
pub trait Camera: Resource {
    /// Pictures of one moment, from the named sources, or from all when none is named. No source is named twice.
    async fn images(&self, sources: &[String], extra: &Object) -> Result<Images>;

    /// The points that it sees, in metres. `mime_type` is what the caller would like, mostly [`PCD`].
    async fn point_cloud(&self, mime_type: &str, extra: &Object) -> Result<PointCloud> {
        let _ = (mime_type, extra);
        unimplemented("GetPointCloud")
    }

    /// What this camera can do.
    async fn properties(&self) -> Result<Properties> {
        Ok(Properties::default())
    }
}

/// Pictures of one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Images {
    /// One per source.
    pub images: Vec<Image>,
    /// When they were taken.
    pub captured_at: Option<SystemTime>,
}

/// One picture.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Image {
    /// Which sensor; empty for a camera with one.
    pub source: String,
    /// [`JPEG`] and so on.
    pub mime_type: Cow<'static, str>,
    /// The file.
    pub bytes: Bytes,
    /// What was recognised in it.
    pub annotations: Annotations,
}

/// What was recognised in a picture.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Annotations {
    /// In parts of it.
    pub boxes: Vec<BoundingBox>,
    /// In all of it.
    pub classifications: Vec<Classification>,
}

/// Something in a part of a picture. Places are shares of the width and height, 0 to 1.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "the edges name themselves")]
pub struct BoundingBox {
    /// Given by whoever stores it.
    pub id: String,
    /// What it is.
    pub label: String,
    pub x_min: f64,
    pub y_min: f64,
    pub x_max: f64,
    pub y_max: f64,
    /// 0 to 1.
    pub confidence: Option<f64>,
}

/// What a picture shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Classification {
    /// Given by whoever stores it.
    pub id: String,
    /// What it is.
    pub label: String,
    /// 0 to 1.
    pub confidence: Option<f64>,
}

/// Points in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PointCloud {
    /// [`PCD`].
    pub mime_type: Cow<'static, str>,
    /// The file, in metres.
    pub bytes: Bytes,
}

/// What a camera can do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Properties {
    /// [`Camera::point_cloud`] answers.
    pub supports_pcd: bool,
    /// How it projects.
    pub intrinsics: Option<Intrinsics>,
    /// How its lens bends.
    pub distortion: Option<Distortion>,
    /// Where it sits on its frame.
    pub extrinsics: Option<Extrinsics>,
    /// What [`Camera::images`] may give.
    pub mime_types: Vec<String>,
    /// Pictures per second.
    pub frame_rate: Option<f32>,
    /// The frame that its points are in; empty for its own.
    pub default_reference_frame: String,
}

/// How a camera projects, in pixels.
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

/// How a lens bends.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distortion {
    /// `brown_conrady`, `brown_conrady_k6` or `inverse_brown_conrady`.
    pub model: String,
    /// As many as the model wants.
    pub parameters: Vec<f64>,
}

/// Where a camera sits on its frame.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Extrinsics {
    /// Millimetres.
    pub translation: Vector3,
    /// Passed on as given: peers disagree about its unit.
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
