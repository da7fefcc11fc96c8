//! Models in URDF (wiki.ros.org/urdf/XML): metres and radians, which become millimetres and degrees.
//!
//! A joint hangs on its parent link at its `origin`, and its child link on the joint, without a distance. A fixed joint is a
//! link. A joint of the name of a link is called `<name>_joint`. The root link hangs on `world`, unless that is its name.

use std::collections::BTreeMap;

use roxmltree::{Document, Node, ParsingOptions};

use super::{
    Frame, Joint, JointKind, KinematicsError, Mechanism, Mesh, MimicJoint, WORLD,
    geometry::around_cylinder,
    sva::unit,
    tree,
    xml::{Xml, children},
};
use crate::spatial::{EulerAngles, Geometry, Shape, Transform, Vector3};

/// Millimetres in a metre.
const MM: f64 = 1000.0;
/// Most nodes of a file: far more than any robot has.
const MAX_NODES: u32 = 200_000;

struct Reader<'a> {
    xml: Xml<'a>,
    links: BTreeMap<&'a str, Node<'a, 'a>>,
    /// Types of the joints, by name.
    joints: BTreeMap<&'a str, &'a str>,
    meshes: &'a BTreeMap<String, Mesh>,
}

pub(super) fn read(file: &[u8], meshes: &BTreeMap<String, Mesh>) -> Result<Mechanism, KinematicsError> {
    let text = std::str::from_utf8(file).map_err(|error| KinematicsError::at("file", error))?;
    let options = ParsingOptions {
        nodes_limit: MAX_NODES,
        ..ParsingOptions::default()
    };
    let document = Document::parse_with_options(text, options).map_err(|error| {
        let at = error.pos();
        KinematicsError::at(format!("line {}, column {}", at.row, at.col), error)
    })?;
    let (xml, robot) = (Xml(&document), document.root_element());
    if !robot.has_tag_name("robot") {
        return Err(xml.wrong(robot, "the file is not a `robot`"));
    }
    let mut links = BTreeMap::new();
    for link in children(robot, "link") {
        let name = xml.attribute(link, "name")?;
        if links.insert(name, link).is_some() {
            return Err(xml.wrong(link, format!("two links have the name `{name}`")));
        }
    }
    let joints = children(robot, "joint")
        .filter_map(|joint| Some((joint.attribute("name")?, joint.attribute("type")?)))
        .collect();
    let reader = Reader {
        xml,
        links,
        joints,
        meshes,
    };
    let mut frames = Vec::new();
    // By child, the frame of the joint that it hangs on.
    let mut parents = BTreeMap::new();
    for joint in children(robot, "joint") {
        let name = reader.xml.attribute(joint, "name")?;
        let parent = reader.xml.attribute(reader.xml.child(joint, "parent")?, "link")?;
        let child = reader.xml.attribute(reader.xml.child(joint, "child")?, "link")?;
        if !reader.links.contains_key(child) {
            let cause = format!("the child of joint `{name}`, `{child}`, is no link");
            return Err(reader.xml.wrong(joint, cause));
        }
        let id = reader.joint_id(name);
        if parents.insert(child, id.clone()).is_some() {
            return Err(reader
                .xml
                .wrong(joint, format!("link `{child}` is the child of two joints")));
        }
        frames.push(Frame {
            id,
            parent: parent.to_owned(),
            origin: reader.origin(joint)?,
            joint: reader.motion(joint)?,
            geometry: None,
        });
    }
    for (name, link) in &reader.links {
        if *name == WORLD && !parents.contains_key(name) {
            continue;
        }
        frames.push(Frame {
            id: (*name).to_owned(),
            parent: parents.remove(name).unwrap_or_else(|| WORLD.to_owned()),
            origin: Transform::identity(),
            joint: None,
            geometry: reader.collision(*link)?,
        });
    }
    tree::assemble(robot.attribute("name").unwrap_or_default().to_owned(), frames, None)
}

impl Reader<'_> {
    /// Names of links and joints may be alike in this format, and those of frames not.
    fn joint_id(&self, name: &str) -> String {
        if self.links.contains_key(name) {
            format!("{name}_joint")
        } else {
            name.to_owned()
        }
    }

    fn origin(&self, node: Node<'_, '_>) -> Result<Transform, KinematicsError> {
        let Some(origin) = children(node, "origin").next() else {
            return Ok(Transform::identity());
        };
        let position = self.xml.vector(origin, "xyz")?.unwrap_or_default();
        let Vector3 {
            x: roll,
            y: pitch,
            z: yaw,
        } = self.xml.vector(origin, "rpy")?.unwrap_or_default();
        Ok(Transform::new(scaled(position), EulerAngles { roll, pitch, yaw }))
    }

    fn motion(&self, joint: Node<'_, '_>) -> Result<Option<Joint>, KinematicsError> {
        let (kind, endless) = match self.xml.attribute(joint, "type")? {
            "fixed" => return Ok(None),
            "revolute" => (JointKind::Revolute, false),
            "continuous" => (JointKind::Revolute, true),
            "prismatic" => (JointKind::Prismatic, false),
            other => {
                return Err(self
                    .xml
                    .wrong(joint, format!("joints of type `{other}` are not supported")));
            }
        };
        let axis = match children(joint, "axis").next() {
            Some(axis) => self.xml.vector(axis, "xyz")?,
            None => None,
        };
        // What the format says where there is none.
        let axis = unit(axis.unwrap_or(Vector3 { x: 1.0, y: 0.0, z: 0.0 }))
            .ok_or_else(|| self.xml.wrong(joint, "the axis has no direction"))?;
        let limit = children(joint, "limit").next();
        let number = |name| match limit {
            Some(limit) => self.xml.number(limit, name),
            None => Ok(None),
        };
        let unit = scale(kind);
        let (min, max) = if endless {
            (f64::NEG_INFINITY, f64::INFINITY)
        } else if limit.is_none() {
            return Err(self.xml.wrong(joint, "the joint has no `limit`"));
        } else {
            let side = |name| Ok(number(name)?.unwrap_or_default() * unit);
            (side("lower")?, side("upper")?)
        };
        if min > max {
            return Err(self.xml.wrong(joint, "`lower` is more than `upper`"));
        }
        let mimic = match children(joint, "mimic").next() {
            None => None,
            Some(mimic) => Some(self.mimic(mimic, unit)?),
        };
        Ok(Some(Joint {
            kind,
            axis,
            min,
            max,
            // 0 is what files have that know none.
            max_velocity: number("velocity")?
                .filter(|velocity| *velocity > 0.0)
                .map(|velocity| velocity * unit),
            max_acceleration: None,
            mimic,
        }))
    }

    fn mimic(&self, mimic: Node<'_, '_>, unit: f64) -> Result<MimicJoint, KinematicsError> {
        let name = self.xml.attribute(mimic, "joint")?;
        // A finger that slides may follow one that turns.
        let followed = match self.joints.get(name) {
            Some(&"prismatic") => scale(JointKind::Prismatic),
            _ => scale(JointKind::Revolute),
        };
        Ok(MimicJoint {
            joint: self.joint_id(name),
            multiplier: self.xml.number(mimic, "multiplier")?.unwrap_or(1.0) * unit / followed,
            offset: self.xml.number(mimic, "offset")?.unwrap_or_default() * unit,
        })
    }

    /// Returns the solid of the first `collision`, or the capsule of a cylinder and two spheres of its radius.
    fn collision(&self, link: Node<'_, '_>) -> Result<Option<Geometry>, KinematicsError> {
        let mut solids = Vec::new();
        // Three are enough to know a capsule, and a fourth that it is none.
        for collision in children(link, "collision").take(4) {
            let Some(element) = children(collision, "geometry")
                .next()
                .and_then(|node| node.first_element_child())
            else {
                return Err(self.xml.wrong(collision, "the collision has no geometry"));
            };
            solids.push((element, self.origin(collision)?));
        }
        if let [(_, _), (_, _), (_, _)] = solids[..]
            && let Some(capsule) = self.capsule(&solids)?
        {
            return Ok(Some(capsule));
        }
        let Some((element, center)) = solids.first() else {
            return Ok(None);
        };
        Ok(self.shape(*element)?.map(|shape| Geometry {
            center: (*center).into(),
            shape,
            label: String::new(),
        }))
    }

    fn capsule(&self, solids: &[(Node<'_, '_>, Transform)]) -> Result<Option<Geometry>, KinematicsError> {
        let Some((cylinder, center)) = solids.iter().find(|(element, _)| element.has_tag_name("cylinder")) else {
            return Ok(None);
        };
        let (radius_mm, length_mm) = self.cylinder(*cylinder)?;
        for (element, _) in solids.iter().filter(|(element, _)| element.id() != cylinder.id()) {
            if !element.has_tag_name("sphere") || (self.size_mm(*element, "radius")? - radius_mm).abs() > 1e-6 {
                return Ok(None);
            }
        }
        Ok(Some(Geometry {
            center: (*center).into(),
            shape: around_cylinder(radius_mm, length_mm),
            label: String::new(),
        }))
    }

    /// Returns the shape; `None` for a mesh that did not come along.
    fn shape(&self, element: Node<'_, '_>) -> Result<Option<Shape>, KinematicsError> {
        Ok(Some(match element.tag_name().name() {
            "box" => {
                let size = self.xml.vector(element, "size")?;
                let dims_mm = scaled(size.ok_or_else(|| self.xml.wrong(element, "the box has no `size`"))?);
                if dims_mm.x < 0.0 || dims_mm.y < 0.0 || dims_mm.z < 0.0 {
                    return Err(self.xml.wrong(element, "`size` is less than 0"));
                }
                Shape::Cuboid { dims_mm }
            }
            "sphere" => Shape::Sphere {
                radius_mm: self.size_mm(element, "radius")?,
            },
            "cylinder" => {
                let (radius_mm, length_mm) = self.cylinder(element)?;
                around_cylinder(radius_mm, length_mm)
            }
            "mesh" => {
                let path = self.xml.attribute(element, "filename")?;
                let stripped = path.strip_prefix("package://").unwrap_or(path);
                let Some(mesh) = self.meshes.get(path).or_else(|| self.meshes.get(stripped)) else {
                    return Ok(None);
                };
                Shape::Mesh {
                    content_type: mesh.content_type.clone(),
                    bytes: mesh.bytes.clone(),
                }
            }
            other => return Err(self.xml.wrong(element, format!("`{other}` is no geometry"))),
        }))
    }

    fn size_mm(&self, element: Node<'_, '_>, name: &str) -> Result<f64, KinematicsError> {
        Ok(self.xml.size(element, name)? * MM)
    }

    fn cylinder(&self, element: Node<'_, '_>) -> Result<(f64, f64), KinematicsError> {
        Ok((self.size_mm(element, "radius")?, self.size_mm(element, "length")?))
    }
}

/// Degrees in a radian, or millimetres in a metre.
fn scale(kind: JointKind) -> f64 {
    match kind {
        JointKind::Revolute => 1_f64.to_degrees(),
        JointKind::Prismatic => MM,
    }
}

fn scaled(Vector3 { x, y, z }: Vector3) -> Vector3 {
    Vector3 {
        x: x * MM,
        y: y * MM,
        z: z * MM,
    }
}
