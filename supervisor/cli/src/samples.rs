//! A machine for the tests of what is printed: one module ready, one restarted, one failing.

use std::time::{Duration, SystemTime};

use mainstay_proto::mainstay::control::v1::{
    Listener, MachineState, Module, ModuleState, Resource, ResourceState, Status,
};
use mainstay_proto::viam::common::v1::ResourceName;
use prost_types::Timestamp;

/// The moment at which everything is looked at.
pub fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// A time so many seconds before `now`.
pub fn ago(seconds: u64) -> Option<Timestamp> {
    Some(Timestamp::from(now() - Duration::from_secs(seconds)))
}

/// A time so many seconds after `now`.
pub fn ahead(seconds: u64) -> Option<Timestamp> {
    Some(Timestamp::from(now() + Duration::from_secs(seconds)))
}

/// `component:motor/left` in the namespace `rdk`.
pub fn name(text: &str) -> ResourceName {
    let (api, name) = text.split_once('/').unwrap();
    let (kind, subtype) = api.split_once(':').unwrap();
    ResourceName {
        namespace: "rdk".into(),
        r#type: kind.into(),
        subtype: subtype.into(),
        name: name.into(),
    }
}

pub fn resource(named: &str, model: &str, module: &str) -> Resource {
    Resource {
        name: Some(name(named)),
        model: model.into(),
        state: ResourceState::Ready.into(),
        module: module.into(),
        last_updated: ago(41),
        ..Resource::default()
    }
}

pub fn rover() -> Status {
    let fake = Module {
        name: "builtin:fake".into(),
        state: ModuleState::Ready.into(),
        pid: Some(4121),
        started_at: ago(3 * 3_600 + 12 * 60),
        ready_at: ago(3 * 3_600 + 12 * 60),
        rss_bytes: Some(4_100_000),
        cpu: Some(0.002),
        resources: 1,
        start_took: Some(prost_types::Duration {
            seconds: 0,
            nanos: 12_000_000,
        }),
        ..Module::default()
    };
    let lidar = Module {
        name: "acme-lidar".into(),
        state: ModuleState::Ready.into(),
        pid: Some(4188),
        started_at: ago(41),
        restarts: 2,
        rss_bytes: Some(61_000_000),
        cpu: Some(0.08),
        last: "restarted: killed by SIGSEGV\nthe last line it printed".into(),
        last_at: ago(41),
        resources: 1,
        start_took: Some(prost_types::Duration {
            seconds: 0,
            nanos: 840_000_000,
        }),
        executable: "/opt/lidar/run.sh".into(),
        ..Module::default()
    };
    let wheels = Module {
        name: "wheels".into(),
        state: ModuleState::BackOff.into(),
        restarts: 7,
        last: "exit code 2\nModuleNotFoundError: No module named 'smbus2'".into(),
        last_at: ago(3),
        next_try_at: ahead(14),
        resources: 1,
        start_took: Some(prost_types::Duration {
            seconds: 0,
            nanos: 31_000_000,
        }),
        ..Module::default()
    };
    let base = Resource {
        state: ResourceState::Unhealthy.into(),
        error: "module `wheels` is not running: exit code 2".into(),
        dependencies: vec![name("component:motor/left-motor")],
        ..resource("component:base/base", "acme:wheels:four", "wheels")
    };
    Status {
        part: String::new(),
        config_path: "/etc/robots/rover.yaml".into(),
        revision: "5".into(),
        version: "0.1.0".into(),
        state: MachineState::Running.into(),
        started_at: ago(3 * 3_600 + 12 * 60),
        settled_at: ago(3 * 3_600 + 12 * 60 - 1),
        listeners: vec![Listener {
            address: "127.0.0.1:8080".into(),
            authentication: "no authentication: loopback only".into(),
            tls: String::new(),
        }],
        pid: 4100,
        rss_bytes: Some(10_400_000),
        modules: vec![fake, lidar, wheels],
        resources: vec![
            resource("component:motor/left-motor", "rdk:builtin:fake", "builtin:fake"),
            resource("component:camera/lidar", "acme:lidar:x2", "acme-lidar"),
            base,
        ],
        diagnostics: Vec::new(),
        config: None,
        tasks: 61,
        threads: Some(5),
        shortages: Vec::new(),
        remotes: Vec::new(),
        mdns: None,
    }
}
