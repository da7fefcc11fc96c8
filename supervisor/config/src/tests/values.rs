//! Tests of the values that a good text means.

use std::path::Path;
use std::time::Duration;

use mainstay_model::Value;
use mainstay_model::suggest::nearest;
use mainstay_model::{ApiKey, AuthHandler, Level, LogRule, ModuleType, Secret};
use mainstay_wire::entry::component_config;

use super::{good, read};
use crate::load;

/// Sample with two modules, both naming styles, a frame, capture, a remote, a job.
pub(super) const SAMPLE_JSON: &str = r#"{
  "network": {
    "bind_address": "0.0.0.0:8080",
    "sessions": { "heartbeat_window": "4s" },
    "traffic_tunnel_endpoints": [ { "port": 2222, "connection_timeout": "3s" } ]
  },
  "modules": [
    { "name": "gearbox", "type": "local", "executable_path": "/opt/gearbox/run.sh",
      "log_level": "debug", "env": { "PORT": "/dev/ttyACM0" } },
    { "name": "eyes", "type": "local", "executable_path": "/opt/kits/eyes.tar.gz",
      "tcp_mode": true, "first_run_timeout": "10m" }
  ],
  "components": [
    { "name": "wheel-l", "api": "rdk:component:motor", "model": "acme:drive:gear",
      "attributes": { "channel": 4, "ratio": 12.5 }, "log_configuration": { "level": "warn" } },
    { "name": "scan", "type": "camera", "model": "acme:sense:lidar", "depends_on": ["wheel-l"],
      "frame": { "parent": "world", "translation": { "x": 0, "y": 120, "z": 300 },
        "orientation": { "type": "ov_degrees", "value": { "x": 0, "y": 0, "z": 1, "th": 90 } },
        "geometry": { "type": "box", "x": 60, "y": 60, "z": 40 } },
      "service_configs": [ { "type": "data_manager", "attributes": {
        "capture_methods": [ { "method": "GetImages", "capture_frequency_hz": 0.2, "additional_params": {} } ] } } ] }
  ],
  "services": [
    { "name": "guard", "api": "acme:service:watcher", "model": "acme:sense:watch", "attributes": { "camera": "scan" } },
    { "name": "dm", "type": "data_manager", "attributes": { "capture_dir": "/var/lib/cap" } }
  ],
  "remotes": [ { "name": "arm-box", "address": "10.0.0.7:8080", "insecure": true, "prefix": "r-", "reconnect_interval": "2s" } ],
  "jobs": [ { "name": "ping", "schedule": "30s", "resource": "guard", "method": "DoCommand", "command": { "op": "ping" } } ],
  "maintenance": { "sensor_name": "rdk:component:sensor/idle", "maintenance_allowed_key": "ok" },
  "log": [ { "pattern": "rdk.modmanager.*", "level": "debug" } ],
  "tracing": { "enabled": true, "disk": true, "otlpendpoint": "localhost:4317" }
}"#;

/// The same machine as a person would write it.
pub(super) const SAMPLE_YAML: &str = r#"
network:
  bind_address: 0.0.0.0:8080
  sessions: {heartbeat_window: 4s}
  traffic_tunnel_endpoints:
    - {port: 2222, connection_timeout: 3s}
modules:
  - name: gearbox
    type: local
    executable_path: /opt/gearbox/run.sh
    log_level: debug
    env:
      PORT: /dev/ttyACM0      # the left socket
  - name: eyes
    type: local
    executable_path: /opt/kits/eyes.tar.gz
    tcp_mode: true
    first_run_timeout: 10m
components:
  - name: wheel-l
    api: rdk:component:motor
    model: acme:drive:gear
    attributes: {channel: 4, ratio: 12.5}
    log_configuration: {level: warn}
  - name: scan
    type: camera
    model: acme:sense:lidar
    depends_on: [wheel-l]
    frame:
      parent: world
      translation: {x: 0, y: 120, z: 300}
      orientation:
        type: ov_degrees
        value: {x: 0, y: 0, z: 1, th: 90}
      geometry: {type: box, x: 60, y: 60, z: 40}
    service_configs:
      - type: data_manager
        attributes:
          capture_methods:
            - method: GetImages
              capture_frequency_hz: 0.2
              additional_params: {}
services:
  - name: guard
    api: acme:service:watcher
    model: acme:sense:watch
    attributes: {camera: scan}
  - name: dm
    type: data_manager
    attributes: {capture_dir: /var/lib/cap}
remotes:
  - {name: arm-box, address: "10.0.0.7:8080", insecure: true, prefix: r-, reconnect_interval: 2s}
jobs:
  - {name: ping, schedule: 30s, resource: guard, method: DoCommand, command: {op: ping}}
maintenance: {sensor_name: rdk:component:sensor/idle, maintenance_allowed_key: ok}
log:
  - {pattern: rdk.modmanager.*, level: debug}
tracing: {enabled: true, disk: true, otlpendpoint: "localhost:4317"}
"#;

#[test]
fn both_formats_of_a_whole_machine_mean_the_same() {
    let [json, yaml] = [("r.json", SAMPLE_JSON), ("r.yaml", SAMPLE_YAML)].map(|(name, text)| {
        let loaded = read(name, text).unwrap_or_else(|refused| panic!("{refused}"));
        let said: Vec<_> = loaded.diagnostics.iter().map(|said| said.message.as_str()).collect();
        let not_in_force = |said: &&str| said.contains(" is not in force in this version: ");
        assert!(said.len() == 1 && said.iter().all(not_in_force), "{said:?}");
        loaded.config
    });
    assert_eq!(json.modules, yaml.modules);
    assert_eq!(json.resources, yaml.resources);
    assert_eq!(
        (&json.remotes, &json.jobs, &json.log),
        (&yaml.remotes, &yaml.jobs, &yaml.log)
    );
    assert_eq!((&json.tracing, &json.maintenance), (&yaml.tracing, &yaml.maintenance));
    assert_eq!(json.network.tunnels, yaml.network.tunnels);

    assert_eq!(json.network.bind_address, "0.0.0.0:8080");
    assert_eq!(json.network.heartbeat_window, Duration::from_secs(4));
    let [gearbox, eyes] = &json.modules[..] else {
        panic!("two modules")
    };
    assert_eq!(
        (gearbox.name.as_str(), gearbox.kind, gearbox.log_level.as_deref()),
        ("gearbox", ModuleType::Local, Some("debug"))
    );
    assert_eq!(gearbox.env["PORT"], "/dev/ttyACM0");
    assert_eq!(
        (eyes.tcp_mode, eyes.first_run_timeout),
        (true, Duration::from_secs(600))
    );
    let names: Vec<_> = json
        .resources
        .iter()
        .map(|resource| resource.name.to_string())
        .collect();
    assert_eq!(
        names,
        [
            "rdk:component:motor/wheel-l",
            "rdk:component:camera/scan",
            "acme:service:watcher/guard",
            "rdk:service:data_manager/dm"
        ]
    );
    assert_eq!(json.resources[0].log_level, Some(Level::Warn));
    assert_eq!(json.resources[3].model.to_string(), "rdk:builtin:builtin");
    assert_eq!(json.remotes[0].reconnect_interval, Duration::from_secs(2));
    assert_eq!((json.resources[0].place.line, json.resources[0].place.column), (14, 15));
}

#[test]
fn the_keys_of_a_refused_auth_are_read_all_the_same() {
    let text = "auth: {handlers: [{type: api-key, config: {keys: [bench-1], bench-1: change-me}}, {type: x}]}";
    let refused = read("r.yaml", text).expect_err("no such type");
    let AuthHandler::ApiKeys(keys) = &refused.config.expect("read").auth.handlers[0];
    assert_eq!(keys["bench-1"], ApiKey::Plain(Secret("change-me".to_owned())));
}

#[test]
fn an_entry_becomes_the_message_for_its_module() {
    let config = read("r.json", SAMPLE_JSON).expect("usable").config;
    let motor = component_config(&config.resources[0]).expect("whole");
    assert_eq!(
        (motor.name.as_str(), motor.namespace.as_str(), motor.r#type.as_str()),
        ("wheel-l", "rdk", "motor")
    );
    assert_eq!(
        (motor.api.as_str(), motor.model.as_str()),
        ("rdk:component:motor", "acme:drive:gear")
    );
    assert_eq!(
        motor.attributes.expect("sent").fields["channel"].kind,
        Some(prost_types::value::Kind::NumberValue(4.0))
    );
    assert_eq!(motor.log_configuration.expect("set").level, "warn");
    assert!(motor.frame.is_none());

    let camera = component_config(&config.resources[1]).expect("whole");
    assert_eq!(camera.depends_on, ["wheel-l"]);
    assert!(camera.attributes.expect("an empty one is sent").fields.is_empty());
    assert_eq!(camera.service_configs[0].r#type, "rdk:service:data_manager");
    let frame = camera.frame.expect("set");
    assert_eq!(frame.translation.map(|t| (t.x, t.y, t.z)), Some((0.0, 120.0, 300.0)));
    use mainstay_proto::viam::app::v1::orientation::Type;
    let Some(Type::Quaternion(q)) = frame.orientation.expect("always sent").r#type else {
        panic!("a quaternion")
    };
    let half = std::f64::consts::FRAC_1_SQRT_2;
    assert!(
        (q.w - half).abs() < 1e-12 && (q.z - half).abs() < 1e-12 && q.x.abs() + q.y.abs() < 1e-12,
        "{q:?}"
    );
    let geometry = frame.geometry.expect("set");
    let center = geometry.center.expect("set");
    assert_eq!((center.x, center.o_z, center.theta), (0.0, 1.0, 0.0));
    use mainstay_proto::viam::common::v1::geometry::GeometryType;
    assert!(
        matches!(geometry.geometry_type, Some(GeometryType::Box(prism)) if prism.dims_mm.is_some_and(|d| d.z == 40.0))
    );
}

#[test]
fn short_and_legacy_forms_are_completed() {
    for (list, entry, wanted) in [
        (
            "components",
            "{name: a, type: motor, model: fake}",
            "rdk:component:motor/a rdk:builtin:fake",
        ),
        (
            "components",
            "{name: a, namespace: acme, type: gizmo, model: 'a:b:c'}",
            "acme:component:gizmo/a a:b:c",
        ),
        (
            "components",
            "{name: a, api: 'rdk:service:vision', type: motor, model: fake}",
            "rdk:service:vision/a rdk:builtin:fake",
        ),
        (
            "components",
            "{name: a, api: {subtype: motor}, model: {name: fake}}",
            "rdk:component:motor/a rdk:builtin:fake",
        ),
        (
            "components",
            "{name: a, api: {namespace: x, type: service, subtype: y}, model: {namespace: n, model_family: f, name: m}}",
            "x:service:y/a n:f:m",
        ),
        (
            "services",
            "{type: vision}",
            "rdk:service:vision/builtin rdk:builtin:builtin",
        ),
        (
            "services",
            "{api: {subtype: slam}, model: 'a:b:c'}",
            "rdk:service:slam/builtin a:b:c",
        ),
    ] {
        let config = good(&format!("{list}: [{entry}]")).config;
        let resource = &config.resources[0];
        assert_eq!(format!("{} {}", resource.name, resource.model), wanted, "{entry}");
        assert_eq!(resource.fault, None);
    }
}

#[test]
fn what_is_not_written_has_its_default() {
    let config = good("{}").config;
    assert_eq!(
        (config.network.bind_address.as_str(), config.network.heartbeat_window),
        ("localhost:8080", Duration::from_secs(2))
    );
    assert!(config.resources.is_empty() && config.modules.is_empty() && !config.debug && config.cloud.is_none());
    let config = good("modules: [{name: m, executable_path: x, first_run_timeout: 0s, log_level: ''}]").config;
    assert_eq!(
        (
            config.modules[0].first_run_timeout,
            config.modules[0].log_level.as_ref()
        ),
        (Duration::from_secs(3600), None)
    );
}

#[test]
fn paths_of_programs_start_at_home_or_at_the_folder_of_the_config() {
    for (written, path) in [
        ("/opt/x", "/opt/x"),
        ("~/bin/x", "/home/ada/bin/x"),
        ("x", "/etc/robot/x"),
        ("./target/x", "/etc/robot/target/x"),
        ("../x", "/etc/robot/../x"),
        ("~x", "/etc/robot/~x"),
    ] {
        let config = good(&format!("modules: [{{name: m, executable_path: {written}}}]")).config;
        assert_eq!(config.modules[0].executable, Path::new(path));
    }
}

#[test]
fn scalars_without_quotes_follow_the_core_schema() {
    let config = good("components: [{name: a, type: arm, model: fake, attributes: {t: true, n: 1.5, i: -3, h: 0x1F, o: 0o17, e: 1e3, v: 1.2.3, s: '5', x: ~, d: 2026-01-02, m: '!!x', l: [1, a]}}]").config;
    let fields = &config.resources[0].attributes;
    for (key, kind) in [
        ("t", Value::Bool(true)),
        ("n", Value::Number(1.5)),
        ("i", Value::Number(-3.0)),
        ("h", Value::Number(31.0)),
        ("o", Value::Number(15.0)),
        ("e", Value::Number(1000.0)),
        ("v", Value::Text("1.2.3".into())),
        ("s", Value::Text("5".into())),
        ("x", Value::Null),
        ("d", Value::Text("2026-01-02".into())),
    ] {
        assert_eq!(fields[key], kind, "{key}");
    }
}

#[test]
fn anchors_and_merges_work_and_what_is_written_wins() {
    let text = "components:\n- &base {name: a, type: motor, model: fake, attributes: &at {x: 1, y: 2}}\n- {<<: *base, name: b, attributes: {<<: *at, y: 3}}\n";
    let config = good(text).config;
    let [a, b] = &config.resources[..] else { panic!("two") };
    assert_eq!(
        (a.name.to_string(), b.name.to_string()),
        ("rdk:component:motor/a".into(), "rdk:component:motor/b".into())
    );
    assert_eq!(b.attributes["x"], Value::Number(1.0));
    assert_eq!(b.attributes["y"], Value::Number(3.0));
}

#[test]
fn json_escapes_are_those_of_peers() {
    let text = r#"{"revision": "a\"\\\/\b\f\n\r\té😀\ud800x\udc00"}"#;
    assert_eq!(
        read("r.json", text).expect("usable").config.revision,
        "a\"\\/\u{8}\u{c}\n\r\té😀\u{fffd}x\u{fffd}"
    );
}

#[test]
fn the_format_is_told_by_the_ending_else_by_the_first_character() {
    for (name, text) in [
        ("r.json", "{\"debug\": true}"),
        ("r.JSON", "{\"debug\":true} x"),
        ("robot", " {\"debug\":true} x"),
        ("robot", "debug: true"),
        ("r.yml", "{debug: true}"),
        ("r.yaml", "\u{feff}debug: true"),
    ] {
        assert!(
            read(name, text)
                .unwrap_or_else(|refused| panic!("{name}: {refused}"))
                .config
                .debug,
            "{name}"
        );
    }
}

#[test]
fn log_rules_match_whole_names_with_stars() {
    for (pattern, logger, matches) in [
        ("rdk", "rdk", true),
        ("rdk", "rdk.config", false),
        ("rdk.*", "rdk.config", true),
        ("*", "", true),
        ("*.config", "rdk.config", true),
        ("*.config", "rdk.configs", false),
        ("rdk.*.a*b", "rdk.x.aab", true),
        ("rdk.*.a*b", "rdk.x.ab.c", false),
        ("a*a", "a", false),
        ("a*b*a", "aba", true),
        ("rdk.modmanager.(eyes|ears)", "rdk.modmanager.ears", true),
        ("rdk.modmanager.(eyes|ears)", "rdk.modmanager.ears2", false),
        ("rdk.modmanager.(eyes|ears)", "rdk-modmanager.ears", false),
        ("rdk.[a-c]*", "rdk.config", true),
        ("rdk.[a-c]*", "rdk.networking", false),
        ("a|b", "ab", false),
        (
            "rdk.resource_manager.rdk:component:motor/left-1",
            "rdk.resource_manager.rdk:component:motor/left-1",
            true,
        ),
    ] {
        let rule = LogRule::new(pattern, Level::Info).expect("a pattern");
        assert_eq!(rule.matches(logger), matches, "{pattern} {logger}");
    }
    for bad in ["(", "[", "a{1000}{1000}"] {
        let error = LogRule::new(bad, Level::Info).expect_err(bad).to_string();
        assert!(
            error.starts_with(&format!("`{bad}` is no pattern of logger names: ")),
            "{error}"
        );
    }
}

#[test]
fn a_module_debugs_if_anything_says_so() {
    let config = |text: &str| {
        good(&format!(
            "modules: [{{name: m, executable_path: x}}, {{name: n, executable_path: x, log_level: warn}}]\n{text}"
        ))
        .config
    };
    for (text, process, m) in [
        ("", false, None),
        ("", true, Some("debug")),
        ("debug: true", false, Some("debug")),
        ("log: [{pattern: m, level: debug}]", false, Some("debug")),
        (
            "log: [{pattern: m, level: debug}, {pattern: '*', level: info}]",
            false,
            None,
        ),
        ("log: [{pattern: m, level: info}]", false, None),
    ] {
        let config = config(text);
        assert_eq!(
            config.module_log_level(&config.modules[0], process).as_deref(),
            m,
            "{text}"
        );
        assert_eq!(
            config.module_log_level(&config.modules[1], process).as_deref(),
            Some("warn")
        );
    }
}

#[test]
fn entries_are_equal_whatever_their_place_and_layout() {
    let one = good("components: [{name: a, type: motor, model: fake, attributes: {x: 1}, service_configs: [{type: slam}]}]\nmodules: [{name: m, executable_path: x}]").config;
    let two = good("modules:\n- executable_path: ./x\n  name: m\ncomponents:\n- name: a\n  api: rdk:component:motor\n  model: rdk:builtin:fake\n  attributes: {x: 1.0}\n").config;
    assert_eq!(one.modules, two.modules);
    assert!(one.resources[0].builds_the_same_as(&two.resources[0]));
    assert_ne!(one.resources, two.resources);
}

#[test]
fn a_file_is_read_from_disk_with_its_programs_checked() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("r.yaml");
    assert!(
        load(&path)
            .expect_err("no file")
            .to_string()
            .contains("the config cannot be read: No such file")
    );
    std::fs::write(
        &path,
        b"modules:\n- {name: m, executable_path: ./m}\n- {name: n, executable_path: /bin/sh}\n",
    )
    .expect("written");
    let loaded = load(&path).expect("usable");
    assert_eq!(loaded.config.modules[0].executable, folder.path().join("m"));
    let faults: Vec<_> = loaded.config.modules.iter().map(|module| &module.fault).collect();
    assert_eq!(faults, [&None, &None], "a program may come later");
    let told: Vec<_> = loaded
        .diagnostics
        .iter()
        .map(|diagnostic| diagnostic.message.as_str())
        .collect();
    assert!(
        matches!(told.as_slice(), [one] if one.starts_with("module `m`") && one.ends_with("no such file or directory")),
        "{told:?}"
    );
    std::fs::write(&path, b"debug: true\nrevision: \xff\n").expect("written");
    let refused = load(&path).expect_err("not UTF-8");
    assert!(
        refused.diagnostics[0]
            .line()
            .ends_with("r.yaml:2:11: the config is not UTF-8 text (save it as UTF-8)"),
        "{refused}"
    );
    assert!(
        load(folder.path())
            .expect_err("a folder")
            .to_string()
            .contains("name the file in it")
    );
}

#[test]
fn the_nearest_model_is_found_for_those_that_know_the_models() {
    assert_eq!(
        nearest("acme:lidar:x3", ["acme:lidar:x2", "acme:motor:x3"]),
        Some("acme:lidar:x2")
    );
}

#[test]
fn a_package_that_is_not_there_is_told_with_its_place_and_its_folder() {
    let text = r#"{"packages": [
        {"name": "faces", "package": "org9/faces", "type": "ml_model", "version": "1.4"},
        {"name": "maps", "package": "org9/maps", "type": "slam_map", "version": "2"}]}"#;
    let mut config = read("r.json", text).expect("usable").config;
    for package in &mut config.packages {
        package.folder = Some(package.folder_in(Path::new("/v")));
    }
    let told = crate::packages::absent(&config, |folder| folder.ends_with("org9-maps-2"));
    let lines: Vec<_> = told.iter().map(crate::Diagnostic::line).collect();
    let line = "r.json:2:18: package `faces` (org9/faces) is not here, and nothing is downloaded: whatever uses it finds nothing \
                (put its content into `/v/packages/data/ml_model/org9-faces-1_4`)";
    assert_eq!(lines, [line]);
}
