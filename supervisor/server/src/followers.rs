//! Consumers of the applied config: log levels, traces, jobs, the window of sessions, who may come in. They follow it; nobody
//! pushes into them.

use std::sync::Arc;

use mainstay_auth::access::Access;
use mainstay_model::Config;
use mainstay_proxy::sessions::Sessions;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::jobs;
use crate::log::Levels;
use crate::trace_export::ExportSettings;

/// Parts that take their settings from the config while the machine runs.
#[derive(Debug)]
pub struct Followers {
    /// Log levels.
    pub levels: Levels,
    /// Sinks of traces.
    pub traces: ExportSettings,
    /// Scheduled jobs.
    pub jobs: jobs::JobsHandle,
    /// Sessions, with the time that clients may be silent.
    pub sessions: Arc<Sessions>,
    /// Who may come in, and do what.
    pub access: Arc<Access>,
}

impl Followers {
    /// Takes up this config.
    pub fn take_up(&self, config: &Config) {
        self.levels.set(config);
        self.traces.set(config);
        self.jobs.set(config.jobs.clone());
        self.sessions.table().window = config.network.heartbeat_window;
        self.access.take_up(config);
    }

    /// Takes up each config that is applied, until `stop`.
    pub async fn follow(self, mut applied: watch::Receiver<Arc<Config>>, stop: CancellationToken) {
        while stop
            .run_until_cancelled(applied.changed())
            .await
            .is_some_and(|changed| changed.is_ok())
        {
            let config = applied.borrow_and_update().clone();
            self.take_up(&config);
        }
    }
}
