//! A handle on one peer's HTTP/2 connection: a module's UNIX socket, or another machine's port.
//!
//! Two lanes: data, and a connection of its own for what must never queue behind data (methods that stop something, and
//! the core's own calls). Some peers allow no more than 100 streams per connection, and one flow-control window counts
//! for all of them.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::client::SendRequest;
use http::uri::{self, Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, Version, header};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::body::{CallBody, RequestBody};
use crate::call::{ForwardedCall, Guards};
use crate::deadline::Deadline;
use crate::exit_cause::ExitCause;
use crate::flow_control::{self, Chunk};
use crate::remote_link::RemoteLink;
use crate::status::{CallError, CallTarget};
use crate::turns::Turns;
use mainstay_io::CoalescingIo;
use mainstay_io::UnixIo;

/// The method that no one has: all that live refuse it at once, whatever else they do.
const NOBODYS: &str = "/mainstay.probe.v1.Probe/AreYouThere";

/// Connection that a call takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lane {
    /// Connection for everything else.
    #[default]
    Data,
    /// Connection for calls that stop something, and for those that the core makes by itself.
    Control,
}

/// A connection that can be shared freely: clones are cheap and mean the same connection. It lasts until the peer ends
/// it or the last clone is dropped; calls in flight count as clones.
///
/// As a [`tower_service::Service`] it carries tonic's generated clients, on the control lane.
#[derive(Clone)]
pub struct Upstream(Arc<Inner>);

struct Inner {
    /// Number of the connection, from 1.
    serial: u64,
    place: Endpoint,
    authority: Authority,
    target: CallTarget,
    data: SendRequest<Chunk>,
    /// Turns at `data`.
    turns: Arc<Turns>,
    control: tokio::sync::Mutex<Option<SendRequest<Chunk>>>,
    closed: CancellationToken,
    exit_cause: ExitCause,
    /// Bytes that the peer sent, on both lanes.
    received: Arc<AtomicU64>,
    /// Ends the connections with the last handle.
    tasks: Mutex<JoinSet<()>>,
}

#[derive(Clone)]
enum Endpoint {
    Unix(PathBuf),
    Tcp(SocketAddr),
    /// Another machine.
    Link(Arc<dyn RemoteLink>),
}

impl Upstream {
    /// Connects to the UNIX socket of somebody whom error texts call `peer`.
    pub async fn connect_to(peer: &str, path: &Path) -> io::Result<Self> {
        let authority = Authority::from_static("localhost");
        Self::open(Endpoint::Unix(path.to_owned()), peer.into(), authority).await
    }

    /// Connects to the TCP port of somebody whom error texts call `peer`, without TLS.
    pub async fn connect_tcp_to(peer: &str, address: SocketAddr) -> io::Result<Self> {
        let authority = Authority::try_from(address.to_string()).map_err(io::Error::other)?;
        Self::open(Endpoint::Tcp(address), peer.into(), authority).await
    }

    /// Connects to another machine. `authority` is the host and port that it is called by.
    pub async fn connect_link(link: Arc<dyn RemoteLink>, authority: Authority) -> io::Result<Self> {
        let peer: Arc<str> = format!("remote `{}`", link.name()).into();
        Self::open(Endpoint::Link(link), peer, authority).await
    }

    /// The link, if the peer is another machine.
    pub(crate) fn link(&self) -> Option<&dyn RemoteLink> {
        match &self.0.place {
            Endpoint::Link(link) => Some(&**link),
            Endpoint::Unix(_) | Endpoint::Tcp(_) => None,
        }
    }

    /// Boxed, so that it and what it spawns are compiled here and built for speed (see [`Serving`](crate::listen::Serving)).
    fn open(
        place: Endpoint,
        peer: Arc<str>,
        authority: Authority,
    ) -> Pin<Box<dyn Future<Output = io::Result<Self>> + Send>> {
        Box::pin(Self::connect(place, peer, authority))
    }

    async fn connect(place: Endpoint, peer: Arc<str>, authority: Authority) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let closed = CancellationToken::new();
        let exit_cause = ExitCause::default();
        let mut tasks = JoinSet::new();
        let received = Arc::default();
        let turns = Arc::<Turns>::default();
        let data = place
            .dial(
                &mut tasks,
                &exit_cause,
                &received,
                Some((closed.clone(), turns.clone())),
            )
            .await?;
        // The core's own calls are not about a resource.
        let target = CallTarget {
            resource: Arc::clone(&peer),
            module: peer,
        };
        let control = tokio::sync::Mutex::new(None);
        Ok(Self(Arc::new(Inner {
            serial: NEXT.fetch_add(1, Ordering::Relaxed),
            place,
            authority,
            target,
            data,
            turns,
            control,
            closed,
            exit_cause,
            received,
            tasks: Mutex::new(tasks),
        })))
    }

    /// Number of the connection, which no other one has.
    pub(crate) fn serial(&self) -> u64 {
        self.0.serial
    }

    /// Waits until the peer has ended the connection, or broken it.
    pub async fn closed(&self) {
        self.0.closed.cancelled().await;
    }

    /// True once the peer has ended the connection, or broken it.
    pub fn is_closed(&self) -> bool {
        self.0.closed.is_cancelled()
    }

    /// Sets the exit cause of the peer: calls that end with the connection end in these words. The first call counts.
    pub fn mark_down(&self, cause: Arc<str>) {
        self.0.exit_cause.set(cause);
    }

    /// Exit cause of the peer, if it is known.
    pub fn exit_cause(&self) -> Option<&str> {
        self.0.exit_cause.get()
    }

    /// Bytes that the peer has sent so far: whether it still speaks.
    pub fn received(&self) -> u64 {
        self.0.received.load(Ordering::Relaxed)
    }

    /// Calls a method that no one has and waits for an answer. Whatever the answer, somebody is there to give it; the
    /// error is the end of the connection. Waits for as long as it is polled; dropping it resets the call.
    pub async fn ping(&self) -> Result<(), Unsent> {
        // A peer that takes no second connection any more may well answer on the first.
        let mut sender = match self.sender(Lane::Control).await {
            Err(Unsent::Dial(_)) => self.sender(Lane::Data).await?,
            sender => sender?,
        };
        let mut headers = HeaderMap::with_capacity(2);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        let request = self.request(PathAndQuery::from_static(NOBODYS), headers);
        let request = request.map_err(|error| Unsent::Dial(io::Error::other(error)))?;
        let (answer, mut stream) = sender.send_request(request, false).map_err(Unsent::Stream)?;
        // An empty message in its frame; it is small enough to go without asking for room.
        let _reset = stream.send_data(Bytes::from_static(&[0; 5]).into(), true);
        match answer.await {
            Err(error) if !error.is_remote() || error.is_io() || error.is_go_away() => Err(Unsent::Stream(error)),
            // A refused stream is an answer, too.
            _ => Ok(()),
        }
    }

    /// Request sender of a lane. Waits for a connection to be made, if there is none, and for the peer to allow one
    /// more stream.
    pub(super) async fn sender(&self, lane: Lane) -> Result<SendRequest<Chunk>, Unsent> {
        let mut sender = match lane {
            Lane::Data => self.0.data.clone(),
            // Boxed, because dialling is rare and its state large.
            Lane::Control => Box::pin(self.0.control()).await.map_err(Unsent::Dial)?,
        };
        poll_fn(|cx| sender.poll_ready(cx)).await.map_err(Unsent::Stream)?;
        Ok(sender)
    }

    /// Makes a call on a lane and waits for its answer's headers, for as long as the guards let it.
    pub(super) async fn exchange(
        &self,
        lane: Lane,
        path: PathAndQuery,
        headers: HeaderMap,
        mut body: RequestBody,
        mut guards: Guards,
    ) -> Result<Response<CallBody>, Status> {
        guards.account = body.account.clone();
        if lane == Lane::Data {
            guards.turn = match self.0.turns.try_take() {
                // Boxed, because it is rare and its state large.
                None => {
                    let turn = self.0.turns.take(guards.caller, &self.0.closed);
                    guards.watch(Box::pin(body.ahead_until(0, turn))).await??
                }
                turn => turn,
            };
        }
        let sender = guards.watch(self.sender(lane)).await?;
        let mut sender = sender.map_err(|error| guards.target.lost(error, self.exit_cause()))?;
        let request = self.request(path, headers).map_err(CallError::Path)?;
        let over = body.is_over();
        let (response, stream) = sender
            .send_request(request, over)
            .map_err(|error| guards.target.stream_failed(error, self.exit_cause()))?;
        let upload = (!over).then_some((body, stream));
        ForwardedCall::new(self.clone(), upload, response, guards).head().await
    }

    /// Head of a call.
    fn request(&self, path: PathAndQuery, headers: HeaderMap) -> Result<Request<()>, uri::InvalidUriParts> {
        let mut parts = uri::Parts::default();
        let encrypted = self.link().is_some_and(RemoteLink::is_encrypted);
        parts.scheme = Some(if encrypted { Scheme::HTTPS } else { Scheme::HTTP });
        parts.authority = Some(self.0.authority.clone());
        parts.path_and_query = Some(path);
        let mut request = Request::new(());
        *request.uri_mut() = Uri::from_parts(parts)?;
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = headers;
        Ok(request)
    }
}

/// Error for a call that could not be begun.
#[derive(Debug, thiserror::Error)]
pub enum Unsent {
    /// The control lane could not be opened.
    #[error(transparent)]
    Dial(io::Error),
    /// The connection is no more.
    #[error(transparent)]
    Stream(h2::Error),
}

impl Inner {
    /// The control lane, opened on first use and again when the peer closed it.
    async fn control(&self) -> io::Result<SendRequest<Chunk>> {
        let mut control = self.control.lock().await;
        if let Some(sender) = &mut *control
            && poll_fn(|cx| Poll::Ready(!matches!(sender.poll_ready(cx), Poll::Ready(Err(_))))).await
        {
            return Ok(sender.clone());
        }
        let mut tasks = JoinSet::new();
        let sender = self
            .place
            .dial(&mut tasks, &self.exit_cause, &self.received, None)
            .await?;
        let mut held = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while held.try_join_next().is_some() {}
        // The set owns the connection from here on; moving tasks between sets is not possible, so it is kept as one.
        held.spawn(async move { while tasks.join_next().await.is_some() {} });
        *control = Some(sender.clone());
        Ok(sender)
    }
}

impl Endpoint {
    async fn dial(
        &self,
        tasks: &mut JoinSet<()>,
        exit_cause: &ExitCause,
        received: &Arc<AtomicU64>,
        data: Option<(CancellationToken, Arc<Turns>)>,
    ) -> io::Result<SendRequest<Chunk>> {
        match self {
            Self::Unix(path) => {
                let stream = UnixStream::connect(path).await?;
                // The process that listens, which may be a child of the one that was started.
                let peer = stream.peer_cred()?.pid().and_then(|pid| u32::try_from(pid).ok());
                let io = exit_cause.awaited_by(UnixIo::new(stream)?, peer);
                handshake(CoalescingIo::counting(io, received.clone()), tasks, data).await
            }
            Self::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                handshake(CoalescingIo::counting(stream, received.clone()), tasks, data).await
            }
            Self::Link(link) => {
                let stream = link.dial().await?;
                handshake(CoalescingIo::counting(stream, received.clone()), tasks, data).await
            }
        }
    }
}

async fn handshake<I>(
    io: CoalescingIo<I>,
    tasks: &mut JoinSet<()>,
    data: Option<(CancellationToken, Arc<Turns>)>,
) -> io::Result<SendRequest<Chunk>>
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let driver = io.handle();
    let (sender, connection) = h2::client::Builder::new()
        .initial_window_size(flow_control::STREAM_WINDOW)
        .initial_connection_window_size(flow_control::CONNECTION_WINDOW)
        .max_frame_size(flow_control::MAX_FRAME)
        .max_header_list_size(flow_control::MAX_HEADERS)
        .max_send_buffer_size(flow_control::REQUEST_SEND_BUFFER)
        .max_concurrent_reset_streams(flow_control::MAX_RECENT_RESETS)
        // The callers of a whole machine share the connection: none of them may end it by cancelling a lot.
        .max_local_error_reset_streams(None)
        .enable_push(false)
        .handshake::<_, Chunk>(io)
        .await
        .map_err(io::Error::other)?;
    tasks.spawn(async move {
        let mut connection = pin!(connection);
        // Why it ended is told by the calls that it ended.
        poll_fn(|cx| {
            let ended = connection.as_mut().poll(cx).is_ready();
            if let Some((_, turns)) = &data {
                turns.set_limit(connection.max_concurrent_send_streams());
            }
            let broken = matches!(driver.poll_drain(cx), Poll::Ready(Err(_)));
            if ended || broken {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        if let Some((closed, _)) = data {
            closed.cancel();
        }
    });
    Ok(sender)
}

impl tower_service::Service<Request<tonic::body::Body>> for Upstream {
    type Response = Response<CallBody>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<CallBody>, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<tonic::body::Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            let deadline = Deadline::of(&parts.headers, None, Instant::now()).map_err(CallError::Timeout)?;
            if let Some(authorization) = this.link().and_then(RemoteLink::authorization) {
                parts.headers.insert(header::AUTHORIZATION, authorization);
            }
            let path = parts
                .uri
                .into_parts()
                .path_and_query
                .unwrap_or_else(|| PathAndQuery::from_static("/"));
            let guards = Guards::new(this.0.target.clone(), deadline, None, None, None);
            this.exchange(Lane::Control, path, parts.headers, body.into(), guards)
                .await
        })
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => path.display().fmt(f),
            Self::Tcp(address) => address.fmt(f),
            Self::Link(link) => f.write_str(link.name()),
        }
    }
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Upstream({}{})",
            self.0.place,
            if self.is_closed() { ", closed" } else { "" }
        )
    }
}
