//! What the control socket offers about configs: what one would change, how it differs, what is wrong with it, and
//! having it run.

use mainstay_proto::mainstay::control::v1 as pb;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Response, Status};

use super::control::Control;
use super::feeds::Answers;
use super::wire;
use crate::config::{Bundle, difference};
use crate::machine::apply::ApplyError;

/// The config that a request is about.
fn text(config: Option<pb::ConfigText>) -> Result<Bundle, Status> {
    let config = config.filter(|config| !config.files.is_empty());
    let bundle = wire::bundle(config.ok_or_else(|| Status::invalid_argument("a config has at least one file"))?);
    if !bundle.path.is_absolute() {
        return Err(Status::invalid_argument("the path of a config must be absolute"));
    }
    Ok(bundle)
}

/// The machine says nothing of itself any more.
fn ending(error: ApplyError) -> Status {
    Status::unavailable(error.to_string())
}

impl Control {
    pub(super) async fn plan_of(&self, request: pb::PlanConfigRequest) -> Result<pb::PlanConfigResponse, Status> {
        let (plan, complaints) = match self.configs().plan(text(request.config)?).await {
            Ok(planned) => (Some(wire::plan(&planned.plan)), planned.complaints),
            Err(refused) => (None, refused.complaints),
        };
        Ok(pb::PlanConfigResponse {
            plan,
            complaints: complaints.iter().map(wire::complaint).collect(),
        })
    }

    pub(super) fn apply_of(
        &self,
        request: pb::ApplyConfigRequest,
    ) -> Result<Response<Answers<pb::ApplyConfigProgress>>, Status> {
        let revert_after = request.revert_after.map(TryInto::try_into).transpose();
        let revert_after = revert_after.map_err(|_| Status::invalid_argument("`revert_after` is negative"))?;
        let steps = self.configs().apply(text(request.config)?, revert_after);
        let steps = UnboundedReceiverStream::new(steps).map(|step| Ok(wire::progress(&step)));
        Ok(Response::new(Box::pin(steps)))
    }

    pub(super) async fn diff_of(&self, request: pb::DiffConfigRequest) -> Result<pb::DiffConfigResponse, Status> {
        let from = self.configs().status().from.display().to_string();
        let (usable, complaints, differences) = match self.configs().read(text(request.config)?).await {
            Ok(taken) => {
                let differences = difference::configs(&self.view().config, &taken.config);
                (true, taken.complaints, differences)
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
