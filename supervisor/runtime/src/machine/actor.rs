//! The driver of the machine: asks `plan` for the next steps, takes them, and publishes what came of it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mainstay_core::machine::node::{BuildStage, Held, ModuleCondition};
use mainstay_core::machine::pending_removals::PendingRemovals;
use mainstay_core::machine::plan::Step;
use mainstay_core::machine::world::World;
use mainstay_model::dependencies::Declared;
use mainstay_model::event::{EventKind, MachineEvent};
use mainstay_model::failure::Failure;
use mainstay_model::shown::ShownState;
use mainstay_model::{Config, ModuleName, Phase};
use mainstay_proto::{Api, Model, ResourceName};
use mainstay_proxy::resource::{Resource, ResourceState};
use mainstay_proxy::table::{Contested, Table};
use mainstay_proxy::upstream::Upstream;
use mainstay_wire::entry::component_config;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tracing::{error, warn};

use super::apply::Watched;
use super::calls;
use super::handle::{Command, MachineHandle, Restarted};
use super::modules::AfterEnd;
use super::preflight::ModuleLife;
use super::remotes::RunningRemote;
use super::view::View;
use crate::module::activity::Activity;
use crate::module::actor::{Command as ModuleCommand, ModuleEvent, RestartReason};
use crate::module::entry::ModuleEntry;
use crate::module::handshake::Handler;
use crate::remote::{RemoteApi, RemoteEvent};
use crate::sleep_until;

/// The first pass is called over after this long, whatever is still under way: one module that never becomes ready
/// must not make the machine look as if it were starting for ever.
const FIRST_PASS: Duration = Duration::from_secs(30);

/// Limit for taking resources out of their modules when the machine, or a module, is to end. A module that has not answered
/// by then is ended with what it holds.
pub(super) const REMOVE_ALL: Duration = Duration::from_secs(20);
/// Limit for one of these removals, before its module counts as one that does not answer.
const REMOVE_AT_END: Duration = Duration::from_secs(5);

/// The machine's own task.
#[derive(Debug)]
pub struct Machine {
    pub(super) world: World,
    /// Config in force.
    pub(super) config: Arc<Config>,
    pub(super) commands: mpsc::UnboundedReceiver<Command>,
    pub(super) events: mpsc::UnboundedReceiver<(ModuleName, ModuleEvent)>,
    /// Handle of this machine: what is published and shared, and for tasks that ask by themselves.
    pub(super) handle: MachineHandle,
    pub(super) modules: BTreeMap<ModuleName, RunningModule>,
    pub(super) remotes: BTreeMap<ModuleName, RunningRemote>,
    pub(super) remote_events: mpsc::UnboundedReceiver<(ModuleName, u64, RemoteEvent)>,
    pub(super) resources: MachineResources,
    pub(super) tasks: MachineTasks,
    /// Changes whose first outcome somebody waits for.
    pub(super) watched: Vec<Watched>,
    /// Answers of running processes about entries, from before the entries were applied.
    pub(super) early_answers: HashMap<ResourceName, (Result<Declared, Failure>, ModuleLife)>,
    pub(super) course: Course,
}

/// Resources as others see them.
#[derive(Debug, Default)]
pub(super) struct MachineResources {
    pub(super) cells: HashMap<ResourceName, Arc<Resource>>,
    /// Resources that went with a module and did not come back yet, and with which.
    pub(super) lost: HashMap<ResourceName, BTreeSet<ModuleName>>,
    /// Resources that are gone and that others may still see.
    pub(super) pending_removals: PendingRemovals,
    /// Names that several remotes have something by.
    pub(super) contested: Arc<[Contested]>,
}

/// Tasks of the machine, whose ends it waits for.
#[derive(Debug, Default)]
pub(super) struct MachineTasks {
    /// The tasks of modules, each with its name, and those that follow their programs.
    pub(super) modules: JoinSet<Option<ModuleName>>,
    pub(super) calls: JoinSet<Ended>,
    /// The tasks of remotes.
    pub(super) remotes: JoinSet<()>,
    /// Liveness checks, one for each module that is being emptied: each ends when its module answers nothing any more.
    pub(super) liveness_checks: JoinSet<Option<(ModuleName, u64)>>,
}

/// Course of the machine as a whole, from its start to its end.
#[derive(Debug, Default)]
pub(super) struct Course {
    /// Modules may start.
    pub(super) begun: bool,
    /// Cancelled when the machine is to end: nothing new is worth waiting for.
    pub(super) stopping: CancellationToken,
    pub(super) stop_by: Option<Instant>,
    /// Tasks of remotes so far.
    pub(super) remote_tasks: u64,
    /// Version of the imports that are published, and their number.
    pub(super) imports: (u64, usize),
}

/// A module as the machine sees it.
#[derive(Debug)]
pub(super) struct RunningModule {
    pub(super) commands: mpsc::UnboundedSender<ModuleCommand>,
    pub(super) life: u64,
    pub(super) upstream: Option<Upstream>,
    pub(super) handlers: Arc<[Handler]>,
    pub(super) activity: Activity,
    /// Time of the restart even if resources are still in the module.
    pub(super) drain_by: Option<Instant>,
    /// Reason for the restart.
    pub(super) reason: RestartReason,
    /// Waiting callers, each for a process younger than the one of its number.
    pub(super) waiting: Vec<(u64, Restarted)>,
    /// Published state of the module.
    pub(super) entry: Arc<ModuleEntry>,
    /// Cancelled when the core does not answer it any more.
    pub(super) closed: CancellationToken,
    /// Cancelled when its program is not to be followed any more; none if nobody follows it.
    pub(super) follows: Option<CancellationToken>,
    /// False for one whose entry is broken.
    pub(super) has_task: bool,
    /// True if the module is to end for good; its events no longer count.
    pub(super) ending: bool,
    /// Next step after the end of the process that is to end.
    pub(super) then: Option<AfterEnd>,
}

impl RunningModule {
    /// Answers callers who wait for a process of this number, or an older one.
    pub(super) fn answer(&mut self, life: u64, outcome: &Result<(), Arc<str>>) {
        for (_, waiting) in self.waiting.extract_if(.., |(after, _)| *after < life) {
            let _gone = waiting.send(outcome.clone());
        }
    }
}

/// A call about a resource that came to its end.
#[derive(Debug)]
pub(super) struct Ended {
    name: ResourceName,
    module: ModuleName,
    life: u64,
    what: CallResult,
}

#[derive(Debug)]
pub(super) enum CallResult {
    Validated(Result<Declared, Failure>),
    Added(Result<(), Failure>),
    Removed(Result<(), Status>),
}

impl Machine {
    /// Runs until everything was taken down.
    pub async fn run(mut self) {
        self.course.begun = true;
        for module in self.modules.values() {
            let _faulty = module.commands.send(ModuleCommand::Want(true));
        }
        let first_pass = tokio::time::sleep(FIRST_PASS);
        tokio::pin!(first_pass);
        loop {
            self.take_steps();
            self.restart_drained();
            self.publish_forgotten(Instant::now());
            self.answer_watched(Instant::now());
            if !self.is_running() && (self.world.is_settled() || first_pass.is_elapsed()) {
                self.finish_first_pass();
            }
            if self.is_over() {
                break;
            }
            let wake = self.next_wake();
            tokio::select! {
                Some(command) = self.commands.recv() => self.command(command),
                Some((module, event)) = self.events.recv() => self.event(module, event),
                Some((remote, task, event)) = self.remote_events.recv() => self.remote_event(&remote, task, event),
                Some(ended) = self.tasks.calls.join_next() => self.ended(ended),
                Some(ended) = self.tasks.modules.join_next() => self.task_ended(ended),
                Some(silent) = self.tasks.liveness_checks.join_next() => self.silent(silent),
                () = sleep_until(wake) => self.world.touch_due(Instant::now()),
                () = &mut first_pass, if !self.is_running() => {}
            }
            // What has come meanwhile is taken in before anything is decided: one decision for many events.
            while let Some(ended) = self.tasks.calls.try_join_next() {
                self.ended(ended);
            }
        }
        self.tasks.liveness_checks.abort_all();
        // The last thing a module is told; dropping the senders would say the same.
        for module in self.modules.values() {
            let _over = module.commands.send(ModuleCommand::Want(false));
        }
        self.modules.clear();
        while self.tasks.modules.join_next().await.is_some() {}
        self.handle.shared.builds.ended().await;
    }

    /// True when a machine that is to end holds nothing any more, or has waited long enough for what it holds.
    fn is_over(&self) -> bool {
        self.course
            .stop_by
            .is_some_and(|by| by <= Instant::now() || self.world.nodes().next().is_none())
    }

    /// Time of the next step that is due without an input.
    fn next_wake(&self) -> Option<Instant> {
        let drains = self.modules.values().filter_map(|running| running.drain_by);
        let watched = self.watched.iter().map(|watched| watched.by);
        drains
            .chain(watched)
            .chain(self.world.next_retry())
            .chain(self.course.stop_by)
            .chain(self.resources.pending_removals.due())
            .min()
    }

    fn is_running(&self) -> bool {
        self.handle.published.load().running
    }

    fn finish_first_pass(&mut self) {
        self.handle
            .published
            .changes
            .record(EventKind::Machine(MachineEvent::Running));
        let mut view = View::clone(&self.handle.published.load());
        view.running = true;
        self.handle.published.publish(view);
    }

    pub(super) fn take_steps(&mut self) {
        let (now, mut published) = (Instant::now(), true);
        while let Some(name) = self.world.next_dirty() {
            published &= !self.sync_imports();
            match self.world.next(&name, now) {
                Step::Wait => {}
                Step::Show(shown) => self.show(&name, shown),
                Step::Forget => self.forget(&name),
                Step::Queue(module) => self.world.queue(name, &module),
                Step::Validate(module) => match self.early_answers(&name, &module) {
                    Some(outcome) => self.world.answered(&name, &module, outcome, now),
                    None => self.begin(name, &module, BuildStage::Validating, Vec::new()),
                },
                Step::Add(module, held) => self.begin(name, &module, BuildStage::Adding, held),
                Step::Remove(module) => self.begin(name, &module, BuildStage::Removing, Vec::new()),
            }
        }
        if self.sync_imports() || !published {
            self.publish_all();
        }
    }

    fn begin(&mut self, name: ResourceName, module: &ModuleName, stage: BuildStage, held: Vec<Held>) {
        let Some(running) = self.modules.get(module) else {
            return;
        };
        let (Some(upstream), Some(node)) = (running.upstream.clone(), self.world.node(&name)) else {
            return;
        };
        let (life, tainted, config) = (running.life, node.tainted, node.config.clone());
        let activity = running.activity.clone();
        let drain = (stage == BuildStage::Removing)
            .then(|| self.drain(&name, module))
            .flatten();
        let busy = self.world.is_adding(module);
        let handed = held.iter().map(|(held, _)| self.world.handed_as(&name, held)).collect();
        let limit = self.handle.shared.build_timeout;
        self.world.begin(&name, stage, module, held);
        if stage == BuildStage::Removing {
            self.show(
                &name,
                ShownState {
                    phase: Phase::Removing,
                    cause: None,
                    wire: None,
                    transient: true,
                },
            );
        } else if stage == BuildStage::Adding {
            self.show(&name, ShownState::waiting("being built"));
        }
        let module = module.clone();
        let stopping = self.course.stopping.clone();
        let ending = stopping.is_cancelled() || self.world.condition(&module) == Some(&ModuleCondition::Draining);
        let (what, limit) = match stage {
            // A module that is building something may answer nothing else until that is done.
            BuildStage::Validating if !busy => ("ValidateConfig", calls::VALIDATE_TIMEOUT),
            BuildStage::Validating => ("ValidateConfig", limit),
            BuildStage::Adding => ("AddResource", limit),
            _ if ending => ("RemoveResource", REMOVE_AT_END),
            _ => ("RemoveResource", calls::REMOVE_TIMEOUT),
        };
        // Silence during RemoveResource is excused no longer than any other.
        let excused = if stage == BuildStage::Removing {
            limit.min(self.kill_after(&module))
        } else {
            limit
        };
        self.tasks.calls.spawn(async move {
            if let Some(drain) = drain {
                drain.over(&upstream).await;
            }
            let doing = activity.begin(what, name.clone(), excused);
            let proto =
                || component_config(&config).map_err(|problem| calls::ModuleRefusal::unsendable(problem).failure);
            let what = match stage {
                BuildStage::Validating => {
                    let call = async {
                        let answer = calls::validate(Some(&module), upstream, proto()?, limit).await;
                        answer.map_err(|refusal| refusal.failure)
                    };
                    CallResult::Validated(stopping.run_until_cancelled(call).await.unwrap_or_else(shutting_down))
                }
                BuildStage::Adding => {
                    let dependencies = handed;
                    let call =
                        async { calls::add(upstream, name.clone(), proto()?, dependencies, tainted, limit).await };
                    CallResult::Added(stopping.run_until_cancelled(call).await.unwrap_or_else(shutting_down))
                }
                _ => CallResult::Removed(calls::remove(upstream, &name, limit).await),
            };
            drop(doing);
            Ended {
                name,
                module,
                life,
                what,
            }
        });
    }

    fn ended(&mut self, ended: Result<Ended, tokio::task::JoinError>) {
        let Ended {
            name,
            module,
            life,
            what,
        } = match ended {
            Ok(ended) => ended,
            Err(problem) => return error!("a call about a resource broke off: {problem}"),
        };
        let running = self.modules.get(&module);
        let alive = running.is_some_and(|running| running.life == life && running.upstream.is_some());
        let now = Instant::now();
        match what {
            CallResult::Validated(outcome) => {
                self.world.validated(&name, alive.then_some(outcome), now);
            }
            CallResult::Added(outcome) => {
                if outcome.is_ok() && alive {
                    self.built(&name);
                }
                self.world.added(&name, outcome, alive, now);
            }
            CallResult::Removed(outcome) => {
                if let (Err(status), true) = (&outcome, alive) {
                    warn!(resource = %name, %module, "RemoveResource failed: {}", status.message());
                    if status.code() == Code::DeadlineExceeded {
                        self.give_up(&module);
                    }
                }
                self.world.removed(&name, outcome.is_ok());
            }
        }
    }

    fn forget(&mut self, name: &ResourceName) {
        self.world.forget(name);
        self.resources.forget(name);
    }

    pub(super) fn event(&mut self, name: ModuleName, event: ModuleEvent) {
        let Some(running) = self.modules.get_mut(&name).filter(|running| !running.ending) else {
            return;
        };
        match event {
            ModuleEvent::Starting => {
                // A module that failed stays down for everybody until it is ready; the cause is worth more than "starting".
                if !matches!(self.world.condition(&name), Some(ModuleCondition::Down(_))) {
                    running.upstream = None;
                    self.world.module_changed(&name, ModuleCondition::Starting, None);
                }
            }
            ModuleEvent::Ready {
                life,
                upstream,
                handlers,
            } => {
                let renewed = running.life == life && running.upstream.is_some();
                running.life = life;
                running.upstream = Some(upstream.clone());
                let before = std::mem::replace(&mut running.handlers, handlers.clone());
                running.answer(life, &Ok(()));
                if renewed {
                    self.resources.renew(&name, &upstream);
                } else {
                    let offers: HashSet<_> = offers_of(&handlers).collect();
                    // Once, not at each restart.
                    if !offers_of(&before).eq(offers_of(&handlers)) {
                        self.warn_of_rivals(&name, &offers);
                    }
                    self.world.module_changed(&name, ModuleCondition::Ready, Some(offers));
                    self.swap_table();
                }
            }
            ModuleEvent::Silent { life, silent } => {
                if running.life == life && running.upstream.is_some() {
                    self.world.module_silent(&name, silent.clone());
                    // New calls are refused before those in flight end.
                    self.take_steps();
                    if let Some(reason) = silent {
                        self.handle.shared.operations.cut_module(&name, &reason);
                    }
                }
            }
            ModuleEvent::Down { life, cause, .. } => {
                running.upstream = None;
                running.drain_by = None;
                running.answer(life, &Err(cause.clone()));
                let ends = running.then.is_some();
                self.lose(&name);
                self.world.module_changed(&name, ModuleCondition::Down(cause), None);
                if ends {
                    self.end_process(&name);
                }
            }
            ModuleEvent::Stopped => running.upstream = None,
        }
    }

    /// Says of models that more than one module offers which of them builds: the one that stands first in the config.
    fn warn_of_rivals(&self, name: &ModuleName, offers: &HashSet<(Api, Model)>) {
        let order = self.world.modules_in_order();
        let place = |wanted: &ModuleName| order.iter().position(|known| known == wanted);
        let others = order.iter().filter(|other| *other != name && !other.is_builtin());
        for other in others.filter(|_| !name.is_builtin()) {
            let Some(running) = self.modules.get(other) else {
                continue;
            };
            let Some((_, model)) = offers_of(&running.handlers).find(|offer| offers.contains(offer)) else {
                continue;
            };
            let first = if place(other) < place(name) { other } else { name };
            warn!(
                "modules {name} and {other} both offer {model}; {first} builds it, because it stands first in the config"
            );
        }
    }

    /// Publishes the route table. The gRPC service of an API may only be known after its module's handshake.
    fn swap_table(&self) {
        let mut view = View::clone(&self.handle.published.load());
        view.table = Arc::new(self.table(&view.resources));
        self.handle.published.publish(view);
    }

    /// Routes to these resources by the handlers of their modules, in config order.
    pub(super) fn table(&self, resources: &[Arc<Resource>]) -> Table {
        let in_order = self
            .world
            .modules_in_order()
            .iter()
            .filter_map(|name| self.modules.get(name));
        let handlers: Vec<_> = in_order.map(|running| running.handlers.clone()).collect();
        let remote = self
            .remotes
            .values()
            .flat_map(|remote| remote.apis.iter().map(RemoteApi::offer));
        Table::new(
            resources,
            self.resources.contested.clone(),
            handlers
                .iter()
                .flat_map(|handlers| handlers.iter().map(Handler::offer))
                .chain(remote),
        )
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Restart {
                module,
                current,
                reason,
                done,
            } => self.restart(&module, current, reason, done),
            Command::Apply { config, asked, done } => self.apply(config, *asked, done),
            Command::Know(reply) => {
                let _gone = reply.send(self.known());
            }
            Command::ModuleLines(reply) => {
                let _gone = reply.send(self.lines());
            }
            Command::Shutdown => {
                self.handle
                    .published
                    .changes
                    .record(EventKind::Machine(MachineEvent::Stopping));
                self.course.stopping.cancel();
                self.handle.shared.builds.end();
                let by = Instant::now() + self.longest_drain() + REMOVE_ALL;
                self.course.stop_by.get_or_insert(by);
                self.remove_everything();
                for module in self.modules.keys().cloned().collect::<Vec<_>>() {
                    self.watch_over(&module);
                }
            }
        }
    }

    fn show(&mut self, name: &ResourceName, shown: ShownState) {
        if !self.world.show(name, &shown) {
            return;
        }
        let (Some(resource), Some(node)) = (self.resources.cells.get(name), self.world.node(name)) else {
            return;
        };
        let before = resource.state();
        let closed = self.closed(node, before.closed.as_ref());
        // What is down with its module, or with what it needs, was told there, and what the start finds is in its
        // summary; once is enough.
        if self.is_running()
            && shown.phase == Phase::Unhealthy
            && !shown.transient
            && before.error.as_deref() != shown.cause.as_deref()
        {
            let cause = shown.cause.as_deref().unwrap_or_default();
            warn!(resource = %name, place = %node.config.place, "resource is unhealthy: {cause}");
        }
        let inside = matches!(node.stage, BuildStage::Built | BuildStage::Removing);
        let ready = shown.phase == Phase::Ready;
        let upstream = node
            .module
            .as_ref()
            .filter(|_| inside)
            .and_then(|module| match self.modules.get(module) {
                Some(running) => running.upstream.clone(),
                None => self.remotes.get(module)?.upstream.clone(),
            });
        self.handle.published.changes.record(EventKind::Resource {
            name: resource.label.clone(),
            phase: shown.phase,
            reachable: upstream.is_some(),
            cause: shown.cause.clone(),
            module: node.module.clone(),
        });
        resource.publish(ResourceState {
            phase: shown.phase,
            error: shown.cause.clone(),
            wire_error: shown.wire.clone(),
            transient: shown.transient,
            since: if before.phase == shown.phase {
                before.since
            } else {
                SystemTime::now()
            },
            module: node.module.clone(),
            upstream,
            closed,
            dependencies: node.held.iter().map(|(name, _)| name.clone()).collect(),
            warnings: node.warnings().into(),
            revision: if ready {
                self.handle.published.load().revision.clone()
            } else {
                before.revision.clone()
            },
        });
        self.handle.published.changes.notify();
    }
}

impl MachineResources {
    fn forget(&mut self, name: &ResourceName) {
        self.cells.remove(name);
        self.lost.remove(name);
        self.pending_removals.add(Instant::now());
    }

    /// The same process on a new connection: nothing was lost but the old one.
    fn renew(&self, module: &ModuleName, upstream: &Upstream) {
        for resource in self.cells.values() {
            let state = resource.state();
            if state.module.as_ref() == Some(module) && state.upstream.is_some() {
                resource.publish(ResourceState {
                    upstream: Some(upstream.clone()),
                    ..ResourceState::clone(&state)
                });
            }
        }
    }
}

/// What a module offers, as it said in its handshake.
fn offers_of(handlers: &[Handler]) -> impl Iterator<Item = (Api, Model)> {
    handlers.iter().flat_map(|handler| {
        let models = handler.models.iter();
        models.map(|model| (handler.api.clone(), model.clone()))
    })
}

fn shutting_down<T>() -> Result<T, Failure> {
    Err("the machine is shutting down".into())
}
