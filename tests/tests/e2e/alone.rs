//! Another frame or log level of a resource is the business of its own module: it is built anew, and whoever holds it is left as
//! it is.

use std::fs;
use std::time::Duration;

use mainstay_proto::mainstay::control::v1::ConfigState;
use mainstay_proto::viam::component::motor::v1 as motor;
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::status::Snapshot;
use mainstay_tests::traffic::Traffic;
use mainstay_tests::world::{Place, World};
use serde_json::json;

fn runs(revision: u64) -> impl Fn(&Snapshot) -> bool {
    move |now| now.config_is(ConfigState::Current) && now.config().revision == Some(revision)
}

fn frame(resource: Resource, x: u32) -> Resource {
    resource.set("frame", json!({ "parent": "world", "translation": { "x": x } }))
}

#[tokio::test]
async fn another_frame_builds_that_resource_anew_and_nobody_who_holds_it() {
    let place = Place::new();
    let (journal, plug) = (place.file("journal"), place.write("plug", ""));
    let text = |path: &std::path::Path| path.to_str().expect("a path in UTF-8").to_owned();
    let machine = |held: Resource| {
        Machine::new()
            .module(Module::family("near").env("JOURNAL", &text(&journal)))
            .module(Module::family("far").env("JOURNAL", &text(&journal)))
            .resource(held)
            .resource(Resource::of("near", "probe", "same").depends_on(&["held"]))
            .resource(Resource::of("far", "probe", "other").depends_on(&["held"]))
            .resource(Resource::of("far", "probe", "third").depends_on(&["other"]))
    };
    let held = || Resource::of("near", "probe", "held").attributes(json!({ "plugged": text(&plug) }));
    let all = |now: &Snapshot| ["held", "same", "other", "third"].iter().all(|name| now.ready(name));
    let written = |from: usize| -> Vec<String> {
        let journal = fs::read_to_string(&journal).expect("the modules write it");
        journal.lines().skip(from).map(str::to_owned).collect()
    };
    let mut world = place.start(machine(held())).await;
    world.until(|now| runs(1)(now) && all(now)).await;
    let alone = [
        "near validate held",
        "near remove held",
        "near add held []",
        "near added held",
    ];
    let traffic = Traffic::on(&world, &["same", "other", "third"], Duration::from_millis(5));

    let before = written(0).len();
    world.rewrite(&machine(frame(held(), 1)));
    world.until(|now| runs(2)(now) && all(now)).await;
    assert_eq!(written(before), alone);

    let quiet = || frame(held(), 1).set("log_configuration", json!({ "level": "warn" }));
    let file = text(&world.place.write("next.json", &machine(quiet()).json().to_string()));
    let plan = world.cli(&["plan", &file]).await;
    assert!(
        plan.stdout.contains("; who holds it stays") && !plan.stdout.contains("holds held"),
        "{plan:?}"
    );
    // Asking for the plan has its module say what it thinks of the entry, too.
    let before = written(0).len();
    world.rewrite(&machine(quiet()));
    world.until(|now| runs(3)(now) && all(now)).await;
    assert_eq!(written(before), alone);
    let calls = traffic.end();
    calls.none_failed().expect("calls of those who hold it");

    // One that cannot be built any more takes them along, as anything does that is gone.
    fs::remove_file(&plug).expect("it is there");
    world.rewrite(&machine(frame(held(), 2)));
    let cause = "the device is not plugged in";
    let lost = |now: &Snapshot| {
        ["held", "same", "other"]
            .iter()
            .all(|name| now.resource_error(name).contains(cause))
    };
    world.until(lost).await;
    fs::write(&plug, "").expect("the folder can be written");
    world.until(all).await;

    // What changes for others, too, is built anew with them.
    let before = written(0).len();
    world.rewrite(&machine(frame(held().attributes(json!({})), 3)));
    let third_built = |now: &Snapshot| written(before).iter().any(|line| line == "far added third") && all(now);
    world
        .until(|now| now.config_is(ConfigState::Current) && third_built(now))
        .await;
    let built = written(before);
    for line in [
        "near remove same",
        "far remove third",
        "far added other",
        "far added third",
    ] {
        assert!(built.iter().any(|written| written == line), "{line}: {built:?}");
    }
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_motor_goes_on_turning_while_the_encoder_in_the_same_module_is_built_anew() {
    let machine = |encoder: Resource| {
        let attributes = json!({ "encoder": "ticks", "ticks_per_rotation": 1000, "max_rpm": 600 });
        Machine::new()
            .resource(encoder)
            .resource(Resource::fake("wheel", "motor").attributes(attributes))
    };
    let mut world = World::settled(machine(Resource::fake("ticks", "encoder"))).await;
    world.until(|now| runs(1)(now) && now.ready("wheel")).await;
    let service = "/viam.component.motor.v1.MotorService";
    let name = || "wheel".to_owned();
    let request = motor::SetPowerRequest {
        name: name(),
        power_pct: 0.5,
        extra: None,
    };
    let _on: motor::SetPowerResponse = world
        .call(&format!("{service}/SetPower"), &request)
        .await
        .expect("it turns");
    let position = async |world: &World| -> f64 {
        let request = motor::GetPositionRequest {
            name: name(),
            extra: None,
        };
        let answer: motor::GetPositionResponse = world
            .call(&format!("{service}/GetPosition"), &request)
            .await
            .expect("a position");
        answer.position
    };
    let before = loop {
        let position = position(&world).await;
        if position > 0.5 {
            break position;
        }
    };
    world.rewrite(&machine(frame(Resource::fake("ticks", "encoder"), 1)));
    world.until(|now| runs(2)(now) && now.ready("ticks")).await;
    let after = position(&world).await;
    assert!(after >= before, "it stood at {before}, and stands at {after} now");
    while position(&world).await <= after {}
    let request = motor::IsPoweredRequest {
        name: name(),
        extra: None,
    };
    let powered: motor::IsPoweredResponse = world
        .call(&format!("{service}/IsPowered"), &request)
        .await
        .expect("an answer");
    assert!(powered.is_on, "{powered:?}");
    world.shutdown().await.with_code(0).left_nothing_behind();
}
