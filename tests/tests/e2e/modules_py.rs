//! Modules written with the Python SDK, called from the Python client and from Rust.

use std::collections::BTreeMap;

use mainstay_proto::viam::common::v1::{GetReadingsRequest, GetReadingsResponse};
use mainstay_tests::echo::{ChatRequest, CountRequest, SumRequest};
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::world::World;
use mainstay_tests::{proc, rpc};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio_stream::{StreamExt, iter};
use tonic::Code;

use crate::client_py::results;
use crate::data_path::say;
use crate::machine::command;

fn machine() -> Machine {
    Machine::new()
        // Not the next one: the SDK logs from a thread of its own over the connection that it makes its calls on, and at
        // debug level the two now and then send their streams out of order, which ends that connection.
        .module(Module::python("warm", "thermometer.py").set("log_level", json!("debug")))
        .module(Module::python("fast", "tachometer.py"))
        .module(Module::python("birds", "parrot.py"))
        .resource(
            Resource::new("thermometer", "rdk:component:sensor", "tests:python:thermometer")
                .attributes(json!({ "offset": 1.25 })),
        )
        .resource(
            Resource::new("tachometer", "rdk:component:sensor", "tests:python:tachometer")
                .attributes(json!({ "motor": "motor" })),
        )
        .resource(Resource::new("parrot", "tests:component:echo", "tests:python:parrot"))
        .resource(Resource::fake("encoder", "encoder"))
        .resource(
            Resource::fake("motor", "motor").attributes(json!({ "encoder": "encoder", "ticks_per_rotation": 100 })),
        )
}

/// The readings of a sensor that answers.
pub async fn readings(world: &World, name: &str) -> BTreeMap<String, Value> {
    let request = GetReadingsRequest {
        name: name.into(),
        extra: None,
    };
    let answer: GetReadingsResponse = world
        .call("/viam.component.sensor.v1.SensorService/GetReadings", &request)
        .await
        .expect("answers");
    answer
        .readings
        .iter()
        .map(|(name, value)| (name.clone(), rpc::from_value(value)))
        .collect()
}

#[tokio::test]
async fn the_python_client_reaches_them() {
    let world = World::settled(machine()).await;
    let now = world.snapshot().await;
    let pid = |module| f64::from(now.pid(module).expect("a process"));
    let got = results(world.python("call_modules.py", &[]).await);
    let thermometer = &got["thermometer"];
    assert_eq!(
        (
            thermometer["nonce"].as_str(),
            thermometer["pid"].as_f64(),
            thermometer["celsius"].as_f64()
        ),
        (Some("warm"), Some(pid("warm")), Some(21.75)),
        "{got:#?}"
    );
    assert_eq!(thermometer["extra"], json!({ "unit": "C" }));
    assert_eq!(got["command"]["nonce"], "warm");
    assert_eq!(got["method"], json!(["UNIMPLEMENTED", "Method not found"]));
    let tachometer = &got["tachometer"];
    assert_eq!(
        (
            tachometer["nonce"].as_str(),
            tachometer["powered"].as_bool(),
            tachometer["power"].as_f64()
        ),
        (Some("fast"), Some(true), Some(0.4)),
        "{got:#?}"
    );
    assert_eq!(got["say"], "hello");
    assert_eq!(
        (&got["stamp"][0], got["stamp"][1].as_f64()),
        (&json!("birds"), Some(pid("birds")))
    );
    assert_eq!(
        (&got["count"], &got["sum"], &got["chat"]),
        (&json!([1, 2, 3, 4]), &json!(42), &json!(["A", "B"]))
    );
    assert_eq!(
        got["helper"]["nonce"], "birds",
        "the generic service leads to the custom resource"
    );
    assert_eq!(got["unknown"][0], "NOT_FOUND");
    let models = got["models"].as_array().expect("a list");
    assert!(
        models.contains(&json!([
            "warm",
            "tests:python:thermometer",
            "rdk:component:sensor",
            true
        ])),
        "{models:?}"
    );
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn rust_reaches_them() {
    let world = World::settled(machine()).await;
    let thermometer = readings(&world, "thermometer").await;
    assert_eq!(
        (&thermometer["nonce"], &thermometer["celsius"]),
        (&json!("warm"), &json!(21.75))
    );
    let mut echo = world.echo();
    let said = echo.say(say("parrot", "hello")).await.expect("answers").into_inner();
    assert_eq!(
        (said.text.as_str(), said.stamp.expect("a stamp").nonce.as_str()),
        ("hello", "birds")
    );
    let request = CountRequest {
        name: "parrot".into(),
        until: 3,
        pause_ms: 0,
    };
    let counted = echo.count(request).await.expect("a stream").into_inner();
    let counted: Vec<_> = counted.map(|item| item.expect("a number").value).collect().await;
    assert_eq!(counted, [1, 2, 3]);
    let values = [20, 22].map(|value| SumRequest {
        name: "parrot".into(),
        value,
    });
    assert_eq!(echo.sum(iter(values)).await.expect("answers").into_inner().total, 42);
    let lines = ["a", "b"].map(|text| ChatRequest {
        name: "parrot".into(),
        text: text.into(),
    });
    let answers = echo.chat(iter(lines)).await.expect("a stream").into_inner();
    let answers: Vec<_> = answers.map(|item| item.expect("a line").text).collect().await;
    assert_eq!(answers, ["A", "B"]);
    let answer = command(&world, "parrot", json!({ "polly": 1 })).await.expect("answers");
    assert_eq!(answer["nonce"], "birds");
}

#[tokio::test]
async fn two_modules_in_two_languages_may_serve_one_api() {
    let machine = machine()
        .module(Module::fixture("rust"))
        .resource(Resource::echo("echo"));
    let world = World::settled(machine).await;
    for (name, nonce) in [("parrot", "birds"), ("echo", "rust"), ("parrot", "birds")] {
        let said = world.echo().say(say(name, "who")).await.expect("answers").into_inner();
        assert_eq!(said.stamp.expect("a stamp").nonce, nonce);
    }
}

#[tokio::test]
async fn what_they_log_and_print_reaches_the_log_and_they_are_closed_in_the_end() {
    let mut world = World::settled(machine()).await;
    world.until_printed("thermometer thermometer is warm").await;
    proc::signal(world.pid(), Signal::SIGTERM);
    world.ended().await.with_code(0).left_nothing_behind();
    assert!(
        world.output().contains("thermometer thermometer closed"),
        "`close` was not called"
    );
}

#[tokio::test]
async fn a_bad_attribute_is_told_in_the_words_of_the_module() {
    let bad = Resource::new("bad", "rdk:component:sensor", "tests:python:tachometer");
    let mut world = World::start(machine().resource(bad)).await;
    let now = world.until(|now| now.running()).await;
    assert!(
        now.unhealthy("bad")
            && now
                .resource_error("bad")
                .contains("attribute `motor` must name a motor"),
        "{now:?}"
    );
    assert!(now.ready("tachometer") && now.ready("parrot"), "{now:?}");
}

#[tokio::test]
async fn a_killed_one_comes_back_with_its_resources() {
    let mut world = World::settled(machine()).await;
    let pid = world.snapshot().await.pid("warm").expect("a process");
    let status = {
        let request = mainstay_proto::viam::common::v1::DoCommandRequest {
            name: "thermometer".into(),
            command: Some(rpc::to_struct(&json!({ "crash": true }))),
        };
        let path = "/viam.component.sensor.v1.SensorService/DoCommand";
        let answer = world
            .call::<_, mainstay_proto::viam::common::v1::DoCommandResponse>(path, &request)
            .await;
        answer.expect_err("it crashed")
    };
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    let now = world
        .until(|now| now.ready("thermometer") && now.pid("warm").is_some_and(|new| new != pid))
        .await;
    assert!(now.module_ready("warm"), "{now:?}");
    assert_eq!(readings(&world, "thermometer").await["nonce"], "warm");
}

#[tokio::test]
async fn a_dead_rust_module_is_followed_by_its_python_dependents() {
    let mut world = World::settled(machine()).await;
    let before = world.snapshot().await;
    proc::signal(before.pid("builtin:fake").expect("a process"), Signal::SIGKILL);
    world.until(|now| !now.ready("motor")).await;
    let after = world.until(|now| now.ready("motor") && now.ready("tachometer")).await;
    assert_eq!(after.pid("fast"), before.pid("fast"), "its own process did not die");
    assert_eq!(readings(&world, "tachometer").await["powered"], false);
}
