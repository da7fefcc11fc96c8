//! Start of a module's process: spawn, handshake, renewal of a lost connection.

use std::time::{Duration, SystemTime};

use mainstay_core::module::lifecycle::Input;
use mainstay_process::child::Process;
use mainstay_process::launch::Launch;
use mainstay_process::orphans::Life;
use tokio::task::{JoinError, JoinSet};
use tracing::{Level, debug, info, warn};

use super::prepare::cannot_start;
use super::{Actor, Event, passed};
use crate::module::address::Address;
use crate::module::environment::launch;
use crate::module::handshake::{HandshakeError, Handshaken, Progress, shake};
use crate::module::output::{Stream, drain};
use crate::module::package::Program;
use crate::module::problem::Problem;

/// Limit for renewing a lost connection to a living process before the process counts as useless.
const RECONNECT_TIMEOUT: Duration = Duration::from_secs(1);

impl Actor {
    /// Spawns process number `life` and begins to shake hands with it, or spawns the script that comes before. Gives the
    /// limit for that, if it is not the usual one.
    pub(super) async fn run_program(&mut self, life: u64, program: Program) -> Result<Option<Duration>, Problem> {
        let failed = |short| cannot_start(&self.spec.name, short);
        self.address = if self.spec.tcp {
            Address::free_port().map_err(|error| failed(format!("no TCP port for it: {error}")))?
        } else {
            Address::Unix(self.sockets.module(life))
        };
        let mark = Life::new(&self.sockets.key(), &self.spec.name, life);
        let launch = launch(&self.spec, &program, &self.address.to_os_string(), &self.home, mark);
        prepare(&launch).map_err(failed)?;
        let limit = if self.run_script(life, &program, &launch).await? {
            Some(self.spec.first_run_timeout)
        } else {
            self.spawn(life, launch).await?;
            self.progress = Progress::default();
            self.handshake = JoinSet::new();
            let (module, address, parent) = (self.spec.name.clone(), self.address.clone(), self.parent.clone());
            let (progress, members) = (self.progress.clone(), self.bounds.members().clone());
            self.handshake
                .spawn(async move { (life, shake(&module, &address, &members, &parent, progress).await) });
            None
        };
        let restarts = u32::try_from(life - 1).unwrap_or(u32::MAX);
        let pid = self.pid();
        debug!(module = %self.spec.name, pid, life, "module started");
        self.entry.publish(|state| {
            state.pid = Some(pid);
            state.started = Some(SystemTime::now());
            state.restarts = restarts;
        });
        self.send(Event::Starting);
        Ok(limit)
    }

    /// Spawns a process in this module's place and begins to read what it prints. Gives its number.
    pub(super) async fn spawn(&mut self, life: u64, mut launch: Launch) -> Result<u32, Problem> {
        let name = &self.spec.name;
        let failed = |short| cannot_start(name, short);
        let executable = launch.executable.clone();
        let confinement = self
            .bounds
            .confine(&self.spec, life, &mut launch, self.sockets.directory())
            .map_err(failed)?;
        let mut process = self
            .spawner
            .spawn(launch, confinement)
            .await
            .map_err(|error| failed(error.explain(&executable)))?;
        self.bounds.begin(process.pid());
        self.entry.lives_in(self.bounds.group());
        let (stdout, stderr) = process.take_output().map_err(|error| failed(error.to_string()))?;
        self.output = JoinSet::new();
        for (pipe, stream) in [(stdout, Stream::Stdout), (stderr, Stream::Stderr)] {
            self.output.spawn(drain(pipe, stream, self.tail.clone()));
        }
        let pid = process.pid();
        self.entry.output.note(Level::INFO, &format!("process {pid} started"));
        self.process = Some(process);
        Ok(pid)
    }

    /// Takes the outcome of a handshake; `None` if it was given up on purpose.
    pub(super) fn shaken(
        &mut self,
        outcome: Result<(u64, Result<Handshaken, HandshakeError>), JoinError>,
    ) -> Option<Input> {
        let problem = match outcome {
            // It may have come to its outcome while the process ended or was told to: that was told already.
            Ok((life, _)) if !self.is_starting(life) => return None,
            Ok((life, Ok(Handshaken { upstream, handlers }))) => {
                let took = self.started.elapsed();
                info!(module = %self.spec.name, pid = self.pid(), ms = took.as_millis(), "module ready");
                self.upstream = Some(upstream);
                self.entry.offers(handlers);
                self.entry.publish(|state| state.start_time = Some(took));
                // Only the lifecycle's word makes it READY; the event goes out after that, in `publish`.
                return Some(Input::Answered { life });
            }
            Ok((_, Err(problem))) => Problem {
                wire: format!("error adding module {}: {problem}", self.spec.name),
                short: problem.short(),
                unstarted: false,
            },
            Err(aborted) if aborted.is_panic() => {
                let short = format!("the handshake panicked: {aborted}");
                Problem {
                    wire: format!("error adding module {}: {short}", self.spec.name),
                    short,
                    unstarted: false,
                }
            }
            Err(_given_up) => return None,
        };
        let life = self.lifecycle.life();
        if !self.is_starting(life) {
            return None;
        }
        self.fault(problem);
        Some(Input::Failed { life })
    }

    /// The connection is gone while the process may live: it might have closed an idle one.
    pub(super) async fn reconnect(&mut self) -> Option<Input> {
        self.watch = None;
        // Whoever still waits on it hears what became of the module.
        let lost = self.upstream.take();
        let life = self.lifecycle.life();
        let (module, address) = (self.spec.name.clone(), self.address.clone());
        let members = self.bounds.members().clone();
        let again = async {
            loop {
                if let Ok(upstream) = address.connect(&module, &members).await {
                    return upstream;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            passed = passed(&mut self.process, life) => {
                self.upstream = lost;
                Some(passed)
            }
            connected = tokio::time::timeout(RECONNECT_TIMEOUT, again) => match connected {
                Ok(upstream) => {
                    warn!(module = %self.spec.name, "the module closed its connection; connected again");
                    self.upstream = Some(upstream.clone());
                    self.watch();
                    let handlers = self.entry.handlers();
                    self.send(Event::Ready { life, upstream, handlers });
                    None
                }
                Err(_elapsed) => {
                    let short = "closed its connection and accepts no new one".to_owned();
                    let problem = Problem { wire: format!("module {} {short}", self.spec.name), short, unstarted: false };
                    self.upstream = lost;
                    self.fault(problem);
                    Some(Input::Failed { life })
                }
            }
        }
    }

    fn pid(&self) -> u32 {
        self.process.as_ref().map_or(0, Process::pid)
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
