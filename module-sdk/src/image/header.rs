//! Width and height from the headers of encoded images.

use super::Size;

/// PNG: the signature of 8 bytes, then the chunk IHDR, whose first two numbers they are (ISO/IEC 15948, 11.2.2).
pub(super) fn png(bytes: &[u8]) -> Option<Size> {
    (bytes.get(12..16)? == b"IHDR").then(|| u32_pair(bytes, 16))?
}

/// QOI: they follow the magic of 4 bytes (qoiformat.org).
pub(super) fn qoi(bytes: &[u8]) -> Option<Size> {
    u32_pair(bytes, 4)
}

/// JPEG: they are in the frame header, the segment SOF0 to SOF15, before which others are passed over (ITU-T T.81, B.2.2).
pub(super) fn jpeg(bytes: &[u8]) -> Option<Size> {
    // After the start of the image, FF D8.
    let mut rest = bytes.get(2..)?;
    loop {
        let [0xff, after @ ..] = rest else { return None };
        // Any number of FF may fill the space before a marker.
        let marker = after.iter().position(|byte| *byte != 0xff)?;
        let (marker, segment) = (after[marker], &after[marker + 1..]);
        match marker {
            // Markers without a segment.
            0x01 | 0xd0..=0xd7 => rest = segment,
            // Not a marker, start of another image, end of the image, start of its data.
            0x00 | 0xd8..=0xda => return None,
            // Those of this row that are no frame header: DHT, JPG, DAC.
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                // Length and precision come first. A height of 0 would be told after the data.
                let height = be_u16(segment, 3)?;
                let width = be_u16(segment, 5)?;
                return size(width.into(), height.into());
            }
            _ => rest = segment.get(usize::from(be_u16(segment, 0)?).max(2)..)?,
        }
    }
}

/// Two numbers of 32 bits, width and height.
pub(super) fn u32_pair(bytes: &[u8], at: usize) -> Option<Size> {
    let number = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    size(number(at)?.into(), number(at + 4)?.into())
}

/// Two numbers of 64 bits, width and height.
pub(super) fn u64_pair(bytes: &[u8], at: usize) -> Option<Size> {
    let number = |at: usize| Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    size(number(at)?, number(at + 8)?)
}

fn size(width: u64, height: u64) -> Option<Size> {
    let (width, height) = (u32::try_from(width).ok()?, u32::try_from(height).ok()?);
    (width > 0 && height > 0).then_some(Size { width, height })
}

fn be_u16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}
