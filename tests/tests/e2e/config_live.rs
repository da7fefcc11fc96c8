//! The verbs about configs that ask a running machine: plan, diff, apply, check --live and graph.

use std::path::PathBuf;

use mainstay_tests::world::{Place, World};
use serde_json::json;

use crate::config_cli::{ROVER, json_of, keys};

fn text(path: &PathBuf) -> &str {
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
        ["part", "name", "how", "because", "known_after_start"]
    );
    assert_eq!((&shown["running"], &shown["usable"]), (&json!(false), &json!(true)));
    let refused = place.write("refused.yaml", "debug: maybe");
    let ended = place.mainstay(&["plan", text(&refused)]).await;
    assert!(
        ended.code == 1 && ended.stdout.is_empty() && ended.stderr.contains("refused.yaml:1:8"),
        "{ended:?}"
    );

    let world = rover().await;
    let before = world.snapshot().await.control;
    let own = text(&world.config().to_owned()).to_owned();
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
        of("~ base").contains("rebuild") && of("~ base").contains("left"),
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
