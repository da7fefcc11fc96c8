//! Fake `rdk:service:world_state_store`: three solids that move, and a box that comes and goes; or a landscape of points.

use std::{
    collections::BTreeMap,
    f64::consts::TAU,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use mainstay_module::{
    api::world::PoseInFrame,
    api::world_state_store::{Change, ChangeType, Transform},
    pcd::{Color, Point, Points},
    prelude::*,
    spatial::{Geometry, Orientation, Pose, Shape, Vector3},
};
use tokio::{
    sync::broadcast,
    time::{Instant, sleep},
};

/// Frames per second at the start.
const FPS: f64 = 10.0;
/// Time after which a box comes or goes.
const TURN: Duration = Duration::from_secs(3);
/// Changes that a reader may be late; more are lost.
const BACKLOG: usize = 100;

/// Attributes of [`FakeWorldStateStore`].
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Attributes {
    /// `moving_geos` or `pcd_stream`; anything else is as the first.
    #[serde(rename = "worldName")]
    pub world_name: String,
}

/// World state store of things that are not there.
#[derive(Debug)]
pub struct FakeWorldStateStore(Arc<World>);

#[derive(Debug)]
struct World {
    transforms: Mutex<BTreeMap<Bytes, Transform>>,
    fps: Mutex<f64>,
    changes: broadcast::Sender<Change>,
}

impl FromConfig for FakeWorldStateStore {
    type Attributes = Attributes;

    async fn from_config(config: Config<Attributes>, _: Dependencies) -> Result<Self> {
        let still = config.attributes.world_name == "pcd_stream";
        let first = if still { vec![landscape()] } else { solids(0.0) };
        let world = Arc::new(World {
            transforms: Mutex::new(
                first
                    .into_iter()
                    .map(|transform| (transform.uuid.clone(), transform))
                    .collect(),
            ),
            fps: Mutex::new(FPS),
            changes: broadcast::Sender::new(BACKLOG),
        });
        if !still {
            config.tasks.spawn(run(world.clone()));
        }
        Ok(Self(world))
    }
}

/// Moves the solids for as long as the store is there.
async fn run(world: Arc<World>) {
    let start = Instant::now();
    let mut turns = 0;
    loop {
        let pause = 1.0 / *world.fps.lock().expect("nobody panics with it");
        sleep(Duration::from_secs_f64(pause.min(1e6))).await;
        let elapsed = start.elapsed();
        for (transform, path) in solids(elapsed.as_secs_f64()).into_iter().zip(PATHS) {
            world.put(transform, ChangeType::Updated, vec![path.to_owned()]);
        }
        let due = u32::try_from(elapsed.as_secs() / TURN.as_secs()).unwrap_or(u32::MAX);
        while turns < due {
            world.turn(turns, elapsed);
            turns += 1;
        }
    }
}

impl World {
    fn put(&self, transform: Transform, change: ChangeType, updated_fields: Vec<String>) {
        let mut transforms = self.transforms.lock().expect("nobody panics with it");
        transforms.insert(transform.uuid.clone(), transform.clone());
        // Nobody need listen.
        let _ = self.changes.send(Change {
            change,
            transform,
            updated_fields,
        });
    }

    /// Adds the box that comes and goes, or removes it: before the box, the sphere and the capsule in turn.
    fn turn(&self, n: u32, elapsed: Duration) {
        let mut transforms = self.transforms.lock().expect("nobody panics with it");
        let there = transforms.keys().find(|uuid| uuid.starts_with(b"box-front-")).cloned();
        if let Some(transform) = there.and_then(|uuid| transforms.remove(&uuid)) {
            let gone = Change {
                change: ChangeType::Removed,
                transform,
                updated_fields: Vec::new(),
            };
            let _ = self.changes.send(gone);
            return;
        }
        drop(transforms);
        let (before, x) = [("box", -5000.0), ("sphere", 0.0), ("capsule", 5000.0)][(n / 2 % 3) as usize];
        let dims_mm = Vector3 {
            x: 500.0,
            y: 500.0,
            z: 500.0,
        };
        let uuid = format!("box-front-{before}-{}", elapsed.as_nanos());
        let place = Vector3 { x, y: -2000.0, z: 0.0 };
        let added = solid(
            &uuid,
            "dynamic-box",
            place,
            Shape::Cuboid { dims_mm },
            [255, 0, 255],
            0.3,
        );
        self.put(added, ChangeType::Added, Vec::new());
    }
}

/// What changes of each of [`solids`].
const PATHS: [&str; 3] = [
    "poseInObserverFrame.pose.theta",
    "poseInObserverFrame.pose.y",
    "physicalObject.geometryType.value.radiusMm",
];

/// The three solids, this many seconds after the start.
fn solids(seconds: f64) -> Vec<Transform> {
    let phase = TAU * seconds / 5.0;
    let at = |x, y| Vector3 { x, y, z: 0.0 };
    let dims_mm = Vector3 {
        x: 1000.0,
        y: 1000.0,
        z: 1000.0,
    };
    let mut cuboid = solid(
        "box-001",
        "static-box",
        at(-5000.0, 0.0),
        Shape::Cuboid { dims_mm },
        [255, 0, 0],
        0.5,
    );
    cuboid.pose.pose.orientation.theta = (seconds / 5.0).fract() * 360.0;
    let sphere = Shape::Sphere { radius_mm: 500.0 };
    let sphere = solid(
        "sphere-001",
        "static-sphere",
        at(0.0, 2000.0 * phase.sin()),
        sphere,
        [0, 0, 255],
        0.7,
    );
    let scale = 1.0 + 0.5 * phase.sin();
    let capsule = Shape::Capsule {
        radius_mm: 125.0 * scale,
        length_mm: 1000.0 * scale,
    };
    let capsule = solid(
        "capsule-001",
        "static-capsule",
        at(5000.0, 0.0),
        capsule,
        [0, 255, 0],
        1.0,
    );
    vec![cuboid, sphere, capsule]
}

fn solid(uuid: &str, frame: &str, position: Vector3, shape: Shape, [r, g, b]: [u8; 3], opacity: f64) -> Transform {
    let pose = Pose {
        position,
        orientation: Orientation::default(),
    };
    Transform {
        frame: frame.into(),
        pose: PoseInFrame {
            frame: "world".into(),
            pose,
            tolerance: None,
        },
        geometry: Some(Geometry {
            center: Pose::default(),
            shape,
            label: String::new(),
        }),
        uuid: Bytes::copy_from_slice(uuid.as_bytes()),
        metadata: object! { "color" => object! { "r" => r, "g" => g, "b" => b }, "opacity" => opacity },
    }
}

/// Hills of 100 by 100 points, 10 mm apart.
fn landscape() -> Transform {
    const SIDE: i32 = 100;
    let mut points = Vec::new();
    for (x, y) in (0..SIDE).flat_map(|x| (0..SIDE).map(move |y| (x, y))) {
        let (fx, fy) = (f64::from(x), f64::from(y));
        let height = (fx / 17.0).sin() * (fy / 23.0).cos() + 0.4 * (fx / 7.0 + fy / 11.0).sin();
        let shade = ((height + 1.4) / 2.8 * 255.0) as u8;
        let position_mm = Vector3 {
            x: fx * 10.0,
            y: fy * 10.0,
            z: height * 100.0,
        };
        let color = Some(Color {
            r: shade,
            g: 255 - shade,
            b: 64,
        });
        points.push(Point { position_mm, color });
    }
    let pcd = Points { points }.to_pcd();
    let cloud = Shape::PointCloud(pcd.into());
    solid(
        "pointcloud-001",
        "static-pointcloud",
        Vector3::default(),
        cloud,
        [0, 0, 0],
        1.0,
    )
}

#[async_trait]
impl Resource for FakeWorldStateStore {
    async fn do_command(&self, command: Object) -> Result<Object> {
        let Some(fps) = command.get("fps").and_then(Value::as_f64) else {
            return Ok(object! { "status" => "command not implemented" });
        };
        if fps.is_nan() || fps <= 0.0 {
            return Err(Error::unknown("fps must be greater than 0"));
        }
        *self.0.fps.lock().expect("nobody panics with it") = fps;
        Ok(object! { "status" => format!("fps set to {fps:.2}") })
    }
}

#[async_trait]
impl WorldStateStore for FakeWorldStateStore {
    async fn uuids(&self, _: &Object) -> Result<Vec<Bytes>> {
        Ok(self
            .0
            .transforms
            .lock()
            .expect("nobody panics with it")
            .keys()
            .cloned()
            .collect())
    }

    async fn transform(&self, uuid: Bytes, _: &Object) -> Result<Transform> {
        let transforms = self.0.transforms.lock().expect("nobody panics with it");
        transforms
            .get(&uuid)
            .cloned()
            .ok_or_else(|| Error::unknown("transform not found"))
    }

    async fn changes(&self, _: &Object) -> Result<Streaming<Change>> {
        let changes = self.0.changes.subscribe();
        Ok(Box::pin(stream::unfold(changes, |mut changes| async move {
            loop {
                match changes.recv().await {
                    Ok(change) => return Some((Ok(change), changes)),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        })))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;

    async fn store(name: &str) -> (FakeWorldStateStore, Config<()>) {
        let config = Config::new(
            "w",
            Attributes {
                world_name: name.into(),
            },
        );
        let kept = Config::new("w", ());
        (
            FakeWorldStateStore::from_config(config, Dependencies::none())
                .await
                .unwrap(),
            kept,
        )
    }

    #[tokio::test(start_paused = true)]
    async fn solids_move_and_a_box_comes_and_goes() {
        let (store, _kept) = store("").await;
        let mut changes = store.changes(NO_EXTRA).await.unwrap();
        let first = changes.next().await.unwrap().unwrap();
        assert_eq!(
            (first.change, first.transform.frame.as_str()),
            (ChangeType::Updated, "static-box")
        );
        assert!((first.transform.pose.pose.orientation.theta - 7.2).abs() < 0.2);
        let mut seen = Vec::new();
        while seen.len() < 4 {
            let change = changes.next().await.unwrap().unwrap();
            if change.change != ChangeType::Updated {
                seen.push((change.change, change.transform.pose.pose.position.x));
            }
        }
        let (added, removed) = (ChangeType::Added, ChangeType::Removed);
        assert_eq!(
            seen,
            [(added, -5000.0), (removed, -5000.0), (added, 0.0), (removed, 0.0)]
        );
        assert_eq!(store.uuids(NO_EXTRA).await.unwrap().len(), 3);
        let error = store.transform("none".into(), NO_EXTRA).await.unwrap_err();
        assert_eq!(error.message(), "transform not found");
    }

    #[tokio::test]
    async fn commands_set_the_pace() {
        let (store, _kept) = store("pcd_stream").await;
        for (command, answer) in [
            (object! { "fps" => 2 }, Ok("fps set to 2.00")),
            (object! { "fps" => 0 }, Err("fps must be greater than 0")),
            (object! { "speed" => 1 }, Ok("command not implemented")),
        ] {
            let got = store.do_command(command).await;
            match answer {
                Ok(text) => assert_eq!(got.unwrap()["status"].as_str(), Some(text)),
                Err(text) => assert_eq!(got.unwrap_err().message(), text),
            }
        }
        let points = store.transform("pointcloud-001".into(), NO_EXTRA).await.unwrap();
        let Some(Geometry {
            shape: Shape::PointCloud(pcd),
            ..
        }) = points.geometry
        else {
            panic!("no points")
        };
        assert!(pcd.len() > 100 * 100 * 16);
    }
}
