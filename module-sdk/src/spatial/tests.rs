//! Known values, and properties of all forms.

use std::f64::consts::{FRAC_1_SQRT_2 as S, FRAC_PI_2, PI};

use proptest::prelude::*;

use super::*;

/// What Viam's Python SDK 0.73 (`viam.spatialmath`) computes: orientation vector (axis, theta in radians), quaternion.
const KNOWN: [([f64; 4], [f64; 4]); 15] = [
    ([0.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0]),
    ([0.0, 0.0, 1.0, FRAC_PI_2], [S, 0.0, 0.0, S]),
    ([0.0, 0.0, 1.0, -FRAC_PI_2], [S, 0.0, 0.0, -S]),
    ([0.0, 0.0, -1.0, 0.0], [0.0, 0.0, 1.0, 0.0]),
    ([0.0, 0.0, -1.0, FRAC_PI_2], [0.0, S, S, 0.0]),
    ([0.0, 0.0, -1.0, PI], [0.0, 1.0, 0.0, 0.0]),
    ([1.0, 0.0, 0.0, 0.0], [S, 0.0, S, 0.0]),
    ([0.0, 1.0, 0.0, 0.0], [0.5, -0.5, 0.5, 0.5]),
    ([-1.0, 0.0, 0.0, 0.0], [0.0, -S, 0.0, S]),
    ([0.0, -1.0, 0.0, 0.0], [0.5, 0.5, 0.5, -0.5]),
    ([1.0, 0.0, 0.0, FRAC_PI_2], [0.5, 0.5, 0.5, 0.5]),
    ([0.0, 1.0, 0.0, FRAC_PI_2], [0.0, 0.0, S, S]),
    ([0.0, -1.0, 0.0, FRAC_PI_2], [S, S, 0.0, 0.0]),
    ([0.0, 1.0, 0.0, -FRAC_PI_2], [S, -S, 0.0, 0.0]),
    (
        [1.0, -2.0, 0.5, -2.5],
        [-0.180036386, -0.40106136, 0.479625729, -0.759404928],
    ),
];

fn quaternion([w, x, y, z]: [f64; 4]) -> Quaternion {
    Quaternion { w, x, y, z }
}

fn vector([x, y, z, theta]: [f64; 4]) -> OrientationVector {
    let axis = Vector3 { x, y, z };
    OrientationVector { axis, theta }
}

fn apart(a: impl Into<Quaternion>, b: impl Into<Quaternion>) -> f64 {
    a.into().angle_to_degrees(b.into())
}

/// Converts to every form and back, and returns the largest error in degrees.
fn there_and_back(of: Quaternion) -> f64 {
    [
        apart(of, Orientation::from(of)),
        apart(of, OrientationVector::from(of)),
        apart(of, EulerAngles::from(of)),
        apart(of, AxisAngle::from(of)),
        apart(of, RotationMatrix::from(of)),
        apart(of, AnyOrientation::from(Orientation::from(of))),
    ]
    .into_iter()
    .fold(0.0, f64::max)
}

#[test]
fn orientation_vectors_are_what_other_clients_take_them_for() {
    for (form, expected) in KNOWN {
        let (form, expected) = (vector(form), quaternion(expected));
        assert!(apart(form, expected) < 1e-6, "{form:?}: {:?}", Quaternion::from(form));
        assert!(there_and_back(expected) < 1e-6, "{expected:?}");
    }
    let back = Orientation::from(quaternion([S, S, 0.0, 0.0]));
    assert!(
        (back.axis.y + 1.0).abs() < 1e-12 && (back.theta - 90.0).abs() < 1e-9,
        "{back:?}"
    );
}

/// Measured likewise: tilted by `tilt` towards longitude 1, theta 0.5.
#[test]
fn near_a_pole_theta_counts_as_other_clients_count_it() {
    for (tilt, expected) in [
        (1e-9, 1.5),
        (1e-6, 1.5),
        (3e-4, 1.5),
        (0.01, 1.5),
        (0.015, 0.5),
        (0.02, 0.5),
    ] {
        for (latitude, expected) in [(tilt, expected), (PI - tilt, if expected > 1.0 { -0.5 } else { 0.5 })] {
            let turn = |axis: [f64; 3], theta| {
                let [x, y, z] = axis;
                Transform::rotation(AxisAngle {
                    axis: Vector3 { x, y, z },
                    theta,
                })
            };
            let all = turn([0.0, 0.0, 1.0], 1.0) * turn([0.0, 1.0, 0.0], latitude) * turn([0.0, 0.0, 1.0], 0.5);
            let form = OrientationVector::from(all.orientation());
            assert!((form.theta - expected).abs() < 1e-4, "{latitude}: {form:?}");
            assert!(apart(form, all.orientation()) < 1e-5, "{latitude}: {form:?}");
        }
    }
}

#[test]
fn a_quarter_turn_about_each_axis_is_the_same_in_every_form() {
    let turns = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    let matrices = [
        [[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]],
        [[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]],
        [[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]],
    ];
    for (turn, matrix) in turns.into_iter().zip(matrices) {
        let [x, y, z] = turn;
        let expected = Quaternion::from(AxisAngle {
            axis: Vector3 { x, y, z },
            theta: FRAC_PI_2,
        });
        let [roll, pitch, yaw] = turn.map(|part| part * FRAC_PI_2);
        assert!(apart(EulerAngles { roll, pitch, yaw }, expected) < 1e-6);
        assert!(apart(RotationMatrix(matrix), expected) < 1e-6);
        let angles = EulerAngles::from(expected);
        assert!(
            (angles.roll - roll).abs() + (angles.pitch - pitch).abs() + (angles.yaw - yaw).abs() < 1e-9,
            "{angles:?}"
        );
        assert!(there_and_back(expected) < 1e-6);
    }
    let mixed = Quaternion::from(EulerAngles {
        roll: 0.1,
        pitch: 0.2,
        yaw: 0.3,
    });
    assert!(apart(mixed, quaternion([0.983347443, 0.034270799, 0.106020511, 0.143572175])) < 1e-6);
}

#[test]
fn what_has_no_length_is_no_rotation_and_what_is_no_number_stays_so() {
    let zero = Vector3::default();
    assert!(
        apart(
            Orientation {
                axis: zero,
                theta: 90.0
            },
            quaternion([S, 0.0, 0.0, S])
        ) < 1e-6
    );
    assert_eq!(
        Quaternion::from(AxisAngle { axis: zero, theta: 1.0 }),
        Quaternion::default()
    );
    assert_eq!(AxisAngle::from(quaternion([0.0; 4])), AxisAngle::default());
    assert_eq!(
        Orientation::from(quaternion([-2.0, 0.0, 0.0, 0.0])),
        Orientation::default()
    );
    let broken = Pose {
        position: Vector3 { x: f64::NAN, ..zero },
        ..Pose::default()
    };
    assert!(!broken.is_near(broken, 1.0, 1.0));
    assert!(
        Quaternion::from(Orientation {
            axis: Vector3 { x: f64::NAN, ..zero },
            theta: 0.0
        })
        .w
        .is_nan()
    );
}

#[test]
fn half_the_way_is_half_the_distance_and_half_the_angle_the_shorter_way() {
    let pose = |x, theta| Pose {
        position: Vector3 {
            x,
            ..Vector3::default()
        },
        orientation: Orientation {
            theta,
            ..Orientation::default()
        },
    };
    assert!(
        pose(0.0, 170.0)
            .interpolate(pose(10.0, -170.0), 0.5)
            .is_near(pose(5.0, 180.0), 1e-9, 1e-6)
    );
    let quarter = pose(0.0, 0.0).interpolate(pose(10.0, 180.0), 0.25).orientation.theta;
    assert!((quarter.abs() - 45.0).abs() < 1e-6, "{quarter}");
}

fn rotation() -> impl Strategy<Value = Quaternion> {
    // Among them those near the poles and near the places where roll and yaw are one.
    let part = || prop_oneof![4 => -1.0..1.0_f64, 1 => Just(0.0), 1 => -1e-3..1e-3, 1 => -1e-8..1e-8, 1 => Just(S)];
    [part(), part(), part(), part()]
        .prop_map(quaternion)
        .prop_filter("has a direction", |quaternion| {
            quaternion.w.abs() + quaternion.x.abs() + quaternion.y.abs() + quaternion.z.abs() > 1e-2
        })
}

fn transform() -> impl Strategy<Value = Transform> {
    (rotation(), [-1e3..1e3_f64, -1e3..1e3, -1e3..1e3])
        .prop_map(|(rotation, [x, y, z])| Transform::new(Vector3 { x, y, z }, rotation))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_form_comes_back_as_the_same_rotation(of in rotation()) {
        prop_assert!(there_and_back(of) < 2e-5, "{}", there_and_back(of));
        let (angles, turn, form) = (EulerAngles::from(of), AxisAngle::from(of), OrientationVector::from(of));
        prop_assert!(angles.pitch.abs() <= FRAC_PI_2 && angles.roll.abs() <= PI && angles.yaw.abs() <= PI);
        prop_assert!((0.0..=PI).contains(&turn.theta));
        prop_assert!(form.theta.abs() <= PI && (nalgebra::Vector3::from(form.axis).norm() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn any_orientation_vector_is_a_rotation_that_points_z_along_it(x in -2.0..2.0_f64, y in -2.0..2.0_f64, z in -2.0..2.0_f64, theta in -720.0..720.0_f64) {
        let axis = Vector3 { x, y, z };
        let there = Transform::rotation(Orientation { axis, theta });
        let along = nalgebra::Vector3::from(there.transform_direction(Vector3 { x: 0.0, y: 0.0, z: 1.0 }));
        prop_assume!(nalgebra::Vector3::from(axis).norm() > 1e-3);
        prop_assert!((along - nalgebra::Vector3::from(axis).normalize()).norm() < 1e-9);
    }

    #[test]
    fn transforms_compose_and_undo(a in transform(), b in transform(), fraction in 0.0..1.0_f64) {
        prop_assert!((a * a.inverse()).is_near(&Transform::identity(), 1e-6, 2e-5));
        prop_assert!((a * a.relative(&b)).is_near(&b, 1e-6, 2e-5));
        let point = Vector3 { x: 1.0, y: -2.0, z: 3.0 };
        let (once, twice) = ((a * b).transform_point(point), a.transform_point(b.transform_point(point)));
        prop_assert!((nalgebra::Vector3::from(once) - nalgebra::Vector3::from(twice)).norm() < 1e-6);
        let (pose_a, pose_b) = (Pose::from(a), Pose::from(b));
        prop_assert!(Transform::from(pose_a.compose(pose_b)).is_near(&(a * b), 1e-3, 1e-4));
        prop_assert!(pose_a.compose(pose_a.inverse()).is_near(Pose::default(), 1e-3, 1e-4));
        let part = a.interpolate(&b, fraction);
        prop_assert!((a.distance_mm(&part) - fraction * a.distance_mm(&b)).abs() < 1e-6);
        prop_assert!((a.angle_degrees(&part) - fraction * a.angle_degrees(&b)).abs() < 1e-4);
        prop_assert!(a.interpolate(&b, 1.0).is_near(&b, 1e-6, 2e-5));
    }
}
