//! What the machine publishes: the one place where everybody but the machine itself reads its state.
//!
//! Which resources and modules there are is an immutable snapshot, swapped whole. Each entry in it carries its own
//! state, swapped by its owner alone, so that one resource becoming READY costs nothing for the other thousand.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::{ArcSwap, Guard};
use mainstay_proto::{Model, ResourceName};
use tokio::sync::watch;

use crate::identity::ModuleName;
use crate::module::environment::ModuleSpec;
use crate::module::handshake::Handler;
use crate::route::resource::Resource;
use crate::route::table::Table;

/// Where a module is in its life; the numbers are those of `ModuleStatus.State` on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum ModulePhase {
    /// Not started yet.
    Pending = 1,
    /// Its process runs and has not answered Ready.
    Starting = 2,
    /// It answered Ready.
    Ready = 3,
    /// It failed or died; `error` says how, `next_try` when it is started again.
    Unhealthy = 4,
    /// It is being stopped.
    Closing = 5,
}

/// The published state of one module; written by the module's own task.
#[derive(Debug, Clone)]
pub struct ModuleState {
    /// Where it is in its life.
    pub phase: ModulePhase,
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
    /// What is run.
    pub executable: PathBuf,
    state: ArcSwap<ModuleState>,
    changes: Changes,
}

impl ModuleEntry {
    /// A module that was not started yet.
    pub fn new(spec: &ModuleSpec, changes: Changes) -> Self {
        let state = ModuleState {
            phase: ModulePhase::Pending,
            pid: None,
            since: SystemTime::now(),
            started: None,
            last: None,
            last_at: None,
            start_time: None,
            restarts: 0,
            consecutive_failures: 0,
            error: None,
            next_try: None,
            handlers: Arc::default(),
        };
        let ModuleSpec {
            name, id, executable, ..
        } = spec.clone();
        Self {
            name,
            id,
            local: spec.local,
            executable,
            state: ArcSwap::from_pointee(state),
            changes,
        }
    }

    /// Its state now.
    pub fn state(&self) -> Guard<Arc<ModuleState>> {
        self.state.load()
    }

    /// Changes the state; for the module's own task alone.
    pub(crate) fn publish(&self, change: impl FnOnce(&mut ModuleState)) {
        let mut state = ModuleState::clone(&self.state.load());
        let phase = state.phase;
        change(&mut state);
        if state.phase != phase {
            state.since = SystemTime::now();
        }
        self.state.store(Arc::new(state));
        self.changes.tell();
    }
}

/// A config entry that is shown but has no place of its own in the machine, such as the second of two equal names.
#[derive(Debug, Clone)]
pub struct Rejected {
    /// Its full name as far as it has one.
    pub name: ResourceName,
    /// Its model.
    pub model: Model,
    /// What is wrong with it and how to mend it.
    pub error: String,
}

/// All of the machine at one moment.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// True once the first pass over the config is over.
    pub running: bool,
    /// The config's revision text.
    pub revision: Arc<str>,
    /// When that config was taken up.
    pub config_time: Option<SystemTime>,
    /// Modules, in config order, built-in ones first.
    pub modules: Arc<[Arc<ModuleEntry>]>,
    /// Resources, in config order.
    pub resources: Arc<[Arc<Resource>]>,
    /// Entries that could not be taken up.
    pub rejected: Arc<[Rejected]>,
    /// Where calls go.
    pub table: Arc<Table>,
}

/// Tells everyone who follows the machine that something in the view changed.
#[derive(Debug, Clone)]
pub struct Changes(Arc<watch::Sender<()>>);

impl Changes {
    /// Says that something changed.
    pub fn tell(&self) {
        self.0.send_replace(());
    }

    /// A receiver that is marked changed after every `tell`.
    pub fn follow(&self) -> watch::Receiver<()> {
        self.0.subscribe()
    }
}

impl Default for Changes {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(())))
    }
}

/// The cell that holds the current view.
#[derive(Debug, Clone, Default)]
pub struct Published {
    view: Arc<ArcSwap<View>>,
    /// For followers.
    pub changes: Changes,
}

impl Published {
    /// The view as of now, cheap to hold for the length of a lookup.
    pub fn load(&self) -> Guard<Arc<View>> {
        self.view.load()
    }

    /// The view as of now, to hold across waits.
    pub fn load_full(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// Swaps the view; for the machine alone.
    pub(super) fn publish(&self, view: View) {
        self.view.store(Arc::new(view));
        self.changes.tell();
    }
}
