//! Models that come from no file: their SVA JSON, and the form in which clients take them without one.

use serde_json::{Value, json};

use super::{Frame, Joint, JointKind, Kinematics, KinematicsError, Mechanism, WORLD};
use crate::{
    api::kinematics::{self as wire, JointLimits, JointType, KinematicModel, Link, LinkOrientation, LinkPose},
    spatial::{Geometry, Pose, Quaternion, Shape, Transform, Vector3},
};

/// Where the base of a generated gantry is, and the size of its carriage, in millimetres, as other machines have them.
const GANTRY_BASE_X: f64 = -50.0;
const CARRIAGE: Vector3 = Vector3 {
    x: 50.0,
    y: 50.0,
    z: 10.0,
};

impl Mechanism {
    /// Returns what a resource reports: the file as it was read, its meshes, and the model that newer clients take instead.
    #[must_use]
    pub fn to_kinematics(&self) -> Kinematics {
        Kinematics {
            format: self.source.format,
            file: self.source.file.clone(),
            meshes: self.source.meshes.clone(),
            model: Some(model(self)),
        }
    }
}

pub(super) fn gantry(name: String, length_mm: f64) -> Result<Mechanism, KinematicsError> {
    if !(length_mm > 0.0 && length_mm.is_finite()) {
        let cause = format!("length_mm must be positive, got {length_mm}");
        return Err(KinematicsError::at("gantry", cause));
    }
    let along_x = |x| Vector3 {
        x,
        ..Vector3::default()
    };
    let frame = |id: &str, parent: &str| Frame {
        id: id.to_owned(),
        parent: parent.to_owned(),
        origin: Transform::identity(),
        joint: None,
        geometry: None,
    };
    let base = Frame {
        origin: Transform::translation(along_x(GANTRY_BASE_X)),
        ..frame("base", WORLD)
    };
    let joint = Frame {
        joint: Some(Joint {
            kind: JointKind::Prismatic,
            axis: along_x(1.0),
            min: 0.0,
            max: length_mm,
            max_velocity: None,
            max_acceleration: None,
            mimic: None,
        }),
        ..frame("gantry_joint", "base")
    };
    let center = Pose {
        position: Vector3 {
            z: CARRIAGE.z / 2.0,
            ..Vector3::default()
        },
        ..Pose::default()
    };
    let carriage = Frame {
        geometry: Some(Geometry {
            center,
            shape: Shape::Cuboid { dims_mm: CARRIAGE },
            label: "carriage".to_owned(),
        }),
        ..frame("carriage", "gantry_joint")
    };
    Mechanism::new(name, vec![base, joint, carriage])
}

/// Writes the mechanism as other machines write models without a file: vectors in capitals, no rotation as null.
pub(super) fn sva(mechanism: &Mechanism) -> Vec<u8> {
    let (mut links, mut joints) = (Vec::new(), Vec::new());
    for frame in &mechanism.frames {
        let Some(joint) = &frame.joint else {
            links.push(link(&frame.id, &frame.parent, &frame.origin, frame.geometry.as_ref()));
            continue;
        };
        let mut parent = frame.parent.clone();
        if frame.origin != Transform::identity() {
            // A joint of this format begins where its parent ends.
            let place = format!("{}_origin", frame.id);
            links.push(link(&place, &parent, &frame.origin, None));
            parent = place;
        }
        joints.push(joint_json(&frame.id, &parent, joint, frame.geometry.as_ref()));
    }
    let output: Vec<_> = mechanism
        .end
        .iter()
        .filter(|_| mechanism.output_named)
        .map(|_| mechanism.end())
        .collect();
    let mut model = json!({
        "name": mechanism.name, "kinematic_param_type": "SVA", "links": links, "joints": joints,
    });
    if !output.is_empty() {
        model["output_frames"] = json!(output);
    }
    model.to_string().into_bytes()
}

fn link(id: &str, parent: &str, origin: &Transform, geometry: Option<&Geometry>) -> Value {
    let mut link = json!({
        "id": id, "parent": parent, "translation": vector(origin.position()), "orientation": orientation(origin),
    });
    if let Some(geometry) = geometry {
        link["geometry"] = geometry_json(geometry);
    }
    link
}

fn joint_json(id: &str, parent: &str, joint: &Joint, geometry: Option<&Geometry>) -> Value {
    let endless = joint.min == f64::NEG_INFINITY && joint.max == f64::INFINITY;
    let kind = match joint.kind {
        JointKind::Revolute if endless => "continuous",
        JointKind::Revolute => "revolute",
        JointKind::Prismatic => "prismatic",
    };
    let mut value = json!({ "id": id, "type": kind, "parent": parent, "axis": vector(joint.axis) });
    if !endless {
        // JSON has no infinity; the largest number is as good a limit as none.
        value["min"] = json!(joint.min.max(f64::MIN));
        value["max"] = json!(joint.max.min(f64::MAX));
    }
    for (name, limit) in [
        ("max_velocity", joint.max_velocity),
        ("max_acceleration", joint.max_acceleration),
    ] {
        if let Some(limit) = limit {
            value[name] = json!(limit);
        }
    }
    if let Some(mimic) = &joint.mimic {
        value["mimic"] = json!({ "joint": mimic.joint, "multiplier": mimic.multiplier, "offset": mimic.offset });
    }
    if let Some(geometry) = geometry {
        value["geometry"] = geometry_json(geometry);
    }
    value
}

fn geometry_json(geometry: &Geometry) -> Value {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let center = Transform::from(geometry.center);
    let mut value = match &geometry.shape {
        Shape::Sphere { radius_mm } => json!({ "type": "sphere", "r": radius_mm }),
        Shape::Cuboid { dims_mm } => json!({ "type": "box", "x": dims_mm.x, "y": dims_mm.y, "z": dims_mm.z }),
        Shape::Capsule { radius_mm, length_mm } => json!({ "type": "capsule", "r": radius_mm, "l": length_mm }),
        Shape::Mesh { content_type, bytes } => {
            json!({ "type": "mesh", "mesh_content_type": content_type, "mesh_data": STANDARD.encode(bytes) })
        }
        // The format has no clouds.
        Shape::PointCloud(_) => return Value::Null,
    };
    value["translation"] = vector(center.position());
    value["orientation"] = orientation(&center);
    value["label"] = json!(geometry.label);
    value
}

fn vector(Vector3 { x, y, z }: Vector3) -> Value {
    json!({ "X": x, "Y": y, "Z": z })
}

fn orientation(of: &Transform) -> Value {
    let Quaternion { w, x, y, z } = of.orientation();
    if w.abs() == 1.0 {
        return Value::Null;
    }
    json!({ "type": "quaternion", "value": { "W": w, "X": x, "Y": y, "Z": z } })
}

/// Returns links and joints apart, as messages have them.
fn model(mechanism: &Mechanism) -> KinematicModel {
    let mut model = KinematicModel {
        name: mechanism.name.clone(),
        output_frames: mechanism.end.iter().map(|_| mechanism.end().to_owned()).collect(),
        ..KinematicModel::default()
    };
    let pose = |origin: &Transform| {
        let Quaternion { w, x, y, z } = origin.orientation();
        LinkPose {
            translation: origin.position(),
            orientation: Some(LinkOrientation::Quaternion { w, x, y, z }),
        }
    };
    for frame in &mechanism.frames {
        let Some(joint) = &frame.joint else {
            model.links.push(Link {
                id: frame.id.clone(),
                parent: frame.parent.clone(),
                pose: pose(&frame.origin),
                collision: frame.geometry.iter().cloned().collect(),
                visual: Vec::new(),
            });
            continue;
        };
        let mut parent = frame.parent.clone();
        if frame.origin != Transform::identity() {
            let id = format!("{}_origin", frame.id);
            let pose = pose(&frame.origin);
            model.links.push(Link {
                id: id.clone(),
                parent,
                pose,
                ..Link::default()
            });
            parent = id;
        }
        model
            .joints
            .push(wire_joint(&frame.id, parent, joint, frame.geometry.clone()));
    }
    model
}

fn wire_joint(id: &str, parent: String, joint: &Joint, geometry: Option<Geometry>) -> wire::Joint {
    let endless = joint.min == f64::NEG_INFINITY && joint.max == f64::INFINITY;
    wire::Joint {
        id: id.to_owned(),
        parent,
        kind: match joint.kind {
            JointKind::Revolute if endless => JointType::Continuous,
            JointKind::Revolute => JointType::Revolute,
            JointKind::Prismatic => JointType::Prismatic,
        },
        axis: joint.axis,
        limits: Some(JointLimits {
            min: Some(joint.min).filter(|min| min.is_finite()),
            max: Some(joint.max).filter(|max| max.is_finite()),
            max_velocity: joint.max_velocity,
            max_acceleration: joint.max_acceleration,
        }),
        mimic: joint.mimic.clone(),
        geometry,
    }
}
