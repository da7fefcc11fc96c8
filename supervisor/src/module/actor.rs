//! The driver of one module: does what `lifecycle` says and reports what happened. Decides nothing itself.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::Signal;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{debug, error, info, warn};

use super::environment::{Launch, ModuleSpec, launch};
use super::handshake::{Handler, HandshakeError, Progress, Shaken, shake};
use super::lifecycle::{Action, Input, Lifecycle, State};
use super::orphans::Life;
use super::output::{Stream, Tail, drain};
use super::problem::{Problem, cannot_run};
use super::process::{Passed, Process, Spawner};
use super::sockets::Sockets;
use super::state::{ModuleEntry, ModulePhase};
use crate::identity::ModuleName;
use crate::route::upstream::Upstream;

/// How long a lost connection to a living process is tried again before the process counts as useless.
const RECONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the pipes of an ended process are still read: grandchildren may hold them open for ever.
const OUTPUT_GRACE: Duration = Duration::from_millis(200);
/// How long they are read before anybody hears of the end: enough for what is in them already.
const OUTPUT_AT_ONCE: Duration = Duration::from_millis(10);

/// What the machine asks of a module.
#[derive(Debug)]
pub enum Command {
    /// Run, or end.
    Want(bool),
    /// End the present process and start a new one, at once.
    Restart,
}

/// What a module tells the machine. `life` counts its processes: the word of an earlier one no longer counts.
#[derive(Debug)]
pub enum Event {
    /// A process is being started.
    Starting,
    /// It is ready, or its connection was renewed within the same life.
    Ready {
        /// Which process.
        life: u64,
        /// Where its calls go.
        upstream: Upstream,
        /// What it offers.
        handlers: Arc<[Handler]>,
    },
    /// It cannot be called any more.
    Down {
        /// Why, and when it is started again.
        cause: Arc<str>,
    },
    /// It ended as wanted.
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
    events: mpsc::UnboundedSender<(ModuleName, Event)>,
    lifecycle: Lifecycle,
    life: u64,
    process: Option<Process>,
    upstream: Option<Upstream>,
    tail: Tail,
    output: JoinSet<()>,
    handshake: JoinSet<Result<Shaken, HandshakeError>>,
    started: Instant,
    /// Why the present process is of no use, if that was told before its end.
    fault: Option<Problem>,
    /// The cause that was logged last, since it was ready.
    said: Option<Arc<str>>,
    start_timeout: Duration,
    /// How far the handshake has come.
    progress: Progress,
}

/// What an actor needs from outside.
#[derive(Debug)]
pub struct Context {
    /// Where its state is published.
    pub entry: Arc<ModuleEntry>,
    /// Its socket names.
    pub sockets: Sockets,
    /// VIAM_HOME.
    pub home: PathBuf,
    /// Starts processes.
    pub spawner: Spawner,
    /// Where events go.
    pub events: mpsc::UnboundedSender<(ModuleName, Event)>,
    /// Limit from spawn to Ready.
    pub start_timeout: Duration,
}

impl Actor {
    /// An actor for `spec` that does nothing until it is wanted.
    pub fn new(spec: ModuleSpec, context: Context) -> Self {
        let Context {
            entry,
            sockets,
            home,
            spawner,
            events,
            start_timeout,
        } = context;
        Self {
            spec,
            entry,
            sockets,
            home,
            spawner,
            events,
            lifecycle: Lifecycle::new(start_timeout),
            life: 0,
            process: None,
            upstream: None,
            tail: Tail::default(),
            output: JoinSet::new(),
            handshake: JoinSet::new(),
            started: Instant::now(),
            fault: None,
            said: None,
            start_timeout,
            progress: Progress::default(),
        }
    }

    /// Runs until the commands end and the process with them.
    pub async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        let mut open = true;
        while open || self.lifecycle.state() != State::Stopped {
            let input = tokio::select! {
                command = commands.recv(), if open => match command {
                    Some(Command::Want(wanted)) => Input::Want(wanted),
                    Some(Command::Restart) => Input::Restart,
                    None => { open = false; Input::Want(false) }
                },
                passed = passed(&mut self.process) => passed,
                Some(outcome) = self.handshake.join_next() => match self.shaken(outcome) {
                    Some(input) => input,
                    None => continue,
                },
                () = lost(&mut self.upstream) => match self.reconnect().await {
                    Some(input) => input,
                    None => continue,
                },
                () = at(self.lifecycle.deadline()) => self.overdue(),
            };
            self.handle(input).await;
        }
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
                Action::Start => {
                    let Err(problem) = self.start().await else { return };
                    let cause = self.down(&problem);
                    self.say(cause);
                    input = Input::Exited;
                }
                Action::Reap => {
                    self.reap().await;
                    input = Input::Exited;
                }
                Action::Terminate => return self.signal(Signal::SIGTERM, false),
                Action::TerminateGroup => return self.signal(Signal::SIGTERM, true),
                Action::KillGroup => {
                    warn!(module = %self.spec.name, "module did not end when told to; killing it");
                    return self.signal(Signal::SIGKILL, true);
                }
            }
        }
    }

    fn signal(&mut self, signal: Signal, group: bool) {
        self.handshake.abort_all();
        self.upstream = None;
        if let Some(process) = &self.process {
            if group {
                process.signal_group(signal)
            } else {
                process.signal(signal)
            }
        }
    }

    async fn start(&mut self) -> Result<(), Problem> {
        let name = &self.spec.name;
        self.life += 1;
        self.fault = None;
        self.tail = Tail::default();
        self.started = Instant::now();
        let socket = self.sockets.module(self.life);
        let life = Life::new(&self.sockets.key(), name, self.life);
        let launch = launch(&self.spec, &socket, &self.home, life);
        let failed = |short: String| Problem {
            wire: format!("error adding module {name}: error while starting module {name}: {short}"),
            short,
        };
        prepare(&launch).map_err(failed)?;
        let executable = launch.executable.clone();
        let mut process = self
            .spawner
            .spawn(launch)
            .await
            .map_err(|error| failed(cannot_run(&executable, &error)))?;
        let (stdout, stderr) = process.take_output().map_err(|error| failed(error.to_string()))?;
        self.output = JoinSet::new();
        self.output
            .spawn(drain(stdout, name.clone(), Stream::Stdout, self.tail.clone()));
        self.output
            .spawn(drain(stderr, name.clone(), Stream::Stderr, self.tail.clone()));
        let pid = process.pid();
        self.process = Some(process);
        self.handshake = JoinSet::new();
        let (module, parent) = (name.clone(), self.sockets.parent());
        self.progress = Progress::default();
        let progress = self.progress.clone();
        self.handshake
            .spawn(async move { shake(&module, &socket, &parent, progress).await });
        debug!(module = %name, pid, life = self.life, "module started");
        let restarts = u32::try_from(self.life - 1).unwrap_or(u32::MAX);
        self.entry.publish(|state| {
            state.pid = Some(pid);
            state.started = Some(SystemTime::now());
            state.restarts = restarts;
            state.next_try = None;
        });
        self.tell(Event::Starting);
        Ok(())
    }

    /// Takes the outcome of the handshake; `None` if it was given up on purpose.
    fn shaken(&mut self, outcome: Result<Result<Shaken, HandshakeError>, tokio::task::JoinError>) -> Option<Input> {
        // It may have come to its outcome while the process ended or was told to: that was told already.
        if !matches!(self.lifecycle.state(), State::Starting { .. }) {
            return None;
        }
        match outcome {
            Ok(Ok(Shaken { upstream, handlers })) => {
                let took = self.started.elapsed();
                info!(module = %self.spec.name, pid = self.pid(), ms = took.as_millis(), "module ready");
                self.upstream = Some(upstream);
                self.entry.publish(|state| {
                    state.start_time = Some(took);
                    state.handlers = handlers.clone();
                });
                // Only the lifecycle's word makes it READY; the event goes out after that, in `publish`.
                Some(Input::Answered)
            }
            Ok(Err(problem)) => {
                let problem = Problem {
                    wire: format!("error adding module {}: {problem}", self.spec.name),
                    short: problem.short(),
                };
                self.fault(problem);
                Some(Input::Failed)
            }
            Err(aborted) if aborted.is_panic() => {
                let short = format!("the handshake panicked: {aborted}");
                self.fault(Problem {
                    wire: format!("error adding module {}: {short}", self.spec.name),
                    short,
                });
                Some(Input::Failed)
            }
            Err(_given_up) => None,
        }
    }

    /// The connection is gone while the process may live: it might have closed an idle one.
    async fn reconnect(&mut self) -> Option<Input> {
        self.upstream = None;
        let socket = self.sockets.module(self.life);
        let module = self.spec.name.clone();
        let again = async {
            loop {
                if let Ok(upstream) = Upstream::connect_to(module.as_str(), &socket).await {
                    return upstream;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            passed = passed(&mut self.process) => Some(passed),
            connected = tokio::time::timeout(RECONNECT_TIMEOUT, again) => match connected {
                Ok(upstream) => {
                    warn!(module = %self.spec.name, "the module closed its connection; connected again");
                    self.upstream = Some(upstream.clone());
                    let handlers = self.entry.state().handlers.clone();
                    self.tell(Event::Ready { life: self.life, upstream, handlers });
                    None
                }
                Err(_elapsed) => {
                    let short = "closed its connection and accepts no new one; it is being restarted".to_owned();
                    let problem = Problem { wire: format!("module {} {short}", self.spec.name), short };
                    self.fault(problem);
                    Some(Input::Failed)
                }
            }
        }
    }

    fn overdue(&mut self) -> Input {
        if let State::Starting { .. } = self.lifecycle.state() {
            let problem = Problem::overdue(&self.spec.name, self.start_timeout, self.progress.connected());
            self.fault(problem);
        }
        Input::Tick
    }

    /// Takes leave of a process that has ended: kills what is left of it, reaps it, and tells of its end.
    async fn reap(&mut self) {
        let Some(mut process) = self.process.take() else {
            return;
        };
        let status = process.end();
        self.upstream = None;
        self.handshake.abort_all();
        // What it said last is in the pipes, and usually read by now; nobody may be kept waiting for it.
        let complete = self.read_out(OUTPUT_AT_ONCE).await;
        let (problem, told) = match self.fault.take() {
            Some(fault) => (Some(fault), true),
            None => (Problem::end(&self.spec.name, self.lifecycle.state(), status), false),
        };
        let mut cause = match &problem {
            Some(problem) if !told => Some(self.down(problem)),
            _ => None,
        };
        process.end_orphans().await;
        if !complete {
            // What its grandchildren say later is not waited for.
            self.read_out(OUTPUT_GRACE).await;
        }
        self.output.abort_all();
        if let Some(problem) = &problem {
            cause = self.down_in_full(problem).or(cause);
        }
        if let Some(cause) = cause.filter(|_| !told) {
            self.say(cause);
        }
        if let Err(error) = self.sockets.remove(self.life) {
            warn!(module = %self.spec.name, "cannot remove its socket: {error}");
        }
    }

    /// Reads what the process printed, for `grace` at most; true if that was all.
    async fn read_out(&mut self, grace: Duration) -> bool {
        let read = async { while self.output.join_next().await.is_some() {} };
        tokio::time::timeout(grace, read).await.is_ok()
    }

    /// The process runs, but is of no use.
    fn fault(&mut self, problem: Problem) {
        let cause = self.down(&problem);
        self.say(cause);
        self.fault = Some(problem);
    }

    /// Publishes that the module cannot be used, and why. Once for each failure.
    fn down(&mut self, problem: &Problem) -> Arc<str> {
        let (cause, last) = problem.with_output(&self.tail.lines());
        let took = self.started.elapsed();
        let pid = self.process.as_ref().map(Process::pid);
        self.entry.publish(|state| {
            state.phase = ModulePhase::Unhealthy;
            state.error = Some(cause.clone());
            state.last = Some(last);
            state.last_at = Some(SystemTime::now());
            state.start_time = Some(took);
            state.consecutive_failures += 1;
            state.pid = pid;
        });
        self.tell(Event::Down { cause: cause.clone() });
        cause
    }

    /// Completes what `down` published with what the process said last; `None` if that changes nothing.
    fn down_in_full(&mut self, problem: &Problem) -> Option<Arc<str>> {
        let (cause, last) = problem.with_output(&self.tail.lines());
        let state = self.entry.state();
        if state.last.as_deref() == Some(&*last) && state.error.as_deref() == Some(&*cause) {
            return None;
        }
        self.entry.publish(|state| {
            state.error = Some(cause.clone());
            state.last = Some(last);
        });
        self.tell(Event::Down { cause: cause.clone() });
        Some(cause)
    }

    /// Logs why the module is down: once for each cause, not once for each try.
    fn say(&mut self, cause: Arc<str>) {
        if self.said.as_ref() == Some(&cause) {
            debug!(module = %self.spec.name, "{cause}");
        } else {
            error!(module = %self.spec.name, "{cause}");
            self.said = Some(cause);
        }
    }

    /// Publishes the state that the lifecycle has come to.
    fn publish(&mut self, before: State) {
        let after = self.lifecycle.state();
        if before == after {
            return;
        }
        match after {
            State::Starting { .. } => self.entry.publish(|state| state.phase = ModulePhase::Starting),
            State::Ready => {
                self.said = None;
                self.entry.publish(|state| {
                    state.phase = ModulePhase::Ready;
                    state.error = None;
                    state.consecutive_failures = 0;
                });
                if let Some(upstream) = &self.upstream {
                    let handlers = self.entry.state().handlers.clone();
                    self.tell(Event::Ready {
                        life: self.life,
                        upstream: upstream.clone(),
                        handlers,
                    });
                }
            }
            State::Stopping { .. } => self.entry.publish(|state| {
                if state.phase != ModulePhase::Unhealthy {
                    state.phase = ModulePhase::Closing;
                }
            }),
            State::Waiting { until } => {
                let next_try = SystemTime::now() + until.saturating_duration_since(Instant::now());
                self.entry.publish(|state| {
                    state.phase = ModulePhase::Unhealthy;
                    state.next_try = Some(next_try);
                    state.pid = None;
                });
            }
            State::Stopped => {
                self.entry.publish(|state| {
                    state.phase = ModulePhase::Closing;
                    state.pid = None;
                });
                self.tell(Event::Stopped);
            }
        }
    }

    fn pid(&self) -> u32 {
        self.process.as_ref().map_or(0, Process::pid)
    }

    fn tell(&self, event: Event) {
        // The machine is gone only when all of it is.
        let _gone = self.events.send((self.spec.name.clone(), event));
    }
}

/// Makes the data directory and looks for what would make the start fail with a riddle.
fn prepare(launch: &Launch) -> Result<(), String> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(&launch.data)
        .map_err(|error| format!("cannot make its data directory `{}`: {error}", launch.data.display()))?;
    if !launch.directory.is_dir() {
        let here = std::env::current_dir().unwrap_or_default();
        return Err(format!(
            "error setting process working directory to \"{}\" from current working directory \"{}\": no such directory",
            launch.directory.display(),
            here.display()
        ));
    }
    Ok(())
}

async fn passed(process: &mut Option<Process>) -> Input {
    let Some(process) = process else {
        return std::future::pending().await;
    };
    match process.passed().await {
        Ok(Passed::Group) => Input::Empty,
        Ok(Passed::Process) => Input::Ended,
        Err(error) => {
            warn!(pid = process.pid(), "cannot watch a process: {error}");
            Input::Ended
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
