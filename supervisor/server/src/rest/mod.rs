//! REST: requests in JSON at `/api/v1/…`, each the call of the method that has its path by the annotations of the `.proto`
//! files, and the answers in JSON.
//!
//! A call goes the way of every other: who makes it, what that caller may do, its operation and its deadline are asked where
//! those of gRPC are. Reading order: `template` and `routes` (which method), `schemas` (its types), `request` with
//! `params` and `weight` (what is asked), `answer` with `json`, `failure`; `held` (what waits).

mod answer;
mod crossing;
mod failure;
mod held;
mod json;
mod params;
mod request;
mod routes;
mod schemas;
mod template;
mod weight;

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode, Uri};
use mainstay_proxy::body::{CallBody, RequestBody};
use mainstay_proxy::deadline::{DEFAULT_UNARY, Deadline};
use mainstay_proxy::local_services::MakeCall;
use mainstay_proxy::status::CallError;
use mainstay_runtime::machine::view::ViewCell;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tonic::Status;

use self::failure::Failure;
use self::routes::{NoRoute, Route};
use self::schemas::Schemas;

/// Bytes of a message from which on it is not made into JSON among the calls of others.
const LARGE: usize = 64 << 10;

/// Turn of the one whose bytes are worked on aside: the other threads are for what keeps the machine commandable.
static TURN: Semaphore = Semaphore::const_new(1);

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
        let routed = AssertUnwindSafe(self.route(request, call)).catch_unwind().await;
        let mut response = routed.unwrap_or_else(|_| Failure::from(fault()).into_response());
        if is_head {
            *response.body_mut() = CallBody::Empty;
        }
        response
    }

    async fn route(&self, request: Request<RequestBody>, call: Result<MakeCall, CallError>) -> Response<CallBody> {
        // Before the route is looked for: who may make no call learns of none.
        let call = match call {
            Ok(call) => call,
            Err(error) => return Failure::from(Status::from(error)).into_response(),
        };
        if let Err(status) = crossing::refuse(&request) {
            return Failure::from(status).into_response();
        }
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
        call: MakeCall,
    ) -> Result<Response<CallBody>, Failure> {
        let method = self.schemas.method(&route)?;
        if method.is_client_streaming() && method.is_server_streaming() {
            let text = format!(
                "{} sends and answers at once, which no request in JSON can; call it by gRPC",
                method.full_name()
            );
            return Err(Status::unimplemented(text).into());
        }
        let asked = Deadline::of(request.headers(), None, Instant::now())
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let deadline = match asked {
            Deadline::NEVER => Deadline::after(Some(DEFAULT_UNARY), Instant::now()),
            asked => asked,
        };
        let (mut parts, body) = request.into_parts();
        let account = body.account().clone();
        let text = deadline.limit(request::read(body, &parts.headers)).await??;
        let length = text.len() + parts.uri.query().map_or(0, str::len);
        let path = format!("/{}/{}", route.binding.service, route.binding.method);
        let field = route.binding.response_body.clone().into_owned();
        let (called, output) = (method.clone(), method.output());
        let (mut parts, body) = off_thread(length, deadline, move || {
            let body = request::build(&called, &route, &parts, text)?;
            parts.headers = request::headers(std::mem::take(&mut parts.headers));
            Ok::<_, Failure>((parts, body))
        })
        .await??;
        parts.method = Method::POST;
        parts.uri = Uri::from(PathAndQuery::try_from(path).map_err(|error| Status::internal(error.to_string()))?);
        let answer = call(Request::from_parts(parts, body)).await;
        Ok(match method.is_server_streaming() {
            // Lasts as long as somebody listens, unless it is asked for otherwise.
            true => answer::stream(answer, output, account, asked).await,
            false => answer::unary(answer, output, field, account, deadline).await,
        })
    }
}

/// What a panic is to whoever asked.
fn fault() -> Status {
    Status::internal("the request met a fault of the machine; its log says where")
}

/// Does work on `length` bytes, aside if they are many: calls of others would wait for it.
///
/// # Errors
/// The deadline passed before it was done.
async fn off_thread<T: Send + 'static>(
    length: usize,
    deadline: Deadline,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Status> {
    if length < LARGE {
        return Ok(work());
    }
    deadline.limit(aside(work)).await
}

async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let turn = TURN.acquire().await;
    let work = move || {
        // Held by the work, which goes on when nobody waits for it any more.
        let _turn = turn;
        work()
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that ends takes work back.
            Err(_) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::BodyExt as _;

    use super::*;

    async fn asked(path: &str, call: Result<MakeCall, CallError>) -> (u16, String) {
        let rest = Rest::new(ViewCell::default());
        let request = Request::get(path).body(RequestBody::empty()).expect("a request");
        let response = rest.answer(request, call).await;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.expect("it does not break off");
        (status, String::from_utf8(body.to_bytes().into()).expect("text"))
    }

    #[tokio::test]
    async fn a_panic_is_an_error_in_json() {
        let (status, text) = asked("/api/v1/version", Ok(Box::new(|_| panic!("broken")))).await;
        assert!(status == 500 && text.starts_with("{\"code\":13,"), "{status} {text}");
    }

    #[tokio::test]
    async fn who_may_call_nothing_learns_of_no_route() {
        for path in ["/api/v1/version", "/api/v1/nothing"] {
            let (status, text) = asked(path, Err(CallError::DeadlineExceeded)).await;
            assert_eq!(status, 504, "{path}: {text}");
        }
    }

    #[tokio::test]
    async fn large_work_waits_for_its_turn_and_no_longer_than_its_call_lasts() {
        let turn = TURN.acquire().await;
        let soon = Deadline::after(Some(Duration::from_millis(20)), Instant::now());
        let late = off_thread(LARGE, soon, || ()).await.expect_err("it is not its turn");
        assert_eq!(late.code(), tonic::Code::DeadlineExceeded);
        assert!(off_thread(1, soon, || ()).await.is_ok(), "small work waits for nobody");
        drop(turn);
        let patient = Deadline::after(None, Instant::now());
        assert!(off_thread(LARGE, patient, || ()).await.is_ok());
    }
}
