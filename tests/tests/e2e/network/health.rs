//! `grpc.health.v1`: the machine and each resource, now and as they change.

use mainstay_proto::grpc::health::v1::health_check_response::ServingStatus;
use mainstay_proto::grpc::health::v1::health_client::HealthClient;
use mainstay_proto::grpc::health::v1::{HealthCheckRequest, HealthCheckResponse};
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::proc;
use mainstay_tests::world::{PATIENCE, World};
use nix::sys::signal::Signal;
use tokio::time::timeout;
use tonic::{Code, Streaming};

fn asked(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.to_owned(),
    }
}

async fn next(states: &mut Streaming<HealthCheckResponse>) -> ServingStatus {
    let next = timeout(PATIENCE, states.message()).await.expect("in time");
    next.expect("no error").expect("it goes on").status()
}

#[tokio::test]
async fn a_machine_and_its_resources_say_how_they_are() {
    let machine = Machine::new()
        .module(Module::fixture("eyes"))
        .resource(Resource::probe("probe"))
        .resource(Resource::fake("twin", "motor"))
        .resource(Resource::fake("twin", "sensor"));
    let mut world = World::settled(machine.clone()).await;
    let pid = world
        .until(|now| now.ready("probe"))
        .await
        .pid("eyes")
        .expect("a process");
    let mut health = HealthClient::new(world.channel());
    for name in ["", "probe", "rdk:component:sensor/probe", "rdk:component:sensor/twin"] {
        let answer = health.check(asked(name)).await.expect("it is there").into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{name}");
    }
    for (name, code) in [
        ("nobody", Code::NotFound),
        ("rdk:component:motor/probe", Code::NotFound),
        ("twin", Code::FailedPrecondition),
    ] {
        assert_eq!(health.check(asked(name)).await.expect_err(name).code(), code, "{name}");
    }
    let mut states = health.watch(asked("probe")).await.expect("a stream").into_inner();
    let mut absent = health.watch(asked("later")).await.expect("a stream").into_inner();
    let mut all = health.watch(asked("")).await.expect("a stream").into_inner();
    assert_eq!(next(&mut states).await, ServingStatus::Serving);
    assert_eq!(next(&mut absent).await, ServingStatus::ServiceUnknown);
    assert_eq!(next(&mut all).await, ServingStatus::Serving);
    proc::signal(pid, Signal::SIGKILL);
    assert_eq!(next(&mut states).await, ServingStatus::NotServing);
    assert_eq!(next(&mut states).await, ServingStatus::Serving);
    world.rewrite(&machine.resource(Resource::fake("later", "motor")));
    while next(&mut absent).await != ServingStatus::Serving {}
    world.shutdown().await.with_code(0).left_nothing_behind();
}
