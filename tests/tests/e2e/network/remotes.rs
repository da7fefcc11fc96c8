//! Resources of another machine are called as if they were here.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use mainstay_proto::viam::common::v1::{DoCommandRequest, DoCommandResponse, GetReadingsRequest, GetReadingsResponse};
use mainstay_proto::viam::component::camera::v1::{GetImagesRequest, GetImagesResponse};
use mainstay_proto::viam::component::motor::v1::{StopRequest, StopResponse};
use mainstay_proto::viam::robot::v1::{
    ResourceNamesRequest, ResourceNamesResponse, ResourceRpcSubtypesRequest, ResourceRpcSubtypesResponse,
    resource_status::Reachability,
};
use mainstay_tests::echo::{ChatRequest, CountRequest, FailRequest, SumRequest};
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::rpc;
use mainstay_tests::world::{PATIENCE, World};
use serde_json::{Value, json};
use tokio_stream::{StreamExt, iter};
use tonic::Code;

use crate::data_path::say;
use crate::sessions::{powered, set_power};

/// Entry of `remotes`, in cleartext.
pub(super) fn remote(name: &str, of: &World) -> Value {
    json!({ "name": name, "address": of.address(), "insecure": true, "connection_check_interval": "1s", "reconnect_interval": "200ms" })
}

/// Simple names that a machine lists, sorted.
pub(super) async fn names(world: &World) -> Vec<String> {
    let path = "/viam.robot.v1.RobotService/ResourceNames";
    let answer: ResourceNamesResponse = world.call(path, &ResourceNamesRequest {}).await.expect("a list");
    let names: BTreeSet<_> = answer.resources.into_iter().map(|name| name.name).collect();
    names.into_iter().collect()
}

/// Waits until a machine lists exactly these.
pub(super) async fn until_names(world: &World, wanted: &[&str]) {
    let end = Instant::now() + PATIENCE;
    loop {
        let names = names(world).await;
        if names == wanted {
            return;
        }
        assert!(
            Instant::now() < end,
            "{names:?} instead of {wanted:?}\n{}",
            world.output()
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn owner() -> Machine {
    Machine::new()
        .module(Module::fixture("far"))
        .resource(Resource::echo("echo"))
        .resource(Resource::fake("left", "motor"))
        .resource(Resource::fake("cam", "camera").attributes(json!({ "width": 320, "height": 240 })))
}

async fn picture(world: &World, name: &str) -> Vec<(String, Vec<u8>)> {
    let request = GetImagesRequest {
        name: name.to_owned(),
        ..GetImagesRequest::default()
    };
    let path = "/viam.component.camera.v1.CameraService/GetImages";
    let answer: GetImagesResponse = world.call(path, &request).await.expect("a picture");
    let images = answer.images.into_iter();
    images.map(|image| (image.mime_type, image.image.to_vec())).collect()
}

#[tokio::test]
async fn standard_and_custom_apis_and_all_streams_are_there_under_the_names_of_the_remote() {
    let far = World::settled(owner()).await;
    let near = Machine::new().set("remotes", json!([remote("far", &far)]));
    let near = World::start(near.resource(Resource::fake("own", "motor"))).await;
    until_names(&near, &["far:cam", "far:echo", "far:left", "own"]).await;

    // In full, and in short where it means nothing else.
    for name in ["far:left", "left"] {
        set_power(&near, name, None).await.expect("moves");
        assert!(powered(&far, "left").await && powered(&near, name).await);
        let stop = StopRequest {
            name: name.into(),
            extra: None,
        };
        let path = "/viam.component.motor.v1.MotorService/Stop";
        let _stopped: StopResponse = near.call(path, &stop).await.expect("stops");
        assert!(!powered(&far, "left").await);
    }
    let missing = set_power(&near, "far:right", None).await.expect_err("there is none");
    assert_eq!(
        rpc::code_and_text(&missing),
        (
            Code::NotFound,
            "no node found with api rdk:component:motor and name far:right"
        )
    );
    assert!(
        picture(&near, "cam").await == picture(&far, "cam").await,
        "byte for byte"
    );

    let mut echo = near.echo();
    let said = echo.say(say("far:echo", "hello")).await.expect("unary").into_inner();
    assert_eq!(said.text, "hello");
    let long = "x".repeat(3 << 20);
    let said = echo
        .say(say("far:echo", &long))
        .await
        .expect("a long message")
        .into_inner();
    assert!(said.text == long);
    let count = CountRequest {
        name: "echo".into(),
        until: 5,
        pause_ms: 1,
    };
    let counted = echo.count(count).await.expect("server stream").into_inner();
    assert_eq!(
        counted
            .map(|item| item.expect("a number").value)
            .collect::<Vec<_>>()
            .await,
        [1, 2, 3, 4, 5]
    );
    let values = [1, 2, 39].map(|value| SumRequest {
        name: "far:echo".into(),
        value,
    });
    assert_eq!(
        echo.sum(iter(values)).await.expect("client stream").into_inner().total,
        42
    );
    let lines = ["a", "b"].map(|text| ChatRequest {
        name: "far:echo".into(),
        text: text.into(),
    });
    let answers = echo.chat(iter(lines)).await.expect("bidi").into_inner();
    assert_eq!(
        answers.map(|line| line.expect("a line").text).collect::<Vec<_>>().await,
        ["A", "B"]
    );
    let fail = FailRequest {
        name: "far:echo".into(),
        code: 9,
        message: "the arm is folded".into(),
        trailer: "bent".into(),
    };
    let status = echo.fail(fail).await.expect_err("it was asked to fail");
    assert_eq!(
        rpc::code_and_text(&status),
        (Code::FailedPrecondition, "the arm is folded")
    );
    assert!(status.metadata().contains_key("x-echo-trailer"));

    // What a tool needs to call an API that only the other machine knows.
    let path = "/viam.robot.v1.RobotService/ResourceRPCSubtypes";
    let rows: ResourceRpcSubtypesResponse = near.call(path, &ResourceRpcSubtypesRequest {}).await.expect("rows");
    assert!(
        rows.resource_rpc_subtypes
            .iter()
            .any(|row| row.proto_service.ends_with("EchoService")),
        "{rows:?}"
    );
    let described = near.cli(&["call", "far:echo"]).await;
    assert!(
        described.stdout.contains("say") && described.stdout.contains("count"),
        "{described:?}"
    );

    // One way only.
    assert_eq!(names(&far).await, ["cam", "echo", "left"]);
    let status = near.cli(&["status"]).await.stdout;
    let line = status
        .lines()
        .find(|line| line.starts_with("far "))
        .expect("a line of the remote");
    assert!(line.contains("connected") && line.ends_with('3'), "{line}");
    assert!(status.contains("on far"), "{status}");
    let one: Value = serde_json::from_str(&near.cli(&["remotes", "far", "--json"]).await.stdout).expect("JSON");
    assert_eq!(
        (&one["connected"], one["has"].as_array().map(Vec::len)),
        (&json!(true), Some(3)),
        "{one}"
    );
    let wrong = near.cli(&["remotes", "fare"]).await;
    assert!(wrong.stderr.contains("did you mean `far`?"), "{wrong:?}");
    near.shutdown().await.with_code(0).left_nothing_behind();
    far.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_prefix_stands_in_front_and_what_two_remotes_have_by_one_name_is_nobodys() {
    let one = World::settled(
        Machine::new()
            .resource(Resource::fake("left", "motor"))
            .resource(Resource::fake("a", "motor")),
    )
    .await;
    let two = World::settled(
        Machine::new()
            .resource(Resource::fake("left", "motor"))
            .resource(Resource::fake("b", "motor")),
    )
    .await;
    let entry = |name: &str, of: &World, prefix: &str| {
        let mut entry = remote(name, of);
        entry["prefix"] = prefix.into();
        entry
    };
    let near = Machine::new().set("remotes", json!([entry("one", &one, "x-"), entry("two", &two, "x-")]));
    let mut near = World::start(near).await;
    until_names(&near, &["x-a", "x-b"]).await;
    let contested = set_power(&near, "x-left", None).await.expect_err("it is nobody's");
    let (code, text) = rpc::code_and_text(&contested);
    assert_eq!(code, Code::FailedPrecondition);
    assert!(
        text.starts_with(
            "found multiple nodes matching api rdk:component:motor and name x-left from remotes [one two]"
        ),
        "{text}"
    );
    // A prefix of its own is the cure, while it runs; what the other has is not touched.
    let mut before = near.snapshot().await;
    let changed =
        |now: &mainstay_tests::status::Snapshot, name: &str| now.shown(name).and_then(|shown| shown.last_updated);
    let kept = changed(&before, "x-a");
    near.rewrite(&Machine::new().set("remotes", json!([entry("one", &one, "x-"), entry("two", &two, "y-")])));
    until_names(&near, &["x-a", "x-left", "y-b", "y-left"]).await;
    set_power(&near, "y-left", None).await.expect("moves");
    assert!(powered(&two, "left").await && !powered(&one, "left").await);
    before = near.snapshot().await;
    assert_eq!(changed(&before, "x-a"), kept);
    // Without a prefix, and short: two have it, so it has to be said which.
    near.rewrite(&Machine::new().set("remotes", json!([remote("one", &one), remote("two", &two)])));
    until_names(&near, &["one:a", "one:left", "two:b", "two:left"]).await;
    let ambiguous = set_power(&near, "left", None).await.expect_err("two have it");
    assert!(
        ambiguous.message().ends_with("; ask for one:left or two:left"),
        "{ambiguous:?}"
    );
    set_power(&near, "a", None).await.expect("moves");
    // Our own comes first.
    let own = Machine::new().resource(Resource::fake("left", "motor"));
    near.rewrite(&own.set("remotes", json!([remote("one", &one)])));
    until_names(&near, &["left", "one:a", "one:left"]).await;
    near.until(|now| now.ready("left")).await;
    set_power(&near, "left", None).await.expect("moves");
    assert!(!powered(&one, "left").await);
}

#[tokio::test]
async fn an_unmodified_python_module_depends_on_what_another_machine_has() {
    let far = World::settled(Machine::new().resource(Resource::fake("left", "motor"))).await;
    let tachometer = |name: &str, motor: &str| {
        let sensor = Resource::new(name, "rdk:component:sensor", "tests:python:tachometer");
        sensor.attributes(json!({ "motor": motor }))
    };
    let near = Machine::new()
        .module(Module::python("tachometers", "tachometer.py"))
        .resource(tachometer("short", "left"))
        .resource(tachometer("full", "far:left"))
        .set("remotes", json!([remote("far", &far)]));
    let mut near = World::start(near).await;
    near.until(|now| now.ready("short") && now.ready("full")).await;
    set_power(&far, "left", None).await.expect("moves");
    for name in ["short", "full"] {
        let request = GetReadingsRequest {
            name: name.into(),
            extra: None,
        };
        let path = "/viam.component.sensor.v1.SensorService/GetReadings";
        let answer: GetReadingsResponse = near.call(path, &request).await.expect("readings");
        assert_eq!(
            answer.readings.get("powered").map(rpc::from_value),
            Some(json!(true)),
            "{name}"
        );
    }
    // It waits while the machine is away, and is built anew when that is back.
    let address = far.address().to_owned();
    far.shutdown().await.with_code(0).left_nothing_behind();
    near.until(|now| now.unhealthy("far:left") && !now.ready("short")).await;
    let _back = World::settled(Machine::new().bind(&address).resource(Resource::fake("left", "motor"))).await;
    near.until(|now| now.ready("short") && now.ready("full")).await;
}

#[tokio::test]
async fn a_machine_on_the_python_sdks_own_server_is_a_remote_like_any_other() {
    let here = World::start(Machine::new()).await;
    let port = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        free.local_addr().expect("bound").port()
    };
    let mut server = here.start_python("serve_components.py", &[&port.to_string()]);
    here.rewrite(&Machine::new().set(
        "remotes",
        json!([{ "name": "py", "address": format!("127.0.0.1:{port}"), "insecure": true, "reconnect_interval": "100ms" }]),
    ));
    until_names(&here, &["py:thermometer", "py:wheel"]).await;
    let request = GetReadingsRequest {
        name: "thermometer".into(),
        extra: None,
    };
    let path = "/viam.component.sensor.v1.SensorService/GetReadings";
    let answer: GetReadingsResponse = here.call(path, &request).await.expect("readings");
    let name = answer.readings.get("name").map(rpc::from_value);
    assert_eq!(name, Some(json!("thermometer")), "it hears its own name");
    let request = DoCommandRequest {
        name: "py:thermometer".into(),
        command: Some(rpc::to_struct(&json!({ "a": 1 }))),
    };
    let path = "/viam.component.sensor.v1.SensorService/DoCommand";
    let _heard: DoCommandResponse = here.call(path, &request).await.expect("heard");
    set_power(&here, "wheel", None)
        .await
        .expect("moves, though that server knows no sessions");
    assert!(powered(&here, "py:wheel").await);
    server.kill().expect("it lives");
    server.wait().expect("it ends");
    until_names(&here, &[]).await;
}

#[tokio::test]
async fn machines_that_have_each_other_and_themselves_multiply_nothing() {
    let machine = |name: &str| Machine::new().resource(Resource::fake(name, "motor"));
    let a = World::settled(machine("a")).await;
    let b = World::settled(machine("b")).await;
    let c = World::settled(machine("c")).await;
    let with = |name: &str, own: &World, remotes: Value| own.rewrite(&machine(name).set("remotes", remotes));
    with("a", &a, json!([remote("b", &b), remote("a", &a)]));
    with("b", &b, json!([remote("c", &c), remote("a", &a)]));
    with("c", &c, json!([remote("a", &a)]));
    until_names(&a, &["a", "b:b", "b:c:c"]).await;
    until_names(&b, &["a:a", "b", "c:a:a", "c:c"]).await;
    until_names(&c, &["a:a", "a:b:b", "c"]).await;
    // Longer than any list takes to go round once more.
    let calm = Instant::now() + Duration::from_millis(1500);
    while Instant::now() < calm {
        assert_eq!(names(&a).await, ["a", "b:b", "b:c:c"]);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    set_power(&a, "b:c:c", None).await.expect("moves two machines away");
    assert!(powered(&c, "c").await);
}

#[tokio::test]
async fn the_status_tells_which_machine_a_resource_is_on_and_whether_it_is_there() {
    let far = World::settled(Machine::new().resource(Resource::fake("left", "motor"))).await;
    let mut near = World::start(Machine::new().set("remotes", json!([remote("far", &far)]))).await;
    let now = near.until(|now| now.ready("far:left")).await;
    let status = now.resource("far:left").expect("listed");
    assert_eq!(
        (status.remote.as_deref(), status.reachability()),
        (Some("far"), Reachability::Reachable)
    );
    let machine = now.resource("far").expect("the remote itself");
    let name = machine.name.clone().expect("a name");
    assert_eq!(
        (name.namespace.as_str(), name.r#type.as_str(), name.subtype.as_str()),
        ("rdk", "remote", "")
    );
    drop(far);
    let now = near
        .until(|now| now.unhealthy("far:left") && now.unhealthy("far"))
        .await;
    let status = now.resource("far:left").expect("still known");
    assert_eq!(status.reachability(), Reachability::RemoteDisconnected);
}
