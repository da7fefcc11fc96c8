//! The two bodies on the data path: what a caller sends, and what it gets.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http_body::{Body, Frame, SizeHint};
use mainstay_model::held::{Account, Way};
use tonic::Status;

use crate::call::ForwardedCall;
use crate::grpc_web::{Decoded, WebBody};
use crate::inflow::Inflow;
use crate::status::CallError;

/// Request body of a caller, chunk by chunk, with what was already read put back in front.
pub struct RequestBody {
    /// Account of the caller's connection.
    pub(crate) account: Account,
    first: Bytes,
    rest: BodySource,
}

enum BodySource {
    Empty,
    H2(Inflow),
    /// Base64 of a browser.
    Text(Box<Decoded>),
    /// Anything else: HTTP/1.1, the core's own calls.
    Other(tonic::body::Body),
}

impl RequestBody {
    /// No bytes at all.
    pub fn empty() -> Self {
        Self {
            account: Account::default(),
            first: Bytes::new(),
            rest: BodySource::Empty,
        }
    }

    /// What comes through a stream, counted on this account.
    pub(crate) fn counted(stream: RecvStream, account: Account) -> Self {
        Self {
            account: account.clone(),
            first: Bytes::new(),
            rest: BodySource::H2(Inflow::new(stream, account, Way::Request)),
        }
    }

    /// A body of another kind, of a caller who has this account.
    pub fn on_account(body: tonic::body::Body, account: Account) -> Self {
        let body = Self::from(body);
        Self { account, ..body }
    }

    /// Account of the caller's connection.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// What a body in base64 stands for, counted as that is.
    pub(crate) fn decoded(body: Self) -> Self {
        Self {
            account: body.account.clone(),
            first: Bytes::new(),
            rest: BodySource::Text(Box::new(Decoded::new(body))),
        }
    }

    /// Puts `chunk` in front of what has yet to come. At most one chunk can be in front.
    pub fn put_back(&mut self, chunk: Bytes) {
        debug_assert!(self.first.is_empty(), "a chunk would be lost");
        self.first = chunk;
    }

    /// The next chunk that is not empty; `None` at the end. Window is given back to the sender as chunks are taken, so
    /// a sender never gets further ahead of the reader than its window.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Status>>> {
        if !self.first.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut self.first))));
        }
        loop {
            let chunk = match &mut self.rest {
                BodySource::Empty => return Poll::Ready(None),
                BodySource::H2(inflow) => match ready!(inflow.poll_chunk(cx)) {
                    None => None,
                    Some(Ok(chunk)) => Some(chunk),
                    Some(Err(error)) => return Poll::Ready(Some(Err(CallError::CallerGone(error).into()))),
                },
                BodySource::Text(text) => match ready!(text.poll_chunk(cx)).transpose() {
                    Ok(chunk) => chunk,
                    Err(status) => return Poll::Ready(Some(Err(status))),
                },
                BodySource::Other(body) => match ready!(Pin::new(body).poll_frame(cx)) {
                    None => None,
                    // A request has no trailers in gRPC.
                    Some(Ok(frame)) => Some(frame.into_data().unwrap_or_default()),
                    Some(Err(status)) => return Poll::Ready(Some(Err(status))),
                },
            };
            match chunk {
                None => {
                    self.rest = BodySource::Empty;
                    return Poll::Ready(None);
                }
                Some(chunk) if chunk.is_empty() => {}
                Some(chunk) => return Poll::Ready(Some(Ok(chunk))),
            }
        }
    }

    /// Takes in what has come while nobody can take it, which holds `kept` bytes already.
    ///
    /// # Errors
    /// It is more than may be held for the caller.
    pub(crate) fn poll_ahead(&mut self, cx: &mut Context<'_>, kept: usize) -> Result<(), CallError> {
        match &mut self.rest {
            BodySource::H2(inflow) => inflow.poll_ahead(cx, kept + self.first.len()),
            BodySource::Text(text) => text.body.poll_ahead(cx, kept + self.first.len()),
            BodySource::Empty | BodySource::Other(_) => Ok(()),
        }
    }

    /// Counts that so much of the request is kept until its next chunk has come.
    ///
    /// # Errors
    /// As [`RequestBody::poll_ahead`].
    pub(crate) fn keep(&mut self, kept: usize) -> Result<(), CallError> {
        match &mut self.rest {
            BodySource::H2(inflow) => inflow.keep(kept),
            BodySource::Text(text) => text.body.keep(kept),
            BodySource::Empty | BodySource::Other(_) => Ok(()),
        }
    }

    /// Runs `work` to its end, and takes in what comes meanwhile, as [`RequestBody::poll_ahead`] does.
    ///
    /// # Errors
    /// As there.
    pub(crate) async fn ahead_until<T>(&mut self, kept: usize, work: impl Future<Output = T>) -> Result<T, CallError> {
        let mut work = pin!(work);
        let done = std::future::poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Pending => match self.poll_ahead(cx, kept) {
                Ok(()) => Poll::Pending,
                Err(overdrawn) => Poll::Ready(Err(overdrawn)),
            },
            done => done.map(Ok),
        });
        done.await
    }

    /// The next chunk, as a future.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, Status>> {
        std::future::poll_fn(|cx| self.poll_chunk(cx)).await
    }

    /// True when it is already known that nothing more comes.
    pub fn is_over(&self) -> bool {
        self.first.is_empty()
            && match &self.rest {
                BodySource::Empty => true,
                BodySource::H2(inflow) => inflow.is_over(),
                // Whether it ends within a group of letters is seen by taking the end.
                BodySource::Text(_) => false,
                BodySource::Other(body) => body.is_end_stream(),
            }
    }
}

impl From<tonic::body::Body> for RequestBody {
    fn from(body: tonic::body::Body) -> Self {
        Self {
            account: Account::default(),
            first: Bytes::new(),
            rest: BodySource::Other(body),
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.poll_chunk(cx)
            .map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over()
    }
}

impl std::fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestBody")
            .field("first", &self.first.len())
            .finish_non_exhaustive()
    }
}

/// Answer of the core's own that lasts, and must see its end while its reader has no room.
pub trait LastingBody: Body<Data = Bytes, Error = Status> + Send + Unpin {
    /// As [`CallBody::poll_aside`].
    ///
    /// # Errors
    /// As there.
    fn poll_aside(&mut self, cx: &mut Context<'_>, kept: usize) -> Result<(), CallError>;
}

impl std::fmt::Debug for dyn LastingBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LastingBody")
    }
}

/// Response body for a caller. Not boxed for the calls that are passed on, which are most.
#[derive(Debug, Default)]
pub enum CallBody {
    /// No data; the headers say it all.
    #[default]
    Empty,
    /// Whole body in one piece.
    Full(Bytes),
    /// The answer of one of the core's own services.
    Service(tonic::body::Body),
    /// The same, of one that lasts.
    Lasting(Box<dyn LastingBody>),
    /// The answer of a module. Polling it moves the request on, too.
    Call(Box<ForwardedCall>),
    /// Any of them, for a browser.
    Web(Box<WebBody>),
}

impl CallBody {
    /// Moves on what does not depend on the reader, while the reader has no room: a module may be waiting for more of
    /// the request before it reads on, and the deadline does not wait either. The reader holds `kept` bytes.
    ///
    /// # Errors
    /// More would be held for the caller than may, or it met a fault.
    pub fn poll_aside(&mut self, cx: &mut Context<'_>, kept: usize) -> Result<(), CallError> {
        let moved = catch_unwind(AssertUnwindSafe(|| match self {
            Self::Call(call) => call.poll_ahead(cx, kept),
            Self::Web(body) => body.poll_aside(cx, kept),
            Self::Lasting(body) => body.poll_aside(cx, kept),
            Self::Empty | Self::Full(_) | Self::Service(_) => Ok(()),
        }));
        moved.unwrap_or_else(|panic| Err(panic.into()))
    }

    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self {
            Self::Empty => Poll::Ready(None),
            Self::Full(_) => match std::mem::take(self) {
                Self::Full(bytes) if !bytes.is_empty() => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                _ => Poll::Ready(None),
            },
            Self::Service(body) => Pin::new(body).poll_frame(cx),
            Self::Lasting(body) => Pin::new(body).poll_frame(cx),
            Self::Call(call) => call.poll_frame(cx).map(|frame| frame.map(Ok)),
            Self::Web(body) => body.poll_frame(cx),
        }
    }
}

impl Body for CallBody {
    type Data = Bytes;
    type Error = Status;

    /// A panic is the call's error, wherever it is polled.
    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        catch_unwind(AssertUnwindSafe(|| this.poll_part(cx))).unwrap_or_else(|panic| {
            *this = Self::Empty;
            Poll::Ready(Some(Err(CallError::from(panic).into())))
        })
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Service(body) => body.is_end_stream(),
            Self::Lasting(body) => body.is_end_stream(),
            Self::Call(_) => false,
            Self::Web(body) => body.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Service(body) => body.size_hint(),
            Self::Lasting(_) | Self::Call(_) | Self::Web(_) => SizeHint::default(),
        }
    }
}

impl From<tonic::body::Body> for CallBody {
    fn from(body: tonic::body::Body) -> Self {
        Self::Service(body)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    struct Broken;

    impl Body for Broken {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            panic!("broken");
        }
    }

    impl LastingBody for Broken {
        fn poll_aside(&mut self, _: &mut Context<'_>, _: usize) -> Result<(), CallError> {
            panic!("broken aside");
        }
    }

    #[tokio::test]
    async fn a_panic_in_an_answer_is_its_error_and_its_end() {
        for mut body in [
            CallBody::Lasting(Box::new(Broken)),
            CallBody::from(tonic::body::Body::new(Broken)),
        ] {
            let status = body.frame().await.expect("an end").expect_err("an error");
            assert_eq!(status.code(), tonic::Code::Internal);
            assert!(status.message().contains("broken"), "{status:?}");
            assert!(body.frame().await.is_none());
        }
        let mut body = CallBody::Lasting(Box::new(Broken));
        let error = std::future::poll_fn(|cx| Poll::Ready(body.poll_aside(cx, 0))).await;
        assert!(error.expect_err("an error").to_string().contains("broken aside"));
    }
}
