//! Differences between configs that are written as people write them.

use mainstay_config::{ConfigFiles, LoadContext, parse};
use mainstay_model::Config;
use mainstay_model::difference::configs;

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
    let found: Vec<_> = configs(&from, &to).iter().map(ToString::to_string).collect();
    assert_eq!(found, expected, "{old}\n→\n{new}");
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
    let found: Vec<_> = configs(&from, &to).iter().map(ToString::to_string).collect();
    let all = found.join("\n");
    assert_eq!(found.len(), 3, "{all}");
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
