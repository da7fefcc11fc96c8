//! Paces an HTTP/2 connection: few system calls for many frames, and no more read at once than is passed on at once.
//!
//! The protocol writes and flushes every data frame by itself, and most peers accept frames of 16 KiB only: a camera
//! frame would be hundreds of writes, each of which wakes the peer. Instead, writes are gathered until the connection
//! has nothing more to say for now; its driver then calls [`CoalescingIo::poll_drain`].
//!
//! It would also read for as long as there is something to read. A camera frame would then lie in memory as a whole
//! before its first byte goes on; so after a while the connection must let the calls on it have their turn.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Most bytes that are gathered before they are written anyway: what a turn reads, with room for the frame headers of
/// peers that take small frames only.
const LIMIT: usize = TURN + (16 << 10);

/// Most bytes that are read in one turn.
const TURN: usize = 256 << 10;

/// A drained buffer larger than this is given back.
const SMALL: usize = 16 << 10;

/// A connection's socket; clones are the same socket, one for the protocol and one for its driver.
pub struct CoalescingIo<I>(Arc<Mutex<State<I>>>);

struct State<I> {
    io: I,
    /// Read already, when the protocol was looked for.
    first: Bytes,
    gathered: BytesMut,
    /// Bytes that may still be read in this turn.
    readable: usize,
    /// What is gathered has waited for more.
    waited: bool,
    /// Counts the bytes that were read, where somebody wants to know whether the peer still speaks.
    received: Option<Arc<AtomicU64>>,
}

impl<I: AsyncRead + AsyncWrite + Unpin> CoalescingIo<I> {
    /// Gathers for `io`.
    pub fn new(io: I) -> Self {
        Self(Arc::new(Mutex::new(State {
            io,
            first: Bytes::new(),
            gathered: BytesMut::new(),
            readable: TURN,
            waited: false,
            received: None,
        })))
    }

    /// Gathers for `io`, of which `first` was read already: it is read again.
    pub fn rewound(io: I, first: Bytes) -> Self {
        let batch = Self::new(io);
        batch.state().first = first;
        batch
    }

    /// Gathers for `io`, and adds the bytes that are read to `received`.
    pub fn counting(io: I, received: Arc<AtomicU64>) -> Self {
        let batch = Self::new(io);
        batch.state().received = Some(received);
        batch
    }

    /// Second handle, for the driver.
    pub fn handle(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    /// Ends a turn of the connection: writes what was gathered. Ready when nothing is left.
    ///
    /// Part of something large waits once for all tasks that can run now. The runtime runs a connection right after the first of
    /// several calls that were woken together, and each of them would be a write of its own.
    pub fn poll_drain(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state();
        state.readable = TURN;
        if (SMALL..TURN).contains(&state.gathered.len()) && !std::mem::replace(&mut state.waited, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        state.poll_drain(cx)
    }

    // Protocol and driver run in one task, so nobody ever waits here.
    fn state(&self) -> MutexGuard<'_, State<I>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<I: AsyncWrite + Unpin> State<I> {
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.gathered.is_empty() {
            match ready!(Pin::new(&mut self.io).poll_write(cx, &self.gathered))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.gathered.advance(written),
            }
        }
        self.waited = false;
        if self.gathered.capacity() > SMALL {
            self.gathered = BytesMut::new();
        }
        // TLS may have encrypted more than its socket took.
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// Takes the parts, or as much of them as fits; makes room first when there is none.
    fn poll_gather(&mut self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut room = LIMIT.saturating_sub(self.gathered.len());
        if room == 0 {
            ready!(self.poll_drain(cx))?;
            room = LIMIT;
        }
        let wanted = parts.iter().map(|part| part.len()).sum::<usize>().min(room);
        if self.gathered.is_empty() && wanted > SMALL / 2 {
            self.gathered.reserve(LIMIT);
        }
        let mut left = wanted;
        for part in parts {
            let part = &part[..part.len().min(left)];
            self.gathered.extend_from_slice(part);
            left -= part.len();
        }
        Poll::Ready(Ok(wanted))
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncRead for CoalescingIo<I> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state();
        if state.readable == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if !state.first.is_empty() {
            let length = state.first.len().min(buf.remaining());
            buf.put_slice(&state.first.split_to(length));
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut state.io).poll_read(cx, buf))?;
        let read = buf.filled().len() - before;
        state.readable = state.readable.saturating_sub(read);
        if let Some(received) = &state.received {
            received.fetch_add(read as u64, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for CoalescingIo<I> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.state().poll_gather(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.state().poll_gather(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    // The driver drains; flushing here would undo the gathering.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state();
        ready!(state.poll_drain(cx))?;
        Pin::new(&mut state.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn many_writes_become_one_and_arrive_when_drained() {
        let (io, mut peer) = tokio::io::duplex(1 << 20);
        let mut batch = CoalescingIo::new(io);
        let driver = batch.handle();
        for _ in 0..10 {
            batch.write_all(&[7; 1000]).await.unwrap();
            batch.flush().await.unwrap();
        }
        let mut seen = vec![0; 20_000];
        let early = futures_util::FutureExt::now_or_never(peer.read(&mut seen));
        assert!(early.is_none(), "nothing is written before the driver says so");
        poll_fn(|cx| driver.poll_drain(cx)).await.unwrap();
        assert_eq!(peer.read(&mut seen).await.unwrap(), 10_000);
    }

    #[tokio::test]
    async fn part_of_something_large_waits_once_for_more() {
        let (io, mut peer) = tokio::io::duplex(1 << 20);
        let mut batch = CoalescingIo::new(io);
        let driver = batch.handle();
        let drain = || futures_util::FutureExt::now_or_never(poll_fn(|cx| driver.poll_drain(cx)));
        let mut seen = vec![0; 1 << 20];
        for round in 0..2 {
            batch.write_all(&[7; 2 * SMALL]).await.unwrap();
            assert!(drain().is_none(), "{round}: others have their turn first");
            batch.write_all(&[7; SMALL]).await.unwrap();
            assert!(drain().is_some(), "{round}");
            assert_eq!(peer.read(&mut seen).await.unwrap(), 3 * SMALL);
        }
        for at_once in [100, TURN] {
            batch.write_all(&vec![7; at_once]).await.unwrap();
            assert!(drain().is_some(), "{at_once}");
            assert_eq!(peer.read(&mut seen).await.unwrap(), at_once);
        }
    }

    #[tokio::test]
    async fn what_was_read_before_is_read_again_however_little_at_a_time() {
        let (io, mut peer) = tokio::io::duplex(64);
        peer.write_all(b" world").await.unwrap();
        drop(peer);
        let mut batch = CoalescingIo::rewound(io, Bytes::from_static(b"hello"));
        let mut beginning = [0; 3];
        batch.read_exact(&mut beginning).await.unwrap();
        let mut rest = String::new();
        batch.read_to_string(&mut rest).await.unwrap();
        assert_eq!((&beginning, rest.as_str()), (b"hel", "lo world"));
    }

    #[tokio::test]
    async fn a_turn_of_reading_ends_until_the_driver_begins_another() {
        let (io, mut peer) = tokio::io::duplex(4 * TURN);
        let mut batch = CoalescingIo::new(io);
        let driver = batch.handle();
        peer.write_all(&vec![7; 3 * TURN]).await.unwrap();
        let mut chunk = vec![0; TURN / 2];
        let mut now =
            |batch: &mut CoalescingIo<_>| futures_util::FutureExt::now_or_never(batch.read(&mut chunk)).is_some();
        assert!(now(&mut batch) && now(&mut batch));
        assert!(!now(&mut batch), "the turn is over");
        poll_fn(|cx| driver.poll_drain(cx)).await.unwrap();
        assert!(now(&mut batch));
    }

    #[tokio::test]
    async fn a_full_buffer_holds_the_writer_back() {
        let (io, mut peer) = tokio::io::duplex(1000);
        let mut batch = CoalescingIo::new(io);
        let mut sent = 0;
        while let Some(written) = futures_util::FutureExt::now_or_never(batch.write(&[7; 10_000])) {
            sent += written.unwrap();
            assert!(sent <= LIMIT + 1000, "memory is bounded");
        }
        let rest = async {
            batch.shutdown().await.unwrap();
            drop(batch);
        };
        let mut all = Vec::new();
        let ((), read) = tokio::join!(rest, peer.read_to_end(&mut all));
        assert_eq!(read.unwrap(), sent);
    }
}
