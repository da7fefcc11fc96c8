//! Fake `rdk:service:vision`: sees one object in the middle of every picture.

use bytes::Bytes;
use mainstay_module::{
    api::{
        camera::Image,
        vision::{Capture, Captured, Classification, Detection, Properties},
    },
    image::size_of,
    prelude::*,
};

/// Camera that an empty name stands for.
const DEFAULT_CAMERA: &str = "fake_camera";

/// Vision service that always finds the same.
#[derive(Debug)]
pub struct FakeVision {
    name: String,
    /// Cameras are looked for at each call: they need not be there when the service is built.
    dependencies: Dependencies,
}

impl Resource for FakeVision {}

impl FromConfig for FakeVision {
    type Attributes = ();

    async fn from_config(config: Config<()>, dependencies: Dependencies) -> Result<Self> {
        Ok(Self {
            name: config.name,
            dependencies,
        })
    }
}

impl FakeVision {
    /// The first picture of a camera.
    async fn picture(&self, camera: &str) -> Result<Image> {
        let name = if camera.is_empty() { DEFAULT_CAMERA } else { camera };
        let camera = match self.dependencies.get::<dyn Camera>(name) {
            Ok(camera) => camera,
            Err(_) => self.dependencies.robot()?.resource::<dyn Camera>(name)?,
        };
        let images = camera.images(&[], NO_EXTRA).await.map_err(|error| {
            let gone = matches!(
                error.code(),
                mainstay_module::Code::NotFound | mainstay_module::Code::Unimplemented
            ) || error.message().starts_with("no node found");
            if gone {
                return Error::unknown(format_args!(
                    "could not find camera named {name}: no node found with api rdk:component:camera and name {name}"
                ));
            }
            error
        })?;
        let first = images.images.into_iter().next();
        first.ok_or_else(|| Error::unknown(format_args!("camera `{name}` has no picture")))
    }
}

/// The object in a picture of this size: from a quarter to three quarters of both edges, in whole pixels.
fn object(width: i64, height: i64) -> Detection {
    let part = |edge: i64, quarters: i64| edge.saturating_mul(quarters) / 4;
    let (x_min, y_min, x_max, y_max) = (part(width, 1), part(height, 1), part(width, 3), part(height, 3));
    let share = |pixel: i64, edge: i64| pixel as f64 / edge as f64;
    let whole = width > 0 && height > 0;
    let normalized = whole.then(|| {
        [
            share(x_min, width),
            share(y_min, height),
            share(x_max, width),
            share(y_max, height),
        ]
    });
    Detection {
        x_min,
        y_min,
        x_max,
        y_max,
        normalized,
        confidence: 0.92,
        class_name: "a_detection".into(),
    }
}

fn in_image(bytes: &[u8]) -> Result<Detection> {
    let size = size_of(bytes)?;
    Ok(object(size.width.into(), size.height.into()))
}

fn class() -> Classification {
    Classification {
        class_name: "a_classification".into(),
        confidence: 0.85,
    }
}

#[async_trait]
impl Vision for FakeVision {
    async fn detections(&self, image: Bytes, _: i64, _: i64, _: &str, _: &Object) -> Result<Vec<Detection>> {
        Ok(vec![in_image(&image)?])
    }

    async fn detections_from_camera(&self, camera: &str, _: &Object) -> Result<Vec<Detection>> {
        Ok(vec![in_image(&self.picture(camera).await?.bytes)?])
    }

    async fn classifications(
        &self,
        _: Bytes,
        _: i32,
        _: i32,
        _: &str,
        _: i32,
        _: &Object,
    ) -> Result<Vec<Classification>> {
        Ok(vec![class()])
    }

    async fn classifications_from_camera(&self, camera: &str, _: i32, _: &Object) -> Result<Vec<Classification>> {
        self.picture(camera).await?;
        Ok(vec![class()])
    }

    async fn object_point_clouds(
        &self,
        _: &str,
        _: &str,
        _: &Object,
    ) -> Result<mainstay_module::api::vision::ObjectPointClouds> {
        let name = &self.name;
        let text = format_args!("vision model \"rdk:service:vision/{name}\" does not implement a 3D segmenter");
        Err(Error::unknown(text))
    }

    async fn properties(&self, _: &Object) -> Result<Properties> {
        Ok(Properties {
            classifications: true,
            detections: true,
            default_camera: Some(DEFAULT_CAMERA.into()),
            ..Properties::default()
        })
    }

    async fn capture_all(&self, camera: &str, wanted: Capture, _: &Object) -> Result<Captured> {
        let mut image = self.picture(camera).await?;
        let mut captured = Captured::default();
        if wanted.detections {
            captured.detections.push(in_image(&image.bytes)?);
        }
        if wanted.classifications {
            captured.classifications.push(class());
        }
        if wanted.image {
            image.source = if camera.is_empty() {
                DEFAULT_CAMERA.into()
            } else {
                camera.into()
            };
            captured.image = image;
        }
        Ok(captured)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mainstay_module::{from_object, image::RgbaImage};

    use super::*;
    use crate::FakeCamera;

    async fn vision(dependencies: Dependencies) -> FakeVision {
        FakeVision::from_config(Config::new("eyes", ()), dependencies)
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn the_object_is_cut_to_whole_pixels() {
        let image = RgbaImage::new(50, 20, vec![0; 50 * 20 * 4]).unwrap().encode();
        let eyes = vision(Dependencies::none()).await;
        let found = eyes
            .detections(image.into(), 1, 1, "image/jpeg", NO_EXTRA)
            .await
            .unwrap();
        assert_eq!(
            (found[0].x_min, found[0].y_min, found[0].x_max, found[0].y_max),
            (12, 5, 37, 15)
        );
        assert_eq!(found[0].normalized, Some([0.24, 0.25, 0.74, 0.75]));
        let error = eyes
            .detections("no picture".into(), 1, 1, "image/jpeg", NO_EXTRA)
            .await
            .unwrap_err();
        assert!(!error.message().is_empty());
        let error = eyes.object_point_clouds("", "", NO_EXTRA).await.unwrap_err();
        assert_eq!(
            error.message(),
            "vision model \"rdk:service:vision/eyes\" does not implement a 3D segmenter"
        );
    }

    #[tokio::test]
    async fn what_is_wanted_of_a_camera_comes_and_no_more() {
        let config = Config::new("c", from_object(object! { "width" => 64, "height" => 48 }).unwrap());
        let camera = Arc::new(FakeCamera::from_config(config, Dependencies::none()).await.unwrap());
        let eyes = vision(Dependencies::none().with::<dyn Camera, FakeCamera>("c", camera)).await;
        let wanted = Capture {
            detections: true,
            object_point_clouds: true,
            ..Capture::default()
        };
        let captured = eyes.capture_all("c", wanted, NO_EXTRA).await.unwrap();
        assert_eq!((captured.detections[0].x_min, captured.detections[0].y_max), (16, 36));
        assert!(captured.classifications.is_empty() && captured.image.bytes.is_empty());
        let all = Capture {
            image: true,
            classifications: true,
            ..Capture::default()
        };
        let captured = eyes.capture_all("c", all, NO_EXTRA).await.unwrap();
        assert_eq!(
            (captured.image.source.as_str(), captured.classifications.len()),
            ("c", 1)
        );
    }
}
