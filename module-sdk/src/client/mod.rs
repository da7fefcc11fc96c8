//! gRPC client of a machine and of every resource of it: for modules, through their parent, and for programs that drive a
//! machine.
//!
//! * `connect`: how a program connects; `transport`: the connection itself
//! * `connection`: one that comes back, which `reconnect` sees to; `managed`: what calls carry; `session`, `replay`
//! * `status`, `watch`: what a machine says of itself

mod connect;
mod connection;
mod managed;
mod reconnect;
mod replay;
mod session;
pub(crate) mod status;
mod transport;
pub(crate) mod watch;

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue, uri::PathAndQuery};
use mainstay_proto::{
    ResourceName, methods,
    viam::{
        common::v1::{DoCommandRequest, DoCommandResponse},
        robot::v1::{
            CancelOperationRequest, GetMachineStatusRequest, GetOperationsRequest, ResourceNamesRequest,
            ResourceRpcSubtypesRequest, StopAllRequest, robot_service_client::RobotServiceClient,
        },
    },
};
use tonic::{Status, client::Grpc, metadata::MetadataMap};
use tonic_prost::ProstCodec;

pub use self::transport::origin;
pub use self::{
    connect::Connect,
    connection::{Connection, ResponseBody},
};
use self::{
    status::{MachineStatus, Operation},
    watch::{ConnectionState, Watch},
};
use crate::{
    Error, MAX_MESSAGE_BYTES, Object, ResourceApi, Result,
    address::Address,
    call::Call,
    reflect,
    value::wire::{from_struct, to_struct},
};

/// Value of the header `viam_client`: language, version of the SDK, version of the API.
const CLIENT: HeaderValue = HeaderValue::from_static(concat!("rust;v", env!("CARGO_PKG_VERSION"), ";v0.1.601"));
/// Interval at which [`Robot::watch`] asks.
const WATCH: Duration = Duration::from_secs(1);

/// Channel to one resource of the machine, on which a typed client of an API is built.
#[derive(Clone)]
pub struct ResourceChannel {
    connection: Connection,
    name: Arc<str>,
}

impl ResourceChannel {
    #[cfg(test)]
    pub(crate) fn new(robot: &Robot, name: &str) -> Self {
        Self {
            connection: robot.connection.clone(),
            name: name.into(),
        }
    }

    /// Returns the name of the resource, for the `name` field of requests.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the connection, for a client that `tonic` generated.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Wraps a message into a request that forwards the deadline, the operation and the metadata of the running
    /// [`Call`].
    #[must_use]
    pub fn request<T>(&self, message: T) -> tonic::Request<T> {
        let call = Call::current();
        let forwarded = call.forwarded();
        let mut headers = HeaderMap::with_capacity(forwarded.len() + 2);
        headers.insert("viam_client", CLIENT);
        headers.extend(forwarded.iter().cloned());
        let mut request = tonic::Request::new(message);
        *request.metadata_mut() = MetadataMap::from_headers(headers);
        if let Some(deadline) = call.deadline() {
            request.set_timeout(deadline.saturating_duration_since(Instant::now()));
        }
        request
    }

    /// Awaits a response, at most until the deadline of the running [`Call`], and returns its message.
    ///
    /// # Errors
    /// DEADLINE_EXCEEDED after the deadline; otherwise the status that the resource or the core returned.
    pub async fn response<T>(&self, rpc: impl Future<Output = Result<tonic::Response<T>, Status>>) -> Result<T> {
        let response = match Call::current().deadline() {
            None => rpc.await,
            Some(deadline) => tokio::time::timeout_at(deadline.into(), rpc).await.map_err(|_| {
                Error::deadline_exceeded(format_args!(
                    "`{}` did not answer before the caller's deadline",
                    self.name
                ))
            })?,
        };
        Ok(response?.into_inner())
    }
}

/// Client of a machine, for its resources and for programs that drive it. Clones share the connection.
#[derive(Clone)]
pub struct Robot {
    connection: Connection,
}

impl Robot {
    /// Prepares a connection to a machine, which `.await` makes: `Robot::connect("10.0.0.7:8080").await?`. `address` is
    /// `host:port`, `host`, or the path of a UNIX socket.
    ///
    /// The connection comes back by itself, for this client and all that it handed out; see [`Connect`].
    pub fn connect(address: &str) -> Connect {
        Connect::new(address)
    }

    pub(crate) async fn open(address: Address) -> Result<Self> {
        let connection = Connection::open(address).await?;
        Ok(Self { connection })
    }

    /// Creates a client for the resource of API `A` with this name, simple (`left`) or full (`rdk:component:motor/left`).
    /// Whether the resource exists shows in the first call. The client stays valid when the resource or the connection is
    /// lost and comes back.
    ///
    /// # Errors
    /// UNIMPLEMENTED if the API has no client; INVALID_ARGUMENT for the full name of a resource of another API.
    pub fn resource<A: ResourceApi + ?Sized>(&self, name: &str) -> Result<Arc<A>> {
        let simple = match name.split_once('/') {
            None => name,
            Some((api, simple)) if api == A::API => simple,
            Some(_) => {
                let text = format_args!("`{name}` is no resource of the API {}", A::API);
                return Err(Error::invalid_argument(text));
            }
        };
        if let Some(managed) = &self.connection.link().managed
            && methods::service(A::SERVICE).is_none()
            && !managed.knows(A::SERVICE)
            && let Some(service) = reflect::routing(A::SERVICE, A::DESCRIPTORS)
        {
            managed.learn(service);
        }
        A::client(ResourceChannel {
            connection: self.connection.clone(),
            name: simple.into(),
        })
    }

    /// Runs a custom command of the resource with this name, simple or full, whatever its API. For a resource of an API
    /// that this program knows, [`Resource::do_command`](crate::Resource::do_command) of its client is shorter.
    ///
    /// # Errors
    /// NOT_FOUND if the machine lists no such resource, FAILED_PRECONDITION if a simple name stands for several; otherwise
    /// the status that the resource returned.
    pub async fn do_command(&self, name: &str, command: Object) -> Result<Object> {
        let name = self.full_name(name).await?;
        let service = match methods::service_of_api(&name.api) {
            Some(service) => service.name.to_owned(),
            None => self.custom_service(&name).await?,
        };
        let path = PathAndQuery::try_from(format!("/{service}/DoCommand"))?;
        let channel = ResourceChannel {
            connection: self.connection.clone(),
            name: name.name.into(),
        };
        let request = channel.request(DoCommandRequest {
            name: channel.name().to_owned(),
            command: Some(to_struct(command)),
        });
        let mut grpc = Grpc::with_origin(self.connection.clone(), origin());
        let codec = ProstCodec::<DoCommandRequest, DoCommandResponse>::default();
        let answer = channel.response(async move { grpc.unary(request, path, codec).await });
        Ok(from_struct(answer.await?.result))
    }

    async fn full_name(&self, name: &str) -> Result<ResourceName> {
        if name.contains('/') {
            return name.parse().map_err(Error::invalid_argument);
        }
        let mut named = self.resource_names().await?;
        named.retain(|listed| listed.name == name);
        match named.len() {
            1 => Ok(named.swap_remove(0)),
            0 => Err(Error::not_found(format_args!("the machine lists no resource `{name}`"))),
            _ => {
                let full: Vec<_> = named.iter().map(ToString::to_string).collect();
                let text = format_args!("`{name}` is the name of several resources: {}", full.join(", "));
                Err(Error::failed_precondition(text))
            }
        }
    }

    async fn custom_service(&self, name: &ResourceName) -> Result<String> {
        let answer = self
            .service()
            .resource_rpc_subtypes(ResourceRpcSubtypesRequest {})
            .await?;
        let mut rows = answer.into_inner().resource_rpc_subtypes.into_iter();
        let row = rows.find(|row| {
            let listed = row.subtype.as_ref();
            listed.is_some_and(|listed| {
                format!("{}:{}:{}", listed.namespace, listed.r#type, listed.subtype) == name.api.as_str()
            })
        });
        row.map(|row| row.proto_service)
            .ok_or_else(|| Error::not_found(format_args!("the machine knows no service of the API {}", name.api)))
    }

    /// Fetches the names of all resources that are ready.
    ///
    /// # Errors
    /// UNAVAILABLE if the connection is lost; otherwise the status that the core returned.
    pub async fn resource_names(&self) -> Result<Vec<ResourceName>> {
        let answer = self.service().resource_names(ResourceNamesRequest {}).await?;
        let names = answer.into_inner().resources.into_iter();
        Ok(names.filter_map(|name| name.try_into().ok()).collect())
    }

    /// Fetches the state of the machine, its resources and its modules.
    ///
    /// # Errors
    /// As [`resource_names`](Self::resource_names).
    pub async fn machine_status(&self) -> Result<MachineStatus> {
        let answer = self.service().get_machine_status(GetMachineStatusRequest {}).await?;
        Ok(answer.into_inner().into())
    }

    /// Follows the state of the machine and of the connection, asking once a second.
    #[must_use]
    pub fn watch(&self) -> Watch {
        self.watch_every(WATCH)
    }

    /// Follows the state of the machine and of the connection, asking at this interval.
    #[must_use]
    pub fn watch_every(&self, interval: Duration) -> Watch {
        Watch::start(&self.connection, interval)
    }

    /// Returns whether the connection is up, and otherwise since when and why it is not.
    #[must_use]
    pub fn connection_state(&self) -> ConnectionState {
        ConnectionState::of(&self.connection.link().state.borrow())
    }

    /// Stops everything on the machine that moves.
    ///
    /// # Errors
    /// What could not be stopped; the rest was.
    pub async fn stop_all(&self) -> Result<()> {
        self.service().stop_all(StopAllRequest::default()).await?;
        Ok(())
    }

    /// Fetches the operations that run on the machine, calls of other clients included.
    ///
    /// # Errors
    /// As [`resource_names`](Self::resource_names).
    pub async fn operations(&self) -> Result<Vec<Operation>> {
        let answer = self.service().get_operations(GetOperationsRequest {}).await?;
        Ok(answer.into_inner().operations.into_iter().map(Into::into).collect())
    }

    /// Cancels an operation by its id. One that is over already is no error.
    ///
    /// # Errors
    /// As [`resource_names`](Self::resource_names).
    pub async fn cancel_operation(&self, id: &str) -> Result<()> {
        self.service()
            .cancel_operation(CancelOperationRequest { id: id.to_owned() })
            .await?;
        Ok(())
    }

    /// Closes the connection, for all clients that were handed out, and waits for the end of its tasks. The machine stops what
    /// was moved, within its `heartbeat_window`. Dropping the robot and all its clients does the same without waiting.
    pub async fn close(self) {
        self.connection.close().await;
    }

    /// Checks that the core responds within this time.
    pub(crate) async fn check_alive(&self, limit: Duration) -> Result<()> {
        let mut service = self.service();
        let late = |_| {
            Error::deadline_exceeded(format_args!(
                "{} did not answer in {limit:?}",
                self.connection.address()
            ))
        };
        tokio::time::timeout(limit, service.resource_names(ResourceNamesRequest {}))
            .await
            .map_err(late)??;
        Ok(())
    }

    /// Returns the connection to the core, for clients of other services that `tonic` generated.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(crate) fn service(&self) -> RobotServiceClient<Connection> {
        RobotServiceClient::with_origin(self.connection.clone(), origin())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }
}
