//! Next step of each resource: a function of the wanted config and of what runs. Does no IO, reads no clock.
//!
//! Nothing here knows a "start-up" or a "recovery": whatever happened, each resource is asked what separates it from
//! what is wanted, and the answer is its next step. Start-up is the case where nothing runs yet, shutdown the one where
//! nothing is wanted, and a crash the one where some of what was built is gone.

use std::time::Instant;

use mainstay_ids::{Api, ResourceName};
use mainstay_model::Offers;
use mainstay_model::shown::ShownState;
use mainstay_model::{ModuleName, Phase, ResourceConfig};

use super::desired;
use super::node::{BuildStage, Held, IN_FLIGHT_PER_MODULE, ModuleCondition, ModuleNode, ResourceNode};
use super::world::World;
use crate::graph::Unresolved;

/// The next step for one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A step is under way; its end is news.
    Wait,
    /// Show this; nothing to do until something changes.
    Show(ShownState),
    /// Ask its module whether the config is good.
    Validate(ModuleName),
    /// Build it with these.
    Add(ModuleName, Vec<Held>),
    /// Take it out.
    Remove(ModuleName),
    /// The module has enough to do; the resource is queued there.
    Queue(ModuleName),
    /// Not wanted and not there: forget it.
    Forget,
}

impl World {
    /// The next step for `name`.
    pub fn next(&self, name: &ResourceName, now: Instant) -> Step {
        let Some(node) = self.nodes.get(name) else {
            return Step::Wait;
        };
        if node.is_imported() {
            return self.next_of_imported(name, node);
        }
        match (node.stage, &node.module) {
            (BuildStage::Validating | BuildStage::Adding | BuildStage::Removing, _) => Step::Wait,
            (BuildStage::Built, Some(module)) => self.next_of_built(node, module),
            (BuildStage::Built | BuildStage::Idle, _) => self.next_of_idle(name, node, now),
        }
    }

    fn next_of_built(&self, node: &ResourceNode, module: &ModuleName) -> Step {
        if node.must_remove {
            let name = &node.config.name;
            return if self.is_held(name) && (!node.in_place || self.is_held_by_removed(name)) {
                Step::Show(ShownState::waiting("being replaced, after the resources that use it"))
            } else {
                self.unless_busy(module, Step::Remove(module.clone()))
            };
        }
        if let Some(cause) = self.modules.get(module).and_then(|module| module.silent.as_ref()) {
            return Step::Show(ShownState::gone(cause.clone()));
        }
        let lost = |held: &&ResourceName| self.nodes.get(*held).is_none_or(|held| !held.is_counted_on());
        // An optional dependency that it holds is missed like any other: what it does with it fails.
        let held = node.held.iter().map(|(held, _)| held);
        match node.required().iter().chain(held).find(lost) {
            Some(lost) => Step::Show(ShownState::waiting(self.why_not(lost))),
            None => Step::Show(ShownState::READY),
        }
    }

    fn next_of_idle(&self, name: &ResourceName, node: &ResourceNode, now: Instant) -> Step {
        if !node.wanted {
            // An add that was broken off may have left something behind.
            return match &node.module {
                Some(module) if node.tainted && self.is_callable(module) => Step::Remove(module.clone()),
                // Who holds it counts on it to be known, and is taken out first.
                _ if self.is_held(name) => Step::Wait,
                _ => Step::Forget,
            };
        }
        if let Some(fault) = &node.config.fault {
            return Step::Show(ShownState::broken(fault.as_str()));
        }
        let module = match self.module_of(&node.config) {
            Ok(module) => module,
            Err(shown) => return Step::Show(shown),
        };
        match self.condition(module) {
            Some(ModuleCondition::Ready) => {}
            Some(ModuleCondition::Down(cause)) => return Step::Show(ShownState::gone(cause.clone())),
            _ => return Step::Show(ShownState::waiting(format!("module {module} is starting"))),
        }
        if let Some(error) = self.retries.holds_back(name, now) {
            return Step::Show(ShownState::broken(error.message.clone()).on_the_wire(error.wire.clone()));
        }
        // A name that may still be taken in another module is freed first.
        if let Some(other) = node.module.as_ref().filter(|other| *other != module)
            && node.tainted
            && self.is_callable(other)
        {
            return self.unless_busy(other, Step::Remove(other.clone()));
        }
        let Some(dependencies) = node.dependencies.as_ref().filter(|found| found.validated) else {
            return self.unless_busy(module, Step::Validate(module.clone()));
        };
        if !dependencies.missing.is_empty() {
            return Step::Show(self.unresolved(&dependencies.missing));
        }
        if let Some(path) = self.circles.of(name) {
            let path: Vec<_> = path.iter().map(|name| name.name.as_str()).collect();
            let circle = format!(
                "dependency cycle: {}; one of them must not depend on the next",
                path.join(" → ")
            );
            let wire = format!("resource build error: {circle}");
            return Step::Show(ShownState::broken(circle).on_the_wire(wire));
        }
        // Two that are rebuilt alone, one of which holds the other, wait for each other without a word: who holds them stays.
        let in_place = |name: &ResourceName| node.in_place && self.nodes.get(name).is_some_and(|node| node.in_place);
        if let Some(dependency) = dependencies.required.iter().find(|dependency| !self.usable(dependency)) {
            if in_place(dependency) {
                return Step::Wait;
            }
            return Step::Show(self.blocked_by(dependency, name));
        }
        if self.is_held(name) && !node.in_place {
            return Step::Show(ShownState::waiting(
                "waiting until its dependents have let go of the old one",
            ));
        }
        let optional = self.optional_of(name, node);
        if let Some((dependency, _)) = optional.iter().find(|(dependency, _)| !self.usable(dependency)) {
            if in_place(dependency) {
                return Step::Wait;
            }
            return Step::Show(ShownState::waiting("an optional dependency is being built"));
        }
        let mut held: Vec<Held> = dependencies.required.iter().map(|name| self.with_build(name)).collect();
        held.extend(optional);
        held.sort();
        held.dedup();
        self.unless_busy(module, Step::Add(module.clone(), held))
    }

    /// True if somebody who holds it is to be taken out, too; that comes first.
    fn is_held_by_removed(&self, name: &ResourceName) -> bool {
        let holds = |holder: &ResourceNode| holder.held.iter().any(|(held, _)| held == name);
        let mut dependents = self.dependents.get(name).into_iter().flatten();
        dependents.any(|holder| {
            let holder = self.nodes.get(holder);
            holder.is_some_and(|holder| (holder.must_remove || holder.stage == BuildStage::Removing) && holds(holder))
        })
    }

    fn is_callable(&self, module: &ModuleName) -> bool {
        matches!(
            self.condition(module),
            Some(ModuleCondition::Ready | ModuleCondition::Draining)
        )
    }

    fn unless_busy(&self, module: &ModuleName, step: Step) -> Step {
        match self.modules.get(module) {
            Some(state) if state.in_flight >= IN_FLIGHT_PER_MODULE => Step::Queue(module.clone()),
            _ => step,
        }
    }

    /// True if a built resource has to be taken out whatever its own entry says: its module is to be restarted, or what it
    /// holds was replaced or can be built anew. What it holds being merely gone is no reason: it keeps answering, Stop
    /// above all.
    pub(super) fn has_to_follow(&self, name: &ResourceName, node: &ResourceNode) -> bool {
        let restarting =
            node.module.as_ref().and_then(|module| self.condition(module)) == Some(&ModuleCondition::Draining);
        let stale = |(held, build): &Held| match self.nodes.get(held) {
            None => true,
            Some(held) if held.in_place => held.build != *build,
            Some(held) => match held.stage {
                BuildStage::Built => held.build != *build || held.must_remove,
                // A step that is under way there ends with its module.
                BuildStage::Idle if held.is_imported() => !held.wanted,
                BuildStage::Idle | BuildStage::Validating | BuildStage::Adding | BuildStage::Removing => self
                    .module_of(&held.config)
                    .is_ok_and(|module| self.condition(module) == Some(&ModuleCondition::Ready)),
            },
        };
        // What would leave with it, as long as it is not decided which of them gives way, has not come: it would be gone,
        // and come, and be gone without end.
        let come = |optional: &Held| {
            !node.held.contains(optional) && self.usable(&optional.0) && !self.may_hold(&optional.0, name)
        };
        restarting
            || node.holds_otherwise()
            || node.held.iter().any(|(held, _)| self.drops_optional(node, held))
            || node.held.iter().any(stale)
            || (!node.optional().is_empty() && self.optional_of(name, node).iter().any(come))
    }

    /// The optional dependencies of `name` that are there or being built, less those that would close a circle.
    fn optional_of(&self, name: &ResourceName, node: &ResourceNode) -> Vec<Held> {
        let present = |dependency: &ResourceName| {
            self.nodes.get(dependency).is_some_and(|node| match node.stage {
                BuildStage::Validating | BuildStage::Adding | BuildStage::Built => node.wanted,
                // Nothing is known against it yet: it is about to be built.
                BuildStage::Idle => {
                    node.wanted && (node.in_place || node.shown.is_none()) && node.config.fault.is_none()
                }
                BuildStage::Removing => node.in_place,
            })
        };
        let fits = |dependency: &&ResourceName| {
            !self.drops_optional(node, dependency) && present(dependency) && !self.leads_back(dependency, name)
        };
        node.optional()
            .iter()
            .filter(fits)
            .map(|dependency| self.with_build(dependency))
            .collect()
    }

    fn with_build(&self, name: &ResourceName) -> Held {
        (name.clone(), self.nodes.get(name).map_or(0, |node| node.build))
    }

    /// True if a new resource may be built on this one.
    pub(super) fn usable(&self, name: &ResourceName) -> bool {
        let Some(node) = self.nodes.get(name) else { return false };
        let there = |required: &ResourceName| self.nodes.get(required).is_some_and(ResourceNode::is_counted_on);
        node.stage == BuildStage::Built && !node.must_remove && node.required().iter().all(there)
    }

    /// State that `name` shows while `dependency` is not there. In a circle that was not found yet, each would take the
    /// other's cause into its own, without end.
    fn blocked_by(&self, dependency: &ResourceName, name: &ResourceName) -> ShownState {
        match self.nodes.get(dependency).and_then(|node| node.shown.as_ref()) {
            Some(shown)
                if shown.phase == Phase::Unhealthy && !(self.circles.unexplored && self.requires(dependency, name)) =>
            {
                let reason = shown.wire_cause().unwrap_or("unknown");
                let wire = format!(
                    "resource build error: dependency {dependency} is not ready yet; reason=resource {dependency} not available; reason={reason}"
                );
                ShownState {
                    phase: Phase::Unhealthy,
                    cause: Some(format!("needs {}", self.why_missed(dependency)).into()),
                    wire: Some(wire.into()),
                    transient: shown.transient,
                }
            }
            _ => ShownState::waiting(format!("waiting for {} ({})", dependency.name, short(&dependency.api))),
        }
    }

    fn why_not(&self, dependency: &ResourceName) -> String {
        format!("waiting for {}", self.why_missed(dependency))
    }

    /// The dependency, and what is the matter with it.
    fn why_missed(&self, dependency: &ResourceName) -> String {
        let cause = self
            .nodes
            .get(dependency)
            .and_then(|node| node.shown.as_ref()?.cause.clone());
        let what = format!("{} ({})", dependency.name, short(&dependency.api));
        match cause {
            Some(cause) => format!("{what}: {cause}"),
            None => what,
        }
    }

    /// The module that builds this resource: a built-in one, else the first in the config that offers the model.
    pub(super) fn module_of(&self, config: &ResourceConfig) -> Result<&ModuleName, ShownState> {
        let configured = || {
            self.module_order
                .iter()
                .filter_map(|name| Some((name, self.modules.get(name)?)))
        };
        let offers = configured().map(|(name, module)| (name, &*module.offers));
        if let Some(name) = desired::module_of(config, &self.builtin, offers) {
            return Ok(name);
        }
        let names = |wanted: fn(&ModuleNode) -> bool| -> Vec<String> {
            configured()
                .filter(|(name, module)| !name.is_builtin() && wanted(module))
                .map(|(name, _)| name.to_string())
                .collect()
        };
        let starting = names(|module| {
            module.offers.is_empty() && module.condition == ModuleCondition::Starting && module.first_attempt
        });
        if !starting.is_empty() {
            return Err(ShownState::waiting(format!(
                "no module offers it so far; still starting: {}",
                starting.join(", ")
            )));
        }
        let failing = names(|module| module.offers.is_empty());
        let (api, model) = (&config.name.api, &config.model);
        let mut text =
            format!("resource build error: unknown resource type: API {api} with model {model} not registered; ");
        if !failing.is_empty() {
            text.push_str(&format!("May be in failing module: [{}]; ", failing.join(" ")));
        }
        text.push_str("There may be no module in config that provides this model");
        let down = configured().filter(|(name, module)| !name.is_builtin() && module.offers.is_empty());
        let down: Vec<_> = down
            .filter_map(|(name, module)| match &module.condition {
                ModuleCondition::Down(cause) => Some((name.to_string(), &**cause)),
                _ => None,
            })
            .collect();
        let missing = self.offers().missing(api, model);
        // One that does not run may be the one that offers it, but for models that only we have.
        let cause = match down.as_slice() {
            [_, ..] if !model.is_builtin() => {
                let names: Vec<_> = down.iter().map(|(name, _)| format!("`{name}`")).collect();
                let (modules, run) = if names.len() == 1 {
                    ("module", "is not running")
                } else {
                    ("modules", "are not running")
                };
                format!(
                    "{}; it may be of {modules} {}, which {run}",
                    missing.what,
                    names.join(", ")
                )
            }
            _ => missing.to_string(),
        };
        // What they hear who know these words; the rest is why that module fails, and when it is tried again.
        for cause in down.iter().map(|(_, cause)| *cause).chain([missing.cure.as_str()]) {
            text.push_str("; ");
            text.push_str(cause);
        }
        let shown = if failing.is_empty() {
            ShownState::broken(cause)
        } else {
            ShownState::gone(cause)
        };
        Err(shown.on_the_wire(text))
    }

    /// State that a resource shows while texts of its dependencies mean nothing, or nothing for certain.
    fn unresolved(&self, missing: &[(String, Unresolved)]) -> ShownState {
        let names: Vec<_> = missing.iter().map(|(text, _)| text.as_str()).collect();
        let mut wire = format!(
            "resource build error: resource has unresolved dependencies not found in machine config or connected remotes: [{}]",
            names.join(" ")
        );
        let (mut causes, mut absent) = (Vec::new(), false);
        for (text, problem) in missing {
            let (what, more) = match problem {
                Unresolved::Missing => match self.absent_remotes().next() {
                    None => (
                        format!(
                            "needs `{text}`, but nothing in this config has that name: add it, or correct the name"
                        ),
                        None,
                    ),
                    Some((remote, cause)) => {
                        absent = true;
                        let what = format!(
                            "needs `{text}`, which nothing here is called; remote `{remote}` may have it, but is away: {cause}"
                        );
                        (what, None)
                    }
                },
                Unresolved::Removed(name) => {
                    let more = if name.name.contains(':') {
                        format!("the machine that had {name} has it no longer")
                    } else {
                        format!("{name} was removed from the config")
                    };
                    (format!("needs `{text}`, but {more}"), Some(more))
                }
                Unresolved::Ambiguous(several) => {
                    let several: Vec<_> = several.iter().map(ToString::to_string).collect();
                    let more = format!("could mean {}: give the full name", several.join(" or "));
                    (
                        format!("needs `{text}`, which {more}"),
                        Some(format!("`{text}` {more}")),
                    )
                }
            };
            causes.push(what);
            if let Some(more) = more {
                wire.push_str("; ");
                wire.push_str(&more);
            }
        }
        let shown = if absent {
            ShownState::gone(causes.join("; "))
        } else {
            ShownState::broken(causes.join("; "))
        };
        shown.on_the_wire(wire)
    }

    /// Models on offer, as far as they are known.
    fn offers(&self) -> Offers {
        let configured = self.module_order.iter().filter(|name| !name.is_builtin());
        let known = configured.filter_map(|name| {
            let offers = self.modules.get(name)?.offers.iter().cloned().collect();
            Some((name.to_string(), offers))
        });
        Offers {
            modules: known.collect(),
            ..self.builtins.offers()
        }
    }
}

/// `component:motor` for `rdk:component:motor`; other namespaces stay.
fn short(api: &Api) -> String {
    let text = api.to_string();
    text.strip_prefix("rdk:").map_or(text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests;
