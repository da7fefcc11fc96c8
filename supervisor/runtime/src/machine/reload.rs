//! A module's program, or a file that it is made of, has changed: it is built where its entry says how, and the module is
//! restarted with it, when somebody asks or by itself (`watch`).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mainstay_model::duration::show as show_duration;
use mainstay_model::event::NoteKind;
use mainstay_process::sockets;
use mainstay_proxy::identity::Identity;
use tracing::{Level, info, warn};

use super::handle::{MachineHandle, RestartError};
use super::view::View;
use crate::module::actor::RestartReason;
use crate::module::build;
use crate::module::entry::ModuleEntry;
use crate::module::file_watch::FileWatch;
use crate::module::program_files;
use crate::module::program_files::ProgramFiles;
use crate::module::source::{SourceError, run_blocking};
use crate::module::watch::ProgramWatch;

/// Answer to a reload request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReloadResult {
    /// Time that the build took; `None` if the module has none.
    pub built: Option<Duration>,
    /// What followed.
    pub outcome: Reloaded,
}

/// Outcome of a reload request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reloaded {
    /// A new process is ready.
    Restarted,
    /// The program is the one that runs already; nothing was done. What was looked at, in words.
    Unchanged(String),
}

const NO_ID: &str = "";

impl MachineHandle {
    /// Builds module `name` where its entry says how, and restarts it if its program or tarball is another one than that which
    /// runs, or if a file was changed that its process is made of or its entry names, or in any case with `force`. `by` is
    /// who asks.
    ///
    /// # Errors
    /// No such module; a build that failed; no such file; or a restart that failed.
    pub async fn reload(&self, by: &Identity, name: &str, force: bool) -> Result<ReloadResult, RestartError> {
        let failed = |cause: String| RestartError::Failed {
            id: String::new(),
            name: name.to_owned(),
            cause: cause.into(),
        };
        let view = View::clone(&self.published.load());
        let mut built = None;
        let mut unchanged = None;
        if let Some(entry) = view.modules.iter().find(|entry| entry.name.as_str() == name) {
            built = self.build(entry).await.map_err(failed)?;
            unchanged = unchanged_files(entry).await.map_err(failed)?;
        }
        let outcome = match unchanged {
            Some(files) if !force => Reloaded::Unchanged(files.describe()),
            unchanged => {
                let by = by.label().into();
                let reason = match unchanged {
                    Some(_) => RestartReason::Asked { by },
                    None => RestartReason::Reloaded { by },
                };
                self.restart_for(reason, NO_ID, name).await?;
                Reloaded::Restarted
            }
        };
        Ok(ReloadResult { built, outcome })
    }

    /// Builds a module's program and gives the time that it took; `None` if its entry says no command. The present process
    /// runs on, whatever comes of it.
    async fn build(&self, entry: &ModuleEntry) -> Result<Option<Duration>, String> {
        let Some(build) = entry.policy().build.clone() else {
            return Ok(None);
        };
        let key = sockets::key(&self.shared.runtime);
        let what = (build, entry.output.clone());
        let built = build::run(&self.shared.builds, &self.shared.spawner, &key, &entry.name, what).await;
        let note = |level, text: &str| {
            entry.output.note(level, text);
            let module = Some(entry.name.clone());
            self.published
                .changes
                .note(NoteKind::Build, text.to_owned(), Vec::new(), module);
        };
        match &built {
            Ok(took) => {
                let took = show_duration(*took);
                info!(module = %entry.name, "built in {took}");
                note(Level::INFO, &format!("built in {took}"));
            }
            Err(cause) => {
                let text = format!("{cause}\n  the process that runs is the one from before");
                warn!(module = %entry.name, "{text}");
                note(Level::WARN, cause.lines().next().unwrap_or_default());
            }
        }
        built.map(Some)
    }

    /// Builds a module because one of its files changed, once more if one did meanwhile, and gives the reason for a restart
    /// if there is one.
    async fn rebuild(&self, entry: &ModuleEntry, files: &mut FileWatch, file: &Path) -> Option<RestartReason> {
        info!(module = %entry.name, file = %file.display(), "a file changed");
        let reason = || RestartReason::FileChanged {
            file: file.display().to_string().into(),
        };
        if entry.policy().build.is_none() {
            return Some(reason());
        }
        // What a build itself writes must not begin it again and again.
        for _ in 0..2 {
            // Was told.
            self.build(entry).await.ok()?;
            if files.change().await.is_none() {
                break;
            }
        }
        match unchanged_files(entry).await {
            Ok(Some(_)) => {
                info!(module = %entry.name, "its program is the same after the build; it runs on");
                None
            }
            Ok(None) => Some(reason()),
            Err(error) => {
                warn!(module = %entry.name, "not restarted after the build: {error}");
                None
            }
        }
    }
}

/// What was looked at, if the module's program and the files that it is made of are those from which its process was started.
async fn unchanged_files(entry: &ModuleEntry) -> Result<Option<ProgramFiles>, String> {
    let source = entry.source.clone();
    let named = entry.policy().watch.paths().to_vec();
    let (pid, started) = {
        let state = entry.state();
        (state.pid, state.started)
    };
    let module = entry.name.clone();
    let look = move || -> Result<Option<ProgramFiles>, SourceError> {
        if source.is_changed()? {
            return Ok(None);
        }
        let program = source.watched();
        let Some(started) = started else {
            // What a script would load is not known without its process.
            let known = source.is_tarball() || !program_files::is_script(&program);
            return Ok((known && named.is_empty()).then(ProgramFiles::default));
        };
        // A tarball is looked at as a whole.
        let pid = pid.filter(|_| !source.is_tarball());
        let files = program_files::look(&program, pid, &named, started);
        if let Some(file) = &files.changed {
            info!(%module, file = %file.display(), "a file of the program has changed");
            return Ok(None);
        }
        Ok(Some(files))
    };
    let looked = run_blocking(move |_| look()).await.map_err(|error| error.to_string())?;
    looked.map_err(|error| error.to_string())
}

/// Restarts the module whenever its program or tarball was replaced, or another of its files has changed. Never ends by itself.
pub(super) async fn follow(entry: Arc<ModuleEntry>, handle: MachineHandle) {
    let mut program = ProgramWatch::new(entry.source.clone());
    let mut files = FileWatch::new(entry.clone());
    loop {
        let reason = tokio::select! {
            file = program.changed() => {
                info!(module = %entry.name, file = %file.display(), "binary changed");
                RestartReason::BinaryChanged
            }
            file = files.changed() => match handle.rebuild(&entry, &mut files, &file).await {
                Some(reason) => reason,
                None => continue,
            },
        };
        // A start that fails is told by the module's own task; here is only what never came to a start.
        if let Err(error) = handle.restart_for(reason, NO_ID, entry.name.as_str()).await {
            warn!(module = %entry.name, "not restarted with its changed program: {error}");
        }
    }
}
