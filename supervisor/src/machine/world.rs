//! The wanted and the running set, and what changes it when something happens. What follows from it is decided in `plan`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mainstay_proto::{Api, Model, ResourceName};

use super::graph::{Index, cycles};
use super::node::{Declared, Facts, Held, Module, Node, Shown, Stage, Wishes};
use super::plan::IN_FLIGHT_PER_MODULE;
use crate::config::ResourceConfig;
use crate::identity::ModuleName;

/// Pause before a failed resource is tried again, doubled each time.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest such pause.
const LAST_RETRY: Duration = Duration::from_secs(30);

/// The wanted and the running set.
#[derive(Debug, Default)]
pub struct World {
    pub(super) nodes: HashMap<ResourceName, Node>,
    pub(super) modules: BTreeMap<ModuleName, Module>,
    pub(super) module_order: Vec<ModuleName>,
    pub(super) builtin: HashMap<(Api, Model), ModuleName>,
    pub(super) builtin_problem: Option<String>,
    pub(super) index: Index,
    pub(super) dependents: HashMap<ResourceName, BTreeSet<ResourceName>>,
    dirty: BTreeSet<(usize, ResourceName)>,
    /// Whose `leaving` has to be looked at again.
    unsettled: BTreeSet<ResourceName>,
    retries: BTreeSet<(Instant, ResourceName)>,
    /// Resources with a step under way; those that are being validated among them.
    moving: usize,
    validating: usize,
    /// Dependencies were declared since circles were last looked for.
    unexplored: bool,
}

impl World {
    /// Makes room for a module; configured ones in config order.
    pub fn add_module(&mut self, name: ModuleName) {
        let module = Module {
            facts: Facts::Starting,
            untried: true,
            offers: HashSet::new(),
            in_flight: 0,
            adding: 0,
            occupied: 0,
            queue: VecDeque::new(),
        };
        self.module_order.push(name.clone());
        self.modules.insert(name, module);
    }

    /// Takes up the resources of a config. `builtin` tells which of their models are built in, and where.
    ///
    /// `builtin_problem` is why there are no built-in models, if so.
    pub fn want(
        &mut self,
        resources: Vec<Arc<ResourceConfig>>,
        builtin: HashMap<(Api, Model), ModuleName>,
        builtin_problem: Option<String>,
    ) {
        self.builtin = builtin;
        self.builtin_problem = builtin_problem;
        for (order, config) in resources.into_iter().enumerate() {
            let name = config.name.clone();
            let node = Node {
                config,
                order,
                wanted: true,
                stage: Stage::Idle,
                module: None,
                held: Vec::new(),
                build: 0,
                tainted: false,
                shown: None,
                leaving: false,
                holders: 0,
                wishes: None,
                cycle: None,
                failure: None,
                failures: 0,
                queued: false,
            };
            self.nodes.entry(name).or_insert(node);
        }
        self.index = Index::new(self.nodes.keys());
        self.touch_all();
    }

    /// Wants nothing any more: everything is taken out, dependents first.
    pub fn want_nothing(&mut self) {
        for node in self.nodes.values_mut() {
            node.wanted = false;
        }
        self.touch_all();
    }

    /// A node by name.
    pub fn node(&self, name: &ResourceName) -> Option<&Node> {
        self.nodes.get(name)
    }

    /// Every node.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// Modules that are being emptied for a restart and are empty now.
    pub fn drained(&self) -> Vec<ModuleName> {
        let empty = |module: &Module| module.facts == Facts::Draining && module.occupied == 0;
        self.modules
            .iter()
            .filter(|(_, module)| empty(module))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// What is known of a module.
    pub fn facts(&self, module: &ModuleName) -> Option<&Facts> {
        self.modules.get(module).map(|module| &module.facts)
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
        let tried = |module: &Module| !(module.untried && module.facts == Facts::Starting);
        self.dirty.is_empty() && self.moving == 0 && self.modules.values().all(tried)
    }

    /// When the next failed resource is due for another try.
    pub fn next_retry(&self) -> Option<Instant> {
        self.retries.first().map(|(at, _)| *at)
    }

    /// Takes up the resources whose retry is due.
    pub fn touch_due(&mut self, now: Instant) {
        while let Some((at, name)) = self.retries.pop_first() {
            if at > now {
                self.retries.insert((at, name));
                return;
            }
            if let Some(node) = self.nodes.get_mut(&name) {
                node.failure = None;
            }
            self.touch(&name);
        }
    }

    /// The next resource to be asked, in config order.
    pub fn next_dirty(&mut self) -> Option<ResourceName> {
        self.spread();
        if self.dirty.is_empty() && self.unexplored && self.validating == 0 {
            self.explore();
        }
        self.dirty.pop_first().map(|(_, name)| name)
    }

    /// Brings `leaving` up to date, from what is held to those who hold it. What is held never runs in a circle.
    fn spread(&mut self) {
        while let Some(name) = self.unsettled.pop_first() {
            let Some(node) = self.nodes.get(&name) else { continue };
            let leaving = node.stage == Stage::Built && self.has_to_leave(&name, node);
            if leaving != node.leaving {
                if let Some(node) = self.nodes.get_mut(&name) {
                    node.leaving = leaving;
                }
                self.touch_around(&name);
            }
        }
    }

    /// Looks for circles among the required dependencies.
    fn explore(&mut self) {
        self.unexplored = false;
        let waiting = self
            .nodes
            .iter()
            .filter(|(_, node)| node.stage == Stage::Idle && !node.required().is_empty());
        let mut waiting: Vec<_> = waiting.map(|(name, node)| (node.order, name)).collect();
        waiting.sort();
        let starts = waiting.into_iter().map(|(_, name)| name);
        let found = cycles(starts, |name| self.nodes.get(name).map_or(&[], Node::required));
        for path in found {
            for start in 0..path.len() {
                let mut own: Vec<_> = path[start..].iter().chain(&path[..start]).cloned().collect();
                own.push(path[start].clone());
                if let Some(node) = self.nodes.get_mut(&path[start])
                    && node.cycle.is_none()
                {
                    node.cycle = Some(own);
                }
                self.touch(&path[start]);
            }
        }
    }

    fn touch(&mut self, name: &ResourceName) {
        if let Some(node) = self.nodes.get(name) {
            self.dirty.insert((node.order, name.clone()));
            self.unsettled.insert(name.clone());
        }
    }

    fn touch_all(&mut self) {
        self.dirty = self
            .nodes
            .iter()
            .map(|(name, node)| (node.order, name.clone()))
            .collect();
        self.unsettled = self.nodes.keys().cloned().collect();
    }

    /// Marks a resource and everybody whose next step may depend on it.
    fn touch_around(&mut self, name: &ResourceName) {
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
    pub fn module_changed(&mut self, name: &ModuleName, facts: Facts, offers: Option<HashSet<(Api, Model)>>) {
        let Some(module) = self.modules.get_mut(name) else {
            return;
        };
        let gone =
            matches!(facts, Facts::Down(_) | Facts::Starting) && matches!(module.facts, Facts::Ready | Facts::Draining);
        module.untried &= facts == Facts::Starting;
        module.facts = facts;
        if let Some(offers) = offers {
            module.offers = offers;
        }
        let (mut touched, mut released) = (Vec::new(), Vec::new());
        for (resource, node) in &mut self.nodes {
            let inside = node.module.as_ref() == Some(name);
            if inside && gone {
                // The process is gone, and everything in it; calls under way end by themselves and count for nothing.
                if node.stage == Stage::Built {
                    node.stage = Stage::Idle;
                    module.occupied -= 1;
                    released.append(&mut node.held);
                }
                node.tainted = false;
                node.wishes = None;
            }
            if node.stage == Stage::Idle {
                node.queued = false;
                // Only what may go better now is tried sooner: a module that comes and goes must not hurry the others.
                if (inside || node.module.is_none())
                    && let Some((_, at)) = node.failure.take()
                {
                    self.retries.remove(&(at, resource.clone()));
                }
                if inside && module.facts == Facts::Ready {
                    // What was said of it was said of the process before.
                    node.shown = None;
                }
            }
            if inside || node.stage == Stage::Idle {
                touched.push(resource.clone());
            }
        }
        module.queue.clear();
        self.release(released);
        for resource in touched {
            self.touch_around(&resource);
        }
    }

    /// A step of `name` begins; `held` is what it is built with.
    pub fn begin(&mut self, name: &ResourceName, stage: Stage, module: &ModuleName, held: Vec<Held>) {
        for (held, _) in &held {
            if let Some(node) = self.nodes.get_mut(held) {
                node.holders += 1;
            }
        }
        let Some(node) = self.nodes.get_mut(name) else { return };
        if let Some(module) = self.modules.get_mut(module) {
            module.in_flight += 1;
            module.adding += usize::from(stage == Stage::Adding);
            module.occupied += usize::from(node.stage == Stage::Idle);
        }
        self.moving += 1;
        self.validating += usize::from(stage == Stage::Validating);
        if stage == Stage::Adding {
            node.held = held;
        }
        node.module = Some(module.clone());
        node.stage = stage;
        self.touch_around(name);
        self.dirty.remove(&(self.nodes[name].order, name.clone()));
    }

    fn finish(&mut self, name: &ResourceName, stage: Stage) -> Option<&mut Node> {
        let node = self.nodes.get_mut(name)?;
        self.moving -= 1;
        self.validating -= usize::from(node.stage == Stage::Validating);
        let mut next = Vec::new();
        if let Some(module) = node.module.as_ref().and_then(|module| self.modules.get_mut(module)) {
            module.in_flight = module.in_flight.saturating_sub(1);
            module.adding -= usize::from(node.stage == Stage::Adding);
            module.occupied -= usize::from(stage == Stage::Idle);
            // One of them may find that it has no step to take, so there is one for each place that is free.
            let free = IN_FLIGHT_PER_MODULE
                .saturating_sub(module.in_flight)
                .min(module.queue.len());
            next.extend(module.queue.drain(..free));
        }
        node.stage = stage;
        self.touch_around(name);
        for next in next {
            if let Some(node) = self.nodes.get_mut(&next) {
                node.queued = false;
            }
            self.touch(&next);
        }
        self.nodes.get_mut(name)
    }

    /// These are not held any more by somebody who held them.
    fn release(&mut self, held: Vec<Held>) {
        for (held, _) in held {
            if let Some(node) = self.nodes.get_mut(&held) {
                node.holders -= 1;
            }
            self.touch(&held);
        }
    }

    /// ValidateConfig ended. `None` if the module's process ended meanwhile: then nothing is known.
    pub fn validated(&mut self, name: &ResourceName, outcome: Option<Result<Declared, String>>, now: Instant) {
        let Some(node) = self.finish(name, Stage::Idle) else {
            return;
        };
        match outcome {
            Some(Ok(mut declared)) => {
                let explicit = node
                    .config
                    .depends_on
                    .iter()
                    .filter(|text| !declared.required.contains(text));
                let explicit: Vec<_> = explicit.cloned().collect();
                declared.required.extend(explicit);
                node.failure = None;
                self.link(name, declared);
            }
            Some(Err(error)) => self.fail(name, error, now),
            None => node.wishes = None,
        }
    }

    /// AddResource ended. `alive` is false if the module's process ended meanwhile: then nothing was built.
    pub fn added(&mut self, name: &ResourceName, outcome: Result<(), String>, alive: bool, now: Instant) {
        let built = outcome.is_ok() && alive;
        let Some(node) = self.finish(name, if built { Stage::Built } else { Stage::Idle }) else {
            return;
        };
        if built {
            node.build += 1;
            node.failures = 0;
            node.failure = None;
            node.tainted = false;
        } else {
            node.wishes = None;
            node.tainted = alive;
            let held = std::mem::take(&mut node.held);
            self.release(held);
        }
        if let (Err(error), true) = (outcome, alive) {
            self.fail(name, error, now);
        }
        self.touch_around(name);
    }

    /// RemoveResource ended, one way or the other.
    pub fn removed(&mut self, name: &ResourceName, clean: bool) {
        let Some(node) = self.finish(name, Stage::Idle) else {
            return;
        };
        node.wishes = None;
        // One try is enough for what nobody wants.
        node.tainted = !clean && node.wanted;
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
    pub fn show(&mut self, name: &ResourceName, shown: &Shown) -> bool {
        let Some(node) = self.nodes.get_mut(name) else {
            return false;
        };
        if node.shown.as_ref() == Some(shown) {
            return false;
        }
        node.shown = Some(shown.clone());
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

    /// Forgets a resource that is not wanted.
    pub fn forget(&mut self, name: &ResourceName) {
        self.unlink(name);
        self.nodes.remove(name);
    }

    fn unlink(&mut self, name: &ResourceName) {
        let Some(old) = self.nodes.get_mut(name).and_then(|node| node.wishes.take()) else {
            return;
        };
        for edge in old.required.iter().chain(&old.optional) {
            if let Some(dependents) = self.dependents.get_mut(edge) {
                dependents.remove(name);
            }
        }
    }

    /// Finds the resources that `declared` names, and remembers who depends on whom.
    fn link(&mut self, name: &ResourceName, declared: Declared) {
        self.unlink(name);
        let mut wishes = Wishes::default();
        for text in declared.required {
            match self.index.resolve(&text) {
                Ok(dependency) => wishes.required.push(dependency),
                Err(problem) => wishes.missing.push((text, problem)),
            }
        }
        wishes.optional = declared
            .optional
            .iter()
            .filter_map(|text| self.index.resolve(text).ok())
            .collect();
        for edge in wishes.required.iter().chain(&wishes.optional) {
            self.dependents.entry(edge.clone()).or_default().insert(name.clone());
        }
        let Some(node) = self.nodes.get_mut(name) else { return };
        // A circle that it was part of may be open now; who else was in it is told when it is explored again.
        let opened = node.cycle.take();
        node.wishes = Some(wishes);
        self.unexplored = true;
        for member in opened.into_iter().flatten() {
            if let Some(node) = self.nodes.get_mut(&member) {
                node.cycle = None;
            }
            self.touch(&member);
        }
    }

    fn fail(&mut self, name: &ResourceName, error: String, now: Instant) {
        let Some(node) = self.nodes.get_mut(name) else { return };
        let pause = FIRST_RETRY
            .saturating_mul(2u32.saturating_pow(node.failures.min(16)))
            .min(LAST_RETRY);
        node.failures += 1;
        node.failure = Some((error.into(), now + pause));
        self.retries.insert((now + pause, name.clone()));
    }
}
