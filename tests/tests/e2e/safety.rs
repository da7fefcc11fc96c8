//! Tests that motion started by a module in another one stops when that module is gone.

use std::time::{Duration, Instant};

use mainstay_proto::viam::component::motor::v1::{SetPowerRequest, SetPowerResponse};
use mainstay_proto::viam::robot::v1::restart_module_request::IdOrName;
use mainstay_proto::viam::robot::v1::{RestartModuleRequest, RestartModuleResponse};
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::proc;
use mainstay_tests::world::{PATIENCE, World};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::sessions::{powered, set_power};

const SET_POWER: &str = "/viam.component.motor.v1.MotorService/SetPower";
const RESTART: &str = "/viam.robot.v1.RobotService/RestartModule";
/// Five times as long as it may take on a machine that has nothing else to do.
const CEILING: Duration = Duration::from_millis(500);
const ASTRAY: &str = "module pilot no longer answers: stopping what it moved last: left";
const LOGGED: &str = "module pilot has ended: stopping what it moved last: ";

/// Motors in one module, and a pilot in another.
async fn world(pilot: Module) -> World {
    let machine = Machine::new()
        .module(pilot)
        .resource(Resource::echo("helm"))
        .resource(Resource::fake("left", "motor"))
        .resource(Resource::fake("mid", "motor"))
        .resource(Resource::fake("right", "motor"));
    World::settled(machine).await
}

async fn pilot_moves(world: &World, motor: &str) {
    let request = SetPowerRequest {
        name: motor.into(),
        power_pct: 0.5,
        extra: None,
    };
    let _: SetPowerResponse = world.from_module("helm", SET_POWER, &request).await.expect("moves");
    assert!(powered(world, motor).await);
}

/// Kills the pilot and waits until it is there again. How long `motor` ran on, unless it still does.
async fn kill_the_pilot(world: &mut World, motor: &str) -> Option<Duration> {
    lose_the_pilot(world, motor, Signal::SIGKILL, CEILING).await
}

/// Sends the pilot a signal that ends it sooner or later; `limit` is for the motor.
async fn lose_the_pilot(world: &mut World, motor: &str, signal: Signal, limit: Duration) -> Option<Duration> {
    let before = world.snapshot().await;
    let restarts = before.process("pilot").map_or(0, |pilot| pilot.restarts);
    let begun = Instant::now();
    proc::signal(before.pid("pilot").expect("it runs"), signal);
    let mut stopped = None;
    while stopped.is_none() && begun.elapsed() < limit {
        stopped = (!powered(world, motor).await).then(|| begun.elapsed());
    }
    world
        .until(|now| now.ready("helm") && now.process("pilot").is_some_and(|pilot| pilot.restarts > restarts))
        .await;
    stopped
}

#[tokio::test]
async fn what_a_killed_module_moved_last_stands_still_at_once_and_nothing_else() {
    let mut world = world(Module::fixture("pilot")).await;
    pilot_moves(&world, "left").await;
    // A client takes one over, and another one was never the pilot's.
    pilot_moves(&world, "mid").await;
    set_power(&world, "mid", None).await.expect("moves");
    set_power(&world, "right", None).await.expect("moves");
    let took = kill_the_pilot(&mut world, "left").await.expect("it was never stopped");
    println!("stopped {took:?} after SIGKILL");
    assert!(powered(&world, "mid").await, "a client moved it last");
    assert!(powered(&world, "right").await, "the module never moved it");
    assert_eq!(world.output().matches(&format!("{LOGGED}left")).count(), 1);

    // A client that takes over what was stopped is left alone when the next process dies, which moved something else.
    set_power(&world, "left", None).await.expect("moves");
    pilot_moves(&world, "right").await;
    kill_the_pilot(&mut world, "right").await.expect("it was never stopped");
    assert!(powered(&world, "left").await && powered(&world, "mid").await);
    assert_eq!(world.output().matches(LOGGED).count(), 2, "{}", world.output());
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_module_that_asks_for_it_leaves_moving_what_it_moved() {
    let mut world = world(Module::fixture("pilot").set("keep_moving", json!(true))).await;
    pilot_moves(&world, "left").await;
    assert_eq!(kill_the_pilot(&mut world, "left").await, None);
    assert!(powered(&world, "left").await);
    assert!(!world.output().contains(LOGGED));
}

/// A pilot that is ended a second after it has frozen.
fn watched_pilot() -> Module {
    Module::fixture("pilot")
        .set(
            "health",
            json!({ "interval": "200ms", "timeout": "300ms", "kill_after": "1s" }),
        )
        .set("stop", json!({ "grace": "100ms" }))
}

#[tokio::test]
async fn what_a_frozen_module_moved_stands_still_before_the_module_is_ended() {
    let mut world = world(watched_pilot()).await;
    pilot_moves(&world, "left").await;
    set_power(&world, "right", None).await.expect("moves");
    let took = lose_the_pilot(&mut world, "left", Signal::SIGSTOP, PATIENCE).await;
    let took = took.expect("it was never stopped");
    println!("stopped {took:?} after SIGSTOP (interval 200 ms, timeout 300 ms)");
    assert!(powered(&world, "right").await, "the module never moved it");
    let output = world.output();
    assert_eq!(output.matches(ASTRAY).count(), 1, "{output}");
    let (stopped, ended) = (output.find(ASTRAY), output.find("[pilot] hung"));
    assert!(stopped.is_some() && stopped < ended, "{output}");
    // The new process is none that lost its way.
    pilot_moves(&world, "left").await;
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_module_that_asks_for_it_leaves_moving_what_it_moved_when_it_freezes_or_is_restarted() {
    let mut world = world(watched_pilot().set("keep_moving", json!(true))).await;
    pilot_moves(&world, "left").await;
    assert_eq!(lose_the_pilot(&mut world, "left", Signal::SIGSTOP, CEILING).await, None);
    assert!(powered(&world, "left").await, "its module was ended and came back");
    restart_the_pilot(&world).await;
    world.until(|now| now.ready("helm")).await;
    assert!(powered(&world, "left").await);
    assert!(
        !world.output().contains("stopping what it moved last"),
        "{}",
        world.output()
    );
    world.shutdown().await.with_code(0).left_nothing_behind();
}

async fn restart_the_pilot(world: &World) {
    let request = RestartModuleRequest {
        id_or_name: Some(IdOrName::ModuleName("pilot".into())),
    };
    let _: RestartModuleResponse = world.call(RESTART, &request).await.expect("restarted");
}

#[tokio::test]
async fn a_planned_restart_is_an_end_too() {
    let mut world = world(Module::fixture("pilot")).await;
    pilot_moves(&world, "left").await;
    set_power(&world, "right", None).await.expect("moves");
    restart_the_pilot(&world).await;
    let end = Instant::now() + PATIENCE;
    while powered(&world, "left").await {
        assert!(Instant::now() < end, "it was never stopped");
    }
    assert!(powered(&world, "right").await);
    // The new process may move it like any other.
    world.until(|now| now.ready("helm")).await;
    pilot_moves(&world, "left").await;
    assert_eq!(world.output().matches(LOGGED).count(), 1, "{}", world.output());
}
