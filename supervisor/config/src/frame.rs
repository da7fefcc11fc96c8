//! `frame`: where a part sits, how it is turned and what shape it has. Lengths are millimetres.

use mainstay_model::Frame;
use mainstay_model::Geometry;
use mainstay_model::Orientation;
use mainstay_model::Shape;
use mainstay_model::Span;

use crate::node::{NodeValue, TreeNode};
use crate::read::{Keys, Reader};
use crate::values::help_for_word;
use crate::{keys, names};

pub(super) const SHAPES: [&str; 6] = ["box", "sphere", "capsule", "cylinder", "point", "mesh"];
pub(super) const ORIENTATIONS: [&str; 5] = ["ov_degrees", "ov_radians", "axis_angles", "euler_angles", "quaternion"];

/// A local error, which has been complained about.
#[derive(Debug, PartialEq)]
pub(super) struct Faulty;

/// Complains about a local error.
fn faulty(reader: &mut Reader, span: Span, message: impl Into<String>, help: &str) -> Faulty {
    reader.error_with(span, message, Some(help));
    Faulty
}

/// Reads the `frame` of the entry `owner`. `Ok(None)`: it has none.
///
/// # Errors
/// It means nothing, which has been complained about.
pub(super) fn frame(reader: &mut Reader, node: &TreeNode, owner: &str) -> Result<Option<Frame>, Faulty> {
    let Some(keys) = reader.keys(&keys::FRAME, node) else {
        return Ok(None);
    };
    let parent = reader.text_or_empty(&keys, "parent");
    let id = reader.text(&keys, "id").filter(|id| !id.is_empty()).map(str::to_owned);
    let translation = translation(reader, &keys);
    let orientation = orientation(reader, &keys);
    let geometry = keys.get("geometry").map(|node| geometry(reader, node));
    let (orientation, geometry) = (orientation?, geometry.transpose()?.flatten());
    if parent.is_empty() {
        let message = "a frame without `parent` counts for nothing";
        reader.warn(keys.span_of("parent"), message).help = Some("for example `parent: world`".to_owned());
        return Ok(None);
    }
    if id.as_deref().unwrap_or(owner) == "world" {
        reader
            .warn(
                keys.span_of("id"),
                "the frame name `world` is taken; this frame is not in the frame system",
            )
            .help = Some("give it another `id`".to_owned());
    }
    Ok(Some(Frame {
        parent,
        id,
        translation,
        orientation,
        geometry,
    }))
}

fn translation(reader: &mut Reader, keys: &Keys<'_>) -> [f64; 3] {
    let keys = reader.map(keys, "translation");
    keys.map_or([0.0; 3], |keys| {
        ["x", "y", "z"].map(|key| reader.number(&keys, key).unwrap_or_default())
    })
}

fn orientation(reader: &mut Reader, keys: &Keys<'_>) -> Result<Orientation, Faulty> {
    let Some(keys) = reader.map(keys, "orientation") else {
        return Ok(Orientation::None);
    };
    let kind = reader.text_or_empty(&keys, "type");
    let known: &'static keys::Section = match kind.as_str() {
        "" => return Ok(Orientation::None),
        "ov_degrees" | "ov_radians" | "axis_angles" => &keys::VECTOR,
        "euler_angles" => &keys::EULER,
        "quaternion" => &keys::QUATERNION,
        _ => {
            let help = help_for_word(&kind, &ORIENTATIONS);
            let message = format!("frame: orientation type `{}` is unknown", kind.escape_debug());
            return Err(faulty(reader, keys.span_of("type"), message, &help));
        }
    };
    let value = keys.get("value").and_then(|node| reader.keys(known, node));
    let mut number = |key: &str| {
        value
            .as_ref()
            .and_then(|keys| reader.number(keys, key))
            .unwrap_or_default()
    };
    let orientation = match kind.as_str() {
        "euler_angles" => Orientation::EulerAngles {
            roll: number("roll"),
            pitch: number("pitch"),
            yaw: number("yaw"),
        },
        "quaternion" => Orientation::Quaternion(["w", "x", "y", "z"].map(number)),
        _ => {
            let (axis, theta) = (["x", "y", "z"].map(&mut number), number("th"));
            match kind.as_str() {
                "ov_degrees" => Orientation::Vector {
                    axis,
                    theta: theta.to_radians(),
                },
                "ov_radians" => Orientation::Vector { axis, theta },
                _ => Orientation::AxisAngles { axis, theta },
            }
        }
    };
    let nothing = match orientation {
        Orientation::Vector { axis, .. } => axis == [0.0; 3],
        Orientation::AxisAngles { axis, theta } => axis == [0.0; 3] && theta != 0.0,
        Orientation::Quaternion(parts) => parts == [0.0; 4],
        Orientation::None | Orientation::EulerAngles { .. } => false,
    };
    if nothing {
        let help = "for example x: 0, y: 0, z: 1";
        let message = format!("frame: the vector of orientation `{kind}` is zero, so it points nowhere");
        return Err(faulty(reader, keys.span_of("value"), message, help));
    }
    Ok(orientation)
}

fn geometry(reader: &mut Reader, node: &TreeNode) -> Result<Option<Geometry>, Faulty> {
    let Some(keys) = reader.keys(&keys::GEOMETRY, node) else {
        return Ok(None);
    };
    let written = reader.text_or_empty(&keys, "type");
    let guessed = if !written.is_empty() {
        written.as_str()
    } else if ["x", "y", "z"].iter().any(|key| keys.get(key).is_some()) {
        "box"
    } else if keys.get("l").is_some() {
        "capsule"
    } else {
        "sphere"
    };
    let mut number = |key: &str| reader.number(&keys, key).unwrap_or_default();
    let shape = match guessed {
        "box" => Shape::Box(["x", "y", "z"].map(number)),
        "sphere" => Shape::Sphere(number("r")),
        "capsule" => Shape::Capsule {
            radius: number("r"),
            length: number("l"),
        },
        "point" => Shape::Point,
        "mesh" => mesh(reader, &keys)?,
        "cylinder" => {
            let help = "use a capsule of the same radius and length";
            let message = "frame: a cylinder cannot be sent to a module";
            return Err(faulty(reader, keys.span_of("type"), message, help));
        }
        other => {
            let help = help_for_word(other, &SHAPES);
            let message = format!("frame: geometry type `{}` is unknown", other.escape_debug());
            return Err(faulty(reader, keys.span_of("type"), message, &help));
        }
    };
    let translation = translation(reader, &keys);
    let orientation = orientation(reader, &keys)?;
    let label = reader.text_or_empty(&keys, "label");
    Ok(Some(Geometry {
        shape,
        translation,
        orientation,
        label,
    }))
}

fn mesh(reader: &mut Reader, keys: &Keys<'_>) -> Result<Shape, Faulty> {
    let (content_type, file_path) = (
        reader.text_or_empty(keys, "mesh_content_type"),
        reader.text_or_empty(keys, "mesh_file_path"),
    );
    let data = match keys.get("mesh_data") {
        Some(TreeNode {
            value: NodeValue::Text(text),
            span,
        }) => base64(text).ok_or_else(|| {
            let help = "encode the file, for example with base64 -w0";
            faulty(reader, *span, "frame: `mesh_data` is not base64", help)
        })?,
        Some(node) => {
            reader.wrong_type("`mesh_data`", node, "a text");
            Vec::new()
        }
        None => {
            let help = "this version reads no mesh files; put the file into `mesh_data` as base64";
            return Err(faulty(
                reader,
                keys.span,
                format!("frame: {}", names::missing("mesh_data")),
                help,
            ));
        }
    };
    Ok(Shape::Mesh {
        data,
        content_type,
        file_path,
    })
}

/// Standard base64 with padding; line breaks may stand anywhere.
fn base64(text: &str) -> Option<Vec<u8>> {
    let text: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\n' | b'\r')).collect();
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    if !text.len().is_multiple_of(4) || padding > 2 {
        return None;
    }
    let digits = &text[..text.len() - padding];
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    for group in digits.chunks(4) {
        let mut bits: u32 = 0;
        for byte in group {
            let value = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(value);
        }
        bits <<= 6 * (4 - group.len());
        // Four digits are three bytes, three are two, two are one.
        out.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_with_its_padding_and_nothing_else() {
        for (text, bytes) in [
            ("", Some(&b""[..])),
            ("Zg==", Some(b"f")),
            ("Zm8=", Some(b"fo")),
            ("Zm9v", Some(b"foo")),
            ("Zm9v\nYmFy", Some(b"foobar")),
            ("+/+/", Some(&[0xfb, 0xff, 0xbf])),
            ("Zg", None),
            ("Z===", None),
            ("Zm9*", None),
            ("Z=9v", None),
        ] {
            assert_eq!(base64(text).as_deref(), bytes, "{text}");
        }
    }
}
