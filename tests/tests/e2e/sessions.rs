//! When a client that moved something goes silent, what it moved stops.

use std::time::{Duration, Instant};

use mainstay_proto::viam::common::v1::DoCommandRequest;
use mainstay_proto::viam::component::motor::v1::{
    IsPoweredRequest, IsPoweredResponse, SetPowerRequest, SetPowerResponse,
};
use mainstay_proto::viam::robot::v1::{
    GetSessionsRequest, GetSessionsResponse, SendSessionHeartbeatRequest, SendSessionHeartbeatResponse,
    StartSessionRequest, StartSessionResponse,
};
use mainstay_tests::echo::MoveRequest;
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::rpc;
use mainstay_tests::world::{PATIENCE, World};
use prost::Message;
use serde_json::json;
use tonic::{Code, Request, Status};

const START: &str = "/viam.robot.v1.RobotService/StartSession";
const HEARTBEAT: &str = "/viam.robot.v1.RobotService/SendSessionHeartbeat";
const SESSIONS: &str = "/viam.robot.v1.RobotService/GetSessions";
const SET_POWER: &str = "/viam.component.motor.v1.MotorService/SetPower";

async fn world(window: &str) -> World {
    let machine = Machine::new()
        .heartbeat_window(window)
        .module(Module::fixture("eyes"))
        .resource(Resource::echo("echo"))
        .resource(Resource::fake("left", "motor"))
        .resource(Resource::fake("right", "motor"));
    World::settled(machine).await
}

async fn start(world: &World) -> StartSessionResponse {
    world
        .call(START, &StartSessionRequest::default())
        .await
        .expect("a session")
}

async fn beat(world: &World, id: &str) -> Result<SendSessionHeartbeatResponse, Status> {
    world
        .call(HEARTBEAT, &SendSessionHeartbeatRequest { id: id.into() })
        .await
}

/// Sets a motor going, within a session if one is given.
pub async fn set_power(world: &World, name: &str, session: Option<&str>) -> Result<(), Status> {
    let request = SetPowerRequest {
        name: name.into(),
        power_pct: 0.5,
        extra: None,
    };
    let mut request = Request::new(request.encode_to_vec().into());
    if let Some(id) = session {
        request.metadata_mut().insert("viam-sid", id.parse().expect("ASCII"));
    }
    let answer = rpc::call_raw(world.channel(), SET_POWER, request).await?;
    SetPowerResponse::decode(answer.into_inner()).expect("a readable answer");
    Ok(())
}

/// True while a motor has power.
pub async fn powered(world: &World, name: &str) -> bool {
    let request = IsPoweredRequest {
        name: name.into(),
        extra: None,
    };
    let answer: IsPoweredResponse = world
        .call("/viam.component.motor.v1.MotorService/IsPowered", &request)
        .await
        .expect("answers");
    answer.is_on
}

async fn until_stopped(world: &World, name: &str) -> Duration {
    let begun = Instant::now();
    while powered(world, name).await {
        assert!(begun.elapsed() < PATIENCE, "{name} was never stopped");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    begun.elapsed()
}

#[tokio::test]
async fn a_motor_stops_within_the_window_after_its_client_went_silent() {
    let world = world("400ms").await;
    let session = start(&world).await;
    let window = session.heartbeat_window.expect("a window");
    assert_eq!((window.seconds, window.nanos), (0, 400_000_000));
    set_power(&world, "left", Some(&session.id)).await.expect("moves");
    set_power(&world, "right", None).await.expect("moves");
    // While it is heard of, nothing happens for several windows.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(1300) {
        beat(&world, &session.id).await.expect("alive");
        assert!(powered(&world, "left").await);
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    let took = until_stopped(&world, "left").await;
    assert!((200..3000).contains(&took.as_millis()), "stopped after {took:?}");
    assert!(powered(&world, "right").await, "it belongs to nobody");
    let status = beat(&world, &session.id).await.expect_err("expired");
    assert_eq!(
        (status.code(), status.message()),
        (Code::InvalidArgument, "SESSION_EXPIRED")
    );
}

/// Has the fixture's resource `pilot` say that it moves a motor on its caller's behalf, and returns the name as the caller is told it.
pub async fn pilot(world: &World, pilot: &str, motor: &str, session: Option<&str>) -> String {
    let command = json!({ "answer_for": motor });
    let request = DoCommandRequest {
        name: pilot.into(),
        command: Some(rpc::to_struct(&command)),
    };
    let mut request = Request::new(request.encode_to_vec().into());
    if let Some(id) = session {
        request.metadata_mut().insert("viam-sid", id.parse().expect("ASCII"));
    }
    let path = "/viam.component.generic.v1.GenericService/DoCommand";
    let answer = rpc::call_raw(world.channel(), path, request).await.expect("answers");
    let told = answer.metadata().get("viam-smrn").expect("the name is told");
    told.to_str().expect("ASCII").to_owned()
}

/// Has the fixture's resource `pilot` start a motor.
pub async fn set_power_from(world: &World, pilot: &str, motor: &str) {
    let request = SetPowerRequest {
        name: motor.into(),
        power_pct: 0.5,
        extra: None,
    };
    let _moved: SetPowerResponse = world.from_module(pilot, SET_POWER, &request).await.expect("moves");
}

#[tokio::test]
async fn what_a_module_moves_on_a_clients_behalf_stops_with_that_client_alone() {
    let world = world("400ms").await;
    let session = start(&world).await;
    for motor in ["left", "right"] {
        set_power_from(&world, "echo", motor).await;
    }
    let left = "rdk:component:motor/left";
    assert_eq!(pilot(&world, "echo", left, Some(&session.id)).await, left);
    let right = "rdk:component:motor/right";
    assert_eq!(pilot(&world, "echo", right, None).await, right);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(1000) {
        beat(&world, &session.id).await.expect("alive");
        assert!(powered(&world, "left").await);
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    until_stopped(&world, "left").await;
    assert!(powered(&world, "right").await, "nobody's session answers for it");
}

#[tokio::test]
async fn an_actuator_of_a_custom_api_is_stopped_like_any_other() {
    let world = world("300ms").await;
    let session = start(&world).await;
    let mut request = Request::new(MoveRequest { name: "echo".into() });
    request
        .metadata_mut()
        .insert("viam-sid", session.id.parse().expect("ASCII"));
    world.echo().r#move(request).await.expect("moves");
    let report = world.until_report("echo", |report| !report.moving).await;
    assert_eq!((report.moves, report.stops), (1, 1), "{report:?}");
}

#[tokio::test]
async fn a_call_without_a_session_takes_the_actuator_out_of_it() {
    let world = world("300ms").await;
    let session = start(&world).await;
    set_power(&world, "left", Some(&session.id)).await.expect("moves");
    set_power(&world, "right", Some(&session.id)).await.expect("moves");
    set_power(&world, "left", None).await.expect("moves");
    until_stopped(&world, "right").await;
    // Both belong to the same check: had it meant `left` as well, that would have been stopped with it or just after.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(powered(&world, "left").await);
}

#[tokio::test]
async fn the_calls_themselves_keep_a_session_alive() {
    let world = world("400ms").await;
    let session = start(&world).await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(1200) {
        set_power(&world, "left", Some(&session.id))
            .await
            .expect("the session lives");
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
}

#[tokio::test]
async fn sessions_that_are_none_are_refused_in_the_words_that_clients_know() {
    let world = world("2s").await;
    let unknown = "7a2c7a3e-0000-4000-8000-0123456789ab";
    let status = set_power(&world, "left", Some(unknown))
        .await
        .expect_err("no such session");
    assert_eq!(
        (status.code(), status.message()),
        (Code::InvalidArgument, "SESSION_EXPIRED")
    );
    assert!(!powered(&world, "left").await, "the call went through all the same");
    for bad in ["no-uuid", ""] {
        assert_eq!(
            beat(&world, bad).await.expect_err("no UUID").code(),
            Code::InvalidArgument
        );
    }
    let status = set_power(&world, "left", Some("no-uuid")).await.expect_err("no UUID");
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_live_session_can_be_resumed_and_is_listed() {
    let world = world("2s").await;
    let first = start(&world).await;
    let resume = |id: &str| StartSessionRequest { resume: id.into() };
    let again: StartSessionResponse = world.call(START, &resume(&first.id)).await.expect("resumed");
    assert_eq!(again.id, first.id);
    let other: StartSessionResponse = world
        .call(START, &resume("7a2c7a3e-0000-4000-8000-0123456789ab"))
        .await
        .expect("a new one");
    assert_ne!(other.id, first.id);
    let listed: GetSessionsResponse = world
        .call(SESSIONS, &GetSessionsRequest::default())
        .await
        .expect("answers");
    let ids: Vec<_> = listed.sessions.iter().map(|session| session.id.as_str()).collect();
    assert!(
        ids.contains(&first.id.as_str()) && ids.contains(&other.id.as_str()),
        "{ids:?}"
    );
    assert!(
        listed
            .sessions
            .iter()
            .all(|session| session.peer_connection_info.is_some()),
        "{listed:?}"
    );
}

#[tokio::test]
async fn the_default_window_is_two_seconds() {
    let world = World::settled(Machine::new()).await;
    let window = start(&world).await.heartbeat_window.expect("a window");
    assert_eq!((window.seconds, window.nanos), (2, 0));
}

#[tokio::test]
async fn on_a_parent_socket_session_calls_answer_and_nothing_is_associated() {
    let world = world("300ms").await;
    let session: StartSessionResponse = world
        .from_module("echo", START, &StartSessionRequest::default())
        .await
        .expect("a session");
    assert!(session.heartbeat_window.is_some(), "the Python SDK needs it");
    let request = SendSessionHeartbeatRequest { id: session.id.clone() };
    let _: SendSessionHeartbeatResponse = world.from_module("echo", HEARTBEAT, &request).await.expect("alive");
    let client = start(&world).await;
    set_power(&world, "left", Some(&client.id)).await.expect("moves");
    let request = SetPowerRequest {
        name: "right".into(),
        power_pct: 0.5,
        extra: None,
    };
    let _: SetPowerResponse = world.from_module("echo", SET_POWER, &request).await.expect("moves");
    until_stopped(&world, "left").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(
        powered(&world, "right").await,
        "a module's motor is bound to no session yet"
    );
}
