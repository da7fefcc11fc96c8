//! The verbs about configs: what they print, how they end, and what they leave alone.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use mainstay_tests::world::{Finished, Place};
use serde_json::{Value, json};

pub const ROVER: &str = "\
# The rover. Comments stay.
network: {bind_address: \"127.0.0.1:0\"}
components:
  - name: left      # the left wheel
    api: rdk:component:motor
    model: fake
    attributes:
      rate_hz: 10   # Hz
  - {name: right, api: \"rdk:component:motor\", model: fake}
  - name: base
    api: rdk:component:generic
    model: fake
    depends_on: [left, right]
";

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

pub fn json_of(finished: &Finished) -> Value {
    serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{error}: {finished:?}"))
}

pub fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect()
}

#[tokio::test]
async fn check_tells_all_complaints_and_how_it_stands() {
    let place = Place::new();
    let rover = ROVER.replace("rate_hz", "max_rpm");
    let good = place.write("good.yaml", &rover);
    let ended = place.mainstay(&["check", text(&good)]).await;
    assert_eq!(
        (ended.code, ended.stdout.trim()),
        (0, "good.yaml is good: 3 resources, 0 modules"),
        "{ended:?}"
    );

    let warned = place.write("warned.yaml", &format!("{rover}nonsense: 1\n"));
    let ended = place.mainstay(&["check", text(&warned)]).await;
    assert_eq!(ended.code, 0, "warnings are no errors: {ended:?}");
    assert!(
        ended.stdout.contains("nonsense") && ended.stdout.contains("1 warning in warned.yaml"),
        "{ended:?}"
    );

    let twice = ROVER.replace("name: right", "name: left");
    let local = place.write("local.yaml", &twice);
    let ended = place.mainstay(&["check", text(&local)]).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(
        ended.stdout.contains("in local.yaml; the running machine is untouched"),
        "{ended:?}"
    );
    assert!(!ended.stdout.contains('\u{1b}'), "no colours in a pipe");

    let refused = place.write(
        "refused.yaml",
        "debug: maybe\nnetwork: {bind_address: 7}\ncloud: {id: a, secret: [hunter2]}\n",
    );
    let ended = place.mainstay(&["check", text(&refused), "--json"]).await;
    let shown = json_of(&ended);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert_eq!(
        keys(&shown),
        [
            "file",
            "usable",
            "errors",
            "warnings",
            "complaints",
            "known_after_start"
        ]
    );
    assert_eq!(shown["usable"], false);
    let first = &shown["complaints"][0];
    let expected = ["grade", "file", "line", "column", "length", "message", "help", "also"];
    let mut found = keys(first);
    found.sort_unstable();
    assert_eq!(found, {
        let mut keys = expected;
        keys.sort_unstable();
        keys
    });
    assert_eq!(
        (&first["grade"], &first["line"], &first["column"], &first["length"]),
        (&json!("local"), &json!(1), &json!(8), &json!(5))
    );
    assert!(
        !ended.stdout.contains("hunter2") && !ended.stderr.contains("hunter2"),
        "{ended:?}"
    );

    let ended = place.mainstay(&["check", "nowhere.yaml"]).await;
    assert!(ended.code == 1 && ended.stdout.contains("nowhere.yaml"), "{ended:?}");
}

#[tokio::test]
async fn config_get_shows_one_value() {
    let place = Place::new();
    let file = place.write(
        "rover.yaml",
        &format!("{ROVER}cloud: {{id: part-1, secret: hunter2}}\n"),
    );
    let get = async |arguments: &[&str]| {
        place
            .mainstay(&[&["config", "get", text(&file)], arguments].concat())
            .await
    };
    for (path, shown) in [
        ("components.left.attributes.rate_hz", "10"),
        ("components[1].name", "right"),
        ("components.left.attributes", "rate_hz: 10"),
        ("components.base.depends_on", "[left, right]"),
        ("cloud.secret", "***"),
    ] {
        let ended = get(&[path]).await;
        assert_eq!((ended.code, ended.stdout.trim()), (0, shown), "{path}: {ended:?}");
    }
    let revealed = get(&["cloud.secret", "--reveal"]).await;
    assert_eq!(revealed.stdout.trim(), "hunter2");
    let shown = json_of(&get(&["components.base", "--json"]).await);
    assert_eq!(keys(&shown), ["file", "path", "line", "column", "length", "value"]);
    assert_eq!(shown["value"]["depends_on"], json!(["left", "right"]));
    assert_eq!(shown["line"], 10);
    let missing = get(&["components.lefft.model"]).await;
    assert!(
        missing.code == 1 && missing.stderr.contains("did you mean `left`?"),
        "{missing:?}"
    );
    let bad = get(&["components..model"]).await;
    assert!(bad.code == 2 && bad.stdout.is_empty(), "{bad:?}");
}

#[tokio::test]
async fn config_set_changes_one_value_and_nothing_else() {
    let place = Place::new();
    let real = place.write("real.yaml", ROVER);
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).expect("the file is ours");
    let link = place.file("rover.yaml");
    symlink("real.yaml", &link).expect("the folder is writable");
    let set = async |arguments: &[&str]| {
        place
            .mainstay(&[&["config", "set", text(&link)], arguments].concat())
            .await
    };
    let content = || fs::read_to_string(&real).expect("it is there");

    let rate = "components.left.attributes.rate_hz";
    let dry = set(&[rate, "20", "--dry-run"]).await;
    assert_eq!(dry.code, 0, "{dry:?}");
    assert!(
        dry.stdout.contains("8 -       rate_hz: 10   # Hz") && dry.stdout.contains("8 +       rate_hz: 20   # Hz"),
        "{dry:?}"
    );
    assert_eq!(content(), ROVER);

    let ended = set(&[rate, "20"]).await;
    assert!(ended.code == 0 && ended.stdout.contains("10 → 20"), "{ended:?}");
    assert_eq!(content(), ROVER.replace("rate_hz: 10", "rate_hz: 20"));
    assert!(link.is_symlink(), "a link stays one");
    let mode = fs::metadata(&real).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode, 0o640);

    let again = set(&[rate, "20"]).await;
    assert!(again.code == 0 && again.stdout.contains("nothing to do"), "{again:?}");
    let shown = json_of(&set(&["components.right.attributes.pins", "[1, 2]", "--json"]).await);
    assert_eq!(
        keys(&shown),
        [
            "file",
            "path",
            "line",
            "column",
            "length",
            "before",
            "after",
            "changed",
            "written",
            "complaints"
        ]
    );
    assert_eq!(
        (&shown["before"], &shown["after"], &shown["written"]),
        (&Value::Null, &json!("[1, 2]"), &json!(true))
    );
    assert!(
        content().contains("model: fake, attributes: {pins: [1, 2]}}"),
        "{}",
        content()
    );

    let before = content();
    for (arguments, code, part) in [
        (["debug", "maybe"], 1, "nothing is written"),
        (["components.left.model.x", "1"], 1, "is a text"),
        (["components.[", "1"], 2, "separated by dots"),
        (["debug", "{a: 1"], 2, "not whole"),
    ] {
        let ended = set(&arguments).await;
        assert_eq!(ended.code, code, "{arguments:?}: {ended:?}");
        assert!(
            ended.stderr.contains(part) && ended.stdout.is_empty(),
            "{arguments:?}: {ended:?}"
        );
        assert_eq!(content(), before);
    }
    let names: Vec<_> = fs::read_dir(place.folder())
        .expect("a folder")
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert!(
        names.iter().all(|name| !name.to_string_lossy().ends_with(".new")),
        "nothing is left: {names:?}"
    );
}

#[tokio::test]
async fn graph_draws_what_a_file_says() {
    let place = Place::new();
    let file = place.write("rover.yaml", ROVER);
    let tree = place.mainstay(&["graph", text(&file)]).await;
    let expected = "\
RESOURCE  API                STATE
base      component:generic
├─ left   component:motor
└─ right  component:motor";
    assert_eq!((tree.code, tree.stdout.trim_end()), (0, expected), "{tree:?}");
    let dot = place.mainstay(&["graph", text(&file), "--format", "dot"]).await;
    assert!(
        dot.stdout.starts_with("digraph machine {") && dot.stdout.contains("n2 -> n0;"),
        "{dot:?}"
    );
    let mermaid = place.mainstay(&["graph", text(&file), "--format", "mermaid"]).await;
    assert!(
        mermaid.stdout.starts_with("graph LR\n") && mermaid.stdout.contains("n2 --> n1"),
        "{mermaid:?}"
    );

    let circle = place.write(
        "circle.yaml",
        &ROVER.replace(
            "model: fake\n    attributes",
            "model: fake\n    depends_on: [base, ghost]\n    attributes",
        ),
    );
    let shown = json_of(&place.mainstay(&["graph", text(&circle), "--json"]).await);
    assert_eq!(keys(&shown), ["resources", "edges", "cycles"]);
    assert_eq!(
        keys(&shown["edges"][0]),
        ["from", "to", "kind", "held", "let_go", "problem"]
    );
    let cycle = &shown["cycles"][0];
    assert_eq!(cycle.as_array().map(Vec::len), Some(2), "{shown}");
    let edges = shown["edges"].as_array().expect("a list");
    assert!(
        edges
            .iter()
            .any(|edge| edge["to"] == "ghost" && edge["problem"].is_string()),
        "{shown}"
    );
    let tree = place.mainstay(&["graph", text(&circle)]).await;
    assert!(
        tree.stdout.contains("dependency cycle:") && tree.stdout.contains("missing:"),
        "{tree:?}"
    );

    let refused = place.write("refused.yaml", "network: maybe");
    let ended = place.mainstay(&["graph", text(&refused)]).await;
    assert!(ended.code == 1 && ended.stdout.is_empty(), "{ended:?}");
}

#[tokio::test]
async fn schema_prints_what_editors_check_a_config_by() {
    let place = Place::new();
    let shown = json_of(&place.mainstay(&["schema"]).await);
    assert_eq!(shown["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert!(
        shown["properties"]["components"].is_object() && shown["$defs"].is_object(),
        "{shown}"
    );
}
