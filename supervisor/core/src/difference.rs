//! Differences between two configs, value by value, in the words of the config file and without secrets: the output of
//! `mainstay diff`, and the reasons in a plan.
//!
//! Meanings are compared: a default that is written out, another order of keys or another layout is no difference.

mod differences;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Debug, Display};

use mainstay_model::duration::show as show_duration;
use mainstay_model::{Config, ModuleConfig, ResourceConfig};

use crate::difference::differences::Collector;

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
    collector.silent("restart", &before.restart, &after.restart);
    collector.silent("health", &before.health, &after.health);
    collector.silent("stop", &before.stop, &after.stop);
    collector.silent("limits", &before.limits, &after.limits);
    collector.silent("sandbox", &before.sandbox, &after.sandbox);
    collector.silent("output", &before.output, &after.output);
    collector.text("watch", before.watch, after.watch);
    collector.text("keep_moving", before.keep_moving, after.keep_moving);
    collector.differences
}

/// Differences between two configs, in the order of their sections.
#[must_use]
pub fn configs(from: &Config, to: &Config) -> Vec<Difference> {
    let mut collector = Collector::new(from, None, to, None);
    collector.text("revision", &from.revision, &to.revision);
    let entries = |config: &'_ Config| -> BTreeMap<String, usize> {
        let keys = config.resources.iter().enumerate();
        keys.map(|(at, entry)| (entry.name.to_string(), at)).collect()
    };
    collector.entries(
        &entries(from),
        &entries(to),
        |_, at| {
            let entry = &from.resources[at];
            (resource_path(entry), entry.model.to_string())
        },
        |_, at| {
            let entry = &to.resources[at];
            (resource_path(entry), entry.model.to_string())
        },
        |before, after| resource(from, &from.resources[before], to, &to.resources[after]),
    );
    let modules = |config: &'_ Config| -> BTreeMap<String, usize> {
        let names = config.modules.iter().enumerate();
        names.map(|(at, entry)| (entry.name.clone(), at)).collect()
    };
    collector.entries(
        &modules(from),
        &modules(to),
        |name, at| {
            (
                format!("modules.{name}"),
                from.modules[at].executable.display().to_string(),
            )
        },
        |name, at| {
            (
                format!("modules.{name}"),
                to.modules[at].executable.display().to_string(),
            )
        },
        |before, after| module(from, &from.modules[before], to, &to.modules[after]),
    );
    let of = |names: Vec<&str>| -> BTreeMap<String, usize> {
        names
            .into_iter()
            .enumerate()
            .map(|(at, name)| (name.to_owned(), at))
            .collect()
    };
    let remotes = |config: &'_ Config| of(config.remotes.iter().map(|remote| remote.name.as_str()).collect());
    collector.entries(
        &remotes(from),
        &remotes(to),
        |name, at| (format!("remotes.{name}"), from.remotes[at].address.clone()),
        |name, at| (format!("remotes.{name}"), to.remotes[at].address.clone()),
        |before, after| {
            let (old, new) = (&from.remotes[before], &to.remotes[after]);
            let mut collector = Collector::new(from, None, to, None);
            collector.text("address", &old.address, &new.address);
            collector.frame("frame", old.frame.as_ref(), new.frame.as_ref());
            collector.silent(
                "auth",
                &(&old.auth_entity, &old.credentials),
                &(&new.auth_entity, &new.credentials),
            );
            collector.text("prefix", &old.prefix, &new.prefix);
            collector.text("insecure", old.insecure, new.insecure);
            let interval = |interval| show_duration(interval);
            collector.text(
                "connection_check_interval",
                interval(old.connection_check_interval),
                interval(new.connection_check_interval),
            );
            collector.text(
                "reconnect_interval",
                interval(old.reconnect_interval),
                interval(new.reconnect_interval),
            );
            collector.service_configs(&old.service_configs, &new.service_configs);
            collector.differences
        },
    );
    let packages = |config: &'_ Config| of(config.packages.iter().map(|package| package.name.as_str()).collect());
    collector.entries(
        &packages(from),
        &packages(to),
        |name, at| (format!("packages.{name}"), from.packages[at].package.clone()),
        |name, at| (format!("packages.{name}"), to.packages[at].package.clone()),
        |before, after| {
            let (old, new) = (&from.packages[before], &to.packages[after]);
            let mut collector = Collector::new(from, None, to, None);
            collector.text("package", &old.package, &new.package);
            collector.text("version", &old.version, &new.version);
            collector.text("type", &old.kind, &new.kind);
            collector.differences
        },
    );
    let jobs = |config: &'_ Config| of(config.jobs.iter().map(|job| job.name.as_str()).collect());
    collector.entries(
        &jobs(from),
        &jobs(to),
        |name, at| (format!("jobs.{name}"), from.jobs[at].schedule.clone()),
        |name, at| (format!("jobs.{name}"), to.jobs[at].schedule.clone()),
        |before, after| {
            let (old, new) = (&from.jobs[before], &to.jobs[after]);
            let mut collector = Collector::new(from, None, to, None);
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
        },
    );
    sections(&mut collector, from, to);
    collector.differences
}

fn sections(collector: &mut Collector<'_>, from: &Config, to: &Config) {
    let (old, new) = (&from.network, &to.network);
    collector.text("network.bind_address", &old.bind_address, &new.bind_address);
    collector.text("network.fqdn", &old.fqdn, &new.fqdn);
    let files = |files: &Option<(std::path::PathBuf, std::path::PathBuf)>| {
        let files = files.as_ref();
        files.map(|(certificate, key)| format!("{}, {}", certificate.display(), key.display()))
    };
    let (before, after) = (files(&old.tls_files), files(&new.tls_files));
    collector.optional("network.tls_cert_file", before.as_ref(), after.as_ref());
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

#[cfg(test)]
mod tests {
    use super::*;
    use mainstay_config::{ConfigFiles, LoadContext, parse};

    fn config(text: &str, environment: &[(&str, &str)]) -> Config {
        let surroundings = LoadContext {
            environment: environment
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into()))
                .collect(),
            ..LoadContext::default()
        };
        parse(&ConfigFiles::single("/rover.yaml", text), &surroundings)
            .expect("usable")
            .config
    }

    fn check(old: &str, new: &str, expected: &[&str]) {
        let (from, to) = (config(old, &[]), config(new, &[]));
        let collector: Vec<_> = configs(&from, &to).iter().map(ToString::to_string).collect();
        assert_eq!(collector, expected, "{old}\n→\n{new}");
    }

    fn motor(rest: &str) -> String {
        format!("components: [{{name: m, api: rdk:component:motor, model: fake{rest}}}]\n")
    }

    #[test]
    fn equal_configs_do_not_differ_however_they_are_written() {
        check(&motor(""), &motor(", attributes: {}, depends_on: []"), &[]);
        check(
            "debug: false\nservices: []",
            "{network: {bind_address: \"localhost:8080\"}}",
            &[],
        );
    }

    #[test]
    fn each_value_is_named_by_its_path_with_what_it_was_and_is() {
        check(
            &motor(", attributes: {rate_hz: 10, pins: [1, 2], old: x}"),
            &motor(", attributes: {rate_hz: 20, pins: [1, 3], a.b: {c: true}}, depends_on: [x]"),
            &[
                "components.m.attributes.\"a.b\" {c: true}, new",
                "components.m.attributes.old removed, was x",
                "components.m.attributes.pins[1] 2 → 3",
                "components.m.attributes.rate_hz 10 → 20",
                "components.m.depends_on [] → [x]",
            ],
        );
        check(
            &motor(""),
            "debug: true",
            &["components.m removed, was rdk:builtin:fake", "debug false → true"],
        );
        check("{}", &motor(""), &["components.m rdk:builtin:fake, new"]);
        check(
            "network: {bind_address: \"localhost:0\"}",
            "apply: {on_failure: revert}",
            &[
                "network.bind_address localhost:0 → localhost:8080",
                "apply.on_failure keep → revert",
            ],
        );
        check(
            "modules: [{name: eyes, executable_path: /bin/eyes, env: {A: x, B: y}}]",
            "modules: [{name: eyes, executable_path: /bin/eyes2, env: {A: z}, limits: {pids: 10}}]",
            &[
                "modules.eyes.executable_path /bin/eyes → /bin/eyes2",
                "modules.eyes.env.A changed",
                "modules.eyes.env.B removed",
                "modules.eyes.limits changed",
            ],
        );
    }

    #[test]
    fn secrets_are_not_shown() {
        let old = motor(", attributes: {password: hunter2, deep: {api_key: [k1]}, url: \"http://a:pw1@h/\"}");
        let new = motor(", attributes: {password: swordfish, deep: {api_key: [k2, k3]}, url: \"http://a:pw2@h/\"}");
        let (from, to) = (config(&old, &[]), config(&new, &[]));
        let collector: Vec<_> = configs(&from, &to).iter().map(ToString::to_string).collect();
        let all = collector.join("\n");
        assert_eq!(collector.len(), 3, "{all}");
        for secret in ["hunter2", "swordfish", "k1", "k2", "k3", "pw1", "pw2"] {
            assert!(!all.contains(secret), "{secret} in {all}");
        }
        let text = motor(", attributes: {port: \"${WHERE}\"}");
        let (from, to) = (
            config(&text, &[("WHERE", "cellar-4711")]),
            config(&text, &[("WHERE", "attic-0815")]),
        );
        let all = format!("{:?}", configs(&from, &to));
        assert!(
            all.contains("attributes.port") && !all.contains("4711") && !all.contains("0815"),
            "{all}"
        );
    }
}
