//! A UNIX stream that is woken for what it waits for, and for nothing else.
//!
//! tokio watches both directions of a socket all the time. The kernel then reports "may write" whenever the peer has
//! read something, which on a UNIX socket wakes this process once per call for nothing: about three context switches
//! for each small call instead of two. So only reading is watched, and writing while, and only while, the socket is
//! full.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

/// Bytes that the kernel should hold for the peer. The default of 208 KiB makes a camera frame stop and go many times.
/// The kernel may grant less.
const SEND_BUFFER: usize = 2 << 20;

/// After so many writes in a row that found room, writing is no longer watched.
const CALM: u8 = 16;

/// The stream.
pub struct UnixIo {
    stream: AsyncFd<UnixStream>,
    /// The same socket, watched for writing, while it is under pressure.
    pressed: Option<AsyncFd<UnixStream>>,
    calm: u8,
}

impl UnixIo {
    /// Takes a stream over.
    pub fn new(stream: tokio::net::UnixStream) -> io::Result<Self> {
        let stream = stream.into_std()?;
        // A smaller buffer is slower and nothing else.
        let _ = setsockopt(&stream, sockopt::SndBuf, &SEND_BUFFER);
        Ok(Self {
            stream: watch(stream, Interest::READABLE)?,
            pressed: None,
            calm: 0,
        })
    }

    fn poll_write_with(
        &mut self,
        cx: &mut Context<'_>,
        mut write: impl FnMut(&UnixStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let Some(pressed) = &self.pressed else {
                match write(self.stream.get_ref()) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        let same = self.stream.get_ref().try_clone()?;
                        self.pressed = Some(watch(same, Interest::WRITABLE)?);
                        self.calm = 0;
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    done => return Poll::Ready(done),
                }
                continue;
            };
            let mut ready = ready!(pressed.poll_write_ready(cx))?;
            match ready.try_io(|pressed| write(pressed.get_ref())) {
                Err(_would_block) => self.calm = 0,
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(done) => {
                    self.calm += 1;
                    if self.calm == CALM {
                        self.pressed = None;
                    }
                    return Poll::Ready(done);
                }
            }
        }
    }
}

impl AsyncRead for UnixIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.stream.poll_read_ready(cx))?;
            match ready.try_io(|stream| read(stream.get_ref(), buf)) {
                Err(_would_block) => {}
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(done) => {
                    // A read that did not fill the buffer emptied the socket: asking again would only be refused. Zero
                    // bytes are the end, which stays readable.
                    if done.as_ref().is_ok_and(|&read| read > 0 && buf.remaining() > 0) {
                        ready.clear_ready();
                    }
                    return Poll::Ready(done.map(|_| ()));
                }
            }
        }
    }
}

#[expect(unsafe_code, reason = "tokio cannot know that the type keeps its descriptor")]
fn watch(stream: UnixStream, interest: Interest) -> io::Result<AsyncFd<UnixStream>> {
    // SAFETY: a `UnixStream` owns its descriptor, always returns the same one, and is not replaced while watched.
    Ok(unsafe { AsyncFd::register_with_interest(stream, interest) }?)
}

/// Reads into the buffer's free part without clearing that first.
#[expect(
    unsafe_code,
    reason = "the buffer is not initialised, and zeroing 64 KiB per read would cost as much as reading"
)]
fn read(mut stream: &UnixStream, buf: &mut ReadBuf<'_>) -> io::Result<usize> {
    // SAFETY: a socket's `read` only writes to the slice, and says how many bytes it wrote; just those are marked as
    // initialised and filled. Nothing is ever de-initialised.
    unsafe {
        let free = &mut *(std::ptr::from_mut(buf.unfilled_mut()) as *mut [u8]);
        let read = stream.read(free)?;
        buf.assume_init(read);
        buf.advance(read);
        Ok(read)
    }
}

impl AsyncWrite for UnixIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_with(cx, |mut stream| stream.write(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_with(cx, |mut stream| stream.write_vectored(parts))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream.get_ref().shutdown(Shutdown::Write))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn pair() -> (UnixIo, UnixIo) {
        let (left, right) = tokio::net::UnixStream::pair().unwrap();
        (UnixIo::new(left).unwrap(), UnixIo::new(right).unwrap())
    }

    #[tokio::test]
    async fn more_than_the_socket_holds_arrives_whole_in_both_directions_at_once() {
        let (left, right) = pair();
        let bytes: Vec<u8> = (0..20u32 << 20).map(|index| (index % 251) as u8).collect();
        let exchange = |io: UnixIo| {
            let (mut read, mut write) = tokio::io::split(io);
            let bytes = &bytes;
            async move {
                let send = async {
                    write.write_all(bytes).await.unwrap();
                    write.shutdown().await.unwrap();
                };
                let receive = async {
                    let mut all = Vec::new();
                    read.read_to_end(&mut all).await.unwrap();
                    all
                };
                tokio::join!(send, receive).1
            }
        };
        let (one, other) = tokio::join!(exchange(left), exchange(right));
        assert!(one == bytes && other == bytes);
    }

    #[tokio::test]
    async fn pressure_is_forgotten_after_calm() {
        let (mut left, mut right) = pair();
        let fill = vec![1; 64 << 20];
        let mut sink = vec![0; fill.len()];
        tokio::join!(async { left.write_all(&fill).await.unwrap() }, async {
            right.read_exact(&mut sink).await.unwrap()
        });
        assert!(left.pressed.is_some());
        for _ in 0..CALM {
            left.write_all(b"x").await.unwrap();
            assert_eq!(right.read_u8().await.unwrap(), b'x');
        }
        assert!(left.pressed.is_none());
    }

    #[tokio::test]
    async fn the_end_is_seen() {
        let (left, mut right) = pair();
        drop(left);
        assert_eq!(right.read(&mut [0; 8]).await.unwrap(), 0);
        assert!(right.write_all(&[0; 8]).await.is_err());
    }
}
