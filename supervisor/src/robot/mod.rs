//! `viam.robot.v1.RobotService`: the machine as a whole, on every socket. One file per family of methods.

pub mod logs;
pub mod operations;
mod service;
pub mod sessions;
mod status;
pub mod stop;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use self::operations::Operations;
use self::sessions::Sessions;
use crate::machine;

/// What the robot service works on.
#[derive(Debug, Clone)]
pub struct Robot {
    /// The machine.
    pub machine: machine::Handle,
    /// Who moves what.
    pub sessions: Arc<Sessions>,
    /// What runs now.
    pub operations: Operations,
    /// Cancelled when the core is to end.
    pub shutdown: CancellationToken,
}

impl Robot {
    /// Stops what silent clients set moving, until `shutdown`.
    pub async fn watch_sessions(self) {
        let mut stops = tokio::task::JoinSet::new();
        loop {
            tokio::select! {
                () = self.shutdown.cancelled() => return,
                ended = self.sessions.expired() => {
                    for (session, resources) in ended {
                        let table = self.machine.published.load().table.clone();
                        for name in resources {
                            tracing::info!(%session, resource = %name, "its client fell silent: stopping it");
                            let published = self.machine.published.clone();
                            if table.stop_of(&name).is_some() {
                                stops.spawn(async move {
                                    if let Err(status) = stop::stop(&published, &name, None).await {
                                        tracing::error!(resource = %name, "cannot stop it: {}", status.message());
                                    }
                                });
                            }
                        }
                    }
                }
                Some(_) = stops.join_next() => {}
            }
        }
    }
}
