//! Variables in the text and placeholders in decoded texts: what they become, and that messages show none of it.

use mainstay_model::Object;
use mainstay_model::Value;
use mainstay_model::{ApiKey, AuthHandler, Secret};

use super::context;
use crate::bundle::ConfigFiles;
use crate::diagnostic::Refused;
use crate::load::{Loaded, parse};

fn read(name: &str, text: &str) -> Result<Loaded, Refused> {
    let environment = [
        ("PORT", "8081"),
        ("KEY", "hunter2-hunter2"),
        ("EMPTY", ""),
        ("QUOTE", "a\"b"),
        ("ENTRY", "{\"name\": \"a\", \"type\": \"arm\", \"model\": \"fake\"}"),
        ("X", "x"),
        ("WORD", "hunter2"),
        ("BAD", "hunter2 has blanks"),
        ("ODD", "hunter2 \"é\": \\ \u{1} x"),
        ("LINES", "one\ntwo"),
    ];
    parse(&ConfigFiles::single(name, text), &context(&environment))
}

fn lines(name: &str, text: &str) -> Vec<String> {
    let diagnostics = match read(name, text) {
        Ok(loaded) => loaded.diagnostics,
        Err(refused) => refused.diagnostics,
    };
    diagnostics.iter().map(|diagnostic| diagnostic.line()).collect()
}

#[test]
fn every_form_of_a_variable_becomes_what_peers_make_of_it() {
    for (written, value) in [
        ("$PORT", "8081"),
        ("${PORT}", "8081"),
        ("a$PORT-b", "a8081-b"),
        ("${PORT-x}${PORT=x}${PORT:-x}${PORT:=x}", "8081808180818081"),
        ("${NONE-x}${NONE=y}${NONE:-z}${NONE:=w}", "xyzw"),
        ("<${EMPTY-x}${EMPTY=x}>", "<>"),
        ("${EMPTY:-x}${EMPTY:=y}", "xy"),
        ("${PORT+x}${PORT:+y}${EMPTY+z}${NONE+n}${NONE:+n}", "xyz"),
        ("$$PORT $$$PORT $$", "$PORT $8081 $"),
        ("${NONE:-${PORT}}${NONE:-$X}${NONE:-${NONE-}}", "8081x"),
        ("${NONE:-}", ""),
        ("$VIAM_HOME", "/home/ada/.viam"),
        ("5$ $5 ^a$ $. $", "5$ $5 ^a$ $. $"),
        ("${packages.x} ${environment.PORT}", "${packages.x} ${environment.PORT}"),
        (
            "$${packages.x} $${environment.PORT}",
            "${packages.x} ${environment.PORT}",
        ),
    ] {
        for (name, text) in [
            ("r.json", format!("{{\"revision\": \"{written}\"}}")),
            ("r.yaml", format!("revision: '{written}'")),
        ] {
            let loaded = read(name, &text).unwrap_or_else(|refused| panic!("{refused}"));
            assert_eq!(loaded.config.revision, value, "{name} {written}");
            assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
        }
    }
    // Values without quotes, and whole entries.
    let text = "{\"network\": {\"traffic_tunnel_endpoints\": [{\"port\": $PORT}]}, \"components\": [${ENTRY}], \"debug\": ${NONE-true}}";
    let config = read("r.json", text)
        .unwrap_or_else(|refused| panic!("{refused}"))
        .config;
    assert_eq!(
        (config.network.tunnels[0].port, config.resources.len(), config.debug),
        (8081, 1, true)
    );
    // As in the example of the schema: an api key with a default.
    let text = "auth: {handlers: [{type: api-key, config: {keys: [k], k: '${KEY:-change-me}'}}]}";
    let AuthHandler::ApiKeys(keys) = &read("r.yaml", text).expect("good").config.auth.handlers[0];
    assert_eq!(keys["k"], ApiKey::Plain(Secret("hunter2-hunter2".to_owned())));
}

#[test]
fn what_is_odd_about_a_variable_is_said_where_it_is_written() {
    for (text, wanted) in [
        (
            "debug: true\nrevision: é${NONE}\n",
            &[
                "r.yaml:2:12: the environment has no variable `NONE`, so this is empty (set it, or write `${NONE:-default}`, or `$$` for a dollar sign)",
            ][..],
        ),
        ("# $NONE\ndebug: true\n", &[]),
        (
            "revision: '${NONE:-x'\n",
            &["r.yaml:1:12: this `${` is never closed (close it with `}`, or write `$$` for a dollar sign)"],
        ),
        (
            "revision: '${NONE'\n",
            &["r.yaml:1:12: this `${` is never closed (close it with `}`, or write `$$` for a dollar sign)"],
        ),
        ("  # like ${NONE\n# or ${a b}\ndebug: true\n", &[]),
        (
            "revision: '${a b}'\n",
            &[
                "r.yaml:1:12: this is no variable and no placeholder, so it stays as it is (variables are `${NAME}` and `${NAME:-default}`, placeholders `${packages.TYPE.NAME}` and `${environment.NAME}`; a dollar sign is `$$`)",
            ],
        ),
    ] {
        assert_eq!(lines("r.yaml", text), wanted, "{text}");
    }
    // It costs the entry in which it stands.
    let text = "{\"components\": [{\"name\": \"a\", \"type\": \"arm\", \"model\": \"fake\", \"attributes\": {\"x\": \"${NONE\"}}, {\"name\": \"b\", \"type\": \"arm\", \"model\": \"fake\"}]}";
    let config = read("r.json", text)
        .unwrap_or_else(|refused| panic!("{refused}"))
        .config;
    let faults: Vec<_> = config.resources.iter().map(|entry| entry.fault.as_deref()).collect();
    let fault = "resource config validation error: this `${` is never closed; close it with `}`, or write `$$` for a dollar sign (r.json:1:84)";
    assert_eq!(faults, [Some(fault), None]);
}

#[test]
fn places_are_those_of_the_text_as_it_is_written() {
    for (text, wanted) in [
        (
            "{revision: '$KEY', debug: 1}",
            "r.yaml:1:27: `debug` must be true or false, but is a number",
        ),
        (
            "{revision: '$KEY$EMPTY$X', debug: 1}",
            "r.yaml:1:35: `debug` must be true or false, but is a number",
        ),
        (
            "{revision: $PORT}",
            "r.yaml:1:12: `revision` must be a text, but is a number (write \"$PORT\" in quotes)",
        ),
        (
            "{revision: '$LINES',\n debug: 1}",
            "r.yaml:2:9: `debug` must be true or false, but is a number",
        ),
        (
            "{network: {bind_address: $BAD}}",
            "r.yaml:1:26: error validating bind_address: address ${BAD}: missing port in address (write host:port, like localhost:8080, or :8080 for all addresses)",
        ),
    ] {
        assert_eq!(lines("r.yaml", text), [wanted], "{text}");
    }
    let broken = lines("r.json", "{\"debug\": true,\n \"revision\": \"$QUOTE\"}");
    assert_eq!(
        broken,
        [
            "r.json:2:15: expected `,` or `}` after the value, found `$QUOTE` (what the environment has for the variables of this line is part of the text, quotes and line breaks included)"
        ]
    );
}

#[test]
fn placeholders_are_replaced_where_they_count_and_nowhere_else() {
    let text = r#"{
      "packages": [
        {"name": "sorter", "package": "org9/sorter", "version": "1.4.2", "type": "module"},
        {"name": "faces", "package": "org9/faces", "version": "0.3.0", "type": "ml_model"}
      ],
      "modules": [{"name": "m", "executable_path": "$${packages.module.sorter}/bin/run",
        "env": {"ROOT": "${packages.module.sorter}", "PORT": "${environment.PORT}", "BOTH": "$PORT/$${environment.X}"}}],
      "services": [{"name": "d", "type": "mlmodel", "model": "a:b:c",
        "attributes": {"model": "${packages.ml_model.faces}/net", "deep": [{"x": ["${environment.X}"]}], "old": "${packages.faces}"},
        "service_configs": [{"type": "data_manager", "attributes": {"x": "${environment.X}"}}]}],
      "jobs": [{"name": "j", "schedule": "1s", "resource": "d", "method": "DoCommand", "command": {"x": "${environment.X}"}}]
    }"#;
    let loaded = read("r.json", text).unwrap_or_else(|refused| panic!("{refused}"));
    let [not_in_force] = &loaded.diagnostics[..] else {
        panic!("{:?}", loaded.diagnostics)
    };
    assert!(not_in_force.message.contains("`service_configs`"), "{not_in_force}");
    let config = loaded.config;
    let folder = "/home/ada/.viam/packages/data";
    let module = &config.modules[0];
    assert_eq!(
        module.executable.to_str(),
        Some(format!("{folder}/module/org9-sorter-1_4_2/bin/run").as_str())
    );
    assert_eq!(module.env["ROOT"], format!("{folder}/module/org9-sorter-1_4_2"));
    assert_eq!(
        (module.env["PORT"].as_str(), module.env["BOTH"].as_str()),
        ("8081", "8081/x")
    );
    let text_of = |fields: &Object, key: &str| match &fields[key] {
        Value::Text(text) => text.clone(),
        other => panic!("{other:?}"),
    };
    let resource = &config.resources[0];
    assert_eq!(
        text_of(&resource.attributes, "model"),
        format!("{folder}/ml_model/org9-faces-0_3_0/net")
    );
    assert_eq!(
        text_of(&resource.attributes, "old"),
        format!("{folder}/ml_model/org9-faces-0_3_0")
    );
    assert!(format!("{:?}", resource.attributes["deep"]).contains("Text(\"x\")"));
    assert_eq!(
        text_of(&resource.service_configs[0].attributes, "x"),
        "${environment.X}"
    );
    assert_eq!(
        text_of(config.jobs[0].command.as_ref().expect("one"), "x"),
        "${environment.X}"
    );
}

#[test]
fn a_placeholder_that_cannot_be_replaced_stays_with_a_warning_at_its_place() {
    let text = "components: [{name: a, type: arm, model: fake, attributes: {p: 'x ${packages.module.m}', e: '${environment.NONE}', i: '$${x}'}}]";
    assert_eq!(
        lines("r.yaml", text),
        [
            "r.yaml:1:67: failed to find a package named \"m\" for placeholder \"${packages.module.m}\"",
            "r.yaml:1:94: no environment variable named \"NONE\" for placeholder \"${environment.NONE}\"",
            "r.yaml:1:121: invalid placeholder \"${x}\" (it is `${packages.TYPE.NAME}` or `${environment.NAME}`)",
        ]
    );
    let attributes = &read("r.yaml", text).expect("usable").config.resources[0].attributes;
    assert_eq!(attributes["i"], Value::Text("${x}".into()));
}

#[test]
fn no_message_and_no_fault_shows_what_came_from_the_environment() {
    for text in [
        "components: [{name: '$BAD', type: arm, model: fake}]",
        "components: [{name: a, type: '$BAD', model: fake}]",
        "components: [{name: a, api: '$BAD', model: '$BAD'}]",
        "components: [{name: a, type: arm, model: fake, depends_on: ['$BAD']}]",
        "components: [{name: a, type: arm, model: fake, log_configuration: {level: '$BAD'}}]",
        "components: [{name: a, type: arm, model: fake, frame: {parent: world, orientation: {type: '$BAD'}}}]",
        "components: [{name: a, type: arm, model: fake, service_configs: [{type: '$BAD'}]}]",
        "modules: [{name: '$BAD', executable_path: '/$KEY'}]",
        "modules: [{name: m, executable_path: '/${environment.KEY}', status: {error: '$BAD'}}]",
        "modules: [{name: m, executable_path: /m, type: '$BAD', restart: '$BAD', output: '$BAD/'}]",
        "modules: [{name: m, executable_path: /m, first_run_timeout: '$BAD', limits: {memory: '$BAD'}}]",
        "network: {bind_address: '$BAD'}",
        "apply: {on_failure: '$BAD', window: '$BAD'}",
        "auth: {handlers: [{type: '$BAD'}]}",
        "jobs: [{name: '$BAD', schedule: '$BAD', resource: a, method: m}]",
        "packages: [{name: '$BAD', package: '$BAD', type: '$BAD'}]",
        "remotes: [{name: '$BAD'}]",
        "log: [{pattern: '*', level: '$BAD'}]",
        "$BAD: 1",
        "debug: [$BAD",
        "{'$BAD': 1",
        "include: '$BAD'",
        "modules: [{name: '$WORD', executable_path: /m}, {name: '$WORD', executable_path: /m}]",
        "components: [{name: '$WORD', type: arm, model: fake}, {name: '$WORD', type: arm, model: fake}]",
    ]
    .into_iter()
    .flat_map(|text| [text.to_owned(), text.replace("BAD", "ODD")])
    {
        let mut said = lines("r.yaml", &text);
        assert!(!said.is_empty(), "{text}");
        if let Ok(loaded) = read("r.yaml", &text) {
            let loaded = loaded.look_for_programs().unwrap_or_else(|refused| panic!("{refused}"));
            said.extend(loaded.diagnostics.iter().map(ToString::to_string));
            said.extend(
                loaded
                    .config
                    .resources
                    .into_iter()
                    .filter_map(|resource| resource.fault),
            );
            let all = loaded
                .config
                .modules
                .into_iter()
                .chain(loaded.config.duplicates.modules);
            said.extend(all.filter_map(|module| module.fault));
            said.push(format!("{:?}", loaded.bundle));
            let raw: Vec<u8> = loaded.bundle.files.iter().flat_map(|file| file.text.to_vec()).collect();
            said.push(String::from_utf8_lossy(&raw).into_owned());
        }
        for line in said {
            assert!(!line.contains("hunter2"), "{text}\n{line}");
        }
    }
}

#[test]
fn a_short_value_is_hidden_as_a_word_and_only_where_it_is_used() {
    let found = lines(
        "r.yaml",
        "debug: x\ncomponents: [{name: 'x $X', type: arm, model: fake}]\n",
    );
    assert_eq!(
        found,
        [
            "r.yaml:1:8: `debug` must be true or false, but is a text",
            "r.yaml:2:21: name \"${X} ${X}\" must start with a letter or number and must only contain letters, numbers, dashes, and underscores",
        ]
    );
}

#[test]
fn one_variable_makes_every_module_speak_tcp() {
    let text =
        "modules: [{name: a, executable_path: /bin/true}, {name: b, executable_path: /bin/true, tcp_mode: true}]";
    for (value, expected) in [("1", true), ("true", true), ("YES", true), ("0", false), ("", false)] {
        let context = context(&[("VIAM_TCP_SOCKETS", value)]);
        let loaded =
            parse(&ConfigFiles::single("r.yaml", text), &context).unwrap_or_else(|refused| panic!("{refused}"));
        let modes: Vec<bool> = loaded.config.modules.iter().map(|module| module.tcp_mode).collect();
        assert_eq!(modes, [expected, true], "VIAM_TCP_SOCKETS={value}");
    }
}
