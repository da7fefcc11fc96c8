//! `mainstay status --json`: the keys here are a promise to scripts. New keys may come; none changes its meaning.

use std::time::SystemTime;

use mainstay_proto::mainstay::control::v1::{
    ConfigState, ConfigStatus, Limit, Listener, MachineState, Module, ModuleState, Resource, Status, StuckCalls,
};
use mainstay_proto::words::resource_state;
use prost_types::Timestamp;
use serde::Serialize;

use crate::call::resolve;
use crate::status_text::age;

/// A whole machine. Times are RFC 3339 in UTC; what is unknown is `null`.
#[derive(Debug, Serialize)]
pub struct MachineJson {
    /// Absolute path of the config file; empty for a machine on another host.
    config: String,
    revision: String,
    version: String,
    /// `starting`, `running` or `stopping`.
    state: &'static str,
    pid: Option<u32>,
    started_at: Option<String>,
    settled_at: Option<String>,
    uptime_s: Option<f64>,
    rss_bytes: Option<u64>,
    /// Number of tasks in the core.
    tasks: Option<u32>,
    threads: Option<u32>,
    listeners: Vec<ListenerJson>,
    modules: Vec<ModuleJson>,
    resources: Vec<ResourceJson>,
    /// Diagnostics of the config, as text.
    diagnostics: Vec<String>,
    /// State of the running config against its file; `null` for a machine on another host.
    config_status: Option<ConfigJson>,
}

#[derive(Debug, Serialize)]
struct ConfigJson {
    /// Path as it was given to `mainstay run`.
    path: String,
    /// The file that the running config was read from.
    from: String,
    /// Number of the last config that counts.
    revision: Option<u64>,
    /// `current`, `refused`, `away`, `waiting for maintenance`, `applying`, `watching`, `reverted`, `degraded` or
    /// `overridden`.
    state: &'static str,
    /// Reasons why it is not `current`.
    reasons: Vec<String>,
    since: Option<String>,
    applied_at: Option<String>,
    /// End of the watch, or the next question to the maintenance sensor.
    until: Option<String>,
    /// Reason why the last config that counts is not on the disk.
    unkept: Option<String>,
}

#[derive(Debug, Serialize)]
struct ListenerJson {
    address: String,
    authentication: String,
}

/// Module as JSON.
#[derive(Debug, Serialize)]
pub struct ModuleJson {
    name: String,
    /// `pending`, `starting`, `ready`, `unresponsive`, `back-off`, `stopping` or `stopped`.
    state: &'static str,
    pid: Option<u32>,
    started_at: Option<String>,
    ready_at: Option<String>,
    uptime_s: Option<f64>,
    restarts: u32,
    rss_bytes: Option<u64>,
    /// Fraction of one processor.
    cpu: Option<f64>,
    /// Newest event, perhaps of several lines.
    last: Option<String>,
    last_at: Option<String>,
    next_try_at: Option<String>,
    /// Number of resources configured for it.
    resources: u32,
    executable: Option<String>,
    /// The limits in its config.
    limits: Vec<LimitJson>,
}

#[derive(Debug, Serialize)]
struct LimitJson {
    /// `memory`, `cpu`, `pids` or `open_files`.
    name: String,
    limit: String,
    /// `cgroup`, `rlimit`, `watched` or `not enforced`.
    held: String,
    note: Option<String>,
    /// Refusals of the kernel to the present process because of the limit.
    reached: Option<String>,
}

/// Resource as JSON.
#[derive(Debug, Serialize)]
pub struct ResourceJson {
    name: String,
    /// `namespace:type:subtype`.
    api: String,
    model: Option<String>,
    /// `pending`, `configuring`, `ready`, `unhealthy` or `removing`.
    state: &'static str,
    error: Option<String>,
    module: Option<String>,
    /// Full names, `namespace:type:subtype/name`.
    dependencies: Vec<String>,
    last_updated: Option<String>,
    /// Calls that do not return; empty if all do.
    stuck: Vec<StuckJson>,
}

/// Calls of one method that do not return.
#[derive(Debug, Serialize)]
struct StuckJson {
    /// Without its service.
    method: String,
    /// Age of the oldest.
    age_s: f64,
    calls: u32,
    /// Each once.
    callers: Vec<String>,
}

impl MachineJson {
    /// The machine as it was at `now`.
    pub fn new(status: &Status, now: SystemTime) -> Self {
        Self {
            config: status.config_path.clone(),
            revision: status.revision.clone(),
            version: status.version.clone(),
            state: machine_state(status.state()),
            pid: some_number(status.pid),
            started_at: time(status.started_at.as_ref()),
            settled_at: time(status.settled_at.as_ref()),
            uptime_s: seconds_since(status.started_at.as_ref(), now),
            rss_bytes: status.rss_bytes,
            tasks: some_number(status.tasks),
            threads: status.threads,
            listeners: status.listeners.iter().map(ListenerJson::new).collect(),
            modules: status
                .modules
                .iter()
                .map(|module| ModuleJson::new(module, now))
                .collect(),
            resources: status.resources.iter().map(ResourceJson::new).collect(),
            diagnostics: status.diagnostics.clone(),
            config_status: status.config.as_ref().map(ConfigJson::new),
        }
    }
}

impl ConfigJson {
    fn new(config: &ConfigStatus) -> Self {
        Self {
            path: config.path.clone(),
            from: config.from.clone(),
            revision: config.revision,
            state: config_state(config.state()),
            reasons: config.reasons.clone(),
            since: time(config.since.as_ref()),
            applied_at: time(config.applied_at.as_ref()),
            until: time(config.until.as_ref()),
            unkept: Some(config.unkept.clone()).filter(|why| !why.is_empty()),
        }
    }
}

/// The state of the config in one word.
pub fn config_state(state: ConfigState) -> &'static str {
    match state {
        ConfigState::Unspecified => "unknown",
        ConfigState::Current => "current",
        ConfigState::Refused => "refused",
        ConfigState::Away => "away",
        ConfigState::Waiting => "waiting for maintenance",
        ConfigState::Applying => "applying",
        ConfigState::Watching => "watching",
        ConfigState::Reverted => "reverted",
        ConfigState::Degraded => "degraded",
        ConfigState::Overridden => "overridden",
    }
}

impl ListenerJson {
    fn new(listener: &Listener) -> Self {
        Self {
            address: listener.address.clone(),
            authentication: listener.authentication.clone(),
        }
    }
}

impl ModuleJson {
    /// JSON of a module as it was at `now`.
    pub fn new(module: &Module, now: SystemTime) -> Self {
        Self {
            name: module.name.clone(),
            state: module_state(module.state()),
            pid: module.pid,
            started_at: time(module.started_at.as_ref()),
            ready_at: time(module.ready_at.as_ref()),
            uptime_s: seconds_since(module.started_at.as_ref(), now),
            restarts: module.restarts,
            rss_bytes: module.rss_bytes,
            cpu: module.cpu,
            last: some_text(&module.last),
            last_at: time(module.last_at.as_ref()),
            next_try_at: time(module.next_try_at.as_ref()),
            resources: module.resources,
            executable: some_text(&module.executable),
            limits: module.limits.iter().map(LimitJson::new).collect(),
        }
    }
}

impl LimitJson {
    fn new(limit: &Limit) -> Self {
        Self {
            name: limit.name.clone(),
            limit: limit.limit.clone(),
            held: limit.held.clone(),
            note: some_text(&limit.note),
            reached: some_text(&limit.reached),
        }
    }
}

impl ResourceJson {
    /// JSON of a resource.
    pub fn new(resource: &Resource) -> Self {
        let name = resource.name.clone().unwrap_or_default();
        Self {
            api: resolve::api(&name),
            name: name.name,
            model: some_text(&resource.model),
            state: resource_state(resource.state()),
            error: some_text(&resource.error),
            module: some_text(&resource.module),
            dependencies: resource.dependencies.iter().map(resolve::full).collect(),
            last_updated: time(resource.last_updated.as_ref()),
            stuck: resource.stuck.iter().map(StuckJson::new).collect(),
        }
    }
}

impl StuckJson {
    fn new(stuck: &StuckCalls) -> Self {
        Self {
            method: stuck.method.clone(),
            age_s: age(stuck).as_secs_f64(),
            calls: stuck.calls,
            callers: stuck.callers.clone(),
        }
    }
}

/// A machine's state in one word.
pub fn machine_state(state: MachineState) -> &'static str {
    match state {
        MachineState::Unspecified => "unknown",
        MachineState::Starting => "starting",
        MachineState::Running => "running",
        MachineState::Stopping => "stopping",
    }
}

/// A module's state in one word.
pub fn module_state(state: ModuleState) -> &'static str {
    match state {
        ModuleState::Unspecified => "unknown",
        ModuleState::Pending => "pending",
        ModuleState::Starting => "starting",
        ModuleState::Ready => "ready",
        ModuleState::Unresponsive => "unresponsive",
        ModuleState::BackOff => "back-off",
        ModuleState::Stopping => "stopping",
        ModuleState::Stopped => "stopped",
    }
}

/// A time as scripts get it.
pub(super) fn time(at: Option<&Timestamp>) -> Option<String> {
    at.map(ToString::to_string)
}

/// Age of `at` in seconds.
fn seconds_since(at: Option<&Timestamp>, now: SystemTime) -> Option<f64> {
    let at = SystemTime::try_from(*at?).ok()?;
    // Clocks step; less than nothing is nothing.
    Some(now.duration_since(at).unwrap_or_default().as_secs_f64())
}

fn some_text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn some_number(number: u32) -> Option<u32> {
    (number != 0).then_some(number)
}
