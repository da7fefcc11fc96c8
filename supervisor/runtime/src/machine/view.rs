//! Published view of the machine: the one place where everybody but the machine itself reads its state.
//!
//! The set of resources and modules is an immutable snapshot, swapped whole. Each entry in it carries its own
//! state, swapped by its owner alone, so that one resource becoming READY costs nothing for the other thousand.

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::{ArcSwap, Guard};
use mainstay_model::Config;
use mainstay_proto::{Model, ResourceName};
use mainstay_proxy::resource::Resource;
use mainstay_proxy::table::Table;

use crate::change_signal::ChangeSignal;
use crate::module::entry::ModuleEntry;
use crate::remote::RemoteEntry;

/// A config entry that is shown but has no place of its own in the machine, such as the second of two equal names.
#[derive(Debug, Clone)]
pub struct Rejected {
    /// Full name of the resource as far as it has one.
    pub name: ResourceName,
    /// Model of the resource.
    pub model: Model,
    /// Fault of the entry and its cure.
    pub error: String,
}

/// Snapshot of the machine at one moment.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// True once the first pass over the config is over.
    pub running: bool,
    /// The config's revision text.
    pub revision: Arc<str>,
    /// The config that is applied: what is wanted.
    pub config: Arc<Config>,
    /// Time when that config was applied.
    pub config_time: Option<SystemTime>,
    /// Modules, in config order, built-in ones first.
    pub modules: Arc<[Arc<ModuleEntry>]>,
    /// Remotes, in config order.
    pub remotes: Arc<[Arc<RemoteEntry>]>,
    /// Resources, in config order; those of remotes behind our own.
    pub resources: Arc<[Arc<Resource>]>,
    /// Entries that could not be applied.
    pub rejected: Arc<[Rejected]>,
    /// Route table of calls.
    pub table: Arc<Table>,
}

impl View {
    /// A module by its name.
    pub fn module(&self, name: &str) -> Option<&Arc<ModuleEntry>> {
        self.modules.iter().find(|entry| entry.name.as_str() == name)
    }
}

/// The cell that holds the current view.
#[derive(Debug, Clone, Default)]
pub struct ViewCell {
    view: Arc<ArcSwap<View>>,
    /// The view's route table by itself, for the proxy.
    pub table: Arc<ArcSwap<Table>>,
    /// Change signal for followers of this view.
    pub changes: ChangeSignal,
}

impl ViewCell {
    /// The view as of now, cheap to hold for the length of a lookup.
    pub fn load(&self) -> Guard<Arc<View>> {
        self.view.load()
    }

    /// The view as of now, to hold across waits.
    pub fn load_full(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// Swaps the view; for the machine alone.
    pub fn publish(&self, view: View) {
        self.table.store(view.table.clone());
        self.view.store(Arc::new(view));
        self.changes.notify();
    }
}
