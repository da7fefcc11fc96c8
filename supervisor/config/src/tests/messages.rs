//! Tests of the diagnostics about texts that are not right, to the letter.

use mainstay_wire::entry::component_config;

use super::{all_lines, check, lines, read};
use crate::check::executables;
use crate::executable::Executable;

#[test]
fn a_wrong_type_costs_its_entry_alone_and_the_reading_goes_on() {
    check(
        "r.yaml",
        &[
            (
                "components: {a: 1}",
                &[
                    "Refused r.yaml:1:13: `components` must be a list, but is a map of keys and values (put it between [ and ])",
                ],
            ),
            (
                "components: [x]",
                &["Local r.yaml:1:14: a component must be a map of keys and values, but is a text"],
            ),
            (
                "debug: yes",
                &["Local r.yaml:1:8: `debug` must be true or false, but is a text (write true)"],
            ),
            (
                "revision: 12",
                &["Local r.yaml:1:11: `revision` must be a text, but is a number (write \"12\" in quotes)"],
            ),
            (
                "components: [{name: 7, type: motor, model: fake}]",
                &["Local r.yaml:1:21: `name` must be a text, but is a number (write \"7\" in quotes)"],
            ),
            (
                "components: [{name: a, type: motor, model: [x]}]",
                &["Local r.yaml:1:44: `model` must be a text, but is a list"],
            ),
            (
                "components: [{name: a, type: motor, model: fake, depends_on: b, attributes: 5}]",
                &[
                    "Local r.yaml:1:62: `depends_on` must be a list, but is a text (put it between [ and ])",
                    "Local r.yaml:1:77: `attributes` must be a map of keys and values, but is a number",
                ],
            ),
            (
                "modules: [{name: a, executable_path: /bin/x, env: {A: 1, B: true}, tcp_mode: 'no', first_run_timeout: 5}]",
                &[
                    "Local r.yaml:1:55: a value of `env` must be a text, but is a number (write \"1\" in quotes)",
                    "Local r.yaml:1:61: a value of `env` must be a text, but is true or false (write \"true\" in quotes)",
                    "Local r.yaml:1:78: `tcp_mode` must be true or false, but is a text (write false)",
                    "Local r.yaml:1:103: `first_run_timeout` must be a duration, but is a number (write \"5s\" if seconds are meant)",
                ],
            ),
            (
                "components: [{name: a, type: arm, model: fake, frame: {parent: world, translation: {x: '1'}}}]",
                &["Local r.yaml:1:88: `x` must be a number, but is a text (write it without quotes)"],
            ),
            (
                "components: [{name: a, type: arm, model: fake, attributes: {a: .inf}}]",
                &[
                    "Warning r.yaml:1:64: modules take finite numbers only, so this value of `a` is null (write a number, or remove it)",
                ],
            ),
            (
                "components: [{name: a, type: arm, model: fake, log_configuration: {level: loud}}]",
                &["Local r.yaml:1:75: unknown log level: \"loud\" (it is one of debug, info, warn and error)"],
            ),
        ],
    );
}

#[test]
fn a_text_that_is_no_api_or_model_costs_its_entry_alone() {
    check(
        "r.yaml",
        &[
            (
                "components: [{name: a, api: motor, model: fake}]",
                &[
                    "Local r.yaml:1:29: not a valid API config string. Input: `motor` (did you mean `rdk:component:motor`?)",
                ],
            ),
            (
                "components: [{name: a, api: 'rdk:component', model: fake}]",
                &[
                    "Local r.yaml:1:29: not a valid API config string. Input: `rdk:component` (write namespace:type:subtype in letters, digits, `-` and `_`, like `rdk:component:motor`)",
                ],
            ),
            (
                "components: [{name: a, type: arm, model: 'acme:arm'}]",
                &[
                    "Local r.yaml:1:42: not a valid Model config string. Input: `acme:arm` (write namespace:family:name in letters, digits, `-` and `_`, like `acme:rover:wheel`, or one word for a built-in model, like `fake`)",
                ],
            ),
            (
                "components: [{name: a, type: arm, model: fake, service_configs: [{type: 'a:b'}]}]",
                &[
                    "Local r.yaml:1:73: not a valid API config string. Input: `a:b` (write the service it is for, like `data_manager`)",
                ],
            ),
        ],
    );
}

#[test]
fn what_is_configured_and_not_in_force_is_said_and_what_would_leave_the_machine_open_is_refused() {
    let cases: [(&str, &[&str]); 5] = [
        ("auth: {handlers: [{type: api-key, config: {keys: [k], k: v}}]}", &[]),
        ("auth: {tls_auth_entities: [x]}", &[]),
        (
            "auth: {handlers: [], tls_auth_entities: []}\nnetwork: {tls_cert_file: '', fqdn: '', no_tls: true}\nremotes: []\n",
            &[],
        ),
        (
            "cloud: {id: x, secret: y}\nremotes: [{name: r, address: 'r:1'}, {name: q, address: 'q:1', frame: {parent: world}}]\nnetwork: {fqdn: a.b, traffic_tunnel_endpoints: [{port: 22}]}\n",
            &[
                "Warning r.yaml:1:1: `cloud` is not in force in this version: no cloud is asked for a config or sent anything; this file is the whole config",
                "Warning r.yaml:2:64: `frame` is not in force in this version: its frames are not used",
            ],
        ),
        (
            "components: [{name: a, type: arm, model: fake, service_configs: [{type: data_manager}]}, {name: b, type: arm, model: fake, service_configs: [{type: data_manager}]}]",
            &[
                "Warning r.yaml:1:48: `service_configs` is not in force in this version: no data manager is built in, so nothing is captured; its module alone gets to see it",
            ],
        ),
    ];
    for (text, wanted) in cases {
        assert_eq!(all_lines("r.yaml", text), wanted, "{text}");
    }
    let open = |text: &str| read("r.yaml", text).is_err_and(|refused| refused.asks_for_protection());
    for asking in [
        "auth: {external_auth_config: {jwks: {keys: []}}}",
        "auth: 3",
        "auth: {handler: [1]}",
        "AUTH: {Handlers: [{type: api-key, config: {keys: [], k: v}}]}",
        "aut: {handlers: [{type: api-key}]}",
        "authentication: {x: 1}",
        "network: {tls: {cert: /c}}",
        "network: {tls: {}}",
        "network: {tls: on}",
        "network: {tls_cert_file: /c}",
        "network: {tls_cert: /c}",
        "network: {auth: {handlers: [1]}}",
        "auth: {$variable: {name: x}}",
    ] {
        assert!(open(asking), "{asking}");
    }
    for asking in [
        "network: {bind_address: nowhere}",
        "auth: {handler: []}",
        "network: {no_tls: true}",
    ] {
        assert!(!open(asking), "{asking}");
    }
}

#[test]
fn sections_without_which_the_others_keep_their_meaning_cost_themselves_alone() {
    let found = lines("r.yaml", "components: [{name: a, type: 7, model: fake}]");
    assert_eq!(
        found,
        ["Local r.yaml:1:30: `type` must be a text, but is a number (write \"7\" in quotes)"]
    );
    let text = "jobs: 5\nremotes: {}\npackages: x\nprocesses: 1\nlog: {}\ntracing: on\nmaintenance: [1]\ncloud: 1\napply: fast\ndebug: 'true'\nrevision: 3\ncomponents: [{name: 7, type: motor, model: '<NAMESPACE>:palletizing:palletizer'}, {name: fine, type: motor, model: fake}]\n";
    let loaded = read("r.yaml", text).unwrap_or_else(|refused| panic!("{refused}"));
    let lines: Vec<u32> = loaded
        .diagnostics
        .iter()
        .filter(|said| said.severity == crate::Severity::Local)
        .map(|said| said.place.line)
        .collect();
    assert_eq!(
        lines,
        [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 12],
        "{:?}",
        loaded.diagnostics
    );
    let [broken, fine] = &loaded.config.resources[..] else {
        panic!("two resources")
    };
    assert_eq!(broken.name.name, "7");
    let fault = "resource config validation error: `name` must be a text, but is a number; write \"7\" in quotes (r.yaml:12:21)";
    assert_eq!((broken.fault.as_deref(), fine.fault.as_deref()), (Some(fault), None));
    for refused in ["components: 5", "services: {}", "modules: x", "network: 3", "auth: 3"] {
        assert!(read("r.yaml", refused).is_err(), "{refused}");
    }
}

#[test]
fn words_that_other_readers_take_for_true_or_false_are_named() {
    check(
        "r.yaml",
        &[(
            "components: [{name: a, type: arm, model: fake, attributes: {a: yes, b: [Off, 'on', 1, .nan, 2], c: true}}]\nmodules: [{name: m, executable_path: /m, env: {A: on, B: 'off', C: a_1}}]\nservices: [{name: v, type: vision, model: fake, attributes: {y: 1, port: 8_080, _: 1_a}}]",
            &[
                "Warning r.yaml:1:64: `yes` is a text here, not true (write true, or \"yes\" in quotes if the text is meant)",
                "Warning r.yaml:1:73: `Off` is a text here, not false (write false, or \"Off\" in quotes if the text is meant)",
                "Warning r.yaml:1:87: modules take finite numbers only, so this value of `b` is null (write a number, or remove it)",
                "Warning r.yaml:2:51: `on` is a text here, not true (write true, or \"on\" in quotes if the text is meant)",
                "Warning r.yaml:3:74: `8_080` is a text here, not 8080 (write 8080, or \"8_080\" in quotes if the text is meant)",
            ],
        )],
    );
}

#[test]
fn a_module_of_a_registry_that_is_not_here_is_one_line_with_those_that_wait_for_it() {
    let help = crate::registry::DOWNLOAD;
    let text = "modules: [{type: registry, module_id: 'acme:lidar', version: 1.2.3, name: lidar}, {type: registry, module_id: 'acme:arm', name: arm}, {type: registry, module_id: 'acme:here', executable_path: /m, name: here}]\ncomponents: [{name: scan, type: camera, model: 'acme:lidar:x2'}, {name: other, type: camera, model: 'acme:here:x'}]\n";
    let found = lines("r.yaml", text);
    assert_eq!(
        found,
        [
            format!(
                "Local r.yaml:1:75: module `lidar` (acme:lidar) is not here, and nothing is downloaded from a registry; `scan` waits for it ({help})"
            ),
            format!(
                "Local r.yaml:1:129: module `arm` (acme:arm) is not here, and nothing is downloaded from a registry ({help})"
            ),
        ]
    );
    let config = read("r.yaml", text).expect("usable").config;
    let fault = config.modules[0].fault.as_deref().unwrap_or_default();
    assert!(fault.contains("`scan` waits for it") && fault.contains(help), "{fault}");
    assert_eq!(config.modules[2].fault, None);
    let checked = crate::models::check(&config, &mainstay_model::Offers::default());
    assert!(checked.diagnostics.is_empty(), "{:?}", checked.diagnostics);
}

#[test]
fn keys_match_as_they_do_for_peers_and_each_liberty_earns_a_warning() {
    check(
        "r.json",
        &[
            (
                "{\"Debug\": true}",
                &["Warning r.json:1:2: the key `Debug` counts as `debug` (write `debug`)"],
            ),
            (
                "{\"debug\": null}",
                &["Warning r.json:1:2: `debug` is null, which counts as not set"],
            ),
            (
                "{\"modules\": [null]}",
                &["Warning r.json:1:14: an item of `modules` is null, which counts as not there"],
            ),
            (
                "{\"debug\": true, \"debug\": false}",
                &["Warning r.json:1:17: `debug` is given more than once in the config; the last one counts"],
            ),
            (
                "{} }",
                &[
                    "Warning r.json:1:4: the text after the end of the config counts for nothing (remove it, or close the braces later)",
                ],
            ),
            (
                "{\"componets\": []}",
                &[
                    "Warning r.json:1:2: the config has no key `componets`; it has no effect (did you mean `components`?)",
                ],
            ),
            (
                "{\"fragments\": []}",
                &[
                    "Warning r.json:1:2: `fragments` has no effect (fragments are merged by the cloud before a machine sees them, so nothing of them is here: put what they hold into this file)",
                ],
            ),
            (
                "{\"fragments\": [\"a\", {\"id\": \"b\", \"variables\": {\"x\": \"$y\"}}], \"fragment_mods\": [{\"fragment_id\": \"b\", \"mods\": [{\"$set\": {\"components.m.attributes.rpm\": 1}}]}]}",
                &[
                    "Warning r.json:1:2: `fragments` has no effect (fragments are merged by the cloud before a machine sees them, so nothing of them is here: put what they hold into this file)",
                    "Warning r.json:1:61: `fragment_mods` has no effect (fragments are merged by the cloud before a machine sees them, so nothing of them is here: put what they hold into this file)",
                ],
            ),
            (
                "{\"components\": [{\"name\": \"a\", \"type\": \"arm\", \"model\": \"fake\", \"attributes\": {\"x\": [{\"$variable\": {\"name\": \"v\"}}]}, \"frame\": {\"parent\": \"world\", \"orientation\": {\"type\": \"ov_degrees\", \"value\": {\"z\": 1, \"th\": {\"$variable\": {\"name\": \"w\"}}}}}}]}",
                &[
                    "Local r.json:1:84: `x` is the variable `v` of a fragment, which only the cloud can fill in (write the value itself)",
                    "Local r.json:1:207: `th` is the variable `w` of a fragment, which only the cloud can fill in (write the value itself)",
                ],
            ),
            (
                "{\"modules\": [{\"name\": \"m\", \"executable_path\": {\"$variable\": {\"name\": \"v\"}}}], \"jobs\": {\"$variable\": 1}}",
                &[
                    "Local r.json:1:47: `executable_path` is the variable `v` of a fragment, which only the cloud can fill in (write the value itself)",
                    "Local r.json:1:87: `jobs` is a variable of a fragment, which only the cloud can fill in (write the value itself)",
                ],
            ),
            (
                "{\"triggers\": [1], \"modules\": [{\"name\": \"m\", \"executable_path\": \"/m\", \"version\": \"1.2.3\", \"reload_path\": \"/x\"}]}",
                &[
                    "Warning r.json:1:2: `triggers` has no effect (triggers belong to the cloud: nobody is told anything; write a job, or a program that watches the machine)",
                    "Warning r.json:1:90: `reload_path` has no effect (it belongs to another program: what runs is `executable_path`, and `watch: true` restarts it when that file changes)",
                ],
            ),
            ("{\"$schema\": \"x\"}", &[]),
            (
                "{\"processes\": []}",
                &[
                    "Warning r.json:1:15: `processes` are not run; they were abolished (make it a module, or a unit of the system's service manager)",
                ],
            ),
            (
                "{\"components\": [{\"name\": \"a\", \"type\": \"motor\", \"model\": \"fake\", \"disabled\": true, \"attributes\": {\"a\": 1, \"a\": 2, \"n\": 9007199254740993, \"p\": \"${x}\"}}]}",
                &[
                    "Warning r.json:1:65: `disabled` has no effect (nothing reads it: the entry runs all the same; remove the entry to switch it off)",
                    "Warning r.json:1:106: `a` is given more than once; the last one counts",
                    "Warning r.json:1:119: modules receive this number rounded (numbers travel as doubles, exact up to 9007199254740992; write it in quotes)",
                    "Warning r.json:1:143: the environment has no variable `x`, so this is empty (set it, or write `${x:-default}`, or `$$` for a dollar sign)",
                ],
            ),
            (
                "{\"log\": [{\"level\": \"info\"}, {\"pattern\": \"*\", \"level\": \"x\"}]}",
                &[
                    "Warning r.json:1:10: a log rule without `pattern` counts for nothing (for example `pattern: rdk.modmanager.*`)",
                    "Warning r.json:1:55: unknown log level: \"x\" (it is one of debug, info, warn and error)",
                ],
            ),
        ],
    );
    assert!(
        !read("r.json", "{\"debug\": true, \"DEBUG\": false}")
            .expect("usable")
            .config
            .debug
    );
    assert!(
        read("r.json", "{\"debug\": false, \"debug\": true}")
            .expect("usable")
            .config
            .debug
    );
}

#[test]
fn a_broken_entry_stays_visible_with_its_fault_and_costs_nobody_else_anything() {
    for (entry, name, fault) in [
        (
            "{type: motor, model: fake}",
            "rdk:component:motor/",
            "Error validating, missing required field. Field: \"name\" (r.yaml:2:5)",
        ),
        (
            "{name: 'a b', type: motor, model: fake}",
            "rdk:component:motor/a b",
            "name \"a b\" must start with a letter or number and must only contain letters, numbers, dashes, and underscores; for example `a-b` (r.yaml:2:12)",
        ),
        (
            "{name: 'a:b', type: motor, model: fake}",
            "rdk:component:motor/a:b",
            "reserved character : used in name:\"a:b\"; for example `a-b` (r.yaml:2:12)",
        ),
        (
            "{name: a, model: fake}",
            "rdk:component:unknown/a",
            "subtype field for resource missing or invalid; say what it is, for example `api: rdk:component:motor` (r.yaml:2:5)",
        ),
        (
            "{name: a, type: motor}",
            "rdk:component:motor/a",
            "Error validating, missing required field. Field: \"name\"; the component has no `model`; for example `model: fake` (r.yaml:2:5)",
        ),
        (
            "{name: a, api: 'acme:thing:x', model: fake}",
            "rdk:component:unknown/a",
            "`acme:thing:x` is not an API: its type must be `component` or `service`, like `rdk:component:motor` (r.yaml:2:20)",
        ),
        (
            "{name: a, api: {namespace: 'a+b', subtype: x}, model: fake}",
            "rdk:component:unknown/a",
            "reserved character + used in name:\"a+b\" (r.yaml:2:20)",
        ),
        (
            "{name: a, type: arm, model: fake, frame: {parent: world, orientation: {type: ov_degree}}}",
            "rdk:component:arm/a",
            "frame: orientation type `ov_degree` is unknown; did you mean `ov_degrees`? (r.yaml:2:82)",
        ),
        (
            "{name: a, type: arm, model: fake, frame: {parent: world, orientation: {type: ov_degrees}}}",
            "rdk:component:arm/a",
            "frame: the vector of orientation `ov_degrees` is zero, so it points nowhere; for example x: 0, y: 0, z: 1 (r.yaml:2:75)",
        ),
        (
            "{name: a, type: arm, model: fake, frame: {parent: world, geometry: {type: cube}}}",
            "rdk:component:arm/a",
            "frame: geometry type `cube` is unknown; it is `box`, `sphere`, `capsule`, `cylinder`, `point` or `mesh` (r.yaml:2:79)",
        ),
    ] {
        let text = format!("components:\n  - {entry}\n  - {{name: fine, type: sensor, model: fake}}\n");
        let loaded = read("r.yaml", &text).expect(entry);
        let [broken, fine] = &loaded.config.resources[..] else {
            panic!("{entry}")
        };
        assert_eq!(broken.name.to_string(), name);
        assert_eq!(
            broken.fault.as_deref(),
            Some(format!("resource config validation error: {fault}").as_str())
        );
        assert_eq!(
            component_config(broken).expect_err(entry),
            broken.fault.clone().unwrap_or_default()
        );
        assert_eq!(
            (fine.fault.as_ref(), loaded.diagnostics.len()),
            (None, 1),
            "{entry}: {:?}",
            loaded.diagnostics
        );
    }
}

#[test]
fn a_broken_module_has_its_fault_too() {
    for (entry, fault) in [
        (
            "{executable_path: /x}",
            "Error validating, missing required field. Field: \"name\" (r.yaml:1:11)",
        ),
        (
            "{name: parent, executable_path: /x}",
            "module  cannot use the reserved name of parent (r.yaml:1:18)",
        ),
        (
            "{name: a/b, executable_path: /x}",
            "module name \"a/b\" must start with a letter or number and must only contain letters, numbers, dashes, and underscores (r.yaml:1:18)",
        ),
        (
            "{name: a}",
            "Error validating, missing required field. Field: \"executable_path\"; name the program that is the module (r.yaml:1:11)",
        ),
        (
            "{name: a, executable_path: /x, status: {error: no money}}",
            "the cloud refuses this module: no money (r.yaml:1:50)",
        ),
    ] {
        let loaded = read("r.yaml", &format!("modules: [{entry}]")).expect(entry);
        assert_eq!(loaded.config.modules[0].fault.as_deref(), Some(fault));
        assert_eq!(loaded.diagnostics.len(), 1);
    }
}

#[test]
fn a_slip_in_a_standard_api_earns_a_hint_but_a_module_may_bring_it() {
    for (kind, help) in [
        ("movement-sensor", " (did you mean `movement_sensor`?)"),
        ("vision", " (`vision` is a service: `rdk:service:vision`)"),
        ("hovercraft", ""),
    ] {
        let text = format!("components: [{{name: a, type: {kind}, model: 'acme:x:y'}}]");
        assert_eq!(
            lines("r.yaml", &text),
            [format!(
                "Warning r.yaml:1:30: `rdk:component:{kind}` is not a standard API; it works only if a module brings it{help}"
            )]
        );
        assert_eq!(read("r.yaml", &text).expect(kind).config.resources[0].fault, None);
    }
}

#[test]
fn of_duplicates_the_first_counts_and_the_second_names_both_places() {
    let text = "components:\n- {name: x, type: motor, model: fake}\n- {name: x, type: arm, model: fake}\n- {name: x, api: 'rdk:component:motor', model: 'a:b:c'}\n\
                modules:\n- {name: m, executable_path: /a}\n- {name: m, executable_path: /b}\n";
    let config = read("r.yaml", text).expect("usable").config;
    assert_eq!(
        config.resources.iter().map(|r| r.name.to_string()).collect::<Vec<_>>(),
        ["rdk:component:motor/x", "rdk:component:arm/x"]
    );
    assert_eq!(config.resources[0].fault, None);
    assert_eq!(
        config.duplicates.resources[0].fault.as_deref(),
        Some(
            "cannot add duplicate local resource rdk:component:motor/x; the first is at r.yaml:2:10, this one at r.yaml:4:10: rename or remove one"
        )
    );
    assert_eq!(
        (config.modules.len(), config.modules[0].executable.to_str()),
        (1, Some("/a"))
    );
    assert!(
        config.duplicates.modules[0]
            .fault
            .as_deref()
            .is_some_and(|fault| fault.starts_with("Duplicate module m in robot config; the first is at r.yaml:6:10"))
    );
    assert_eq!(
        lines("r.yaml", text),
        [
            "Local r.yaml:4:10: cannot add duplicate local resource rdk:component:motor/x (the first is at r.yaml:2:10 and counts; rename or remove one)",
            "Local r.yaml:7:10: Duplicate module m in robot config (the first is at r.yaml:6:10 and counts; rename or remove one)",
        ]
    );
}

#[test]
fn programs_that_cannot_run_are_named_with_the_cure() {
    let text = "modules:\n- {name: a, executable_path: /a}\n- {name: b, executable_path: /b}\n- {name: c, executable_path: /c}\n- {name: d, executable_path: /d}\n- {name: e}\n- {name: g, executable_path: /g.tgz}\n";
    let config = read("r.yaml", text).expect("usable").config;
    let diagnostics = executables(&config, |path| match path.to_str() {
        Some("/a") => Executable::Program,
        Some("/b" | "/g.tgz") => Executable::NotExecutable,
        Some("/c") => Executable::NoFile,
        _ => Executable::Nothing(std::io::ErrorKind::NotFound.into()),
    });
    assert_eq!(
        diagnostics.iter().map(|c| c.line()).collect::<Vec<_>>(),
        [
            "r.yaml:3:30: module `b`: executable path error: stat /b: not executable (chmod +x /b)",
            "r.yaml:4:30: module `c`: executable path error: stat /c: not a file (name the program in it)",
            "r.yaml:5:30: module `d`: executable path error: stat /d: no such file or directory (build or install it, or correct the path; relative paths start at the folder of the config)",
            "r.yaml:7:30: module `g`: executable path error: stat /g.tgz: not executable (only modules with `type: local` have their archive unpacked; add it, or name the program itself)",
        ]
    );
}

#[test]
fn sections_about_connections_say_what_is_wrong_in_the_words_of_peers() {
    let cases: &[(&str, &[&str])] = &[
        (
            "network: {bind_address: localhost}",
            &[
                "Refused r.yaml:1:25: error validating bind_address: address localhost: missing port in address (write host:port, like localhost:8080, or :8080 for all addresses)",
            ],
        ),
        (
            "network: {tls_cert_file: a}",
            &["Refused r.yaml:1:10: must provide both tls_cert_file and tls_key_file"],
        ),
        (
            "network: {sessions: {heartbeat_window: 29ms}}",
            &["Refused r.yaml:1:40: heartbeat_window must be between [30ms, 1m]"],
        ),
        (
            "network: {sessions: {heartbeat_window: -1s}}",
            &["Refused r.yaml:1:40: heartbeat_window must be between [30ms, 1m]"],
        ),
        (
            "network: {sessions: {heartbeat_window: soon}}",
            &[
                "Refused r.yaml:1:40: `heartbeat_window`: invalid duration \"soon\" (write it like \"500ms\", \"2s\" or \"1m30s\")",
            ],
        ),
        (
            "network: {traffic_tunnel_endpoints: [{port: 70000}, {}]}",
            &[
                "Refused r.yaml:1:45: `port` must be between 1 and 65535",
                "Refused r.yaml:1:53: a tunnel needs a `port` between 1 and 65535",
            ],
        ),
        (
            "auth: {handlers: [{config: {}}]}",
            &["Refused r.yaml:1:19: handler must have type (for example `type: api-key`)"],
        ),
        (
            "auth: {handlers: [{type: external}]}",
            &["Refused r.yaml:1:26: robot cannot issue external auth tokens"],
        ),
        (
            "auth: {handlers: [{type: magic}]}",
            &["Refused r.yaml:1:26: do not know how to handle auth for \"magic\" (the type of a handler is `api-key`)"],
        ),
        (
            "auth: {handlers: [{type: api-key, config: {a: b}}]}",
            &["Refused r.yaml:1:43: keys is required (list the ids, like `keys: [my-id]`)"],
        ),
        (
            "auth: {handlers: [{type: api-key, config: {keys: [a]}}]}",
            &[
                "Refused r.yaml:1:43: \"api-key\" handler requires non-empty API keys",
                "Warning r.yaml:1:51: there is no key for the id `a`",
            ],
        ),
        (
            "auth: {handlers: [{type: api-key, config: {keys: [a], a: k}}, {type: api-key}]}",
            &["Refused r.yaml:1:70: duplicate handler type \"api-key\" (merge them into one)"],
        ),
        (
            "auth: {external_auth_config: {jwks: {keys: []}}}",
            &[
                "Refused r.yaml:1:30: cannot use unauthenticated and auth handlers at same time (add a handler of the type `api-key`)",
                "Refused r.yaml:1:44: must contain at least 1 key",
            ],
        ),
        (
            "cloud: {secret: x}",
            &["Local r.yaml:1:8: Error validating, missing required field. Field: \"id\""],
        ),
        (
            "cloud: {id: x, api_key: {id: y}}",
            &[
                "Local r.yaml:1:8: Error validating, missing required field. Field: \"api_key\" (it holds `id` and `key`)",
            ],
        ),
        (
            "remotes: [{name: a, frame: {id: x}}]",
            &[
                "Local r.yaml:1:11: Error validating, missing required field. Field: \"address\" (write host:port, or the name by which mDNS finds the machine)",
                "Warning r.yaml:1:28: a frame without `parent` counts for nothing (for example `parent: world`)",
                "Local r.yaml:1:28: Error validating, missing required field. Field: \"frame.parent\"",
            ],
        ),
        (
            "jobs: [{name: a, schedule: often, resource: x, method: Y}]\nremotes: [{name: r, address: 'r:1'}]",
            &[
                "Local r.yaml:1:28: `often` is no schedule (write `continuous`, a duration like 30s, or five cron fields like `0 3 * * *`)",
            ],
        ),
        (
            "packages: [{name: a, package: o/a, type: modul}]",
            &[
                "Local r.yaml:1:42: unsupported package type \"modul\". Must be one of: [ml_model, module, slam_map, archive] (did you mean `module`?)",
            ],
        ),
    ];
    for (text, wanted) in cases {
        let mut said = lines("r.yaml", text);
        said.retain(|line| !line.contains("this version cannot enforce"));
        assert_eq!(said, *wanted, "{text}");
    }
}

#[test]
fn what_refuses_a_config_is_said_last() {
    let some =
        "components:\n- {name: 1, model: a:b:c, type: motor}\n- {name: a b, model: a:b:c, type: motor}\nmodules: 3\n";
    let refused = read("r.yaml", some).expect_err("refused").render(false);
    let closing = refused.lines().last().unwrap_or_default();
    assert!(
        closing.starts_with("not started: ") && closing.contains(" make"),
        "{refused}"
    );
    let alone = read("r.yaml", "modules: 3\n").expect_err("refused").render(false);
    assert!(!alone.contains("not started"), "{alone}");
}
