//! The wanted and the running set, as data: what is known of each resource and of each module, and what changes it when
//! something happens. What follows from it is decided in `plan`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mainstay_proto::{Api, Model, ResourceName};

use super::graph::Index;
use crate::config::ResourceConfig;
use crate::identity::ModuleName;
use crate::route::resource::Phase;

/// Pause before a failed resource is tried again, doubled each time.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest such pause.
const LAST_RETRY: Duration = Duration::from_secs(30);

/// What a module answered to ValidateConfig: the dependencies that it wants, as texts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Declared {
    /// Without these it cannot be built.
    pub required: Vec<String>,
    /// These it takes if they are there.
    pub optional: Vec<String>,
}

/// A dependency as it was handed over: which resource, and which build of it.
pub type Held = (ResourceName, u64);

/// How far one resource is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Not in any module.
    Idle,
    /// ValidateConfig is under way.
    Validating,
    /// AddResource is under way.
    Adding,
    /// In its module.
    Built,
    /// RemoveResource is under way.
    Removing,
}

/// What the world is shown of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Its state.
    pub phase: Phase,
    /// Why it is not READY.
    pub cause: Option<Arc<str>>,
    /// It may come back by itself, because what it lacks is a process rather than a better config.
    pub transient: bool,
}

impl Shown {
    pub(super) const READY: Self = Self {
        phase: Phase::Ready,
        cause: None,
        transient: false,
    };

    pub(super) fn waiting(cause: impl Into<Arc<str>>) -> Self {
        Self {
            phase: Phase::Configuring,
            cause: Some(cause.into()),
            transient: true,
        }
    }

    pub(super) fn broken(cause: impl Into<Arc<str>>) -> Self {
        Self {
            phase: Phase::Unhealthy,
            cause: Some(cause.into()),
            transient: false,
        }
    }

    pub(super) fn gone(cause: impl Into<Arc<str>>) -> Self {
        Self {
            phase: Phase::Unhealthy,
            cause: Some(cause.into()),
            transient: true,
        }
    }
}

/// One resource of the plan.
#[derive(Debug)]
pub struct Node {
    /// Its config entry.
    pub config: Arc<ResourceConfig>,
    /// Place in the config.
    pub order: usize,
    /// False once the config no longer has it.
    pub wanted: bool,
    /// How far it is.
    pub stage: Stage,
    /// The module that it is in, or goes to.
    pub module: Option<ModuleName>,
    /// What it was built with.
    pub held: Vec<Held>,
    /// Counts its builds, so that dependents see that what they hold was replaced.
    pub build: u64,
    /// An add failed or timed out: the module may hold something under this name.
    pub tainted: bool,
    /// What was shown last.
    pub shown: Option<Shown>,
    pub(super) declared: Option<Declared>,
    pub(super) edges: Vec<ResourceName>,
    pub(super) failure: Option<(Arc<str>, Instant)>,
    failures: u32,
}

/// What is known of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Facts {
    /// Its process runs and did not answer yet.
    Starting,
    /// It can be called.
    Ready,
    /// It runs but is to be restarted: its resources are being taken out.
    Draining,
    /// It cannot be called, and why.
    Down(Arc<str>),
}

/// What is known of a module, and what it has to do.
#[derive(Debug)]
pub(super) struct Module {
    pub(super) facts: Facts,
    /// True for the first start, which nobody should be judged by yet.
    pub(super) untried: bool,
    pub(super) offers: HashSet<(Api, Model)>,
    pub(super) in_flight: usize,
    adding: usize,
    occupied: usize,
    queue: VecDeque<ResourceName>,
}

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
                declared: None,
                edges: Vec::new(),
                failure: None,
                failures: 0,
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

    /// True while AddResource calls of this module are under way: some modules answer nothing else meanwhile.
    pub fn is_adding(&self, module: &ModuleName) -> bool {
        self.modules.get(module).is_some_and(|module| module.adding > 0)
    }

    /// True once every module had its first outcome and nothing is under way or about to be.
    pub fn is_settled(&self) -> bool {
        self.dirty.is_empty()
            && self
                .modules
                .values()
                .all(|module| !(module.untried && module.facts == Facts::Starting))
            && self
                .nodes
                .values()
                .all(|node| matches!(node.stage, Stage::Idle | Stage::Built))
    }

    /// When the next failed resource is due for another try.
    pub fn next_retry(&self) -> Option<Instant> {
        // Few nodes fail at a time; a heap would have to be kept right for the sake of a rare scan.
        self.nodes
            .values()
            .filter(|node| node.stage == Stage::Idle)
            .filter_map(|node| Some(node.failure.as_ref()?.1))
            .min()
    }

    /// Marks the resources whose retry is due.
    pub fn touch_due(&mut self, now: Instant) {
        let due = self
            .nodes
            .iter()
            .filter(|(_, node)| node.failure.as_ref().is_some_and(|(_, at)| *at <= now));
        let due: Vec<_> = due.map(|(name, _)| name.clone()).collect();
        for name in due {
            self.touch(&name);
        }
    }

    /// The next resource to be asked, in config order.
    pub fn next_dirty(&mut self) -> Option<ResourceName> {
        self.dirty.pop_first().map(|(_, name)| name)
    }

    fn touch(&mut self, name: &ResourceName) {
        if let Some(node) = self.nodes.get(name) {
            self.dirty.insert((node.order, name.clone()));
        }
    }

    fn touch_all(&mut self) {
        self.dirty = self
            .nodes
            .iter()
            .map(|(name, node)| (node.order, name.clone()))
            .collect();
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
        let mut touched = Vec::new();
        for (resource, node) in &mut self.nodes {
            let inside = node.module.as_ref() == Some(name);
            if inside && gone {
                // The process is gone, and everything in it; calls under way end by themselves and count for nothing.
                if node.stage == Stage::Built {
                    node.stage = Stage::Idle;
                    module.occupied -= 1;
                }
                node.held.clear();
                node.tainted = false;
                node.declared = None;
            }
            if inside || node.stage == Stage::Idle {
                node.failure = None;
                touched.push(resource.clone());
            }
        }
        module.queue.clear();
        for resource in touched {
            self.touch_around(&resource);
        }
    }

    /// A step of `name` begins.
    pub fn begin(&mut self, name: &ResourceName, stage: Stage, module: &ModuleName) {
        let Some(node) = self.nodes.get_mut(name) else { return };
        if let Some(module) = self.modules.get_mut(module) {
            module.in_flight += 1;
            module.adding += usize::from(stage == Stage::Adding);
            module.occupied += usize::from(node.stage == Stage::Idle);
        }
        node.module = Some(module.clone());
        node.stage = stage;
    }

    fn finish(&mut self, name: &ResourceName, stage: Stage) -> Option<&mut Node> {
        let node = self.nodes.get_mut(name)?;
        let next = if let Some(module) = node.module.as_ref().and_then(|module| self.modules.get_mut(module)) {
            module.in_flight = module.in_flight.saturating_sub(1);
            module.adding -= usize::from(node.stage == Stage::Adding);
            module.occupied -= usize::from(stage == Stage::Idle);
            module.queue.pop_front()
        } else {
            None
        };
        node.stage = stage;
        self.touch_around(name);
        if let Some(next) = next {
            self.touch(&next);
        }
        self.nodes.get_mut(name)
    }

    /// ValidateConfig ended.
    pub fn validated(&mut self, name: &ResourceName, outcome: Result<Declared, String>, now: Instant) {
        let Some(node) = self.finish(name, Stage::Idle) else {
            return;
        };
        match outcome {
            Ok(mut declared) => {
                let explicit = node
                    .config
                    .depends_on
                    .iter()
                    .filter(|text| !declared.required.contains(text));
                let explicit: Vec<_> = explicit.cloned().collect();
                declared.required.extend(explicit);
                node.declared = Some(declared);
                self.link(name);
            }
            Err(error) => fail(node, error, now),
        }
    }

    /// AddResource ended. `alive` is false if the module's process ended meanwhile: then nothing was built.
    pub fn added(
        &mut self,
        name: &ResourceName,
        held: Vec<Held>,
        outcome: Result<(), String>,
        alive: bool,
        now: Instant,
    ) {
        let built = outcome.is_ok() && alive;
        let Some(node) = self.finish(name, if built { Stage::Built } else { Stage::Idle }) else {
            return;
        };
        match outcome {
            Ok(()) if built => {
                node.held = held;
                node.build += 1;
                node.failures = 0;
                node.failure = None;
                node.tainted = false;
            }
            Err(error) if alive => {
                node.tainted = true;
                node.declared = None;
                fail(node, error, now);
            }
            _ => {}
        }
        self.touch_around(name);
    }

    /// RemoveResource ended, one way or the other.
    pub fn removed(&mut self, name: &ResourceName, clean: bool) {
        let held: Vec<_> = self
            .nodes
            .get(name)
            .into_iter()
            .flat_map(|node| node.held.clone())
            .collect();
        let Some(node) = self.finish(name, Stage::Idle) else {
            return;
        };
        node.held.clear();
        node.declared = None;
        node.tainted = !clean;
        for (dependency, _) in held {
            self.touch(&dependency);
        }
    }

    /// Queues a resource until its module has less to do.
    pub fn queue(&mut self, name: ResourceName, module: &ModuleName) {
        if let Some(module) = self.modules.get_mut(module)
            && !module.queue.contains(&name)
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
        if let Some(node) = self.nodes.remove(name) {
            for edge in node.edges {
                if let Some(dependents) = self.dependents.get_mut(&edge) {
                    dependents.remove(name);
                }
            }
        }
    }

    /// Draws the edges of a resource from what it declared.
    fn link(&mut self, name: &ResourceName) {
        let Some(node) = self.nodes.get_mut(name) else { return };
        let declared = node
            .declared
            .iter()
            .flat_map(|declared| declared.required.iter().chain(&declared.optional));
        let edges: Vec<_> = declared.filter_map(|text| self.index.resolve(text).ok()).collect();
        for old in std::mem::replace(&mut node.edges, edges.clone()) {
            if let Some(dependents) = self.dependents.get_mut(&old) {
                dependents.remove(name);
            }
        }
        for edge in edges {
            self.dependents.entry(edge).or_default().insert(name.clone());
        }
    }
}

fn fail(node: &mut Node, error: String, now: Instant) {
    let pause = FIRST_RETRY
        .saturating_mul(2u32.saturating_pow(node.failures.min(16)))
        .min(LAST_RETRY);
    node.failures += 1;
    node.failure = Some((error.into(), now + pause));
}
