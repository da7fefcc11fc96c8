//! Fake `rdk:component:camera`: a generated image, still or moving, and its point cloud.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use mainstay_module::{
    api::camera::{Distortion, Image, Images, Intrinsics, JPEG, PCD, PointCloud, Properties},
    prelude::*,
    spatial::{Geometry, Pose, Shape, Vector3},
    spawn_blocking,
};
use tokio::sync::Mutex;

use crate::{
    numbers::whole,
    picture::{Size, jpeg, point_cloud, shift_at},
};

/// Image size of a camera that also streams video.
const VIDEO_SIZE: Size = Size {
    width: 480,
    height: 270,
};
/// Geometry of every fake camera, in millimetres.
const BODY_MM: Vector3 = Vector3 {
    x: 40.0,
    y: 40.0,
    z: 10.0,
};

/// Attributes of [`FakeCamera`].
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Attributes {
    /// Width in pixels, even, at most 10,000; 0 stands for 1280.
    #[serde(deserialize_with = "whole")]
    pub width: i64,
    /// Height in pixels, even, at most 10,000; 0 stands for 720.
    #[serde(deserialize_with = "whole")]
    pub height: i64,
    /// Moves the image to the left, a pixel every 20 ms.
    pub animated: bool,
    /// Makes the camera return (made-up) intrinsics and distortion.
    pub model: bool,
    /// Gives the image the size of a video stream, 480 × 270; the point cloud keeps `width` and `height`.
    pub rtp_passthrough: bool,
}

/// Camera without hardware.
#[derive(Debug)]
pub struct FakeCamera {
    size: Size,
    picture: Size,
    animated: bool,
    model: bool,
    /// Newest image and its shift. Locked while an image is rendered, so that concurrent calls render it once.
    frame: Mutex<Option<(u16, Bytes)>>,
}

impl FakeCamera {
    async fn frame(&self, now: SystemTime) -> Result<Bytes> {
        let picture = self.picture;
        let shift = if self.animated {
            shift_at(unix_ms(now), picture)
        } else {
            0
        };
        let mut frame = self.frame.lock().await;
        match &*frame {
            Some((of, bytes)) if *of == shift => Ok(bytes.clone()),
            _ => {
                let bytes = spawn_blocking(move || jpeg(picture, shift)).await??;
                *frame = Some((shift, bytes.clone()));
                Ok(bytes)
            }
        }
    }
}

fn unix_ms(time: SystemTime) -> u128 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()
}

#[async_trait]
impl Resource for FakeCamera {
    async fn geometries(&self, _: &Object) -> Result<Option<Vec<Geometry>>> {
        let shape = Shape::Cuboid { dims_mm: BODY_MM };
        Ok(Some(vec![Geometry {
            center: Pose::default(),
            shape,
            label: "box".to_owned(),
        }]))
    }
}

impl FromConfig for FakeCamera {
    type Attributes = Attributes;

    fn validate(config: &Config<Attributes>) -> Result<DependencySpec> {
        Size::of(config.attributes.width, config.attributes.height)?;
        Ok(DependencySpec::none())
    }

    async fn from_config(config: Config<Attributes>, _: Dependencies) -> Result<Self> {
        let Attributes {
            width,
            height,
            animated,
            model,
            rtp_passthrough,
        } = config.attributes;
        let size = Size::of(width, height)?;
        let picture = if rtp_passthrough { VIDEO_SIZE } else { size };
        Ok(Self {
            size,
            picture,
            animated,
            model,
            frame: Mutex::new(None),
        })
    }
}

#[async_trait]
impl Camera for FakeCamera {
    async fn images(&self, _: &[String], _: &Object) -> Result<Images> {
        let now = SystemTime::now();
        // It has one source without a name, which answers to every name.
        let image = Image {
            mime_type: JPEG.into(),
            bytes: self.frame(now).await?,
            ..Image::default()
        };
        Ok(Images {
            images: vec![image],
            captured_at: Some(now),
        })
    }

    async fn point_cloud(&self, _: &str, _: &Object) -> Result<PointCloud> {
        // Made anew for each call: it is hundreds of times as large as the picture, and seldom asked for.
        let size = self.size;
        Ok(PointCloud {
            mime_type: PCD.into(),
            bytes: spawn_blocking(move || point_cloud(size)).await??,
        })
    }

    async fn properties(&self) -> Result<Properties> {
        let Size { width, height } = self.size;
        let intrinsics = Intrinsics {
            width_px: width.into(),
            height_px: height.into(),
            focal_x_px: 821.326_428_89,
            focal_y_px: 821.686_073_59,
            center_x_px: 494.959_414_28,
            center_y_px: 370.705_295_34,
        };
        let distortion = Distortion {
            model: "brown_conrady".to_owned(),
            parameters: vec![0.112_972_34, -0.213_753_32, -0.015_847_74, -0.003_020_02, 0.199_692_97],
        };
        Ok(Properties {
            supports_pcd: true,
            intrinsics: self.model.then_some(intrinsics),
            distortion: self.model.then_some(distortion),
            ..Properties::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mainstay_module::from_object;

    use super::*;

    async fn camera(attributes: Object) -> Result<FakeCamera> {
        let config = Config::new("camera", from_object::<Attributes>(attributes)?);
        FakeCamera::validate(&config)?;
        FakeCamera::from_config(config, Dependencies::none()).await
    }

    #[tokio::test]
    async fn every_source_gives_the_same_frame_from_memory() {
        let camera = camera(object! { "width" => 32, "height" => 16 }).await.unwrap();
        let first = camera.images(&[], NO_EXTRA).await.unwrap();
        let again = camera.images(&["any".into()], NO_EXTRA).await.unwrap();
        let ([one], [two]) = (first.images.as_slice(), again.images.as_slice()) else {
            panic!("one image each")
        };
        assert_eq!((one.source.as_str(), &*one.mime_type), ("", "image/jpeg"));
        assert_eq!(one.bytes.as_ptr(), two.bytes.as_ptr());
        assert!(first.captured_at.unwrap() <= again.captured_at.unwrap());
    }

    #[tokio::test]
    async fn an_animated_camera_makes_one_frame_per_step_of_its_motion() {
        let camera = camera(object! { "width" => 32, "height" => 16, "animated" => true })
            .await
            .unwrap();
        let at = |ms| UNIX_EPOCH + Duration::from_millis(ms);
        let first = camera.frame(at(0)).await.unwrap();
        assert_eq!(camera.frame(at(19)).await.unwrap().as_ptr(), first.as_ptr());
        assert_ne!(camera.frame(at(20 * 16)).await.unwrap(), first);
    }

    #[tokio::test]
    async fn a_point_cloud_has_the_configured_size_also_beside_a_video() {
        let camera = camera(object! { "width" => 4, "height" => 2, "rtp_passthrough" => true })
            .await
            .unwrap();
        let cloud = camera.point_cloud("anything", NO_EXTRA).await.unwrap();
        assert_eq!(cloud.mime_type, "pointcloud/pcd");
        assert!(cloud.bytes.windows(9).any(|window| window == b"POINTS 8\n"));
        let frame = camera.frame(SystemTime::now()).await.unwrap();
        let (height, width) = (270_u16.to_be_bytes(), 480_u16.to_be_bytes());
        assert!(
            frame
                .windows(4)
                .any(|window| window == [height[0], height[1], width[0], width[1]])
        );
    }

    #[tokio::test]
    async fn only_a_modelled_lens_has_intrinsics() {
        let plain = camera(Object::new()).await.unwrap().properties().await.unwrap();
        assert_eq!(
            plain,
            Properties {
                supports_pcd: true,
                ..Properties::default()
            }
        );
        let modelled = camera(object! { "model" => true, "width" => 640 })
            .await
            .unwrap()
            .properties()
            .await
            .unwrap();
        let intrinsics = modelled.intrinsics.unwrap();
        assert_eq!(
            (intrinsics.width_px, intrinsics.height_px, intrinsics.focal_x_px),
            (640, 720, 821.32642889)
        );
        assert_eq!(modelled.distortion.unwrap().parameters.len(), 5);
    }

    #[tokio::test]
    async fn its_body_is_a_box_and_its_size_is_checked() {
        let camera_of_default_size = camera(Object::new()).await.unwrap();
        let geometries = camera_of_default_size.geometries(NO_EXTRA).await.unwrap().unwrap();
        assert_eq!((geometries.len(), geometries[0].label.as_str()), (1, "box"));
        let error = camera(object! { "width" => 3 }).await.unwrap_err();
        assert_eq!(
            error.message(),
            "odd-number resolutions cannot be rendered, cannot use a width of 3"
        );
    }
}
