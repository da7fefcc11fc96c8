//! Facts that are compared: descriptors flattened to one line per fact, keyed by full name.
//!
//! The messages below are those of `google/protobuf/descriptor.proto` with the fields that matter here, and with the two
//! method options that matter: generic descriptor types drop options that they do not know.

use std::collections::{BTreeMap, BTreeSet};

use mainstay_proto::google::api::HttpRule;
use prost::Message as Derive;
use prost_types::field_descriptor_proto::{Label, Type};

#[derive(Clone, PartialEq, Derive)]
pub struct FileSet {
    #[prost(message, repeated, tag = "1")]
    pub files: Vec<File>,
}

#[derive(Clone, PartialEq, Derive)]
pub struct File {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub package: String,
    #[prost(message, repeated, tag = "4")]
    pub messages: Vec<Message>,
    #[prost(message, repeated, tag = "5")]
    pub enums: Vec<EnumDescriptor>,
    #[prost(message, repeated, tag = "6")]
    pub services: Vec<Service>,
    #[prost(message, repeated, tag = "7")]
    pub extensions: Vec<Field>,
    #[prost(string, tag = "12")]
    pub syntax: String,
}

#[derive(Clone, PartialEq, Derive)]
pub struct Message {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, repeated, tag = "2")]
    pub fields: Vec<Field>,
    #[prost(message, repeated, tag = "3")]
    pub nested: Vec<Message>,
    #[prost(message, repeated, tag = "4")]
    pub enums: Vec<EnumDescriptor>,
    #[prost(message, optional, tag = "7")]
    pub options: Option<MessageOptions>,
    #[prost(message, repeated, tag = "8")]
    pub oneofs: Vec<Oneof>,
    #[prost(message, repeated, tag = "9")]
    pub reserved: Vec<Range>,
}

#[derive(Clone, PartialEq, Derive)]
pub struct MessageOptions {
    #[prost(bool, tag = "7")]
    pub map_entry: bool,
}

#[derive(Clone, PartialEq, Derive)]
pub struct Range {
    #[prost(int32, tag = "1")]
    pub start: i32,
    #[prost(int32, tag = "2")]
    pub end: i32,
}

#[derive(Clone, PartialEq, Derive)]
pub struct Oneof {
    #[prost(string, tag = "1")]
    pub name: String,
}

#[derive(Clone, PartialEq, Derive)]
pub struct Field {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub extendee: String,
    #[prost(int32, tag = "3")]
    pub number: i32,
    #[prost(int32, tag = "4")]
    pub label: i32,
    #[prost(int32, tag = "5")]
    pub kind: i32,
    #[prost(string, tag = "6")]
    pub type_name: String,
    #[prost(int32, optional, tag = "9")]
    pub oneof_index: Option<i32>,
    #[prost(bool, tag = "17")]
    pub proto3_optional: bool,
}

#[derive(Clone, PartialEq, Derive)]
pub struct EnumDescriptor {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, repeated, tag = "2")]
    pub values: Vec<EnumValue>,
}

#[derive(Clone, PartialEq, Derive)]
pub struct EnumValue {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(int32, tag = "2")]
    pub number: i32,
}

#[derive(Clone, PartialEq, Derive)]
pub struct Service {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, repeated, tag = "2")]
    pub methods: Vec<Method>,
}

#[derive(Clone, PartialEq, Derive)]
pub struct Method {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub input: String,
    #[prost(string, tag = "3")]
    pub output: String,
    #[prost(message, optional, tag = "4")]
    pub options: Option<MethodOptions>,
    #[prost(bool, tag = "5")]
    pub client_streaming: bool,
    #[prost(bool, tag = "6")]
    pub server_streaming: bool,
}

#[derive(Clone, PartialEq, Derive)]
pub struct MethodOptions {
    /// `safety_heartbeat_monitored`.
    #[prost(bool, tag = "84260")]
    pub monitored: bool,
    /// `google.api.http`.
    #[prost(message, optional, tag = "72295728")]
    pub http: Option<HttpRule>,
}

/// Packages that a machine speaks; a trailing dot takes in all below.
const PACKAGES: [&str; 12] = [
    "viam.common.v1",
    "viam.robot.v1",
    "viam.module.v1",
    "viam.component.",
    "viam.service.",
    "viam.app.datasync.v1",
    "viam.app.packages.v1",
    "tagger.v1",
    "proto.stream.v1",
    "proto.rpc.v1",
    "proto.rpc.webrtc.v1",
    "opentelemetry.proto.",
];

/// Messages of other packages that a machine needs, with all that they use.
const ALSO: [&str; 1] = ["viam.app.v1.ComponentConfig"];

/// Runtimes bring these files along, each in the edition of its own protobuf release.
const RUNTIME: &str = "google.protobuf";

/// Fact by name.
pub type Facts = BTreeMap<String, String>;

/// Facts of a set about the packages of a machine and everything that they use.
pub fn facts(set: &FileSet) -> Facts {
    let all = Collector::new(set);
    let mut wanted = BTreeSet::new();
    let mut todo: Vec<&str> = ALSO.to_vec();
    for (name, item) in &all.items {
        let spoken =
            |package: &&str| item.package == *package || package.ends_with('.') && item.package.starts_with(package);
        if PACKAGES.iter().any(spoken) {
            todo.push(name);
        }
    }
    let mut facts = Facts::new();
    while let Some(name) = todo.pop() {
        if !wanted.insert(name) {
            continue;
        }
        let Some(item) = all.items.get(name) else {
            facts.insert(format!("declaration of {name}"), "absent".into());
            continue;
        };
        todo.extend(item.uses.iter().map(String::as_str));
        if item.package != RUNTIME {
            facts.extend(item.facts.iter().cloned());
        }
    }
    facts
}

/// All that a set says, but for the files that runtimes bring along.
pub fn everything(set: &FileSet) -> Facts {
    let items = Collector::new(set).items.into_values();
    items
        .filter(|item| item.package != RUNTIME)
        .flat_map(|item| item.facts)
        .collect()
}

/// One line per difference.
pub fn compare(wanted: &Facts, found: &Facts) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, want) in wanted {
        match found.get(name) {
            None => lines.push(format!("missing: {name}")),
            Some(have) if have != want => lines.push(format!("differs: {name}: should be `{want}`, is `{have}`")),
            Some(_) => {}
        }
    }
    lines.extend(
        found
            .keys()
            .filter(|name| !wanted.contains_key(*name))
            .map(|name| format!("extra: {name}")),
    );
    lines
}

/// One message, enum, service or extension.
#[derive(Default)]
struct Item {
    package: String,
    facts: Vec<(String, String)>,
    /// Full names of the types that it needs, its parent included.
    uses: Vec<String>,
}

impl Item {
    fn new(package: &str, parent: Option<&str>) -> Self {
        Self {
            package: package.to_owned(),
            uses: parent.map(str::to_owned).into_iter().collect(),
            ..Self::default()
        }
    }

    fn says(&mut self, name: String, fact: String) {
        self.facts.push((name, fact));
    }

    fn uses(&mut self, type_name: &str) {
        if !type_name.is_empty() {
            self.uses.push(type_name.trim_start_matches('.').to_owned());
        }
    }
}

#[derive(Default)]
struct Collector {
    items: BTreeMap<String, Item>,
}

impl Collector {
    fn new(set: &FileSet) -> Self {
        let mut all = Self::default();
        for file in &set.files {
            all.file(file);
        }
        all
    }

    fn file(&mut self, file: &File) {
        let at = format!("in {} ({})", file.name, file.syntax);
        for item in &file.enums {
            self.enumeration(item, &file.package, None, &at, &file.package);
        }
        for message in &file.messages {
            self.message(message, &file.package, None, &at, &file.package);
        }
        for field in &file.extensions {
            let name = format!("{}.{}", file.package, field.name);
            let mut item = Item::new(&file.package, None);
            item.says(
                format!("extension {name}"),
                format!("{} of {} {at}", describe(field, &[]), field.extendee),
            );
            self.items.insert(name, item);
        }
        for service in &file.services {
            let name = format!("{}.{}", file.package, service.name);
            let mut item = Item::new(&file.package, None);
            item.says(format!("service {name}"), at.clone());
            for method in &service.methods {
                let streams = (method.client_streaming, method.server_streaming);
                let options = method.options.clone().unwrap_or_default();
                item.says(
                    format!("method {name}.{}", method.name),
                    format!(
                        "{} -> {}, streams {streams:?}, monitored {}, http {:?}",
                        method.input, method.output, options.monitored, options.http
                    ),
                );
                item.uses(&method.input);
                item.uses(&method.output);
            }
            self.items.insert(name, item);
        }
    }

    fn message(&mut self, message: &Message, scope: &str, parent: Option<&str>, at: &str, package: &str) {
        let name = format!("{scope}.{}", message.name);
        let mut item = Item::new(package, parent);
        let reserved: Vec<_> = message.reserved.iter().map(|range| range.start..range.end).collect();
        let map = message.options.as_ref().is_some_and(|options| options.map_entry);
        item.says(
            format!("message {name}"),
            format!("{at}, reserved {reserved:?}, map entry {map}"),
        );
        for field in &message.fields {
            item.says(format!("field {name}.{}", field.name), describe(field, &message.oneofs));
            item.uses(&field.type_name);
        }
        for inner in &message.enums {
            self.enumeration(inner, &name, Some(&name), at, package);
        }
        for inner in &message.nested {
            self.message(inner, &name, Some(&name), at, package);
        }
        self.items.insert(name, item);
    }

    fn enumeration(&mut self, item: &EnumDescriptor, scope: &str, parent: Option<&str>, at: &str, package: &str) {
        let name = format!("{scope}.{}", item.name);
        let mut entry = Item::new(package, parent);
        entry.says(format!("enum {name}"), at.to_owned());
        for value in &item.values {
            entry.says(format!("value {name}.{}", value.name), value.number.to_string());
        }
        self.items.insert(name, entry);
    }
}

fn describe(field: &Field, oneofs: &[Oneof]) -> String {
    let label = Label::try_from(field.label).map_or("?", |label| label.as_str_name());
    let kind = Type::try_from(field.kind).map_or("?", |kind| kind.as_str_name());
    let oneof = field
        .oneof_index
        .and_then(|index| oneofs.get(usize::try_from(index).ok()?))
        .map(|oneof| &oneof.name);
    format!(
        "{} {label} {kind} {} oneof {oneof:?} optional {}",
        field.number, field.type_name, field.proto3_optional
    )
}
