//! The core dies by SIGKILL, and nothing of its machine stays: its motors come to rest first, whoever forked what.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use mainstay_proto::mainstay::control::v1::ModuleState;
use mainstay_proto::viam::component::motor::v1::{SetPowerRequest, SetPowerResponse};
use mainstay_tests::bins;
use mainstay_tests::fixture::trap::{Deed, Moment};
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::proc::{self, eventually};
use mainstay_tests::world::{PATIENCE, Place, World};
use nix::sys::signal::Signal;

use crate::data_path::say;
use crate::faults::core;
use crate::figures::figure;

/// Five times the bar of 1 s.
const LIMIT: Duration = Duration::from_secs(5);

/// Kills the core; gives how long it took until nothing of the machine was left.
async fn kill_the_core(world: &World) -> Duration {
    let core = core(world).await;
    let begun = Instant::now();
    proc::signal(core, Signal::SIGKILL);
    let place = &world.place;
    let nothing = || place.processes().is_empty() && place.sockets().is_empty() && place.runtime_folders().is_empty();
    assert!(
        eventually(LIMIT, nothing).await,
        "left behind after {LIMIT:?}: {:?} {:?} {:?}",
        place.processes(),
        place.sockets(),
        place.runtime_folders()
    );
    begun.elapsed()
}

async fn wheel_stops(module: impl FnOnce(&Place) -> Module, model: &str) {
    let place = Place::new();
    let stopped = place.file("stopped");
    let path = stopped.to_str().expect("a path in UTF-8").to_owned();
    let machine = Machine::new()
        .module(module(&place).env("STOPPED", &path))
        .resource(Resource::new("wheel", "rdk:component:motor", model));
    let mut world = place.start(machine).await;
    world.until(|now| now.running() && now.ready("wheel")).await;
    let request = SetPowerRequest {
        name: "wheel".into(),
        power_pct: 0.5,
        extra: None,
    };
    let method = "/viam.component.motor.v1.MotorService/SetPower";
    let _: SetPowerResponse = world.call(method, &request).await.expect("it turns");
    assert!(!stopped.exists(), "it turns");
    let took = kill_the_core(&world).await;
    assert_eq!(
        fs::read_to_string(&stopped).unwrap_or_default(),
        "stopped\n",
        "the motor of {model} was not stopped; it took {took:?} until nothing was left"
    );
    figure(
        &format!("SIGKILL of the core to nothing left, {model} stopped before"),
        took,
    );
}

#[tokio::test]
async fn a_motor_of_a_python_module_stops_when_the_core_is_killed() {
    wheel_stops(|_| Module::python("wheels", "wheel.py"), "tests:python:wheel").await;
}

#[tokio::test]
async fn a_motor_of_a_rust_module_stops_when_the_core_is_killed() {
    wheel_stops(|_| Module::new("wheels", &bins::find("wheel")), "tests:sdk:wheel").await;
}

#[tokio::test]
async fn nothing_outlives_a_killed_core_not_even_a_daemon_or_one_that_ignores_sigterm() {
    let machine = Machine::new()
        .module(Module::family("ill").trap(Deed::Daemon, Moment::Call, None))
        .module(Module::faulty("deaf", "stubborn").env("MODELS", "deaf"))
        .module(Module::faulty("mother", "offspring").env("MODELS", "mother"))
        .resource(Resource::of("ill", "echo", "sore"))
        .resource(Resource::fake("motor", "motor"));
    let mut world = World::start(machine).await;
    world.until(|now| now.running() && now.ready("sore")).await;
    world
        .echo()
        .say(say("sore", ""))
        .await
        .expect("leaves a daemon and answers");
    let daemon = |world: &World| {
        let all = world.place.processes();
        all.iter().any(|process| process.command == "sleep 1000")
    };
    assert!(eventually(LIMIT, || daemon(&world)).await, "the daemon runs");
    let took = kill_the_core(&world).await;
    figure(
        "SIGKILL of the core to nothing left, with a daemon and deaf modules",
        took,
    );
    let mut world = world.restart().await;
    world.until(|now| now.running() && now.ready("motor")).await;
    world.shutdown().await.with_code(0).left_nothing_behind();
}

/// Packs the fixture's starter, and a file that takes `mebibytes` to unpack, into a tarball; what lay there is replaced.
fn pack(place: &Place, mebibytes: u64) -> PathBuf {
    let folder = place.file("package");
    fs::create_dir_all(&folder).expect("the temporary folder is writable");
    let start = format!("#!/bin/sh\nexec '{}' \"$@\"\n", bins::find("misbehave").display());
    fs::write(folder.join("run.sh"), start).expect("written");
    fs::set_permissions(folder.join("run.sh"), fs::Permissions::from_mode(0o755)).expect("ours");
    fs::write(folder.join("meta.json"), r#"{"entrypoint": "run.sh"}"#).expect("written");
    let ballast = fs::File::create(folder.join("ballast")).expect("written");
    ballast.set_len(mebibytes << 20).expect("there is room");
    let (tarball, new) = (place.file("m.tar.gz"), place.file("new"));
    let mut tar = Command::new("tar");
    tar.arg("czf").arg(&new).arg("-C").arg(&folder).arg(".");
    assert!(tar.status().expect("there is tar").success());
    fs::rename(&new, &tarball).expect("renamed");
    tarball
}

/// Lists incomplete folders where tarballs are unpacked.
fn parts(place: &Place) -> Vec<String> {
    let store = place.file("home/packages-local/data/module");
    let entries = fs::read_dir(store).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.ends_with(".part")).collect()
}

/// Takes long enough to unpack to be met by a signal.
const LARGE_MIB: u64 = if cfg!(debug_assertions) { 48 } else { 800 };

#[tokio::test]
async fn a_core_killed_while_it_unpacks_or_reloads_a_module_leaves_nothing_in_the_way_of_the_next() {
    for moment in [
        "unpacking at a start",
        "unpacking at a reload",
        "ending the old process",
    ] {
        let place = Place::new();
        let size = if moment == "unpacking at a start" { LARGE_MIB } else { 0 };
        let tarball = pack(&place, size);
        let packed = Module::new("packed", &tarball)
            .env("NONCE", "packed")
            .env("FAULT", "stubborn");
        let machine = Machine::new()
            .module(packed.set("stop", serde_json::json!({ "grace": "20s" })))
            .resource(Resource::probe("probe"));
        let mut world = place.start(machine).await;
        if moment != "unpacking at a start" {
            world.until(|now| now.ready("probe")).await;
        }
        if moment == "unpacking at a reload" {
            pack(&world.place, LARGE_MIB);
        }
        let reload = async {
            if moment == "unpacking at a start" {
                return;
            }
            let told = world.cli(&["reload", "packed", "--force"]).await;
            assert_ne!(told.code, 0, "{moment}: {told:?}");
        };
        let kill = async {
            let begun = Instant::now();
            loop {
                let met = match moment {
                    "ending the old process" => {
                        let now = world.snapshot().await;
                        now.process("packed")
                            .is_some_and(|module| module.state() == ModuleState::Stopping)
                    }
                    _ => !parts(&world.place).is_empty(),
                };
                if met {
                    break;
                }
                assert!(begun.elapsed() < PATIENCE, "{moment} was not seen");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            proc::signal(world.pid(), Signal::SIGKILL);
        };
        tokio::join!(reload, kill);
        world.ended().await.with_code(137).left_nothing_behind();
        let mut world = world.restart().await;
        world.until(|now| now.ready("probe")).await;
        assert_eq!(parts(&world.place), [""; 0], "{moment}: what was half unpacked is gone");
        proc::signal(world.pid(), Signal::SIGKILL);
        world.ended().await.with_code(137).left_nothing_behind();
    }
}
