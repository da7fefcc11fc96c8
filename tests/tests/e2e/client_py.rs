//! The Python SDK as a client of the machine.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::world::{PATIENCE, World};
use serde_json::{Value, json};

use crate::sessions::powered;

/// Results of a client script by their names.
pub fn results(lines: Vec<Value>) -> BTreeMap<String, Value> {
    lines
        .into_iter()
        .map(|line| {
            (
                line["what"].as_str().unwrap_or_default().to_owned(),
                line["value"].clone(),
            )
        })
        .collect()
}

#[tokio::test]
async fn it_drives_every_fake() {
    let machine = Machine::new()
        .resource(Resource::fake("sensor", "sensor"))
        .resource(Resource::fake("encoder", "encoder"))
        .resource(
            Resource::fake("motor", "motor")
                .attributes(json!({ "encoder": "encoder", "ticks_per_rotation": 100, "max_rpm": 6000 })),
        )
        .resource(Resource::fake("plain", "motor"))
        .resource(Resource::fake("board", "board").attributes(json!({
            "analogs": [{ "name": "writable", "pin": "1" }],
            "digital_interrupts": [{ "name": "button", "pin": "0" }],
        })))
        .resource(Resource::fake("camera", "camera").attributes(json!({ "width": 64, "height": 48 })))
        .resource(Resource::fake("generic", "generic"))
        .resource(Resource::new("helper", "rdk:service:generic", "fake"));
    let world = World::settled(machine).await;
    let got = results(world.python("drive_fakes.py", &[]).await);
    let echoed = json!({ "text": "hello", "number": 1.5, "list": [1.0, "two", null], "nested": { "yes": true } });
    let same = |what: &str, expected: Value| assert_eq!(got.get(what), Some(&expected), "{what} in {got:#?}");

    let names = got["names"].as_array().expect("a list");
    for name in [
        "rdk:component:motor/motor",
        "rdk:component:board/board",
        "rdk:service:generic/helper",
    ] {
        assert!(names.contains(&json!(name)), "{names:?}");
    }
    assert_eq!(
        (&got["version"][0], &got["version"][2]),
        (&json!("mainstay"), &json!("v0.1.601"))
    );
    let ready = got["status"].as_array().expect("a list");
    assert!(ready.iter().all(|entry| entry[1] == 3), "all READY: {ready:?}");
    same("readings", json!({ "a": 1.0, "b": 2.0, "c": 3.0 }));
    same("motor reports positions", json!(true));
    same("power", json!([true, 0.5]));
    same("moving", json!(true));
    same("position advanced", json!(true));
    same("stopped", json!([[false, 0.0], false]));
    same("moving after go_for", json!(false));
    assert_eq!(got["plain motor"][0], "UNKNOWN", "{got:#?}");
    same("plain power", json!([true, -0.25]));
    assert_eq!(got["encoder"][1], 1, "ticks: {got:#?}");
    same("pin", json!(true));
    same("pwm", json!([0.25, 800]));
    assert_eq!(got["analog"][0], 42);
    assert_eq!(got["interrupt"], json!([1, 2]));
    same("tick", json!("button"));
    assert!(
        got["no such analog"][1]
            .as_str()
            .is_some_and(|text| text.contains("nope")),
        "{got:#?}"
    );
    let image = &got["images"][0];
    assert_eq!(
        (&image[1], &image[3]),
        (&json!("image/jpeg"), &json!("ffd8ff")),
        "{image}"
    );
    same("captured at", json!(true));
    assert_eq!(got["point cloud"][0], "pointcloud/pcd");
    assert!(
        got["point cloud"][1]
            .as_str()
            .is_some_and(|text| text.contains("VERSION")),
        "{got:#?}"
    );
    same("camera", json!(true));
    same("box", json!(["box"]));
    let null_as_the_sdk_reads_it =
        json!({ "text": "hello", "number": 1.5, "list": [1.0, "two", 0], "nested": { "yes": true } });
    for what in ["generic", "generic service"] {
        assert!(
            got[what] == echoed || got[what] == null_as_the_sdk_reads_it,
            "{what}: {}",
            got[what]
        );
    }
    same("status of one", json!({}));
    assert!(!got["no commands"].is_null(), "{got:#?}");
    assert_eq!(got["cloud"][0], "FAILED_PRECONDITION");
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn it_drives_the_fakes_of_the_other_apis() {
    let service = |name: &str, api: &str| Resource::new(name, &format!("rdk:service:{api}"), "fake");
    let machine = Machine::new()
        .resource(Resource::fake("arm", "arm").attributes(json!({ "arm-model": "ur5e" })))
        .resource(
            Resource::new("slow", "rdk:component:arm", "simulated")
                .attributes(json!({ "arm-model": "simulated", "speed": 0.1 })),
        )
        .resource(Resource::fake("gantry", "gantry"))
        .resource(Resource::fake("gripper", "gripper"))
        .resource(Resource::fake("base", "base"))
        .resource(Resource::fake("servo", "servo"))
        .resource(
            Resource::fake("switch", "switch")
                .attributes(json!({ "position_count": 3, "labels": ["off", "dim", "on"] })),
        )
        .resource(Resource::fake("button", "button"))
        .resource(Resource::fake("gps", "movement_sensor"))
        .resource(Resource::fake("meter", "power_sensor"))
        .resource(Resource::fake("microphone", "audio_in").attributes(json!({ "sample_rate": 8000 })))
        .resource(Resource::fake("speaker", "audio_out"))
        .resource(Resource::fake("pad", "input_controller").attributes(json!({ "callback_delay_sec": 0.1 })))
        .resource(Resource::fake("camera", "camera").attributes(json!({ "width": 64, "height": 48 })))
        .resource(service("finder", "discovery"))
        .resource(service("slam", "slam"))
        .resource(service("vision", "vision"))
        .resource(service("world", "world_state_store"));
    let world = World::settled(machine).await;
    let got = results(world.python("drive_more_fakes.py", &[]).await);
    let same = |what: &str, expected: Value| assert_eq!(got.get(what), Some(&expected), "{what} in {got:#?}");
    let refused = |what: &str, text: &str| {
        let said = got[what][1].as_str().unwrap_or_default();
        assert!(said.contains(text), "{what}: {}", got[what]);
    };
    same("joints", json!([10.0, 20.0, 30.0, 40.0, 50.0, 60.0]));
    same("arm is back", json!(true));
    refused(
        "too many joints",
        "array length does not match frame DoF, expected 6 but got 7",
    );
    same("kinematics", json!([1, "{"]));
    refused("stopped on its way", "stopped before reaching target");
    same("gantry", json!([[30.0], [100.0], true]));
    refused("off the gantry", "position 1000 out of range [0, 100]");
    same("gripper", json!([false, false]));
    same("base", json!([0.6, 0.0, false]));
    same("servo", json!(181));
    same("switch", json!([2, 3, ["off", "dim", "on"]]));
    refused(
        "no such position",
        "rdk:component:switch/switch position 3 is invalid (valid range: 0-2)",
    );
    same("place", json!([40.7, -73.98, 50.5]));
    same("velocity", json!([5.4, 1.0]));
    let readings = [
        "altitude",
        "angular_velocity",
        "compass",
        "linear_acceleration",
        "linear_velocity",
        "orientation",
    ];
    assert_eq!(
        got["readings"].as_array().map(Vec::len),
        Some(readings.len() + 1),
        "{got:#?}"
    );
    same("power", json!([1.5, true, 2.2, true, 9.8]));
    same("audio", json!([[0, 1600], [1, 1600], [2, 1600]]));
    refused("no audio", "no audio data provided");
    same("controls", json!(["AbsoluteX", "ButtonStart"]));
    same("a button was pressed", json!(true));
    let fake = |name: &str, api: &str| json!([name, format!("rdk:component:{api}"), "rdk:builtin:fake"]);
    same(
        "found",
        json!([fake("fake1", "movement_sensor"), fake("fake2", "camera")]),
    );
    same("map", json!("VERSION .7\nFIELDS x "));
    same("at", json!(2000));
    same("seen", json!(["a_detection", 16, 12, 48, 36]));
    same("shows", json!("a_classification"));
    refused("no such camera", "could not find camera named nowhere");
    let transforms = got["transforms"].as_array().map_or(0, Vec::len);
    assert!(transforms >= 3, "{got:#?}");
    same("change", json!(3));
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn it_connects_in_every_way_that_needs_no_cloud() {
    let world = World::settled(Machine::new().resource(Resource::fake("sensor", "sensor"))).await;
    let got = results(world.python("dial_ways.py", &[]).await);
    assert_eq!(got.len(), 5, "{got:#?}");
    assert!(
        got.values()
            .all(|readings| *readings == json!({ "a": 1.0, "b": 2.0, "c": 3.0 })),
        "{got:#?}"
    );
}

#[tokio::test]
async fn it_stops_restarts_and_shuts_down() {
    let machine = Machine::new()
        .module(Module::fixture("eyes"))
        .resource(Resource::probe("probe"))
        .resource(Resource::fake("motor", "motor"));
    let mut world = World::settled(machine).await;
    let got = results(world.python("manage.py", &[]).await);
    let expected = json!({ "moving": false, "operations": [], "other process": true, "shut down": true });
    assert_eq!(json!(got), expected);
    world.ended().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn its_heartbeats_keep_a_motor_turning() {
    let machine = Machine::new()
        .heartbeat_window("500ms")
        .resource(Resource::fake("motor", "motor"));
    let world = World::settled(machine).await;
    let got = results(world.python("hold_session.py", &["2"]).await);
    assert_eq!(got["moving"], true, "{got:#?}");
    assert_eq!(got["sessions"][0], got["sessions"][1]);
    assert_eq!(got["sessions"][0].as_array().map(Vec::len), Some(1), "{got:#?}");
    assert_eq!(got["peer"], json!([1]), "gRPC");
}

#[tokio::test]
async fn a_control_script_that_is_killed_leaves_no_motor_turning() {
    let machine = Machine::new()
        .heartbeat_window("1s")
        .resource(Resource::fake("left", "motor"))
        .resource(Resource::fake("right", "motor"));
    let world = World::settled(machine).await;
    let mut script = world.start_python("move_and_wait.py", &["left", "right"]);
    let output = script.stdout.take().expect("piped");
    let line = tokio::task::spawn_blocking(move || BufReader::new(output).lines().next())
        .await
        .expect("no panic");
    let line = line.expect("a line").expect("readable");
    assert!(line.contains("[true, true]"), "{line}");
    assert!(powered(&world, "left").await && powered(&world, "right").await);

    script.kill().expect("it is ours");
    let _ = script.wait();
    let begun = Instant::now();
    while powered(&world, "left").await || powered(&world, "right").await {
        assert!(begun.elapsed() < PATIENCE, "they turn for ever");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(
        begun.elapsed() < Duration::from_millis(2500),
        "stopped after {:?}",
        begun.elapsed()
    );
}
