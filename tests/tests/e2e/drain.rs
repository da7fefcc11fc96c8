//! A module is replaced on purpose: who is calling may finish, who comes anew hears why not.

use std::time::{Duration, Instant};

use mainstay_proto::viam::robot::v1::RestartModuleResponse;
use mainstay_tests::echo::{CountRequest, SayRequest, StopRequest};
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::rpc;
use mainstay_tests::world::World;
use serde_json::json;
use tokio_stream::StreamExt;
use tonic::{Code, Status};

use crate::crash::{RESTART, by_name, readings};

fn say(delay_ms: u32) -> SayRequest {
    SayRequest {
        name: "echo".into(),
        delay_ms,
        ..SayRequest::default()
    }
}

/// Asks until the resource refuses, and gives its words.
async fn refusal(world: &World) -> Status {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        if let Err(status) = world.echo().say(say(0)).await {
            return status;
        }
        assert!(Instant::now() < end, "it takes every call");
    }
}

async fn until_running(world: &mut World, calls: u32) {
    world.until_report("echo", |report| report.running >= calls).await;
}

#[tokio::test]
async fn a_call_in_flight_ends_before_its_module_is_replaced_and_a_new_one_hears_why_it_must_wait() {
    let machine = Machine::new()
        .module(Module::fixture("eyes").set("stop", json!({ "drain": "20s" })))
        .resource(Resource::echo("echo"));
    let mut world = World::settled(machine).await;
    world.until(|now| now.ready("echo")).await;
    let mut echo = world.echo();
    let in_flight = tokio::task::JoinSet::from_iter([async move { echo.say(say(3_000)).await.map(drop) }]);
    until_running(&mut world, 1).await;
    let (channel, begun) = (world.channel(), Instant::now());
    let restart = async move {
        let answer: Result<RestartModuleResponse, _> = rpc::call(channel, RESTART, &by_name("eyes")).await;
        (answer.map(drop), begun.elapsed())
    };
    let restarting = tokio::task::JoinSet::from_iter([restart]);
    let status = refusal(&world).await;
    assert_eq!(status.code(), Code::Unavailable);
    let expected = "reason=resource is pending removal; module eyes is being restarted: restart asked for by ";
    assert!(status.message().contains(expected), "{status:?}");
    // Whatever stops something gets through.
    let stop = StopRequest {
        name: "echo".into(),
        extra: None,
    };
    world.echo().stop(stop).await.expect("a stop gets through");
    let ended = in_flight.join_all().await;
    assert!(ended[0].is_ok(), "{ended:?}");
    let (restarted, took) = restarting.join_all().await.remove(0);
    restarted.expect("restarted");
    assert!(took > Duration::from_secs(1), "{took:?}");
    // The module is ready; what was in it is being built.
    world.until(|now| now.ready("echo")).await;
    world.echo().say(say(0)).await.expect("it answers again");
    let told = world.cli(&["explain", "eyes"]).await;
    assert!(told.stdout.contains("restart asked for by "), "{told:?}");
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_stream_without_an_end_is_cut_when_its_time_is_over() {
    let machine = Machine::new()
        .module(Module::fixture("eyes").set("stop", json!({ "drain": "400ms" })))
        .resource(Resource::echo("echo"));
    let mut world = World::settled(machine).await;
    world.until(|now| now.ready("echo")).await;
    let request = CountRequest {
        name: "echo".into(),
        until: 0,
        pause_ms: 5,
    };
    let mut numbers = world.echo().count(request).await.expect("a stream").into_inner();
    let mut told = world.cli(&["restart", "eyes"]).await;
    assert_eq!(told.code, 0, "{told:?}");
    let end = loop {
        match numbers.next().await {
            Some(Ok(_)) => {}
            Some(Err(status)) => break status,
            None => panic!("the stream ended well"),
        }
    };
    assert_eq!(end.code(), Code::Unavailable, "{end:?}");
    let expected =
        "reason=resource is pending removal; module eyes is being restarted: restart asked for by the command line";
    assert!(end.message().contains(expected), "{end:?}");
    told = world.cli(&["explain", "eyes"]).await;
    assert!(
        told.stdout.contains("restart asked for by the command line"),
        "{told:?}"
    );
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_resource_whose_module_never_became_ready_says_why_and_when_it_is_tried_again() {
    let again = json!({ "policy": "always", "first": "20s", "then": "20s", "jitter": 0 });
    let machine = Machine::new()
        .module(Module::faulty("sick", "exit-at-once").set("restart", again))
        .resource(Resource::new(
            "lost",
            "rdk:component:sensor",
            "mainstay-tests:nowhere:lost",
        ));
    let mut world = World::settled(machine).await;
    let now = world
        .until(|now| now.resource_error("lost").contains("next try at "))
        .await;
    let error = now.resource_error("lost");
    assert!(error.contains("May be in failing module: [sick]"), "{error}");
    assert!(error.contains("exit code 3"), "{error}");
    let status = readings(&world, "lost").await.expect_err("it is in no module");
    assert_eq!(status.code(), Code::Unavailable);
    assert!(
        status.message().contains("exit code 3") && status.message().contains("next try at "),
        "{status:?}"
    );
    world.shutdown().await.with_code(0).left_nothing_behind();
}
