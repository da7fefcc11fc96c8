//! Request body that is kept while it goes out, so that a call which was refused for its token or its session can be made
//! once more.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::{Status, body::Body};

/// Longest request that is kept, in bytes. What is kept is shared with the connection, not copied.
const LIMIT: usize = 1024 * 1024;

/// What of a request has gone out so far.
#[derive(Default)]
struct Record {
    frames: VecDeque<Bytes>,
    bytes: usize,
    /// The request has ended, and all of it is here.
    whole: bool,
    /// It is longer than [`LIMIT`], or has trailers.
    given_up: bool,
}

/// Handle of a recorded request.
pub(super) struct Recorder(Arc<Mutex<Record>>);

/// Body that records what passes.
struct Recorded {
    inner: Body,
    record: Arc<Mutex<Record>>,
}

/// Body made of what was recorded.
struct Replayed(VecDeque<Bytes>);

/// Wraps a body, and returns the handle for its record.
pub(super) fn record(inner: Body) -> (Body, Recorder) {
    let record = Arc::<Mutex<Record>>::default();
    let recorded = Recorded {
        inner,
        record: record.clone(),
    };
    (Body::new(recorded), Recorder(record))
}

impl Recorder {
    /// Returns the request once more; `None` if it has not ended yet, or was too long to keep.
    pub(super) fn again(&self) -> Option<Body> {
        let record = lock(&self.0);
        (record.whole && !record.given_up).then(|| Body::new(Replayed(record.frames.clone())))
    }
}

fn lock(record: &Mutex<Record>) -> MutexGuard<'_, Record> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Record {
    fn add(&mut self, frame: &Frame<Bytes>) {
        match frame.data_ref() {
            Some(data) if !self.given_up && self.bytes + data.len() <= LIMIT => {
                self.bytes += data.len();
                self.frames.push_back(data.clone());
            }
            _ => {
                self.given_up = true;
                self.frames.clear();
            }
        }
    }
}

impl HttpBody for Recorded {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                let mut record = lock(&self.record);
                record.add(frame);
                // Whoever sends may not ask again after the last frame.
                record.whole = self.inner.is_end_stream();
            }
            Poll::Ready(None) => lock(&self.record).whole = true,
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl HttpBody for Replayed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Poll::Ready(self.0.pop_front().map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    async fn read(body: &mut Body) -> Vec<Bytes> {
        let mut frames = Vec::new();
        while let Some(frame) = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await {
            frames.push(frame.unwrap().into_data().unwrap());
        }
        frames
    }

    #[tokio::test]
    async fn a_request_can_be_made_again_once_it_has_ended_and_if_it_is_short() {
        let frames = || VecDeque::from([Bytes::from_static(b"one"), Bytes::from_static(b"two")]);
        let (mut body, recorder) = record(Body::new(Replayed(frames())));
        assert!(recorder.again().is_none());
        let first = read(&mut body).await;
        let mut again = recorder.again().unwrap();
        assert_eq!(read(&mut again).await, first);

        let long = VecDeque::from([Bytes::from(vec![0; LIMIT]), Bytes::from_static(b"x")]);
        let (mut body, recorder) = record(Body::new(Replayed(long)));
        assert_eq!(read(&mut body).await.len(), 2);
        assert!(recorder.again().is_none());
    }
}
