//! Connection to a gRPC server that may end and come back while its clients stay: of a module to its parent, which the
//! module opens again by itself, and of a program to a machine, which `reconnect` keeps up.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::watch;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
use tonic::{Status, body::Body};

use super::{
    managed::Managed,
    session::Session,
    transport::{Endpoint, Transport},
};
use crate::{Result, address::Address};

/// HTTP/2 connection to a gRPC server, for clients that `tonic` generates. Clones share the connection, and it ends with the
/// last of them and their responses.
#[derive(Clone)]
pub struct Connection {
    link: Arc<Link>,
    /// Ends everything with the last clone. Tasks of the connection itself have none.
    _keep: Option<Arc<DropGuard>>,
}

/// State shared by the clones of a [`Connection`].
pub(super) struct Link {
    pub(super) endpoint: Endpoint,
    pub(super) state: watch::Sender<LinkState>,
    /// Connections so far, good or not.
    lives: AtomicU64,
    /// Cancelled when nobody uses the connection any more, or it was closed.
    pub(super) ended: CancellationToken,
    pub(super) tasks: TaskTracker,
    /// What calls to a machine carry, and how they survive its restarts; `None` to a parent.
    pub(super) managed: Option<Managed>,
}

/// State of a [`Link`].
#[derive(Clone)]
pub(super) enum LinkState {
    /// The connection of this number is up.
    Up { transport: Transport, life: u64 },
    /// There is none, since then and for this reason.
    Down { since: Instant, life: u64, cause: Arc<str> },
    /// There will be none.
    Closed,
}

impl LinkState {
    fn life(&self) -> u64 {
        match self {
            Self::Up { life, .. } | Self::Down { life, .. } => *life,
            Self::Closed => u64::MAX,
        }
    }
}

impl Connection {
    /// A connection that is not there yet.
    pub(super) fn new(endpoint: Endpoint, managed: Option<Managed>) -> Self {
        let down = LinkState::Down {
            since: Instant::now(),
            life: 0,
            cause: "it was never there".into(),
        };
        let ended = CancellationToken::new();
        Self {
            link: Arc::new(Link {
                endpoint,
                state: watch::Sender::new(down),
                lives: AtomicU64::new(0),
                ended: ended.clone(),
                tasks: TaskTracker::new(),
                managed,
            }),
            _keep: Some(Arc::new(ended.drop_guard())),
        }
    }

    /// Connects to a server that wants neither token nor session.
    pub(crate) async fn open(address: Address) -> Result<Self> {
        let connection = Self::new(Endpoint::Plain(address), None);
        connection.reopen().await?;
        Ok(connection)
    }

    /// Connects again, for all clones.
    pub(crate) async fn reopen(&self) -> Result<()> {
        let state = self.link.state.borrow().clone();
        if matches!(state, LinkState::Closed) {
            return Err(state.unavailable(&self.address()).into());
        }
        let (transport, end) = self.link.endpoint.open().await?;
        let life = self.drive(end);
        self.link.put_up(transport, life);
        Ok(())
    }

    /// Waits for the end of the connection.
    pub(crate) async fn closed(&self) {
        let mut state = self.link.state.subscribe();
        // The sender lives as long as `self`.
        let _ = state.wait_for(|state| !state.is_up()).await;
    }

    pub(crate) fn is_closed(&self) -> bool {
        !self.link.state.borrow().is_up()
    }

    /// True if it leads to this address.
    pub(crate) fn leads_to(&self, other: &Address) -> bool {
        matches!(&self.link.endpoint, Endpoint::Plain(address) if address == other)
    }

    /// The address, for people.
    pub(crate) fn address(&self) -> String {
        self.link.endpoint.text()
    }

    /// Closes it for all clones, and waits for the end of its tasks.
    pub(super) async fn close(&self) {
        self.link.ended.cancel();
        self.link.state.send_replace(LinkState::Closed);
        self.link.tasks.close();
        self.link.tasks.wait().await;
    }

    /// The same connection for its own tasks, which do not keep it.
    pub(super) fn weak(&self) -> Self {
        Self {
            link: self.link.clone(),
            _keep: None,
        }
    }

    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    /// Number of the current or last connection.
    pub(super) fn life(&self) -> u64 {
        self.link.state.borrow().life()
    }

    pub(super) fn session(&self) -> Option<&Session> {
        self.link.managed.as_ref().map(|managed| &managed.session)
    }

    /// Spawns a task that ends with the connection's last user.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let ended = self.link.ended.clone();
        drop(self.link.tasks.spawn(async move {
            ended.run_until_cancelled(task).await;
        }));
    }

    /// Drives a connection to its end, which is noted. Returns its number.
    pub(super) fn drive(&self, end: impl Future<Output = String> + Send + 'static) -> u64 {
        let life = self.link.lives.fetch_add(1, Ordering::Relaxed) + 1;
        let weak = self.weak();
        self.spawn(async move {
            let cause = end.await;
            weak.link.put_down(life, cause);
        });
        life
    }
}

impl LinkState {
    pub(super) fn is_up(&self) -> bool {
        // It is closed a moment before its driver says so.
        matches!(self, Self::Up { transport, .. } if !transport.is_closed())
    }
}

impl Link {
    pub(super) fn put_up(&self, transport: Transport, life: u64) {
        self.state.send_if_modified(|state| {
            let open = !matches!(state, LinkState::Closed);
            if open {
                *state = LinkState::Up { transport, life };
            }
            open
        });
    }

    /// Notes the end of the connection of this number.
    fn put_down(&self, life: u64, cause: String) {
        self.state.send_if_modified(|state| {
            let current = matches!(state, LinkState::Up { life: current, .. } if *current == life);
            if current {
                *state = LinkState::Down {
                    since: Instant::now(),
                    life,
                    cause: cause.into(),
                };
            }
            current
        });
    }

    /// The connection of the moment.
    fn transport(&self) -> Result<Transport, Status> {
        match &*self.state.borrow() {
            LinkState::Up { transport, .. } => Ok(transport.clone()),
            state => Err(state.unavailable(&self.endpoint.text())),
        }
    }
}

impl LinkState {
    /// Status of a call that finds no connection.
    pub(super) fn unavailable(&self, address: &str) -> Status {
        Status::unavailable(match self {
            Self::Up { .. } => format!("the connection to {address} is lost"),
            Self::Down { since, cause, .. } => {
                // Milliseconds are enough.
                let millis = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
                let time = Duration::from_millis(millis);
                format!("not connected to {address} for {time:?}: {cause}")
            }
            Self::Closed => format!("the connection to {address} was closed by this program"),
        })
    }
}

impl tower_service::Service<Request<Body>> for Connection {
    type Response = Response<ResponseBody>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(())) // Readiness is that of the connection of the moment, so each call waits for itself.
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let connection = self.clone();
        Box::pin(async move {
            let response = match &connection.link.managed {
                None => connection.link.transport()?.send(request).await?,
                Some(managed) => managed.call(&connection, request).await?,
            };
            Ok(response.map(|inner| ResponseBody { inner, connection }))
        })
    }
}

/// Body of a response. It keeps its connection, and tells of a lost one in words.
pub struct ResponseBody {
    inner: Incoming,
    connection: Connection,
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Poll::Ready(match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
            Some(Err(error)) => Some(Err(self.connection.broken(error))),
            Some(Ok(frame)) => {
                if let (Some(trailers), Some(managed)) = (frame.trailers_ref(), &self.connection.link.managed) {
                    managed.see(trailers);
                }
                Some(Ok(frame))
            }
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Connection {
    /// Status of a response that broke off: of the connection if that is lost, of the call otherwise.
    fn broken(&self, error: hyper::Error) -> Status {
        let source = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        match self.link.transport() {
            Ok(transport) if !transport.is_closed() => Status::from_error(Box::new(error)),
            Ok(_) => Status::unavailable(format!("the connection to {} is lost: {source}", self.address())),
            Err(status) => status,
        }
    }
}
