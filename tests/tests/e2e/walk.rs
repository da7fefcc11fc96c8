//! A running machine is led through random configs. After each it is what a fresh start of the same text is, and those
//! who call what no step touches notice nothing.
//!
//! 40 configs as a test; `cargo xtask soak` leads through 300. `WALK_CONFIGS` and `WALK_SEED` say otherwise.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use mainstay_proto::mainstay::control::v1::ConfigState;
use mainstay_proto::viam::robot::v1::resource_status::State;
use mainstay_tests::dice::number;
use mainstay_tests::status::Snapshot;
use mainstay_tests::traffic::Traffic;
use mainstay_tests::walk::{MOTOR, ROCK, SENSOR, Step, Walk};
use mainstay_tests::world::{PATIENCE, Place, World};
use serde_json::json;

use crate::machine::command;

/// The name that the config file has in every place.
const FILE: &str = "machine.json";
/// The motor is called a hundred times a second.
const PAUSE: Duration = Duration::from_millis(10);

/// State of a machine without what may differ between two of the same config: paths, times, process ids.
fn portrait(world: &World, now: &Snapshot) -> String {
    let plain = |text: &str| {
        let text = text.replace(&world.place.folder().display().to_string(), "HERE");
        // When, and how often, is a matter of how long it runs.
        let end = text.find("next try").unwrap_or(text.len());
        // That it was there before is known only to who was there.
        let causes = text[..end].split("; ");
        let causes: Vec<_> = causes
            .filter(|cause| !cause.ends_with("was removed from the config"))
            .collect();
        causes.join("; ")
    };
    let mut portrait = String::new();
    for module in &now.machine.modules {
        let (name, state) = (&module.module_name, module.state());
        let _ = writeln!(portrait, "module {name} {state:?} {}", plain(&module.error));
    }
    for resource in &now.machine.resources {
        let name = resource.name.clone().unwrap_or_default();
        let (state, error) = (resource.state(), plain(&resource.error));
        let _ = writeln!(portrait, "{}/{} {state:?} {error}", name.subtype, name.name);
    }
    for resource in &now.control.resources {
        let name = resource.name.clone().unwrap_or_default();
        let held: Vec<_> = resource.dependencies.iter().map(|held| held.name.as_str()).collect();
        if resource.error.is_empty() {
            let _ = writeln!(
                portrait,
                "{} in {} holds {}",
                name.name,
                resource.module,
                held.join(" ")
            );
        }
    }
    portrait
}

/// True if nothing is on its way.
fn at_rest(now: &Snapshot) -> bool {
    let moving = |state| matches!(state, State::Removing | State::Unconfigured | State::Unspecified);
    now.running() && !now.machine.resources.iter().any(|resource| moving(resource.state()))
}

async fn fresh(text: &str) -> World {
    let mut world = Place::new().start_text(FILE, text).await;
    world.until(at_rest).await;
    world
}

/// Waits until both machines are the same.
async fn same(running: &World, fresh: &World, step: &str) {
    let end = Instant::now() + PATIENCE;
    loop {
        let (one, other) = (running.snapshot().await, fresh.snapshot().await);
        let (one, other) = (portrait(running, &one), portrait(fresh, &other));
        if one == other {
            return;
        }
        assert!(
            Instant::now() < end,
            "{step}: the running machine is not what a fresh start of the same config is\nrunning:\n{one}\nfresh:\n{other}\nconfig:\n{}",
            std::fs::read_to_string(running.config()).unwrap_or_default()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Checks that the environment of each module is that of the config.
async fn has_salts(world: &World, now: &Snapshot, walk: &Walk) {
    for (module, salt) in walk.salts() {
        let ours = |resource: &&mainstay_proto::mainstay::control::v1::Resource| {
            let generic = resource.name.as_ref().is_some_and(|name| name.subtype == "generic");
            generic && resource.module == module && resource.error.is_empty()
        };
        if let Some(resource) = now.control.resources.iter().find(ours) {
            let name = resource.name.as_ref().map(|name| name.name.clone()).unwrap_or_default();
            let answer = command(world, &name, json!({ "env": "SALT" })).await;
            let answer = answer.unwrap_or_else(|status| panic!("{name} of {module}: {status}"));
            assert_eq!(answer["env"], salt, "the environment of module {module}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_the_file_becomes_the_machine_is_what_a_fresh_start_is_and_nobody_else_notices() {
    let (configs, seed) = (number("WALK_CONFIGS", 40), number("WALK_SEED", 7));
    let mut walk = Walk::new(seed);
    let Step::Config { text, .. } = walk.step() else {
        panic!("the first step can be used")
    };
    let mut world = fresh(&text).await;
    let now = world.until(|now| now.ready(MOTOR) && now.ready(SENSOR)).await;
    let untouched = [now.pid("builtin:fake"), now.pid(ROCK)];
    let motor = Traffic::of_motor(&world, MOTOR, PAUSE);
    let sensor = Traffic::on(&world, &[SENSOR], PAUSE);
    let (begun, mut refused, mut last) = (Instant::now(), 0, text);
    let mut slowest = Duration::ZERO;
    for step in 1..configs {
        match walk.step() {
            Step::Config { revision, text } => {
                let written = Instant::now();
                world.rewrite_text(&text);
                world.until(|now| now.control.revision == revision).await;
                slowest = slowest.max(written.elapsed());
                let twin = fresh(&text).await;
                same(&world, &twin, &revision).await;
                twin.shutdown().await.with_code(0).left_nothing_behind();
                let now = world.until(|now| now.config_is(ConfigState::Current)).await;
                has_salts(&world, &now, &walk).await;
                last = text;
            }
            Step::Broken(text) => {
                refused += 1;
                let before = portrait(&world, &world.snapshot().await);
                world.rewrite_text(&text);
                world.until(|now| now.config_is(ConfigState::Refused)).await;
                let after = portrait(&world, &world.snapshot().await);
                assert_eq!(
                    before, after,
                    "step {step}: a text that cannot be used changed something:\n{text}"
                );
            }
        }
        let now = world.snapshot().await;
        assert_eq!(
            [now.pid("builtin:fake"), now.pid(ROCK)],
            untouched,
            "step {step}: a module that no step touches was restarted"
        );
        for calls in [motor.so_far(), sensor.so_far()] {
            calls
                .none_failed()
                .unwrap_or_else(|why| panic!("step {step}: {why}\n{last}"));
        }
    }
    let (motor, sensor) = (motor.end(), sensor.end());
    println!(
        "walk: {configs} configs ({refused} of them unusable), seed {seed}, {:.0} s; write to taken up {slowest:?} at most; \
         calls of untouched resources: {} answered, {} failed, slowest {:?}",
        begun.elapsed().as_secs_f64(),
        motor.answered + sensor.answered,
        motor.failed.len() + sensor.failed.len(),
        motor.slowest.max(sensor.slowest),
    );
    world.shutdown().await.with_code(0).left_nothing_behind();
}
