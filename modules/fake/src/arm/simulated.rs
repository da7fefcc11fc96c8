//! Simulated `rdk:component:arm`: each joint moves at the same time along a straight line, the slowest at full speed.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::StreamExt;
use mainstay_module::{
    api::arm::{Kinematics, MoveOptions, Properties, TrajectoryPoint},
    kinematics::Mechanism,
    prelude::*,
    spatial::{Geometry, Pose},
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::{check_point, geometries, model_of, solve};

/// Attributes of [`SimulatedArm`]. `acceleration`, `path-tolerance` and `simulate-time` are accepted; time always goes on,
/// and speed is reached at once.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Attributes {
    /// Name of a known arm.
    #[serde(rename = "arm-model")]
    pub arm_model: String,
    /// Kinematics file, SVA or URDF, instead of a known arm.
    #[serde(rename = "model-path")]
    pub model_path: String,
    /// Speed of each joint in radians per second (millimetres for one that slides); 1 if absent.
    pub speed: Option<f64>,
    /// Accepted.
    pub acceleration: Option<f64>,
    /// Accepted.
    #[serde(rename = "path-tolerance")]
    pub path_tolerance: Option<f64>,
    /// Accepted.
    #[serde(rename = "simulate-time")]
    pub simulate_time: bool,
}

/// Arm that takes its time.
#[derive(Debug)]
pub struct SimulatedArm {
    name: String,
    model: Arc<Mechanism>,
    /// Degrees (or millimetres) per second.
    speed: f64,
    motion: Mutex<Motion>,
    stopped: Notify,
}

/// Motion along a straight line between joint positions; one that has ended stands at its end.
#[derive(Debug)]
struct Motion {
    from: Vec<f64>,
    to: Vec<f64>,
    start: Instant,
    duration: Duration,
    /// True from the first move of a call to its end.
    busy: bool,
}

impl Motion {
    fn at(&self, now: Instant) -> Vec<f64> {
        let elapsed = now.saturating_duration_since(self.start);
        if elapsed >= self.duration {
            return self.to.clone();
        }
        let share = elapsed.as_secs_f64() / self.duration.as_secs_f64();
        self.from
            .iter()
            .zip(&self.to)
            .map(|(from, to)| from + share * (to - from))
            .collect()
    }
}

/// Marks the arm as moving until it is dropped, which a call is that its caller leaves: then it stands where it is.
struct Busy<'a>(&'a SimulatedArm);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.halt();
    }
}

impl SimulatedArm {
    fn motion<T>(&self, with: impl FnOnce(&mut Motion) -> T) -> T {
        with(&mut self.motion.lock().expect("nobody panics with it"))
    }

    fn positions(&self) -> Vec<f64> {
        self.motion(|motion| motion.at(Instant::now()))
    }

    /// Begins a call that moves the arm.
    fn begin(&self) -> Result<Busy<'_>> {
        if self.motion(|motion| std::mem::replace(&mut motion.busy, true)) {
            return Err(Error::unknown("arm is already moving"));
        }
        Ok(Busy(self))
    }

    /// Stands where it is.
    fn halt(&self) {
        self.motion(|motion| {
            let here = motion.at(Instant::now());
            (motion.from, motion.to) = (here.clone(), here);
            (motion.duration, motion.busy) = (Duration::ZERO, false);
        });
    }

    /// Moves along one line, and waits for its end.
    async fn run(&self, to: &[f64], speed: f64) -> Result<()> {
        let stopped = self.stopped.notified();
        let end = self.motion(|motion| {
            let from = motion.at(Instant::now());
            let way = from
                .iter()
                .zip(to)
                .map(|(from, to)| (to - from).abs())
                .fold(0.0, f64::max);
            motion.start = Instant::now();
            motion.duration = Duration::try_from_secs_f64(way / speed).unwrap_or(Duration::MAX);
            (motion.from, motion.to) = (from, to.to_vec());
            motion.start.checked_add(motion.duration)
        });
        let end = end.ok_or_else(|| Error::invalid_argument("this move would never end"))?;
        tokio::select! {
            () = sleep_until(end) => Ok(()),
            () = stopped => Err(Error::unknown("stopped before reaching target")),
        }
    }

    async fn run_through(&self, positions: &[Vec<f64>], speed: f64) -> Result<()> {
        let mut before = self.positions();
        for positions in positions {
            self.model.check(Some(&before), positions)?;
            before.clone_from(positions);
        }
        let _busy = self.begin()?;
        for positions in positions {
            self.run(positions, speed).await?;
        }
        Ok(())
    }
}

impl FromConfig for SimulatedArm {
    type Attributes = Attributes;

    fn validate(config: &Config<Attributes>) -> Result<DependencySpec> {
        let Attributes {
            arm_model,
            model_path,
            speed,
            ..
        } = &config.attributes;
        if arm_model.is_empty() && model_path.is_empty() {
            return Err(Error::invalid_argument("a model must be defined for a simulated arm"));
        }
        if let Some(speed) = speed.filter(|speed| !(speed.is_finite() && *speed > 0.0)) {
            return Err(Error::invalid_argument(format_args!(
                "`speed` is {speed}; it must be above 0"
            )));
        }
        if model_path.is_empty() || !arm_model.is_empty() {
            model_of(arm_model, model_path, "simulated")?;
        }
        Ok(DependencySpec::none())
    }

    async fn from_config(config: Config<Attributes>, _: Dependencies) -> Result<Self> {
        let Attributes {
            arm_model,
            model_path,
            speed,
            ..
        } = config.attributes;
        let model = Arc::new(model_of(&arm_model, &model_path, "simulated")?);
        let zero = vec![0.0; model.dof()];
        let motion = Motion {
            from: zero.clone(),
            to: zero,
            start: Instant::now(),
            duration: Duration::ZERO,
            busy: false,
        };
        Ok(Self {
            name: config.name,
            model,
            speed: speed.unwrap_or(1.0).to_degrees(),
            motion: Mutex::new(motion),
            stopped: Notify::new(),
        })
    }
}

#[async_trait]
impl Resource for SimulatedArm {
    async fn geometries(&self, _: &Object) -> Result<Option<Vec<Geometry>>> {
        geometries(&self.name, &self.model, &self.positions()).map(Some)
    }
}

#[async_trait]
impl Arm for SimulatedArm {
    async fn end_position(&self, _: &Object) -> Result<Pose> {
        Ok(self.model.end_pose(&self.positions())?.into())
    }

    async fn joint_positions(&self, _: &Object) -> Result<Vec<f64>> {
        Ok(self.positions())
    }

    async fn move_to_position(&self, pose: Pose, _: &Object) -> Result<()> {
        let solved = solve(&self.model, self.positions(), pose).await?;
        self.run_through(&[solved], self.speed).await
    }

    async fn move_to_joint_positions(&self, positions: &[f64], _: &Object) -> Result<()> {
        self.run_through(&[positions.to_vec()], self.speed).await
    }

    async fn move_through_joint_positions(
        &self,
        positions: &[Vec<f64>],
        options: Option<MoveOptions>,
        _: &Object,
    ) -> Result<()> {
        let ceiling = options
            .and_then(|options| options.max_vel_degs_per_sec)
            .filter(|ceiling| *ceiling > 0.0);
        self.run_through(positions, ceiling.map_or(self.speed, |ceiling| ceiling.min(self.speed)))
            .await
    }

    async fn follow_trajectory(&self, mut points: Streaming<Vec<TrajectoryPoint>>, _: &Object) -> Result<()> {
        let _busy = self.begin()?;
        while let Some(batch) = points.next().await {
            for point in batch? {
                check_point(&self.model, &point)?;
                self.model.check(Some(&self.positions()), &point.positions)?;
                self.run(&point.positions, self.speed).await?;
            }
        }
        Ok(())
    }

    async fn stop(&self, _: &Object) -> Result<()> {
        self.halt();
        self.stopped.notify_waiters();
        Ok(())
    }

    async fn is_moving(&self) -> Result<bool> {
        Ok(self.motion(|motion| motion.busy))
    }

    async fn kinematics(&self, _: bool, _: bool, _: &Object) -> Result<Kinematics> {
        Ok(self.model.to_kinematics())
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
    use mainstay_module::from_object;
    use tokio::time::{sleep, timeout};

    use super::*;

    async fn arm(attributes: Object) -> Result<SimulatedArm> {
        let config = Config::new("picker", from_object::<Attributes>(attributes)?);
        SimulatedArm::validate(&config)?;
        SimulatedArm::from_config(config, Dependencies::none()).await
    }

    #[tokio::test(start_paused = true)]
    async fn it_takes_as_long_as_its_slowest_joint_and_can_be_stopped_on_its_way() {
        let speed = 10_f64.to_radians();
        let picker = arm(object! { "arm-model" => "ur5e", "speed" => speed }).await.unwrap();
        let start = Instant::now();
        picker
            .move_to_joint_positions(&[10.0, 0.0, 0.0, 0.0, 0.0, 20.0], NO_EXTRA)
            .await
            .unwrap();
        assert!((start.elapsed().as_secs_f64() - 2.0).abs() < 0.01);
        let zero = vec![0.0; 6];
        let (moved, ()) = tokio::join!(picker.move_to_joint_positions(&zero, NO_EXTRA), async {
            sleep(Duration::from_secs(1)).await;
            assert!(picker.is_moving().await.unwrap());
            let error = picker.move_to_joint_positions(&zero, NO_EXTRA).await.unwrap_err();
            assert_eq!(error.message(), "arm is already moving");
            picker.stop(NO_EXTRA).await.unwrap();
        });
        assert_eq!(moved.unwrap_err().message(), "stopped before reaching target");
        let here = picker.joint_positions(NO_EXTRA).await.unwrap();
        assert!((here[5] - 10.0).abs() < 0.1 && (here[0] - 5.0).abs() < 0.1, "{here:?}");
        assert!(!picker.is_moving().await.unwrap());
        // A caller that leaves.
        let left = timeout(
            Duration::from_millis(500),
            picker.move_to_joint_positions(&zero, NO_EXTRA),
        )
        .await;
        assert!(left.is_err() && !picker.is_moving().await.unwrap());
        let here = picker.joint_positions(NO_EXTRA).await.unwrap();
        sleep(Duration::from_secs(5)).await;
        assert_eq!(picker.joint_positions(NO_EXTRA).await.unwrap(), here);
        let through = [vec![5.0; 6], vec![0.0; 6]];
        let slow = MoveOptions {
            max_vel_degs_per_sec: Some(1.0),
            ..MoveOptions::default()
        };
        let start = Instant::now();
        picker
            .move_through_joint_positions(&through, Some(slow), NO_EXTRA)
            .await
            .unwrap();
        assert!(start.elapsed() > Duration::from_secs(5), "{:?}", start.elapsed());
    }

    #[tokio::test]
    async fn it_needs_a_model_and_a_speed() {
        let error = arm(Object::new()).await.unwrap_err();
        assert_eq!(error.message(), "a model must be defined for a simulated arm");
        assert!(arm(object! { "arm-model" => "simulated", "speed" => 0 }).await.is_err());
        assert!(
            arm(object! { "arm-model" => "simulated", "simulate-time" => true })
                .await
                .is_ok()
        );
    }
}
