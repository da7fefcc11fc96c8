//! Resources that are lost with a module: those in it, and those that hold one of them.

use std::collections::{BTreeMap, VecDeque};

use mainstay_ids::ResourceName;
use mainstay_model::ModuleName;

use super::node::{BuildStage, Held};
use super::world::World;

impl World {
    /// The resources that are lost with `module`: those in it, in config order, and those that hold one of them, each
    /// with what it holds.
    pub fn lost_with(&self, module: &ModuleName) -> Vec<(ResourceName, Option<ResourceName>)> {
        let inside = self.nodes().filter(|node| node.module.as_ref() == Some(module));
        let built = inside.filter(|node| matches!(node.stage, BuildStage::Built | BuildStage::Removing));
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
