//! A module is emptied, and then its process is replaced: asked for by somebody, or because its program changed.

use std::time::Instant;

use mainstay_core::machine::node::ModuleCondition;
use mainstay_model::ModuleName;
use tokio::task::JoinError;
use tracing::{info, warn};

use super::actor::{Machine, REMOVE_ALL};
use super::calls;
use super::handle::Restarted;
use super::modules::AfterEnd;
use crate::module::actor::{Command as ModuleCommand, RestartReason};

impl Machine {
    /// Ends the module's process, after its resources, and starts a new one. `current` is the number of the process
    /// that is to be replaced; `done` is told when a younger one is ready, or has failed.
    pub(super) fn restart(&mut self, module: &ModuleName, current: u64, reason: RestartReason, done: Restarted) {
        let Some(running) = self.modules.get_mut(module) else {
            return;
        };
        running.waiting.push((current, done));
        running.reason = reason.clone();
        match self.world.condition(module) {
            Some(ModuleCondition::Ready) => {
                info!(%module, "{reason}; restarting it, its resources are taken out first");
                self.empty(module, &format!("restarted: {reason}"));
            }
            // The restart that was asked for before is on its way.
            Some(ModuleCondition::Draining) => {}
            // A process younger than the present one follows anyway.
            _ if running.ending && matches!(running.then, Some(AfterEnd::Restart(_))) => {}
            _ if running.commands.send(ModuleCommand::Restart(reason)).is_err() => {
                running.answer(u64::MAX, &Err("its config entry is broken".into()));
            }
            _ => {}
        }
    }

    /// Begins to empty a module that is ready and is to end, for the reason `why`.
    pub(super) fn empty(&mut self, module: &ModuleName, why: &str) {
        let by = Instant::now() + self.longest_drain() + REMOVE_ALL;
        let Some(running) = self.modules.get_mut(module) else {
            return;
        };
        running.entry.history().announce(why);
        running.drain_by = Some(by);
        let _over = running.commands.send(ModuleCommand::Drain { life: running.life });
        self.lose(module);
        self.world.module_changed(module, ModuleCondition::Draining, None);
        self.watch_over(module);
    }

    pub(super) fn restart_drained(&mut self) {
        let now = Instant::now();
        let overdue = self
            .modules
            .iter()
            .filter(|(_, running)| running.drain_by.is_some_and(|by| by <= now));
        let overdue: Vec<_> = overdue.map(|(name, _)| name.clone()).collect();
        for module in self.world.drained().into_iter().chain(overdue) {
            if self.modules.get(&module).is_some_and(|running| running.then.is_some()) {
                self.end_process(&module);
                continue;
            }
            if let Some(running) = self.modules.get_mut(&module) {
                running.upstream = None;
                running.drain_by = None;
                let _over = running.commands.send(ModuleCommand::Restart(running.reason.clone()));
            }
            self.world.module_changed(&module, ModuleCondition::Starting, None);
        }
    }

    /// Watches a module that is being emptied: one that is frozen would hold up everything else.
    pub(super) fn watch_over(&mut self, module: &ModuleName) {
        if let Some(running) = self.modules.get(module)
            && let Some(upstream) = running.upstream.clone()
        {
            let whom = (module.clone(), running.life);
            self.tasks
                .liveness_checks
                .spawn(async move { calls::falls_silent(upstream).await.then_some(whom) });
        }
    }

    pub(super) fn silent(&mut self, silent: Result<Option<(ModuleName, u64)>, JoinError>) {
        if let Ok(Some((module, life))) = silent
            && self.modules.get(&module).is_some_and(|running| running.life == life)
            && self.world.is_occupied(&module)
        {
            warn!(%module, "it answers nothing; its resources are not taken out one by one");
            self.give_up(&module);
        }
    }

    /// A module that is to end does not answer: what it holds ends with it, and what that holds need not wait.
    pub(super) fn give_up(&mut self, module: &ModuleName) {
        let Some(running) = self.modules.get_mut(module) else {
            return;
        };
        if self.course.stopping.is_cancelled() {
            running.upstream = None;
            let _over = running.commands.send(ModuleCommand::Want(false));
            let cause = "it did not answer while the machine was shutting down";
            self.world
                .module_changed(module, ModuleCondition::Down(cause.into()), None);
        } else if running.drain_by.is_some() {
            running.drain_by = Some(Instant::now());
        }
    }
}
