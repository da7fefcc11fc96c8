//! The driver of one module: does what `lifecycle` says and reports what happened. Decides nothing itself.
//!
//! `process` is the process with its pipes and bounds, `connection` the handshake and the health watch, `prepare` what comes
//! before the process, `report` what the world is told; the loop is here, and `start`, which brings a process up with all
//! of them.

mod connection;
mod prepare;
mod process;
mod report;
mod stacks;
mod start;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::future::OptionFuture;
use mainstay_core::module::lifecycle::{Action, Escalation, Input, Lifecycle, State};
use mainstay_model::{ModuleName, ModulePhase, ModuleSpec};
use mainstay_process::child::{Spawner, ending_signal};
use mainstay_proxy::operations::Operations;
use mainstay_proxy::upstream::Upstream;
use nix::sys::signal::Signal;
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use super::address::Address;
use super::bounds::{Bounds, with_events};
use super::entry::ModuleEntry;
use super::handshake::Handler;
use super::health::{self, HealthWatch, Notice, Subject};
use super::problem::{Outlook, Problem};
use super::socket_place::SocketPlace;
use super::watch::ProgramWatch;
use crate::module::actor::connection::Connection;
use crate::module::actor::prepare::Preparation;
use crate::module::actor::process::ModuleProcess;
use crate::module::actor::report::Report;
use crate::module::actor::stacks::Stacks;
use crate::{sleep_until, wall_clock};

/// Command of the machine to a module.
#[derive(Debug)]
pub enum Command {
    /// Run, or end.
    Want(bool),
    /// Marks the process as to be replaced; it reads CLOSING while its resources are taken out.
    Drain { life: u64 },
    /// End the present process and start a new one, at once.
    Restart(RestartReason),
    /// Applies a changed entry under which the present process may go on: the policy counts from now on, the rest for the
    /// next process.
    Treat(Box<ModuleSpec>),
}

/// Reason for a new process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestartReason {
    /// A user or module requested a restart.
    Asked {
        /// Requester: `the command line`, `module gripper`, `10.0.0.7:51234`.
        by: Arc<str>,
    },
    /// A user or module requested a reload, and the program's file, or its tarball, is another one.
    Reloaded {
        /// Requester, as above.
        by: Arc<str>,
    },
    /// The program's file, or its tarball, is another one, which was noticed by itself (`watch`).
    BinaryChanged,
    /// Another file that it is made of is another one, which was noticed by itself.
    FileChanged {
        /// The file.
        file: Arc<str>,
    },
    /// The config entry, or what is made of it, is another one.
    ConfigChanged,
}

impl std::fmt::Display for RestartReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Asked { by } => write!(f, "restart asked for by {by}"),
            Self::Reloaded { by } => write!(f, "binary changed; reload asked for by {by}"),
            Self::BinaryChanged => f.write_str("binary changed"),
            Self::FileChanged { file } => write!(f, "`{file}` changed"),
            Self::ConfigChanged => f.write_str("config changed"),
        }
    }
}

/// Event of a module, for the machine. `life` counts its processes: events of an earlier one no longer count.
#[derive(Debug)]
pub enum ModuleEvent {
    /// A process is being started.
    Starting,
    /// The module is ready, or its connection was renewed within the same life.
    Ready {
        life: u64,
        upstream: Upstream,
        handlers: Arc<[Handler]>,
    },
    /// The process does not answer any more, for this reason, or answers again.
    Silent { life: u64, silent: Option<Arc<str>> },
    /// The module cannot be called any more. Repeated when more is known, or when the next try begins.
    Down {
        life: u64,
        /// Cause, and time of the next start.
        cause: Arc<str>,
        /// True if there was no process: one could not be started.
        unstarted: bool,
    },
    /// The module ended as wanted.
    Stopped,
}

/// The task of one module.
#[derive(Debug)]
pub struct Actor {
    spec: ModuleSpec,
    home: PathBuf,
    lifecycle: Lifecycle,
    /// Limit from spawn to Ready, where the module's config has none.
    start_timeout: Duration,
    preparation: Preparation,
    process: ModuleProcess,
    connection: Connection,
    stacks: Stacks,
    report: Report,
}

/// Dependencies of an actor on the rest of the core.
#[derive(Debug)]
pub struct ActorContext {
    pub entry: Arc<ModuleEntry>,
    pub place: SocketPlace,
    /// Address of the module's parent socket, served by the core.
    pub parent: Address,
    /// VIAM_HOME.
    pub home: PathBuf,
    pub spawner: Spawner,
    pub operations: Operations,
    pub events: mpsc::UnboundedSender<(ModuleName, ModuleEvent)>,
    /// Limit from spawn to Ready, where the module's config has none.
    pub start_timeout: Duration,
    /// Any number; decides about the jitter of its restarts.
    pub seed: u64,
    /// Limits, sandbox and cgroup of the module.
    pub bounds: Bounds,
}

impl Actor {
    /// An actor for `spec` that does nothing until it is wanted.
    pub fn new(spec: ModuleSpec, context: ActorContext) -> Self {
        let lifecycle = Lifecycle::new(&spec.policy, context.start_timeout, context.seed);
        let lifecycle = lifecycle.after(context.entry.state().life);
        let (entry, place, spawner) = (context.entry.clone(), context.place, context.spawner);
        Self {
            spec,
            home: context.home,
            lifecycle,
            start_timeout: context.start_timeout,
            preparation: Preparation::default(),
            process: ModuleProcess::new(entry, place, spawner, context.bounds),
            connection: Connection::new(context.parent),
            stacks: Stacks::default(),
            report: Report::new(context.entry, context.operations, context.events),
        }
    }

    /// Runs until the commands end and the process with them.
    pub async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        let mut open = true;
        while open || self.lifecycle.state() != State::Stopped {
            let (life, may_try_sooner) = (self.lifecycle.life(), self.may_try_sooner());
            let input = tokio::select! {
                command = commands.recv(), if open => match command {
                    Some(Command::Want(wanted)) => Input::Want(wanted),
                    Some(Command::Drain { life }) => Input::Drain { life },
                    Some(Command::Restart(reason)) => { self.report.last(reason.to_string()); Input::Restart }
                    Some(Command::Treat(spec)) => self.treat(*spec),
                    None => { open = false; Input::Want(false) }
                },
                passed = process::passed(&mut self.process.child, life) => match self.script_passed(passed).await {
                    Some(input) => input,
                    None => continue,
                },
                Some(found) = self.preparation.unpacking.join_next() => match self.found(found).await {
                    Some(input) => input,
                    None => continue,
                },
                Some(outcome) = self.connection.handshake.join_next() => match self.shaken(outcome) {
                    Some(input) => input,
                    None => continue,
                },
                Some(_there) = OptionFuture::from(self.preparation.absent.as_mut().map(ProgramWatch::changed)),
                    if may_try_sooner => self.appeared(),
                Some(()) = OptionFuture::from(self.connection.upstream.as_ref().map(Upstream::closed)) => {
                    match self.reconnect().await {
                        Some(input) => input,
                        None => continue,
                    }
                }
                news = health::next_notice(&mut self.connection.watch) => self.handle_notice(news),
                () = process::output_drained(&mut self.process.output_drain) => { self.output_drained(); continue }
                problem = self.process.bounds.broken(&self.spec.name) => {
                    self.fault(problem);
                    self.signal(Signal::SIGKILL, true);
                    continue;
                }
                () = sleep_until(self.lifecycle.deadline()) => self.overdue(),
            };
            self.handle(input).await;
        }
        self.process.orphans_gone().await;
    }

    async fn handle(&mut self, input: Input) {
        let mut input = input;
        // An action may fail on the spot, which is an input again.
        loop {
            let before = self.lifecycle.state();
            let action = self.lifecycle.handle(input, Instant::now());
            self.publish(before);
            let Some(action) = action else { return };
            debug!(module = %self.spec.name, ?action, "module");
            match action {
                Action::Start { life } => {
                    input = match self.start(life).await {
                        Ok(None) => return,
                        Ok(Some(limit)) => Input::Underway { life, limit },
                        Err(problem) => {
                            self.report.fail(problem);
                            Input::Exited { life, clean: false }
                        }
                    };
                }
                Action::Reap => {
                    let life = self.lifecycle.life();
                    let clean = self.reap().await;
                    input = Input::Exited { life, clean };
                }
                // Nothing but its preparation is under way.
                Action::Terminate if self.process.child.is_none() => {
                    self.preparation.give_up();
                    let life = self.lifecycle.life();
                    input = Input::Exited { life, clean: false };
                }
                Action::Terminate => return self.signal(Signal::SIGTERM, false),
                Action::TerminateGroup => return self.signal(Signal::SIGTERM, true),
                Action::KillGroup => {
                    warn!(module = %self.spec.name, "module did not end when told to; killing it");
                    if let (State::Stopping { failed: true, .. }, Some(pid)) = (before, self.process.pid()) {
                        self.stacks.ask(pid, &self.report).await;
                    }
                    return self.signal(Signal::SIGKILL, true);
                }
                Action::GiveUp => {
                    let life = self.lifecycle.life();
                    self.give_up().await;
                    input = Input::Exited { life, clean: false };
                }
            }
        }
    }

    fn treat(&mut self, spec: ModuleSpec) -> Input {
        self.lifecycle.treat(&spec.policy, self.start_timeout);
        if let Some(watch) = &self.connection.watch {
            watch.treat(&spec.policy.health);
        }
        self.spec = spec;
        Input::PolicyChanged
    }

    fn signal(&mut self, signal: Signal, group: bool) {
        self.connection.give_up();
        self.process.signal(signal, group);
    }

    fn overdue(&mut self) -> Input {
        if let State::Starting { .. } = self.lifecycle.state() {
            let limit = self.lifecycle.start_timeout();
            let problem = self
                .preparation
                .overdue(&self.spec)
                .unwrap_or_else(|| Problem::overdue(&self.spec.name, limit, self.connection.progress.connected()));
            self.fault(problem);
        }
        let stuck = || {
            self.process
                .child
                .as_ref()
                .is_some_and(|process| process.stuck().is_some())
        };
        match self.lifecycle.state() {
            State::Stopping {
                next: Escalation::KillGroup,
                ..
            } if stuck() => Input::Stuck {
                life: self.lifecycle.life(),
            },
            _ => Input::Tick,
        }
    }

    /// Takes leave of a process that has ended. True if it ended with exit code 0.
    async fn reap(&mut self) -> bool {
        let user = self.process.bounds.changed_user();
        let Some((status, events)) = self.process.reap().await else {
            return false;
        };
        self.connection.give_up();
        let exit = status.as_ref().ok().copied();
        match Problem::end(&self.spec.name, self.lifecycle.state(), status) {
            Some(problem) => {
                let problem = with_events(problem, events, &self.spec.policy.limits);
                self.report.fail(problem.of_user(user));
            }
            None => self.report.record_stop(),
        }
        let life = self.lifecycle.life();
        if let Some(exit) = exit {
            self.report.entry.history().exited(life, exit, ending_signal(exit));
        }
        self.drain_output().await;
        self.stacks.record(&self.report).await;
        self.process.remove_socket(life);
        exit.is_some_and(|exit| exit.success())
    }

    /// Waits no longer for a process that was killed and stays: it is named, and that life counts as ended.
    async fn give_up(&mut self) {
        let Some(pid) = self.process.abandon().await else {
            return;
        };
        let problem = Problem::stuck(&self.spec.name, pid);
        warn!(module = %self.spec.name, pid, "{}", problem.short);
        self.report.add_or_fail(problem);
        self.connection.give_up();
        self.drain_output().await;
        self.stacks.record(&self.report).await;
        self.process.remove_socket(self.lifecycle.life());
    }

    async fn drain_output(&mut self) {
        self.process.drain_output().await;
        self.report.record_output();
    }

    /// Completes the report of the last process's end: all of its output was read.
    fn output_drained(&mut self) {
        self.process.output_drain = None;
        self.report.complete_output();
        if let Some(outlook) = self.outlook() {
            self.down(outlook);
        }
    }

    /// Publishes at once that the process runs, but is of no use. The caller has to give that to the lifecycle, too.
    fn fault(&mut self, problem: Problem) {
        self.report.fail(problem.of_user(self.process.bounds.changed_user()));
        self.down(Outlook::Ending);
    }

    fn down(&mut self, outlook: Outlook) {
        let (pid, complete) = (self.process.pid(), self.process.output_drain.is_none());
        self.report.down(outlook, pid, complete, &mut self.connection);
    }

    /// Next step for a module that failed; `None` for one that is in order, or was told to end.
    fn outlook(&self) -> Option<Outlook> {
        match self.lifecycle.state() {
            State::Starting { .. } => Some(Outlook::Starting),
            State::Waiting { until } => Some(Outlook::Waiting {
                next_try: SystemTime::now() + until.saturating_duration_since(Instant::now()),
            }),
            State::GivenUp(rest) => Some(Outlook::GivenUp(rest)),
            State::Stopping { failed: true, .. } => Some(Outlook::Ending),
            State::Stopping { failed: false, .. }
            | State::Stopped
            | State::Ready { .. }
            | State::Unresponsive
            | State::Draining => None,
        }
    }

    /// Publishes the state that the lifecycle has come to.
    fn publish(&mut self, before: State) {
        let after = self.lifecycle.state();
        if before == after {
            return;
        }
        let phase = match after {
            State::Starting { .. } => ModulePhase::Starting,
            State::Ready { .. } => {
                self.report.ready();
                // Whoever was only silent for a while has lost nothing.
                if let State::Starting { .. } = before {
                    self.connected();
                }
                return;
            }
            State::Unresponsive => ModulePhase::Unresponsive,
            State::Draining => ModulePhase::Closing,
            State::Stopping { failed: true, .. } | State::Waiting { .. } | State::GivenUp(_) => ModulePhase::Unhealthy,
            State::Stopping { failed: false, .. } | State::Stopped => ModulePhase::Closing,
        };
        if phase == ModulePhase::Closing && after != State::Draining {
            let cause = format!("module {} was stopped", self.spec.name);
            self.connection.mark_down(cause.into());
        }
        let pid = self.process.pid();
        self.report.entry.publish(|state| {
            state.phase = phase;
            state.pid = pid;
            state.next_try = None;
        });
        match self.outlook() {
            // A stop grows stronger; that is no news.
            Some(Outlook::Ending) | None => {}
            Some(outlook) => self.down(outlook),
        }
        if after == State::Stopped {
            self.report.stopped();
        }
    }

    /// The process can be called on its present connection from now on, and is watched on it.
    fn connected(&mut self) {
        let Some(upstream) = self.connection.upstream.clone() else {
            return;
        };
        let entry = &self.report.entry;
        self.connection.watch = self.process.pid().map(|pid| {
            HealthWatch::begin(Subject {
                entry: entry.clone(),
                pid,
                health: self.spec.policy.health.clone(),
                upstream: upstream.clone(),
                operations: self.report.operations.clone(),
                tail: self.report.tail.clone(),
            })
        });
        self.report.send(ModuleEvent::Ready {
            life: self.lifecycle.life(),
            upstream,
            handlers: entry.handlers(),
        });
    }

    /// Publishes a notice of the health watch, and turns it into an input of the lifecycle.
    fn handle_notice(&mut self, news: Notice) -> Input {
        let (name, life) = (&self.spec.name, self.lifecycle.life());
        match news {
            Notice::Unresponsive { what, traced } => {
                warn!(module = %name, "module {what}");
                let cause: Arc<str> = format!("module {name} {what}").into();
                if !traced {
                    self.report.silent_since = Some(Instant::now());
                    let silent = Some(cause.clone());
                    self.report.send(ModuleEvent::Silent { life, silent });
                }
                self.report.entry.publish(|state| {
                    state.error = Some(cause);
                    state.last = Some(what.into());
                    state.last_at = Some(wall_clock::now());
                });
                Input::Unresponsive { life }
            }
            Notice::Responded => {
                if self.lifecycle.state() == State::Unresponsive {
                    info!(module = %name, "module answers again");
                    self.report.last("answers again".to_owned());
                }
                self.report.silent_since = None;
                self.report.send(ModuleEvent::Silent { life, silent: None });
                Input::Responded { life }
            }
            Notice::Hung { why, evidence } => {
                let lies = evidence
                    .as_ref()
                    .map(|folder| format!("; evidence in {}", folder.display()));
                let wire = format!("module {name} {why}{}", lies.unwrap_or_default());
                self.fault(Problem::new(wire, why));
                if let Some(folder) = evidence {
                    self.report.entry.history().evidence(life, folder.clone());
                    self.stacks = Stacks::of(Some(folder));
                }
                Input::Hung { life }
            }
        }
    }
}
