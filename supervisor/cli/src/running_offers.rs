//! Models that the modules of a running machine offer, for a look at the config that it runs.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use mainstay_model::{Config, ModuleConfig, Offer};
use mainstay_proto::mainstay::control::v1::{GetStatusRequest, Module, ModuleState};
use mainstay_proto::viam::robot::v1::GetModelsFromModulesRequest;
use tokio::time::timeout;

use crate::selector::MachineSelector;
use crate::target;
use crate::times::at;

/// Limit for the machine to answer. Who looks at a file does not wait for a machine that hangs.
const PATIENCE: Duration = Duration::from_millis(150);

/// The offers of those modules of `config` that run just so in the machine of the config file `file`; none if none runs.
pub async fn of(file: &Path, config: &Config) -> Vec<(String, BTreeSet<Offer>)> {
    if config.modules.is_empty() {
        return Vec::new();
    }
    timeout(PATIENCE, asked(file, config))
        .await
        .ok()
        .flatten()
        .unwrap_or_default()
}

async fn asked(file: &Path, config: &Config) -> Option<Vec<(String, BTreeSet<Offer>)>> {
    let which = MachineSelector::local(Some(file.to_owned()));
    let connection = target::find(&which).await.ok()?.connection;
    let status = connection
        .control()
        .get_status(GetStatusRequest {})
        .await
        .ok()?
        .into_inner();
    let request = GetModelsFromModulesRequest {};
    let models = connection.robot().get_models_from_modules(request).await.ok()?;
    let models = models.into_inner().models;
    let mut known = Vec::new();
    for module in &config.modules {
        let running = status.modules.iter().find(|running| running.name == module.name);
        if !running.is_some_and(|running| is_the_same(running, module)) {
            continue;
        }
        let offers = models.iter().filter(|model| model.module_name == module.name);
        let offers = offers.filter_map(|model| Some((model.api.parse().ok()?, model.model.parse().ok()?)));
        known.push((module.name.clone(), offers.collect()));
    }
    Some(known)
}

/// True if what runs is what the entry says. A program that was rebuilt since may offer more.
fn is_the_same(running: &Module, module: &ModuleConfig) -> bool {
    let started = at(running.started_at.as_ref());
    let built = fs::metadata(&module.executable)
        .and_then(|program| program.modified())
        .ok();
    running.state() == ModuleState::Ready
        && Path::new(&running.executable) == module.executable
        && matches!((started, built), (Some(started), Some(built)) if built < started)
}
