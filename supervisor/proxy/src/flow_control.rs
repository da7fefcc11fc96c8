//! HTTP/2 flow control: the numbers of both sides of the core, in one place because they only make sense together; and
//! the sending half of a stream that keeps to them.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::SendStream;

/// Bytes that one stream may send ahead of its reader. Large enough for camera frames to flow without waiting, small
/// enough that a reader who sleeps costs little. Four times as much made no camera frame faster, and the core 8 MB
/// larger while eight of 4 MB were on their way.
pub const STREAM_WINDOW: u32 = 512 << 10;

/// Bytes that all streams of a connection may send ahead together: without practical limit. Were it near
/// [`STREAM_WINDOW`], one stream whose reader sleeps would stop every other on its connection, `Stop` included.
pub const CONNECTION_WINDOW: u32 = (1 << 31) - 1;

/// Largest frame that peers may send us, in bytes: large frames save work, smaller ones keep
/// memory flat and let the next hop begin before the last byte has come.
pub const MAX_FRAME: u32 = 64 << 10;

/// Bytes that one stream may have waiting in the core for the socket.
pub const SEND_BUFFER: usize = 512 << 10;

/// Streams that a peer may have open at once. Limits with a meaning are set per client and per resource, not here.
pub const MAX_STREAMS: u32 = 10_000;

/// Most bytes of headers per message. Metadata is small; error texts of several thousand characters must pass.
pub const MAX_HEADERS: u32 = 1 << 20;

/// Streams begun and reset again before the core saw them, until their connection counts as hostile. A client that
/// drops a hundred calls at once is normal.
pub const MAX_PENDING_RESETS: usize = 1_000;

/// Streams that were reset lately and of which more may still be on its way. Such frames are dropped silently; those of
/// older ones are answered with an error, and enough of these end the connection.
pub const MAX_RECENT_RESETS: usize = 10_000;

/// A first chunk up to this many bytes is handed over without asking for window: nearly every request and every answer
/// is one such chunk.
const SMALL: usize = 16 << 10;

/// Sending half of a stream, which sends a chunk as fast as its reader has room.
pub(crate) struct PacedSender {
    pub(crate) stream: SendStream<Bytes>,
    /// Goes next.
    pub(crate) chunk: Bytes,
    /// True until something was sent.
    fresh: bool,
}

impl PacedSender {
    /// Nothing was sent yet.
    pub(crate) fn new(stream: SendStream<Bytes>) -> Self {
        Self {
            stream,
            chunk: Bytes::new(),
            fresh: true,
        }
    }

    /// Takes as much of the chunk as the reader has room for; `None` when it takes no more.
    pub(crate) fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let wanted = self.chunk.len();
        if self.fresh && wanted <= SMALL {
            self.fresh = false;
            return Poll::Ready(Some(std::mem::take(&mut self.chunk)));
        }
        let Some(room) = ready!(poll_room(&mut self.stream, wanted, cx)) else {
            return Poll::Ready(None);
        };
        self.fresh = false;
        Poll::Ready(Some(self.chunk.split_to(room.min(wanted))))
    }
}

/// Bytes, up to `wanted`, that the stream's reader has room for; `None` when it takes no more.
pub(crate) fn poll_room(stream: &mut SendStream<Bytes>, wanted: usize, cx: &mut Context<'_>) -> Poll<Option<usize>> {
    if stream.capacity() < wanted {
        stream.reserve_capacity(wanted);
    }
    while stream.capacity() == 0 {
        match ready!(stream.poll_capacity(cx)) {
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return Poll::Ready(None),
        }
    }
    Poll::Ready(Some(stream.capacity()))
}
