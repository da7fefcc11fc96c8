//! Listener of clients, and the connections of any listener: each is served in a task of its own.

use std::io;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use mainstay_model::descriptors::Share;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::connection::serve_connection;
use crate::identity::{ClientIdentity, Identity};
use crate::ingress::{Ingress, Routes};

/// Pause after `accept` failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
/// Time for calls in flight after a listener was told to stop.
const DRAIN: Duration = Duration::from_millis(500);

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
        Box::pin(serve(self, ingress, stop))
    }
}

impl Transport for UnixStream {
    fn serve(self, ingress: Ingress, stop: CancellationToken) -> Serving {
        Box::pin(serve(self, ingress, stop))
    }
}

async fn serve<I>(io: I, ingress: Ingress, stop: CancellationToken)
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = move |request| ingress.clone().call(request);
    if let Err(error) = serve_connection(io, service, stop).await {
        debug!(error = &error as &dyn std::error::Error, "a connection ended badly");
    }
}

/// Connections of one listener.
#[derive(Debug, Default)]
pub struct Connections {
    tasks: JoinSet<()>,
}

impl Connections {
    /// Serves a connection until it ends, or until `stop` and a moment for its calls.
    pub fn serve(&mut self, io: impl Transport, ingress: Ingress, stop: CancellationToken) {
        self.serve_admitted(std::future::ready(Some((io, ingress))), stop);
    }

    /// Serves a connection, as [`Connections::serve`] does, once it was looked at; `None` sends it away.
    pub fn serve_admitted<T: Transport>(
        &mut self,
        admitted: impl Future<Output = Option<(T, Ingress)>> + Send + 'static,
        stop: CancellationToken,
    ) {
        while self.tasks.try_join_next().is_some() {}
        self.tasks.spawn(async move {
            if let Some((io, ingress)) = admitted.await {
                io.serve(ingress, stop).await;
            }
        });
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

/// Serves clients on the network until `stop`.
pub fn serve_tcp(listener: TcpListener, routes: Arc<Routes>, stop: CancellationToken) -> Serving {
    Box::pin(accept_tcp(listener, routes, stop))
}

async fn accept_tcp(listener: TcpListener, routes: Arc<Routes>, stop: CancellationToken) {
    let mut connections = Connections::default();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted.and_then(|(io, remote)| {
            admit_descriptor(&io, Share::Clients)?;
            // Small frames must not wait for each other.
            io.set_nodelay(true)?;
            keep_alive(&io)?;
            let local = io.local_addr()?;
            Ok((io, Identity::Client(ClientIdentity::new(remote, local))))
        }) {
            Ok((io, identity)) => connections.serve(io, Ingress::new(routes.clone(), identity), stop.clone()),
            Err(error) => accept_failed(error).await,
        }
    }
    drop(listener);
    connections.finish().await;
}
