//! Tests of the death of a module.

use std::fs;
use std::time::{Duration, Instant};

use mainstay_proto::mainstay::control::v1::{ModuleState, ResourceState};
use mainstay_proto::viam::common::v1::{GetReadingsRequest, GetReadingsResponse};
use mainstay_proto::viam::robot::v1::restart_module_request::IdOrName;
use mainstay_proto::viam::robot::v1::{RestartModuleRequest, RestartModuleResponse};
use mainstay_tests::echo::{CountRequest, SayRequest};
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::proc::eventually;
use mainstay_tests::status::Snapshot;
use mainstay_tests::world::{PATIENCE, Place, World};
use mainstay_tests::{proc, rpc};
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::task::JoinSet;
use tokio_stream::StreamExt;
use tonic::{Code, Status};

use crate::burst::BURST;
use crate::data_path::say;
use crate::machine::command;

pub const RESTART: &str = "/viam.robot.v1.RobotService/RestartModule";

pub async fn readings(world: &World, name: &str) -> Result<GetReadingsResponse, Status> {
    let request = GetReadingsRequest {
        name: name.into(),
        extra: None,
    };
    world
        .call("/viam.component.sensor.v1.SensorService/GetReadings", &request)
        .await
}

pub fn by_name(name: &str) -> RestartModuleRequest {
    RestartModuleRequest {
        id_or_name: Some(IdOrName::ModuleName(name.into())),
    }
}

/// Kills a module's process, and the next ones, too: a burst of retries comes at once, so only then it waits for a while.
pub async fn kill_into_back_off(world: &mut World, module: &str) -> Snapshot {
    for _ in 0..=BURST {
        let now = world.until(|now| now.module_ready(module)).await;
        let pid = now.pid(module).expect("a process");
        proc::signal(pid, Signal::SIGKILL);
        let gone = |now: &Snapshot| now.pid(module) != Some(pid);
        world.until(gone).await;
    }
    let waits = |now: &Snapshot| now.process(module).is_some_and(|it| it.state() == ModuleState::BackOff);
    world.until(waits).await
}

#[tokio::test]
async fn a_killed_module_is_told_at_once_and_comes_back_by_itself() {
    let machine = Machine::new()
        .module(Module::fixture("eyes"))
        .resource(Resource::probe("probe"))
        .resource(Resource::fake("motor", "motor"));
    let mut world = World::settled(machine).await;
    let before = world.snapshot().await;
    let pid = before.pid("eyes").expect("a process");
    let bystander = before.pid("builtin:fake").expect("a process");

    let down = kill_into_back_off(&mut world, "eyes").await;
    let cause = down.module_error("eyes").to_owned();
    assert!(
        cause.contains("module has unexpectedly exited; module: eyes, exit_code: -1 (killed by SIGKILL)")
            && cause.contains("next try at 20"),
        "{cause}"
    );
    assert!(down.ready("motor"), "{down:?}");
    assert!(
        down.process("eyes").is_some_and(|module| module.next_try_at.is_some()),
        "{down:?}"
    );
    let begun = Instant::now();
    let status = readings(&world, "probe").await.expect_err("its module is gone");
    assert!(begun.elapsed() < Duration::from_millis(300), "the caller waited");
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(status.message().contains(&cause), "{status:?} should say {cause}");
    let down = world.until(|now| !now.ready("probe")).await;
    assert!(down.unhealthy("probe"), "{down:?}");
    assert_eq!(down.resource_error("probe"), cause);

    let up = world.until(|now| now.ready("probe") && now.module_ready("eyes")).await;
    assert_ne!(up.pid("eyes"), Some(pid));
    assert_eq!(
        up.pid("builtin:fake"),
        Some(bystander),
        "a module that has nothing to do with it was restarted"
    );
    assert_eq!(up.process("eyes").map(|module| module.restarts), Some(BURST + 1));
    readings(&world, "probe").await.expect("it answers again");
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn calls_in_flight_end_when_the_module_dies() {
    let machine = Machine::new()
        .module(Module::fixture("eyes"))
        .resource(Resource::echo("echo"))
        .resource(Resource::generic("box"));
    let mut world = World::settled(machine).await;
    let mut echo = world.echo();
    let mut stream = echo
        .count(CountRequest {
            name: "echo".into(),
            until: 0,
            pause_ms: 10,
        })
        .await
        .expect("a stream")
        .into_inner();
    stream.next().await.expect("endless").expect("a number");
    let waiting = SayRequest {
        delay_ms: 60_000,
        ..say("echo", "")
    };
    let mut other = world.echo();
    let (waited, killed) = tokio::join!(other.say(waiting), async {
        world.until_report("echo", |report| report.running == 2).await;
        command(&world, "box", json!({ "exit": 7 })).await
    });
    let mut ended = None;
    while let Some(item) = stream.next().await {
        ended = item.err().or(ended);
    }
    for status in [
        waited.expect_err("its module is gone"),
        killed.expect_err("its module is gone"),
        ended.expect("an error"),
    ] {
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        let words = "not available; reason=module has unexpectedly exited; module: eyes, exit_code: 7 (exit code 7)";
        assert!(status.message().contains(words), "{status:?}");
    }
    let now = world.until(|now| now.ready("echo") && now.ready("box")).await;
    assert!(
        now.process("eyes").is_some_and(|module| module.restarts == 1),
        "{now:?}"
    );
}

#[tokio::test]
async fn dependents_in_other_modules_are_rebuilt_with_what_they_hold() {
    let place = Place::new();
    let journal = place.file("journal");
    let path = journal.to_str().expect("a path in UTF-8").to_owned();
    let python_free = |name: &str| Module::fixture(name).env("JOURNAL", &path);
    // Two copies of the fixture offer the same models; each resource of this test needs a certain one, so the lower one
    // is a built-in.
    let machine = Machine::new()
        .module(python_free("upper"))
        .resource(Resource::probe("roof").depends_on(&["floor"]))
        .resource(Resource::fake("floor", "generic"));
    let mut world = place.start(machine).await;
    let before = world.until(|now| now.running() && now.ready("roof")).await;
    let upper = before.pid("upper").expect("a process");
    let rebuilt = |times: usize| {
        let text = fs::read_to_string(&journal).expect("the fixture wrote a journal");
        text.matches("added roof").count() > times
    };
    // A burst of retries comes at once. Another death while roof is out of its module for the one before would show
    // something else, so it is back before.
    let mut last = before.pid("builtin:fake").expect("a process");
    for times in 1..=BURST as usize {
        proc::signal(last, Signal::SIGKILL);
        assert!(eventually(PATIENCE, || rebuilt(times)).await, "roof was not rebuilt");
        let again = world
            .until(|now| now.ready("floor") && now.ready("roof") && now.pid("builtin:fake") != Some(last))
            .await;
        last = again.pid("builtin:fake").expect("a process");
    }
    proc::signal(last, Signal::SIGKILL);
    let down = world.until(|now| !now.ready("floor") && !now.ready("roof")).await;
    let roof = down.shown("roof").expect("configured");
    assert_eq!(roof.state(), ResourceState::Configuring, "{roof:?}");
    let waits = "waiting for floor (component:generic): module has unexpectedly exited";
    assert!(roof.error.contains(waits), "{roof:?}");
    readings(&world, "roof").await.expect("it keeps answering");
    let once_more = BURST as usize + 1;
    assert!(
        eventually(PATIENCE, || rebuilt(once_more)).await,
        "roof was not rebuilt"
    );
    let after = world.until(|now| now.ready("floor") && now.ready("roof")).await;
    assert_eq!(after.pid("upper"), Some(upper), "its own process did not die");
    let text = fs::read_to_string(&journal).expect("the fixture wrote a journal");
    assert_eq!(text.matches("remove roof").count(), once_more, "{text}");
}

#[tokio::test]
async fn restart_module_starts_it_at_any_time_and_returns_when_it_is_up() {
    let machine = Machine::new()
        .module(Module::fixture("eyes"))
        .resource(Resource::probe("probe"));
    let mut world = World::settled(machine).await;
    let first = world.snapshot().await.pid("eyes").expect("a process");
    let _: RestartModuleResponse = world.call(RESTART, &by_name("eyes")).await.expect("restarted");
    let now = world.snapshot().await;
    let second = now.pid("eyes").expect("it runs when the call returns");
    assert!(now.module_ready("eyes") && second != first, "{now:?}");
    world.until(|now| now.ready("probe")).await;
    readings(&world, "probe").await.expect("it answers again");

    // While it waits to be started again, too.
    kill_into_back_off(&mut world, "eyes").await;
    let begun = Instant::now();
    let _: RestartModuleResponse = world.call(RESTART, &by_name("eyes")).await.expect("restarted");
    world.until(|now| now.ready("probe")).await;
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert!(!proc::alive(first) && !proc::alive(second));
}

#[tokio::test]
async fn restart_module_knows_whom_it_cannot_restart() {
    let world = World::settled(Machine::new().module(Module::faulty("bad", "exit-at-once"))).await;
    for (request, expected) in [
        (
            by_name("nobody"),
            "module not found with id=, name=nobody. make sure it is configured and running on your machine",
        ),
        (
            RestartModuleRequest {
                id_or_name: Some(IdOrName::ModuleId("acme:x".into())),
            },
            "module not found with id=acme:x, name=.",
        ),
        (RestartModuleRequest::default(), "module not found with id=, name=."),
    ] {
        let status = world
            .call::<_, RestartModuleResponse>(RESTART, &request)
            .await
            .expect_err("no such module");
        assert_eq!(status.code(), Code::NotFound, "{status:?}");
        assert!(status.message().contains(expected), "{status:?}");
    }
    let status = world
        .call::<_, RestartModuleResponse>(RESTART, &by_name("bad"))
        .await
        .expect_err("it exits at once");
    assert!(status.message().contains("bad"), "{status:?}");
}

#[tokio::test]
async fn restart_by_registry_id_finds_the_module() {
    let machine = Machine::new()
        .module(Module::fixture("eyes").set("module_id", json!("acme:eyes")))
        .resource(Resource::probe("probe"));
    let mut world = World::settled(machine).await;
    let first = world.snapshot().await.pid("eyes");
    let request = RestartModuleRequest {
        id_or_name: Some(IdOrName::ModuleId("acme:eyes".into())),
    };
    let _: RestartModuleResponse = world.call(RESTART, &request).await.expect("restarted");
    let now = world.until(|now| now.ready("probe")).await;
    assert_ne!(now.pid("eyes"), first);
}

#[tokio::test]
async fn a_module_that_dies_again_and_again_is_tried_again_and_harms_nobody() {
    let machine = Machine::new()
        .module(Module::faulty("sick", "exit-after-ready"))
        .module(Module::fixture("eyes"))
        .resource(Resource::fake("motor", "motor"));
    let mut world = World::start(machine).await;
    let now = world
        .until(|now| now.process("sick").is_some_and(|module| module.restarts >= 2))
        .await;
    assert!(now.ready("motor") && now.module_ready("eyes"), "{now:?}");
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_resource_whose_constructor_kills_the_module_is_named() {
    let machine = Machine::new()
        .module(Module::fixture("eyes"))
        .resource(Resource::probe("bomb").attributes(json!({ "fault": "crash-build" })))
        .resource(Resource::fake("motor", "motor"));
    let mut world = World::start(machine).await;
    let now = world
        .until(|now| now.ready("motor") && !now.module_error("eyes").is_empty())
        .await;
    assert!(!now.ready("bomb"), "{now:?}");
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn whatever_dies_in_whatever_order_comes_back() {
    let machine = Machine::new()
        .module(Module::fixture("eyes"))
        .module(Module::fixture("spare"))
        .resource(Resource::fake("floor", "generic"))
        .resource(Resource::probe("roof").depends_on(&["wall"]))
        .resource(Resource::generic("wall").depends_on(&["floor"]))
        .resource(Resource::echo("echo").depends_on(&["roof"]));
    let mut world = World::settled(machine).await;
    let mut restarts = JoinSet::new();
    for round in 0..24_u64 {
        let now = world.snapshot().await;
        let module = ["eyes", "builtin:fake", "spare"][usize::try_from(round % 3).expect("small")];
        match (round / 3) % 4 {
            0 | 2 => {
                if let Some(pid) = now.pid(module) {
                    proc::signal(pid, Signal::SIGKILL);
                }
            }
            1 => {
                let (channel, request) = (world.channel(), by_name(module));
                // It may well fail: its module is killed meanwhile.
                restarts.spawn(async move { rpc::call::<_, RestartModuleResponse>(channel, RESTART, &request).await });
            }
            _ => {
                let answer = readings(&world, "roof").await;
                assert!(
                    answer
                        .as_ref()
                        .err()
                        .is_none_or(|status| status.code() != Code::Unknown),
                    "{answer:?}"
                );
            }
        }
        tokio::time::sleep(Duration::from_millis(round * 37 % 150)).await;
    }
    while restarts.join_next().await.is_some() {}
    let all = |now: &Snapshot| {
        ["floor", "roof", "wall", "echo"].iter().all(|name| now.ready(name))
            && ["eyes", "spare", "builtin:fake"]
                .iter()
                .all(|name| now.module_ready(name))
    };
    world.until(all).await;
    readings(&world, "roof").await.expect("answers");
    assert_eq!(
        world.place.processes().len(),
        6,
        "guardian, undertaker, core and three modules: {:?}",
        world.place.processes()
    );
    world.shutdown().await.with_code(0).left_nothing_behind();
}
