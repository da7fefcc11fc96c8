//! Preparation of a module's process within the same start: unpacking its tarball, running its script for the first run.
//! Both belong to this module's start alone and are ended with it; no other module waits for them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mainstay_config::executable;
use mainstay_model::duration::show as show_duration;
use mainstay_model::{ModuleName, ModuleSpec};
use tokio::task::JoinSet;

use crate::module::first_run::FirstRun;
use crate::module::package::Program;
use crate::module::problem::Problem;
use crate::module::source::{ProgramSource, SourceError, run_blocking};
use crate::module::watch::ProgramWatch;

/// Limit for unpacking a tarball.
pub(super) const UNPACK_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// Outcome of the search for the program of process number `life`.
pub(super) type Appeared = (u64, Result<Program, String>);

/// Steps under way before the module's own process.
#[derive(Debug, Default)]
pub(super) struct Preparation {
    pub(super) unpacking: JoinSet<Appeared>,
    /// The script whose process is now in the module's place, and the program that follows.
    pub(super) script: Option<(FirstRun, Program)>,
    /// Watch for the program that a start did not find.
    pub(super) absent: Option<ProgramWatch>,
}

impl Preparation {
    /// Ends what is not a process.
    pub(super) fn give_up(&mut self) {
        self.unpacking.abort_all();
    }

    pub(super) fn unpack(&mut self, life: u64, source: Arc<ProgramSource>) {
        self.unpacking = JoinSet::new();
        self.unpacking.spawn(async move {
            let found = run_blocking(move |give_up| source.program(give_up)).await;
            (life, found.map_err(|error| error.to_string()).and_then(describe))
        });
    }

    /// Refuses a start whose program, or tarball, is missing or not executable, and has its coming watched.
    pub(super) fn is_there(
        &mut self,
        path: &Path,
        spec: &ModuleSpec,
        source: &Arc<ProgramSource>,
    ) -> Result<(), Problem> {
        let shown = if *path == spec.executable {
            spec.shown.clone()
        } else {
            path.display().to_string()
        };
        let Some(missing) = executable::on_disk(path).problem(&shown, spec.tarball) else {
            return Ok(());
        };
        self.absent = Some(ProgramWatch::for_its_coming(source.clone()));
        // The two blanks are what peers know.
        let short = format!("module  executable path error: {}; {}", missing.cause, missing.help);
        Err(cannot_start(&spec.name, short))
    }

    /// Problem text for a preparation that took too long; `None` if a process of the module's own did.
    pub(super) fn overdue(&self, spec: &ModuleSpec) -> Option<Problem> {
        if !self.unpacking.is_empty() {
            let short = format!("still unpacking its tarball after {}", show_duration(UNPACK_TIMEOUT));
            return Some(cannot_start(&spec.name, short));
        }
        let (first, _) = self.script.as_ref()?;
        Some(first.overdue(&spec.name, spec.first_run_timeout))
    }
}

pub(super) fn describe(found: Result<Program, SourceError>) -> Result<Program, String> {
    found.map_err(|error| error.to_string())
}

/// A start that failed for the reason `short`.
pub(super) fn cannot_start(name: &ModuleName, short: String) -> Problem {
    Problem {
        wire: format!("error adding module {name}: error while starting module {name}: {short}"),
        short,
        unstarted: true,
    }
}
