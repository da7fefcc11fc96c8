//! Handle of the rollout driver: requests that other tasks may send to it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mainstay_config::{ConfigFiles, Diagnostic, Refused, load_in};
use mainstay_core::machine::change;
use mainstay_core::machine::change::Known;
use mainstay_model::Preflight;
use mainstay_model::apply_state::Progress;
use mainstay_model::plan::Plan;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::loaded_config::{LoadedConfig, Overrides};
use super::start::{self, Start};
use super::status::{Status, StatusCell};
use crate::machine;

/// Dry run of a text: the plan that it would cause.
#[derive(Clone, Debug)]
pub struct DryRun {
    /// The changes.
    pub plan: Plan,
    /// Diagnostics of the text that do not keep it from being applied.
    pub diagnostics: Vec<Diagnostic>,
}

#[derive(Debug)]
pub(super) struct ApplyRequest {
    pub(super) bundle: ConfigFiles,
    pub(super) revert_after: Option<Duration>,
    pub(super) progress: mpsc::UnboundedSender<Progress>,
}

/// Handle of the driver, for requests and for its status.
#[derive(Clone, Debug)]
pub struct RolloutHandle {
    pub(super) status: StatusCell,
    pub(super) commands: mpsc::UnboundedSender<ApplyRequest>,
    pub(super) machine: machine::MachineHandle,
    pub(super) overrides: Arc<Overrides>,
}

impl RolloutHandle {
    /// Status of the running config against its file.
    pub fn status(&self) -> Arc<Status> {
        self.status.get()
    }

    /// Reads this text as the machine would.
    ///
    /// # Errors
    /// It cannot be used.
    pub async fn read(&self, bundle: ConfigFiles) -> Result<LoadedConfig, Refused> {
        read(bundle, &self.overrides).await
    }

    /// Whether the config's file, as it is now, could be taken up when it is read again. Nothing else looks at it before that, and
    /// what is known of it is of its last look.
    ///
    /// # Errors
    /// It could not, for these reasons.
    pub async fn check_file(&self) -> Result<(), Vec<String>> {
        let (path, overrides) = (self.status().path.clone(), self.overrides.clone());
        let reading = tokio::task::spawn_blocking(move || load_in(&path, &overrides.context(&path)));
        match reading.await {
            Ok(Ok(_usable)) => Ok(()),
            Ok(Err(refused)) => Err(start::reasons(&refused)),
            Err(broken) => Err(vec![broken.to_string()]),
        }
    }

    /// Dry run of applying this text now. Running modules are asked about its entries.
    ///
    /// # Errors
    /// It cannot be used.
    pub async fn plan(&self, bundle: ConfigFiles) -> Result<DryRun, Refused> {
        let loaded = read(bundle, &self.overrides).await?;
        let (config, never) = (&loaded.config, CancellationToken::new());
        let plan = match self.machine.ask(config, Preflight::Running, None, &never).await {
            Ok(asked) => asked.plan,
            // A machine that shuts down knows nothing.
            Err(_ending) => {
                let from = self.machine.published.load_full().config.clone();
                change::plan(&from, config, &Known::default())
            }
        };
        Ok(DryRun {
            plan,
            diagnostics: loaded.diagnostics,
        })
    }

    /// Applies this text, whatever the file holds, until another one comes. With `revert_after` it is watched for that
    /// long and taken back if it is not healthy. The end of the stream is the end of it; a stream that ends without
    /// its last item is the end of the machine.
    pub fn apply(&self, bundle: ConfigFiles, revert_after: Option<Duration>) -> mpsc::UnboundedReceiver<Progress> {
        let (progress, steps) = mpsc::unbounded_channel();
        let _ending = self.commands.send(ApplyRequest {
            bundle,
            revert_after,
            progress,
        });
        steps
    }
}

/// The driver's end of the handle.
#[derive(Debug)]
pub struct Inbox {
    pub(super) status: StatusCell,
    pub(super) commands: mpsc::UnboundedReceiver<ApplyRequest>,
    pub(super) overrides: Arc<Overrides>,
}

/// A handle, and its other end for the driver of a machine that starts with `start`.
pub fn channel(
    path: &Path,
    start: &Start,
    machine: machine::MachineHandle,
    overrides: Overrides,
) -> (RolloutHandle, Inbox) {
    let (sender, commands) = mpsc::unbounded_channel();
    let (state, reasons) = start.transaction().state();
    let status = StatusCell::new(Status {
        path: path.to_owned(),
        from: start.loaded.bundle.path.clone(),
        revision: start.kept.as_ref().map(|(_, revision)| *revision),
        state,
        reasons,
        since: SystemTime::now(),
        applied: SystemTime::now(),
        until: None,
        unkept: start.unkept.clone(),
        diagnostics: start.loaded.rendered.clone(),
    });
    let overrides = Arc::new(overrides);
    let handle = RolloutHandle {
        status: status.clone(),
        commands: sender,
        machine,
        overrides: overrides.clone(),
    };
    let inbox = Inbox {
        status,
        commands,
        overrides,
    };
    (handle, inbox)
}

/// Reads a text on a thread that may block.
pub(super) async fn read(bundle: ConfigFiles, overrides: &Arc<Overrides>) -> Result<LoadedConfig, Refused> {
    let overrides = overrides.clone();
    let path = bundle.path.clone();
    let reading = tokio::task::spawn_blocking(move || LoadedConfig::read(&bundle, &overrides));
    reading.await.unwrap_or_else(|broken| {
        let place = mainstay_model::SourceSpan::file(&path);
        let message = format!("the config cannot be read: {broken}");
        let diagnostic = Diagnostic::new(mainstay_config::diagnostic::Severity::Refused, message, place);
        Err(diagnostic.into())
    })
}
