//! Models in JSON: links and joints ("spatial vector algebra"), or Denavit-Hartenberg parameters.

use serde_json::Value;

use super::{Frame, Joint, JointKind, KinematicsError, Mechanism, MimicJoint, geometry, json::Members, tree};
use crate::spatial::{AxisAngle, Transform, Vector3};

pub(super) fn read(file: &[u8]) -> Result<Mechanism, KinematicsError> {
    let value: Value = serde_json::from_slice(file)
        .map_err(|error| KinematicsError::at(format!("line {}, column {}", error.line(), error.column()), error))?;
    let model = Members::new(&value, "file".to_owned())?;
    let frames = match model.text("kinematic_param_type")? {
        "" | "SVA" => links_and_joints(&model)?,
        "DH" => parameters(&model)?,
        other => {
            return Err(model.wrong(format!("`kinematic_param_type` is `{other}`, not `SVA` or `DH`")));
        }
    };
    let output = match model.list("output_frames")? {
        [] => None,
        [Value::String(output)] => Some(output.clone()),
        [_] => return Err(KinematicsError::at("output_frames", "it is no list of names")),
        _ => return Err(KinematicsError::at("output_frames", "more than one frame is named")),
    };
    tree::assemble(model.text("name")?.to_owned(), frames, output)
}

fn links_and_joints(model: &Members<'_>) -> Result<Vec<Frame>, KinematicsError> {
    let link = |link: Members<'_>| {
        Ok(Frame {
            id: link.text("id")?.to_owned(),
            parent: link.text("parent")?.to_owned(),
            origin: link.transform()?,
            joint: None,
            geometry: geometry::read(&link)?,
        })
    };
    let links = model.objects("links")?.into_iter().map(link);
    let joints = model.objects("joints")?.into_iter().map(|joint| joint_frame(&joint));
    links.chain(joints).collect()
}

fn joint_frame(joint: &Members<'_>) -> Result<Frame, KinematicsError> {
    let (kind, endless) = match joint.text("type")? {
        "revolute" => (Some(JointKind::Revolute), false),
        "continuous" => (Some(JointKind::Revolute), true),
        "prismatic" => (Some(JointKind::Prismatic), false),
        "fixed" => (None, false),
        other => {
            return Err(joint.wrong(format!(
                "its type is `{other}`, not `revolute`, `prismatic`, `continuous` or `fixed`"
            )));
        }
    };
    let motion = match kind {
        None => None,
        Some(kind) => {
            let axis = joint
                .object("axis")?
                .map(|axis| axis.vector())
                .transpose()?
                .and_then(unit);
            let (min, max) = if endless {
                (f64::NEG_INFINITY, f64::INFINITY)
            } else {
                limits(joint)?
            };
            Some(Joint {
                kind,
                axis: axis.ok_or_else(|| joint.wrong("its `axis` is missing, or has no direction"))?,
                min,
                max,
                max_velocity: joint.number("max_velocity")?,
                max_acceleration: joint.number("max_acceleration")?,
                mimic: mimic(joint)?,
            })
        }
    };
    Ok(Frame {
        id: joint.text("id")?.to_owned(),
        parent: joint.text("parent")?.to_owned(),
        origin: Transform::identity(),
        joint: motion,
        geometry: geometry::read(joint)?,
    })
}

/// Reads the limits. One that is not there is 0: programs that write such files leave out zeros.
fn limits(joint: &Members<'_>) -> Result<(f64, f64), KinematicsError> {
    let (min, max) = (
        joint.number("min")?.unwrap_or_default(),
        joint.number("max")?.unwrap_or_default(),
    );
    if min > max {
        return Err(joint.wrong(format!("`min` is {min}, more than `max`, {max}")));
    }
    Ok((min, max))
}

fn mimic(joint: &Members<'_>) -> Result<Option<MimicJoint>, KinematicsError> {
    let Some(mimic) = joint.object("mimic")? else {
        return Ok(None);
    };
    // Left out and 0 are both 1: a joint that follows by 0 would not move.
    let multiplier = mimic.number("multiplier")?.filter(|multiplier| *multiplier != 0.0);
    Ok(Some(MimicJoint {
        joint: mimic.text("joint")?.to_owned(),
        multiplier: multiplier.unwrap_or(1.0),
        offset: mimic.number("offset")?.unwrap_or_default(),
    }))
}

/// Each set of parameters is a joint about Z, `<id>_j`, and below it the link `<id>`: by `d` along Z, by `a` along the X
/// that has turned, and by `alpha` about it (Denavit and Hartenberg 1955, in the order of the textbooks).
fn parameters(model: &Members<'_>) -> Result<Vec<Frame>, KinematicsError> {
    let mut frames = Vec::new();
    for set in model.objects("dhParams")? {
        let number = |name| Ok(set.number(name)?.unwrap_or_default());
        let (id, joint_id) = (set.text("id")?.to_owned(), format!("{}_j", set.text("id")?));
        let (a, d, alpha) = (number("a")?, number("d")?, number("alpha")?);
        let (min, max) = limits(&set)?;
        frames.push(Frame {
            id: joint_id.clone(),
            parent: set.text("parent")?.to_owned(),
            origin: Transform::identity(),
            joint: Some(Joint {
                kind: JointKind::Revolute,
                axis: Vector3 { x: 0.0, y: 0.0, z: 1.0 },
                min,
                max,
                max_velocity: set.number("max_velocity")?,
                max_acceleration: set.number("max_acceleration")?,
                mimic: None,
            }),
            geometry: None,
        });
        let turn = AxisAngle {
            axis: Vector3 { x: 1.0, y: 0.0, z: 0.0 },
            theta: alpha.to_radians(),
        };
        frames.push(Frame {
            id,
            parent: joint_id,
            origin: Transform::new(Vector3 { x: a, y: 0.0, z: d }, turn),
            joint: None,
            geometry: geometry::read(&set)?,
        });
    }
    Ok(frames)
}

/// Returns the unit vector of the same direction; `None` if it has none.
pub(super) fn unit(Vector3 { x, y, z }: Vector3) -> Option<Vector3> {
    let length = x.hypot(y).hypot(z);
    (length > 0.0 && length.is_finite()).then(|| Vector3 {
        x: x / length,
        y: y / length,
        z: z / length,
    })
}
