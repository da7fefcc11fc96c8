//! Tests of module programs: first runs, tarballs, TCP mode, changed programs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::world::{Place, World};
use mainstay_tests::{bins, proc, python, rpc};
use serde_json::{Value, json};

use crate::modules_py::readings;

/// Writes an executable script, whole at once.
fn script(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::create_dir_all(path.parent().expect("a folder")).expect("the temporary folder is writable");
    fs::write(&new, format!("#!/bin/sh\n{text}\n")).expect("the temporary folder is writable");
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).expect("the file is ours");
    fs::rename(&new, path).expect("the temporary folder is writable");
}

/// Script that starts the fixture.
fn fixture() -> String {
    format!("exec '{}' \"$@\"", bins::find("misbehave").display())
}

/// A module in a folder of its own, with a script for its first run.
fn with_first_run(place: &Place, name: &str, first: &str) -> Module {
    let folder = place.file(&format!("modules/{name}"));
    script(&folder.join("run"), &fixture());
    script(&folder.join("first.sh"), first);
    fs::write(folder.join("meta.json"), r#"{"first_run": "./first.sh"}"#).expect("written");
    // A plain local program has no first run.
    Module::new(name, &folder.join("run"))
        .set("type", json!(""))
        .env("NONCE", name)
}

/// Packs the Python thermometer, and says who it is in its readings.
fn pack(place: &Place, nonce: &str, meta: &str) -> PathBuf {
    let folder = place.file("package");
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/modules/thermometer.py");
    let start = format!(
        "NONCE={nonce}-$(cat first) exec '{}' thermometer.py \"$@\"",
        python::interpreter().display()
    );
    script(&folder.join("bin/run.sh"), &start);
    script(
        &folder.join("first.sh"),
        "cd \"$VIAM_MODULE_ROOT\" && echo run >> first && echo \"address: $VIAM_MODULE_ADDRESS\" && echo preparing",
    );
    fs::copy(program, folder.join("thermometer.py")).expect("copied");
    fs::write(folder.join("meta.json"), meta).expect("written");
    let (tarball, new) = (place.file("m.tar.gz"), place.file("new"));
    let packed = Command::new("tar")
        .arg("czf")
        .arg(&new)
        .arg("-C")
        .arg(&folder)
        .arg(".")
        .status();
    assert!(packed.expect("there is tar").success());
    fs::rename(&new, &tarball).expect("renamed");
    tarball
}

const META: &str = r#"{"entrypoint": "bin/run.sh", "first_run": "first.sh"}"#;

fn thermometer() -> Resource {
    Resource::new("thermometer", "rdk:component:sensor", "tests:python:thermometer")
}

#[tokio::test]
async fn a_failing_first_run_holds_up_its_own_module_alone() {
    let place = Place::new();
    // The next try may begin while the test reads what this one wrote: `env` is there whole or not at all.
    let first = "echo run >> ../count; env > ../env.new; mv ../env.new ../env; echo 'cannot fetch weights'; test -e ../allowed || exit 3";
    let first = format!("cd \"$(dirname \"$0\")\"; {first}");
    let machine = Machine::new()
        .module(with_first_run(&place, "late", &first))
        .module(Module::fixture("eyes"))
        .resource(Resource::echo("echo"));
    let folder = place.file("modules");
    let mut world = place.start(machine).await;
    let failed = world
        // On a busy host its last words are read a moment after its end.
        .until(|now| now.module_error("late").contains("cannot fetch weights") && now.module_ready("eyes"))
        .await;
    let error = failed.module_error("late").to_owned();
    for expected in ["first_run", "first.sh", "exit code 3"] {
        assert!(error.contains(expected), "no `{expected}` in {error}");
    }
    let environment = fs::read_to_string(folder.join("env")).expect("it ran");
    assert!(environment.contains("VIAM_MODULE_NAME=late") && !environment.contains("VIAM_MODULE_ADDRESS"));
    assert!(!folder.join("late.first_run_succeeded").exists());

    fs::write(folder.join("allowed"), "").expect("written");
    world.until(|now| now.module_ready("late")).await;
    assert!(folder.join("late.first_run_succeeded").exists());
    let runs = || {
        fs::read_to_string(folder.join("count"))
            .expect("it ran")
            .lines()
            .count()
    };
    let before = runs();
    assert!(before >= 2, "{before}");
    let restarted = world.cli(&["restart", "late"]).await;
    assert_eq!(restarted.code, 0, "{restarted:?}");
    assert_eq!(runs(), before, "what has succeeded is not run again");
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_first_run_ends_with_all_it_started_when_its_time_or_the_machine_is_over() {
    let place = Place::new();
    let endless = "sleep 1000 & sleep 1000";
    let machine = Machine::new()
        .module(with_first_run(&place, "slow", endless).set("first_run_timeout", json!("300ms")))
        .module(with_first_run(&place, "slower", endless))
        .module(Module::fixture("eyes"));
    let mut world = place.start(machine).await;
    let late = world
        .until(|now| now.module_error("slow").contains("still running after 300ms") && now.module_ready("eyes"))
        .await;
    let slower = late.pid("slower").expect("its script runs");
    let shut = world.shutdown().await;
    shut.with_code(0).left_nothing_behind();
    assert!(!proc::alive(slower));
}

#[tokio::test]
async fn a_tarball_of_a_python_module_runs_and_each_restart_unpacks_it_anew() {
    let place = Place::new();
    let tarball = pack(&place, "one", META);
    let machine = Machine::new()
        .module(Module::new("packed", &tarball))
        .resource(thermometer());
    let store = place.file("home/packages-local/data/module");
    let mut world = place.start(machine).await;
    world.until(|now| now.ready("thermometer")).await;
    assert_eq!(readings(&world, "thermometer").await["nonce"], "one-run");
    let root = store.join("synthetic-packed-0_0_0");
    assert!(root.join("thermometer.py").exists());
    assert!(store.join("synthetic-packed-0_0_0.first_run_succeeded").exists());
    assert!(world.output().contains("preparing") && !world.output().contains("address: /"));

    // The same tarball: nothing to do. A restart unpacks it all the same.
    let same = world.cli(&["reload", "packed"]).await;
    assert!(same.code == 0 && same.stdout.contains("nothing to do"), "{same:?}");
    pack(&world.place, "two", META);
    let reloaded = world.cli(&["reload", "packed"]).await;
    assert!(
        reloaded.code == 0 && reloaded.stdout.starts_with("ready in "),
        "{reloaded:?}"
    );
    world.until(|now| now.ready("thermometer")).await;
    assert_eq!(readings(&world, "thermometer").await["nonce"], "two-run");
    assert!(store.join("synthetic-packed-0_0_1").exists());

    // One that is no good is refused before the running process is touched.
    let pid = world.snapshot().await.pid("packed");
    pack(&world.place, "three", "{}");
    let refused = world.cli(&["restart", "packed"]).await;
    let text = "local tarballs must contain a meta.json with the 'entrypoint' field";
    assert!(refused.code == 1 && refused.stderr.contains(text), "{refused:?}");
    assert_eq!(world.snapshot().await.pid("packed"), pid);
    assert_eq!(readings(&world, "thermometer").await["nonce"], "two-run");
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_tarball_that_is_none_is_the_error_of_its_module() {
    let place = Place::new();
    let tarball = place.write("m.tgz", "no tarball");
    let machine = Machine::new()
        .module(Module::new("packed", &tarball))
        .module(Module::fixture("eyes"));
    let mut world = place.start(machine).await;
    let failed = world
        .until(|now| now.module_error("packed").contains("cannot unpack") && now.module_ready("eyes"))
        .await;
    assert!(failed.module_error("packed").contains("m.tgz"), "{failed:?}");
    pack(&world.place, "late", META);
    fs::rename(world.place.file("m.tar.gz"), &tarball).expect("renamed");
    world.until(|now| now.module_ready("packed")).await;
    world.shutdown().await.with_code(0).left_nothing_behind();
}

/// TCP ports on which process `pid` listens.
fn listening(pid: u32) -> Vec<u16> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).expect("it lives").flatten();
    let sockets: Vec<String> = open
        .filter_map(|entry| Some(fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned()))
        .collect();
    let table = fs::read_to_string(format!("/proc/{pid}/net/tcp")).expect("there is TCP");
    let rows = table
        .lines()
        .map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row.get(3) == Some(&"0A") && sockets.contains(&format!("socket:[{}]", row[9])))
        .filter_map(|row| u16::from_str_radix(row[1].split_once(':')?.1, 16).ok())
        .collect()
}

#[tokio::test]
async fn a_python_module_in_tcp_mode_answers_and_calls_and_nobody_else_gets_in() {
    let machine = Machine::new()
        .module(
            Module::python("fast", "tachometer.py")
                .set("tcp_mode", json!(true))
                .set("log_level", json!("info")),
        )
        .module(Module::fixture("eyes"))
        .resource(
            Resource::new("tachometer", "rdk:component:sensor", "tests:python:tachometer")
                .attributes(json!({ "motor": "motor" })),
        )
        .resource(Resource::fake("motor", "motor"));
    let mut world = World::settled(machine).await;
    let now = world.until(|now| now.ready("tachometer")).await;
    assert_eq!(readings(&world, "tachometer").await["powered"], false);

    let pid = now.pid("fast").expect("a process");
    let arguments = fs::read_to_string(format!("/proc/{pid}/cmdline")).expect("it lives");
    let arguments: Vec<_> = arguments.split_terminator('\0').collect();
    let [.., address, level, mode] = arguments.as_slice() else {
        panic!("too few arguments: {arguments:?}");
    };
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    assert_eq!((*level, *mode), ("--log-level=info", "--tcp-mode"));
    let environment = fs::read(format!("/proc/{pid}/environ")).expect("it lives");
    let expected = format!("VIAM_MODULE_ADDRESS={address}");
    assert!(
        environment
            .split(|byte| *byte == 0)
            .any(|variable| variable == expected.as_bytes())
    );

    // The parent port is that module's alone: this test is none of it.
    let mut ports = listening(now.control.pid);
    ports.retain(|port| !world.address().ends_with(&format!(":{port}")));
    let [port] = ports.as_slice() else {
        panic!("one port besides the public one: {ports:?}");
    };
    let stranger = tonic::transport::Endpoint::from_shared(format!("http://127.0.0.1:{port}")).expect("an address");
    let path = "/viam.robot.v1.RobotService/ResourceNames";
    let request = mainstay_proto::viam::robot::v1::ResourceNamesRequest::default();
    let refused: Result<mainstay_proto::viam::robot::v1::ResourceNamesResponse, _> =
        rpc::call(stranger.connect_lazy(), path, &request).await;
    assert!(refused.is_err(), "{refused:?}");
    world.until_printed("was refused").await;

    // A crash is answered on a new port.
    proc::signal(pid, nix::sys::signal::Signal::SIGKILL);
    world
        .until(|now| now.pid("fast").is_some_and(|new| new != pid) && now.ready("tachometer"))
        .await;
    assert_eq!(readings(&world, "tachometer").await["powered"], false);
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn without_tcp_mode_the_core_opens_no_port_but_its_own() {
    let machine = Machine::new()
        .module(Module::fixture("eyes"))
        .resource(Resource::echo("echo"));
    let world = World::settled(machine).await;
    let now = world.snapshot().await;
    assert_eq!(listening(now.control.pid).len(), 1);
}

#[tokio::test]
async fn a_watched_module_runs_its_new_program_by_itself() {
    let place = Place::new();
    let program = place.file("modules/eyes/run");
    script(&program, &fixture());
    let module = Module::new("eyes", &program)
        .set("watch", json!(true))
        .env("NONCE", "eyes");
    let machine = Machine::new().module(module).resource(Resource::echo("echo"));
    let mut world = place.start(machine).await;
    let first = world
        .until(|now| now.ready("echo"))
        .await
        .pid("eyes")
        .expect("a process");

    script(&program, &format!("NEW=1 {}", fixture()));
    let now = world
        .until(|now| now.pid("eyes").is_some_and(|pid| pid != first) && now.ready("echo"))
        .await;
    let second = now.pid("eyes").expect("a process");
    assert_eq!(
        now.process("eyes").map(|module| module.last.as_str()),
        Some("binary changed")
    );
    let environment = fs::read(format!("/proc/{second}/environ")).expect("it lives");
    assert!(
        environment
            .split(|byte| *byte == 0)
            .any(|variable| variable == b"NEW=1")
    );

    // A program that fails, and then one that works again.
    script(&program, "echo 'half done'; exit 9");
    world
        .until(|now| now.module_error("eyes").contains("exit code 9"))
        .await;
    script(&program, &fixture());
    world.until(|now| now.ready("echo")).await;
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_module_without_a_program_is_down_with_the_cause_and_starts_once_there_is_one() {
    let place = Place::new();
    let program = place.file("modules/eyes/run");
    // Time does not bring it up within this test.
    let module = Module::new("eyes", &program)
        .set("restart", json!({ "first": "1h", "then": "1h", "max_delay": "1h" }))
        .env("NONCE", "eyes");
    let machine = Machine::new().module(module).resource(Resource::echo("echo"));
    let mut world = place.start(machine).await;
    let now = world
        .until(|now| now.running() && now.module_error("eyes").contains("next try at"))
        .await;
    let missing = format!(
        "module  executable path error: stat {}: no such file or directory",
        program.display()
    );
    assert!(now.module_error("eyes").contains(&missing), "{now:?}");
    assert!(
        now.resource("echo").is_some_and(|echo| echo.error.contains(&missing)),
        "{now:?}"
    );
    let checked = world
        .place
        .mainstay(&["check", world.config().to_str().expect("UTF-8")])
        .await;
    assert!(
        checked.code == 1 && checked.stdout.contains("executable path error"),
        "{checked:?}"
    );

    fs::create_dir_all(program.parent().expect("a folder")).expect("made");
    fs::write(&program, format!("#!/bin/sh\n{}\n", fixture())).expect("written");
    let tried = world.cli(&["restart", "eyes"]).await;
    assert!(
        tried.code == 1 && tried.stderr.contains("not executable; chmod +x"),
        "{tried:?}"
    );
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("the file is ours");
    let first = world
        .until(|now| now.ready("echo"))
        .await
        .pid("eyes")
        .expect("a process");

    // It goes while it runs, and nobody minds before it is needed again.
    fs::remove_file(&program).expect("ours");
    let tried = world.cli(&["restart", "eyes"]).await;
    assert!(
        tried.code == 1 && tried.stderr.contains("executable path error"),
        "{tried:?}"
    );
    script(&program, &fixture());
    world
        .until(|now| now.ready("echo") && now.pid("eyes").is_some_and(|pid| pid != first))
        .await;
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn restart_and_reload_say_how_it_went() {
    let place = Place::new();
    let program = place.file("modules/eyes/run");
    script(&program, &fixture());
    let machine = Machine::new()
        .module(Module::new("eyes", &program).env("NONCE", "eyes"))
        .resource(Resource::echo("echo"))
        .resource(Resource::fake("motor", "motor"));
    let mut world = place.start(machine).await;
    let pid = world.until(|now| now.ready("echo")).await.pid("eyes");

    let restarted = world.cli(&["restart", "eyes"]).await;
    assert!(
        restarted.code == 0 && restarted.stdout.starts_with("ready in "),
        "{restarted:?}"
    );
    let now = world.until(|now| now.ready("echo")).await;
    assert_ne!(now.pid("eyes"), pid);
    let json = world
        .cli(&["restart", "builtin:fake", "--json", "--address", world.address()])
        .await;
    let json: Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert!(json["restarted"] == true && json["ready_ms"].is_u64(), "{json}");

    let pid = world.until(|now| now.ready("echo")).await.pid("eyes");
    let unchanged = world.cli(&["reload", "eyes"]).await;
    assert!(
        unchanged.code == 0 && unchanged.stdout.contains("--force"),
        "{unchanged:?}"
    );
    assert_eq!(world.snapshot().await.pid("eyes"), pid);
    let forced = world.cli(&["reload", "eyes", "--force"]).await;
    assert!(forced.code == 0 && forced.stdout.starts_with("ready in "), "{forced:?}");
    assert_ne!(world.snapshot().await.pid("eyes"), pid);

    script(&program, "echo 'no such device: /dev/lidar0'; exit 9");
    let failed = world.cli(&["reload", "eyes"]).await;
    for expected in ["exit code 9", "no such device: /dev/lidar0"] {
        assert!(failed.code == 1 && failed.stderr.contains(expected), "{failed:?}");
    }
    script(&program, &fixture());
    let mended = world.cli(&["reload", "eyes"]).await;
    assert_eq!(mended.code, 0, "{mended:?}");
    let mistyped = world.cli(&["restart", "eye"]).await;
    assert!(
        mistyped.code == 1 && mistyped.stderr.contains("did you mean `eyes`?"),
        "{mistyped:?}"
    );
}
