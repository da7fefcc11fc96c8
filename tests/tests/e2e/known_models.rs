//! Models and names that nothing offers: what `check` says of them without a machine, what a machine says, and to whom.

use std::path::Path;
use std::time::{Duration, Instant};

use mainstay_proto::viam::component::motor::v1::{IsMovingRequest, IsMovingResponse};
use mainstay_tests::bins;
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::world::{Finished, Place, World};
use serde_json::{Value, json};

use crate::config_cli::json_of;

const BIND: &str = "network: {bind_address: \"127.0.0.1:0\"}\n";

async fn check(place: &Place, file: &Path, more: &[&str]) -> Finished {
    let file = file.to_str().expect("a path in UTF-8");
    place.mainstay(&[&["check", file], more].concat()).await
}

/// Grade, line, column and message of each complaint, and its help.
fn complaints(shown: &Value) -> Vec<(String, String)> {
    let list = shown["complaints"].as_array().expect("a list");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    list.iter()
        .map(|one| {
            let said = format!(
                "{} {}:{} {}",
                text(&one["grade"]),
                one["line"],
                one["column"],
                text(&one["message"])
            );
            (said, text(&one["help"]))
        })
        .collect()
}

#[tokio::test]
async fn check_knows_what_is_built_in_and_what_attributes_will_need() {
    let place = Place::new();
    let file = place.write(
        "rover.yaml",
        "components:\n\
         \x20 - {name: b, type: pose_tracker, model: wheeled}\n\
         \x20 - {name: m, type: motor, model: faek}\n\
         \x20 - {name: n, type: motor, model: fake, attributes: {encoder: encoder, ticks_per_rotation: 9}}\n\
         \x20 - {name: o, type: motor, model: fake, attributes: {max_rpm: wide}}\n\
         \x20 - {name: p, type: motor, model: fake, attributes: {max_rpm: -3}}\n\
         \x20 - {name: q, type: motor, model: fake, attributes: {encoder: m, ticks_per_rotation: 9}}\n\
         \x20 - {name: encodre, type: encoder, model: fake}\n",
    );
    let begin = Instant::now();
    let ended = check(&place, &file, &["--json"]).await;
    let took = begin.elapsed();
    assert_eq!(ended.code, 1, "{ended:?}");
    let said = complaints(&json_of(&ended));
    let messages: Vec<_> = said.iter().map(|(message, _)| message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "local 2:42 no such model: `wheeled` for rdk:component:pose_tracker",
            "local 3:35 no such model: `faek` for rdk:component:motor",
            "local 4:63 `n` needs `rdk:component:encoder/encoder`, but nothing in this config has that name",
            "local 5:63 `o`: attribute `max_rpm`: invalid type: string \"wide\", expected f64",
            "local 6:63 `p`: `max_rpm` is -3; it must be above 0",
            "local 7:63 `q` needs `rdk:component:encoder/m`, but nothing in this config has that name",
        ],
        "{ended:?}"
    );
    assert!(said[0].1.contains("add a module"), "{said:?}");
    assert_eq!(said[1].1, "did you mean `fake`? the built-in modules offer fake");
    assert_eq!(said[2].1, "did you mean `encodre`?");
    assert_eq!(said[5].1, "`m` is a rdk:component:motor");
    assert!(took < Duration::from_secs(2), "a look at a file is quick: {took:?}");
    let text = check(&place, &file, &[]).await.stdout;
    for line in [
        "error: no such model: `wheeled` for rdk:component:pose_tracker",
        "rover.yaml:2:42",
        "^^^^^^^ nothing built in has this API",
        "6 errors in rover.yaml; the running machine is untouched",
    ] {
        assert!(text.contains(line), "no `{line}` in\n{text}");
    }
    assert!(place.processes().is_empty(), "{:?}", place.processes());
    assert!(place.sockets().is_empty() && place.runtime_folders().is_empty());
}

#[tokio::test]
async fn check_without_built_in_modules_says_so_once_and_takes_them_from_elsewhere() {
    let place = Place::new();
    let motor = |name: &str| format!("  - {{name: {name}, type: motor, model: fake}}\n");
    let file = place.write("two.yaml", &format!("components:\n{}{}", motor("a"), motor("b")));
    let ended = check(&place, &file, &["--builtins", "/nowhere/builtins", "--json"]).await;
    let said = complaints(&json_of(&ended));
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(
        said[0].0,
        "local 2:35 no built-in model can be had, which 2 entries need, this one first"
    );
    assert!(
        said[0].1.contains("/nowhere/builtins") && said[0].1.contains("--builtins"),
        "{said:?}"
    );
    let builtins = bins::find("mainstay-builtins").display().to_string();
    let ended = check(&place, &file, &["--builtins", &builtins]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    // A program that answers nothing is named, and harms nothing.
    let odd = place.write(
        "odd",
        "#!/bin/sh\n[ \"$1\" = manifest ] && exec BUILTINS manifest\nexit 3\n"
            .replace("BUILTINS", &builtins)
            .as_str(),
    );
    std::fs::set_permissions(&odd, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("ours");
    let ended = check(&place, &file, &["--builtins", odd.to_str().expect("UTF-8")]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(
        ended
            .stdout
            .contains("module builtin:fake could not be asked about its entries"),
        "{ended:?}"
    );
}

#[tokio::test]
async fn check_knows_what_modules_offer_by_their_meta_json_or_by_the_machine_that_runs() {
    let place = Place::new();
    let program = bins::find("misbehave");
    let machine = |executable: &Path, model: &str| {
        Machine::new()
            .module(Module::new("eyes", executable))
            .resource(Resource::new("eye", "rdk:component:sensor", model))
    };
    // Nobody knows before its start.
    let file = place.write(
        "machine.json",
        &machine(&program, "tests:fixture:prob").json().to_string(),
    );
    let unknown = check(&place, &file, &[]).await;
    assert_eq!(unknown.code, 0, "{unknown:?}");
    assert!(
        unknown
            .stdout
            .contains("known after start: whether module eyes offers tests:fixture:prob (for eye)"),
        "{unknown:?}"
    );
    let shown = json_of(&check(&place, &file, &["--json"]).await);
    let expected =
        json!([{"model": "tests:fixture:prob", "resources": ["rdk:component:sensor/eye"], "modules": ["eyes"]}]);
    assert_eq!(shown["known_after_start"], expected);

    // Its meta.json says it.
    let folder = place.file("eyes");
    std::fs::create_dir(&folder).expect("writable");
    std::os::unix::fs::symlink(&program, folder.join("run")).expect("writable");
    let meta = json!({"models": [{"api": "rdk:component:sensor", "model": "tests:fixture:probe"}]});
    std::fs::write(folder.join("meta.json"), meta.to_string()).expect("writable");
    for (model, code, word) in [
        ("tests:fixture:probe", 0, "is good"),
        (
            "tests:fixture:prob",
            1,
            "did you mean `tests:fixture:probe`? module `eyes` offers tests:fixture:probe",
        ),
    ] {
        let other = place.write("meta.json.d", &machine(&folder.join("run"), model).json().to_string());
        let ended = check(&place, &other, &[]).await;
        assert!(ended.code == code && ended.stdout.contains(word), "{model}: {ended:?}");
    }

    // The machine that runs this very file knows it of this very program.
    std::fs::write(&file, machine(&program, "tests:fixture:probe").json().to_string()).expect("writable");
    let mut world = place
        .start_text(
            "machine.json",
            &machine(&program, "tests:fixture:probe").json().to_string(),
        )
        .await;
    world.until(|now| now.running() && now.ready("eye")).await;
    world.rewrite(&machine(&program, "tests:fixture:prob"));
    let file = world.config().to_owned();
    let ended = check(&world.place, &file, &[]).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(
        ended
            .stdout
            .contains("did you mean `tests:fixture:probe`? module `eyes` offers"),
        "{ended:?}"
    );
    world.until(|now| now.unhealthy("eye")).await;
    let live = check(&world.place, &file, &["--live"]).await;
    assert_eq!(live.code, 1, "{live:?}");
    assert_eq!(live.stdout.matches("no such model").count(), 1, "{live:?}");
    let new = machine(&program, "tests:fixture:probe").resource(Resource::new(
        "new",
        "rdk:component:sensor",
        "tests:fixture:prob",
    ));
    let beside = world.place.write("beside.json", &new.json().to_string());
    let live = check(&world.place, &beside, &["--live"]).await;
    assert!(
        live.code == 1 && live.stdout.contains("did you mean `tests:fixture:probe`?"),
        "{live:?}"
    );
    // One that never says what it offers, so that it does not matter how far the machine has come with it.
    world.rewrite(&machine(Path::new("/bin/true"), "tests:fixture:other"));
    let ended = check(&world.place, &file, &[]).await;
    assert_eq!(ended.code, 0, "another program may offer something else: {ended:?}");
}

#[tokio::test]
async fn what_refuses_a_file_hides_nothing_else_that_is_wrong_with_it() {
    let place = Place::new();
    let file = place.write(
        "rover.yaml",
        "network: 7\nmodules: [{name: gone, executable_path: /nowhere/run}]\ncomponents:\n  - {name: b, type: base, model: wheeled}\n  - {name: c, type: base, model: 7}\n  - {name: d, type: motor, model: fake, attributes: {max_rpm: wide}}\n",
    );
    let ended = check(&place, &file, &["--json"]).await;
    let messages: Vec<_> = complaints(&json_of(&ended))
        .into_iter()
        .map(|(message, _)| message)
        .collect();
    assert_eq!(ended.code, 1);
    for word in [
        "refused 1:10",
        "executable path error: stat /nowhere/run",
        "no such model: `wheeled`",
        "local 5:",
        "`d`: attribute `max_rpm`",
    ] {
        assert!(
            messages.iter().any(|message| message.contains(word)),
            "no `{word}` in {messages:#?}"
        );
    }
    assert_eq!(messages.len(), 5, "{messages:#?}");
    let run = place.mainstay(&["run", "rover.yaml"]).await;
    assert_eq!(run.code, 1, "{run:?}");
    for word in [
        "stat /nowhere/run",
        "no such model: `wheeled`",
        "not started: 1 of 4 complaints",
    ] {
        assert!(run.stderr.contains(word), "no `{word}` in {run:?}");
    }
}

#[tokio::test]
async fn a_machine_says_it_in_our_words_to_people_and_in_those_of_peers_on_the_wire() {
    let text = |wheeled: &str| {
        format!(
            "{BIND}components:\n  - {{name: good, type: motor, model: fake}}\n  - {{name: m, type: motor, model: {wheeled}}}\n  - {{name: n, type: motor, model: fake, attributes: {{encoder: gone, ticks_per_rotation: 9}}}}\n  - {{name: needs, type: generic, model: fake, depends_on: [m]}}\n"
        )
    };
    let mut world = Place::new().start_text("rover.yaml", &text("faek")).await;
    let now = world
        .until(|now| now.running() && now.ready("good") && now.unhealthy("needs"))
        .await;
    let told = |name: &str| {
        let of = |resource: &&mainstay_proto::mainstay::control::v1::Resource| {
            resource.name.as_ref().is_some_and(|known| known.name == name)
        };
        now.control
            .resources
            .iter()
            .find(of)
            .map(|resource| resource.error.clone())
            .unwrap_or_default()
    };
    let cure = "no such model: `faek` for rdk:component:motor; did you mean `fake`? the built-in modules offer fake";
    assert_eq!(told("m"), cure);
    assert_eq!(
        told("n"),
        "needs `rdk:component:encoder/gone`, but nothing in this config has that name: add it, or correct the name"
    );
    assert_eq!(told("needs"), format!("needs m (component:motor): {cure}"));
    for (name, wire) in [
        (
            "m",
            "resource build error: unknown resource type: API rdk:component:motor with model rdk:builtin:faek not registered; ",
        ),
        (
            "n",
            "resource build error: resource has unresolved dependencies not found in machine config or connected remotes: [rdk:component:encoder/gone]",
        ),
        (
            "needs",
            "resource build error: dependency rdk:component:motor/m is not ready yet; reason=resource rdk:component:motor/m not available; reason=resource build error: unknown resource type",
        ),
    ] {
        assert!(
            now.resource_error(name).starts_with(wire),
            "{name}: {}",
            now.resource_error(name)
        );
    }
    let path = "/viam.component.motor.v1.MotorService/IsMoving";
    let request = IsMovingRequest { name: "m".to_owned() };
    let refused = world
        .call::<_, IsMovingResponse>(path, &request)
        .await
        .expect_err("there is none");
    assert!(
        refused
            .message()
            .contains("unknown resource type: API rdk:component:motor"),
        "{refused:?}"
    );
    // At the start it was told with its place, as any other error of one entry.
    world.until_printed("rover.yaml:4:35").await;
    assert!(
        world
            .output()
            .contains("error: no such model: `faek` for rdk:component:motor")
    );
    let status = world.cli(&["status"]).await;
    assert!(!status.stdout.contains("resource build error"), "{status:?}");

    // So at a change: the entry that was mended comes, the one that is new in error is told.
    let changed = text("fake").replace(
        "name: good, type: motor, model: fake",
        "name: good, type: base, model: wheeled",
    );
    world.rewrite_text(&changed);
    world
        .until(|now| now.ready("m") && now.ready("needs") && now.unhealthy("good"))
        .await;
    world
        .until_printed("no such model: `wheeled` for rdk:component:base")
        .await;
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_change_that_may_go_back_is_refused_for_a_model_that_nothing_offers() {
    let text = |model: &str| {
        format!("{BIND}apply: {{on_failure: revert}}\ncomponents:\n  - {{name: m, type: motor, model: {model}}}\n")
    };
    let mut world = Place::new().start_text("rover.yaml", &text("fake")).await;
    world.until(|now| now.running() && now.ready("m")).await;
    settled(&mut world).await;
    world.rewrite_text(&text("faek"));
    world.until_printed("no such model: `faek`").await;
    let now = world
        .until(|now| {
            now.control
                .config
                .as_ref()
                .is_some_and(|config| !config.reasons.is_empty())
        })
        .await;
    assert!(now.ready("m"), "{now:?}");
}

/// Waits until the first config was committed.
async fn settled(world: &mut World) {
    world
        .until(|now| {
            now.control
                .config
                .as_ref()
                .is_some_and(|config| config.revision.is_some())
        })
        .await;
}
