//! Errors of calls, and the one place that chooses a gRPC code for each; what a broken answer of a module becomes.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use mainstay_model::ModuleName;
use mainstay_model::held::{MAX_PACKED, Overdrawn};
use mainstay_proto::fields::Malformed;
use tonic::{Code, Status};
use tracing::warn;

use crate::body::CallBody;
use crate::deadline::BadTimeout;
use crate::sessions::{CallerEnded, SessionError};
use mainstay_proto::frames::MessageTooLong;

/// Error with which the core answers a call by itself. Many of the texts are what clients know and match.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The path is not `/package.Service/Method`.
    #[error("malformed method name: \"{0}\"")]
    MethodName(String),
    /// The path makes no URI.
    #[error(transparent)]
    Path(http::uri::InvalidUriParts),
    /// Nothing here serves the method.
    #[error("Unimplemented")]
    Unimplemented,
    /// The `grpc-timeout` says no time.
    #[error(transparent)]
    Timeout(BadTimeout),
    /// The request ends before its first message begins.
    #[error("EOF")]
    NoMessage,
    /// The request ends inside a message.
    #[error("unexpected EOF")]
    TornRequest,
    /// A message of the request, or of the answer, is longer than any peer takes.
    #[error(transparent)]
    MessageTooLong(#[from] MessageTooLong),
    /// The caller's metadata is longer than every module takes.
    #[error(
        "metadata that is passed on (`viam-metadata-…`, `traceparent` and the like) must be at most {0} bytes, each entry counted with 32 more"
    )]
    MetadataTooLong(usize),
    /// The caller packs its messages in a way that is not known here.
    #[error("grpc: Decompressor is not installed for grpc-encoding \"{0}\"")]
    Encoding(String),
    /// A message is packed, and the headers do not say how.
    #[error("grpc: compressed flag set with identity or empty encoding")]
    CompressedFlag,
    /// A message begins with a flag that does not exist.
    #[error("grpc: error unmarshalling request: message begins with byte {0}, expected 0 (plain) or 1 (compressed)")]
    Flag(u8),
    /// The first message cannot be unpacked.
    #[error("grpc: error unmarshalling request: cannot unpack gzip: {0}")]
    Gzip(std::io::Error),
    /// The first message is no protobuf.
    #[error("grpc: error unmarshalling request: {0}")]
    Unreadable(Malformed),
    /// The request has no field for the name of a resource, or it is empty.
    #[error("unable to determine resource name due to missing 'name' field")]
    NoName,
    /// The same, in a request of this standard API.
    #[error("no node found with api {0} and name ")]
    EmptyName(String),
    /// There is no resource of this API and name.
    #[error("no node found with api {0} and name {1}")]
    NoResource(String, String),
    /// Several remotes have what the name means.
    #[error("found multiple nodes matching api {api} and name {name} from remotes [{}]{}", .remotes.join(" "), could_mean(.names))]
    Ambiguous {
        /// The API.
        api: String,
        /// Name as the caller wrote it.
        name: String,
        /// The remotes.
        remotes: Vec<String>,
        /// Full names that are meant by nothing else; none if they have the same.
        names: Vec<String>,
    },
    /// The resource cannot be called now.
    #[error("resource {resource} not available; reason={reason}")]
    NotAvailable {
        /// Its full name.
        resource: Arc<str>,
        /// Cause, in the words that peers know.
        reason: String,
        /// True if it may come back by itself; false if that takes a person, or another config.
        transient: bool,
    },
    /// The caller has as many calls in flight there as it may have.
    #[error(
        "exceeded the shared concurrent-request limit of {limit} on resource {key}. This caller has {limit} calls there that are not answered yet"
    )]
    TooManyInFlight {
        /// Most calls of one caller.
        limit: usize,
        /// Resource and service, in the words that peers know.
        key: String,
    },
    /// More is held for the caller than may be.
    #[error(
        "what this client, or all of them, sent and nobody has read yet is more than the machine holds; send less at once"
    )]
    Overdrawn,
    /// The caller's host has as many packed calls that wait as it may.
    #[error(
        "{} gzip requests of this client are not unpacked yet, and it may have no more; send fewer at once, or plain",
        MAX_PACKED
    )]
    TooManyPacked,
    /// The caller has not proved who it is; the text says what is missing or wrong.
    #[error("{0}")]
    Unauthenticated(String),
    /// The caller is known, and may not do this; the text says what would allow it.
    #[error("{0}")]
    PermissionDenied(String),
    /// The session that answers for the call does not live, or cannot begin.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The module that calls has ended meanwhile.
    #[error(transparent)]
    CallerEnded(#[from] CallerEnded),
    /// Somebody cancelled the operation.
    #[error("context canceled")]
    Cancelled,
    /// The caller's stream ended.
    #[error("context canceled; the caller's stream ended: {0}")]
    CallerGone(h2::Error),
    /// The call's time is over.
    #[error("context deadline exceeded")]
    DeadlineExceeded,
    /// The module reset the stream of the call.
    #[error("{0} ended the call: {1}")]
    Reset(CallTarget, h2::Error),
    /// The module answered in HTTP, with this status.
    #[error("{0} answered HTTP {1} instead of gRPC")]
    HttpStatus(CallTarget, u16),
    /// The module answered with another kind of content.
    #[error("{0} answered content type `{1}` instead of gRPC")]
    ContentType(CallTarget, String),
    /// The module's answer ended without a status.
    #[error("{0} ended its answer without grpc-status")]
    NoStatus(CallTarget),
    /// The module's answer ended inside a message.
    #[error("{0} ended its answer inside a message")]
    TornAnswer(CallTarget),
    /// The code that answers the call panicked.
    #[error("{0}")]
    Panic(String),
}

fn could_mean(names: &[String]) -> String {
    match names {
        [] => "; give one of these remotes a `prefix` of its own".to_owned(),
        names => format!("; ask for {}", names.join(" or ")),
    }
}

/// Reason why a resource that is about to be taken out takes no calls, in the words that peers know.
pub(crate) const PENDING_REMOVAL: &str = "resource is pending removal";

impl CallError {
    /// A resource that is about to be taken out for this cause.
    pub fn pending_removal(resource: &Arc<str>, cause: &str) -> Self {
        Self::NotAvailable {
            resource: resource.clone(),
            reason: format!("{PENDING_REMOVAL}; {cause}"),
            transient: true,
        }
    }

    /// The gRPC code of the error.
    pub fn code(&self) -> Code {
        match self {
            Self::MethodName(_) | Self::Unimplemented | Self::Encoding(_) => Code::Unimplemented,
            Self::Timeout(_)
            | Self::NoMessage
            | Self::TornRequest
            | Self::Flag(_)
            | Self::Gzip(_)
            | Self::Unreadable(_)
            | Self::NoName
            | Self::EmptyName(_) => Code::InvalidArgument,
            Self::NoResource(..) => Code::NotFound,
            Self::NotAvailable { transient: false, .. } | Self::Ambiguous { .. } => Code::FailedPrecondition,
            Self::NotAvailable { .. } | Self::CallerEnded(_) => Code::Unavailable,
            Self::MessageTooLong(_)
            | Self::MetadataTooLong(_)
            | Self::TooManyInFlight { .. }
            | Self::Overdrawn
            | Self::TooManyPacked
            | Self::Session(SessionError::TooMany) => Code::ResourceExhausted,
            Self::Session(_) => Code::InvalidArgument,
            Self::Unauthenticated(_) => Code::Unauthenticated,
            Self::PermissionDenied(_) => Code::PermissionDenied,
            Self::Cancelled | Self::CallerGone(_) => Code::Cancelled,
            Self::DeadlineExceeded => Code::DeadlineExceeded,
            // As in the gRPC specification, "HTTP/2 errors".
            Self::Reset(_, error) => match error.reason() {
                Some(Reason::REFUSED_STREAM) => Code::Unavailable,
                Some(Reason::CANCEL) => Code::Cancelled,
                Some(Reason::ENHANCE_YOUR_CALM) => Code::ResourceExhausted,
                Some(Reason::INADEQUATE_SECURITY) => Code::PermissionDenied,
                _ => Code::Internal,
            },
            // As in the gRPC document "HTTP to gRPC status code mapping".
            Self::HttpStatus(_, status) => match status {
                400 => Code::Internal,
                401 => Code::Unauthenticated,
                403 => Code::PermissionDenied,
                404 => Code::Unimplemented,
                429 | 502..=504 => Code::Unavailable,
                _ => Code::Unknown,
            },
            Self::ContentType(..) => Code::Unknown,
            Self::Path(_) | Self::CompressedFlag | Self::NoStatus(_) | Self::TornAnswer(_) | Self::Panic(_) => {
                Code::Internal
            }
        }
    }
}

impl From<Overdrawn> for CallError {
    fn from(overdrawn: Overdrawn) -> Self {
        if let Some(peer) = overdrawn.news_of {
            warn!(%peer, "too much is held that it sent, or does not read: some of its calls are refused");
        }
        Self::Overdrawn
    }
}

/// What a panic becomes.
impl From<Box<dyn Any + Send>> for CallError {
    fn from(panic: Box<dyn Any + Send>) -> Self {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Self::Panic(text.unwrap_or("panic").to_owned())
    }
}

impl From<CallError> for Status {
    fn from(error: CallError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

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
        write!(f, "{} for {}", self.peer(), self.resource)
    }
}

impl CallTarget {
    /// The module, or the other machine, that is to answer.
    fn peer(&self) -> String {
        match self.module.strip_prefix(ModuleName::REMOTE) {
            Some(remote) => format!("remote `{remote}`"),
            None => format!("module `{}`", self.module),
        }
    }

    /// The module's connection ended, or could not be used. Where the exit cause of the module is known, calls in
    /// flight end in the words that new ones get.
    pub fn lost(&self, why: impl fmt::Display, exit_cause: Option<&str>) -> CallError {
        let reason = match exit_cause {
            Some(exit_cause) => exit_cause.to_owned(),
            None => format!("the connection to {} was lost: {why}", self.peer()),
        };
        CallError::NotAvailable {
            resource: self.resource.clone(),
            reason,
            transient: true,
        }
    }

    /// The module's stream has failed.
    pub fn stream_failed(&self, error: h2::Error, exit_cause: Option<&str>) -> CallError {
        if error.is_io() || error.is_go_away() || !error.is_remote() {
            self.lost(error, exit_cause)
        } else {
            CallError::Reset(self.clone(), error)
        }
    }

    /// Checks the headers of an answer; `over` says that nothing follows them. A status that stands there passes with
    /// the content type of gRPC, which some servers (grpclib) leave out then: clients read such an answer as UNKNOWN.
    pub fn check_head(&self, status: StatusCode, headers: &mut HeaderMap, over: bool) -> Result<(), CallError> {
        if headers.contains_key(Status::GRPC_STATUS) {
            if !is_grpc(headers) {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            }
            return Ok(());
        }
        if status != StatusCode::OK {
            return Err(CallError::HttpStatus(self.clone(), status.as_u16()));
        }
        if !is_grpc(headers) {
            let content_type = String::from_utf8_lossy(content_type(headers)).into_owned();
            return Err(CallError::ContentType(self.clone(), content_type));
        }
        if over {
            Err(CallError::NoStatus(self.clone()))
        } else {
            Ok(())
        }
    }
}

fn content_type(headers: &HeaderMap) -> &[u8] {
    headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes)
}

fn is_grpc(headers: &HeaderMap) -> bool {
    content_type(headers).starts_with(b"application/grpc")
}

/// A complete answer with no message: status 200, the gRPC status in the headers, texts percent-encoded.
pub fn respond(status: impl Into<Status>) -> Response<CallBody> {
    status.into().into_http()
}

/// An answer in plain text, to what is no gRPC call.
pub fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<CallBody> {
    let mut response = Response::new(CallBody::Full(text.into()));
    *response.status_mut() = status;
    let text_type = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, text_type);
    response
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
                .check_head(status, &mut headers, over)
                .map_err(|error| (error.code(), error.to_string()))
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
        for (status, content_type, passed_on) in [
            (StatusCode::OK, None, "application/grpc"),
            (StatusCode::OK, Some("application/grpc+proto"), "application/grpc+proto"),
            (StatusCode::BAD_GATEWAY, Some("text/html"), "application/grpc"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-status", 3.into());
            if let Some(content_type) = content_type {
                headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
            }
            assert!(target().check_head(status, &mut headers, true).is_ok());
            assert_eq!(headers[CONTENT_TYPE], passed_on);
            assert_eq!(headers["grpc-status"], "3");
        }
    }
}
