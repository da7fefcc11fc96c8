//! Figures for people, printed as a line each. Ceilings are five times the bar: slow test machines are no failure.

use std::io::Write;
use std::time::{Duration, Instant};

use mainstay_proto::viam::robot::v1::restart_module_request::IdOrName;
use mainstay_proto::viam::robot::v1::{RestartModuleRequest, RestartModuleResponse};
use mainstay_tests::bins;
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::proc;
use mainstay_tests::world::{PATIENCE, World};
use nix::sys::signal::Signal;
use serde_json::json;
use tonic::transport::Channel;

use mainstay_proto::viam::component::motor::v1::{IsMovingRequest, IsMovingResponse};
use mainstay_tests::rpc;

/// Kills of one module that are measured.
const KILLS: usize = 5;

/// Time that the core may add to a module's own start-up, on an idle machine.
const BAR: Duration = Duration::from_millis(25);

/// Prints a figure past the test harness, which would keep it.
pub fn figure(what: &str, took: Duration) {
    let _ = writeln!(
        std::io::stderr(),
        "figure: {what}: {:.0} ms",
        took.as_secs_f64() * 1000.0
    );
}

async fn moves(channel: &Channel) -> bool {
    let request = IsMovingRequest { name: "wheel".into() };
    let method = "/viam.component.motor.v1.MotorService/IsMoving";
    rpc::call::<_, IsMovingResponse>(channel.clone(), method, &request)
        .await
        .is_ok()
}

/// From SIGKILL of the module to the first answer of its successor, and the successor's own start-up; the middle one of
/// several kills.
async fn kill_to_answer(module: Module, model: &str) -> (Duration, Duration) {
    let machine = Machine::new()
        .module(module)
        .resource(Resource::new("wheel", "rdk:component:motor", model));
    let mut world = World::settled(machine).await;
    world.until(|now| now.ready("wheel")).await;
    let channel = world.channel();
    let mut figures = Vec::new();
    for _ in 0..KILLS {
        assert!(moves(&channel).await, "it answers before it is killed");
        let pid = world.snapshot().await.pid("wheels").expect("a process");
        let begun = Instant::now();
        proc::signal(pid, Signal::SIGKILL);
        // Until the first call fails, it is the dead one that seems to answer.
        while moves(&channel).await && begun.elapsed() < PATIENCE {}
        while !moves(&channel).await {
            assert!(begun.elapsed() < PATIENCE, "it did not come back");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let took = begun.elapsed();
        let now = world.until(|now| now.ready("wheel")).await;
        let own = now.process("wheels").and_then(|module| module.start_took);
        let own = own.and_then(|own| Duration::try_from(own).ok()).unwrap_or_default();
        figures.push((took, own));
        // So that each kill is the first one after a quiet time.
        let request = RestartModuleRequest {
            id_or_name: Some(IdOrName::ModuleName("wheels".into())),
        };
        let path = "/viam.robot.v1.RobotService/RestartModule";
        let _: RestartModuleResponse = world.call(path, &request).await.expect("restarted");
        world.until(|now| now.ready("wheel")).await;
    }
    world.shutdown().await.with_code(0).left_nothing_behind();
    figures.sort();
    figures[KILLS / 2]
}

#[tokio::test]
async fn a_killed_rust_module_answers_again_at_once() {
    let (took, own) = kill_to_answer(Module::new("wheels", &bins::find("wheel")), "tests:sdk:wheel").await;
    figure("kill -9 to answering again, Rust module (bar 25)", took);
    figure("  of which its own start-up", own);
    assert!(took < (own + BAR) * 5, "{took:?}, of which {own:?} are its own");
}

#[tokio::test]
async fn a_killed_python_module_answers_again_after_its_own_start_up() {
    let (took, own) = kill_to_answer(Module::python("wheels", "wheel.py"), "tests:python:wheel").await;
    figure("kill -9 to answering again, Python module", took);
    figure("  of which its own start-up (bar: that + 25)", own);
    assert!(took < (own + BAR) * 5, "{took:?}, of which {own:?} are its own");
}

#[tokio::test]
async fn a_frozen_module_costs_a_shutdown_its_own_grace_only() {
    let grace = Duration::from_secs(1);
    let machine = Machine::new()
        .module(Module::family("ill").set("stop", json!({ "drain": "0s", "grace": "1s" })))
        .module(Module::family("well"))
        .resource(Resource::of("ill", "probe", "sore"))
        .resource(Resource::of("well", "probe", "calm"));
    let mut world = World::settled(machine).await;
    let now = world.until(|now| now.ready("sore") && now.ready("calm")).await;
    proc::signal(now.pid("ill").expect("a process"), Signal::SIGSTOP);
    let remains = world.shutdown().await;
    figure(
        "shutdown with a frozen module (bar: its grace of 1000 + 3000)",
        remains.took,
    );
    remains.with_code(0).left_nothing_behind();
    assert!(remains.took < grace + Duration::from_secs(15), "{:?}", remains.took);
}
