//! Tests of `logs`, `events` and `explain`; and that readers, also slow ones, harm nobody.

use std::fs::{self, File};
use std::io::Read as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use mainstay_proto::viam::common::v1::LogEntry;
use mainstay_proto::viam::robot::v1::{LogRequest, LogResponse};
use mainstay_tests::bins;
use mainstay_tests::echo::SayRequest;
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::proc::{self, eventually};
use mainstay_tests::status::Snapshot;
use mainstay_tests::world::{PATIENCE, Place, World};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::data_path::say;
use crate::machine::command;

/// Lines of JSON that a verb printed.
async fn lines(world: &World, arguments: &[&str]) -> Vec<Value> {
    let finished = world.cli(arguments).await;
    assert_eq!(finished.code, 0, "{finished:?}");
    let lines = finished.stdout.lines();
    lines.map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

async fn printed(world: &World, module: &str) -> Vec<String> {
    let lines = lines(world, &["logs", module, "--json"]).await;
    lines
        .iter()
        .map(|line| line["text"].as_str().expect("a text").to_owned())
        .collect()
}

async fn until_printed(world: &World, module: &str, wanted: &str) -> Vec<String> {
    let end = Instant::now() + PATIENCE;
    loop {
        let lines = printed(world, module).await;
        if lines.iter().any(|line| line == wanted) {
            return lines;
        }
        assert!(Instant::now() < end, "`{wanted}` is not among {lines:#?}");
    }
}

/// A process after `pid` is ready.
fn back(now: &Snapshot, pid: i32) -> bool {
    now.module_ready("eyes") && now.pid("eyes").is_some_and(|new| new != pid)
}

#[tokio::test]
async fn a_crash_is_explained_with_its_signal_its_last_words_the_calls_and_what_was_rebuilt() {
    let machine = Machine::new()
        .module(Module::fixture("eyes"))
        .resource(Resource::echo("echo"))
        .resource(Resource::generic("box"))
        .resource(Resource::fake("holder", "generic").depends_on(&["echo"]));
    let mut world = World::settled(machine).await;
    let settled = world.until(|now| now.ready("holder")).await;
    let pid = settled.pid("eyes").expect("a process");
    command(
        &world,
        "box",
        json!({ "complain": "ERROR:lidar:realloc(): invalid next size" }),
    )
    .await
    .expect("answers");
    until_printed(&world, "eyes", "ERROR:lidar:realloc(): invalid next size").await;
    let waiting = SayRequest {
        delay_ms: 60_000,
        ..say("echo", "")
    };
    let mut echo = world.echo();
    let (waited, died) = tokio::join!(echo.say(waiting), async {
        world.until_report("echo", |report| report.running == 1).await;
        command(&world, "box", json!({ "segfault": true })).await
    });
    assert!(waited.is_err() && died.is_err());
    world
        .until(|now| back(now, pid) && now.ready("echo") && now.ready("box") && now.ready("holder"))
        .await;

    let explained = lines(&world, &["explain", "eyes", "--json"]).await.remove(0);
    let ends = explained["ends"].as_array().expect("a list");
    assert_eq!((ends.len(), &explained["state"]), (1, &json!("ready")), "{explained:#}");
    let end = &ends[0];
    assert_eq!(
        (&end["cause"], &end["signal"]),
        (&json!("killed by SIGSEGV"), &json!("SIGSEGV")),
        "{end:#}"
    );
    assert_eq!(
        (&end["asked"], &end["was_ready"]),
        (&json!(false), &json!(true)),
        "{end:#}"
    );
    let last = end["last_output"].as_array().expect("a list").last();
    assert_eq!(
        last,
        Some(&json!("ERROR:lidar:realloc(): invalid next size")),
        "{end:#}"
    );
    let calls = end["in_flight"].as_array().expect("a list");
    assert_eq!(calls.len(), 2, "{end:#}");
    let of = |method: &str| {
        calls
            .iter()
            .find(|call| call["method"] == method)
            .expect("it was under way")
    };
    assert_eq!(of("Say")["resource"], "tests:component:echo/echo");
    assert!(
        of("Say")["caller"]
            .as_str()
            .is_some_and(|caller| caller.starts_with("127.0.0.1:")),
        "{end:#}"
    );
    assert!(end["ready_after_s"].as_f64().is_some(), "{end:#}");
    let rebuilt = end["rebuilt"].as_array().expect("a list");
    assert_eq!(rebuilt.len(), 3, "{end:#}");
    let place = |name: &str| rebuilt.iter().position(|one| one["name"] == name).expect("rebuilt");
    // The box is built beside them, at any time.
    let (echo, holder) = (
        place("tests:component:echo/echo"),
        place("rdk:component:generic/holder"),
    );
    assert!(echo < holder, "{end:#}");
    assert_eq!(rebuilt[holder]["because"], "tests:component:echo/echo", "{end:#}");

    let text = world.cli(&["explain", "eyes"]).await.stdout;
    for part in [
        "killed by SIGSEGV after ",
        "in flight: Say on echo, ",
        "| ERROR:lidar:realloc(): invalid next size",
        // At once, or on a busy host a moment later.
        "restarted a",
        " → ready in ",
        ", then holder (holds echo)",
    ] {
        assert!(text.contains(part), "`{part}` is missing in:\n{text}");
    }
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn logs_outlive_the_process_that_wrote_them_and_can_be_followed() {
    let machine = Machine::new()
        .module(Module::fixture("eyes"))
        .resource(Resource::generic("box"));
    let mut world = World::settled(machine).await;
    command(&world, "box", json!({ "print": "first life" }))
        .await
        .expect("answers");
    until_printed(&world, "eyes", "first life").await;
    let before = world.snapshot().await.pid("eyes").expect("a process");
    proc::signal(before, Signal::SIGKILL);
    world.until(|now| back(now, before) && now.ready("box")).await;

    let mut follower = world.place.command(&bins::mainstay());
    let out = File::create(world.place.file("follow.log")).expect("a file");
    follower
        .args(["logs", "eyes", "-f", "-n", "1000"])
        .stdin(Stdio::null())
        .stdout(out);
    #[expect(clippy::disallowed_methods, reason = "it is killed when dropped")]
    let mut follower = tokio::process::Command::from(follower)
        .kill_on_drop(true)
        .spawn()
        .expect("it runs");
    let followed = || fs::read_to_string(world.place.file("follow.log")).unwrap_or_default();
    assert!(
        eventually(PATIENCE, || followed().contains("first life")).await,
        "{}",
        followed()
    );
    command(&world, "box", json!({ "complain": "[warning] second life" }))
        .await
        .expect("answers");
    assert!(
        eventually(PATIENCE, || followed().contains("WARN  stderr [warning] second life")).await,
        "{}",
        followed()
    );
    assert!(followed().contains("ERROR core   killed by SIGKILL"), "{}", followed());
    follower.kill().await.expect("it runs");

    let last = lines(&world, &["logs", "eyes", "-n", "1", "--json"]).await;
    assert_eq!(
        (last.len(), &last[0]["level"], &last[0]["stream"]),
        (1, &json!("warn"), &json!("stderr"))
    );
    let unknown = world.cli(&["logs", "eye"]).await;
    assert_eq!(unknown.code, 1);
    assert!(unknown.stderr.contains("did you mean `eyes`?"), "{unknown:?}");
}

#[tokio::test]
async fn events_tell_what_happened_to_a_module_and_its_resources_in_order() {
    let machine = Machine::new()
        .module(Module::fixture("eyes"))
        .resource(Resource::generic("box"));
    let mut world = World::settled(machine).await;
    let pid = world.snapshot().await.pid("eyes").expect("a process");
    proc::signal(pid, Signal::SIGKILL);
    // One after the other: the two services are asked in turn, and the first may still tell of the time before.
    world.until(|now| back(now, pid)).await;
    world.until(|now| now.ready("box")).await;
    let events = lines(&world, &["events", "--json"]).await;
    let numbers: Vec<_> = events
        .iter()
        .map(|event| event["number"].as_u64().expect("a number"))
        .collect();
    assert_eq!(numbers, (0..events.len() as u64).collect::<Vec<_>>());
    let mut rest = events.iter();
    for (about, name, state, cause) in [
        ("module", "eyes", "starting", ""),
        ("module", "eyes", "ready", ""),
        ("resource", "rdk:component:generic/box", "ready", ""),
        ("module", "eyes", "back-off", "killed by SIGKILL"),
        (
            "resource",
            "rdk:component:generic/box",
            "unhealthy",
            "killed by SIGKILL",
        ),
        ("module", "eyes", "ready", ""),
        ("resource", "rdk:component:generic/box", "ready", ""),
    ] {
        let found = rest.any(|event| {
            let told = event["cause"].as_str().unwrap_or_default();
            event["about"] == about && event["name"] == name && event["state"] == state && told.contains(cause)
        });
        assert!(found, "{about} {name} {state} {cause:?} does not follow in {events:#?}");
    }
    let own = world.cli(&["events", "box"]).await.stdout;
    assert!(
        own.lines().all(|line| line.contains("box")) && own.contains("ready"),
        "{own}"
    );
}

#[tokio::test]
async fn a_module_that_floods_stdout_is_not_held_up_and_does_not_grow_the_core() {
    const LINES: u32 = 400_000;
    let machine = Machine::new()
        .module(Module::fixture("loud"))
        .resource(Resource::generic("box"))
        .resource(Resource::fake("motor", "motor"));
    let world = World::settled(machine).await;
    let memory = async || world.snapshot().await.control.rss_bytes.expect("Linux tells");
    // Whatever is made once is made by the first.
    command(&world, "box", json!({ "flood": LINES / 10 }))
        .await
        .expect("answers");
    let before = memory().await;
    let answer = command(&world, "box", json!({ "flood": LINES }))
        .await
        .expect("answers");
    let after = memory().await;
    let took = Duration::from_secs_f64(answer["ms"].as_f64().expect("a number") / 1000.0);
    println!("{LINES} lines in {took:?}; core {before} → {after} bytes");
    assert!(took < Duration::from_secs(20), "the module was held up: {took:?}");
    assert!(
        after < before + (4 << 20),
        "the core grew from {before} to {after} bytes"
    );
    let last = format!("flood {}", LINES - 1);
    let kept = until_printed(&world, "loud", &last).await;
    assert!(kept.len() <= 1000, "{}", kept.len());
    assert!(kept.iter().any(|line| line.contains("lines suppressed")), "{kept:#?}");
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn binary_output_is_shown_and_a_closed_stdout_ends_nothing() {
    let machine = Machine::new()
        .module(Module::fixture("eyes"))
        .resource(Resource::generic("box"));
    let world = World::settled(machine).await;
    let pid = world.snapshot().await.pid("eyes");
    command(&world, "box", json!({ "garble": true }))
        .await
        .expect("answers");
    command(&world, "box", json!({ "close_stdout": true }))
        .await
        .expect("answers");
    command(&world, "box", json!({ "complain": "still here" }))
        .await
        .expect("answers");
    let kept = until_printed(&world, "eyes", "still here").await;
    assert!(kept.iter().any(|line| line.contains("\\xff\\xfe")), "{kept:#?}");
    assert_eq!(world.snapshot().await.pid("eyes"), pid, "it was restarted");
    world.shutdown().await.with_code(0).left_nothing_behind();
}

/// Runs a machine whose stderr and stdout lead to `output`, makes it log a lot, and sees that it answers and ends well.
async fn lives_with(place: Place, output: impl Fn() -> Stdio) {
    let machine = Machine::new()
        .module(Module::fixture("eyes"))
        .resource(Resource::generic("box"));
    let config = place.write("machine.json", &machine.json().to_string());
    let mut server = place.command(&bins::mainstay());
    server
        .arg("run")
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(output())
        .stderr(output());
    #[expect(clippy::disallowed_methods, reason = "it is killed when dropped")]
    let mut server = tokio::process::Command::from(server)
        .kill_on_drop(true)
        .spawn()
        .expect("it starts");
    let end = Instant::now() + PATIENCE;
    while !place
        .mainstay(&["status", "--json"])
        .await
        .stdout
        .contains(r#""state":"running""#)
    {
        assert!(Instant::now() < end, "it never came up");
    }
    for _ in 0..3 {
        let call = place
            .mainstay(&["call", "box", "do_command", r#"{"command": {"flood": 20000}}"#])
            .await;
        assert_eq!(call.code, 0, "{call:?}");
    }
    let begun = Instant::now();
    assert_eq!(place.mainstay(&["status"]).await.code, 0);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    proc::signal(
        i32::try_from(server.id().expect("it runs")).expect("small"),
        Signal::SIGTERM,
    );
    let status = tokio::time::timeout(PATIENCE, server.wait())
        .await
        .expect("it ends")
        .expect("a status");
    assert_eq!(status.code(), Some(0), "{status:?}");
    assert!(
        eventually(PATIENCE, || place.processes().is_empty()).await,
        "{:?}",
        place.processes()
    );
}

#[tokio::test]
async fn a_log_whose_reader_sleeps_or_is_gone_or_whose_disk_is_full_stops_no_machine() {
    let (sleeper, stalled) = std::io::pipe().expect("a pipe");
    lives_with(Place::new(), || stalled.try_clone().expect("a pipe").into()).await;
    drop(stalled);
    let (reader, closed) = std::io::pipe().expect("a pipe");
    drop(reader);
    lives_with(Place::new(), || closed.try_clone().expect("a pipe").into()).await;
    let full = || File::options().write(true).open("/dev/full").expect("Linux has one");
    lives_with(Place::new(), || full().into()).await;
    // The sleeper wakes up and finds what was written before it was too much.
    let mut text = String::new();
    let mut sleeper = sleeper;
    sleeper.read_to_string(&mut text).expect("text");
    assert!(text.contains("mainstay 0.") || text.contains("serving on"), "{text}");
}

/// `count` times the same entry, as its SDK sends what a module logs.
async fn log(world: &World, message: &str, count: usize) {
    let entry = LogEntry {
        level: "warning".into(),
        logger_name: "lidar".into(),
        message: message.into(),
        ..LogEntry::default()
    };
    let request = LogRequest {
        logs: vec![entry; count],
    };
    let _: LogResponse = world
        .from_module("echo", "/viam.robot.v1.RobotService/Log", &request)
        .await
        .expect("taken");
}

#[tokio::test]
async fn what_is_said_again_and_again_is_counted_in_the_log_and_kept_for_who_asks() {
    let machine = Machine::new()
        .module(Module::fixture("eyes"))
        .resource(Resource::echo("echo"));
    let mut world = World::settled(machine.clone()).await;
    world.until(|now| now.ready("echo")).await;
    let written = |world: &World, message: &str| {
        let output = world.output();
        let lines = output.lines();
        lines
            .filter(|line| line.contains(message) && !line.contains("Message logged"))
            .count()
    };
    log(&world, "the lens is dirty", 10).await;
    // One thread writes the log, so all that came before this is written when this is.
    log(&world, "the lens is clean", 1).await;
    world.until_printed("the lens is clean").await;
    assert_eq!(written(&world, "the lens is dirty"), 3);
    let kept = until_printed(&world, "eyes", "lidar: the lens is clean").await;
    let dirty = kept.iter().filter(|line| *line == "lidar: the lens is dirty");
    assert_eq!(dirty.count(), 10, "{kept:#?}");

    // Live, and nothing is built anew for it.
    let pid = world.snapshot().await.pid("eyes");
    world.rewrite(&machine.set("disable_log_deduplication", json!(true)));
    world.until_printed("applying ").await;
    log(&world, "the lens is dusty", 10).await;
    log(&world, "the lens is gone", 1).await;
    world.until_printed("the lens is gone").await;
    assert_eq!(written(&world, "the lens is dusty"), 10);
    assert_eq!(world.snapshot().await.pid("eyes"), pid);

    world.stop_core().await;
    let output = world.output();
    let told = output
        .lines()
        .find(|line| line.contains("Message logged"))
        .unwrap_or_else(|| panic!("the count is told at the end: {output}"));
    assert!(
        told.contains("WARN  [eyes] Message logged 10 times in past ") && told.contains(": the lens is dirty"),
        "{told}"
    );
}

#[tokio::test]
async fn log_patterns_count_at_once_and_no_module_is_started_again() {
    let job = json!({ "name": "look", "schedule": "50ms", "resource": "echo", "method": "DoCommand", "command": {} });
    let machine = Machine::new()
        .module(Module::fixture("eyes"))
        .resource(Resource::echo("echo"))
        .set("jobs", json!([job]));
    let mut world = World::settled(machine.clone()).await;
    let pid = world.until(|now| now.ready("echo")).await.pid("eyes");
    let debug = |world: &World| {
        let output = world.output();
        output.lines().filter(|line| line.contains(" DEBUG ")).count()
    };
    assert_eq!(debug(&world), 0, "{}", world.output());
    // The later of two that match counts.
    let rules =
        json!([{ "pattern": "rdk.*", "level": "error" }, { "pattern": "rdk.job_manager.l*", "level": "debug" }]);
    world.rewrite(&machine.clone().set("log", rules));
    world.until_printed(" DEBUG ").await;
    let shown = world.output();
    assert!(
        shown
            .lines()
            .filter(|line| line.contains(" DEBUG "))
            .all(|line| line.contains("done") && line.contains("look")),
        "{shown}"
    );
    // Those of nobody else are told any more: not even that a job's neighbour warns.
    log(&world, "the lens is dirty", 1).await;
    world.rewrite(&machine);
    world.until_printed("the change is applied").await;
    let applied = |world: &World| world.output().matches("the change is applied").count();
    let end = Instant::now() + PATIENCE;
    while applied(&world) < 2 {
        assert!(Instant::now() < end, "{}", world.output());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let before = debug(&world);
    log(&world, "the lens is clean", 1).await;
    world.until_printed("the lens is clean").await;
    assert!(debug(&world) <= before + 1, "{}", world.output());
    assert_eq!(world.snapshot().await.pid("eyes"), pid);
}
