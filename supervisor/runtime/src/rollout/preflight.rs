//! Preflight of a text by the modules before anything is touched, and the decision whether that refuses it.

use std::sync::Arc;
use std::time::Duration;

use mainstay_config::Diagnostic;
use mainstay_config::Severity;
use mainstay_core::rollout::transaction::{Refusal, Revision};
use mainstay_model::{Config, Phase};
use mainstay_proto::ResourceName;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::loaded_config::LoadedConfig;
use crate::machine;
use crate::machine::preflight::PreflightAnswers;

/// Limit for modules to hold up a change that is not refused for what they say.
const PATIENCE: Duration = Duration::from_secs(1);

/// Asks the modules about `revision`, as its own policy wants it.
///
/// # Errors
/// It is one that goes back if it is not healthy, and it will not be, for these reasons; or the machine is shutting down. It
/// is worth another try if nobody found anything wrong with the text itself.
pub(super) async fn ask(
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
