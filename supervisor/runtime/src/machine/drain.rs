//! Before a resource is taken out on purpose, it takes no new calls, and those in flight get `stop.drain` to end.
//!
//! One way for all that is planned: a restart of its module, another config, the end of the machine. Where something
//! was lost, nothing waits: what held it is to come back as soon as can be.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mainstay_core::machine::node::{BuildStage, ResourceNode};
use mainstay_core::machine::removal::PlannedRemoval;
use mainstay_model::ModuleName;
use mainstay_proto::ResourceName;
use mainstay_proxy::operations::Operations;
use mainstay_proxy::resource::Closed;
use mainstay_proxy::upstream::Upstream;

use super::actor::Machine;
use super::modules::AfterEnd;

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

impl Machine {
    /// Reason for refusing new calls to a resource that is published now: set if it is to be taken out as planned. `before`
    /// is the reason published so far.
    pub(super) fn closed(&self, node: &ResourceNode, before: Option<&Closed>) -> Option<Closed> {
        if !(node.stage == BuildStage::Removing || (node.stage == BuildStage::Built && node.is_being_removed())) {
            return None;
        }
        let held = node.stage == BuildStage::Built;
        let (since, cause) = match before {
            Some(before) => (before.since, before.cause.clone()),
            None => {
                let planned = self.world.planned(&node.config.name);
                // What was lost has been told; it takes calls up to the last moment, because it comes back at once.
                let planned = planned.or((!held).then_some(PlannedRemoval::Replaced))?;
                (Instant::now(), self.explain(&planned))
            }
        };
        Some(Closed { since, held, cause })
    }

    fn explain(&self, planned: &PlannedRemoval) -> Arc<str> {
        match planned {
            _ if self.course.stopping.is_cancelled() => "the machine is shutting down".into(),
            PlannedRemoval::NotWanted => "it is no longer in the config".into(),
            PlannedRemoval::Replaced => "it is being built anew".into(),
            PlannedRemoval::Restart(module) => match self.modules.get(module) {
                Some(running) => match running.then {
                    Some(AfterEnd::Gone) => format!("module {module} is no longer in the config").into(),
                    _ => format!("module {module} is being restarted: {}", running.reason).into(),
                },
                None => format!("module {module} is being restarted").into(),
            },
        }
    }

    /// Drain to wait for before `name` is taken out of `module`; `None` if it goes because something was lost. To be made
    /// before the step begins, and waited for after its state was published.
    pub(super) fn drain(&self, name: &ResourceName, module: &ModuleName) -> Option<Drain> {
        let planned = self.world.planned(name)?;
        let resource = self.resources.cells.get(name)?;
        let state = resource.state();
        let (since, cause) = match &state.closed {
            Some(closed) => (closed.since, closed.cause.clone()),
            None => (Instant::now(), self.explain(&planned)),
        };
        Some(Drain {
            operations: self.handle.shared.operations.clone(),
            resource: resource.label.clone(),
            by: since + self.patience(module),
            cause,
        })
    }

    /// Limit for calls in flight before something in `module` is taken out as planned.
    fn patience(&self, module: &ModuleName) -> Duration {
        let view = self.handle.published.load();
        view.module(module.as_str())
            .map_or(Duration::ZERO, |entry| entry.policy().stop.drain)
    }

    /// Limit for the silence of the module before it counts as hung.
    pub(super) fn kill_after(&self, module: &ModuleName) -> Duration {
        let view = self.handle.published.load();
        view.module(module.as_str())
            .map_or(Duration::MAX, |entry| entry.policy().health.kill_after)
    }

    /// The longest that any module gives its calls: the rest of a restart or a shutdown can only begin after that.
    pub(super) fn longest_drain(&self) -> Duration {
        let view = self.handle.published.load();
        view.modules
            .iter()
            .map(|entry| entry.policy().stop.drain)
            .max()
            .unwrap_or_default()
    }
}
