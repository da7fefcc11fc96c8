//! A machine without processes: every step is carried out at once or in any order. What plans and worlds are tested
//! with.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use mainstay_config::{ConfigFiles, LoadContext, parse};
use mainstay_ids::ResourceName;
use mainstay_model::dependencies::Declared;
use mainstay_model::plan::{Change, ChangeKind, Part, Plan};
use mainstay_model::shown::ShownState;
use mainstay_model::{Config, ModuleName, Phase};

use super::adopt::DesiredModules;
use super::change::{self, Known};
use super::node::{BuildStage, Held, ModuleCondition};
use super::plan::Step;
use super::world::World;
use crate::graph::is_frame_system;

/// Resources from lines such as `a@m: b c ?d`: name, module, required and optional dependencies. `a@m*2` is the same
/// resource with another attribute, `a@m~2` with another frame, `a@m!` one whose module is not in the config; a line
/// `@m` is a module without resources, and `@m*2` the same with another variable.
pub(super) struct Simulator {
    pub(super) world: World,
    pub(super) config: Config,
    declared: HashMap<ResourceName, Declared>,
    /// Resources in each module, with the order of events.
    pub(super) inside: BTreeMap<ModuleName, Vec<String>>,
    pub(super) now: Instant,
    log: Vec<String>,
    /// Resources that had to leave their modules at once when a config was taken up last.
    pub(super) leaving: BTreeSet<ResourceName>,
    /// Steps begun and not ended.
    pub(super) open: Vec<(ResourceName, Step)>,
}

pub(super) fn name(text: &str) -> ResourceName {
    format!("rdk:component:generic/{text}").parse().expect("a name")
}

/// The config of these lines, and what its modules declare.
pub(super) fn config(lines: &[&str]) -> (Config, HashMap<ResourceName, Declared>) {
    let mut components = Vec::new();
    let mut declared = HashMap::new();
    let mut modules: BTreeMap<&str, &str> = BTreeMap::new();
    for line in lines {
        let (head, dependencies) = line.split_once(':').unwrap_or((line, ""));
        let (resource, module) = head.split_once('@').expect("name@module");
        let (module, frame) = module.split_once('~').unwrap_or((module, "1"));
        let (module, version) = module.split_once('*').unwrap_or((module, "1"));
        if resource.is_empty() {
            modules.insert(module, version);
            continue;
        }
        let module = match module.strip_suffix('!') {
            Some(absent) => absent,
            None => {
                modules.entry(module).or_insert("1");
                module
            }
        };
        components.push(format!(
            r#"{{"name":"{resource}","api":"rdk:component:generic","model":"acme:{module}:x","attributes":{{"v":{version},"needs":"{dependencies}"}},"frame":{{"parent":"world","translation":{{"x":{frame}}}}}}}"#
        ));
        let (optional, required): (Vec<_>, Vec<_>) =
            dependencies.split_whitespace().partition(|text| text.starts_with('?'));
        let texts = |list: Vec<&str>| {
            list.iter()
                .map(|text| text.trim_start_matches('?').to_owned())
                .collect()
        };
        declared.insert(
            name(resource),
            Declared {
                required: texts(required),
                optional: texts(optional),
                ..Declared::default()
            },
        );
    }
    let modules: Vec<_> = modules
        .iter()
        .map(|(module, version)| format!(r#"{{"name":"{module}","executable_path":"/x","env":{{"V":"{version}"}}}}"#))
        .collect();
    let text = format!(
        r#"{{"modules":[{}],"components":[{}]}}"#,
        modules.join(","),
        components.join(",")
    );
    let loaded = parse(&ConfigFiles::single("toy.json", text), &LoadContext::default()).expect("a good config");
    (loaded.config, declared)
}

/// `rebuild a, build b …`, with `?` behind what is known after the start.
pub(super) fn show(plan: &Plan) -> String {
    let show = |change: &Change| {
        let part = match &change.part {
            Part::Resource(name) => name.name.clone(),
            part => part.to_string(),
        };
        let open = if change.known_after_start { "?" } else { "" };
        format!("{} {part}{open}", change.how)
    };
    plan.changes.iter().map(show).collect::<Vec<_>>().join(", ")
}

/// A machine that runs what the lines say.
pub(super) fn running(lines: &[&str]) -> Simulator {
    let mut simulator = Simulator::new(lines);
    for module in simulator.inside.keys().cloned().collect::<Vec<_>>() {
        simulator.ready(module.as_str());
    }
    simulator.settle();
    simulator
}

/// Contents of the modules, sorted, with the dependencies of each, and the resources that are in none, with their
/// state.
pub(super) fn running_set(simulator: &Simulator) -> BTreeMap<String, (Option<ModuleName>, Vec<String>)> {
    let set = simulator.world.nodes().map(|node| {
        let held = node.held.iter().map(|(name, _)| name.name.clone()).collect();
        let built = node.stage == BuildStage::Built;
        (
            node.config.name.name.clone(),
            (node.module.clone().filter(|_| built), held),
        )
    });
    set.collect()
}

impl Simulator {
    pub(super) fn new(lines: &[&str]) -> Self {
        let mut simulator = Self {
            world: World::default(),
            config: Config::default(),
            declared: HashMap::new(),
            inside: BTreeMap::new(),
            now: Instant::now(),
            log: Vec::new(),
            leaving: BTreeSet::new(),
            open: Vec::new(),
        };
        simulator.take_up(lines);
        simulator
    }

    /// Wants what these lines say from now on. Modules that are to end are being emptied then.
    pub fn take_up(&mut self, lines: &[&str]) -> Plan {
        let (config, declared) = config(lines);
        let known = Known {
            answers: declared
                .iter()
                .map(|(name, declared)| (name.clone(), Ok(declared.clone())))
                .collect(),
            ..self.world.known()
        };
        let plan = change::plan(&self.config, &config, &known);
        (self.config, self.declared) = (config, declared);
        for change in &plan.changes {
            let Part::Module(module) = &change.part else { continue };
            match change.how {
                ChangeKind::Start => {
                    self.world.add_module(module.clone());
                    self.inside.insert(module.clone(), Vec::new());
                }
                ChangeKind::Stop => self.world.retire(module),
                _ => {}
            }
            if change.how != ChangeKind::Start && self.world.condition(module) == Some(&ModuleCondition::Ready) {
                self.world.module_changed(module, ModuleCondition::Draining, None);
            }
        }
        let modules = self
            .config
            .modules
            .iter()
            .map(|module| ModuleName::from(module.name.as_str()));
        let desired = DesiredModules {
            modules: modules.collect(),
            ..DesiredModules::default()
        };
        self.world.take_up(&self.config, &plan.in_place(), desired);
        let leaving = self.world.nodes().filter(|node| node.must_remove);
        self.leaving = leaving.map(|node| node.config.name.clone()).collect();
        plan
    }

    /// Takes up what these lines say, and does all that follows from it.
    pub(super) fn apply(&mut self, lines: &[&str]) -> (Plan, String) {
        let plan = self.take_up(lines);
        let mut log = vec![self.settle()];
        for change in &plan.changes {
            let Part::Module(module) = &change.part else { continue };
            if change.how != ChangeKind::Start {
                self.down(module.as_str());
            }
            if change.how == ChangeKind::Stop {
                self.world.remove_module(module);
                self.inside.remove(module);
            } else {
                self.world.add_module(module.clone());
                self.ready(module.as_str());
            }
        }
        log.push(self.settle());
        (plan, log.join(" ").trim().to_owned())
    }

    /// Goes on until `resource` is added, and lets that fail.
    pub(super) fn fail_next(&mut self, resource: &str, why: &str) {
        let resource = name(resource);
        for _ in 0..100 {
            self.decide();
            let (open, step) = self.open.first().cloned().expect("a step");
            if open == resource && matches!(step, Step::Add(..)) {
                self.open.remove(0);
                self.world.added(&resource, Err(why.into()), true, self.now);
                self.settle();
                return;
            }
            self.end(0);
        }
        panic!("{resource} is not added");
    }

    /// Wants nothing any more.
    pub(super) fn want_nothing(&mut self) {
        let nothing = Config::default();
        self.world.take_up(&nothing, &HashSet::new(), DesiredModules::default());
    }

    pub(super) fn ready(&mut self, module: &str) {
        let module: ModuleName = module.into();
        let model = format!("acme:{module}:x").parse().expect("a model");
        let offers = HashSet::from([(name("x").api, model)]);
        self.world.module_changed(&module, ModuleCondition::Ready, Some(offers));
    }

    pub(super) fn down(&mut self, module: &str) {
        let module: ModuleName = module.into();
        self.inside.entry(module.clone()).or_default().clear();
        self.world
            .module_changed(&module, ModuleCondition::Down(format!("{module} died").into()), None);
    }

    /// Decides everything that can be decided; steps that take time stay open.
    pub(super) fn decide(&mut self) {
        let mut decided = 0;
        while let Some(resource) = self.world.next_dirty() {
            decided += 1;
            assert!(
                decided < 5_000,
                "{resource} is decided about without end: {:?}",
                self.shown(&resource.name)
            );
            let step = self.world.next(&resource, self.now);
            match &step {
                Step::Wait => {}
                Step::Show(shown) => {
                    self.world.show(&resource, shown);
                }
                Step::Forget => self.world.forget(&resource),
                Step::Queue(module) => self.world.queue(resource.clone(), module),
                Step::Validate(module) => {
                    self.begin(&resource, BuildStage::Validating, module, Vec::new(), step.clone())
                }
                Step::Add(module, held) => {
                    self.begin(&resource, BuildStage::Adding, module, held.clone(), step.clone())
                }
                Step::Remove(module) => self.begin(&resource, BuildStage::Removing, module, Vec::new(), step.clone()),
            }
        }
    }

    fn begin(&mut self, resource: &ResourceName, stage: BuildStage, module: &ModuleName, held: Vec<Held>, step: Step) {
        assert!(
            self.open.iter().all(|(open, _)| open != resource),
            "{resource} has two steps at once"
        );
        self.world.begin(resource, stage, module, held);
        self.open.push((resource.clone(), step));
    }

    /// Ends the open step number `which`.
    pub(super) fn end(&mut self, which: usize) {
        let (resource, step) = self.open.remove(which);
        let alive = |world: &World, module: &ModuleName| {
            matches!(
                world.condition(module),
                Some(ModuleCondition::Ready | ModuleCondition::Draining)
            )
        };
        match step {
            Step::Validate(module) => {
                let known = alive(&self.world, &module).then(|| Ok(self.declared[&resource].clone()));
                self.world.validated(&resource, known, self.now);
            }
            Step::Add(module, held) => {
                let alive = alive(&self.world, &module);
                if alive {
                    self.check_add(&resource, &held);
                    self.inside.entry(module).or_default().push(resource.name.clone());
                    self.log.push(format!("+{}", resource.name));
                }
                self.world.added(&resource, Ok(()), alive, self.now);
            }
            Step::Remove(module) => {
                if alive(&self.world, &module) {
                    self.log.push(format!("-{}", resource.name));
                    self.inside
                        .entry(module)
                        .or_default()
                        .retain(|inside| *inside != resource.name);
                }
                self.world.removed(&resource, true);
            }
            step => panic!("{step:?} takes no time"),
        }
    }

    /// Checks that what is handed to a new resource is there, and that its name is free.
    fn check_add(&self, resource: &ResourceName, held: &[Held]) {
        let there = |wanted: &str| self.inside.values().flatten().any(|inside| inside == wanted);
        assert!(!there(&resource.name), "{resource} is added twice");
        let required = self.declared[resource].required.iter();
        for required in required.filter(|required| !is_frame_system(required)) {
            let is = |held: &ResourceName| held.name == *required || held.name.ends_with(&format!(":{required}"));
            assert!(
                held.iter().any(|(held, _)| is(held)),
                "{resource} is built without {required}"
            );
        }
    }

    /// Random event, and what follows from it: one of three modules `m0`, `m1`, `m2` comes (0), goes (1) or is to be
    /// restarted (2), or one step ends (else).
    pub(super) fn happen(&mut self, what: usize, which: usize) {
        let module = format!("m{}", which % 3);
        let ready = || self.world.condition(&module.as_str().into()) == Some(&ModuleCondition::Ready);
        match what {
            0 => self.ready(&module),
            1 => self.down(&module),
            2 if ready() => {
                self.world
                    .module_changed(&module.as_str().into(), ModuleCondition::Draining, None);
            }
            _ if !self.open.is_empty() => self.end(which % self.open.len()),
            _ => {}
        }
        self.decide();
        for drained in self.world.drained() {
            self.down(drained.as_str());
        }
    }

    /// Brings all three modules up, retries failures, and lets everything end.
    pub(super) fn calm_down(&mut self) {
        for module in ["m0", "m1", "m2"] {
            self.ready(module);
        }
        self.now += Duration::from_secs(60);
        self.world.touch_due(self.now);
        self.settle();
    }

    /// Ends every step, first begun first ended, until nothing is left to do.
    pub(super) fn settle(&mut self) -> String {
        for _ in 0..20_000 {
            self.decide();
            if self.open.is_empty() {
                return std::mem::take(&mut self.log).join(" ");
            }
            self.end(0);
        }
        panic!(
            "does not come to rest; last: {:?}",
            &self.log[self.log.len().saturating_sub(20)..]
        );
    }

    pub(super) fn shown(&self, resource: &str) -> (Phase, String) {
        let shown = self.world.node(&name(resource)).and_then(|node| node.shown.clone());
        let ShownState { phase, cause, .. } = shown.expect("shown");
        (phase, cause.as_deref().unwrap_or_default().to_owned())
    }

    /// Cause, in the words that peers know, if `resource` is not READY.
    pub(super) fn wire(&self, resource: &str) -> String {
        let shown = self.world.node(&name(resource)).and_then(|node| node.shown.clone());
        shown.expect("shown").wire_cause().unwrap_or_default().to_owned()
    }
}
