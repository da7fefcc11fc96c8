//! Entries of `components`, `services` and `modules`: completion of short and legacy forms, rules for names.
//!
//! What is wrong with an entry costs it alone: it stays visible and carries its `fault`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use mainstay_ids::{Api, IdError, Model, ResourceName};
use mainstay_model::suggest::nearest;
use mainstay_model::{Level, ModuleConfig, ModuleType, ResourceConfig, ServiceConfig, Span};

use crate::node::{NodeValue, TreeNode};
use crate::policy::policy;
use crate::read::{Keys, Reader};
use crate::values::help_for_word;
use crate::{frame, keys, names};

/// List that an entry stands in; decides the default API where the entry names none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    Components,
    Services,
}

impl List {
    /// The middle part of an API.
    fn kind(self) -> &'static str {
        match self {
            Self::Components => "component",
            Self::Services => "service",
        }
    }
}

/// Reads one component or service. `None` if it is no map.
pub(super) fn resource(reader: &mut Reader, node: &TreeNode, list: List) -> Option<ResourceConfig> {
    let section = match list {
        List::Components => &keys::COMPONENT,
        List::Services => &keys::SERVICE,
    };
    let keys = reader.keys(section, node)?;
    let name = resource_name(reader, &keys, list);
    let api = api(reader, &keys, list);
    let model = model(reader, &keys, list);
    let (depends_on, places): (Vec<_>, Vec<_>) = depends_on(reader, &keys).into_iter().unzip();
    let frame = keys
        .get("frame")
        .and_then(|node| frame::frame(reader, node, &name).ok().flatten());
    Some(ResourceConfig {
        place: reader.source.place(keys.span_of("name")),
        model_place: reader.source.place(keys.span_of("model")),
        name: ResourceName::new(api, name),
        model,
        attributes: reader.filled_structure(&keys, "attributes").unwrap_or_default(),
        depends_on,
        depends_on_places: places.into_iter().map(|span| reader.source.place(span)).collect(),
        frame,
        service_configs: service_configs(reader, &keys),
        log_level: log_level(reader, &keys),
        fault: reader
            .take_fault()
            .map(|fault| format!("resource config validation error: {fault}")),
    })
}

/// The names of `depends_on`. An empty one is none.
fn depends_on(reader: &mut Reader, keys: &Keys<'_>) -> Vec<(String, Span)> {
    let mut names = reader.texts(keys, "depends_on");
    for (_, span) in names.extract_if(.., |(name, _)| name.is_empty()) {
        reader.warn(span, "an empty name in `depends_on` counts as not there");
    }
    names
}

fn resource_name(reader: &mut Reader, keys: &Keys<'_>, list: List) -> String {
    let name = match keys.get("name") {
        None if list == List::Services => return "builtin".to_owned(),
        None => String::new(),
        Some(node) => match reader.text(keys, "name") {
            // Complained about. A number names it well enough to be found.
            None => return scalar(reader, node),
            Some(name) => name.to_owned(),
        },
    };
    if let Err(message) = names::check_resource(&name) {
        // Of what came from the environment no part may be shown, not even repaired.
        let written = reader.source.slice(keys.span_of("name")).contains(name.as_str());
        let help = (!name.is_empty() && written).then(|| names::repaired(&name)).flatten();
        let help = help.map(|name| format!("for example `{name}`"));
        reader.error_with(keys.span_of("name"), message, help.as_deref());
    }
    name
}

fn api(reader: &mut Reader, keys: &Keys<'_>, list: List) -> Api {
    let unknown = || {
        if list == List::Components {
            Api::component("unknown")
        } else {
            Api::service("unknown")
        }
    };
    let before = reader.diagnostics.len();
    let (span, namespace, kind, subtype) = match keys.get("api").filter(|node| !is_empty_text(node)) {
        Some(TreeNode {
            value: NodeValue::Text(text),
            span,
        }) => match text.parse::<Api>() {
            Ok(api) => {
                known_api(reader, &api, *span);
                return api;
            }
            Err(error) => match text.split(':').collect::<Vec<_>>()[..] {
                // Three good words whose middle one is another: it parses, so it costs this entry alone.
                [ns, kind, subtype] if Model::new(ns, kind, subtype).is_ok() => {
                    (*span, ns.into(), kind.into(), subtype.into())
                }
                _ => {
                    let help = names::standard(list.kind())
                        .find(|subtype| subtype == text)
                        .map_or_else(
                            || cure(&error),
                            |subtype| format!("did you mean `rdk:{}:{subtype}`?", list.kind()),
                        );
                    let message = format!("not a valid API config string. Input: `{}`", shown(reader, *span));
                    reader.error(*span, message).help = Some(help);
                    return unknown();
                }
            },
        },
        Some(node) => {
            let Some(parts) = reader.keys(&keys::API, node) else {
                return unknown();
            };
            let part = |reader: &mut Reader, key| reader.text_or_empty(&parts, key);
            (
                node.span,
                part(reader, "namespace"),
                part(reader, "type"),
                part(reader, "subtype"),
            )
        }
        None => {
            let subtype = reader.text_or_empty(keys, "type");
            (
                keys.span_of("type"),
                reader.text_or_empty(keys, "namespace"),
                String::new(),
                subtype,
            )
        }
    };
    if subtype.is_empty() {
        // What is of a wrong type was complained about.
        if reader.diagnostics[before..].iter().any(|said| said.malformed) {
            return unknown();
        }
        let help = format!(
            "say what it is, for example `api: rdk:{}:{}`",
            list.kind(),
            example(list)
        );
        reader.error_with(span, "subtype field for resource missing or invalid", Some(&help));
        return unknown();
    }
    let namespace = if namespace.is_empty() { "rdk" } else { &namespace };
    let kind = if kind.is_empty() { list.kind() } else { &kind };
    match Api::new(namespace, kind, &subtype) {
        Ok(api) => {
            known_api(reader, &api, span);
            api
        }
        Err(error) => {
            let reserved = [namespace, kind, &subtype]
                .into_iter()
                .find_map(|part| names::check_reserved(part).err());
            let message = reserved.unwrap_or_else(|| error.to_string());
            reader.error_with(span, message, None);
            unknown()
        }
    }
}

fn example(list: List) -> &'static str {
    match list {
        List::Components => "motor",
        List::Services => "vision",
    }
}

/// A standard API under an unknown name is most likely a slip, but a module may bring a newer one.
fn known_api(reader: &mut Reader, api: &Api, span: Span) {
    if api.namespace() != "rdk" || names::standard(api.kind()).any(|subtype| subtype == api.subtype()) {
        return;
    }
    let meant = nearest(api.subtype(), names::standard(api.kind()));
    let elsewhere = ["component", "service"]
        .into_iter()
        .find(|kind| names::standard(kind).any(|s| s == api.subtype()));
    let help = match (meant, elsewhere) {
        (_, Some(kind)) => Some(format!(
            "`{}` is a {kind}: `rdk:{kind}:{}`",
            api.subtype(),
            api.subtype()
        )),
        (Some(meant), None) => Some(format!("did you mean `{meant}`?")),
        (None, None) => None,
    };
    reader
        .warn(
            span,
            format!("`{api}` is not a standard API; it works only if a module brings it"),
        )
        .help = help;
}

fn model(reader: &mut Reader, keys: &Keys<'_>, list: List) -> Model {
    let unknown = || Model::builtin("unknown");
    match keys.get("model").filter(|node| !is_empty_text(node)) {
        None if list == List::Services => Model::builtin("builtin"),
        None => {
            let help = "the component has no `model`; for example `model: fake`";
            reader.error_with(keys.span, names::missing("name"), Some(help));
            unknown()
        }
        Some(TreeNode {
            value: NodeValue::Text(text),
            span,
        }) => text.parse().unwrap_or_else(|error| {
            let message = format!("not a valid Model config string. Input: `{}`", shown(reader, *span));
            reader.error(*span, message).help = Some(cure(&error));
            unknown()
        }),
        Some(
            node @ TreeNode {
                value: NodeValue::Map(_),
                ..
            },
        ) => {
            let Some(parts) = reader.keys(&keys::MODEL, node) else {
                return unknown();
            };
            let [mut namespace, mut family, name] =
                ["namespace", "model_family", "name"].map(|key| reader.text_or_empty(&parts, key));
            if namespace.is_empty() {
                namespace = "rdk".to_owned();
            }
            if family.is_empty() {
                family = "builtin".to_owned();
            }
            Model::new(&namespace, &family, &name).unwrap_or_else(|error| {
                let message = if name.is_empty() {
                    names::missing("name")
                } else {
                    error.to_string()
                };
                reader.error_with(node.span, message, None);
                unknown()
            })
        }
        Some(node) => {
            reader.wrong_type("`model`", node, "a text");
            unknown()
        }
    }
}

/// True for an empty text: an API or a model that is not given.
fn is_empty_text(node: &TreeNode) -> bool {
    matches!(&node.value, NodeValue::Text(text) if text.is_empty())
}

/// The part of an error that says what would be right; the text itself is shown elsewhere.
fn cure(error: &IdError) -> String {
    let text = error.to_string();
    text.split_once(": ").map_or(text.clone(), |(_, cure)| cure.to_owned())
}

/// A number or a flag as it stands in the file; empty for anything else.
fn scalar(reader: &Reader, node: &TreeNode) -> String {
    match node.value {
        NodeValue::Number(_) | NodeValue::Bool(_) => shown(reader, node.span),
        _ => String::new(),
    }
}

/// A text as it stands in the file, without its quotes.
fn shown(reader: &Reader, span: Span) -> String {
    reader.source.quote(span).trim_matches(['"', '\'']).to_owned()
}

/// `log_configuration`: an unknown level is an error.
pub(super) fn log_level(reader: &mut Reader, keys: &Keys<'_>) -> Option<Level> {
    let inner = reader.map(keys, "log_configuration")?;
    let text = reader.text(&inner, "level").filter(|text| !text.is_empty())?;
    match text.parse::<Level>() {
        Ok(level) => Some(level),
        Err(error) => {
            reader.error_with(inner.span_of("level"), error.to_string(), Some(KNOWN_LEVELS));
            None
        }
    }
}

/// The cure for a level that is none.
pub(super) const KNOWN_LEVELS: &str = "it is one of debug, info, warn and error";

/// `service_configs`: a single word stands for a standard service.
pub(super) fn service_configs(reader: &mut Reader, keys: &Keys<'_>) -> Vec<ServiceConfig> {
    let mut configs = Vec::new();
    for node in reader.list(keys, "service_configs") {
        let Some(keys) = reader.keys(&keys::SERVICE_CONFIG, node) else {
            continue;
        };
        let text = reader.text_or_empty(&keys, "type");
        let api = if text.contains(':') {
            text.parse()
        } else {
            Api::new("rdk", "service", &text)
        };
        match api {
            Ok(api) => configs.push(ServiceConfig {
                api: api.to_string(),
                attributes: reader.structure(&keys, "attributes").unwrap_or_default(),
            }),
            Err(_) => {
                let span = keys.span_of("type");
                let message = format!("not a valid API config string. Input: `{}`", text.escape_debug());
                reader.error(span, message).help = Some("write the service it is for, like `data_manager`".to_owned());
            }
        }
    }
    configs
}

/// Reads one module. `None` if it is no map.
pub(super) fn module(reader: &mut Reader, node: &TreeNode) -> Option<ModuleConfig> {
    let keys = reader.keys(&keys::MODULE, node)?;
    let name = match (reader.text(&keys, "name"), keys.get("name")) {
        // Complained about.
        (None, Some(node)) => scalar(reader, node),
        (name, _) => {
            let name = name.unwrap_or_default().to_owned();
            if let Err(message) = names::check_module(&name) {
                reader.error_with(keys.span_of("name"), message, None);
            }
            name
        }
    };
    let kind = module_type(reader, &keys);
    let written = reader.text(&keys, "executable_path").unwrap_or_default();
    let written = reader.filled(written, keys.span_of("executable_path"));
    let module_id = reader.text_or_empty(&keys, "module_id");
    let executable = executable(reader, &written, keys.span_of("executable_path")).unwrap_or_else(|(message, help)| {
        let unread = keys
            .get("executable_path")
            .is_some_and(|node| !matches!(node.value, NodeValue::Text(_)));
        // What of a registry is not here is complained about with those that wait for it.
        let absent = written.is_empty() && (kind == ModuleType::Registry || !module_id.is_empty());
        if !unread && !absent {
            reader.error_with(keys.span_of("executable_path"), message, Some(help));
        }
        PathBuf::from(&written)
    });
    let env = match keys.get("env") {
        None => BTreeMap::new(),
        Some(node) => texts_by_key(reader, node, "a value of `env`"),
    };
    let status = reader.map(&keys, "status");
    let status_error = status.and_then(|status| reader.text(&status, "error"));
    let status_error = status_error.filter(|text| !text.is_empty()).map(str::to_owned);
    if let Some(error) = &status_error {
        let message = format!("the cloud refuses this module: {}", error.escape_debug());
        reader.error_with(keys.span_of("status"), message, None);
    }
    let policy = policy(reader, &keys, &executable);
    Some(ModuleConfig {
        name,
        kind,
        executable,
        module_id,
        log_level: reader
            .text(&keys, "log_level")
            .filter(|level| !level.is_empty())
            .map(str::to_owned),
        env,
        tcp_mode: reader.flag(&keys, "tcp_mode") || reader.tcp_for_all,
        first_run_timeout: reader.interval(&keys, "first_run_timeout"),
        policy,
        status_error,
        place: reader.source.place(keys.span_of("name")),
        executable_place: reader.source.place(keys.span_of("executable_path")),
        fault: reader.take_fault(),
    })
}

fn module_type(reader: &mut Reader, keys: &Keys<'_>) -> ModuleType {
    let written = reader.text(keys, "type").unwrap_or_default();
    let known = ModuleType::WORDS.iter().find(|(word, _)| *word == written);
    if known.is_none() && !written.is_empty() {
        let message = format!("`{}` is no type of module, and counts as none", written.escape_debug());
        let help = help_for_word(written, &ModuleType::WORDS.map(|(word, _)| word));
        reader.warn(keys.span_of("type"), message).help = Some(help);
    }
    known.map_or(ModuleType::Unset, |(_, kind)| *kind)
}

/// A map whose values are texts, placeholders in them replaced.
pub(super) fn texts_by_key(reader: &mut Reader, node: &TreeNode, what: &str) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    for (key, span, value) in reader.any_keys("`env`", node) {
        if matches!(value.value, NodeValue::Null) {
            reader.warn(span, format!("{what} is null, which counts as an empty text"));
            texts.insert(key.to_owned(), String::new());
        } else if let Some(text) = reader.as_text(what, value) {
            reader.check_word(text, value.span);
            let text = reader.filled(text, value.span);
            texts.insert(key.to_owned(), text);
        }
    }
    texts
}

/// The absolute path of a program, or what is wrong with the written one and what would be right.
fn executable(reader: &Reader, written: &str, span: Span) -> Result<PathBuf, (String, &'static str)> {
    if written.is_empty() {
        return Err((names::missing("executable_path"), "name the program that is the module"));
    }
    reader.located(written, span)
}
