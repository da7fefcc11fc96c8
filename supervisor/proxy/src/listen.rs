//! Listener of clients, and the connections of any listener: each is served in a task of its own.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use mainstay_model::descriptors::Share;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::socket::{setsockopt, sockopt};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::admission::{Activity, Admitted, ClientConnections};
use crate::connection::{HELLO, serve_connection};
use crate::heap;
use crate::identity::{ClientIdentity, Identity};
use crate::ingress::{Ingress, Routes};
use crate::tls::{self, TlsSettings};

/// Time after the last end of a connection, or a new one, until memory is given back.
const QUIET: Duration = Duration::from_secs(2);

/// Pause after `accept` failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
/// Time for calls in flight after a listener was told to stop.
const DRAIN: Duration = Duration::from_millis(500);
/// Time for a connection that makes room to say goodbye.
const FAREWELL: Duration = Duration::from_millis(100);
/// Idle connections that may end for a new one, should others be faster to take their descriptors.
const EXCHANGES: usize = 3;

/// Future that serves a connection or a listener to its end.
///
/// The body of an async function is compiled in the crate that polls it, and those that listen are built for size. What is boxed
/// here is compiled here, and calls pass through code that is built for speed.
pub type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Transport of a connection.
pub trait Transport: Send + 'static {
    /// Serves it until it ends, or until `stop` and a moment for its calls.
    fn serve(self, ingress: Ingress, stop: CancellationToken) -> Serving;
}

impl Transport for TcpStream {
    fn serve(self, ingress: Ingress, stop: CancellationToken) -> Serving {
        Box::pin(serve(self, ingress, Arc::default(), stop))
    }
}

impl Transport for UnixStream {
    fn serve(self, ingress: Ingress, stop: CancellationToken) -> Serving {
        Box::pin(serve(self, ingress, Arc::default(), stop))
    }
}

async fn serve<I>(io: I, ingress: Ingress, activity: Arc<Activity>, stop: CancellationToken)
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = move |request| ingress.clone().call(request);
    if let Err(error) = serve_connection(io, service, activity, stop).await {
        debug!(error = &error as &dyn std::error::Error, "a connection ended badly");
    }
}

/// Connections of one listener.
#[derive(Debug, Default)]
pub struct Connections {
    tasks: JoinSet<()>,
    /// Some have ended whose memory may still be the process's.
    ended: bool,
}

impl Connections {
    /// Serves a connection, once it was looked at, until it ends, or until `stop` and a moment for its calls. `None` sends it away.
    pub fn serve_admitted<T: Transport>(
        &mut self,
        admitted: impl Future<Output = Option<(T, Ingress)>> + Send + 'static,
        stop: CancellationToken,
    ) {
        self.spawn(async move {
            if let Some((io, ingress)) = admitted.await {
                io.serve(ingress, stop).await;
            }
        });
    }

    fn spawn(&mut self, connection: impl Future<Output = ()> + Send + 'static) {
        while self.tasks.try_join_next().is_some() {}
        self.tasks.spawn(connection);
    }

    /// Lets go of those that end, and gives their memory back in a quiet moment: nothing else may happen for long. Never returns.
    async fn reap(&mut self) {
        loop {
            tokio::select! {
                Some(_) = self.tasks.join_next() => self.ended = true,
                () = tokio::time::sleep(QUIET), if self.ended => self.ended = !heap::give_back(),
                else => std::future::pending().await,
            }
        }
    }

    /// Lets the calls in flight end for a moment, then ends all.
    pub async fn finish(mut self) {
        let drained = async { while self.tasks.join_next().await.is_some() {} };
        let _late = tokio::time::timeout(DRAIN, drained).await;
    }
}

/// Refuses a connection that takes a descriptor which is kept for others: the process has few left.
///
/// # Errors
/// It is to be closed.
pub fn admit_descriptor(io: &impl AsRawFd, share: Share) -> io::Result<()> {
    let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let number = u64::try_from(io.as_raw_fd()).unwrap_or_default();
    if number < share.end(limit) {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "sent away, because the last of {limit} open files are kept for the machine itself"
    )))
}

/// Tells that no connection could be accepted, and lets a moment pass: the process may have no file descriptor left.
pub async fn accept_failed(error: io::Error) {
    warn!("cannot accept a connection: {error}");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

/// Has the kernel notice within two minutes that a client's machine is gone, so that its connection and its calls end.
fn keep_alive(io: &TcpStream) -> nix::Result<()> {
    setsockopt(io, sockopt::KeepAlive, &true)?;
    #[cfg(target_os = "linux")]
    {
        // Seconds of silence before the first question, and between the questions; how many go unanswered.
        setsockopt(io, sockopt::TcpKeepIdle, &60)?;
        setsockopt(io, sockopt::TcpKeepInterval, &15)?;
        setsockopt(io, sockopt::TcpKeepCount, &4)?;
    }
    Ok(())
}

/// Settings that all ports for clients share.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// Routing state.
    pub routes: Arc<Routes>,
    /// Whether they speak TLS, and how.
    pub tls: TlsSettings,
    /// Their connections.
    pub connections: ClientConnections,
}

impl ClientSettings {
    /// Cleartext, and nobody connected yet.
    pub fn new(routes: Arc<Routes>) -> Self {
        Self {
            routes,
            tls: TlsSettings::default(),
            connections: ClientConnections::default(),
        }
    }
}

/// Serves clients on the network until `stop`.
pub fn serve_tcp(listener: TcpListener, settings: ClientSettings, stop: CancellationToken) -> Serving {
    Box::pin(accept_tcp(listener, settings, stop))
}

async fn accept_tcp(listener: TcpListener, settings: ClientSettings, stop: CancellationToken) {
    let mut connections = Connections::default();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener) => accepted,
            () = connections.reap() => continue,
        };
        match accepted.and_then(|(io, remote)| {
            let Some(place) = settings.connections.admit(remote.ip(), &stop) else {
                return Ok(None);
            };
            // Small frames must not wait for each other.
            io.set_nodelay(true)?;
            keep_alive(&io)?;
            let local = io.local_addr()?;
            Ok(Some((io, place, ClientIdentity::new(remote, local))))
        }) {
            // Without a pause: others wait behind it.
            Ok(None) => {
                warn!("sent a client away: it, or all of them, have as many connections as may be, and none is idle")
            }
            Ok(Some((io, place, identity))) => {
                connections.spawn(serve_client(io, place, identity, settings.clone(), stop.clone()));
            }
            Err(error) => accept_failed(error).await,
        }
    }
    drop(listener);
    connections.finish().await;
}

/// The next connection. Some descriptors may be exchanged for those of idle connections, but not the last ones: while many are,
/// those that come wait for one.
async fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (mut io, remote) = listener.accept().await?;
    let by = Instant::now() + 2 * FAREWELL;
    while let Err(refused) = admit_descriptor(&io, Share::Modules) {
        if Instant::now() > by {
            return Err(refused);
        }
        tokio::time::sleep(ACCEPT_PAUSE).await;
        io = moved(io)?;
    }
    Ok((io, remote))
}

/// The same connection under the lowest number that is free: a number tells how many are in use.
fn moved(io: TcpStream) -> io::Result<TcpStream> {
    TcpStream::from_std(io.into_std()?.try_clone()?)
}

/// Serves one client, until it ends or its place is needed for another.
async fn serve_client(
    io: TcpStream,
    place: Admitted,
    identity: ClientIdentity,
    settings: ClientSettings,
    stop: CancellationToken,
) {
    let given_up = async {
        place.close.cancelled().await;
        if stop.is_cancelled() {
            return std::future::pending().await;
        }
        tokio::time::sleep(FAREWELL).await;
    };
    let served = async {
        let Some(io) = exchange(io, &settings.connections).await else {
            return;
        };
        let tls = match settings.tls.get() {
            Some(tls) if tls.cleartext => {
                let asked = tokio::time::timeout(HELLO, tls::is_asked_for(&io)).await;
                asked.unwrap_or(false).then_some(tls)
            }
            tls => tls,
        };
        let connection = match tls {
            None => {
                let ingress = Ingress::new(settings.routes.clone(), Identity::Client(identity));
                Box::pin(serve(io, ingress, place.activity.clone(), place.close.clone()))
            }
            Some(tls) => serve_tls(io, tls.config.clone(), identity, &settings, &place).await,
        };
        connection.await;
    };
    tokio::select! {
        () = served => {}
        () = given_up => {}
    }
    // What it held is closed by now.
    drop(place);
}

/// The connection after its handshake. Nothing is left to serve where that failed.
async fn serve_tls(
    io: TcpStream,
    tls: Arc<ServerConfig>,
    mut identity: ClientIdentity,
    settings: &ClientSettings,
    place: &Admitted,
) -> Serving {
    let handshake = tls::accept(io, tls, identity.remote.ip());
    let accepted = tokio::select! {
        accepted = tokio::time::timeout(HELLO, Box::pin(handshake)) => accepted.ok().flatten(),
        () = place.close.cancelled() => None,
    };
    let Some((io, certificate)) = accepted else {
        return Box::pin(std::future::ready(()));
    };
    identity.certificate = certificate.map(Arc::new);
    let ingress = Ingress::new(settings.routes.clone(), Identity::Client(identity));
    Box::pin(serve(io, ingress, place.activity.clone(), place.close.clone()))
}

/// A connection that does not take a descriptor which is kept for others: an idle one ends for it. `None` if none is idle.
async fn exchange(mut io: TcpStream, connections: &ClientConnections) -> Option<TcpStream> {
    for _ in 0..EXCHANGES {
        let Err(refused) = admit_descriptor(&io, Share::Clients) else {
            return Some(io);
        };
        let Some(closed) = connections.make_room() else {
            warn!("cannot accept a connection: {refused}; none is idle");
            return None;
        };
        closed.cancelled().await;
        io = moved(io)
            .inspect_err(|error| warn!("cannot accept a connection: {error}"))
            .ok()?;
    }
    None
}
