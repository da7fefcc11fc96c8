//! Resources of other machines in the world of this one. A remote is a module without a process here: what it lists is in it,
//! built by somebody else, and goes and comes with the connection.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use mainstay_ids::{Model, ResourceName};
use mainstay_model::shown::ShownState;
use mainstay_model::value::Object;
use mainstay_model::{ModuleName, ResourceConfig, SourceSpan};

use super::node::{BuildStage, ModuleCondition, ModuleNode, ResourceNode};
use super::plan::Step;
use super::world::World;
use crate::graph::simple_names;
use crate::remote::Import;

/// Remotes of the config and what they list.
#[derive(Debug, Default)]
pub(super) struct Remotes {
    /// What each listed last, by name; what is away is remembered.
    listed: BTreeMap<ModuleName, Vec<Import>>,
    /// Names that several remotes have something by; they are nobody's.
    contested: BTreeMap<ResourceName, Vec<ModuleName>>,
    /// Set when it is to be looked at again which of what is listed is used.
    unsettled: bool,
    /// Counts the changes of what is used.
    version: u64,
}

impl Remotes {
    /// All that is listed, used or not.
    fn all(&self) -> impl Iterator<Item = (&ModuleName, &Import)> {
        let all = self.listed.iter();
        all.flat_map(|(remote, imports)| imports.iter().map(move |import| (remote, import)))
    }
}

impl World {
    /// Makes room for a remote that is not connected yet.
    pub fn add_remote(&mut self, name: ModuleName, cause: Arc<str>) {
        // Nothing waits for its first attempt.
        let module = ModuleNode::new(ModuleCondition::Down(cause), false);
        self.modules.insert(name.clone(), module);
        self.remotes.listed.entry(name).or_default();
        self.name_remotes();
    }

    /// Forgets a remote and all that it has.
    pub fn remove_remote(&mut self, name: &ModuleName) {
        self.remotes.listed.remove(name);
        self.settle_imports();
        self.modules.remove(name);
        self.name_remotes();
    }

    /// A remote is connected and lists these, or lists others than before. `anew`: it is another connection, so whoever holds
    /// something of it is built again.
    pub fn import(&mut self, remote: &ModuleName, imports: Vec<Import>, anew: bool) {
        if !self.remotes.listed.contains_key(remote) {
            return;
        }
        if anew {
            self.module_changed(remote, ModuleCondition::Down("connecting again".into()), None);
            self.module_changed(remote, ModuleCondition::Ready, None);
        }
        self.remotes.listed.insert(remote.clone(), imports);
        self.settle_imports();
    }

    /// Everything of other machines goes: this one is ending.
    pub fn end_imports(&mut self) {
        self.remotes.listed.clear();
        self.settle_imports();
    }

    /// What the remotes list and this machine uses.
    pub fn imports(&self) -> impl Iterator<Item = (&ModuleName, &Import)> {
        self.remotes.all().filter(|(remote, import)| {
            let node = self.nodes.get(&import.name);
            node.is_some_and(|node| node.is_imported() && node.wanted && node.module.as_ref() == Some(remote))
        })
    }

    /// Number of times that another set of them was taken up.
    pub fn imports_version(&self) -> u64 {
        self.remotes.version
    }

    /// Name by which the module of `by` is handed `held`: as it asked for it, where that is a shorter name than the whole.
    pub fn handed_as(&self, by: &ResourceName, held: &ResourceName) -> String {
        let aliases = self.nodes.get(held).and_then(|node| node.imported.as_ref());
        let declared = self
            .nodes
            .get(by)
            .and_then(|node| node.dependencies.as_ref())
            .map(|found| &found.declared);
        let texts = declared
            .into_iter()
            .flat_map(|declared| declared.required.iter().chain(&declared.optional));
        let asked = |alias: &&String| {
            texts.clone().any(|text| {
                let names = simple_names(text);
                names.contains(alias) && !names.contains(&held.name)
            })
        };
        match aliases.and_then(|aliases| aliases.iter().find(asked)) {
            Some(alias) => format!("{}/{alias}", held.api),
            None => held.to_string(),
        }
    }

    /// Names that several remotes have something by, with these remotes.
    pub fn contested(&self) -> impl Iterator<Item = (&ResourceName, &[ModuleName])> {
        self.remotes
            .contested
            .iter()
            .map(|(name, remotes)| (name, remotes.as_slice()))
    }

    /// Remotes that are not connected, each with the reason.
    pub(super) fn absent_remotes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.remotes
            .listed
            .keys()
            .filter_map(|name| match self.condition(name)? {
                ModuleCondition::Down(cause) => Some((name.remote_name()?, &**cause)),
                _ => None,
            })
    }

    /// A name of this machine came or went: what other machines have by it may be used now, or no longer.
    pub(super) fn unsettle_imports(&mut self) {
        self.remotes.unsettled = !self.remotes.listed.is_empty();
    }

    /// Takes up what is due since names of this machine came or went.
    pub(super) fn settle_due_imports(&mut self) {
        if std::mem::take(&mut self.remotes.unsettled) {
            self.settle_imports();
        }
    }

    /// The next step for a resource of another machine. Nothing is ever done about it but to show it.
    pub(super) fn next_of_imported(&self, name: &ResourceName, node: &ResourceNode) -> Step {
        if !node.wanted {
            return if self.is_held(name) { Step::Wait } else { Step::Forget };
        }
        let remote = node.module.as_ref().and_then(|remote| self.condition(remote));
        Step::Show(match (node.stage, remote) {
            (BuildStage::Built, _) => ShownState::READY,
            (_, Some(ModuleCondition::Down(cause))) => ShownState::gone(cause.clone()),
            _ => ShownState::waiting("its machine is being connected"),
        })
    }

    /// Decides which of what is listed is used: what has a name of its own. Resources of this machine come first, and of
    /// several remotes none.
    fn settle_imports(&mut self) {
        let mut desired: HashMap<&ResourceName, (&ModuleName, &Import)> = HashMap::new();
        let mut contested: BTreeMap<ResourceName, Vec<ModuleName>> = BTreeMap::new();
        let local = |name: &ResourceName| self.nodes.get(name).is_some_and(|node| !node.is_imported());
        for (remote, import) in self.remotes.all() {
            if local(&import.name) {
                continue;
            }
            if let Some((first, _)) = desired.insert(&import.name, (remote, import)) {
                let rivals = contested
                    .entry(import.name.clone())
                    .or_insert_with(|| vec![first.clone()]);
                rivals.push(remote.clone());
            }
        }
        desired.retain(|name, _| !contested.contains_key(name));
        let stays = |name: &ResourceName, node: &ResourceNode| {
            desired
                .get(name)
                .is_some_and(|(remote, _)| node.module.as_ref() == Some(remote))
        };
        let gone = self
            .nodes
            .iter()
            .filter(|(name, node)| node.is_imported() && node.wanted && !stays(name, node));
        let gone: Vec<_> = gone.map(|(name, _)| name.clone()).collect();
        let come = desired.iter().filter(|(name, _)| {
            // One that is still held under this name is forgotten first.
            self.nodes
                .get(*name)
                .is_none_or(|node| !node.wanted && !self.is_held(name))
        });
        let come: Vec<_> = come
            .map(|(_, (remote, import))| ((*remote).clone(), (*import).clone()))
            .collect();
        if !gone.is_empty() || !come.is_empty() || self.remotes.contested != contested {
            self.remotes.version += 1;
        }
        self.remotes.contested = contested;
        let mut renamed = BTreeSet::new();
        for name in gone {
            let aliases = self.drop_import(&name);
            renamed.extend(aliases.iter().cloned());
            renamed.insert(name.name);
        }
        for (remote, import) in come {
            renamed.extend(import.aliases.iter().cloned());
            renamed.insert(import.name.name.clone());
            self.add_import(remote, import);
        }
        self.renamed(&renamed);
        self.propagate();
        for remote in self.remotes.listed.keys().cloned().collect::<Vec<_>>() {
            if self.condition(&remote) == Some(&ModuleCondition::Ready) {
                for name in self.inside(&remote) {
                    self.build_import(&name, &remote);
                }
            }
        }
    }

    fn add_import(&mut self, remote: ModuleName, import: Import) {
        let name = import.name;
        self.index.add(&name);
        self.index.add_aliases(&name, &import.aliases);
        let build = self.nodes.get(&name).map_or(0, |node| node.build);
        let mut node = ResourceNode::new(Arc::new(entry(&name)), usize::MAX);
        (node.module, node.imported, node.build) = (Some(remote), Some(import.aliases), build);
        self.nodes.insert(name.clone(), node);
        self.touch_around(&name);
    }

    /// A resource of another machine is not there any more, or another one has its name. Its aliases come back.
    fn drop_import(&mut self, name: &ResourceName) -> Arc<[String]> {
        let Some(node) = self.nodes.get_mut(name) else {
            return Arc::default();
        };
        node.wanted = false;
        let built = std::mem::replace(&mut node.stage, BuildStage::Idle) == BuildStage::Built;
        let aliases = node.imported.clone().unwrap_or_default();
        if let Some(remote) = node.module.as_ref().and_then(|remote| self.modules.get_mut(remote)) {
            remote.occupied -= usize::from(built);
        }
        self.index.remove(name, &aliases);
        self.touch_around(name);
        aliases
    }

    /// Makes room for a resource of this machine under the name of an imported one.
    pub(super) fn displace_import(&mut self, name: &ResourceName) {
        if !self.nodes.get(name).is_some_and(ResourceNode::is_imported) {
            return;
        }
        let aliases = self.drop_import(name);
        self.remotes.version += 1;
        if let Some(node) = self.nodes.get_mut(name) {
            (node.imported, node.module, node.shown) = (None, None, None);
        }
        self.renamed(&aliases.iter().cloned().collect());
    }

    /// A remote that is connected has this resource.
    fn build_import(&mut self, name: &ResourceName, remote: &ModuleName) {
        let Some(node) = self.nodes.get_mut(name) else { return };
        if node.stage == BuildStage::Built {
            return;
        }
        node.stage = BuildStage::Built;
        node.build += 1;
        if let Some(remote) = self.modules.get_mut(remote) {
            remote.occupied += 1;
        }
        self.hurry_dependents(name);
        self.touch_around(name);
    }

    /// Resources of a remote that are used, by name.
    fn inside(&self, remote: &ModuleName) -> Vec<ResourceName> {
        let inside = self
            .nodes
            .iter()
            .filter(|(_, node)| node.is_imported() && node.wanted && node.module.as_ref() == Some(remote));
        let mut inside: Vec<_> = inside.map(|(name, _)| name.clone()).collect();
        inside.sort();
        inside
    }

    fn name_remotes(&mut self) {
        let names = self.remotes.listed.keys();
        let names = names.filter_map(|name| name.remote_name().map(str::to_owned));
        self.index.set_remotes(names.collect::<Vec<_>>());
    }
}

/// Entry of what stands in no config.
fn entry(name: &ResourceName) -> ResourceConfig {
    let place = SourceSpan::file(Path::new(""));
    ResourceConfig {
        name: name.clone(),
        model: Model::builtin("remote"),
        attributes: Object::default(),
        depends_on: Vec::new(),
        frame: None,
        service_configs: Vec::new(),
        log_level: None,
        place: place.clone(),
        model_place: place,
        depends_on_places: Vec::new(),
        fault: None,
    }
}

#[cfg(test)]
mod tests;
