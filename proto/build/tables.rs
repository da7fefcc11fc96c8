//! Prints the method table (`src/methods.rs`), the HTTP bindings (`src/http_rules.rs`) and the descriptor index
//! (`src/descriptors.rs`) as static data.

use std::{fmt::Write as _, fs, path::Path};

use prost::Message as _;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor, ReflectMessage as _,
    ServiceDescriptor,
};

use crate::Error;

/// Marks the methods that move something; such a call makes a session responsible for the resource.
const MONITORED: &str = "viam.common.v1.safety_heartbeat_monitored";

/// The option that gives a method a path of plain HTTP.
const HTTP: &str = "google.api.http";

/// Packages that no client of a machine meets: the command line's own.
const PRIVATE: &str = "mainstay.";

/// Packages name their API without the underscores that its subtype has.
const SUBTYPES: [(&str, &str); 8] = [
    ("audioin", "audio_in"),
    ("audioout", "audio_out"),
    ("datamanager", "data_manager"),
    ("inputcontroller", "input_controller"),
    ("movementsensor", "movement_sensor"),
    ("posetracker", "pose_tracker"),
    ("powersensor", "power_sensor"),
    ("worldstatestore", "world_state_store"),
];

/// Fields in which a first message may carry the resource name. The later ones are of single methods, see `component-apis`:
/// board readers, input controllers, and streams whose first message holds a header.
const NAME_PATHS: [&[&str]; 5] = [
    &["name"],
    &["board_name"],
    &["controller"],
    &["init", "name"],
    &["metadata", "name"],
];

/// A file descriptor set as bytes: what is in one file stays as it was encoded, extensions included.
#[derive(Clone, PartialEq, prost::Message)]
struct EncodedSet {
    #[prost(bytes = "vec", repeated, tag = "1")]
    files: Vec<Vec<u8>>,
}

/// Writes `tables.rs` and, beside it, the descriptors that it includes.
pub fn write(set: &[u8], out: &Path) -> Result<(), Error> {
    let pool = DescriptorPool::decode(set)?;
    let mut text = String::new();
    methods(&pool, &mut text)?;
    http_bindings(&pool, &mut text)?;
    descriptors(&pool, &EncodedSet::decode(set)?, out, &mut text)?;
    fs::write(out.join("tables.rs"), text)?;
    Ok(())
}

fn methods(pool: &DescriptorPool, text: &mut String) -> Result<(), Error> {
    let monitored = pool
        .get_extension_by_name(MONITORED)
        .ok_or("no extension safety_heartbeat_monitored")?;
    let mut services: Vec<_> = pool
        .services()
        .filter(|service| !service.full_name().starts_with(PRIVATE))
        .collect();
    services.sort_by(|a, b| a.full_name().cmp(b.full_name()));
    let mut apis = Vec::new();

    writeln!(text, "pub(crate) static SERVICES: [Service; {}] = [", services.len())?;
    for (index, service) in services.iter().enumerate() {
        let api = api(service);
        let id = api.as_ref().map(|(kind, subtype)| format!("rdk:{kind}:{subtype}"));
        let parts = match &api {
            Some((kind, subtype)) => {
                format!("Some(ApiParts {{ namespace: \"rdk\", kind: {kind:?}, subtype: {subtype:?} }})")
            }
            None => "None".to_owned(),
        };
        writeln!(
            text,
            "  Service {{ name: {:?}, api: {id:?}, methods: &[",
            service.full_name()
        )?;
        let mut methods: Vec<_> = service.methods().collect();
        methods.sort_by(|a, b| a.name().cmp(b.name()));
        for method in methods {
            let request = method.input();
            let path = if api.is_some() { name_path(&request) } else { Vec::new() };
            let actuates = method.options().get_extension(&monitored).as_bool() == Some(true);
            let unary = !method.is_client_streaming() && !method.is_server_streaming();
            let stops = unary && method.name() == "Stop" && text_field(&request, "name").is_some();
            let name_field = if let [number] = path[..] { Some(number) } else { None };
            writeln!(
                text,
                "    Method {{ service: {:?}, name: {:?}, api: {parts}, kind: Kind::{}, name_field: {name_field:?}, \
                 name_path: &{path:?}, extra_field: {:?}, actuates: {actuates}, stops: {stops} }},",
                service.full_name(),
                method.name(),
                kind(&method),
                extra_field(&request),
            )?;
        }
        writeln!(text, "  ] }},")?;
        apis.extend(id.map(|id| (id, index)));
    }
    writeln!(text, "];")?;
    apis.sort();
    writeln!(
        text,
        "pub(crate) static BY_API: [(&str, u16); {}] = {apis:?};",
        apis.len()
    )?;
    Ok(())
}

fn http_bindings(pool: &DescriptorPool, text: &mut String) -> Result<(), Error> {
    let http = pool.get_extension_by_name(HTTP).ok_or("no extension google.api.http")?;
    let mut lines = Vec::new();
    for method in pool
        .services()
        .flat_map(|service| service.methods().collect::<Vec<_>>())
    {
        let options = method.options();
        let Some(rule) = options.has_extension(&http).then(|| options.get_extension(&http)) else {
            continue;
        };
        let rule = rule.as_message().ok_or("the rule is no message")?;
        let more = field(rule, "additional_bindings");
        let more = more
            .as_list()
            .unwrap_or_default()
            .iter()
            .filter_map(|one| one.as_message());
        for rule in std::iter::once(rule).chain(more) {
            lines.push(
                http_binding(&method, rule).ok_or_else(|| format!("no path in the rule of {}", method.full_name()))?,
            );
        }
    }
    lines.sort();
    writeln!(
        text,
        "pub(crate) static HTTP_BINDINGS: [HttpBinding; {}] = [\n  {}\n];",
        lines.len(),
        lines.join(",\n  ")
    )?;
    Ok(())
}

fn http_binding(method: &MethodDescriptor, rule: &DynamicMessage) -> Option<String> {
    let pattern = rule
        .descriptor()
        .oneofs()
        .next()?
        .fields()
        .find(|field| rule.has_field(field))?;
    let (verb, path) = match rule.get_field(&pattern).as_message() {
        Some(custom) => (
            field(custom, "kind").as_str()?.to_owned(),
            field(custom, "path").as_str()?.to_owned(),
        ),
        None => (
            pattern.name().to_uppercase(),
            rule.get_field(&pattern).as_str()?.to_owned(),
        ),
    };
    Some(format!(
        "HttpBinding::fixed({:?}, {:?}, {verb:?}, {path:?}, {:?}, {:?})",
        method.parent_service().full_name(),
        method.name(),
        field(rule, "body").as_str()?,
        field(rule, "response_body").as_str()?,
    ))
}

fn field(message: &DynamicMessage, name: &str) -> prost_reflect::Value {
    message
        .get_field_by_name(name)
        .map(|value| value.into_owned())
        .unwrap_or(prost_reflect::Value::Bool(false))
}

/// Type and subtype of the API that a service serves, by its package: `viam.component.audioin.v1` is `component`, `audio_in`.
fn api(service: &ServiceDescriptor) -> Option<(String, String)> {
    let file = service.parent_file();
    let mut parts = file.package_name().split('.');
    let (Some("viam"), Some(kind @ ("component" | "service")), Some(word)) = (parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    let subtype = SUBTYPES
        .iter()
        .find(|(package, _)| *package == word)
        .map_or(word, |(_, subtype)| subtype);
    Some((kind.to_owned(), subtype.to_owned()))
}

fn kind(method: &MethodDescriptor) -> &'static str {
    match (method.is_client_streaming(), method.is_server_streaming()) {
        (false, false) => "Unary",
        (false, true) => "ServerStream",
        (true, false) => "ClientStream",
        (true, true) => "Bidi",
    }
}

/// Field numbers that lead to the resource name; empty if the message has none.
fn name_path(request: &MessageDescriptor) -> Vec<u32> {
    let follow = |path: &&[&str]| -> Option<Vec<u32>> {
        let [outer @ .., last] = path else { return None };
        let (mut message, mut numbers) = (request.clone(), Vec::new());
        for name in outer {
            let field = message.get_field_by_name(name)?;
            numbers.push(field.number());
            message = field.kind().as_message()?.clone();
        }
        numbers.push(text_field(&message, last)?.number());
        Some(numbers)
    };
    NAME_PATHS.iter().find_map(follow).unwrap_or_default()
}

fn text_field(message: &MessageDescriptor, name: &str) -> Option<FieldDescriptor> {
    message
        .get_field_by_name(name)
        .filter(|field| field.kind() == Kind::String && !field.is_list())
}

fn extra_field(message: &MessageDescriptor) -> Option<u32> {
    let field = message.get_field_by_name("extra")?;
    let is_struct = field
        .kind()
        .as_message()
        .is_some_and(|kind| kind.full_name() == "google.protobuf.Struct");
    (is_struct && !field.is_list()).then(|| field.number())
}

fn descriptors(pool: &DescriptorPool, set: &EncodedSet, out: &Path, text: &mut String) -> Result<(), Error> {
    let mut files = Vec::new();
    for bytes in &set.files {
        let name = prost_types::FileDescriptorProto::decode(&bytes[..])?.name().to_owned();
        let file = pool
            .get_file_by_name(&name)
            .ok_or_else(|| format!("no file {name} in its own pool"))?;
        if !file.package_name().starts_with(PRIVATE) {
            files.push((file, bytes));
        }
    }
    files.sort_by(|(a, _), (b, _)| a.name().cmp(b.name()));
    let mut symbols = Vec::new();

    writeln!(text, "pub(crate) static FILES: [File; {}] = [", files.len())?;
    for (index, (file, bytes)) in files.iter().enumerate() {
        fs::write(out.join(format!("file_{index}.bin")), bytes)?;
        let imports: Vec<_> = file.dependencies().map(|import| import.name().to_owned()).collect();
        writeln!(
            text,
            "  File {{ name: {:?}, bytes: include_bytes!(concat!(env!(\"OUT_DIR\"), \"/file_{index}.bin\")), imports: \
             &{imports:?} }},",
            file.name(),
        )?;
        symbols.extend(file.enums().map(|item| (item.full_name().to_owned(), index)));
        symbols.extend(file.extensions().map(|item| (item.full_name().to_owned(), index)));
        for service in file.services() {
            symbols.push((service.full_name().to_owned(), index));
            symbols.extend(service.methods().map(|item| (item.full_name().to_owned(), index)));
        }
        for message in file.messages() {
            messages(&message, index, &mut symbols);
        }
    }
    writeln!(text, "];")?;
    symbols.sort();
    writeln!(
        text,
        "pub(crate) static SYMBOLS: [(&str, u16); {}] = {symbols:?};",
        symbols.len()
    )?;
    Ok(())
}

/// A message and what is nested in it, without the entries that maps make up.
fn messages(message: &MessageDescriptor, index: usize, symbols: &mut Vec<(String, usize)>) {
    if message.is_map_entry() {
        return;
    }
    symbols.push((message.full_name().to_owned(), index));
    symbols.extend(message.child_enums().map(|item| (item.full_name().to_owned(), index)));
    for child in message.child_messages() {
        messages(&child, index, symbols);
    }
}
