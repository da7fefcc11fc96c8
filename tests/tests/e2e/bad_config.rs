//! Tests of config mistakes, and of their extent.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use mainstay_tests::bins;
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::status::Snapshot;
use mainstay_tests::world::{Place, World};
use serde_json::{Value, json};

/// A config whose only module would leave a journal if it were started.
fn with_journal(place: &Place, text: &str) -> String {
    text.replace("EXE", &bins::find("misbehave").display().to_string())
        .replace("JOURNAL_PATH", &place.file("journal").display().to_string())
}

const MODULE: &str =
    r#"{ "name": "eyes", "type": "local", "executable_path": "EXE", "env": { "JOURNAL": "JOURNAL_PATH" } }"#;

#[tokio::test]
async fn an_unusable_config_ends_it_with_the_place_before_any_module_starts() {
    let bind = r#""network": { "bind_address": "127.0.0.1:0" }"#;
    // Name, text, where the complaint must point, and a word that it must contain.
    let cases = [
        (
            "comma.json",
            format!("{{ {bind},\n  \"modules\": [{MODULE}]\n  \"components\": [] }}"),
            "comma.json:3",
            "",
        ),
        (
            "cut.json",
            format!("{{ {bind},\n  \"modules\": [{MODULE}"),
            "cut.json:2",
            "",
        ),
        ("empty.json", String::new(), "empty.json", ""),
        ("list.json", "[]".to_owned(), "list.json:1", ""),
        (
            "types.json",
            format!("{{ {bind}, \"modules\": [{MODULE}],\n  \"components\": {{\"name\": \"x\"}} }}"),
            "types.json:2",
            "components",
        ),
        (
            "keys.json",
            format!(
                "{{ {bind}, \"modules\": [{MODULE}],\n  \"auth\": {{\"handlers\": [{{\"type\": \"magic\", \"config\": {{\"keys\": [\"k\"], \"k\": \"v\"}}}}]}} }}"
            ),
            "keys.json:2",
            "do not know how to handle auth",
        ),
        (
            "tls.json",
            format!(
                "{{ \"network\": {{ \"bind_address\": \"127.0.0.1:0\",\n  \"tls_cert_file\": \"/c\", \"tls_key_file\": \"/k\" }}, \"modules\": [{MODULE}] }}"
            ),
            "tls.json:2",
            "cannot read `/c`",
        ),
        (
            "window.json",
            format!(
                "{{ \"network\": {{ \"bind_address\": \"127.0.0.1:0\",\n  \"sessions\": {{ \"heartbeat_window\": \"5m\" }} }}, \"modules\": [{MODULE}] }}"
            ),
            "window.json:2",
            "heartbeat_window",
        ),
        (
            "address.json",
            format!("{{ \"network\": {{\n  \"bind_address\": \"nowhere\" }}, \"modules\": [{MODULE}] }}"),
            "address.json:2",
            "nowhere",
        ),
        (
            "indent.yaml",
            "network:\n  bind_address: 127.0.0.1:0\n modules: []\n".to_owned(),
            "indent.yaml:3",
            "",
        ),
        (
            "quote.yaml",
            "network:\n  bind_address: \"127.0.0.1:0\nmodules: []\n".to_owned(),
            "quote.yaml",
            "",
        ),
    ];
    for (name, text, at, word) in cases {
        let place = Place::new();
        let ended = place.run_to_the_end(name, &with_journal(&place, &text)).await;
        assert_eq!(ended.code, 1, "{name}: {ended:?}");
        assert!(ended.stderr.contains(at), "{name}: no `{at}` in {}", ended.stderr);
        assert!(ended.stderr.contains(word), "{name}: no `{word}` in {}", ended.stderr);
        assert!(!place.file("journal").exists(), "{name}: a module was started");
    }
}

#[tokio::test]
async fn all_complaints_are_made_at_once() {
    let place = Place::new();
    let text = "{ \"components\": [\n  {\"name\": 1, \"type\": \"motor\", \"model\": \"fake\"},\n  {\"name\": \"b\", \"api\": \"nope\", \"model\": \"fake\"}],\n  \"modules\": 3 }";
    let ended = place.run_to_the_end("many.json", text).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    for at in ["many.json:2", "many.json:3", "many.json:4"] {
        assert!(ended.stderr.contains(at), "no `{at}` in {}", ended.stderr);
    }
}

#[tokio::test]
async fn a_config_that_cannot_be_read_ends_it() {
    let place = Place::new();
    let missing = place.mainstay(&["run", "nowhere.json"]).await;
    assert_eq!(missing.code, 1, "{missing:?}");
    assert!(missing.stderr.contains("nowhere.json"), "{missing:?}");

    fs::create_dir(place.file("folder.json")).expect("the folder is writable");
    let folder = place.mainstay(&["run", "folder.json"]).await;
    assert_eq!(folder.code, 1, "{folder:?}");
    assert!(folder.stderr.contains("folder.json"), "{folder:?}");

    fs::write(place.file("binary.json"), [0xff, 0xfe, 0x00, 0x9d]).expect("the folder is writable");
    let binary = place.mainstay(&["run", "binary.json"]).await;
    assert_eq!(binary.code, 1, "{binary:?}");
    assert!(binary.stderr.contains("binary.json"), "{binary:?}");
}

#[tokio::test]
async fn unknown_keys_are_named_with_their_place_and_do_no_harm() {
    let place = Place::new();
    let text = "{ \"network\": { \"bind_address\": \"127.0.0.1:0\" },\n  \"componets\": [],\n  \"components\": [\n    { \"name\": \"m\", \"type\": \"motor\", \"model\": \"fake\", \"atributes\": {} } ] }";
    let mut world = place.start_text("keys.json", text).await;
    world.until(|now| now.running() && now.ready("m")).await;
    let output = world.output();
    for expected in ["componets", "keys.json:2", "atributes", "keys.json:4"] {
        assert!(output.contains(expected), "no `{expected}` in what was printed");
    }
}

/// Runs a machine with one good probe and something broken, and gives its state when everything had its turn.
async fn beside_a_good_one(machine: Machine) -> (World, Snapshot) {
    let place = Place::new().env("VIAM_MODULE_STARTUP_TIMEOUT", "2s");
    let mut world = place
        .start(
            machine
                .module(Module::fixture("good"))
                .resource(Resource::probe("probe")),
        )
        .await;
    let now = world.until(|now| now.running() && now.ready("probe")).await;
    (world, now)
}

fn probe_with(name: &str, attributes: Value) -> Resource {
    Resource::probe(name).attributes(attributes)
}

#[tokio::test]
async fn a_broken_resource_says_what_is_wrong_and_the_rest_runs() {
    let long = "n".repeat(61);
    // What is added, the name under which it shows, and words of its error.
    let cases: Vec<(&str, Vec<Resource>, &str, Vec<&str>)> = vec![
        (
            "unknown API",
            vec![Resource::new("bread", "rdk:component:toaster", "tests:fixture:probe")],
            "bread",
            vec!["rdk:component:toaster", "tests:fixture:probe"],
        ),
        (
            "unknown model",
            vec![Resource::new("lost", "rdk:component:sensor", "tests:fixture:nothing")],
            "lost",
            vec!["tests:fixture:nothing"],
        ),
        (
            "unknown built-in model",
            vec![Resource::new("lost", "rdk:component:motor", "warp-drive")],
            "lost",
            vec!["rdk:builtin:warp-drive"],
        ),
        (
            "bad name",
            vec![Resource::probe("left motor")],
            "left motor",
            vec!["left motor"],
        ),
        (
            "colon in name",
            vec![Resource::probe("left:motor")],
            "left:motor",
            vec!["left:motor"],
        ),
        ("too long a name", vec![Resource::probe(&long)], &long, vec!["60"]),
        (
            "missing dependency",
            vec![Resource::probe("roof").depends_on(&["wall"])],
            "roof",
            vec!["wall"],
        ),
        (
            "missing dependency that the module asked for",
            vec![probe_with("roof", json!({ "needs": ["wall"] }))],
            "roof",
            vec!["wall"],
        ),
        (
            "ambiguous dependency",
            vec![
                Resource::probe("roof").depends_on(&["twin"]),
                Resource::probe("twin"),
                Resource::generic("twin"),
            ],
            "roof",
            vec!["twin"],
        ),
        (
            "cycle",
            vec![
                Resource::probe("hen").depends_on(&["egg"]),
                Resource::probe("egg").depends_on(&["hen"]),
            ],
            "hen",
            vec!["cycle", "hen", "egg"],
        ),
        (
            "itself",
            vec![Resource::probe("ego").depends_on(&["ego"])],
            "ego",
            vec!["cycle", "ego"],
        ),
        (
            "the module finds the config bad",
            vec![probe_with("sick", json!({ "fault": "validate-error" }))],
            "sick",
            vec!["attribute `rate_hz` must be positive"],
        ),
        (
            "the module cannot build it",
            vec![probe_with("sick", json!({ "fault": "build-error" }))],
            "sick",
            vec!["no device at address 0x68"],
        ),
    ];
    for (what, resources, name, words) in cases {
        let machine = resources.into_iter().fold(Machine::new(), Machine::resource);
        let (world, now) = beside_a_good_one(machine).await;
        assert!(now.unhealthy(name), "{what}:\n{now:?}");
        for word in words {
            assert!(
                now.resource_error(name).contains(word),
                "{what}: no `{word}` in:\n{now:?}"
            );
        }
        world.shutdown().await.with_code(0).left_nothing_behind();
    }
}

#[tokio::test]
async fn the_second_of_two_equal_names_is_refused_and_the_first_works() {
    let machine = Machine::new()
        .resource(probe_with("twin", json!({ "number": 1 })))
        .resource(probe_with("twin", json!({ "number": 2 })))
        // The same name under another API is legal.
        .resource(Resource::generic("twin"));
    let (world, now) = beside_a_good_one(machine).await;
    let twins: Vec<_> = now
        .machine
        .resources
        .iter()
        .filter(|resource| {
            resource
                .name
                .as_ref()
                .is_some_and(|name| name.name == "twin" && name.subtype == "sensor")
        })
        .collect();
    let wrong: Vec<_> = twins.iter().filter(|twin| !twin.error.is_empty()).collect();
    let told = wrong.iter().any(|twin| twin.error.contains("twin"))
        || now
            .control
            .diagnostics
            .iter()
            .any(|complaint| complaint.contains("twin"));
    assert!(told, "{now:?}");
    assert!(now.ready("generic/twin") && now.ready("sensor/twin"), "{now:?}");
    assert!(world.output().contains("machine.json:"), "the place is told");
}

#[tokio::test]
async fn a_broken_module_says_what_is_wrong_and_the_rest_runs() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let plain = scratch.path().join("plain.txt");
    fs::write(&plain, "#!/bin/sh\n").expect("the folder is writable");
    fs::set_permissions(&plain, fs::Permissions::from_mode(0o644)).expect("the file is ours");
    let nonsense = scratch.path().join("nonsense");
    fs::write(&nonsense, [0x7f, 0x45, 0x00]).expect("the folder is writable");
    fs::set_permissions(&nonsense, fs::Permissions::from_mode(0o755)).expect("the file is ours");
    let nowhere = scratch.path().join("nowhere");

    // The module and words of its error.
    let cases: Vec<(Module, Vec<&str>)> = vec![
        (Module::new("bad", &nowhere), vec!["nowhere"]),
        (Module::new("bad", scratch.path()), vec![]),
        (Module::new("bad", &plain), vec!["plain.txt", "execut"]),
        (Module::new("bad", &nonsense), vec!["nonsense"]),
        (
            Module::faulty("bad", "exit-at-once"),
            vec!["3", "the sensor bus is on fire"],
        ),
        (
            Module::faulty("bad", "exit-before-ready"),
            vec!["4", "cannot open the sensor bus"],
        ),
        (
            Module::faulty("bad", "no-socket"),
            vec!["timed out after 2s during startup"],
        ),
        (
            Module::faulty("bad", "mute"),
            vec!["be ready bad: context deadline exceeded"],
        ),
        (
            Module::faulty("bad", "hang-ready"),
            vec!["be ready bad: context deadline exceeded"],
        ),
        (
            Module::faulty("bad", "never-ready"),
            vec!["be ready bad: context deadline exceeded"],
        ),
        (Module::faulty("bad", "ready-error"), vec!["the sensor bus is missing"]),
        (Module::faulty("bad", "garbage-bytes"), vec![]),
        (Module::faulty("bad", "garbage-http"), vec![]),
        (Module::faulty("bad", "garbage-ready"), vec![]),
    ];
    for (module, words) in cases {
        let shown = format!("{module:?}");
        let (mut world, _) = beside_a_good_one(Machine::new().module(module)).await;
        let now = world.until(|now| !now.module_error("bad").is_empty()).await;
        assert!(!now.module_ready("bad"), "{shown}:\n{now:?}");
        for word in words {
            assert!(
                now.module_error("bad").contains(word),
                "{shown}: no `{word}` in:\n{now:?}"
            );
        }
        world.shutdown().await.with_code(0).left_nothing_behind();
    }
}

#[tokio::test]
async fn a_module_that_offers_nothing_is_told_and_a_bad_offer_costs_itself_alone() {
    let (world, now) = beside_a_good_one(Machine::new().module(Module::faulty("bad", "no-handlers"))).await;
    let told = !now.module_error("bad").is_empty()
        || now.control.diagnostics.iter().any(|text| text.contains("bad"))
        || world.output().contains("offers n");
    assert!(told, "{now:?}");
    world.shutdown().await.with_code(0).left_nothing_behind();

    for fault in ["bad-handlers", "unknown-service"] {
        let machine = Machine::new()
            .module(Module::faulty("odd", fault))
            .resource(Resource::probe("probe"));
        let mut world = World::start(machine).await;
        let now = world.until(|now| now.running() && now.ready("probe")).await;
        assert!(now.module_ready("odd"), "{fault}: {now:?}");
        world.shutdown().await.with_code(0).left_nothing_behind();
    }
}

#[tokio::test]
async fn bad_module_names_and_doubles_are_told_and_the_rest_runs() {
    for (name, word) in [("good", "good"), ("parent", "parent"), ("two words", "two words")] {
        let (world, now) = beside_a_good_one(Machine::new().module(Module::fixture(name))).await;
        let told = now.control.diagnostics.iter().any(|text| text.contains(word))
            || world.output().contains(&format!("`{word}`"));
        let allowed = name == "parent" && now.module_ready("parent");
        assert!(told || allowed, "{name}: {now:?}");
        world.shutdown().await.with_code(0).left_nothing_behind();
    }
}

#[tokio::test]
async fn built_in_models_without_their_binary_say_where_it_should_be() {
    // The server alone in a folder: a link of its own, because it looks beside what it was started from.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("alone");
    fs::create_dir_all(&folder).expect("the target folder is writable");
    let alone = folder.join("mainstay");
    let _ = fs::remove_file(&alone);
    fs::hard_link(bins::mainstay(), &alone).expect("one file system");

    let machine = || {
        Machine::new()
            .module(Module::fixture("good"))
            .resource(Resource::probe("probe"))
    };
    let machine = || machine().resource(Resource::fake("motor", "motor"));
    let mut world = Place::new().server(&alone).start(machine()).await;
    let now = world.until(|now| now.running() && now.ready("probe")).await;
    assert!(now.unhealthy("motor"), "{now:?}");
    let told = [now.resource_error("motor"), &world.output()].concat();
    assert!(
        told.contains("mainstay-builtins") && told.contains("--builtins"),
        "{told}"
    );
    world.shutdown().await.with_code(0).left_nothing_behind();

    let builtins = bins::find("mainstay-builtins").display().to_string();
    let mut world = Place::new()
        .server(&alone)
        .argument("--builtins")
        .argument(&builtins)
        .start(machine())
        .await;
    world.until(|now| now.running() && now.ready("motor")).await;
}
