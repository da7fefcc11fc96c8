//! Description of a service as text and as JSON: methods with the fields and types of their requests and answers.

use std::collections::BTreeMap;

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor, ServiceDescriptor};
use serde_json::{Value, json};

use super::answer::is_well_known;
use super::method::snake_case;
use crate::table::TextTable;
use crate::terminal::{Colour, Style};

/// A type as a person would write it in JSON: `double`, `[string]`, `{string: any}`, `Pose`, `object`.
pub fn type_name(field: &FieldDescriptor) -> String {
    if field.is_map()
        && let Kind::Message(entry) = field.kind()
    {
        let (key, value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
        return format!("{{{}: {}}}", kind_name(&key.kind()), kind_name(&value.kind()));
    }
    let name = kind_name(&field.kind());
    if field.is_list() { format!("[{name}]") } else { name }
}

fn kind_name(kind: &Kind) -> String {
    match kind {
        Kind::Double => "double".into(),
        Kind::Float => "float".into(),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => "int32".into(),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => "int64".into(),
        Kind::Uint32 | Kind::Fixed32 => "uint32".into(),
        Kind::Uint64 | Kind::Fixed64 => "uint64".into(),
        Kind::Bool => "bool".into(),
        Kind::String => "string".into(),
        Kind::Bytes => "bytes (base64)".into(),
        Kind::Enum(descriptor) => descriptor.name().to_owned(),
        Kind::Message(descriptor) => message_name(descriptor),
    }
}

fn message_name(descriptor: &MessageDescriptor) -> String {
    match descriptor.full_name() {
        "google.protobuf.Struct" => "object".into(),
        "google.protobuf.Value" => "any".into(),
        "google.protobuf.ListValue" => "[any]".into(),
        "google.protobuf.Timestamp" => "time (\"2026-01-31T12:00:00Z\")".into(),
        "google.protobuf.Duration" => "duration (\"1.5s\")".into(),
        "google.protobuf.Empty" => "{}".into(),
        // Two packages may both have a `Pose`; the table below the methods keeps them apart by their full names.
        _ => descriptor.name().to_owned(),
    }
}

/// The fields of a message with their types on one line, without `hidden`.
pub fn fields(descriptor: &MessageDescriptor, hidden: Option<&FieldDescriptor>) -> String {
    let shown = descriptor.fields().filter(|field| Some(field) != hidden);
    let shown: Vec<String> = shown
        .map(|field| format!("{}: {}", field.name(), type_name(&field)))
        .collect();
    shown.join(", ")
}

/// A table of all methods, and one of the types that their requests and answers mention. `name_field` tells which
/// field of a request is filled in by itself and need not be shown.
pub fn lines(
    service: &ServiceDescriptor,
    name_field: impl Fn(&MethodDescriptor) -> Option<FieldDescriptor>,
    style: Style,
) -> Vec<String> {
    let mut table = TextTable::new(["METHOD", "REQUEST → ANSWER"]);
    for method in service.methods() {
        let request = fields(&method.input(), name_field(&method).as_ref());
        let stream = |yes: bool| if yes { "stream of " } else { "" };
        let text = format!(
            "{}{{{request}}} → {}{{{}}}",
            stream(method.is_client_streaming()),
            stream(method.is_server_streaming()),
            fields(&method.output(), None)
        );
        table.row([snake_case(method.name()).into(), text.into()]);
    }
    let mut lines = table.lines(style);
    let types = types(service);
    if !types.is_empty() {
        let mut table = TextTable::new(["TYPE", "FIELDS OR VALUES"]);
        for shape in types.values() {
            table.row([shape.name().into(), shape.text().into()]);
        }
        lines.push(String::new());
        lines.extend(table.lines(style));
    }
    lines
}

/// The same as JSON: `service`, `methods[]` with `name`, `wire_name`, `client_streaming`, `server_streaming`, `request`
/// and `response` (objects of field → type), and `types`, by full name.
pub fn json(service: &ServiceDescriptor) -> Value {
    let methods = service.methods().map(|method| {
        json!({
            "name": snake_case(method.name()),
            "wire_name": method.name(),
            "client_streaming": method.is_client_streaming(),
            "server_streaming": method.is_server_streaming(),
            "request": fields_json(&method.input()),
            "response": fields_json(&method.output()),
        })
    });
    let types = types(service).into_iter().map(|(name, shape)| (name, shape.json()));
    json!({
        "service": service.full_name(),
        "methods": methods.collect::<Value>(),
        "types": types.collect::<Value>(),
    })
}

fn fields_json(descriptor: &MessageDescriptor) -> Value {
    descriptor
        .fields()
        .map(|field| (field.name().to_owned(), Value::from(type_name(&field))))
        .collect()
}

/// A heading for the list: the resource and its API.
pub fn heading(resource: &str, service: &str, style: Style) -> String {
    format!(
        "{}  {}",
        style.paint(Colour::Bold, resource),
        style.paint(Colour::Dim, service)
    )
}

/// Own type of a service, apart from that of its requests and answers.
enum TypeShape {
    Message(MessageDescriptor),
    Enum(EnumDescriptor),
}

impl TypeShape {
    fn name(&self) -> &str {
        match self {
            Self::Message(descriptor) => descriptor.name(),
            Self::Enum(descriptor) => descriptor.name(),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Message(descriptor) => format!("{{{}}}", fields(descriptor, None)),
            Self::Enum(descriptor) => {
                let values: Vec<String> = descriptor.values().map(|value| value.name().to_owned()).collect();
                values.join(" | ")
            }
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Message(descriptor) => fields_json(descriptor),
            Self::Enum(descriptor) => descriptor.values().map(|value| Value::from(value.name())).collect(),
        }
    }
}

/// Every own message and enum that can be reached from a request or an answer, by full name.
fn types(service: &ServiceDescriptor) -> BTreeMap<String, TypeShape> {
    let mut found = BTreeMap::new();
    let mut open: Vec<MessageDescriptor> = service
        .methods()
        .flat_map(|method| [method.input(), method.output()])
        .collect();
    while let Some(message) = open.pop() {
        for kind in message.fields().map(|field| field.kind()) {
            match kind {
                Kind::Message(inner) if inner.is_map_entry() => open.push(inner),
                Kind::Message(inner) if !is_well_known(inner.full_name()) => {
                    let shape = TypeShape::Message(inner.clone());
                    if found.insert(inner.full_name().to_owned(), shape).is_none() {
                        open.push(inner);
                    }
                }
                Kind::Enum(inner) if !is_well_known(inner.full_name()) => {
                    found.insert(inner.full_name().to_owned(), TypeShape::Enum(inner));
                }
                _ => {}
            }
        }
    }
    found
}
