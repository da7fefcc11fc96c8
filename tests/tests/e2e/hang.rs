//! Modules that hang, and calls that never return.

use std::fs;
use std::time::{Duration, Instant};

use mainstay_proto::mainstay::control::v1::ModuleState;
use mainstay_tests::echo::{CountRequest, SayRequest};
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::proc;
use mainstay_tests::status::Snapshot;
use mainstay_tests::tracer::Tracer;
use mainstay_tests::world::World;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio_stream::StreamExt;
use tonic::Code;

use crate::data_path::say;
use crate::machine::command;

/// Health settings that end a hang within a test's patience.
fn quick() -> Value {
    json!({ "interval": "200ms", "timeout": "300ms", "kill_after": "1s" })
}

fn state(now: &Snapshot, module: &str) -> ModuleState {
    now.process(module)
        .map_or(ModuleState::Unspecified, |module| module.state())
}

fn restarts(now: &Snapshot, module: &str) -> u32 {
    now.process(module).map_or(0, |module| module.restarts)
}

/// Returns the core's last words about a module.
fn last(now: &Snapshot, module: &str) -> String {
    now.process(module)
        .map(|module| module.last.clone())
        .unwrap_or_default()
}

fn thermometer() -> Resource {
    Resource::new("thermometer", "rdk:component:sensor", "tests:python:thermometer")
}

#[tokio::test]
async fn a_frozen_module_is_unresponsive_within_ten_seconds_and_ready_when_it_thaws() {
    let machine = Machine::new()
        .module(Module::fixture("eyes"))
        .module(Module::python("warm", "thermometer.py"))
        .resource(Resource::probe("probe"))
        .resource(thermometer())
        .resource(Resource::fake("box", "generic"));
    let mut world = World::settled(machine).await;
    let before = world.snapshot().await;
    let pids = ["eyes", "warm"].map(|module| before.pid(module).expect("a process"));
    let begun = Instant::now();
    for pid in pids {
        proc::signal(pid, Signal::SIGSTOP);
    }
    let unresponsive = |now: &Snapshot| {
        ["eyes", "warm"]
            .iter()
            .all(|module| state(now, module) == ModuleState::Unresponsive)
    };
    let mut now = before;
    while !unresponsive(&now) {
        assert!(begun.elapsed() < Duration::from_secs(10), "unnoticed: {now:?}");
        command(&world, "box", json!({ "still": "there" }))
            .await
            .expect("others serve on");
        now = world.snapshot().await;
    }
    eprintln!(
        "figure: hang to noticed {:?} (interval 2 s, timeout 2 s)",
        begun.elapsed()
    );
    assert!(
        !now.module_ready("eyes") && last(&now, "eyes").contains("does not answer"),
        "{now:?}"
    );
    let thawed = Instant::now();
    for pid in pids {
        proc::signal(pid, Signal::SIGCONT);
    }
    let after = world
        .until(|now| now.module_ready("eyes") && now.module_ready("warm"))
        .await;
    eprintln!("figure: thawed to ready {:?}", thawed.elapsed());
    assert_eq!(
        ["eyes", "warm"].map(|module| after.pid(module).expect("a process")),
        pids
    );
    assert_eq!((restarts(&after, "eyes"), restarts(&after, "warm")), (0, 0));
    assert!(after.ready("probe") && after.ready("thermometer"), "{after:?}");
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_module_that_hangs_is_ended_after_its_evidence_is_written_and_comes_back() {
    let stop = json!({ "grace": "500ms" });
    let machine = Machine::new()
        .module(Module::fixture("eyes").set("health", quick()).set("stop", stop.clone()))
        .module(
            Module::python("warm", "thermometer.py")
                .set("health", quick())
                .set("stop", stop),
        )
        .resource(Resource::echo("echo"))
        .resource(thermometer());
    let mut world = World::settled(machine).await;
    let before = world.snapshot().await;
    let mut echo = world.echo();
    let waiting = SayRequest {
        delay_ms: 60_000,
        ..say("echo", "")
    };
    let begun = Instant::now();
    let freeze = async {
        world.until_report("echo", |report| report.running == 1).await;
        for module in ["eyes", "warm"] {
            proc::signal(before.pid(module).expect("a process"), Signal::SIGSTOP);
        }
    };
    let (waited, ()) = tokio::join!(echo.say(waiting), freeze);
    let status = waited.expect_err("its module was ended");
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    let back = |now: &Snapshot, module: &str, resource: &str| {
        restarts(now, module) == 1 && now.module_ready(module) && now.ready(resource)
    };
    let after = world
        .until(|now| back(now, "eyes", "echo") && back(now, "warm", "thermometer"))
        .await;
    eprintln!(
        "figure: hang to back {:?} (kill after 1 s, grace 500 ms)",
        begun.elapsed()
    );
    world.echo().say(say("echo", "again")).await.expect("it answers again");
    for module in ["eyes", "warm"] {
        assert!(last(&after, module).contains("hung"), "{}", last(&after, module));
        let folder = world.place.file(&format!("state/evidence/{module}-0001"));
        let read = |name: &str| fs::read_to_string(folder.join(name)).expect("the evidence is there");
        let threads = read("threads.txt");
        assert!(threads.contains("stopped") && threads.contains("thread "), "{threads}");
        assert!(read("files.txt").contains("socket:"), "{}", read("files.txt"));
        assert!(read("about.txt").contains(module));
    }
    let calls =
        fs::read_to_string(world.place.file("state/evidence/eyes-0001/calls.txt")).expect("the evidence is there");
    assert!(calls.contains("Say of tests:component:echo/echo for "), "{calls}");
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_module_in_a_debugger_is_never_ended_for_its_silence_and_is_watched_again_afterwards() {
    let module = |name: &str| {
        Module::family(name)
            .set("health", quick())
            .set("stop", json!({ "grace": "100ms" }))
            .set(
                "restart",
                json!({ "first": "0s", "then": "10ms", "factor": 1, "jitter": 0 }),
            )
    };
    let machine = Machine::new()
        .module(module("held"))
        .module(module("frozen"))
        .resource(Resource::of("held", "probe", "probe"))
        .resource(Resource::of("frozen", "probe", "other"));
    let mut world = World::settled(machine).await;
    let held = world.snapshot().await.pid("held").expect("a process");
    let tracer = Tracer::attach(held).unwrap_or_else(|error| panic!("cannot trace process {held}: {error}"));
    // The same silence without a debugger ends the other one, twice.
    for ended in 1..=2 {
        let frozen = world.snapshot().await.pid("frozen").expect("a process");
        proc::signal(frozen, Signal::SIGSTOP);
        world
            // While its resource is built, that call's own limit counts.
            .until(|now| restarts(now, "frozen") == ended && now.module_ready("frozen") && now.ready("other"))
            .await;
    }
    let now = world.snapshot().await;
    assert_eq!(state(&now, "held"), ModuleState::Unresponsive, "{now:?}");
    assert_eq!((now.pid("held"), restarts(&now, "held")), (Some(held), 0), "{now:?}");
    assert!(last(&now, "held").contains("traces it"), "{}", last(&now, "held"));

    drop(tracer);
    let now = world.until(|now| now.module_ready("held") && now.ready("probe")).await;
    assert_eq!((now.pid("held"), restarts(&now, "held")), (Some(held), 0), "{now:?}");
    proc::signal(held, Signal::SIGSTOP);
    let now = world
        .until(|now| restarts(now, "held") == 1 && now.module_ready("held"))
        .await;
    assert!(last(&now, "held").contains("hung"), "{}", last(&now, "held"));
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_python_constructor_that_blocks_its_module_is_no_hang() {
    let machine = Machine::new()
        .module(Module::python("warm", "thermometer.py").set("health", quick()))
        .resource(thermometer().attributes(json!({ "block": 6 })));
    let mut world = World::start(machine).await;
    let now = world
        .until(|now| {
            assert_ne!(state(now, "warm"), ModuleState::Unresponsive, "{now:?}");
            assert_eq!(restarts(now, "warm"), 0, "{now:?}");
            now.ready("thermometer")
        })
        .await;
    assert!(now.module_ready("warm"), "{now:?}");
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn calls_that_never_return_are_shown_and_streams_are_not() {
    let health = json!({ "interval": "200ms", "stuck_after": "400ms" });
    let machine = Machine::new()
        .module(Module::fixture("eyes").set("health", health))
        .resource(Resource::echo("echo"));
    let world = World::settled(machine).await;
    let waiting = || SayRequest {
        delay_ms: 60_000,
        ..say("echo", "")
    };
    let (mut one, mut other, mut counter) = (world.echo(), world.echo(), world.echo());
    let endless = CountRequest {
        name: "echo".into(),
        until: 0,
        pause_ms: 10,
    };
    let mut stream = counter.count(endless).await.expect("a stream").into_inner();
    stream.next().await.expect("endless").expect("a number");
    let look = async {
        let stuck = |now: &Snapshot| now.control.resources[0].stuck.clone();
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let now = world.snapshot().await;
            if let [only] = &stuck(&now)[..]
                && only.callers.len() == 2
            {
                assert_eq!((only.method.as_str(), only.calls), ("Say", 2));
                break;
            }
            assert!(Instant::now() < end, "not shown: {:?}", stuck(&now));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let text = world.cli(&["status"]).await.stdout;
        assert!(
            text.contains("stuck: Say for ") && text.contains(", 2 callers"),
            "{text}"
        );
        let detail = world.cli(&["status", "echo"]).await.stdout;
        assert!(detail.contains("2 calls by 127.0.0.1:"), "{detail}");
        let json = world.cli(&["status", "--json"]).await.stdout;
        let json: Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(json["resources"][0]["stuck"][0]["method"], "Say");
        assert_eq!(
            json["resources"][0]["stuck"].as_array().map(Vec::len),
            Some(1),
            "the stream is none"
        );
    };
    tokio::select! {
        () = look => {}
        ended = one.say(waiting()) => panic!("it was to last: {ended:?}"),
        ended = other.say(waiting()) => panic!("it was to last: {ended:?}"),
    }
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_call_that_never_returns_restarts_its_module_where_that_is_asked_for() {
    let health = json!({ "interval": "200ms", "stuck_after": "400ms", "on_stuck_call": "restart" });
    let machine = Machine::new()
        .module(Module::fixture("eyes").set("health", health))
        .resource(Resource::echo("echo"));
    let mut world = World::settled(machine).await;
    let waiting = SayRequest {
        delay_ms: 60_000,
        ..say("echo", "")
    };
    let status = world.echo().say(waiting).await.expect_err("its module was ended");
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    let now = world.until(|now| restarts(now, "eyes") == 1 && now.ready("echo")).await;
    assert!(
        last(&now, "eyes").contains("has not returned for"),
        "{}",
        last(&now, "eyes")
    );
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn what_is_stuck_while_it_is_built_delays_only_what_depends_on_it() {
    let machine = Machine::new()
        .module(Module::faulty("mute", "hang-ready"))
        .module(Module::fixture("eyes"))
        .resource(Resource::probe("stuck").attributes(json!({ "fault": "hang-build" })))
        .resource(Resource::probe("after").depends_on(&["stuck"]))
        .resource(Resource::probe("free"))
        .resource(Resource::fake("box", "generic"));
    let mut world = World::start(machine).await;
    let now = world.until(|now| now.ready("free") && now.ready("box")).await;
    assert!(!now.ready("stuck") && !now.ready("after"), "{now:?}");
    assert_eq!(state(&now, "mute"), ModuleState::Starting, "{now:?}");
    world.shutdown().await.with_code(0).left_nothing_behind();
}
