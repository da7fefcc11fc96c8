//! The modules of a running machine come, change and go: sockets, door, task and entry of each.
//!
//! A changed module is one that ends and, when it has, begins anew in its place. What it is known by stays: its
//! history, what it printed, the count of its processes.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use mainstay_core::machine::desired::DesiredModule;
use mainstay_core::machine::node::ModuleCondition;
use mainstay_model::{ModuleName, ModulePhase, ModuleSpec};
use mainstay_process::peers;
use mainstay_process::sockets::Sockets;
use tokio::sync::mpsc;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};

use super::actor::{Machine, RunningModule};
use super::reload;
use super::setup::Shared;
use crate::module::actor::{Actor, ActorContext, Command as ModuleCommand, RestartReason};
use crate::module::bounds::Bounds;
use crate::module::entry::ModuleEntry;
use crate::module::parent::{ParentListener, ParentSocket};
use crate::module::socket_place::SocketPlace;
use crate::wall_clock;

/// Next step after the end of a module.
#[derive(Debug)]
pub(super) enum AfterEnd {
    /// Removal: the config has it no longer.
    Gone,
    /// Restart with this entry.
    Restart(Box<DesiredModule>),
}

impl Machine {
    /// Begins to run a module. One of its name that has not ended yet is waited for.
    pub(super) fn start_module(&mut self, wanted: DesiredModule) {
        match self.modules.get_mut(&wanted.spec.name) {
            Some(running) => running.then = Some(AfterEnd::Restart(Box::new(wanted))),
            None => self.begin_module(wanted, None),
        }
    }

    /// Lets a module begin, in place of `before` if there was one.
    fn begin_module(&mut self, wanted: DesiredModule, before: Option<RunningModule>) {
        let DesiredModule { spec, fault, .. } = wanted;
        let name = spec.name.clone();
        let changes = self.handle.published.changes.clone();
        let entry = Arc::new(match &before {
            Some(before) => before.entry.after(&spec, &self.handle.shared.home),
            None => ModuleEntry::new(&spec, &self.handle.shared.home, changes),
        });
        self.world.add_module(name.clone());
        let (sender, commands) = mpsc::unbounded_channel();
        let mut running = RunningModule {
            commands: sender,
            life: entry.state().life,
            upstream: None,
            handlers: Arc::default(),
            activity: entry.activity.clone(),
            drain_by: None,
            reason: RestartReason::ConfigChanged,
            waiting: before.map(|before| before.waiting).unwrap_or_default(),
            entry: entry.clone(),
            closed: CancellationToken::new(),
            follows: None,
            has_task: false,
            ending: false,
            then: None,
        };
        let prepared = match fault {
            Some(fault) => Err(fault),
            None => prepare(&self.handle.shared, &spec, &entry, &running.closed),
        };
        match prepared {
            Err(fault) => {
                let cause: Arc<str> =
                    format!("module config validation error; skipping; module: {name}, error: {fault}").into();
                entry.publish(|state| {
                    state.phase = ModulePhase::Unhealthy;
                    state.error = Some(cause.clone());
                    state.last = Some(fault.as_str().into());
                    state.last_at = Some(wall_clock::now());
                });
                running.answer(u64::MAX, &Err(cause.clone()));
                self.world.module_changed(&name, ModuleCondition::Down(cause), None);
            }
            Ok(context) => {
                running.follows = spec.policy.watch.is_on().then(|| self.follow(&entry, &running.closed));
                running.has_task = true;
                let (actor, task_of) = (Actor::new(spec, context), name.clone());
                self.tasks.modules.spawn(async move {
                    actor.run(commands).await;
                    Some(task_of)
                });
                if self.course.begun {
                    let _running = running.commands.send(ModuleCommand::Want(true));
                }
            }
        }
        self.modules.insert(name, running);
    }

    /// Restarts the module by itself when its program changes, until the token that this returns is cancelled.
    fn follow(&mut self, entry: &Arc<ModuleEntry>, closed: &CancellationToken) -> CancellationToken {
        let follow = reload::follow(entry.clone(), self.handle.clone());
        let (over, stopping) = (closed.child_token(), self.course.stopping.clone());
        let until = over.clone();
        self.tasks.modules.spawn(async move {
            stopping.run_until_cancelled(until.run_until_cancelled(follow)).await;
            None
        });
        over
    }

    /// Treats a module as its new entry says; what runs of it goes on.
    pub(super) fn treat_module(&mut self, name: &ModuleName, wanted: DesiredModule) {
        let Some(running) = self.modules.get_mut(name) else {
            return;
        };
        if let Some(AfterEnd::Restart(next)) = &mut running.then {
            **next = wanted;
            return;
        }
        let policy = &wanted.spec.policy;
        running.entry.treat(policy);
        let (entry, closed) = (running.entry.clone(), running.closed.clone());
        match (&running.follows, policy.watch.is_on() && running.has_task) {
            (Some(follows), false) => {
                follows.cancel();
                running.follows = None;
            }
            (None, true) => {
                let follows = self.follow(&entry, &closed);
                if let Some(running) = self.modules.get_mut(name) {
                    running.follows = Some(follows);
                }
            }
            _ => {}
        }
        if let Some(running) = self.modules.get(name) {
            // One whose entry is broken has nobody to tell.
            let _faulty = running.commands.send(ModuleCommand::Treat(Box::new(wanted.spec)));
        }
    }

    /// Ends a module, after the resources in it; then follows `then`.
    pub(super) fn end_module(&mut self, name: &ModuleName, then: AfterEnd) {
        let gone = matches!(then, AfterEnd::Gone);
        let Some(running) = self.modules.get_mut(name) else {
            return;
        };
        running.then = Some(then);
        running.reason = RestartReason::ConfigChanged;
        if gone {
            self.world.retire(name);
        }
        if running.ending {
            return;
        }
        let why = if gone {
            "stopped: it is no longer in the config"
        } else {
            "restarted: config changed"
        };
        match self.world.condition(name) {
            Some(ModuleCondition::Ready) => {
                info!(module = %name, "{why}; ending it, its resources are taken out first");
                self.empty(name, why);
            }
            // It is being emptied already.
            Some(ModuleCondition::Draining) => {}
            _ => self.end_process(name),
        }
    }

    /// Ends the process of a module that is empty, or will be; its task ends with it.
    pub(super) fn end_process(&mut self, name: &ModuleName) {
        let Some(running) = self.modules.get_mut(name).filter(|running| !running.ending) else {
            return;
        };
        (running.upstream, running.drain_by, running.ending) = (None, None, true);
        // Without anybody who commands it, the task ends what it runs and then itself.
        (running.commands, _) = mpsc::unbounded_channel();
        let facts = match running.then {
            Some(AfterEnd::Restart(_)) => ModuleCondition::Starting,
            _ => ModuleCondition::Down("it is no longer in the config".into()),
        };
        let has_task = running.has_task;
        self.world.module_changed(name, facts, None);
        if !has_task {
            self.module_ended(name);
        }
    }

    /// A task ended: that of a module, or one that followed its program.
    pub(super) fn task_ended(&mut self, ended: Result<Option<ModuleName>, JoinError>) {
        match ended {
            Ok(Some(module)) => self.module_ended(&module),
            Ok(None) => {}
            Err(problem) => error!("the task of a module broke off: {problem}"),
        }
    }

    fn module_ended(&mut self, name: &ModuleName) {
        // What it told before its end must not be taken for the word of who follows.
        while let Ok((module, event)) = self.events.try_recv() {
            self.event(module, event);
        }
        if self.course.stopping.is_cancelled() {
            return;
        }
        let Some(mut running) = self.modules.remove(name) else {
            return;
        };
        running.closed.cancel();
        let directory = Sockets::new(&self.handle.shared.runtime, name.as_str());
        if let Ok(sockets) = &directory {
            sockets.remove_directory();
        }
        match running.then.take() {
            Some(AfterEnd::Restart(wanted)) => self.begin_module(*wanted, Some(running)),
            Some(AfterEnd::Gone) | None => {
                debug!(module = %name, "module has ended for good");
                running.answer(u64::MAX, &Err("it is no longer in the config".into()));
                self.world.remove_module(name);
            }
        }
        self.publish_all();
    }
}

/// Opens what a module needs before it can be started.
pub(super) fn prepare(
    shared: &Shared,
    spec: &ModuleSpec,
    entry: &Arc<ModuleEntry>,
    closed: &CancellationToken,
) -> Result<ActorContext, String> {
    let sockets = Sockets::new(&shared.runtime, spec.name.as_str()).map_err(|error| error.to_string())?;
    let failed = |error: std::io::Error| {
        let directory = sockets.directory().display();
        format!("no sockets for it in `{directory}`: {error}")
    };
    let place = SocketPlace::new(shared.directory.clone(), sockets.clone());
    place.renew()?;
    let (announcer, allowed_peers) = peers::pair();
    let (listener, parent) = ParentListener::open(spec, &sockets).map_err(failed)?;
    let place = place.with(listener.on_a_path());
    let door = ParentSocket {
        module: entry.clone(),
        listener,
        allowed_peers,
        closed: closed.clone(),
    };
    // Nobody serves doors when all ends, and then nobody starts modules either.
    let _ending = shared.parent_sockets.send(door);
    let bounds = Bounds::new(spec, shared.cgroups.clone(), announcer);
    entry.publish(|state| state.limits = bounds.limits());
    Ok(ActorContext {
        entry: entry.clone(),
        place,
        parent,
        home: shared.home.clone(),
        spawner: shared.spawner.clone(),
        operations: shared.operations.clone(),
        events: shared.events.clone(),
        start_timeout: shared.start_timeout,
        bounds,
        seed: RandomState::new().hash_one(()),
    })
}
