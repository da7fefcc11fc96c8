//! Changes of the resources in a plan.

mod consequences;

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;

use mainstay_ids::ResourceName;
use mainstay_model::dependencies::Declared;
use mainstay_model::plan::{Change, ChangeKind, DroppedOptional, Part};
use mainstay_model::{Config, ModuleName, ResourceConfig, difference};

use super::{Known, KnownResource, Modules};
use crate::graph::{Index, Unresolved, circles, walk};
use crate::machine::desired;
use crate::machine::node::Dependencies;

/// Changes of the resources, in order.
#[derive(Debug, Default)]
pub(super) struct ResourceChanges {
    pub(super) closed: Vec<Change>,
    pub(super) built: Vec<Change>,
    pub(super) dropped_optional: Vec<DroppedOptional>,
}

struct Comparison<'a> {
    known: &'a Known,
    modules: &'a Modules,
    from: HashMap<&'a ResourceName, &'a ResourceConfig>,
    to: HashMap<&'a ResourceName, &'a ResourceConfig>,
    /// Names of the new config, in its order.
    order: Vec<&'a ResourceName>,
    old_index: Index,
    index: Index,
    /// The dependencies of those, without optional ones that they have to go without.
    needs: HashMap<&'a ResourceName, Dependencies>,
    /// Optional dependencies that would close a circle.
    dropped_optional: Vec<DroppedOptional>,
    /// Resources that a built resource holds.
    held: HashSet<&'a ResourceName>,
    actions: HashMap<&'a ResourceName, Change>,
}

pub(super) fn compare(from: &Config, to: &Config, known: &Known, modules: &Modules) -> ResourceChanges {
    let index_of = |config: &Config| {
        let mut index = Index::new(config.resources.iter().map(|config| &config.name));
        let stays = |remote: &ModuleName| {
            config
                .remotes
                .iter()
                .any(|known| ModuleName::remote(&known.name) == *remote)
        };
        for (_, import) in known.imports.iter().filter(|(remote, _)| stays(remote)) {
            index.add(&import.name);
            index.add_aliases(&import.name, &import.aliases);
        }
        index.set_remotes(config.remotes.iter().map(|remote| remote.name.clone()));
        index
    };
    let same_names = {
        let old: HashSet<_> = from.resources.iter().map(|config| &config.name).collect();
        old.len() == to.resources.len()
            && to.resources.iter().all(|config| old.contains(&config.name))
            && from.remotes == to.remotes
    };
    let index = index_of(to);
    let mut compare = Comparison {
        known,
        modules,
        from: from.resources.iter().map(|config| (&config.name, config)).collect(),
        to: to.resources.iter().map(|config| (&config.name, config)).collect(),
        order: to.resources.iter().map(|config| &config.name).collect(),
        old_index: if same_names { Index::default() } else { index_of(from) },
        index,
        needs: HashMap::new(),
        dropped_optional: Vec::new(),
        held: known.resources.values().flat_map(|known| &known.held).collect(),
        actions: HashMap::new(),
    };
    compare.find_needs();
    compare.find_circles();
    compare.entries(from, to);
    compare.of_modules();
    if !same_names {
        compare.names();
    }
    compare.blocked();
    compare.in_place();
    compare.propagate();
    compare.circles();
    compare.waiting();
    compare.finish(from)
}

impl<'a> Comparison<'a> {
    fn known(&self, name: &ResourceName) -> Option<&'a KnownResource> {
        self.known.resources.get(name)
    }

    fn is_built(&self, name: &ResourceName) -> bool {
        self.known(name).is_some_and(|known| known.built_in.is_some())
    }

    /// True if nothing but what is around it can touch this resource.
    fn is_same(&self, name: &ResourceName) -> bool {
        match (self.from.get(name), self.to.get(name)) {
            (Some(old), Some(new)) => old.builds_the_same_as(new),
            _ => false,
        }
    }

    /// Dependencies of a resource as far as they are known: its module's answer about the new entry, what it declared
    /// of the same entry before, or the entry's own list.
    fn declared(&self, name: &ResourceName) -> (Arc<Declared>, bool) {
        let explicit = self.to.get(name).map_or(&[][..], |config| &config.depends_on);
        if self.is_same(name)
            && let Some(declared) = self.known(name).and_then(|known| known.declared.clone())
        {
            return (declared, true);
        }
        match self.known.answers.get(name) {
            Some(Ok(answer)) => (Arc::new(answer.clone().with(explicit)), true),
            _ => (Arc::new(Declared::default().with(explicit)), false),
        }
    }

    fn find_needs(&mut self) {
        let found = |name: &&'a ResourceName| (*name, Dependencies::find(self.declared(name).0, &self.index));
        self.needs = self.order.iter().map(found).collect();
    }

    /// Takes the optional dependencies that close a circle out of the needs.
    fn find_circles(&mut self) {
        let refused = |name: &&ResourceName| self.to[*name].fault.is_some() || self.refuses(name);
        let edges = self.order.iter().filter(|name| !refused(name));
        self.dropped_optional = circles::dropped_optional(edges.flat_map(|from| self.needs[*from].edges(from)));
        for one in &self.dropped_optional {
            if let Some(needs) = self.needs.get_mut(&one.by) {
                needs.optional.retain(|optional| *optional != one.what);
            }
        }
    }

    /// True if its module, asked about the new entry, does not want it.
    fn refuses(&self, name: &ResourceName) -> bool {
        let (_, known) = self.declared(name);
        !known && self.known.answers.get(name).is_some_and(Result::is_err)
    }

    /// Plans this for `name`, in place of what was planned for it.
    fn set(&mut self, name: &'a ResourceName, how: ChangeKind, because: impl Into<String>) -> &mut Change {
        let change = Change::new(Part::Resource(name.clone()), how, because);
        self.actions.entry(name).insert_entry(change).into_mut()
    }

    /// What is planned for a resource.
    fn planned(&self, name: &ResourceName) -> Option<ChangeKind> {
        self.actions.get(name).map(|action| action.how)
    }

    /// True if it is built, again or for the first time.
    fn comes(&self, name: &ResourceName) -> bool {
        matches!(self.planned(name), Some(ChangeKind::Build | ChangeKind::Rebuild))
    }

    /// True if it is built, or taken out.
    fn moves(&self, name: &ResourceName) -> bool {
        self.planned(name).is_some_and(|how| how != ChangeKind::Update)
    }

    /// Plans the actions that follow from the entries themselves.
    fn entries(&mut self, from: &'a Config, to: &'a Config) {
        for old in &from.resources {
            if !self.to.contains_key(&old.name) {
                self.set(&old.name, ChangeKind::Close, "no longer in the config");
            }
        }
        for name in self.order.clone() {
            let new = self.to[name];
            let built = self.is_built(name);
            let Some(old) = self.from.get(name).copied() else {
                let how = if new.fault.is_some() {
                    ChangeKind::Update
                } else {
                    ChangeKind::Build
                };
                let because = super::new_and(new.fault.as_deref());
                self.set(name, how, because).known_after_start = self.answer_is_open(name, new);
                continue;
            };
            if old.builds_the_same_as(new) {
                if old.service_configs != new.service_configs {
                    let because = "service_configs changed, which concerns the services that they are for";
                    self.set(name, ChangeKind::Update, because);
                }
                continue;
            }
            match &new.fault {
                Some(fault) => {
                    let how = if built { ChangeKind::Close } else { ChangeKind::Update };
                    self.set(name, how, format!("its entry is broken: {fault}"));
                }
                None => {
                    let how = if built { ChangeKind::Rebuild } else { ChangeKind::Build };
                    let because = differences(from, old, to, new);
                    self.set(name, how, because).known_after_start = !built && self.answer_is_open(name, new);
                }
            }
        }
    }

    /// True if it is not known what its module says of this entry.
    fn answer_is_open(&self, name: &ResourceName, config: &ResourceConfig) -> bool {
        !self.known.answers.contains_key(name) && config.fault.is_none()
    }

    /// The module that builds this entry after the change, if one is known to.
    fn module_of(&self, config: &ResourceConfig) -> Option<&'a ModuleName> {
        let (known, wanted) = (self.known, &self.modules.wanted);
        let offers = wanted
            .iter()
            .filter_map(|name| Some((name, &*known.modules.get(name)?.offers)));
        desired::module_of(config, &self.modules.builtin, offers)
    }

    /// Plans the actions that follow from modules that start, restart and stop.
    fn of_modules(&mut self) {
        let modules = self.modules;
        let some_start = !modules.started.is_empty() || !modules.restarted.is_empty();
        for name in self.order.clone() {
            let config = self.to[name];
            if self.moves(name) || config.fault.is_some() {
                continue;
            }
            let inside = self.known(name).and_then(|known| known.built_in.as_ref());
            match inside {
                Some(module) if modules.restarted.contains(module) => {
                    let because = format!("its module {module} is restarted");
                    self.set(name, ChangeKind::Rebuild, because).through = Some(Part::Module(module.clone()));
                }
                Some(module) if modules.stopped.contains(module) => {
                    let (how, next) = match self.module_of(config) {
                        Some(other) => (ChangeKind::Rebuild, format!("; {other} offers its model, too")),
                        None if some_start => (ChangeKind::Rebuild, "; one that starts may offer its model".to_owned()),
                        None => (ChangeKind::Close, ", and no other offers its model".to_owned()),
                    };
                    let because = format!("its module {module} is stopped{next}");
                    self.set(name, how, because).through = Some(Part::Module(module.clone()));
                }
                Some(_) => {}
                None => match self.module_of(config) {
                    Some(module) if modules.restarted.contains(module) => {
                        let because = format!("its module {module} is restarted");
                        let change = self.set(name, ChangeKind::Build, because);
                        change.known_after_start = true;
                        change.through = Some(Part::Module(module.clone()));
                    }
                    None if some_start => {
                        let because = "a module that starts may offer its model";
                        self.set(name, ChangeKind::Build, because).known_after_start = true;
                    }
                    _ => {}
                },
            }
        }
    }

    /// Plans the actions that follow from added and removed names: a dependency text may mean something else now.
    fn names(&mut self) {
        for name in self.order.clone() {
            if !self.is_same(name) || self.moves(name) {
                continue;
            }
            let (declared, _) = self.declared(name);
            let changed = |texts: &[String]| {
                let changed = texts
                    .iter()
                    .find(|text| self.old_index.resolve(text) != self.index.resolve(text));
                changed.cloned()
            };
            let needs = &self.needs[name];
            let held = self.known(name).map_or(&[][..], |known| &known.held);
            let mut held = held.iter();
            let lets_go = held.find(|held| !needs.ask_for(held) && !self.drops_optional(name, held));
            let through = lets_go.map(|held| Part::Resource(held.clone()));
            let missing = needs.missing.first().map(missing);
            let (required, built) = (changed(&declared.required), self.is_built(name));
            match (missing, required, lets_go) {
                (Some(missing), Some(_), _) if built => {
                    self.set(name, ChangeKind::Close, missing).through = through;
                }
                (Some(_), ..) => {}
                (None, Some(text), _) if built => {
                    let because = format!("its dependency `{text}` means another resource now");
                    self.set(name, ChangeKind::Rebuild, because);
                }
                (None, Some(text), _) => {
                    let because = format!("its dependency `{text}` is there now");
                    self.set(name, ChangeKind::Build, because).known_after_start = true;
                }
                (None, None, Some(held)) if built => {
                    let because = format!("lets go of {}", held.name);
                    self.set(name, ChangeKind::Rebuild, because).through = through;
                }
                _ => {}
            }
        }
    }

    /// Resources to be built that certainly cannot be, and those of which that is not certain.
    fn blocked(&mut self) {
        let mut blocked: HashMap<ResourceName, String> = HashMap::new();
        let coming = self.order.iter().copied().filter(|name| self.comes(name));
        let walk = walk(coming, |name| {
            self.needs.get(name).map_or(&[][..], |needs| &needs.required)
        });
        for circle in &walk.circles {
            let path: Vec<_> = circle.iter().map(|name| name.name.as_str()).collect();
            let because = format!("dependency cycle: {} → {}", path.join(" → "), path[0]);
            blocked.extend(circle.iter().map(|member| (member.clone(), because.clone())));
        }
        for name in walk.order.into_iter().filter(|name| self.comes(name)) {
            let needs = &self.needs[name];
            let lost = |required: &&ResourceName| {
                blocked.contains_key(*required)
                    || self.planned(required) == Some(ChangeKind::Close)
                    || self.to.get(*required).is_some_and(|config| config.fault.is_some())
            };
            let because = match (needs.missing.first(), needs.required.iter().find(lost)) {
                (Some(first), _) => missing(first),
                (None, Some(lost)) => format!("it needs {lost}, which cannot be built"),
                (None, None) => continue,
            };
            blocked.entry(name.clone()).or_insert(because);
        }
        for name in self.order.clone() {
            let built = self.is_built(name);
            let open = |required: &ResourceName| !self.is_built(required) && !self.comes(required);
            let waits = !built && self.comes(name) && self.needs[name].required.iter().any(open);
            let Some(action) = self.actions.get_mut(name) else {
                continue;
            };
            match blocked.remove(name) {
                Some(_) if action.how == ChangeKind::Close => {}
                Some(because) => {
                    action.how = if built { ChangeKind::Close } else { ChangeKind::Update };
                    action.because = format!("{}; {because}", action.because);
                    action.known_after_start = false;
                }
                None => action.known_after_start |= waits,
            }
        }
    }

    fn finish(mut self, from: &'a Config) -> ResourceChanges {
        let closes = |name: &&ResourceName| self.planned(name) == Some(ChangeKind::Close);
        let known = from.resources.iter().map(|config| &config.name);
        let held = |name: &ResourceName| self.known(name).map_or(&[][..], |known| &known.held).iter();
        let closed = walk(known.filter(closes), |name| {
            held(name).filter(|held| closes(held) && self.from.contains_key(*held))
        });
        let rest = |name: &&ResourceName| self.planned(name).is_some_and(|how| how != ChangeKind::Close);
        let built = walk(self.order.iter().copied().filter(rest), |name| {
            let needs = &self.needs[name];
            needs.required.iter().chain(&needs.optional).filter(rest)
        });
        let changes = |order: &[&ResourceName]| order.iter().map(|name| self.change(name)).collect();
        let mut closed: Vec<_> = changes(&closed.order);
        closed.reverse();
        ResourceChanges {
            closed,
            built: changes(&built.order),
            dropped_optional: std::mem::take(&mut self.dropped_optional),
        }
    }

    fn change(&self, name: &ResourceName) -> Change {
        let mut change = self.actions[name].clone();
        if let Some(one) = self.dropped_optional.iter().find(|one| one.by == *name)
            && self.comes(name)
            && !change.because.contains(&one.way())
        {
            let (what, way) = (&one.what.name, one.way());
            let _ = write!(change.because, "; without {what}, which would close a circle: {way}");
        }
        if change.in_place && self.held.contains(name) {
            change.because.push_str("; who holds it stays");
        }
        change
    }
}

fn missing((text, problem): &(String, Unresolved)) -> String {
    match problem {
        Unresolved::Missing | Unresolved::Removed(_) => format!("it needs `{text}`, which is not in the config"),
        Unresolved::Ambiguous(several) => {
            let several: Vec<_> = several.iter().map(ToString::to_string).collect();
            format!("it needs `{text}`, which could mean {}", several.join(" or "))
        }
    }
}

/// The values in which two entries of one resource differ, the first of them in full.
fn differences(from: &Config, old: &ResourceConfig, to: &Config, new: &ResourceConfig) -> String {
    // Those concern the services that they are for.
    let own = |found: &difference::Difference| !found.path.starts_with("service_configs.");
    let found: Vec<_> = difference::resource(from, old, to, new)
        .into_iter()
        .filter(own)
        .collect();
    match (found.as_slice(), &old.fault) {
        ([], Some(_)) => "its entry was broken and is not any more".to_owned(),
        ([], None) => "its entry changed".to_owned(),
        _ => super::listed(&found),
    }
}
