//! Somebody's module blocks: a Python handler that waits for its device in the event loop, or a process that stands still.

use std::fs;
use std::time::{Duration, Instant};

use mainstay_proto::mainstay::control::v1::ModuleState;
use mainstay_proto::viam::common::v1::{DoCommandRequest, DoCommandResponse, GetReadingsRequest, GetReadingsResponse};
use mainstay_tests::echo::{SayRequest, StopRequest};
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::status::Snapshot;
use mainstay_tests::world::{PATIENCE, World};
use mainstay_tests::{proc, rpc};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tonic::{Code, Status};

use crate::data_path::say;

const COMMAND: &str = "/viam.component.sensor.v1.SensorService/DoCommand";
const READINGS: &str = "/viam.component.sensor.v1.SensorService/GetReadings";

/// A Python sensor, and one of ours that holds it; both are told to be silent after a moment, and ended after some more.
fn machine(kill_after: &str) -> Machine {
    let health = json!({ "interval": "300ms", "timeout": "500ms", "kill_after": kill_after });
    let stop = json!({ "grace": "1s" });
    Machine::new()
        .module(
            Module::python("warm", "thermometer.py")
                .set("health", health.clone())
                .set("stop", stop.clone()),
        )
        .module(Module::fixture("eyes").set("health", health).set("stop", stop))
        .resource(Resource::new(
            "thermometer",
            "rdk:component:sensor",
            "tests:python:thermometer",
        ))
        .resource(Resource::probe("probe").depends_on(&["thermometer"]))
        .resource(Resource::echo("echo"))
}

async fn command(world: &World, command: Value) -> Result<DoCommandResponse, Status> {
    let request = DoCommandRequest {
        name: "thermometer".into(),
        command: Some(rpc::to_struct(&command)),
    };
    world.call(COMMAND, &request).await
}

async fn read(world: &World, name: &str) -> Result<GetReadingsResponse, Status> {
    let request = GetReadingsRequest {
        name: name.into(),
        extra: None,
    };
    world.call(READINGS, &request).await
}

/// Makes a call that runs on its own.
fn in_background(world: &World, value: Value) -> JoinSet<Result<DoCommandResponse, Status>> {
    let channel = world.channel();
    let mut call = JoinSet::new();
    call.spawn(async move {
        let request = DoCommandRequest {
            name: "thermometer".into(),
            command: Some(rpc::to_struct(&value)),
        };
        rpc::call(channel, COMMAND, &request).await
    });
    call
}

/// Outcome of such a call.
async fn outcome<T: 'static>(mut call: JoinSet<T>) -> T {
    call.join_next().await.expect("one call").expect("no panic")
}

fn state(now: &Snapshot, module: &str) -> ModuleState {
    now.process(module)
        .map_or(ModuleState::Unspecified, |module| module.state())
}

fn restarts(now: &Snapshot, module: &str) -> u32 {
    now.process(module).map_or(0, |module| module.restarts)
}

fn assert_unresponsive<T: std::fmt::Debug>(answer: Result<T, Status>, module: &str) {
    let status = answer.expect_err("nobody answers");
    let text = format!("module {module} does not answer");
    assert!(
        status.code() == Code::Unavailable && status.message().contains(&text),
        "{status:?}"
    );
}

/// States of a module, each once, from now until it was restarted.
async fn states_until_restarted(world: &mut World, module: &str) -> Vec<ModuleState> {
    let (mut seen, end) = (Vec::new(), Instant::now() + PATIENCE);
    loop {
        let now = world.snapshot().await;
        if restarts(&now, module) > 0 {
            return seen;
        }
        let state = state(&now, module);
        if seen.last() != Some(&state) {
            seen.push(state);
        }
        assert!(Instant::now() < end, "never restarted: {seen:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_python_handler_that_sleeps_is_seen_by_callers_ended_and_found_in_the_evidence() {
    let mut world = World::settled(machine("8s")).await;
    let sleeps = in_background(&world, json!({ "block": 600 }));
    world.until(|now| state(now, "warm") == ModuleState::Unresponsive).await;
    let unresponsive = Instant::now();
    // Also the one that is at fault, which has waited from the first moment on.
    assert_unresponsive(outcome(sleeps).await, "warm");
    assert_unresponsive(read(&world, "thermometer").await, "warm");
    let now = world.snapshot().await;
    assert!(now.unhealthy("thermometer"), "{now:?}");
    let error = now.resource_error("thermometer");
    assert!(error.contains("module warm does not answer"), "{error}");
    assert_eq!(
        (restarts(&now, "warm"), state(&now, "warm")),
        (0, ModuleState::Unresponsive)
    );
    assert!(unresponsive.elapsed() < Duration::from_secs(6), "heard at the end only");
    assert!(now.ready("probe") && now.ready("echo"), "{now:?}");
    let text = world.cli(&["status"]).await.stdout;
    assert!(
        text.contains("unresponsive") && text.contains("does not answer"),
        "{text}"
    );

    let seen = states_until_restarted(&mut world, "warm").await;
    assert!(
        seen.contains(&ModuleState::Stopping) && !seen.contains(&ModuleState::BackOff),
        "{seen:?}"
    );
    let now = world.until(|now| now.ready("thermometer") && now.ready("probe")).await;
    assert_eq!(restarts(&now, "eyes"), 0);
    read(&world, "thermometer").await.expect("it is back");
    let evidence = |name: &str| {
        let file = world.place.file("state/evidence/warm-0001").join(name);
        fs::read_to_string(file).expect("the evidence is there")
    };
    // What was in flight when it fell silent is not forgotten because its caller waits no more.
    let calls = evidence("calls.txt");
    assert!(
        calls.contains("DoCommand of rdk:component:sensor/thermometer for "),
        "{calls}"
    );
    let text = world.cli(&["explain", "warm"]).await.stdout;
    assert!(text.contains("DoCommand"), "{text}");
    let stacks = evidence("stacks.txt");
    assert!(
        stacks.contains("thermometer.py\", line ") && stacks.contains(" in do_command"),
        "{stacks}"
    );
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn who_stands_still_for_a_while_is_back_as_it_was_and_what_stops_waits_for_it() {
    let mut world = World::settled(machine("60s")).await;
    let before = world.snapshot().await;
    let pids = ["warm", "eyes"].map(|module| before.pid(module).expect("a process"));
    let waits = in_background(&world, json!({ "sleep": 600 }));
    let mut echo = world.echo();
    let slow = SayRequest {
        delay_ms: 600_000,
        ..say("echo", "")
    };
    let mut says = JoinSet::new();
    says.spawn(async move { echo.say(slow).await });
    world.until_report("echo", |report| report.running == 1).await;
    for pid in pids {
        proc::signal(pid, Signal::SIGSTOP);
    }
    world
        .until(|now| now.unhealthy("thermometer") && now.unhealthy("probe") && now.unhealthy("echo"))
        .await;
    assert_unresponsive(outcome(waits).await, "warm");
    assert_unresponsive(outcome(says).await, "eyes");
    assert_unresponsive(read(&world, "thermometer").await, "warm");
    assert_unresponsive(read(&world, "probe").await, "eyes");
    assert_unresponsive(command(&world, json!({})).await, "warm");
    let mut stopper = world.echo();
    let stop = StopRequest {
        name: "echo".into(),
        ..StopRequest::default()
    };
    let mut stops = JoinSet::new();
    stops.spawn(async move { stopper.stop(stop).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(
        stops.try_join_next().is_none(),
        "it is to reach the module when that is back"
    );
    for pid in pids {
        proc::signal(pid, Signal::SIGCONT);
    }
    outcome(stops).await.expect("stopped");
    let after = world
        .until(|now| now.ready("thermometer") && now.ready("probe") && now.ready("echo"))
        .await;
    assert_eq!(
        ["warm", "eyes"].map(|module| after.pid(module).expect("a process")),
        pids
    );
    // The call that was given up ended there, too.
    world.until_report("echo", |report| report.running == 0).await;
    read(&world, "thermometer").await.expect("it answers again");
    read(&world, "probe").await.expect("it answers again");
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_process_that_stands_still_for_good_is_stopping_while_it_is_ended_and_says_what_is_missing() {
    let mut world = World::settled(machine("2s")).await;
    let before = world.snapshot().await;
    for module in ["warm", "eyes"] {
        proc::signal(before.pid(module).expect("a process"), Signal::SIGSTOP);
    }
    let seen = states_until_restarted(&mut world, "eyes").await;
    assert!(
        seen.contains(&ModuleState::Unresponsive)
            && seen.contains(&ModuleState::Stopping)
            && !seen.contains(&ModuleState::BackOff),
        "{seen:?}"
    );
    world
        .until(|now| restarts(now, "warm") == 1 && now.ready("thermometer") && now.ready("probe"))
        .await;
    let stacks = |module: &str| {
        let path = world.place.file(&format!("state/evidence/{module}-0001/stacks.txt"));
        fs::read_to_string(path).expect("the evidence is there")
    };
    // Woken up for that, it waits for work in its event loop.
    assert!(stacks("warm").contains("run_forever"), "{}", stacks("warm"));
    assert!(stacks("eyes").contains("faulthandler.enable()"), "{}", stacks("eyes"));
    world.shutdown().await.with_code(0).left_nothing_behind();
}
