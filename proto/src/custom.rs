//! APIs that only a module knows: its descriptors as they came, for reflection, and what a router must know of their
//! methods, read from them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use crate::google::api::HttpRule;
use crate::http_rules::HttpBinding;
use crate::methods::Kind;

/// Descriptor file of a module, as it came.
#[derive(Debug, Clone)]
pub struct ReflectedFile {
    /// Name, as imports give it.
    pub name: String,
    /// The encoded `FileDescriptorProto`.
    pub bytes: Bytes,
    /// Names of the files that it imports.
    pub imports: Vec<String>,
    /// Full names of the messages, enums and services in it.
    pub symbols: Vec<String>,
}

/// Descriptor files of one module, by name.
pub type DescriptorPool = BTreeMap<String, ReflectedFile>;

/// Routing data of one method of a custom API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CustomMethod {
    /// Sides that stream.
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
    pub pool: Arc<DescriptorPool>,
    /// By which paths of plain HTTP its methods are reached.
    pub http_bindings: Vec<HttpBinding>,
    methods: HashMap<String, CustomMethod>,
}

impl ReflectedFile {
    /// Reads an encoded `FileDescriptorProto`.
    pub fn read(bytes: Bytes) -> Result<Self, prost::DecodeError> {
        let file = FileDescriptor::decode(bytes.clone())?;
        let symbols = file.symbols();
        Ok(Self {
            name: file.name,
            bytes,
            imports: file.dependency,
            symbols,
        })
    }
}

impl CustomService {
    /// Reads from the files what routing needs of `service`; `None` if none of them defines it.
    pub fn read(service: &str, pool: &Arc<DescriptorPool>) -> Option<Self> {
        let decode = |symbol: &str| {
            let declares = |file: &&ReflectedFile| file.symbols.iter().any(|known| known == symbol);
            let file = pool.values().find(declares)?;
            FileDescriptor::decode(file.bytes.clone()).ok()
        };
        let holder = decode(service)?;
        let descriptor = holder
            .service
            .iter()
            .find(|candidate| holder.qualify(&candidate.name) == service)?;
        let field = |request: &str, name: &str, wanted: FieldType| {
            let request = request.trim_start_matches('.');
            let file = decode(request)?;
            let mut fields = file.message(request)?.field.iter();
            let field = fields.find(|field| field.name == name && field.is(wanted))?;
            field.number.try_into().ok()
        };
        let http_bindings = descriptor.method.iter().flat_map(|method| {
            let rule = method.options.as_ref().and_then(|options| options.http.as_ref());
            rule.map(|rule| HttpBinding::of_rule(service, &method.name, rule))
                .unwrap_or_default()
        });
        let methods = descriptor.method.iter().map(|method| {
            let kind = match (method.client_streaming, method.server_streaming) {
                (false, false) => Kind::Unary,
                (false, true) => Kind::ServerStream,
                (true, false) => Kind::ClientStream,
                (true, true) => Kind::Bidi,
            };
            let name_field = field(&method.input_type, "name", FieldType::Text);
            let options = method.options.as_ref();
            let known = CustomMethod {
                kind,
                name_field,
                extra_field: field(&method.input_type, "extra", FieldType::Struct),
                actuates: options.is_some_and(|options| options.safety_heartbeat_monitored),
                stops: method.name == "Stop" && kind == Kind::Unary && name_field.is_some(),
            };
            (method.name.clone(), known)
        });
        Some(Self {
            name: service.to_owned(),
            pool: pool.clone(),
            http_bindings: http_bindings.collect(),
            methods: methods.collect(),
        })
    }

    /// A method by its name on the wire.
    pub fn method(&self, name: &str) -> Option<&CustomMethod> {
        self.methods.get(name)
    }
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
    #[prost(message, optional, tag = "72295728")]
    http: Option<HttpRule>,
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
        if self.package.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.package)
        }
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
        let path = if self.package.is_empty() {
            full
        } else {
            full.strip_prefix(&self.package)?.strip_prefix('.')?
        };
        let mut parts = path.split('.');
        let first = parts.next()?;
        let top = self.message_type.iter().find(|message| message.name == first)?;
        parts.try_fold(top, |message, part| {
            message.nested_type.iter().find(|nested| nested.name == part)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::google::api::http_rule::Pattern;

    fn field(name: &str, number: i32, r#type: i32, type_name: &str) -> FieldDescriptor {
        FieldDescriptor {
            name: name.into(),
            number,
            label: 1,
            r#type,
            type_name: type_name.into(),
        }
    }

    fn method(name: &str, streams: (bool, bool), monitored: bool) -> MethodDescriptor {
        MethodDescriptor {
            name: name.into(),
            input_type: ".acme.v1.Outer.Request".into(),
            options: monitored.then_some(MethodOptions {
                safety_heartbeat_monitored: true,
                http: Some(HttpRule {
                    body: "*".into(),
                    pattern: Some(Pattern::Post("/viam/api/v1/acme/{name}/turn".into())),
                    ..HttpRule::default()
                }),
            }),
            client_streaming: streams.0,
            server_streaming: streams.1,
        }
    }

    fn pool() -> Arc<DescriptorPool> {
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
            message_type: vec![MessageDescriptor {
                name: "Outer".into(),
                field: vec![],
                nested_type: vec![request],
            }],
            enum_type: vec![],
            service: vec![ServiceDescriptor {
                name: "Gizmo".into(),
                method: vec![
                    method("Turn", (false, false), true),
                    method("Stop", (false, false), false),
                    method("Talk", (true, true), false),
                    MethodDescriptor {
                        input_type: ".acme.v1.Outer".into(),
                        ..method("Anonymous", (false, false), false)
                    },
                ],
            }],
        };
        let file = ReflectedFile::read(Bytes::from(file.encode_to_vec())).expect("a good file");
        Arc::new(DescriptorPool::from([(file.name.clone(), file)]))
    }

    #[test]
    fn routing_facts_are_read_from_the_descriptors() {
        let service = CustomService::read("acme.v1.Gizmo", &pool()).expect("defined");
        let turn = service.method("Turn").expect("defined");
        assert_eq!(
            (turn.kind, turn.name_field, turn.extra_field),
            (Kind::Unary, Some(7), Some(99))
        );
        assert!(turn.actuates && !turn.stops);
        let stop = service.method("Stop").expect("defined");
        assert!(stop.stops && !stop.actuates);
        assert_eq!(service.method("Talk").map(|method| method.kind), Some(Kind::Bidi));
        assert_eq!(service.method("Nothing"), None);
        let binding = HttpBinding::fixed(
            "acme.v1.Gizmo",
            "Turn",
            "POST",
            "/viam/api/v1/acme/{name}/turn",
            "*",
            "",
        );
        assert_eq!(service.http_bindings, [binding]);
    }

    #[test]
    fn a_service_that_no_file_defines_is_none() {
        assert!(CustomService::read("acme.v1.Other", &pool()).is_none());
    }

    #[test]
    fn bytes_that_are_no_descriptor_are_refused() {
        let garbage = Bytes::from_static(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff");
        assert!(ReflectedFile::read(garbage).is_err());
    }
}
