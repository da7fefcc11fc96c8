//! The top level of a config, and its smaller sections: log, tracing, maintenance.

use std::collections::HashMap;
use std::sync::Arc;

use mainstay_ids::ResourceName;
use mainstay_model::suggest::nearest;
use mainstay_model::{
    Config, Duplicates, Level, LogRule, Maintenance, ModuleAccess, ModuleConfig, ResourceConfig, SourceSpan, Span,
    Tracing,
};

use crate::apply::apply;
use crate::entries::{KNOWN_LEVELS, List, module, resource};
use crate::jobs::jobs;
use crate::load_context::LoadContext;
use crate::node::{NodeValue, TreeNode};
use crate::packages::packages;
use crate::placeholder::Placeholders;
use crate::read::{Keys, Reader};
use crate::{auth, include, keys, network, parts, processes};

/// Lists whose items are put one behind the other when they stand in several files.
const LISTS: [&str; 9] = [
    "components",
    "services",
    "modules",
    "packages",
    "remotes",
    "parts",
    "jobs",
    "log",
    include::KEY,
];

/// Reads a whole config from the trees of its files. `None` if the first is no map.
pub(super) fn machine(reader: &mut Reader, roots: &[TreeNode], context: &LoadContext) -> Option<Config> {
    let mut files = Vec::with_capacity(roots.len());
    for (number, root) in roots.iter().enumerate() {
        if number > 0 && matches!(root.value, NodeValue::Null) {
            reader.warn(root.span, "this included file is empty");
            continue;
        }
        match reader.keys(&keys::MACHINE, root) {
            Some(keys) => files.push(keys),
            None if number == 0 => return None,
            // Complained about.
            None => {}
        }
    }
    let single: Vec<&'static str> = keys::MACHINE
        .keys
        .iter()
        .map(|key| key.name)
        .filter(|key| !LISTS.contains(key))
        .collect();
    let (keys, again) = Keys::first_of(&keys::MACHINE, &files, &single);
    for (key, first, span) in again {
        let first = reader.source.place(first);
        let twice = |reader: &mut Reader| {
            let diagnostic = reader.error(span, format!("`{key}` may be given in one file of the config only"));
            diagnostic.help = Some("put the two together".to_owned());
            diagnostic.also = Some((first.clone(), "given here before".to_owned()));
            diagnostic.open = key == "auth";
        };
        match key {
            "network" | "auth" => twice(reader),
            _ => reader.entry(twice),
        }
    }
    for keys in &files {
        include::check(reader, keys);
    }
    if let Some(node) = keys.get("processes") {
        reader.entry(|reader| processes::check(reader, node));
    }
    // First of all, because placeholders name them.
    let packages = reader.entry(|reader| packages(reader, &files, context.viam_home.as_deref()));
    reader.placeholders = Placeholders::new(&packages, context);
    let path = reader.source.path().to_owned();
    let mut resources = Vec::new();
    for (key, list) in [("components", List::Components), ("services", List::Services)] {
        resources.extend(reader.entries(&files, key, |reader, node| resource(reader, node, list)));
    }
    reader.roles = auth::role_names(&keys);
    let modules = reader.entries(&files, "modules", module);
    let named =
        |module: &ModuleConfig| matches!(&module.policy.access, ModuleAccess::Roles(roles) if !roles.is_empty());
    let network = network::network(reader, &keys, SourceSpan::file(&path));
    let auth = auth::auth(reader, &keys, &network, modules.iter().any(named));
    // A machine is what it is without the rest.
    Some(reader.entry(|reader| {
        let remotes = network::remotes(reader, &files);
        let parts = parts::parts(reader, &files, context);
        let imports = !remotes.is_empty() || context.is_part;
        let jobs = jobs(reader, &files, &resources, imports);
        let maintenance = maintenance(reader, &keys, &resources, imports);
        Config {
            revision: reader.text_or_empty(&keys, "revision"),
            modules,
            resources,
            duplicates: Duplicates::default(),
            network,
            log: log(reader, &files),
            debug: reader.flag(&keys, "debug"),
            disable_log_deduplication: reader.flag(&keys, "disable_log_deduplication"),
            enable_web_profile: reader.flag(&keys, "enable_web_profile"),
            remotes,
            parts,
            imports,
            auth,
            membership: None,
            cloud: network::cloud(reader, &keys),
            packages,
            jobs,
            tracing: tracing(reader, &keys),
            maintenance,
            apply: apply(reader, &keys),
            source: Arc::clone(&reader.source),
            path,
        }
    }))
}

/// Bad rules are left out with a warning.
fn log(reader: &mut Reader, files: &[Keys<'_>]) -> Vec<LogRule> {
    let mut rules = Vec::new();
    for node in reader.lists(files, "log") {
        let Some(keys) = reader.keys(&keys::LOG_RULE, node) else {
            continue;
        };
        let (pattern, level) = (
            reader.text_or_empty(&keys, "pattern"),
            reader.text_or_empty(&keys, "level"),
        );
        if pattern.is_empty() {
            reader
                .warn(node.span, "a log rule without `pattern` counts for nothing")
                .help = Some("for example `pattern: rdk.modmanager.*`".to_owned());
            continue;
        }
        match level.parse::<Level>() {
            Ok(level) => match LogRule::new(&pattern, level) {
                Ok(rule) => rules.push(rule),
                Err(bad) => {
                    reader.warn(keys.span_of("pattern"), bad.to_string()).help =
                        Some("`*` stands for any text; put a backslash before what is no sign".to_owned());
                }
            },
            Err(error) => {
                reader.warn(keys.span_of("level"), error.to_string()).help = Some(KNOWN_LEVELS.to_owned());
            }
        }
    }
    rules
}

/// Names that entries of one list have, and where.
#[derive(Default)]
pub(super) struct SeenKeys(HashMap<String, Span>);

impl SeenKeys {
    /// Complains about an entry whose name an earlier one has.
    pub(super) fn check(&mut self, reader: &mut Reader, what: &str, name: &str, span: Span) {
        if name.is_empty() {
            return;
        }
        let Some(first) = self.0.get(name) else {
            self.0.insert(name.to_owned(), span);
            return;
        };
        let first = reader.source.place(*first);
        let message = format!("Duplicate {what} {} in robot config", name.escape_debug());
        let help = format!("the first is at {first} and counts; rename or remove one");
        reader.error_with(span, message, Some(&help));
        if let Some(diagnostic) = reader.diagnostics.last_mut() {
            diagnostic.also = Some((first, "first here".to_owned()));
        }
    }
}

fn tracing(reader: &mut Reader, keys: &Keys<'_>) -> Tracing {
    let Some(keys) = reader.map(keys, "tracing") else {
        return Tracing::default();
    };
    let tracing = Tracing {
        enabled: reader.flag(&keys, "enabled"),
        disk: reader.flag(&keys, "disk"),
        console: reader.flag(&keys, "console"),
        otlp_endpoint: reader.text_or_empty(&keys, "otlpendpoint"),
    };
    if tracing.enabled && !tracing.disk && !tracing.console && tracing.otlp_endpoint.is_empty() {
        reader
            .warn(keys.span_of("enabled"), "traces go nowhere, so nothing is traced")
            .help = Some("set `disk`, `console` or `otlpendpoint`".to_owned());
    }
    tracing
}

/// `elsewhere`: the sensor may also come from a remote.
fn maintenance(
    reader: &mut Reader,
    keys: &Keys<'_>,
    resources: &[ResourceConfig],
    elsewhere: bool,
) -> Option<Maintenance> {
    let keys = reader.map(keys, "maintenance")?;
    let [sensor_name, allowed_key] =
        ["sensor_name", "maintenance_allowed_key"].map(|key| reader.text_or_empty(&keys, key));
    let span = keys.span_of("sensor_name");
    match sensor_name.parse::<ResourceName>() {
        Err(_) => {
            let what = if sensor_name.is_empty() {
                "without `sensor_name`"
            } else {
                "this is no full name of a sensor, so"
            };
            reader.warn(span, format!("{what} every change is allowed")).help =
                Some("for example `rdk:component:sensor/idle`".to_owned());
        }
        Ok(name) if elsewhere || resources.iter().any(|resource| resource.name == name) => {}
        Ok(name) => {
            let sensors = resources.iter().filter(|resource| resource.name.api == name.api);
            let near = nearest(&name.name, sensors.map(|sensor| sensor.name.name.as_str()));
            reader
                .warn(span, "nothing in this config has that name, so every change is allowed")
                .help = near.map(|meant| format!("did you mean `{}/{meant}`?", name.api));
        }
    }
    if allowed_key.is_empty() {
        reader
            .warn(
                keys.span,
                "without `maintenance_allowed_key` the sensor allows no change",
            )
            .help = Some("name the key of its readings that is true when changes are welcome".to_owned());
    }
    Some(Maintenance {
        sensor_name,
        allowed_key,
    })
}
