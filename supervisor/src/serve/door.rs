//! What happens to every call, whoever makes it: name, session, operation, then the module or the core's own services.

use std::sync::{Arc, OnceLock};

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use mainstay_proto::mainstay::control::v1::control_service_server::ControlServiceServer;
use mainstay_proto::viam::robot::v1::robot_service_server::RobotServiceServer;
use tokio::time::Instant;
use tonic::Status;
use tonic::codec::CompressionEncoding;
use tonic_reflection::pb::{v1, v1alpha};
use tower_service::Service;
use uuid::Uuid;

use super::control::Control;
use super::reflection::Reflection;
use super::web;
use crate::identity::{Caller, Identity, ModuleName};
use crate::module::activity::Activity;
use crate::operations::{About, OnStopAll, Running};
use crate::robot::Robot;
use crate::robot::sessions::{SessionError, parse_id};
use crate::route::body::{CallBody, RequestBody};
use crate::route::deadline::{DEFAULT_UNARY, Deadline};
use crate::route::forward::{Terms, forward};
use crate::route::frames::MAX_MESSAGE_LEN;
use crate::route::metadata::OPID;
use crate::route::peek::{Addressing, Peeked, peek};
use crate::route::resource;
use crate::route::status::{Target, cancelled, respond};
use crate::route::table::{Destination, NamePath, Shape};
use crate::route::upstream::Lane;
use crate::traces::TRACEPARENT;

const ROBOT: &str = "viam.robot.v1.RobotService";
const CONTROL: &str = "mainstay.control.v1.ControlService";
const REFLECTION: &str = "grpc.reflection.v1.ServerReflection";
const REFLECTION_ALPHA: &str = "grpc.reflection.v1alpha.ServerReflection";
/// The answer to a method whose request names no resource, in the words that clients know.
const NO_NAME: &str = "unable to determine resource name due to missing 'name' field";
const SESSION_ID: HeaderName = HeaderName::from_static("viam-sid");
/// What agents look for to see whether the machine is there.
const HELLO: &str = "I am a Mainstay machine. Talk to me with any Viam SDK, or on this host with `mainstay status`.\n";

/// The core's own services, made once and shared by all doors.
#[derive(Clone)]
pub struct Services {
    robot: Robot,
    robot_service: RobotServiceServer<Robot>,
    reflection: v1::server_reflection_server::ServerReflectionServer<Reflection>,
    reflection_alpha: v1alpha::server_reflection_server::ServerReflectionServer<Reflection>,
    control: ControlServiceServer<Control>,
    /// For those who look at the machine with a browser.
    told: Control,
}

impl Services {
    /// The services of `robot`; `control` answers on the control socket alone.
    pub fn new(robot: Robot, control: Control) -> Self {
        let reflection = Reflection::new(robot.machine.published.clone());
        let robot_service = RobotServiceServer::new(robot.clone())
            .max_decoding_message_size(MAX_MESSAGE_LEN)
            .max_encoding_message_size(MAX_MESSAGE_LEN)
            .accept_compressed(CompressionEncoding::Gzip);
        Self {
            robot,
            robot_service,
            reflection: v1::server_reflection_server::ServerReflectionServer::new(reflection.clone()),
            reflection_alpha: v1alpha::server_reflection_server::ServerReflectionServer::new(reflection),
            control: ControlServiceServer::new(control.clone()),
            told: control,
        }
    }
}

impl std::fmt::Debug for Services {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Services")
            .field("robot", &self.robot)
            .finish_non_exhaustive()
    }
}

/// One socket's way in.
#[derive(Debug, Clone)]
pub struct Door {
    services: Arc<Services>,
    identity: Arc<Identity>,
    /// Which process of a module is at the other end; 0 for anybody else.
    life: u64,
    /// Where the calls of a module are counted, once that was looked up.
    activity: Arc<OnceLock<Activity>>,
}

impl Door {
    /// A door for callers who are `identity`.
    pub fn new(services: Arc<Services>, identity: Identity) -> Self {
        Self {
            services,
            identity: Arc::new(identity),
            activity: Arc::default(),
            life: 0,
        }
    }

    /// This door for a connection that was made just now: what comes through it is the word of the process that the
    /// module has now, however late it is read.
    pub fn for_connection(&self) -> Self {
        let life_of = |module: &ModuleName| {
            let view = self.services.robot.machine.published.load();
            let entry = view.modules.iter().find(|entry| entry.name == *module);
            entry.map(|entry| entry.state().life)
        };
        Self {
            life: self.identity.module().and_then(life_of).unwrap_or_default(),
            ..self.clone()
        }
    }

    /// Answers one request.
    pub async fn call(self, request: Request<RequestBody>) -> Response<CallBody> {
        if web::is_asked_for(request.uri()) && matches!(*self.identity, Identity::Client { .. }) {
            let on = self.services.robot.machine.published.load().config.enable_web_profile;
            let page = web::answer(request.method(), request.uri(), &self.services.told, on);
            return Box::pin(page).await;
        }
        if let Some(answer) = not_grpc(&request) {
            return answer;
        }
        if let Identity::Module(module) = &*self.identity {
            self.made_a_call(module);
        }
        let path = request.uri().path().to_owned();
        let Some((service, method)) = split(&path) else {
            return respond(Status::unimplemented(format!("malformed method name: \"{path}\"")));
        };
        match service {
            // Boxed, because every other call would carry the room for it.
            ROBOT | REFLECTION | REFLECTION_ALPHA => Box::pin(self.own(service, request)).await,
            CONTROL if matches!(*self.identity, Identity::Control) => Box::pin(self.own(service, request)).await,
            _ => self.pass_on(service, method, request).await,
        }
    }

    /// A module that calls is alive.
    fn made_a_call(&self, module: &ModuleName) {
        if let Some(activity) = self.activity.get() {
            return activity.made_a_call();
        }
        let view = self.services.robot.machine.published.load();
        if let Some(entry) = view.modules.iter().find(|entry| entry.name == *module) {
            self.activity.get_or_init(|| entry.activity.clone()).made_a_call();
        }
    }

    /// A call of one of the core's own services.
    async fn own(&self, service: &str, mut request: Request<RequestBody>) -> Response<CallBody> {
        // Only RobotService has calls worth listing; its one stream is not offered yet.
        let default = (service == ROBOT).then_some(DEFAULT_UNARY);
        let deadline = match Deadline::of(request.headers(), default, Instant::now()) {
            Ok(deadline) => deadline,
            Err(bad) => return bad.into_response(),
        };
        let operation = (service == ROBOT).then(|| {
            let path = request.uri().path();
            let given = given_operation(request.headers());
            self.services
                .robot
                .operations
                .begin(given, path, None, own_on_stop_all(path), None)
        });
        let id = operation.as_ref().map(|operation| operation.id);
        let span = (service == ROBOT && is_recorded(request.uri().path()))
            .then(|| {
                self.services
                    .robot
                    .traces
                    .begin(request.uri().path(), request.headers())
            })
            .flatten();
        request.extensions_mut().insert(Caller {
            identity: self.identity.clone(),
            operation: id,
        });
        let answer = async {
            let never = match service {
                ROBOT => self.services.robot_service.clone().call(request).await,
                REFLECTION => self.services.reflection.clone().call(request).await,
                REFLECTION_ALPHA => self.services.reflection_alpha.clone().call(request).await,
                _ => self.services.control.clone().call(request).await,
            };
            let response = match never {
                Ok(response) => response,
                Err(never) => match never {},
            };
            response.map(CallBody::from)
        };
        let cancel = operation
            .as_ref()
            .map(|operation| operation.cancel.clone())
            .unwrap_or_default();
        let mut response = tokio::select! {
            outcome = deadline.limit(answer) => outcome.unwrap_or_else(respond),
            () = cancel.cancelled() => respond(cancelled()),
        };
        if let Some(span) = span {
            // An answer that fails says so before its body.
            let status = Status::from_header_map(response.headers()).unwrap_or_else(|| Status::ok(""));
            span.about("", "", &self.identity.label());
            span.end(status.code(), status.message());
        }
        if let Some(opid) = id.and_then(header) {
            response.headers_mut().insert(OPID, opid);
        }
        response
    }

    /// A call for a resource.
    async fn pass_on(&self, service: &str, method: &str, request: Request<RequestBody>) -> Response<CallBody> {
        let view = self.services.robot.machine.published.load_full();
        let table = &view.table;
        let Some(shape) = table.shape(service, method) else {
            // Not a word of ours or of any module's; the operation id is there as with every answer.
            let opid = header(given_operation(request.headers()).unwrap_or_else(Uuid::new_v4));
            return with_opid(respond(Status::unimplemented("Unimplemented")), opid);
        };
        if shape.name_path == NamePath::Nowhere {
            let opid = header(given_operation(request.headers()).unwrap_or_else(Uuid::new_v4));
            return with_opid(respond(Status::invalid_argument(NO_NAME)), opid);
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
            Ok(Err(_)) if shape.unknown => return respond(Status::unimplemented("Unimplemented")),
            Ok(Err(status)) | Err(status) => return respond(status),
        };
        let destination = table.lookup(service, method, &name);
        let session = match self.answer_for(&shape, destination.as_ref().ok(), &parts.headers) {
            Ok(session) => session,
            Err(refused) => return respond(refused),
        };
        let on_stop_all = if shape.stops {
            OnStopAll::Spare
        } else {
            OnStopAll::Cancel
        };
        let operation = self.services.robot.operations.begin(
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
        let span = self.services.robot.traces.begin(parts.uri.path(), &parts.headers);
        match destination {
            Ok(destination) => {
                // Asked after the call was noted, so that whoever takes the resource out sees the one or the other.
                if let Some(refused) = destination.resource.refuses(self.caller(&shape)) {
                    if let Some(span) = span {
                        span.about(&name, "", &self.identity.label());
                        span.end(refused.code(), refused.message());
                    }
                    return with_opid(respond(refused), opid);
                }
                let (upstream, mut terms) = terms(destination, &shape, deadline, operation, opid);
                if let Some(span) = &span {
                    span.about(&terms.target.resource, &terms.target.module, &self.identity.label());
                    parts.headers.insert(TRACEPARENT, span.header());
                }
                terms.span = span;
                forward(&parts, body, &upstream, terms).await
            }
            Err(_) if shape.unknown => with_opid(respond(Status::unimplemented("Unimplemented")), opid),
            Err(status) => {
                if let Some(span) = span {
                    span.about(&name, "", &self.identity.label());
                    span.end(status.code(), status.message());
                }
                with_opid(respond(status), opid)
            }
        }
    }

    fn caller(&self, shape: &Shape) -> resource::Caller {
        match *self.identity {
            _ if shape.stops => resource::Caller::Stop,
            Identity::Module(_) => resource::Caller::Module,
            Identity::Client { .. } | Identity::Control | Identity::Job(_) => resource::Caller::Client,
        }
    }

    /// What is remembered of a call while it runs.
    fn about(&self, shape: &Shape, destination: &Destination<'_>) -> About {
        About {
            resource: destination.resource.label.clone(),
            module: destination.resource.state().module.clone(),
            caller: self.identity.clone(),
            unary: shape.kind == Some(mainstay_proto::methods::Kind::Unary),
            moves: shape.actuates,
        }
    }

    /// Writes down who answers for what moves now, before it moves; the session, if one does.
    fn answer_for(
        &self,
        shape: &Shape,
        destination: Option<&Destination<'_>>,
        headers: &HeaderMap,
    ) -> Result<Option<Uuid>, Status> {
        if !shape.actuates {
            return Ok(None);
        }
        let sessions = &self.services.robot.sessions;
        if let Identity::Module(module) = &*self.identity {
            if let Some(destination) = destination {
                sessions.moved_by_module(&destination.resource.name, module, self.life)?;
            }
            return Ok(None);
        }
        let session = session_id(headers)?;
        if let Some(id) = session {
            sessions.heartbeat(id, self.identity.entity(), &self.identity.peer())?;
        }
        if let Some(destination) = destination {
            sessions.moved_by_client(&destination.resource.name, session);
        }
        Ok(session)
    }
}

fn terms(
    destination: Destination<'_>,
    shape: &Shape,
    deadline: Deadline,
    mut operation: Running,
    opid: Option<HeaderValue>,
) -> (crate::route::upstream::Upstream, Terms) {
    operation.through(&destination.upstream);
    let state = destination.resource.state();
    let module = state.module.as_ref().map(ModuleName::shared).unwrap_or_default();
    let terms = Terms {
        target: Target {
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

/// What StopAll does to the core's own calls: it must not end another StopAll, nor the sessions of those who move things.
fn own_on_stop_all(path: &str) -> OnStopAll {
    match path.rsplit('/').next() {
        Some("StopAll" | "StartSession" | "SendSessionHeartbeat") => OnStopAll::Spare,
        _ => OnStopAll::Cancel,
    }
}

/// Whether a call of the core's own is worth a record: what carries records and logs, or only keeps things alive, is not.
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

fn session_id(headers: &HeaderMap) -> Result<Option<Uuid>, SessionError> {
    let mut given = headers.get_all(SESSION_ID).iter();
    match (given.next(), given.next()) {
        (None, _) => Ok(None),
        (Some(_), Some(_)) => Err(SessionError::Several),
        (Some(id), None) => id
            .to_str()
            .map_err(|_| SessionError::BadId(id.len()))
            .and_then(parse_id)
            .map(Some),
    }
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
