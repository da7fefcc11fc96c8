//! HTTP/2 connection of the command line to a machine, for the clients that tonic generates.

use std::error::Error as _;
use std::future::{Future, poll_fn};
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::Reason;
use http::header::AUTHORIZATION;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, Uri};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::rt::{Read, Write};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyperlocal::UnixConnector;
use mainstay_dial::{Credentials, DialError, Encryption, Fallback, TlsSettings, dial, dial_found, lookup_either};
use mainstay_proto::mainstay::access::v1::access_service_client::AccessServiceClient;
use mainstay_proto::mainstay::access::v1::{WhoAmIRequest, WhoAmIResponse};
use mainstay_proto::mainstay::control::v1::control_service_client::ControlServiceClient;
use mainstay_proto::viam::robot::v1::robot_service_client::RobotServiceClient;
use tokio::net::UnixStream;
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tonic::{Code, Status};
use tower_service::Service;

use crate::failure::CliError;

/// Flow-control window of a stream, in bytes: a camera's image arrives without a pause.
const WINDOW: u32 = 16 << 20;

/// Connection to a machine. Clones share it; it ends with the last of them and their responses.
#[derive(Clone)]
pub struct MachineConnection {
    sender: SendRequest<Body>,
    authority: Authority,
    scheme: Scheme,
    /// Shown with every call.
    authorization: Option<HeaderValue>,
}

/// API key of a machine on the network.
#[derive(Clone, Debug)]
pub struct ApiKey(Credentials);

/// Environment variable with the API key of a machine on the network.
const KEY_VARIABLE: &str = "MAINSTAY_API_KEY";

impl ApiKey {
    /// The key `secret` of this id; `None` if one of them is empty.
    pub fn new(id: &str, secret: &str) -> Option<Self> {
        (!id.is_empty() && !secret.is_empty()).then(|| Self(Credentials::api_key(id, secret)))
    }

    /// The key that the environment holds, if it holds one.
    ///
    /// # Errors
    /// What it holds is none (exit 2). Quotes nothing of it.
    pub fn from_environment() -> Result<Option<Self>, CliError> {
        let text = std::env::var_os(KEY_VARIABLE).filter(|text| !text.is_empty());
        let read = text.map(|text| text.to_str().unwrap_or_default().parse());
        read.transpose()
            .map_err(|problem| CliError::usage(format!("the variable {KEY_VARIABLE}: {problem}")))
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.0.entity
    }

    /// The key itself, for those who show or store it.
    pub fn secret(&self) -> &str {
        &self.0.payload
    }
}

impl FromStr for ApiKey {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once(':');
        let key = parts.and_then(|(id, secret)| Self::new(id, secret));
        key.ok_or("an API key is written ID:KEY")
    }
}

/// Machine on the network, and how it is reached.
#[derive(Clone, Debug, Default)]
pub struct NetworkMachine {
    /// Address, `host:port`, or its name on the local network.
    pub address: String,
    /// Key to show.
    pub key: Option<ApiKey>,
    /// Certificate of the authority that alone is trusted, in PEM. `None`: those of the system.
    pub ca: Option<String>,
    /// True to speak in cleartext.
    pub insecure: bool,
}

/// Failure to connect to a machine on the network.
#[derive(Debug)]
pub enum DialFailure {
    /// Nobody answers there as is asked.
    Unreachable(String),
    /// It shows a certificate of an authority that nobody trusts here.
    Untrusted(String),
    /// The machine does not take the key.
    Refused(Status),
}

impl From<DialError> for DialFailure {
    fn from(error: DialError) -> Self {
        match error {
            // A certificate for another name, or of another time, gets no better by trust.
            DialError::Untrusted(ref cause) if cause == "UnknownIssuer" => Self::Untrusted(error.to_string()),
            _ => Self::Unreachable(error.to_string()),
        }
    }
}

impl From<io::Error> for DialFailure {
    fn from(error: io::Error) -> Self {
        Self::Unreachable(error.to_string())
    }
}

impl From<Status> for DialFailure {
    fn from(status: Status) -> Self {
        Self::Refused(status)
    }
}

impl MachineConnection {
    /// Connects to a machine's control socket.
    pub async fn unix(socket: &Path) -> io::Result<Self> {
        let stream = UnixConnector.call(hyperlocal::Uri::new(socket, "/").into()).await?;
        Self::handshake(stream, Authority::from_static("localhost")).await
    }

    /// Connects to a machine on the network, by its address or its name there: by TLS if it speaks that, unless cleartext is asked for, which a key needs to be shown
    /// without.
    ///
    /// # Errors
    /// Nobody answers there, or it does not take the key.
    pub async fn network(machine: &NetworkMachine) -> Result<Self, DialFailure> {
        let encryption = match machine.insecure {
            true => Encryption::Off,
            false => Encryption::On,
        };
        let tls = TlsSettings::new(machine.ca.as_deref().map(str::as_bytes), None)?;
        let fallback = match machine.key {
            Some(_) => Fallback::Never,
            None => Fallback::Anywhere,
        };
        let found = lookup_either(&machine.address).await?;
        let (stream, encryption) = dial_found(&found, encryption, fallback, &tls).await?;
        let address = Authority::try_from(machine.address.as_str()).map_err(io::Error::other)?;
        let mut connection = Self::handshake(TokioIo::new(stream), address).await?;
        if encryption == Encryption::On {
            connection.scheme = Scheme::HTTPS;
        }
        if let Some(ApiKey(credentials)) = &machine.key {
            connection.authorization = Some(credentials.exchange(connection.clone()).await?);
        }
        Ok(connection)
    }

    /// Connects to a network address without any proof of who is there, for an exchange that proves it itself.
    ///
    /// # Errors
    /// Nobody answers there.
    pub async fn unproved(address: &str) -> Result<Self, DialFailure> {
        let tls = TlsSettings::trusting_anybody();
        let (stream, encryption) = dial(address, Encryption::On, Fallback::Anywhere, &tls).await?;
        let authority = Authority::try_from(address).map_err(io::Error::other)?;
        let mut connection = Self::handshake(TokioIo::new(stream), authority).await?;
        if encryption == Encryption::On {
            connection.scheme = Scheme::HTTPS;
        }
        Ok(connection)
    }

    /// Asks the machine who we are to it, and what we may do.
    ///
    /// # Errors
    /// The machine's status: UNIMPLEMENTED where it is none of ours, UNAUTHENTICATED where it wants a key.
    pub async fn who_am_i(&self) -> Result<WhoAmIResponse, Status> {
        let answer = AccessServiceClient::new(self.clone())
            .who_am_i(WhoAmIRequest {})
            .await?;
        Ok(answer.into_inner())
    }

    /// Speaks over a socket whose other end is there already.
    pub async fn connected(socket: std::os::unix::net::UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let stream = TokioIo::new(UnixStream::from_std(socket)?);
        Self::handshake(stream, Authority::from_static("localhost")).await
    }

    async fn handshake<I>(io: I, authority: Authority) -> io::Result<Self>
    where
        I: Read + Write + Send + Unpin + 'static,
    {
        let (sender, connection) = Builder::new(TokioExecutor::new())
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .handshake(io)
            .await
            .map_err(io::Error::other)?;
        // It ends with the last clone and response. The reason of an earlier end reaches the calls that it ends.
        drop(TaskTracker::new().spawn(async move { drop(connection.await) }));
        Ok(Self {
            sender,
            authority,
            scheme: Scheme::HTTP,
            authorization: None,
        })
    }

    /// Client of the machine's control service, for answers of any size.
    pub fn control(&self) -> ControlServiceClient<Self> {
        ControlServiceClient::new(self.clone()).max_decoding_message_size(usize::MAX)
    }

    /// Client of the machine's robot service, for answers of any size.
    pub fn robot(&self) -> RobotServiceClient<Self> {
        RobotServiceClient::new(self.clone()).max_decoding_message_size(usize::MAX)
    }

    /// Returns true once the machine has ended the connection.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Completes the URI of a request, which has a path alone.
    fn uri(&self, request: &Uri) -> Result<Uri, Status> {
        let path = request.path_and_query().cloned();
        let uri = Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
        uri.build().map_err(|error| Status::internal(error.to_string()))
    }
}

impl Service<Request<Body>> for MachineConnection {
    type Response = Response<MachineBody>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(())) // Each call waits for itself, so that its error is told as that of a call.
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let uri = self.uri(request.uri());
        let mut sender = self.sender.clone();
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        Box::pin(async move {
            *request.uri_mut() = uri?;
            let ended = |error: hyper::Error| {
                let mut ended = Status::unavailable("the machine has ended the connection");
                ended.set_source(Arc::new(error));
                ended
            };
            poll_fn(|context| sender.poll_ready(context)).await.map_err(ended)?;
            let response = sender.send_request(request).await.map_err(status)?;
            Ok(response.map(MachineBody))
        })
    }
}

/// Response body whose errors are statuses with a text for people.
pub struct MachineBody(Incoming);

impl http_body::Body for MachineBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = Pin::new(&mut self.0).poll_frame(context);
        frame.map_err(status)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// Error of a connection, or of one stream that the machine reset, as the status of a call. Its source tells it from what the
/// other side answered.
fn status(error: hyper::Error) -> Status {
    let mut status = status_of(&error);
    status.set_source(Arc::new(error));
    status
}

fn status_of(error: &hyper::Error) -> Status {
    let source = error.source();
    let reset = source.and_then(|source| source.downcast_ref::<h2::Error>());
    let reset = reset.filter(|error| error.is_reset() && error.is_remote());
    let Some(reset) = reset else {
        let why = source.map_or_else(|| error.to_string(), ToString::to_string);
        return Status::unavailable(format!("the connection to the machine was lost: {why}"));
    };
    // As in the gRPC specification, "HTTP/2 errors".
    let code = match reset.reason() {
        Some(Reason::REFUSED_STREAM) => Code::Unavailable,
        Some(Reason::CANCEL) => Code::Cancelled,
        Some(Reason::ENHANCE_YOUR_CALM) => Code::ResourceExhausted,
        Some(Reason::INADEQUATE_SECURITY) => Code::PermissionDenied,
        _ => Code::Internal,
    };
    Status::new(code, format!("the machine ended the call: {reset}"))
}

#[cfg(test)]
mod tests {
    use mainstay_proto::mainstay::control::v1::GetStatusRequest;
    use tokio::io::AsyncReadExt as _;

    use super::*;

    async fn refusal(answer: impl AsyncFn(UnixStream)) -> Status {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("control.sock");
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let call = async {
            let connection = MachineConnection::unix(&socket).await.unwrap();
            let mut client = connection.control();
            let status = client.get_status(GetStatusRequest {}).await.unwrap_err();
            assert!(connection.is_closed());
            let next = client.get_status(GetStatusRequest {}).await.unwrap_err();
            assert_eq!(next.message(), "the machine has ended the connection");
            status
        };
        let serve = async { answer(listener.accept().await.unwrap().0).await };
        tokio::join!(call, serve).0
    }

    #[tokio::test]
    async fn a_lost_connection_is_said_in_plain_words() {
        let silent = refusal(async |mut stream| {
            // The client's preface has arrived, so it has connected.
            stream.read_u8().await.unwrap();
        });
        let status = silent.await;
        assert_eq!(status.code(), Code::Unavailable);
        let text = status.message();
        assert!(text.starts_with("the connection to the machine was lost: "), "{text}");
        let other = refusal(async |mut stream| {
            use tokio::io::AsyncWriteExt as _;
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
        let text = other.await.message().to_owned();
        assert!(text.starts_with("the connection to the machine was lost: "), "{text}");
    }

    #[tokio::test]
    async fn a_socket_without_a_listener_is_an_error_of_the_connection() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("control.sock");
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        let refused = MachineConnection::unix(&socket).await.err().unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }
}
