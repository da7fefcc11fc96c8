//! The methods of RobotService, each a few lines onto the room that does the work.

use std::pin::Pin;
use std::sync::Arc;

use futures_core::Stream;
use mainstay_model::event::NoteKind;
use mainstay_proto::ResourceName;
use mainstay_proto::viam::robot::v1 as pb;
use mainstay_proto::viam::robot::v1::restart_module_request::IdOrName;
use mainstay_proto::viam::robot::v1::robot_service_server::RobotService;
use mainstay_proxy::identity::{Caller, Identity};
use mainstay_proxy::sessions::parse_id;
use mainstay_proxy::status::CallError;
use mainstay_runtime::machine::RestartError;
use tonic::{Request, Response, Status};
use tracing::info;

use super::tunnel::TunnelStream;
use super::{RobotState, logs, status, tunnel};

/// The API version whose messages we speak; see the wire tables.
const API_VERSION: &str = "v0.1.601";

type Answer<T> = Result<Response<T>, Status>;
type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The answer of a method that this version of Mainstay does not offer.
fn not_offered<T>(method: &str) -> Answer<T> {
    Err(Status::unimplemented(format!("method {method} not implemented")))
}

fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    // Every door puts it there; a call without one must not pass as somebody.
    request
        .extensions()
        .get::<Caller>()
        .cloned()
        .ok_or_else(|| Status::internal("the call came through no door"))
}

/// The answer to a restart that failed.
pub(crate) fn restart_status(error: RestartError) -> Status {
    match &error {
        RestartError::NotFound { .. } => Status::not_found(error.to_string()),
        RestartError::Failed { .. } => Status::unknown(error.to_string()),
        RestartError::ShuttingDown => Status::unavailable(error.to_string()),
    }
}

#[tonic::async_trait]
impl RobotService for RobotState {
    type StreamStatusStream = Messages<pb::StreamStatusResponse>;
    type TunnelStream = TunnelStream;

    async fn resource_names(&self, _: Request<pb::ResourceNamesRequest>) -> Answer<pb::ResourceNamesResponse> {
        let resources = status::resource_names(&self.machine.published.load());
        Ok(Response::new(pb::ResourceNamesResponse { resources }))
    }

    async fn resource_rpc_subtypes(
        &self,
        _: Request<pb::ResourceRpcSubtypesRequest>,
    ) -> Answer<pb::ResourceRpcSubtypesResponse> {
        let resource_rpc_subtypes = status::rpc_subtypes(&self.machine.published.load());
        Ok(Response::new(pb::ResourceRpcSubtypesResponse { resource_rpc_subtypes }))
    }

    async fn get_models_from_modules(
        &self,
        _: Request<pb::GetModelsFromModulesRequest>,
    ) -> Answer<pb::GetModelsFromModulesResponse> {
        let models = status::models(&self.machine.published.load());
        Ok(Response::new(pb::GetModelsFromModulesResponse { models }))
    }

    async fn get_machine_status(
        &self,
        _: Request<pb::GetMachineStatusRequest>,
    ) -> Answer<pb::GetMachineStatusResponse> {
        Ok(Response::new(status::machine_status(
            &self.machine.published.load(),
            self.jobs.runs(),
        )))
    }

    async fn get_version(&self, _: Request<pb::GetVersionRequest>) -> Answer<pb::GetVersionResponse> {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Ok(Response::new(pb::GetVersionResponse {
            platform: "mainstay".into(),
            version,
            api_version: API_VERSION.into(),
        }))
    }

    async fn get_cloud_metadata(
        &self,
        _: Request<pb::GetCloudMetadataRequest>,
    ) -> Answer<pb::GetCloudMetadataResponse> {
        let metadata = status::cloud_metadata(&self.machine.published.load());
        metadata
            .map(Response::new)
            .ok_or_else(|| Status::failed_precondition("cloud metadata not available"))
    }

    async fn get_operations(&self, request: Request<pb::GetOperationsRequest>) -> Answer<pb::GetOperationsResponse> {
        let own = caller(&request)?.operation;
        let operations = self
            .operations
            .list(own)
            .into_iter()
            .map(|(id, operation)| pb::Operation {
                id: id.to_string(),
                method: operation.method,
                arguments: Some(prost_types::Struct::default()),
                started: Some(status::timestamp(operation.started)),
                session_id: operation.session.map(|session| session.to_string()),
            });
        Ok(Response::new(pb::GetOperationsResponse {
            operations: operations.collect(),
        }))
    }

    async fn cancel_operation(
        &self,
        request: Request<pb::CancelOperationRequest>,
    ) -> Answer<pb::CancelOperationResponse> {
        // An id that runs nowhere, or is none, names an operation that is over.
        if let Ok(id) = parse_id(&request.get_ref().id) {
            self.operations.cancel(id);
        }
        Ok(Response::new(pb::CancelOperationResponse {}))
    }

    async fn block_for_operation(
        &self,
        request: Request<pb::BlockForOperationRequest>,
    ) -> Answer<pb::BlockForOperationResponse> {
        let own = caller(&request)?.operation;
        if let Ok(id) = parse_id(&request.get_ref().id)
            && Some(id) != own
        {
            self.operations.ended(id).await;
        }
        Ok(Response::new(pb::BlockForOperationResponse {}))
    }

    async fn get_sessions(&self, _: Request<pb::GetSessionsRequest>) -> Answer<pb::GetSessionsResponse> {
        let sessions = self
            .sessions
            .table()
            .list()
            .into_iter()
            .map(|(id, session)| pb::Session {
                id: id.to_string(),
                peer_connection_info: Some(pb::PeerConnectionInfo {
                    r#type: pb::PeerConnectionType::Grpc.into(),
                    remote_address: Some(session.peer).filter(|peer| !peer.is_empty()),
                    local_address: None,
                }),
            });
        Ok(Response::new(pb::GetSessionsResponse {
            sessions: sessions.collect(),
        }))
    }

    async fn start_session(&self, request: Request<pb::StartSessionRequest>) -> Answer<pb::StartSessionResponse> {
        let caller = caller(&request)?;
        let resume = request.into_inner().resume;
        let resume = if resume.is_empty() {
            None
        } else {
            Some(parse_id(&resume).map_err(CallError::from)?)
        };
        let id = self
            .sessions
            .start(resume, caller.identity.entity(), &caller.identity.peer())
            .map_err(CallError::from)?;
        let window = prost_types::Duration::try_from(self.sessions.table().window)
            .map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(pb::StartSessionResponse {
            id: id.to_string(),
            heartbeat_window: Some(window),
        }))
    }

    async fn send_session_heartbeat(
        &self,
        request: Request<pb::SendSessionHeartbeatRequest>,
    ) -> Answer<pb::SendSessionHeartbeatResponse> {
        let caller = caller(&request)?;
        parse_id(&request.get_ref().id)
            .and_then(|id| {
                self.sessions
                    .heartbeat(id, caller.identity.entity(), &caller.identity.peer())
            })
            .map_err(CallError::from)?;
        Ok(Response::new(pb::SendSessionHeartbeatResponse {}))
    }

    async fn stop_all(&self, request: Request<pb::StopAllRequest>) -> Answer<pb::StopAllResponse> {
        let caller = caller(&request)?;
        let extra = request.into_inner().extra.into_iter().filter_map(|extra| {
            let name = ResourceName::try_from(extra.name?).ok()?;
            Some((name, extra.params.unwrap_or_default()))
        });
        // Some SDKs send StopAll whenever a module ends: that must not stop what others move.
        let only = caller
            .identity
            .module()
            .map(|module| self.sessions.table().moved_by(module));
        if only.is_none() {
            self.operations.cancel_all(caller.operation);
        }
        let resources: Vec<Arc<str>> = only.iter().flatten().map(|name| name.to_string().into()).collect();
        if only.is_none() || !resources.is_empty() {
            let what = if only.is_none() { "everything" } else { "what it moved" };
            let text = format!("StopAll asked for by {}: stopped {what}", caller.identity.label());
            let module = caller.identity.module().cloned();
            self.machine
                .published
                .changes
                .note(NoteKind::Stop, text, resources, module);
        }
        self.stop_all(only, extra.collect()).await?;
        Ok(Response::new(pb::StopAllResponse {}))
    }

    async fn restart_module(&self, request: Request<pb::RestartModuleRequest>) -> Answer<pb::RestartModuleResponse> {
        let by = caller(&request)?.identity.clone();
        let (id, name) = match request.into_inner().id_or_name {
            Some(IdOrName::ModuleId(id)) => (id, String::new()),
            Some(IdOrName::ModuleName(name)) => (String::new(), name),
            None => (String::new(), String::new()),
        };
        self.machine.restart(&by, &id, &name).await.map_err(restart_status)?;
        Ok(Response::new(pb::RestartModuleResponse {}))
    }

    async fn shutdown(&self, request: Request<pb::ShutdownRequest>) -> Answer<pb::ShutdownResponse> {
        if let Identity::Module(module) = &*caller(&request)?.identity {
            return Err(Status::permission_denied(format!(
                "module {module} may not shut the machine down"
            )));
        }
        info!("shutdown asked for by a client");
        self.shutdown.cancel();
        Ok(Response::new(pb::ShutdownResponse {}))
    }

    async fn log(&self, request: Request<pb::LogRequest>) -> Answer<pb::LogResponse> {
        let caller = caller(&request)?;
        let module = caller.identity.module();
        let view = self.machine.published.load();
        let output = module.and_then(|module| view.module(module.as_str()));
        for entry in &request.get_ref().logs {
            logs::write(module, entry, output.map(|entry| &entry.output));
        }
        Ok(Response::new(pb::LogResponse {}))
    }

    async fn get_status(&self, _: Request<pb::GetStatusRequest>) -> Answer<pb::GetStatusResponse> {
        not_offered("GetStatus")
    }

    async fn stream_status(&self, _: Request<pb::StreamStatusRequest>) -> Answer<Self::StreamStatusStream> {
        not_offered("StreamStatus")
    }

    async fn tunnel(&self, request: Request<tonic::Streaming<pb::TunnelRequest>>) -> Answer<Self::TunnelStream> {
        let config = self.machine.published.load().config.clone();
        let stream = tunnel::open(request.into_inner(), &config.network.tunnels).await?;
        Ok(Response::new(stream))
    }

    async fn list_tunnels(&self, _: Request<pb::ListTunnelsRequest>) -> Answer<pb::ListTunnelsResponse> {
        let tunnels = tunnel::list(&self.machine.published.load().config.network.tunnels);
        Ok(Response::new(pb::ListTunnelsResponse { tunnels }))
    }

    async fn frame_system_config(
        &self,
        _: Request<pb::FrameSystemConfigRequest>,
    ) -> Answer<pb::FrameSystemConfigResponse> {
        not_offered("FrameSystemConfig")
    }

    async fn get_pose(&self, _: Request<pb::GetPoseRequest>) -> Answer<pb::GetPoseResponse> {
        not_offered("GetPose")
    }

    async fn transform_pose(&self, _: Request<pb::TransformPoseRequest>) -> Answer<pb::TransformPoseResponse> {
        not_offered("TransformPose")
    }

    async fn transform_pcd(&self, _: Request<pb::TransformPcdRequest>) -> Answer<pb::TransformPcdResponse> {
        not_offered("TransformPCD")
    }

    async fn send_traces(&self, request: Request<pb::SendTracesRequest>) -> Answer<pb::SendTracesResponse> {
        self.traces.send(request.into_inner().resource_spans);
        Ok(Response::new(pb::SendTracesResponse {}))
    }

    async fn upload_data_from_path(
        &self,
        _: Request<pb::UploadDataFromPathRequest>,
    ) -> Answer<pb::UploadDataFromPathResponse> {
        not_offered("UploadDataFromPath")
    }
}
