//! Handle of the machine: requests that other tasks may send to it.

use std::sync::Arc;

use mainstay_core::machine::change::Known;
use mainstay_model::{Config, ModuleName};
use mainstay_proxy::identity::Identity;
use tokio::sync::{mpsc, oneshot};

use super::apply::{Applied, ApplyError};
use super::preflight::{ModuleLines, PreflightAnswers};
use super::setup::Shared;
use super::view::{View, ViewCell};
use crate::module::actor::RestartReason;
use crate::module::entry::ModuleEntry;
use crate::module::source::run_blocking;

/// Failure to restart a module.
#[derive(Debug, thiserror::Error)]
pub enum RestartError {
    /// There is no such module.
    #[error("module not found with id={id}, name={name}. make sure it is configured and running on your machine")]
    NotFound {
        /// The id that was asked for.
        id: String,
        /// The name that was asked for.
        name: String,
    },
    /// The new process failed.
    #[error("while restarting module id={id}, name={name}: {cause}")]
    Failed {
        /// The id that was asked for.
        id: String,
        /// The name that was asked for.
        name: String,
        /// Text of the failure.
        cause: Arc<str>,
    },
    /// The machine is shutting down.
    #[error("the machine is shutting down")]
    ShuttingDown,
}

#[derive(Debug)]
pub(super) enum Command {
    Restart {
        module: ModuleName,
        /// Number of the process that is to be replaced.
        current: u64,
        reason: RestartReason,
        done: Restarted,
    },
    /// Take up this config.
    Apply {
        config: Arc<Config>,
        asked: Box<PreflightAnswers>,
        done: oneshot::Sender<Applied>,
    },
    /// Query for the facts that a plan needs.
    Know(oneshot::Sender<Known>),
    /// Query for the modules that can be asked, by model.
    ModuleLines(oneshot::Sender<ModuleLines>),
    Shutdown,
}

/// Handle of the machine, for requests and reads.
#[derive(Debug, Clone)]
pub struct MachineHandle {
    /// The published state.
    pub published: ViewCell,
    pub(super) commands: mpsc::UnboundedSender<Command>,
    pub(super) shared: Arc<Shared>,
}

impl MachineHandle {
    /// Ends the module's process and starts a new one; returns when that is ready or has failed. With an id, only the
    /// id is compared. A local tarball is unpacked anew first: one that is no good leaves the present process alone.
    /// `by` is who asks.
    pub async fn restart(&self, by: &Identity, id: &str, name: &str) -> Result<(), RestartError> {
        let by = by.label().into();
        self.restart_for(RestartReason::Asked { by }, id, name).await
    }

    pub(super) async fn restart_for(&self, reason: RestartReason, id: &str, name: &str) -> Result<(), RestartError> {
        let view = View::clone(&self.published.load());
        let wanted = |entry: &&Arc<ModuleEntry>| {
            if id.is_empty() {
                !name.is_empty() && entry.name.as_str() == name
            } else {
                entry.id == id
            }
        };
        let (id, name) = (id.to_owned(), name.to_owned());
        let Some(entry) = view.modules.iter().find(wanted) else {
            return Err(RestartError::NotFound { id, name });
        };
        if let Err(cause) = renew(entry).await {
            return Err(RestartError::Failed { id, name, cause });
        }
        let (module, current) = (entry.name.clone(), entry.state().life);
        let restart = |done| Command::Restart {
            module,
            current,
            reason,
            done,
        };
        match self.request(restart).await {
            Ok(outcome) => outcome.map_err(|cause| RestartError::Failed { id, name, cause }),
            Err(ApplyError::ShuttingDown) => Err(RestartError::ShuttingDown),
        }
    }

    /// Id of this machine from its start to its end, for others who use its resources.
    pub fn machine_id(&self) -> &str {
        &self.shared.id
    }

    /// Sends a command and waits for its answer.
    pub(super) async fn request<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, ApplyError> {
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(command(reply))
            .map_err(|_| ApplyError::ShuttingDown)?;
        answer.await.map_err(|_| ApplyError::ShuttingDown)
    }

    /// Takes everything down in order; the machine's `run` returns when that is done.
    pub fn shut_down(&self) {
        let _over = self.commands.send(Command::Shutdown);
    }
}

/// Sender for the outcome of a restart.
pub(super) type Restarted = oneshot::Sender<Result<(), Arc<str>>>;

/// Unpacks the module's tarball into the next version's folder, if it is one. The present process runs on meanwhile.
async fn renew(entry: &ModuleEntry) -> Result<(), Arc<str>> {
    if !entry.source.is_tarball() {
        return Ok(());
    }
    let source = entry.source.clone();
    match run_blocking(move |give_up| source.renew(give_up)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.to_string().into()),
        Err(error) => Err(error.to_string().into()),
    }
}
