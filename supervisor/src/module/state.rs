//! What a module's task publishes of it: the one place where everybody else reads a module's state.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::{ArcSwap, Guard};

use super::activity::Activity;
use super::environment::ModuleSpec;
use super::handshake::Handler;
use super::history::History;
use super::limits::Limit;
use super::output::Output;
use super::source::Source;
use crate::changes::Changes;
use crate::events;
use crate::identity::ModuleName;

/// Where a module is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModulePhase {
    /// Not started yet.
    Pending,
    /// Its process runs and has not answered Ready.
    Starting,
    /// It answered Ready.
    Ready,
    /// It was READY and misses probes; nothing was done about it yet.
    Unresponsive,
    /// It failed or died; `error` says how, `next_try` when it is started again.
    Unhealthy,
    /// It is being stopped.
    Closing,
}

impl ModulePhase {
    /// The number of `ModuleStatus.State` on the wire, which knows no module that does not answer.
    pub fn wire(self) -> i32 {
        match self {
            Self::Pending => 1,
            Self::Starting => 2,
            Self::Ready => 3,
            Self::Unhealthy | Self::Unresponsive => 4,
            Self::Closing => 5,
        }
    }
}

/// The published state of one module; written by the module's own task.
#[derive(Debug, Clone)]
pub struct ModuleState {
    /// Where it is in its life.
    pub phase: ModulePhase,
    /// Number of its newest process, from 1; 0 before the first. One that could not be spawned counts.
    pub life: u64,
    /// Process id, while it has one.
    pub pid: Option<u32>,
    /// When `phase` last changed.
    pub since: SystemTime,
    /// When the present process was started.
    pub started: Option<SystemTime>,
    /// The newest thing worth saying: why it is not ready, or else why it was last restarted.
    pub last: Option<Arc<str>>,
    /// When `last` happened.
    pub last_at: Option<SystemTime>,
    /// How long the last start took until Ready.
    pub start_time: Option<Duration>,
    /// How often a process of it was started after the first.
    pub restarts: u32,
    /// Failures since it was last READY.
    pub consecutive_failures: u32,
    /// What went wrong last; kept until it is READY again.
    pub error: Option<Arc<str>>,
    /// When it is started again.
    pub next_try: Option<SystemTime>,
    /// What it offers, as of its last Ready.
    pub handlers: Arc<[Handler]>,
    /// How each of its configured limits is held.
    pub limits: Arc<[Limit]>,
}

impl ModuleState {
    /// Not started yet, since `since`.
    pub fn pending(since: SystemTime) -> Self {
        Self {
            phase: ModulePhase::Pending,
            life: 0,
            pid: None,
            since,
            started: None,
            last: None,
            last_at: None,
            start_time: None,
            restarts: 0,
            consecutive_failures: 0,
            error: None,
            next_try: None,
            handlers: Arc::default(),
            limits: Arc::default(),
        }
    }
}

/// One module: configured, or built in and used.
#[derive(Debug)]
pub struct ModuleEntry {
    /// Its name; built-in ones read `builtin:fake`.
    pub name: ModuleName,
    /// Its registry id, where the config gives one.
    pub id: String,
    /// True if the config's `type` is `local`.
    pub local: bool,
    /// What the config names.
    pub executable: PathBuf,
    /// Where its program comes from.
    pub source: Arc<Source>,
    /// Whether what it left moving in other modules is left alone; from its config.
    pub keep_moving: bool,
    /// What it printed and logged, over all its lives.
    pub output: Output,
    history: Arc<Mutex<History>>,
    /// What shows that it lives.
    pub activity: Activity,
    /// After how long a call in it counts as stuck.
    pub stuck_after: Duration,
    state: ArcSwap<ModuleState>,
    changes: Changes,
}

impl ModuleEntry {
    /// A module that was not started yet. `home` is VIAM_HOME.
    pub fn new(spec: &ModuleSpec, home: &Path, changes: Changes) -> Self {
        let state = ModuleState::pending(SystemTime::now());
        let output = Output::new(spec.name.clone(), &spec.policy.output);
        let ModuleSpec {
            name, id, executable, ..
        } = spec.clone();
        Self {
            name,
            id,
            local: spec.local,
            executable,
            source: Arc::new(Source::new(spec, home)),
            keep_moving: spec.policy.keep_moving,
            output,
            history: Arc::default(),
            activity: Activity::default(),
            stuck_after: spec.policy.health.stuck_after,
            state: ArcSwap::from_pointee(state),
            changes,
        }
    }

    /// The same module with another config, after its last process has ended: what it said, how its processes ended and
    /// how many there were goes on.
    pub(crate) fn after(&self, spec: &ModuleSpec, home: &Path) -> Self {
        let before = self.state.load();
        let mut state = ModuleState::pending(SystemTime::now());
        (state.life, state.restarts) = (before.life, before.restarts);
        (state.last, state.last_at) = (Some("config changed".into()), Some(SystemTime::now()));
        self.output.keep_in(&spec.policy.output);
        Self {
            output: self.output.clone(),
            history: self.history.clone(),
            state: ArcSwap::from_pointee(state),
            ..Self::new(spec, home, self.changes.clone())
        }
    }

    /// Its state now.
    pub fn state(&self) -> Guard<Arc<ModuleState>> {
        self.state.load()
    }

    /// Something about it is to be shown otherwise, though its state is the same.
    pub(crate) fn tell_change(&self) {
        self.changes.tell();
    }

    /// How its processes ended. Not to be held for long.
    pub fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A process of it is of no use, or has ended, and why; told at once, whatever follows.
    pub(crate) fn tell_failure(&self, pid: Option<u32>, cause: &str) {
        self.changes.record(events::failure(&self.name, pid, cause));
    }

    /// Changes the state; for the module's own task alone.
    pub(crate) fn publish(&self, change: impl FnOnce(&mut ModuleState)) {
        let before = self.state.load_full();
        let mut state = ModuleState::clone(&before);
        change(&mut state);
        if state.phase != before.phase {
            state.since = SystemTime::now();
        }
        let news = events::of_module(&self.name, &before, &state);
        self.history().observe(&before, &state, SystemTime::now());
        self.state.store(Arc::new(state));
        if let Some(news) = news {
            self.changes.record(news);
        }
        self.changes.tell();
    }
}
