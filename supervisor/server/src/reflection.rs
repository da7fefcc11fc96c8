//! gRPC reflection, v1 and v1alpha: the standard APIs, and those that only a module knows.

use std::collections::{HashSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;

use futures_core::Stream;
use mainstay_proto::custom::DescriptorPool;
use mainstay_proto::descriptors;
use mainstay_runtime::machine::view::{View, ViewCell};
use tokio_stream::StreamExt;
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_reflection::pb::{v1, v1alpha};

/// Answers reflection requests from the descriptors that are known now.
#[derive(Debug, Clone)]
pub struct Reflection {
    published: ViewCell,
}

/// Question of a client, in either version.
enum ReflectionQuery {
    File(String),
    Symbol(String),
    Services,
    Other,
}

/// Answer to a client, in either version.
enum ReflectionAnswer {
    Files(Vec<Vec<u8>>),
    Services(Vec<String>),
    Error(Code, String),
}

/// Source of a file. The files of two modules may differ under one name.
#[derive(Clone)]
enum DescriptorSource {
    Standard,
    Module(Arc<DescriptorPool>),
}

/// State of one stream: the files that it has sent, and the source of its last answer.
#[derive(Default)]
struct SentFiles {
    /// Names of the files that were sent, by source.
    sent: Vec<(DescriptorSource, HashSet<String>)>,
    last: Option<Arc<DescriptorPool>>,
}

impl DescriptorSource {
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Standard, Self::Standard) => true,
            (Self::Module(one), Self::Module(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl SentFiles {
    /// The files of `source` that this stream has.
    fn sent(&mut self, source: &DescriptorSource) -> &mut HashSet<String> {
        let index = match self.sent.iter().position(|(known, _)| known.is(source)) {
            Some(index) => index,
            None => {
                self.sent.push((source.clone(), HashSet::new()));
                self.sent.len() - 1
            }
        };
        &mut self.sent[index].1
    }
}

impl Reflection {
    /// Reflection over the machine's view.
    pub fn new(published: ViewCell) -> Self {
        Self { published }
    }

    fn answer(&self, query: ReflectionQuery, sent_files: &mut SentFiles) -> ReflectionAnswer {
        let view = self.published.load();
        match query {
            ReflectionQuery::Services => ReflectionAnswer::Services(services(&view)),
            ReflectionQuery::Symbol(symbol) => by_symbol(&view, &symbol, sent_files),
            ReflectionQuery::File(name) => by_file(&view, &name, sent_files),
            ReflectionQuery::Other => ReflectionAnswer::Error(Code::Unimplemented, "not implemented".into()),
        }
    }
}

fn services(view: &View) -> Vec<String> {
    let custom = view.table.customs().iter().map(|custom| custom.name.clone());
    let own = [
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    ]
    .map(str::to_owned);
    descriptors::services()
        .map(str::to_owned)
        .chain(custom)
        .chain(own)
        .collect()
}

fn not_found() -> ReflectionAnswer {
    ReflectionAnswer::Error(Code::NotFound, "proto: not found".into())
}

fn by_symbol(view: &View, symbol: &str, sent_files: &mut SentFiles) -> ReflectionAnswer {
    // `package.Service.Method` is asked for too; the symbol that has a file is the one before the last dot.
    let candidates = [Some(symbol), symbol.rsplit_once('.').map(|(outer, _)| outer)];
    for candidate in candidates.into_iter().flatten() {
        if let Some(file) = descriptors::file_of(candidate) {
            sent_files.last = None;
            return ReflectionAnswer::Files(standard_files(file, sent_files));
        }
        // The definition that routing goes by comes first; messages are then looked for in all pools.
        let customs = view.table.customs();
        let owner = customs
            .iter()
            .find(|custom| custom.name == candidate)
            .into_iter()
            .chain(customs);
        for custom in owner {
            let file = custom
                .pool
                .values()
                .find(|file| file.symbols.iter().any(|known| known == candidate));
            if let Some(file) = file {
                sent_files.last = Some(custom.pool.clone());
                return ReflectionAnswer::Files(pool_files(&custom.pool, &file.name, sent_files));
            }
        }
    }
    not_found()
}

fn by_file(view: &View, name: &str, sent_files: &mut SentFiles) -> ReflectionAnswer {
    // Asked for by name, a file is wanted even if it was sent before.
    for (_, sent) in &mut sent_files.sent {
        sent.remove(name);
    }
    if let Some(pool) = sent_files.last.clone().filter(|pool| pool.contains_key(name)) {
        return ReflectionAnswer::Files(pool_files(&pool, name, sent_files));
    }
    if let Some(file) = descriptors::file(name) {
        return ReflectionAnswer::Files(standard_files(file, sent_files));
    }
    match view
        .table
        .customs()
        .iter()
        .find(|custom| custom.pool.contains_key(name))
    {
        Some(custom) => ReflectionAnswer::Files(pool_files(&custom.pool, name, sent_files)),
        None => not_found(),
    }
}

/// A file and all that it imports, less what was sent already.
fn standard_files(file: &'static descriptors::File, sent_files: &mut SentFiles) -> Vec<Vec<u8>> {
    let sent = sent_files.sent(&DescriptorSource::Standard);
    let mut files = Vec::new();
    let mut open = VecDeque::from([file]);
    while let Some(file) = open.pop_front() {
        if sent.insert(file.name.to_owned()) {
            files.push(file.bytes.to_vec());
            open.extend(file.imports.iter().filter_map(|import| descriptors::file(import)));
        }
    }
    files
}

fn pool_files(pool: &Arc<DescriptorPool>, name: &str, sent_files: &mut SentFiles) -> Vec<Vec<u8>> {
    let sent = sent_files.sent(&DescriptorSource::Module(pool.clone()));
    let mut files = Vec::new();
    let mut open = VecDeque::from([name]);
    while let Some(name) = open.pop_front() {
        if let Some(file) = pool.get(name)
            && sent.insert(file.name.clone())
        {
            files.push(file.bytes.to_vec());
            open.extend(file.imports.iter().map(String::as_str));
        }
    }
    files
}

/// The two versions differ in nothing but the names of their types.
macro_rules! serve {
    ($version:ident) => {
        const _: () = {
            use $version::server_reflection_request::MessageRequest;
            use $version::server_reflection_response::MessageResponse;

            #[tonic::async_trait]
            impl $version::server_reflection_server::ServerReflection for Reflection {
                type ServerReflectionInfoStream =
                    Pin<Box<dyn Stream<Item = Result<$version::ServerReflectionResponse, Status>> + Send>>;

                async fn server_reflection_info(
                    &self,
                    request: Request<Streaming<$version::ServerReflectionRequest>>,
                ) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
                    let (reflection, mut sent_files) = (self.clone(), SentFiles::default());
                    let answers = request.into_inner().map(move |request| {
                        let request = request?;
                        let query = match request.message_request.clone() {
                            Some(MessageRequest::FileByFilename(name)) => ReflectionQuery::File(name),
                            Some(MessageRequest::FileContainingSymbol(symbol)) => ReflectionQuery::Symbol(symbol),
                            Some(MessageRequest::ListServices(_)) => ReflectionQuery::Services,
                            _ => ReflectionQuery::Other,
                        };
                        let answer = match reflection.answer(query, &mut sent_files) {
                            ReflectionAnswer::Files(file_descriptor_proto) => {
                                MessageResponse::FileDescriptorResponse($version::FileDescriptorResponse {
                                    file_descriptor_proto,
                                })
                            }
                            ReflectionAnswer::Services(names) => {
                                MessageResponse::ListServicesResponse($version::ListServiceResponse {
                                    service: names
                                        .into_iter()
                                        .map(|name| $version::ServiceResponse { name })
                                        .collect(),
                                })
                            }
                            ReflectionAnswer::Error(code, error_message) => {
                                MessageResponse::ErrorResponse($version::ErrorResponse {
                                    error_code: code as i32,
                                    error_message,
                                })
                            }
                        };
                        Ok($version::ServerReflectionResponse {
                            valid_host: request.host.clone(),
                            original_request: Some(request),
                            message_response: Some(answer),
                        })
                    });
                    Ok(Response::new(Box::pin(answers)))
                }
            }
        };
    };
}

serve!(v1);
serve!(v1alpha);

#[cfg(test)]
mod tests {
    use super::*;
    use mainstay_proto::custom::ReflectedFile;

    fn files(answer: ReflectionAnswer) -> usize {
        match answer {
            ReflectionAnswer::Files(files) => files.len(),
            _ => 0,
        }
    }

    fn pool(package: &str) -> Arc<DescriptorPool> {
        let file = |name: &str, imports: &[&str], symbol: &str| ReflectedFile {
            name: name.to_owned(),
            bytes: bytes::Bytes::copy_from_slice(package.as_bytes()),
            imports: imports.iter().map(|import| (*import).to_owned()).collect(),
            symbols: vec![format!("{package}.{symbol}")],
        };
        let files = [
            file("api.proto", &["common.proto"], "Gizmo"),
            file("common.proto", &[], "Shape"),
        ];
        Arc::new(files.map(|file| (file.name.clone(), file)).into())
    }

    #[test]
    fn files_of_two_modules_under_one_name_are_both_sent() {
        let mut sent_files = SentFiles::default();
        let (one, other) = (pool("one"), pool("other"));
        let sent =
            |pool: &Arc<DescriptorPool>, name: &str, sent_files: &mut SentFiles| pool_files(pool, name, sent_files);
        assert_eq!(
            sent(&one, "api.proto", &mut sent_files),
            [b"one".to_vec(), b"one".to_vec()]
        );
        assert_eq!(
            sent(&other, "api.proto", &mut sent_files),
            [b"other".to_vec(), b"other".to_vec()]
        );
        assert!(
            sent(&one, "common.proto", &mut sent_files).is_empty(),
            "it was sent as an import"
        );
    }

    #[test]
    fn a_stream_gets_each_file_once_with_what_it_imports() {
        let reflection = Reflection::new(ViewCell::default());
        let mut sent_files = SentFiles::default();
        let symbol = |name: &str| ReflectionQuery::Symbol(name.to_owned());
        let first = files(reflection.answer(symbol("viam.component.motor.v1.MotorService"), &mut sent_files));
        assert!(first >= 3, "motor, common and struct at least: {first}");
        assert_eq!(
            files(reflection.answer(symbol("viam.component.motor.v1.MotorService.SetPower"), &mut sent_files)),
            0
        );
        assert_eq!(
            files(reflection.answer(symbol("viam.component.sensor.v1.SensorService"), &mut sent_files)),
            1
        );
        assert_eq!(
            files(reflection.answer(ReflectionQuery::File("common/v1/common.proto".into()), &mut sent_files)),
            1
        );
        assert!(matches!(
            reflection.answer(symbol("no.Such"), &mut sent_files),
            ReflectionAnswer::Error(Code::NotFound, _)
        ));
    }
}
