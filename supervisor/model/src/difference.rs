//! Differences between two configs, value by value, in the words of the config file and without secrets: the output of
//! `mainstay diff`, and the reasons in a plan.
//!
//! Meanings are compared: a default that is written out, another order of keys or another layout is no difference.

mod collector;

use std::collections::BTreeSet;
use std::fmt::{self, Debug, Display};

use self::collector::Collector;
use crate::config::{Config, HandedDown, Job, Package, PartConfig, Remote, Secret, Tls};
use crate::duration::show as show_duration;
use crate::entry::{ModuleConfig, ResourceConfig};

/// Difference in one value: it is there in one config only, or has another content in the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Path of the value, as `mainstay config get` takes it.
    pub path: String,
    /// Added, removed or changed.
    pub kind: DifferenceKind,
    /// Value before, if that can be said in few words.
    pub before: Option<String>,
    /// Value after, likewise.
    pub after: Option<String>,
}

/// Kind of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DifferenceKind {
    /// The value was not there before.
    Added,
    /// The value is not there any more.
    Removed,
    /// The value is another one.
    Changed,
}

impl Display for Difference {
    /// `attributes.rate_hz 10 → 20`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match (self.kind, &self.before, &self.after) {
            (DifferenceKind::Added, _, Some(after)) => write!(f, "{path} {after}, new"),
            (DifferenceKind::Added, _, None) => write!(f, "{path} new"),
            (DifferenceKind::Removed, Some(before), _) => write!(f, "{path} removed, was {before}"),
            (DifferenceKind::Removed, None, _) => write!(f, "{path} removed"),
            (DifferenceKind::Changed, Some(before), Some(after)) if before != after => {
                write!(f, "{path} {before} → {after}")
            }
            (DifferenceKind::Changed, ..) => write!(f, "{path} changed"),
        }
    }
}

/// Differences between two entries of one resource. Paths start at the entry.
#[must_use]
pub fn resource(from: &Config, old: &ResourceConfig, to: &Config, new: &ResourceConfig) -> Vec<Difference> {
    let mut collector = Collector::new(from, Some(&old.place), to, Some(&new.place));
    collector.text("model", &old.model, &new.model);
    collector.structs("attributes", Some(&old.attributes), Some(&new.attributes));
    collector.texts("depends_on", &old.depends_on, &new.depends_on);
    collector.frame("frame", old.frame.as_ref(), new.frame.as_ref());
    collector.service_configs(&old.service_configs, &new.service_configs);
    collector.optional(
        "log_configuration.level",
        old.log_level.as_ref(),
        new.log_level.as_ref(),
    );
    collector.differences
}

/// Differences between two entries of one module. Paths start at the entry.
#[must_use]
pub fn module(from: &Config, old: &ModuleConfig, to: &Config, new: &ModuleConfig) -> Vec<Difference> {
    let mut collector = Collector::new(from, Some(&old.place), to, Some(&new.place));
    collector.text("type", old.kind.as_str(), new.kind.as_str());
    collector.text("executable_path", old.executable.display(), new.executable.display());
    collector.text("module_id", &old.module_id, &new.module_id);
    collector.optional("log_level", old.log_level.as_ref(), new.log_level.as_ref());
    let names: BTreeSet<_> = old.env.keys().chain(new.env.keys()).collect();
    for name in names {
        // Its values come from all kinds of places and are nobody's business.
        let path = format!("env.{name}");
        match (old.env.get(name), new.env.get(name)) {
            (None, _) => collector.add(&path, DifferenceKind::Added, None, None),
            (_, None) => collector.add(&path, DifferenceKind::Removed, None, None),
            (before, after) if before != after => collector.add(&path, DifferenceKind::Changed, None, None),
            _ => {}
        }
    }
    collector.text("tcp_mode", old.tcp_mode, new.tcp_mode);
    collector.text(
        "first_run_timeout",
        show_duration(old.first_run_timeout),
        show_duration(new.first_run_timeout),
    );
    collector.optional("status.error", old.status_error.as_ref(), new.status_error.as_ref());
    let (before, after) = (&old.policy, &new.policy);
    for key in before.changed_keys(after) {
        match key {
            "watch" => collector.text(key, &before.watch, &after.watch),
            "keep_moving" => collector.text(key, before.keep_moving, after.keep_moving),
            _ => collector.add(key, DifferenceKind::Changed, None, None),
        }
    }
    collector.differences
}

/// Differences between two configs, in the order of their sections.
#[must_use]
pub fn configs(from: &Config, to: &Config) -> Vec<Difference> {
    let mut collector = Collector::new(from, None, to, None);
    collector.text("revision", &from.revision, &to.revision);
    collector.entries(
        (&from.resources, &to.resources),
        |entry| entry.name.to_string(),
        |entry| (resource_path(entry), entry.model.to_string()),
        |old, new| resource(from, old, to, new),
    );
    collector.entries(
        (&from.modules, &to.modules),
        |entry| entry.name.clone(),
        |entry| {
            (
                format!("modules.{}", entry.name),
                entry.executable.display().to_string(),
            )
        },
        |old, new| module(from, old, to, new),
    );
    collector.entries(
        (&from.remotes, &to.remotes),
        |entry| entry.name.clone(),
        |entry| (format!("remotes.{}", entry.name), entry.address.clone()),
        |old, new| remote(Collector::new(from, None, to, None), old, new),
    );
    collector.entries(
        (&from.parts, &to.parts),
        |entry| entry.name.clone(),
        |entry| (format!("parts.{}", entry.name), handed_down(entry)),
        |old, new| {
            let mut collector = Collector::new(from, None, to, None);
            collector.text("config_file", handed_down(old), handed_down(new));
            collector.silent("config", &inline(old), &inline(new));
            collector.differences
        },
    );
    collector.entries(
        (&from.packages, &to.packages),
        |entry| entry.name.clone(),
        |entry| (format!("packages.{}", entry.name), entry.package.clone()),
        |old, new| package(Collector::new(from, None, to, None), old, new),
    );
    collector.entries(
        (&from.jobs, &to.jobs),
        |entry| entry.name.clone(),
        |entry| (format!("jobs.{}", entry.name), entry.schedule.clone()),
        |old, new| job(Collector::new(from, None, to, None), old, new),
    );
    sections(&mut collector, from, to);
    collector.differences
}

/// File of the config that is handed down; empty if it is in none.
fn handed_down(part: &PartConfig) -> String {
    match &part.config {
        Some(HandedDown::File(file)) => file.display().to_string(),
        Some(HandedDown::Inline(_)) | None => String::new(),
    }
}

fn inline(part: &PartConfig) -> Option<&Secret> {
    match &part.config {
        Some(HandedDown::Inline(text)) => Some(text),
        Some(HandedDown::File(_)) | None => None,
    }
}

fn remote(mut collector: Collector<'_>, old: &Remote, new: &Remote) -> Vec<Difference> {
    collector.text("address", &old.address, &new.address);
    collector.frame("frame", old.frame.as_ref(), new.frame.as_ref());
    collector.silent(
        "auth",
        &(&old.auth_entity, &old.credentials),
        &(&new.auth_entity, &new.credentials),
    );
    collector.text("prefix", &old.prefix, &new.prefix);
    collector.text("insecure", old.insecure, new.insecure);
    collector.text(
        "connection_check_interval",
        show_duration(old.connection_check_interval),
        show_duration(new.connection_check_interval),
    );
    collector.text(
        "reconnect_interval",
        show_duration(old.reconnect_interval),
        show_duration(new.reconnect_interval),
    );
    collector.service_configs(&old.service_configs, &new.service_configs);
    collector.differences
}

fn package(mut collector: Collector<'_>, old: &Package, new: &Package) -> Vec<Difference> {
    collector.text("package", &old.package, &new.package);
    collector.text("version", &old.version, &new.version);
    collector.text("type", &old.kind, &new.kind);
    collector.differences
}

fn job(mut collector: Collector<'_>, old: &Job, new: &Job) -> Vec<Difference> {
    collector.text("schedule", &old.schedule, &new.schedule);
    collector.text("resource", &old.resource, &new.resource);
    collector.text("method", &old.method, &new.method);
    collector.structs("command", old.command.as_ref(), new.command.as_ref());
    collector.optional(
        "log_configuration.level",
        old.log_level.as_ref(),
        new.log_level.as_ref(),
    );
    collector.differences
}

fn sections(collector: &mut Collector<'_>, from: &Config, to: &Config) {
    let (old, new) = (&from.network, &to.network);
    collector.text("network.bind_address", &old.bind_address, &new.bind_address);
    collector.text("network.fqdn", &old.fqdn, &new.fqdn);
    collector.text("network.mdns", old.mdns, new.mdns);
    let tls = |tls: &Tls| (*tls != Tls::None).then(|| tls.to_string());
    let (before, after) = (tls(&old.tls), tls(&new.tls));
    collector.optional("network.tls", before.as_ref(), after.as_ref());
    collector.text("network.no_tls", old.no_tls, new.no_tls);
    let window = "network.sessions.heartbeat_window";
    collector.text(
        window,
        show_duration(old.heartbeat_window),
        show_duration(new.heartbeat_window),
    );
    collector.silent("network.traffic_tunnel_endpoints", &old.tunnels, &new.tunnels);
    collector.silent("auth", &from.auth, &to.auth);
    match (&from.cloud, &to.cloud) {
        (Some(old), Some(new)) => {
            collector.text("cloud.id", &old.id, &new.id);
            collector.text("cloud.app_address", &old.app_address, &new.app_address);
            collector.silent("cloud.api_key", &old.api_key, &new.api_key);
            collector.silent("cloud.secret", &old.secret, &new.secret);
            collector.text(
                "cloud.refresh_interval",
                show_duration(old.refresh_interval),
                show_duration(new.refresh_interval),
            );
        }
        (old, new) => collector.optional(
            "cloud",
            old.as_ref().map(|cloud| &cloud.id),
            new.as_ref().map(|cloud| &cloud.id),
        ),
    }
    let rules = |config: &'_ Config| -> Vec<String> {
        config
            .log
            .iter()
            .map(|rule| format!("{}={}", rule.pattern, rule.level))
            .collect()
    };
    collector.texts("log", &rules(from), &rules(to));
    collector.text("debug", from.debug, to.debug);
    collector.text(
        "disable_log_deduplication",
        from.disable_log_deduplication,
        to.disable_log_deduplication,
    );
    collector.text("enable_web_profile", from.enable_web_profile, to.enable_web_profile);
    let (old, new) = (&from.tracing, &to.tracing);
    collector.text("tracing.enabled", old.enabled, new.enabled);
    collector.text("tracing.disk", old.disk, new.disk);
    collector.text("tracing.console", old.console, new.console);
    collector.text("tracing.otlpendpoint", &old.otlp_endpoint, &new.otlp_endpoint);
    let sensor = |config: &'_ Config| {
        let maintenance = config.maintenance.as_ref();
        maintenance.map(|maintenance| format!("{} of {}", maintenance.allowed_key, maintenance.sensor_name))
    };
    let (before, after) = (sensor(from), sensor(to));
    collector.optional("maintenance", before.as_ref(), after.as_ref());
    let (old, new) = (&from.apply, &to.apply);
    let word = |value: &dyn Debug| format!("{value:?}").to_lowercase();
    collector.text("apply.on_failure", word(&old.on_failure), word(&new.on_failure));
    collector.text("apply.window", show_duration(old.window), show_duration(new.window));
    collector.text("apply.preflight", word(&old.preflight), word(&new.preflight));
}

fn resource_path(resource: &ResourceConfig) -> String {
    let api = resource.name.api.to_string();
    let section = if api.split(':').nth(1) == Some("service") {
        "services"
    } else {
        "components"
    };
    format!("{section}.{}", resource.name.name)
}
