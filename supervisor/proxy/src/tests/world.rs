//! Fixtures of the tests: a module that does what a test says, the core's side as the listeners use it, and a client.

use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::body::{CallBody, RequestBody};
use crate::connection::serve_connection;
use crate::deadline::Deadline;
use crate::forward::{ForwardOptions, forward};
use crate::identity::Identity;
use crate::image_types::ImageFilter;
use crate::peek::{Addressing, peek};
use crate::resource::Resource;
use crate::status::{CallTarget, respond};
use crate::turns::CallerId;
use crate::upstream::{Lane, Upstream};

pub const ECHO: &str = "/viam.component.testecho.v1.TestEchoService/Echo";
pub const STOP: &str = "/viam.component.testecho.v1.TestEchoService/Stop";
pub const OPID: &str = "0b6d1c0e-8d39-4c57-9fb0-29b8f4d1c4be";
/// Long enough for a busy machine, short enough to say that something hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits, but not for ever.
pub async fn soon<T>(work: impl Future<Output = T>) -> T {
    timeout(PATIENCE, work).await.expect("this hangs")
}

/// Waits until something has become true.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Message in gRPC framing.
pub fn message(payload: &[u8]) -> Bytes {
    let mut message = vec![0];
    message.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
    message.extend(payload);
    message.into()
}

/// A request for resource `e` with so many bytes behind the name.
pub fn named(size: usize) -> Bytes {
    let mut payload = b"\x0a\x01e\x12".to_vec();
    prost::encoding::encode_varint(size as u64, &mut payload);
    payload.resize(payload.len() + size, b'x');
    message(&payload)
}

/// TestCore side of a test, beyond forwarding.
pub struct TestCore {
    pub cancel: CancellationToken,
    /// Calls that are not over.
    pub kept: Arc<AtomicUsize>,
    /// Resource that calls of a camera are for.
    pub camera: Arc<Resource>,
}

impl Default for TestCore {
    fn default() -> Self {
        let name = "rdk:component:camera/e".parse().unwrap();
        Self {
            cancel: CancellationToken::new(),
            kept: Arc::default(),
            camera: Arc::new(Resource::new(name, "tests:old:camera".parse().unwrap())),
        }
    }
}

struct TestLease(Arc<AtomicUsize>);

impl crate::call::CallLease for TestLease {}

impl Drop for TestLease {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

pub struct Fixture {
    pub core: Arc<TestCore>,
    pub upstream: Upstream,
    pub address: std::net::SocketAddr,
    module: AbortHandle,
    _tasks: Arc<Mutex<JoinSet<()>>>,
    _directory: tempfile::TempDir,
}

impl Fixture {
    /// A module that answers every call with `handler`, and a core in front of it.
    pub async fn new<H, F>(handler: H) -> Self
    where
        H: Fn(Request<RecvStream>, SendResponse<Bytes>) -> F + Clone + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        Self::with_module(move |listener| serve_h2(listener, h2::server::Builder::new(), handler)).await
    }

    /// A module that does with its socket what `module` does.
    pub async fn with_module<F>(module: impl FnOnce(UnixListener) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("m.sock");
        let mut tasks = JoinSet::new();
        let module = tasks.spawn(module(UnixListener::bind(&path).unwrap()));
        let upstream = soon(Upstream::connect_to("module", &path)).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let core = Arc::new(TestCore::default());
        let (shared, up) = (Arc::clone(&core), upstream.clone());
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (shared, up) = (Arc::clone(&shared), up.clone());
                let caller = CallerId::unique();
                let service = move |request| route(Arc::clone(&shared), up.clone(), caller, request);
                connections.spawn(serve_connection(
                    stream,
                    service,
                    Arc::default(),
                    CancellationToken::new(),
                ));
            }
        });
        Self {
            core,
            upstream,
            address,
            module,
            _tasks: Arc::new(Mutex::new(tasks)),
            _directory: directory,
        }
    }

    /// Ends the module's process, as far as its peers can see.
    pub fn kill_module(&self) {
        self.module.abort();
    }

    pub async fn client(&self) -> Client {
        self.client_with(
            h2::client::Builder::new()
                .initial_window_size(1 << 20)
                .initial_connection_window_size(1 << 24),
        )
        .await
    }

    pub async fn client_with(&self, builder: &h2::client::Builder) -> Client {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (sender, connection) = builder.handshake(stream).await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let _ = connection.await;
        });
        Client {
            sender,
            address: self.address,
            tasks,
        }
    }

    pub fn kept(&self) -> usize {
        self.core.kept.load(Ordering::SeqCst)
    }
}

async fn route(
    core: Arc<TestCore>,
    upstream: Upstream,
    caller: CallerId,
    request: Request<RequestBody>,
) -> Response<CallBody> {
    let (parts, body) = request.into_parts();
    assert_ne!(parts.uri.path(), "/panic", "a call that panics");
    let deadline = match Deadline::of(&parts.headers, None, Instant::now()) {
        Ok(deadline) => deadline,
        Err(error) => return error.into_response(),
    };
    let addressing = Addressing {
        path: &[1],
        standard_api: Some("rdk:component:testecho"),
    };
    let peeked = match deadline.limit(peek(body, &parts.headers, addressing)).await {
        Ok(Ok(peeked)) => peeked,
        Ok(Err(status)) | Err(status) => return respond(status),
    };
    core.kept.fetch_add(1, Ordering::SeqCst);
    let target = CallTarget {
        resource: "rdk:component:testecho/e".into(),
        module: "echo".into(),
    };
    let terms = ForwardOptions {
        lane: if parts.uri.path() == STOP {
            Lane::Control
        } else {
            Lane::Data
        },
        opid: Some(HeaderValue::from_static(OPID)),
        deadline,
        cancel: Some(core.cancel.child_token()),
        keep: Some(Box::new(TestLease(Arc::clone(&core.kept)))),
        target,
        span: None,
        path: None,
        caller,
        identity: Arc::new(Identity::Control),
        actuates: false,
        origin: None,
        images: ImageFilter::new(parts.uri.path(), &core.camera, upstream.serial()),
    };
    forward(&parts, peeked.body, &upstream, terms).await
}

/// A server that hands every stream to `handler`.
pub async fn serve_h2<H, F>(listener: UnixListener, builder: h2::server::Builder, handler: H)
where
    H: Fn(Request<RecvStream>, SendResponse<Bytes>) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (builder, handler) = (builder.clone(), handler.clone());
        connections.spawn(async move {
            let Ok(mut connection) = builder.handshake(stream).await else {
                return;
            };
            let mut calls = JoinSet::new();
            while let Some(Ok((request, respond))) = connection.accept().await {
                calls.spawn(handler(request, respond));
            }
        });
    }
}

/// Begins a good answer.
pub fn answer(respond: &mut SendResponse<Bytes>) -> SendStream<Bytes> {
    let response = Response::builder()
        .header("content-type", "application/grpc")
        .body(())
        .unwrap();
    respond.send_response(response, false).unwrap()
}

pub fn ok_trailers() -> HeaderMap {
    HeaderMap::from_iter([(
        http::HeaderName::from_static("grpc-status"),
        HeaderValue::from_static("0"),
    )])
}

/// Reads a stream to its end, giving window back.
pub async fn read_all(stream: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut all = Vec::new();
    while let Some(chunk) = stream.data().await {
        let chunk = chunk?;
        let _ = stream.flow_control().release_capacity(chunk.len());
        all.extend(chunk);
    }
    Ok(all)
}

/// Sends everything, as fast as the peer reads.
pub async fn send_all(stream: &mut SendStream<Bytes>, mut bytes: Bytes) -> Result<(), String> {
    while !bytes.is_empty() {
        let room = poll_fn(|cx| crate::flow_control::poll_room(stream, bytes.len(), cx))
            .await
            .ok_or("closed")?;
        stream
            .send_data(bytes.split_to(room.min(bytes.len())), false)
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Answers every call with the bytes of its request, message by message as they come.
pub async fn echo(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let mut body = request.into_body();
    let mut stream = answer(&mut respond);
    while let Some(Ok(chunk)) = body.data().await {
        let _ = body.flow_control().release_capacity(chunk.len());
        if send_all(&mut stream, chunk).await.is_err() {
            return;
        }
    }
    let _ = stream.send_trailers(ok_trailers());
}

pub struct Client {
    sender: SendRequest<Bytes>,
    address: std::net::SocketAddr,
    tasks: JoinSet<()>,
}

/// Answer as the client got it.
#[derive(Debug)]
pub struct Got {
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: HeaderMap,
}

impl Got {
    /// The gRPC status, from wherever it stands.
    pub fn status(&self) -> (u16, String) {
        let of = |headers: &HeaderMap| tonic::Status::from_header_map(headers);
        let status = of(&self.trailers)
            .or_else(|| of(&self.headers))
            .expect("every answer has a status");
        (status.code() as u16, status.message().to_owned())
    }
}

impl Client {
    /// Begins a call.
    pub async fn open(&mut self, path: &str, headers: &[(&str, &str)]) -> TestCall {
        let mut request = Request::post(format!("http://{}{path}", self.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (key, value) in headers {
            request = request.header(*key, *value);
        }
        let mut sender = self.sender.clone();
        poll_fn(|cx| sender.poll_ready(cx)).await.unwrap();
        let (response, stream) = sender.send_request(request.body(()).unwrap(), false).unwrap();
        TestCall { response, stream }
    }

    /// A whole call with these bytes as its request.
    pub async fn call(&mut self, path: &str, headers: &[(&str, &str)], request: Bytes) -> Got {
        let mut call = self.open(path, headers).await;
        soon(send_all(&mut call.stream, request)).await.unwrap();
        call.stream.send_data(Bytes::new(), true).unwrap();
        soon(call.finish()).await
    }

    pub fn disconnect(mut self) {
        self.tasks.abort_all();
    }
}

pub struct TestCall {
    pub response: h2::client::ResponseFuture,
    pub stream: SendStream<Bytes>,
}

impl TestCall {
    /// Waits for the answer's headers.
    pub async fn head(self) -> (SendStream<Bytes>, HeaderMap, RecvStream) {
        let (parts, body) = soon(self.response).await.unwrap().into_parts();
        (self.stream, parts.headers, body)
    }

    /// Waits for the whole answer. Leaves the request open if it was not closed.
    pub async fn finish(self) -> Got {
        let (_open, headers, mut stream) = self.head().await;
        let body = soon(read_all(&mut stream)).await.unwrap();
        let trailers = soon(stream.trailers()).await.unwrap().unwrap_or_default();
        Got {
            headers,
            body,
            trailers,
        }
    }
}
