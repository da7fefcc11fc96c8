//! Nothing is left behind, whoever dies: the core, its guardian, a module, or several of them at once.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mainstay_tests::bins;
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::proc::{self, eventually};
use mainstay_tests::status::Snapshot;
use mainstay_tests::world::{PATIENCE, Place, World};
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getpgid};

/// Five times the bar for what a killed core leaves behind.
const CEILING: Duration = Duration::from_secs(5);

/// A daemon that leaves its parent, its group and its session, writes its number down, and ignores SIGTERM.
const DAEMON: &str = r#"(setsid sh -c 'trap "" TERM; echo $$ >> "$1"; while :; do sleep 1000; done' sh "$WRITTEN" &)
exec "$FIXTURE" "$@""#;
/// A daemon of the same kind that ends at once.
const SHORT: &str = r#"(setsid sh -c 'echo $$ >> "$1"' sh "$WRITTEN" &)
exec "$FIXTURE" "$@""#;
/// Takes a moment to stop its motor, by a program of its own, and writes `stopped` then; a second SIGTERM would end it
/// at once.
const MOTOR: &str = r#"stop() { trap 'exit 143' TERM; sleep 0.3; echo stopped >> "$WRITTEN"; exit 0; }
trap stop TERM
"$FIXTURE" "$@" &
while :; do wait; done"#;

/// A module that is a shell script around the fixture, and the file into which the script writes.
fn script(place: &Place, name: &str, text: &str) -> (Module, PathBuf) {
    let path = place.write(&format!("{name}.sh"), &format!("#!/bin/sh\n{text}\n"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("the file is ours");
    let written = place.file(&format!("{name}.txt"));
    let module = Module::new(name, &path)
        .env("NONCE", name)
        .env("FIXTURE", bins::find("misbehave").to_str().expect("UTF-8"))
        .env("WRITTEN", written.to_str().expect("UTF-8"));
    (module, written)
}

/// The numbers in a file, one per line.
fn numbers(path: &Path) -> Vec<i32> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// The letter of a process' state; `None` once it is reaped.
fn state(pid: i32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

#[tokio::test]
async fn a_killed_core_leaves_nothing_and_motors_are_stopped() {
    let place = Place::new();
    let (daemon, daemons) = script(&place, "daemon", DAEMON);
    let (motor, stopped) = script(&place, "motor", MOTOR);
    let machine = Machine::new()
        .module(daemon)
        .module(motor)
        .module(Module::faulty("family", "offspring"))
        .module(Module::faulty("stubborn", "stubborn"))
        .resource(Resource::fake("wheel", "motor"));
    let mut world = place.start(machine).await;
    world
        .until(|now| {
            let names = ["daemon", "motor", "family", "stubborn"];
            now.running() && now.ready("wheel") && names.iter().all(|name| now.module_ready(name))
        })
        .await;
    assert_eq!(numbers(&daemons).len(), 1);
    assert!(world.place.processes().len() >= 10, "{:?}", world.place.processes());
    let killed = Instant::now();
    proc::signal(world.pid(), Signal::SIGKILL);
    let remains = world.ended().await;
    let took = killed.elapsed();
    println!("SIGKILL of the core to nothing left: {took:?}");
    remains.with_code(137).left_nothing_behind();
    assert!(took < CEILING, "{took:?}");
    assert_eq!(lines(&stopped), ["stopped"]);
    assert!(
        world.output().contains("the core was killed by SIGKILL"),
        "{}",
        world.output()
    );
}

#[tokio::test]
async fn a_killed_core_whose_modules_obey_is_cleared_up_at_once() {
    let machine = Machine::new()
        .module(Module::fixture("eyes"))
        .resource(Resource::fake("wheel", "motor"));
    let mut world = World::settled(machine).await;
    let killed = Instant::now();
    proc::signal(world.pid(), Signal::SIGKILL);
    world.ended().await.with_code(137).left_nothing_behind();
    let took = killed.elapsed();
    println!("SIGKILL of the core to nothing left, modules that obey: {took:?}");
    assert!(took < CEILING, "{took:?}");
}

#[tokio::test]
async fn core_module_and_daemon_killed_together_leave_nothing() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
        let place = Place::new();
        let (daemon, daemons) = script(&place, "daemon", DAEMON);
        let machine = Machine::new()
            .module(daemon)
            .module(Module::faulty("family", "offspring"))
            .resource(Resource::probe("probe"));
        let mut world = place.start(machine).await;
        let now = world
            .until(|now| now.running() && now.module_ready("daemon") && now.module_ready("family"))
            .await;
        let module = now.pid("daemon").expect("a process");
        let daemon = numbers(&daemons)[0];
        let all = [world.pid(), module, daemon];
        order.iter().for_each(|&one| proc::signal(all[one], Signal::SIGKILL));
        world.ended().await.with_code(137).left_nothing_behind();
    }
}

#[tokio::test]
async fn a_core_killed_in_the_middle_of_anything_leaves_nothing_and_starts_again() {
    for moment in ["start", "restart", "shutdown"] {
        let place = Place::new();
        let (daemon, _) = script(&place, "daemon", DAEMON);
        let machine = Machine::new()
            .module(daemon)
            .module(Module::faulty("mute", "mute"))
            .module(Module::faulty("stubborn", "stubborn"))
            .resource(Resource::fake("wheel", "motor"));
        let mut world = place.start(machine).await;
        match moment {
            "start" => {}
            "restart" => {
                let now = world.until(|now| now.module_ready("daemon")).await;
                proc::signal(now.pid("daemon").expect("a process"), Signal::SIGKILL);
                world.until(|now| !now.module_ready("daemon")).await;
            }
            _ => {
                world.until(|now| now.module_ready("stubborn")).await;
                proc::signal(world.guardian(), Signal::SIGTERM);
                world.until_printed("stopping").await;
            }
        }
        proc::signal(world.pid(), Signal::SIGKILL);
        world.ended().await.with_code(137).left_nothing_behind();
        let mut again = world.restart().await;
        again
            .until(|now| now.ready("wheel") && now.module_ready("daemon"))
            .await;
        proc::signal(again.pid(), Signal::SIGKILL);
        again.ended().await.with_code(137).left_nothing_behind();
    }
}

#[tokio::test]
async fn a_core_without_its_guardian_stops_in_order() {
    let place = Place::new();
    let (motor, stopped) = script(&place, "motor", MOTOR);
    let journal = place.file("journal");
    let machine = Machine::new()
        .module(motor)
        .module(Module::fixture("eyes").env("JOURNAL", journal.to_str().expect("UTF-8")))
        .resource(Resource::probe("probe"))
        .resource(Resource::fake("wheel", "motor"));
    let mut world = place.start(machine).await;
    world
        .until(|now| now.running() && now.module_ready("motor") && now.module_ready("eyes"))
        .await;
    proc::signal(world.guardian(), Signal::SIGKILL);
    let gone = eventually(PATIENCE, || world.place.processes().is_empty()).await;
    assert!(gone, "{:?}", world.place.processes());
    world.ended().await.with_code(137).left_nothing_behind();
    assert_eq!(lines(&stopped), ["stopped"]);
    let journal = fs::read_to_string(&journal).expect("the fixture wrote a journal");
    assert!(journal.contains("sigterm"), "{journal}");
    assert!(world.output().contains("the guardian has ended"), "{}", world.output());
}

/// Kills them so that none can act on the death of another.
fn kill_together(pids: &[i32]) {
    for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
        pids.iter().for_each(|&pid| proc::signal(pid, signal));
    }
}

fn undertaker(world: &World) -> i32 {
    let named = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "undertaker\n");
    let pids = world.place.processes().into_iter().map(|process| process.pid);
    pids.into_iter().find(named).expect("an undertaker")
}

#[tokio::test]
async fn core_and_guardian_killed_at_once_leave_nothing_and_motors_are_stopped() {
    let place = Place::new();
    let (daemon, _) = script(&place, "daemon", DAEMON);
    let (motor, stopped) = script(&place, "motor", MOTOR);
    let machine = Machine::new()
        .module(daemon)
        .module(motor)
        .module(Module::faulty("stubborn", "stubborn"))
        .resource(Resource::probe("probe"));
    let mut world = place.start(machine).await;
    world
        .until(|now| {
            now.running()
                && ["daemon", "motor", "stubborn"]
                    .iter()
                    .all(|name| now.module_ready(name))
        })
        .await;
    let killed = Instant::now();
    kill_together(&[world.guardian(), world.pid()]);
    let gone = eventually(PATIENCE, || world.place.processes().is_empty()).await;
    println!(
        "SIGKILL of core and guardian to no process left: {:?}",
        killed.elapsed()
    );
    assert!(gone, "{:?}", world.place.processes());
    world.ended().await.with_code(137).left_nothing_behind();
    assert_eq!(lines(&stopped), ["stopped"]);
}

#[tokio::test]
async fn what_lives_on_after_all_three_were_killed_is_ended_by_the_next_start() {
    let place = Place::new();
    let (daemon, daemons) = script(&place, "daemon", DAEMON);
    let machine = Machine::new()
        .module(daemon)
        .module(Module::fixture("eyes"))
        .resource(Resource::probe("probe"));
    let mut world = place.start(machine).await;
    let ready = |now: &Snapshot| now.running() && now.module_ready("daemon") && now.module_ready("eyes");
    let now = world.until(ready).await;
    kill_together(&[undertaker(&world), world.guardian(), world.pid()]);
    let _left = world.ended().await;
    let old = [
        now.pid("daemon").expect("a process"),
        now.pid("eyes").expect("a process"),
        numbers(&daemons)[0],
    ];
    let mut again = world.restart().await;
    again.until(ready).await;
    assert!(
        old.iter().all(|&pid| !proc::alive(pid)),
        "{:?}",
        again.place.processes()
    );
    assert!(
        again.output().contains("killed together with its guardian"),
        "{}",
        again.output()
    );
    again.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn whoever_starts_it_sees_how_the_core_ended() {
    for (signal, to_the_guardian, code) in [
        (Signal::SIGTERM, true, 0),
        (Signal::SIGQUIT, true, 131),
        (Signal::SIGABRT, true, 134),
        (Signal::SIGILL, false, 132),
    ] {
        let mut world = World::settled(Machine::new().module(Module::fixture("eyes"))).await;
        let pid = if to_the_guardian { world.guardian() } else { world.pid() };
        proc::signal(pid, signal);
        world.ended().await.with_code(code).left_nothing_behind();
    }
}

#[tokio::test]
async fn the_core_has_a_group_of_its_own_and_pauses_with_its_guardian() {
    let world = World::settled(Machine::new()).await;
    let core = Pid::from_raw(world.pid());
    assert_eq!(getpgid(Some(core)), Ok(core));
    assert_ne!(world.pid(), world.guardian());
    proc::signal(world.guardian(), Signal::SIGTSTP);
    let both = |wanted: fn(char) -> bool| {
        let pids = [world.guardian(), world.pid()];
        move || pids.iter().all(|&pid| state(pid).is_some_and(wanted))
    };
    assert!(eventually(PATIENCE, both(|state| state == 'T')).await, "paused");
    proc::signal(world.guardian(), Signal::SIGCONT);
    assert!(eventually(PATIENCE, both(|state| state != 'T')).await, "continued");
    assert!(world.snapshot().await.running());
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_daemon_ends_with_the_life_of_its_module() {
    let place = Place::new();
    let (daemon, daemons) = script(&place, "daemon", DAEMON);
    let (other, others) = script(&place, "other", DAEMON);
    let machine = Machine::new().module(daemon).module(other);
    let mut world = place.start(machine).await;
    let ready = |now: &Snapshot| now.module_ready("daemon") && now.module_ready("other");
    let before = world.until(ready).await.pid("daemon").expect("a process");
    let first = numbers(&daemons)[0];
    proc::signal(before, Signal::SIGKILL);
    world.until(|now| ready(now) && now.pid("daemon") != Some(before)).await;
    assert!(eventually(PATIENCE, || numbers(&daemons).len() == 2).await);
    let second = numbers(&daemons)[1];
    assert!(!proc::alive(first), "the daemon of the crashed process lives on");
    assert!(
        proc::alive(second) && proc::alive(numbers(&others)[0]),
        "others are left alone"
    );
    // It was adopted by the core, so the core has reaped it.
    assert!(eventually(PATIENCE, || state(first).is_none()).await);
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn adopted_processes_that_end_are_reaped_and_exit_codes_are_not_stolen() {
    let place = Place::new();
    let (short, written) = script(&place, "short", SHORT);
    let machine = Machine::new()
        .module(short)
        .module(Module::faulty("crash", "exit-at-once"));
    let mut world = place.start(machine).await;
    world.until(|now| now.module_ready("short")).await;
    let daemon = numbers(&written)[0];
    assert!(
        eventually(PATIENCE, || state(daemon).is_none()).await,
        "{:?}",
        state(daemon)
    );
    let now = world.until(|now| !now.module_error("crash").is_empty()).await;
    let process = now.process("crash").expect("it is listed");
    assert!(process.last.contains("exit code 3"), "{process:?}");
    world.shutdown().await.with_code(0).left_nothing_behind();
}
