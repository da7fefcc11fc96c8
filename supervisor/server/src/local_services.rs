//! The core's own gRPC services and pages, made once and served at every socket.

use std::fmt;
use std::sync::Arc;

use http::{Method, Request, Uri};
use mainstay_auth::access::Access;
use mainstay_proto::frames::MAX_MESSAGE_LEN;
use mainstay_proto::grpc::health::v1::health_server::HealthServer;
use mainstay_proto::mainstay::access::v1::access_service_server::AccessServiceServer;
use mainstay_proto::mainstay::control::v1::control_service_server::ControlServiceServer;
use mainstay_proto::mainstay::parts::v1::join_service_server::JoinServiceServer;
use mainstay_proto::mainstay::parts::v1::part_service_server::PartServiceServer;
use mainstay_proto::mainstay::parts::v1::parts_service_server::PartsServiceServer;
use mainstay_proto::mainstay::remote::v1::remote_service_server::RemoteServiceServer;
use mainstay_proto::proto::rpc::v1::auth_service_server::AuthServiceServer;
use mainstay_proto::viam::robot::v1::robot_service_server::RobotServiceServer;
use mainstay_proxy::body::{CallBody, RequestBody};
use mainstay_proxy::identity::Identity;
use mainstay_proxy::local_services::{LocalAnswer, LocalServices, MakeCall, Treatment};
use mainstay_proxy::status::{CallError, respond};
use mainstay_runtime::machine::view::ViewCell;
use tonic::codec::CompressionEncoding;
use tonic::{Code, Status};
use tonic_reflection::pb::{v1, v1alpha};
use tower_service::Service;

use crate::access_service::AccessState;
use crate::auth_service::AuthState;
use crate::control::Control;
use crate::health::HealthState;
use crate::parts::PartState;
use crate::reflection::Reflection;
use crate::remote_service::ResourceLists;
use crate::rest::Rest;
use crate::robot::RobotState;
use crate::web;

const ROBOT: &str = "viam.robot.v1.RobotService";
const CONTROL: &str = "mainstay.control.v1.ControlService";
const ACCESS: &str = "mainstay.access.v1.AccessService";
const REMOTE: &str = "mainstay.remote.v1.RemoteService";
const JOIN: &str = "mainstay.parts.v1.JoinService";
const PARTS: &str = "mainstay.parts.v1.PartsService";
const PART: &str = "mainstay.parts.v1.PartService";
const AUTH: &str = "proto.rpc.v1.AuthService";
const HEALTH: &str = "grpc.health.v1.Health";
const REFLECTION: &str = "grpc.reflection.v1.ServerReflection";
const REFLECTION_ALPHA: &str = "grpc.reflection.v1alpha.ServerReflection";

/// The services of one machine.
pub struct OwnServices {
    published: ViewCell,
    robot: RobotServiceServer<RobotState>,
    health: HealthServer<HealthState>,
    reflection: v1::server_reflection_server::ServerReflectionServer<Reflection>,
    reflection_alpha: v1alpha::server_reflection_server::ServerReflectionServer<Reflection>,
    remote: RemoteServiceServer<ResourceLists>,
    control: ControlServiceServer<Control>,
    rights: AccessServiceServer<AccessState>,
    access: Arc<Access>,
    auth: AuthServiceServer<AuthState>,
    part: PartState,
    rest: Arc<Rest>,
    /// Pages for those who look at the machine with a browser.
    pages: Control,
}

impl OwnServices {
    /// The services of `robot`; `control` answers on the control socket, and owners on the network.
    pub fn new(robot: RobotState, control: Control, access: Arc<Access>, part: PartState) -> Self {
        let published = robot.machine.published.clone();
        let (reflection, rest) = (Reflection::new(published.clone()), Rest::new(published.clone()));
        let lists = ResourceLists::new(robot.machine.clone(), robot.shutdown.clone());
        let health = HealthState::new(published.clone(), robot.shutdown.clone());
        Self {
            published,
            robot: RobotServiceServer::new(robot)
                .max_decoding_message_size(MAX_MESSAGE_LEN)
                .max_encoding_message_size(MAX_MESSAGE_LEN)
                .accept_compressed(CompressionEncoding::Gzip),
            health: HealthServer::new(health),
            reflection: v1::server_reflection_server::ServerReflectionServer::new(reflection.clone()),
            reflection_alpha: v1alpha::server_reflection_server::ServerReflectionServer::new(reflection),
            remote: RemoteServiceServer::new(lists).max_encoding_message_size(MAX_MESSAGE_LEN),
            control: ControlServiceServer::new(control.clone()).max_decoding_message_size(MAX_MESSAGE_LEN),
            rights: AccessServiceServer::new(AccessState::new(access.clone())),
            auth: AuthServiceServer::new(AuthState::new(access.clone())),
            access,
            part,
            rest: Arc::new(rest),
            pages: control,
        }
    }
}

impl fmt::Debug for OwnServices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnServices").finish_non_exhaustive()
    }
}

impl LocalServices for OwnServices {
    fn serves(&self, service: &str, identity: &Identity) -> Option<Treatment> {
        match service {
            // Its one stream is not offered yet, so all its calls are worth listing.
            ROBOT => Some(Treatment::Listed),
            // Without handlers it is not there, as with peers.
            AUTH if self.access.policy().handles_keys() => Some(Treatment::Unlisted),
            HEALTH | REFLECTION | REFLECTION_ALPHA | REMOTE | ACCESS => Some(Treatment::Unlisted),
            JOIN if self.part.is_inviting() => Some(Treatment::Unlisted),
            CONTROL | PARTS | PART if is_proved(identity) => Some(Treatment::Unlisted),
            _ => None,
        }
    }

    fn call(&self, service: &str, request: Request<RequestBody>) -> LocalAnswer {
        match service {
            ROBOT => answer(self.robot.clone(), request),
            HEALTH => answer(self.health.clone(), request),
            REFLECTION => answer(self.reflection.clone(), request),
            REFLECTION_ALPHA => answer(self.reflection_alpha.clone(), request),
            REMOTE => answer(self.remote.clone(), request),
            ACCESS => answer(self.rights.clone(), request),
            AUTH => answer(self.auth.clone(), request),
            CONTROL => answer(self.control.clone(), request),
            JOIN => answer(JoinServiceServer::new(self.part.clone()), request),
            PARTS => answer(PartsServiceServer::new(self.part.clone()), request),
            PART => answer(PartServiceServer::new(self.part.clone()), request),
            _ => Box::pin(async { respond(CallError::Unimplemented) }),
        }
    }

    fn page(&self, identity: &Identity, method: &Method, uri: &Uri) -> Option<LocalAnswer> {
        if !(matches!(identity, Identity::Client(_)) && web::is_asked_for(uri)) {
            return None;
        }
        let on = self.published.load().config.enable_web_profile;
        let local = matches!(identity, Identity::Client(client) if client.is_local());
        let (method, uri, control) = (method.clone(), uri.clone(), self.pages.clone());
        Some(Box::pin(async move {
            web::answer(&method, &uri, &control, local, on).await
        }))
    }

    fn rest(&self, request: Request<RequestBody>, call: Result<MakeCall, CallError>) -> LocalAnswer {
        let rest = self.rest.clone();
        Box::pin(async move { rest.answer(request, call).await })
    }
}

/// True for callers whose identity is certain: on the control socket, which its user alone can open, and on the network those who
/// have proved who they are, of whom the gate lets owners pass.
///
/// A machine that asks nobody has what they are served on its socket alone, on loopback too: every user of the host, and every
/// module, reaches a port there.
pub(super) fn is_proved(identity: &Identity) -> bool {
    match identity {
        Identity::Control => true,
        Identity::Client(client) => client.entity.is_some(),
        Identity::Module(_) | Identity::Job(_) => false,
    }
}

fn answer<S>(mut service: S, request: Request<RequestBody>) -> LocalAnswer
where
    S: Service<Request<RequestBody>, Response = http::Response<tonic::body::Body>, Error = std::convert::Infallible>,
    S::Future: Send + 'static,
{
    let answer = service.call(request);
    Box::pin(async move {
        match answer.await {
            Ok(response) => oversized(&response).map_or_else(|| response.map(CallBody::from), respond),
            Err(never) => match never {},
        }
    })
}

/// The error of a request that is longer than its service takes, where tonic says OUT_OF_RANGE.
fn oversized(response: &http::Response<tonic::body::Body>) -> Option<Status> {
    let status = Status::from_header_map(response.headers()).filter(|status| status.code() == Code::OutOfRange)?;
    let (_, lengths) = status
        .message()
        .split_once("decoded message length too large: found ")?;
    let (found, limit) = lengths.split_once(" bytes, the limit is: ")?;
    let limit = limit.strip_suffix(" bytes")?;
    let text = format!("grpc: received message larger than max ({found} vs. {limit})");
    Some(Status::resource_exhausted(text))
}
