//! Images of every encoding, broken ones, and mutations of both.

use proptest::prelude::*;

use super::*;

/// Start of image, an application segment, a filled-up marker, a table, then the frame of 640 x 480.
const JPEG_BYTES: &[u8] =
    b"\xff\xd8\xff\xe0\x00\x04JF\xff\xff\xc4\x00\x03\x00\xff\xc2\x00\x0b\x08\x01\xe0\x02\x80\x01\x01\x11\x00";
const PNG_BYTES: &[u8] = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR\x00\x00\x02\x80\x00\x00\x01\xe0\x08\x06\x00\x00\x00";
const QOI_BYTES: &[u8] = b"qoif\x00\x00\x02\x80\x00\x00\x01\xe0\x03\x00";

fn rgba() -> RgbaImage {
    RgbaImage::new(2, 1, vec![1, 2, 3, 4, 5, 6, 7, 8]).unwrap()
}

fn depth() -> DepthMap {
    DepthMap::new(1, 2, vec![0x0102, 65535]).unwrap()
}

#[test]
fn raw_images_are_encoded_as_peers_do() {
    assert_eq!(
        rgba().encode(),
        b"RGBA\0\0\0\x02\0\0\0\x01\x01\x02\x03\x04\x05\x06\x07\x08"
    );
    assert_eq!(
        depth().encode(),
        b"DEPTHMAP\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02\x01\x02\xff\xff"
    );
    assert_eq!(RgbaImage::decode(&rgba().encode()), Ok(rgba()));
    assert_eq!(DepthMap::decode(&depth().encode()), Ok(depth()));
    assert_eq!(
        (rgba().at(1, 0), rgba().at(0, 1), rgba().at(2, 0)),
        (Some([5, 6, 7, 8]), None, None)
    );
    assert_eq!((depth().at(0, 1), depth().at(1, 0)), (Some(65535), None));
}

#[test]
fn type_and_size_are_told_from_the_bytes() {
    let size = |width, height| Ok(Size { width, height });
    for (bytes, mime_type, expected) in [
        (JPEG_BYTES, JPEG, size(640, 480)),
        (PNG_BYTES, PNG, size(640, 480)),
        (QOI_BYTES, QOI, size(640, 480)),
        (&rgba().encode(), RAW_RGBA, size(2, 1)),
        (&depth().encode(), RAW_DEPTH, size(1, 2)),
        (&JPEG_BYTES[..20], JPEG, Err(ImageError::Header { mime_type: JPEG })),
        (
            b"\xff\xd8\xff\xda\x00\x04",
            JPEG,
            Err(ImageError::Header { mime_type: JPEG }),
        ),
        (
            b"RGBA\0\0\0\0\0\0\0\x01",
            RAW_RGBA,
            Err(ImageError::Header { mime_type: RAW_RGBA }),
        ),
    ] {
        assert_eq!(mime_type_of(bytes), Some(mime_type), "{bytes:?}");
        assert_eq!(size_of(bytes), expected, "{bytes:?}");
    }
    assert_eq!(mime_type_of(b"GIF89a"), None);
    assert_eq!(size_of(b""), Err(ImageError::Unknown));
    assert_eq!(without_lazy("image/png+lazy"), PNG);
    assert_eq!(without_lazy(RAW_RGBA), RAW_RGBA);
}

#[test]
fn a_size_that_is_not_that_of_the_pixels_is_refused() {
    let mut short = rgba().encode();
    short.pop();
    let error = RgbaImage::decode(&short).unwrap_err();
    assert_eq!(
        error.to_string(),
        "an image of type image/vnd.viam.rgba of 2 x 1 pixels does not have 19 bytes"
    );
    assert_eq!(
        DepthMap::decode(&rgba().encode()),
        Err(ImageError::Magic { expected: RAW_DEPTH })
    );
    // Times 4, the product is 2^64, which is 0 to those who do not look.
    let huge = b"RGBA\x80\0\0\0\x80\0\0\0";
    assert!(matches!(RgbaImage::decode(huge), Err(ImageError::Length { .. })));
    assert!(matches!(
        DepthMap::decode(b"DEPTHMAP\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0\0\0\0\x01"),
        Err(ImageError::Header { .. })
    ));
    assert!(DepthMap::new(0, 1, Vec::new()).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_mutation_is_survived(seed in 0..5_usize, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<bool>()), 1..6)) {
        let mut bytes = [JPEG_BYTES.to_vec(), PNG_BYTES.to_vec(), QOI_BYTES.to_vec(), rgba().encode(), depth().encode()][seed].clone();
        for (at, byte, cut) in changes {
            if bytes.is_empty() { break; }
            let at = at.index(bytes.len());
            if cut && byte < 64 { bytes.truncate(at) } else { bytes[at] = byte }
        }
        let _ = size_of(&bytes);
        if let Ok(image) = RgbaImage::decode(&bytes) {
            prop_assert_eq!(image.encode(), bytes.clone());
        }
        if let Ok(map) = DepthMap::decode(&bytes) {
            prop_assert_eq!(map.encode(), bytes);
        }
    }
}
