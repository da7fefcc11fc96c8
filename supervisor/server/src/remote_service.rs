//! `mainstay.remote.v1`: what this machine tells others that use its resources.

use std::pin::Pin;
use std::time::Duration;

use futures_core::Stream;
use futures_util::stream::unfold;
use mainstay_model::Phase;
use mainstay_proto::mainstay::remote::v1 as pb;
use mainstay_proto::mainstay::remote::v1::remote_service_server::RemoteService;
use mainstay_runtime::machine::MachineHandle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

/// Shortest time between two lists: many changes come at once.
const CALM: Duration = Duration::from_millis(10);

/// Tells others what this machine has.
#[derive(Debug, Clone)]
pub struct ResourceLists {
    machine: MachineHandle,
    /// Cancelled when the core is to end.
    stopping: CancellationToken,
}

/// State of one stream.
struct Follower {
    lists: ResourceLists,
    changes: watch::Receiver<()>,
    told: Option<pb::WatchResponse>,
}

impl ResourceLists {
    /// Lists of `machine`, until `stopping`.
    pub fn new(machine: MachineHandle, stopping: CancellationToken) -> Self {
        Self { machine, stopping }
    }

    fn list(&self) -> pb::WatchResponse {
        let view = self.machine.published.load();
        let own = self.machine.machine_id();
        let ready = view
            .resources
            .iter()
            .filter(|resource| resource.state().phase == Phase::Ready);
        let resources = ready.map(|resource| {
            let further = resource
                .origin
                .iter()
                .flat_map(|origin| origin.machines.iter().cloned());
            pb::WatchedResource {
                name: Some((&resource.name).into()),
                machines: std::iter::once(own.to_owned()).chain(further).collect(),
            }
        });
        pb::WatchResponse {
            resources: resources.collect(),
        }
    }
}

impl Follower {
    /// The next list that is another than the one before; `None` when the machine ends.
    async fn next(mut self) -> Option<(Result<pb::WatchResponse, Status>, Self)> {
        loop {
            let list = self.lists.list();
            if self.told.as_ref() != Some(&list) {
                self.told = Some(list.clone());
                return Some((Ok(list), self));
            }
            let changed = async {
                self.changes.changed().await.ok()?;
                tokio::time::sleep(CALM).await;
                Some(())
            };
            self.lists.stopping.run_until_cancelled(changed).await??;
        }
    }
}

#[tonic::async_trait]
impl RemoteService for ResourceLists {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<pb::WatchResponse, Status>> + Send>>;

    async fn watch(&self, _: Request<pb::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let follower = Follower {
            lists: self.clone(),
            changes: self.machine.published.changes.follow(),
            told: None,
        };
        Ok(Response::new(Box::pin(unfold(follower, Follower::next))))
    }
}
