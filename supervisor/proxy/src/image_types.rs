//! MIME types of camera pictures from modules that know none: SDKs of before the field fill only `Image.format`, and
//! today's clients then see a picture of no type. The one place where an answer of a module is looked into.
//!
//! A resource is known as old or modern from its first answer with a picture in each life of its process; after that an
//! old one is looked at each time, and a modern one costs a comparison per call. The bytes of pictures are never copied.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use mainstay_proto::untyped_images::{ImageVerdict, fill};

use crate::resource::Resource;
use mainstay_proto::frames::{HEADER_LEN, MAX_MESSAGE_LEN, length_of};

/// Whether answers of the method with this path hold pictures.
fn holds_images(path: &str) -> bool {
    matches!(
        path,
        "/viam.component.camera.v1.CameraService/GetImages"
            | "/viam.service.vision.v1.VisionService/CaptureAllFromCamera"
    )
}

/// Knowledge about one resource: whether the module's process fills the types in. Twice the serial number of the
/// connection, and one more if it does.
#[derive(Debug, Default)]
pub(crate) struct KnownImages(AtomicU64);

impl KnownImages {
    /// Whether answers that come through connection `serial` need a look.
    fn need_look(&self, serial: u64) -> bool {
        self.0.load(Ordering::Relaxed) != serial * 2 + 1
    }

    /// An answer through this connection had all types, or had not. Whoever once left one out is looked at for ever.
    fn learn(&self, serial: u64, modern: bool) {
        let known = |before| (before != serial * 2).then_some(serial * 2 + u64::from(modern));
        // Refused only where it is known already.
        let _known = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, known);
    }
}

/// Filter for the answer of one call: holds the first message back until it is whole, and lets it pass with the types
/// filled in.
#[derive(Debug)]
pub(crate) struct ImageFilter {
    resource: Arc<Resource>,
    /// Serial number of the connection, which stands for the life of the module's process.
    serial: u64,
    held: Vec<Bytes>,
    length: usize,
    ready: VecDeque<Bytes>,
    /// Set once the message went through: what follows passes as it is.
    over: bool,
}

impl ImageFilter {
    /// The filter for a call of `resource` through a connection of this serial number, if it needs one. Boxed, because
    /// every other call would carry the room for it.
    pub(crate) fn new(path: &str, resource: &Arc<Resource>, serial: u64) -> Option<Box<Self>> {
        (holds_images(path) && resource.images.need_look(serial)).then(|| {
            Box::new(Self {
                resource: resource.clone(),
                serial,
                held: Vec::new(),
                length: 0,
                ready: VecDeque::new(),
                over: false,
            })
        })
    }

    /// Takes the next chunk of the answer.
    pub(crate) fn push(&mut self, chunk: Bytes) {
        if self.over {
            self.ready.push_back(chunk);
            return;
        }
        self.length += chunk.len();
        self.held.push(chunk);
        let beginning = self
            .held
            .iter()
            .flat_map(|chunk| chunk.iter().copied())
            .take(HEADER_LEN);
        let Ok(header) = <[u8; HEADER_LEN]>::try_from(beginning.collect::<Vec<_>>()) else {
            return;
        };
        // A u32 fits a usize wherever this runs.
        let end = HEADER_LEN + length_of(header) as usize;
        if self.length < end {
            return;
        }
        // Packed messages are none of ours: no SDK makes them.
        let verdict = if header[0] == 0 {
            fill(&self.held, HEADER_LEN..end, MAX_MESSAGE_LEN)
        } else {
            ImageVerdict::Unknown
        };
        if verdict != ImageVerdict::Unknown {
            self.resource.images.learn(self.serial, verdict == ImageVerdict::Modern);
        }
        if let ImageVerdict::Old(filled) = verdict {
            self.ready.extend(filled);
        }
        if self.ready.is_empty() {
            self.ready.extend(self.held.drain(..));
        }
        self.held.clear();
        self.over = true;
    }

    /// Takes the next chunk that may go on.
    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        self.ready.pop_front()
    }
}
