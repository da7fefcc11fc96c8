//! Fake `rdk:service:slam`: a room that is mapped further with each look, over and over.

use std::{
    f64::consts::TAU,
    sync::atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use futures_util::stream;
use mainstay_module::{
    api::slam::{MappingMode, Properties, Sensor as SlamSensor, SensorType},
    pcd::{Color, Point, Points},
    prelude::*,
    spatial::{Orientation, Pose, Vector3},
};

/// Maps before it begins anew.
const MAPS: usize = 24;
/// Bytes of one answer of a stream.
const CHUNK: usize = 1024 * 1024;

/// SLAM service in a room of 8 by 6 metres, around which it goes once.
#[derive(Debug, Default)]
pub struct FakeSlam {
    /// Looks so far.
    looks: AtomicUsize,
}

impl Resource for FakeSlam {}

impl FromConfig for FakeSlam {
    type Attributes = ();

    async fn from_config(_: Config<()>, _: Dependencies) -> Result<Self> {
        Ok(Self::default())
    }
}

impl FakeSlam {
    /// The present map; the first look is at map 0.
    fn index(&self) -> usize {
        self.looks.load(Ordering::Relaxed).saturating_sub(1) % MAPS
    }
}

/// Where the machine is at map `index`: on a circle of 2 m, looking ahead.
fn pose(index: usize) -> Pose {
    let angle = TAU * index as f64 / MAPS as f64;
    let position = Vector3 {
        x: 2000.0 * angle.cos(),
        y: 2000.0 * angle.sin(),
        z: 0.0,
    };
    let theta = (angle.to_degrees() + 90.0) % 360.0;
    Pose {
        position,
        orientation: Orientation {
            theta,
            ..Orientation::default()
        },
    }
}

/// Map `index`: the part of the walls that has been seen by then, from the floor to 2 m.
fn map(index: usize) -> Points {
    let seen = TAU * (index + 1) as f64 / MAPS as f64;
    let mut points = Vec::new();
    let steps = 360 * (index + 1) / MAPS;
    for step in 0..steps {
        let angle = seen * step as f64 / steps as f64;
        // The wall that a ray from the middle meets.
        let reach = (4000.0 / angle.cos().abs()).min(3000.0 / angle.sin().abs());
        for level in 0..5 {
            let position_mm = Vector3 {
                x: reach * angle.cos(),
                y: reach * angle.sin(),
                z: 500.0 * f64::from(level),
            };
            // In maps the blue part is how sure a point is.
            points.push(Point {
                position_mm,
                color: Some(Color { r: 0, g: 0, b: 100 }),
            });
        }
    }
    Points { points }
}

fn chunks(bytes: Vec<u8>) -> Streaming<Bytes> {
    let bytes = Bytes::from(bytes);
    let starts = (0..bytes.len()).step_by(CHUNK);
    let chunks: Vec<_> = starts
        .map(|start| Ok(bytes.slice(start..bytes.len().min(start + CHUNK))))
        .collect();
    Box::pin(stream::iter(chunks))
}

#[async_trait]
impl Slam for FakeSlam {
    async fn position(&self) -> Result<Pose> {
        Ok(pose(self.index()))
    }

    async fn point_cloud_map(&self, _: Option<bool>) -> Result<Streaming<Bytes>> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        Ok(chunks(map(self.index()).to_pcd()))
    }

    async fn internal_state(&self) -> Result<Streaming<Bytes>> {
        Ok(chunks(format!("fake internal state {}\n", self.index()).into_bytes()))
    }

    async fn properties(&self) -> Result<Properties> {
        let sensor = |name: &str, kind| SlamSensor {
            name: name.into(),
            kind,
        };
        Ok(Properties {
            internal_state_file_type: Some(".pbstream".into()),
            sensors: vec![
                sensor("my-camera", SensorType::Camera),
                sensor("my-movement-sensor", SensorType::MovementSensor),
            ],
            ..Properties::new(MappingMode::LocalizeOnly)
        })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;

    #[tokio::test]
    async fn each_look_sees_more_until_it_begins_anew() {
        let slam = FakeSlam::default();
        let mut sizes = Vec::new();
        for index in 0..=MAPS {
            let pieces: Vec<_> = slam.point_cloud_map(None).await.unwrap().collect().await;
            let pcd: Vec<u8> = pieces.into_iter().flat_map(|piece| piece.unwrap().to_vec()).collect();
            sizes.push(Points::from_pcd(&pcd).unwrap().points.len());
            assert_eq!(slam.position().await.unwrap(), pose(index % MAPS));
        }
        assert!(sizes[..MAPS].is_sorted_by(|less, more| less < more), "{sizes:?}");
        assert_eq!(sizes[0], sizes[MAPS]);
        assert_eq!(pose(6).position.y.round(), 2000.0);
        assert_eq!(pose(6).orientation.theta.round(), 180.0);
    }
}
