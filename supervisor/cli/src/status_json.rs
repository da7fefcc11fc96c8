//! `mainstay status --json`: the keys here are a promise to scripts. New keys may come; none changes its meaning.

use std::time::{Duration, SystemTime};

use mainstay_proto::mainstay::control::v1::{
    ConfigState, ConfigStatus, MachineState, Module, ModuleState, Remote, Resource, Status,
};
use mainstay_proto::words::resource_state;
use serde_json::{Value, json};

use crate::call::resolve;
use crate::output::filled;
use crate::times::{rfc3339, seconds, since};

/// A whole machine as it was at `now`. Times are RFC 3339 in UTC; what is unknown is `null`.
pub fn machine(status: &Status, now: SystemTime) -> Value {
    let listeners = status
        .listeners
        .iter()
        .map(|listener| json!({ "address": listener.address, "authentication": listener.authentication, "tls": filled(&listener.tls) }));
    let modules = status.modules.iter().map(|one| module(one, now));
    json!({
        // Absolute path of the config file; empty for a machine on another host.
        "config": status.config_path,
        "revision": status.revision,
        "version": status.version,
        // `starting`, `running` or `stopping`.
        "state": machine_state(status.state()),
        "pid": (status.pid != 0).then_some(status.pid),
        "started_at": rfc3339(status.started_at.as_ref()),
        "settled_at": rfc3339(status.settled_at.as_ref()),
        "uptime_s": since(status.started_at.as_ref(), now).as_ref().map(Duration::as_secs_f64),
        "rss_bytes": status.rss_bytes,
        // Number of tasks in the core.
        "tasks": (status.tasks != 0).then_some(status.tasks),
        "threads": status.threads,
        "shortages": status.shortages,
        "listeners": listeners.collect::<Value>(),
        // Names by which others on the local network find it, and what keeps them from it; `null` for a machine on another host.
        "mdns": status.mdns.as_ref().map(|mdns| json!({ "names": mdns.names, "problem": filled(&mdns.problem) })),
        "modules": modules.collect::<Value>(),
        "resources": status.resources.iter().map(resource).collect::<Value>(),
        "remotes": status.remotes.iter().map(remote).collect::<Value>(),
        // Diagnostics of the config, as text.
        "part": status.part,
        "diagnostics": status.diagnostics,
        // State of the running config against its file; `null` for a machine on another host.
        "config_status": status.config.as_ref().map(config),
    })
}

fn config(config: &ConfigStatus) -> Value {
    json!({
        // Path as it was given to `mainstay run`.
        "path": config.path,
        // The file that the running config was read from.
        "from": config.from,
        // Number of the last config that counts.
        "revision": config.revision,
        // `current`, `refused`, `away`, `waiting for maintenance`, `applying`, `watching`, `reverted`, `degraded` or
        // `overridden`.
        "state": config_state(config.state()),
        // Reasons why it is not `current`.
        "reasons": config.reasons,
        "since": rfc3339(config.since.as_ref()),
        "applied_at": rfc3339(config.applied_at.as_ref()),
        // End of the watch, or the next question to the maintenance sensor.
        "until": rfc3339(config.until.as_ref()),
        // Reason why the last config that counts is not on the disk.
        "unkept": filled(&config.unkept),
    })
}

/// A module as it was at `now`.
pub fn module(module: &Module, now: SystemTime) -> Value {
    let limits = module.limits.iter().map(|limit| {
        json!({
            // `memory`, `cpu`, `pids` or `open_files`.
            "name": limit.name,
            "limit": limit.limit,
            // `cgroup`, `rlimit`, `watched` or `not enforced`.
            "held": limit.held,
            "note": filled(&limit.note),
            // Refusals of the kernel to the present process because of the limit.
            "reached": filled(&limit.reached),
        })
    });
    json!({
        "name": module.name,
        // `pending`, `starting`, `ready`, `unresponsive`, `back-off`, `stopping` or `stopped`.
        "state": module_state(module.state()),
        "pid": module.pid,
        "started_at": rfc3339(module.started_at.as_ref()),
        "ready_at": rfc3339(module.ready_at.as_ref()),
        "uptime_s": since(module.started_at.as_ref(), now).as_ref().map(Duration::as_secs_f64),
        "restarts": module.restarts,
        "rss_bytes": module.rss_bytes,
        // Fraction of one processor.
        "cpu": module.cpu,
        // Newest event, perhaps of several lines.
        "last": filled(&module.last),
        "last_at": rfc3339(module.last_at.as_ref()),
        "next_try_at": rfc3339(module.next_try_at.as_ref()),
        // Number of resources configured for it.
        "resources": module.resources,
        "executable": filled(&module.executable),
        // The limits in its config.
        "limits": limits.collect::<Value>(),
    })
}

/// Another machine.
pub fn remote(remote: &Remote) -> Value {
    json!({
        "name": remote.name,
        "address": remote.address,
        "connected": remote.cause.is_empty(),
        // Reason why it is not connected.
        "cause": filled(&remote.cause),
        "since": rfc3339(remote.since.as_ref()),
        // Number of its resources that are used.
        "resources": remote.resources,
        // What else it lists, with the reasons.
        "left_out": remote.left_out,
    })
}

/// A resource.
pub fn resource(resource: &Resource) -> Value {
    let name = resource.name.clone().unwrap_or_default();
    let stuck = resource.stuck.iter().map(|stuck| {
        json!({
            // Without its service.
            "method": stuck.method,
            // Age of the oldest.
            "age_s": seconds(stuck.age.as_ref()).unwrap_or_default(),
            "calls": stuck.calls,
            // Each once.
            "callers": stuck.callers,
        })
    });
    json!({
        "name": name.name,
        // `namespace:type:subtype`.
        "api": resolve::api(&name),
        "model": filled(&resource.model),
        // `pending`, `configuring`, `ready`, `unhealthy` or `removing`.
        "state": resource_state(resource.state()),
        "error": filled(&resource.error),
        "module": filled(&resource.module),
        // Full names, `namespace:type:subtype/name`.
        "dependencies": resource.dependencies.iter().map(resolve::full).collect::<Value>(),
        "last_updated": rfc3339(resource.last_updated.as_ref()),
        // Calls that do not return; empty if all do.
        "stuck": stuck.collect::<Value>(),
    })
}

/// The state of the config in one word.
fn config_state(state: ConfigState) -> &'static str {
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
