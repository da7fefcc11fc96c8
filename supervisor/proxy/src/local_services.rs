//! The core's own services, as the proxy sees them: gRPC services and pages that are answered here instead of by a
//! module.

use std::fmt::Debug;
use std::pin::Pin;

use http::{Method, Request, Response, Uri};

use crate::body::{CallBody, RequestBody};
use crate::identity::Identity;
use crate::status::CallError;

/// Paths of requests in JSON begin so.
pub const REST: &str = "/api/";

/// The answer to a call of the core's own. Boxed, because a call that is passed on would carry the room for it.
pub type LocalAnswer = Pin<Box<dyn Future<Output = Response<CallBody>> + Send>>;

/// Makes a call for whoever sent the request that stands for it, as if it had come by gRPC.
pub type MakeCall = Box<dyn FnOnce(Request<RequestBody>) -> LocalAnswer + Send>;

/// Treatment of calls of one of the core's services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// Calls are operations, have a default deadline and are traced, as calls of a resource.
    Listed,
    /// Calls are none of that: they belong to tools, or last as long as somebody listens.
    Unlisted,
}

/// The core's own services.
pub trait LocalServices: Debug + Send + Sync {
    /// Whether a gRPC service is one of them, for this caller, and how its calls are treated.
    fn serves(&self, service: &str, identity: &Identity) -> Option<Treatment>;

    /// Answers a call of `service`, of which [`LocalServices::serves`] said that it is here.
    fn call(&self, service: &str, request: Request<RequestBody>) -> LocalAnswer;

    /// Answers a request for a page, if it is one.
    fn page(&self, identity: &Identity, method: &Method, uri: &Uri) -> Option<LocalAnswer>;

    /// Answers a request below [`REST`] by the call that it stands for. `call`: makes it, or why its caller may make none.
    fn rest(&self, request: Request<RequestBody>, call: Result<MakeCall, CallError>) -> LocalAnswer;
}
