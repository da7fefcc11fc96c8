//! Protocol detection from a connection's first bytes.

use std::io;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Preface that every HTTP/2 client sends first when it knows that it may.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Longest beginning that is looked at, in bytes: a preface and the settings behind it fit, and come in one read.
const SNIFFED_LEN: usize = 128;

/// Length of the header of an HTTP/2 frame.
const FRAME_HEADER: usize = 9;

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

/// Reads until it is clear what the peer speaks, and returns what was read, too: it has to be put back in front.
pub async fn sniff(io: &mut (impl AsyncRead + Unpin)) -> io::Result<(Sniffed, Bytes)> {
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
    Ok((sniffed, Bytes::copy_from_slice(&seen[..length])))
}

/// `None` while more bytes are needed to tell.
fn of(seen: &[u8]) -> Option<Sniffed> {
    match seen {
        [] | [0x16] => None,
        // A handshake record of any version of TLS.
        [0x16, 0x03, ..] => Some(Sniffed::Tls),
        _ if seen.starts_with(PREFACE) => has_settings(&seen[PREFACE.len()..]).then_some(Sniffed::Http2),
        _ if PREFACE.starts_with(seen) => None,
        _ => Some(Sniffed::Http1),
    }
}

/// True if the settings that belong to a preface are there, as far as they are looked at: a peer that sends none would be waited
/// for without end.
fn has_settings(behind: &[u8]) -> bool {
    let Some(header) = behind.first_chunk::<FRAME_HEADER>() else {
        return false;
    };
    let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
    behind.len() >= (FRAME_HEADER + length).min(SNIFFED_LEN - PREFACE.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell() {
        let cases: [(&[u8], Option<Sniffed>); 11] = [
            (b"", None),
            (b"\x16", None),
            (b"\x16\x03\x01\x02", Some(Sniffed::Tls)),
            (b"PRI * HT", None),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", None),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0", None),
            (
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64",
                Some(Sniffed::Http2),
            ),
            (
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
                Some(Sniffed::Http2),
            ),
            (b"PRI * HTTP/1.1", Some(Sniffed::Http1)),
            (b"G", Some(Sniffed::Http1)),
            (b"\0\0\0", Some(Sniffed::Http1)),
        ];
        for (seen, expected) in cases {
            assert_eq!(of(seen), expected, "{seen:?}");
        }
    }

    #[tokio::test]
    async fn what_was_looked_at_is_not_lost() {
        let (mut peer, mut io) = tokio::io::duplex(64);
        let write = async {
            for byte in *b"GET / HTTP/1.1\r\n" {
                tokio::io::AsyncWriteExt::write_all(&mut peer, &[byte]).await.unwrap();
            }
            drop(peer);
        };
        let read = async {
            let (sniffed, first) = sniff(&mut io).await.unwrap();
            let mut all = String::from_utf8(first.to_vec()).unwrap();
            io.read_to_string(&mut all).await.unwrap();
            (sniffed, all)
        };
        let ((), (sniffed, all)) = tokio::join!(write, read);
        assert_eq!((sniffed, all.as_str()), (Sniffed::Http1, "GET / HTTP/1.1\r\n"));
    }
}
