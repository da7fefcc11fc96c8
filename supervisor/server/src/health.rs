//! `grpc.health.v1`: health of the machine and of single resources, as the published view shows it.

use std::pin::Pin;

use futures_core::Stream;
use futures_util::stream;
use mainstay_model::Phase;
use mainstay_proto::grpc::health::v1 as pb;
use mainstay_proto::grpc::health::v1::health_check_response::ServingStatus;
use mainstay_proto::grpc::health::v1::health_server::Health;
use mainstay_runtime::machine::view::{View, ViewCell};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

/// The service.
#[derive(Debug, Clone)]
pub struct HealthState {
    published: ViewCell,
    /// Cancelled when the machine stops.
    stopping: CancellationToken,
}

/// Thing that cannot be told the health of.
#[derive(Debug, PartialEq, Eq)]
enum Unknown {
    /// Nothing has the name.
    Absent,
    /// Several resources have it, with these full names.
    Ambiguous(Vec<String>),
}

impl HealthState {
    /// Service over the published view.
    pub fn new(published: ViewCell, stopping: CancellationToken) -> Self {
        Self { published, stopping }
    }

    fn now(&self, name: &str) -> Result<ServingStatus, Unknown> {
        status(&self.published.load(), self.stopping.is_cancelled(), name)
    }
}

/// Health of the machine, which serves from the end of its start, whatever its resources do; or of the resource of this name.
fn status(view: &View, stopping: bool, name: &str) -> Result<ServingStatus, Unknown> {
    let of = |serving: bool| match serving && !stopping {
        true => ServingStatus::Serving,
        false => ServingStatus::NotServing,
    };
    if name.is_empty() {
        return Ok(of(view.running));
    }
    let resources = view.resources.iter().map(|resource| {
        let ready = || resource.state().phase == Phase::Ready;
        (&resource.name, Some(ready))
    });
    let rejected = view.rejected.iter().map(|rejected| (&rejected.name, None));
    let mut found = Vec::new();
    for (full, ready) in resources.chain(rejected) {
        let whole = full.to_string() == name;
        if whole || full.name == name {
            let health = of(ready.is_some_and(|ready| ready()));
            if whole {
                return Ok(health);
            }
            found.push((full.to_string(), health));
        }
    }
    match found.as_slice() {
        [] => Err(Unknown::Absent),
        [(_, health)] => Ok(*health),
        _ => Err(Unknown::Ambiguous(found.into_iter().map(|(full, _)| full).collect())),
    }
}

#[tonic::async_trait]
impl Health for HealthState {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<pb::HealthCheckResponse, Status>> + Send>>;

    async fn check(
        &self,
        request: Request<pb::HealthCheckRequest>,
    ) -> Result<Response<pb::HealthCheckResponse>, Status> {
        let name = &request.get_ref().service;
        match self.now(name) {
            Ok(status) => Ok(Response::new(pb::HealthCheckResponse { status: status.into() })),
            Err(Unknown::Absent) => Err(Status::not_found(format!("there is no resource `{name}`"))),
            Err(Unknown::Ambiguous(names)) => Err(Status::failed_precondition(format!(
                "several resources are called `{name}`; ask for one of: {}",
                names.join(", ")
            ))),
        }
    }

    async fn watch(&self, request: Request<pb::HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let name = request.into_inner().service;
        let changes = self.published.changes.follow();
        let states = stream::unfold(
            (self.clone(), name, changes, None),
            |(health, name, mut changes, last)| async move {
                loop {
                    // Before the look, so that no change is missed.
                    changes.mark_unchanged();
                    let status = health.now(&name).unwrap_or(ServingStatus::ServiceUnknown);
                    if last != Some(status) {
                        let answer = pb::HealthCheckResponse { status: status.into() };
                        return Some((Ok(answer), (health, name, changes, Some(status))));
                    }
                    tokio::select! {
                        changed = changes.changed() => changed.ok()?,
                        () = health.stopping.cancelled(), if status == ServingStatus::Serving => {}
                    }
                }
            },
        );
        Ok(Response::new(Box::pin(states)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mainstay_proto::{Model, ResourceName};
    use mainstay_runtime::machine::view::Rejected;

    use super::*;

    fn rejected(name: &str) -> Rejected {
        Rejected {
            name: name.parse::<ResourceName>().expect("a name"),
            model: "rdk:builtin:fake".parse::<Model>().expect("a model"),
            error: "broken".to_owned(),
        }
    }

    #[test]
    fn the_machine_is_asked_without_a_name_and_a_resource_by_either_of_its_names() {
        let rejected: Arc<[_]> = [
            "rdk:component:motor/left",
            "rdk:component:arm/twin",
            "rdk:component:base/twin",
        ]
        .map(rejected)
        .into();
        let mut view = View {
            rejected,
            ..View::default()
        };
        assert_eq!(status(&view, false, ""), Ok(ServingStatus::NotServing), "it starts");
        view.running = true;
        assert_eq!(status(&view, false, ""), Ok(ServingStatus::Serving));
        assert_eq!(status(&view, true, ""), Ok(ServingStatus::NotServing));
        for (name, expected) in [
            ("left", Ok(ServingStatus::NotServing)),
            ("rdk:component:motor/left", Ok(ServingStatus::NotServing)),
            ("rdk:component:base/twin", Ok(ServingStatus::NotServing)),
            ("rdk:component:base/left", Err(Unknown::Absent)),
            ("right", Err(Unknown::Absent)),
            (
                "twin",
                Err(Unknown::Ambiguous(vec![
                    "rdk:component:arm/twin".to_owned(),
                    "rdk:component:base/twin".to_owned(),
                ])),
            ),
        ] {
            assert_eq!(status(&view, false, name), expected, "{name}");
        }
    }
}
