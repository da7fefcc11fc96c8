//! RobotService, method by method, as far as no other file is about it.

use mainstay_proto::viam::common::v1::LogEntry;
use mainstay_proto::viam::robot::v1::{
    GetCloudMetadataRequest, GetCloudMetadataResponse, GetMachineStatusRequest, GetMachineStatusResponse,
    GetModelsFromModulesRequest, GetModelsFromModulesResponse, GetVersionRequest, GetVersionResponse, LogRequest,
    LogResponse, ResourceNamesRequest, ResourceNamesResponse, ResourceRpcSubtypesRequest, ResourceRpcSubtypesResponse,
};
use mainstay_tests::echo;
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::raw::{RawConnection, RawRequest};
use mainstay_tests::world::World;
use serde_json::json;
use tonic::Code;

use crate::machine::command;

const NAMES: &str = "/viam.robot.v1.RobotService/ResourceNames";

async fn world() -> World {
    let machine = Machine::new()
        .module(Module::fixture("eyes"))
        .resource(Resource::probe("zebra"))
        .resource(Resource::echo("echo"))
        .resource(Resource::fake("motor", "motor"))
        .resource(Resource::new("helper", "rdk:service:generic", "fake"))
        .resource(Resource::probe("sick").attributes(json!({ "fault": "build-error" })));
    World::settled(machine).await
}

#[tokio::test]
async fn names_come_in_config_order_and_without_what_cannot_be_used() {
    let world = world().await;
    let full = |answer: ResourceNamesResponse| -> Vec<String> {
        let names = answer.resources.into_iter();
        names
            .map(|name| format!("{}:{}:{}/{}", name.namespace, name.r#type, name.subtype, name.name))
            .collect()
    };
    let names = full(
        world
            .call(NAMES, &ResourceNamesRequest::default())
            .await
            .expect("answers"),
    );
    let configured: Vec<_> = names.iter().filter(|name| !name.ends_with("/builtin")).collect();
    assert_eq!(
        configured,
        [
            "rdk:component:sensor/zebra",
            "tests:component:echo/echo",
            "rdk:component:motor/motor",
            "rdk:service:generic/helper"
        ]
    );
    let inside = full(
        world
            .from_module("echo", NAMES, &ResourceNamesRequest::default())
            .await
            .expect("answers"),
    );
    assert_eq!(inside, names, "a module sees the same");
}

#[tokio::test]
async fn each_api_has_a_row_with_its_service() {
    let world = world().await;
    let path = "/viam.robot.v1.RobotService/ResourceRPCSubtypes";
    let answer: ResourceRpcSubtypesResponse = world
        .call(path, &ResourceRpcSubtypesRequest::default())
        .await
        .expect("answers");
    let rows: Vec<_> = answer
        .resource_rpc_subtypes
        .into_iter()
        .map(|row| {
            let api = row.subtype.unwrap_or_default();
            assert!(api.name.is_empty());
            (
                format!("{}:{}:{}", api.namespace, api.r#type, api.subtype),
                row.proto_service,
            )
        })
        .collect();
    for (api, service) in [
        (echo::API, echo::SERVICE),
        ("rdk:component:motor", "viam.component.motor.v1.MotorService"),
        ("rdk:component:sensor", "viam.component.sensor.v1.SensorService"),
        ("rdk:service:generic", "viam.service.generic.v1.GenericService"),
    ] {
        let found = rows
            .iter()
            .filter(|row| **row == (api.to_owned(), service.to_owned()))
            .count();
        assert_eq!(found, 1, "{api} {service} in {rows:?}");
    }
}

#[tokio::test]
async fn models_of_configured_modules_are_listed() {
    let world = world().await;
    let path = "/viam.robot.v1.RobotService/GetModelsFromModules";
    let answer: GetModelsFromModulesResponse = world
        .call(path, &GetModelsFromModulesRequest::default())
        .await
        .expect("answers");
    let models: Vec<_> = answer
        .models
        .iter()
        .map(|model| {
            (
                model.module_name.as_str(),
                model.model.as_str(),
                model.api.as_str(),
                model.from_local_module,
            )
        })
        .collect();
    assert_eq!(
        models,
        [
            ("eyes", "tests:fixture:probe", "rdk:component:sensor", true),
            ("eyes", "tests:fixture:generic", "rdk:component:generic", true),
            ("eyes", "tests:fixture:echo", "tests:component:echo", true),
        ]
    );
}

#[tokio::test]
async fn it_says_what_it_is_and_that_it_has_no_cloud() {
    let world = world().await;
    let version: GetVersionResponse = world
        .call("/viam.robot.v1.RobotService/GetVersion", &GetVersionRequest::default())
        .await
        .expect("answers");
    assert_eq!(
        (version.platform.as_str(), version.api_version.as_str()),
        ("mainstay", "v0.1.601")
    );
    assert!(!version.version.is_empty());
    let path = "/viam.robot.v1.RobotService/GetCloudMetadata";
    let status = world
        .call::<_, GetCloudMetadataResponse>(path, &GetCloudMetadataRequest::default())
        .await;
    let status = status.expect_err("there is no cloud");
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(
        status.message().starts_with("cloud metadata not available"),
        "{status:?}"
    );
}

#[tokio::test]
async fn a_config_of_the_cloud_says_which_machine_it_is() {
    let cloud = json!({
        "id": "part-1", "secret": "s", "machine_id": "machine-1", "location_id": "place-1", "primary_org_id": "org-1",
    });
    let machine = Machine::new()
        .module(Module::fixture("eyes").set("env", json!({ "VIAM_LOCATION_ID": "its own" })))
        .resource(Resource::new("box", "rdk:component:generic", "tests:fixture:generic"))
        .set("cloud", cloud);
    let mut world = World::settled(machine).await;
    world.until(|now| now.ready("box")).await;
    let path = "/viam.robot.v1.RobotService/GetCloudMetadata";
    let told: GetCloudMetadataResponse = world
        .call(path, &GetCloudMetadataRequest::default())
        .await
        .expect("metadata");
    let expected = GetCloudMetadataResponse {
        primary_org_id: "org-1".into(),
        location_id: "place-1".into(),
        machine_id: "machine-1".into(),
        machine_part_id: "part-1".into(),
    };
    assert_eq!(told, expected);
    let status: GetMachineStatusResponse = world
        .call(
            "/viam.robot.v1.RobotService/GetMachineStatus",
            &GetMachineStatusRequest::default(),
        )
        .await
        .expect("a status");
    assert!(
        status
            .resources
            .iter()
            .all(|resource| resource.cloud_metadata.as_ref() == Some(&expected)),
        "{status:?}"
    );
    for (variable, value) in [
        ("VIAM_MACHINE_PART_ID", json!("part-1")),
        ("VIAM_MACHINE_ID", json!("machine-1")),
        ("VIAM_LOCATION_ID", json!("its own")),
        ("VIAM_PRIMARY_ORG_ID", json!("org-1")),
        ("VIAM_MACHINE_FQDN", json!(null)),
    ] {
        let env = command(&world, "box", json!({ "env": variable }))
            .await
            .expect("answers");
        assert_eq!(env["env"], value, "{variable}");
    }
}

#[tokio::test]
async fn log_takes_any_number_of_entries_and_any_level_and_names_the_module() {
    let world = world().await;
    let path = "/viam.robot.v1.RobotService/Log";
    let entry = |level: &str, message: &str| LogEntry {
        level: level.into(),
        logger_name: "rdk:component:sensor/zebra".into(),
        message: message.into(),
        ..LogEntry::default()
    };
    let logs = ["info", "WARNING", "CRITICAL", "fatal", "unheard-of"];
    let logs = logs.map(|level| entry(level, &format!("message at {level}"))).to_vec();
    let _: LogResponse = world
        .from_module("echo", path, &LogRequest { logs })
        .await
        .expect("taken");
    let _: LogResponse = world
        .from_module("echo", path, &LogRequest::default())
        .await
        .expect("nothing is fine");
    for level in ["info", "WARNING", "CRITICAL", "fatal", "unheard-of"] {
        world.until_printed(&format!("message at {level}")).await;
    }
    let output = world.output();
    let line = output
        .lines()
        .find(|line| line.contains("message at CRITICAL"))
        .expect("printed");
    assert!(line.contains("eyes"), "{line}");
}

#[tokio::test]
async fn what_is_not_offered_yet_says_so() {
    let world = world().await;
    let connection = RawConnection::open(world.address()).await;
    for path in [
        "/viam.robot.v1.RobotService/GetStatus",
        "/viam.robot.v1.RobotService/StreamStatus",
        "/viam.robot.v1.RobotService/FrameSystemConfig",
        "/viam.robot.v1.RobotService/TransformPose",
        "/proto.rpc.webrtc.v1.SignalingService/OptionalWebRTCConfig",
        "/proto.rpc.webrtc.v1.SignalingService/Call",
        "/proto.rpc.v1.AuthService/Authenticate",
    ] {
        let answer = connection.call(RawRequest::new(path).frame(0, 0, &[])).await;
        assert_eq!(answer.code, Some(Code::Unimplemented as i32), "{path}: {answer:?}");
    }
}

#[tokio::test]
async fn the_status_has_every_entry_and_its_module() {
    let world = world().await;
    let now = world.snapshot().await;
    assert!(
        now.ready("zebra") && now.ready("echo") && now.ready("motor") && now.unhealthy("sick"),
        "{now:?}"
    );
    assert!(now.module_ready("eyes") && now.module_ready("builtin:fake"), "{now:?}");
    let zebra = now.resource("zebra").expect("listed");
    assert!(
        zebra.error.is_empty() && zebra.last_updated.is_some() && zebra.cloud_metadata.is_some(),
        "{zebra:?}"
    );
    assert!(now.machine.config.is_some());
}
