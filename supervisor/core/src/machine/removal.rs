//! Removal of a resource from its module: on purpose, or because something was lost.

use std::collections::{BTreeMap, HashSet, VecDeque};

use mainstay_ids::ResourceName;
use mainstay_model::ModuleName;

use super::node::{BuildStage, Held, ModuleCondition, ResourceNode};
use super::world::World;

/// Reason why a resource is taken out on purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlannedRemoval {
    /// The config no longer has it, or the machine ends.
    NotWanted,
    /// Restart of its module, or of one with something that it holds.
    Restart(ModuleName),
    /// The resource is built anew, with another config or other dependencies.
    Replaced,
}

impl World {
    /// Reason why `name`, which is to be taken out on purpose, is. `None` if something that it holds was lost, or holds
    /// something that was.
    pub fn planned(&self, name: &ResourceName) -> Option<PlannedRemoval> {
        let node = self.nodes.get(name)?;
        if !node.wanted {
            return Some(PlannedRemoval::NotWanted);
        }
        if let Some(module) = self.draining(node) {
            return Some(PlannedRemoval::Restart(module.clone()));
        }
        // What it holds is taken out because of the same, in the end.
        let (mut seen, mut open) = (HashSet::from([name]), vec![node]);
        let mut because = None;
        while let Some(node) = open.pop() {
            for (held, build) in &node.held {
                let there = self.nodes.get(held).filter(|held| is_there(held, *build))?;
                if there.must_remove && seen.insert(held) {
                    because = because.or_else(|| self.draining(there));
                    open.push(there);
                }
            }
        }
        Some(because.map_or(PlannedRemoval::Replaced, |module| {
            PlannedRemoval::Restart(module.clone())
        }))
    }

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

    fn draining<'a>(&self, node: &'a ResourceNode) -> Option<&'a ModuleName> {
        let module = node.module.as_ref()?;
        (self.condition(module) == Some(&ModuleCondition::Draining)).then_some(module)
    }
}

fn is_there(held: &ResourceNode, build: u64) -> bool {
    held.is_counted_on() && held.build == build
}

#[cfg(test)]
mod tests {
    use super::super::simulator::{Simulator, name};
    use super::*;

    #[test]
    fn what_is_wanted_so_waits_for_calls_and_what_was_lost_does_not() {
        let lines = ["a@m:", "b@n: a", "c@n: b", "d@n:"];
        let begin = || {
            let mut simulator = Simulator::new(&lines);
            simulator.ready("m");
            simulator.ready("n");
            simulator.settle();
            simulator
        };
        let planned = |simulator: &Simulator| ["a", "b", "c"].map(|resource| simulator.world.planned(&name(resource)));
        let restart = Some(PlannedRemoval::Restart("m".into()));

        let mut simulator = begin();
        simulator
            .world
            .module_changed(&"m".into(), ModuleCondition::Draining, None);
        simulator.decide();
        assert_eq!(planned(&simulator), [restart.clone(), restart.clone(), restart]);

        // `a` is gone; what holds it, and what holds that, is to come back at once.
        let mut simulator = begin();
        simulator.down("m");
        simulator.ready("m");
        simulator.decide();
        assert_eq!(planned(&simulator)[1..], [None, None]);

        let mut simulator = begin();
        simulator.take_up(&["@m", "b@n: a", "c@n: b", "d@n:"]);
        simulator.decide();
        assert_eq!(simulator.world.planned(&name("a")), Some(PlannedRemoval::NotWanted));
        assert_eq!(simulator.world.planned(&name("c")), Some(PlannedRemoval::Replaced));
    }
}
