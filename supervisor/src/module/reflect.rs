//! The descriptors of APIs that only a module knows, fetched from it by gRPC reflection, file by file.
//!
//! A file is kept as the bytes that came: the core hands it on to whoever asks, and reads from it only what routing
//! needs. One pool per module, because the files of two modules may collide by name.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mainstay_proto::methods::Kind;
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, Status};
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};
use tracing::debug;

use crate::route::upstream::Upstream;

/// How long a module may take to answer one question.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// More files than any honest API imports.
const MAX_FILES: usize = 2_000;
/// Both versions carry the same messages; v1alpha is the common one.
const PATHS: [&str; 2] = [
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
];

/// Why a service's descriptors are not to be had.
#[derive(Debug, thiserror::Error)]
pub enum ReflectError {
    /// The module refused or broke off.
    #[error("reflection failed: {} ({:?})", .0.message(), .0.code())]
    Refused(#[from] Status),
    /// It was silent.
    #[error("no answer to a reflection request within {ANSWER_TIMEOUT:?}")]
    Timeout,
    /// It ended the stream or answered something else.
    #[error("the reflection stream gave no usable answer for `{0}`")]
    Unusable(String),
    /// What it answered is no file descriptor.
    #[error("the descriptor of `{symbol}` cannot be read")]
    Format {
        /// What was asked for.
        symbol: String,
        /// What is wrong.
        source: prost::DecodeError,
    },
    /// It answered files without the service.
    #[error("the module's descriptors do not define `{0}`")]
    NoService(String),
}

/// One descriptor file of a module, as it came.
#[derive(Debug, Clone)]
pub struct ReflectedFile {
    /// Its name, as imports give it.
    pub name: String,
    /// The encoded `FileDescriptorProto`.
    pub bytes: Bytes,
    /// Names of the files that it imports.
    pub imports: Vec<String>,
    /// Full names of the messages, enums and services in it.
    pub symbols: Vec<String>,
}

/// All files of one module, by name.
pub type Pool = BTreeMap<String, ReflectedFile>;

/// What routing needs of one method of a custom API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CustomMethod {
    /// Which side streams.
    pub kind: Kind,
    /// The request's string field `name`, if it has one.
    pub name_field: Option<u32>,
    /// The request's Struct field `extra`, if it has one.
    pub extra_field: Option<u32>,
    /// Marked `safety_heartbeat_monitored`.
    pub actuates: bool,
    /// A unary `Stop` with a name.
    pub stops: bool,
}

/// A gRPC service that only a module knows.
#[derive(Debug)]
pub struct CustomService {
    /// Full gRPC name.
    pub name: String,
    /// The module's files.
    pub pool: Arc<Pool>,
    methods: HashMap<String, CustomMethod>,
}

impl CustomService {
    /// A method by its name on the wire.
    pub fn method(&self, name: &str) -> Option<&CustomMethod> {
        self.methods.get(name)
    }
}

/// Fetches the descriptors of `services`. Each has its own outcome: one that fails costs that API's dynamic use only.
pub async fn reflect(upstream: &Upstream, services: &[String]) -> Vec<Result<CustomService, ReflectError>> {
    let mut pool = Pool::new();
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
        None => read_service(service, &pool),
    };
    services.iter().map(read).collect()
}

/// Fetches the file of `symbol` and everything that it imports, in breadth.
async fn fetch(
    upstream: &Upstream,
    stream: &mut Option<Exchange>,
    pool: &mut Pool,
    symbol: &str,
) -> Result<(), ReflectError> {
    if pool.values().any(|file| file.symbols.iter().any(|known| known == symbol)) {
        return Ok(());
    }
    let files = match stream {
        Some(open) => open.ask(MessageRequest::FileContainingSymbol(symbol.to_owned())).await?,
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

fn take_files(asked: &str, files: Vec<Bytes>, pool: &mut Pool, missing: &mut VecDeque<String>) -> Result<(), ReflectError> {
    for bytes in files {
        let file = FileDescriptor::decode(bytes.clone())
            .map_err(|source| ReflectError::Format { symbol: asked.to_owned(), source })?;
        missing.extend(file.dependency.iter().filter(|name| !pool.contains_key(*name)).cloned());
        let symbols = file.symbols();
        pool.entry(file.name.clone()).or_insert(ReflectedFile { name: file.name, bytes, imports: file.dependency, symbols });
    }
    Ok(())
}

/// One open reflection stream, used question by question.
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
                client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
                let codec = tonic_prost::ProstCodec::default();
                client.streaming(tonic::Request::new(ReceiverStream::new(inbox)), PathAndQuery::from_static(path), codec).await
            });
            match opened.await.map_err(|_| ReflectError::Timeout)? {
                Ok(response) => {
                    let mut exchange = Self { questions, answers: response.into_inner() };
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
        self.questions.send(request(question)).await.map_err(|_| ReflectError::Unusable(about.clone()))?;
        self.answer(&about).await
    }

    async fn answer(&mut self, about: &str) -> Result<Vec<Bytes>, ReflectError> {
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, self.answers.message()).await.map_err(|_| ReflectError::Timeout)??;
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
    ServerReflectionRequest { host: String::new(), message_request: Some(question) }
}

/// Reads from the files what routing needs of `service`.
fn read_service(service: &str, pool: &Arc<Pool>) -> Result<CustomService, ReflectError> {
    let decode = |file: &ReflectedFile| FileDescriptor::decode(file.bytes.clone()).ok();
    let holder = pool.values().find(|file| file.symbols.iter().any(|symbol| symbol == service)).and_then(decode);
    let holder = holder.ok_or_else(|| ReflectError::NoService(service.to_owned()))?;
    let descriptor = holder
        .service
        .iter()
        .find(|candidate| holder.qualify(&candidate.name) == service)
        .ok_or_else(|| ReflectError::NoService(service.to_owned()))?;
    let field = |request: &str, name: &str, wanted: FieldType| {
        let request = request.trim_start_matches('.');
        let file = pool.values().find(|file| file.symbols.iter().any(|symbol| symbol == request)).and_then(decode)?;
        file.message(request)?.field.iter().find(|field| field.name == name && field.is(wanted))?.number.try_into().ok()
    };
    let methods = descriptor
        .method
        .iter()
        .map(|method| {
            let kind = match (method.client_streaming, method.server_streaming) {
                (false, false) => Kind::Unary,
                (false, true) => Kind::ServerStream,
                (true, false) => Kind::ClientStream,
                (true, true) => Kind::Bidi,
            };
            let name_field = field(&method.input_type, "name", FieldType::Text);
            let known = CustomMethod {
                kind,
                name_field,
                extra_field: field(&method.input_type, "extra", FieldType::Struct),
                actuates: method.options.as_ref().is_some_and(|options| options.safety_heartbeat_monitored),
                stops: method.name == "Stop" && kind == Kind::Unary && name_field.is_some(),
            };
            (method.name.clone(), known)
        })
        .collect();
    Ok(CustomService { name: service.to_owned(), pool: pool.clone(), methods })
}

/// The parts of `google.protobuf.FileDescriptorProto` that routing needs; the option would be lost in the usual types.
#[derive(Clone, PartialEq, Message)]
struct FileDescriptor {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    package: String,
    #[prost(string, repeated, tag = "3")]
    dependency: Vec<String>,
    #[prost(message, repeated, tag = "4")]
    message_type: Vec<MessageDescriptor>,
    #[prost(message, repeated, tag = "5")]
    enum_type: Vec<EnumDescriptor>,
    #[prost(message, repeated, tag = "6")]
    service: Vec<ServiceDescriptor>,
}

#[derive(Clone, PartialEq, Message)]
struct MessageDescriptor {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    field: Vec<FieldDescriptor>,
    #[prost(message, repeated, tag = "3")]
    nested_type: Vec<MessageDescriptor>,
}

#[derive(Clone, PartialEq, Message)]
struct FieldDescriptor {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(int32, tag = "3")]
    number: i32,
    #[prost(int32, tag = "4")]
    label: i32,
    #[prost(int32, tag = "5")]
    r#type: i32,
    #[prost(string, tag = "6")]
    type_name: String,
}

#[derive(Clone, PartialEq, Message)]
struct EnumDescriptor {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct ServiceDescriptor {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    method: Vec<MethodDescriptor>,
}

#[derive(Clone, PartialEq, Message)]
struct MethodDescriptor {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    input_type: String,
    #[prost(message, optional, tag = "4")]
    options: Option<MethodOptions>,
    #[prost(bool, tag = "5")]
    client_streaming: bool,
    #[prost(bool, tag = "6")]
    server_streaming: bool,
}

#[derive(Clone, PartialEq, Message)]
struct MethodOptions {
    #[prost(bool, tag = "84260")]
    safety_heartbeat_monitored: bool,
}

#[derive(Debug, Clone, Copy)]
enum FieldType {
    Text,
    Struct,
}

impl FieldDescriptor {
    const REPEATED: i32 = 3;
    const STRING: i32 = 9;
    const MESSAGE: i32 = 11;

    fn is(&self, wanted: FieldType) -> bool {
        self.label != Self::REPEATED
            && match wanted {
                FieldType::Text => self.r#type == Self::STRING,
                FieldType::Struct => self.r#type == Self::MESSAGE && self.type_name == ".google.protobuf.Struct",
            }
    }
}

impl FileDescriptor {
    fn qualify(&self, name: &str) -> String {
        if self.package.is_empty() { name.to_owned() } else { format!("{}.{name}", self.package) }
    }

    fn symbols(&self) -> Vec<String> {
        fn nested(prefix: &str, messages: &[MessageDescriptor], symbols: &mut Vec<String>) {
            for message in messages {
                let name = format!("{prefix}.{}", message.name);
                nested(&name, &message.nested_type, symbols);
                symbols.push(name);
            }
        }
        let mut symbols: Vec<_> = self.service.iter().map(|service| self.qualify(&service.name)).collect();
        symbols.extend(self.enum_type.iter().map(|descriptor| self.qualify(&descriptor.name)));
        for message in &self.message_type {
            let name = self.qualify(&message.name);
            nested(&name, &message.nested_type, &mut symbols);
            symbols.push(name);
        }
        symbols
    }

    fn message(&self, full: &str) -> Option<&MessageDescriptor> {
        let path = if self.package.is_empty() { full } else { full.strip_prefix(&self.package)?.strip_prefix('.')? };
        let mut parts = path.split('.');
        let first = parts.next()?;
        let top = self.message_type.iter().find(|message| message.name == first)?;
        parts.try_fold(top, |message, part| message.nested_type.iter().find(|nested| nested.name == part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, number: i32, r#type: i32, type_name: &str) -> FieldDescriptor {
        FieldDescriptor { name: name.into(), number, label: 1, r#type, type_name: type_name.into() }
    }

    fn method(name: &str, streams: (bool, bool), monitored: bool) -> MethodDescriptor {
        MethodDescriptor {
            name: name.into(),
            input_type: ".acme.v1.Outer.Request".into(),
            options: monitored.then_some(MethodOptions { safety_heartbeat_monitored: true }),
            client_streaming: streams.0,
            server_streaming: streams.1,
        }
    }

    fn pool() -> Arc<Pool> {
        let request = MessageDescriptor {
            name: "Request".into(),
            field: vec![
                field("name", 7, FieldDescriptor::STRING, ""),
                field("extra", 99, FieldDescriptor::MESSAGE, ".google.protobuf.Struct"),
            ],
            nested_type: vec![],
        };
        let file = FileDescriptor {
            name: "gizmo.proto".into(),
            package: "acme.v1".into(),
            dependency: vec![],
            message_type: vec![MessageDescriptor { name: "Outer".into(), field: vec![], nested_type: vec![request] }],
            enum_type: vec![],
            service: vec![ServiceDescriptor {
                name: "Gizmo".into(),
                method: vec![method("Turn", (false, false), true), method("Stop", (false, false), false), method("Talk", (true, true), false)],
            }],
        };
        let mut pool = Pool::new();
        take_files("x", vec![Bytes::from(file.encode_to_vec())], &mut pool, &mut VecDeque::new()).expect("a good file");
        Arc::new(pool)
    }

    #[test]
    fn routing_facts_are_read_from_the_descriptors() {
        let service = read_service("acme.v1.Gizmo", &pool()).expect("defined");
        let turn = service.method("Turn").expect("defined");
        assert_eq!((turn.kind, turn.name_field, turn.extra_field), (Kind::Unary, Some(7), Some(99)));
        assert!(turn.actuates && !turn.stops);
        let stop = service.method("Stop").expect("defined");
        assert!(stop.stops && !stop.actuates);
        assert_eq!(service.method("Talk").map(|method| method.kind), Some(Kind::Bidi));
        assert_eq!(service.method("Nothing"), None);
    }

    #[test]
    fn a_service_that_no_file_defines_is_an_error_of_its_own() {
        assert!(matches!(read_service("acme.v1.Other", &pool()), Err(ReflectError::NoService(_))));
    }

    #[test]
    fn bytes_that_are_no_descriptor_are_refused() {
        let garbage = Bytes::from_static(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff");
        let refused = take_files("x", vec![garbage], &mut Pool::new(), &mut VecDeque::new());
        assert!(matches!(refused, Err(ReflectError::Format { .. })));
    }
}
