//! Protocol detection from a connection's first bytes, and puts the bytes back.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// Preface that every HTTP/2 client sends first when it knows that it may.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Longest beginning that is looked at, in bytes: a preface and the settings behind it fit, and come in one read.
const SNIFFED_LEN: usize = 128;

/// Protocol that a peer speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sniffed {
    /// HTTP/2 by prior knowledge.
    Http2,
    /// HTTP/1.1, or anything else that its parser may refuse.
    Http1,
    /// A TLS handshake.
    Tls,
    /// The peer closed the connection first.
    Nothing,
}

/// Reads until it is clear what the peer speaks.
pub async fn sniff<I: AsyncRead + Unpin>(mut io: I) -> io::Result<(Sniffed, Rewind<I>)> {
    let mut seen = [0; SNIFFED_LEN];
    let mut length = 0;
    let sniffed = loop {
        let read = io.read(&mut seen[length..]).await?;
        length += read;
        match of(&seen[..length]) {
            Some(sniffed) => break sniffed,
            None if read == 0 => break if length == 0 { Sniffed::Nothing } else { Sniffed::Http1 },
            None => {}
        }
    };
    Ok((
        sniffed,
        Rewind {
            first: Bytes::copy_from_slice(&seen[..length]),
            io,
        },
    ))
}

/// `None` while more bytes are needed to tell.
fn of(seen: &[u8]) -> Option<Sniffed> {
    match seen {
        [] | [0x16] => None,
        // A handshake record of any version of TLS.
        [0x16, 0x03, ..] => Some(Sniffed::Tls),
        _ if seen.starts_with(PREFACE) => Some(Sniffed::Http2),
        _ if PREFACE.starts_with(seen) => None,
        _ => Some(Sniffed::Http1),
    }
}

/// A connection whose first bytes were looked at.
pub struct Rewind<I> {
    first: Bytes,
    io: I,
}

impl<I: AsyncRead + Unpin> AsyncRead for Rewind<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let length = self.first.len().min(buf.remaining());
        buf.put_slice(&self.first[..length]);
        self.first.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Rewind<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, parts)
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
    use super::*;

    #[test]
    fn the_first_bytes_tell() {
        let cases: [(&[u8], Option<Sniffed>); 8] = [
            (b"", None),
            (b"\x16", None),
            (b"\x16\x03\x01\x02", Some(Sniffed::Tls)),
            (b"PRI * HT", None),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0", Some(Sniffed::Http2)),
            (b"PRI * HTTP/1.1", Some(Sniffed::Http1)),
            (b"G", Some(Sniffed::Http1)),
            (b"\0\0\0", Some(Sniffed::Http1)),
        ];
        for (seen, expected) in cases {
            assert_eq!(of(seen), expected, "{seen:?}");
        }
    }

    #[tokio::test]
    async fn what_was_looked_at_is_read_again() {
        let (mut peer, io) = tokio::io::duplex(64);
        let write = async {
            for byte in *b"GET / HTTP/1.1\r\n" {
                tokio::io::AsyncWriteExt::write_all(&mut peer, &[byte]).await.unwrap();
            }
            drop(peer);
        };
        let read = async {
            let (sniffed, mut io) = sniff(io).await.unwrap();
            let mut all = String::new();
            io.read_to_string(&mut all).await.unwrap();
            (sniffed, all)
        };
        let ((), (sniffed, all)) = tokio::join!(write, read);
        assert_eq!((sniffed, all.as_str()), (Sniffed::Http1, "GET / HTTP/1.1\r\n"));
    }
}
