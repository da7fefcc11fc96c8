//! Somebody asks why something stopped, or what became of a change.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use mainstay_proto::mainstay::control::v1::ConfigState;
use mainstay_tests::bins;
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::proc;
use mainstay_tests::world::{Place, World};
use nix::sys::signal::Signal;
use serde_json::Value;

#[tokio::test]
async fn events_know_changes_refusals_and_who_stopped_everything() {
    let machine = || Machine::new().resource(Resource::fake("left", "motor"));
    let mut world = World::settled(machine()).await;
    world.rewrite(&machine().resource(Resource::fake("right", "motor")));
    world.until(|now| now.ready("right")).await;
    world.rewrite_text("components: [");
    world.until(|now| now.config_is(ConfigState::Refused)).await;
    let stopped = world.cli(&["call", "viam.robot.v1.RobotService", "stop_all"]).await;
    assert_eq!(stopped.code, 0, "{stopped:?}");
    let events = world.cli(&["events"]).await;
    for expected in [
        "config: applying ",
        "config: applied: ",
        "config: refused: ",
        "stop: StopAll asked for by the command line: stopped everything",
    ] {
        assert!(events.stdout.contains(expected), "no {expected:?} in {events:?}");
    }
    let left = world.cli(&["explain", "left"]).await;
    assert!(
        left.code == 0 && left.stdout.contains("StopAll asked for by"),
        "{left:?}"
    );
    assert!(left.stdout.contains("now ready"), "{left:?}");
    let module = world.cli(&["explain", "builtin:fake"]).await;
    assert!(module.stdout.contains("StopAll asked for by"), "{module:?}");
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn the_log_of_the_whole_machine_outlives_the_core() {
    let place = Place::new();
    let program = place.file("run.sh");
    let text = format!(
        "#!/bin/sh\necho good morning\nexec '{}' \"$@\"\n",
        bins::find("misbehave").display()
    );
    fs::write(&program, text).expect("written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("ours");
    let machine = Machine::new()
        .module(Module::new("eyes", &program).env("NONCE", "eyes"))
        .resource(Resource::echo("echo"));
    let mut world = place.start(machine).await;
    world.until(|now| now.ready("echo")).await;
    let all = world.cli(&["logs"]).await;
    let said = |text: &str, line: &str| text.lines().any(|at| at.contains(line));
    assert!(all.code == 0 && said(&all.stdout, "] good morning"), "{all:?}");
    assert!(said(&all.stdout, "INFO  core "), "{all:?}");
    let times: Vec<&str> = all.stdout.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(times.is_sorted(), "{times:?}");

    let first = world.pid();
    proc::signal(first, Signal::SIGKILL);
    world.ended().await.left_nothing_behind();
    let dead = world
        .place
        .mainstay(&["logs", "--machine", world.config().to_str().expect("UTF-8")])
        .await;
    assert!(dead.code == 0 && said(&dead.stdout, "] good morning"), "{dead:?}");
    assert!(dead.stderr.contains("no machine runs"), "{dead:?}");

    let mut world = world.restart_as_it_is().await;
    world.until(|now| now.ready("echo")).await;
    let both = world.cli(&["logs"]).await.stdout;
    assert_eq!(both.matches("] good morning").count(), 2, "{both}");
    world.rewrite_text("components: [");
    world.until(|now| now.config_is(ConfigState::Refused)).await;
    let errors = world.cli(&["logs", "--level", "error", "--json"]).await.stdout;
    let errors: Vec<Value> = errors
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert!(
        !errors.is_empty() && errors.iter().all(|line| line["level"] == "error"),
        "{errors:?}"
    );
    assert!(
        errors.iter().any(|line| line["text"]
            .as_str()
            .is_some_and(|text| text.contains("the config is refused"))),
        "{errors:?}"
    );
    let since = both
        .lines()
        .last()
        .and_then(|line| line.split(' ').next())
        .expect("a time");
    let newer = world.cli(&["logs", "--since", since]).await.stdout;
    assert!(
        !newer.contains("good morning") && newer.contains("the config is refused"),
        "{newer}"
    );
    let last = world.cli(&["logs", "-n", "2"]).await.stdout;
    assert_eq!(last.lines().filter(|line| line.starts_with("20")).count(), 2, "{last}");
    world.shutdown().await.with_code(0).left_nothing_behind();
}
