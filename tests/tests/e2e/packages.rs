//! Packages that lie on the machine: models are found by name, placeholders lead to them, and nothing removes them.

use std::fs;
use std::path::PathBuf;

use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::proc::eventually;
use mainstay_tests::world::{PATIENCE, Place, World};
use serde_json::{Value, json};

fn machine(packages: Value) -> Machine {
    Machine::new()
        .module(Module::fixture("eyes"))
        .resource(Resource::echo("echo"))
        .set("packages", packages)
}

fn faces(version: &str) -> Value {
    json!({ "name": "faces", "package": "org9/faces", "version": version, "type": "ml_model" })
}

#[tokio::test]
async fn models_are_found_by_the_name_of_their_package_and_stay_when_the_config_moves_on() {
    let place = Place::new();
    let packages = place.file("home/packages");
    let folder = |version: &str| packages.join(format!("data/ml_model/org9-faces-{}", version.replace('.', "_")));
    for version in ["0.3.0", "0.4.0"] {
        fs::create_dir_all(folder(version)).expect("writable");
    }
    let quota =
        json!({ "name": "other", "package": "org9/other", "type": "ml_model", "status": { "error": "no quota" } });
    let mut world = place.start(machine(json!([faces("0.3.0"), quota]))).await;
    world.until(|now| now.ready("echo")).await;
    world.until_printed("the cloud refuses this package: no quota").await;
    let leads = || -> Option<PathBuf> { fs::read_link(packages.join("faces")).ok() };
    assert_eq!(leads(), Some(folder("0.3.0")));
    let arrives = async |world: &World, version: &str| {
        let there = eventually(PATIENCE, || leads() == Some(folder(version))).await;
        assert!(there, "{:?}: {}", leads(), world.output());
    };
    world.rewrite(&machine(json!([faces("0.4.0")])));
    arrives(&world, "0.4.0").await;
    world.rewrite(&machine(json!([])));
    let unpacked = eventually(PATIENCE, || world.output().matches("applying ").count() == 2);
    assert!(unpacked.await, "{}", world.output());
    world.rewrite(&machine(json!([faces("0.3.0")])));
    arrives(&world, "0.3.0").await;
    assert!(folder("0.4.0").is_dir() && !packages.join("other").exists());
    world.stop_core().await;
    assert!(folder("0.3.0").is_dir() && folder("0.4.0").is_dir());
}
