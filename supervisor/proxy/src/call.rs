//! Forwarded call: both directions of it, and what may end it, as one state machine in one task.
//!
//! Nothing is spawned per call. Whoever polls the answer moves the request on as well, and dropping the answer resets
//! the module's stream, so a caller that goes away needs no code of its own.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Response};
use http_body::Frame;
use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::Status;

use crate::body::{CallBody, RequestBody};
use crate::deadline::Deadline;
use crate::flow_control::{Chunk, PacedSender};
use crate::image_types::ImageFilter;
use crate::inflow::Inflow;
use crate::status::{CallError, CallTarget, trailers};
use crate::turns::{CallerId, Turn};
use crate::upstream::Upstream;
use mainstay_model::held::{Account, Way};
use mainstay_proto::frames::FrameScanner;
use mainstay_trace::CallSpan;

/// Lease that is held exactly as long as the call runs.
pub trait CallLease: Send {
    /// Reason why the core ended the call before its time; `None` if a person did.
    fn cut_reason(&self) -> Option<Arc<str>> {
        None
    }
}

/// The same, wherever it comes from.
pub type BoxedLease = Box<dyn CallLease>;

/// Conditions that end a call from outside, and the handles to release with it.
pub struct Guards {
    /// Resource and method, for error texts.
    pub target: CallTarget,
    deadline: Option<Pin<Box<Sleep>>>,
    cancel: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    keep: Option<BoxedLease>,
    span: Option<CallSpan>,
    /// Every chunk of the answer goes through this, if it is there.
    pub(crate) images: Option<Box<ImageFilter>>,
    /// The one whose turn it must be.
    pub(crate) caller: CallerId,
    /// Room on the module's connection, while the call has it.
    pub(crate) turn: Option<Turn>,
    /// Counts what is held of the answer.
    pub(crate) account: Account,
}

impl Guards {
    /// Watches over a call to `target`. `keep` is dropped when the call is over, and `span` told how it ended.
    pub fn new(
        target: CallTarget,
        deadline: Deadline,
        cancel: Option<CancellationToken>,
        keep: Option<BoxedLease>,
        span: Option<CallSpan>,
    ) -> Self {
        let deadline = deadline.at().map(|at| Box::pin(tokio::time::sleep_until(at)));
        let cancel = cancel.map(|token| Box::pin(token.cancelled_owned()));
        Self {
            target,
            deadline,
            cancel,
            keep,
            span,
            images: None,
            caller: CallerId::CORE,
            turn: None,
            account: Account::default(),
        }
    }

    /// The call is over, with these trailers.
    fn ended(&mut self, trailers: &HeaderMap) {
        if let Some(span) = self.span.take() {
            let status = Status::from_header_map(trailers).unwrap_or_else(|| Status::unknown(""));
            span.end(&status);
        }
    }

    /// Status with which the call must end now, if it must.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        if let Some(cancel) = &mut self.cancel
            && cancel.as_mut().poll(cx).is_ready()
        {
            let cut = self.keep.as_ref().and_then(|keep| keep.cut_reason());
            let error = match cut {
                Some(reason) => CallError::NotAvailable {
                    resource: self.target.resource.clone(),
                    reason: reason.to_string(),
                    transient: true,
                },
                None => CallError::Cancelled,
            };
            return Poll::Ready(error.into());
        }
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(CallError::DeadlineExceeded.into());
        }
        Poll::Pending
    }

    /// Runs `work` until the call must end.
    pub async fn watch<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Status> {
        let mut work = pin!(work);
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Ok(done)),
            Poll::Pending => self.poll(cx).map(Err),
        })
        .await
    }
}

/// A call in flight.
pub struct ForwardedCall {
    guards: Guards,
    request: Option<Upload>,
    answer: ResponseState,
    /// Keeps the connection while the call lasts, and knows what became of the module.
    upstream: Upstream,
}

/// The request's way: caller to module.
struct Upload {
    body: RequestBody,
    sender: PacedSender,
    state: StreamState,
}

enum ResponseState {
    Awaited(ResponseFuture),
    Flowing(Inflow, StreamState),
    /// End of the answer: nothing more comes but these trailers.
    Ending(HeaderMap),
    Over,
}

/// State of a direction between two chunks.
#[derive(Default)]
struct StreamState {
    scanner: FrameScanner,
    /// A torn message header that waits for its rest.
    held: Bytes,
}

impl StreamState {
    /// Part of the chunk that may go on now.
    fn admit(&mut self, chunk: Bytes) -> (Bytes, Result<(), CallError>) {
        let mut chunk = match self.held.is_empty() {
            true => chunk,
            false => [&self.held[..], &chunk].concat().into(),
        };
        let followed = self.scanner.follow(&chunk);
        self.held = chunk.split_off(followed.pass);
        (chunk, followed.too_long.map_or(Ok(()), |error| Err(error.into())))
    }

    fn at_boundary(&self) -> bool {
        self.held.is_empty() && self.scanner.at_boundary()
    }
}

impl ForwardedCall {
    pub(super) fn new(
        upstream: Upstream,
        upload: Option<(RequestBody, SendStream<Chunk>)>,
        response: ResponseFuture,
        guards: Guards,
    ) -> Self {
        let fresh = |(body, stream): (RequestBody, _)| Upload {
            sender: PacedSender::new(stream, body.account.clone(), Way::Request),
            body,
            state: StreamState::default(),
        };
        Self {
            guards,
            request: upload.map(fresh),
            answer: ResponseState::Awaited(response),
            upstream,
        }
    }

    /// Waits for the answer's headers, sending the request meanwhile. The body, if one follows, is this call.
    pub(super) async fn head(mut self) -> Result<Response<CallBody>, Status> {
        let response = poll_fn(|cx| self.poll_head(cx)).await?;
        let (mut parts, stream) = response.into_parts();
        let over = stream.is_end_stream();
        self.guards.target.check_head(parts.status, &mut parts.headers, over)?;
        let body = if over {
            self.guards.ended(&parts.headers);
            CallBody::Empty
        } else {
            let inflow = Inflow::new(stream, self.guards.account.clone(), Way::Answer);
            self.answer = ResponseState::Flowing(inflow, StreamState::default());
            CallBody::Call(Box::new(self))
        };
        let mut response = Response::new(body);
        *response.headers_mut() = parts.headers;
        Ok(response)
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<RecvStream>, Status>> {
        if let Poll::Ready(status) = self.guards.poll(cx) {
            return Poll::Ready(Err(status));
        }
        self.poll_request(cx)?;
        let ResponseState::Awaited(response) = &mut self.answer else {
            unreachable!("the head is awaited once")
        };
        let response = ready!(Pin::new(response).poll(cx));
        Poll::Ready(response.map_err(|error| {
            let exit_cause = self.upstream.exit_cause();
            self.guards.target.stream_failed(error, exit_cause).into()
        }))
    }

    /// The next piece of the answer. The last one is always trailers with a status.
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        self.poll_aside(cx);
        loop {
            if let Some(chunk) = self.guards.images.as_mut().and_then(|images| images.pop()) {
                return Poll::Ready(Some(Frame::data(chunk)));
            }
            let ended = match &mut self.answer {
                ResponseState::Awaited(_) | ResponseState::Over => return Poll::Ready(None),
                ResponseState::Ending(_) => {
                    let ResponseState::Ending(trailers) = std::mem::replace(&mut self.answer, ResponseState::Over)
                    else {
                        return Poll::Ready(None);
                    };
                    return Poll::Ready(Some(Frame::trailers(trailers)));
                }
                ResponseState::Flowing(inflow, state) => match ready!(inflow.poll_chunk(cx)) {
                    Some(Ok(chunk)) => {
                        let (chunk, admitted) = state.admit(chunk);
                        if let Err(error) = admitted {
                            self.end(&error.into());
                        }
                        match &mut self.guards.images {
                            Some(images) => images.push(chunk),
                            None if chunk.is_empty() => {}
                            None => return Poll::Ready(Some(Frame::data(chunk))),
                        }
                        continue;
                    }
                    Some(Err(error)) => Err(self.guards.target.stream_failed(error, self.upstream.exit_cause())),
                    None => match ready!(inflow.stream.poll_trailers(cx)) {
                        Ok(Some(trailers)) if trailers.contains_key(Status::GRPC_STATUS) => {
                            Ok((trailers, state.at_boundary()))
                        }
                        Ok(_) => Err(CallError::NoStatus(self.guards.target.clone())),
                        Err(error) => Err(self.guards.target.stream_failed(error, self.upstream.exit_cause())),
                    },
                },
            };
            match ended {
                Ok((_, false)) => self.end(&CallError::TornAnswer(self.guards.target.clone()).into()),
                Ok((trailers, true)) => self.end_with(trailers),
                Err(error) => self.end(&error.into()),
            }
        }
    }

    /// As [`CallBody::poll_aside`].
    pub(super) fn poll_ahead(&mut self, cx: &mut Context<'_>, kept: usize) -> Result<(), CallError> {
        self.poll_aside(cx);
        match &mut self.answer {
            ResponseState::Flowing(inflow, _) => inflow.poll_ahead(cx, kept),
            _ => Ok(()),
        }
    }

    /// Moves on everything but the answer itself.
    fn poll_aside(&mut self, cx: &mut Context<'_>) {
        if !matches!(self.answer, ResponseState::Flowing(..)) {
            return;
        }
        if let Poll::Ready(status) = self.guards.poll(cx) {
            self.end(&status);
        } else if let Err(status) = self.poll_request(cx) {
            self.end(&status);
        }
    }

    /// Sends as much of the request as is there and has room. An error ends the call; that the module wants no more of
    /// the request is none.
    fn poll_request(&mut self, cx: &mut Context<'_>) -> Result<(), Status> {
        let Some(upload) = &mut self.request else { return Ok(()) };
        if upload.poll(cx)?.is_ready() {
            self.request = None;
        }
        Ok(())
    }

    fn end(&mut self, status: &Status) {
        self.end_with(trailers(status));
    }

    /// Forgets the module's stream, which resets it unless it is complete, and lets go of what lasts as long as the
    /// call.
    fn end_with(&mut self, trailers: HeaderMap) {
        self.request = None;
        self.guards.ended(&trailers);
        self.answer = ResponseState::Ending(trailers);
        self.guards.keep = None;
        self.guards.cancel = None;
        self.guards.deadline = None;
        self.guards.turn = None;
    }
}

impl Upload {
    /// Ready when nothing is left to do.
    fn poll(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Status> {
        loop {
            if self.sender.chunk.is_empty() {
                match self.body.poll_chunk(cx)? {
                    Poll::Pending => return Ok(Poll::Pending),
                    Poll::Ready(None) if !self.state.at_boundary() => {
                        return Err(CallError::TornRequest.into());
                    }
                    Poll::Ready(None) => {
                        // The module may have closed the stream already; its answer tells.
                        let _ = self.sender.stream.send_data(Bytes::new().into(), true);
                        return Ok(Poll::Ready(()));
                    }
                    Poll::Ready(Some(chunk)) => {
                        let (chunk, admitted) = self.state.admit(chunk);
                        admitted?;
                        self.sender.chunk = chunk;
                        continue;
                    }
                }
            }
            let part = match self.sender.poll_part(cx)? {
                Poll::Pending => {
                    self.body.poll_ahead(cx, self.sender.chunk.len())?;
                    return Ok(Poll::Pending);
                }
                // The module takes no more.
                Poll::Ready(None) => return Ok(Poll::Ready(())),
                Poll::Ready(Some(part)) => part,
            };
            // One frame fewer when the end is already known.
            let last = self.sender.chunk.is_empty() && self.state.at_boundary() && self.ends_now(cx)?;
            if self.sender.stream.send_data(part, last).is_err() || last {
                return Ok(Poll::Ready(()));
            }
        }
    }

    /// True when the caller has nothing more to send. A chunk that came instead waits in front of the body.
    fn ends_now(&mut self, cx: &mut Context<'_>) -> Result<bool, Status> {
        if self.body.is_over() {
            return Ok(true);
        }
        match self.body.poll_chunk(cx)? {
            Poll::Pending => Ok(false),
            Poll::Ready(None) => Ok(true),
            Poll::Ready(Some(chunk)) => {
                self.body.put_back(chunk);
                Ok(false)
            }
        }
    }
}

impl std::fmt::Debug for ForwardedCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ForwardedCall")
            .field("target", &self.guards.target)
            .finish_non_exhaustive()
    }
}
