//! Raw HTTP/2 and TCP client, for requests that no client library would send.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use http::{HeaderMap, Method, Request, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::world::PATIENCE;

/// HTTP/2 connection without TLS.
pub struct RawConnection {
    sender: SendRequest<Bytes>,
    _driver: JoinSet<()>,
}

/// Response of one call.
#[derive(Debug, Default)]
pub struct RawResponse {
    /// HTTP status.
    pub http: u16,
    /// `grpc-status` from the trailers, or from the headers when there was nothing else.
    pub code: Option<i32>,
    /// `grpc-message`, percent-decoded.
    pub message: String,
    /// Response headers.
    pub headers: HeaderMap,
    /// Trailers; those of a trailers-only answer are in `headers`.
    pub trailers: HeaderMap,
    /// All data, with gRPC's own frame headers.
    pub body: Bytes,
    /// Error that ended the stream, if any.
    pub reset: Option<String>,
}

/// Request under construction.
#[derive(Debug, Clone)]
pub struct RawRequest {
    path: String,
    method: Method,
    headers: BTreeMap<String, String>,
    body: BytesMut,
    end: bool,
}

impl RawRequest {
    /// Creates a gRPC request to a path, without a message.
    pub fn new(path: &str) -> Self {
        let headers = [("content-type", "application/grpc"), ("te", "trailers")];
        Self {
            path: path.to_owned(),
            method: Method::POST,
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            body: BytesMut::new(),
            end: true,
        }
    }

    /// Sets a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Removes a header.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.remove(name);
        self
    }

    /// Sets the HTTP method.
    pub fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// Adds a message with its gRPC frame header.
    pub fn message(self, message: &impl prost::Message) -> Self {
        let bytes = message.encode_to_vec();
        self.frame(0, u32::try_from(bytes.len()).expect("a small message"), &bytes)
    }

    /// Adds a gRPC frame header with any flag and length, and then any bytes.
    pub fn frame(mut self, flag: u8, length: u32, bytes: &[u8]) -> Self {
        self.body.put_u8(flag);
        self.body.put_u32(length);
        self.bytes(bytes)
    }

    /// Adds raw bytes.
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.body.put_slice(bytes);
        self
    }

    /// Leaves the request stream open.
    pub fn unfinished(mut self) -> Self {
        self.end = false;
        self
    }
}

impl RawConnection {
    /// Connects to `host:port`.
    pub async fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("the port is open");
        stream.set_nodelay(true).expect("a TCP socket");
        Self::over(stream).await
    }

    /// Speaks over a connection that is open.
    pub async fn over(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        let builder = h2::client::Builder::new()
            .initial_window_size(1 << 24)
            .initial_connection_window_size(1 << 24)
            .handshake(stream);
        let (sender, connection) = builder.await.expect("an HTTP/2 server");
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            let _ = connection.await;
        });
        Self {
            sender,
            _driver: driver,
        }
    }

    /// Sends a request and reads the whole response.
    pub async fn call(&self, call: RawRequest) -> RawResponse {
        let path = call.path.clone();
        timeout(PATIENCE, self.exchange(call))
            .await
            .unwrap_or_else(|_| panic!("no answer to {path} in {PATIENCE:?}"))
    }

    async fn exchange(&self, call: RawRequest) -> RawResponse {
        let mut request = Request::builder()
            .method(call.method)
            .uri(format!("http://localhost{}", call.path));
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        let mut sender = self.sender.clone().ready().await.expect("the connection is open");
        let empty = call.body.is_empty() && call.end;
        let (response, mut body) = sender
            .send_request(request.body(()).expect("valid headers"), empty)
            .expect("a valid request");
        if !empty {
            // A server may answer from the first bytes alone and not read the rest: that shows in the answer.
            let _ = body.send_data(call.body.freeze(), call.end);
        }
        let mut answer = RawResponse::default();
        let response = match response.await {
            Ok(response) => response,
            Err(error) => {
                return RawResponse {
                    reset: Some(error.to_string()),
                    ..answer
                };
            }
        };
        answer.http = response.status().as_u16();
        answer.headers = response.headers().clone();
        let mut stream = response.into_body();
        let mut data = BytesMut::new();
        while let Some(chunk) = stream.data().await {
            match chunk {
                Ok(chunk) => {
                    let _ = stream.flow_control().release_capacity(chunk.len());
                    data.extend_from_slice(&chunk);
                }
                Err(error) => {
                    answer.reset = Some(error.to_string());
                    break;
                }
            }
        }
        answer.body = data.freeze();
        if answer.reset.is_none() {
            match stream.trailers().await {
                Ok(trailers) => answer.trailers = trailers.unwrap_or_default(),
                Err(error) => answer.reset = Some(error.to_string()),
            }
        }
        let (code, message) = if answer.trailers.contains_key("grpc-status") {
            status_of(&answer.trailers)
        } else {
            status_of(&answer.headers)
        };
        RawResponse {
            code,
            message,
            ..answer
        }
    }
}

fn status_of(headers: &HeaderMap) -> (Option<i32>, String) {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    (text("grpc-status").parse().ok(), percent_decode(text("grpc-message")))
}

fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let code = tail
            .get(..2)
            .and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match (first, code) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl RawResponse {
    /// Decodes the only message of the response.
    pub fn decode<T: prost::Message + Default>(&self) -> T {
        assert_eq!(self.http, StatusCode::OK.as_u16(), "{self:?}");
        assert!(self.body.len() >= 5, "no message in {self:?}");
        T::decode(&self.body[5..]).expect("a readable message")
    }
}

/// Sends bytes over TCP and reads until the server closes the connection or is silent.
///
/// # Errors
/// If the connection fails or is reset.
pub async fn talk(address: &str, bytes: &[u8]) -> io::Result<Vec<u8>> {
    talk_over(TcpStream::connect(address).await?, bytes).await
}

/// [`talk`] over a connection that is open.
///
/// # Errors
/// As [`talk`].
pub async fn talk_over(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(bytes).await?;
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(read) = timeout(Duration::from_secs(3), stream.read(&mut chunk)).await {
        let length = read?;
        if length == 0 {
            break;
        }
        answer.extend_from_slice(&chunk[..length]);
    }
    Ok(answer)
}
