//! The driver of one module: does what `lifecycle` says and reports what happened. Decides nothing itself.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::Signal;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{debug, error, info, warn};

use super::environment::{Launch, ModuleSpec, launch};
use super::handshake::{Handler, HandshakeError, Shaken, shake};
use super::lifecycle::{Action, Input, Lifecycle, State};
use super::output::{Stream, Tail, drain};
use super::process::{Process, Spawner, describe, exit_code};
use super::sockets::Sockets;
use super::state::{ModuleEntry, ModulePhase};
use crate::identity::ModuleName;
use crate::route::upstream::Upstream;

/// How long a lost connection to a living process is tried again before the process counts as useless.
const RECONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the pipes of an ended process are still read: grandchildren may hold them open for ever.
const OUTPUT_GRACE: Duration = Duration::from_millis(200);

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
    /// What to tell of the end of the present process, if more is known than its exit status.
    fault: Option<Problem>,
}

/// What went wrong with a module.
#[derive(Debug, Clone)]
struct Problem {
    /// In the words of the wire protocol, for clients that know these texts.
    wire: String,
    /// In few words, for a table.
    short: String,
}

/// Lines of a failed module's output that are shown with the reason.
const LAST_LINES: usize = 5;

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
                status = ended(&mut self.process) => { self.exited(status).await; Input::Exited }
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
                    self.down(problem);
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
        let launch = launch(&self.spec, &socket, &self.home);
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
        self.handshake
            .spawn(async move { shake(&module, &socket, &parent).await });
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
                self.fault = Some(problem.clone());
                self.down(problem);
                Some(Input::Failed)
            }
            Err(aborted) => {
                if aborted.is_panic() {
                    error!(module = %self.spec.name, "the handshake panicked: {aborted}");
                    return Some(Input::Failed);
                }
                None
            }
        }
    }

    /// The connection is gone while the process may live: it might have closed an idle one.
    async fn reconnect(&mut self) -> Option<Input> {
        self.upstream = None;
        let socket = self.sockets.module(self.life);
        let process = self.process.as_mut()?;
        let again = async {
            loop {
                if let Ok(upstream) = Upstream::connect(&socket).await {
                    return upstream;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            status = process.wait() => { self.exited(status).await; Some(Input::Exited) }
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
                    self.fault = Some(problem.clone());
                    self.down(problem);
                    Some(Input::Failed)
                }
            }
        }
    }

    fn overdue(&mut self) -> Input {
        if let State::Starting { .. } = self.lifecycle.state() {
            let name = &self.spec.name;
            let limit = self.started.elapsed().as_secs_f32();
            let problem = Problem {
                wire: format!(
                    "error adding module {name}: error while starting module {name}: module {name} timed out after {limit:.1}s during startup"
                ),
                short: format!("not ready within {limit:.1} s"),
            };
            self.fault = Some(problem.clone());
            self.down(problem);
        }
        Input::Tick
    }

    async fn exited(&mut self, status: std::io::Result<std::process::ExitStatus>) {
        self.process = None;
        self.upstream = None;
        self.handshake.abort_all();
        // What it said last is in the pipes; what its grandchildren say later is not waited for.
        let _late =
            tokio::time::timeout(OUTPUT_GRACE, async { while self.output.join_next().await.is_some() {} }).await;
        self.output.abort_all();
        if let Err(error) = self.sockets.remove(self.life) {
            warn!(module = %self.spec.name, "cannot remove its socket: {error}");
        }
        let asked = matches!(self.lifecycle.state(), State::Stopping { .. });
        let name = &self.spec.name;
        match (status, self.fault.take()) {
            (_, Some(fault)) => self.down(fault),
            (Ok(status), None) if asked => debug!(module = %name, "module stopped: {}", describe(status)),
            (Ok(status), None) => {
                let how = describe(status);
                let wire = match self.lifecycle.state() {
                    State::Starting { .. } => format!(
                        "error adding module {name}: error while starting module {name}: module {name} exited too quickly after attempted startup; \
                         it might have a fatal runtime issue ({how})"
                    ),
                    _ => format!(
                        "module has unexpectedly exited; module: {name}, exit_code: {} ({how})",
                        exit_code(status)
                    ),
                };
                self.down(Problem { wire, short: how });
            }
            (Err(error), None) => {
                let short = format!("ended; its exit status is unknown: {error}");
                self.down(Problem {
                    wire: format!("module {name} {short}"),
                    short,
                });
            }
        }
    }

    /// Publishes that the module cannot be used, and why. Said once for each cause, not once for each try.
    fn down(&mut self, Problem { wire, short }: Problem) {
        let lines: Vec<_> = self
            .tail
            .lines()
            .into_iter()
            .filter(|line| !line.trim().is_empty())
            .collect();
        let cause: Arc<str> = match lines.last() {
            Some(last) => format!("{wire}; last output: `{}`", last.trim()).into(),
            None => wire.into(),
        };
        let shown = &lines[lines.len().saturating_sub(LAST_LINES)..];
        let last = std::iter::once(short)
            .chain(shown.iter().cloned())
            .collect::<Vec<_>>()
            .join("\n");
        if self.entry.state().error.as_deref() == Some(&*cause) {
            debug!(module = %self.spec.name, "{cause}");
        } else {
            error!(module = %self.spec.name, "{cause}");
        }
        let took = self.started.elapsed();
        self.entry.publish(|state| {
            state.phase = ModulePhase::Unhealthy;
            state.error = Some(cause.clone());
            state.last = Some(last.into());
            state.last_at = Some(SystemTime::now());
            state.start_time = Some(took);
            state.consecutive_failures += 1;
            state.pid = None;
        });
        self.tell(Event::Down { cause });
    }

    /// Publishes the state that the lifecycle has come to.
    fn publish(&self, before: State) {
        let after = self.lifecycle.state();
        if before == after {
            return;
        }
        match after {
            State::Starting { .. } => self.entry.publish(|state| state.phase = ModulePhase::Starting),
            State::Ready => {
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

fn cannot_run(executable: &std::path::Path, error: &std::io::Error) -> String {
    let path = executable.display();
    match error.kind() {
        std::io::ErrorKind::NotFound if executable.exists() => {
            format!("cannot run `{path}`: its interpreter (first line, `#!…`) or loader does not exist")
        }
        std::io::ErrorKind::NotFound => format!("cannot run `{path}`: no such file; correct `executable_path`"),
        std::io::ErrorKind::PermissionDenied => format!("cannot run `{path}`: not executable; try `chmod +x {path}`"),
        _ => format!("cannot run `{path}`: {error}"),
    }
}

async fn ended(process: &mut Option<Process>) -> std::io::Result<std::process::ExitStatus> {
    match process {
        Some(process) => process.wait().await,
        None => std::future::pending().await,
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
