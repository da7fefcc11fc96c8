//! State that a module's task publishes: the one place where everybody else reads it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use mainstay_core::module::events;
use mainstay_core::module::history::History;
use mainstay_model::cgroup::Events;
use mainstay_model::module_state::ModuleState;
use mainstay_model::{ModuleName, ModuleSpec, Policy};
use mainstay_process::cgroup::Group;
use mainstay_proxy::identity::ModulePeer;

use super::activity::Activity;
use super::handshake::Handler;
use super::output::ModuleOutput;
use super::source::ProgramSource;
use crate::change_signal::ChangeSignal;
use crate::wall_clock;

/// Published state of one module: configured, or built in and used.
#[derive(Debug)]
pub struct ModuleEntry {
    /// Name of the module; built-in ones read `builtin:fake`.
    pub name: ModuleName,
    /// Registry id of the module, where the config gives one.
    pub id: String,
    /// True if the config's `type` is `local`.
    pub local: bool,
    /// Executable as the config names it.
    pub executable: PathBuf,
    /// Source of the module's program.
    pub source: Arc<ProgramSource>,
    /// Output of the module over all its lives.
    pub output: ModuleOutput,
    history: Arc<Mutex<History>>,
    /// Signs that the module is alive.
    pub activity: Activity,
    policy: ArcSwap<Policy>,
    state: ArcSwap<ModuleState>,
    /// APIs and models on offer, as of its last Ready.
    handlers: ArcSwap<Arc<[Handler]>>,
    /// The cgroup of its present process.
    group: ArcSwapOption<Group>,
    changes: ChangeSignal,
}

impl ModuleEntry {
    /// A module that was not started yet. `home` is VIAM_HOME.
    pub fn new(spec: &ModuleSpec, home: &Path, changes: ChangeSignal) -> Self {
        let state = ModuleState::pending(wall_clock::now());
        let output = ModuleOutput::new(spec.name.clone(), &spec.policy.output);
        Self::with(spec, home, changes, state, output, Arc::default())
    }

    /// The same module with another config, after its last process has ended: what it said, how its processes ended and
    /// how many there were goes on.
    pub(crate) fn after(&self, spec: &ModuleSpec, home: &Path) -> Self {
        let before = self.state.load();
        let mut state = ModuleState::pending(wall_clock::now());
        (state.life, state.restarts) = (before.life, before.restarts);
        (state.last, state.last_at) = (Some("config changed".into()), Some(wall_clock::now()));
        self.output.keep_in(&spec.policy.output);
        let (output, history) = (self.output.clone(), self.history.clone());
        Self::with(spec, home, self.changes.clone(), state, output, history)
    }

    fn with(
        spec: &ModuleSpec,
        home: &Path,
        changes: ChangeSignal,
        state: ModuleState,
        output: ModuleOutput,
        history: Arc<Mutex<History>>,
    ) -> Self {
        let ModuleSpec {
            name, id, executable, ..
        } = spec.clone();
        Self {
            name,
            id,
            local: spec.local,
            executable,
            source: Arc::new(ProgramSource::new(spec, home)),
            output,
            history,
            activity: Activity::default(),
            policy: ArcSwap::from_pointee(spec.policy.clone()),
            state: ArcSwap::from_pointee(state),
            handlers: ArcSwap::from_pointee(Arc::default()),
            group: ArcSwapOption::empty(),
            changes,
        }
    }

    /// Current state of the module.
    pub fn state(&self) -> Guard<Arc<ModuleState>> {
        self.state.load()
    }

    /// APIs and models on offer, as of its last Ready.
    pub fn handlers(&self) -> Arc<[Handler]> {
        Arc::clone(&self.handlers.load())
    }

    /// Publishes what the module offers, as its Ready answered.
    pub(crate) fn offers(&self, handlers: Arc<[Handler]>) {
        self.handlers.store(Arc::new(handlers));
    }

    /// Policy of the module.
    pub fn policy(&self) -> Guard<Arc<Policy>> {
        self.policy.load()
    }

    /// Replaces the policy of the module.
    pub(crate) fn treat(&self, policy: &Policy) {
        let before = self.policy.swap(Arc::new(policy.clone()));
        if before.output != policy.output {
            self.output.keep_in(&policy.output);
        }
        self.changes.notify();
    }

    /// Event counters of the cgroup of its present process; zero where there is none.
    pub fn counted(&self) -> Events {
        self.group
            .load()
            .as_ref()
            .map(|group| group.events())
            .unwrap_or_default()
    }

    /// Sets the cgroup of its present process.
    pub(crate) fn lives_in(&self, group: Option<Arc<Group>>) {
        self.group.store(group);
    }

    /// Signals a change to be shown, though the state is the same.
    pub(crate) fn signal_change(&self) {
        self.changes.notify();
    }

    /// History of its processes' ends. Not to be held for long.
    pub fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records at once that a process of the module is of no use, or has ended, and why, whatever follows.
    pub(crate) fn record_failure(&self, pid: Option<u32>, cause: &str) {
        self.changes.record(events::failure(&self.name, pid, cause));
    }

    /// Changes the state; for the module's own task alone.
    pub fn publish(&self, change: impl FnOnce(&mut ModuleState)) {
        let before = self.state.load_full();
        let mut state = ModuleState::clone(&before);
        change(&mut state);
        if state.phase != before.phase {
            state.since = wall_clock::now();
        }
        let news = events::of_module(&self.name, &before, &state);
        self.history().observe(&before, &state, SystemTime::now());
        self.state.store(Arc::new(state));
        if let Some(news) = news {
            self.changes.record(news);
        }
        self.changes.notify();
    }
}

impl ModulePeer for ModuleEntry {
    fn name(&self) -> &ModuleName {
        &self.name
    }

    fn life(&self) -> u64 {
        self.state().life
    }

    fn record_call(&self) {
        self.activity.record_call();
    }
}
