//! The core dies by SIGKILL, and nothing of its machine stays: its motors come to rest first, whoever forked what.

use std::fs;
use std::time::{Duration, Instant};

use mainstay_proto::viam::component::motor::v1::{SetPowerRequest, SetPowerResponse};
use mainstay_tests::bins;
use mainstay_tests::fixture::trap::{Deed, Moment};
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::proc::{self, eventually};
use mainstay_tests::world::{Place, World};
use nix::sys::signal::Signal;

use crate::data_path::say;
use crate::faults::core;
use crate::figures::figure;

/// Five times the bar of 1 s.
const LIMIT: Duration = Duration::from_secs(5);

/// Kills the core; gives how long it took until nothing of the machine was left.
async fn kill_the_core(world: &World) -> Duration {
    let core = core(world).await;
    let begun = Instant::now();
    proc::signal(core, Signal::SIGKILL);
    let place = &world.place;
    let nothing = || place.processes().is_empty() && place.sockets().is_empty() && place.runtime_folders().is_empty();
    assert!(
        eventually(LIMIT, nothing).await,
        "left behind after {LIMIT:?}: {:?} {:?} {:?}",
        place.processes(),
        place.sockets(),
        place.runtime_folders()
    );
    begun.elapsed()
}

async fn wheel_stops(module: impl FnOnce(&Place) -> Module, model: &str) {
    let place = Place::new();
    let stopped = place.file("stopped");
    let path = stopped.to_str().expect("a path in UTF-8").to_owned();
    let machine = Machine::new()
        .module(module(&place).env("STOPPED", &path))
        .resource(Resource::new("wheel", "rdk:component:motor", model));
    let mut world = place.start(machine).await;
    world.until(|now| now.running() && now.ready("wheel")).await;
    let request = SetPowerRequest {
        name: "wheel".into(),
        power_pct: 0.5,
        extra: None,
    };
    let method = "/viam.component.motor.v1.MotorService/SetPower";
    let _: SetPowerResponse = world.call(method, &request).await.expect("it turns");
    assert!(!stopped.exists(), "it turns");
    let took = kill_the_core(&world).await;
    assert_eq!(
        fs::read_to_string(&stopped).unwrap_or_default(),
        "stopped\n",
        "the motor of {model} was not stopped; it took {took:?} until nothing was left"
    );
    figure(
        &format!("SIGKILL of the core to nothing left, {model} stopped before"),
        took,
    );
}

#[tokio::test]
async fn a_motor_of_a_python_module_stops_when_the_core_is_killed() {
    wheel_stops(|_| Module::python("wheels", "wheel.py"), "tests:python:wheel").await;
}

#[tokio::test]
async fn a_motor_of_a_rust_module_stops_when_the_core_is_killed() {
    wheel_stops(|_| Module::new("wheels", &bins::find("wheel")), "tests:sdk:wheel").await;
}

#[tokio::test]
async fn nothing_outlives_a_killed_core_not_even_a_daemon_or_one_that_ignores_sigterm() {
    let machine = Machine::new()
        .module(Module::family("ill").trap(Deed::Daemon, Moment::Call, None))
        .module(Module::faulty("deaf", "stubborn").env("MODELS", "deaf"))
        .module(Module::faulty("mother", "offspring").env("MODELS", "mother"))
        .resource(Resource::of("ill", "echo", "sore"))
        .resource(Resource::fake("motor", "motor"));
    let mut world = World::start(machine).await;
    world.until(|now| now.running() && now.ready("sore")).await;
    world
        .echo()
        .say(say("sore", ""))
        .await
        .expect("leaves a daemon and answers");
    let daemon = |world: &World| {
        let all = world.place.processes();
        all.iter().any(|process| process.command == "sleep 1000")
    };
    assert!(eventually(LIMIT, || daemon(&world)).await, "the daemon runs");
    let took = kill_the_core(&world).await;
    figure(
        "SIGKILL of the core to nothing left, with a daemon and deaf modules",
        took,
    );
    let mut world = world.restart().await;
    world.until(|now| now.running() && now.ready("motor")).await;
    world.shutdown().await.with_code(0).left_nothing_behind();
}
