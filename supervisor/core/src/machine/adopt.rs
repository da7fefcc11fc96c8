//! Adoption of a new desired state: the world takes up a config.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use mainstay_ids::{Api, Model, ResourceName};
use mainstay_model::Builtins;
use mainstay_model::{Config, ModuleName, ResourceConfig};

use super::change::{Known, KnownModule, KnownResource};
use super::node::{BuildStage, ModuleCondition, ModuleNode, ResourceNode};
use super::world::World;

/// Modules that a config wants, beside its entries.
#[derive(Debug, Default)]
pub struct DesiredModules {
    /// Modules, in order.
    pub modules: Vec<ModuleName>,
    /// Modules of the built-in models that the config uses.
    pub builtin: HashMap<(Api, Model), ModuleName>,
    /// All built-in models.
    pub builtins: Arc<Builtins>,
}

impl World {
    /// Makes room for a module, or for another one in its place.
    pub fn add_module(&mut self, name: ModuleName) {
        let module = ModuleNode::new(ModuleCondition::Starting, true);
        if let Some(present) = self.modules.get_mut(&name) {
            // Calls of the process before may still be under way; they are counted until they end.
            (present.condition, present.first_attempt, present.offers) = (module.condition, true, module.offers);
            present.silent = None;
        } else {
            self.module_order.push(name.clone());
            self.modules.insert(name.clone(), module);
        }
        self.touch_idle();
    }

    /// A module is to end: nothing is built in it any more.
    pub fn retire(&mut self, name: &ModuleName) {
        if let Some(module) = self.modules.get_mut(name) {
            module.offers = Arc::default();
            module.first_attempt = false;
        }
    }

    /// A module has ended and does not come back.
    pub fn remove_module(&mut self, name: &ModuleName) {
        self.modules.remove(name);
        self.module_order.retain(|known| known != name);
        self.forget_declared_by(name);
        self.touch_idle();
    }

    fn touch_idle(&mut self) {
        let idle = self.nodes.iter().filter(|(_, node)| node.stage == BuildStage::Idle);
        for name in idle.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.touch(&name);
        }
    }

    /// Running state that a plan is computed from, but for the built-in modules and for answers.
    pub fn known(&self) -> Known {
        let modules = self.modules.iter().filter(|(name, _)| !name.is_remote());
        let modules = modules.map(|(name, module)| {
            let known = KnownModule {
                ready: module.condition == ModuleCondition::Ready,
                offers: module.offers.clone(),
            };
            (name.clone(), known)
        });
        let resources = self.nodes.iter().map(|(name, node)| {
            let built = node.stage == BuildStage::Built;
            let known = KnownResource {
                built_in: node.module.clone().filter(|_| built),
                held: node.held.iter().map(|(held, _)| held.clone()).collect(),
                declared: node
                    .dependencies
                    .as_ref()
                    .filter(|_| !node.changed)
                    .map(|dependencies| dependencies.declared.clone()),
                dropped_optional: self.circles.dropped_optional(name).to_vec(),
            };
            (name.clone(), known)
        });
        let imports = self.imports().map(|(remote, import)| (remote.clone(), import.clone()));
        Known {
            modules: modules.collect(),
            resources: resources.collect(),
            imports: imports.collect(),
            ..Known::default()
        }
    }

    /// Wants what `to` has from now on. What is `in_place` is rebuilt while those who hold it keep it. Modules are added,
    /// retired and removed by themselves.
    pub fn take_up(&mut self, to: &Config, in_place: &HashSet<ResourceName>, desired: DesiredModules) {
        self.builtin = desired.builtin;
        self.builtins = desired.builtins;
        let wanted: HashSet<_> = desired.modules.iter().cloned().collect();
        let ending = self.module_order.iter().filter(|name| !wanted.contains(*name)).cloned();
        self.module_order = desired
            .modules
            .iter()
            .cloned()
            .chain(ending.collect::<Vec<_>>())
            .collect();
        let entries: HashSet<_> = to.resources.iter().map(|config| &config.name).collect();
        let gone = self
            .nodes
            .iter()
            .filter(|(name, node)| node.wanted && !node.is_imported() && !entries.contains(name));
        let mut renamed = BTreeSet::new();
        for name in gone.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.unwant(&name);
            renamed.insert(name.name);
        }
        for (order, config) in to.resources.iter().enumerate() {
            let same = |node: &ResourceNode| node.wanted && *node.config == *config;
            self.displace_import(&config.name);
            if !self.nodes.get(&config.name).is_some_and(same)
                && self.adopt(config, order, in_place.contains(&config.name))
            {
                renamed.insert(config.name.name.clone());
            }
        }
        self.arrange(to);
        self.renamed(&renamed);
        self.propagate();
    }

    /// Marks a resource as no longer wanted.
    fn unwant(&mut self, name: &ResourceName) {
        if let Some(node) = self.nodes.get_mut(name) {
            (node.wanted, node.in_place) = (false, false);
        }
        self.touch_around(name);
        self.index.remove(name, &[]);
    }

    /// Wants a resource by this entry, which is another one than before. True if its name is new.
    fn adopt(&mut self, config: &ResourceConfig, order: usize, in_place: bool) -> bool {
        let name = &config.name;
        let new = self.index.add(name);
        let Some(node) = self.nodes.get_mut(name) else {
            self.nodes
                .insert(name.clone(), ResourceNode::new(Arc::new(config.clone()), order));
            self.touch_around(name);
            return new;
        };
        let same = node.config.builds_the_same_as(config);
        // One that is on its way back alone, and changes so that it could have been from the start, still is.
        let built = node.stage == BuildStage::Built;
        let still = node.in_place && node.config.serves_the_same_as(config) && (in_place || !built);
        node.in_place = still || (in_place && built && !node.must_remove);
        node.config = Arc::new(config.clone());
        node.wanted = true;
        node.changed |= !same && node.stage != BuildStage::Idle;
        if !same {
            self.retries.forget(name);
        }
        if !same && node.stage == BuildStage::Idle {
            node.shown = None;
            self.forget_dependencies(name);
        }
        self.touch_around(name);
        new
    }

    /// Entries have their places in the config, and in its file.
    fn arrange(&mut self, to: &Config) {
        for (order, config) in to.resources.iter().enumerate() {
            let Some(node) = self.nodes.get_mut(&config.name) else {
                continue;
            };
            if node.config.place != config.place {
                node.config = Arc::new(config.clone());
            }
            if node.order != order {
                let waits = self.dirty.remove(&(node.order, config.name.clone()));
                node.order = order;
                if waits {
                    self.dirty.insert((order, config.name.clone()));
                }
            }
        }
    }
}
