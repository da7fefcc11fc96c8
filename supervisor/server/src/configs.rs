//! Calls of the control socket about configs: what one would change, how it differs, what is wrong with it, and having
//! it run.

use std::collections::BTreeMap;
use std::sync::Arc;

use mainstay_config::declared::{self, DeclaredAnswer};
use mainstay_config::{ConfigFiles, Diagnostic, LoadContext, Severity};
use mainstay_model::dependencies::Declared;
use mainstay_model::{Phase, Preflight, ResourceConfig, difference};
use mainstay_proto::mainstay::control::v1 as pb;
use mainstay_runtime::machine::apply::ApplyError;
use mainstay_runtime::machine::view::View;
use mainstay_wire::control;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Response, Status};

use crate::control::Control;
use crate::feeds::AnswerStream;

/// The config that a request is about.
fn text(config: Option<pb::ConfigText>) -> Result<ConfigFiles, Status> {
    let config = config.filter(|config| !config.files.is_empty());
    let bundle = control::bundle(config.ok_or_else(|| Status::invalid_argument("a config has at least one file"))?);
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
        let (plan, diagnostics) = match self.configs().plan(text(request.config)?).await {
            Ok(planned) => (Some(control::plan(&planned.plan)), planned.diagnostics),
            Err(refused) => (None, refused.diagnostics),
        };
        Ok(pb::PlanConfigResponse {
            plan,
            diagnostics: diagnostics.iter().map(control::diagnostic).collect(),
        })
    }

    pub(super) fn apply_of(
        &self,
        request: pb::ApplyConfigRequest,
    ) -> Result<Response<AnswerStream<pb::ApplyConfigProgress>>, Status> {
        let revert_after = request.revert_after.map(TryInto::try_into).transpose();
        let revert_after = revert_after.map_err(|_| Status::invalid_argument("`revert_after` is negative"))?;
        let steps = self.configs().apply(text(request.config)?, revert_after);
        let steps = UnboundedReceiverStream::new(steps).map(|step| Ok(control::progress(&step)));
        Ok(Response::new(Box::pin(steps)))
    }

    pub(super) async fn check_of(&self, request: pb::CheckConfigRequest) -> Result<pb::CheckConfigResponse, Status> {
        let loaded = match self.configs().read(text(request.config)?).await {
            Ok(loaded) => loaded,
            Err(refused) => {
                return Ok(pb::CheckConfigResponse {
                    diagnostics: refused.diagnostics.iter().map(control::diagnostic).collect(),
                    ..pb::CheckConfigResponse::default()
                });
            }
        };
        let never = CancellationToken::new();
        let asking = self.machine().ask(&loaded.config, Preflight::Running, None, &never);
        let asked = asking.await.map_err(ending)?;
        let (answers, dropped_optional) = (asked.answers, asked.plan.dropped_optional);
        let view = self.view();
        let mut diagnostics = loaded.diagnostics;
        // Of running modules more is known than the text alone tells.
        let models = mainstay_config::models::check(&loaded.config, &self.machine().offers(&loaded.config)).diagnostics;
        let new: Vec<_> = models.into_iter().filter(|one| !diagnostics.contains(one)).collect();
        diagnostics.extend(new);
        let mut asked = Vec::new();
        let mut warned = BTreeMap::new();
        for entry in loaded.config.resources.iter().filter(|entry| entry.fault.is_none()) {
            let seen = match answers.get(&entry.name) {
                Some(Ok(declared)) => Ok(declared.warnings.as_slice().into()),
                Some(Err(refusal)) => Err(format!("`{}`: {refusal}", entry.name.name)),
                // Of what is the same as before, its module said what it has to say.
                None => match as_it_runs(&view, entry) {
                    Some(seen) => seen,
                    None => continue,
                },
            };
            asked.push(entry.name.to_string());
            if let Ok(texts) = &seen {
                warned.insert(entry.name.clone(), warnings(texts));
            }
            // Said already of its model, before any module was asked.
            let told = diagnostics
                .iter()
                .any(|diagnostic| diagnostic.severity == Severity::Local && diagnostic.place == entry.model_place);
            if let (Err(message), false) = (seen, told) {
                diagnostics.push(Diagnostic::about(
                    &loaded.config,
                    Severity::Local,
                    &entry.place,
                    message,
                ));
            }
        }
        let context = LoadContext::of(&loaded.bundle.path);
        diagnostics.extend(declared::check(&loaded.config, &warned, &context));
        for one in &dropped_optional {
            let Some(entry) = loaded.config.resources.iter().find(|entry| entry.name == one.by) else {
                continue;
            };
            let message = format!(
                "`{}` would like `{}`, which closes a circle: {}; it goes without",
                one.by.name,
                one.what.name,
                one.way()
            );
            let diagnostic = Diagnostic::about(&loaded.config, Severity::Warning, &entry.place, message);
            let help = "who of a circle goes without is decided by name; to decide it yourself, take one of these dependencies out";
            diagnostics.push(diagnostic.with_help(help));
        }
        diagnostics.sort_by_key(|diagnostic| diagnostic.place.clone());
        Ok(pb::CheckConfigResponse {
            usable: true,
            diagnostics: diagnostics.iter().map(control::diagnostic).collect(),
            asked,
            resources: u32::try_from(loaded.config.resources.len()).unwrap_or(u32::MAX),
            modules: u32::try_from(loaded.config.modules.len()).unwrap_or(u32::MAX),
        })
    }

    pub(super) async fn diff_of(&self, request: pb::DiffConfigRequest) -> Result<pb::DiffConfigResponse, Status> {
        let from = self.configs().status().from.display().to_string();
        let (usable, diagnostics, differences) = match self.configs().read(text(request.config)?).await {
            Ok(loaded) => {
                let differences = difference::configs(&self.view().config, &loaded.config);
                (true, loaded.diagnostics, differences)
            }
            Err(refused) => (false, refused.diagnostics, Vec::new()),
        };
        Ok(pb::DiffConfigResponse {
            usable,
            diagnostics: diagnostics.iter().map(control::diagnostic).collect(),
            differences: differences.into_iter().map(control::difference).collect(),
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
        let edges = control::edges(&names, &known, |name| {
            entry(name).map_or(&[], |entry| &entry.depends_on)
        });
        Ok(pb::Graph {
            resources: status.resources,
            edges,
        })
    }
}

/// Result for an entry because the same one runs, or does not. `None` if another entry runs, or it is not known yet.
fn as_it_runs(view: &View, entry: &ResourceConfig) -> Option<Result<Arc<[String]>, String>> {
    let same = view.config.resources.iter().find(|known| known.name == entry.name)?;
    if !same.builds_the_same_as(entry) {
        return None;
    }
    let state = view.resources.iter().find(|known| known.name == entry.name)?.state();
    match (state.phase, &state.error) {
        (Phase::Ready, _) => Some(Ok(state.warnings.clone())),
        (Phase::Unhealthy, Some(error)) => Some(Err(format!("`{}` is UNHEALTHY: {error}", entry.name.name))),
        _ => None,
    }
}

/// The warnings of a module's answer alone: what it needs is checked with the plan.
fn warnings(texts: &[String]) -> DeclaredAnswer {
    Ok(Declared {
        warnings: texts.to_vec(),
        ..Declared::default()
    })
}
