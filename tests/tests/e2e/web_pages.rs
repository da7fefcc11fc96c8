//! Pages for browsers below `/debug/`: off unless the config or the command line says otherwise, and changed live.

use std::time::{Duration, Instant};

use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::raw;
use mainstay_tests::world::{PATIENCE, Place, World};
use serde_json::{Value, json};

/// Status and body of a GET, as `curl` makes it.
async fn get(world: &World, path: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: robot\r\nconnection: close\r\n\r\n");
    let answer = raw::talk(world.address(), request.as_bytes()).await.expect("an answer");
    let answer = String::from_utf8(answer).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.expect("a status"), body.to_owned())
}

/// Waits until the graph is served with this status.
async fn until(world: &World, status: u16) {
    let end = Instant::now() + PATIENCE;
    loop {
        let (now, body) = get(world, "/debug/graph").await;
        if now == status {
            return;
        }
        assert!(Instant::now() < end, "still {now}, not {status}: {body}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn pages_for_browsers_come_and_go_with_the_config_and_nothing_is_built_anew() {
    let machine = Machine::new()
        .module(Module::fixture("eyes"))
        .resource(Resource::echo("lidar"))
        .resource(Resource::echo("slam").depends_on(&["lidar", "ghost"]));
    let mut world = World::settled(machine.clone()).await;
    let pid = world.until(|now| now.ready("lidar")).await.pid("eyes");
    let (status, words) = get(&world, "/debug/graph").await;
    assert!(
        status == 404 && words.contains("enable_web_profile: true"),
        "{status} {words}"
    );

    world.rewrite(&machine.clone().set("enable_web_profile", json!(true)));
    until(&world, 200).await;
    let (status, dot) = get(&world, "/debug/graph").await;
    assert!(
        status == 200 && dot.starts_with("digraph") && dot.contains("lidar") && dot.contains("ghost\\nmissing"),
        "{dot}"
    );
    let (_, json) = get(&world, "/debug/graph?format=json").await;
    let graph: Value = serde_json::from_str(&json).expect("JSON");
    let shown = world.cli(&["graph", "--format", "dot"]).await;
    assert_eq!(shown.stdout, dot, "as `mainstay graph` shows it");
    assert_eq!(graph["edges"][0]["to"], "tests:component:echo/lidar", "{graph:#}");
    for (path, expected, part) in [
        ("/debug/graph?format=mermaid", 200, "graph LR"),
        ("/debug/graph?format=svg", 400, "format=mermaid"),
        ("/debug/pprof/", 200, "/debug/pprof/cmdline"),
        ("/debug/pprof/cmdline", 200, "run\0"),
        ("/debug/pprof/profile?seconds=1", 501, "perf record"),
        ("/debug/pprof/goroutine", 501, "mainstay status"),
        ("/debug/vars", 404, "There is no such page"),
    ] {
        let (status, body) = get(&world, path).await;
        assert!(status == expected && body.contains(part), "{path}: {status} {body}");
    }

    world.rewrite(&machine);
    until(&world, 404).await;
    assert_eq!(get(&world, "/debug/pprof/cmdline").await.0, 404);
    assert_eq!(world.snapshot().await.pid("eyes"), pid);
}

#[tokio::test]
async fn the_command_line_can_ask_for_the_pages_too() {
    let world = Place::new().argument("--webprofile").start(Machine::new()).await;
    assert_eq!(get(&world, "/debug/pprof").await.0, 200);
}
