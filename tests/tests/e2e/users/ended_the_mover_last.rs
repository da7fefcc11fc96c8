//! Somebody ends a machine in which a module that moved something takes longer to end than the module of what it moved.

use mainstay_proto::viam::component::motor::v1::{SetPowerRequest, SetPowerResponse};
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::world::World;
use serde_json::json;

const SET_POWER: &str = "/viam.component.motor.v1.MotorService/SetPower";

/// A motor in one module, and in another one that ignores SIGTERM what moves it.
fn machine() -> Machine {
    Machine::new()
        .module(Module::faulty("pilot", "stubborn").set("stop", json!({ "grace": "2s" })))
        .resource(Resource::echo("helm"))
}

async fn moving() -> World {
    let world = World::settled(machine().resource(Resource::fake("left", "motor"))).await;
    let request = SetPowerRequest {
        name: "left".into(),
        power_pct: 0.5,
        extra: None,
    };
    let _: SetPowerResponse = world.from_module("helm", SET_POWER, &request).await.expect("moves");
    world
}

/// What was closed needs no stop, so nothing is said of it.
fn nothing_was_missed(output: &str) {
    assert!(!output.contains("cannot stop"), "{output}");
}

#[tokio::test]
async fn an_end_in_order_is_no_alarm() {
    let mut world = moving().await;
    world.stop_core().await;
    nothing_was_missed(&world.output());
}

#[tokio::test]
async fn nor_is_one_of_what_is_taken_out_of_the_config() {
    let mut world = moving().await;
    // The motor goes with the only use of its module, and then the pilot.
    world.rewrite(&machine());
    world.until(|now| now.resource("left").is_none()).await;
    world.rewrite(&Machine::new());
    world.until(|now| now.module("pilot").is_none()).await;
    nothing_was_missed(&world.output());
    world.shutdown().await.with_code(0).left_nothing_behind();
}
