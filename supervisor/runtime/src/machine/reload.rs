//! A module's program was built anew: the module is restarted with it, when somebody asks or by itself (`watch: true`).

use std::sync::Arc;

use mainstay_proxy::identity::Identity;
use tracing::{info, warn};

use super::handle::{MachineHandle, RestartError};
use super::view::View;
use crate::module::actor::RestartReason;
use crate::module::entry::ModuleEntry;
use crate::module::program_files;
use crate::module::program_files::ProgramFiles;
use crate::module::source::{SourceError, run_blocking};
use crate::module::watch::ProgramWatch;

/// Outcome of a reload request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reloaded {
    /// A new process is ready.
    Restarted,
    /// The program is the one that runs already; nothing was done. What was looked at, in words.
    Unchanged(String),
}

impl MachineHandle {
    /// Restarts module `name` if its program or tarball is another one than that which runs, or if a file was changed that its
    /// process is made of, or in any case with `force`. `by` is who asks.
    ///
    /// # Errors
    /// No such module; no such file; or a restart that failed.
    pub async fn reload(&self, by: &Identity, name: &str, force: bool) -> Result<Reloaded, RestartError> {
        let view = View::clone(&self.published.load());
        let failed = |cause| RestartError::Failed {
            id: String::new(),
            name: name.to_owned(),
            cause,
        };
        if let Some(entry) = view.modules.iter().find(|entry| entry.name.as_str() == name) {
            let source = entry.source.clone();
            let (pid, started) = {
                let state = entry.state();
                (state.pid, state.started)
            };
            let module = name.to_owned();
            let look = move || -> Result<Option<ProgramFiles>, SourceError> {
                if source.is_changed()? {
                    return Ok(None);
                }
                let program = source.watched();
                let Some(started) = started.filter(|_| !source.is_tarball()) else {
                    // What a script would load is not known without its process.
                    let known = source.is_tarball() || !program_files::is_script(&program);
                    return Ok(known.then(ProgramFiles::default));
                };
                let files = program_files::look(&program, pid, started);
                if let Some(file) = &files.changed {
                    info!(%module, file = %file.display(), "a file of the program has changed");
                    return Ok(None);
                }
                Ok(Some(files))
            };
            let changed = run_blocking(move |_| look()).await;
            let changed = changed.map_err(|error| failed(error.to_string().into()))?;
            match changed {
                Ok(None) => {}
                Ok(Some(_)) if force => return self.restart(by, NO_ID, name).await.map(|()| Reloaded::Restarted),
                Ok(Some(files)) => return Ok(Reloaded::Unchanged(files.describe())),
                Err(error) => return Err(failed(error.to_string().into())),
            }
        }
        let by = by.label().into();
        self.restart_for(RestartReason::Reloaded { by }, NO_ID, name)
            .await
            .map(|()| Reloaded::Restarted)
    }
}

const NO_ID: &str = "";

/// Restarts the module whenever its program or tarball was replaced. Never ends by itself.
pub(super) async fn follow(entry: Arc<ModuleEntry>, handle: MachineHandle) {
    let mut watch = ProgramWatch::new(entry.source.clone());
    loop {
        let file = watch.changed().await;
        info!(module = %entry.name, file = %file.display(), "binary changed");
        // A start that fails is told by the module's own task; here is only what never came to a start.
        if let Err(error) = handle
            .restart_for(RestartReason::BinaryChanged, NO_ID, entry.name.as_str())
            .await
        {
            warn!(module = %entry.name, "not restarted with its changed binary: {error}");
        }
    }
}
