//! Requests from standard input, JSON or YAML, each sent as soon as it is complete.

use std::io;
use std::str;

use serde_json::Value;
use tokio::sync::mpsc;

use super::text;
use crate::failure::CliError;

/// Bytes that are read at once.
const CHUNK: usize = 64 << 10;

/// Starts to read, and returns the requests as they come. The channel closes at the end of the input or after an error.
pub fn values() -> mpsc::Receiver<Result<Value, CliError>> {
    let (sender, receiver) = mpsc::channel(16);
    // A thread of its own, which nobody waits for: a read from a terminal cannot be called off.
    std::thread::spawn(move || read(io::stdin(), &sender));
    receiver
}

fn read(mut from: impl io::Read, to: &mpsc::Sender<Result<Value, CliError>>) {
    let (mut input, mut chunk, mut tried) = (Vec::new(), vec![0; CHUNK], 0);
    loop {
        let length = match from.read(&mut chunk) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                let _gone = to.blocking_send(Err(CliError::usage(format!("cannot read the request: {error}"))));
                return;
            }
        };
        input.extend_from_slice(&chunk[..length]);
        // A large request is not parsed again for each piece of it.
        if length == CHUNK && input.len() < 2 * tried {
            continue;
        }
        let mut requests = Vec::new();
        let taken = take(&input, length > 0, &mut requests);
        let failure = taken.as_ref().err().map(|failure| Err(failure.clone()));
        for item in requests.into_iter().map(Ok).chain(failure) {
            if to.blocking_send(item).is_err() {
                return;
            }
        }
        let Ok(taken) = taken else { return };
        if length == 0 {
            return;
        }
        input.drain(..taken);
        tried = input.len();
    }
}

fn take(input: &[u8], more: bool, requests: &mut Vec<Value>) -> Result<usize, CliError> {
    let input = match str::from_utf8(input) {
        Ok(text) => text,
        // The rest of a character may follow.
        Err(error) if more && error.error_len().is_none() => {
            str::from_utf8(&input[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(error) => return Err(CliError::usage(format!("the request is no text: {error}"))),
    };
    text::take(input, more, requests)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reader that returns one piece at each read.
    struct Pieces(Vec<&'static [u8]>);

    impl io::Read for Pieces {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Ok(0);
            }
            let piece = self.0.remove(0);
            into[..piece.len()].copy_from_slice(piece);
            Ok(piece.len())
        }
    }

    fn seen(pieces: &[&'static [u8]]) -> Vec<String> {
        let (sender, mut receiver) = mpsc::channel(16);
        read(Pieces(pieces.to_vec()), &sender);
        drop(sender);
        let mut seen = Vec::new();
        while let Some(value) = receiver.blocking_recv() {
            seen.push(value.map_or_else(
                |failure| format!("exit {}", failure.exit as u8),
                |value| value.to_string(),
            ));
        }
        seen
    }

    #[test]
    fn lines_arrays_and_errors_come_in_order() {
        let pieces: &[&[u8]] = &[b"{\"a\":1}\n[{\"b\":2},3]\n{nonsense"];
        assert_eq!(seen(pieces), ["{\"a\":1}", "{\"b\":2}", "3", "exit 2"]);
    }

    #[test]
    fn a_request_may_come_in_pieces() {
        assert_eq!(
            seen(&[b"{\"a\":", b"\"\xc3", b"\xa4\"}", b"\n{b: 2}\n", b"c: 3\n", b"d: 4\n"]),
            ["{\"a\":\"\u{e4}\"}", "{\"b\":2}", "{\"c\":3,\"d\":4}"]
        );
        assert_eq!(seen(&[b"{\"a\": \"\xff\"}"]), ["exit 2"]);
    }
}
