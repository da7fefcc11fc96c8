//! Peer that serves every method: it keeps what it is sent, and answers what it is told.

use std::{
    convert::Infallible,
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mainstay_proto::raw::RawCodec;
use tokio::{net::UnixListener, task::JoinSet};
use tonic::{Request, Response, Status, Streaming, body::Body, server::StreamingService};

/// Messages of the running call.
#[derive(Default)]
struct Messages {
    arrived: Vec<Bytes>,
    answers: Vec<Bytes>,
}

pub(super) struct Peer {
    messages: Arc<Mutex<Messages>>,
    _tasks: JoinSet<()>,
}

impl Peer {
    /// Listens on a socket.
    pub fn start(path: &Path) -> Self {
        let messages = Arc::<Mutex<Messages>>::default();
        let listener = UnixListener::bind(path).expect("bound");
        let kept = messages.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let messages = messages.clone();
                let service = service_fn(move |request| answer(request, messages.clone()));
                let connection = http2::Builder::new(TokioExecutor::new());
                connections.spawn(async move { connection.serve_connection(TokioIo::new(stream), service).await });
            }
        });
        Self {
            messages: kept,
            _tasks: tasks,
        }
    }

    /// Sets the answers of the next call.
    pub fn expect(&self, answers: Vec<Bytes>) {
        *self.messages.lock().expect("nobody panics") = Messages {
            arrived: Vec::new(),
            answers,
        };
    }

    /// Takes what has arrived.
    pub fn arrived(&self) -> Vec<Bytes> {
        std::mem::take(&mut self.messages.lock().expect("nobody panics").arrived)
    }
}

async fn answer(
    request: http::Request<Incoming>,
    messages: Arc<Mutex<Messages>>,
) -> Result<http::Response<Body>, Infallible> {
    struct Recorder(Arc<Mutex<Messages>>);

    type Answers = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

    impl StreamingService<Bytes> for Recorder {
        type Response = Bytes;
        type ResponseStream = Answers;
        type Future = Pin<Box<dyn Future<Output = Result<Response<Answers>, Status>> + Send>>;

        fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
            let messages = self.0.clone();
            Box::pin(async move {
                let mut requests = request.into_inner();
                while let Some(request) = requests.next().await {
                    messages.lock().expect("nobody panics").arrived.push(request?);
                }
                let answers = messages.lock().expect("nobody panics").answers.clone();
                let answers: Answers = Box::pin(stream::iter(answers.into_iter().map(Ok)));
                Ok(Response::new(answers))
            })
        }
    }

    Ok(tonic::server::Grpc::new(RawCodec)
        .streaming(Recorder(messages), request)
        .await)
}
