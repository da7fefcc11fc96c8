//! An entry as the message that travels to its module (`viam.app.v1.ComponentConfig`), rotations included, and what the
//! module answers.

use mainstay_core::graph::is_frame_system;
use mainstay_model::dependencies::Declared;
use mainstay_model::text::plain;
use mainstay_model::{Frame, Geometry, Object, Orientation, ResourceConfig, ServiceConfig, Shape, Value};
use mainstay_proto::viam::app::v1 as app;
use mainstay_proto::viam::common::v1 as common;
use mainstay_proto::viam::module::v1::ValidateConfigResponse;
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value as ProtoValue};

/// The message that AddResource, ReconfigureResource and ValidateConfig carry.
///
/// # Errors
/// The entry is broken; the text is its fault.
pub fn component_config(config: &ResourceConfig) -> Result<app::ComponentConfig, String> {
    if let Some(fault) = &config.fault {
        return Err(fault.clone());
    }
    let api = &config.name.api;
    Ok(app::ComponentConfig {
        name: config.name.name.clone(),
        // These two are deprecated, but some peers check that they agree with `api`.
        namespace: api.namespace().to_owned(),
        r#type: api.subtype().to_owned(),
        model: config.model.to_string(),
        frame: config.frame.as_ref().map(frame),
        depends_on: config.depends_on.clone(),
        service_configs: config.service_configs.iter().map(service_config).collect(),
        attributes: Some(object(&config.attributes)),
        api: api.to_string(),
        log_configuration: config.log_level.map(|level| app::LogConfiguration {
            level: level.to_string(),
        }),
    })
}

/// Answer of a module to ValidateConfig, with the warnings that came beside it. `None` if it names a dependency without a
/// name: `` or `rdk:component:board/`.
#[must_use]
pub fn declared(answer: ValidateConfigResponse, warnings: Vec<String>) -> Option<Declared> {
    let nameless = |text: &String| text.is_empty() || text.ends_with('/');
    let named = |mut texts: Vec<String>| {
        texts.retain(|text| !nameless(text) && !is_frame_system(text));
        texts
    };
    (!answer.dependencies.iter().any(nameless)).then(|| Declared {
        required: named(answer.dependencies),
        optional: named(answer.optional_dependencies),
        warnings: warnings.iter().map(|text| plain(text)).collect(),
    })
}

fn service_config(config: &ServiceConfig) -> app::ResourceLevelServiceConfig {
    app::ResourceLevelServiceConfig {
        r#type: config.api.clone(),
        attributes: Some(object(&config.attributes)),
    }
}

fn frame(frame: &Frame) -> app::Frame {
    let [x, y, z] = frame.translation;
    let [qw, qx, qy, qz] = quaternion(&frame.orientation);
    let quaternion = app::orientation::Quaternion {
        w: qw,
        x: qx,
        y: qy,
        z: qz,
    };
    app::Frame {
        parent: frame.parent.clone(),
        translation: Some(app::Translation { x, y, z }),
        // Peers send this variant whatever the config says.
        orientation: Some(app::Orientation {
            r#type: Some(app::orientation::Type::Quaternion(quaternion)),
        }),
        geometry: frame.geometry.as_ref().map(geometry),
    }
}

fn geometry(geometry: &Geometry) -> common::Geometry {
    use common::geometry::GeometryType;
    let [x, y, z] = geometry.translation;
    let ([o_x, o_y, o_z], theta) = vector(&geometry.orientation);
    let shape = match &geometry.shape {
        Shape::Box([x, y, z]) => GeometryType::Box(common::RectangularPrism {
            dims_mm: Some(common::Vector3 { x: *x, y: *y, z: *z }),
        }),
        Shape::Sphere(radius_mm) => GeometryType::Sphere(common::Sphere { radius_mm: *radius_mm }),
        Shape::Capsule { radius, length } => GeometryType::Capsule(common::Capsule {
            radius_mm: *radius,
            length_mm: *length,
        }),
        // The wire has no points; a sphere without extent is one.
        Shape::Point => GeometryType::Sphere(common::Sphere { radius_mm: 0.0 }),
        Shape::Mesh {
            data,
            content_type,
            file_path,
        } => GeometryType::Mesh(common::Mesh {
            content_type: content_type.clone(),
            mesh: data.clone().into(),
            original_file_source_path_diagnostic: (!file_path.is_empty()).then(|| file_path.clone()),
        }),
    };
    common::Geometry {
        center: Some(common::Pose {
            x,
            y,
            z,
            o_x,
            o_y,
            o_z,
            theta: theta.to_degrees(),
        }),
        label: geometry.label.clone(),
        geometry_type: Some(shape),
    }
}

/// A direction this near to the z axis, by the cosine, has no longitude.
const POLE: f64 = 1e-4;

fn normal<const N: usize>(parts: [f64; N]) -> [f64; N] {
    let largest = parts.iter().fold(0.0_f64, |largest, part| largest.max(part.abs()));
    if largest == 0.0 {
        return parts;
    }
    // Scaled first, so that squares neither overflow nor vanish.
    let scaled = parts.map(|part| part / largest);
    let length = scaled.iter().map(|part| part * part).sum::<f64>().sqrt();
    scaled.map(|part| part / length)
}

fn multiply([aw, ax, ay, az]: [f64; 4], [bw, bx, by, bz]: [f64; 4]) -> [f64; 4] {
    [
        aw * bw - ax * bx - ay * by - az * bz,
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
    ]
}

fn around_y(angle: f64) -> [f64; 4] {
    let (sin, cos) = (angle / 2.0).sin_cos();
    [cos, 0.0, sin, 0.0]
}

fn around_z(angle: f64) -> [f64; 4] {
    let (sin, cos) = (angle / 2.0).sin_cos();
    [cos, 0.0, 0.0, sin]
}

/// The turn that leads the z axis to `axis` by its longitude, then its latitude; `axis` is of length one.
fn towards([x, y, z]: [f64; 3]) -> [f64; 4] {
    let longitude = if 1.0 - z.abs() > POLE { y.atan2(x) } else { 0.0 };
    multiply(around_z(longitude), around_y(z.clamp(-1.0, 1.0).acos()))
}

/// A rotation as a quaternion of length one: w, x, y, z.
fn quaternion(orientation: &Orientation) -> [f64; 4] {
    match *orientation {
        Orientation::None => [1.0, 0.0, 0.0, 0.0],
        Orientation::Vector { axis, theta } => multiply(towards(normal(axis)), around_z(theta)),
        Orientation::AxisAngles { axis, theta } => {
            let ([x, y, z], (sin, cos)) = (normal(axis), (theta / 2.0).sin_cos());
            [cos, x * sin, y * sin, z * sin]
        }
        Orientation::EulerAngles { roll, pitch, yaw } => {
            let (sin, cos) = (roll / 2.0).sin_cos();
            multiply(multiply(around_z(yaw), around_y(pitch)), [cos, sin, 0.0, 0.0])
        }
        Orientation::Quaternion(parts) => normal(parts),
    }
}

/// A rotation as the direction of its z axis and the turn around it, in radians.
fn vector(orientation: &Orientation) -> ([f64; 3], f64) {
    if let Orientation::Vector { axis, theta } = *orientation {
        return (normal(axis), theta);
    }
    let [w, x, y, z] = quaternion(orientation);
    let axis = [
        2.0 * (x * z + w * y),
        2.0 * (y * z - w * x),
        1.0 - 2.0 * (x * x + y * y),
    ];
    let [tw, tx, ty, tz] = towards(axis);
    let [rw, _, _, rz] = multiply([tw, -tx, -ty, -tz], [w, x, y, z]);
    // Of the two quaternions of a rotation take the one with w ≥ 0: a turn of at most half a circle.
    let theta = if rw < 0.0 {
        2.0 * (-rz).atan2(-rw)
    } else {
        2.0 * rz.atan2(rw)
    };
    (axis, theta)
}

/// A free-form map as its message.
pub fn object(object: &Object) -> Struct {
    Struct {
        fields: object.iter().map(|(key, field)| (key.clone(), value(field))).collect(),
    }
}

fn value(from: &Value) -> ProtoValue {
    let kind = match from {
        Value::Null => Kind::NullValue(0),
        Value::Bool(flag) => Kind::BoolValue(*flag),
        Value::Number(number) => Kind::NumberValue(*number),
        Value::Text(text) => Kind::StringValue(text.clone()),
        Value::List(items) => Kind::ListValue(ListValue {
            values: items.iter().map(value).collect(),
        }),
        Value::Map(map) => Kind::StructValue(object(map)),
    };
    ProtoValue { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::f64::consts::{FRAC_1_SQRT_2, FRAC_PI_2, PI};

    fn close<const N: usize>(a: [f64; N], b: [f64; N]) -> bool {
        a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-9)
    }

    #[test]
    fn rotations_become_the_quaternions_of_the_textbook() {
        let h = FRAC_1_SQRT_2;
        for (orientation, wanted) in [
            (Orientation::None, [1.0, 0.0, 0.0, 0.0]),
            (
                Orientation::Vector {
                    axis: [0.0, 0.0, 1.0],
                    theta: FRAC_PI_2,
                },
                [h, 0.0, 0.0, h],
            ),
            (
                Orientation::Vector {
                    axis: [0.0, 0.0, 7.0],
                    theta: 0.0,
                },
                [1.0, 0.0, 0.0, 0.0],
            ),
            (
                Orientation::Vector {
                    axis: [1.0, 0.0, 0.0],
                    theta: 0.0,
                },
                [h, 0.0, h, 0.0],
            ),
            (
                Orientation::Vector {
                    axis: [0.0, 0.0, -1.0],
                    theta: 0.0,
                },
                [0.0, 0.0, 1.0, 0.0],
            ),
            (
                Orientation::AxisAngles {
                    axis: [2.0, 0.0, 0.0],
                    theta: FRAC_PI_2,
                },
                [h, h, 0.0, 0.0],
            ),
            (
                Orientation::AxisAngles {
                    axis: [0.0; 3],
                    theta: 0.0,
                },
                [1.0, 0.0, 0.0, 0.0],
            ),
            (
                Orientation::EulerAngles {
                    roll: FRAC_PI_2,
                    pitch: 0.0,
                    yaw: 0.0,
                },
                [h, h, 0.0, 0.0],
            ),
            (
                Orientation::EulerAngles {
                    roll: 0.0,
                    pitch: FRAC_PI_2,
                    yaw: 0.0,
                },
                [h, 0.0, h, 0.0],
            ),
            (
                Orientation::EulerAngles {
                    roll: 0.0,
                    pitch: 0.0,
                    yaw: PI,
                },
                [0.0, 0.0, 0.0, 1.0],
            ),
            (
                Orientation::EulerAngles {
                    roll: 0.0,
                    pitch: FRAC_PI_2,
                    yaw: FRAC_PI_2,
                },
                [0.5, -0.5, 0.5, 0.5],
            ),
            (Orientation::Quaternion([0.0, 0.0, 2.0, 0.0]), [0.0, 0.0, 1.0, 0.0]),
        ] {
            let got = quaternion(&orientation);
            assert!(close(got, wanted), "{orientation:?}: {got:?}");
        }
    }

    proptest! {
        #[test]
        fn a_rotation_survives_the_way_through_direction_and_turn(parts in prop::array::uniform4(-1.0..1.0_f64)) {
            prop_assume!(parts.iter().map(|part| part * part).sum::<f64>() > 0.01);
            let before = normal(parts);
            let (axis, theta) = vector(&Orientation::Quaternion(before));
            let after = quaternion(&Orientation::Vector { axis, theta });
            let same: f64 = before.iter().zip(&after).map(|(a, b)| a * b).sum();
            // A quaternion and its opposite are one rotation. Near the poles longitude is left out on purpose.
            prop_assert!(same.abs() > 1.0 - POLE, "{before:?} {after:?}");
            prop_assert!(theta.abs() <= PI + 1e-9);
        }
    }
}
