//! Modules that may call less than everything: their dependencies, or what roles allow.

use mainstay_proto::viam::common::v1::{DoCommandRequest, DoCommandResponse, GetReadingsRequest, GetReadingsResponse};
use mainstay_proto::viam::component::board::v1::{StreamTicksRequest, StreamTicksResponse};
use mainstay_proto::viam::component::motor::v1::{
    IsPoweredRequest, IsPoweredResponse, SetPowerRequest, SetPowerResponse, StopRequest, StopResponse,
};
use mainstay_proto::viam::robot::v1::{
    GetMachineStatusRequest, GetMachineStatusResponse, ResourceNamesRequest, ResourceNamesResponse,
    RestartModuleRequest, RestartModuleResponse, restart_module_request::IdOrName,
};
use mainstay_tests::echo::{ReportRequest, ReportResponse};
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::rpc;
use mainstay_tests::world::{PATIENCE, World};
use serde_json::{Value, json};
use tonic::{Code, Status};

const MOTOR: &str = "/viam.component.motor.v1.MotorService";
const ROBOT: &str = "/viam.robot.v1.RobotService";

/// The module `pilot`, whose resource depends on `left`, with this access.
fn machine(access: Option<Value>) -> Machine {
    let pilot = Module::fixture("pilot");
    let pilot = match access {
        Some(access) => pilot.set("access", access),
        None => pilot,
    };
    Machine::new()
        .module(pilot)
        .module(Module::family("nose"))
        .resource(Resource::echo("pilot").depends_on(&["left"]))
        .resource(Resource::of("nose", "echo", "sniffer"))
        .resource(Resource::fake("left", "motor"))
        .resource(Resource::fake("right", "motor"))
        .resource(Resource::fake("pi", "board"))
}

async fn settled(access: Option<Value>) -> World {
    let mut world = World::settled(machine(access)).await;
    world
        .until(|now| {
            ["pilot", "sniffer", "left", "right", "pi"]
                .iter()
                .all(|name| now.ready(name))
        })
        .await;
    world
}

/// Sets a motor going, as the module.
async fn set_power(world: &World, name: &str) -> Result<SetPowerResponse, Status> {
    let request = SetPowerRequest {
        name: name.into(),
        power_pct: 0.5,
        extra: None,
    };
    world.from_module("pilot", &format!("{MOTOR}/SetPower"), &request).await
}

async fn is_powered(world: &World, name: &str) -> Result<IsPoweredResponse, Status> {
    let request = IsPoweredRequest {
        name: name.into(),
        extra: None,
    };
    world
        .from_module("pilot", &format!("{MOTOR}/IsPowered"), &request)
        .await
}

async fn restart_nose(world: &World) -> Result<RestartModuleResponse, Status> {
    let request = RestartModuleRequest {
        id_or_name: Some(IdOrName::ModuleName("nose".into())),
    };
    world
        .from_module("pilot", &format!("{ROBOT}/RestartModule"), &request)
        .await
}

async fn report(world: &World, name: &str) -> Result<ReportResponse, Status> {
    let request = ReportRequest { name: name.into() };
    world
        .from_module("pilot", "/mainstay.tests.echo.v1.EchoService/Report", &request)
        .await
}

fn denied<T: std::fmt::Debug>(outcome: Result<T, Status>, told: &[&str]) {
    let refused = outcome.expect_err("refused");
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
    for told in told {
        assert!(refused.message().contains(told), "no `{told}` in {refused:?}");
    }
}

#[tokio::test]
async fn a_module_calls_what_its_resources_depend_on_and_reads_the_machine_and_no_more() {
    let world = settled(Some(json!("dependencies"))).await;
    set_power(&world, "left").await.expect("a dependency");
    report(&world, "pilot").await.expect("its own");
    let _: ResourceNamesResponse = world
        .from_module("pilot", &format!("{ROBOT}/ResourceNames"), &ResourceNamesRequest {})
        .await
        .expect("names");
    let _: GetMachineStatusResponse = world
        .from_module(
            "pilot",
            &format!("{ROBOT}/GetMachineStatus"),
            &GetMachineStatusRequest {},
        )
        .await
        .expect("a status");
    let stop = StopRequest {
        name: "right".into(),
        extra: None,
    };
    let _: StopResponse = world
        .from_module("pilot", &format!("{MOTOR}/Stop"), &stop)
        .await
        .expect("whatever stops something");
    let nowhere = set_power(&world, "nowhere").await.expect_err("there is none");
    assert_eq!(nowhere.code(), Code::NotFound, "{nowhere:?}");

    denied(
        set_power(&world, "right").await,
        &[
            "module `pilot`",
            "`SetPower`",
            "`rdk:component:motor/right`",
            "`depends_on`",
        ],
    );
    denied(is_powered(&world, "right").await, &["`IsPowered`"]);
    denied(report(&world, "sniffer").await, &["tests:component:echo/sniffer"]);
    let ticks = StreamTicksRequest {
        name: "pi".into(),
        pin_names: vec!["7".into()],
        extra: None,
    };
    let ticks: Result<StreamTicksResponse, Status> = world
        .from_module("pilot", "/viam.component.board.v1.BoardService/StreamTicks", &ticks)
        .await;
    denied(ticks, &["`StreamTicks`"]);
    denied(restart_nose(&world).await, &["RestartModule", "access: dependencies"]);
    // A command to a custom component goes by the generic service.
    let command = DoCommandRequest {
        name: "sniffer".into(),
        command: None,
    };
    let command: Result<DoCommandResponse, Status> = world
        .from_module("pilot", "/viam.component.generic.v1.GenericService/DoCommand", &command)
        .await;
    denied(command, &["sniffer"]);

    let shown = world.cli(&["explain", "--denied"]).await.stdout;
    for told in [
        "module pilot (access: dependencies)",
        "SetPower",
        "rdk:component:motor/right",
    ] {
        assert!(shown.contains(told), "no `{told}` in {shown}");
    }
    // Nobody else is limited by that.
    crate::sessions::set_power(&world, "right", None)
        .await
        .expect("a client moves");
}

#[tokio::test]
async fn what_a_module_may_call_changes_while_it_runs() {
    let mut world = settled(None).await;
    let pid = world.snapshot().await.pid("pilot");
    set_power(&world, "right").await.expect("everything");
    let roles = json!({ "rights": { "allow": [{ "resource": "righ*", "methods": ["SetPower"] }] } });
    let with_roles = machine(Some(json!({ "roles": ["rights", "viewer"] }))).set("auth", json!({ "roles": roles }));
    for (next, left, right, restart) in [
        (machine(Some(json!("dependencies"))), true, false, false),
        (with_roles, false, true, false),
        (machine(Some(json!({ "roles": ["owner"] }))), true, true, true),
        (machine(Some(json!({ "roles": ["nobody"] }))), false, false, false),
        (machine(Some(json!("everything"))), true, true, true),
    ] {
        world.rewrite(&next);
        let end = std::time::Instant::now() + PATIENCE;
        loop {
            let seen = (
                set_power(&world, "left").await.is_ok(),
                set_power(&world, "right").await.is_ok(),
            );
            if seen == (left, right) {
                break;
            }
            assert!(std::time::Instant::now() < end, "left, right: {seen:?}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        report(&world, "pilot").await.expect("its own");
        if !restart {
            denied(restart_nose(&world).await, &["RestartModule"]);
        }
    }
    let now = world.until(|now| now.ready("pilot")).await;
    assert_eq!(now.pid("pilot"), pid, "its process goes on");
}

#[tokio::test]
async fn a_module_of_the_python_sdk_lives_with_its_dependencies_alone() {
    let tachometer = |access: Value| {
        Machine::new()
            .module(Module::python("gauges", "tachometer.py").set("access", access))
            .resource(Resource::fake("turns", "encoder"))
            .resource(
                Resource::fake("left", "motor").attributes(json!({ "encoder": "turns", "ticks_per_rotation": 100 })),
            )
            .resource(
                Resource::new("tacho", "rdk:component:sensor", "tests:python:tachometer")
                    .attributes(json!({ "motor": "left" })),
            )
    };
    let mut world = World::start(tachometer(json!("dependencies"))).await;
    world.until(|now| now.ready("tacho")).await;
    let command = DoCommandRequest {
        name: "tacho".into(),
        command: Some(rpc::to_struct(&json!({ "power": 0.5 }))),
    };
    let sensor = "/viam.component.sensor.v1.SensorService";
    let _: DoCommandResponse = world
        .call(&format!("{sensor}/DoCommand"), &command)
        .await
        .expect("moves its motor");
    let request = GetReadingsRequest {
        name: "tacho".into(),
        extra: None,
    };
    let read: GetReadingsResponse = world
        .call(&format!("{sensor}/GetReadings"), &request)
        .await
        .expect("reads it");
    assert_eq!(read.readings.get("power").map(rpc::from_value), Some(json!(0.5)));

    let mut world = World::start(tachometer(json!({ "roles": ["viewer"] }))).await;
    world.until(|now| now.ready("tacho")).await;
    let refused: Result<DoCommandResponse, Status> = world.call(&format!("{sensor}/DoCommand"), &command).await;
    let refused = refused.expect_err("a viewer moves nothing");
    assert!(
        refused
            .message()
            .contains("module `gauges` (role viewer) may not call `SetPower`"),
        "{refused:?}"
    );
    let _: GetReadingsResponse = world
        .call(&format!("{sensor}/GetReadings"), &request)
        .await
        .expect("a viewer reads");
}
