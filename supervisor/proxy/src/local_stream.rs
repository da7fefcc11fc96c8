//! Answer of one of the core's own services that lasts: it ends at the call's deadline, and when its operation is cancelled, and
//! holds what the call holds until then.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::Status;

use crate::body::{CallBody, LastingBody};
use crate::deadline::Deadline;
use crate::status::{CallError, trailers};

/// Body of such an answer. `L` is dropped with it, or when it has ended.
pub(crate) struct LocalStream<L> {
    body: CallBody,
    deadline: Option<Pin<Box<Sleep>>>,
    cancel: Pin<Box<WaitForCancellationFutureOwned>>,
    /// None once the answer has ended.
    lease: Option<L>,
    /// Why it had to end, until its reader is told.
    cut: Option<CallError>,
}

impl<L: Send + Unpin + 'static> LocalStream<L> {
    /// Bounds `body`.
    pub(crate) fn bound(body: CallBody, deadline: Deadline, cancel: CancellationToken, lease: L) -> CallBody {
        let stream = Self {
            body,
            deadline: deadline.at().map(|at| Box::pin(tokio::time::sleep_until(at))),
            cancel: Box::pin(cancel.cancelled_owned()),
            lease: Some(lease),
            cut: None,
        };
        CallBody::Lasting(Box::new(stream))
    }

    /// Ends the answer if it has to.
    fn watch(&mut self, cx: &mut Context<'_>) {
        if self.lease.is_some()
            && let Poll::Ready(error) = self.poll_cut(cx)
        {
            (self.body, self.lease, self.cut) = (CallBody::Empty, None, Some(error));
        }
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
        self.watch(cx);
        if let Some(error) = self.cut.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers(&error.into())))));
        }
        if self.lease.is_none() {
            return Poll::Ready(None);
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

impl<L: Send + Unpin + 'static> LastingBody for LocalStream<L> {
    fn poll_aside(&mut self, cx: &mut Context<'_>, kept: usize) -> Result<(), CallError> {
        self.watch(cx);
        self.body.poll_aside(cx, kept)
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

    #[tokio::test(start_paused = true)]
    async fn it_ends_in_time_though_nobody_reads_and_tells_so_later() {
        let never = CancellationToken::new();
        let deadline = Deadline::after(Some(Duration::from_secs(2)), Instant::now());
        let (lease, mut released) = tokio::sync::oneshot::channel::<()>();
        let words = stream::repeat_with(|| Ok::<_, Status>(Frame::data(Bytes::from_static(b"word"))));
        let words = CallBody::from(tonic::body::Body::new(StreamBody::new(words)));
        let mut body = LocalStream::bound(words, deadline, never, lease);
        let first = body.frame().await.expect("a frame").expect("no error");
        assert!(first.is_data());
        let over = std::future::poll_fn(|cx| match body.poll_aside(cx, 0) {
            Ok(()) => Pin::new(&mut released).poll(cx).map(|_gone| ()),
            Err(error) => panic!("{error}"),
        });
        tokio::time::timeout(Duration::from_secs(3), over)
            .await
            .expect("in time");
        let last = body.frame().await.expect("a frame").expect("no error");
        assert_eq!(last.into_trailers().expect("the end")["grpc-status"], "4");
        assert!(body.frame().await.is_none());
    }
}
