//! Types of camera pictures in encoded answers of SDKs of before `Image.mime_type`: told by `Image.format`, else by the first bytes
//! of the picture, and filled in. The bytes of pictures are never copied.

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
use prost::encoding::encode_varint;

use crate::fields::{FieldValue, Malformed, field, varint};

/// Field of `Image`s, in each message that has some.
const IMAGES: u32 = 1;
/// `Image.format`, which newer definitions reserve.
const FORMAT: u32 = 2;
/// `Image.image`: the picture.
const PICTURE: u32 = 3;
/// `Image.mime_type`.
const MIME_TYPE: u32 = 4;

/// Bytes that hold the tag and the length, or number, of any field; and the beginning of any picture.
const WINDOW: usize = 20;

/// Pieces shorter than this are copied together, so that none becomes a frame of its own.
const SMALL: usize = 1 << 10;

/// Outcome of the look at one answer.
#[derive(Debug, PartialEq, Eq)]
pub enum ImageVerdict {
    /// The types are there.
    Modern,
    /// Some were not. The answer with those that could be told filled in; empty if none could.
    Old(Vec<Bytes>),
    /// No picture in it, or no message at all.
    Unknown,
}

/// Fills in the types of the message that lies at `message` in these chunks, behind the header of its gRPC frame; it may become
/// as long as `longest`.
pub fn fill(chunks: &[Bytes], message: Range<usize>, longest: usize) -> ImageVerdict {
    let chunks = &Chunks::new(chunks);
    let Range { start, end } = message;
    let Ok(images) = images(chunks, start, end) else {
        return ImageVerdict::Unknown;
    };
    if images.is_empty() {
        return ImageVerdict::Unknown;
    }
    if images.iter().all(|image| image.typed) {
        return ImageVerdict::Modern;
    }
    let mut pieces = Pieces::default();
    let mut at = start;
    for image in images.iter().filter(|image| !image.typed) {
        let Some(mime_type) = image.mime_type() else { continue };
        // Behind all other fields: of several the last one counts.
        let mut added = BytesMut::new();
        put_varint(&mut added, u64::from(MIME_TYPE << 3 | 2));
        put_varint(&mut added, mime_type.len() as u64);
        added.put_slice(mime_type.as_bytes());
        pieces.take(chunks, at, image.length_at);
        pieces.put_varint((image.end - image.start + added.len()) as u64);
        pieces.take(chunks, image.start, image.end);
        pieces.put(&added);
        at = image.end;
    }
    if at == start {
        return ImageVerdict::Old(Vec::new());
    }
    pieces.take(chunks, at, end);
    let length = pieces.length;
    let Some(length) = u32::try_from(length).ok().filter(|_| length <= longest) else {
        return ImageVerdict::Old(Vec::new());
    };
    // Whatever follows the message.
    pieces.take(chunks, end, chunks.length);
    let mut header = BytesMut::with_capacity(start);
    header.put_u8(0);
    header.put_u32(length);
    ImageVerdict::Old(pieces.finish(header))
}

/// An `Image` in a message.
#[derive(Debug)]
struct Image {
    /// Position of its length, right after its tag.
    length_at: usize,
    start: usize,
    end: usize,
    format: u64,
    /// Beginning of the picture.
    beginning: Window,
    /// Whether its MIME type is there.
    typed: bool,
}

impl Image {
    /// MIME type by the module's own word, else by the picture's first bytes.
    fn mime_type(&self) -> Option<&'static str> {
        of_format(self.format).or_else(|| of_bytes(self.beginning.as_slice()))
    }
}

/// MIME type for `Image.format`.
fn of_format(format: u64) -> Option<&'static str> {
    match format {
        1 => Some("image/vnd.viam.rgba"),
        2 => Some("image/vnd.viam.dep"),
        3 => Some("image/jpeg"),
        4 => Some("image/png"),
        _ => None,
    }
}

/// MIME type for a picture that begins with these bytes.
fn of_bytes(picture: &[u8]) -> Option<&'static str> {
    const BEGINNINGS: [(&[u8], &str); 5] = [
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"DEPTHMAP", "image/vnd.viam.dep"),
        (b"RGBA", "image/vnd.viam.rgba"),
        (b"qoif", "image/qoi"),
    ];
    let found = BEGINNINGS.iter().find(|(beginning, _)| picture.starts_with(beginning));
    found.map(|(_, mime_type)| *mime_type)
}

/// The images of the message from `at` to `end`.
fn images(chunks: &Chunks<'_>, mut at: usize, end: usize) -> Result<Vec<Image>, Malformed> {
    let mut images = Vec::new();
    while at < end {
        let found = chunks.field(at, end)?;
        if let (IMAGES, Some(start)) = (found.number, found.bytes) {
            let mut image = Image {
                length_at: found.value,
                start,
                end: found.next,
                format: 0,
                beginning: Window::default(),
                typed: false,
            };
            read_image(chunks, &mut image)?;
            images.push(image);
        }
        at = found.next;
    }
    Ok(images)
}

fn read_image(chunks: &Chunks<'_>, image: &mut Image) -> Result<(), Malformed> {
    let mut at = image.start;
    while at < image.end {
        let found = chunks.field(at, image.end)?;
        match (found.number, found.bytes) {
            (FORMAT, None) => {
                let number = chunks.window(found.value, image.end);
                image.format = varint(number.as_slice(), 0)?.map_or(0, |(number, _)| number);
            }
            (PICTURE, Some(start)) => image.beginning = chunks.window(start, found.next),
            (MIME_TYPE, Some(start)) => image.typed = found.next > start,
            _ => {}
        }
        at = found.next;
    }
    Ok(())
}

/// Field of a message that lies in chunks.
struct Found {
    number: u32,
    /// Position behind the tag.
    value: usize,
    /// First byte of its content, if it has a length.
    bytes: Option<usize>,
    next: usize,
}

/// A few bytes out of chunks, in one piece.
#[derive(Debug, Default)]
struct Window {
    bytes: [u8; WINDOW],
    length: usize,
}

impl Window {
    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// Bytes that lie in several chunks, read as if they lay in one.
struct Chunks<'c> {
    chunks: &'c [Bytes],
    /// Position of the first byte of each.
    starts: Vec<usize>,
    length: usize,
}

impl<'c> Chunks<'c> {
    fn new(chunks: &'c [Bytes]) -> Self {
        let mut length = 0;
        let starts = chunks
            .iter()
            .map(|chunk| {
                let start = length;
                length += chunk.len();
                start
            })
            .collect();
        Self { chunks, starts, length }
    }

    /// The slices from `from` to `to`, without copying.
    fn slices(&self, from: usize, to: usize) -> impl Iterator<Item = (&'c Bytes, Range<usize>)> {
        let first = self.starts.partition_point(|start| *start <= from).saturating_sub(1);
        let after = self.starts.iter().zip(self.chunks).skip(first);
        after
            .take_while(move |(start, _)| **start < to)
            .filter_map(move |(start, chunk)| {
                let range = from.saturating_sub(*start)..(to - start).min(chunk.len());
                (range.start < range.end).then_some((chunk, range))
            })
    }

    /// Up to [`WINDOW`] bytes from `at` on, and none from `end` on.
    fn window(&self, at: usize, end: usize) -> Window {
        let mut window = Window::default();
        for (chunk, range) in self.slices(at, end.min(at + WINDOW)) {
            let length = window.length + range.len();
            window.bytes[window.length..length].copy_from_slice(&chunk[range]);
            window.length = length;
        }
        window
    }

    /// The field at `at`, in a message that ends at `end`.
    fn field(&self, at: usize, end: usize) -> Result<Found, Malformed> {
        let window = self.window(at, end);
        let window = window.as_slice();
        let read = field(window, 0)?.ok_or(Malformed::End(at))?;
        let (_, value) = varint(window, 0)?.ok_or(Malformed::End(at))?;
        let bytes = match read.value {
            FieldValue::Bytes(start) => Some(at + start),
            FieldValue::Other => None,
            // No message that holds pictures has groups.
            FieldValue::GroupStart | FieldValue::GroupEnd => return Err(Malformed::Tag(at)),
        };
        let next = at.saturating_add(read.next);
        if next > end {
            return Err(Malformed::End(at));
        }
        Ok(Found {
            number: read.number,
            value: at + value,
            bytes,
            next,
        })
    }
}

fn put_varint(bytes: &mut BytesMut, value: u64) {
    encode_varint(value, bytes);
}

/// A message under construction, out of pieces of another.
#[derive(Default)]
struct Pieces {
    pieces: Vec<Bytes>,
    /// Small pieces that come next.
    small: BytesMut,
    length: usize,
}

impl Pieces {
    fn take(&mut self, chunks: &Chunks<'_>, from: usize, to: usize) {
        for (chunk, range) in chunks.slices(from, to) {
            if range.len() < SMALL {
                self.put(&chunk[range]);
            } else {
                self.length += range.len();
                self.flush();
                self.pieces.push(chunk.slice(range));
            }
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        self.length += bytes.len();
        self.small.put_slice(bytes);
    }

    fn put_varint(&mut self, value: u64) {
        let before = self.small.len();
        put_varint(&mut self.small, value);
        self.length += self.small.len() - before;
    }

    fn flush(&mut self) {
        if !self.small.is_empty() {
            self.pieces.push(self.small.split().freeze());
        }
    }

    /// All pieces, with a header in front of them.
    fn finish(mut self, mut header: BytesMut) -> Vec<Bytes> {
        self.flush();
        match self.pieces.first_mut() {
            // The header goes with the piece that is small anyway.
            Some(first) if first.len() < SMALL => {
                header.put_slice(first);
                *first = header.freeze();
            }
            _ => self.pieces.insert(0, header.freeze()),
        }
        self.pieces
    }
}

#[cfg(test)]
mod tests {
    use crate::viam::common::v1::ResponseMetadata;
    use crate::viam::component::camera::v1::{self as camera, GetImagesResponse};
    use crate::viam::service::vision::v1::CaptureAllFromCameraResponse;
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    const HEADER_LEN: usize = 5;
    const LONGEST: usize = 32 << 20;

    /// `Image` as SDKs of before `mime_type` have it.
    #[derive(Clone, PartialEq, prost::Message)]
    struct OldImage {
        #[prost(string, tag = "1")]
        source_name: String,
        #[prost(uint32, tag = "2")]
        format: u32,
        #[prost(bytes = "vec", tag = "3")]
        image: Vec<u8>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    struct OldImages {
        #[prost(message, repeated, tag = "1")]
        images: Vec<OldImage>,
        #[prost(message, optional, tag = "84260")]
        metadata: Option<ResponseMetadata>,
    }

    fn framed(payload: &[u8]) -> Bytes {
        let mut message = BytesMut::new();
        message.put_u8(0);
        message.put_u32(u32::try_from(payload.len()).unwrap());
        message.put_slice(payload);
        message.freeze()
    }

    fn cut(bytes: &Bytes, size: usize) -> Vec<Bytes> {
        (0..bytes.len())
            .step_by(size)
            .map(|at| bytes.slice(at..bytes.len().min(at + size)))
            .collect()
    }

    fn look(message: &Bytes, size: usize) -> ImageVerdict {
        fill(&cut(message, size), HEADER_LEN..message.len(), LONGEST)
    }

    /// The answer of an old module with these formats and pictures, filled in.
    fn filled(images: &[(u32, &[u8])], size: usize) -> GetImagesResponse {
        let old = |(at, (format, image)): (usize, &(u32, &[u8]))| OldImage {
            source_name: at.to_string(),
            format: *format,
            image: image.to_vec(),
        };
        let message = OldImages {
            images: images.iter().enumerate().map(old).collect(),
            metadata: Some(ResponseMetadata::default()),
        };
        let ImageVerdict::Old(pieces) = look(&framed(&message.encode_to_vec()), size) else {
            panic!("an old module");
        };
        let whole = pieces.concat();
        let (header, payload) = whole.split_at(HEADER_LEN);
        assert_eq!(header[1..], u32::try_from(payload.len()).unwrap().to_be_bytes());
        GetImagesResponse::decode(payload).unwrap()
    }

    #[test]
    fn a_type_is_told_by_the_format_else_by_the_first_bytes() {
        let cases: [(u32, &[u8], &str); 11] = [
            (1, b"anything", "image/vnd.viam.rgba"),
            (2, b"", "image/vnd.viam.dep"),
            (3, b"\x89PNG\r\n\x1a\n", "image/jpeg"),
            (4, b"", "image/png"),
            (0, b"\xff\xd8\xff\xe0", "image/jpeg"),
            (0, b"\x89PNG\r\n\x1a\n...", "image/png"),
            (0, b"RGBA\0\0\0\x01", "image/vnd.viam.rgba"),
            (9, b"DEPTHMAP\0\0", "image/vnd.viam.dep"),
            (0, b"qoif", "image/qoi"),
            (0, b"\xff\xd8", ""),
            (7, b"", ""),
        ];
        for size in [1, 3, 1000] {
            let images: Vec<_> = cases.iter().map(|(format, image, _)| (*format, *image)).collect();
            let filled = filled(&images, size);
            assert!(filled.response_metadata.is_some());
            for ((at, image), (_, bytes, wanted)) in filled.images.iter().enumerate().zip(cases) {
                assert_eq!((&image.source_name, &image.image[..]), (&at.to_string(), bytes));
                assert_eq!(image.mime_type, wanted, "case {at}");
            }
        }
    }

    #[test]
    fn who_fills_types_in_is_modern_and_who_sends_no_picture_is_not_known_yet() {
        let image = |mime_type: &str| camera::Image {
            mime_type: mime_type.into(),
            image: b"qoif".to_vec().into(),
            ..camera::Image::default()
        };
        let get = |images: Vec<camera::Image>| {
            let response_metadata = None;
            let response = GetImagesResponse {
                images,
                response_metadata,
            };
            look(&framed(&response.encode_to_vec()), 64)
        };
        assert_eq!(get(vec![]), ImageVerdict::Unknown);
        assert_eq!(get(vec![image("image/x"), image("image/y")]), ImageVerdict::Modern);
        assert!(matches!(get(vec![image("image/x"), image("")]), ImageVerdict::Old(pieces) if !pieces.is_empty()));
        let capture = CaptureAllFromCameraResponse {
            image: Some(image("")),
            ..CaptureAllFromCameraResponse::default()
        };
        let ImageVerdict::Old(pieces) = look(&framed(&capture.encode_to_vec()), 64) else {
            panic!("no type");
        };
        let whole = pieces.concat();
        let filled = CaptureAllFromCameraResponse::decode(&whole[HEADER_LEN..]).unwrap();
        assert_eq!(filled.image, Some(image("image/qoi")));
        // An empty type that is written out does not win over the one that is filled in.
        let explicit = [0x0a, 4, 0x10, 3, 0x22, 0];
        let ImageVerdict::Old(pieces) = look(&framed(&explicit), 64) else {
            panic!("no type");
        };
        let filled = GetImagesResponse::decode(&pieces.concat()[HEADER_LEN..]).unwrap();
        assert_eq!(filled.images[0].mime_type, "image/jpeg");
        for none in [
            &[0x0a, 5, 0x10, 3][..],
            &[0x0b, 0x0c],
            &[0xff; 12],
            &[0x0a, 2, 0x1b, 0x1c],
        ] {
            assert_eq!(look(&framed(none), 64), ImageVerdict::Unknown, "{none:?}");
        }
    }

    #[test]
    fn pictures_are_not_copied() {
        let picture = [&b"\xff\xd8\xff"[..], &[7; 200_000]].concat();
        let message = OldImages {
            images: vec![OldImage {
                image: picture,
                ..OldImage::default()
            }],
            metadata: None,
        };
        let chunks = cut(&framed(&message.encode_to_vec()), 64 << 10);
        let ImageVerdict::Old(pieces) = fill(&chunks, HEADER_LEN..chunks.iter().map(Bytes::len).sum(), LONGEST) else {
            panic!("no type");
        };
        for chunk in &chunks[1..] {
            assert!(pieces.iter().any(|piece| piece.as_ptr() == chunk.as_ptr()));
        }
        assert_eq!(pieces.len(), chunks.len() + 2, "the header, the slices, the type");
    }

    proptest! {
        #[test]
        fn any_bytes_are_looked_at_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300), size in 1usize..40) {
            let message = framed(&bytes);
            if let ImageVerdict::Old(pieces) = look(&message, size) {
                let whole = pieces.concat();
                prop_assert!(whole.is_empty() || whole.len() > message.len());
            }
        }
    }
}
