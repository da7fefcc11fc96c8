//! Encoded images: the raw encodings of Viam, and what the first bytes of the others tell.
//!
//! ```
//! use mainstay_module::{api::camera::RAW_DEPTH, image::{self, DepthMap}};
//!
//! let map = DepthMap::new(2, 1, vec![1200, 0]).unwrap();
//! let bytes = map.encode();
//! assert_eq!(image::mime_type_of(&bytes), Some(RAW_DEPTH));
//! assert_eq!(image::size_of(&bytes).unwrap(), image::Size { width: 2, height: 1 });
//! assert_eq!(DepthMap::decode(&bytes).unwrap().at(0, 0), Some(1200));
//! ```
//!
//! | MIME type | First bytes | Then |
//! |---|---|---|
//! | `image/vnd.viam.rgba` | `RGBA` | width and height, 32 bits each; R, G, B, A of each pixel |
//! | `image/vnd.viam.dep` | `DEPTHMAP` | width and height, 64 bits each; the distance of each pixel in millimetres, 16 bits |
//!
//! Numbers are big-endian, pixels go row by row from the top left, and colours are not multiplied with alpha. Nothing
//! compressed is decoded here.

mod header;

#[cfg(test)]
mod tests;

use crate::api::camera::{JPEG, PNG, QOI, RAW_DEPTH, RAW_RGBA};

const RGBA_MAGIC: &[u8] = b"RGBA";
const DEPTH_MAGIC: &[u8] = b"DEPTHMAP";
/// Bytes before the pixels: the magic and two numbers.
const RGBA_HEADER: usize = 12;
const DEPTH_HEADER: usize = 24;

/// Width and height in pixels, neither of which is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they name themselves")]
pub struct Size {
    pub width: u32,
    pub height: u32,
}

/// Why bytes are no image of their kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageError {
    /// The first bytes are those of no known encoding.
    Unknown,
    /// The first bytes are not those of the encoding.
    Magic {
        /// MIME type of the encoding.
        expected: &'static str,
    },
    /// The header ends early, or its width and height are missing, 0 or larger than 32 bits.
    Header {
        /// MIME type of the encoding.
        mime_type: &'static str,
    },
    /// Width times height is not the number of pixels.
    Length {
        /// MIME type of the encoding.
        mime_type: &'static str,
        /// Width that the header or the caller tells.
        width: u32,
        /// Height that the header or the caller tells.
        height: u32,
        /// Bytes, header included, that there are.
        bytes: usize,
    },
}

/// Raw colour image (`image/vnd.viam.rgba`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RgbaImage {
    size: Size,
    pixels: Vec<u8>,
}

/// Distances of the pixels of an image (`image/vnd.viam.dep`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DepthMap {
    size: Size,
    depths_mm: Vec<u16>,
}

/// Returns the MIME type that the first bytes are of: JPEG, PNG, QOI, raw colours or raw depths; `None` for others.
#[must_use]
pub fn mime_type_of(bytes: &[u8]) -> Option<&'static str> {
    const MAGIC: [(&[u8], &str); 5] = [
        (b"\xff\xd8\xff", JPEG),
        (b"\x89PNG\r\n\x1a\n", PNG),
        (b"qoif", QOI),
        (RGBA_MAGIC, RAW_RGBA),
        (DEPTH_MAGIC, RAW_DEPTH),
    ];
    MAGIC
        .iter()
        .find_map(|(magic, mime_type)| bytes.starts_with(magic).then_some(*mime_type))
}

/// Returns the MIME type without the suffix `+lazy`, by which old peers say that they have not decoded the image.
#[must_use]
pub fn without_lazy(mime_type: &str) -> &str {
    mime_type.strip_suffix("+lazy").unwrap_or(mime_type)
}

/// Returns the width and height that the header tells, of every encoding that [`mime_type_of`] knows. Reads a few bytes,
/// and of a JPEG image what comes before the frame; whether the pixels are there is not looked at.
///
/// # Errors
/// [`ImageError::Unknown`] and [`ImageError::Header`].
pub fn size_of(bytes: &[u8]) -> Result<Size, ImageError> {
    let mime_type = mime_type_of(bytes).ok_or(ImageError::Unknown)?;
    let size = match mime_type {
        JPEG => header::jpeg(bytes),
        PNG => header::png(bytes),
        QOI => header::qoi(bytes),
        RAW_RGBA => header::u32_pair(bytes, RGBA_MAGIC.len()),
        _ => header::u64_pair(bytes, DEPTH_MAGIC.len()),
    };
    size.ok_or(ImageError::Header { mime_type })
}

impl RgbaImage {
    /// Creates an image of R, G, B, A of each pixel, row by row.
    ///
    /// # Errors
    /// [`ImageError`], if the pixels are not width times height times 4 bytes, or none.
    pub fn new(width: u32, height: u32, pixels: Vec<u8>) -> Result<Self, ImageError> {
        let size = size(RAW_RGBA, width, height, RGBA_HEADER, 4, pixels.len())?;
        Ok(Self { size, pixels })
    }

    /// Returns width and height.
    #[must_use]
    pub fn size(&self) -> Size {
        self.size
    }

    /// Returns R, G, B, A of all pixels, row by row.
    #[must_use]
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// Returns R, G, B, A of a pixel, from the top left; `None` outside of the image.
    #[must_use]
    pub fn at(&self, x: u32, y: u32) -> Option<[u8; 4]> {
        let start = index(self.size, x, y)? * 4;
        self.pixels[start..start + 4].try_into().ok()
    }

    /// Encodes the image as `image/vnd.viam.rgba`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(RGBA_HEADER + self.pixels.len());
        bytes.extend_from_slice(RGBA_MAGIC);
        bytes.extend_from_slice(&self.size.width.to_be_bytes());
        bytes.extend_from_slice(&self.size.height.to_be_bytes());
        bytes.extend_from_slice(&self.pixels);
        bytes
    }

    /// Decodes `image/vnd.viam.rgba`.
    ///
    /// # Errors
    /// [`ImageError`], if the bytes are no such image or not as many as its header tells.
    pub fn decode(bytes: &[u8]) -> Result<Self, ImageError> {
        let Size { width, height } = raw_size(bytes, RAW_RGBA)?;
        Self::new(width, height, bytes[RGBA_HEADER..].to_vec())
    }
}

impl DepthMap {
    /// Creates a map of the distances of the pixels in millimetres, row by row. 0 means that nothing was seen.
    ///
    /// # Errors
    /// [`ImageError`], if the distances are not width times height, or none.
    pub fn new(width: u32, height: u32, depths_mm: Vec<u16>) -> Result<Self, ImageError> {
        let size = size(
            RAW_DEPTH,
            width,
            height,
            DEPTH_HEADER,
            2,
            depths_mm.len().saturating_mul(2),
        )?;
        Ok(Self { size, depths_mm })
    }

    /// Returns width and height.
    #[must_use]
    pub fn size(&self) -> Size {
        self.size
    }

    /// Returns the distances of all pixels in millimetres, row by row.
    #[must_use]
    pub fn depths_mm(&self) -> &[u16] {
        &self.depths_mm
    }

    /// Returns the distance of a pixel in millimetres, from the top left; `None` outside of the map.
    #[must_use]
    pub fn at(&self, x: u32, y: u32) -> Option<u16> {
        self.depths_mm.get(index(self.size, x, y)?).copied()
    }

    /// Encodes the map as `image/vnd.viam.dep`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(DEPTH_HEADER + self.depths_mm.len() * 2);
        bytes.extend_from_slice(DEPTH_MAGIC);
        bytes.extend_from_slice(&u64::from(self.size.width).to_be_bytes());
        bytes.extend_from_slice(&u64::from(self.size.height).to_be_bytes());
        bytes.extend(self.depths_mm.iter().flat_map(|depth| depth.to_be_bytes()));
        bytes
    }

    /// Decodes `image/vnd.viam.dep`.
    ///
    /// # Errors
    /// [`ImageError`], if the bytes are no such map or not as many as its header tells.
    pub fn decode(bytes: &[u8]) -> Result<Self, ImageError> {
        let Size { width, height } = raw_size(bytes, RAW_DEPTH)?;
        let data = &bytes[DEPTH_HEADER..];
        let size = size(RAW_DEPTH, width, height, DEPTH_HEADER, 2, data.len())?;
        let depths_mm = data
            .as_chunks()
            .0
            .iter()
            .map(|pair| u16::from_be_bytes(*pair))
            .collect();
        Ok(Self { size, depths_mm })
    }
}

fn raw_size(bytes: &[u8], expected: &'static str) -> Result<Size, ImageError> {
    if mime_type_of(bytes) == Some(expected) {
        size_of(bytes)
    } else {
        Err(ImageError::Magic { expected })
    }
}

/// Checks that so many bytes of pixels are an image of this size.
fn size(
    mime_type: &'static str,
    width: u32,
    height: u32,
    header: usize,
    pixel: u64,
    length: usize,
) -> Result<Size, ImageError> {
    if width == 0 || height == 0 {
        return Err(ImageError::Header { mime_type });
    }
    let needed = (u64::from(width) * u64::from(height)).checked_mul(pixel);
    if needed != Some(length as u64) {
        return Err(ImageError::Length {
            mime_type,
            width,
            height,
            bytes: length.saturating_add(header),
        });
    }
    Ok(Size { width, height })
}

fn index(size: Size, x: u32, y: u32) -> Option<usize> {
    let inside = x < size.width && y < size.height;
    inside.then_some(y as usize * size.width as usize + x as usize)
}

impl std::fmt::Display for ImageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown => f.write_str("the first bytes are those of no known image encoding"),
            Self::Magic { expected } => write!(f, "the bytes are no image of type {expected}"),
            Self::Header { mime_type } => {
                write!(f, "the header of the image ({mime_type}) tells no width and height")
            }
            Self::Length {
                mime_type,
                width,
                height,
                bytes,
            } => write!(
                f,
                "an image of type {mime_type} of {width} x {height} pixels does not have {bytes} bytes"
            ),
        }
    }
}

impl std::error::Error for ImageError {}
