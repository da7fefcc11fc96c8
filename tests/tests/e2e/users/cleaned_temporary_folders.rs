//! Things vanish under a running machine, and it goes on: runtime folder, sockets, working directory, state, home. A config is
//! known by its path as it was given.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::proc::{self, eventually};
use mainstay_tests::world::{PATIENCE, Place, World};
use nix::sys::signal::Signal;

/// What a cleaner may take, and the words with which the machine tells of it.
fn victims(folder: &Path) -> Vec<(&'static str, PathBuf)> {
    vec![
        ("control socket", folder.join("control.sock")),
        ("lock", folder.join("lock")),
        ("sockets of a module", folder.join("eyes")),
        ("parent socket of a module", folder.join("eyes/parent.sock")),
        ("runtime folder", folder.to_owned()),
        ("all of them", folder.parent().expect("one").to_owned()),
    ]
}

#[tokio::test]
async fn what_a_cleaner_removes_comes_back_and_modules_restart() {
    let machine = Machine::new()
        .module(Module::fixture("eyes"))
        .resource(Resource::probe("probe"));
    let mut world = World::settled(machine).await;
    let config = world.config().to_str().expect("UTF-8").to_owned();
    let folder = world.place.runtime_folders().pop().expect("a runtime folder");
    let control = folder.join("control.sock");
    for (what, victim) in victims(&folder) {
        let removed = if victim.is_dir() {
            fs::remove_dir_all(&victim)
        } else {
            fs::remove_file(&victim)
        };
        removed.expect("it is there");
        // At once, in whatever state things are: the first machine is found.
        let second = world.cli(&["run", &config]).await;
        assert_eq!(second.code, 1, "{what}: {second:?}");
        assert!(second.stderr.contains("running already"), "{what}: {second:?}");
        assert!(
            eventually(PATIENCE, || victim.exists() && control.exists()).await,
            "{what} is not made anew"
        );
        let now = world.until(|now| now.ready("probe")).await;
        let pid = now.pid("eyes").expect("a process");
        proc::signal(pid, Signal::SIGKILL);
        world
            .until(|now| now.ready("probe") && now.pid("eyes").is_some_and(|next| next != pid))
            .await;
        let status = world.cli(&["status", "--machine", &config]).await;
        assert_eq!(status.code, 0, "{what}: {status:?}");
    }
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_module_that_dies_just_after_the_folder_went_restarts_at_once() {
    let machine = Machine::new()
        .module(Module::fixture("eyes"))
        .resource(Resource::probe("probe"));
    let mut world = World::settled(machine).await;
    let pid = world.snapshot().await.pid("eyes").expect("a process");
    fs::remove_dir_all(world.place.file("run/mainstay")).expect("it is there");
    proc::signal(pid, Signal::SIGKILL);
    assert!(eventually(PATIENCE, || !world.place.runtime_folders().is_empty()).await);
    assert!(eventually(PATIENCE, || world.place.sockets().len() >= 3).await);
    world
        .until(|now| now.ready("probe") && now.pid("eyes").is_some_and(|next| next != pid))
        .await;
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_config_that_runs_is_found_from_another_session_too() {
    let world = World::settled(Machine::new()).await;
    let config = world.config().to_str().expect("UTF-8").to_owned();
    let elsewhere = world.place.file("other");
    fs::create_dir(&elsewhere).expect("writable");
    let mut command = world.place.command(&mainstay_tests::bins::mainstay());
    command.args(["run", &config]).env("XDG_RUNTIME_DIR", &elsewhere);
    let second = mainstay_tests::world::finish(command).await;
    assert_eq!(second.code, 1, "{second:?}");
    assert!(second.stderr.contains(&world.pid().to_string()), "{second:?}");
    let mut command = world.place.command(&mainstay_tests::bins::mainstay());
    command
        .args(["status", "--machine", &config])
        .env("XDG_RUNTIME_DIR", &elsewhere);
    let status = mainstay_tests::world::finish(command).await;
    assert_eq!(status.code, 0, "{status:?}");
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_machine_is_found_by_its_path_after_the_links_on_it_were_led_elsewhere() {
    let place = Place::new();
    let text = Machine::new().json().to_string();
    for version in ["..1", "..2"] {
        fs::create_dir(place.file(version)).expect("writable");
        fs::write(place.file(version).join("robot.json"), &text).expect("writable");
    }
    symlink("..1", place.file("..data")).expect("linked");
    let config = place.file("robot.json");
    symlink("..data/robot.json", &config).expect("linked");
    // As Kubernetes mounts a ConfigMap.
    let world = place.start_file(&config).await;
    let path = config.to_str().expect("UTF-8");
    assert_eq!(world.cli(&["status", "--machine", path]).await.code, 0);
    symlink("..2", world.place.file("..data_tmp")).expect("linked");
    fs::rename(world.place.file("..data_tmp"), world.place.file("..data")).expect("renamed");
    fs::remove_dir_all(world.place.file("..1")).expect("removed");
    let after = world.cli(&["status", "--machine", path]).await;
    assert_eq!(after.code, 0, "{after:?}");
    // By the file that it leads to, as well.
    let real = world.place.file("..2/robot.json");
    let by_file = world.cli(&["status", "--machine", real.to_str().expect("UTF-8")]).await;
    assert_eq!(by_file.code, 0, "{by_file:?}");
    let second = world.cli(&["run", path]).await;
    assert_eq!(second.code, 1, "{second:?}");
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn state_and_home_are_made_anew() {
    let machine = Machine::new().module(Module::fixture("eyes"));
    let mut world = World::settled(machine).await;
    let (state, home) = (world.place.file("state"), world.place.file("home"));
    let kept = state.join("last-good");
    assert!(eventually(PATIENCE, || kept.exists()).await);
    // The machine may be writing into it.
    assert!(eventually(PATIENCE, || fs::remove_dir_all(&state).is_ok()).await);
    fs::remove_dir_all(&home).expect("there");
    assert!(eventually(PATIENCE, || home.exists()).await, "no home");
    let is_good = |folder: fs::DirEntry| {
        let mut files = fs::read_dir(folder.path()).into_iter().flatten().flatten();
        files.any(|file| file.file_name().to_string_lossy().starts_with("good-"))
    };
    let folders = || fs::read_dir(&kept).into_iter().flatten().flatten();
    assert!(
        eventually(PATIENCE, || folders().any(is_good)).await,
        "no last good config"
    );
    let pid = world.snapshot().await.pid("eyes").expect("a process");
    proc::signal(pid, Signal::SIGKILL);
    world.until(|now| now.pid("eyes").is_some_and(|next| next != pid)).await;
    world.shutdown().await.with_code(0).left_nothing_behind();
}
