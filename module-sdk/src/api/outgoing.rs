//! Streams of arguments on their way out.

use std::{
    future::Future,
    hash::{BuildHasher, RandomState},
};

use futures_util::{Stream, StreamExt, future, stream};
use tokio::sync::oneshot;

use super::Streaming;
use crate::{Error, Result};

/// Error at which a stream of arguments broke off.
pub(super) struct Broken(oneshot::Receiver<Error>);

/// Separates the items of a stream from the error at which it may break off. After an error no more items come, and no end:
/// to the other side an end would mean that all is said.
pub(super) fn outgoing<T: Send + 'static>(stream: Streaming<T>) -> (impl Stream<Item = T> + Send, Broken) {
    let (broken, error) = oneshot::channel();
    let items = stream::unfold((stream, broken), |(mut stream, broken)| async move {
        match stream.next().await? {
            Ok(item) => Some((item, (stream, broken))),
            Err(error) => {
                // Nobody waits for it any more when the call is over.
                let _ = broken.send(error);
                future::pending().await
            }
        }
    });
    (items, Broken(error))
}

impl Broken {
    /// Awaits `work`, and drops it at the error.
    pub(super) async fn or<T>(self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            Ok(error) = self.0 => Err(error),
            done = work => done,
        }
    }

    /// Ends these answers with the error.
    pub(super) fn ends<T: Send + 'static>(
        self,
        answers: impl Stream<Item = Result<T>> + Send + 'static,
    ) -> Streaming<T> {
        let error = stream::once(self.0).filter_map(|error| future::ready(error.ok().map(Err)));
        let error = error.chain(stream::pending());
        let mut broken = false;
        let answers = answers.map(Some).chain(stream::iter([None]));
        let either = stream::select(error.map(Some), answers);
        let until_end = either.take_while(move |answer| {
            let goes_on = answer.is_some() && !broken;
            broken |= matches!(answer, Some(Err(_)));
            future::ready(goes_on)
        });
        Box::pin(until_end.filter_map(future::ready))
    }
}

/// Returns a random id in the form of a UUID (version 4), by which answers are told apart.
pub(super) fn request_id() -> String {
    let random = || RandomState::new().hash_one(());
    let (high, low) = (random(), random());
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        (low >> 48) & 0x3fff | 0x8000,
        low & 0xffff_ffff_ffff
    )
}
