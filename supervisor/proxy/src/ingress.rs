//! Entry of every call, whoever makes it: name, session, operation, then the module or the core's own services.

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use mainstay_model::ModuleName;
use tokio::time::Instant;
use tonic::Status;
use uuid::Uuid;

use crate::body::{CallBody, RequestBody};
use crate::deadline::{DEFAULT_UNARY, Deadline};
use crate::forward::{ForwardOptions, forward};
use crate::gate::{CallGate, GatedCall};
use crate::identity::{Caller, Identity, ModulePeer};
use crate::local_services::{LocalServices, Treatment};
use crate::metadata::OPID;
use crate::operations::{CallInfo, OnStopAll, Operations, RunningCall};
use crate::peek::{Addressing, Peeked, peek};
use crate::resource;
use crate::status::{CallError, CallTarget, respond};
use crate::table::{Destination, MethodShape, NamePath, Table};
use crate::trace::{CallSpan, TRACEPARENT, Traces};
use crate::upstream::Lane;

/// Greeting that agents look for to see whether the machine is there.
const HELLO: &str = "I am a Mainstay machine. Talk to me with any Viam SDK, or on this host with `mainstay status`.\n";

/// Routing state that all calls of a machine share, whichever socket they come through.
#[derive(Debug)]
pub struct Routes {
    /// Routing table.
    pub table: Arc<ArcSwap<Table>>,
    /// Gate that every call passes.
    pub gate: Arc<dyn CallGate>,
    /// The core's own services.
    pub local: Arc<dyn LocalServices>,
    /// Running operations.
    pub operations: Operations,
    /// Records of calls.
    pub traces: Traces,
}

/// Ingress of one socket: every call that comes through it is answered here.
#[derive(Debug, Clone)]
pub struct Ingress {
    routes: Arc<Routes>,
    identity: Arc<Identity>,
    /// The module at the other end, if it is one.
    module: Option<Arc<dyn ModulePeer>>,
    /// Number of that module's process; 0 for anybody else.
    life: u64,
}

impl Ingress {
    /// A way in for callers who are `identity`.
    pub fn new(routes: Arc<Routes>, identity: Identity) -> Self {
        Self {
            routes,
            identity: Arc::new(identity),
            module: None,
            life: 0,
        }
    }

    /// The way in of one module.
    pub fn for_module(routes: Arc<Routes>, module: Arc<dyn ModulePeer>) -> Self {
        Self {
            module: Some(module.clone()),
            ..Self::new(routes, Identity::Module(module.name().clone()))
        }
    }

    /// Ingress for a connection that was made just now: what comes through it counts as sent by the process that the
    /// module has now, however late it is read.
    pub fn for_connection(&self) -> Self {
        Self {
            life: self.module.as_ref().map_or(0, |module| module.life()),
            ..self.clone()
        }
    }

    /// Answers one request.
    pub async fn call(self, request: Request<RequestBody>) -> Response<CallBody> {
        if let Some(page) = self.routes.local.page(&self.identity, request.method(), request.uri()) {
            return page.await;
        }
        if let Some(answer) = not_grpc(&request) {
            return answer;
        }
        if let Some(module) = &self.module {
            // A module that calls is alive.
            module.record_call();
        }
        let path = request.uri().path().to_owned();
        let Some((service, method)) = split(&path) else {
            return respond(CallError::MethodName(path));
        };
        match self.routes.local.serves(service, &self.identity) {
            // Boxed, because every other call would carry the room for it.
            Some(treatment) => Box::pin(self.call_local(service, treatment, request)).await,
            None => self.forward_call(service, method, request).await,
        }
    }

    /// A call of one of the core's own services.
    async fn call_local(
        &self,
        service: &str,
        treatment: Treatment,
        mut request: Request<RequestBody>,
    ) -> Response<CallBody> {
        let listed = treatment == Treatment::Listed;
        let default = listed.then_some(DEFAULT_UNARY);
        let deadline = match Deadline::of(request.headers(), default, Instant::now()) {
            Ok(deadline) => deadline,
            Err(bad) => return bad.into_response(),
        };
        let operation = listed.then(|| {
            let path = request.uri().path();
            let given = given_operation(request.headers());
            let operations = &self.routes.operations;
            operations.begin(given, path, None, own_on_stop_all(path), None)
        });
        let id = operation.as_ref().map(|operation| operation.id);
        let span = (listed && is_recorded(request.uri().path()))
            .then(|| self.routes.traces.begin(request.uri().path(), request.headers()))
            .flatten();
        request.extensions_mut().insert(Caller {
            identity: self.identity.clone(),
            operation: id,
        });
        let answer = self.routes.local.call(service, request);
        let cancel = operation
            .as_ref()
            .map(|operation| operation.cancel.clone())
            .unwrap_or_default();
        let mut response = tokio::select! {
            outcome = deadline.limit(answer) => outcome.unwrap_or_else(respond),
            () = cancel.cancelled() => respond(CallError::Cancelled),
        };
        if let Some(span) = span {
            // An answer that fails says so before its body.
            let status = Status::from_header_map(response.headers()).unwrap_or_else(|| Status::ok(""));
            span.about("", "", &self.identity.label());
            span.end(&status);
        }
        if let Some(opid) = id.and_then(header) {
            response.headers_mut().insert(OPID, opid);
        }
        response
    }

    /// A call for a resource.
    async fn forward_call(&self, service: &str, method: &str, request: Request<RequestBody>) -> Response<CallBody> {
        let table = self.routes.table.load_full();
        let Some(shape) = table.shape(service, method) else {
            // Not a word of ours or of any module's; the operation id is there as with every answer.
            let opid = header(given_operation(request.headers()).unwrap_or_else(Uuid::new_v4));
            return with_opid(respond(CallError::Unimplemented), opid);
        };
        if shape.name_path == NamePath::Nowhere {
            let opid = header(given_operation(request.headers()).unwrap_or_else(Uuid::new_v4));
            return with_opid(respond(CallError::NoName), opid);
        }
        let unary = shape.kind == Some(mainstay_proto::methods::Kind::Unary);
        let deadline = match Deadline::of(request.headers(), unary.then_some(DEFAULT_UNARY), Instant::now()) {
            Ok(deadline) => deadline,
            Err(bad) => return bad.into_response(),
        };
        let (mut parts, body) = request.into_parts();
        let addressing = Addressing {
            path: shape.name_path.as_slice(),
            standard_api: table.standard_api(service),
        };
        let Peeked { name, body } = match deadline.limit(peek(body, &parts.headers, addressing)).await {
            Ok(Ok(peeked)) => peeked,
            // A method that nobody knows may take other messages than ours, so this is no fault of the message.
            Ok(Err(_)) if shape.unknown => return respond(CallError::Unimplemented),
            Ok(Err(status)) | Err(status) => return respond(status),
        };
        let destination = table.lookup(service, method, &name);
        let passage = GatedCall {
            identity: &self.identity,
            life: self.life,
            shape: &shape,
            destination: destination.as_ref().ok(),
            headers: &parts.headers,
        };
        let session = match self.routes.gate.admit(&passage) {
            Ok(session) => session,
            Err(refused) => return respond(refused),
        };
        let on_stop_all = if shape.stops {
            OnStopAll::Spare
        } else {
            OnStopAll::Cancel
        };
        let operation = self.routes.operations.begin(
            given_operation(&parts.headers),
            parts.uri.path(),
            session,
            on_stop_all,
            destination
                .as_ref()
                .ok()
                .map(|destination| self.about(&shape, destination)),
        );
        let opid = header(operation.id);
        let span = self.routes.traces.begin(parts.uri.path(), &parts.headers);
        match destination {
            Ok(destination) => {
                // Asked after the call was noted, so that whoever takes the resource out sees the one or the other.
                if let Some(refused) = destination.resource.refuses(self.caller(&shape)) {
                    return with_opid(respond(self.refused(refused, &name, span)), opid);
                }
                let (upstream, mut terms) = terms(destination, &shape, deadline, operation, opid);
                if let Some(span) = &span {
                    span.about(&terms.target.resource, &terms.target.module, &self.identity.label());
                    parts.headers.insert(TRACEPARENT, span.header());
                }
                terms.span = span;
                forward(&parts, body, &upstream, terms).await
            }
            Err(_) if shape.unknown => with_opid(respond(CallError::Unimplemented), opid),
            Err(missing) => with_opid(respond(self.refused(missing, &name, span)), opid),
        }
    }

    /// Status for a call that goes nowhere, which ends its span.
    fn refused(&self, error: CallError, name: &str, span: Option<CallSpan>) -> Status {
        let status = error.into();
        if let Some(span) = span {
            span.about(name, "", &self.identity.label());
            span.end(&status);
        }
        status
    }

    fn caller(&self, shape: &MethodShape) -> resource::CallerRole {
        match *self.identity {
            _ if shape.stops => resource::CallerRole::Stop,
            Identity::Module(_) => resource::CallerRole::Module,
            Identity::Client { .. } | Identity::Control | Identity::Job(_) => resource::CallerRole::Client,
        }
    }

    /// Description of a call for the list of operations.
    fn about(&self, shape: &MethodShape, destination: &Destination<'_>) -> CallInfo {
        CallInfo {
            resource: destination.resource.label.clone(),
            module: destination.resource.state().module.clone(),
            caller: self.identity.clone(),
            unary: shape.kind == Some(mainstay_proto::methods::Kind::Unary),
            moves: shape.actuates,
        }
    }
}

fn terms(
    destination: Destination<'_>,
    shape: &MethodShape,
    deadline: Deadline,
    mut operation: RunningCall,
    opid: Option<HeaderValue>,
) -> (crate::upstream::Upstream, ForwardOptions) {
    operation.through(&destination.upstream);
    let state = destination.resource.state();
    let module = state.module.as_ref().map(ModuleName::shared).unwrap_or_default();
    let terms = ForwardOptions {
        target: CallTarget {
            resource: destination.resource.label.clone(),
            module,
        },
        lane: if shape.stops { Lane::Control } else { Lane::Data },
        opid,
        deadline,
        cancel: Some(operation.cancel.clone()),
        keep: Some(Box::new(operation)),
        span: None,
        path: destination.path.and_then(|path| path.parse::<PathAndQuery>().ok()),
    };
    (destination.upstream, terms)
}

/// The answer to what is no gRPC call.
fn not_grpc(request: &Request<RequestBody>) -> Option<Response<CallBody>> {
    let content_type = request
        .headers()
        .get(http::header::CONTENT_TYPE)
        .map_or(&[][..], HeaderValue::as_bytes);
    let grpc = content_type.starts_with(b"application/grpc") && !content_type.starts_with(b"application/grpc-web");
    let plain = |status: StatusCode, text: &'static str| {
        let mut response = Response::new(CallBody::from(bytes::Bytes::from_static(text.as_bytes())));
        *response.status_mut() = status;
        let text_type = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(http::header::CONTENT_TYPE, text_type);
        Some(response)
    };
    match (grpc, request.uri().path()) {
        (_, "/") => plain(StatusCode::OK, HELLO),
        (true, _) if request.version() == http::Version::HTTP_2 => {
            if request.method() == Method::POST {
                None
            } else {
                plain(StatusCode::METHOD_NOT_ALLOWED, "gRPC calls are POST\n")
            }
        }
        _ => plain(StatusCode::BAD_REQUEST, ""),
    }
}

/// `/package.Service/Method` in its two parts.
fn split(path: &str) -> Option<(&str, &str)> {
    let (service, method) = path.strip_prefix('/')?.rsplit_once('/')?;
    (!service.is_empty() && !method.is_empty()).then_some((service, method))
}

/// Effect of StopAll on the core's own calls: it must not end another StopAll, nor the sessions of those who move
/// things.
fn own_on_stop_all(path: &str) -> OnStopAll {
    match path.rsplit('/').next() {
        Some("StopAll" | "StartSession" | "SendSessionHeartbeat") => OnStopAll::Spare,
        _ => OnStopAll::Cancel,
    }
}

/// Whether a call of the core's own is worth a record: what carries records and logs, or only keeps things alive, is
/// not.
fn is_recorded(path: &str) -> bool {
    !matches!(
        path.rsplit('/').next(),
        Some("Log" | "SendTraces" | "SendSessionHeartbeat" | "ResourceNames" | "GetMachineStatus")
    )
}

/// The operation that the caller acts for; several or an unreadable one count as none.
fn given_operation(headers: &HeaderMap) -> Option<Uuid> {
    let mut given = headers.get_all(OPID).iter();
    let first = given.next().filter(|_| given.next().is_none())?;
    Uuid::try_parse_ascii(first.as_bytes()).ok()
}

fn header(id: Uuid) -> Option<HeaderValue> {
    HeaderValue::from_str(id.as_hyphenated().encode_lower(&mut Uuid::encode_buffer())).ok()
}

fn with_opid(mut response: Response<CallBody>, opid: Option<HeaderValue>) -> Response<CallBody> {
    if let Some(opid) = opid {
        response.headers_mut().insert(OPID, opid);
    }
    response
}
