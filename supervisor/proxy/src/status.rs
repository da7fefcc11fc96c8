//! Answers that the core gives by itself, and what a broken answer of a module becomes.

use std::fmt;
use std::sync::Arc;

use h2::Reason;
use http::{HeaderMap, Response, StatusCode, header::CONTENT_TYPE};
use tonic::{Code, Status};

use crate::body::CallBody;

/// Target of a call, in the words of error texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallTarget {
    /// `rdk:component:motor/left`.
    pub resource: Arc<str>,
    /// Name of the module that holds it.
    pub module: Arc<str>,
}

impl fmt::Display for CallTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "module `{}` for {}", self.module, self.resource)
    }
}

impl CallTarget {
    /// The module's connection ended, or could not be used. `fate` is what became of the module, where that is known:
    /// then calls in flight end in the words that new ones get.
    pub fn gone(&self, why: impl fmt::Display, exit_cause: Option<&str>) -> Status {
        let Self { resource, module } = self;
        let reason = match exit_cause {
            Some(exit_cause) => exit_cause.to_owned(),
            None => format!("the connection to module `{module}` was lost: {why}"),
        };
        Status::unavailable(format!("resource {resource} not available; reason={reason}"))
    }

    /// The resource is taken out, and the call did not end in the time that it had for that.
    pub fn cut(&self, cause: &str) -> Status {
        Status::unavailable(format!(
            "resource {} not available; reason={}",
            self.resource,
            pending(cause)
        ))
    }

    /// Status for the caller when the module's stream has failed.
    pub fn stream_failed(&self, error: &h2::Error, exit_cause: Option<&str>) -> Status {
        let ended = |code| Status::new(code, format!("{self} ended the call: {error}"));
        match error.reason() {
            _ if error.is_io() || error.is_go_away() || !error.is_remote() => self.gone(error, exit_cause),
            // As in the gRPC specification, "HTTP/2 errors".
            Some(Reason::REFUSED_STREAM) => ended(Code::Unavailable),
            Some(Reason::CANCEL) => ended(Code::Cancelled),
            Some(Reason::ENHANCE_YOUR_CALM) => ended(Code::ResourceExhausted),
            Some(Reason::INADEQUATE_SECURITY) => ended(Code::PermissionDenied),
            _ => ended(Code::Internal),
        }
    }

    /// The stream ended without a status.
    pub fn no_status(&self) -> Status {
        Status::internal(format!("{self} ended its answer without grpc-status"))
    }

    /// The stream ended in the middle of a message.
    pub fn torn(&self) -> Status {
        Status::internal(format!("{self} ended its answer inside a message"))
    }

    /// Checks the headers of an answer; `over` says that nothing follows them.
    pub fn check_head(&self, status: StatusCode, headers: &HeaderMap, over: bool) -> Result<(), Status> {
        if headers.contains_key(Status::GRPC_STATUS) {
            return Ok(());
        }
        let content_type = headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
        if status != StatusCode::OK {
            // As in the gRPC document "HTTP to gRPC status code mapping".
            let code = match status.as_u16() {
                400 => Code::Internal,
                401 => Code::Unauthenticated,
                403 => Code::PermissionDenied,
                404 => Code::Unimplemented,
                429 | 502..=504 => Code::Unavailable,
                _ => Code::Unknown,
            };
            return Err(Status::new(
                code,
                format!("{self} answered HTTP {} instead of gRPC", status.as_u16()),
            ));
        }
        if !content_type.starts_with(b"application/grpc") {
            let content_type = String::from_utf8_lossy(content_type);
            return Err(Status::unknown(format!(
                "{self} answered content type `{content_type}` instead of gRPC"
            )));
        }
        if over { Err(self.no_status()) } else { Ok(()) }
    }
}

/// A complete answer with no message: status 200, the gRPC status in the headers, texts percent-encoded.
pub fn respond(status: Status) -> Response<CallBody> {
    status.into_http()
}

/// Trailers that say `status`.
pub fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(2);
    if status.add_header(&mut trailers).is_err() {
        // Only metadata that is no header can fail, and ours has none; the code alone cannot.
        trailers.insert(Status::GRPC_STATUS, (status.code() as i32).into());
    }
    trailers
}

/// Error text for a resource that is about to be taken out, in words that clients know, with the reason.
pub fn pending(cause: &str) -> String {
    format!("resource is pending removal; {cause}")
}

/// The status of a call that was cancelled by `CancelOperation`.
pub fn cancelled() -> Status {
    Status::cancelled("context canceled")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> CallTarget {
        CallTarget {
            resource: "rdk:component:motor/left".into(),
            module: "wheels".into(),
        }
    }

    #[test]
    fn an_error_is_an_answer_in_ascii_headers() {
        let response = respond(Status::not_found("kein Gerät ›a\nb‹"));
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "application/grpc");
        assert_eq!(response.headers()["grpc-status"], "5");
        let message = response.headers()["grpc-message"].to_str().unwrap();
        assert!(
            message.is_ascii() && message.contains("%0A") && message.contains("%C3%A4"),
            "{message}"
        );
        assert_eq!(trailers(&Status::aborted("x"))["grpc-status"], "10");
    }

    #[test]
    fn a_head_that_is_not_grpc_becomes_an_error_that_names_the_module() {
        let check = |status: u16, content_type: &'static str, over| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
            let status = StatusCode::from_u16(status).unwrap();
            target()
                .check_head(status, &headers, over)
                .map_err(|status| (status.code(), status.message().to_owned()))
        };
        assert_eq!(check(200, "application/grpc+proto", false), Ok(()));
        let who = "module `wheels` for rdk:component:motor/left";
        let cases = [
            (
                check(500, "text/plain", false),
                Code::Unknown,
                "answered HTTP 500 instead of gRPC",
            ),
            (
                check(404, "text/plain", true),
                Code::Unimplemented,
                "answered HTTP 404 instead of gRPC",
            ),
            (
                check(503, "application/grpc", true),
                Code::Unavailable,
                "answered HTTP 503 instead of gRPC",
            ),
            (
                check(200, "text/html", false),
                Code::Unknown,
                "answered content type `text/html` instead of gRPC",
            ),
            (
                check(200, "application/grpc", true),
                Code::Internal,
                "ended its answer without grpc-status",
            ),
        ];
        for (outcome, code, text) in cases {
            assert_eq!(outcome, Err((code, format!("{who} {text}"))));
        }
    }

    #[test]
    fn a_status_in_the_headers_is_the_modules_own_word_whatever_stands_beside_it() {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-status", 3.into());
        assert!(target().check_head(StatusCode::BAD_GATEWAY, &headers, true).is_ok());
    }
}
