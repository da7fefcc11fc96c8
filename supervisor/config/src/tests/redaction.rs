//! Tests of redaction.

use super::read;

/// Every place where a secret usually is, each holding `hunter2`.
const PRETTY: &str = r#"{
  "remotes": [{"name": "r", "address": "a:1", "secret": "hunter2",
    "auth": {"credentials": {"type": "t", "payload": "hunter2"}}}],
  "cloud": {
    "id": "x",
    "api_key": {"id": "y", "key": "hunter2"},
    "location_secrets": [{"id": "z", "secret": "hunter2"}],
    "tls_private_key": "hunter2"
  },
  "components": [{"name": "c", "type": "camera", "model": "a:b:c", "attributes": {
    "url": "rtsp://me:hunter2@cam/1",
    "wifi_password": "hunter2",
    "AccessToken": ["hunter2"]
  }}],
  "modules": [{"name": "m", "executable_path": "/m", "env": {"API_KEY": "hunter2"}}],
  "auth": {"handlers": [
    {"type": "api-key", "config": {"keys": ["k"],
      "k": "hunter2"}}]}
}"#;

const BLOCK: &str = "cloud:
  id: x
  api_key: {id: y, key: hunter2}
components:
  - name: c
    type: camera
    model: a:b:c
    attributes:
      wifi_password: 'hunter2'
      tokens:
        - hunter2
modules:
  - name: m
    executable_path: /m
    env:
      API_KEY: hunter2
auth:
  handlers:
    - type: api-key
      config:
        keys: [k]
        k: hunter2
";

#[test]
fn a_complaint_shows_its_line_and_no_secret() {
    let text = "auth:\n  handlers:\n  - {type: api-key, config: {keys: [k1], k1: hunter2}, color: red}\n";
    let loaded = read("r.yaml", text).expect("good");
    let about_colour = &loaded.diagnostics[0];
    assert_eq!(
        about_colour.to_string(),
        "\
warning: an auth handler has no key `color`; it has no effect
 --> r.yaml:3:56
  |
3 |   - {type: api-key, config: {keys: [k1], k1: *******}, color: ***}
  |                                                        ^^^^^"
    );
    assert!(about_colour.render(true).contains('\u{1b}'));
    assert!(!format!("{:?}", loaded.config.auth).contains("hunter2"));
}

#[test]
fn no_complaint_shows_a_secret_even_where_the_text_breaks_off() {
    let compact = PRETTY.replace("\n", " ").replace("  ", "");
    // Every place where it costs little, every few places where lines are long.
    for (name, good, step) in [
        ("r.json", PRETTY, 1),
        ("r.json", &compact, 5),
        ("r.yaml", PRETTY, 3),
        ("r.yaml", &compact, 7),
        ("r.yaml", BLOCK, 1),
    ] {
        assert!(!format!("{:?}", read(name, good)).contains("hunter2"));
        for at in (0..good.len()).step_by(step) {
            let (before, after) = good.split_at(at);
            // By the end, a sign that does not belong there, a quote too many, a bracket, a missing sign.
            for text in [
                before.to_owned(),
                format!("{before}\u{1}{after}"),
                format!("{before}\"{after}"),
                format!("{before}] {after}"),
                format!("{before}{}", &after[1..]),
            ] {
                let diagnostics = match read(name, &text) {
                    Ok(loaded) => loaded.diagnostics,
                    Err(refused) => refused.diagnostics,
                };
                for diagnostic in diagnostics {
                    let shown = format!("{}\n{diagnostic}", diagnostic.line());
                    assert!(!shown.contains("hunter2"), "{name} {at}:\n{shown}\n{text}");
                }
            }
        }
    }
}

#[test]
fn what_is_surely_no_secret_is_shown_where_the_text_breaks_off() {
    for (name, text) in [
        (
            "r.yaml",
            "components:\n  - {name: left, api: rdk:component:motor, model: acme:wheel:big\n  - {name: b}\n",
        ),
        (
            "r.json",
            "{\"components\": [{\"name\": \"left\"}\n {\"name\": \"right\", \"api\": \"rdk:component:motor\", \"model\": \"fake\"}]}",
        ),
        (
            "r.yaml",
            "components: [\n  {name: m, type: motor, model: fake},\nnetwork:\n  bind_address: \":1\"\n",
        ),
        (
            "r.json",
            "{\"components\": [{\"name\": \"m\"}\n, \"network\": {\"bind_address\": \"0.0.0.0:8080\"}\n",
        ),
    ] {
        let refused = read(name, text).expect_err("broken");
        let shown = refused.diagnostics[0].render(false);
        assert!(!shown.contains("**"), "{shown}");
    }
    let secret = "components:\n  - {name: left, api: password:hunter2, model: key\n";
    let shown = read("r.yaml", secret).expect_err("broken").render(false);
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_known_key_whose_name_is_near_that_of_a_secret_one_hides_nothing() {
    let text = "apply: {on_failure: rever}\ntracing: {enabled: maybe}\ninclude: 5\n";
    let refused = read("r.yaml", text).expect_err("three slips");
    let shown: String = refused
        .diagnostics
        .iter()
        .map(|diagnostic| diagnostic.render(false))
        .collect();
    for kept in ["on_failure: rever}", "enabled: maybe}", "include: 5"] {
        assert!(shown.contains(kept), "`{kept}` is hidden in:\n{shown}");
    }
}

#[test]
fn the_config_of_a_part_hides_what_a_config_hides() {
    for config in [
        "auth: {handlers: [{type: api-key, config: {keys: [k], k: hunter2}, color: red}]}",
        "auht: {handlers: [{type: api-key, config: {keys: [k], k: hunter2}}]}",
        "apikeys: {k: hunter2}",
    ] {
        for text in [
            format!("{{{config}}}"),
            format!("parts: [{{name: arm, config: {{{config}}}}}]"),
            format!("parts: [{{name: arm, confg: {{{config}}}}}]"),
        ] {
            let diagnostics = match read("r.yaml", &text) {
                Ok(loaded) => loaded.diagnostics,
                Err(refused) => refused.diagnostics,
            };
            assert!(!diagnostics.is_empty(), "{text}");
            for diagnostic in diagnostics {
                let shown = diagnostic.render(false);
                assert!(!shown.contains("hunter2"), "{shown}\n{text}");
            }
        }
    }
    let text = "parts: [{name: arm, config: {componets: [], network: {bind_address: \":1\"}}, config_fil: x}]";
    let shown = read("r.yaml", text).expect("usable").diagnostics[0].render(false);
    assert!(
        shown.contains("name: arm") && shown.contains("bind_address: \":1\""),
        "{shown}"
    );
}
