//! Exit cause of a module, shared by all calls that end with its connection.
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

/// Time for which the end of a connection is held back if its process lives on.
const HELD_BACK: Duration = Duration::from_millis(20);
/// Longest time that it is held back if its process is ending, or has ended: a busy machine takes its time to report.
const HELD_BACK_BY_DEATH: Duration = Duration::from_millis(250);

/// Exit cause of a peer, set once and shared by all calls on its connection.
#[derive(Debug, Clone, Default)]
pub(super) struct ExitCause {
    cause: Arc<OnceLock<Arc<str>>>,
    is_set: CancellationToken,
}

impl ExitCause {
    /// Sets the cause, unless it is set; ends the waits for it.
    pub(super) fn set(&self, cause: Arc<str>) {
        let _first = self.cause.set(cause);
        self.is_set.cancel();
    }

    /// The cause, if it is set.
    pub(super) fn get(&self) -> Option<&str> {
        self.cause.get().map(|cause| &**cause)
    }

    /// Stream whose end is held back until the cause is set, or for so long that none is to be expected.
    /// `peer` is the process at its other end, where that is known.
    pub(super) fn awaited_by<I>(&self, io: I, peer: Option<u32>) -> Awaiting<I> {
        Awaiting {
            io,
            peer,
            exit_cause: self.clone(),
            ended: None,
        }
    }
}

/// Stream that waits for the exit cause before it reports its end.
pub(super) struct Awaiting<I> {
    io: I,
    peer: Option<u32>,
    exit_cause: ExitCause,
    ended: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<I> Awaiting<I> {
    fn poll_cause(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (is_set, peer) = (&self.exit_cause.is_set, self.peer);
        let wait = self.ended.get_or_insert_with(|| {
            let is_set = is_set.clone();
            Box::pin(async move {
                let late = tokio::time::timeout(HELD_BACK, is_set.cancelled()).await.is_err();
                if late && peer.is_some_and(is_ending) {
                    let _later = tokio::time::timeout(HELD_BACK_BY_DEATH - HELD_BACK, is_set.cancelled()).await;
                }
            })
        });
        let is_set = wait.as_mut().poll(cx);
        if is_set.is_ready() {
            // A future that is over must not be asked again.
            self.ended = Some(Box::pin(std::future::ready(())));
        }
        is_set
    }
}

/// True if a process is on its way out, or gone: its exit has not been told yet, but will be.
#[cfg(target_os = "linux")]
fn is_ending(pid: u32) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => shows_exit(&stat),
        Err(_gone) => true,
    }
}

/// Always false: other systems have no such file.
#[cfg(not(target_os = "linux"))]
fn is_ending(_: u32) -> bool {
    false
}

/// Reads a line of `/proc/PID/stat`: the state, and the flag that the kernel sets before it closes what a process has
/// open.
#[cfg(target_os = "linux")]
fn shows_exit(stat: &str) -> bool {
    const EXITING: u32 = 0x4;
    // The name in front may hold anything, blanks and parentheses included.
    let mut fields = stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace();
    let state = fields.next().unwrap_or_default();
    let flags = fields.nth(5).and_then(|flags| flags.parse().ok()).unwrap_or(0);
    matches!(state, "Z" | "X" | "x") || flags & EXITING != 0
}

impl<I: AsyncRead + Unpin> AsyncRead for Awaiting<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let filled = buf.filled().len();
        let read = ready!(Pin::new(&mut self.io).poll_read(cx, buf));
        // The end of a stream is there to be read again.
        if read.is_err() || (buf.filled().len() == filled && buf.remaining() > 0) {
            ready!(self.poll_cause(cx));
        }
        Poll::Ready(read)
    }
}

// Nobody writes in parts: what is said to a module is gathered first, see `CoalescingIo`.
impl<I: AsyncWrite + Unpin> AsyncWrite for Awaiting<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, bytes));
        if written.is_err() {
            ready!(self.poll_cause(cx));
        }
        Poll::Ready(written)
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
        let living = Some(std::process::id());
        let mut dead = std::process::Command::new("true").spawn().expect("a process");
        dead.wait().expect("its end");
        let dead = Some(dead.id()).filter(|_| cfg!(target_os = "linux"));
        let mut cases = vec![(None, 5, 5), (None, 100, 20), (living, 5, 5), (living, 100, 20)];
        if dead.is_some() {
            cases.extend([(dead, 5, 5), (dead, 100, 100), (dead, 600, 250)]);
        }
        for (peer, word_after, expected) in cases {
            let exit_cause = ExitCause::default();
            let (near, mut far) = tokio::io::duplex(64);
            let mut near = exit_cause.awaited_by(near, peer);
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
                exit_cause.set("died".into());
                exit_cause.set("was late".into());
            };
            let ((all, took), ()) = tokio::join!(read, say);
            assert_eq!(all, b"last");
            assert!((expected..expected + 3).contains(&took), "{peer:?}: {took} ms");
            assert_eq!(exit_cause.get(), Some("died"));
            assert!(near.write_all(b"x").await.is_err());
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_end_of_a_process_is_read_from_its_state_and_flags() {
        for (stat, expected) in [
            ("12 (gear) S 1 12 12 0 -1 4194560 1 2", false),
            ("12 (gear) Z 1 12 12 0 -1 4194564 1 2", true),
            ("12 (a) Z (b) R 1 12 12 0 -1 4194560 1 2", false),
            ("12 (gear) R 1 12 12 0 -1 4194564 1 2", true),
            ("", false),
        ] {
            assert_eq!(shows_exit(stat), expected, "{stat}");
        }
    }
}
