//! REST: requests in JSON at `/api/v1/…`, each the call of the method that has its path by the annotations of the `.proto`
//! files, and the answers in JSON.
//!
//! A call goes the way of every other: who makes it, what that caller may do, its operation and its deadline are asked where
//! those of gRPC are. Reading order: `template` and `routes` (which method), `schemas` (its types), `request` with
//! `params` and `weight` (what is asked), `answer` with `json`, `failure`; `held` (what waits).

mod answer;
mod failure;
mod held;
mod json;
mod params;
mod request;
mod routes;
mod schemas;
mod template;
mod weight;

use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode, Uri};
use mainstay_proxy::body::{CallBody, RequestBody};
use mainstay_proxy::deadline::{DEFAULT_UNARY, Deadline};
use mainstay_proxy::local_services::MakeCall;
use mainstay_proxy::status::CallError;
use mainstay_runtime::machine::view::ViewCell;
use tokio::time::Instant;
use tonic::Status;

use self::failure::Failure;
use self::routes::{NoRoute, Route};
use self::schemas::Schemas;

/// Bytes of a message from which on it is not made into JSON among the calls of others.
const LARGE: usize = 64 << 10;

/// The gateway of one machine.
#[derive(Debug)]
pub struct Rest {
    published: ViewCell,
    schemas: Schemas,
}

impl Rest {
    /// A gateway over the machine's view.
    pub fn new(published: ViewCell) -> Self {
        Self {
            published,
            schemas: Schemas::default(),
        }
    }

    /// Answers a request. `call`: makes the call that it stands for, or why its caller may make none.
    pub async fn answer(&self, request: Request<RequestBody>, call: Result<MakeCall, CallError>) -> Response<CallBody> {
        let is_head = request.method() == Method::HEAD;
        let mut response = self.route(request, call).await;
        if is_head {
            *response.body_mut() = CallBody::Empty;
        }
        response
    }

    async fn route(&self, request: Request<RequestBody>, call: Result<MakeCall, CallError>) -> Response<CallBody> {
        let view = self.published.load();
        let path = request.uri().path();
        let route = match routes::find(view.table.customs(), request.method(), path) {
            Ok(route) => route,
            Err(NoRoute::Verb(verbs)) if request.method() == Method::OPTIONS => {
                let mut response = Response::new(CallBody::Empty);
                *response.status_mut() = StatusCode::NO_CONTENT;
                failure::allow(&mut response, &verbs.into_iter().collect::<Vec<_>>().join(", "));
                return response;
            }
            Err(reason) => return failure::no_route(reason, path),
        };
        drop(view);
        match self.call(route, request, call).await {
            Ok(response) => response,
            Err(failure) => failure.into_response(),
        }
    }

    async fn call(
        &self,
        route: Route,
        request: Request<RequestBody>,
        call: Result<MakeCall, CallError>,
    ) -> Result<Response<CallBody>, Failure> {
        let call = call.map_err(Status::from)?;
        let method = self.schemas.method(&route)?;
        if method.is_client_streaming() && method.is_server_streaming() {
            let text = format!(
                "{} sends and answers at once, which no request in JSON can; call it by gRPC",
                method.full_name()
            );
            return Err(Status::unimplemented(text).into());
        }
        let deadline = Deadline::of(request.headers(), Some(DEFAULT_UNARY), Instant::now())
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let (mut parts, body) = request.into_parts();
        let account = body.account().clone();
        let text = deadline.limit(request::read(body, &parts.headers)).await??;
        let length = text.len();
        let path = format!("/{}/{}", route.binding.service, route.binding.method);
        let field = route.binding.response_body.clone().into_owned();
        let (asked, output) = (method.clone(), method.output());
        let (mut parts, body) = off_thread(length, move || {
            let body = request::build(&asked, &route, &parts, text)?;
            parts.headers = request::headers(std::mem::take(&mut parts.headers));
            Ok::<_, Failure>((parts, body))
        })
        .await?;
        parts.method = Method::POST;
        parts.uri = Uri::from(PathAndQuery::try_from(path).map_err(|error| Status::internal(error.to_string()))?);
        let answer = call(Request::from_parts(parts, body)).await;
        Ok(match method.is_server_streaming() {
            true => answer::stream(answer, output, account).await,
            false => answer::unary(answer, output, field, account).await,
        })
    }
}

/// Does work on `length` bytes, aside if they are many: calls of others would wait for it.
async fn off_thread<T: Send + 'static>(length: usize, work: impl FnOnce() -> T + Send + 'static) -> T {
    if length < LARGE {
        return work();
    }
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that ends takes work back.
            Err(_) => std::future::pending().await,
        },
    }
}
