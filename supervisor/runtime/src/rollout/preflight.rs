//! Preflight of a text by the modules before anything is touched, and the decision whether that refuses it.

use std::sync::Arc;
use std::time::Duration;

use mainstay_config::{Diagnostic, Severity};
use mainstay_core::rollout::{Refusal, Revision, Ticket};
use mainstay_model::{Config, Phase};
use mainstay_proto::ResourceName;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::loaded_config::LoadedConfig;
use super::network::{Prepared, Unbound};
use crate::machine;
use crate::machine::preflight::PreflightAnswers;

/// Limit for modules to hold up a change that is not refused for what they say.
const PATIENCE: Duration = Duration::from_secs(1);

/// What was found for a text that passed: the port and the certificate for it, and the answers of modules about it.
pub(super) type Checked = (Prepared, Box<PreflightAnswers>);

/// Checks of texts that are on their way.
#[derive(Debug, Default)]
pub(super) struct Checks {
    /// Text whose modules are being asked, and the token that ends that.
    asking: Option<(Ticket, CancellationToken)>,
    /// Text that passed, and was not applied yet.
    passed: Option<(Ticket, Checked)>,
    /// True if the present refusal has the same reasons as the one before.
    pub(super) known_refusal: bool,
}

impl Checks {
    /// A text is to be checked, until the token is cancelled. The one before it is not any more.
    pub(super) fn begin(&mut self, ticket: Ticket) -> CancellationToken {
        let give_up = CancellationToken::new();
        if let Some((_, before)) = self.asking.replace((ticket, give_up.clone())) {
            before.cancel();
        }
        give_up
    }

    /// A text passed.
    pub(super) fn passed(&mut self, ticket: Ticket, checked: Checked) {
        self.passed = Some((ticket, checked));
    }

    /// Takes what was found for a text that is applied now. What was found for another one is given up.
    pub(super) fn take(&mut self, ticket: Ticket) -> Checked {
        let passed = self.passed.take().filter(|(of, _)| *of == ticket);
        passed.map(|(_, checked)| checked).unwrap_or_default()
    }

    /// Nothing more comes of this text.
    pub(super) fn give_up(&mut self, ticket: Ticket) {
        if let Some((_, asking)) = self.asking.take_if(|(of, _)| *of == ticket) {
            asking.cancel();
        }
        self.passed.take_if(|(of, _)| *of == ticket);
    }
}

/// Checks a text: its port is opened, its certificate loaded, and modules are asked.
///
/// # Errors
/// The port or the certificate cannot be had, or see [`ask`].
pub(super) async fn check(
    preparing: impl Future<Output = Result<Prepared, Unbound>>,
    machine: &machine::MachineHandle,
    revision: &Revision<Arc<LoadedConfig>>,
    give_up: &CancellationToken,
) -> Result<Checked, Refusal> {
    let prepared = preparing.await.map_err(|unbound| Refusal {
        reasons: vec![unbound.diagnostic.line()],
        transient: unbound.transient,
    })?;
    let asked = ask(machine, revision, give_up).await?;
    Ok((prepared, Box::new(asked)))
}

/// Asks the modules about `revision`, as its own policy wants it.
///
/// # Errors
/// It is one that goes back if it is not healthy, and it will not be, for these reasons; or the machine is shutting down. It
/// is worth another try if nobody found anything wrong with the text itself.
async fn ask(
    machine: &machine::MachineHandle,
    revision: &Revision<Arc<LoadedConfig>>,
    give_up: &CancellationToken,
) -> Result<PreflightAnswers, Refusal> {
    let config = &revision.what.config;
    let reverts = revision.revert.is_some();
    let patience = (!reverts).then_some(PATIENCE);
    let asked = machine.ask(config, config.apply.preflight, patience, give_up).await;
    let asked = asked.map_err(|ending| Refusal::of_text(vec![ending.to_string()]))?;
    let view = machine.published.load_full();
    let broken = |name: &ResourceName| {
        let mut resources = view.resources.iter();
        resources.any(|resource| resource.name == *name && resource.state().phase == Phase::Unhealthy)
    };
    let (reasons, transient) = reasons(config, &asked, broken);
    if reverts && !reasons.is_empty() {
        return Err(Refusal { reasons, transient });
    }
    for reason in reasons {
        warn!("a part of the change will not work: {reason}");
    }
    Ok(asked)
}

/// Reasons against the config: modules that do not start, and entries that their modules do not take. Entries that were
/// `broken` before do not count. True if all of it may be otherwise in a moment.
fn reasons(config: &Config, asked: &PreflightAnswers, broken: impl Fn(&ResourceName) -> bool) -> (Vec<String>, bool) {
    let mut transient = asked.unfit.iter().all(|(_, error)| error.transient);
    let modules = asked.unfit.iter().map(|(name, error)| {
        let message = format!("module {name}: {error}");
        match config.modules.iter().find(|module| module.name == name.as_str()) {
            Some(module) => Diagnostic::about(config, Severity::Local, &module.place, message).line(),
            None => message,
        }
    });
    let mut reasons: Vec<_> = modules.collect();
    for entry in &config.resources {
        if let Some(Err(error)) = asked.answers.get(&entry.name)
            && !broken(&entry.name)
        {
            transient &= asked.unanswered.contains(&entry.name);
            let message = format!("{}: {error}", entry.name);
            reasons.push(Diagnostic::about(config, Severity::Local, &entry.place, message).line());
        }
    }
    (reasons, transient)
}
