//! What the change of one resource means for those that hold it, wait for it or would like it.

use std::collections::HashMap;

use mainstay_ids::ResourceName;

use super::{Compare, Fate};
use crate::machine::change::{How, KnownResource, Part};

impl<'a> Compare<'a> {
    /// Of what is rebuilt because of its own entry, that which nobody else has to notice.
    pub(super) fn alone(&mut self) {
        let alone = |name: &&ResourceName| {
            let fate = &self.fates[*name];
            let (Some(old), Some(new)) = (self.from.get(*name), self.to.get(*name)) else {
                return false;
            };
            let inside = self.known(name).and_then(|known| known.built_in.as_ref());
            let stays = |module| !self.modules.restarted.contains(module) && !self.modules.stopped.contains(module);
            let refused = matches!(self.known.answers.get(*name), Some(Err(_)));
            fate.how == How::Rebuild
                && !fate.after_start
                && old.serves_the_same_as(new)
                && inside.is_some_and(stays)
                && !refused
                && self.needs_what_it_holds(name)
        };
        let alone: Vec<_> = self.fates.keys().copied().filter(alone).collect();
        for name in alone {
            if let Some(fate) = self.fates.get_mut(name) {
                fate.alone = true;
            }
        }
    }

    /// True if it is built again with what it holds now.
    fn needs_what_it_holds(&self, name: &ResourceName) -> bool {
        let held = self.known(name).map_or(&[][..], |known| &known.held);
        let needs = &self.needs[name];
        let wanted = |held: &ResourceName| needs.required.contains(&held) || needs.optional.contains(&held);
        let comes = |optional: &ResourceName| !held.contains(optional) && self.comes(optional);
        needs.missing.is_none()
            && held.iter().all(wanted)
            && needs.required.iter().all(|required| held.contains(required))
            && !needs.optional.iter().any(|optional| comes(optional))
    }

    /// Who holds something that is taken out is taken out, too.
    pub(super) fn spread(&mut self) {
        let holders = self.holders();
        let mut open: Vec<&'a ResourceName> = Vec::new();
        let out = |fate: &Fate| matches!(fate.how, How::Rebuild | How::Close) && !fate.alone;
        open.extend(self.fates.iter().filter(|(_, fate)| out(fate)).map(|(name, _)| *name));
        // What is told of a resource must not depend on chance.
        open.sort_unstable();
        while let Some(name) = open.pop() {
            let fate = self.fates[name].clone();
            for holder in holders.get(name).into_iter().flatten().copied() {
                let gone = fate.how == How::Close;
                let needed = self.needs[holder].required.contains(&name);
                let (how, because) = match (gone, needed) {
                    (true, true) => (How::Close, format!("needs {}", name.name)),
                    (true, false) => (How::Rebuild, format!("lets go of {}", name.name)),
                    (false, _) => (How::Rebuild, format!("holds {}", name.name)),
                };
                match self.fates.get_mut(holder) {
                    Some(present) if present.how == How::Close => continue,
                    Some(present) if present.alone && how == How::Rebuild => {
                        present.alone = false;
                        open.push(holder);
                        continue;
                    }
                    Some(present) if present.how == How::Rebuild && how == How::Rebuild => continue,
                    _ => {}
                }
                self.set(holder, how, because, false);
                self.through(holder, Part::Resource(name.clone()));
                open.push(holder);
            }
        }
    }

    /// What would close a circle now is let go, and what does so no more is taken up, once it is known that it is so.
    pub(super) fn circles(&mut self) {
        for name in self.order.clone() {
            let Some(known) = self.known(name).filter(|known| known.built_in.is_some()) else {
                continue;
            };
            if self.fates.get(name).is_some_and(|fate| fate.how != How::Update) {
                continue;
            }
            let lets_go = self
                .forgone
                .iter()
                .find(|one| one.by == *name && known.held.contains(&one.what));
            let needs = &self.needs[name];
            let opened = known.forgone.iter().find(|one| needs.optional.contains(&&one.what));
            let (because, other) = match (lets_go, opened) {
                (Some(one), _) => {
                    let because = format!(
                        "lets go of {}, which would close a circle: {}",
                        one.what.name,
                        one.way()
                    );
                    (because, one.what.clone())
                }
                (None, Some(one)) => {
                    let because = format!("would like {}, which closes no circle any more", one.what.name);
                    (because, one.what.clone())
                }
                (None, None) => continue,
            };
            self.set(name, How::Rebuild, because, true);
            self.through(name, Part::Resource(other));
        }
    }

    pub(super) fn forgoes(&self, name: &ResourceName, dependency: &ResourceName) -> bool {
        let mut forgone = self.forgone.iter();
        forgone.any(|one| one.by == *name && one.what == *dependency)
    }

    /// Who waits for something that comes may be built then, and who would like it may take it.
    pub(super) fn waiting(&mut self) {
        let mut wanting: HashMap<&ResourceName, Vec<(&'a ResourceName, bool)>> = HashMap::new();
        for name in &self.order {
            let needs = &self.needs[*name];
            for required in &needs.required {
                wanting.entry(required).or_default().push((name, true));
            }
            for optional in &needs.optional {
                wanting.entry(optional).or_default().push((name, false));
            }
        }
        let mut open: Vec<_> = self.order.iter().copied().filter(|name| self.comes(name)).collect();
        open.reverse();
        while let Some(name) = open.pop() {
            for (waiting, required) in wanting.get(name).cloned().unwrap_or_default() {
                let built = self.is_built(waiting);
                let held = |known: &KnownResource| known.held.contains(name);
                let fits = match self.fates.get(waiting) {
                    Some(fate) if fate.how != How::Update => false,
                    _ if self.to[waiting].fault.is_some() || self.needs[waiting].missing.is_some() => false,
                    _ if required => !built,
                    _ => built && !self.known(waiting).is_some_and(held),
                };
                if fits {
                    let (how, because) = if built {
                        (How::Rebuild, format!("would like {}, if that becomes READY", name.name))
                    } else {
                        (How::Build, format!("waits for {}", name.name))
                    };
                    self.set(waiting, how, because, true);
                    self.through(waiting, Part::Resource(name.clone()));
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
                if self.fates.get(holder).is_none_or(|fate| fate.how == How::Update) {
                    self.set(holder, How::Rebuild, format!("holds {}", name.name), true);
                    self.through(holder, Part::Resource(name.clone()));
                    open.push(holder);
                }
            }
        }
    }

    /// Who of the new config holds what, in its order.
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
        let fate = self.fates.get(name);
        fate.is_some_and(|fate| fate.how == How::Rebuild && fate.after_start)
    }
}
