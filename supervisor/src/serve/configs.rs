//! What the control socket offers about configs: what one would change, how it differs, what is wrong with it, and
//! having it run.

use mainstay_proto::mainstay::control::v1 as pb;
use tonic::Status;

use super::control::Control;
use super::wire;
use crate::config::{self, Bundle, Loaded, Refused, Surroundings, difference};
use crate::machine::apply::ApplyError;
use crate::machine::change;

/// The config that a request is about.
fn text(config: Option<pb::ConfigText>) -> Result<Bundle, Status> {
    let config = config.filter(|config| !config.files.is_empty());
    let bundle = wire::bundle(config.ok_or_else(|| Status::invalid_argument("a config has at least one file"))?);
    if !bundle.path.is_absolute() {
        return Err(Status::invalid_argument("the path of a config must be absolute"));
    }
    Ok(bundle)
}

/// Reads a text on a thread that may block.
async fn read(bundle: Bundle) -> Result<Result<Loaded, Refused>, Status> {
    let reading = tokio::task::spawn_blocking(move || {
        let mut loaded = config::parse(&bundle, &Surroundings::of(&bundle.path))?;
        loaded.look_for_programs();
        Ok(loaded)
    });
    reading
        .await
        .map_err(|broken| Status::internal(format!("the config cannot be read: {broken}")))
}

/// The machine says nothing of itself any more.
fn ending(error: ApplyError) -> Status {
    Status::unavailable(error.to_string())
}

impl Control {
    pub(super) async fn plan_of(&self, request: pb::PlanConfigRequest) -> Result<pb::PlanConfigResponse, Status> {
        let (plan, complaints) = match read(text(request.config)?).await? {
            Ok(loaded) => {
                let known = self.machine().known().await.map_err(ending)?;
                let plan = change::plan(&self.view().config, &loaded.config, &known);
                (Some(wire::plan(&plan)), loaded.complaints)
            }
            Err(refused) => (None, refused.complaints),
        };
        Ok(pb::PlanConfigResponse {
            plan,
            complaints: complaints.iter().map(wire::complaint).collect(),
        })
    }

    pub(super) async fn diff_of(&self, request: pb::DiffConfigRequest) -> Result<pb::DiffConfigResponse, Status> {
        let running = self.view().config.clone();
        let from = running.path.display().to_string();
        let (usable, complaints, differences) = match read(text(request.config)?).await? {
            Ok(loaded) => {
                let differences = difference::configs(&running, &loaded.config);
                (true, loaded.complaints, differences)
            }
            Err(refused) => (false, refused.complaints, Vec::new()),
        };
        Ok(pb::DiffConfigResponse {
            usable,
            complaints: complaints.iter().map(wire::complaint).collect(),
            differences: differences.into_iter().map(wire::difference).collect(),
            from,
        })
    }

    pub(super) async fn graph_of(&self) -> Result<pb::Graph, Status> {
        let known = self.machine().known().await.map_err(ending)?;
        let status = self.status();
        let view = self.view();
        let config = &view.config;
        let names: Vec<_> = view.resources.iter().map(|resource| resource.name.clone()).collect();
        let entry = |name: &_| config.resources.iter().find(|entry| entry.name == *name);
        let edges = wire::edges(&names, &known, |name| {
            entry(name).map_or(&[], |entry| &entry.depends_on)
        });
        Ok(pb::Graph {
            resources: status.resources,
            edges,
        })
    }
}
