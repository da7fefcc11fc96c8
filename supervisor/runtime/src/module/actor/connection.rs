//! Connection to a module's process: the handshake, its renewal, and the watch over its health.

use std::sync::Arc;
use std::time::Duration;

use mainstay_model::ModuleName;
use mainstay_process::members::Members;
use mainstay_proxy::upstream::Upstream;
use tokio::task::JoinSet;

use crate::module::address::Address;
use crate::module::handshake::{HandshakeError, HandshakeProgress, Handshaken, shake};
use crate::module::health::HealthWatch;

/// Limit for renewing a lost connection to a living process before the process counts as useless.
const RECONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Outcome of the handshake with process number `life`.
pub(super) type Shaken = (u64, Result<Handshaken, HandshakeError>);

/// Connection to the present process.
#[derive(Debug)]
pub(super) struct Connection {
    /// Address of the module's parent socket, served by the core.
    parent: Address,
    /// Address on which the process listens.
    address: Address,
    pub(super) handshake: JoinSet<Shaken>,
    pub(super) progress: HandshakeProgress,
    pub(super) upstream: Option<Upstream>,
    /// Health watch of the process.
    pub(super) watch: Option<HealthWatch>,
}

impl Connection {
    /// No connection yet.
    pub(super) fn new(parent: Address) -> Self {
        Self {
            address: parent.clone(),
            parent,
            handshake: JoinSet::new(),
            progress: HandshakeProgress::default(),
            upstream: None,
            watch: None,
        }
    }

    /// Begins to shake hands with process number `life`, which is to listen at `address`.
    pub(super) fn shake(&mut self, module: &ModuleName, life: u64, address: Address, members: &Members) {
        self.address = address.clone();
        self.progress = HandshakeProgress::default();
        self.handshake = JoinSet::new();
        let (module, members) = (module.clone(), members.clone());
        let (parent, progress) = (self.parent.clone(), self.progress.clone());
        self.handshake
            .spawn(async move { (life, shake(&module, &address, &members, &parent, progress).await) });
    }

    /// Connects once more to a process that closed its connection. False if it accepts none in time; whoever still waits on
    /// the old one then hears what became of the module.
    pub(super) async fn renew(&mut self, module: &ModuleName, members: &Members) -> bool {
        let again = async {
            loop {
                if let Ok(upstream) = self.address.connect(module, members).await {
                    return upstream;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let upstream = tokio::time::timeout(RECONNECT_TIMEOUT, again).await.ok();
        let renewed = upstream.is_some();
        if renewed {
            self.upstream = upstream;
        }
        renewed
    }

    /// Asks a process that is to end, or has, nothing more.
    pub(super) fn give_up(&mut self) {
        self.handshake.abort_all();
        self.watch = None;
    }

    /// Ends the calls of a module that cannot be used any more.
    pub(super) fn mark_down(&mut self, cause: Arc<str>) {
        if let Some(upstream) = self.upstream.take() {
            upstream.mark_down(cause);
        }
    }
}
