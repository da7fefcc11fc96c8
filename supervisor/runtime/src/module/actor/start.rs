//! Start of a module's process: from its program over its script to the handshake, and the renewal of a lost connection.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use mainstay_core::module::lifecycle::{Input, State};
use mainstay_process::launch::Launch;
use tokio::task::JoinError;
use tracing::{debug, info, warn};

use super::connection::Shaken;
use super::prepare::{Appeared, Preparation, UNPACK_TIMEOUT, cannot_start, describe};
use super::{Actor, process};
use crate::module::environment::launch;
use crate::module::handshake::Handshaken;
use crate::module::package::Program;
use crate::module::problem::{Problem, changed_user};

impl Actor {
    /// Begins the start of process number `life`. Gives the limit of its first part, if that is not the usual one.
    pub(super) async fn start(&mut self, life: u64) -> Result<Option<Duration>, Problem> {
        self.process.orphans_gone().await;
        self.report.begin(life);
        self.preparation = Preparation::default();
        let source = self.report.entry.source.clone();
        if !source.is_at_hand() {
            self.preparation.is_there(&self.spec.executable, &self.spec, &source)?;
            debug!(module = %self.spec.name, life, "unpacking");
            self.preparation.unpack(life, source);
            return Ok(Some(UNPACK_TIMEOUT));
        }
        let program = describe(source.program(&AtomicBool::new(false)));
        let program = program.map_err(|short| cannot_start(&self.spec.name, short))?;
        if !self.spec.tarball {
            self.preparation.is_there(&program.executable, &self.spec, &source)?;
        }
        self.run_program(life, program).await
    }

    /// True if a program that comes now is a reason to start before the time is up. One that is not to be started by itself
    /// any more is not, unless its program is watched for that.
    pub(super) fn may_try_sooner(&self) -> bool {
        match self.lifecycle.state() {
            State::Waiting { .. } => true,
            State::GivenUp(_) => self.spec.policy.watch.is_on(),
            _ => false,
        }
    }

    /// The program that was missing is there.
    pub(super) fn appeared(&mut self) -> Input {
        self.preparation.absent = None;
        info!(module = %self.spec.name, "its program is there now; starting it");
        Input::Restart
    }

    /// Goes on when a tarball was unpacked.
    pub(super) async fn found(&mut self, found: Result<Appeared, JoinError>) -> Option<Input> {
        let (life, program) = match found {
            Ok(found) => found,
            Err(aborted) if aborted.is_panic() => (self.lifecycle.life(), Err(aborted.to_string())),
            Err(_given_up) => return None,
        };
        if !self.is_starting(life) {
            return None;
        }
        let begun = match program {
            Ok(program) => self.run_program(life, program).await,
            Err(short) => Err(cannot_start(&self.spec.name, short)),
        };
        Some(self.underway(life, begun))
    }

    /// Spawns process number `life` and begins to shake hands with it, or spawns the script that comes before. Gives the
    /// limit for that, if it is not the usual one.
    async fn run_program(&mut self, life: u64, program: Program) -> Result<Option<Duration>, Problem> {
        let spec = &self.spec;
        let (address, mark) = self.process.place(spec, life)?;
        let launch = launch(spec, &program, &address.to_os_string(), &self.home, mark);
        prepare(&launch).map_err(|short| cannot_start(&spec.name, short))?;
        let script = program.first_run.clone().filter(|first| first.is_due());
        let limit = match script {
            Some(first) => {
                let script = first.launch(&launch);
                info!(module = %spec.name, script = %script.executable.display(), "first run");
                self.process.spawn(spec, life, script, &self.report.tail).await?;
                self.preparation.script = Some((first, program));
                Some(spec.first_run_timeout)
            }
            None => {
                self.process.spawn(spec, life, launch, &self.report.tail).await?;
                let members = self.process.bounds.members();
                self.connection.shake(&spec.name, life, address, members);
                None
            }
        };
        self.report.spawned(life, self.process.pid().unwrap_or_default());
        Ok(limit)
    }

    /// Sees whether what has ended was the script. Then the module's own process follows, or its failure.
    pub(super) async fn script_passed(&mut self, passed: Input) -> Option<Input> {
        let Input::Ended { life } = passed else {
            return Some(passed);
        };
        // One that was told to end ends like any other process.
        if !self.is_starting(life) {
            return Some(passed);
        }
        let Some((first, mut program)) = self.preparation.script.take() else {
            return Some(passed);
        };
        let (status, _) = self.process.reap().await?;
        let problem = first.problem(&self.spec.name, &status);
        let failed = problem.is_some();
        if let Some(problem) = problem {
            self.report.fail(problem);
        }
        self.drain_output().await;
        if failed {
            return Some(Input::Exited { life, clean: false });
        }
        info!(module = %self.spec.name, ms = self.report.started.elapsed().as_millis(), "first run succeeded");
        if let Err(error) = first.succeeded() {
            let marker = first.marker.display();
            warn!(module = %self.spec.name, "cannot write `{marker}`, so the script will run again: {error}");
        }
        program.first_run = None;
        self.process.orphans_gone().await;
        let begun = self.run_program(life, program).await;
        Some(self.underway(life, begun))
    }

    /// Lifecycle input for a start that goes on.
    fn underway(&mut self, life: u64, begun: Result<Option<Duration>, Problem>) -> Input {
        match begun {
            Ok(limit) => Input::Underway {
                life,
                limit: limit.unwrap_or(self.lifecycle.start_timeout()),
            },
            Err(problem) => {
                self.report.fail(problem);
                Input::Exited { life, clean: false }
            }
        }
    }

    /// Takes the outcome of a handshake; `None` if it was given up on purpose.
    pub(super) fn shaken(&mut self, outcome: Result<Shaken, JoinError>) -> Option<Input> {
        let (name, life) = (&self.spec.name, self.lifecycle.life());
        let problem = match outcome {
            // It may have come to its outcome while the process ended or was told to: that was told already.
            Ok((life, _)) if !self.is_starting(life) => return None,
            Ok((life, Ok(Handshaken { upstream, handlers }))) => {
                let took = self.report.started.elapsed();
                info!(module = %name, pid = self.process.pid().unwrap_or_default(), ms = took.as_millis(), "module ready");
                if let Some(user) = self.process.bounds.changed_user() {
                    warn!(module = %name, "{}", changed_user(user));
                }
                self.connection.upstream = Some(upstream);
                self.report.entry.offers(handlers);
                self.report.entry.publish(|state| state.start_time = Some(took));
                // Only the lifecycle's word makes it READY; the event goes out after that, in `publish`.
                return Some(Input::Answered { life });
            }
            Ok((_, Err(problem))) => Problem::new(format!("error adding module {name}: {problem}"), problem.short()),
            Err(aborted) if aborted.is_panic() => {
                let short = format!("the handshake panicked: {aborted}");
                Problem::new(format!("error adding module {name}: {short}"), short)
            }
            Err(_given_up) => return None,
        };
        if !self.is_starting(life) {
            return None;
        }
        self.fault(problem);
        Some(Input::Failed { life })
    }

    /// The connection is gone while the process may live: it might have closed an idle one.
    pub(super) async fn reconnect(&mut self) -> Option<Input> {
        self.connection.watch = None;
        let (name, life) = (&self.spec.name, self.lifecycle.life());
        let renewed = tokio::select! {
            passed = process::passed(&mut self.process.child, life) => return Some(passed),
            renewed = self.connection.renew(name, self.process.bounds.members()) => renewed,
        };
        if renewed {
            warn!(module = %name, "the module closed its connection; connected again");
            self.connected();
            return None;
        }
        let short = "closed its connection and accepts no new one";
        let problem = Problem::new(format!("module {name} {short}"), short);
        self.fault(problem);
        Some(Input::Failed { life })
    }

    /// True while process number `life` is expected to answer Ready.
    fn is_starting(&self, life: u64) -> bool {
        life == self.lifecycle.life() && matches!(self.lifecycle.state(), State::Starting { .. })
    }
}

/// Makes the data directory and looks for what would make the start fail with a riddle.
fn prepare(launch: &Launch) -> Result<(), String> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
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
