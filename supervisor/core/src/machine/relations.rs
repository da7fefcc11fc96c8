//! Dependencies between resources: the meaning of dependency texts, and the updates when that changes.

use std::collections::BTreeSet;
use std::sync::Arc;

use mainstay_ids::ResourceName;
use mainstay_model::ModuleName;
use mainstay_model::dependencies::Declared;

use super::node::{BuildStage, Dependencies, ResourceNode};
use super::world::World;
use crate::graph::circles::Edge;
use crate::graph::{Index, Unresolved, is_frame_system, simple_names};

impl World {
    /// The one place where the wishes of a resource change, and with them all that is known of its edges.
    fn set_dependencies(&mut self, name: &ResourceName, dependencies: Option<Dependencies>) {
        let Some(node) = self.nodes.get_mut(name) else { return };
        let old = std::mem::replace(&mut node.dependencies, dependencies);
        let new = node.dependencies.as_ref();
        let edges = |dependencies: Option<&Dependencies>| {
            dependencies.map(|dependencies| (dependencies.required.clone(), dependencies.optional.clone()))
        };
        self.circles.undecided |= edges(old.as_ref()).unwrap_or_default() != edges(new).unwrap_or_default();
        if let Some(old) = &old {
            for edge in old.required.iter().chain(&old.optional) {
                if let Some(dependents) = self.dependents.get_mut(edge) {
                    dependents.remove(name);
                    if dependents.is_empty() {
                        self.dependents.remove(edge);
                    }
                }
            }
            for simple in old.mentioned() {
                if let Some(mentioning) = self.mentions.get_mut(&simple) {
                    mentioning.remove(name);
                    if mentioning.is_empty() {
                        self.mentions.remove(&simple);
                    }
                }
            }
        }
        if let Some(new) = new {
            for edge in new.required.iter().chain(&new.optional) {
                self.dependents.entry(edge.clone()).or_default().insert(name.clone());
            }
            for simple in new.mentioned() {
                self.mentions.entry(simple).or_default().insert(name.clone());
            }
        }
    }

    /// Takes in what its module declared for the entry of a resource.
    pub(super) fn declare(&mut self, name: &ResourceName, declared: Declared) {
        let Some(node) = self.nodes.get(name) else { return };
        let declared = declared.with(&node.config.depends_on);
        self.retries.try_now(name);
        self.link(name, Arc::new(declared), true);
    }

    /// Finds the resources that `declared` names, and remembers who depends on whom.
    fn link(&mut self, name: &ResourceName, declared: Arc<Declared>, validated: bool) {
        let before = self.nodes.get_mut(name).and_then(|node| node.dependencies.take());
        let meant = |text: &str| {
            let is = |name: &str, simple: &str| {
                name.strip_suffix(simple)
                    .is_some_and(|front| front.is_empty() || front.ends_with(':'))
            };
            let known =
                |dependency: &&ResourceName| simple_names(text).iter().any(|simple| is(&dependency.name, simple));
            before
                .as_ref()
                .and_then(|before| before.required.iter().find(known).cloned())
        };
        let was_removed = |text: &str| {
            let mut missing = before.iter().flat_map(|before| &before.missing);
            missing.find_map(|(known, problem)| match problem {
                Unresolved::Removed(name) if known == text => Some(name.clone()),
                _ => None,
            })
        };
        let mut dependencies = Dependencies {
            validated,
            ..Dependencies::find(declared, &self.index)
        };
        for (text, problem) in &mut dependencies.missing {
            let gone = || meant(text).or_else(|| was_removed(text));
            if *problem == Unresolved::Missing
                && let Some(gone) = gone()
            {
                *problem = Unresolved::Removed(gone);
            }
        }
        if let Some(node) = self.nodes.get_mut(name) {
            node.dependencies = before;
        }
        self.set_dependencies(name, Some(dependencies));
        self.open_circle(name);
        self.circles.unexplored = true;
    }

    /// Drops the declared dependencies of a module's resources: they were declared by another program, or before none
    /// ran.
    pub(super) fn forget_declared_by(&mut self, module: &ModuleName) {
        let declared = |node: &&ResourceNode| node.module.as_ref() == Some(module) && node.stage == BuildStage::Idle;
        let names = self
            .nodes
            .values()
            .filter(declared)
            .map(|node| node.config.name.clone());
        for name in names.collect::<Vec<_>>() {
            self.forget_dependencies(&name);
        }
    }

    /// Names came or went: what is depended on by these texts may be another resource now, or none.
    pub(super) fn renamed(&mut self, names: &BTreeSet<String>) {
        let mentioning: BTreeSet<_> = names
            .iter()
            .filter_map(|simple| self.mentions.get(simple))
            .flatten()
            .cloned()
            .collect();
        for name in mentioning {
            let dependencies = self.nodes.get(&name).and_then(|node| node.dependencies.as_ref());
            let known = dependencies.map(|dependencies| (dependencies.declared.clone(), dependencies.validated));
            if let Some((declared, validated)) = known {
                self.link(&name, declared, validated);
            }
            self.touch_around(&name);
        }
    }

    /// Follows up on a resource that is out of its module, or about which the module answered: if its entry changed
    /// meanwhile, what is known of the old one counts no more.
    pub(super) fn clear_outdated(&mut self, name: &ResourceName) {
        let Some(node) = self.nodes.get_mut(name) else { return };
        if std::mem::take(&mut node.changed) {
            self.forget_dependencies(name);
        }
    }

    /// Drops the declared dependencies of a resource: they were declared for another entry.
    pub(super) fn forget_dependencies(&mut self, name: &ResourceName) {
        self.open_circle(name);
        self.set_dependencies(name, None);
    }

    /// Forgets a resource that is not wanted.
    pub fn forget(&mut self, name: &ResourceName) {
        self.forget_dependencies(name);
        if let Some(node) = self.nodes.remove(name) {
            self.dirty.remove(&(node.order, name.clone()));
        }
        self.retries.forget(name);
        self.circles.forget(name);
        self.holders.remove(name);
        self.unsettle_imports();
    }
}

impl Dependencies {
    /// Finds the resources that `declared` names. What is said twice is wanted once; the frame system is nobody's to build.
    pub(super) fn find(declared: Arc<Declared>, index: &Index) -> Self {
        let mut dependencies = Self::default();
        let mut seen = BTreeSet::new();
        let required = declared.required.iter().filter(|text| !is_frame_system(text));
        for text in required.filter(|text| seen.insert(text.as_str())) {
            match index.resolve(text) {
                Ok(dependency) => dependencies.required.push(dependency),
                Err(problem) => dependencies.missing.push((text.clone(), problem)),
            }
        }
        let optional = declared.optional.iter();
        dependencies.optional = optional.filter_map(|text| index.resolve(text).ok()).collect();
        dependencies.declared = declared;
        dependencies
    }

    /// Edges to all of these, from the resource that has them.
    pub(super) fn edges<'a>(&'a self, from: &'a ResourceName) -> impl Iterator<Item = Edge<'a>> {
        let required = self.required.iter().map(|to| (to, false));
        let optional = self.optional.iter().map(|to| (to, true));
        let edge = move |(to, optional)| Edge { from, to, optional };
        required.chain(optional).map(edge)
    }

    /// True if `name` is among them.
    pub(super) fn ask_for(&self, name: &ResourceName) -> bool {
        self.required.contains(name) || self.optional.contains(name)
    }

    /// True if a build with `held` is one with what these ask for, but for optional ones that may be there now.
    pub(super) fn are_met_by<'a>(&self, mut held: impl Iterator<Item = &'a ResourceName> + Clone) -> bool {
        self.missing.is_empty()
            && self
                .required
                .iter()
                .all(|required| held.clone().any(|held| held == required))
            && held.all(|held| self.ask_for(held))
    }

    /// The simple names that its texts are found by.
    fn mentioned(&self) -> BTreeSet<String> {
        let texts = self.declared.required.iter().chain(&self.declared.optional);
        texts.flat_map(|text| simple_names(text)).collect()
    }
}
