//! The binary itself, driven over its socket by the typed clients of the SDK.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use mainstay_module::{Code, Robot, api::camera::JPEG, object, prelude::*};
use mainstay_proto::viam::{
    app::v1::ComponentConfig,
    module::v1::{
        AddResourceRequest, ReadyRequest, RemoveResourceRequest, ValidateConfigRequest,
        module_service_client::ModuleServiceClient,
    },
};
use nix::{sys::signal, unistd::Pid};
use prost_types::{Struct, value::Kind};
use tempfile::TempDir;
use tokio::time::sleep;

const BINARY: &str = env!("CARGO_BIN_EXE_mainstay-builtins");
/// Longest wait for anything; far more than it takes.
const LIMIT: Duration = Duration::from_secs(20);

/// A running module. Dropping it kills it.
struct Fake {
    process: Child,
    socket: PathBuf,
    robot: Robot,
    _home: TempDir,
}

impl Fake {
    async fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let socket = home.path().join("fake.sock");
        let mut command = Command::new(BINARY);
        command
            .arg(&socket)
            .arg("--builtin=fake")
            .env("VIAM_NO_MODULE_PARENT", "true")
            .stdin(Stdio::null());
        let process = command.spawn().unwrap();
        let begin = Instant::now();
        let robot = loop {
            match Robot::connect(socket.to_str().unwrap()).await {
                Ok(robot) => break robot,
                Err(error) => assert!(begin.elapsed() < LIMIT, "{error}"),
            }
            sleep(Duration::from_millis(5)).await;
        };
        Self {
            process,
            socket,
            robot,
            _home: home,
        }
    }

    fn module(&self) -> ModuleServiceClient<mainstay_module::Connection> {
        ModuleServiceClient::with_origin(self.robot.connection().clone(), "http://localhost".parse().unwrap())
    }

    async fn add(&self, subtype: &str, name: &str, attributes: serde_json::Value, dependencies: &[&str]) {
        let config = Some(config(subtype, name, attributes));
        let dependencies = dependencies.iter().map(ToString::to_string).collect();
        self.module()
            .add_resource(AddResourceRequest { config, dependencies })
            .await
            .unwrap();
    }

    async fn end(mut self, with: signal::Signal) -> ExitStatus {
        signal::kill(Pid::from_raw(self.process.id().cast_signed()), with).unwrap();
        let begin = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(begin.elapsed() < LIMIT, "it does not end");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        // It has ended already in most tests.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn config(subtype: &str, name: &str, attributes: serde_json::Value) -> ComponentConfig {
    let fields = attributes.as_object().unwrap().clone();
    ComponentConfig {
        name: name.into(),
        api: format!("rdk:component:{subtype}"),
        model: "rdk:builtin:fake".into(),
        attributes: Some(Struct {
            fields: fields.into_iter().map(|(key, value)| (key, wire(value))).collect(),
        }),
        ..Default::default()
    }
}

/// The few kinds of values that the tests configure.
fn wire(value: serde_json::Value) -> prost_types::Value {
    let kind = match value {
        serde_json::Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap()),
        serde_json::Value::String(text) => Kind::StringValue(text),
        serde_json::Value::Bool(truth) => Kind::BoolValue(truth),
        other => panic!("no test needs {other}"),
    };
    prost_types::Value { kind: Some(kind) }
}

#[tokio::test]
async fn a_motor_turns_its_encoder_in_the_process_that_serves_both() {
    let fake = Fake::start().await;
    let ready = fake.module().ready(ReadyRequest::default()).await.unwrap().into_inner();
    assert!(ready.ready && ready.handlermap.unwrap().handlers.len() == 25);

    let attributes = serde_json::json!({"encoder": "enc", "ticks_per_rotation": 100});
    let config = Some(config("motor", "m", attributes.clone()));
    let needs = fake
        .module()
        .validate_config(ValidateConfigRequest { config })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(needs.dependencies, ["rdk:component:encoder/enc"]);
    fake.add("encoder", "enc", serde_json::json!({"update_rate_msec": 1}), &[])
        .await;
    fake.add("motor", "m", attributes, &["rdk:component:encoder/enc"]).await;

    let motor = fake.robot.resource::<dyn Motor>("m").unwrap();
    let encoder = fake.robot.resource::<dyn Encoder>("enc").unwrap();
    motor.set_power(1.0, NO_EXTRA).await.unwrap();
    let begin = Instant::now();
    while encoder.position(None, NO_EXTRA).await.unwrap().value < 1.0 {
        assert!(begin.elapsed() < LIMIT, "the encoder does not turn");
        sleep(Duration::from_millis(1)).await;
    }
    motor.stop(NO_EXTRA).await.unwrap();
    let before = motor.position(NO_EXTRA).await.unwrap();
    motor.go_for(100.0, -0.25, NO_EXTRA).await.unwrap();
    assert!((motor.position(NO_EXTRA).await.unwrap() - (before - 0.25)).abs() < 1e-9);

    // A caller that leaves stops what it began.
    let run = motor.go_for(10.0, 100.0, NO_EXTRA);
    assert!(tokio::time::timeout(Duration::from_millis(50), run).await.is_err());
    let begin = Instant::now();
    while motor.is_moving().await.unwrap() {
        assert!(begin.elapsed() < LIMIT, "the motor goes on");
        sleep(Duration::from_millis(1)).await;
    }

    let name = "rdk:component:motor/m".to_owned();
    fake.module()
        .remove_resource(RemoveResourceRequest { name })
        .await
        .unwrap();
    assert_eq!(motor.is_moving().await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn every_fake_answers_over_the_wire_and_the_process_stays_small() {
    let fake = Fake::start().await;
    for n in 0..14 {
        for subtype in ["sensor", "generic"] {
            fake.add(subtype, &format!("{subtype}{n}"), serde_json::json!({}), &[])
                .await;
        }
    }
    fake.add("camera", "cam", serde_json::json!({"width": 640, "height": 480}), &[])
        .await;
    fake.add("board", "board", serde_json::json!({}), &[]).await;

    let sensor = fake.robot.resource::<dyn Sensor>("sensor13").unwrap();
    assert_eq!(
        sensor.readings(NO_EXTRA).await.unwrap(),
        object! { "a" => 1, "b" => 2, "c" => 3 }
    );
    let generic = fake.robot.resource::<dyn Generic>("generic0").unwrap();
    assert_eq!(
        generic.do_command(object! { "x" => "y" }).await.unwrap(),
        object! { "x" => "y" }
    );
    let board = fake.robot.resource::<dyn Board>("board").unwrap();
    board.set_gpio("3", true, NO_EXTRA).await.unwrap();
    assert!(board.gpio("3", NO_EXTRA).await.unwrap());
    let mut ticks = board.ticks(&[], NO_EXTRA).await.unwrap();

    let camera = fake.robot.resource::<dyn Camera>("cam").unwrap();
    let images = camera.images(&[], NO_EXTRA).await.unwrap();
    assert!(images.images[0].mime_type == JPEG && images.images[0].bytes.starts_with(b"\xff\xd8\xff"));
    let twice = ["a".to_owned(), "a".to_owned()];
    let error = camera.images(&twice, NO_EXTRA).await.unwrap_err();
    assert!(
        error.message().contains("duplicate source name in filter: a"),
        "{error}"
    );
    let cloud = camera.point_cloud("pointcloud/pcd", NO_EXTRA).await.unwrap();
    assert!(cloud.bytes.len() > 640 * 480 * 16);

    if let Some(kib) = resident_kib(fake.process.id()) {
        // An unoptimised build needs about half of this; the cloud must not stay.
        assert!(kib < 24 * 1024, "{kib} KiB resident");
    }
    // Removing a board ends its streams, also one that nothing ever comes through.
    let name = "rdk:component:board/board".to_owned();
    fake.module()
        .remove_resource(RemoveResourceRequest { name })
        .await
        .unwrap();
    assert!(
        tokio::time::timeout(LIMIT, ticks.next())
            .await
            .unwrap()
            .is_none_or(|tick| tick.is_err())
    );
}

/// Memory in use, where the system tells.
fn resident_kib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

#[tokio::test]
async fn a_signal_ends_it_well_and_takes_its_socket_away() {
    for with in [signal::Signal::SIGTERM, signal::Signal::SIGINT] {
        let fake = Fake::start().await;
        fake.add("sensor", "s", serde_json::json!({}), &[]).await;
        let socket = fake.socket.clone();
        let status = fake.end(with).await;
        assert!(status.success(), "{with}: {status}");
        assert!(!socket.exists(), "{with}");
    }
}

#[tokio::test]
async fn standard_input_can_be_the_one_connection_and_its_end_is_the_end_of_the_process() {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut process = Command::new(BINARY)
        .args(["-", "--builtin=fake"])
        .stdin(std::os::fd::OwnedFd::from(theirs))
        .spawn()
        .unwrap();
    sleep(Duration::from_millis(100)).await;
    assert_eq!(process.try_wait().unwrap(), None, "it waits for calls");
    drop(ours);
    let begin = Instant::now();
    let status = loop {
        if let Some(status) = process.try_wait().unwrap() {
            break status;
        }
        assert!(begin.elapsed() < LIMIT, "it does not end");
        sleep(Duration::from_millis(5)).await;
    };
    assert!(status.success(), "{status}");

    let output = Command::new(BINARY)
        .args(["-", "--builtin=fake"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && told.contains("a connected UNIX socket"),
        "{told}"
    );
}

#[test]
fn the_manifest_is_one_line_of_json_and_wrong_arguments_are_told() {
    let output = Command::new(BINARY).arg("manifest").output().unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(manifest["modules"][0]["name"], "fake");
    for (arguments, text) in [
        (&[][..], "no arguments given"),
        (&["/tmp/none.sock"], "no `--builtin=NAME` given"),
        (
            &["/tmp/none.sock", "--builtin=fale"],
            "there is no built-in module `fale`, only: fake",
        ),
    ] {
        let output = Command::new(BINARY).args(arguments).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.code() == Some(2) && told.contains(text),
            "{arguments:?}: {told}"
        );
    }
}
