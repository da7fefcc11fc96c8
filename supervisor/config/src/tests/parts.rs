//! Tests of the section `parts`: a config that is handed down stands in a file or here, and is read where it stands.

use std::path::Path;

use mainstay_model::Value;
use mainstay_model::config::HandedDown;

use super::{check, read};

/// The config of the first part.
fn handed_down(text: &str) -> Option<HandedDown> {
    let mut config = read("r.yaml", text).expect("usable").config;
    config.parts.remove(0).config
}

#[test]
fn a_config_is_in_a_file_or_here() {
    check(
        "r.yaml",
        &[
            ("parts: [{name: arm, config_file: arm.yaml}]", &[]),
            (
                "parts: [{name: arm, config: {components: [{name: a, type: arm, model: fake}]}}]",
                &[],
            ),
            ("parts: [{name: arm, config: {}}]", &[]),
            (
                "parts: [{name: arm}]",
                &[
                    "Local r.yaml:1:9: Error validating, missing required field. Field: \"config_file\" (write the path of its config, or the config itself below `config`)",
                ],
            ),
            (
                "parts: [{name: arm, config_file: a.yaml, config: {}}]",
                &["Local r.yaml:1:50: `config_file` and `config` are two answers to one question (remove one of them)"],
            ),
            (
                "parts: [{name: arm, config: arm.yaml}]",
                &["Local r.yaml:1:29: `config` must be a map of keys and values, but is a text"],
            ),
        ],
    );
}

#[test]
fn what_is_wrong_in_it_is_told_where_it_stands_and_refuses_nothing_here() {
    check(
        "r.yaml",
        &[
            (
                "parts:\n- name: arm\n  config:\n    componets: []\n",
                &[
                    "Warning r.yaml:4:5: the config has no key `componets`; it has no effect (did you mean `components`?)",
                ],
            ),
            (
                "parts:\n- name: arm\n  config:\n    components: [{name: a, type: arm, model: fake, frame: {}}]\n",
                &["Warning r.yaml:4:59: a frame without `parent` counts for nothing (for example `parent: world`)"],
            ),
            (
                "parts: [{name: arm, config: {network: {bind_address: here}}}]",
                &[
                    "Local r.yaml:1:54: error validating bind_address: address here: missing port in address (write host:port, like localhost:8080, or :8080 for all addresses)",
                ],
            ),
        ],
    );
    // What closes a machine, misspelt, refuses the config of that machine alone.
    let loaded = read("r.yaml", "parts: [{name: arm, config: {auth: {handlrs: []}}}]").expect("usable");
    assert_eq!(loaded.diagnostics.len(), 1, "{:?}", loaded.diagnostics);
    assert!(!loaded.diagnostics[0].open);
}

#[test]
fn its_names_and_packages_are_its_own() {
    let text = "components: [{name: a, type: motor, model: fake}]\n\
         packages: [{name: x, package: o/x, version: '1', type: module}]\n\
         parts: [{name: arm, config: {components: [{name: a, type: motor, model: fake}], packages: [{name: y, package: o/y, version: '2', type: module}]}}]\n\
         modules: [{name: m, executable_path: '${packages.module.x}/run'}]\n";
    let loaded = read("r.yaml", text).expect("usable");
    // There is no folder for packages here; that there is this one is known.
    let said: Vec<_> = loaded.diagnostics.iter().map(|one| one.message.as_str()).collect();
    assert!(said.len() == 1 && said[0].starts_with("there is no folder"), "{said:?}");
    assert_eq!((loaded.config.resources.len(), loaded.config.packages.len()), (1, 1));
}

#[test]
fn it_is_handed_down_as_json_with_every_value_as_it_was() {
    let found = handed_down("parts: [{name: arm, config_file: sub/arm.yaml}]");
    let Some(HandedDown::File(file)) = found else {
        panic!("{found:?}")
    };
    assert_eq!(file, Path::new("/etc/robot/sub/arm.yaml"));
    let text = "parts:\n- name: arm\n  config:\n    revision: '12'\n    debug: true\n    cloud: null\n    components:\n    - {name: a, type: arm, model: fake, attributes: {n: 7, x: 0.5, big: 1e300, t: \"8\", l: [1, -2], e: {}}}\n";
    let found = handed_down(text);
    let Some(HandedDown::Inline(json)) = found else {
        panic!("{found:?}")
    };
    let expected = serde_json::json!({
        "revision": "12", "debug": true, "cloud": null,
        "components": [{"name": "a", "type": "arm", "model": "fake",
            "attributes": {"n": 7, "x": 0.5, "big": 1e300, "t": "8", "l": [1, -2], "e": {}}}],
    });
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&json.0).expect("JSON"),
        expected
    );
    assert!(json.0.contains("\"n\":7,"), "{}", json.0);
    // It may hold keys.
    assert_eq!(format!("{json:?}"), "***");
}

#[test]
fn its_variables_are_put_in_once() {
    for (written, expected) in [
        ("pa$$word", "pa$word"),
        ("$${HOME}", "${HOME}"),
        (
            "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA",
            "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA",
        ),
        ("5 $", "5 $"),
        ("a\"$$b", "a\"$b"),
    ] {
        let quoted = serde_json::json!(written);
        let text = format!(
            "parts: [{{name: arm, config: {{$schema: x, components: [{{name: a, type: arm, model: fake, attributes: {{p: {quoted}}}}}]}}}}]"
        );
        let Some(HandedDown::Inline(json)) = handed_down(&text) else {
            panic!("{written} is handed down")
        };
        // As the part reads it.
        let taken = read("from-main.yaml", &json.0).expect("usable");
        let found = taken.config.resources[0].attributes.get("p");
        assert_eq!(
            found,
            Some(&Value::Text(expected.to_owned())),
            "{written} in {}",
            json.0
        );
    }
    // What is a placeholder here is one there.
    let text = "parts: [{name: arm, config: {modules: [{name: m, executable_path: '${packages.module.x}/run'}]}}]";
    let Some(HandedDown::Inline(json)) = handed_down(text) else {
        panic!("it is handed down")
    };
    let taken = read("from-main.yaml", &json.0).expect("usable");
    let said: Vec<_> = taken.diagnostics.iter().map(|one| one.message.as_str()).collect();
    assert!(
        said.iter().any(|message| message.contains("${packages.module.x}")),
        "{said:?}"
    );
}
