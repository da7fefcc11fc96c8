//! The listeners: TCP for clients, one UNIX socket per module, one for the command line.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::connection::serve_connection;
use super::door::{Door, Services};
use crate::identity::Identity;
use crate::identity::ModuleName;
use crate::module::parent::{ParentDoor, ParentListener, admit};
use crate::module::peers::Guests;

/// Pause after `accept` failed, which it does when the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long calls in flight may go on after a listener was told to stop.
const DRAIN: Duration = Duration::from_millis(500);

/// Connections of one listener.
#[derive(Debug, Default)]
struct Connections {
    tasks: JoinSet<()>,
}

impl Connections {
    fn serve<I>(&mut self, io: I, door: Door, stop: CancellationToken)
    where
        I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
    {
        while self.tasks.try_join_next().is_some() {}
        let service = move |request| door.clone().call(request);
        self.tasks.spawn(async move {
            if let Err(error) = serve_connection(io, service, stop).await {
                debug!(error = &error as &dyn std::error::Error, "a connection ended badly");
            }
        });
    }

    /// Serves a module on its parent socket, if it is one of `guests`.
    fn serve_guest(&mut self, io: UnixStream, guests: Guests, module: ModuleName, door: Door, stop: CancellationToken) {
        while self.tasks.try_join_next().is_some() {}
        let service = move |request| door.clone().call(request);
        self.tasks.spawn(async move {
            let admitted = match io.peer_cred() {
                Ok(peer) => guests.admit(peer).await,
                Err(error) => return warn!(%module, "cannot tell who called on the module's parent socket: {error}"),
            };
            if let Err(stranger) = admitted {
                return warn!(%module, "refused a stranger on the module's parent socket: {stranger}");
            }
            if let Err(error) = serve_connection(io, service, stop).await {
                debug!(error = &error as &dyn std::error::Error, "a connection ended badly");
            }
        });
    }

    /// Lets the calls in flight end for a moment, then ends all.
    async fn finish(mut self) {
        let drained = async { while self.tasks.join_next().await.is_some() {} };
        let _late = tokio::time::timeout(DRAIN, drained).await;
    }
}

async fn accept_failed(error: io::Error) {
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
pub async fn serve_tcp(listener: TcpListener, services: Arc<Services>, stop: CancellationToken) {
    let mut connections = Connections::default();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted.and_then(|(io, remote)| {
            // Small frames must not wait for each other.
            io.set_nodelay(true)?;
            keep_alive(&io)?;
            let local = io.local_addr()?;
            Ok((io, Identity::Client { remote, local }))
        }) {
            Ok((io, identity)) => connections.serve(io, Door::new(services.clone(), identity), stop.clone()),
            Err(error) => accept_failed(error).await,
        }
    }
    drop(listener);
    connections.finish().await;
}

/// Serves the command line on the control socket until `stop`.
pub async fn serve_control(listener: UnixListener, services: Arc<Services>, stop: CancellationToken) {
    let door = Door::new(services, Identity::Control);
    let mut connections = Connections::default();
    while let Some(io) = accept(&listener, &stop).await {
        connections.serve(io, door.clone(), stop.clone());
    }
    drop(listener);
    connections.finish().await;
}

/// Serves the parent socket of every module that comes through `doors`, until `stop`.
pub async fn serve_parents(
    mut doors: mpsc::UnboundedReceiver<ParentDoor>,
    services: Arc<Services>,
    stop: CancellationToken,
) {
    let mut parents = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_ended) = parents.join_next() => {}
            Some(ParentDoor { module, listener, guests, closed }) = doors.recv() => {
                let stop = either(&stop, closed, &mut parents);
                match listener {
                ParentListener::Unix(listener) => {
                    let name = module.name.clone();
                    parents.spawn(serve_parent(name, listener, guests, services.clone(), stop.clone()));
                }
                ParentListener::Tcp(listener) => {
                    let door = Door::new(services.clone(), Identity::Module(module.name.clone()));
                    parents.spawn(serve_parent_tcp(module.name.clone(), listener, guests, door, stop.clone()));
                }
                }
            }
        }
    }
    while parents.join_next().await.is_some() {}
}

/// A token that ends with `stop`, or with `closed`.
fn either(stop: &CancellationToken, closed: CancellationToken, tasks: &mut JoinSet<()>) -> CancellationToken {
    let both = stop.child_token();
    let end = both.clone();
    tasks.spawn(async move {
        end.run_until_cancelled(closed.cancelled()).await;
        end.cancel();
    });
    both
}

async fn serve_parent(
    module: ModuleName,
    listener: UnixListener,
    guests: Guests,
    services: Arc<Services>,
    stop: CancellationToken,
) {
    let door = Door::new(services, Identity::Module(module.clone()));
    let mut connections = Connections::default();
    while let Some(io) = accept(&listener, &stop).await {
        connections.serve_guest(io, guests.clone(), module.clone(), door.for_connection(), stop.clone());
    }
    drop(listener);
    connections.finish().await;
}

/// The next connection; `None` once it is time to stop.
async fn accept(listener: &UnixListener, stop: &CancellationToken) -> Option<UnixStream> {
    loop {
        tokio::select! {
            () = stop.cancelled() => return None,
            accepted = listener.accept() => match accepted {
                Ok((io, _)) => return Some(io),
                Err(error) => accept_failed(error).await,
            }
        }
    }
}

/// Serves the loopback port of a module in TCP mode. Whoever else comes there is sent away.
async fn serve_parent_tcp(
    module: ModuleName,
    listener: TcpListener,
    guests: Guests,
    door: Door,
    stop: CancellationToken,
) {
    let mut connections = Connections::default();
    let mut arriving = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((io, _)) => {
                    let guests = guests.clone();
                    arriving.spawn(async move { admit(&io, &guests).await.map(|()| io) });
                }
                Err(error) => accept_failed(error).await,
            },
            Some(arrived) = arriving.join_next() => match arrived {
                Ok(Ok(io)) => connections.serve(io, door.for_connection(), stop.clone()),
                Ok(Err(error)) => warn!(%module, "a connection to its parent port was refused: {error}"),
                Err(panicked) => warn!(%module, "a connection to its parent port broke off: {panicked}"),
            },
        }
    }
    drop(listener);
    connections.finish().await;
}
