//! Consumers of the applied config: log levels, traces, jobs, the window of sessions, who may come in. They follow it; nobody
//! pushes into them.

use std::sync::{Arc, Mutex, PoisonError};

use mainstay_auth::access::Access;
use mainstay_auth::policy::Admission;
use mainstay_model::Config;
use mainstay_proxy::sessions::Sessions;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

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
    /// What was said last about a machine that others can reach and that asks nobody who they are.
    pub exposure: Exposure,
}

/// Warning about a machine that others can reach and that asks nobody who they are; said once as long as it stays.
#[derive(Debug, Default)]
pub struct Exposure(Mutex<Option<String>>);

impl Exposure {
    fn set(&self, config: &Config) {
        let now = exposure(config);
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *said != now {
            if let Some(text) = &now {
                warn!("{text}");
            }
            *said = now;
        }
    }
}

/// The warning, if there is one.
fn exposure(config: &Config) -> Option<String> {
    if config.network.is_loopback() {
        return None;
    }
    let address = &config.network.bind_address;
    let cure = "`auth.handlers` in the config asks for API keys";
    match Admission::of(config) {
        Admission::Authenticated => None,
        Admission::LocalOnly => Some(format!(
            "`{address}` can be reached by other hosts and nobody is asked who they are, so only callers on this host are served: {cure}, \
             `network.allow_unauthenticated: true` serves everybody"
        )),
        Admission::Open => Some(format!(
            "`{address}` can be reached by other hosts and nobody is asked who they are: WHOEVER REACHES THE PORT MAY DO EVERYTHING; {cure}"
        )),
    }
}

impl Followers {
    /// Takes up this config.
    pub fn take_up(&self, config: &Config) {
        self.levels.set(config);
        self.traces.set(config);
        self.jobs.set(config.jobs.clone());
        self.sessions.table().window = config.network.heartbeat_window;
        self.access.take_up(config);
        self.exposure.set(config);
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_machine_that_others_reach_and_that_asks_nobody_says_so() {
        let mut config = Config::empty(Path::new("r.yaml"));
        assert_eq!(exposure(&config), None);
        ":8080".clone_into(&mut config.network.bind_address);
        let text = exposure(&config).unwrap_or_default();
        assert!(text.contains("only callers on this host are served"), "{text}");
        config.network.allow_unauthenticated = true;
        let text = exposure(&config).unwrap_or_default();
        assert!(text.contains("WHOEVER REACHES THE PORT"), "{text}");
        config.auth.tls_auth_entities = vec!["x".to_owned()];
        assert_eq!(exposure(&config), None);
    }
}
