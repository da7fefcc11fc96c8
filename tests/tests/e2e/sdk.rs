//! Logs of modules made with the SDK here, in a real machine: unknown attributes, and panics.

use std::time::{Duration, Instant};

use mainstay_proto::viam::common::v1::{DoCommandRequest, DoCommandResponse};
use mainstay_tests::bins;
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::rpc;
use mainstay_tests::world::{PATIENCE, World};
use serde_json::{Value, json};
use tonic::Code;

/// Waits for the line of a module's log that contains `text`, and returns it.
async fn logged(world: &World, module: &str, text: &str) -> Value {
    let end = Instant::now() + PATIENCE;
    loop {
        let printed = world.cli(&["logs", module, "--json"]).await;
        let lines = printed
            .stdout
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let found = lines
            .into_iter()
            .find(|line| line["text"].as_str().is_some_and(|line| line.contains(text)));
        if let Some(found) = found {
            return found;
        }
        assert!(
            Instant::now() < end,
            "`{text}` is not in the log of {module}: {printed:?}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_misspelt_attribute_is_warned_about_in_the_log_of_its_module() {
    let motor = |name: &str, attributes| Resource::fake(name, "motor").attributes(attributes);
    let machine = Machine::new()
        .module(Module::new("weather", &bins::find("weather")))
        .resource(motor("left", json!({ "board_nmae": "pi", "pins": { "pmw": "7" } })))
        .resource(motor("right", json!({ "MAX_RPM": 60 })))
        .resource(
            Resource::new("roof", "rdk:component:sensor", "acme:weather:station")
                .attributes(json!({ "celsius": 19.5, "celcius": 20 })),
        );
    let mut world = World::settled(machine).await;
    world
        .until(|now| ["left", "right", "roof"].iter().all(|name| now.ready(name)))
        .await;

    let line = logged(&world, "builtin:fake", "board_nmae").await;
    let text = line["text"].as_str().expect("a text");
    assert!(text.contains("rdk:component:motor/left"), "{text}");
    let known = "known are `encoder`, `ticks_per_rotation`, `max_rpm`, `board`, `pins`, `pwm_freq`";
    assert!(
        text.contains(&format!(
            "attribute `board_nmae` is not known to this model and has no effect; {known}"
        )),
        "{text}"
    );
    assert_eq!(line["level"], "warn", "{line}");
    logged(
        &world,
        "builtin:fake",
        "attribute `pins.pmw` is not known to this model and has no effect; did you mean `pwm`?",
    )
    .await;
    let line = logged(&world, "weather", "did you mean `celsius`?").await;
    assert!(
        line["text"].as_str().is_some_and(|text| text.contains("sensor/roof")),
        "{line}"
    );
    let all = world.cli(&["logs", "builtin:fake"]).await;
    assert!(!all.stdout.contains("motor/right"), "{all:?}");
    world.shutdown().await.left_nothing_behind();
}

#[tokio::test]
async fn a_panic_is_an_error_in_the_log_and_ends_its_call_alone() {
    let machine = Machine::new()
        .module(Module::new("wheels", &bins::find("wheel")))
        .resource(Resource::new("wheel", "rdk:component:motor", "tests:sdk:wheel"));
    let mut world = World::settled(machine).await;
    let pid = world.until(|now| now.ready("wheel")).await.pid("wheels");

    let path = "/viam.component.motor.v1.MotorService/DoCommand";
    let request = DoCommandRequest {
        name: "wheel".into(),
        command: Some(rpc::to_struct(&json!({ "panic": "the hub is loose" }))),
    };
    let error = world
        .call::<_, DoCommandResponse>(path, &request)
        .await
        .expect_err("a panic");
    assert_eq!(
        (error.code(), error.message()),
        (Code::Internal, "panic in the module: the hub is loose")
    );
    let line = logged(&world, "wheels", "panic in DoCommand").await;
    let text = line["text"].as_str().expect("a text");
    assert!(
        text.contains("rdk:component:motor/wheel") && text.contains("wheel.rs:") && text.contains("the hub is loose"),
        "{text}"
    );
    assert_eq!(line["level"], "error", "{line}");
    let now = world.snapshot().await;
    assert!(now.ready("wheel") && now.pid("wheels") == pid, "{now:?}");
    world.shutdown().await.left_nothing_behind();
}
