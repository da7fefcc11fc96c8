//! HTTP/2 to one peer, as it was dialled: no token, no session, no second try.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, LazyLock},
    task::{Context, Poll},
    time::Duration,
};

use http::{
    Request, Response, Uri,
    uri::{Authority, PathAndQuery, Scheme},
};
use hyper::{
    body::Incoming,
    client::conn::http2::{Builder, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use mainstay_dial::{DialError, Encryption, Fallback, TlsSettings};
use tonic::{Status, body::Body};

use crate::{
    CONNECTION_WINDOW, Code, Error, MAX_FRAME, Result, SEND_BUFFER, STREAM_WINDOW,
    address::{Address, Stream},
};

/// Interval of pings on a connection to a machine, which no server punishes.
const PING: Duration = Duration::from_secs(10);
/// Longest wait for the answer to one, after which the machine counts as gone.
const PONG: Duration = Duration::from_secs(5);

/// Origin URI of requests. The address of the connection does not depend on it.
pub fn origin() -> Uri {
    static ORIGIN: LazyLock<Uri> = LazyLock::new(|| Uri::from_static("http://localhost"));
    ORIGIN.clone()
}

/// Address with the way to it.
#[derive(Clone, Debug)]
pub(crate) enum Endpoint {
    /// In cleartext, as a module reaches its parent, and whoever knows a socket's path that socket.
    Plain(Address),
    /// A machine on the network, `host:port`.
    Network {
        address: String,
        encryption: Encryption,
        fallback: Fallback,
        tls: TlsSettings,
    },
}

impl Endpoint {
    /// Text for people.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Plain(address) => address.to_string(),
            Self::Network { address, .. } => address.clone(),
        }
    }

    /// Opens a connection. The future drives it to its end, and tells why it ended.
    pub(super) async fn open(&self) -> Result<(Transport, impl Future<Output = String> + Send + use<>)> {
        let failed = |error: &dyn std::fmt::Display| {
            Error::unavailable(format_args!("cannot connect to {}: {error}", self.text()))
        };
        let (stream, target): (Stream, _) = match self {
            Self::Plain(address) => (address.dial().await.map_err(|error| failed(&error))?, None),
            Self::Network {
                address,
                encryption,
                fallback,
                tls,
            } => {
                let dialled = mainstay_dial::dial(address, *encryption, *fallback, tls).await;
                let (stream, became) = dialled.map_err(|error| self.explain(error))?;
                let scheme = if became == Encryption::On {
                    Scheme::HTTPS
                } else {
                    Scheme::HTTP
                };
                let authority = Authority::try_from(address.as_str());
                let authority = authority.map_err(|_| failed(&"it is no address; write host:port"))?;
                (Box::pin(stream), Some((scheme, authority)))
            }
        };
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(MAX_FRAME)
            .max_send_buf_size(SEND_BUFFER);
        if target.is_some() {
            // A cable that is cut says nothing.
            builder
                .keep_alive_interval(PING)
                .keep_alive_timeout(PONG)
                .keep_alive_while_idle(true);
        }
        let (sender, driver) = builder
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failed(&error))?;
        let transport = Transport {
            sender,
            target,
            peer: self.text().into(),
        };
        let end = async move {
            match driver.await {
                Ok(()) => "the connection was closed".to_owned(),
                Err(error) => cause(&error),
            }
        };
        Ok((transport, end))
    }

    fn explain(&self, error: DialError) -> Error {
        let address = self.text();
        match error {
            DialError::Cleartext => Error::failed_precondition(format_args!(
                "{address} speaks no TLS, and cleartext is used beyond this host only if that is asked for: `.insecure()`, where the network is trusted"
            )),
            DialError::NoTls => Error::failed_precondition(format_args!(
                "this program was built without TLS, which {address} is reached by: add the feature `tls` to `mainstay-module` in Cargo.toml, or ask for cleartext with `.insecure()`, where the network is trusted"
            )),
            DialError::Untrusted(why) => Error::failed_precondition(format_args!(
                "the certificate of {address} is not trusted ({why}): give the authority that signed it to `.ca_file(…)` (`mainstay keys ca CONFIG` prints it), or put it into the system's store or SSL_CERT_FILE"
            )),
            other => Error::unavailable(format_args!("cannot connect to {address}: {other}")),
        }
    }
}

fn cause(error: &hyper::Error) -> String {
    if error.is_timeout() {
        return format!("it was silent for {:?}", PING + PONG);
    }
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

/// HTTP/2 connection to one peer. Clones share it.
#[derive(Clone)]
pub(crate) struct Transport {
    sender: SendRequest<Body>,
    /// Scheme and authority of requests; `None` over a socket, where nobody looks at them.
    target: Option<(Scheme, Authority)>,
    peer: Arc<str>,
}

impl Transport {
    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Sends one request and awaits the head of its response.
    pub(super) async fn send(mut self, mut request: Request<Body>) -> Result<Response<Incoming>, Status> {
        let lost = |error: hyper::Error| {
            Status::unavailable(format!("the connection to {} is lost: {}", self.peer, cause(&error)))
        };
        if let Some((scheme, authority)) = &self.target {
            let path = request.uri().path_and_query().cloned();
            let uri = Uri::builder()
                .scheme(scheme.clone())
                .authority(authority.clone())
                .path_and_query(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
            *request.uri_mut() = uri
                .build()
                .map_err(|error| Status::new(Code::Internal, error.to_string()))?;
        }
        poll_fn(|context| self.sender.poll_ready(context)).await.map_err(lost)?;
        self.sender.send_request(request).await.map_err(lost)
    }
}

impl tower_service::Service<Request<Body>> for Transport {
    type Response = Response<Incoming>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(())) // Each call waits for itself, so that its error is told as that of a call.
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.clone().send(request))
    }
}
