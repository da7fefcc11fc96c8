//! Fake `rdk:component:arm`: one that jumps to where it is told (`fake`), and one that takes its time (`simulated`).

mod inverse;
mod models;
mod simulated;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use futures_util::StreamExt;
use mainstay_module::{
    api::arm::{Kinematics, Mesh, Properties, TrajectoryPoint},
    kinematics::Mechanism,
    prelude::*,
    spatial::{Geometry, Pose},
    spawn_blocking,
};

pub use self::simulated::SimulatedArm;
use crate::gantry::model_at;

/// Attributes of [`FakeArm`].
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Attributes {
    /// Name of a known arm.
    #[serde(rename = "arm-model")]
    pub arm_model: String,
    /// Kinematics file, SVA or URDF, instead of a known arm.
    #[serde(rename = "model-path")]
    pub model_path: String,
}

/// Arm that jumps.
#[derive(Debug)]
pub struct FakeArm {
    name: String,
    model: Arc<Mechanism>,
    positions: Mutex<Vec<f64>>,
}

/// The model that attributes name; without any `otherwise`.
fn model_of(arm_model: &str, model_path: &str, otherwise: &str) -> Result<Mechanism> {
    let model = match (arm_model, model_path) {
        ("", "") => models::known(otherwise)?,
        (name, "") => models::known(name)?,
        ("", path) => model_at(path)?,
        _ => {
            let text = "can only populate either ArmModel or ModelPath - not both";
            return Err(Error::invalid_argument(text));
        }
    };
    if model.dof() == 0 {
        return Err(Error::invalid_argument(format_args!(
            "the arm `{}` has no joints",
            model.name()
        )));
    }
    Ok(model)
}

/// Joint positions that bring the end effector to a pose, near the present ones if possible. Computed aside, and given up when
/// the caller goes.
async fn solve(model: &Arc<Mechanism>, from: Vec<f64>, goal: Pose) -> Result<Vec<f64>> {
    let (model, asked) = (model.clone(), Arc::new(()));
    let caller = Arc::downgrade(&asked);
    let solved = spawn_blocking(move || inverse::solve(&model, &from, &goal, &|| caller.strong_count() > 0)).await?;
    drop(asked);
    solved
}

/// Checks a point of a trajectory.
fn check_point(model: &Mechanism, point: &TrajectoryPoint) -> Result<()> {
    let (expected, got) = (model.dof(), point.positions.len());
    if expected != got {
        return Err(Error::invalid_argument(format_args!(
            "invalid trajectory point: array length does not match frame DoF, expected {expected} but got {got}"
        )));
    }
    Ok(())
}

/// Solids of an arm, labelled as `arm:link`.
fn geometries(name: &str, model: &Mechanism, positions: &[f64]) -> Result<Vec<Geometry>> {
    let mut solids = model.geometries(positions)?;
    for solid in &mut solids {
        solid.label = format!("{name}:{}", solid.label);
    }
    Ok(solids)
}

impl FakeArm {
    fn positions(&self) -> Vec<f64> {
        self.positions.lock().expect("nobody panics with it").clone()
    }
}

impl FromConfig for FakeArm {
    type Attributes = Attributes;

    fn validate(config: &Config<Attributes>) -> Result<DependencySpec> {
        let Attributes { arm_model, model_path } = &config.attributes;
        // What a file says may change before it is built.
        if model_path.is_empty() || !arm_model.is_empty() {
            model_of(arm_model, model_path, "fake")?;
        }
        Ok(DependencySpec::none())
    }

    async fn from_config(config: Config<Attributes>, _: Dependencies) -> Result<Self> {
        let Attributes { arm_model, model_path } = config.attributes;
        let model = Arc::new(model_of(&arm_model, &model_path, "fake")?);
        let positions = Mutex::new(vec![0.0; model.dof()]);
        Ok(Self {
            name: config.name,
            model,
            positions,
        })
    }
}

#[async_trait]
impl Resource for FakeArm {
    async fn geometries(&self, _: &Object) -> Result<Option<Vec<Geometry>>> {
        geometries(&self.name, &self.model, &self.positions()).map(Some)
    }
}

#[async_trait]
impl Arm for FakeArm {
    async fn end_position(&self, _: &Object) -> Result<Pose> {
        Ok(self.model.end_pose(&self.positions())?.into())
    }

    async fn joint_positions(&self, _: &Object) -> Result<Vec<f64>> {
        Ok(self.positions())
    }

    async fn move_to_position(&self, pose: Pose, extra: &Object) -> Result<()> {
        let solved = solve(&self.model, self.positions(), pose).await?;
        self.move_to_joint_positions(&solved, extra).await
    }

    async fn move_to_joint_positions(&self, positions: &[f64], _: &Object) -> Result<()> {
        let mut present = self.positions.lock().expect("nobody panics with it");
        self.model.check(Some(&present), positions)?;
        *present = positions.to_vec();
        Ok(())
    }

    async fn follow_trajectory(&self, mut points: Streaming<Vec<TrajectoryPoint>>, _: &Object) -> Result<()> {
        while let Some(batch) = points.next().await {
            for point in batch? {
                check_point(&self.model, &point)?;
                *self.positions.lock().expect("nobody panics with it") = point.positions;
            }
        }
        Ok(())
    }

    async fn stop(&self, _: &Object) -> Result<()> {
        Ok(())
    }

    async fn is_moving(&self) -> Result<bool> {
        Ok(false)
    }

    async fn kinematics(&self, _: bool, _: bool, _: &Object) -> Result<Kinematics> {
        Ok(self.model.to_kinematics())
    }

    async fn models_3d(&self, _: &Object) -> Result<BTreeMap<String, Mesh>> {
        Ok(BTreeMap::new())
    }

    async fn properties(&self, _: &Object) -> Result<Properties> {
        Ok(Properties {
            manual_mode: false,
            cartesian_commands: true,
        })
    }
}

#[cfg(test)]
mod tests {
    use mainstay_module::{from_object, spatial::Transform};

    use super::*;

    async fn arm(attributes: Object) -> Result<FakeArm> {
        let config = Config::new("picker", from_object::<Attributes>(attributes)?);
        FakeArm::validate(&config)?;
        FakeArm::from_config(config, Dependencies::none()).await
    }

    #[tokio::test]
    async fn it_jumps_within_its_limits_and_refuses_all_else_unchanged() {
        let picker = arm(object! { "arm-model" => "xarm6" }).await.unwrap();
        assert_eq!(picker.joint_positions(NO_EXTRA).await.unwrap(), [0.0; 6]);
        let there = [10.0, -20.0, -30.0, 40.0, 50.0, 60.0];
        picker.move_to_joint_positions(&there, NO_EXTRA).await.unwrap();
        for (positions, text) in [
            (
                &[0.0; 5][..],
                "array length does not match frame DoF, expected 6 but got 5",
            ),
            (
                &[0.0, 121.0, 0.0, 0.0, 0.0, 0.0],
                "joint 1 needs to be within range [-118, 120] and cannot be moved to 121",
            ),
        ] {
            let error = picker.move_to_joint_positions(positions, NO_EXTRA).await.unwrap_err();
            assert_eq!(error.message(), text);
        }
        assert_eq!(picker.joint_positions(NO_EXTRA).await.unwrap(), there);
        picker.move_through_joint_positions(&[], None, NO_EXTRA).await.unwrap();
        for attributes in [
            object! { "arm-model" => "xarm6", "model-path" => "x.json" },
            object! { "arm-model" => "no such arm" },
            object! { "model-path" => "/nowhere.urdf" },
        ] {
            assert!(arm(attributes.clone()).await.is_err(), "{attributes:?}");
        }
    }

    #[tokio::test]
    async fn a_pose_that_it_can_reach_is_reached_and_one_too_far_is_refused() {
        for name in ["fake", "ur5e", "ur20", "xarm6", "xarm7", "lite6"] {
            let picker = arm(object! { "arm-model" => name }).await.unwrap();
            let inside = |(n, (_, joint)): (usize, (&str, &mainstay_module::kinematics::Joint))| {
                (12.0 + 7.0 * n as f64).clamp(joint.min + 1.0, joint.max - 1.0)
            };
            let there: Vec<f64> = picker.model.joints().enumerate().map(inside).collect();
            let goal = Pose::from(picker.model.end_pose(&there).unwrap());
            picker
                .move_to_position(goal, NO_EXTRA)
                .await
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            let reached = picker.end_position(NO_EXTRA).await.unwrap();
            assert!(
                Transform::from(reached).is_near(&Transform::from(goal), 0.1, 0.1),
                "{name}"
            );
            let mut far = goal;
            far.position.x += 5000.0;
            let error = picker.move_to_position(far, NO_EXTRA).await.unwrap_err();
            assert!(
                error.message().starts_with("asked for a pose too far max: "),
                "{name}: {error}"
            );
        }
    }

    #[tokio::test]
    async fn a_trajectory_is_followed_point_by_point() {
        let picker = arm(object! { "arm-model" => "ur5e" }).await.unwrap();
        let point = |positions: Vec<f64>| TrajectoryPoint {
            positions,
            ..TrajectoryPoint::default()
        };
        let batches = vec![
            Ok(vec![point(vec![1.0; 6]), point(vec![2.0; 6])]),
            Ok(vec![point(vec![3.0; 5])]),
        ];
        let points = Box::pin(futures_util::stream::iter(batches));
        let error = picker.follow_trajectory(points, NO_EXTRA).await.unwrap_err();
        assert!(
            error.message().starts_with("invalid trajectory point: array length"),
            "{error}"
        );
        assert_eq!(picker.joint_positions(NO_EXTRA).await.unwrap(), [2.0; 6]);
    }
}
