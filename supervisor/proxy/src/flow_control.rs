//! HTTP/2 flow control: the numbers of both sides of the core, in one place because they only make sense together; and
//! the sending half of a stream that keeps to them.

use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::SendStream;
use mainstay_model::held::{Account, Hold, Way};

use crate::status::CallError;

/// Bytes that one stream of a module may send ahead of its reader. Large enough for camera frames to flow without waiting, small
/// enough that a reader who sleeps costs little. Four times as much made no camera frame faster, and the core 8 MB
/// larger while eight of 4 MB were on their way.
pub const STREAM_WINDOW: u32 = 512 << 10;

/// Bytes that one request may send ahead of its reader, at first: what HTTP/2 begins with anyway. A thousand that nobody
/// reads are then refused rather than held, see [`held`](mainstay_model::held).
pub const REQUEST_WINDOW: u32 = (64 << 10) - 1;

/// The same of a connection that has had no more than [`FEW`] calls at once for a while: one large request after another, from
/// far away, is not to wait for each 64 KiB.
pub const CALM_REQUEST_WINDOW: u32 = 512 << 10;

/// Calls at once of a connection that may send further ahead.
pub const FEW: usize = 16;

/// Bytes that all streams of a connection may send ahead together: without practical limit. Were it near
/// [`STREAM_WINDOW`], one stream whose reader sleeps would stop every other on its connection, `Stop` included. What all may
/// have held together is counted instead.
pub const CONNECTION_WINDOW: u32 = (1 << 31) - 1;

/// Largest frame that peers may send us, in bytes: large frames save work, smaller ones keep
/// memory flat and let the next hop begin before the last byte has come.
pub const MAX_FRAME: u32 = 64 << 10;

/// Bytes that one answer may have waiting in the core for the socket.
pub const SEND_BUFFER: usize = 512 << 10;

/// The same of a request. Less, because a module that reads nothing is everybody's.
pub const REQUEST_SEND_BUFFER: usize = 64 << 10;

/// Streams that a peer may have open at once; clients wait at this number. Limits with a meaning are set per client and per
/// resource, not here: ten resources with a hundred calls each.
pub const MAX_STREAMS: u32 = 1_000;

/// Bytes that a call costs while it runs, whatever it sends.
pub const CALL: usize = 8 << 10;

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

/// A first chunk up to this many bytes is not counted while it waits for the socket: the call itself costs more.
const TINY: usize = 1 << 10;

/// Chunk that waits for the socket, counted for as long.
pub struct Chunk {
    bytes: Bytes,
    _hold: Hold,
}

impl From<Bytes> for Chunk {
    fn from(bytes: Bytes) -> Self {
        let _hold = Hold::default();
        Self { bytes, _hold }
    }
}

impl Buf for Chunk {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}

/// Sending half of a stream, which sends a chunk as fast as its reader has room.
pub(crate) struct PacedSender {
    pub(crate) stream: SendStream<Chunk>,
    /// Goes next.
    pub(crate) chunk: Bytes,
    /// True until something was sent.
    fresh: bool,
    account: Account,
    way: Way,
}

impl PacedSender {
    /// Nothing was sent yet.
    pub(crate) fn new(stream: SendStream<Chunk>, account: Account, way: Way) -> Self {
        Self {
            stream,
            chunk: Bytes::new(),
            fresh: true,
            account,
            way,
        }
    }

    /// Takes as much of the chunk as the reader has room for; `None` when it takes no more.
    ///
    /// # Errors
    /// More would wait for the socket than may.
    pub(crate) fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Chunk>, CallError>> {
        let wanted = self.chunk.len();
        if self.fresh && wanted <= SMALL {
            self.fresh = false;
            let chunk = std::mem::take(&mut self.chunk);
            return Poll::Ready(match wanted {
                0..=TINY => Ok(Some(chunk.into())),
                _ => self.counted(chunk).map(Some),
            });
        }
        let Some(room) = ready!(poll_room(&mut self.stream, wanted, cx)) else {
            return Poll::Ready(Ok(None));
        };
        self.fresh = false;
        let part = self.chunk.split_to(room.min(wanted));
        Poll::Ready(self.counted(part).map(Some))
    }

    fn counted(&self, bytes: Bytes) -> Result<Chunk, CallError> {
        let mut hold = Hold::new(self.account.clone(), self.way);
        hold.set(bytes.len())?;
        Ok(Chunk { bytes, _hold: hold })
    }
}

/// Bytes, up to `wanted`, that the stream's reader has room for; `None` when it takes no more.
pub(crate) fn poll_room<B: Buf>(
    stream: &mut SendStream<B>,
    wanted: usize,
    cx: &mut Context<'_>,
) -> Poll<Option<usize>> {
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
