//! Safety stop: when a module dies, hangs or is stopped, what it set moving in other modules is stopped, because nobody
//! steers it any more.
//!
//! `LossDetector` decides (pure) from the published states whether that has happened; the task follows them, so that a
//! restart that is quicker than it is noticed by the number of the process.

use std::collections::HashMap;
use std::sync::Arc;

use mainstay_model::event::NoteKind;
use mainstay_model::{ModuleName, ModulePhase};
use mainstay_proto::ResourceName;
use mainstay_runtime::machine::view::View;
use mainstay_runtime::module::entry::ModuleEntry;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{RobotState, stop};

/// State of a module's processes at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ProcessSnapshot {
    /// Number of its newest process that has ended; 0: none has.
    over: u64,
    /// Whether the newest process, if it runs, is of use.
    well: bool,
}

impl ProcessSnapshot {
    /// `life` is the number of the newest process; `runs` says whether there is one now.
    fn new(life: u64, runs: bool, phase: ModulePhase) -> Self {
        // The number is told before the process is spawned.
        let begun = runs || phase == ModulePhase::Starting;
        Self {
            over: if begun { life.saturating_sub(1) } else { life },
            well: !matches!(phase, ModulePhase::Unhealthy | ModulePhase::Unresponsive),
        }
    }
}

/// A module stopped steering what it moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// All its processes up to this number have ended.
    Ended(u64),
    /// The process runs, but hangs or is of no use. It may still move something, or recover.
    Unresponsive,
}

/// Last state that was seen of every module.
#[derive(Debug, Default)]
struct LossDetector(HashMap<ModuleName, ProcessSnapshot>);

impl LossDetector {
    /// Whether something was lost since the last look at this module.
    fn observe(&mut self, module: &ModuleName, now: ProcessSnapshot) -> Option<Loss> {
        let unknown = ProcessSnapshot { over: 0, well: true };
        let last = self.0.entry(module.clone()).or_insert(unknown);
        let before = *last;
        // What is over stays over while the next process is being made.
        let over = now.over.max(before.over);
        *last = ProcessSnapshot { over, ..now };
        if now.over > before.over {
            Some(Loss::Ended(now.over))
        } else {
            (before.well && !now.well).then_some(Loss::Unresponsive)
        }
    }
}

impl RobotState {
    /// Stops what modules moved that no longer steer it, until `over`: also while the machine is taken down.
    pub async fn watch_modules(self, over: CancellationToken) {
        let mut changes = self.machine.published.changes.follow();
        let mut detector = LossDetector::default();
        loop {
            let view = self.machine.published.load_full();
            for entry in view.modules.iter() {
                let seen = {
                    let state = entry.state();
                    ProcessSnapshot::new(state.life, state.pid.is_some(), state.phase)
                };
                if let Some(loss) = detector.observe(&entry.name, seen) {
                    self.handle_loss(&view, entry, loss);
                }
            }
            tokio::select! {
                () = over.cancelled() => return,
                changed = changes.changed() => if changed.is_err() { return },
            }
        }
    }

    fn handle_loss(&self, view: &View, entry: &ModuleEntry, loss: Loss) {
        let (module, up_to) = (
            &entry.name,
            match loss {
                Loss::Ended(life) => life,
                Loss::Unresponsive => u64::MAX,
            },
        );
        if let Loss::Ended(life) = loss {
            // First of all: what is read of its last words from now on moves nothing.
            self.sessions.table().module_ended(module, life);
        }
        if entry.policy().keep_moving {
            return;
        }
        let moved = self.sessions.table().take_moved_by(module, up_to);
        let left: Vec<_> = moved.into_iter().filter(|name| outlives(view, module, name)).collect();
        if left.is_empty() {
            return;
        }
        let names: Vec<_> = left.iter().map(|name| name.name.as_str()).collect();
        let why = match loss {
            Loss::Ended(_) => "has ended",
            Loss::Unresponsive => "no longer answers",
        };
        tracing::warn!(%module, "module {module} {why}: stopping what it moved last: {}", names.join(", "));
        let resources = left.iter().map(|name| name.to_string().into()).collect();
        let text = format!(
            "module {module} {why}: stopped what it moved last: {}",
            names.join(", ")
        );
        self.machine
            .published
            .changes
            .note(NoteKind::Stop, text, resources, Some(module.clone()));
        let (published, module) = (self.machine.published.clone(), module.clone());
        self.stops.spawn(async move {
            let mut stops = JoinSet::new();
            for name in left {
                let published = published.clone();
                stops.spawn(async move { (stop::stop(&published, &name, None).await, name) });
            }
            while let Some(Ok((outcome, name))) = stops.join_next().await {
                // Nor does what was closed meanwhile move.
                if let Err(status) = outcome
                    && !is_closed(&published.load_full(), &name)
                {
                    tracing::error!(resource = %name, "cannot stop what module {module} moved: {}", status.message());
                }
            }
        });
    }
}

/// Whether a resource is no more, or its module was told to end and takes no calls any more: whatever it moved it ended
/// itself, in order.
fn is_closed(view: &View, name: &ResourceName) -> bool {
    let Some(resource) = view.resources.iter().find(|resource| resource.name == *name) else {
        return true;
    };
    let state = resource.state();
    let ended = state
        .upstream
        .as_ref()
        .is_none_or(|upstream| upstream.exit_cause().is_some());
    let owner = view
        .modules
        .iter()
        .find(|entry| Some(&entry.name) == state.module.as_ref());
    ended && owner.is_none_or(|entry| entry.state().phase == ModulePhase::Closing)
}

/// Whether a resource is in another module, can be stopped, and can be called: what is in the module itself ends with
/// it, and what is in one that is gone does not move.
fn outlives(view: &View, module: &ModuleName, name: &ResourceName) -> bool {
    let resource = view.resources.iter().find(|resource| resource.name == *name);
    let state = resource.map(|resource| Arc::clone(&resource.state()));
    view.table.stop_of(name).is_some()
        && !is_closed(view, name)
        && state.is_some_and(|state| state.upstream.is_some() && state.module.as_ref() != Some(module))
}

#[cfg(test)]
mod tests {
    use super::*;

    use Loss::Ended;
    use ModulePhase::{Closing, Pending, Ready, Starting, Unhealthy, Unresponsive};

    /// Checks the losses that follow from a sequence of states of one module: its life, whether it has a process, its
    /// phase.
    fn check(story: &[(u64, bool, ModulePhase, Option<Loss>)]) {
        let (mut detector, module) = (LossDetector::default(), ModuleName::from("pilot"));
        for (at, (life, runs, phase, wanted)) in story.iter().enumerate() {
            let said = detector.observe(&module, ProcessSnapshot::new(*life, *runs, *phase));
            assert_eq!(said, *wanted, "step {at} of {story:?}");
        }
    }

    #[test]
    fn a_death_is_told_at_once_and_once() {
        check(&[
            (0, false, Pending, None),
            (0, false, Starting, None),
            (1, false, Starting, None),
            (1, true, Starting, None),
            (1, true, Ready, None),
            (1, false, Unhealthy, Some(Ended(1))),
            (1, false, Starting, None),
            (2, false, Starting, None),
            (2, true, Ready, None),
            // Started again at once: no moment of rest between the two.
            (2, false, Starting, None),
            (3, false, Starting, Some(Ended(2))),
            (3, true, Ready, None),
            (3, true, Closing, None),
            (3, false, Closing, Some(Ended(3))),
        ]);
    }

    #[test]
    fn the_process_that_is_being_made_is_not_over() {
        // It cannot be spawned: that is an end, of nothing.
        check(&[
            (1, false, Starting, None),
            (1, false, Unhealthy, Some(Ended(1))),
            (2, false, Starting, None),
            (2, true, Starting, None),
        ]);
    }

    #[test]
    fn a_hang_is_told_and_so_is_the_end_of_it() {
        check(&[
            (1, true, Ready, None),
            (1, true, Unresponsive, Some(Loss::Unresponsive)),
            (1, true, Ready, None),
            (1, true, Unresponsive, Some(Loss::Unresponsive)),
            (1, true, Unhealthy, None),
            (2, true, Starting, Some(Ended(1))),
        ]);
    }

    #[test]
    fn what_happened_between_two_looks_is_not_missed() {
        check(&[(1, true, Ready, None), (4, true, Ready, Some(Ended(3)))]);
        check(&[(1, false, Unhealthy, Some(Ended(1)))]);
    }

    #[test]
    fn modules_are_told_apart() {
        let mut detector = LossDetector::default();
        let dead = ProcessSnapshot { over: 1, well: false };
        assert_eq!(detector.observe(&"a".into(), dead), Some(Ended(1)));
        assert_eq!(detector.observe(&"b".into(), dead), Some(Ended(1)));
        assert_eq!(detector.observe(&"a".into(), dead), None);
    }
}
