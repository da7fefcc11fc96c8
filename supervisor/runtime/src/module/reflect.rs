//! The descriptors of APIs that only a module knows, fetched from it by gRPC reflection, file by file.
//!
//! A file is kept as the bytes that came: the core hands it on to whoever asks, and reads from it only what routing
//! needs. One pool per module, because the files of two modules may collide by name.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mainstay_proto::custom::{CustomService, DescriptorPool, ReflectedFile};
use mainstay_proxy::upstream::Upstream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, Status};
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};
use tracing::debug;

/// Limit for the answer of a module to one question.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Limit of files for one service: more than any honest API imports.
const MAX_FILES: usize = 2_000;
/// Paths of the reflection method. Both versions carry the same messages; v1alpha is the common one.
const PATHS: [&str; 2] = [
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
];

/// Failure to get a service's descriptors.
#[derive(Debug, thiserror::Error)]
pub enum ReflectError {
    /// The module refused or broke off.
    #[error("reflection failed: {} ({:?})", .0.message(), .0.code())]
    Refused(#[from] Status),
    /// The module was silent.
    #[error("no answer to a reflection request within {ANSWER_TIMEOUT:?}")]
    Timeout,
    /// The module ended the stream or answered something else.
    #[error("the reflection stream gave no usable answer for `{0}`")]
    Unusable(String),
    /// The answer is no file descriptor.
    #[error("the descriptor of `{symbol}` cannot be read")]
    Format { symbol: String, source: prost::DecodeError },
    /// The module answered files without the service.
    #[error("the module's descriptors do not define `{0}`")]
    NoService(String),
}

/// Fetches the descriptors of `services`. Each has its own outcome: one that fails costs that API's dynamic use only.
pub async fn reflect(upstream: &Upstream, services: &[String]) -> Vec<Result<CustomService, ReflectError>> {
    let mut pool = DescriptorPool::new();
    let mut failures: HashMap<&str, ReflectError> = HashMap::new();
    let mut stream = None;
    for service in services {
        if let Err(error) = fetch(upstream, &mut stream, &mut pool, service).await {
            stream = None;
            failures.insert(service, error);
        }
    }
    let pool = Arc::new(pool);
    let read = |service: &String| match failures.remove(service.as_str()) {
        Some(error) => Err(error),
        None => CustomService::read(service, &pool).ok_or_else(|| ReflectError::NoService(service.clone())),
    };
    services.iter().map(read).collect()
}

/// Fetches the file of `symbol` and everything that it imports, in breadth.
async fn fetch(
    upstream: &Upstream,
    stream: &mut Option<Exchange>,
    pool: &mut DescriptorPool,
    symbol: &str,
) -> Result<(), ReflectError> {
    if pool
        .values()
        .any(|file| file.symbols.iter().any(|known| known == symbol))
    {
        return Ok(());
    }
    let files = match stream {
        Some(open) => {
            open.ask(MessageRequest::FileContainingSymbol(symbol.to_owned()))
                .await?
        }
        None => {
            let (open, files) = Exchange::open(upstream, symbol).await?;
            *stream = Some(open);
            files
        }
    };
    let mut missing = VecDeque::new();
    take_files(symbol, files, pool, &mut missing)?;
    while let Some(name) = missing.pop_front() {
        if pool.contains_key(&name) || pool.len() >= MAX_FILES {
            continue;
        }
        let Some(open) = stream else { break };
        match open.ask(MessageRequest::FileByFilename(name.clone())).await {
            Ok(files) => take_files(&name, files, pool, &mut missing)?,
            Err(ReflectError::Refused(status)) if status.code() == Code::NotFound => {
                // Some modules do not serve google's own files; we have those.
                match mainstay_proto::descriptors::file(&name) {
                    Some(own) => take_files(&name, vec![Bytes::from_static(own.bytes)], pool, &mut missing)?,
                    None => debug!(file = name, "the module does not serve this import"),
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn take_files(
    asked: &str,
    files: Vec<Bytes>,
    pool: &mut DescriptorPool,
    missing: &mut VecDeque<String>,
) -> Result<(), ReflectError> {
    for bytes in files {
        let file = ReflectedFile::read(bytes).map_err(|source| ReflectError::Format {
            symbol: asked.to_owned(),
            source,
        })?;
        missing.extend(file.imports.iter().filter(|name| !pool.contains_key(*name)).cloned());
        pool.entry(file.name.clone()).or_insert(file);
    }
    Ok(())
}

/// Open reflection stream, used question by question.
struct Exchange {
    questions: mpsc::Sender<ServerReflectionRequest>,
    answers: tonic::Streaming<ServerReflectionResponse>,
}

impl Exchange {
    /// Opens a stream with the first question in it, v1alpha first.
    async fn open(upstream: &Upstream, symbol: &str) -> Result<(Self, Vec<Bytes>), ReflectError> {
        let mut refused = Status::unimplemented("the module offers no reflection");
        for path in PATHS {
            let (questions, inbox) = mpsc::channel(1);
            let first = request(MessageRequest::FileContainingSymbol(symbol.to_owned()));
            // A channel that was just made has room.
            let _queued = questions.try_send(first);
            let mut client = tonic::client::Grpc::new(upstream.clone());
            let opened = tokio::time::timeout(ANSWER_TIMEOUT, async {
                client
                    .ready()
                    .await
                    .map_err(|error| Status::unavailable(error.to_string()))?;
                let codec = tonic_prost::ProstCodec::default();
                client
                    .streaming(
                        tonic::Request::new(ReceiverStream::new(inbox)),
                        PathAndQuery::from_static(path),
                        codec,
                    )
                    .await
            });
            match opened.await.map_err(|_| ReflectError::Timeout)? {
                Ok(response) => {
                    let mut exchange = Self {
                        questions,
                        answers: response.into_inner(),
                    };
                    match exchange.answer(symbol).await {
                        Ok(files) => return Ok((exchange, files)),
                        Err(ReflectError::Refused(status)) if status.code() == Code::Unimplemented => refused = status,
                        Err(error) => return Err(error),
                    }
                }
                Err(status) if status.code() == Code::Unimplemented => refused = status,
                Err(status) => return Err(status.into()),
            }
        }
        Err(refused.into())
    }

    async fn ask(&mut self, question: MessageRequest) -> Result<Vec<Bytes>, ReflectError> {
        let about = match &question {
            MessageRequest::FileByFilename(name) | MessageRequest::FileContainingSymbol(name) => name.clone(),
            _ => String::new(),
        };
        self.questions
            .send(request(question))
            .await
            .map_err(|_| ReflectError::Unusable(about.clone()))?;
        self.answer(&about).await
    }

    async fn answer(&mut self, about: &str) -> Result<Vec<Bytes>, ReflectError> {
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, self.answers.message())
            .await
            .map_err(|_| ReflectError::Timeout)??;
        match answer.and_then(|answer| answer.message_response) {
            Some(MessageResponse::FileDescriptorResponse(files)) => {
                Ok(files.file_descriptor_proto.into_iter().map(Bytes::from).collect())
            }
            Some(MessageResponse::ErrorResponse(error)) => {
                Err(Status::new(Code::from_i32(error.error_code), error.error_message).into())
            }
            _ => Err(ReflectError::Unusable(about.to_owned())),
        }
    }
}

fn request(question: MessageRequest) -> ServerReflectionRequest {
    ServerReflectionRequest {
        host: String::new(),
        message_request: Some(question),
    }
}
