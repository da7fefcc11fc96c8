//! The wanted and the running set, and what changes it when something happens. What follows from it is decided in
//! `plan`; what is wanted changes in `adopt`, who depends on whom in `relations`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use mainstay_ids::{Api, Model, ResourceName};
use mainstay_model::Builtins;
use mainstay_model::ModuleName;
use mainstay_model::dependencies::Declared;
use mainstay_model::failure::Failure;
use mainstay_model::shown::ShownState;

use super::circles::Circles;
use super::imports::Remotes;
use super::node::{BuildStage, Held, IN_FLIGHT_PER_MODULE, ModuleCondition, ModuleNode, ResourceNode};
use super::retries::Retries;
use crate::graph::Index;

/// The wanted and the running set.
#[derive(Debug, Default)]
pub struct World {
    pub(super) nodes: HashMap<ResourceName, ResourceNode>,
    pub(super) modules: BTreeMap<ModuleName, ModuleNode>,
    pub(super) module_order: Vec<ModuleName>,
    pub(super) builtin: HashMap<(Api, Model), ModuleName>,
    /// All built-in models, for the message about one that nobody offers.
    pub(super) builtins: Arc<Builtins>,
    pub(super) index: Index,
    pub(super) dependents: HashMap<ResourceName, BTreeSet<ResourceName>>,
    /// Resources whose dependencies mention a resource by that simple name.
    pub(super) mentions: HashMap<String, BTreeSet<ResourceName>>,
    pub(super) dirty: BTreeSet<(usize, ResourceName)>,
    /// Resources whose `must_remove` has to be looked at again.
    pub(super) unsettled: BTreeSet<ResourceName>,
    pub(super) retries: Retries,
    /// Number of resources in modules that hold each.
    pub(super) holders: HashMap<ResourceName, usize>,
    /// Resources with a step under way; those that are being validated among them.
    moving: usize,
    validating: usize,
    pub(super) circles: Circles,
    pub(super) remotes: Remotes,
}

impl World {
    /// The modules, in the order of the config; those that are ending last.
    pub fn modules_in_order(&self) -> &[ModuleName] {
        &self.module_order
    }

    /// A node by name.
    pub fn node(&self, name: &ResourceName) -> Option<&ResourceNode> {
        self.nodes.get(name)
    }

    /// Every node.
    pub fn nodes(&self) -> impl Iterator<Item = &ResourceNode> {
        self.nodes.values()
    }

    /// Modules that are being emptied for a restart and are empty now.
    pub fn drained(&self) -> Vec<ModuleName> {
        let empty = |module: &ModuleNode| module.condition == ModuleCondition::Draining && module.occupied == 0;
        self.modules
            .iter()
            .filter(|(_, module)| empty(module))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Condition of a module.
    pub fn condition(&self, module: &ModuleName) -> Option<&ModuleCondition> {
        self.modules.get(module).map(|module| &module.condition)
    }

    /// True while this module holds a resource, or a call about one is under way there.
    pub fn is_occupied(&self, module: &ModuleName) -> bool {
        self.modules.get(module).is_some_and(|module| module.occupied > 0)
    }

    /// True while AddResource calls of this module are under way: some modules answer nothing else meanwhile.
    pub fn is_adding(&self, module: &ModuleName) -> bool {
        self.modules.get(module).is_some_and(|module| module.adding > 0)
    }

    /// True once every module had its first outcome and nothing is under way or about to be.
    pub fn is_settled(&self) -> bool {
        let tried = |module: &ModuleNode| !(module.first_attempt && module.condition == ModuleCondition::Starting);
        self.dirty.is_empty() && self.moving == 0 && self.modules.values().all(tried)
    }

    /// True if what is known of dependencies is not about to change: nothing is under way, and no module is.
    fn is_stable(&self) -> bool {
        let leaves = |module: &ModuleNode| module.condition == ModuleCondition::Draining;
        self.is_settled() && !self.modules.values().any(leaves)
    }

    /// Time at which the next failed resource is due for another try.
    pub fn next_retry(&self) -> Option<Instant> {
        self.retries.next()
    }

    /// Takes up the resources whose retry is due.
    pub fn touch_due(&mut self, now: Instant) {
        for name in self.retries.take_due(now) {
            self.touch(&name);
        }
    }

    /// The next resource to be asked, in config order.
    pub fn next_dirty(&mut self) -> Option<ResourceName> {
        // Once for all that come and go together: it looks at everything that any machine has.
        if self.dirty.is_empty() {
            self.settle_due_imports();
        }
        self.propagate();
        if self.circles.unexplored && self.validating == 0 {
            self.explore();
        }
        if self.circles.undecided && self.is_stable() {
            self.decide_circles();
            self.propagate();
        }
        self.dirty.pop_first().map(|(_, name)| name)
    }

    /// Brings `must_remove` up to date, from what is held to those who hold it. What is held never runs in a circle.
    pub(super) fn propagate(&mut self) {
        while let Some(name) = self.unsettled.pop_first() {
            let Some(node) = self.nodes.get(&name) else { continue };
            let built = node.stage == BuildStage::Built;
            let follows = built && self.has_to_follow(&name, node);
            let must_remove = follows || built && (!node.wanted || node.changed);
            // What it is built with changes: that concerns who holds it.
            let in_place = node.in_place && !follows;
            if (must_remove, in_place) != (node.must_remove, node.in_place) {
                if let Some(node) = self.nodes.get_mut(&name) {
                    (node.must_remove, node.in_place) = (must_remove, in_place);
                }
                self.touch_around(&name);
            }
        }
    }

    pub(super) fn touch(&mut self, name: &ResourceName) {
        if let Some(node) = self.nodes.get(name) {
            self.dirty.insert((node.order, name.clone()));
            self.unsettled.insert(name.clone());
        }
    }

    /// Marks a resource and everybody whose next step may depend on it.
    pub(super) fn touch_around(&mut self, name: &ResourceName) {
        let mut around: Vec<_> = self.dependents.get(name).into_iter().flatten().cloned().collect();
        around.extend(
            self.nodes
                .get(name)
                .into_iter()
                .flat_map(|node| node.held.iter().map(|(held, _)| held.clone())),
        );
        around.push(name.clone());
        for name in around {
            self.touch(&name);
        }
    }

    /// A module's state changed. `offers` comes with Ready.
    pub fn module_changed(
        &mut self,
        name: &ModuleName,
        condition: ModuleCondition,
        offers: Option<HashSet<(Api, Model)>>,
    ) {
        let Some(module) = self.modules.get_mut(name) else {
            return;
        };
        let gone = matches!(condition, ModuleCondition::Down(_) | ModuleCondition::Starting)
            && matches!(module.condition, ModuleCondition::Ready | ModuleCondition::Draining);
        let never_ran = module.first_attempt && matches!(condition, ModuleCondition::Down(_));
        module.first_attempt &= condition == ModuleCondition::Starting;
        (module.condition, module.silent) = (condition, None);
        if let Some(offers) = offers {
            module.offers = Arc::new(offers);
        }
        let (mut touched, mut released, mut freed) = (Vec::new(), Vec::new(), Vec::new());
        for (resource, node) in &mut self.nodes {
            let inside = node.module.as_ref() == Some(name);
            if inside && gone {
                // The process is gone, and everything in it; calls under way end by themselves and count for nothing.
                if node.stage == BuildStage::Built {
                    node.stage = BuildStage::Idle;
                    node.must_remove = false;
                    module.occupied -= 1;
                    released.append(&mut node.held);
                    freed.push(resource.clone());
                }
                node.tainted = false;
                node.ask_again();
            }
            // Whatever happens to a module happens to all in it.
            node.in_place &= !inside;
            if node.stage == BuildStage::Idle {
                node.queued = false;
                // Only what may go better now is tried sooner: a module that comes and goes must not hurry the others.
                if inside || node.module.is_none() {
                    self.retries.try_now(resource);
                }
                if inside && module.condition == ModuleCondition::Ready {
                    // What was said of it was said of the process before.
                    node.shown = None;
                }
            }
            if inside || node.stage == BuildStage::Idle {
                touched.push(resource.clone());
            }
        }
        module.queue.clear();
        self.release(released);
        if never_ran {
            self.forget_declared_by(name);
        }
        for resource in freed {
            self.clear_outdated(&resource);
        }
        for resource in touched {
            self.touch_around(&resource);
        }
    }

    /// A module's process does not answer any more, for this reason, or answers again. What is in it stays there: nothing
    /// is lost yet.
    pub fn module_silent(&mut self, name: &ModuleName, silent: Option<Arc<str>>) {
        let Some(module) = self.modules.get_mut(name) else {
            return;
        };
        module.silent = silent;
        let inside = self.nodes.iter().filter(|(_, node)| node.module.as_ref() == Some(name));
        for name in inside.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.touch(&name);
        }
    }

    /// A step of `name` begins; `held` is what it is built with.
    pub fn begin(&mut self, name: &ResourceName, stage: BuildStage, module: &ModuleName, held: Vec<Held>) {
        for (held, _) in &held {
            *self.holders.entry(held.clone()).or_default() += 1;
        }
        let Some(node) = self.nodes.get_mut(name) else { return };
        if let Some(module) = self.modules.get_mut(module) {
            module.in_flight += 1;
            module.adding += usize::from(stage == BuildStage::Adding);
            module.occupied += usize::from(node.stage == BuildStage::Idle);
        }
        self.moving += 1;
        self.validating += usize::from(stage == BuildStage::Validating);
        if stage == BuildStage::Adding {
            node.held = held;
        }
        node.module = Some(module.clone());
        node.stage = stage;
        self.touch_around(name);
        self.dirty.remove(&(self.nodes[name].order, name.clone()));
    }

    fn finish(&mut self, name: &ResourceName, stage: BuildStage) -> Option<&mut ResourceNode> {
        let node = self.nodes.get_mut(name)?;
        self.moving -= 1;
        self.validating -= usize::from(node.stage == BuildStage::Validating);
        let mut next = Vec::new();
        if let Some(module) = node.module.as_ref().and_then(|module| self.modules.get_mut(module)) {
            module.in_flight = module.in_flight.saturating_sub(1);
            module.adding = module
                .adding
                .saturating_sub(usize::from(node.stage == BuildStage::Adding));
            module.occupied = module.occupied.saturating_sub(usize::from(stage == BuildStage::Idle));
            // One of them may find that it has no step to take, so there is one for each place that is free.
            let free = IN_FLIGHT_PER_MODULE
                .saturating_sub(module.in_flight)
                .min(module.queue.len());
            next.extend(module.queue.drain(..free));
        }
        node.stage = stage;
        self.touch_around(name);
        if stage == BuildStage::Idle {
            self.clear_outdated(name);
        }
        for next in next {
            if let Some(node) = self.nodes.get_mut(&next) {
                node.queued = false;
            }
            self.touch(&next);
        }
        self.nodes.get_mut(name)
    }

    /// True if a resource in a module holds it.
    pub(super) fn is_held(&self, name: &ResourceName) -> bool {
        self.holders.get(name).is_some_and(|holders| *holders > 0)
    }

    /// Counts down the holders of what is no longer held.
    fn release(&mut self, held: Vec<Held>) {
        for (held, _) in held {
            if let Some(holders) = self.holders.get_mut(&held) {
                *holders -= 1;
            }
            self.touch(&held);
        }
    }

    /// ValidateConfig ended. `None` if the module's process ended meanwhile: then nothing is known.
    pub fn validated(&mut self, name: &ResourceName, outcome: Option<Result<Declared, Failure>>, now: Instant) {
        let outdated = self.nodes.get(name).is_some_and(|node| node.changed);
        let Some(node) = self.finish(name, BuildStage::Idle) else {
            return;
        };
        match outcome {
            // The answer is about an entry that nobody wants any more.
            _ if outdated => {}
            Some(Ok(declared)) => self.declare(name, declared),
            Some(Err(error)) => self.refuse(name, error, now),
            None => node.ask_again(),
        }
    }

    /// The process of `module` said this of the entry before it was taken up: it need not be asked.
    pub fn answered(
        &mut self,
        name: &ResourceName,
        module: &ModuleName,
        outcome: Result<Declared, Failure>,
        now: Instant,
    ) {
        let Some(node) = self.nodes.get_mut(name) else { return };
        node.module = Some(module.clone());
        match outcome {
            Ok(declared) => self.declare(name, declared),
            Err(error) => self.refuse(name, error, now),
        }
        self.touch_around(name);
    }

    /// Records that the module refuses the entry: what it declared for it before counts no more.
    fn refuse(&mut self, name: &ResourceName, error: Failure, now: Instant) {
        self.forget_dependencies(name);
        self.fail(name, error, now);
    }

    /// AddResource ended. `alive` is false if the module's process ended meanwhile: then nothing was built.
    pub fn added(&mut self, name: &ResourceName, outcome: Result<(), Failure>, alive: bool, now: Instant) {
        let built = outcome.is_ok() && alive;
        let outdated = self.nodes.get(name).is_some_and(|node| node.changed);
        let Some(node) = self.finish(name, if built { BuildStage::Built } else { BuildStage::Idle }) else {
            return;
        };
        if built {
            // Who keeps it through this has what it held, unless that is to change once more.
            node.build += u64::from(!node.in_place);
            node.in_place &= outdated;
            node.tainted = false;
            self.retries.forget(name);
            self.hurry_dependents(name);
        } else {
            node.ask_again();
            node.tainted = alive;
            node.in_place &= outdated && alive;
            let held = std::mem::take(&mut node.held);
            self.release(held);
        }
        if let (Err(error), true, false) = (outcome, alive, outdated) {
            self.fail(name, error, now);
        }
        self.touch_around(name);
    }

    /// RemoveResource ended, one way or the other.
    pub fn removed(&mut self, name: &ResourceName, clean: bool) {
        let here = |node: &ResourceNode| self.module_of(&node.config).ok() == node.module.as_ref();
        let elsewhere = !self.nodes.get(name).is_some_and(here);
        let Some(node) = self.finish(name, BuildStage::Idle) else {
            return;
        };
        node.ask_again();
        // One try is enough for what nobody wants, or not there any more.
        node.tainted = !clean && node.wanted && !elsewhere;
        let held = std::mem::take(&mut node.held);
        self.release(held);
    }

    /// Queues a resource until its module has less to do.
    pub fn queue(&mut self, name: ResourceName, module: &ModuleName) {
        if let (Some(module), Some(node)) = (self.modules.get_mut(module), self.nodes.get_mut(&name))
            && !std::mem::replace(&mut node.queued, true)
        {
            module.queue.push_back(name);
        }
    }

    /// Remembers what was shown; true if it is news.
    pub fn show(&mut self, name: &ResourceName, shown: &ShownState) -> bool {
        let Some(node) = self.nodes.get_mut(name) else {
            return false;
        };
        let late = node.stage == BuildStage::Idle && std::mem::take(&mut node.in_place);
        let changed = node.shown.as_ref() != Some(shown);
        if changed {
            node.shown = Some(shown.clone());
        }
        if late {
            // It is not back in a moment: who holds it does with it as with anything that is gone.
            self.touch_around(name);
        }
        if !changed {
            return false;
        }
        for dependent in self
            .dependents
            .get(name)
            .into_iter()
            .flatten()
            .cloned()
            .collect::<Vec<_>>()
        {
            self.touch(&dependent);
        }
        true
    }

    /// A resource was built: those that need or want it and failed are tried at once.
    pub(super) fn hurry_dependents(&mut self, name: &ResourceName) {
        for dependent in self.dependents.get(name).into_iter().flatten() {
            self.retries.try_now(dependent);
        }
    }

    fn fail(&mut self, name: &ResourceName, error: Failure, now: Instant) {
        let Some(node) = self.nodes.get_mut(name) else { return };
        node.in_place = false;
        self.retries.failed(name, error, now);
    }
}
