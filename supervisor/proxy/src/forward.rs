//! Passes a call on to the module that holds its resource, byte for byte.

use std::sync::Arc;

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Response};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::body::{CallBody, RequestBody};
use crate::call::{BoxedLease, Guards};
use crate::deadline::Deadline;
use crate::identity::Identity;
use crate::image_types::ImageFilter;
use crate::metadata::OPID;
use crate::resource::Origin;
use crate::rewrite::rename;
use crate::status::{CallError, CallTarget};
use crate::table::NamePath;
use crate::turns::CallerId;
use crate::upstream::{Lane, Upstream};
use crate::{deadline, metadata, remote_link, status};
use mainstay_trace::CallSpan;

/// Options for passing a call on.
pub struct ForwardOptions {
    /// Resource and method, for error texts.
    pub target: CallTarget,
    /// [`Lane::Control`] for methods that stop something.
    pub lane: Lane,
    /// Operation id: sent to the module and returned to the caller.
    pub opid: Option<HeaderValue>,
    /// Time at which the core ends the call by itself.
    pub deadline: Deadline,
    /// Ends the call with `context canceled`.
    pub cancel: Option<CancellationToken>,
    /// Dropped when the call is over, however it ends.
    pub keep: Option<BoxedLease>,
    /// Span of the call, if it is traced.
    pub span: Option<CallSpan>,
    /// Path to ask the module for, where it is not the caller's.
    pub path: Option<PathAndQuery>,
    /// The caller, who waits for its turn where the module has no room.
    pub caller: CallerId,
    /// Identity of the caller.
    pub identity: Arc<Identity>,
    /// The call sets something moving.
    pub actuates: bool,
    /// Origin of the resource, if another machine has it, and where its name stands in the request.
    pub origin: Option<(Origin, NamePath)>,
    /// Fills in the types of pictures, if the answer may lack them.
    pub(crate) images: Option<Box<ImageFilter>>,
}

/// Passes the call on and returns the module's answer, or the error that stands for it. Never fails and never waits
/// longer than the terms allow.
pub async fn forward(
    caller: &Parts,
    body: RequestBody,
    upstream: &Upstream,
    terms: ForwardOptions,
) -> Response<CallBody> {
    let (opid, span) = (terms.opid.clone(), terms.span.clone());
    let mut response = match start(caller, body, upstream, terms).await {
        Ok(response) => response,
        Err(status) => {
            if let Some(span) = span {
                span.end(&status);
            }
            status::respond(status)
        }
    };
    if let Some(opid) = opid {
        // Whatever the module says, the id that the core knows counts.
        response.headers_mut().insert(OPID, opid);
    }
    response
}

async fn start(
    caller: &Parts,
    body: RequestBody,
    upstream: &Upstream,
    terms: ForwardOptions,
) -> Result<Response<CallBody>, Status> {
    let remaining = terms.deadline.remaining(Instant::now());
    if remaining.is_some_and(|remaining| remaining.is_zero()) {
        return Err(CallError::DeadlineExceeded.into());
    }
    let mut headers = metadata::towards_module(&caller.headers, terms.opid.as_ref(), remaining.map(deadline::print))?;
    let path = terms
        .path
        .or_else(|| caller.uri.path_and_query().cloned())
        .unwrap_or_else(|| PathAndQuery::from_static("/"));
    let mut guards = Guards::new(terms.target, terms.deadline, terms.cancel, terms.keep, terms.span);
    guards.images = terms.images;
    guards.caller = terms.caller;
    let Some(link) = upstream.link() else {
        return upstream.exchange(terms.lane, path, headers, body, guards).await;
    };
    let equip = remote_link::equip(link, terms.identity.entity(), terms.actuates, &mut headers);
    // Boxed, because every other call would carry the room for it.
    guards.watch(Box::pin(equip)).await?;
    let body = match terms.origin {
        Some((origin, path)) => {
            let renamed = Box::pin(rename(body, path.as_slice(), &origin.name));
            guards.watch(renamed).await??
        }
        None => body,
    };
    let response = upstream.exchange(terms.lane, path, headers, body, guards).await?;
    match remote_link::translate(link, response.headers()) {
        Some(status) => Err(status),
        None => Ok(response),
    }
}
