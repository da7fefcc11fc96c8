//! A module whose program is a script that runs another file, which somebody changed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use mainstay_tests::bins;
use mainstay_tests::machine::{Machine, Module};
use mainstay_tests::world::Place;

#[tokio::test]
async fn a_module_is_reloaded_when_the_file_behind_its_script_has_changed() {
    let place = Place::new();
    let folder = place.file("modules/eyes");
    fs::create_dir_all(folder.join("data")).expect("made");
    let main = folder.join("main.sh");
    fs::write(&main, format!("exec '{}' \"$@\"\n", bins::find("misbehave").display())).expect("written");
    let program = folder.join("run.sh");
    fs::write(&program, "#!/bin/sh\n. \"$(dirname \"$0\")/main.sh\"\n").expect("written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("ours");
    let mut world = place
        .start(Machine::new().module(Module::new("eyes", &program).env("NONCE", "eyes")))
        .await;
    let first = world.until(|now| now.module_ready("eyes")).await.pid("eyes");

    fs::write(folder.join("data/record"), "written by the module").expect("written");
    let same = world.cli(&["reload", "eyes"]).await;
    assert!(same.code == 0 && same.stdout.contains("nothing to do"), "{same:?}");
    assert!(same.stdout.contains(folder.to_str().expect("UTF-8")), "{same:?}");

    let text = fs::read_to_string(&main).expect("there");
    fs::write(&main, format!("NEW=1 {text}")).expect("written");
    let reloaded = world.cli(&["reload", "eyes"]).await;
    assert!(
        reloaded.code == 0 && reloaded.stdout.starts_with("ready in "),
        "{reloaded:?}"
    );
    assert_ne!(world.snapshot().await.pid("eyes"), first);
    world.shutdown().await.with_code(0).left_nothing_behind();
}
