//! gRPC client of the core and, through it, of every resource of the machine.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, LazyLock, Mutex, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue, Uri};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use mainstay_proto::{
    ResourceName,
    viam::robot::v1::{ResourceNamesRequest, robot_service_client::RobotServiceClient},
};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use tonic::{Status, body::Body, metadata::MetadataMap};

use crate::{
    CONNECTION_WINDOW, Error, MAX_FRAME, MAX_MESSAGE_BYTES, ResourceApi, Result, SEND_BUFFER, STREAM_WINDOW,
    address::Address, call::Call,
};

/// Value of the header `viam_client`: language, version of the SDK, version of the API.
const CLIENT: HeaderValue = HeaderValue::from_static(concat!("rust;v", env!("CARGO_PKG_VERSION"), ";v0.1.601"));

/// Origin URI of requests. The address of the connection does not depend on it.
pub(crate) fn origin() -> Uri {
    static ORIGIN: LazyLock<Uri> = LazyLock::new(|| Uri::from_static("http://localhost"));
    ORIGIN.clone()
}

/// HTTP/2 connection to a gRPC server, for clients that `tonic` generates. Clones share the connection.
#[derive(Clone)]
pub struct Connection(Arc<SharedConnection>);

/// State shared by the clones of a [`Connection`].
struct SharedConnection {
    address: Address,
    sender: Mutex<SendRequest<Body>>,
    /// Number of times that the connection has ended.
    ends: watch::Sender<u64>,
    tasks: TaskTracker,
}

impl Connection {
    pub(crate) async fn open(address: Address) -> Result<Self> {
        let (sender, driver) = dial(&address).await?;
        let connection = Self(Arc::new(SharedConnection {
            address,
            sender: Mutex::new(sender),
            ends: watch::Sender::new(0),
            tasks: TaskTracker::new(),
        }));
        connection.drive(driver);
        Ok(connection)
    }

    /// Connects again, for all clones.
    pub(crate) async fn reopen(&self) -> Result<()> {
        let (sender, driver) = dial(&self.0.address).await?;
        *self.sender() = sender;
        self.drive(driver);
        Ok(())
    }

    /// Waits for the end of the connection.
    pub(crate) async fn closed(&self) {
        let mut ends = self.0.ends.subscribe();
        if !self.is_closed() {
            // The sender lives as long as `self`.
            let _ = ends.changed().await;
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.sender().is_closed()
    }

    pub(crate) fn address(&self) -> &Address {
        &self.0.address
    }

    fn sender(&self) -> std::sync::MutexGuard<'_, SendRequest<Body>> {
        self.0.sender.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn drive(&self, driver: impl Future<Output = ()> + Send + 'static) {
        let ends = self.0.ends.clone();
        drop(self.0.tasks.spawn(async move {
            driver.await;
            ends.send_modify(|count| *count += 1);
        }));
    }
}

async fn dial(address: &Address) -> Result<(SendRequest<Body>, impl Future<Output = ()> + Send + 'static)> {
    let failed =
        |error: &dyn std::fmt::Display| Error::unavailable(format_args!("cannot connect to {address}: {error}"));
    let stream = address.dial().await.map_err(|error| failed(&error))?;
    let (sender, driver) = Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(MAX_FRAME)
        .max_send_buf_size(SEND_BUFFER)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed(&error))?;
    // Whoever has a call running hears of the end by that call.
    Ok((sender, async move { drop(driver.await) }))
}

impl tower_service::Service<http::Request<Body>> for Connection {
    type Response = http::Response<hyper::body::Incoming>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(())) // Readiness is that of the connection of the moment, so each call waits for itself.
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let mut sender = self.sender().clone();
        let shared = self.0.clone();
        Box::pin(async move {
            let lost = |error: hyper::Error| {
                let source = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
                Status::unavailable(format!("the connection to {} is lost: {source}", shared.address))
            };
            poll_fn(|context| sender.poll_ready(context)).await.map_err(lost)?;
            sender.send_request(request).await.map_err(lost)
        })
    }
}

/// Channel to one resource of the machine, on which a typed client of an API is built.
#[derive(Clone)]
pub struct ResourceChannel {
    connection: Connection,
    name: Arc<str>,
}

impl ResourceChannel {
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

/// Client of a machine, for its resources and for programs that drive it.
#[derive(Clone)]
pub struct Robot {
    connection: Connection,
}

impl Robot {
    /// Connects to a machine without TLS. `address` is `host:port`, or the path of a UNIX socket.
    ///
    /// # Errors
    /// UNAVAILABLE if the connection fails.
    pub async fn connect(address: &str) -> Result<Self> {
        Self::open(Address::parse(address)).await
    }

    pub(crate) async fn open(address: Address) -> Result<Self> {
        let connection = Connection::open(address).await?;
        Ok(Self { connection })
    }

    /// Creates a client for the resource of API `A` with this simple name. Whether the resource exists shows in the first
    /// call.
    ///
    /// # Errors
    /// UNIMPLEMENTED if the API has no client.
    pub fn resource<A: ResourceApi + ?Sized>(&self, name: &str) -> Result<Arc<A>> {
        A::client(ResourceChannel {
            connection: self.connection.clone(),
            name: name.into(),
        })
    }

    /// Fetches the names of all resources that are ready.
    ///
    /// # Errors
    /// UNAVAILABLE if the connection is lost; otherwise the status that the core returned.
    pub async fn resource_names(&self) -> Result<Vec<ResourceName>> {
        let answer = self
            .service()
            .resource_names(ResourceNamesRequest {})
            .await?
            .into_inner();
        Ok(answer
            .resources
            .into_iter()
            .filter_map(|name| name.try_into().ok())
            .collect())
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
