//! Point clouds as PCD files, which is how cameras, SLAM and vision exchange them (`pointcloud/pcd`).
//!
//! ```
//! use mainstay_module::{pcd::{Color, Point, Points}, spatial::Vector3};
//!
//! let points = Points {
//!     points: vec![Point { position_mm: Vector3 { x: 1500.0, y: 0.0, z: 250.0 }, color: Some(Color { r: 255, g: 0, b: 0 }) }],
//! };
//! let bytes = points.to_pcd(); // What `Camera::point_cloud` returns.
//! assert_eq!(Points::from_pcd(&bytes).unwrap(), points);
//! ```
//!
//! Files hold metres as 32-bit floats; [`Points`] holds millimetres like all of this crate. Written is the one layout that
//! every peer reads: `DATA binary`, fields `x y z`, or `x y z rgb` if any point has a colour. Read are versions .5 to .7
//! as `ascii`, `binary` and `binary_compressed`, with fields of any order, size and type, of which those other than `x`,
//! `y`, `z`, `rgb` and `rgba` are passed over.

mod data;
mod header;
mod lzf;

#[cfg(test)]
mod tests;

use std::fmt::Write;

use crate::spatial::Vector3;

/// Millimetres in a metre.
const MM: f64 = 1000.0;

/// Points of a cloud.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Points {
    /// The points, in the order of the file.
    pub points: Vec<Point>,
}

/// Point of a cloud.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// Position in millimetres. Not a number where a sensor saw nothing, in clouds that keep the grid of its picture.
    pub position_mm: Vector3,
    /// Colour. In maps of SLAM its blue part is how certain the point is, 1 to 100.
    pub color: Option<Color>,
}

/// Colour of a point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "red, green and blue")]
pub struct Color {
    pub r: u8,
    pub g: u8,
    pub b: u8,
}

/// Why a PCD file cannot be read: where, and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PcdError {
    /// Line of the file, from 1; `None` where the data is binary and has no lines.
    pub line: Option<usize>,
    /// What is wrong.
    pub cause: String,
}

impl Points {
    /// Encodes the points as a PCD file, binary, in metres. If one point has a colour, all have; the others are black.
    #[must_use]
    pub fn to_pcd(&self) -> Vec<u8> {
        let color = self.points.iter().any(|point| point.color.is_some());
        let mut text = String::from("VERSION .7\n");
        text.push_str(if color {
            "FIELDS x y z rgb\nSIZE 4 4 4 4\nTYPE F F F I\nCOUNT 1 1 1 1\n"
        } else {
            "FIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\n"
        });
        let count = self.points.len();
        let _ = write!(
            text,
            "WIDTH {count}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {count}\nDATA binary\n"
        );
        let mut bytes = text.into_bytes();
        bytes.reserve_exact(count * if color { 16 } else { 12 });
        for Point {
            position_mm,
            color: own,
        } in &self.points
        {
            for mm in [position_mm.x, position_mm.y, position_mm.z] {
                bytes.extend_from_slice(&((mm / MM) as f32).to_le_bytes());
            }
            if color {
                let Color { r, g, b } = own.unwrap_or_default();
                bytes.extend_from_slice(&[b, g, r, 0]);
            }
        }
        bytes
    }

    /// Decodes a PCD file.
    ///
    /// # Errors
    /// The line and the cause, if the file is malformed, ends early, or has no `x`, `y` and `z`.
    pub fn from_pcd(bytes: &[u8]) -> Result<Self, PcdError> {
        let (header, data) = header::Header::read(bytes)?;
        Ok(Self {
            points: data::read(&header, data)?,
        })
    }
}

impl PcdError {
    fn at(line: usize, cause: impl Into<String>) -> Self {
        Self {
            line: Some(line),
            cause: cause.into(),
        }
    }

    fn in_data(cause: impl Into<String>) -> Self {
        Self {
            line: None,
            cause: cause.into(),
        }
    }
}

impl std::fmt::Display for PcdError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(line) => write!(f, "PCD file, line {line}: {}", self.cause),
            None => write!(f, "PCD file, binary data: {}", self.cause),
        }
    }
}

impl std::error::Error for PcdError {}
