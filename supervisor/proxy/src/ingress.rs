//! Entry of every call, whoever makes it: name, session, operation, then the module or the core's own services.

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body as _;
use mainstay_model::ModuleName;
use mainstay_proto::ResourceName;
use mainstay_proto::methods::{self, Kind};
use tokio::time::Instant;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::body::{CallBody, RequestBody};
use crate::deadline::{DEFAULT_UNARY, Deadline};
use crate::forward::{ForwardOptions, forward};
use crate::gate::{CallGate, ConnectionGate, GatedCall};
use crate::grpc_web;
use crate::identity::{Caller, Identity, ModulePeer};
use crate::image_types::ImageFilter;
use crate::in_flight::{self, CallerCalls, InFlightCall};
use crate::local_services::{LocalServices, MakeCall, REST, Treatment};
use crate::local_stream::LocalStream;
use crate::metadata::{MONITORED, OPID};
use crate::operations::{CallInfo, OnStopAll, Operations};
use crate::peek::{Addressing, Peeked, peek};
use crate::resource::{CallerRole, Origin};
use crate::status::{CallError, CallTarget, plain, respond};
use crate::table::{Destination, MethodShape, NamePath, Table};
use crate::turns::CallerId;
use crate::upstream::{Lane, Upstream};
use mainstay_trace::{TRACEPARENT, Traces};

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
    /// The gate that asks for proof of that; `None` where none is needed.
    gate: Option<Arc<dyn ConnectionGate>>,
    /// True for a call that the caller may not make, whatever resource it is for.
    denied: bool,
    /// The module at the other end, if it is one.
    module: Option<Arc<dyn ModulePeer>>,
    /// Number of that module's process; 0 for anybody else.
    life: u64,
    caller: CallerId,
    /// The caller's calls that run.
    in_flight: CallerCalls,
}

impl Ingress {
    /// A way in for callers who are `identity`.
    pub fn new(routes: Arc<Routes>, identity: Identity) -> Self {
        let identity = Arc::new(identity);
        Self {
            gate: routes.gate.connection(&identity),
            denied: false,
            routes,
            identity,
            module: None,
            life: 0,
            caller: CallerId::unique(),
            in_flight: CallerCalls::default(),
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
    /// module has now, however late it is read. All connections of a module are one caller; any other is one by itself.
    pub fn for_connection(&self) -> Self {
        let mut ingress = self.clone();
        match &self.module {
            Some(module) => ingress.life = module.life(),
            None => (ingress.caller, ingress.in_flight) = (CallerId::unique(), CallerCalls::default()),
        }
        ingress
    }

    /// Answers one request.
    pub async fn call(mut self, request: Request<RequestBody>) -> Response<CallBody> {
        if let Some(page) = self.routes.local.page(&self.identity, request.method(), request.uri()) {
            // Agents ask for it without a token; it answers callers on this host alone.
            if request.uri().path() == "/restart_status" {
                return page.await;
            }
            return match self.enter(&request).and_then(|()| self.allowed(request.uri().path())) {
                Ok(()) => page.await,
                Err(error) => plain(http_status(error.code()), format!("{error}\n")),
            };
        }
        match Protocol::of(&request) {
            Protocol::Grpc => self.call_grpc(request).await,
            // Boxed, because every other call would carry the room for it.
            Protocol::GrpcWeb => Box::pin(grpc_web::answer(request, |request| self.call_grpc(request))).await,
            Protocol::Rest => Box::pin(self.call_rest(request)).await,
            Protocol::Other(answer) => *answer,
        }
    }

    /// A request in JSON: who makes it is asked before anything of it is read, and again of the call that it becomes.
    async fn call_rest(mut self, request: Request<RequestBody>) -> Response<CallBody> {
        let origin = request.headers().get(http::header::ORIGIN).cloned();
        let entered = self.enter(&request);
        let local = self.routes.local.clone();
        let call = entered.map(|()| -> MakeCall { Box::new(|request| Box::pin(self.call_grpc(request))) });
        let mut answer = local.rest(request, call).await;
        grpc_web::allow(answer.headers_mut(), origin);
        answer
    }

    async fn call_grpc(mut self, request: Request<RequestBody>) -> Response<CallBody> {
        if let Err(error) = self.enter(&request) {
            return respond(error);
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
            Some(treatment) => match self.allowed(&path) {
                Ok(()) => Box::pin(self.call_local(service, treatment, request)).await,
                Err(error) => respond(error),
            },
            None => self
                .forward_call(service, method, request)
                .await
                .unwrap_or_else(respond),
        }
    }

    /// Finds out who makes this request.
    ///
    /// # Errors
    /// Nobody who may.
    fn enter(&mut self, request: &Request<RequestBody>) -> Result<(), CallError> {
        if let Some(gate) = &self.gate {
            let entered = gate.enter(request.headers(), request.uri().path())?;
            (self.identity, self.denied) = (entered.identity, entered.denied);
        }
        Ok(())
    }

    /// Refuses a call that its caller may not make, where no resource is known that the answer could name.
    fn allowed(&self, path: &str) -> Result<(), CallError> {
        match self.denied {
            false => Ok(()),
            true => Err(self.routes.gate.denial(&self.identity, path)),
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
        let limited = listed && in_flight::is_limited(request.uri().path());
        let room = limited.then(|| self.in_flight.begin(&service.into(), || service.to_owned()));
        let room = match room.transpose() {
            Ok(room) => room,
            Err(error) => {
                let opid = given_operation(request.headers()).unwrap_or_else(Uuid::new_v4);
                return respond(with_opid(error, opid));
            }
        };
        let method = split(request.uri().path()).and_then(|(service, method)| methods::find(service, method));
        let unary = method.is_none_or(|method| method.kind == Kind::Unary);
        // Of services that are not in the table of the wire any answer may last.
        let lasting = method.is_none() || !unary;
        let default = (listed && unary).then_some(DEFAULT_UNARY);
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
        if lasting && !response.body().is_end_stream() {
            return response.map(|body| LocalStream::bound(body, deadline, cancel, (operation, room)));
        }
        response
    }

    /// A call for a resource.
    async fn forward_call(
        &self,
        service: &str,
        method: &str,
        request: Request<RequestBody>,
    ) -> Result<Response<CallBody>, Status> {
        let table = self.routes.table.load_full();
        let shape = match table.shape(service, method) {
            Some(shape) if shape.name_path != NamePath::Nowhere => shape,
            // The operation id is there as with every answer.
            other => {
                self.allowed(request.uri().path())?;
                let opid = given_operation(request.headers()).unwrap_or_else(Uuid::new_v4);
                // Without a shape it is no word of ours or of any module's.
                let error = other.map_or(CallError::Unimplemented, |_nameless| CallError::NoName);
                return Err(with_opid(error, opid));
            }
        };
        let default = shape.is_unary().then_some(DEFAULT_UNARY);
        let deadline = match Deadline::of(request.headers(), default, Instant::now()) {
            Ok(deadline) => deadline,
            Err(bad) => return Ok(bad.into_response()),
        };
        let (mut parts, body) = request.into_parts();
        let addressing = Addressing {
            path: shape.name_path.as_slice(),
            standard_api: table.standard_api(service),
        };
        let peeked = deadline.limit(peek(body, &parts.headers, addressing)).await?;
        if peeked.is_err() {
            self.allowed(parts.uri.path())?;
        }
        let Peeked { name, body } = match peeked {
            Ok(peeked) => peeked,
            // A method that nobody knows may take other messages than ours, so this is no fault of the message.
            Err(_) if shape.unknown => return Err(CallError::Unimplemented.into()),
            Err(status) => return Err(status),
        };
        let destination = table.lookup(service, method, &name);
        let (upstream, options) = self.admit(&shape, &name, destination, deadline, &mut parts)?;
        let origin = options.origin.as_ref().map(|(origin, _)| origin.clone());
        let mut response = forward(&parts, body, &upstream, options).await;
        if response.headers().contains_key(MONITORED) {
            self.take_monitored(&parts.headers, origin.as_ref(), response.headers_mut());
        }
        Ok(response)
    }

    /// Resources that the call set moving on its caller's behalf are the caller's to answer for, here as well as where they are.
    /// Those of another machine get its name in front.
    fn take_monitored(&self, caller: &HeaderMap, origin: Option<&Origin>, answer: &mut HeaderMap) {
        let told: Vec<_> = answer.get_all(MONITORED).iter().cloned().collect();
        answer.remove(MONITORED);
        for text in told.iter().filter_map(|text| text.to_str().ok()) {
            let Ok(mut name) = text.parse::<ResourceName>() else {
                continue;
            };
            if let Some(origin) = origin {
                name.name = format!("{}:{}", origin.remote, name.name);
            }
            let table = self.routes.table.load();
            if let Some(resource) = table.resource(&name) {
                self.routes.gate.monitored(&self.identity, caller, &resource.name);
            }
            if let Ok(value) = HeaderValue::try_from(name.to_string()) {
                answer.append(MONITORED, value);
            }
        }
    }

    /// Lets a call of a resource named `name` pass: asks the gate, begins an operation and a span, and says how the
    /// call is passed on. `parts` gets what the module must know of it.
    ///
    /// # Errors
    /// The status is the caller's answer.
    pub fn admit(
        &self,
        shape: &MethodShape,
        name: &str,
        destination: Result<Destination<'_>, CallError>,
        deadline: Deadline,
        parts: &mut Parts,
    ) -> Result<(Upstream, ForwardOptions), Status> {
        let room = self
            .room(shape, &destination, parts)
            .map_err(|error| with_opid(error, given_operation(&parts.headers).unwrap_or_else(Uuid::new_v4)))?;
        let session = self.routes.gate.admit(&GatedCall {
            identity: &self.identity,
            life: self.life,
            shape,
            path: parts.uri.path(),
            name,
            destination: destination.as_ref().ok(),
            headers: &parts.headers,
        })?;
        let on_stop_all = if shape.stops {
            OnStopAll::Spare
        } else {
            OnStopAll::Cancel
        };
        let about = destination.as_ref().ok().map(|destination| CallInfo {
            resource: destination.resource.label.clone(),
            module: destination.resource.state().module.clone(),
            caller: self.identity.clone(),
            unary: shape.is_unary(),
            moves: shape.actuates,
        });
        let (given, path) = (given_operation(&parts.headers), parts.uri.path());
        let mut operation = self.routes.operations.begin(given, path, session, on_stop_all, about);
        let span = self.routes.traces.begin(path, &parts.headers);
        let admitted = match destination {
            // Asked after the call was noted, so that whoever takes the resource out sees the one or the other.
            Ok(destination) => match destination.resource.refuses(self.caller(shape)) {
                Some(refused) => Err(refused),
                None => Ok(destination),
            },
            Err(_) if shape.unknown => Err(CallError::Unimplemented),
            missing => missing,
        };
        let destination = match admitted {
            Ok(destination) => destination,
            Err(error) => {
                let status = with_opid(error, operation.id);
                if let Some(span) = span {
                    span.about(name, "", &self.identity.label());
                    span.end(&status);
                }
                return Err(status);
            }
        };
        operation.through(&destination.upstream);
        operation.room = room;
        let module = destination.resource.state().module.as_ref().map(ModuleName::shared);
        let target = CallTarget {
            resource: destination.resource.label.clone(),
            module: module.unwrap_or_default(),
        };
        if let Some(span) = &span {
            span.about(&target.resource, &target.module, &self.identity.label());
            parts.headers.insert(TRACEPARENT, span.header());
        }
        let origin = destination.resource.origin.clone();
        let serial = destination.upstream.serial();
        let images = ImageFilter::new(parts.uri.path(), destination.resource, serial);
        let options = ForwardOptions {
            target,
            lane: if shape.stops { Lane::Control } else { Lane::Data },
            opid: header(operation.id),
            deadline,
            cancel: Some(operation.cancel.clone()),
            keep: Some(Box::new(operation)),
            span,
            path: destination.path.and_then(|path| path.parse().ok()),
            caller: self.caller,
            identity: self.identity.clone(),
            actuates: shape.actuates,
            origin: origin.map(|origin| (origin, shape.name_path)),
            images,
        };
        Ok((destination.upstream, options))
    }

    /// Counts a call that is limited in number.
    fn room(
        &self,
        shape: &MethodShape,
        destination: &Result<Destination<'_>, CallError>,
        parts: &Parts,
    ) -> Result<Option<InFlightCall>, CallError> {
        let path = parts.uri.path();
        let limited = shape.is_unary() && !shape.stops && in_flight::is_limited(path);
        match (destination, split(path)) {
            (Ok(destination), Some((service, _))) if limited => {
                let resource = destination.resource;
                let key = || format!("{}.{service}", resource.name.name);
                self.in_flight.begin(&resource.label, key).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn caller(&self, shape: &MethodShape) -> CallerRole {
        match *self.identity {
            _ if shape.stops => CallerRole::Stop,
            Identity::Module(_) => CallerRole::Module,
            Identity::Client(_) | Identity::Control | Identity::Job(_) => CallerRole::Client,
        }
    }
}

/// Protocol of a request.
enum Protocol {
    Grpc,
    GrpcWeb,
    Rest,
    /// None of these, and the answer to it.
    Other(Box<Response<CallBody>>),
}

impl Protocol {
    fn of(request: &Request<RequestBody>) -> Self {
        if request.uri().path().starts_with(REST) {
            return grpc_web::preflight(request).map_or(Self::Rest, |answer| Self::Other(answer.into()));
        }
        match not_grpc(request) {
            None => Self::Grpc,
            Some(_) if grpc_web::content_type(request).is_some() => Self::GrpcWeb,
            Some(mut answer) => {
                grpc_web::allow(
                    answer.headers_mut(),
                    request.headers().get(http::header::ORIGIN).cloned(),
                );
                Self::Other(answer.into())
            }
        }
    }
}

/// The answer to what is no gRPC call.
fn not_grpc(request: &Request<RequestBody>) -> Option<Response<CallBody>> {
    let content_type = request
        .headers()
        .get(http::header::CONTENT_TYPE)
        .map_or(&[][..], HeaderValue::as_bytes);
    let grpc = content_type.starts_with(b"application/grpc") && !content_type.starts_with(b"application/grpc-web");
    match (grpc && request.version() == http::Version::HTTP_2, request.uri().path()) {
        (_, "/") => Some(plain(StatusCode::OK, HELLO)),
        (true, _) if request.method() == Method::POST => None,
        (true, _) => Some(plain(StatusCode::METHOD_NOT_ALLOWED, "gRPC calls are POST\n")),
        (false, _) => Some(grpc_web::preflight(request).unwrap_or_else(|| plain(StatusCode::BAD_REQUEST, ""))),
    }
}

/// The HTTP status that says of a page what the code says of a call.
fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// `/package.Service/Method` in its two parts.
pub fn split(path: &str) -> Option<(&str, &str)> {
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

/// Status for a call that is an operation, or would have been one.
fn with_opid(error: CallError, id: Uuid) -> Status {
    let mut status = Status::from(error);
    if let Ok(id) = id.to_string().parse() {
        status.metadata_mut().insert("opid", id);
    }
    status
}
