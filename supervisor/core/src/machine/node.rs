//! State of one resource and of one module: the data that `world` changes and `plan` decides by.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use mainstay_ids::{Api, Model, ResourceName};
use mainstay_model::dependencies::Declared;
use mainstay_model::shown::ShownState;
use mainstay_model::{ModuleName, ResourceConfig};

use crate::graph::Unresolved;

/// Calls of the core that one module has in work at a time: many modules serve 100 streams and no more, and most
/// build one resource after the other anyway.
pub(super) const IN_FLIGHT_PER_MODULE: usize = 32;

/// A dependency as it was handed over: which resource, and which build of it.
pub type Held = (ResourceName, u64);

/// Stage of a resource's build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildStage {
    /// The resource is in no module.
    Idle,
    /// ValidateConfig is under way.
    Validating,
    /// AddResource is under way.
    Adding,
    /// The resource is in its module.
    Built,
    /// RemoveResource is under way.
    Removing,
}

/// Resource of the machine: its entry, its stage and its dependencies.
#[derive(Debug)]
pub struct ResourceNode {
    /// Config entry.
    pub config: Arc<ResourceConfig>,
    /// Place in the config.
    pub order: usize,
    /// False once the config no longer has it.
    pub wanted: bool,
    /// Stage of its build.
    pub stage: BuildStage,
    /// The module that it is in, or goes to.
    pub module: Option<ModuleName>,
    /// Dependencies that it was built with.
    pub held: Vec<Held>,
    /// Counts its builds, so that dependents see that what they hold was replaced.
    pub build: u64,
    /// An add failed or timed out: the module may hold something under this name.
    pub tainted: bool,
    /// State that was published last.
    pub shown: Option<ShownState>,
    /// Set while it is in its module but has to be taken out: what it holds was replaced or can be built anew, or it is
    /// not wanted. Kept by `World::propagate`, so that asking costs nothing.
    pub(super) must_remove: bool,
    /// Set while its entry is another one than that by which it is, or is being, built or asked about.
    pub(super) changed: bool,
    /// Set while it is taken out and built again and those who hold it keep it: they reach it by its name, and nothing
    /// that they are built with changes. Over when it is back, or as soon as it is certain that this takes longer.
    pub(super) in_place: bool,
    /// Dependencies, as its module declared them last for this entry; written by `World::set_dependencies` alone.
    pub(super) dependencies: Option<Dependencies>,
    /// Set while it is in the queue of its module.
    pub(super) queued: bool,
    /// Other names of a resource that another machine has; `None` for one of this machine.
    pub(super) imported: Option<Arc<[String]>>,
}

/// The dependencies that a module declared for one resource, found by name.
#[derive(Debug, Default)]
pub(super) struct Dependencies {
    /// Declared texts, those of its entry included.
    pub(super) declared: Arc<Declared>,
    /// Without these it cannot be built.
    pub(super) required: Vec<ResourceName>,
    /// Dependencies that the resource takes if they are there.
    pub(super) optional: Vec<ResourceName>,
    /// Required texts that name nothing, or nothing for certain.
    pub(super) missing: Vec<(String, Unresolved)>,
    /// Set while they are an answer to the question that precedes a build: the resource was not taken out since, did not
    /// fail, and its module's process is the same.
    pub(super) validated: bool,
}

impl ResourceNode {
    /// Warnings that its module gave about its entry.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        self.dependencies.as_ref().map_or(&[], |known| &known.declared.warnings)
    }

    /// Node of a resource that nothing was done about yet.
    pub(super) fn new(config: Arc<ResourceConfig>, order: usize) -> Self {
        Self {
            config,
            order,
            wanted: true,
            stage: BuildStage::Idle,
            module: None,
            held: Vec::new(),
            build: 0,
            tainted: false,
            shown: None,
            must_remove: false,
            changed: false,
            in_place: false,
            dependencies: None,
            queued: false,
            imported: None,
        }
    }

    /// True for a resource that another machine has.
    pub fn is_imported(&self) -> bool {
        self.imported.is_some()
    }

    /// True if it was built with something else than what it asks for.
    pub(super) fn holds_otherwise(&self) -> bool {
        let held = self.held.iter().map(|(held, _)| held);
        self.dependencies
            .as_ref()
            .is_some_and(|dependencies| !dependencies.are_met_by(held))
    }

    /// True while it has to be taken out of its module.
    pub fn is_being_removed(&self) -> bool {
        self.must_remove
    }

    /// True if nothing is to be done about its entry: it is wanted as it is.
    pub fn stays(&self) -> bool {
        self.wanted && !self.changed && !self.must_remove
    }

    /// True if whoever holds it can go on with it: it is in its module, or back there in a moment.
    pub(super) fn is_counted_on(&self) -> bool {
        self.stage == BuildStage::Built || self.in_place
    }

    /// Required dependencies, as far as they are known.
    pub(super) fn required(&self) -> &[ResourceName] {
        self.dependencies
            .as_ref()
            .map_or(&[], |dependencies| &dependencies.required)
    }

    /// Its module is to be asked once more, before it is built again.
    pub(super) fn ask_again(&mut self) {
        if let Some(dependencies) = &mut self.dependencies {
            dependencies.validated = false;
        }
    }

    /// Optional dependencies, as far as they are known.
    pub(super) fn optional(&self) -> &[ResourceName] {
        self.dependencies
            .as_ref()
            .map_or(&[], |dependencies| &dependencies.optional)
    }
}

/// Condition of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModuleCondition {
    /// The process runs and did not answer yet.
    Starting,
    /// The module can be called.
    Ready,
    /// The process runs but is to be restarted: its resources are being taken out.
    Draining,
    /// The module cannot be called, for this reason.
    Down(Arc<str>),
}

/// State of a module, and the work that waits for it.
#[derive(Debug)]
pub(super) struct ModuleNode {
    pub(super) condition: ModuleCondition,
    /// Reason why what is in it cannot be called although its process runs: it does not answer.
    pub(super) silent: Option<Arc<str>>,
    /// True for the first start, which nobody should be judged by yet.
    pub(super) first_attempt: bool,
    pub(super) offers: Arc<HashSet<(Api, Model)>>,
    pub(super) in_flight: usize,
    pub(super) adding: usize,
    pub(super) occupied: usize,
    pub(super) queue: VecDeque<ResourceName>,
}

impl ModuleNode {
    /// Node of a module in which nothing is yet.
    pub(super) fn new(condition: ModuleCondition, first_attempt: bool) -> Self {
        Self {
            condition,
            silent: None,
            first_attempt,
            offers: Arc::default(),
            in_flight: 0,
            adding: 0,
            occupied: 0,
            queue: VecDeque::new(),
        }
    }
}
