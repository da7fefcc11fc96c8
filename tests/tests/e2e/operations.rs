//! Tests of operations: listed, waited for and cancelled.

use std::time::{Duration, Instant};

use mainstay_proto::viam::robot::v1::{
    BlockForOperationRequest, BlockForOperationResponse, CancelOperationRequest, CancelOperationResponse,
    GetOperationsRequest, GetOperationsResponse, Operation,
};
use mainstay_tests::echo::{CountRequest, SayRequest};
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::world::{PATIENCE, World};
use tokio_stream::StreamExt;
use tonic::{Code, Response};

use crate::data_path::say;

const COUNT: &str = "/mainstay.tests.echo.v1.EchoService/Count";

async fn world() -> World {
    World::settled(
        Machine::new()
            .module(Module::fixture("eyes"))
            .resource(Resource::echo("echo")),
    )
    .await
}

/// A call that lasts for `delay_ms`.
fn lasting(delay_ms: u32) -> SayRequest {
    SayRequest {
        delay_ms,
        ..say("echo", "")
    }
}

/// The id of an operation, as its answer tells it.
fn opid<T>(answer: &Response<T>) -> String {
    let id = answer.metadata().get("opid").expect("an operation");
    id.to_str().expect("ASCII").to_owned()
}

/// Lists the operations once a call has arrived in the module.
async fn once_running(world: &World) -> Vec<Operation> {
    world.until_report("echo", |report| report.running == 1).await;
    operations(world).await
}

async fn block_for(world: &World, id: &str) {
    let path = "/viam.robot.v1.RobotService/BlockForOperation";
    let request = BlockForOperationRequest { id: id.into() };
    let _: BlockForOperationResponse = world.call(path, &request).await.expect("answers");
}

async fn operations(world: &World) -> Vec<Operation> {
    let path = "/viam.robot.v1.RobotService/GetOperations";
    let answer: GetOperationsResponse = world
        .call(path, &GetOperationsRequest::default())
        .await
        .expect("answers");
    answer.operations
}

async fn cancel(world: &World, id: &str) {
    let path = "/viam.robot.v1.RobotService/CancelOperation";
    let _: CancelOperationResponse = world
        .call(path, &CancelOperationRequest { id: id.into() })
        .await
        .expect("cancelled");
}

#[tokio::test]
async fn a_running_stream_is_shown_and_cancelling_it_ends_it_in_the_module() {
    let world = world().await;
    let request = CountRequest {
        name: "echo".into(),
        until: 0,
        pause_ms: 5,
    };
    let answer = world.echo().count(request).await.expect("a stream");
    let opid = opid(&answer);
    let mut stream = answer.into_inner();
    stream.next().await.expect("endless").expect("a number");

    let shown = operations(&world).await;
    assert_eq!(shown.len(), 1, "only the stream, not the asking call: {shown:?}");
    assert_eq!((shown[0].id.as_str(), shown[0].method.as_str()), (opid.as_str(), COUNT));
    assert!(shown[0].started.is_some() && shown[0].session_id.is_none(), "{shown:?}");

    cancel(&world, &opid).await;
    let mut ended = None;
    while let Some(item) = stream.next().await {
        ended = item.err().or(ended);
    }
    assert_eq!(ended.expect("an error").code(), Code::Cancelled);
    world
        .until_report("echo", |report| report.cancelled == 1 && report.running == 0)
        .await;
    assert!(operations(&world).await.is_empty());
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_unary_call_can_be_cancelled_too() {
    let world = world().await;
    let mut echo = world.echo();
    let (answer, ()) = tokio::join!(echo.say(lasting(60_000)), async {
        let running = once_running(&world).await;
        cancel(&world, &running[0].id).await;
    });
    assert_eq!(answer.expect_err("cancelled").code(), Code::Cancelled);
    world.until_report("echo", |report| report.cancelled == 1).await;
}

#[tokio::test]
async fn blocking_for_an_operation_lasts_as_long_as_it_does() {
    let world = world().await;
    let mut echo = world.echo();
    let begun = Instant::now();
    let (said, blocked) = tokio::join!(echo.say(lasting(700)), async {
        let running = once_running(&world).await;
        block_for(&world, &running[0].id).await;
        begun.elapsed()
    });
    said.expect("answers");
    assert!(
        blocked >= Duration::from_millis(690) && blocked < PATIENCE,
        "{blocked:?}"
    );

    // One that is not known is over.
    for id in ["7a2c7a3e-0000-4000-8000-0123456789ab", "no-uuid"] {
        block_for(&world, id).await;
        cancel(&world, id).await;
    }
}

#[tokio::test]
async fn a_module_that_calls_back_joins_the_operation_of_its_caller() {
    use mainstay_tests::echo::CallParentRequest;
    use prost::Message;
    let world = world().await;
    let opid = "7a2c7a3e-0000-4000-8000-0123456789ab";
    let inner = lasting(60_000);
    let request = CallParentRequest {
        name: "echo".into(),
        method: "/mainstay.tests.echo.v1.EchoService/Say".into(),
        request: inner.encode_to_vec().into(),
        headers: [("opid".to_owned(), opid.to_owned())].into(),
    };
    let mut request = tonic::Request::new(request);
    request.metadata_mut().insert("opid", opid.parse().expect("ASCII"));
    let mut echo = world.echo();
    let (_, running) = tokio::join!(echo.call_parent(request), async {
        let running = once_running(&world).await;
        cancel(&world, opid).await;
        running
    });
    let ids: Vec<_> = running.iter().map(|operation| operation.id.as_str()).collect();
    assert_eq!(ids, [opid], "{running:?}");
    world.until_report("echo", |report| report.running == 0).await;
}

#[tokio::test]
async fn an_opid_that_is_no_uuid_is_replaced() {
    let world = world().await;
    let mut request = tonic::Request::new(say("echo", ""));
    request.metadata_mut().insert("opid", "mine".parse().expect("ASCII"));
    let answer = world.echo().say(request).await.expect("answers");
    let given = opid(&answer);
    assert!(given != "mine" && given.len() == 36, "{given}");
    let seen = answer.into_inner().headers;
    assert_eq!(seen.get("opid"), Some(&given), "the module is told the same");
}
