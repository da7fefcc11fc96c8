//! Answer of one of the core's own services that lasts: it ends at the call's deadline, and when its operation is cancelled, and
//! holds what the call holds until then.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::Status;

use crate::body::CallBody;
use crate::deadline::Deadline;
use crate::status::{CallError, trailers};

/// Body of such an answer. `L` is dropped with it, or when it has ended.
pub(crate) struct LocalStream<L> {
    body: CallBody,
    deadline: Option<Pin<Box<Sleep>>>,
    cancel: Pin<Box<WaitForCancellationFutureOwned>>,
    /// None once the answer has ended.
    lease: Option<L>,
}

impl<L: Send + Unpin + 'static> LocalStream<L> {
    /// Bounds `body`.
    pub(crate) fn bound(body: CallBody, deadline: Deadline, cancel: CancellationToken, lease: L) -> CallBody {
        let stream = Self {
            body,
            deadline: deadline.at().map(|at| Box::pin(tokio::time::sleep_until(at))),
            cancel: Box::pin(cancel.cancelled_owned()),
            lease: Some(lease),
        };
        tonic::body::Body::new(stream).into()
    }

    /// Reason why the answer has to end now.
    fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<CallError> {
        if self.cancel.as_mut().poll(cx).is_ready() {
            return Poll::Ready(CallError::Cancelled);
        }
        match &mut self.deadline {
            Some(deadline) => deadline.as_mut().poll(cx).map(|()| CallError::DeadlineExceeded),
            None => Poll::Pending,
        }
    }
}

impl<L: Send + Unpin + 'static> Body for LocalStream<L> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.lease.is_none() {
            return Poll::Ready(None);
        }
        if let Poll::Ready(error) = self.poll_cut(cx) {
            self.lease = None;
            return Poll::Ready(Some(Ok(Frame::trailers(trailers(&error.into())))));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame
            .as_ref()
            .is_none_or(|frame| frame.as_ref().is_ok_and(Frame::is_trailers))
        {
            self.lease = None;
        }
        Poll::Ready(frame)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::stream;
    use http_body_util::{BodyExt, StreamBody};
    use tokio::time::Instant;

    use super::*;

    /// Frames of a stream that says something and then nothing more, until it ends: how many bytes, and its status.
    async fn run(deadline: Deadline, cancel: CancellationToken) -> (usize, String) {
        let words = stream::iter([Ok::<_, Status>(Frame::data(Bytes::from_static(b"word")))]);
        let words = futures_util::StreamExt::chain(words, stream::pending());
        let body = CallBody::from(tonic::body::Body::new(StreamBody::new(words)));
        let mut body = LocalStream::bound(body, deadline, cancel, ());
        let (mut bytes, mut code) = (0, String::new());
        while let Some(frame) = body.frame().await {
            let frame = frame.expect("no error");
            match frame.into_data() {
                Ok(data) => bytes += data.len(),
                Err(frame) => {
                    let trailers = frame.into_trailers().expect("the one or the other");
                    code = trailers["grpc-status"].to_str().expect("a number").to_owned();
                }
            }
        }
        (bytes, code)
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_at_its_deadline_or_when_it_is_cancelled() {
        let never = CancellationToken::new();
        let begun = Instant::now();
        let deadline = Deadline::after(Some(Duration::from_secs(2)), begun);
        assert_eq!(run(deadline, never.clone()).await, (4, "4".to_owned()));
        assert_eq!(begun.elapsed(), Duration::from_secs(2));
        let cancelled = CancellationToken::new();
        let later = cancelled.clone();
        let cancel = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            later.cancel();
        };
        let (ended, ()) = tokio::join!(run(Deadline::after(None, begun), cancelled), cancel);
        assert_eq!(ended, (4, "1".to_owned()));
    }
}
