//! Other machines whose resources are used here: one task per remote connects, authenticates, reads what there is, keeps the
//! session for what moves, and notices the end. What becomes of the resources is the machine's matter.

mod hand_down;
mod link;
mod listing;
mod part;
mod session;
mod task;

pub use hand_down::hand_down;
pub use part::{part_client, reach};

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::{ArcSwap, Guard};
use mainstay_core::remote::Import;
use mainstay_model::{ModuleName, Remote};
use mainstay_proto::Api;
use mainstay_proto::custom::CustomService;
use mainstay_proxy::table::ModuleApi;
use mainstay_proxy::upstream::Upstream;
use tokio::sync::mpsc;
use tonic::Status;

/// Published state of a remote.
#[derive(Debug, Clone)]
pub struct RemoteState {
    /// Reason why it is not connected; `None` while it is.
    pub cause: Option<Arc<str>>,
    /// Time of the last change between connected and not.
    pub since: SystemTime,
    /// Number of resources that are used of it.
    pub resources: usize,
    /// Texts about what it lists and is not used.
    pub left_out: Arc<[String]>,
}

/// Remote, as others see it.
#[derive(Debug)]
pub struct RemoteEntry {
    /// Name in the config.
    pub name: String,
    /// Address in the config.
    pub address: String,
    state: ArcSwap<RemoteState>,
}

impl RemoteEntry {
    /// A remote that was not connected yet.
    pub(crate) fn new(remote: &Remote) -> Self {
        let state = RemoteState {
            cause: Some(first_cause(remote)),
            since: SystemTime::now(),
            resources: 0,
            left_out: Arc::default(),
        };
        Self {
            name: remote.name.clone(),
            address: remote.address.clone(),
            state: ArcSwap::from_pointee(state),
        }
    }

    /// Current state.
    pub fn state(&self) -> Guard<Arc<RemoteState>> {
        self.state.load()
    }

    /// Publishes the state: connected, or not for this reason.
    pub(crate) fn publish(&self, cause: Option<Arc<str>>, resources: usize, left_out: Arc<[String]>) {
        let before = self.state();
        let same = before.cause.is_some() == cause.is_some();
        self.state.store(Arc::new(RemoteState {
            cause,
            since: if same { before.since } else { SystemTime::now() },
            resources,
            left_out,
        }));
    }
}

/// Reason why a remote that was not tried yet is not connected.
pub(crate) fn first_cause(remote: &Remote) -> Arc<str> {
    match &remote.fault {
        Some(fault) => format!("remote config validation error: {fault}").into(),
        None => format!("not connected to remote robot at {}; it is being tried", remote.address).into(),
    }
}

/// API of a remote that only it knows, with its descriptors if it told them.
#[derive(Debug, Clone)]
pub struct RemoteApi {
    api: Api,
    service: String,
    custom: Option<Arc<CustomService>>,
}

impl RemoteApi {
    /// The API as an offer for the route table.
    pub(crate) fn offer(&self) -> ModuleApi<'_> {
        ModuleApi {
            api: &self.api,
            service: &self.service,
            custom: self.custom.as_ref(),
        }
    }
}

/// News of a remote.
#[derive(Debug)]
pub(crate) enum RemoteEvent {
    /// It is connected and lists these.
    Connected {
        upstream: Upstream,
        imports: Vec<Import>,
        apis: Arc<[RemoteApi]>,
        left_out: Vec<String>,
    },
    /// It lists others than before, on the same connection.
    Listed {
        imports: Vec<Import>,
        apis: Arc<[RemoteApi]>,
        left_out: Vec<String>,
    },
    /// It is not connected, for this reason.
    Down { cause: Arc<str> },
}

/// Sender of news, and which remote's task it is: a late word of one that was replaced is dropped.
#[derive(Debug, Clone)]
pub(crate) struct RemoteEvents {
    pub(crate) name: ModuleName,
    pub(crate) task: u64,
    pub(crate) sender: mpsc::UnboundedSender<(ModuleName, u64, RemoteEvent)>,
}

impl RemoteEvents {
    fn send(&self, event: RemoteEvent) {
        // Without a machine nobody is left to hear it.
        let _ended = self.sender.send((self.name.clone(), self.task, event));
    }
}

/// Connects to `remote` and serves the connection, for ever; a remote whose entry is broken is never tried. `machine` is the id
/// of this one.
pub(crate) async fn run(remote: Remote, machine: Arc<str>, events: RemoteEvents) {
    if remote.fault.is_none() {
        task::RemoteTask::new(remote, machine, events).run().await;
    }
}

/// Longest wait for a connection, from the first packet to the list of resources.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest wait for the answer to one of the remote's own calls.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

async fn within<T>(answer: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(Status::deadline_exceeded(format!(
            "no answer within {ANSWER_TIMEOUT:?}"
        ))),
    }
}
