//! What to do next about each resource: a function of the wanted config and of what runs. Does no IO, reads no clock.
//!
//! Nothing here knows a "start-up" or a "recovery": whatever happened, each resource is asked what separates it from
//! what is wanted, and the answer is its next step. Start-up is the case where nothing runs yet, shutdown the one where
//! nothing is wanted, and a crash the one where some of what was built is gone.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mainstay_proto::{Api, Model, ResourceName};

use super::graph::{Index, Unresolved, cycle};
use super::view::Phase;
use crate::config::ResourceConfig;
use crate::module::ModuleName;

/// Calls of the core that one module has in work at a time: many modules serve 100 streams and no more, and most
/// build one resource after the other anyway.
const IN_FLIGHT_PER_MODULE: usize = 32;
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
    const READY: Self = Self { phase: Phase::Ready, cause: None, transient: false };

    fn waiting(cause: impl Into<Arc<str>>) -> Self {
        Self { phase: Phase::Configuring, cause: Some(cause.into()), transient: true }
    }

    fn broken(cause: impl Into<Arc<str>>) -> Self {
        Self { phase: Phase::Unhealthy, cause: Some(cause.into()), transient: false }
    }

    fn gone(cause: impl Into<Arc<str>>) -> Self {
        Self { phase: Phase::Unhealthy, cause: Some(cause.into()), transient: true }
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
    declared: Option<Declared>,
    edges: Vec<ResourceName>,
    failure: Option<(Arc<str>, Instant)>,
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

#[derive(Debug)]
struct Module {
    facts: Facts,
    /// True for the first start, which nobody should be judged by yet.
    untried: bool,
    offers: HashSet<(Api, Model)>,
    in_flight: usize,
    adding: usize,
    occupied: usize,
    queue: VecDeque<ResourceName>,
}

/// The next step for one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A step is under way; its end is news.
    Wait,
    /// Show this; nothing to do until something changes.
    Show(Shown),
    /// Ask its module whether the config is good.
    Validate(ModuleName),
    /// Build it with these.
    Add(ModuleName, Vec<Held>),
    /// Take it out.
    Remove(ModuleName),
    /// Its module has enough to do; it is queued there.
    Queue(ModuleName),
    /// Not wanted and not there: forget it.
    Forget,
}

/// The wanted and the running set.
#[derive(Debug, Default)]
pub struct World {
    nodes: HashMap<ResourceName, Node>,
    modules: BTreeMap<ModuleName, Module>,
    module_order: Vec<ModuleName>,
    builtin: HashMap<(Api, Model), ModuleName>,
    builtin_problem: Option<String>,
    index: Index,
    dependents: HashMap<ResourceName, BTreeSet<ResourceName>>,
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
        self.modules.iter().filter(|(_, module)| empty(module)).map(|(name, _)| name.clone()).collect()
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
            && self.modules.values().all(|module| !(module.untried && module.facts == Facts::Starting))
            && self.nodes.values().all(|node| matches!(node.stage, Stage::Idle | Stage::Built))
    }

    /// When the next failed resource is due for another try.
    pub fn next_retry(&self) -> Option<Instant> {
        // Few nodes fail at a time; a heap would have to be kept right for the sake of a rare scan.
        self.nodes.values().filter(|node| node.stage == Stage::Idle).filter_map(|node| Some(node.failure.as_ref()?.1)).min()
    }

    /// Marks the resources whose retry is due.
    pub fn touch_due(&mut self, now: Instant) {
        let due = self.nodes.iter().filter(|(_, node)| node.failure.as_ref().is_some_and(|(_, at)| *at <= now));
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
        self.dirty = self.nodes.iter().map(|(name, node)| (node.order, name.clone())).collect();
    }

    /// Marks a resource and everybody whose next step may depend on it.
    fn touch_around(&mut self, name: &ResourceName) {
        let mut around: Vec<_> = self.dependents.get(name).into_iter().flatten().cloned().collect();
        around.extend(self.nodes.get(name).into_iter().flat_map(|node| node.held.iter().map(|(held, _)| held.clone())));
        around.push(name.clone());
        for name in around {
            self.touch(&name);
        }
    }

    // --- what happened ---

    /// A module's state changed. `offers` comes with Ready.
    pub fn module_changed(&mut self, name: &ModuleName, facts: Facts, offers: Option<HashSet<(Api, Model)>>) {
        let Some(module) = self.modules.get_mut(name) else { return };
        let gone = matches!(facts, Facts::Down(_) | Facts::Starting) && matches!(module.facts, Facts::Ready | Facts::Draining);
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
        let Some(node) = self.finish(name, Stage::Idle) else { return };
        match outcome {
            Ok(mut declared) => {
                let explicit = node.config.depends_on.iter().filter(|text| !declared.required.contains(text));
                let explicit: Vec<_> = explicit.cloned().collect();
                declared.required.extend(explicit);
                node.declared = Some(declared);
                self.link(name);
            }
            Err(error) => fail(node, error, now),
        }
    }

    /// AddResource ended. `alive` is false if the module's process ended meanwhile: then nothing was built.
    pub fn added(&mut self, name: &ResourceName, held: Vec<Held>, outcome: Result<(), String>, alive: bool, now: Instant) {
        let built = outcome.is_ok() && alive;
        let Some(node) = self.finish(name, if built { Stage::Built } else { Stage::Idle }) else { return };
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
        let held: Vec<_> = self.nodes.get(name).into_iter().flat_map(|node| node.held.clone()).collect();
        let Some(node) = self.finish(name, Stage::Idle) else { return };
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
        let Some(node) = self.nodes.get_mut(name) else { return false };
        if node.shown.as_ref() == Some(shown) {
            return false;
        }
        node.shown = Some(shown.clone());
        for dependent in self.dependents.get(name).into_iter().flatten().cloned().collect::<Vec<_>>() {
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
        let declared = node.declared.iter().flat_map(|declared| declared.required.iter().chain(&declared.optional));
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

    // --- what follows ---

    /// The next step for `name`.
    pub fn next(&self, name: &ResourceName, now: Instant) -> Step {
        let Some(node) = self.nodes.get(name) else { return Step::Wait };
        match (node.stage, &node.module) {
            (Stage::Validating | Stage::Adding | Stage::Removing, _) => Step::Wait,
            (Stage::Built, Some(module)) => self.next_of_built(name, node, module),
            (Stage::Built | Stage::Idle, _) => self.next_of_idle(name, node, now),
        }
    }

    fn next_of_built(&self, name: &ResourceName, node: &Node, module: &ModuleName) -> Step {
        if self.must_go(name) {
            return if self.is_held(name) {
                Step::Show(Shown::waiting("being replaced, after the resources that use it"))
            } else {
                self.unless_busy(module, Step::Remove(module.clone()))
            };
        }
        let lost = node.held.iter().find(|(held, _)| self.nodes.get(held).is_none_or(|held| held.stage != Stage::Built));
        match lost {
            Some((held, _)) => Step::Show(Shown::waiting(self.why_not(held))),
            None => Step::Show(Shown::READY),
        }
    }

    fn next_of_idle(&self, name: &ResourceName, node: &Node, now: Instant) -> Step {
        if !node.wanted {
            return Step::Forget;
        }
        if let Some(fault) = &node.config.fault {
            return Step::Show(Shown::broken(fault.as_str()));
        }
        let module = match self.module_of(&node.config) {
            Ok(module) => module,
            Err(shown) => return Step::Show(shown),
        };
        match self.facts(module) {
            Some(Facts::Ready) => {}
            Some(Facts::Down(cause)) => return Step::Show(Shown::gone(cause.clone())),
            _ => return Step::Show(Shown::waiting(format!("module {module} is starting"))),
        }
        if let Some((error, retry)) = &node.failure
            && *retry > now
        {
            return Step::Show(Shown::broken(error.clone()));
        }
        let Some(declared) = &node.declared else { return self.unless_busy(module, Step::Validate(module.clone())) };
        let mut held = Vec::new();
        let mut missing = Vec::new();
        for text in &declared.required {
            match self.index.resolve(text) {
                Ok(dependency) => held.push(dependency),
                Err(problem) => missing.push((text, problem)),
            }
        }
        if !missing.is_empty() {
            return Step::Show(Shown::broken(unresolved(&missing)));
        }
        if let Some(path) = cycle(name, |name| self.nodes.get(name).map_or(&[], |node| self.required_edges(node))) {
            let path: Vec<_> = path.iter().map(|name| name.name.to_string()).collect();
            return Step::Show(Shown::broken(format!(
                "resource build error: dependency cycle: {}; one of them must not depend on the next",
                path.join(" → ")
            )));
        }
        if let Some(dependency) = held.iter().find(|dependency| !self.usable(dependency)) {
            return Step::Show(self.blocked_by(dependency));
        }
        if self.is_held(name) {
            return Step::Show(Shown::waiting("waiting until its dependents have let go of the old one"));
        }
        let optional = self.optional_of(name, node);
        let coming = |(dependency, _): &&Held| !self.usable(dependency);
        if optional.iter().find(coming).is_some() {
            return Step::Show(Shown::waiting("an optional dependency is being built"));
        }
        let mut held: Vec<Held> = held.into_iter().map(|name| self.with_build(name)).collect();
        held.extend(optional);
        held.sort();
        held.dedup();
        self.unless_busy(module, Step::Add(module.clone(), held))
    }

    fn unless_busy(&self, module: &ModuleName, step: Step) -> Step {
        match self.modules.get(module) {
            Some(facts) if facts.in_flight >= IN_FLIGHT_PER_MODULE => Step::Queue(module.clone()),
            _ => step,
        }
    }

    /// True if a built resource has to be taken out: not wanted, its module is to be restarted, or what it holds was
    /// replaced or can be built anew. What it holds being merely gone is no reason: it keeps answering, Stop above all.
    fn must_go(&self, name: &ResourceName) -> bool {
        let Some(node) = self.nodes.get(name) else { return true };
        if node.stage != Stage::Built {
            return false;
        }
        let restarting = node.module.as_ref().and_then(|module| self.facts(module)) == Some(&Facts::Draining);
        let stale = |(held, build): &Held| match self.nodes.get(held) {
            None => true,
            Some(held_node) => match held_node.stage {
                Stage::Built => held_node.build != *build || self.must_go(held),
                Stage::Idle => self.module_of(&held_node.config).is_ok_and(|module| self.facts(module) == Some(&Facts::Ready)),
                Stage::Validating | Stage::Adding | Stage::Removing => true,
            },
        };
        !node.wanted || restarting || node.held.iter().any(stale) || self.optional_changed(name, node)
    }

    /// True if an optional dependency has come that the resource was built without.
    fn optional_changed(&self, name: &ResourceName, node: &Node) -> bool {
        let has_optional = node.declared.as_ref().is_some_and(|declared| !declared.optional.is_empty());
        has_optional
            && self.optional_of(name, node).iter().any(|optional| !node.held.contains(optional) && self.usable(&optional.0))
    }

    /// The optional dependencies of `name` that are there or being built, less those that would close a circle.
    fn optional_of(&self, name: &ResourceName, node: &Node) -> Vec<Held> {
        let Some(declared) = &node.declared else { return Vec::new() };
        let present = |dependency: &ResourceName| {
            self.nodes.get(dependency).is_some_and(|node| match node.stage {
                Stage::Validating | Stage::Adding | Stage::Built => node.wanted,
                // Nothing is known against it yet: it is about to be built.
                Stage::Idle => node.wanted && node.shown.is_none() && node.config.fault.is_none(),
                Stage::Removing => false,
            })
        };
        declared
            .optional
            .iter()
            .filter_map(|text| self.index.resolve(text).ok())
            .filter(|dependency| dependency != name && present(dependency) && !self.leads_back(dependency, name, node.order))
            .map(|dependency| self.with_build(dependency))
            .collect()
    }

    /// True if holding `dependency` could close a circle through `name`. Of two resources that would like to hold each
    /// other, the later one in the config may: an optional edge towards an earlier entry counts as drawn.
    fn leads_back(&self, dependency: &ResourceName, name: &ResourceName, order: usize) -> bool {
        let forward = self.nodes.get(dependency).is_some_and(|node| node.order > order);
        let mut seen = HashSet::from([dependency]);
        let mut open = vec![dependency];
        while let Some(current) = open.pop() {
            if current == name {
                return true;
            }
            let Some(node) = self.nodes.get(current) else { continue };
            let required = self.required_edges(node).len();
            for (place, edge) in node.edges.iter().enumerate() {
                let drawn = place < required || forward || self.nodes.get(edge).is_some_and(|edge| edge.order < node.order);
                if drawn && seen.insert(edge) {
                    open.push(edge);
                }
            }
        }
        false
    }

    /// The edges of the required dependencies: `link` puts them first.
    fn required_edges<'a>(&self, node: &'a Node) -> &'a [ResourceName] {
        let required = node.declared.iter().flat_map(|declared| &declared.required);
        let count = required.filter(|text| self.index.resolve(text).is_ok()).count();
        &node.edges[..count.min(node.edges.len())]
    }

    fn with_build(&self, name: ResourceName) -> Held {
        let build = self.nodes.get(&name).map_or(0, |node| node.build);
        (name, build)
    }

    /// True if a new resource may be built on this one.
    fn usable(&self, name: &ResourceName) -> bool {
        let Some(node) = self.nodes.get(name) else { return false };
        let whole = node.held.iter().all(|(held, _)| self.nodes.get(held).is_some_and(|held| held.stage == Stage::Built));
        node.stage == Stage::Built && whole && !self.must_go(name)
    }

    /// True if somebody that is in a module was built with `name`.
    fn is_held(&self, name: &ResourceName) -> bool {
        let holds = |dependent: &&ResourceName| {
            self.nodes.get(*dependent).is_some_and(|node| {
                matches!(node.stage, Stage::Built | Stage::Adding | Stage::Removing) && node.held.iter().any(|(held, _)| held == name)
            })
        };
        self.dependents.get(name).into_iter().flatten().any(|dependent| holds(&dependent))
    }

    fn blocked_by(&self, dependency: &ResourceName) -> Shown {
        match self.nodes.get(dependency).and_then(|node| node.shown.as_ref()) {
            Some(shown) if shown.phase == Phase::Unhealthy => {
                let reason = shown.cause.as_deref().unwrap_or("unknown");
                let cause = format!(
                    "resource build error: dependency {dependency} is not ready yet; reason=resource {dependency} not available; reason={reason}"
                );
                Shown { phase: Phase::Unhealthy, cause: Some(cause.into()), transient: shown.transient }
            }
            _ => Shown::waiting(format!("waiting for {} ({})", dependency.name, short(&dependency.api))),
        }
    }

    fn why_not(&self, dependency: &ResourceName) -> String {
        let cause = self.nodes.get(dependency).and_then(|node| node.shown.as_ref()?.cause.clone());
        let what = format!("waiting for {} ({})", dependency.name, short(&dependency.api));
        match cause {
            Some(cause) => format!("{what}: {cause}"),
            None => what,
        }
    }

    /// The module that builds this resource: a built-in one, else the first in the config that offers the model.
    fn module_of(&self, config: &ResourceConfig) -> Result<&ModuleName, Shown> {
        let key = (config.name.api.clone(), config.model.clone());
        if let Some(builtin) = self.builtin.get(&key) {
            return Ok(builtin);
        }
        let configured = || self.module_order.iter().filter_map(|name| Some((name, self.modules.get(name)?)));
        if let Some((name, _)) = configured().find(|(_, module)| module.offers.contains(&key)) {
            return Ok(name);
        }
        let names = |wanted: fn(&Module) -> bool| -> Vec<String> {
            configured().filter(|(name, module)| !name.is_builtin() && wanted(module)).map(|(name, _)| name.to_string()).collect()
        };
        let starting = names(|module| module.offers.is_empty() && module.facts == Facts::Starting && module.untried);
        if !starting.is_empty() {
            return Err(Shown::waiting(format!("no module offers it so far; still starting: {}", starting.join(", "))));
        }
        let failing = names(|module| module.offers.is_empty());
        let (api, model) = &key;
        let mut text = format!("resource build error: unknown resource type: API {api} with model {model} not registered; ");
        if !failing.is_empty() {
            text.push_str(&format!("May be in failing module: [{}]; ", failing.join(" ")));
        }
        text.push_str("There may be no module in config that provides this model");
        let mut offered: Vec<_> =
            configured().flat_map(|(_, module)| &module.offers).filter(|(offered, _)| offered == api).map(|(_, model)| model.to_string()).collect();
        offered.extend(self.builtin.keys().filter(|(offered, _)| offered == api).map(|(_, model)| model.to_string()));
        offered.sort();
        offered.dedup();
        if let (true, Some(problem)) = (model.is_builtin(), &self.builtin_problem) {
            text.push_str(&format!("; {problem}"));
        }
        if !offered.is_empty() {
            text.push_str(&format!("; for this API there is {}", offered.join(", ")));
        }
        Err(if failing.is_empty() { Shown::broken(text) } else { Shown::gone(text) })
    }
}

fn fail(node: &mut Node, error: String, now: Instant) {
    let pause = FIRST_RETRY.saturating_mul(2u32.saturating_pow(node.failures.min(16))).min(LAST_RETRY);
    node.failures += 1;
    node.failure = Some((error.into(), now + pause));
}

fn unresolved(missing: &[(&String, Unresolved)]) -> String {
    let names: Vec<_> = missing.iter().map(|(text, _)| text.as_str()).collect();
    let mut error = format!(
        "resource build error: resource has unresolved dependencies not found in machine config or connected remotes: [{}]",
        names.join(" ")
    );
    for (text, problem) in missing {
        if let Unresolved::Ambiguous(several) = problem {
            let several: Vec<_> = several.iter().map(ToString::to_string).collect();
            error.push_str(&format!("; `{text}` could mean {}: give the full name", several.join(" or ")));
        }
    }
    error
}

/// `component:motor` for `rdk:component:motor`; other namespaces stay.
fn short(api: &Api) -> String {
    let text = api.to_string();
    text.strip_prefix("rdk:").map_or(text.clone(), str::to_owned)
}
