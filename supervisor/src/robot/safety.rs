//! When a module dies, hangs or is stopped, what it set moving in other modules is stopped: nobody steers it any more.
//!
//! `Watch` decides (pure) from the published states whether that has happened; the task follows them, so that a restart
//! that is quicker than it is noticed by the number of the process.

use std::collections::HashMap;
use std::sync::Arc;

use mainstay_proto::ResourceName;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Robot, stop};
use crate::identity::ModuleName;
use crate::machine::view::View;
use crate::module::state::{ModuleEntry, ModulePhase, ModuleState};

/// What is known of a module's processes at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    /// Number of its newest process that has ended; 0: none has.
    over: u64,
    /// Whether the newest process, if it runs, is of use.
    well: bool,
}

impl Seen {
    fn of(state: &ModuleState) -> Self {
        let life = state.life();
        Self {
            over: if state.pid.is_some() {
                life.saturating_sub(1)
            } else {
                life
            },
            well: state.phase != ModulePhase::Unhealthy,
        }
    }
}

/// A module stopped steering what it moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// Its processes up to this number have ended.
    Ended(u64),
    /// Its process runs, but hangs or is of no use. It may still move something, or come to itself.
    Astray,
}

/// What was seen of every module last.
#[derive(Debug, Default)]
struct Watch(HashMap<ModuleName, Seen>);

impl Watch {
    /// Whether something was lost since the last look at this module.
    fn look(&mut self, module: &ModuleName, now: Seen) -> Option<Loss> {
        let before = self
            .0
            .insert(module.clone(), now)
            .unwrap_or(Seen { over: 0, well: true });
        if now.over > before.over {
            Some(Loss::Ended(now.over))
        } else {
            (before.well && !now.well).then_some(Loss::Astray)
        }
    }
}

impl Robot {
    /// Stops what modules moved that no longer steer it, until `over`: also while the machine is taken down.
    pub async fn watch_modules(self, over: CancellationToken) {
        let mut changes = self.machine.published.changes.follow();
        let mut watch = Watch::default();
        loop {
            let view = self.machine.published.load_full();
            for entry in view.modules.iter() {
                if let Some(loss) = watch.look(&entry.name, Seen::of(&entry.state())) {
                    self.lost(&view, entry, loss);
                }
            }
            tokio::select! {
                () = over.cancelled() => return,
                changed = changes.changed() => if changed.is_err() { return },
            }
        }
    }

    fn lost(&self, view: &View, entry: &ModuleEntry, loss: Loss) {
        let (module, up_to) = (
            &entry.name,
            match loss {
                Loss::Ended(life) => life,
                Loss::Astray => u64::MAX,
            },
        );
        if let Loss::Ended(life) = loss {
            // First of all: what is read of its last words from now on moves nothing.
            self.sessions.module_ended(module, life);
        }
        if entry.keep_moving {
            return;
        }
        let moved = self.sessions.take_moved_by(module, up_to);
        let left: Vec<_> = moved.into_iter().filter(|name| outlives(view, module, name)).collect();
        if left.is_empty() {
            return;
        }
        let names: Vec<_> = left.iter().map(|name| name.name.as_str()).collect();
        let why = match loss {
            Loss::Ended(_) => "has ended",
            Loss::Astray => "no longer answers",
        };
        tracing::warn!(%module, "module {module} {why}: stopping what it moved last: {}", names.join(", "));
        let (published, module) = (self.machine.published.clone(), module.clone());
        self.stops.spawn(async move {
            let mut stops = JoinSet::new();
            for name in left {
                let published = published.clone();
                stops.spawn(async move { (stop::stop(&published, &name, None).await, name) });
            }
            while let Some(Ok((outcome, name))) = stops.join_next().await {
                if let Err(status) = outcome {
                    tracing::error!(resource = %name, "cannot stop what module {module} moved: {}", status.message());
                }
            }
        });
    }
}

/// Whether a resource is in another module, can be stopped, and can be called: what is in the module itself ends with
/// it, and what is in one that is gone does not move.
fn outlives(view: &View, module: &ModuleName, name: &ResourceName) -> bool {
    let resource = view.resources.iter().find(|resource| resource.name == *name);
    let state = resource.map(|resource| Arc::clone(&resource.state()));
    view.table.stop_of(name).is_some()
        && state.is_some_and(|state| state.upstream.is_some() && state.module.as_ref() != Some(module))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `over` and `well` as they are seen one after the other, and what each look says.
    fn check(seen: &[(u64, bool)], wanted: &[Option<Loss>]) {
        let (mut watch, module) = (Watch::default(), ModuleName::from("pilot"));
        let said: Vec<_> = seen
            .iter()
            .map(|(over, well)| {
                watch.look(
                    &module,
                    Seen {
                        over: *over,
                        well: *well,
                    },
                )
            })
            .collect();
        assert_eq!(said, wanted, "{seen:?}");
    }

    #[test]
    fn every_end_and_every_hang_is_told_once() {
        use Loss::{Astray, Ended};
        // Started, ready, killed, waiting, started again, ready.
        check(
            &[(0, true), (1, false), (1, false), (1, true), (1, true)],
            &[None, Some(Ended(1)), None, None, None],
        );
        // A planned restart: there is no moment without a process.
        check(
            &[(0, true), (1, true), (2, true)],
            &[None, Some(Ended(1)), Some(Ended(2))],
        );
        // It hangs, comes to itself, hangs again and is killed for it.
        check(
            &[
                (0, true),
                (0, false),
                (0, true),
                (0, false),
                (0, false),
                (1, false),
                (1, true),
            ],
            &[None, Some(Astray), None, Some(Astray), None, Some(Ended(1)), None],
        );
        // Two lives went by between two looks.
        check(&[(0, true), (2, true)], &[None, Some(Ended(2))]);
        // The first look comes late.
        check(&[(1, false)], &[Some(Ended(1))]);
    }

    #[test]
    fn modules_are_told_apart() {
        let mut watch = Watch::default();
        let dead = Seen { over: 1, well: false };
        assert_eq!(watch.look(&"a".into(), dead), Some(Loss::Ended(1)));
        assert_eq!(watch.look(&"b".into(), dead), Some(Loss::Ended(1)));
        assert_eq!(watch.look(&"a".into(), dead), None);
    }
}
