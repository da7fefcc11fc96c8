//! Log files of modules, moved and removed by others while the module runs.

use std::fs;

use mainstay_tests::machine::{Machine, Module};
use mainstay_tests::proc::{self, eventually};
use mainstay_tests::world::{PATIENCE, Place};
use nix::sys::signal::Signal;
use serde_json::json;

#[tokio::test]
async fn a_log_that_was_renamed_or_whose_folder_is_gone_is_begun_anew() {
    let place = Place::new();
    let log = place.file("logs/eyes.log");
    // A line each 20 ms, whatever happens to the file.
    let program = place.write("talk.sh", "");
    let fixture = mainstay_tests::bins::find("misbehave");
    let text = format!(
        "#!/bin/sh\n(while kill -0 $$ 2>/dev/null; do echo tick; sleep 0.02; done) &\nexec '{}' \"$@\"\n",
        fixture.display()
    );
    fs::write(&program, text).expect("written");
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("ours");
    let module = Module::new("eyes", &program)
        .env("NONCE", "eyes")
        .set("output", json!({ "file": log.to_str().expect("UTF-8") }));
    let mut world = place.start(Machine::new().module(module)).await;
    world.until(|now| now.module_ready("eyes")).await;
    let written = || fs::read_to_string(&log).is_ok_and(|text| text.contains("tick"));
    assert!(eventually(PATIENCE, written).await);

    fs::rename(&log, log.with_extension("log.old")).expect("ours");
    assert!(eventually(PATIENCE, written).await, "renamed");
    fs::remove_file(&log).expect("ours");
    assert!(eventually(PATIENCE, written).await, "deleted");
    fs::remove_dir_all(log.parent().expect("a folder")).expect("ours");
    assert!(eventually(PATIENCE, written).await, "its folder is gone");
    // Nothing else is asked of SIGHUP by what rotates logs.
    fs::remove_file(&log).expect("ours");
    proc::signal(world.guardian(), Signal::SIGHUP);
    assert!(eventually(PATIENCE, written).await, "SIGHUP");
    world.shutdown().await.with_code(0).left_nothing_behind();
}
