//! Looks at the machine for `health`: how its parts are, and which modules have died since a change began.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mainstay_core::rollout::health;
use mainstay_core::rollout::health::{Condition, HealthPart, HealthSnapshot, Verdict};
use mainstay_core::rollout::{Direction, Transaction};
use mainstay_model::{Config, ModuleName, ModulePhase, Phase};

use super::loaded_config::LoadedConfig;
use crate::machine;
use crate::machine::view::View;
use crate::module::entry::ModuleEntry;

/// Watcher of a change: compares the machine's health with that before it.
#[derive(Debug)]
pub struct Watcher {
    machine: machine::MachineHandle,
    /// Health when the change began.
    before: HealthSnapshot,
    /// Parts that the change adds or changes.
    touched: BTreeSet<HealthPart>,
    /// Parts that the config wants.
    wanted: BTreeSet<HealthPart>,
    /// The modules when the change began, and the last process of each that had ended unasked by then.
    ended: BTreeMap<ModuleName, (Arc<ModuleEntry>, u64)>,
}

impl Watcher {
    /// Watcher of a machine that starts, of which nothing was READY before.
    pub fn new(transaction: &Transaction<Arc<LoadedConfig>>, machine: &machine::MachineHandle) -> Self {
        let config = &transaction.running().what.config;
        let touched = transaction
            .committed()
            .map(|kept| health::touched(&kept.what.config, config));
        Self {
            machine: machine.clone(),
            before: HealthSnapshot::default(),
            touched: touched.unwrap_or_default(),
            wanted: parts(config),
            ended: BTreeMap::new(),
        }
    }

    /// A change begins, from `committed` to `config`. `fresh`: what is healthy now is the measure.
    pub fn begin(&mut self, committed: Option<&Config>, config: &Config, direction: &Direction, fresh: bool) {
        let view = self.machine.published.load_full();
        if fresh {
            self.before = HealthSnapshot {
                parts: conditions(&view, &self.wanted),
                deaths: BTreeMap::new(),
            };
        }
        if fresh || *direction != Direction::Forward {
            let entries = view.modules.iter();
            self.ended = entries
                .map(|entry| {
                    (
                        entry.name.clone(),
                        (entry.clone(), last_end(entry).map_or(0, |(life, _)| life)),
                    )
                })
                .collect();
        }
        self.touched = match (direction, committed) {
            (Direction::Forward, Some(committed)) => health::touched(committed, config),
            _ => BTreeSet::new(),
        };
        self.wanted = parts(config);
    }

    /// The verdict as of now. `deaths`: it counts if a module has died since, ready again or not.
    pub fn verdict(&self, deaths: bool) -> Verdict {
        let view = self.machine.published.load_full();
        let deaths = view.modules.iter().filter(|_| deaths).filter_map(|entry| {
            let (life, cause) = last_end(entry)?;
            // A module of another make has another entry, whose processes count anew.
            let before = self
                .ended
                .get(&entry.name)
                .filter(|(before, _)| Arc::ptr_eq(before, entry));
            (life > before.map_or(0, |(_, life)| *life)).then(|| (entry.name.clone(), cause))
        });
        let now = HealthSnapshot {
            deaths: deaths.collect(),
            parts: conditions(&view, &self.wanted),
        };
        health::judge(&self.before, &self.touched, &now)
    }
}

/// Number of the last process that ended unasked, and how.
fn last_end(entry: &ModuleEntry) -> Option<(u64, String)> {
    let history = entry.history();
    let last = history.ends().filter(|end| !end.asked).last()?;
    Some((last.life, last.cause.clone()))
}

/// Parts that a config names.
fn parts(config: &Config) -> BTreeSet<HealthPart> {
    let modules = config
        .modules
        .iter()
        .map(|module| HealthPart::Module(module.name.as_str().into()));
    let resources = config
        .resources
        .iter()
        .map(|config| HealthPart::Resource(config.name.clone()));
    modules.chain(resources).collect()
}

fn conditions(view: &View, wanted: &BTreeSet<HealthPart>) -> BTreeMap<HealthPart, Condition> {
    let modules = view.modules.iter().map(|entry| {
        let state = entry.state();
        let why = || state.error.as_deref().unwrap_or_default().to_owned();
        let condition = match state.phase {
            ModulePhase::Ready => Condition::Ready,
            ModulePhase::Pending | ModulePhase::Starting | ModulePhase::Closing => Condition::Pending(why()),
            ModulePhase::Unhealthy | ModulePhase::Unresponsive => Condition::Broken(why()),
        };
        (HealthPart::Module(entry.name.clone()), condition)
    });
    let resources = view.resources.iter().map(|resource| {
        let state = resource.state();
        let why = || state.error.as_deref().unwrap_or_default().to_owned();
        let condition = match state.phase {
            Phase::Ready => Condition::Ready,
            Phase::Configuring | Phase::Removing => Condition::Pending(why()),
            Phase::Unhealthy => Condition::Broken(why()),
        };
        (HealthPart::Resource(resource.name.clone()), condition)
    });
    let counts = |part: &HealthPart| match part {
        HealthPart::Module(name) if name.is_builtin() => true,
        part => wanted.contains(part),
    };
    modules.chain(resources).filter(|(part, _)| counts(part)).collect()
}
