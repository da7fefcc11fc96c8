//! Consequences of one resource's change for those that hold it, wait for it or would like it.

use std::collections::HashMap;

use mainstay_ids::ResourceName;
use mainstay_model::plan::{Change, ChangeKind, Part};

use super::Comparison;
use crate::machine::change::KnownResource;

impl<'a> Comparison<'a> {
    /// Resources that are rebuilt because of their own entry, and that nobody else has to notice.
    pub(super) fn in_place(&mut self) {
        let in_place = |name: &&ResourceName| {
            let action = &self.actions[*name];
            let (Some(old), Some(new)) = (self.from.get(*name), self.to.get(*name)) else {
                return false;
            };
            let inside = self.known(name).and_then(|known| known.built_in.as_ref());
            let stays = |module| !self.modules.restarted.contains(module) && !self.modules.stopped.contains(module);
            let refused = matches!(self.known.answers.get(*name), Some(Err(_)));
            action.how == ChangeKind::Rebuild
                && !action.known_after_start
                && old.serves_the_same_as(new)
                && inside.is_some_and(stays)
                && !refused
                && self.needs_what_it_holds(name)
        };
        let in_place: Vec<_> = self.actions.keys().copied().filter(in_place).collect();
        for name in in_place {
            if let Some(action) = self.actions.get_mut(name) {
                action.in_place = true;
            }
        }
    }

    /// True if it is built again with what it holds now.
    fn needs_what_it_holds(&self, name: &ResourceName) -> bool {
        let held = self.known(name).map_or(&[][..], |known| &known.held);
        let needs = &self.needs[name];
        let comes = |optional: &ResourceName| !held.contains(optional) && self.comes(optional);
        needs.are_met_by(held.iter()) && !needs.optional.iter().any(comes)
    }

    /// Takes out the holders of everything that is taken out.
    pub(super) fn propagate(&mut self) {
        let holders = self.holders();
        let mut open: Vec<&'a ResourceName> = Vec::new();
        let out = |action: &Change| matches!(action.how, ChangeKind::Rebuild | ChangeKind::Close) && !action.in_place;
        open.extend(
            self.actions
                .iter()
                .filter(|(_, action)| out(action))
                .map(|(name, _)| *name),
        );
        // What is told of a resource must not depend on chance.
        open.sort_unstable();
        while let Some(name) = open.pop() {
            let gone = self.planned(name) == Some(ChangeKind::Close);
            for holder in holders.get(name).into_iter().flatten().copied() {
                let needed = self.needs[holder].required.contains(name);
                let (how, because) = match (gone, needed) {
                    (true, true) => (ChangeKind::Close, format!("needs {}", name.name)),
                    (true, false) => (ChangeKind::Rebuild, format!("lets go of {}", name.name)),
                    (false, _) => (ChangeKind::Rebuild, format!("holds {}", name.name)),
                };
                match self.actions.get_mut(holder) {
                    Some(present) if present.how == ChangeKind::Close => continue,
                    Some(present) if present.in_place && how == ChangeKind::Rebuild => {
                        present.in_place = false;
                        open.push(holder);
                        continue;
                    }
                    Some(present) if present.how == ChangeKind::Rebuild && how == ChangeKind::Rebuild => continue,
                    _ => {}
                }
                self.set(holder, how, because).through = Some(Part::Resource(name.clone()));
                open.push(holder);
            }
        }
    }

    /// Drops optional dependencies that would close a circle now, and takes up those that do so no more, once that is
    /// certain.
    pub(super) fn circles(&mut self) {
        for name in self.order.clone() {
            let Some(known) = self.known(name).filter(|known| known.built_in.is_some()) else {
                continue;
            };
            if self.moves(name) {
                continue;
            }
            let lets_go = self
                .dropped_optional
                .iter()
                .find(|one| one.by == *name && known.held.contains(&one.what));
            let needs = &self.needs[name];
            let opened = known
                .dropped_optional
                .iter()
                .find(|one| needs.optional.contains(&one.what));
            let Some(one) = lets_go.or(opened) else { continue };
            let (what, way) = (&one.what.name, one.way());
            let because = if lets_go.is_some() {
                format!("lets go of {what}, which would close a circle: {way}")
            } else {
                format!("would like {what}, which closes no circle any more")
            };
            let other = one.what.clone();
            self.set_after_start(name, ChangeKind::Rebuild, because, &other);
        }
    }

    pub(super) fn drops_optional(&self, name: &ResourceName, dependency: &ResourceName) -> bool {
        let mut dropped_optional = self.dropped_optional.iter();
        dropped_optional.any(|one| one.by == *name && one.what == *dependency)
    }

    /// Builds what waits for something that comes, and gives it to those that would like it.
    pub(super) fn waiting(&mut self) {
        let mut wanting: HashMap<ResourceName, Vec<(&'a ResourceName, bool)>> = HashMap::new();
        for name in &self.order {
            let needs = &self.needs[*name];
            for required in &needs.required {
                wanting.entry(required.clone()).or_default().push((name, true));
            }
            for optional in &needs.optional {
                wanting.entry(optional.clone()).or_default().push((name, false));
            }
        }
        let mut open: Vec<_> = self.order.iter().copied().filter(|name| self.comes(name)).collect();
        open.reverse();
        while let Some(name) = open.pop() {
            for (waiting, required) in wanting.get(name).cloned().unwrap_or_default() {
                let built = self.is_built(waiting);
                let held = |known: &KnownResource| known.held.contains(name);
                let fits = match required {
                    _ if self.moves(waiting) => false,
                    _ if self.to[waiting].fault.is_some() || !self.needs[waiting].missing.is_empty() => false,
                    true => !built,
                    false => built && !self.known(waiting).is_some_and(held),
                };
                if fits {
                    let (how, because) = if built {
                        (
                            ChangeKind::Rebuild,
                            format!("would like {}, if that becomes READY", name.name),
                        )
                    } else {
                        (ChangeKind::Build, format!("waits for {}", name.name))
                    };
                    self.set_after_start(waiting, how, because, name);
                    open.push(waiting);
                }
            }
        }
        // Who holds what may be rebuilt may be rebuilt with it.
        let maybe: Vec<_> = self.order.iter().copied().filter(|name| self.may_move(name)).collect();
        if maybe.is_empty() {
            return;
        }
        let holders = self.holders();
        let mut open = maybe;
        while let Some(name) = open.pop() {
            for holder in holders.get(name).cloned().unwrap_or_default() {
                if !self.moves(holder) {
                    let because = format!("holds {}", name.name);
                    self.set_after_start(holder, ChangeKind::Rebuild, because, name);
                    open.push(holder);
                }
            }
        }
    }

    /// Plans what is not certain before the start, because of another resource.
    fn set_after_start(&mut self, name: &'a ResourceName, how: ChangeKind, because: String, through: &ResourceName) {
        let change = self.set(name, how, because);
        change.known_after_start = true;
        change.through = Some(Part::Resource(through.clone()));
    }

    /// Holders in the new config of each resource, in the config's order.
    fn holders(&self) -> HashMap<&'a ResourceName, Vec<&'a ResourceName>> {
        let mut holders: HashMap<_, Vec<_>> = HashMap::new();
        for name in &self.order {
            for held in self.known(name).into_iter().flat_map(|known| &known.held) {
                holders.entry(held).or_default().push(*name);
            }
        }
        holders
    }

    fn may_move(&self, name: &ResourceName) -> bool {
        let action = self.actions.get(name);
        action.is_some_and(|action| action.how == ChangeKind::Rebuild && action.known_after_start)
    }
}
