//! Known arms, as chains from the base to the tool: lengths in millimetres, angles in degrees.

use mainstay_module::{
    kinematics::{Frame, Joint, JointKind, Mechanism, WORLD},
    prelude::*,
    spatial::{Orientation, Transform, Vector3},
};

/// Names of all known arms.
const NAMES: [&str; 9] = [
    "fake",
    "simulated",
    "ur5e",
    "ur7e",
    "ur20",
    "xarm6",
    "xarm7",
    "lite6",
    "dofbot",
];

/// Part of a chain.
enum Part {
    /// Translation, then an orientation vector and the rotation about it.
    Link([f64; 3], Orientation),
    /// Axis, least and greatest position.
    Turn([f64; 3], f64, f64),
}

const Y: [f64; 3] = [0.0, 1.0, 0.0];
const Z: [f64; 3] = [0.0, 0.0, 1.0];
/// The opposite directions.
const NOT_Y: [f64; 3] = [0.0, -1.0, 0.0];
const NOT_Z: [f64; 3] = [0.0, 0.0, -1.0];

const fn link(x: f64, y: f64, z: f64) -> Part {
    turned(x, y, z, Z, 0.0)
}

/// Link at whose end Z points along `axis`.
const fn turned(x: f64, y: f64, z: f64, axis: [f64; 3], theta: f64) -> Part {
    let axis = Vector3 {
        x: axis[0],
        y: axis[1],
        z: axis[2],
    };
    Part::Link([x, y, z], Orientation { axis, theta })
}

const fn turn(axis: [f64; 3], min: f64, max: f64) -> Part {
    Part::Turn(axis, min, max)
}

const fn full(axis: [f64; 3]) -> Part {
    turn(axis, -360.0, 360.0)
}

/// Model of a known arm.
pub(super) fn known(name: &str) -> Result<Mechanism> {
    let ur = |elbow: f64| {
        vec![
            link(0.0, 0.0, 162.5),
            full(Z),
            full(NOT_Y),
            link(-425.0, 0.0, 0.0),
            turn(NOT_Y, -elbow, elbow),
            link(-392.2, 0.0, 0.0),
            full(NOT_Y),
            link(0.0, -133.3, 0.0),
            full(NOT_Z),
            link(0.0, 0.0, -99.7),
            full(NOT_Y),
            turned(0.0, -99.6, 0.0, NOT_Y, 90.0),
        ]
    };
    let round = |axis| turn(axis, -359.0, 359.0);
    let parts = match name {
        "fake" | "simulated" => vec![link(500.0, 0.0, 300.0), full(Z)],
        "ur5e" => ur(180.0),
        "ur7e" => ur(360.0),
        "ur20" => vec![
            link(0.0, 0.0, 236.3),
            full(Z),
            // A roll of 90 degrees.
            turned(0.0, 0.0, 0.0, NOT_Y, -90.0),
            full(Z),
            link(-862.0, 0.0, 0.0),
            turn(Z, -180.0, 180.0),
            link(-728.7, 0.0, 201.0),
            full(Z),
            turned(0.0, -159.3, 0.0, NOT_Y, -90.0),
            full(Z),
            // Roll 90, pitch 180, yaw 180: the same as a roll of -90.
            turned(0.0, 154.3, 0.0, Y, 90.0),
            full(Z),
        ],
        "xarm6" => vec![
            round(Z),
            link(0.0, 0.0, 267.0),
            turn(Y, -118.0, 120.0),
            link(53.5, 0.0, 284.5),
            turn(Y, -225.0, 10.0),
            link(77.5, 0.0, -172.5),
            round(NOT_Z),
            link(0.0, 0.0, -170.0),
            turn(Y, -97.0, 179.0),
            link(76.0, 0.0, -97.0),
            round(NOT_Z),
            turned(0.0, 0.0, 0.0, NOT_Z, 0.0),
        ],
        "xarm7" => vec![
            round(Z),
            link(0.0, 0.0, 267.0),
            turn(Y, -117.5, 120.0),
            link(0.0, 0.0, 200.0),
            round(Z),
            link(52.5, 0.0, 93.0),
            turn(NOT_Y, -11.0, 225.0),
            link(77.5, 0.0, -172.5),
            round(NOT_Z),
            link(0.0, 0.0, -170.0),
            turn(Y, -97.0, 179.0),
            link(76.0, 0.0, -97.0),
            round(NOT_Z),
            turned(0.0, 0.0, 0.0, NOT_Z, 0.0),
        ],
        "lite6" => vec![
            round(Z),
            link(0.0, 0.0, 243.3),
            turn(Y, -149.0, 149.0),
            link(0.0, 0.0, 200.0),
            turn(NOT_Y, -3.0, 299.0),
            link(87.0, 0.0, 0.0),
            round(NOT_Z),
            link(0.0, 0.0, -227.6),
            turn(Y, -124.0, 124.0),
            link(0.0, 0.0, -61.5),
            round(NOT_Z),
            turned(0.0, 0.0, 0.0, NOT_Z, 0.0),
        ],
        "dofbot" => return Ok(Mechanism::from_sva(dofbot())?),
        _ => {
            let names = NAMES.join(", ");
            let text = format_args!("there is no arm model `{name}`; known are {names}, and files by `model-path`");
            return Err(Error::invalid_argument(text));
        }
    };
    Ok(Mechanism::new(name, chain(parts))?)
}

fn chain(parts: Vec<Part>) -> Vec<Frame> {
    let (mut joints, mut links) = (0, 0);
    let mut parent = WORLD.to_owned();
    let frames = parts.into_iter().map(|part| {
        let (id, origin, joint) = match part {
            Part::Link([x, y, z], orientation) => {
                links += 1;
                (
                    format!("link_{links}"),
                    Transform::new(Vector3 { x, y, z }, orientation),
                    None,
                )
            }
            Part::Turn([x, y, z], min, max) => {
                joints += 1;
                let joint = Joint {
                    kind: JointKind::Revolute,
                    axis: Vector3 { x, y, z },
                    min,
                    max,
                    max_velocity: None,
                    max_acceleration: None,
                    mimic: None,
                };
                (format!("joint_{joints}"), Transform::identity(), Some(joint))
            }
        };
        let parent = std::mem::replace(&mut parent, id.clone());
        Frame {
            id,
            parent,
            origin,
            joint,
            geometry: None,
        }
    });
    frames.collect()
}

/// The one that is known by Denavit-Hartenberg parameters: a, d, alpha.
fn dofbot() -> String {
    let parameters = [
        (0.0, 115.0, -90.0),
        (82.85, 0.0, 0.0),
        (82.85, 0.0, 0.0),
        (82.85, 0.0, 0.0),
        (0.0, 0.0, 90.0),
    ];
    let joints = parameters.iter().enumerate().map(|(n, (a, d, alpha))| {
        let (id, parent) = (n + 1, if n == 0 { WORLD.to_owned() } else { format!("link_{n}") });
        format!(
            r#"{{"id": "link_{id}", "parent": "{parent}", "a": {a}, "d": {d}, "alpha": {alpha}, "min": -180, "max": 180}}"#
        )
    });
    let joints = joints.collect::<Vec<_>>().join(",\n    ");
    format!(
        "{{\n  \"name\": \"dofbot\",\n  \"kinematic_param_type\": \"DH\",\n  \"dhParams\": [\n    {joints}\n  ]\n}}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_arm_has_its_joints_and_its_reach() {
        // Reaches as measured of peers, which find them by few samples; so ours are more, and not by much.
        for (name, dof, reach) in [
            ("fake", 1, 583.10),
            ("ur5e", 6, 1016.72),
            ("ur7e", 6, 1016.72),
            ("ur20", 6, 1871.23),
            ("xarm6", 6, 1026.52),
            ("xarm7", 7, 1026.52),
            ("lite6", 6, 744.85),
            ("dofbot", 5, 359.69),
        ] {
            let model = known(name).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(model.dof(), dof, "{name}");
            let ours = super::super::inverse::reach(&model);
            assert!(
                (0.98..1.15).contains(&(ours / reach)),
                "{name}: {ours}, of peers {reach}"
            );
        }
        assert_eq!(known("ur9").unwrap_err().message().matches("ur5e").count(), 1);
    }
}
