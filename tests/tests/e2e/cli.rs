//! The command line against a running machine.

use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::world::{Place, World};
use serde_json::{Value, json};

async fn world() -> World {
    let machine = Machine::new()
        .module(Module::fixture("eyes"))
        .resource(Resource::probe("probe"))
        .resource(Resource::echo("echo"))
        .resource(Resource::generic("twin"))
        .resource(Resource::probe("twin"))
        .resource(Resource::fake("motor", "motor"))
        .resource(Resource::probe("sick").attributes(json!({ "fault": "build-error" })));
    World::settled(machine).await
}

#[tokio::test]
async fn run_says_what_came_up_and_where() {
    let mut world = world().await;
    world.until_printed("`mainstay status` for details").await;
    let address = world.address().to_owned();
    let output = world.output();
    for expected in ["eyes", address.as_str(), "6", "no device at address 0x68"] {
        assert!(output.contains(expected), "no `{expected}`");
    }
    assert!(!output.contains('\u{1b}'), "no colours in a file");
    world.until(|now| now.running()).await;
}

#[tokio::test]
async fn status_shows_modules_and_resources() {
    let world = world().await;
    let shown = world.cli(&["status"]).await;
    assert_eq!(shown.code, 0, "{shown:?}");
    let now = world.snapshot().await;
    let pid = now.pid("eyes").expect("a process").to_string();
    for expected in [
        "eyes",
        pid.as_str(),
        "ready",
        "probe",
        "no device at address 0x68",
        world.address(),
    ] {
        assert!(shown.stdout.contains(expected), "no `{expected}` in\n{}", shown.stdout);
    }
    assert!(!shown.stdout.contains('\u{1b}'), "no colours in a pipe");

    let json = world.cli(&["status", "--json"]).await;
    let json: Value = serde_json::from_str(&json.stdout).expect("JSON");
    let modules = json["modules"].as_array().expect("a list");
    let eyes = modules.iter().find(|module| module["name"] == "eyes").expect("listed");
    assert_eq!(
        (
            eyes["pid"].to_string(),
            eyes["state"].as_str(),
            eyes["restarts"].as_u64()
        ),
        (pid, Some("ready"), Some(0))
    );
    let resources = json["resources"].as_array().expect("a list");
    let sick = resources
        .iter()
        .find(|resource| resource["name"] == "sick")
        .expect("listed");
    assert_eq!(sick["state"], "unhealthy");
    assert!(
        sick["error"]
            .as_str()
            .is_some_and(|error| error.contains("no device at address 0x68")),
        "{sick}"
    );

    let config = world.config().to_str().expect("UTF-8").to_owned();
    let by_config = world.cli(&["status", "--machine", &config]).await;
    assert_eq!(by_config.code, 0, "{by_config:?}");
    let by_address = world.cli(&["status", "--address", world.address()]).await;
    assert_eq!(by_address.code, 0, "{by_address:?}");
    assert!(by_address.stdout.contains("probe"), "{by_address:?}");
}

#[tokio::test]
async fn call_reaches_any_api_by_its_descriptors() {
    let world = world().await;
    let readings = world.cli(&["call", "probe", "get_readings"]).await;
    assert_eq!(readings.code, 0, "{readings:?}");
    assert!(readings.stdout.contains("eyes"), "{readings:?}");

    let said = world
        .cli(&["call", "echo", "say", r#"{"text": "hello"}"#, "--json"])
        .await;
    let said: Value = serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:?}"));
    assert_eq!(
        (&said["text"], &said["stamp"]["nonce"]),
        (&json!("hello"), &json!("eyes"))
    );

    let wire = world.cli(&["call", "echo", "Say", r#"{"text": "hello"}"#]).await;
    assert_eq!(wire.code, 0, "{wire:?}");

    let counted = world.cli(&["call", "echo", "count", r#"{"until": 3}"#, "--json"]).await;
    assert_eq!(counted.stdout.lines().count(), 3, "{counted:?}");
    let summed = world
        .cli(&["call", "echo", "sum", r#"[{"value": 40}, {"value": 2}]"#])
        .await;
    assert!(summed.stdout.contains("42"), "{summed:?}");
    let documents = world.cli(&["call", "echo", "sum", "value: 40\n---\nvalue: 3"]).await;
    assert!(documents.stdout.contains("43"), "{documents:?}");
    let chatted = world
        .cli(&["call", "echo", "chat", r#"[{"text": "a"}, {"text": "b"}]"#])
        .await;
    assert!(
        chatted.stdout.contains('A') && chatted.stdout.contains('B'),
        "{chatted:?}"
    );

    let commanded = world
        .cli(&[
            "call",
            "generic/twin",
            "do_command",
            r#"{"command": {"marco": "polo"}}"#,
        ])
        .await;
    assert!(
        commanded.code == 0 && commanded.stdout.contains("polo"),
        "{commanded:?}"
    );
    let moved = world
        .cli(&["call", "motor", "set_power", r#"{"power_pct": 0.25}"#])
        .await;
    assert_eq!((moved.code, moved.stdout.trim()), (0, "{}"), "{moved:?}");
    let powered = world.cli(&["call", "motor", "is_powered"]).await;
    assert!(powered.stdout.contains("0.25"), "{powered:?}");
    for (yaml, power) in [("power_pct: 0.5", "0.5"), ("{power_pct: -0.75}", "-0.75")] {
        let moved = world.cli(&["call", "motor", "set_power", yaml]).await;
        assert_eq!((moved.code, moved.stdout.trim()), (0, "{}"), "{moved:?}");
        let powered = world.cli(&["call", "motor", "is_powered"]).await;
        assert!(powered.stdout.contains(power), "{powered:?}");
    }
}

#[tokio::test]
async fn call_without_a_method_lists_them() {
    let world = world().await;
    let listed = world.cli(&["call", "echo"]).await;
    assert_eq!(listed.code, 0, "{listed:?}");
    for expected in ["say", "count", "text"] {
        assert!(
            listed.stdout.contains(expected),
            "no `{expected}` in\n{}",
            listed.stdout
        );
    }
}

#[tokio::test]
async fn exit_codes_tell_what_kind_of_thing_went_wrong() {
    let world = world().await;
    let cases: [(&[&str], i32, &str); 9] = [
        (&["call", "nobody", "get_readings"], 1, "nobody"),
        (&["call", "probe", "fly"], 1, "fly"),
        (&["call", "twin", "do_command"], 1, "twin"),
        (
            &["call", "echo", "fail", r#"{"code": 9, "message": "the arm is folded"}"#],
            1,
            "the arm is folded",
        ),
        (&["call", "sick", "get_readings"], 1, "no device at address 0x68"),
        (&["call", "echo", "say", "{\"text\": "], 2, ""),
        (
            &["call", "motor", "set_power", "powerpct: 1"],
            2,
            "did you mean `power_pct`?",
        ),
        (&["dance"], 2, "dance"),
        (&["status", "--address", "127.0.0.1:1"], 3, "127.0.0.1:1"),
    ];
    for (arguments, code, word) in cases {
        let ended = world.cli(arguments).await;
        // A request that is no JSON, an ambiguous name or an unknown method may count as bad usage.
        let alternatives = if code == 2 || matches!(arguments[1], "probe" | "twin") {
            vec![1, 2]
        } else {
            vec![code]
        };
        assert!(alternatives.contains(&ended.code), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(word), "{arguments:?}: no `{word}` in {ended:?}");
        assert!(
            ended.stdout.is_empty(),
            "messages go to stderr: {arguments:?}: {ended:?}"
        );
    }
}

#[tokio::test]
async fn without_a_machine_it_says_how_to_get_one() {
    let place = Place::new();
    for verb in [&["status"][..], &["call", "probe", "get_readings"]] {
        let ended = place.mainstay(verb).await;
        assert_eq!(ended.code, 3, "{ended:?}");
        assert!(
            ended.stderr.contains("mainstay run") && ended.stdout.is_empty(),
            "{ended:?}"
        );
    }
}

#[tokio::test]
async fn several_machines_are_told_apart() {
    let machine = || Machine::new().resource(Resource::fake("motor", "motor"));
    let first = World::settled(machine()).await;
    let place = Place::new().env("XDG_RUNTIME_DIR", first.place.file("run").to_str().expect("UTF-8"));
    let second = place.write("second.json", &machine().json().to_string());
    let mut child = place.command(&mainstay_tests::bins::mainstay());
    let mut child = child
        .arg("run")
        .arg(&second)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("mainstay starts");
    let both = async {
        loop {
            let ended = first.cli(&["status"]).await;
            if ended.code == 2 {
                break ended;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let told = tokio::time::timeout(mainstay_tests::world::PATIENCE, both).await;
    let chosen = first
        .cli(&["status", "--machine", second.to_str().expect("UTF-8")])
        .await;
    mainstay_tests::proc::signal(
        i32::try_from(child.id()).expect("small"),
        nix::sys::signal::Signal::SIGTERM,
    );
    let _ = child.wait();
    let told = told.expect("two machines were never noticed");
    assert!(
        told.stderr.contains("second.json") && told.stderr.contains("machine.json"),
        "{told:?}"
    );
    assert!(chosen.code == 0 && chosen.stdout.contains("second.json"), "{chosen:?}");
}

#[tokio::test]
async fn help_is_for_newcomers() {
    let place = Place::new();
    let help = place.mainstay(&["--help"]).await;
    assert_eq!(help.code, 0, "{help:?}");
    for expected in ["run", "status", "call"] {
        assert!(help.stdout.contains(expected), "no `{expected}` in\n{}", help.stdout);
    }
    let version = place.mainstay(&["--version"]).await;
    assert!(
        version.code == 0 && version.stdout.starts_with("mainstay "),
        "{version:?}"
    );
}
