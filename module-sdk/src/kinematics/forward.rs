//! Forward kinematics: the pose of each frame at given joint positions, and the limits of these.

use super::{Frame, JointKind, Mechanism};
use crate::{
    Error, Result,
    spatial::{AxisAngle, Geometry, Transform, Vector3},
};

/// How far beyond a limit a position is still taken for one at the limit, in degrees or millimetres: what is converted to
/// radians and back is a little off.
const LIMIT_NOISE: f64 = 1e-9;

impl Mechanism {
    /// Returns the pose of the end effector in `world`, which for an arm is the frame of its base.
    ///
    /// # Errors
    /// INVALID_ARGUMENT if there are not as many positions as joints. Limits are not looked at.
    pub fn end_pose(&self, positions: &[f64]) -> Result<Transform> {
        let poses = self.poses_in_order(positions)?;
        Ok(self.end.map_or_else(Transform::identity, |index| poses[index]))
    }

    /// Returns the pose of each frame in `world`, with its name, parents before children.
    ///
    /// # Errors
    /// INVALID_ARGUMENT if there are not as many positions as joints.
    pub fn poses(&self, positions: &[f64]) -> Result<Vec<(&str, Transform)>> {
        let poses = self.poses_in_order(positions)?;
        Ok(self.frames.iter().map(|frame| frame.id.as_str()).zip(poses).collect())
    }

    /// Returns the pose of a frame in `world`.
    ///
    /// # Errors
    /// NOT_FOUND if there is no such frame; INVALID_ARGUMENT if there are not as many positions as joints.
    pub fn pose_of(&self, frame: &str, positions: &[f64]) -> Result<Transform> {
        let index = self.frames.iter().position(|other| other.id == frame);
        let index = index.ok_or_else(|| Error::not_found(format_args!("the model has no frame `{frame}`")))?;
        Ok(self.poses_in_order(positions)?[index])
    }

    /// Returns the solids of all frames in `world`, labelled as in the file or else with the name of the frame.
    ///
    /// # Errors
    /// INVALID_ARGUMENT if there are not as many positions as joints.
    pub fn geometries(&self, positions: &[f64]) -> Result<Vec<Geometry>> {
        let poses = self.poses_in_order(positions)?;
        let at = |(index, frame): (usize, &Frame)| {
            let geometry = frame.geometry.clone()?;
            let base = if frame.joint.is_some() {
                Some(index)
            } else {
                self.parents[index]
            };
            let base = base.map_or_else(Transform::identity, |index| poses[index]);
            let label = if geometry.label.is_empty() {
                frame.id.clone()
            } else {
                geometry.label
            };
            Some(Geometry {
                center: (base * geometry.center.into()).into(),
                label,
                ..geometry
            })
        };
        Ok(self.frames.iter().enumerate().filter_map(at).collect())
    }

    /// Checks that there is a position for each joint and that all are within limits. A joint that is out of them at
    /// `current`, if that is known, may stay or come nearer.
    ///
    /// # Errors
    /// INVALID_ARGUMENT with the texts that other machines use.
    pub fn check(&self, current: Option<&[f64]>, positions: &[f64]) -> Result<()> {
        self.check_count(positions)?;
        if let Some(current) = current {
            self.check_count(current)?;
        }
        for (index, ((_, joint), position)) in self.joints().zip(positions).enumerate() {
            let (min, max) = match current.map(|current| current[index]) {
                Some(current) => (joint.min.min(current), joint.max.max(current)),
                None => (joint.min, joint.max),
            };
            // What is no number is not within anything.
            if !(min - LIMIT_NOISE..=max + LIMIT_NOISE).contains(position) {
                return Err(Error::invalid_argument(format_args!(
                    "joint {index} needs to be within range [{}, {}] and cannot be moved to {position}",
                    joint.min, joint.max
                )));
            }
        }
        Ok(())
    }

    fn check_count(&self, positions: &[f64]) -> Result<()> {
        if positions.len() == self.dof() {
            return Ok(());
        }
        Err(Error::invalid_argument(format_args!(
            "array length does not match frame DoF, expected {} but got {}",
            self.dof(),
            positions.len()
        )))
    }

    fn poses_in_order(&self, positions: &[f64]) -> Result<Vec<Transform>> {
        self.check_count(positions)?;
        let mut poses: Vec<Transform> = Vec::with_capacity(self.frames.len());
        for ((frame, parent), drive) in self.frames.iter().zip(&self.parents).zip(&self.drives) {
            let mut pose = frame.origin;
            if let (Some(joint), Some(drive)) = (&frame.joint, drive) {
                pose *= joint.moved(drive.multiplier * positions[drive.position] + drive.offset);
            }
            poses.push(parent.map_or(pose, |parent| poses[parent] * pose));
        }
        Ok(poses)
    }
}

impl super::Joint {
    /// Returns how the joint at this position, in degrees or millimetres, differs from the one at 0.
    #[must_use]
    pub fn moved(&self, position: f64) -> Transform {
        let axis = self.axis;
        match self.kind {
            JointKind::Revolute => Transform::rotation(AxisAngle {
                axis,
                theta: position.to_radians(),
            }),
            JointKind::Prismatic => Transform::translation(Vector3 {
                x: axis.x * position,
                y: axis.y * position,
                z: axis.z * position,
            }),
        }
    }
}
