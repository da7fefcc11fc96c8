//! Inverse kinematics: joint positions for a pose, by damped least squares from several starts (Wampler 1986; Buss,
//! "Introduction to Inverse Kinematics", 2004, section 8).

use mainstay_module::{
    kinematics::Mechanism,
    prelude::*,
    spatial::{Pose, Transform},
};
use nalgebra::{DMatrix, DVector};

/// A pose is reached when it is missed by less, in millimetres and in degrees.
const NEAR_MM: f64 = 0.01;
const NEAR_DEGREES: f64 = 0.01;
/// Steps from one start.
const STEPS: usize = 80;
/// Starts.
const STARTS: usize = 40;
/// Samples for the reach.
const SAMPLES: usize = 2000;
/// Weight of a degree as against a millimetre.
const MM_PER_DEGREE: f64 = 5.0;
/// Step for the derivative, in degrees or millimetres.
const DELTA: f64 = 1e-4;

/// Finds joint positions that bring the end effector to `goal`, trying those near `from` first. Asks `goes_on` now and then.
pub(super) fn solve(model: &Mechanism, from: &[f64], goal: &Pose, goes_on: &dyn Fn() -> bool) -> Result<Vec<f64>> {
    let goal_transform = Transform::from(*goal);
    let (max, asked) = (reach(model), length(&goal_transform));
    if asked > max * 1.05 {
        return Err(Error::unknown(format_args!(
            "asked for a pose too far max: {max:.2}, asked for: {asked:.2}"
        )));
    }
    let limits: Vec<_> = model
        .joints()
        .map(|(_, joint)| (joint.min.max(-360.0), joint.max.min(360.0)))
        .collect();
    let mut best = (f64::INFINITY, 0.0);
    for start in 0..STARTS {
        if !goes_on() {
            return Err(Error::cancelled("the caller is gone"));
        }
        let begin = if start == 0 {
            from.to_vec()
        } else {
            sample(&limits, start)
        };
        let (found, missed) = descend(model, begin, &goal_transform, &limits)?;
        if missed.0 < NEAR_MM && missed.1 < NEAR_DEGREES {
            return Ok(found);
        }
        if missed.0 + MM_PER_DEGREE * missed.1 < best.0 + MM_PER_DEGREE * best.1 {
            best = missed;
        }
    }
    Err(Error::unknown(format_args!(
        "no joint positions bring the arm to this pose; the nearest that was found misses it by {:.2} mm and {:.2} degrees",
        best.0, best.1
    )))
}

/// The farthest that the end effector was from the base over many joint positions, in millimetres.
pub(super) fn reach(model: &Mechanism) -> f64 {
    let limits: Vec<_> = model
        .joints()
        .map(|(_, joint)| (joint.min.max(-360.0), joint.max.min(360.0)))
        .collect();
    let samples = (1..=SAMPLES).map(|n| sample(&limits, n));
    let lengths = samples.filter_map(|positions| model.end_pose(&positions).ok().map(|pose| length(&pose)));
    lengths.fold(0.0, f64::max)
}

fn length(pose: &Transform) -> f64 {
    let at = pose.position();
    (at.x * at.x + at.y * at.y + at.z * at.z).sqrt()
}

/// Joint positions spread over all that are possible, the same each time: the Halton sequence.
fn sample(limits: &[(f64, f64)], n: usize) -> Vec<f64> {
    const PRIMES: [usize; 10] = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29];
    let spread = |base: usize| {
        let (mut rest, mut part, mut value) = (n, 1.0, 0.0);
        while rest > 0 {
            part /= base as f64;
            value += part * (rest % base) as f64;
            rest /= base;
        }
        value
    };
    let shares = (0..limits.len()).map(|joint| spread(PRIMES[joint % PRIMES.len()]));
    limits
        .iter()
        .zip(shares)
        .map(|((min, max), share)| min + share * (max - min))
        .collect()
}

/// What separates a pose from the goal: millimetres, and degrees about each axis, weighed.
fn error(pose: &Transform, goal: &Transform) -> DVector<f64> {
    let (at, to) = (pose.isometry(), goal.isometry());
    let shift = to.translation.vector - at.translation.vector;
    let turn = (to.rotation * at.rotation.inverse()).scaled_axis().map(f64::to_degrees) * MM_PER_DEGREE;
    DVector::from_iterator(6, shift.iter().chain(turn.iter()).copied())
}

/// Goes downhill from one start; returns where it ends, and by how much that misses.
fn descend(
    model: &Mechanism,
    mut positions: Vec<f64>,
    goal: &Transform,
    limits: &[(f64, f64)],
) -> Result<(Vec<f64>, (f64, f64))> {
    let mut damping = 1.0;
    let mut pose = model.end_pose(&positions)?;
    let mut missing = error(&pose, goal);
    for _ in 0..STEPS {
        if pose.is_near(goal, NEAR_MM * 0.5, NEAR_DEGREES * 0.5) {
            break;
        }
        let mut jacobian = DMatrix::zeros(6, positions.len());
        for joint in 0..positions.len() {
            let mut moved = positions.clone();
            moved[joint] += DELTA;
            let change = (&missing - error(&model.end_pose(&moved)?, goal)) / DELTA;
            jacobian.set_column(joint, &change);
        }
        let square = jacobian.transpose() * &jacobian + DMatrix::identity(positions.len(), positions.len()) * damping;
        let Some(step) = square
            .cholesky()
            .map(|square| square.solve(&(jacobian.transpose() * &missing)))
        else {
            damping *= 10.0;
            continue;
        };
        let moved: Vec<f64> = positions
            .iter()
            .zip(step.iter())
            .zip(limits)
            .map(|((position, step), (min, max))| (position + step.clamp(-30.0, 30.0)).clamp(*min, *max))
            .collect();
        let moved_pose = model.end_pose(&moved)?;
        let left = error(&moved_pose, goal);
        if left.norm() < missing.norm() {
            (positions, pose, missing, damping) = (moved, moved_pose, left, (damping * 0.3).max(1e-9));
        } else {
            damping *= 5.0;
            if damping > 1e9 {
                break;
            }
        }
    }
    let missed = (pose.distance_mm(goal), pose.angle_degrees(goal));
    Ok((positions, missed))
}
