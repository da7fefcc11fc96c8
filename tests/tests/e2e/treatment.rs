//! Tests that changed policies of a module apply to its running process.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use mainstay_proto::mainstay::control::v1::ConfigState;
use mainstay_proto::viam::common::v1::{DoCommandRequest, DoCommandResponse};
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::status::Snapshot;
use mainstay_tests::traffic::Traffic;
use mainstay_tests::world::Place;
use mainstay_tests::{bins, proc, rpc};
use serde_json::{Value, json};

fn runs(revision: u64) -> impl Fn(&Snapshot) -> bool {
    move |now| now.config_is(ConfigState::Current) && now.config().revision == Some(revision)
}

/// Writes a script that starts the fixture, whole at once.
fn program(path: &Path) {
    let new = path.with_extension("new");
    let text = format!("#!/bin/sh\nexec '{}' \"$@\"\n", bins::find("misbehave").display());
    fs::write(&new, text).expect("the folder is writable");
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).expect("the file is ours");
    fs::rename(&new, path).expect("the folder is writable");
}

#[tokio::test]
async fn another_treatment_of_a_module_is_taken_over_without_ending_it() {
    let place = Place::new();
    let (path, output) = (place.file("run.sh"), place.file("said.log"));
    program(&path);
    let eyes = |keys: &[(&str, Value)]| {
        let module = Module::new("eyes", &path).env("NONCE", "eyes").env("MODELS", "eyes");
        keys.iter()
            .fold(module, |module, (key, value)| module.set(key, value.clone()))
    };
    // It fails once and is not tried again.
    let sick = |policy: &str| {
        Module::faulty("sick", "exit-at-once").set(
            "restart",
            json!({ "policy": policy, "then": "50ms", "max_delay": "50ms" }),
        )
    };
    let machine = |eyes: Module, sick: Module| {
        let probe = Resource::of("eyes", "probe", "probe");
        Machine::new().module(eyes).module(sick).resource(probe)
    };
    let mut world = place.start(machine(eyes(&[]), sick("never"))).await;
    let rests = |now: &Snapshot| now.module_error("sick").contains("its `restart` is `never`");
    let first = world
        .until(|now| runs(1)(now) && now.ready("probe") && rests(now))
        .await;
    let traffic = Traffic::on(&world, &["probe"], Duration::from_millis(5));

    let file = output.to_str().expect("a path in UTF-8");
    let keys = [
        ("restart", json!({ "then": "3s" })),
        ("health", json!({ "kill_after": "1m", "interval": "100ms" })),
        ("stop", json!({ "drain": "1s", "grace": "2s" })),
        ("output", json!({ "file": file })),
        ("keep_moving", json!(true)),
        ("watch", json!(true)),
    ];
    let next = machine(eyes(&keys), sick("always"));
    let planned = world.place.write("next.json", &next.json().to_string());
    let plan = world.cli(&["plan", planned.to_str().expect("a path in UTF-8")]).await;
    assert!(
        plan.stdout.contains("update") && !plan.stdout.contains("rebuild"),
        "{plan:?}"
    );
    assert!(plan.stdout.contains("its process goes on"), "{plan:?}");
    world.rewrite(&next);
    // What rested is tried again, and again.
    let restarts = |now: &Snapshot| now.process("sick").map_or(0, |process| process.restarts);
    let now = world
        .until(|now| runs(2)(now) && restarts(now) >= restarts(&first) + 3)
        .await;
    assert_eq!(now.pid("eyes"), first.pid("eyes"));
    let calls = traffic.end();
    calls
        .none_failed()
        .expect("calls of a module that is only treated otherwise");

    // What it prints goes to the file from now on.
    let request = DoCommandRequest {
        name: "probe".into(),
        command: Some(rpc::to_struct(&json!({ "print": "well treated" }))),
    };
    let _printed: DoCommandResponse = world
        .call("/viam.component.sensor.v1.SensorService/DoCommand", &request)
        .await
        .expect("it prints");
    let kept = || fs::read_to_string(&output).is_ok_and(|text| text.contains("well treated"));
    assert!(
        proc::eventually(Duration::from_secs(30), kept).await,
        "nothing is kept in {}",
        output.display()
    );

    // Its program is followed.
    program(&path);
    let now = world
        .until(|now| now.ready("probe") && now.pid("eyes") != first.pid("eyes"))
        .await;
    world.until_printed("binary changed").await;

    // What the process does see takes another one.
    world.rewrite(&machine(eyes(&keys).set("log_level", json!("debug")), sick("always")));
    world
        .until(|after| runs(3)(after) && after.ready("probe") && after.pid("eyes") != now.pid("eyes"))
        .await;
    world.shutdown().await.with_code(0).left_nothing_behind();
}
