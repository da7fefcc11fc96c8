//! The driver of one module: does what `lifecycle` says and reports what happened. Decides nothing itself.
//!
//! `prepare` and `start` bring a process up, `watch` hears whether it answers, `end` takes leave of it, `publish` tells the
//! world; the loop is here.

mod end;
mod prepare;
mod publish;
mod record;
mod start;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mainstay_core::module::lifecycle::{Action, Escalation, Input, Lifecycle, State};
use mainstay_model::{ModuleName, ModuleSpec};
use mainstay_process::child::{EndProgress, Process, Spawner};
use mainstay_process::sockets::Sockets;
use mainstay_proxy::operations::Operations;
use mainstay_proxy::upstream::Upstream;
use nix::sys::signal::Signal;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{debug, warn};

use super::address::Address;
use super::bounds::Bounds;
use super::entry::ModuleEntry;
use super::handshake::{Handler, HandshakeError, Handshaken, Progress};
use super::health;
use super::health::HealthWatch;
use super::output::Tail;
use super::problem::Problem;
use super::watch::ProgramWatch;
use crate::module::actor::end::OutputDrain;
use crate::module::actor::prepare::Preparation;
use crate::module::actor::publish::ModuleFailure;

/// Command of the machine to a module.
#[derive(Debug)]
pub enum Command {
    /// Run, or end.
    Want(bool),
    /// Marks the process as to be replaced; it reads CLOSING while its resources are taken out.
    Drain {
        /// Life number of the process.
        life: u64,
    },
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
    /// The program's file, or its tarball, is another one, which was noticed by itself (`watch: true`).
    BinaryChanged,
    /// The config entry, or what is made of it, is another one.
    ConfigChanged,
}

impl std::fmt::Display for RestartReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Asked { by } => write!(f, "restart asked for by {by}"),
            Self::Reloaded { by } => write!(f, "binary changed; reload asked for by {by}"),
            Self::BinaryChanged => f.write_str("binary changed"),
            Self::ConfigChanged => f.write_str("config changed"),
        }
    }
}

/// Event of a module, for the machine. `life` counts its processes: events of an earlier one no longer count.
#[derive(Debug)]
pub enum Event {
    /// A process is being started.
    Starting,
    /// The module is ready, or its connection was renewed within the same life.
    Ready {
        /// Life number of the process.
        life: u64,
        /// Connection for its calls.
        upstream: Upstream,
        /// APIs and models on offer.
        handlers: Arc<[Handler]>,
    },
    /// The module cannot be called any more. Repeated when more is known, or when the next try begins.
    Down {
        /// Life number of the process that failed.
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
    entry: Arc<ModuleEntry>,
    sockets: Sockets,
    home: PathBuf,
    spawner: Spawner,
    operations: Operations,
    events: mpsc::UnboundedSender<(ModuleName, Event)>,
    lifecycle: Lifecycle,
    /// Limit from spawn to Ready, where the module's config has none.
    start_timeout: Duration,
    process: Option<Process>,
    upstream: Option<Upstream>,
    /// Health watch of the present process.
    watch: Option<HealthWatch>,
    tail: Tail,
    output: JoinSet<()>,
    /// Output of the process before, as long as it is read.
    output_drain: Option<OutputDrain>,
    /// Ends what the last process left outside its group; the next one is not started before that.
    orphans: JoinSet<()>,
    handshake: JoinSet<(u64, Result<Handshaken, HandshakeError>)>,
    started: Instant,
    /// Failure because of which the module is not READY.
    failure: Option<ModuleFailure>,
    /// Cause that was logged last, since it was ready.
    logged: Option<Arc<str>>,
    /// Progress of the handshake.
    progress: Progress,
    /// Limits, sandbox and cgroup of the module.
    bounds: Bounds,
    /// Steps under way before the module's own process.
    preparation: Preparation,
    /// Watch for the program that a start did not find.
    absent: Option<ProgramWatch>,
    /// Address on which the present process listens.
    address: Address,
    /// Address of the module's parent socket, served by the core.
    parent: Address,
}

/// Dependencies of an actor on the rest of the core.
#[derive(Debug)]
pub struct ActorContext {
    /// Published state of the module.
    pub entry: Arc<ModuleEntry>,
    /// Socket names of the module.
    pub sockets: Sockets,
    /// Address of the module's parent socket, served by the core.
    pub parent: Address,
    /// VIAM_HOME.
    pub home: PathBuf,
    /// Starts processes.
    pub spawner: Spawner,
    /// The calls that run.
    pub operations: Operations,
    /// Sender for events.
    pub events: mpsc::UnboundedSender<(ModuleName, Event)>,
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
        let tail = context.entry.output.begin();
        Self {
            spec,
            entry: context.entry,
            sockets: context.sockets,
            home: context.home,
            spawner: context.spawner,
            operations: context.operations,
            events: context.events,
            lifecycle,
            start_timeout: context.start_timeout,
            process: None,
            upstream: None,
            watch: None,
            tail,
            output: JoinSet::new(),
            output_drain: None,
            orphans: JoinSet::new(),
            handshake: JoinSet::new(),
            started: Instant::now(),
            failure: None,
            logged: None,
            progress: Progress::default(),
            bounds: context.bounds,
            preparation: Preparation::default(),
            absent: None,
            address: context.parent.clone(),
            parent: context.parent,
        }
    }

    /// Runs until the commands end and the process with them.
    pub async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        let mut open = true;
        while open || self.lifecycle.state() != State::Stopped {
            let life = self.lifecycle.life();
            let input = tokio::select! {
                command = commands.recv(), if open => match command {
                    Some(Command::Want(wanted)) => Input::Want(wanted),
                    Some(Command::Drain { life }) => Input::Drain { life },
                    Some(Command::Restart(reason)) => { self.publish_restart(&reason); Input::Restart }
                    Some(Command::Treat(spec)) => self.treat(*spec),
                    None => { open = false; Input::Want(false) }
                },
                passed = passed(&mut self.process, life) => match self.script_passed(passed).await {
                    Some(input) => input,
                    None => continue,
                },
                found = self.preparation.unpacked() => match self.found(found).await {
                    Some(input) => input,
                    None => continue,
                },
                Some(outcome) = self.handshake.join_next() => match self.shaken(outcome) {
                    Some(input) => input,
                    None => continue,
                },
                () = prepare::appeared(&mut self.absent), if self.may_try_sooner() => self.appeared(),
                () = lost(&mut self.upstream) => match self.reconnect().await {
                    Some(input) => input,
                    None => continue,
                },
                news = health::next_notice(&mut self.watch) => self.handle_notice(news),
                () = end::output_drained(&mut self.output_drain) => { self.output_drained(); continue }
                problem = self.bounds.broken(&self.spec.name) => {
                    self.fault(problem);
                    self.signal(Signal::SIGKILL, true);
                    continue;
                }
                () = at(self.lifecycle.deadline()) => self.overdue(),
            };
            self.handle(input).await;
        }
        self.orphans_gone().await;
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
                            self.fail(problem);
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
                Action::Terminate if self.process.is_none() => {
                    self.preparation.give_up();
                    let life = self.lifecycle.life();
                    input = Input::Exited { life, clean: false };
                }
                Action::Terminate => return self.signal(Signal::SIGTERM, false),
                Action::TerminateGroup => return self.signal(Signal::SIGTERM, true),
                Action::KillGroup => {
                    warn!(module = %self.spec.name, "module did not end when told to; killing it");
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
        if let Some(watch) = &self.watch {
            watch.treat(&spec.policy.health);
        }
        self.spec = spec;
        Input::PolicyChanged
    }

    fn signal(&mut self, signal: Signal, group: bool) {
        self.handshake.abort_all();
        self.watch = None;
        if let Some(process) = &self.process {
            if group {
                process.signal_group(signal)
            } else {
                process.signal(signal)
            }
        }
    }

    fn overdue(&mut self) -> Input {
        if let State::Starting { .. } = self.lifecycle.state() {
            let limit = self.lifecycle.start_timeout();
            let problem = self
                .preparation_overdue()
                .unwrap_or_else(|| Problem::overdue(&self.spec.name, limit, self.progress.connected()));
            self.fault(problem);
        }
        let last = matches!(
            self.lifecycle.state(),
            State::Stopping {
                next: Escalation::KillGroup,
                ..
            }
        );
        match &self.process {
            Some(process) if last && process.stuck().is_some() => Input::Stuck {
                life: self.lifecycle.life(),
            },
            _ => Input::Tick,
        }
    }
}

async fn passed(process: &mut Option<Process>, life: u64) -> Input {
    let Some(process) = process else {
        return std::future::pending().await;
    };
    match process.passed().await {
        Ok(EndProgress::Group) => Input::Empty { life },
        Ok(EndProgress::Process) => Input::Ended { life },
        Err(error) => {
            warn!(pid = process.pid(), "cannot watch a process: {error}");
            Input::Ended { life }
        }
    }
}

async fn lost(upstream: &mut Option<Upstream>) {
    match upstream {
        Some(upstream) => upstream.closed().await,
        None => std::future::pending().await,
    }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
