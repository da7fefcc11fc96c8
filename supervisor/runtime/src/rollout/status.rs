//! Published status of the running config against its file.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwap;
use mainstay_core::rollout::Transaction;
use mainstay_model::apply_state::ConfigState;
use mainstay_proto::mainstay::control::v1 as pb;
use tracing::{info, warn};

use super::loaded_config::LoadedConfig;
use super::store_writer::WriteOutcome;

/// The state of the config.
#[derive(Clone, Debug)]
pub struct Status {
    /// The machine's config file, as its path was given.
    pub path: PathBuf,
    /// Path that the running text came from; another file if a client applied one.
    pub from: PathBuf,
    /// Number of the last commit; `None` as long as none is on the disk.
    pub revision: Option<u64>,
    /// State in one word.
    pub state: ConfigState,
    /// Reasons why it is not `current`, one line each.
    pub reasons: Vec<String>,
    /// Since when it is in that state, for these reasons.
    pub since: SystemTime,
    /// Since when the running text runs.
    pub applied: SystemTime,
    /// Time of the next event by itself: the end of a watch, the next question to the sensor, the next try of a text that
    /// was refused for what may pass.
    pub until: Option<SystemTime>,
    /// Reason why the last commit is not on the disk, if it is not.
    pub unkept: Option<Arc<str>>,
    /// Diagnostics of the running text, each as a person should read it.
    pub diagnostics: Arc<[String]>,
}

impl Status {
    /// Message for the control socket.
    pub fn to_wire(&self) -> pb::ConfigStatus {
        pb::ConfigStatus {
            path: self.path.display().to_string(),
            from: self.from.display().to_string(),
            revision: self.revision,
            state: wire(self.state).into(),
            reasons: self.reasons.clone(),
            since: Some(self.since.into()),
            applied_at: Some(self.applied.into()),
            until: self.until.map(Into::into),
            unkept: self.unkept.as_deref().unwrap_or_default().to_owned(),
        }
    }
}

fn wire(state: ConfigState) -> pb::ConfigState {
    match state {
        ConfigState::Current => pb::ConfigState::Current,
        ConfigState::Refused => pb::ConfigState::Refused,
        ConfigState::Away => pb::ConfigState::Away,
        ConfigState::Waiting => pb::ConfigState::Waiting,
        ConfigState::Applying => pb::ConfigState::Applying,
        ConfigState::Watching => pb::ConfigState::Watching,
        ConfigState::Reverted => pb::ConfigState::Reverted,
        ConfigState::Degraded => pb::ConfigState::Degraded,
        ConfigState::Overridden => pb::ConfigState::Overridden,
    }
}

/// The published state: the driver writes, everybody reads.
#[derive(Clone, Debug)]
pub struct StatusCell(Arc<ArcSwap<Status>>);

impl StatusCell {
    /// Published status with this as its first value.
    pub fn new(status: Status) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(status)))
    }

    /// Current status.
    pub fn get(&self) -> Arc<Status> {
        self.0.load_full()
    }

    /// Replaces the status. True if it changed enough to notify followers.
    fn set(&self, mut status: Status) -> bool {
        let before = self.0.load_full();
        let same = before.state == status.state && before.reasons == status.reasons;
        if same {
            status.since = before.since;
        }
        let changed = !same
            || before.revision != status.revision
            || before.applied != status.applied
            || before.until.is_some() != status.until.is_some()
            || before.unkept != status.unkept;
        self.0.store(Arc::new(status));
        changed
    }
}

/// Writer of the status, for the driver alone.
#[derive(Debug)]
pub(super) struct StatusWriter {
    cell: StatusCell,
    /// Status that is published next, but for what the transaction knows.
    pub(super) next: Status,
}

impl StatusWriter {
    /// Goes on from what is published.
    pub(super) fn new(cell: StatusCell) -> Self {
        Self {
            next: Status::clone(&cell.get()),
            cell,
        }
    }

    /// A write of the store has ended.
    pub(super) fn kept(&mut self, kept: WriteOutcome) {
        match kept {
            Ok(Some(revision)) => {
                self.next.revision = Some(revision);
                if self.next.unkept.take().is_some() {
                    info!("the last good config is on the disk again");
                }
            }
            Ok(None) => {}
            // It is tried again and again.
            Err(problem) if self.next.unkept.as_deref() == Some(&problem) => {}
            Err(problem) => {
                warn!("the machine runs on, but its last good config is not on the disk: {problem}");
                self.next.unkept = Some(problem.into());
            }
        }
    }

    /// Publishes the state of `transaction`. True if it changed enough to notify followers.
    pub(super) fn publish(&self, transaction: &Transaction<Arc<LoadedConfig>>) -> bool {
        let (state, reasons) = transaction.state();
        let running = &transaction.running().what;
        let until = match state {
            ConfigState::Waiting | ConfigState::Watching => transaction.deadline(),
            ConfigState::Refused => transaction.next_try(),
            _ => None,
        };
        self.cell.set(Status {
            from: running.bundle.path.clone(),
            state,
            reasons,
            since: SystemTime::now(),
            until: until.map(on_the_wall),
            diagnostics: running.rendered.clone(),
            ..self.next.clone()
        })
    }
}

/// A moment of the monotonic clock on the wall's.
fn on_the_wall(moment: Instant) -> SystemTime {
    SystemTime::now() + moment.saturating_duration_since(Instant::now())
}
