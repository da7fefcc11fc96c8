//! A user brings a config that was made for another server, or by hand: what of it is not in force is said, what would
//! leave the machine open is refused, and one mistake costs one entry.

use std::path::Path;

use mainstay_proto::mainstay::control::v1::ConfigState;
use mainstay_tests::bins;
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::world::{Place, World};
use serde_json::{Value, json};

const KEYS: &str = r#"{"handlers": [{"type": "api-key", "config": {"keys": ["k"], "k": "hunter2"}}]}"#;

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// Keys of a kind that nobody here can check.
const FOREIGN: &str = r#"{"handlers": [{"type": "robot-location-secret", "config": {"keys": ["k"], "k": "hunter2"}}]}"#;

/// A machine of one fake motor, with more top-level keys.
fn machine(more: &str) -> String {
    format!(
        "{{\"network\": {{\"bind_address\": \"127.0.0.1:0\"}}, {more}\n\"components\": [{{\"name\": \"m\", \"type\": \"motor\", \"model\": \"fake\"}}]}}"
    )
}

#[tokio::test]
async fn a_config_with_keys_never_makes_an_open_machine() {
    let asking = machine(&format!("\"auth\": {FOREIGN},"));
    let place = Place::new();
    let ended = place.run_to_the_end("machine.json", &asking).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    for word in [
        "do not know how to handle auth",
        "machine.json:1",
        "robot-location-secret",
    ] {
        assert!(ended.stderr.contains(word), "no `{word}`: {ended:?}");
    }
    assert!(!ended.stderr.contains("hunter2"), "{ended:?}");
    let file = place.write("asking.json", &asking);
    let checked = place.mainstay(&["check", text(&file)]).await;
    assert!(
        checked.code == 1 && checked.stdout.contains("do not know how to handle auth"),
        "{checked:?}"
    );

    // Nor one that asks for them under a wrong name or in a wrong place.
    for misspelt in [
        format!("\"aut\": {KEYS},"),
        format!("\"auth\": {},", KEYS.replace("handlers", "handler")),
        "\"auth\": [\"k\"],".to_owned(),
        "\"tls_cert_file\": \"/c\",".to_owned(),
    ] {
        let file = place.write("misspelt.json", &machine(&misspelt));
        let checked = place.mainstay(&["check", text(&file), "--json"]).await;
        let shown: Value = serde_json::from_str(&checked.stdout).expect("JSON");
        assert_eq!(
            (checked.code, &shown["usable"]),
            (1, &json!(false)),
            "{misspelt}: {checked:?}"
        );
        assert!(!checked.stdout.contains("hunter2"), "{checked:?}");
    }

    // What runs is left as it is, and the next start does not fall back on it.
    let mut world = Place::new().start_text("machine.json", &machine("")).await;
    world.until(|now| now.running() && now.ready("m")).await;
    world.rewrite_text(&asking);
    let now = world.until(|now| now.config_is(ConfigState::Refused)).await;
    assert!(now.ready("m"), "{now:?}");
    let applied = world
        .cli(&["apply", text(&world.place.write("again.json", &asking))])
        .await;
    assert!(
        applied.code == 1 && applied.stderr.contains("do not know how to handle auth"),
        "{applied:?}"
    );
    let content = std::fs::read_to_string(world.config()).expect("there");
    world.stop_core().await;
    let again = world.place.run_to_the_end("machine.json", &content).await;
    assert_eq!(again.code, 1, "{again:?}");
    assert!(again.stderr.contains("it would be as open"), "{again:?}");
}

#[tokio::test]
async fn what_is_not_in_force_is_said_in_check_at_the_start_and_in_status() {
    let text_of_it = machine(
        "\n\"cloud\": {\"id\": \"x\", \"secret\": \"hunter2\"},\n\n\"fragments\": [{\"id\": \"f\", \"variables\": {\"a\": \"$b\"}}],\n\"triggers\": [{}],",
    );
    let place = Place::new();
    let file = place.write("machine.json", &text_of_it);
    let checked = place.mainstay(&["check", text(&file)]).await;
    assert_eq!(checked.code, 0, "{checked:?}");
    let denied = place.mainstay(&["check", text(&file), "--deny-warnings"]).await;
    assert_eq!(denied.code, 1, "{denied:?}");
    let mut world = place.start_text("machine.json", &text_of_it).await;
    let now = world.until(|now| now.running() && now.ready("m")).await;
    let status = world.cli(&["status"]).await.stdout;
    for (key, line) in [("cloud", 2), ("fragments", 4), ("triggers", 5)] {
        let place = format!("machine.json:{line}:1");
        for (where_to, said) in [
            ("check", &checked.stdout),
            ("start", &world.output()),
            ("status", &status),
            ("control", &now.control.diagnostics.join("\n")),
        ] {
            assert!(said.contains(&format!("`{key}`")), "{where_to}: no `{key}` in {said}");
            assert!(said.contains(&place), "{where_to}: no `{place}` in {said}");
        }
    }
    assert!(!checked.stdout.contains("no variable"), "{checked:?}");
}

#[tokio::test]
async fn one_mistake_costs_its_entry_alone() {
    let entries = [
        json!({"name": "a", "type": "generic", "model": "<NAMESPACE>:palletizing:palletizer"}),
        json!({"name": "b", "type": "generic", "model": "fake", "frame": {"parent": "world",
            "orientation": {"type": "ov_degrees", "value": {"z": 1, "th": {"$variable": {"name": "x"}}}}}}),
        json!({"name": "c", "type": "generic", "model": "fake", "depends_on": "m"}),
        json!({"name": "d", "type": 7, "model": "fake"}),
        json!({"name": 5, "type": "generic", "model": "fake"}),
        json!("e"),
    ];
    let config = json!({
        "network": {"bind_address": "127.0.0.1:0"},
        "debug": "no",
        "jobs": {"name": "j"},
        "modules": [{"name": "eyes", "executable_path": "/bin/true", "env": {"PORT": 5}}],
        "components": entries.into_iter().chain([json!({"name": "m", "type": "motor", "model": "fake"})]).collect::<Value>(),
    });
    let config = serde_json::to_string_pretty(&config).expect("JSON");
    let mut world = Place::new().start_text("machine.json", &config).await;
    let now = world.until(|now| now.running() && now.ready("m")).await;
    for name in ["a", "b", "c", "d", "5"] {
        assert!(now.unhealthy(name), "{name}: {now:?}");
        assert!(now.resource_error(name).contains("machine.json:"), "{name}: {now:?}");
    }
    assert!(
        now.resource_error("b").contains("the variable `x` of a fragment"),
        "{now:?}"
    );
    assert!(
        now.module_error("eyes").contains("a value of `env` must be a text"),
        "{now:?}"
    );
    assert_eq!(now.control.diagnostics.len(), 9, "{:#?}", now.control.diagnostics);
    let checked = world.cli(&["check", text(world.config()), "--json"]).await;
    let shown: Value = serde_json::from_str(&checked.stdout).expect("JSON");
    assert_eq!(
        (&shown["usable"], &shown["errors"]),
        (&json!(true), &json!(9)),
        "{shown:#}"
    );

    // Mended one by one, as every change.
    world.rewrite_text(&config.replace("<NAMESPACE>:palletizing:palletizer", "fake"));
    let now = world.until(|now| now.ready("a")).await;
    assert!(now.unhealthy("b") && now.ready("m"), "{now:?}");
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_module_of_the_registry_is_one_line_with_the_way_to_it() {
    let config = machine(
        "\"modules\": [{\"type\": \"registry\", \"module_id\": \"acme:lidar\", \"version\": \"1.2.3\", \"name\": \"lidar\"}], \"services\": [{\"name\": \"scan\", \"type\": \"slam\", \"model\": \"acme:lidar:x2\"}],",
    );
    let place = Place::new();
    let file = place.write("machine.json", &config);
    let checked = place.mainstay(&["check", text(&file)]).await;
    assert_eq!(checked.code, 1, "{checked:?}");
    assert!(checked.stdout.contains("1 error in machine.json"), "{checked:?}");
    let mut world = place.start_text("machine.json", &config).await;
    let now = world.until(|now| now.running() && now.ready("m")).await;
    for said in [
        checked.stdout.as_str(),
        now.module_error("lidar"),
        world.output().as_str(),
    ] {
        for word in [
            "`lidar` (acme:lidar) is not here",
            "`scan` waits for it",
            "type: local",
            "executable_path",
        ] {
            assert!(said.contains(word), "no `{word}` in {said}");
        }
    }
    assert!(now.unhealthy("scan"), "{now:?}");
}

#[tokio::test]
async fn an_empty_name_is_none_to_a_builtin_and_a_mistake_of_the_module_that_asks_for_it() {
    let machine = Machine::new()
        .module(Module::fixture("eyes"))
        .resource(Resource::fake("m", "motor").attributes(json!({"board": "", "encoder": ""})))
        .resource(Resource::probe("p").attributes(json!({"needs": [""]})));
    let mut world = World::start(machine).await;
    let now = world
        .until(|now| now.running() && now.ready("m") && now.unhealthy("p"))
        .await;
    let error = now.resource_error("p");
    assert!(
        error.contains("module eyes") && error.contains("an empty name"),
        "{error}"
    );
}

#[tokio::test]
async fn of_two_modules_with_one_model_the_first_counts_and_is_named() {
    let machine = Machine::new()
        .module(Module::fixture("left"))
        .module(Module::fixture("right"))
        .resource(Resource::probe("p"));
    let mut world = World::start(machine).await;
    world
        .until(|now| now.running() && now.module_ready("left") && now.module_ready("right"))
        .await;
    world
        .until_printed("; left builds it, because it stands first in the config")
        .await;
}

#[tokio::test]
async fn whatever_refuses_a_file_the_rest_is_told_in_the_same_run() {
    let place = Place::new();
    let rest = "modules: [{name: gone, executable_path: /nowhere/run}]\ncomponents:\n  - {name: a, type: generic, model: [1]}\n  - {name: b, type: motor, model: fake, attributes: {max_rpm: wide}}\n  - {name: c, type: base, model: wheeled}\n";
    place.write("broken.yaml", "components: [\n");
    for (refusing, word, whole) in [
        (
            "network: {bind_address: nowhere}",
            "error validating bind_address",
            true,
        ),
        (
            "auth: {handlers: [{type: magic}]}",
            "do not know how to handle auth",
            true,
        ),
        ("services: none", "`services` must be a list", true),
        ("include: not-there.yaml", "not-there.yaml` cannot be read", false),
        ("include: broken.yaml", "close it with `]`", false),
    ] {
        let file = place.write("machine.yaml", &format!("{refusing}\n{rest}"));
        let checked = place.mainstay(&["check", text(&file)]).await;
        assert_eq!(checked.code, 1, "{refusing}: {checked:?}");
        let always = [word, "stat /nowhere/run", "`model` must be a text"];
        // Who knows what stands in a file that is not there?
        let more = ["attribute `max_rpm`", "no such model: `wheeled`"];
        for word in always.into_iter().chain(more.into_iter().filter(|_| whole)) {
            assert!(
                checked.stdout.contains(word),
                "{refusing}: no `{word}` in {}",
                checked.stdout
            );
        }
    }
}

#[tokio::test]
async fn attributes_that_a_builtin_does_not_know_are_named_before_anything_runs() {
    let place = Place::new();
    let file = place.write(
        "machine.yaml",
        "components:\n  - {name: m, type: motor, model: fake, attributes: {max_rpn: 3, pins: {pwmm: '1'}}}\n",
    );
    let checked = place.mainstay(&["check", text(&file)]).await;
    assert_eq!(checked.code, 0, "{checked:?}");
    for word in [
        "attribute `max_rpn` is not known to this model",
        "did you mean `max_rpm`?",
        "attribute `pins.pwmm` is not known to this model",
        "machine.yaml:2:",
        "2 warnings in machine.yaml",
    ] {
        assert!(checked.stdout.contains(word), "no `{word}` in {}", checked.stdout);
    }
    let denied = place.mainstay(&["check", text(&file), "--deny-warnings"]).await;
    assert_eq!(denied.code, 1, "{denied:?}");
}

#[tokio::test]
async fn what_modules_warn_about_stays_in_the_status_until_it_is_mended() {
    let twin = |name: &str| Module::new(name, &bins::find("weather"));
    let station = |attributes: Value| {
        Resource::new("roof", "rdk:component:sensor", "acme:weather:station").attributes(attributes)
    };
    let wrong = Machine::new().module(twin("north")).module(twin("south"));
    let wrong = wrong.resource(station(json!({ "celsius": 19.5, "celcius": 20 })));
    let mut world = World::settled(wrong).await;
    world
        .until(|now| now.ready("roof") && now.control.diagnostics.len() == 2)
        .await;
    let misspelt = "`roof`: attribute `celcius` is not known to this model and has no effect";
    let file = world.config().to_owned();
    for words in [&["status"][..], &["check", text(&file), "--live"]] {
        let told = world.cli(words).await;
        for word in [
            misspelt,
            "did you mean `celsius`?",
            "module `south` offers `acme:weather:station`, which `north` offers too",
            "`north` builds it: it stands first in the config",
        ] {
            assert_eq!(told.stdout.matches(word).count(), 1, "`{word}` in {}", told.stdout);
        }
    }
    world.rewrite(
        &Machine::new()
            .module(twin("north"))
            .resource(station(json!({ "celsius": 19.5 }))),
    );
    world.until(|now| now.control.diagnostics.is_empty()).await;
}
