//! The verbs about configs that ask a running machine: plan, diff, apply, check --live and graph.

use std::path::{Path, PathBuf};

use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::world::{Place, World};
use serde_json::{Value, json};

use crate::config_cli::{ROVER, json_of, keys};

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

async fn rover() -> World {
    let mut world = Place::new().start_text("rover.yaml", ROVER).await;
    world.until(|now| now.running()).await;
    world
}

/// ROVER with another rate.
fn faster(world: &World) -> PathBuf {
    world
        .place
        .write("faster.yaml", &ROVER.replace("rate_hz: 10", "rate_hz: 20"))
}

#[tokio::test]
async fn plan_says_what_would_happen_and_changes_nothing() {
    let place = Place::new();
    let file = place.write("rover.yaml", ROVER);
    let start = place.mainstay(&["plan", text(&file)]).await;
    assert_eq!(start.code, 0, "{start:?}");
    assert!(start.stderr.contains("the plan of a start"), "{start:?}");
    for line in ["+ left", "+ right", "+ base"] {
        assert!(
            start.stdout.lines().any(|shown| shown.starts_with(line)),
            "no `{line}`: {start:?}"
        );
    }
    let shown = json_of(&place.mainstay(&["plan", text(&file), "--json"]).await);
    assert_eq!(
        keys(&shown),
        ["file", "running", "usable", "changes", "stays", "complaints"]
    );
    assert_eq!(
        keys(&shown["changes"][0]),
        ["part", "name", "how", "because", "known_after_start", "through"]
    );
    assert_eq!((&shown["running"], &shown["usable"]), (&json!(false), &json!(true)));
    let refused = place.write("refused.yaml", "network: maybe");
    let ended = place.mainstay(&["plan", text(&refused)]).await;
    assert!(
        ended.code == 1 && ended.stdout.is_empty() && ended.stderr.contains("refused.yaml:1:10"),
        "{ended:?}"
    );

    let world = rover().await;
    let before = world.snapshot().await.control;
    let own = text(world.config()).to_owned();
    let nothing = world.cli(&["plan", &own]).await;
    assert!(
        nothing.code == 0 && nothing.stdout.starts_with("= nothing to do: 3 resources"),
        "{nothing:?}"
    );
    let file = faster(&world);
    let planned = world.cli(&["plan", text(&file)]).await;
    assert_eq!(planned.code, 0, "{planned:?}");
    let lines: Vec<_> = planned.stdout.lines().collect();
    let of = |start: &str| {
        *lines
            .iter()
            .find(|line| line.starts_with(start))
            .unwrap_or_else(|| panic!("{planned:?}"))
    };
    assert!(
        of("~ left").contains("rebuild") && of("~ left").contains("attributes.rate_hz 10 → 20"),
        "{planned:?}"
    );
    assert!(
        of("  └ base").contains("rebuild") && of("  └ base").ends_with("holds left"),
        "{planned:?}"
    );
    assert!(of("= ").contains("1 resource"), "{planned:?}");
    let json = json_of(&world.cli(&["plan", text(&file), "--json"]).await);
    assert_eq!(json["stays"]["resources"], json!(["rdk:component:motor/right"]));
    let after = world.snapshot().await.control;
    let times = |status: &mainstay_proto::mainstay::control::v1::Status| -> Vec<_> {
        status.resources.iter().map(|resource| resource.last_updated).collect()
    };
    assert_eq!(times(&before), times(&after), "nothing was touched");
}

#[tokio::test]
async fn diff_names_each_value() {
    let world = rover().await;
    let same = world.cli(&["diff"]).await;
    assert!(
        same.code == 0 && same.stdout.contains("says the same as what runs"),
        "{same:?}"
    );
    let file = faster(&world);
    let differs = world.cli(&["diff", text(&file)]).await;
    assert_eq!(
        (differs.code, differs.stdout.trim()),
        (0, "~ components.left.attributes.rate_hz  10 → 20"),
        "{differs:?}"
    );
    let shown = json_of(&world.cli(&["diff", text(&file), "--json"]).await);
    assert_eq!(keys(&shown), ["file", "from", "usable", "differences", "complaints"]);
    assert_eq!(keys(&shown["differences"][0]), ["path", "kind", "before", "after"]);
    // A layout is no difference, and neither is a comment.
    let layout = world.place.write(
        "layout.yaml",
        &ROVER
            .replace("# Hz", "")
            .replace("[left, right]", "\n    - left\n    - right"),
    );
    let same = world.cli(&["diff", text(&layout)]).await;
    assert!(same.stdout.contains("says the same as what runs"), "{same:?}");
}

#[tokio::test]
async fn apply_runs_another_file_and_says_how_it_went() {
    let mut world = rover().await;
    let file = faster(&world);
    let applied = world.cli(&["apply", text(&file)]).await;
    assert_eq!(applied.code, 0, "{applied:?}");
    let last = applied.stdout.lines().last();
    assert_eq!(last, Some("applied"), "{applied:?}");
    assert!(applied.stdout.contains("attributes.rate_hz 10 → 20"), "{applied:?}");
    assert!(!applied.stdout.contains('\u{1b}'), "no colours in a pipe");
    let same = world.cli(&["diff", text(&file)]).await;
    assert!(same.stdout.contains("says the same as what runs"), "{same:?}");
    world.until(|now| now.running()).await;

    let refused = world.place.write("refused.yaml", "network: maybe");
    let ended = world.cli(&["apply", text(&refused)]).await;
    assert!(
        ended.code == 1 && ended.stderr.contains("nothing was changed"),
        "{ended:?}"
    );

    // A rate that went up goes down again, step by step for scripts.
    let own = world.config().to_owned();
    let ended = world.cli(&["apply", text(&own), "--json"]).await;
    let steps: Vec<Value> = ended
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(
        steps.first().map(|step| &step["step"]),
        Some(&json!("plan")),
        "{ended:?}"
    );
    let last = steps.last().expect("a last step");
    assert_eq!((ended.code, &last["step"]), (0, &json!("committed")), "{ended:?}");
    assert_eq!(keys(&last["parts"][0]), ["part", "name", "how", "state", "error"]);
}

#[tokio::test]
async fn a_change_that_does_not_come_up_goes_back_and_apply_says_why() {
    let machine = Machine::new()
        .module(Module::fixture("eyes"))
        .resource(Resource::probe("probe"));
    let mut world = World::settled(machine.clone()).await;
    let sick = Resource::probe("sick").attributes(json!({ "fault": "build-error" }));
    let bad = machine.resource(sick);
    let bad = world.place.write("bad.json", &bad.json().to_string());
    let ended = world.cli(&["apply", text(&bad), "--revert-after", "500ms"]).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    let last = ended.stdout.lines().find(|line| line.contains("went back"));
    assert!(last.is_some(), "{ended:?}");
    assert!(
        ended.stdout.contains("sick") && ended.stdout.contains("no device at address 0x68"),
        "{ended:?}"
    );
    world
        .until(|now| {
            !now.control
                .resources
                .iter()
                .any(|resource| resource.name.as_ref().is_some_and(|name| name.name == "sick"))
        })
        .await;

    // Without a watch what works stays, and the exit code tells of the rest.
    let ended = world.cli(&["apply", text(&bad)]).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(
        ended.stdout.contains("applied, but one part does not come up"),
        "{ended:?}"
    );
}

#[tokio::test]
async fn check_live_asks_the_running_modules() {
    let machine = Machine::new()
        .module(Module::fixture("eyes"))
        .resource(Resource::probe("probe"));
    let world = World::settled(machine.clone()).await;
    let strange = Resource::probe("strange").attributes(json!({ "fault": "validate-error" }));
    let changed = machine.resource(strange);
    let file = world.place.write("changed.json", &changed.json().to_string());
    let apart = world.cli(&["check", text(&file)]).await;
    assert_eq!(apart.code, 0, "no file tells what a module thinks: {apart:?}");
    let live = world.cli(&["check", text(&file), "--live"]).await;
    assert_eq!(live.code, 1, "{live:?}");
    assert!(live.stdout.contains("attribute `rate_hz` must be positive"), "{live:?}");
    assert!(
        live.stdout.contains("2 of 2 resources seen by their modules"),
        "{live:?}"
    );
    let shown = json_of(&world.cli(&["check", text(&file), "--live", "--json"]).await);
    assert_eq!(
        keys(&shown),
        ["file", "usable", "errors", "warnings", "complaints", "asked"]
    );
    assert_eq!(shown["complaints"][0]["grade"], "local");
    let own = world.config().to_owned();
    let good = world.cli(&["check", text(&own), "--live"]).await;
    assert_eq!(good.code, 0, "{good:?}");

    let nobody = Place::new();
    let file = nobody.write("rover.yaml", ROVER);
    let ended = nobody.mainstay(&["check", text(&file), "--live"]).await;
    assert_eq!(ended.code, 3, "{ended:?}");
}

#[tokio::test]
async fn graph_shows_what_runs_with_what_it_holds() {
    let world = rover().await;
    let tree = world.cli(&["graph"]).await;
    assert_eq!(tree.code, 0, "{tree:?}");
    let line = tree.stdout.lines().find(|line| line.starts_with("├─ left"));
    assert!(line.is_some_and(|line| line.ends_with("ready")), "{tree:?}");
    let shown = json_of(&world.cli(&["graph", "--json"]).await);
    let edges = shown["edges"].as_array().expect("a list");
    assert_eq!(edges.len(), 2, "{shown}");
    assert!(
        edges
            .iter()
            .all(|edge| edge["held"] == true && edge["kind"] == "required"),
        "{shown}"
    );
    let dot = world.cli(&["graph", "--format", "dot"]).await;
    assert!(dot.stdout.contains("builtin:fake"), "{dot:?}");
}
