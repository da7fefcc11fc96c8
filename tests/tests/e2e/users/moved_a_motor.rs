//! Motors that somebody moves from the command line, and what becomes of them.

use std::process::Stdio;
use std::time::{Duration, Instant};

use mainstay_tests::bins;
use mainstay_tests::machine::{Machine, Resource};
use mainstay_tests::world::{PATIENCE, World};

async fn world() -> World {
    let machine = Machine::new()
        .heartbeat_window("500ms")
        .resource(Resource::fake("left", "motor"));
    World::settled(machine).await
}

async fn moves(world: &World) -> bool {
    let answer = world.cli(&["call", "left", "is_moving", "--json"]).await;
    assert_eq!(answer.code, 0, "{answer:?}");
    answer.stdout.contains("true")
}

async fn until(world: &World, moving: bool) {
    let end = Instant::now() + PATIENCE;
    while moves(world).await != moving {
        assert!(Instant::now() < end, "still not {moving}");
    }
}

const POWER: &str = r#"{"power_pct": 0.5}"#;

#[tokio::test]
async fn a_motor_that_is_moved_for_a_time_stops_after_it() {
    let world = world().await;
    let begun = Instant::now();
    let moved = world.cli(&["call", "left", "set_power", POWER, "--for", "1s"]).await;
    assert_eq!(moved.code, 0, "{moved:?}");
    assert!(begun.elapsed() >= Duration::from_secs(1), "{moved:?}");
    assert!(moved.stderr.contains("then it is stopped"), "{moved:?}");
    assert!(!moves(&world).await);
    let reading = world.cli(&["call", "left", "is_moving", "--for", "1s"]).await;
    assert!(
        reading.code == 2 && reading.stderr.contains("moves nothing"),
        "{reading:?}"
    );
}

#[tokio::test]
async fn a_motor_stops_when_the_command_that_moves_it_is_killed_and_events_say_why() {
    let world = world().await;
    let mut command = world.place.command(&bins::mainstay());
    command.args(["call", "left", "set_power", POWER, "--for", "1h"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("it starts");
    until(&world, true).await;
    child.kill().expect("ours");
    child.wait().expect("ours");
    until(&world, false).await;
    for verb in ["events", "explain"] {
        let told = world.cli(&[verb, "left"]).await;
        assert!(
            told.code == 0 && told.stdout.contains("session: the command line fell silent"),
            "{told:?}"
        );
    }
}

#[tokio::test]
async fn a_script_comes_back_at_once_and_is_told_that_something_moves_on() {
    let world = world().await;
    let moved = world.cli(&["call", "left", "set_power", POWER]).await;
    assert_eq!((moved.code, moved.stdout.trim()), (0, "{}"), "{moved:?}");
    assert!(moved.stderr.contains("left moves on"), "{moved:?}");
    assert!(moves(&world).await);
    let stopped = world.cli(&["call", "left", "stop"]).await;
    assert_eq!((stopped.code, stopped.stderr.as_str()), (0, ""), "{stopped:?}");
}

#[tokio::test]
async fn the_environment_names_the_machine_and_another_folders_is_never_meant_in_silence() {
    let world = world().await;
    let call = |folder: std::path::PathBuf, machine: Option<String>| {
        let mut command = world.place.command(&bins::mainstay());
        command.args(["call", "left", "is_moving"]).current_dir(folder);
        if let Some(machine) = machine {
            command.env("MAINSTAY_MACHINE", machine);
        }
        mainstay_tests::world::finish(command)
    };
    let elsewhere = world.place.file("home");
    std::fs::create_dir_all(&elsewhere).expect("made");
    let config = world.config().to_str().expect("UTF-8").to_owned();
    let bare = call(elsewhere.clone(), None).await;
    assert!(bare.code == 0 && bare.stderr.contains(&config), "{bare:?}");
    for (folder, machine) in [
        (world.place.folder().to_owned(), None),
        (elsewhere.clone(), Some(config)),
        (elsewhere.clone(), Some(world.address().to_owned())),
    ] {
        let named = call(folder, machine).await;
        assert_eq!((named.code, named.stderr.as_str()), (0, ""), "{named:?}");
    }
    let wrong = call(elsewhere, Some("nobody.yaml".to_owned())).await;
    assert!(
        wrong.code == 3 && wrong.stderr.contains("MAINSTAY_MACHINE"),
        "{wrong:?}"
    );
}
