//! Plan from one config to another on a running machine: an ordered list of changes. A pure function; what it says
//! is what is done (`apply`), and what `mainstay plan` shows.
//!
//! Start-up is the plan from the empty config, shutdown the plan to it. Something is touched only if its own entry
//! changed or something that it holds did. What depends on answers that nobody has yet is marked `known_after_start`.

mod resources;
mod sections;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use mainstay_ids::{Api, Model, ResourceName};
use mainstay_model::dependencies::Declared;
use mainstay_model::difference::{self, Difference};
use mainstay_model::failure::Failure;
use mainstay_model::plan::{Change, ChangeKind, DroppedOptional, Part, Plan};
use mainstay_model::{Builtins, Config, ModuleName};

use super::desired::{self, DesiredModule};
use crate::remote::Import;

/// Running state that no config tells, as far as a plan needs it.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The built-in modules.
    pub builtins: Arc<Builtins>,
    /// The modules.
    pub modules: BTreeMap<ModuleName, KnownModule>,
    /// The resources.
    pub resources: HashMap<ResourceName, KnownResource>,
    /// Resources of other machines that are used, with the remotes that have them.
    pub imports: Vec<(ModuleName, Import)>,
    /// Answers of running modules about entries that are not applied yet; see `Handle::preflight`.
    pub answers: HashMap<ResourceName, Result<Declared, Failure>>,
}

/// Running state of a module.
#[derive(Debug, Clone, Default)]
pub struct KnownModule {
    /// True if the module can be asked.
    pub ready: bool,
    /// Models that it offers, as of its last Ready.
    pub offers: Arc<HashSet<(Api, Model)>>,
}

/// Running state of a resource.
#[derive(Debug, Clone, Default)]
pub struct KnownResource {
    /// The module that it is in, if it is in one.
    pub built_in: Option<ModuleName>,
    /// Dependencies that it was built with.
    pub held: Vec<ResourceName>,
    /// Dependencies, as its module declared them last and its entry does.
    pub declared: Option<Arc<Declared>>,
    /// Optional dependencies that it has to go without.
    pub dropped_optional: Vec<DroppedOptional>,
}

/// Plan from `from`, which is applied, to `to`. Linear in the sizes of both, and of what depends on what.
#[must_use]
pub fn plan(from: &Config, to: &Config, known: &Known) -> Plan {
    let modules = Modules::compare(from, to, known);
    let resources = resources::compare(from, to, known, &modules);
    let mut changes = sections::before(from, to);
    changes.extend(resources.closed);
    changes.extend(modules.changes);
    changes.extend(resources.built);
    changes.extend(sections::after(from, to));
    let touched: HashSet<&Part> = changes.iter().map(|change| &change.part).collect();
    let wanted = modules.wanted.into_iter().map(Part::Module);
    let entries = to.resources.iter().map(|config| Part::Resource(config.name.clone()));
    let stays = wanted.chain(entries).filter(|part| !touched.contains(part)).collect();
    Plan {
        dropped_optional: resources.dropped_optional,
        changes,
        stays,
    }
}

/// Changes of the modules.
#[derive(Debug, Default)]
struct Modules {
    changes: Vec<Change>,
    /// All modules that are wanted, in order.
    wanted: Vec<ModuleName>,
    stopped: BTreeSet<ModuleName>,
    restarted: BTreeSet<ModuleName>,
    /// New ones that can run.
    started: BTreeSet<ModuleName>,
    /// Built-in models that `to` uses, and where they are.
    builtin: HashMap<(Api, Model), ModuleName>,
}

impl Modules {
    fn compare(from: &Config, to: &Config, known: &Known) -> Self {
        let (old, new) = (
            desired::modules(from, &known.builtins),
            desired::modules(to, &known.builtins),
        );
        let names: HashSet<_> = new.iter().map(|wanted| wanted.spec.name.clone()).collect();
        let mut found = Self {
            builtin: desired::builtin_models(to, &known.builtins),
            ..Self::default()
        };
        let mut before: HashMap<ModuleName, DesiredModule> = HashMap::new();
        for wanted in old {
            let name = wanted.spec.name.clone();
            if !names.contains(&name) {
                let because = if name.is_builtin() {
                    "no resource uses it any more"
                } else {
                    "no longer in the config"
                };
                found.add(&name, ChangeKind::Stop, because);
                found.stopped.insert(name.clone());
            }
            before.insert(name, wanted);
        }
        for wanted in new {
            let name = wanted.spec.name.clone();
            match before.get(&name) {
                None => {
                    found.add(&name, ChangeKind::Start, &new_and(wanted.fault.as_deref()));
                    if wanted.fault.is_none() {
                        found.started.insert(name.clone());
                    }
                }
                Some(same) if *same == wanted => {}
                Some(same) if same.runs_the_same_as(&wanted) => {
                    let mut reasons = Vec::new();
                    if same.has_other_level(&wanted) {
                        reasons.push("its log level is another one from its next start on".to_owned());
                    }
                    let (old, new) = (&same.spec, &wanted.spec);
                    let treated = old.policy != new.policy || old.first_run_timeout != new.first_run_timeout;
                    if treated || reasons.is_empty() {
                        let differ = differences((from, same), (to, &wanted));
                        reasons.push(format!("{differ}; its process goes on"));
                    }
                    found.add(&name, ChangeKind::Update, &reasons.join("; "));
                }
                Some(changed) => {
                    found.add(&name, ChangeKind::Restart, &differences((from, changed), (to, &wanted)));
                    found.restarted.insert(name.clone());
                }
            }
            found.wanted.push(name);
        }
        found
    }

    fn add(&mut self, name: &ModuleName, how: ChangeKind, because: &str) {
        self.changes.push(Change::new(Part::Module(name.clone()), how, because));
    }
}

/// Values of an entry that a reason names.
const SHOWN: usize = 3;

/// The first differences, and how many more there are.
fn listed(found: &[Difference]) -> String {
    let mut shown: Vec<_> = found.iter().take(SHOWN).map(ToString::to_string).collect();
    if found.len() > SHOWN {
        shown.push(format!("{} more", found.len() - SHOWN));
    }
    shown.join(", ")
}

fn new_and(fault: Option<&str>) -> String {
    match fault {
        None => "new in the config".to_owned(),
        Some(fault) => format!("new in the config, and broken: {fault}"),
    }
}

/// Differences between two entries of one module, or else between what is made of them.
fn differences((from, old): (&Config, &DesiredModule), (to, new): (&Config, &DesiredModule)) -> String {
    if let Some(fault) = &new.fault {
        return format!("its entry is broken: {fault}");
    }
    let entry = |config: &'_ Config| {
        let mut modules = config.modules.iter();
        modules.position(|module| module.name == new.spec.name.as_str())
    };
    if let (Some(before), Some(after)) = (entry(from), entry(to)) {
        let found = difference::module(from, &from.modules[before], to, &to.modules[after]);
        if !found.is_empty() {
            return listed(&found);
        }
    }
    let keys = old.spec.changed_keys(&new.spec);
    if keys.is_empty() {
        "its entry changed".to_owned()
    } else {
        format!("{} changed", keys.join(", "))
    }
}

#[cfg(test)]
mod tests;
