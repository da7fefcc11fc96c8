//! `viam.robot.v1.RobotService`: the machine as a whole, on every socket. One file per family of methods.

pub mod logs;
mod safety;
pub mod service;
pub mod status;
pub mod stop;
pub mod tunnel;

use std::sync::Arc;

use mainstay_model::event::NoteKind;
use mainstay_proto::ResourceName;
use mainstay_proxy::operations::Operations;
use mainstay_proxy::sessions::Sessions;
use mainstay_runtime::machine;
use mainstay_trace::Traces;
use prost_types::Struct;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status;

use crate::jobs;

/// State that the robot service works on.
#[derive(Debug, Clone)]
pub struct RobotState {
    /// The machine.
    pub machine: machine::MachineHandle,
    /// Who moves what.
    pub sessions: Arc<Sessions>,
    /// Running operations.
    pub operations: Operations,
    /// Scheduled jobs.
    pub jobs: jobs::JobsHandle,
    /// Cancelled when the core is to end.
    pub shutdown: CancellationToken,
    /// Records of calls.
    pub traces: Traces,
    /// Stops under way. They outlive whoever asked for them: a stop that began gets through.
    pub stops: TaskTracker,
}

impl RobotState {
    /// Stops every resource that can stop, or those of `only`, and says how that went. It goes on when the caller no
    /// longer waits.
    pub async fn stop_all(
        &self,
        only: Option<Vec<ResourceName>>,
        extra: Vec<(ResourceName, Struct)>,
    ) -> Result<(), Status> {
        let published = self.machine.published.clone();
        let stopping = self
            .stops
            .spawn(async move { stop::stop_all(&published, only.as_deref(), extra).await });
        stopping
            .await
            .unwrap_or_else(|ended| Err(Status::internal(ended.to_string())))
    }

    /// Stops what silent clients set moving, until `shutdown`.
    pub async fn watch_sessions(self) {
        loop {
            tokio::select! {
                () = self.shutdown.cancelled() => return,
                ended = self.sessions.expired() => {
                    for (session, peer, resources) in ended {
                        if !resources.is_empty() {
                            let names: Vec<Arc<str>> = resources.iter().map(|name| name.to_string().into()).collect();
                            let short: Vec<&str> = resources.iter().map(|name| name.name.as_str()).collect();
                            let client = if peer.is_empty() { "the command line".to_owned() } else { format!("client {peer}") };
                            let text = format!("{client} fell silent (session {session}): stopped what it moved: {}", short.join(", "));
                            self.machine.published.changes.note(NoteKind::Session, text, names, None);
                        }
                        let table = self.machine.published.load().table.clone();
                        for name in resources {
                            tracing::info!(%session, resource = %name, "its client fell silent: stopping it");
                            let published = self.machine.published.clone();
                            if table.stop_of(&name).is_some() {
                                self.stops.spawn(async move {
                                    if let Err(status) = stop::stop(&published, &name, None).await {
                                        tracing::error!(resource = %name, "cannot stop it: {}", status.message());
                                    }
                                });
                            }
                        }
                    }
                }
            }
        }
    }
}
