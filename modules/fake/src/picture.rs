//! Image of a fake camera: yellow in one corner, blue in the other, as JPEG or point cloud.
//!
//! Pixels are computed row by row while they are encoded, so no raw frame is ever in memory.

use bytes::{BufMut, Bytes, BytesMut};
use jpeg_encoder::{Encoder, EncodingError, ImageBuffer, JpegColorType, rgb_to_ycbcr};

/// Largest width and height, in pixels.
const MAX_SIDE_PX: i64 = 10_000;
const DEFAULT_WIDTH_PX: u16 = 1280;
const DEFAULT_HEIGHT_PX: u16 = 720;
/// JPEG quality, 1 to 100, the same as in peers.
const JPEG_QUALITY: u8 = 75;

/// Size of one point in bytes: x, y, z and a colour.
const POINT_BYTES: usize = 16;
/// Largest point cloud in bytes: a call cannot carry more.
const MAX_CLOUD_BYTES: usize = 32 * 1024 * 1024 - 1024;
const MM_PER_METRE: f32 = 1000.0;

/// Invalid size of an image.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PictureError {
    #[error("maximum supported pixel height or width for fake cameras is {MAX_SIDE_PX} pixels")]
    TooLarge,
    #[error("cannot use negative pixel height and width for fake cameras")]
    Negative,
    #[error("odd-number resolutions cannot be rendered, cannot use a {side} of {value}")]
    Odd { side: &'static str, value: i64 },
    #[error(
        "a point cloud of {} × {} pixels takes {bytes} bytes, and a call carries {MAX_CLOUD_BYTES}; give the camera a \
         smaller `width` or `height`", size.width, size.height
    )]
    CloudTooLarge { size: Size, bytes: usize },
    #[error("cannot encode a picture of {} × {} pixels as JPEG", size.width, size.height)]
    Jpeg { size: Size, source: EncodingError },
}

/// Size of an image in pixels; both sides are even and neither is 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Size {
    pub width: u16,
    pub height: u16,
}

impl Size {
    /// Checks the sides as configured, in pixels; 0 stands for the default of that side.
    pub(crate) fn of(width: i64, height: i64) -> Result<Self, PictureError> {
        if width.max(height) > MAX_SIDE_PX {
            return Err(PictureError::TooLarge);
        }
        if width.min(height) < 0 {
            return Err(PictureError::Negative);
        }
        for (side, value) in [("height", height), ("width", width)] {
            if value % 2 != 0 {
                return Err(PictureError::Odd { side, value });
            }
        }
        // Both are at most `MAX_SIDE_PX` here, which fits.
        let or = |value, default| if value == 0 { default } else { value as u16 };
        Ok(Self {
            width: or(width, DEFAULT_WIDTH_PX),
            height: or(height, DEFAULT_HEIGHT_PX),
        })
    }

    /// Relative distance of a pixel from the first corner: 0 there, 1 in the opposite one.
    fn distance(self, x: u16, y: u16) -> f32 {
        let diagonal = f32::from(self.width).hypot(f32::from(self.height));
        (f32::from(x).powi(2) + f32::from(y).powi(2)).sqrt() / diagonal
    }
}

/// Colour at a distance between 0 and 1, as red, green, blue.
fn colour(distance: f32) -> [u8; 3] {
    let blue = 255.0 * distance;
    let yellow = (255.0 - blue) as u8;
    [yellow, yellow, blue as u8]
}

/// Image whose columns are rotated to the left.
struct Picture {
    size: Size,
    shift: u16,
}

impl ImageBuffer for Picture {
    fn get_jpeg_color_type(&self) -> JpegColorType {
        JpegColorType::Ycbcr
    }

    fn width(&self) -> u16 {
        self.size.width
    }

    fn height(&self) -> u16 {
        self.size.height
    }

    fn fill_buffers(&self, y: u16, buffers: &mut [Vec<u8>; 4]) {
        let shift = self.shift % self.size.width;
        for x in (shift..self.size.width).chain(0..shift) {
            let [red, green, blue] = colour(self.size.distance(x, y));
            let (luma, cb, cr) = rgb_to_ycbcr(red, green, blue);
            buffers[0].push(luma);
            buffers[1].push(cb);
            buffers[2].push(cr);
        }
    }
}

/// Encodes the image as JPEG, its columns rotated by `shift` pixels. Takes some milliseconds per megapixel.
pub(crate) fn jpeg(size: Size, shift: u16) -> Result<Bytes, PictureError> {
    let mut out = Vec::new();
    Encoder::new(&mut out, JPEG_QUALITY)
        .encode_image(Picture { size, shift })
        .map_err(|source| PictureError::Jpeg { size, source })?;
    // It is kept as long as the camera lives, so the spare room of its growth is given back.
    out.shrink_to_fit();
    Ok(out.into())
}

/// Encodes the image as a binary PCD file: one point per pixel, in metres, higher where the image is more blue.
pub(crate) fn point_cloud(size: Size) -> Result<Bytes, PictureError> {
    let points = usize::from(size.width) * usize::from(size.height);
    let head = format!(
        "VERSION .7\nFIELDS x y z rgb\nSIZE 4 4 4 4\nTYPE F F F I\nCOUNT 1 1 1 1\nWIDTH {points}\nHEIGHT 1\n\
         VIEWPOINT 0 0 0 1 0 0 0\nPOINTS {points}\nDATA binary\n"
    );
    let bytes = head.len() + points * POINT_BYTES;
    if bytes > MAX_CLOUD_BYTES {
        return Err(PictureError::CloudTooLarge { size, bytes });
    }
    let mut cloud = BytesMut::with_capacity(bytes);
    cloud.put_slice(head.as_bytes());
    for y in 0..size.height {
        for x in 0..size.width {
            let distance = size.distance(x, y);
            let [red, green, blue] = colour(distance);
            cloud.put_f32_le(f32::from(x) / MM_PER_METRE);
            cloud.put_f32_le(f32::from(y) / MM_PER_METRE);
            cloud.put_f32_le(255.0 * distance / MM_PER_METRE);
            cloud.put_u32_le(u32::from_be_bytes([0, red, green, blue]));
        }
    }
    Ok(cloud.freeze())
}

/// Shift of an animated image in pixels, `unix_ms` milliseconds after 1970.
pub(crate) fn shift_at(unix_ms: u128, size: Size) -> u16 {
    // The rest of a division by a `u16` fits in one.
    (unix_ms / 20 % u128::from(size.width)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Size = Size { width: 64, height: 32 };

    #[test]
    fn sizes_have_defaults_and_limits() {
        for (width, height, expected) in [
            (0, 0, "1280 × 720"),
            (640, 0, "640 × 720"),
            (0, 480, "1280 × 480"),
            (10_000, 10_000, "10000 × 10000"),
            (
                10_001,
                2,
                "maximum supported pixel height or width for fake cameras is 10000 pixels",
            ),
            (-2, 2, "cannot use negative pixel height and width for fake cameras"),
            (
                3,
                2,
                "odd-number resolutions cannot be rendered, cannot use a width of 3",
            ),
            (
                3,
                5,
                "odd-number resolutions cannot be rendered, cannot use a height of 5",
            ),
        ] {
            let found = match Size::of(width, height) {
                Ok(size) => format!("{} × {}", size.width, size.height),
                Err(error) => error.to_string(),
            };
            assert_eq!(found, expected, "for {width} × {height}");
        }
    }

    #[test]
    fn colours_go_from_yellow_to_blue() {
        for (distance, expected) in [(0.0, [255, 255, 0]), (0.5, [127, 127, 127]), (1.0, [0, 0, 255])] {
            assert_eq!(colour(distance), expected, "at {distance}");
        }
    }

    #[test]
    fn a_jpeg_has_its_magic_and_its_size() {
        let frame = jpeg(SMALL, 0).unwrap();
        assert!(frame.starts_with(b"\xff\xd8\xff\xe0") && frame.ends_with(b"\xff\xd9"));
        // The frame header: precision 8, then height and width.
        let head = [0xff, 0xc0, 0x00, 0x11, 8, 0, 32, 0, 64];
        assert!(frame.windows(head.len()).any(|window| window == head));
    }

    #[test]
    fn a_moved_picture_is_another_one_until_it_has_gone_around() {
        let still = jpeg(SMALL, 0).unwrap();
        assert_ne!(still, jpeg(SMALL, 20).unwrap());
        assert_eq!(still, jpeg(SMALL, SMALL.width).unwrap());
    }

    #[test]
    fn an_animated_picture_moves_a_pixel_every_20_ms() {
        for (ms, shift) in [
            (0, 0),
            (19, 0),
            (20, 1),
            (20 * 63, 63),
            (20 * 64, 0),
            (1_800_000_000_000, 0),
        ] {
            assert_eq!(shift_at(ms, SMALL), shift, "after {ms} ms");
        }
    }

    #[test]
    fn a_point_cloud_has_one_coloured_point_per_pixel_in_metres() {
        let cloud = point_cloud(SMALL).unwrap();
        let split = cloud.windows(7).position(|window| window == b"binary\n").unwrap() + 7;
        let (head, points) = cloud.split_at(split);
        let head = std::str::from_utf8(head).unwrap();
        assert!(
            head.contains("FIELDS x y z rgb\n") && head.contains("\nPOINTS 2048\n"),
            "{head}"
        );
        assert_eq!(points.len(), 2048 * POINT_BYTES);
        let number = |point: usize, field: usize| {
            let at = point * POINT_BYTES + field * 4;
            <[u8; 4]>::try_from(&points[at..at + 4]).unwrap()
        };
        assert_eq!(u32::from_le_bytes(number(0, 3)), 0x00ff_ff00);
        // The last pixel is (63, 31).
        assert!((f32::from_le_bytes(number(2047, 0)) - 0.063).abs() < 1e-6);
        assert!((f32::from_le_bytes(number(2047, 1)) - 0.031).abs() < 1e-6);
        assert!((f32::from_le_bytes(number(2047, 2)) - 0.2502).abs() < 1e-4);
    }

    #[test]
    fn a_point_cloud_that_no_call_could_carry_is_refused() {
        let error = point_cloud(Size {
            width: 10_000,
            height: 10_000,
        })
        .unwrap_err();
        assert!(error.to_string().contains("smaller `width`"), "{error}");
    }
}
