//! Listeners of the command line, on the control socket, and of modules, each on its own parent socket.

use std::sync::Arc;

use http::HeaderMap;
use mainstay_model::descriptors::Share;
use mainstay_process::control_peers::ModuleProcesses;
use mainstay_process::path_listener::PathListener;
use mainstay_process::peers::AllowedPeers;
use mainstay_proto::ResourceName;
use mainstay_proxy::gate::{CallGate, ConnectionGate, Entered, GatedCall};
use mainstay_proxy::identity::{Identity, ModulePeer as _};
use mainstay_proxy::ingress::{Ingress, Routes};
use mainstay_proxy::listen::{Connections, accept_failed, admit_descriptor};
use mainstay_proxy::status::CallError;
use mainstay_runtime::module::entry::ModuleEntry;
use mainstay_runtime::module::parent::{ParentListener, ParentSocket, admit};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use uuid::Uuid;

/// Serves the command line on the control socket until `stop`; processes of modules are told that it is not theirs.
pub async fn serve_control(
    listener: PathListener,
    routes: Arc<Routes>,
    modules: ModuleProcesses,
    stop: CancellationToken,
) {
    let ingress = Ingress::new(routes.clone(), Identity::Control);
    let mut connections = Connections::default();
    while let Some(io) = accept(&listener, &stop).await {
        let (modules, routes, ingress) = (modules.clone(), routes.clone(), ingress.clone());
        let admitted = async move {
            let ingress = match modules.admit(&io).await {
                Ok(()) => ingress,
                Err(refused) => {
                    warn!("refused a process on the control socket: {refused}");
                    closed_to(&routes, refused.to_string())
                }
            };
            Some((io, ingress))
        };
        connections.serve_admitted(admitted, stop.clone());
    }
    drop(listener);
    connections.finish().await;
}

/// Serves the parent socket of every module that comes through `parent_sockets`, until `stop`.
pub async fn serve_parents(
    mut parent_sockets: mpsc::UnboundedReceiver<ParentSocket>,
    routes: Arc<Routes>,
    stop: CancellationToken,
) {
    let mut parents = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_ended) = parents.join_next() => {}
            Some(ParentSocket { module, listener, allowed_peers, closed }) = parent_sockets.recv() => {
                let stop = either(&stop, closed, &mut parents);
                match listener {
                    ParentListener::Unix(listener) => {
                        parents.spawn(serve_parent(module, listener, allowed_peers, routes.clone(), stop));
                    }
                    ParentListener::Tcp(listener) => {
                        parents.spawn(serve_parent_tcp(module, listener, allowed_peers, routes.clone(), stop));
                    }
                }
            }
        }
    }
    while parents.join_next().await.is_some() {}
}

/// Ingress that answers every call with a refusal and its reason.
fn closed_to(routes: &Routes, why: String) -> Ingress {
    let routes = Routes {
        table: routes.table.clone(),
        gate: Arc::new(ClosedGate(why)),
        local: routes.local.clone(),
        operations: routes.operations.clone(),
        traces: routes.traces.clone(),
    };
    Ingress::new(Arc::new(routes), Identity::Control)
}

/// Gate that lets no call pass.
#[derive(Debug, Clone)]
struct ClosedGate(String);

impl ClosedGate {
    fn refusal(&self) -> CallError {
        CallError::PermissionDenied(self.0.clone())
    }
}

impl CallGate for ClosedGate {
    fn connection(&self, _: &Arc<Identity>) -> Option<Arc<dyn ConnectionGate>> {
        Some(Arc::new(self.clone()))
    }

    fn admit(&self, _: &GatedCall<'_>) -> Result<Option<Uuid>, CallError> {
        Err(self.refusal())
    }

    fn monitored(&self, _: &Identity, _: &HeaderMap, _: &ResourceName) {}
}

impl ConnectionGate for ClosedGate {
    fn enter(&self, _: &HeaderMap, _: &str) -> Result<Entered, CallError> {
        Err(self.refusal())
    }
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
    module: Arc<ModuleEntry>,
    listener: PathListener,
    allowed_peers: AllowedPeers,
    routes: Arc<Routes>,
    stop: CancellationToken,
) {
    let ingress = Ingress::for_module(routes, module.clone());
    let mut connections = Connections::default();
    while let Some(io) = accept(&listener, &stop).await {
        let (allowed_peers, module, ingress) = (allowed_peers.clone(), module.clone(), ingress.for_connection());
        if let Err(error) = admit_descriptor(&io, Share::Modules) {
            accept_failed(error).await;
            continue;
        }
        let admitted = async move {
            let refused = match io.peer_cred() {
                Ok(peer) => allowed_peers
                    .admit(peer)
                    .await
                    .err()
                    .map(|stranger| stranger.to_string()),
                Err(error) => Some(format!("cannot tell who called: {error}")),
            };
            if let Some(why) = refused {
                warn!(module = %module.name(), "refused a stranger on the module's parent socket: {why}");
                return None;
            }
            Some((io, ingress))
        };
        connections.serve_admitted(admitted, stop.clone());
    }
    drop(listener);
    connections.finish().await;
}

/// The next connection; `None` once it is time to stop.
async fn accept(listener: &PathListener, stop: &CancellationToken) -> Option<UnixStream> {
    loop {
        tokio::select! {
            () = stop.cancelled() => return None,
            accepted = listener.accept() => match accepted {
                Ok(io) => return Some(io),
                Err(error) => accept_failed(error).await,
            }
        }
    }
}

/// Serves the loopback port of a module in TCP mode. Whoever else comes there is sent away.
async fn serve_parent_tcp(
    module: Arc<ModuleEntry>,
    listener: TcpListener,
    allowed_peers: AllowedPeers,
    routes: Arc<Routes>,
    stop: CancellationToken,
) {
    let ingress = Ingress::for_module(routes, module.clone());
    let mut connections = Connections::default();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let accepted = accepted.and_then(|(io, _)| admit_descriptor(&io, Share::Modules).map(|()| io));
        match accepted {
            Ok(io) => {
                let (allowed_peers, module, ingress) = (allowed_peers.clone(), module.clone(), ingress.clone());
                let admitted = async move {
                    match admit(&io, &allowed_peers).await {
                        // Which process it is is known by now.
                        Ok(()) => Some((io, ingress.for_connection())),
                        Err(error) => {
                            warn!(module = %module.name(), "a connection to its parent port was refused: {error}");
                            None::<(TcpStream, Ingress)>
                        }
                    }
                };
                connections.serve_admitted(admitted, stop.clone());
            }
            Err(error) => accept_failed(error).await,
        }
    }
    drop(listener);
    connections.finish().await;
}
