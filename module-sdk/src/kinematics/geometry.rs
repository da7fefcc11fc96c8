//! Solids of links in JSON.

use base64::Engine;

use super::{KinematicsError, json::Members};
use crate::spatial::{Geometry, Shape, Vector3};

/// Reads the member `geometry`, in mm. Without a type, its sizes tell which it is; without any there is none.
pub(super) fn read(link: &Members<'_>) -> Result<Option<Geometry>, KinematicsError> {
    let Some(geometry) = link.object("geometry")? else {
        return Ok(None);
    };
    let size = |name| match geometry.number(name)?.unwrap_or_default() {
        size if size >= 0.0 => Ok(size),
        size => Err(geometry.wrong(format!("`{name}` is {size}, which is less than 0"))),
    };
    let dims_mm = Vector3 {
        x: size("x")?,
        y: size("y")?,
        z: size("z")?,
    };
    let (radius_mm, length_mm) = (size("r")?, size("l")?);
    // Files that are made by program have all sizes, of which those that do not apply are 0.
    let kind = match geometry.text("type")? {
        "" if dims_mm != Vector3::default() => "box",
        "" if length_mm > 0.0 => "capsule",
        "" if radius_mm > 0.0 => "sphere",
        "" => return Ok(None),
        kind => kind,
    };
    let shape = match kind {
        "box" => Shape::Cuboid { dims_mm },
        "sphere" => Shape::Sphere { radius_mm },
        "point" => Shape::Sphere { radius_mm: 0.0 },
        "capsule" if length_mm < 2.0 * radius_mm => {
            return Err(geometry.wrong(format!(
                "a capsule of radius {radius_mm} is at least {} long, not {length_mm}",
                2.0 * radius_mm
            )));
        }
        "capsule" => Shape::Capsule { radius_mm, length_mm },
        "cylinder" => around_cylinder(radius_mm, length_mm),
        "mesh" => {
            let bytes = base64::engine::general_purpose::STANDARD
                .decode(geometry.text("mesh_data")?)
                .map_err(|_| geometry.wrong("`mesh_data` is not base64"))?;
            if bytes.is_empty() {
                return Err(geometry.wrong("`mesh_data` is missing; files beside this one are not read"));
            }
            Shape::Mesh {
                content_type: geometry.text("mesh_content_type")?.to_owned(),
                bytes: bytes.into(),
            }
        }
        other => return Err(geometry.wrong(format!("`{other}` is no type of geometries"))),
    };
    Ok(Some(Geometry {
        center: geometry.transform()?.into(),
        shape,
        label: geometry.text("label")?.to_owned(),
    }))
}

/// Returns the capsule around a cylinder, which has no shape of its own on the wire: rather too large than too small.
pub(super) fn around_cylinder(radius_mm: f64, length_mm: f64) -> Shape {
    Shape::Capsule {
        radius_mm,
        length_mm: length_mm + 2.0 * radius_mm,
    }
}
