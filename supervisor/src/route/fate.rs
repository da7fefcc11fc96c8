//! What became of a module, for the calls that end with its connection.
//!
//! The connection of a process that dies breaks a moment before its death is known. What a broken connection means to
//! its callers is therefore held back for that moment, so that they hear why, and when it is better, instead of
//! "connection lost".

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

/// How long the end of a connection is held back at most.
const HELD_BACK: Duration = Duration::from_millis(20);

/// A word that is said once.
#[derive(Debug, Clone, Default)]
pub(super) struct Fate {
    cause: Arc<OnceLock<Arc<str>>>,
    told: CancellationToken,
}

impl Fate {
    /// Says it; the first word counts.
    pub(super) fn tell(&self, cause: Arc<str>) {
        let _first = self.cause.set(cause);
        self.told.cancel();
    }

    /// The word, if it was said.
    pub(super) fn get(&self) -> Option<&str> {
        self.cause.get().map(|cause| &**cause)
    }

    /// A stream whose end is held back until the word was said, or for so long that none is to be expected.
    pub(super) fn awaited_by<I>(&self, io: I) -> Awaiting<I> {
        Awaiting {
            io,
            fate: self.clone(),
            ended: None,
        }
    }
}

/// A stream that waits for a word before it tells of its end.
pub(super) struct Awaiting<I> {
    io: I,
    fate: Fate,
    ended: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<I> Awaiting<I> {
    fn poll_word(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let told = &self.fate.told;
        let wait = self.ended.get_or_insert_with(|| {
            let told = told.clone();
            Box::pin(async move {
                let _late = tokio::time::timeout(HELD_BACK, told.cancelled()).await;
            })
        });
        let told = wait.as_mut().poll(cx);
        if told.is_ready() {
            // A future that is over must not be asked again.
            self.ended = Some(Box::pin(std::future::ready(())));
        }
        told
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Awaiting<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let filled = buf.filled().len();
        let read = ready!(Pin::new(&mut self.io).poll_read(cx, buf));
        // The end of a stream is there to be read again.
        if read.is_err() || (buf.filled().len() == filled && buf.remaining() > 0) {
            ready!(self.poll_word(cx));
        }
        Poll::Ready(read)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Awaiting<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, bytes));
        if written.is_err() {
            ready!(self.poll_word(cx));
        }
        Poll::Ready(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, parts));
        if written.is_err() {
            ready!(self.poll_word(cx));
        }
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_end_is_held_back_until_the_word_was_said_and_not_for_ever() {
        for (word_after, expected) in [(5, 5), (100, 20)] {
            let fate = Fate::default();
            let (near, mut far) = tokio::io::duplex(64);
            let mut near = fate.awaited_by(near);
            far.write_all(b"last").await.expect("there is room");
            drop(far);
            let begun = Instant::now();
            let read = async {
                let mut all = Vec::new();
                near.read_to_end(&mut all).await.expect("an end and no error");
                (all, begun.elapsed().as_millis())
            };
            let say = async {
                tokio::time::sleep(Duration::from_millis(word_after)).await;
                fate.tell("died".into());
                fate.tell("was late".into());
            };
            let ((all, took), ()) = tokio::join!(read, say);
            assert_eq!(all, b"last");
            assert!((expected..expected + 3).contains(&took), "{took} ms");
            assert_eq!(fate.get(), Some("died"));
            assert!(near.write_all(b"x").await.is_err());
        }
    }
}
