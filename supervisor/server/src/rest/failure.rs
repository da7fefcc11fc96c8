//! Errors as JSON: `{"code": n, "message": text}`, with the HTTP status that belongs to the gRPC code.

use http::header::{ALLOW, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use mainstay_proxy::body::CallBody;
use serde_json::json;
use tonic::{Code, Status};

use super::routes::NoRoute;

/// Error that is not said by its gRPC code alone.
#[derive(Debug)]
pub struct Failure {
    /// HTTP status.
    http: StatusCode,
    status: Status,
}

impl Failure {
    /// The error with an HTTP status of its own.
    pub fn new(http: StatusCode, status: Status) -> Self {
        Self { http, status }
    }

    /// The answer that says it.
    pub fn into_response(self) -> Response<CallBody> {
        let body = object(&self.status).to_string();
        respond(self.http, body)
    }

    /// The answer of a method whose answers are a stream.
    pub fn into_last_of_stream(self) -> Response<CallBody> {
        respond(self.http, last_of_stream(&self.status))
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let http = http_status(status.code());
        Self { http, status }
    }
}

/// The answer to a request that has no route.
pub fn no_route(reason: NoRoute, path: &str) -> Response<CallBody> {
    match reason {
        // In the words of peers.
        NoRoute::Path => Failure::from(Status::not_found("Not Found")).into_response(),
        NoRoute::Encoding => {
            let text = format!("the path `{path}` must be percent-encoded UTF-8");
            Failure::from(Status::invalid_argument(text)).into_response()
        }
        NoRoute::Verb(verbs) => {
            let verbs = verbs.into_iter().collect::<Vec<_>>().join(", ");
            let status = Status::unimplemented(format!("Method Not Allowed: {path} takes {verbs}"));
            let mut response = Failure::new(StatusCode::METHOD_NOT_ALLOWED, status).into_response();
            allow(&mut response, &verbs);
            response
        }
    }
}

/// Names the HTTP methods that a path takes.
pub fn allow(response: &mut Response<CallBody>, verbs: &str) {
    if let Ok(verbs) = HeaderValue::from_str(&format!("{verbs}, OPTIONS")) {
        response.headers_mut().insert(ALLOW, verbs);
    }
}

/// A line that ends a stream with an error.
pub fn last_of_stream(status: &Status) -> String {
    format!("{}\n", json!({ "error": object(status) }))
}

/// An answer in JSON.
pub fn respond(http: StatusCode, body: String) -> Response<CallBody> {
    let mut response = Response::new(CallBody::Full(body.into()));
    *response.status_mut() = http;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // What a name or an error holds is no page of ours, whatever a browser makes of it.
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    if http == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

fn object(status: &Status) -> serde_json::Value {
    json!({ "code": status.code() as i32, "message": status.message() })
}

/// The HTTP status of a gRPC code, as `google/rpc/code.proto` maps them.
pub fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_its_status() {
        let statuses = [
            200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401,
        ];
        for (code, status) in statuses.into_iter().enumerate() {
            let code = Code::from_i32(i32::try_from(code).expect("small"));
            assert_eq!(http_status(code).as_u16(), status, "{code:?}");
        }
    }

    #[test]
    fn a_last_line_is_one_line_whatever_the_text_holds() {
        let line = last_of_stream(&Status::aborted("a\n\"b\""));
        assert_eq!(line, "{\"error\":{\"code\":10,\"message\":\"a\\n\\\"b\\\"\"}}\n");
    }
}
