//! Stopping everything, and who may.

use std::time::Duration;

use mainstay_proto::viam::common::v1::ResourceName;
use mainstay_proto::viam::component::motor::v1::{SetPowerRequest, SetPowerResponse};
use mainstay_proto::viam::robot::v1::{
    ShutdownRequest, ShutdownResponse, StopAllRequest, StopAllResponse, StopExtraParameters,
};
use mainstay_tests::echo::{CountRequest, MoveRequest, ReportRequest, StopRequest};
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::world::{PATIENCE, World};
use tokio_stream::StreamExt;
use tonic::Code;

use crate::data_path::say;
use crate::sessions::{powered, set_power};

const STOP_ALL: &str = "/viam.robot.v1.RobotService/StopAll";
const SHUTDOWN: &str = "/viam.robot.v1.RobotService/Shutdown";

async fn world() -> World {
    let machine = Machine::new()
        .module(Module::fixture("eyes"))
        .resource(Resource::echo("echo"))
        .resource(Resource::echo("other"))
        .resource(Resource::fake("left", "motor"))
        .resource(Resource::fake("right", "motor"));
    World::settled(machine).await
}

#[tokio::test]
async fn stop_all_stops_everything_that_can_stop_and_ends_what_runs() {
    let world = world().await;
    set_power(&world, "left", None).await.expect("moves");
    set_power(&world, "right", None).await.expect("moves");
    world
        .echo()
        .r#move(MoveRequest { name: "echo".into() })
        .await
        .expect("moves");
    let request = CountRequest {
        name: "other".into(),
        until: 0,
        pause_ms: 5,
    };
    let mut stream = world.echo().count(request).await.expect("a stream").into_inner();
    stream.next().await.expect("endless").expect("a number");

    let name = ResourceName {
        namespace: "rdk".into(),
        r#type: "component".into(),
        subtype: "motor".into(),
        name: "left".into(),
    };
    let extra = vec![StopExtraParameters {
        name: Some(name),
        params: Some(prost_types::Struct::default()),
    }];
    let _: StopAllResponse = world.call(STOP_ALL, &StopAllRequest { extra }).await.expect("stopped");
    assert!(!powered(&world, "left").await && !powered(&world, "right").await);
    let report = world.report("echo").await;
    assert!(!report.moving && report.stops == 1, "{report:?}");
    let mut ended = None;
    while let Some(item) = stream.next().await {
        ended = item.err().or(ended);
    }
    assert_eq!(ended.expect("an error").code(), Code::Cancelled);
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_stop_gets_through_while_other_calls_take_all_that_the_module_takes_at_once() {
    let machine = Machine::new()
        .module(Module::fixture("eyes").env("STREAMS", "2"))
        .resource(Resource::echo("echo"))
        .resource(Resource::echo("other"));
    let world = World::settled(machine).await;
    let echo = |name: &str| MoveRequest { name: name.into() };
    world.echo().r#move(echo("echo")).await.expect("moves");
    let endless = || CountRequest {
        name: "other".into(),
        until: 0,
        pause_ms: 5,
    };
    let mut streams = Vec::new();
    for _ in 0..2 {
        let mut stream = world.echo().count(endless()).await.expect("a stream").into_inner();
        stream.next().await.expect("endless").expect("a number");
        streams.push(stream);
    }
    // One more data call has to wait.
    let mut waiting = world.echo();
    let mut waiting = std::pin::pin!(waiting.say(say("other", "")));
    let waited = tokio::time::timeout(Duration::from_millis(500), &mut waiting).await;
    assert!(waited.is_err(), "it was to wait: {waited:?}");
    let mut client = world.echo();
    let stop = client.stop(StopRequest {
        name: "echo".into(),
        ..StopRequest::default()
    });
    let stopped = tokio::time::timeout(PATIENCE, stop).await;
    stopped.expect("a Stop does not wait behind data").expect("stopped");
    drop(streams);
    waiting.await.expect("there is room now");
    let report = world.report("echo").await;
    assert!(!report.moving && report.stops == 1, "{report:?}");
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn stops_under_way_are_ended_neither_by_their_callers_nor_by_another_stop_all() {
    let machine = Machine::new()
        .module(Module::fixture("eyes").env("STOP_MS", "1500"))
        .resource(Resource::echo("echo"))
        .resource(Resource::echo("other"));
    let world = World::settled(machine).await;
    let (mut client, all) = (world.echo(), StopAllRequest::default());
    {
        // Whoever asked for this StopAll goes when both Stops have arrived.
        let mut asking = std::pin::pin!(world.call::<_, StopAllResponse>(STOP_ALL, &all));
        let arrived = async {
            for name in ["echo", "other"] {
                // The StopAll ends what else runs, so also a question.
                let report = || async { world.echo().report(ReportRequest { name: name.into() }).await };
                while !matches!(report().await, Ok(answer) if answer.get_ref().running == 1) {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        };
        tokio::select! {
            answer = &mut asking => panic!("it was to take longer: {answer:?}"),
            () = arrived => {}
        }
    }
    // A Stop of one of them, and another StopAll while that runs.
    let stop = client.stop(StopRequest {
        name: "echo".into(),
        ..StopRequest::default()
    });
    let again = async {
        world.until_report("echo", |report| report.running == 2).await;
        world.call::<_, StopAllResponse>(STOP_ALL, &all).await
    };
    let (stopped, again) = tokio::join!(stop, again);
    stopped.expect("a StopAll does not end a Stop");
    again.expect("stopped");
    for (name, stops) in [("echo", 3), ("other", 2)] {
        let report = world.until_report(name, |report| report.running == 0).await;
        assert_eq!((report.stops, report.cancelled), (stops, 0), "{name}: {report:?}");
    }
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn from_a_module_it_stops_only_what_that_module_set_moving() {
    let world = world().await;
    set_power(&world, "right", None).await.expect("moves");
    let request = SetPowerRequest {
        name: "left".into(),
        power_pct: 0.5,
        extra: None,
    };
    let path = "/viam.component.motor.v1.MotorService/SetPower";
    let _: SetPowerResponse = world.from_module("echo", path, &request).await.expect("moves");
    assert!(powered(&world, "left").await && powered(&world, "right").await);
    let _: StopAllResponse = world
        .from_module("echo", STOP_ALL, &StopAllRequest::default())
        .await
        .expect("stopped");
    assert!(!powered(&world, "left").await, "the module moved it");
    assert!(powered(&world, "right").await, "the module did not move it");
}

#[tokio::test]
async fn a_module_may_not_shut_the_machine_down() {
    let mut world = world().await;
    let status = world
        .from_module::<_, ShutdownResponse>("echo", SHUTDOWN, &ShutdownRequest::default())
        .await;
    assert_eq!(status.expect_err("refused").code(), Code::PermissionDenied);
    world.until(|now| now.running() && now.ready("echo")).await;
}

#[tokio::test]
async fn a_client_may() {
    let mut world = world().await;
    let answer = world
        .call::<_, ShutdownResponse>(SHUTDOWN, &ShutdownRequest::default())
        .await;
    // The answer may be overtaken by the end of the connection; clients take that as success.
    assert!(
        answer.as_ref().is_ok() || answer.as_ref().is_err_and(|status| status.code() == Code::Unavailable),
        "{answer:?}"
    );
    world.ended().await.with_code(0).left_nothing_behind();
}
