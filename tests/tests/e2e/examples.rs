//! The example modules, written with the SDK, in a real machine.

use std::time::Duration;

use mainstay_proto::viam::common::v1::{GetReadingsRequest, GetReadingsResponse};
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::proc::{self, eventually};
use mainstay_tests::world::World;
use mainstay_tests::{bins, rpc};
use nix::sys::signal::Signal;
use serde_json::json;

fn machine() -> Machine {
    Machine::new()
        .module(Module::new("weather", &bins::find("weather")))
        .module(Module::new("jukebox", &bins::find("jukebox")))
        .resource(
            Resource::new("roof", "rdk:component:sensor", "acme:weather:station")
                .attributes(json!({ "celsius": 19.5 })),
        )
        .resource(Resource::new("bare", "rdk:component:sensor", "acme:weather:station"))
        .resource(
            Resource::new("bar", "acme:component:jukebox", "acme:fun:jukebox")
                .attributes(json!({ "songs": ["One", "Two"] })),
        )
}

#[tokio::test]
async fn they_build_answer_and_say_what_is_wrong_with_an_attribute() {
    let mut world = World::start(machine()).await;
    let now = world
        .until(|now| now.running() && now.ready("roof") && now.ready("bar"))
        .await;
    let error = now.resource_error("bare");
    assert!(
        now.unhealthy("bare") && error.contains("celsius") && error.contains("bare"),
        "{now:?}"
    );

    let request = GetReadingsRequest {
        name: "roof".into(),
        extra: None,
    };
    let path = "/viam.component.sensor.v1.SensorService/GetReadings";
    let answer: GetReadingsResponse = world.call(path, &request).await.expect("answers");
    let celsius = rpc::from_value(&answer.readings["celsius"]).as_f64().expect("a number");
    assert!((18.5..=20.5).contains(&celsius), "{celsius}");

    let songs = world.cli(&["call", "bar", "songs", "--json"]).await;
    assert_eq!((songs.code, songs.stdout.lines().count()), (0, 2), "{songs:?}");
    let played = world.cli(&["call", "bar", "play", r#"{"song": "Two"}"#]).await;
    assert_eq!(played.code, 0, "{played:?}");
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn they_end_by_themselves_when_the_core_is_gone() {
    let mut world = World::settled(machine()).await;
    let now = world.snapshot().await;
    let modules = ["weather", "jukebox"].map(|name| now.pid(name).expect("a process"));
    proc::signal(world.pid(), Signal::SIGKILL);
    let _ = world.ended().await;
    assert!(eventually(Duration::from_secs(5), || modules.iter().all(|&pid| !proc::alive(pid))).await);
}
