//! Another machine goes, hangs or comes back, and nothing that it left moves on.

use std::time::{Duration, Instant};

use mainstay_proto::viam::robot::v1::{StartSessionRequest, StartSessionResponse};
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::world::{PATIENCE, World};
use mainstay_tests::{proc, rpc};
use nix::sys::signal::Signal;
use serde_json::json;
use tonic::{Code, Status};

use super::remotes::{remote, until_names};
use crate::sessions::{pilot, powered, set_power, set_power_from};

const START: &str = "/viam.robot.v1.RobotService/StartSession";

async fn pair(window: &str) -> (World, World) {
    let far = Machine::new()
        .heartbeat_window(window)
        .resource(Resource::fake("left", "motor"));
    let far = World::settled(far).await;
    let near = Machine::new()
        .heartbeat_window(window)
        .module(Module::fixture("pilot"))
        .resource(Resource::echo("pilot"))
        .set("remotes", json!([remote("far", &far)]));
    let near = World::start(near).await;
    until_names(&near, &["far:left", "pilot"]).await;
    (far, near)
}

/// Waits until a motor has no power, and returns how long that took.
async fn until_still(world: &World, name: &str) -> Duration {
    let begun = Instant::now();
    while powered(world, name).await {
        assert!(begun.elapsed() < PATIENCE, "{name} moves on");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    begun.elapsed()
}

/// Waits until a call fails, and returns how, and how long that took.
async fn until_refused(world: &World, name: &str) -> (Status, Duration) {
    let begun = Instant::now();
    loop {
        match set_power(world, name, None).await {
            Err(status) => return (status, begun.elapsed()),
            Ok(()) => assert!(begun.elapsed() < PATIENCE, "{name} still answers"),
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_machine_that_dies_is_noticed_at_once_and_one_that_comes_back_is_used_again() {
    let (far, mut near) = pair("2s").await;
    near.until(|now| now.running()).await;
    proc::signal(far.pid(), Signal::SIGKILL);
    let (refused, took) = until_refused(&near, "far:left").await;
    eprintln!("figure: a dead remote is noticed after {took:?}");
    let (code, text) = rpc::code_and_text(&refused);
    assert_eq!(code, Code::Unavailable, "{refused:?}");
    assert!(text.contains("far:left") && text.contains("remote"), "{text}");
    let now = near.until(|now| now.unhealthy("far:left")).await;
    let expected = format!("not connected to remote robot at {}", far.address());
    assert!(
        now.resource_error("far:left").starts_with(&expected),
        "{}",
        now.resource_error("far:left")
    );
    let address = far.address().to_owned();
    let refused = set_power(&near, "left", None).await.expect_err("it is away");
    assert!(refused.message().contains(&address), "{refused:?}");

    let back = Machine::new().bind(&address).resource(Resource::fake("left", "motor"));
    let back = World::settled(back.resource(Resource::fake("more", "motor"))).await;
    until_names(&near, &["far:left", "far:more", "pilot"]).await;
    set_power(&near, "left", None).await.expect("moves again");
    // What is added and removed there comes and goes here.
    back.rewrite(&Machine::new().bind(&address).resource(Resource::fake("more", "motor")));
    until_names(&near, &["far:more", "pilot"]).await;
}

#[tokio::test]
async fn a_machine_that_falls_silent_is_given_up_within_its_interval_and_taken_up_when_it_speaks() {
    let (far, mut near) = pair("2s").await;
    proc::signal(far.pid(), Signal::SIGSTOP);
    let begun = Instant::now();
    // A call that is on its way ends with the connection, not with its own deadline.
    let waiting = set_power(&near, "far:left", None).await.expect_err("nobody answers");
    assert_eq!(waiting.code(), Code::Unavailable, "{waiting:?}");
    near.until(|now| now.unhealthy("far:left")).await;
    let took = begun.elapsed();
    eprintln!("figure: a silent remote is noticed after {took:?}, at an interval of 1 s");
    assert!(took < Duration::from_secs(4), "{took:?}");
    let refused = set_power(&near, "far:left", None).await.expect_err("it is silent");
    assert!(refused.message().contains("it was silent for 1s"), "{refused:?}");
    proc::signal(far.pid(), Signal::SIGCONT);
    near.until(|now| now.ready("far:left")).await;
    set_power(&near, "far:left", None).await.expect("moves again");
}

#[tokio::test]
async fn what_a_client_moves_through_this_machine_stops_when_the_client_falls_silent() {
    let (far, near) = pair("400ms").await;
    let session: StartSessionResponse = near
        .call(START, &StartSessionRequest::default())
        .await
        .expect("a session");
    set_power(&near, "far:left", Some(&session.id)).await.expect("moves");
    assert!(powered(&far, "left").await);
    let took = until_still(&far, "left").await;
    assert!(took > Duration::from_millis(150), "stopped after {took:?}");
}

#[tokio::test]
async fn what_a_module_over_there_moves_for_a_client_here_stops_when_the_client_falls_silent() {
    let far = Machine::new()
        .module(Module::fixture("pilot"))
        .resource(Resource::echo("pilot"))
        .resource(Resource::fake("left", "motor"));
    let far = World::settled(far).await;
    let near = Machine::new()
        .heartbeat_window("400ms")
        .set("remotes", json!([remote("far", &far)]));
    let near = World::start(near).await;
    until_names(&near, &["far:left", "far:pilot"]).await;
    let session: StartSessionResponse = near
        .call(START, &StartSessionRequest::default())
        .await
        .expect("a session");
    set_power_from(&far, "pilot", "left").await;
    let told = pilot(&near, "far:pilot", "rdk:component:motor/left", Some(&session.id)).await;
    assert_eq!(told, "rdk:component:motor/far:left");
    assert!(powered(&far, "left").await);
    until_still(&far, "left").await;
}

#[tokio::test]
async fn what_this_machine_moves_over_there_stops_when_it_dies_or_is_cut_off() {
    let (far, near) = pair("500ms").await;
    set_power(&near, "far:left", None).await.expect("moves");
    // While it lives it answers for it, however long.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(1500) {
        assert!(
            powered(&far, "left").await,
            "stopped although the machine that moves it lives"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // As if the cable were cut: nothing closes, nothing is said.
    proc::signal(near.pid(), Signal::SIGSTOP);
    until_still(&far, "left").await;
    proc::signal(near.pid(), Signal::SIGCONT);
    let end = Instant::now() + PATIENCE;
    while set_power(&near, "far:left", None).await.is_err() {
        assert!(Instant::now() < end, "it does not move again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(powered(&far, "left").await);
    proc::signal(near.pid(), Signal::SIGKILL);
    until_still(&far, "left").await;
}

#[tokio::test]
async fn what_a_module_moves_over_there_stops_when_it_dies() {
    let (far, mut near) = pair("30s").await;
    set_power_from(&near, "pilot", "far:left").await;
    assert!(powered(&far, "left").await);
    let now = near.until(|now| now.pid("pilot").is_some()).await;
    proc::signal(now.pid("pilot").expect("it runs"), Signal::SIGKILL);
    until_still(&far, "left").await;
}

#[tokio::test]
async fn a_remote_that_is_absent_delays_nothing_and_is_told_once() {
    let absent = json!({ "name": "far", "address": "127.0.0.1:1", "insecure": true, "reconnect_interval": "50ms" });
    let near = Machine::new()
        .resource(Resource::fake("own", "motor"))
        .resource(Resource::fake("waits", "motor").depends_on(&["far:left"]))
        .set("remotes", json!([absent]));
    let begun = Instant::now();
    let mut near = World::start(near).await;
    let now = near.until(|now| now.running() && now.ready("own")).await;
    assert!(begun.elapsed() < Duration::from_secs(15));
    assert!(now.unhealthy("waits"), "{}", now.resource_error("waits"));
    let shown = now.shown("waits").expect("shown").error.clone();
    assert!(
        shown.contains("remote `far` may have it, but is away") && shown.contains("127.0.0.1:1"),
        "{shown}"
    );
    // Many tries later.
    tokio::time::sleep(Duration::from_millis(600)).await;
    let told = near.output().matches("remote is not connected").count();
    assert_eq!(told, 1, "{}", near.output());
    near.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn remotes_come_and_go_with_the_config_and_touch_nothing_else() {
    let far = World::settled(Machine::new().resource(Resource::fake("left", "motor"))).await;
    let own = || {
        Machine::new()
            .module(Module::fixture("eyes"))
            .resource(Resource::echo("echo"))
            .resource(Resource::fake("own", "motor"))
    };
    let mut near = World::settled(own()).await;
    let before = near.snapshot().await;
    for _ in 0..3 {
        near.rewrite(&own().set("remotes", json!([remote("far", &far)])));
        until_names(&near, &["echo", "far:left", "own"]).await;
        near.rewrite(&own());
        until_names(&near, &["echo", "own"]).await;
    }
    let after = near.snapshot().await;
    assert_eq!(before.pid("eyes"), after.pid("eyes"));
    let since = |now: &mainstay_tests::status::Snapshot| now.shown("own").and_then(|shown| shown.last_updated);
    assert_eq!(since(&before), since(&after));
    near.until(|now| now.resource("far").is_none()).await;
}
