//! What goes with a module when it goes, and that it came back: for the module's history.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use mainstay_proto::ResourceName;

use super::actor::Machine;
use super::node::{Held, Stage};
use super::world::World;
use crate::identity::ModuleName;

impl World {
    /// The resources that are lost with `module`: those in it, in config order, and those that hold one of them, each
    /// with what it holds.
    pub(super) fn lost_with(&self, module: &ModuleName) -> Vec<(ResourceName, Option<ResourceName>)> {
        let inside = self.nodes().filter(|node| node.module.as_ref() == Some(module));
        let built = inside.filter(|node| matches!(node.stage, Stage::Built | Stage::Removing));
        let mut own: Vec<_> = built.map(|node| (node.order, node.config.name.clone())).collect();
        own.sort();
        let mut lost: BTreeMap<ResourceName, Option<ResourceName>> =
            own.iter().map(|(_, name)| (name.clone(), None)).collect();
        let mut order: VecDeque<_> = own.into_iter().map(|(_, name)| name).collect();
        let mut all = Vec::new();
        while let Some(name) = order.pop_front() {
            for holder in self.dependents.get(&name).into_iter().flatten() {
                let holds = |(held, _): &Held| *held == name;
                let holding = self.node(holder).is_some_and(|node| node.held.iter().any(holds));
                if holding && !lost.contains_key(holder) {
                    lost.insert(holder.clone(), Some(name.clone()));
                    order.push_back(holder.clone());
                }
            }
            let because = lost.get(&name).cloned().flatten();
            all.push((name, because));
        }
        all
    }
}

impl Machine {
    /// The module is about to be gone: what goes with it is written down, to be crossed out as it comes back.
    pub(super) fn lose(&mut self, module: &ModuleName) {
        let lost = self.world.lost_with(module);
        let view = self.published.load();
        let Some(entry) = view.module(module.as_str()).filter(|_| !lost.is_empty()) else {
            return;
        };
        let text = |name: &ResourceName| -> Arc<str> { name.to_string().into() };
        let texts = lost
            .iter()
            .map(|(name, because)| (text(name), because.as_ref().map(text)));
        entry.history().lost(texts);
        for (name, _) in lost {
            self.lost.entry(name).or_default().insert(module.clone());
        }
    }

    /// A resource was built.
    pub(super) fn built(&mut self, name: &ResourceName) {
        let Some(modules) = self.lost.remove(name) else { return };
        let view = self.published.load();
        let text: Arc<str> = name.to_string().into();
        for entry in modules.iter().filter_map(|module| view.module(module.as_str())) {
            entry.history().built(&text);
        }
    }
}
