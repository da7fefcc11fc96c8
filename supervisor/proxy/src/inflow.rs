//! Receiving half of a stream. Its sender gets window back as chunks are taken; what comes while the reader has no room is
//! taken in and counted.

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use mainstay_model::held::{Account, Hold, Way};

use crate::status::CallError;

/// Bytes that a chunk costs beside its own.
const OVERHEAD: usize = 64;

pub(crate) struct Inflow {
    pub(crate) stream: RecvStream,
    ahead: VecDeque<Bytes>,
    /// Bytes of `ahead`, with what they cost beside.
    waiting: usize,
    hold: Hold,
}

impl Inflow {
    pub(crate) fn new(stream: RecvStream, account: Account, way: Way) -> Self {
        Self {
            stream,
            ahead: VecDeque::new(),
            waiting: 0,
            hold: Hold::new(account, way),
        }
    }

    /// The next chunk; its bytes may be sent anew.
    pub(crate) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, h2::Error>>> {
        let chunk = match self.ahead.pop_front() {
            Some(chunk) => {
                self.waiting -= chunk.len() + OVERHEAD;
                chunk
            }
            None => match ready!(self.stream.poll_data(cx)) {
                Some(Ok(chunk)) => chunk,
                end => return Poll::Ready(end),
            },
        };
        // Never more than before.
        let _ = self.hold.set(self.waiting);
        // Fails only for a stream that is gone, which the next poll reports.
        let _ = self.stream.flow_control().release_capacity(chunk.len());
        Poll::Ready(Some(Ok(chunk)))
    }

    /// Takes in what has come, no more than the window, while the reader has no room. It holds `kept` bytes already.
    ///
    /// # Errors
    /// It is more than may be held.
    pub(crate) fn poll_ahead(&mut self, cx: &mut Context<'_>, kept: usize) -> Result<(), CallError> {
        // An error comes again when its turn has come.
        while let Poll::Ready(Some(Ok(chunk))) = self.stream.poll_data(cx) {
            self.waiting += chunk.len() + OVERHEAD;
            self.ahead.push_back(chunk);
        }
        self.keep(kept)
    }

    /// Counts that the reader holds `kept` bytes, until it takes the next chunk.
    pub(crate) fn keep(&mut self, kept: usize) -> Result<(), CallError> {
        self.hold.set(self.waiting + kept).map_err(CallError::from)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.ahead.is_empty() && self.stream.is_end_stream()
    }
}
