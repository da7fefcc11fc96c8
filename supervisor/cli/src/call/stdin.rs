//! Requests that arrive on standard input, one JSON value after the other, each as soon as it is complete.

use std::io;

use serde_json::Value;
use tokio::sync::mpsc;

use super::request;
use crate::failure::Failure;

/// The values as they come; the channel closes at the end of the input or after the first error.
pub fn values() -> mpsc::Receiver<Result<Value, Failure>> {
    let (sender, receiver) = mpsc::channel(16);
    // A thread of its own, which nobody waits for: a read from a terminal cannot be called off.
    std::thread::spawn(move || read(io::stdin(), &sender));
    receiver
}

fn read(from: impl io::Read, to: &mpsc::Sender<Result<Value, Failure>>) {
    for value in serde_json::Deserializer::from_reader(from).into_iter::<Value>() {
        let mut values = Vec::new();
        let failure = match value {
            Ok(value) => {
                request::flatten(value, &mut values);
                None
            }
            Err(error) => Some(Err(request::not_json(&error))),
        };
        for item in values.into_iter().map(Ok).chain(failure) {
            if to.blocking_send(item).is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_arrays_and_errors_come_in_order() {
        let (sender, mut receiver) = mpsc::channel(16);
        read(&b"{\"a\":1}\n[{\"b\":2},3]\nnonsense"[..], &sender);
        drop(sender);
        let mut seen = Vec::new();
        while let Some(value) = receiver.blocking_recv() {
            seen.push(value.map_or_else(
                |failure| format!("exit {}", failure.exit as u8),
                |value| value.to_string(),
            ));
        }
        assert_eq!(seen, ["{\"a\":1}", "{\"b\":2}", "3", "exit 2"]);
    }
}
