//! Before a resource is taken out on purpose, it takes no new calls, and those in flight get `stop.drain` to end.
//!
//! One way for all that is planned: a restart of its module, another config, the end of the machine. Where something was
//! lost, nothing waits: what held it is to come back as soon as can be.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mainstay_proto::ResourceName;

use super::actor::Machine;
use super::modules::Then;
use super::node::{Facts, Node, Stage};
use super::world::World;
use crate::identity::ModuleName;
use crate::operations::Operations;
use crate::route::resource::Closed;
use crate::route::upstream::Upstream;

/// A resource that is to take no more calls before it is taken out.
#[derive(Debug)]
pub(super) struct Drain {
    operations: Operations,
    resource: Arc<str>,
    by: Instant,
    cause: Arc<str>,
}

impl Drain {
    /// Returns when no call to it runs any more. Whoever ends the process ends this, too.
    pub(super) async fn over(self, module: &Upstream) {
        tokio::select! {
            () = self.operations.drain(&self.resource, self.by, &self.cause) => {}
            () = module.closed() => {}
        }
    }
}

impl World {
    /// Why `name`, which is to be taken out, is: because somebody wants it so. `None` if something that it holds was lost,
    /// or holds something that was.
    pub(super) fn planned(&self, name: &ResourceName) -> Option<Planned> {
        let node = self.nodes.get(name)?;
        if !node.wanted {
            return Some(Planned::NotWanted);
        }
        if let Some(module) = self.draining(node) {
            return Some(Planned::Restart(module.clone()));
        }
        // What it holds is taken out because of the same, in the end.
        let (mut seen, mut open) = (HashSet::from([name]), vec![node]);
        let mut because = None;
        while let Some(node) = open.pop() {
            for (held, build) in &node.held {
                let there = self.nodes.get(held).filter(|held| is_there(held, *build))?;
                if there.leaving && seen.insert(held) {
                    because = because.or_else(|| self.draining(there));
                    open.push(there);
                }
            }
        }
        Some(because.map_or(Planned::Replaced, |module| Planned::Restart(module.clone())))
    }

    fn draining<'a>(&self, node: &'a Node) -> Option<&'a ModuleName> {
        let module = node.module.as_ref()?;
        (self.facts(module) == Some(&Facts::Draining)).then_some(module)
    }
}

fn is_there(held: &Node, build: u64) -> bool {
    held.is_counted_on() && held.build == build
}

/// Why a resource is taken out on purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Planned {
    /// The config no longer has it, or the machine ends.
    NotWanted,
    /// This module is restarted, and it is in there or holds something that is.
    Restart(ModuleName),
    /// It is built anew, with another config or other dependencies.
    Replaced,
}

impl Machine {
    /// Whether a resource that is shown now takes new calls: not if it is to be taken out as planned. `before` is how that was
    /// so far.
    pub(super) fn closed(&self, node: &Node, before: Option<&Closed>) -> Option<Closed> {
        if !(node.stage == Stage::Removing || (node.stage == Stage::Built && node.leaving)) {
            return None;
        }
        let held = node.stage == Stage::Built;
        let (since, cause) = match before {
            Some(before) => (before.since, before.cause.clone()),
            None => {
                let planned = self.world.planned(&node.config.name);
                // What was lost has been told; it takes calls up to the last moment, because it comes back at once.
                let planned = planned.or((!held).then_some(Planned::Replaced))?;
                (Instant::now(), self.explain(&planned))
            }
        };
        Some(Closed { since, held, cause })
    }

    fn explain(&self, planned: &Planned) -> Arc<str> {
        match planned {
            _ if self.stopping.is_cancelled() => "the machine is shutting down".into(),
            Planned::NotWanted => "it is no longer in the config".into(),
            Planned::Replaced => "it is being built anew".into(),
            Planned::Restart(module) => match self.modules.get(module) {
                Some(running) => match running.then {
                    Some(Then::Gone) => format!("module {module} is no longer in the config").into(),
                    _ => format!("module {module} is being restarted: {}", running.wish).into(),
                },
                None => format!("module {module} is being restarted").into(),
            },
        }
    }

    /// What is to be waited for before `name` is taken out of `module`; nothing if it goes because something was lost. Ask
    /// before the step begins, and wait after its state was published.
    pub(super) fn drain(&self, name: &ResourceName, module: &ModuleName) -> Option<Drain> {
        let planned = self.world.planned(name)?;
        let resource = self.resources.get(name)?;
        let state = resource.state();
        let (since, cause) = match &state.closed {
            Some(closed) => (closed.since, closed.cause.clone()),
            None => (Instant::now(), self.explain(&planned)),
        };
        Some(Drain {
            operations: self.made.operations.clone(),
            resource: resource.label.clone(),
            by: since + self.patience(module),
            cause,
        })
    }

    /// How long calls in flight may go on before something in `module` is taken out as planned.
    fn patience(&self, module: &ModuleName) -> Duration {
        let view = self.published.load();
        view.module(module.as_str())
            .map_or(Duration::ZERO, |entry| entry.policy().stop.drain)
    }

    /// How long the module may be silent before it counts as hung.
    pub(super) fn kill_after(&self, module: &ModuleName) -> Duration {
        let view = self.published.load();
        view.module(module.as_str())
            .map_or(Duration::MAX, |entry| entry.policy().health.kill_after)
    }

    /// The longest that any module gives its calls: the rest of a restart or a shutdown can only begin after that.
    pub(super) fn longest_drain(&self) -> Duration {
        let view = self.published.load();
        view.modules
            .iter()
            .map(|entry| entry.policy().stop.drain)
            .max()
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::toy::{Toy, name};
    use super::*;

    #[test]
    fn what_is_wanted_so_waits_for_calls_and_what_was_lost_does_not() {
        let lines = ["a@m:", "b@n: a", "c@n: b", "d@n:"];
        let begin = || {
            let mut toy = Toy::new(&lines);
            toy.ready("m");
            toy.ready("n");
            toy.settle();
            toy
        };
        let planned = |toy: &Toy| ["a", "b", "c"].map(|resource| toy.world.planned(&name(resource)));
        let restart = Some(Planned::Restart("m".into()));

        let mut toy = begin();
        toy.world.module_changed(&"m".into(), Facts::Draining, None);
        toy.decide();
        assert_eq!(planned(&toy), [restart.clone(), restart.clone(), restart]);

        // `a` is gone; what holds it, and what holds that, is to come back at once.
        let mut toy = begin();
        toy.down("m");
        toy.ready("m");
        toy.decide();
        assert_eq!(planned(&toy)[1..], [None, None]);

        let mut toy = begin();
        toy.take_up(&["@m", "b@n: a", "c@n: b", "d@n:"]);
        toy.decide();
        assert_eq!(toy.world.planned(&name("a")), Some(Planned::NotWanted));
        assert_eq!(toy.world.planned(&name("c")), Some(Planned::Replaced));
    }
}
