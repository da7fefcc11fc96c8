//! gRPC reflection, v1 and v1alpha, from which the core learns custom APIs. Each response contains one file; clients fetch
//! imports by their names. Descriptors are decoded at the first request.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::StreamExt;
use mainstay_proto::{
    custom::{CustomService, DescriptorPool, ReflectedFile},
    descriptors,
};
use prost::Message;
use prost_types::{DescriptorProto, FileDescriptorProto};
use tonic::{Code, Request, Response, Status, Streaming};

use crate::Service;

/// Reflection service of a module.
#[derive(Clone)]
pub(crate) struct Reflection(Arc<Catalogue>);

/// Services and descriptors of a module.
struct Catalogue {
    services: Vec<&'static str>,
    sets: Vec<&'static [u8]>,
    custom: OnceLock<CustomFiles>,
}

/// Encoded `google.protobuf.FileDescriptorSet`, whose files stay as they came: options that `prost-types` does not know, such
/// as `safety_heartbeat_monitored`, would be lost in decoding.
#[derive(Clone, PartialEq, Message)]
struct FileSet {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    files: Vec<Bytes>,
}

/// Reads what calls need to know of a custom API's methods from its descriptors.
pub(crate) fn routing(service: &str, descriptors: &'static [u8]) -> Option<CustomService> {
    let set = FileSet::decode(descriptors).ok()?;
    let files = set.files.into_iter().filter_map(|file| ReflectedFile::read(file).ok());
    let pool: DescriptorPool = files.map(|file| (file.name.clone(), file)).collect();
    CustomService::read(service, &Arc::new(pool))
}

/// Descriptor files of custom APIs, indexed by file name and by symbol.
#[derive(Default)]
struct CustomFiles {
    files: BTreeMap<String, Bytes>,
    symbols: BTreeMap<String, String>,
}

/// Decoded reflection request, of either version.
enum Query {
    File(String),
    Symbol(String),
    Services,
    Other,
}

/// Response to a [`Query`].
enum Reply {
    File(Bytes),
    Services(Vec<&'static str>),
    Unknown(Code, String),
}

impl Reflection {
    pub(crate) fn new(services: Vec<&'static str>, sets: Vec<&'static [u8]>) -> Self {
        Self(Arc::new(Catalogue {
            services,
            sets,
            custom: OnceLock::new(),
        }))
    }

    /// Creates both versions of the service.
    pub(crate) fn services(&self) -> [Service; 2] {
        let v1 = tonic_reflection::pb::v1::server_reflection_server::ServerReflectionServer::new(self.clone());
        let v1alpha =
            tonic_reflection::pb::v1alpha::server_reflection_server::ServerReflectionServer::new(self.clone());
        [Service::new(v1), Service::new(v1alpha)]
    }

    fn lookup(&self, query: Query) -> Reply {
        let custom = self.0.custom.get_or_init(|| CustomFiles::decode(&self.0.sets));
        match query {
            Query::Services => Reply::Services(self.0.services.clone()),
            Query::File(name) => custom
                .files
                .get(&name)
                .cloned()
                .or_else(|| descriptors::file(&name).map(|file| Bytes::from_static(file.bytes)))
                .map_or_else(
                    || Reply::Unknown(Code::NotFound, format!("no file `{name}`")),
                    Reply::File,
                ),
            Query::Symbol(symbol) => custom
                .symbols
                .get(&symbol)
                .and_then(|file| custom.files.get(file).cloned())
                .or_else(|| descriptors::file_of(&symbol).map(|file| Bytes::from_static(file.bytes)))
                .map_or_else(
                    || Reply::Unknown(Code::NotFound, format!("no symbol `{symbol}`")),
                    Reply::File,
                ),
            Query::Other => Reply::Unknown(
                Code::Unimplemented,
                "only files, symbols and services can be asked for".into(),
            ),
        }
    }
}

impl CustomFiles {
    fn decode(sets: &[&'static [u8]]) -> Self {
        let mut custom = Self::default();
        for set in sets {
            let added =
                FileSet::decode(*set).and_then(|set| set.files.into_iter().try_for_each(|file| custom.add(file)));
            if let Err(error) = added {
                // Costs the dynamic use of that API, and nothing else.
                tracing::error!(%error, "the descriptors of an API cannot be read");
            }
        }
        custom
    }

    fn add(&mut self, bytes: Bytes) -> Result<(), prost::DecodeError> {
        let file = FileDescriptorProto::decode(bytes.clone())?;
        let name = file.name().to_owned();
        let package = if file.package().is_empty() {
            String::new()
        } else {
            format!("{}.", file.package())
        };
        let mut symbols = Vec::new();
        file.message_type
            .iter()
            .for_each(|message| messages(&package, message, &mut symbols));
        symbols.extend(file.enum_type.iter().map(|kind| format!("{package}{}", kind.name())));
        symbols.extend(
            file.extension
                .iter()
                .map(|extension| format!("{package}{}", extension.name())),
        );
        for service in &file.service {
            symbols.push(format!("{package}{}", service.name()));
            symbols.extend(
                service
                    .method
                    .iter()
                    .map(|method| format!("{package}{}.{}", service.name(), method.name())),
            );
        }
        self.symbols
            .extend(symbols.into_iter().map(|symbol| (symbol, name.clone())));
        self.files.insert(name, bytes);
        Ok(())
    }
}

fn messages(prefix: &str, message: &DescriptorProto, symbols: &mut Vec<String>) {
    let name = format!("{prefix}{}", message.name());
    let inner = format!("{name}.");
    message
        .nested_type
        .iter()
        .for_each(|message| messages(&inner, message, symbols));
    symbols.extend(message.enum_type.iter().map(|kind| format!("{inner}{}", kind.name())));
    symbols.push(name);
}

/// Implements one version of the service; they differ in their package alone.
macro_rules! version {
    ($version:ident) => {
        #[async_trait::async_trait]
        impl tonic_reflection::pb::$version::server_reflection_server::ServerReflection for Reflection {
            type ServerReflectionInfoStream = Pin<
                Box<dyn Stream<Item = Result<tonic_reflection::pb::$version::ServerReflectionResponse, Status>> + Send>,
            >;

            async fn server_reflection_info(
                &self,
                request: Request<Streaming<tonic_reflection::pb::$version::ServerReflectionRequest>>,
            ) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
                use tonic_reflection::pb::$version::{
                    ErrorResponse, FileDescriptorResponse, ListServiceResponse, ServerReflectionResponse,
                    ServiceResponse, server_reflection_request::MessageRequest,
                    server_reflection_response::MessageResponse,
                };
                let reflection = self.clone();
                let replies = request.into_inner().map(move |request| {
                    let request = request?;
                    let query = match request.message_request.clone() {
                        Some(MessageRequest::FileByFilename(name)) => Query::File(name),
                        Some(MessageRequest::FileContainingSymbol(symbol)) => Query::Symbol(symbol),
                        Some(MessageRequest::ListServices(_)) => Query::Services,
                        _ => Query::Other,
                    };
                    let reply = match reflection.lookup(query) {
                        Reply::File(file) => MessageResponse::FileDescriptorResponse(FileDescriptorResponse {
                            file_descriptor_proto: vec![file.into()],
                        }),
                        Reply::Services(services) => MessageResponse::ListServicesResponse(ListServiceResponse {
                            service: services
                                .into_iter()
                                .map(|name| ServiceResponse { name: name.into() })
                                .collect(),
                        }),
                        Reply::Unknown(code, error_message) => MessageResponse::ErrorResponse(ErrorResponse {
                            error_code: code.into(),
                            error_message,
                        }),
                    };
                    Ok(ServerReflectionResponse {
                        valid_host: request.host.clone(),
                        original_request: Some(request),
                        message_response: Some(reply),
                    })
                });
                Ok(Response::new(Box::pin(replies)))
            }
        }
    };
}

version!(v1);
version!(v1alpha);

#[cfg(test)]
mod tests {
    use prost_types::{EnumDescriptorProto, FileDescriptorSet, MethodDescriptorProto, ServiceDescriptorProto};

    use super::*;

    fn reflection() -> Reflection {
        let gadget = DescriptorProto {
            name: Some("Gadget".into()),
            enum_type: vec![EnumDescriptorProto {
                name: Some("Kind".into()),
                ..Default::default()
            }],
            ..Default::default()
        };
        let service = ServiceDescriptorProto {
            name: Some("GadgetService".into()),
            method: vec![MethodDescriptorProto {
                name: Some("Turn".into()),
                ..Default::default()
            }],
            ..Default::default()
        };
        let file = FileDescriptorProto {
            name: Some("acme/gadget.proto".into()),
            package: Some("acme.v1".into()),
            message_type: vec![gadget],
            service: vec![service],
            ..Default::default()
        };
        let set = FileDescriptorSet { file: vec![file] }.encode_to_vec();
        Reflection::new(vec!["acme.v1.GadgetService"], vec![set.leak(), b"\xff"])
    }

    fn file_of(query: Query) -> Result<String, Code> {
        match reflection().lookup(query) {
            Reply::File(file) => Ok(FileDescriptorProto::decode(file).unwrap().name().to_owned()),
            Reply::Services(_) => panic!("a file is wanted"),
            Reply::Unknown(code, _) => Err(code),
        }
    }

    #[test]
    fn own_and_standard_files_are_found_by_symbol_and_by_name() {
        for symbol in [
            "acme.v1.GadgetService",
            "acme.v1.GadgetService.Turn",
            "acme.v1.Gadget",
            "acme.v1.Gadget.Kind",
        ] {
            assert_eq!(
                file_of(Query::Symbol(symbol.into())),
                Ok("acme/gadget.proto".into()),
                "{symbol}"
            );
        }
        assert_eq!(
            file_of(Query::Symbol("viam.component.sensor.v1.SensorService".into())),
            Ok("component/sensor/v1/sensor.proto".into())
        );
        for file in [
            "acme/gadget.proto",
            "common/v1/common.proto",
            "google/protobuf/struct.proto",
        ] {
            assert_eq!(file_of(Query::File(file.into())), Ok(file.into()));
        }
        assert_eq!(file_of(Query::Symbol("acme.v1.Nothing".into())), Err(Code::NotFound));
        assert_eq!(file_of(Query::File("nothing.proto".into())), Err(Code::NotFound));
        assert_eq!(file_of(Query::Other), Err(Code::Unimplemented));
    }
}
