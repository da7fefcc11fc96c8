//! Circles of dependencies in the world: required ones cannot be built, optional ones give way.

use std::collections::{HashMap, HashSet};

use mainstay_ids::ResourceName;
use mainstay_model::plan::DroppedOptional;

use super::node::{BuildStage, ResourceNode};
use super::world::World;
use crate::graph::{circles, walk};

/// Circles, as far as they are known.
#[derive(Debug, Default)]
pub(super) struct Circles {
    /// The circle of required dependencies that a resource is part of, itself first and last.
    required: HashMap<ResourceName, Vec<ResourceName>>,
    /// Optional dependencies that a resource has to go without, because they would close a circle; decided when the
    /// machine rests.
    dropped_optional: HashMap<ResourceName, Vec<DroppedOptional>>,
    /// Set when dependencies were declared since circles of required ones were last looked for.
    pub(super) unexplored: bool,
    /// Set when dependencies changed since it was last decided which optional ones are dropped.
    pub(super) undecided: bool,
}

impl Circles {
    /// The circle of required dependencies that a resource is part of, itself first and last.
    pub(super) fn of(&self, name: &ResourceName) -> Option<&[ResourceName]> {
        self.required.get(name).map(Vec::as_slice)
    }

    /// Optional dependencies that a resource has to go without.
    pub(super) fn dropped_optional(&self, name: &ResourceName) -> &[DroppedOptional] {
        self.dropped_optional.get(name).map_or(&[], Vec::as_slice)
    }

    /// Forgets what was decided for a resource that is no more.
    pub(super) fn forget(&mut self, name: &ResourceName) {
        self.dropped_optional.remove(name);
    }
}

impl World {
    /// Looks for circles among the required dependencies.
    pub(super) fn explore(&mut self) {
        self.circles.unexplored = false;
        let waiting = self
            .nodes
            .iter()
            .filter(|(_, node)| node.stage == BuildStage::Idle && !node.required().is_empty());
        let mut waiting: Vec<_> = waiting.map(|(name, node)| (node.order, name)).collect();
        waiting.sort();
        let starts = waiting.into_iter().map(|(_, name)| name);
        for circle in walk(starts, |name| {
            self.nodes.get(name).map_or(&[][..], ResourceNode::required)
        })
        .circles
        {
            for (place, member) in circle.iter().enumerate() {
                let own = || circle[place..].iter().chain(&circle[..=place]).cloned().collect();
                self.circles.required.entry(member.clone()).or_insert_with(own);
                self.touch(member);
            }
        }
    }

    /// A circle that it was part of may be open now; who else was in it is told when it is explored again.
    pub(super) fn open_circle(&mut self, name: &ResourceName) {
        for member in self.circles.required.remove(name).into_iter().flatten() {
            self.circles.required.remove(&member);
            self.touch(&member);
        }
    }

    /// Decides which optional dependencies are let go because they would close a circle. It depends on the edges alone,
    /// so that whatever way led here comes to the same; that is why it is decided while nothing moves.
    pub(super) fn decide_circles(&mut self) {
        self.circles.undecided = false;
        let wanted = self.nodes.iter().filter(|(_, node)| node.wanted);
        let edges = wanted.flat_map(|(from, node)| node.dependencies.iter().flat_map(move |found| found.edges(from)));
        let mut dropped: HashMap<ResourceName, Vec<DroppedOptional>> = HashMap::new();
        for one in circles::dropped_optional(edges) {
            dropped.entry(one.by.clone()).or_default().push(one);
        }
        let before = std::mem::replace(&mut self.circles.dropped_optional, dropped);
        let dropped = &self.circles.dropped_optional;
        let either = before.keys().chain(dropped.keys());
        let mut touched: Vec<_> = either
            .filter(|name| before.get(*name) != dropped.get(*name))
            .cloned()
            .collect();
        // And who may take what it could not take while this was open.
        let may_come = |(_, node): &(&ResourceName, &ResourceNode)| {
            let held = |optional: &ResourceName| node.held.iter().any(|(held, _)| held == optional);
            let mut optional = node.optional().iter();
            optional.any(|optional| !held(optional) && !self.drops_optional(node, optional) && self.usable(optional))
        };
        touched.extend(self.nodes.iter().filter(may_come).map(|(name, _)| name.clone()));
        for name in touched {
            self.touch(&name);
        }
    }

    /// True for an optional dependency that `node` has to go without.
    pub(super) fn drops_optional(&self, node: &ResourceNode, dependency: &ResourceName) -> bool {
        let mut dropped = self.circles.dropped_optional(&node.config.name).iter();
        // What it needs since that was decided is not let go for it.
        dropped.any(|one| one.what == *dependency) && !node.required().contains(dependency)
    }

    /// True if holding `dependency` could close a circle through `name`, as far as circles are not decided yet. An
    /// optional edge towards an earlier name counts as drawn, one towards a later name gives way to all others: so
    /// whatever is built before all is known holds nothing in a circle, and mostly what it may hold in the end.
    pub(super) fn leads_back(&self, dependency: &ResourceName, name: &ResourceName) -> bool {
        let forward = dependency > name;
        self.reaches(dependency, name, |node| {
            let drawn =
                move |edge: &&ResourceName| (forward || **edge < node.config.name) && !self.drops_optional(node, edge);
            node.required().iter().chain(node.optional().iter().filter(drawn))
        })
    }

    /// True if `from` holds `to`, or something that does, or may do so soon.
    pub(super) fn may_hold(&self, from: &ResourceName, to: &ResourceName) -> bool {
        self.reaches(from, to, |node| {
            let kept = node.optional().iter().filter(|edge| !self.drops_optional(node, edge));
            let held = node.held.iter().map(|(held, _)| held);
            node.required().iter().chain(kept).chain(held)
        })
    }

    /// True if `name` cannot be built without `other`, by whatever way.
    pub(super) fn requires(&self, name: &ResourceName, other: &ResourceName) -> bool {
        self.reaches(name, other, |node| node.required().iter())
    }

    /// True if the `edges` of resources lead from one to the other; each reaches itself.
    fn reaches<'a, E>(
        &'a self,
        from: &'a ResourceName,
        to: &ResourceName,
        edges: impl Fn(&'a ResourceNode) -> E,
    ) -> bool
    where
        E: Iterator<Item = &'a ResourceName>,
    {
        let (mut open, mut seen) = (vec![from], HashSet::from([from]));
        while let Some(current) = open.pop() {
            if current == to {
                return true;
            }
            let Some(node) = self.nodes.get(current) else { continue };
            open.extend(edges(node).filter(|edge| seen.insert(*edge)));
        }
        false
    }
}

#[cfg(test)]
mod tests;
