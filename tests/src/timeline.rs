//! Recorder of a machine's states: includes those that last only milliseconds.

use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mainstay_proto::mainstay::control::v1 as control;
use mainstay_proto::mainstay::control::v1::control_service_client::ControlServiceClient;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_stream::StreamExt;

use crate::world::World;

/// Number of states that a failure prints.
const SHOWN: usize = 12;

/// States of a machine since [`Timeline::follow`], from its control socket.
pub struct Timeline {
    seen: Arc<Mutex<Vec<(Instant, control::Status)>>>,
    news: watch::Receiver<()>,
    _reader: JoinSet<()>,
}

impl Timeline {
    /// Starts recording. The first entry is the current state.
    pub async fn follow(world: &World) -> Self {
        let request = control::WatchStatusRequest {
            min_interval: Some(prost_types::Duration {
                seconds: 0,
                nanos: 5_000_000,
            }),
            max_interval: None,
        };
        let mut states = ControlServiceClient::new(world.control())
            .watch_status(request)
            .await
            .expect("WatchStatus answers at any time")
            .into_inner();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (told, mut news) = watch::channel(());
        let (list, mut reader) = (Arc::clone(&seen), JoinSet::new());
        reader.spawn(async move {
            while let Some(Ok(state)) = states.next().await {
                list.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push((Instant::now(), state));
                told.send_replace(());
            }
        });
        let _first = news.changed().await;
        Self {
            seen,
            news,
            _reader: reader,
        }
    }

    /// Waits until a state after `since` satisfies `condition`, and returns the time from `since` to it.
    ///
    /// # Errors
    /// The expectation and the states instead, if none satisfied it within `limit`.
    pub async fn until(
        &self,
        since: Instant,
        limit: Duration,
        what: &str,
        condition: impl Fn(&control::Status) -> bool,
    ) -> Result<(Duration, control::Status), String> {
        let mut news = self.news.clone();
        let search = async {
            loop {
                news.mark_unchanged();
                if let Some(found) = self.find(since, &condition) {
                    return Some(found);
                }
                if news.changed().await.is_err() {
                    return None;
                }
            }
        };
        let left = (since + limit).saturating_duration_since(Instant::now());
        match tokio::time::timeout(left, search).await {
            Ok(Some(found)) => Ok(found),
            Ok(None) => Err(format!("the machine ended before {what}\n{}", self.show(since))),
            Err(_elapsed) => Err(format!("not within {limit:?}: {what}\n{}", self.show(since))),
        }
    }

    fn find(
        &self,
        since: Instant,
        condition: &impl Fn(&control::Status) -> bool,
    ) -> Option<(Duration, control::Status)> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // What was true when it began counts as well: the last state before `since` still holds then.
        let first = seen.partition_point(|(when, _)| *when < since).saturating_sub(1);
        seen[first..]
            .iter()
            .find(|(_, state)| condition(state))
            .map(|(when, state)| (when.saturating_duration_since(since), state.clone()))
    }

    /// Returns the newest state.
    pub fn now(&self) -> control::Status {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.last().map(|(_, state)| state.clone()).unwrap_or_default()
    }

    /// Formats the states since `since` in brief.
    pub fn show(&self, since: Instant) -> String {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines: Vec<String> = Vec::new();
        for (when, state) in seen.iter() {
            let line = brief(state);
            if lines.last().is_none_or(|last| !last.ends_with(&line)) {
                let at = when
                    .checked_duration_since(since)
                    .map_or(-1.0, |after| after.as_secs_f64());
                lines.push(format!("  {at:6.2} s {line}"));
            }
        }
        lines[lines.len().saturating_sub(SHOWN)..].join("\n")
    }
}

fn brief(state: &control::Status) -> String {
    let mut text = String::new();
    let first_line = |text: &str| text.lines().next().unwrap_or_default().to_owned();
    for module in &state.modules {
        let name = module.state().as_str_name().trim_start_matches("MODULE_STATE_");
        let _ = write!(
            text,
            "{} {name} ×{} `{}`; ",
            module.name,
            module.restarts,
            first_line(&module.last)
        );
    }
    for resource in &state.resources {
        let name = resource.state().as_str_name().trim_start_matches("RESOURCE_STATE_");
        let simple = resource.name.as_ref().map_or("", |name| name.name.as_str());
        let _ = write!(text, "{simple} {name} `{}`; ", first_line(&resource.error));
    }
    text
}

/// Returns a module of a state.
pub fn module<'a>(state: &'a control::Status, name: &str) -> Option<&'a control::Module> {
    state.modules.iter().find(|module| module.name == name)
}

/// Returns a resource of a state.
pub fn resource<'a>(state: &'a control::Status, name: &str) -> Option<&'a control::Resource> {
    let is_it = |resource: &&control::Resource| resource.name.as_ref().is_some_and(|full| full.name == name);
    state.resources.iter().find(is_it)
}

/// True if there is such a resource and it is READY.
pub fn ready(state: &control::Status, name: &str) -> bool {
    resource(state, name).is_some_and(|resource| resource.state() == control::ResourceState::Ready)
}
