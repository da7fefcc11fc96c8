//! What running modules say of a config before anything is touched.

use std::sync::Arc;

use crate::config::Config;
use crate::machine::Handle;
use crate::machine::apply::Answers;
use crate::route::resource::Phase;

/// Asks the running modules about what is new to them.
pub async fn ask(machine: &Handle, config: &Arc<Config>) -> Answers {
    // A machine that shuts down asks nobody.
    machine.preflight(config.clone()).await.unwrap_or_default()
}

/// What they have against it, one line each. Who is unhealthy already has nothing to lose.
pub async fn objections(machine: &Handle, config: &Arc<Config>) -> Vec<String> {
    let answers = ask(machine, config).await;
    let view = machine.published.load_full();
    let mut objections: Vec<_> = answers
        .into_iter()
        .filter_map(|(name, answer)| {
            let known = view.resources.iter().find(|resource| resource.name == name);
            let broken = known.is_some_and(|resource| resource.state().phase == Phase::Unhealthy);
            let objection = answer.err().filter(|_| !broken)?;
            Some(format!("{name}: {objection}"))
        })
        .collect();
    objections.sort();
    objections
}
