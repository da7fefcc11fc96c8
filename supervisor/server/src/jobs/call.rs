//! Makes the call of a job, on the way of all calls: an operation that can be seen and cancelled, with a deadline, in
//! the words that other callers get.

use std::sync::Arc;

use http::HeaderValue;
use http_body_util::BodyExt as _;
use mainstay_model::{Job, ModuleName};
use mainstay_proto::methods::Kind;
use mainstay_proxy::body::RequestBody;
use mainstay_proxy::deadline::{DEFAULT_UNARY, Deadline};
use mainstay_proxy::forward::{ForwardOptions, forward};
use mainstay_proxy::identity::Identity;
use mainstay_proxy::operations::{CallInfo, OnStopAll, Operations};
use mainstay_proxy::resource;
use mainstay_proxy::sessions::Sessions;
use mainstay_proxy::status::CallTarget;
use mainstay_proxy::trace::{TRACEPARENT, Traces};
use mainstay_proxy::upstream::Lane;
use mainstay_runtime::machine::view::ViewCell;
use tokio::time::Instant;
use tonic::{Code, Status};

use super::request;
use super::request::JobRequest;

/// The machine, as far as jobs need it. Clones are cheap.
#[derive(Debug, Clone)]
pub struct JobContext {
    published: ViewCell,
    operations: Operations,
    sessions: Arc<Sessions>,
    traces: Traces,
}

impl JobContext {
    /// Calls what the machine publishes.
    pub fn new(published: ViewCell, operations: Operations, sessions: Arc<Sessions>, traces: Traces) -> Self {
        Self {
            published,
            operations,
            sessions,
            traces,
        }
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
        let unary = request.shape.kind.is_none_or(|kind| kind == Kind::Unary);
        let deadline = Deadline::of(&http::HeaderMap::new(), unary.then_some(DEFAULT_UNARY), Instant::now())
            .map_err(|bad| Status::internal(bad.to_string()))?;
        let (mut parts, body) = message(&request)?;
        let mut terms = self.terms(job, &request, unary, deadline);
        // Asked after the call was noted, so that whoever takes the resource out sees the one or the other.
        let asks = if request.shape.stops {
            resource::CallerRole::Stop
        } else {
            resource::CallerRole::Client
        };
        if let Some(refused) = request.resource.refuses(asks) {
            return Err(refused.into());
        }
        if request.shape.actuates {
            // Whoever moved it before is not answerable for it any more.
            self.sessions.moved_by_client(&request.resource.name, None);
        }
        terms.span = self.traces.begin(request.path.as_str(), &parts.headers);
        if let Some(span) = &terms.span {
            let caller = format!("job {}", job.name);
            span.about(&terms.target.resource, &terms.target.module, &caller);
            parts.headers.insert(TRACEPARENT, span.header());
        }
        let mut answer = forward(&parts, body, &request.upstream, terms).await;
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

    fn terms(&self, job: &Job, request: &JobRequest, unary: bool, deadline: Deadline) -> ForwardOptions {
        let module = request.resource.state().module.clone();
        let about = CallInfo {
            resource: request.resource.label.clone(),
            module: module.clone(),
            caller: Arc::new(Identity::Job(job.name.as_str().into())),
            unary,
            moves: request.shape.actuates,
        };
        let on_stop_all = if request.shape.stops {
            OnStopAll::Spare
        } else {
            OnStopAll::Cancel
        };
        let mut operation = self
            .operations
            .begin(None, request.path.as_str(), None, on_stop_all, Some(about));
        operation.through(&request.upstream);
        ForwardOptions {
            target: CallTarget {
                resource: request.resource.label.clone(),
                module: module.as_ref().map(ModuleName::shared).unwrap_or_default(),
            },
            lane: if request.shape.stops { Lane::Control } else { Lane::Data },
            opid: HeaderValue::try_from(operation.id.to_string()).ok(),
            deadline,
            cancel: Some(operation.cancel.clone()),
            keep: Some(Box::new(operation)),
            span: None,
            path: None,
        }
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
