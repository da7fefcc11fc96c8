//! A module that dies several times in a row: a burst of tries at once, and then the pauses that grow.

use std::time::{Duration, Instant};

use mainstay_proto::mainstay::control::v1::ModuleState;
use mainstay_proto::viam::component::motor::v1::{IsMovingRequest, IsMovingResponse};
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::status::Snapshot;
use mainstay_tests::traffic::Traffic;
use mainstay_tests::world::{PATIENCE, World};
use mainstay_tests::{bins, proc, rpc};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tonic::transport::Channel;

use crate::figures::figure;

/// Kills that the default answers at once.
pub const BURST: u32 = 5;
/// From the first kill to the first answer, and from the others.
const BAR_FIRST: Duration = Duration::from_millis(25);
const BAR: Duration = Duration::from_millis(60);

/// A motor of a Rust module that is treated like this, and somebody whom its end does not concern.
async fn wheel(restart: Value) -> World {
    let machine = Machine::new()
        .module(Module::new("wheels", &bins::find("wheel")).set("restart", restart))
        .module(Module::family("well"))
        .resource(Resource::new("wheel", "rdk:component:motor", "tests:sdk:wheel"))
        .resource(Resource::of("well", "probe", "calm"));
    let mut world = World::settled(machine).await;
    world.until(|now| now.ready("wheel") && now.ready("calm")).await;
    world
}

async fn moves(channel: &Channel) -> bool {
    let request = IsMovingRequest { name: "wheel".into() };
    let method = "/viam.component.motor.v1.MotorService/IsMoving";
    let answer: Result<IsMovingResponse, _> = rpc::call(channel.clone(), method, &request).await;
    answer.is_ok()
}

/// Kills the motor's module; how long until a call to the motor is answered again.
async fn kill_to_answer(world: &mut World) -> Duration {
    let channel = world.channel();
    assert!(moves(&channel).await, "it answers before it is killed");
    let pid = world.snapshot().await.pid("wheels").expect("a process");
    let begun = Instant::now();
    proc::signal(pid, Signal::SIGKILL);
    // Until the first call fails, it is the dead one that seems to answer.
    while moves(&channel).await && proc::alive(pid) {}
    while !moves(&channel).await {
        assert!(begun.elapsed() < PATIENCE, "it did not come back");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let took = begun.elapsed();
    world
        .until(|now| now.ready("wheel") && now.pid("wheels") != Some(pid))
        .await;
    took
}

fn restarts(now: &Snapshot) -> u32 {
    now.process("wheels").map_or(0, |process| process.restarts)
}

#[tokio::test]
async fn five_kills_a_second_apart_are_each_answered_at_once() {
    // A pause would be one of an hour.
    let mut world = wheel(json!({ "then": "1h", "max_delay": "1h" })).await;
    for kill in 1..=BURST {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let took = kill_to_answer(&mut world).await;
        let bar = if kill == 1 { BAR_FIRST } else { BAR };
        let now = world.snapshot().await;
        let own = now.process("wheels").and_then(|module| module.start_took);
        let own = own.and_then(|own| Duration::try_from(own).ok()).unwrap_or_default();
        figure(
            &format!(
                "kill -9 number {kill} in a row to answering again (bar {})",
                bar.as_millis()
            ),
            took,
        );
        // Slow test machines are no failure.
        assert!(
            took < (own + bar) * 5,
            "kill {kill}: {took:?}, of which {own:?} are its own"
        );
    }
    // Then it waits.
    let now = world.snapshot().await;
    assert_eq!(restarts(&now), BURST);
    proc::signal(now.pid("wheels").expect("a process"), Signal::SIGKILL);
    let waits = |now: &Snapshot| {
        now.process("wheels")
            .is_some_and(|it| it.state() == ModuleState::BackOff && it.next_try_at.is_some())
    };
    world.until(waits).await;
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn fifteen_kills_in_a_row_end_with_the_machine_as_before() {
    let pauses = json!({ "then": "50ms", "factor": 2, "max_delay": "400ms", "jitter": 0 });
    let mut world = wheel(pauses).await;
    let before = world.snapshot().await;
    let traffic = Traffic::on(&world, &["calm"], Duration::from_millis(10));
    for kill in 1..=15_u32 {
        let took = kill_to_answer(&mut world).await;
        let pause = match kill.checked_sub(BURST + 1) {
            None => Duration::ZERO,
            Some(slow) => Duration::from_millis(400.min(50_u64 << slow.min(8))),
        };
        assert!(took >= pause, "kill {kill}: {took:?}, though it was to wait {pause:?}");
    }
    let now = world.snapshot().await;
    assert_eq!(restarts(&now), 15);
    assert_eq!(now.pid("well"), before.pid("well"), "it did not die");
    traffic.end().none_failed().expect("it is none of their business");
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn what_never_becomes_ready_is_tried_once_at_once() {
    let sick = Module::faulty("sick", "exit-at-once").set("restart", json!({ "then": "1h", "max_delay": "1h" }));
    let mut world = World::start(Machine::new().module(sick)).await;
    let now = world
        .until(|now| now.module_error("sick").contains("next try at"))
        .await;
    assert_eq!(now.process("sick").map(|module| module.restarts), Some(1));
    world.shutdown().await.with_code(0).left_nothing_behind();
}
