//! The points of a PCD file, in its three forms.

use super::{
    Color, MM, PcdError, Point,
    header::{Field, Format, Header, Kind, shown},
    lzf,
};
use crate::spatial::Vector3;

/// Most points of compressed data, and most bytes of it unpacked: a small message may announce a thousand times its size.
const MAX_COMPRESSED_POINTS: usize = 1 << 24;
const MAX_UNPACKED: usize = 256 << 20;

/// Where a field that matters is.
#[derive(Clone, Copy)]
struct Place {
    /// Offset of its first value in a point of binary data, in bytes.
    offset: usize,
    /// Words of a line before its first value.
    word: usize,
    size: usize,
    kind: Kind,
}

struct Places {
    position: [Place; 3],
    color: Option<Place>,
}

pub(super) fn read(header: &Header, data: &[u8]) -> Result<Vec<Point>, PcdError> {
    let places = Places::of(header)?;
    match header.format {
        Format::Ascii => ascii(header, &places, data),
        Format::Binary => {
            let stride = header.stride();
            let needed = header.points.checked_mul(stride).filter(|needed| *needed <= data.len());
            let needed = needed.ok_or_else(|| short(header, stride, data.len()))?;
            // What follows is passed over, as other readers do.
            Ok(data[..needed]
                .chunks_exact(stride)
                .map(|point| places.point(|place| &point[place.offset..]))
                .collect())
        }
        Format::Compressed => compressed(header, &places, data),
    }
}

fn ascii(header: &Header, places: &Places, data: &[u8]) -> Result<Vec<Point>, PcdError> {
    let text = std::str::from_utf8(data).map_err(|error| {
        let lines = data[..error.valid_up_to()]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        PcdError::at(header.data_line + lines, "the data is said to be ascii and is not text")
    })?;
    let words = header.fields.iter().map(|field| field.count).sum::<usize>();
    // Each point takes its words and the spaces between them.
    let mut points = Vec::with_capacity(header.points.min(data.len() / (2 * words) + 1));
    let mut line_number = header.data_line;
    for (number, line) in (header.data_line..).zip(text.lines()) {
        line_number = number;
        if points.len() == header.points {
            break;
        }
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let values: Vec<_> = line.split_ascii_whitespace().take(words + 1).collect();
        if values.len() != words {
            let has = if values.len() > words {
                "more".to_owned()
            } else {
                values.len().to_string()
            };
            return Err(PcdError::at(
                number,
                format!("the point has {has} values, its fields have {words}"),
            ));
        }
        let at = |place: Place| {
            place.parse(values[place.word]).ok_or_else(|| {
                PcdError::at(
                    number,
                    format!("`{}` is not a number of its field", shown(values[place.word])),
                )
            })
        };
        let [x, y, z] = places.position;
        let position = Vector3 {
            x: at(x)?.number(x),
            y: at(y)?.number(y),
            z: at(z)?.number(z),
        };
        let color = places.color.map(&at).transpose()?.map(Raw::color);
        points.push(point(position, color));
    }
    if points.len() < header.points {
        return Err(PcdError::at(
            line_number,
            format!("the data ends after {} of {} points", points.len(), header.points),
        ));
    }
    Ok(points)
}

/// Two lengths, then the compressed bytes: field after field, each with the values of all points.
fn compressed(header: &Header, places: &Places, data: &[u8]) -> Result<Vec<Point>, PcdError> {
    let length = |at: usize| {
        let bytes = data.get(at..at + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize)
    };
    let (Some(packed), Some(unpacked)) = (length(0), length(4)) else {
        return Err(PcdError::in_data("it ends before the lengths of what is compressed"));
    };
    let needed = header.points.checked_mul(header.stride());
    if needed != Some(unpacked) {
        return Err(PcdError::in_data(format!(
            "{unpacked} bytes are compressed, which is not {} points of {} bytes",
            header.points,
            header.stride()
        )));
    }
    if header.points == 0 {
        return Ok(Vec::new());
    }
    if header.points > MAX_COMPRESSED_POINTS || unpacked > MAX_UNPACKED {
        return Err(PcdError::in_data(format!(
            "compressed clouds are read up to {MAX_COMPRESSED_POINTS} points and {MAX_UNPACKED} bytes, this one has {} and {unpacked}",
            header.points
        )));
    }
    let input = data[8..].get(..packed).ok_or_else(|| {
        PcdError::in_data(format!(
            "{packed} compressed bytes are announced, {} follow",
            data.len() - 8
        ))
    })?;
    let output = lzf::decompress(input, unpacked).ok_or_else(|| {
        PcdError::in_data(format!(
            "the compressed bytes are damaged, or not {unpacked} when unpacked"
        ))
    })?;
    // Of a field of several values a point has them side by side.
    let width = |offset: usize| {
        let mut start = 0;
        for field in &header.fields {
            if start == offset {
                return field.bytes();
            }
            start += field.bytes();
        }
        0
    };
    let column = |place: Place| (place.offset * header.points, width(place.offset));
    let [x, y, z] = places.position.map(column);
    let color = places.color.map(column);
    Ok((0..header.points)
        .map(|index| {
            let at = |(start, width): (usize, usize)| &output[start + index * width..];
            let [px, py, pz] = places.position;
            let position = Vector3 {
                x: px.decode(at(x)).number(px),
                y: py.decode(at(y)).number(py),
                z: pz.decode(at(z)).number(pz),
            };
            let color = places
                .color
                .zip(color)
                .map(|(place, column)| place.decode(at(column)).color());
            point(position, color)
        })
        .collect())
}

fn short(header: &Header, stride: usize, length: usize) -> PcdError {
    PcdError::in_data(format!(
        "{} points of {stride} bytes are announced, {length} bytes follow",
        header.points
    ))
}

fn point(metres: Vector3, color: Option<Color>) -> Point {
    let Vector3 { x, y, z } = metres;
    Point {
        position_mm: Vector3 {
            x: x * MM,
            y: y * MM,
            z: z * MM,
        },
        color,
    }
}

impl Places {
    fn of(header: &Header) -> Result<Self, PcdError> {
        let find = |name: &str| {
            let index = header
                .fields
                .iter()
                .position(|field| field.name == name && field.count > 0)?;
            let before = &header.fields[..index];
            let Field { size, kind, .. } = header.fields[index];
            Some(Place {
                offset: before.iter().map(Field::bytes).sum(),
                word: before.iter().map(|field| field.count).sum(),
                size,
                kind,
            })
        };
        let (Some(x), Some(y), Some(z)) = (find("x"), find("y"), find("z")) else {
            return Err(PcdError::at(header.data_line, "there are no fields `x`, `y` and `z`"));
        };
        // Four bytes packed as one number, whatever it is said to be; in other sizes it is something else.
        let color = find("rgb").or_else(|| find("rgba")).filter(|place| place.size == 4);
        Ok(Self {
            position: [x, y, z],
            color,
        })
    }

    fn point<'a>(&self, bytes: impl Fn(Place) -> &'a [u8]) -> Point {
        let [x, y, z] = self.position.map(|place| place.decode(bytes(place)).number(place));
        let color = self.color.map(|place| place.decode(bytes(place)).color());
        point(Vector3 { x, y, z }, color)
    }
}

/// Value of a field as its bits, little-endian, filled up with zeros.
#[derive(Clone, Copy)]
struct Raw(u64);

impl Place {
    /// Reads the value at the start of the bytes.
    fn decode(self, bytes: &[u8]) -> Raw {
        let mut raw = [0; 8];
        raw[..self.size].copy_from_slice(&bytes[..self.size]);
        Raw(u64::from_le_bytes(raw))
    }

    /// Reads the value from text; `None` if it is none of its type. A colour of type F is the number that has its bits.
    fn parse(self, text: &str) -> Option<Raw> {
        Some(Raw(match (self.kind, self.size) {
            (Kind::Float, 8) => text.parse::<f64>().ok()?.to_bits(),
            (Kind::Float, _) => text.parse::<f32>().ok()?.to_bits().into(),
            (Kind::Signed, size) => {
                let value = text.parse::<i64>().ok()?;
                // Colours are often said to be signed and written unsigned.
                let fits = size == 8 || (-(1_i64 << (size * 8 - 1))..1_i64 << (size * 8)).contains(&value);
                fits.then_some(value as u64 & mask(size))?
            }
            (Kind::Unsigned, size) => {
                let value = text.parse::<u64>().ok()?;
                (value <= mask(size)).then_some(value)?
            }
        }))
    }
}

impl Raw {
    fn number(self, Place { size, kind, .. }: Place) -> f64 {
        let shift = 64 - 8 * size as u32;
        match kind {
            Kind::Float if size == 8 => f64::from_bits(self.0),
            Kind::Float => f32::from_bits(self.0 as u32).into(),
            Kind::Signed => ((self.0 << shift) as i64 >> shift) as f64,
            Kind::Unsigned => self.0 as f64,
        }
    }

    fn color(self) -> Color {
        let [b, g, r, ..] = self.0.to_le_bytes();
        Color { r, g, b }
    }
}

/// The bits of a value of so many bytes.
fn mask(size: usize) -> u64 {
    u64::MAX >> (64 - 8 * size)
}
