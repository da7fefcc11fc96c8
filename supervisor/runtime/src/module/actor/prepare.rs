//! Preparation of a module's process within the same start: unpacking its tarball, running its script for the first run.
//! Both belong to this module's start alone and are ended with it; no other module waits for them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use mainstay_config::executable;
use mainstay_core::module::lifecycle::{Input, State};
use mainstay_model::ModuleName;
use mainstay_model::duration::show as show_duration;
use mainstay_process::launch::Launch;
use tokio::task::{JoinError, JoinSet};
use tracing::{debug, info, warn};

use super::Actor;
use crate::module::first_run::FirstRun;
use crate::module::package::Program;
use crate::module::problem::Problem;
use crate::module::source::{Source, SourceError, run_blocking};
use crate::module::watch::ProgramWatch;

/// Limit for unpacking a tarball.
const UNPACK_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// Outcome of the search for the program of process number `life`.
type Appeared = (u64, Result<Program, String>);

/// Steps under way before the module's own process.
#[derive(Debug, Default)]
pub(super) struct Preparation {
    unpacking: JoinSet<Appeared>,
    /// The script whose process is now in the module's place, and the program that follows.
    script: Option<(FirstRun, Program)>,
}

impl Preparation {
    /// Ends what is not a process.
    pub(super) fn give_up(&mut self) {
        self.unpacking.abort_all();
    }

    /// Waits for a tarball to be unpacked.
    pub(super) async fn unpacked(&mut self) -> Result<Appeared, JoinError> {
        match self.unpacking.join_next().await {
            Some(found) => found,
            None => std::future::pending().await,
        }
    }

    fn unpack(&mut self, life: u64, source: Arc<Source>) {
        self.unpacking = JoinSet::new();
        self.unpacking.spawn(async move {
            let found = run_blocking(move |give_up| source.program(give_up)).await;
            (life, found.map_err(|error| error.to_string()).and_then(describe))
        });
    }
}

fn describe(found: Result<Program, SourceError>) -> Result<Program, String> {
    found.map_err(|error| error.to_string())
}

/// Waits for a program that was missing.
pub(super) async fn appeared(absent: &mut Option<ProgramWatch>) {
    match absent {
        Some(watch) => drop(watch.changed().await),
        None => std::future::pending().await,
    }
}

/// A start that failed for the reason `short`.
pub(super) fn cannot_start(name: &ModuleName, short: String) -> Problem {
    Problem {
        wire: format!("error adding module {name}: error while starting module {name}: {short}"),
        short,
        unstarted: true,
    }
}

impl Actor {
    /// Begins the start of process number `life`. Gives the limit of its first part, if that is not the usual one.
    pub(super) async fn start(&mut self, life: u64) -> Result<Option<Duration>, Problem> {
        self.orphans_gone().await;
        self.tail = self.entry.output.begin();
        self.started = Instant::now();
        self.preparation = Preparation::default();
        self.entry.publish(|state| state.life = life);
        self.absent = None;
        let source = self.entry.source.clone();
        if !source.is_at_hand() {
            self.is_there(&self.spec.executable.clone())?;
            debug!(module = %self.spec.name, life, "unpacking");
            self.preparation.unpack(life, source);
            return Ok(Some(UNPACK_TIMEOUT));
        }
        let program = describe(source.program(&AtomicBool::new(false)));
        let program = program.map_err(|short| cannot_start(&self.spec.name, short))?;
        if !self.spec.tarball {
            self.is_there(&program.executable)?;
        }
        self.run_program(life, program).await
    }

    /// Refuses a start whose program, or tarball, is missing or not executable, and has its coming watched.
    fn is_there(&mut self, path: &Path) -> Result<(), Problem> {
        let shown = if *path == self.spec.executable {
            self.spec.shown.clone()
        } else {
            path.display().to_string()
        };
        let Some(missing) = executable::on_disk(path).problem(&shown, self.spec.tarball) else {
            return Ok(());
        };
        self.absent = Some(ProgramWatch::for_its_coming(self.entry.source.clone()));
        // The two blanks are what peers know.
        let short = format!("module  executable path error: {}; {}", missing.cause, missing.help);
        Err(cannot_start(&self.spec.name, short))
    }

    /// True if a program that comes now is a reason to start before the time is up. One that is not to be started by itself
    /// any more is not, unless its program is watched for that.
    pub(super) fn may_try_sooner(&self) -> bool {
        match self.lifecycle.state() {
            State::Waiting { .. } => true,
            State::GivenUp(_) => self.spec.policy.watch,
            _ => false,
        }
    }

    /// The program that was missing is there.
    pub(super) fn appeared(&mut self) -> Input {
        self.absent = None;
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

    /// Puts the script in the place of the module's process if it is due. True if it was.
    pub(super) async fn run_script(&mut self, life: u64, program: &Program, launch: &Launch) -> Result<bool, Problem> {
        let Some(first) = program.first_run.as_ref().filter(|first| first.is_due()) else {
            return Ok(false);
        };
        let script = first.launch(launch);
        info!(module = %self.spec.name, script = %script.executable.display(), "first run");
        self.spawn(life, script).await?;
        self.preparation.script = Some((first.clone(), program.clone()));
        Ok(true)
    }

    /// Sees whether what has ended was the script. Then the module's own process follows, or its failure.
    pub(super) async fn script_passed(&mut self, passed: Input) -> Option<Input> {
        let Input::Ended { life } = passed else {
            return Some(passed);
        };
        // One that was told to end ends like any other process.
        if !self.is_starting(life) || self.preparation.script.is_none() {
            return Some(passed);
        }
        let (Some((first, mut program)), Some(mut process)) = (self.preparation.script.take(), self.process.take())
        else {
            return Some(passed);
        };
        self.bounds.settle().await;
        let status = process.end();
        self.bounds.end();
        self.orphans.spawn(async move { process.end_orphans().await });
        let problem = first.problem(&self.spec.name, &status);
        let failed = problem.is_some();
        if let Some(problem) = problem {
            self.fail(problem);
        }
        self.drain_output().await;
        if failed {
            return Some(Input::Exited { life, clean: false });
        }
        info!(module = %self.spec.name, ms = self.started.elapsed().as_millis(), "first run succeeded");
        if let Err(error) = first.succeeded() {
            let marker = first.marker.display();
            warn!(module = %self.spec.name, "cannot write `{marker}`, so the script will run again: {error}");
        }
        program.first_run = None;
        self.orphans_gone().await;
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
                self.fail(problem);
                Input::Exited { life, clean: false }
            }
        }
    }

    /// Problem text for a preparation that took too long; `None` if a process of the module's own did.
    pub(super) fn preparation_overdue(&self) -> Option<Problem> {
        if !self.preparation.unpacking.is_empty() {
            let short = format!("still unpacking its tarball after {}", show_duration(UNPACK_TIMEOUT));
            return Some(cannot_start(&self.spec.name, short));
        }
        let (first, _) = self.preparation.script.as_ref()?;
        Some(first.overdue(&self.spec.name, self.spec.first_run_timeout))
    }
}
