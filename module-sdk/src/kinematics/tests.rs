//! Models of known mechanisms, broken files, and mutations of both.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::spatial::{Orientation, Pose, Shape};

/// An arm of six joints, of the measures of a UR5e, with keys in both cases.
const ARM: &str = r#"{
    "name": "six", "kinematic_param_type": "SVA",
    "links": [
        {"id": "base_link", "parent": "world", "translation": {"x": 0, "y": 0, "z": 162.5},
         "geometry": {"r": 60, "l": 260, "translation": {"x": 0, "y": 0, "z": 130}, "label": "foot"}},
        {"id": "upper", "parent": "lift", "translation": {"X": -425, "Y": 0, "Z": 0}, "orientation": null,
         "geometry": {"type": "box", "x": 550, "y": 150, "z": 120, "translation": {"x": -215, "y": -130, "z": 0}}},
        {"id": "lower", "parent": "elbow", "translation": {"x": -392.2}, "orientation": {"type": ""}},
        {"id": "wrist_1_link", "parent": "wrist_1", "translation": {"y": -133.3}, "geometry": {"type": "", "r": 0, "x": 0}},
        {"id": "wrist_2_link", "parent": "wrist_2", "translation": {"z": -99.7}},
        {"id": "tool", "parent": "wrist_3", "translation": {"y": -99.6},
         "orientation": {"type": "ov_degrees", "value": {"x": 0, "y": -1, "z": 0, "th": 90}}}
    ],
    "joints": [
        {"id": "pan", "type": "revolute", "parent": "base_link", "axis": {"x": 0, "y": 0, "z": 1}, "min": -360, "max": 360},
        {"id": "lift", "type": "revolute", "parent": "pan", "axis": {"x": 0, "y": -1, "z": 0}, "min": -360, "max": 360},
        {"id": "elbow", "type": "revolute", "parent": "upper", "axis": {"Y": -2}, "min": -180, "max": 180, "max_velocity": 90},
        {"id": "wrist_1", "type": "revolute", "parent": "lower", "axis": {"y": -1}, "min": -360, "max": 360},
        {"id": "wrist_2", "type": "revolute", "parent": "wrist_1_link", "axis": {"z": -1}, "min": -360, "max": 360},
        {"id": "wrist_3", "type": "revolute", "parent": "wrist_2_link", "axis": {"y": -1}, "min": -360, "max": 360}
    ]
}"#;

/// The measures of a dofbot.
const PARAMETERS: &str = r#"{"name": "five", "kinematic_param_type": "DH", "dhParams": [
    {"id": "j1", "parent": "world", "a": 0, "d": 115, "alpha": -90, "min": -180, "max": 180},
    {"id": "j2", "parent": "j1", "a": 82.85, "d": 0, "alpha": 0, "min": -180, "max": 180},
    {"id": "j3", "parent": "j2", "a": 82.85, "d": 0, "alpha": 0, "min": -180, "max": 180},
    {"id": "j4", "parent": "j3", "a": 82.85, "d": 0, "alpha": 0, "min": -180, "max": 180},
    {"id": "j5", "parent": "j4", "a": 0, "d": 0, "alpha": 90, "min": -180, "max": 180}]}"#;

const URDF: &str = r#"<?xml version="1.0"?>
<robot name="grip">
  <link name="base"><collision><origin xyz="0 0 0.1"/><geometry><cylinder radius="0.02" length="0.2"/></geometry></collision>
    <collision><origin xyz="0 0 0.2"/><geometry><sphere radius="0.02"/></geometry></collision>
    <collision><origin xyz="0 0 0"/><geometry><sphere radius="0.02"/></geometry></collision></link>
  <joint name="turn" type="continuous"><parent link="base"/><child link="hand"/><origin xyz="0 0 0.2" rpy="0 0 1.5707963267948966"/>
    <axis xyz="0 0 1"/></joint>
  <link name="hand"><collision><geometry><mesh filename="package://grip/hand.stl"/></geometry></collision></link>
  <joint name="slide" type="prismatic"><parent link="hand"/><child link="finger"/><axis xyz="1 0 0"/>
    <limit lower="0" upper="0.05" velocity="0.1"/><mimic joint="turn" multiplier="0.01" offset="0.001"/></joint>
  <link name="finger"/>
  <joint name="tip" type="fixed"><parent link="finger"/><child link="end"/><origin xyz="0 0 0.03"/></joint>
  <link name="end"><collision><geometry><box size="0.01 0.02 0.03"/></geometry></collision></link>
</robot>"#;

fn check_end(mechanism: &Mechanism, positions: &[f64], [x, y, z]: [f64; 3]) -> Pose {
    let pose = Pose::from(mechanism.end_pose(positions).unwrap());
    let off = [(pose.position.x, x), (pose.position.y, y), (pose.position.z, z)];
    assert!(
        off.iter().all(|(is, wanted)| (is - wanted).abs() < 1e-6),
        "{positions:?}: {pose:?}"
    );
    pose
}

fn urdf() -> Mechanism {
    let mesh = Mesh {
        content_type: "stl".into(),
        bytes: "solid".into(),
        ..Mesh::default()
    };
    Mechanism::from_urdf(URDF, BTreeMap::from([("grip/hand.stl".to_owned(), mesh)])).unwrap()
}

#[test]
fn an_arm_of_six_joints_ends_where_it_should() {
    let arm = Mechanism::from_sva(ARM).unwrap();
    let names: Vec<_> = arm.joints().map(|(name, _)| name).collect();
    assert_eq!(names, ["pan", "lift", "elbow", "wrist_1", "wrist_2", "wrist_3"]);
    assert_eq!((arm.name(), arm.dof(), arm.end()), ("six", 6, "tool"));
    let pose = check_end(&arm, &[0.0; 6], [-817.2, -232.9, 62.8]);
    let expected = Orientation {
        axis: Vector3 {
            x: 0.0,
            y: -1.0,
            z: 0.0,
        },
        theta: 90.0,
    };
    assert!(
        pose.is_near(
            Pose {
                orientation: expected,
                ..pose
            },
            0.0,
            1e-5
        ),
        "{pose:?}"
    );
    check_end(&arm, &[0.0, -90.0, 0.0, 0.0, 0.0, 0.0], [-99.7, -232.9, 979.7]);
    check_end(&arm, &[90.0, 0.0, 0.0, 0.0, 0.0, 45.0], [232.9, -817.2, 62.8]);
    let elbow = arm.pose_of("upper", &[0.0, -90.0, 0.0, 0.0, 0.0, 0.0]).unwrap();
    assert!((elbow.position().z - 587.5).abs() < 1e-9);
    assert_eq!(arm.poses(&[0.0; 6]).unwrap().len(), 12);
}

#[test]
fn solids_go_with_the_links_that_have_them() {
    let arm = Mechanism::from_sva(ARM).unwrap();
    let solids = arm.geometries(&[0.0, -90.0, 0.0, 0.0, 0.0, 0.0]).unwrap();
    let [foot, upper] = &solids[..] else {
        panic!("{solids:?}")
    };
    assert_eq!((foot.label.as_str(), upper.label.as_str()), ("foot", "upper"));
    assert_eq!(
        foot.shape,
        Shape::Capsule {
            radius_mm: 60.0,
            length_mm: 260.0
        }
    );
    // Half-way up the arm, which stands upright.
    assert!((upper.center.position.z - (162.5 + 215.0)).abs() < 1e-9, "{upper:?}");
    assert!((foot.center.position.z - 130.0).abs() < 1e-9, "{foot:?}");
}

#[test]
fn limits_and_counts_are_checked_in_the_words_of_other_machines() {
    let arm = Mechanism::from_sva(ARM).unwrap();
    let at = |elbow| [0.0, 0.0, elbow, 0.0, 0.0, 0.0];
    let error = |current: Option<&[f64]>, positions: &[f64]| {
        arm.check(current, positions)
            .map_err(|error| error.message().to_owned())
    };
    let beyond = "joint 2 needs to be within range [-180, 180] and cannot be moved to 190.5";
    assert_eq!(error(None, &at(180.0)), Ok(()));
    assert_eq!(error(None, &at(180.000_000_000_000_1)), Ok(()));
    assert_eq!(error(None, &at(190.5)), Err(beyond.into()));
    assert_eq!(error(Some(&at(0.0)), &at(190.5)), Err(beyond.into()));
    assert_eq!(error(Some(&at(190.0)), &at(190.5)), Err(beyond.into()));
    assert_eq!(error(Some(&at(190.5)), &at(190.5)), Ok(()));
    assert_eq!(error(Some(&at(200.0)), &at(190.5)), Ok(()));
    assert_eq!(error(Some(&at(-200.0)), &at(190.5)), Err(beyond.into()));
    assert!(error(None, &at(f64::NAN)).is_err() && error(None, &at(f64::INFINITY)).is_err());
    let count = "array length does not match frame DoF, expected 6 but got 1";
    assert_eq!(error(None, &[1.0]), Err(count.into()));
    assert_eq!(arm.end_pose(&[1.0]).unwrap_err().message(), count);
}

#[test]
fn parameters_are_joints_and_links() {
    let arm = Mechanism::from_sva(PARAMETERS).unwrap();
    assert_eq!((arm.dof(), arm.end(), arm.frames().len()), (5, "j5", 10));
    check_end(&arm, &[0.0; 5], [248.55, 0.0, 115.0]);
    check_end(&arm, &[0.0, 90.0, 0.0, 0.0, 0.0], [0.0, 0.0, 115.0 - 248.55]);
    check_end(&arm, &[90.0, 0.0, 0.0, 0.0, 0.0], [0.0, 248.55, 115.0]);
}

#[test]
fn urdf_is_read_in_millimetres_and_degrees() {
    let grip = urdf();
    assert_eq!((grip.name(), grip.dof(), grip.end()), ("grip", 1, "end"));
    check_end(&grip, &[0.0], [0.0, 1.0, 230.0]);
    // A radian more slides 10 mm, along the X that has turned with it.
    let turned = 1_f64.to_degrees();
    check_end(&grip, &[turned], [-11.0 * 1_f64.sin(), 11.0 * 1_f64.cos(), 230.0]);
    assert_eq!(grip.check(None, &[1e6]), Ok(()));
    let slide = grip
        .frames()
        .iter()
        .find(|frame| frame.id == "slide")
        .unwrap()
        .joint
        .clone()
        .unwrap();
    assert_eq!((slide.max, slide.max_velocity), (50.0, Some(100.0)));
    let solids = grip.geometries(&[0.0]).unwrap();
    let labels: Vec<_> = solids.iter().map(|solid| solid.label.as_str()).collect();
    assert_eq!(labels, ["base", "hand", "end"]);
    let Shape::Capsule { radius_mm, length_mm } = solids[0].shape else {
        panic!("{solids:?}")
    };
    assert!((radius_mm - 20.0).abs() < 1e-9 && (length_mm - 240.0).abs() < 1e-9);
    let without = Mechanism::from_urdf(URDF, BTreeMap::new()).unwrap();
    assert_eq!(without.geometries(&[0.0]).unwrap().len(), 2);
}

#[test]
fn what_is_reported_is_the_file_as_it_was_read() {
    for mechanism in [
        Mechanism::from_sva(ARM).unwrap(),
        Mechanism::from_sva(PARAMETERS).unwrap(),
        urdf(),
    ] {
        let kinematics = mechanism.to_kinematics();
        let joints = kinematics.model.as_ref().unwrap().joints.len();
        assert_eq!(
            joints,
            mechanism.frames().iter().filter(|frame| frame.joint.is_some()).count()
        );
        assert_eq!(Mechanism::from_kinematics(kinematics), Ok(mechanism));
    }
    assert_eq!(Mechanism::from_sva(ARM).unwrap().to_kinematics().file, ARM);
    let none = Mechanism::from_kinematics(Kinematics::default()).unwrap();
    assert_eq!((none.dof(), none.end()), (0, WORLD));
    assert_eq!(none.end_pose(&[]), Ok(Transform::identity()));
    let file = Kinematics {
        file: "{}".into(),
        ..Kinematics::default()
    };
    assert_eq!(
        Mechanism::from_kinematics(file).unwrap_err().cause,
        "unable to parse file of type UNSPECIFIED"
    );
}

#[test]
fn a_gantry_is_written_as_other_machines_write_it_and_read_again() {
    let gantry = Mechanism::gantry("rail", 400.0).unwrap();
    let file = gantry.to_kinematics().file;
    let text = std::str::from_utf8(&file).unwrap();
    assert!(
        text.contains(r#"{"id":"base","parent":"world","translation":{"X":-50.0,"Y":0.0,"Z":0.0},"orientation":null}"#),
        "{text}"
    );
    assert_eq!(Mechanism::from_sva(file.clone()), Ok(gantry.clone()));
    check_end(&gantry, &[120.0], [70.0, 0.0, 0.0]);
    let solids = gantry.geometries(&[120.0]).unwrap();
    assert_eq!(
        (solids[0].label.as_str(), solids[0].center.position.z),
        ("carriage", 5.0)
    );
    assert_eq!(
        Mechanism::gantry("rail", -1.0).unwrap_err().cause,
        "length_mm must be positive, got -1"
    );
    // What has origins at its joints is written with links for them, and is the same mechanism.
    let again = Mechanism::new("again", urdf().frames().to_vec()).unwrap();
    let again = Mechanism::from_sva(again.to_kinematics().file).unwrap();
    check_end(&again, &[0.0], [0.0, 1.0, 230.0]);
}

#[test]
fn errors_tell_the_place_and_the_cause() {
    for (from, to, expected) in [
        (
            "\"name\": \"six\",",
            "\"name\": six,",
            "line 2, column 13: expected value at line 2 column 13",
        ),
        (
            "\"SVA\"",
            "\"XYZ\"",
            "file: `kinematic_param_type` is `XYZ`, not `SVA` or `DH`",
        ),
        (
            "\"id\": \"upper\"",
            "\"id\": \"lower\"",
            "frame `lower`: two frames have this name",
        ),
        (
            "\"id\": \"tool\"",
            "\"id\": \"world\"",
            "frame `world`: `world` is the name of the root, and no frame can have it",
        ),
        (
            "\"parent\": \"lift\"",
            "\"parent\": \"left\"",
            "frame `upper`: its parent `left` is no frame of the model",
        ),
        (
            "\"parent\": \"base_link\"",
            "\"parent\": \"tool\"",
            "frame `lower`: it hangs on a circle of frames, not on `world`",
        ),
        (
            "\"parent\": \"wrist_3\"",
            "\"parent\": \"world\"",
            "output_frames: the model has several ends, and none is named here: `tool`, `wrist_3`",
        ),
        (
            "{\"Y\": -2}",
            "{}",
            "joints[2] (`elbow`): its `axis` is missing, or has no direction",
        ),
        (
            "\"min\": -180",
            "\"min\": 181",
            "joints[2] (`elbow`): `min` is 181, more than `max`, 180",
        ),
        (
            "\"type\": \"box\"",
            "\"type\": \"torus\"",
            "links[1] (`upper`).geometry: `torus` is no type of geometries",
        ),
        (
            "\"l\": 260",
            "\"l\": 26",
            "links[0] (`base_link`).geometry: a capsule of radius 60 is at least 120 long, not 26",
        ),
        (
            "\"y\": -1, \"z\": 0, \"th\"",
            "\"z\": 0, \"th\"",
            "links[5] (`tool`).orientation.value: the vector has no direction",
        ),
        (
            "{\"z\": -99.7}",
            "3",
            "links[4] (`wrist_2_link`).translation: a number where an object is wanted",
        ),
        (
            "\"max_velocity\": 90",
            "\"mimic\": {\"joint\": \"elbow\"}",
            "frame `elbow`: it follows itself, or too many others",
        ),
        (
            "\"max_velocity\": 90",
            "\"mimic\": {\"joint\": \"tool\"}",
            "frame `elbow`: it follows `tool`, which is no joint of the model",
        ),
    ] {
        assert!(ARM.contains(from), "{from}");
        let error = Mechanism::from_sva(ARM.replace(from, to)).unwrap_err();
        assert_eq!(error.to_string(), format!("kinematics, {expected}"), "{to}");
    }
    for (from, to, expected) in [
        (
            "<child link=\"hand\"/>",
            "<child link=\"foot\"/>",
            "line 6: the child of joint `turn`, `foot`, is no link",
        ),
        (
            "type=\"prismatic\"",
            "type=\"planar\"",
            "line 9: joints of type `planar` are not supported",
        ),
        (
            "upper=\"0.05\"",
            "upper=\"wide\"",
            "line 10: `upper` has `wide`, which is no number",
        ),
        (
            "xyz=\"0 0 0.03\"",
            "xyz=\"0 0\"",
            "line 12: `xyz` does not have three numbers",
        ),
        ("<robot name=\"grip\">", "<robot name=\"grip\"", "line 3, column 3: "),
    ] {
        assert!(URDF.contains(from), "{from}");
        let error = Mechanism::from_urdf(URDF.replace(from, to), BTreeMap::new())
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(&format!("kinematics, {expected}")), "{error}");
    }
}

#[test]
fn depth_and_size_cost_no_stack() {
    let deep = format!("<robot>{}", "<a>".repeat(100_000));
    assert!(Mechanism::from_urdf(deep, BTreeMap::new()).is_err());
    let deep = format!("<robot>{}{}</robot>", "<a>".repeat(20_000), "</a>".repeat(20_000));
    let _ = Mechanism::from_urdf(deep, BTreeMap::new());
    assert!(Mechanism::from_sva("[".repeat(100_000)).is_err());
    let chain: Vec<_> = (0..5_000)
        .map(|at| {
            format!(
                r#"{{"id": "l{at}", "parent": "{}"}}"#,
                if at == 0 { WORLD.into() } else { format!("l{}", at - 1) }
            )
        })
        .collect();
    let start = Instant::now();
    assert_eq!(
        Mechanism::from_sva(format!(r#"{{"links": [{}]}}"#, chain.join(",")))
            .unwrap()
            .end(),
        "l4999"
    );
    assert!(start.elapsed() < Duration::from_secs(5));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_mutation_is_survived(seed in 0..3_usize, changes in prop::collection::vec((any::<prop::sample::Index>(), 0..12_usize, "[ -~]{0,3}"), 1..5)) {
        let mut text = [ARM, PARAMETERS, URDF][seed].to_owned();
        for (at, length, piece) in changes {
            let at = at.index(text.len() + 1);
            text.replace_range(at..(at + length).min(text.len()), &piece);
        }
        let start = Instant::now();
        for read in [Mechanism::from_sva(text.clone()), Mechanism::from_urdf(text, BTreeMap::new())].into_iter().flatten() {
            let positions = vec![10.0; read.dof()];
            let _ = (read.end_pose(&positions), read.geometries(&positions), read.check(None, &positions));
            prop_assert!(Mechanism::from_kinematics(read.to_kinematics()).is_ok());
        }
        prop_assert!(start.elapsed() < Duration::from_secs(5));
    }
}
