//! A module whose program is a script that runs another file, which somebody changed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mainstay_tests::bins;
use mainstay_tests::machine::{Machine, Module};
use mainstay_tests::proc::eventually;
use mainstay_tests::status::Snapshot;
use mainstay_tests::world::{PATIENCE, Place, World};
use serde_json::{Value, json};

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

/// A module whose program `run.sh` runs `main.sh` beside it; gives the folder.
fn scripted(place: &Place) -> PathBuf {
    let folder = place.file("modules/eyes");
    fs::create_dir_all(folder.join("src")).expect("made");
    let main = format!("exec '{}' \"$@\"\n", bins::find("misbehave").display());
    fs::write(folder.join("main.sh"), main).expect("written");
    script(&folder.join("run.sh"), "#!/bin/sh\n. \"$(dirname \"$0\")/main.sh\"\n");
    folder
}

fn script(path: &Path, text: &str) {
    fs::write(path, text).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("ours");
}

async fn another(world: &mut World, first: Option<i32>) -> Option<i32> {
    let other = |now: &Snapshot| now.module_ready("eyes") && now.pid("eyes") != first;
    world.until(other).await.pid("eyes")
}

#[tokio::test]
async fn a_watched_script_is_restarted_when_its_code_or_what_its_entry_names_has_changed() {
    let place = Place::new();
    let folder = scripted(&place);
    let module = |watch: Value| {
        Module::new("eyes", &folder.join("run.sh"))
            .env("NONCE", "eyes")
            .set("watch", watch)
    };
    let mut world = place.start(Machine::new().module(module(json!(true)))).await;
    let first = world.until(|now| now.module_ready("eyes")).await.pid("eyes");

    // What is no code may be what it writes.
    fs::write(folder.join("state.json"), "1").expect("written");
    let text = fs::read_to_string(folder.join("main.sh")).expect("there");
    fs::write(folder.join("main.sh"), format!("NEW=1 {text}")).expect("written");
    let second = another(&mut world, first).await;
    let now = world.snapshot().await;
    let last = now
        .process("eyes")
        .map(|module| module.last.clone())
        .unwrap_or_default();
    assert!(last.contains("main.sh` changed"), "{last}");

    // Named instead, a file that comes counts, too, and the process goes on under the changed entry.
    let names = json!(["modules/eyes/src"]);
    world.rewrite(&Machine::new().module(module(names)));
    world.until_printed("change is applied").await;
    assert_eq!(world.snapshot().await.pid("eyes"), second);
    // The first look is at what is there then.
    let deadline = Instant::now() + PATIENCE;
    let mut number = 0;
    while world.snapshot().await.pid("eyes") == second && Instant::now() < deadline {
        number += 1;
        fs::write(folder.join(format!("src/{number}.txt")), "").expect("written");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    another(&mut world, second).await;
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_module_is_built_before_it_is_reloaded_and_runs_on_if_that_fails() {
    let place = Place::new();
    let folder = scripted(&place);
    let build = json!({ "build": "echo building; sh src/build.sh", "directory": "modules/eyes" });
    let module = Module::new("eyes", &folder.join("run.sh"))
        .env("NONCE", "eyes")
        .set("reload", build);
    let made = "#!/bin/sh\nBUILT=1\n. \"$(dirname \"$0\")/main.sh\"\n";
    fs::write(folder.join("src/new.sh"), made).expect("written");
    fs::write(folder.join("src/build.sh"), "echo 'error: no such crate' >&2; exit 3\n").expect("written");
    let mut world = place.start(Machine::new().module(module.clone())).await;
    let first = world.until(|now| now.module_ready("eyes")).await.pid("eyes");

    let failed = world.cli(&["reload", "eyes"]).await;
    for expected in ["the build failed: exit code 3", "no such crate"] {
        assert!(failed.code == 1 && failed.stderr.contains(expected), "{failed:?}");
    }
    assert_eq!(world.snapshot().await.pid("eyes"), first);
    let logs = world.cli(&["logs", "eyes"]).await.stdout;
    assert!(
        logs.contains("build  building") && logs.contains("the build failed"),
        "{logs}"
    );
    let explained = world.cli(&["explain", "eyes"]).await.stdout;
    assert!(explained.contains("the build failed"), "{explained}");

    fs::write(
        folder.join("src/build.sh"),
        "cp src/new.sh run.new && chmod +x run.new && mv run.new run.sh\n",
    )
    .expect("written");
    let built = world.cli(&["reload", "eyes"]).await;
    assert!(
        built.code == 0 && built.stdout.starts_with("built in ") && built.stdout.contains("ready in "),
        "{built:?}"
    );
    let second = world.snapshot().await.pid("eyes");
    assert_ne!(second, first);

    // With a watch the rest follows by itself, and a build that goes on when all ends is ended with it.
    let watched = module.set("watch", json!(["modules/eyes/src"]));
    world.rewrite(&Machine::new().module(watched));
    world.until_printed("change is applied").await;
    let deadline = Instant::now() + PATIENCE;
    let mut text = made.to_owned();
    while world.snapshot().await.pid("eyes") == second && Instant::now() < deadline {
        text.push_str("# more\n");
        fs::write(folder.join("src/new.sh"), &text).expect("written");
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    another(&mut world, second).await;
    fs::write(
        folder.join("src/build.sh"),
        "echo $$ > build.pid; setsid sleep 1000 & sleep 1000\n",
    )
    .expect("written");
    let begun = || fs::read_to_string(folder.join("build.pid")).is_ok_and(|pid| pid.ends_with('\n'));
    assert!(eventually(PATIENCE, begun).await);
    world.shutdown().await.with_code(0).left_nothing_behind();
}
