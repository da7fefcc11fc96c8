//! Makes the call of a job, on the way of all calls: an operation that can be seen and cancelled, with a deadline, in
//! the words that other callers get.

use std::sync::Arc;

use http_body_util::BodyExt as _;
use mainstay_model::Job;
use mainstay_proto::methods::Kind;
use mainstay_proxy::body::RequestBody;
use mainstay_proxy::deadline::{DEFAULT_UNARY, Deadline};
use mainstay_proxy::forward::forward;
use mainstay_proxy::identity::Identity;
use mainstay_proxy::ingress::{Ingress, Routes};
use mainstay_proxy::table::{Destination, MethodShape};
use mainstay_runtime::machine::view::ViewCell;
use tokio::time::Instant;
use tonic::{Code, Status};

use super::request;
use super::request::JobRequest;

/// The machine, as far as jobs need it. Clones are cheap.
#[derive(Debug, Clone)]
pub struct JobContext {
    published: ViewCell,
    routes: Arc<Routes>,
}

impl JobContext {
    /// Calls what the machine publishes.
    pub fn new(published: ViewCell, routes: Arc<Routes>) -> Self {
        Self { published, routes }
    }

    pub(super) fn published(&self) -> &ViewCell {
        &self.published
    }

    /// Makes the call, and waits for the end of its answer, which nobody reads. Dropping it ends the call.
    ///
    /// # Errors
    /// It cannot be made, or its answer is an error.
    pub(super) async fn call(&self, job: &Job) -> Result<(), Status> {
        let request = request::request(&self.published.load_full(), job)?;
        // Where nothing tells, the call is expected to return: nearly all do.
        let shape = MethodShape {
            kind: request.shape.kind.or(Some(Kind::Unary)),
            ..request.shape
        };
        let deadline = Deadline::after(shape.is_unary().then_some(DEFAULT_UNARY), Instant::now());
        let (mut parts, body) = message(&request)?;
        let destination = Destination {
            resource: &request.resource,
            upstream: request.upstream,
            path: None,
        };
        let ingress = Ingress::new(self.routes.clone(), Identity::Job(job.name.as_str().into()));
        let name = &request.resource.name.name;
        let (upstream, options) = ingress.admit(&shape, name, Ok(destination), deadline, &mut parts)?;
        let mut answer = forward(&parts, body, &upstream, options).await;
        if let Some(status) = Status::from_header_map(answer.headers()) {
            return judge(status);
        }
        while let Some(frame) = answer.body_mut().frame().await {
            if let Ok(trailers) = frame?.into_trailers() {
                let status = Status::from_header_map(&trailers);
                return judge(status.unwrap_or_else(|| Status::internal("an answer without grpc-status")));
            }
        }
        Err(Status::internal("an answer without an end"))
    }
}

fn message(request: &JobRequest) -> Result<(http::request::Parts, RequestBody), Status> {
    let (parts, ()) = http::Request::post(request.path.clone())
        .body(())
        .map_err(|error| Status::internal(error.to_string()))?
        .into_parts();
    let mut body = RequestBody::empty();
    body.put_back(request.body.clone());
    Ok((parts, body))
}

fn judge(status: Status) -> Result<(), Status> {
    if status.code() == Code::Ok { Ok(()) } else { Err(status) }
}
