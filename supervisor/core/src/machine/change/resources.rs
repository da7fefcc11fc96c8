//! Changes of the resources in a plan.

mod consequences;

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;

use mainstay_ids::ResourceName;
use mainstay_model::{Config, ModuleName, ResourceConfig, difference};

use super::order::dependencies_first;
use super::{Change, ChangeKind, Known, KnownResource, Modules, Part};
use crate::graph::circles::DroppedOptional;
use crate::graph::{Index, Unresolved, circles, cycles};
use crate::machine::node::{DeclaredDependencies, Dependencies};

/// Changes of the resources, in order.
#[derive(Debug, Default)]
pub(super) struct ResourceChanges {
    pub(super) closed: Vec<Change>,
    pub(super) built: Vec<Change>,
    pub(super) dropped_optional: Vec<DroppedOptional>,
}

/// Planned action for one resource.
#[derive(Debug, Clone)]
struct PlannedAction {
    how: ChangeKind,
    because: String,
    after_start: bool,
    /// Part that it follows from, if not from its own entry.
    through: Option<Part>,
    /// True if dependents keep it meanwhile.
    in_place: bool,
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
    actions: HashMap<&'a ResourceName, PlannedAction>,
}

pub(super) fn compare(from: &Config, to: &Config, known: &Known, modules: &Modules) -> ResourceChanges {
    let by_name = |config: &'_ Config| -> Vec<ResourceName> {
        config.resources.iter().map(|config| config.name.clone()).collect()
    };
    let same_names = {
        let old: HashSet<_> = from.resources.iter().map(|config| &config.name).collect();
        old.len() == to.resources.len() && to.resources.iter().all(|config| old.contains(&config.name))
    };
    let index = Index::new(&by_name(to));
    let mut compare = Comparison {
        known,
        modules,
        from: from.resources.iter().map(|config| (&config.name, config)).collect(),
        to: to.resources.iter().map(|config| (&config.name, config)).collect(),
        order: to.resources.iter().map(|config| &config.name).collect(),
        old_index: if same_names {
            Index::default()
        } else {
            Index::new(&by_name(from))
        },
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
    fn declared(&self, name: &ResourceName) -> (Arc<DeclaredDependencies>, bool) {
        let explicit = self.to.get(name).map_or(&[][..], |config| &config.depends_on);
        if self.is_same(name)
            && let Some(declared) = self.known(name).and_then(|known| known.declared.clone())
        {
            return (declared, true);
        }
        match self.known.answers.get(name) {
            Some(Ok(answer)) => (Arc::new(answer.clone().with(explicit)), true),
            _ => (Arc::new(DeclaredDependencies::default().with(explicit)), false),
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

    fn set(&mut self, name: &'a ResourceName, how: ChangeKind, because: impl Into<String>, after_start: bool) {
        let because = because.into();
        self.actions.insert(
            name,
            PlannedAction {
                how,
                because,
                after_start,
                through: None,
                in_place: false,
            },
        );
    }

    /// Records that the last action for `name` follows from this part.
    fn through(&mut self, name: &'a ResourceName, part: Part) {
        if let Some(action) = self.actions.get_mut(name) {
            action.through = Some(part);
        }
    }

    /// Plans the actions that follow from the entries themselves.
    fn entries(&mut self, from: &'a Config, to: &'a Config) {
        for old in &from.resources {
            if !self.to.contains_key(&old.name) {
                self.set(&old.name, ChangeKind::Close, "no longer in the config", false);
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
                let after = self.answer_is_open(name, new);
                self.set(name, how, super::new_and(new.fault.as_deref()), after);
                continue;
            };
            if old.builds_the_same_as(new) {
                if old.service_configs != new.service_configs {
                    let because = "service_configs changed, which concerns the services that they are for";
                    self.set(name, ChangeKind::Update, because, false);
                }
                continue;
            }
            match &new.fault {
                Some(fault) if built => {
                    self.set(name, ChangeKind::Close, format!("its entry is broken: {fault}"), false)
                }
                Some(fault) => self.set(name, ChangeKind::Update, format!("its entry is broken: {fault}"), false),
                None => {
                    let how = if built { ChangeKind::Rebuild } else { ChangeKind::Build };
                    let after = !built && self.answer_is_open(name, new);
                    self.set(name, how, differences(from, old, to, new), after);
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
        let key = (config.name.api.clone(), config.model.clone());
        let known = self.known;
        if let Some(builtin) = self.modules.builtin.get(&key) {
            return Some(builtin);
        }
        self.modules.wanted.iter().find(|name| {
            known
                .modules
                .get(*name)
                .is_some_and(|module| module.offers.contains(&key))
        })
    }

    /// Plans the actions that follow from modules that start, restart and stop.
    fn of_modules(&mut self) {
        let modules = self.modules;
        let some_start = !modules.started.is_empty() || !modules.restarted.is_empty();
        for name in self.order.clone() {
            if self
                .actions
                .get(name)
                .is_some_and(|action| action.how != ChangeKind::Update)
            {
                continue;
            }
            let config = self.to[name];
            if config.fault.is_some() {
                continue;
            }
            let inside = self.known(name).and_then(|known| known.built_in.as_ref());
            match inside {
                Some(module) if modules.restarted.contains(module) => {
                    self.set(
                        name,
                        ChangeKind::Rebuild,
                        format!("its module {module} is restarted"),
                        false,
                    );
                    self.through(name, Part::Module(module.clone()));
                }
                Some(module) if modules.stopped.contains(module) => {
                    let (how, next) = match self.module_of(config) {
                        Some(other) => (ChangeKind::Rebuild, format!("; {other} offers its model, too")),
                        None if some_start => (ChangeKind::Rebuild, "; one that starts may offer its model".to_owned()),
                        None => (ChangeKind::Close, ", and no other offers its model".to_owned()),
                    };
                    self.set(name, how, format!("its module {module} is stopped{next}"), false);
                    self.through(name, Part::Module(module.clone()));
                }
                Some(_) => {}
                None => match self.module_of(config) {
                    Some(module) if modules.restarted.contains(module) => {
                        self.set(
                            name,
                            ChangeKind::Build,
                            format!("its module {module} is restarted"),
                            true,
                        );
                        self.through(name, Part::Module(module.clone()));
                    }
                    None if some_start => self.set(
                        name,
                        ChangeKind::Build,
                        "a module that starts may offer its model",
                        true,
                    ),
                    _ => {}
                },
            }
        }
    }

    /// Plans the actions that follow from added and removed names: a dependency text may mean something else now.
    fn names(&mut self) {
        for name in self.order.clone() {
            if !self.is_same(name)
                || self
                    .actions
                    .get(name)
                    .is_some_and(|action| action.how != ChangeKind::Update)
            {
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
            let lets_go = held
                .iter()
                .find(|held| {
                    !needs.required.contains(held) && !needs.optional.contains(held) && !self.drops_optional(name, held)
                })
                .cloned();
            let missing = needs.missing.first().map(missing);
            let (required, built) = (changed(&declared.required), self.is_built(name));
            match (missing, required, lets_go) {
                (Some(missing), Some(_), held) if built => {
                    self.set(name, ChangeKind::Close, missing, false);
                    if let Some(held) = held {
                        self.through(name, Part::Resource(held));
                    }
                }
                (Some(_), ..) => {}
                (None, Some(text), _) if built => {
                    self.set(
                        name,
                        ChangeKind::Rebuild,
                        format!("its dependency `{text}` means another resource now"),
                        false,
                    );
                }
                (None, Some(text), _) => {
                    self.set(
                        name,
                        ChangeKind::Build,
                        format!("its dependency `{text}` is there now"),
                        true,
                    );
                }
                (None, None, Some(held)) if built => {
                    self.set(name, ChangeKind::Rebuild, format!("lets go of {}", held.name), false);
                    self.through(name, Part::Resource(held));
                }
                _ => {}
            }
        }
    }

    /// Resources to be built that certainly cannot be.
    fn blocked(&mut self) {
        let mut blocked: HashMap<&ResourceName, String> = HashMap::new();
        let coming: Vec<_> = self.order.iter().copied().filter(|name| self.comes(name)).collect();
        let circles = cycles(coming.iter().copied(), |name| {
            self.needs.get(name).map_or(&[], |needs| &needs.required)
        });
        for circle in &circles {
            let path: Vec<_> = circle.iter().map(|name| name.name.as_str()).collect();
            for member in circle {
                let because = format!("dependency cycle: {} → {}", path.join(" → "), path[0]);
                if let Some((name, _)) = self.to.get_key_value(member) {
                    blocked.insert(name, because);
                }
            }
        }
        let required = self
            .needs
            .iter()
            .map(|(name, needs)| (*name, needs.required.iter().collect()));
        for name in dependencies_first(coming, &required.collect()) {
            let needs = &self.needs[name];
            if let Some(first) = needs.missing.first() {
                blocked.entry(name).or_insert_with(|| missing(first));
            }
            let lost = |required: &&ResourceName| {
                let action = self.actions.get(*required);
                blocked.contains_key(*required)
                    || action.is_some_and(|action| action.how == ChangeKind::Close)
                    || self.to.get(*required).is_some_and(|config| config.fault.is_some())
            };
            if let Some(lost) = needs.required.iter().find(lost) {
                blocked
                    .entry(name)
                    .or_insert_with(|| format!("it needs {lost}, which cannot be built"));
            }
        }
        for name in self
            .order
            .clone()
            .into_iter()
            .filter(|name| !blocked.contains_key(*name))
        {
            let open = |required: &ResourceName| !self.is_built(required) && !self.comes(required);
            if self.comes(name)
                && self.needs[name].required.iter().any(open)
                && !self.is_built(name)
                && let Some(action) = self.actions.get_mut(name)
            {
                action.after_start = true;
            }
        }
        for (name, because) in blocked {
            let built = self.is_built(name);
            if let Some(action) = self
                .actions
                .get_mut(name)
                .filter(|action| action.how != ChangeKind::Close)
            {
                action.how = if built { ChangeKind::Close } else { ChangeKind::Update };
                action.because = format!("{}; {because}", action.because);
                action.after_start = false;
            }
        }
    }

    fn comes(&self, name: &ResourceName) -> bool {
        self.actions
            .get(name)
            .is_some_and(|action| matches!(action.how, ChangeKind::Build | ChangeKind::Rebuild))
    }

    fn finish(self, from: &'a Config) -> ResourceChanges {
        let mut found = ResourceChanges::default();
        let held: HashMap<&ResourceName, Vec<&ResourceName>> = self
            .known
            .resources
            .iter()
            .map(|(name, known)| (name, known.held.iter().collect()))
            .collect();
        let known = from.resources.iter().map(|config| &config.name);
        let closes = |name: &&ResourceName| {
            self.actions
                .get(*name)
                .is_some_and(|action| action.how == ChangeKind::Close)
        };
        let closed = dependencies_first(known.filter(closes), &held);
        found.closed = closed.into_iter().rev().map(|name| self.change(name)).collect();
        let needs = self.needs.iter().map(|(name, needs)| {
            let all = needs.required.iter().chain(&needs.optional);
            (*name, all.collect::<Vec<_>>())
        });
        let rest = self.order.iter().copied().filter(|name| {
            let action = self.actions.get(*name);
            action.is_some_and(|action| action.how != ChangeKind::Close)
        });
        let built = dependencies_first(rest, &needs.collect());
        found.built = built.into_iter().map(|name| self.change(name)).collect();
        found.dropped_optional = self.dropped_optional;
        found
    }

    fn change(&self, name: &ResourceName) -> Change {
        let PlannedAction {
            how,
            mut because,
            after_start,
            through,
            in_place,
        } = self.actions[name].clone();
        if let Some(one) = self.dropped_optional.iter().find(|one| one.by == *name)
            && matches!(how, ChangeKind::Build | ChangeKind::Rebuild)
            && !because.contains(&one.way())
        {
            let _ = write!(
                because,
                "; without {}, which would close a circle: {}",
                one.what.name,
                one.way()
            );
        }
        if in_place && self.held.contains(name) {
            because.push_str("; who holds it stays");
        }
        Change {
            part: Part::Resource(name.clone()),
            how,
            because,
            known_after_start: after_start,
            through,
            in_place,
        }
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
