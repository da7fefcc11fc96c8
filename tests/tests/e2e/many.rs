//! Many modules at once, some of which die without end.

use std::time::Duration;

use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::traffic::Traffic;
use mainstay_tests::world::World;
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_of_twenty_modules_crash_without_end_and_the_others_fail_no_call() {
    let names: Vec<String> = (0..15).map(|number| format!("well-{number}")).collect();
    let mut machine = Machine::new();
    for name in &names {
        machine = machine
            .module(Module::family(name))
            .resource(Resource::of(name, "probe", &format!("{name}-eye")));
    }
    for number in 0..5 {
        let restart = json!({ "first": "0s", "then": "100ms", "factor": 1, "jitter": 0.2 });
        let name = format!("sick-{number}");
        machine = machine.module(
            Module::faulty(&name, "exit-after-ready")
                .env("MODELS", &name)
                .set("restart", restart),
        );
    }
    let mut world = World::start(machine).await;
    let eyes: Vec<String> = names.iter().map(|name| format!("{name}-eye")).collect();
    let before = world.until(|now| eyes.iter().all(|eye| now.ready(eye))).await;
    let sensors: Vec<&str> = eyes.iter().map(String::as_str).collect();
    let traffic = Traffic::on(&world, &sensors, Duration::from_millis(10));
    let after = world
        .until(|now| {
            (0..5).all(|number| {
                let sick = now.process(&format!("sick-{number}"));
                sick.is_some_and(|module| module.restarts >= 6)
            })
        })
        .await;
    let calls = traffic.end();
    calls.none_failed().expect("nobody else notices");
    for name in &names {
        assert_eq!(after.pid(name), before.pid(name), "{name} was restarted");
    }
    world.shutdown().await.with_code(0).left_nothing_behind();
}
