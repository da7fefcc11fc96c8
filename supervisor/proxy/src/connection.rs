//! Accepted connection, whatever it speaks: HTTP/2 by prior knowledge, HTTP/1.1, or TLS on a socket without it.
//!
//! Every request becomes a call of one function, in a task of its own; a panic in it ends that call alone.

use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{Request, Response};
use http_body::{Body, Frame};
use hyper_util::rt::{TokioIo, TokioTimer};
use mainstay_model::held::{Hold, Way};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::admission::Activity;
use crate::body::{CallBody, RequestBody};
use crate::busy_poll::BusyPoll;
use crate::flow_control::{Chunk, PacedSender};
use crate::status::{CallError, respond, trailers};
use crate::{flow_control, heap, status};
use mainstay_io::CoalescingIo;
use mainstay_io::{Sniffed, sniff};

/// Longest wait for a peer to say what it speaks, and for the headers of an HTTP/1.1 request.
pub(crate) const HELLO: Duration = Duration::from_secs(10);

/// Longest time for a peer to read a refusal before its connection is closed.
const REFUSAL: Duration = Duration::from_secs(1);

/// Longest time that calls in flight delay the GOAWAY of a connection that is about to end.
const GOAWAY_DELAY: Duration = Duration::from_millis(200);

/// Time for a client to read an answer before it is told of the end.
const READING: Duration = Duration::from_millis(50);

/// Interval at which a connection with calls in flight checks itself.
const TICK: Duration = Duration::from_secs(1);

/// Bytes of an HTTP/1.1 connection that are read ahead, and the most that the headers of a request may have.
const HTTP1_BUFFER: usize = 64 << 10;

/// Longest pause between two parts of the body of an HTTP/1.1 request.
const BODY_PAUSE: Duration = Duration::from_secs(30);

const NOT_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 58\r\nConnection: close\r\n\r\nThis port speaks cleartext HTTP; connect to it without TLS";

/// Error that ended a connection other than by its peer's or our own will.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The socket failed before the peer said anything.
    #[error("the connection broke before its first bytes")]
    Hello(#[source] io::Error),
    /// The peer broke HTTP/2, or its socket failed.
    #[error("HTTP/2 connection failed")]
    Http2(#[source] h2::Error),
    /// The peer broke HTTP/1.1, or its socket failed.
    #[error("HTTP/1.1 connection failed")]
    Http1(#[source] hyper::Error),
}

/// Serves a connection to its end, and notes when it is idle. `stop` lets the calls in flight end and takes no new ones; dropping the future ends
/// everything at once.
pub async fn serve_connection<I, S, F>(
    mut io: I,
    service: S,
    activity: Arc<Activity>,
    stop: CancellationToken,
) -> Result<(), ConnectionError>
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    S: Fn(Request<RequestBody>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<CallBody>> + Send + 'static,
{
    let hello = tokio::select! {
        hello = timeout(HELLO, sniff(&mut io)) => hello,
        () = stop.cancelled() => return Ok(()),
    };
    match hello {
        // A peer that says nothing, such as a port scan, is no error.
        Err(_) | Ok(Ok((Sniffed::Nothing, _))) => Ok(()),
        Ok(Err(error)) => Err(ConnectionError::Hello(error)),
        Ok(Ok((Sniffed::Http2, first))) => http2(CoalescingIo::rewound(io, first), service, &activity, stop).await,
        Ok(Ok((Sniffed::Http1, first))) => http1(io, first, service, activity, stop).await,
        Ok(Ok((Sniffed::Tls, _))) => {
            // Dialers decide to go on without TLS only when they get an answer that is not TLS.
            refuse(io, NOT_TLS).await;
            Ok(())
        }
    }
}

/// Closes a connection whose peer speaks something else, with an answer that it can read.
pub(crate) async fn refuse(mut io: impl AsyncRead + AsyncWrite + Unpin, answer: &[u8]) {
    let exchange = async {
        io.write_all(answer).await?;
        io.shutdown().await?;
        // Closing with bytes unread would reset the connection and take the answer with it.
        let mut rest = [0; 4096];
        while io.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    // Nobody is left to tell when it fails.
    let _ = timeout(REFUSAL, exchange).await;
}

async fn http1<I, S, F>(
    io: I,
    first: Bytes,
    service: S,
    activity: Arc<Activity>,
    stop: CancellationToken,
) -> Result<(), ConnectionError>
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    S: Fn(Request<RequestBody>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<CallBody>> + Send + 'static,
{
    let answer = Arc::<Mutex<Answer>>::default();
    let current = answer.clone();
    let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
        let body =
            |body| RequestBody::on_account(tonic::body::Body::new(PatientBody::new(body)), activity.account.clone());
        let call = guarded(service(request.map(body)));
        let busy = BusyConnection(activity.clone(), current.clone());
        activity.begin();
        let begun = |body| {
            lock(&busy.1).body = body;
            busy
        };
        async { Ok::<_, std::convert::Infallible>(call.await.map(begun)) }
    });
    let (reader, writer) = tokio::io::split(io);
    let io = tokio::io::join(io::Cursor::new(first).chain(reader), writer);
    let mut connection = std::pin::pin!(
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HELLO)
            .max_buf_size(HTTP1_BUFFER)
            .serve_connection(TokioIo::new(io), service)
    );
    let (mut stopped, mut stopping) = (std::pin::pin!(stop.cancelled()), false);
    let served = std::future::poll_fn(|cx| {
        if !stopping && stopped.as_mut().poll(cx).is_ready() {
            stopping = true;
            connection.as_mut().graceful_shutdown();
        }
        lock(&answer).awaited = false;
        let ended = connection.as_mut().poll(cx);
        let mut answer = lock(&answer);
        // Whatever it is that cannot go on, a status would wait behind what the peer does not read.
        match ended.is_pending() && !answer.awaited && answer.body.poll_aside(cx, 0).is_err() {
            true => Poll::Ready(Ok(())),
            false => ended,
        }
    });
    served.await.map_err(ConnectionError::Http1)
}

async fn http2<I, S, F>(
    io: CoalescingIo<I>,
    service: S,
    activity: &Activity,
    stop: CancellationToken,
) -> Result<(), ConnectionError>
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    S: Fn(Request<RequestBody>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<CallBody>> + Send + 'static,
{
    let driver = io.handle();
    let handshake = h2::server::Builder::new()
        .initial_window_size(flow_control::REQUEST_WINDOW)
        .initial_connection_window_size(flow_control::CONNECTION_WINDOW)
        .max_frame_size(flow_control::MAX_FRAME)
        .max_header_list_size(flow_control::MAX_HEADERS)
        .max_concurrent_streams(flow_control::MAX_STREAMS)
        .max_send_buffer_size(flow_control::SEND_BUFFER)
        .max_concurrent_reset_streams(flow_control::MAX_RECENT_RESETS)
        .max_pending_accept_reset_streams(flow_control::MAX_PENDING_RESETS)
        .handshake::<_, Chunk>(io);
    // The handshake's own words have no driver yet.
    let mut handshake = std::pin::pin!(handshake);
    let handshake = std::future::poll_fn(|cx| {
        let done = handshake.as_mut().poll(cx);
        let _ = driver.poll_drain(cx);
        done
    });
    let mut connection = match timeout(HELLO, handshake).await {
        Ok(connection) => connection.map_err(ConnectionError::Http2)?,
        Err(_) => return Ok(()),
    };
    // Dropped with the connection, so no call outlives its caller.
    let mut calls = JoinSet::new();
    // Once the stop has come: when GOAWAY goes out, whatever is still in flight.
    let (mut stopping, mut goaway_sent) = (None, false);
    let mut tick = std::pin::pin!(tokio::time::sleep(Duration::ZERO));
    let (mut ticking, mut called, mut calm_window) = (false, false, false);
    let mut busy_poll = BusyPoll::new(std::time::Instant::now());
    loop {
        let (quiet, last) = (calls.is_empty(), busy_poll.last_sign());
        tokio::select! {
            biased;
            accepted = next_call(&mut connection, &driver) => match accepted {
                Some(Ok((request, mut respond))) => {
                    let mut room = Hold::new(activity.account.clone(), Way::Request);
                    if let Err(overdrawn) = room.set(flow_control::CALL) {
                        let refusal = status::respond(CallError::from(overdrawn)).map(|_| ());
                        // Fails when the caller is gone.
                        let _ = respond.send_response(refusal, true);
                        continue;
                    }
                    let (parts, stream) = request.into_parts();
                    let request = Request::from_parts(parts, RequestBody::counted(stream, activity.account.clone()));
                    busy_poll.sign(std::time::Instant::now());
                    // Boxed once, so that it is not copied on its way into the task.
                    calls.spawn(answer(Box::pin(guarded(service(request))), respond, room));
                    activity.begin();
                    called = true;
                    if calm_window && calls.len() > flow_control::FEW {
                        calm_window = set_calm(&mut connection, false);
                    }
                    if !ticking {
                        ticking = true;
                        tick.as_mut().reset(Instant::now() + TICK);
                    }
                }
                // A peer that leaves without a goodbye is no error.
                Some(Err(error)) if error.is_io() => return Ok(()),
                Some(Err(error)) => return Err(ConnectionError::Http2(error)),
                None => return Ok(()),
            },
            Some(_) = calls.join_next() => {
                busy_poll.sign(std::time::Instant::now());
                if calls.is_empty() {
                    activity.end();
                }
            }
            () = tokio::task::yield_now(), if busy_poll.is_awake() => {}
            () = &mut tick, if ticking => {
                let calm = calls.is_empty() && !std::mem::take(&mut called);
                ticking = !(calm && heap::give_back());
                tick.as_mut().reset(Instant::now() + TICK);
                if calm_window != (calls.len() <= flow_control::FEW) {
                    calm_window = set_calm(&mut connection, !calm_window);
                }
            }
            () = stop.cancelled(), if stopping.is_none() => stopping = Some(Instant::now() + GOAWAY_DELAY),
            () = goaway_due(stopping, quiet.then_some(last)), if !goaway_sent => {
                goaway_sent = true;
                connection.graceful_shutdown();
            }
        }
    }
}

/// Sets the window of requests; true if it is that of a calm connection now. It stays as it is while the peer has not yet agreed to
/// what it was told before.
fn set_calm<T: AsyncRead + AsyncWrite + Unpin>(connection: &mut h2::server::Connection<T, Chunk>, calm: bool) -> bool {
    let window = if calm {
        flow_control::CALM_REQUEST_WINDOW
    } else {
        flow_control::REQUEST_WINDOW
    };
    calm == connection.set_initial_window_size(window).is_ok()
}

/// Waits for the moment to tell the peer of the end: some clients (grpclib) lose answers that they have not read yet
/// when they hear of it, so it comes a moment after the last one, but no later than `by`.
async fn goaway_due(by: Option<Instant>, quiet_since: Option<std::time::Instant>) {
    match (by, quiet_since) {
        (Some(by), Some(since)) => tokio::time::sleep_until(by.min((since + READING).into())).await,
        (Some(by), None) => tokio::time::sleep_until(by).await,
        (None, _) => std::future::pending().await,
    }
}

/// The next call; drives the whole connection meanwhile.
async fn next_call<I: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut h2::server::Connection<CoalescingIo<I>, Chunk>,
    driver: &CoalescingIo<I>,
) -> Option<Result<(Request<RecvStream>, SendResponse<Chunk>), h2::Error>> {
    let mut accept = std::pin::pin!(connection.accept());
    std::future::poll_fn(|cx| {
        let accepted = accept.as_mut().poll(cx);
        match driver.poll_drain(cx) {
            // The peer is gone; its calls end with the connection.
            Poll::Ready(Err(_)) => Poll::Ready(None),
            _ => accepted,
        }
    })
    .await
}

/// The call's answer, or what a panic in it becomes.
fn guarded(call: impl Future<Output = Response<CallBody>>) -> impl Future<Output = Response<CallBody>> {
    AssertUnwindSafe(call)
        .catch_unwind()
        .map(|answer| answer.unwrap_or_else(|panic| respond(CallError::from(panic))))
}

/// Runs one call and sends its answer, until the caller loses interest.
async fn answer<F>(mut call: Pin<Box<F>>, mut respond: SendResponse<Chunk>, room: Hold)
where
    F: Future<Output = Response<CallBody>>,
{
    let response = std::future::poll_fn(|cx| match call.as_mut().poll(cx) {
        Poll::Ready(response) => Poll::Ready(Some(response)),
        // Ready means that the caller reset the stream or is gone; dropping the call is all there is to do.
        Poll::Pending => respond.poll_reset(cx).map(|_| None),
    })
    .await;
    let Some(response) = response else { return };
    let (parts, body) = response.into_parts();
    let over = body.is_end_stream();
    // Fails when the caller is gone meanwhile.
    let Ok(stream) = respond.send_response(Response::from_parts(parts, ()), over) else {
        return;
    };
    if !over {
        let sender = PacedSender::new(stream, room.account().clone(), Way::Answer);
        Pipe { body, sender }.await;
    }
}

/// Answer of an HTTP/1.1 connection, one at a time. While its peer does not read, only the connection polls it.
#[derive(Default)]
struct Answer {
    body: CallBody,
    /// Its next part was asked for, and is not there yet.
    awaited: bool,
}

fn lock(answer: &Mutex<Answer>) -> MutexGuard<'_, Answer> {
    answer.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The same for those who write it, while their connection is busy. Dropping it ends the call.
struct BusyConnection(Arc<Activity>, Arc<Mutex<Answer>>);

impl Drop for BusyConnection {
    fn drop(&mut self) {
        *lock(&self.1) = Answer::default();
        self.0.end();
    }
}

impl Body for BusyConnection {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut answer = lock(&self.1);
        let frame = Pin::new(&mut answer.body).poll_frame(cx);
        answer.awaited = frame.is_pending();
        frame
    }

    fn is_end_stream(&self) -> bool {
        lock(&self.1).body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        lock(&self.1).body.size_hint()
    }
}

/// Body of an HTTP/1.1 request, whose peer may not leave us waiting for its next part.
struct PatientBody {
    body: hyper::body::Incoming,
    pause: Pin<Box<Sleep>>,
}

impl PatientBody {
    fn new(body: hyper::body::Incoming) -> Self {
        Self {
            body,
            pause: Box::pin(tokio::time::sleep(BODY_PAUSE)),
        }
    }
}

impl Body for PatientBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.pause.as_mut().reset(Instant::now() + BODY_PAUSE);
            return Poll::Ready(frame.map(|frame| frame.map_err(|error| Status::from_error(error.into()))));
        }
        ready!(self.pause.as_mut().poll(cx));
        Poll::Ready(Some(Err(Status::cancelled(
            "the rest of the request did not come in time",
        ))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

/// Sends a body as fast as the caller reads.
struct Pipe {
    body: CallBody,
    sender: PacedSender,
}

impl Future for Pipe {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { body, sender } = &mut *self;
        loop {
            if sender.stream.poll_reset(cx).is_ready() {
                return Poll::Ready(());
            }
            if !sender.chunk.is_empty() {
                let part = match sender.poll_part(cx) {
                    Poll::Ready(Ok(Some(part))) => part,
                    Poll::Ready(Ok(None)) => return Poll::Ready(()),
                    Poll::Pending if body.poll_aside(cx, sender.chunk.len()).is_ok() => return Poll::Pending,
                    // A status would wait behind what the caller does not read.
                    Poll::Pending | Poll::Ready(Err(_)) => {
                        sender.stream.send_reset(Reason::ENHANCE_YOUR_CALM);
                        return Poll::Ready(());
                    }
                };
                let over = sender.chunk.is_empty() && body.is_end_stream();
                if sender.stream.send_data(part, over).is_err() || over {
                    return Poll::Ready(());
                }
                continue;
            }
            let ended = match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                None => sender.stream.send_data(Bytes::new().into(), true),
                Some(Err(status)) => sender.stream.send_trailers(trailers(&status)),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(chunk) => {
                        sender.chunk = chunk;
                        continue;
                    }
                    Err(frame) => sender.stream.send_trailers(frame.into_trailers().unwrap_or_default()),
                },
            };
            // Fails when the caller is gone; there is nobody to tell.
            let _ = ended;
            return Poll::Ready(());
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::deadline::Deadline;
    use crate::local_stream::LocalStream;

    /// An answer without end over HTTP/1.1, of which nothing is read: the connection's peer, and what tells that the call is over.
    fn unread(
        deadline: Deadline,
        cancel: CancellationToken,
    ) -> (tokio::io::DuplexStream, oneshot::Receiver<()>, JoinSet<()>) {
        let (peer, io) = tokio::io::duplex(1024);
        let (lease, over) = oneshot::channel::<()>();
        let lease = Arc::new(Mutex::new(Some(lease)));
        let service = move |_| {
            // More at once than is gathered for the socket, so that it is not asked again.
            let chunks = futures_util::stream::repeat_with(|| Ok::<_, Status>(Frame::data(vec![7; 1 << 20].into())));
            let body = tonic::body::Body::new(http_body_util::StreamBody::new(chunks));
            let lease = lease.lock().expect("sound").take().expect("one call");
            let body = LocalStream::bound(body.into(), deadline, cancel.clone(), lease);
            std::future::ready(Response::new(body))
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let served = serve_connection(io, service, Arc::default(), CancellationToken::new());
            // A peer that leaves within an answer is an error.
            let _ = served.await;
        });
        (peer, over, tasks)
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_over_http_1_ends_in_time_though_nobody_reads_it() {
        let request = b"GET / HTTP/1.1\r\nhost: rover\r\nconnection: close\r\n\r\n";
        let (never, soon) = (CancellationToken::new(), Duration::from_secs(2));
        let deadline = Deadline::after(Some(soon), Instant::now());
        let (mut peer, over, _tasks) = unread(deadline, never.clone());
        peer.write_all(request).await.expect("sent");
        let over = timeout(2 * soon, over).await;
        assert!(over.expect("it ends at its deadline").is_err());
        // Whoever reads on gets what was on its way, and the end.
        let mut rest = Vec::new();
        peer.read_to_end(&mut rest).await.expect("no reset");
        assert!(rest.ends_with(b"\r\n0\r\n\r\n"), "{} bytes", rest.len());

        let cancel = CancellationToken::new();
        let (mut peer, mut over, _tasks) = unread(Deadline::NEVER, cancel.clone());
        peer.write_all(request).await.expect("sent");
        assert!(timeout(soon, &mut over).await.is_err());
        cancel.cancel();
        assert!(
            timeout(soon, over)
                .await
                .expect("it ends when it is cancelled")
                .is_err()
        );

        let (mut peer, mut over, _tasks) = unread(Deadline::NEVER, never);
        peer.write_all(request).await.expect("sent");
        assert!(timeout(soon, &mut over).await.is_err());
        drop(peer);
        assert!(timeout(soon, over).await.expect("it ends with its peer").is_err());
    }
}
