//! A client makes hundreds of calls at once at a module that takes a hundred, and others want something of it, too.

use std::time::{Duration, Instant};

use mainstay_proto::viam::common::v1::{DoCommandRequest, DoCommandResponse};
use mainstay_proto::viam::component::motor::v1::{StopRequest, StopResponse};
use mainstay_proto::viam::robot::v1::{
    GetMachineStatusRequest, GetMachineStatusResponse, GetOperationsRequest, GetOperationsResponse,
};
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::rpc;
use mainstay_tests::world::{PATIENCE, World};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tonic::transport::Channel;
use tonic::{Code, Status};

const MOTOR: &str = "/viam.component.motor.v1.MotorService/DoCommand";
const GENERIC: &str = "/viam.component.generic.v1.GenericService/DoCommand";
const STOP: &str = "/viam.component.motor.v1.MotorService/Stop";
/// Time that a short call of somebody else may take on a busy machine; its turn comes after at most five seconds.
const SOON: Duration = Duration::from_secs(8);

fn do_command(name: &str, command: &Value) -> DoCommandRequest {
    DoCommandRequest {
        name: name.into(),
        command: Some(rpc::to_struct(command)),
    }
}

/// Makes `count` calls at once over a channel.
fn call_at_once(channel: &Channel, path: &'static str, name: &str, count: usize, command: &Value) -> JoinSet<Status> {
    let mut calls = JoinSet::new();
    for _ in 0..count {
        let (channel, request) = (channel.clone(), do_command(name, command));
        calls.spawn(async move {
            let answer: Result<DoCommandResponse, _> = rpc::call(channel, path, &request).await;
            answer.map_or_else(|status| status, |_| Status::ok(""))
        });
    }
    calls
}

async fn until_running(world: &World, count: usize) {
    let end = Instant::now() + PATIENCE;
    loop {
        let path = "/viam.robot.v1.RobotService/GetOperations";
        let answer: GetOperationsResponse = world
            .call(path, &GetOperationsRequest::default())
            .await
            .expect("a list");
        let running = answer.operations.len();
        if running >= count {
            return;
        }
        assert!(Instant::now() < end, "{running} of {count} calls run");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Checks that a call succeeds within [`SOON`].
async fn is_soon<T>(what: &str, call: impl Future<Output = Result<T, Status>>) {
    let begun = Instant::now();
    let answer = call.await;
    let took = begun.elapsed();
    eprintln!("figure: {what} beside 400 calls of 5 s: {took:?}");
    assert!(took < SOON, "{what}: {took:?}");
    answer.map_or_else(|status| panic!("{what}: {status:?}"), drop);
}

#[tokio::test]
async fn others_wait_for_none_of_400_calls_of_5_s() {
    let wheel = |name: &str| Resource::new(name, "rdk:component:motor", "tests:python:wheel");
    let short = json!({ "name": "short", "schedule": "100ms", "resource": "w3", "method": "IsMoving" });
    let machine = Machine::new()
        .module(Module::python("wheels", "wheel.py").env("STOPPED", "/dev/null"))
        .module(Module::fixture("peer"))
        .resource(wheel("w0"))
        .resource(wheel("w1"))
        .resource(wheel("w2"))
        .resource(wheel("w3"))
        .resource(Resource::echo("peer"))
        .set("jobs", json!([short]));
    let world = World::settled(machine).await;
    let busy = world.channel();
    let mut jam: Vec<_> = ["w0", "w1", "w2", "w3"]
        .map(|name| call_at_once(&busy, MOTOR, name, 100, &json!({ "sleep": 5 })))
        .into();
    until_running(&world, 400).await;
    let job_runs = async || {
        let path = "/viam.robot.v1.RobotService/GetMachineStatus";
        let status: GetMachineStatusResponse = world.call(path, &GetMachineStatusRequest {}).await.expect("a status");
        status.job_statuses[0]
            .recent_successful_runs
            .last()
            .map(|at| (at.seconds, at.nanos))
    };
    let before = job_runs().await;
    let other = world.channel();
    for name in ["w0", "w2"] {
        let request = do_command(name, &json!({}));
        let call = rpc::call::<_, DoCommandResponse>(other.clone(), MOTOR, &request);
        is_soon("another client's call", call).await;
        let call = world.from_module::<_, DoCommandResponse>("peer", MOTOR, &request);
        is_soon("a module's call", call).await;
        let stop = StopRequest {
            name: name.into(),
            extra: None,
        };
        let call = rpc::call::<_, StopResponse>(busy.clone(), STOP, &stop);
        is_soon("the busy client's own Stop", call).await;
    }
    let end = Instant::now() + SOON;
    while job_runs().await == before {
        assert!(Instant::now() < end, "the job waits");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Nothing of all this was refused or lost.
    for calls in &mut jam {
        while let Some(status) = calls.join_next().await {
            let status = status.expect("no panic");
            assert_eq!(status.code(), Code::Ok, "{status:?}");
        }
    }
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn of_130_calls_of_one_client_to_one_resource_30_are_refused_and_none_of_anybody_else() {
    let machine = Machine::new()
        .module(Module::fixture("eyes"))
        .resource(Resource::generic("box"))
        .resource(Resource::generic("other"))
        .resource(Resource::echo("echo"));
    let world = World::settled(machine).await;
    let (busy, waits) = (world.channel(), json!({ "sleep_ms": 8000 }));
    let mut calls = call_at_once(&busy, GENERIC, "box", 130, &waits);
    for _ in 0..30 {
        let refused = calls.join_next().await.expect("130 calls").expect("no panic");
        assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
        let text = "exceeded the shared concurrent-request limit of 100 on resource box.viam.component.generic.v1.GenericService.";
        assert!(refused.message().starts_with(text), "{refused:?}");
    }
    let none = json!({});
    // The same client elsewhere, and with an API that has no limit; another client, and a module, here.
    let answers = [
        call_at_once(&busy, GENERIC, "other", 100, &none),
        call_at_once(&busy, GENERIC, "echo", 1, &none),
        call_at_once(&world.channel(), GENERIC, "box", 100, &none),
    ];
    for mut answers in answers {
        while let Some(answer) = answers.join_next().await {
            let answer = answer.expect("no panic");
            assert_ne!(answer.code(), Code::ResourceExhausted, "{answer:?}");
        }
    }
    let from_module: Result<DoCommandResponse, _> = world.from_module("echo", GENERIC, &do_command("box", &none)).await;
    from_module.expect("a module is another caller");
    let one_more = call_at_once(&busy, GENERIC, "box", 1, &none).join_next().await;
    let one_more = one_more.expect("one").expect("no panic");
    assert_eq!(one_more.code(), Code::ResourceExhausted, "{one_more:?}");
    while let Some(taken) = calls.join_next().await {
        let taken = taken.expect("no panic");
        assert_eq!(taken.code(), Code::Ok, "{taken:?}");
    }
    let again = call_at_once(&busy, GENERIC, "box", 1, &none).join_next().await;
    assert_eq!(again.expect("one").expect("no panic").code(), Code::Ok);
    world.shutdown().await.with_code(0).left_nothing_behind();
}
