//! Checks that nothing is left in the cgroup tree, nor of forked processes, whichever process dies.

use std::path::PathBuf;

use mainstay_tests::proc::{self, eventually};
use mainstay_tests::world::{PATIENCE, World};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::Check;
use crate::held::{alone, background, command, held, restart, until_back};
use crate::service::ServiceCgroup;

pub const CHECKS: &[Check] = crate::checks![nothing_is_left_whoever_dies];
/// Checks of a separate boot.
pub const USER: &[Check] = crate::checks![limits_hold_for_the_machine_of_an_ordinary_user_too];

/// Runs all checks with one config: on an emulated processor a machine takes many seconds to start.
async fn nothing_is_left_whoever_dies() {
    let service = ServiceCgroup::new("ends");
    let mut world = alone(&service, json!({ "memory": "100 MiB", "pids": 50 })).await;
    crate::step("a_daemon_without_session_or_environment_ends_with_its_module");
    let pid = world.snapshot().await.pid("held").expect("it runs");
    let left = daemon(&world).await;
    let killed = command(&world, json!({ "exit": 3 })).await;
    assert!(killed.is_err(), "{killed:?}");
    let now = until_back(&mut world, pid).await;
    gone(&[left]).await;
    let left = daemon(&world).await;
    restart(&world).await.expect("it restarts");
    until_back(&mut world, now.pid("held").expect("it runs")).await;
    gone(&[left]).await;

    crate::step("nothing_is_left_of_a_machine_that_is_stopped");
    let left = [
        daemon(&world).await,
        world.snapshot().await.pid("held").expect("it runs"),
    ];
    proc::signal(world.guardian(), Signal::SIGTERM);
    world.ended().await.with_code(0).left_nothing_behind();
    gone(&left).await;
    service.is_as_new().await;

    crate::step("nothing_is_left_of_a_killed_core");
    let mut world = again(world).await;
    let left = [
        daemon(&world).await,
        world.snapshot().await.pid("held").expect("it runs"),
    ];
    proc::signal(world.pid(), Signal::SIGKILL);
    world.ended().await.with_code(128 + 9).left_nothing_behind();
    gone(&left).await;
    service.is_as_new().await;

    crate::step("nothing_is_left_of_a_core_that_is_killed_with_its_guardian");
    let mut world = again(world).await;
    let left = [
        daemon(&world).await,
        world.snapshot().await.pid("held").expect("it runs"),
    ];
    for pid in [world.guardian(), world.pid()] {
        proc::signal(pid, Signal::SIGKILL);
    }
    let _killed = world.ended().await;
    gone(&left).await;
    service.is_as_new().await;

    crate::step("what_the_death_of_all_three_leaves_is_put_away_by_the_next_start");
    let mut world = again(world).await;
    let left = daemon(&world).await;
    let all = [undertaker(world.guardian()), world.guardian(), world.pid()];
    for pid in all {
        proc::signal(pid, Signal::SIGKILL);
    }
    let _killed = world.ended().await;
    gone(&all).await;
    assert!(proc::alive(left), "nobody is there to end it");
    assert!(
        service.below().iter().any(|path| path.ends_with("held-1")),
        "{:?}",
        service.below()
    );
    // In a cgroup of another name, as in another session.
    let next = ServiceCgroup::new("next");
    let config = std::fs::read_to_string(world.config()).expect("it was written");
    let place = next.adopt(std::mem::take(&mut world.place));
    let mut world = place.start_text("machine.json", &config).await;
    world.until(|now| now.ready("thing")).await;
    gone(&[left]).await;
    assert_eq!(service.below(), Vec::<PathBuf>::new(), "of the earlier machine");
    world.shutdown().await.with_code(0).left_nothing_behind();
    next.is_as_new().await;
}

async fn limits_hold_for_the_machine_of_an_ordinary_user_too() {
    let service = ServiceCgroup::of("user", 65534);
    let mut world = alone(&service, json!({ "memory": "64 MiB", "cpu": 0.9, "pids": 50 })).await;
    let now = world.snapshot().await;
    let all_held = held(&now).limits.iter().all(|limit| limit.held == "cgroup");
    assert!(all_held, "{:?}", held(&now).limits);
    let pid = now.pid("held").expect("it runs");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    assert!(status.contains("Uid:\t65534\t65534\t65534\t65534"), "{status}");
    let killed = command(&world, json!({ "hoard_mib": 120 })).await;
    assert!(killed.is_err(), "{killed:?}");
    let now = until_back(&mut world, pid).await;
    assert!(
        held(&now).last.contains("killed by the kernel (OOM)"),
        "{:?}",
        held(&now).last
    );
    let left = daemon(&world).await;
    world.shutdown().await.with_code(0).left_nothing_behind();
    gone(&[left]).await;
    service.is_as_new().await;
}

/// Starts the machine again, in the same cgroup.
async fn again(world: World) -> World {
    let mut world = world.restart().await;
    world.until(|now| now.ready("thing")).await;
    world
}

/// Finds the process that waits for the death of this guardian and its core.
fn undertaker(guardian: i32) -> i32 {
    let named = |pid: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.contains(&format!("(undertaker) S {guardian} "))
    };
    let entries = std::fs::read_dir("/proc").expect("there is one").flatten();
    let mut pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.find(named).expect("a guardian has one")
}

/// Starts a reparented process with its own session and an empty environment.
async fn daemon(world: &World) -> i32 {
    let file = world.place.file("daemon.pid");
    let _earlier = std::fs::remove_file(&file);
    let script = format!(
        "exec env -i sh -c \"echo \\$\\$ > {}; exec sleep 1000\"",
        file.display()
    );
    background(world, &script).await;
    let read = || {
        std::fs::read_to_string(&file)
            .ok()
            .and_then(|text| text.trim().parse().ok())
    };
    assert!(eventually(PATIENCE, || read().is_some()).await, "the daemon never ran");
    read().expect("it was there")
}

async fn gone(pids: &[i32]) {
    let dead = eventually(PATIENCE, || !pids.iter().any(|pid| proc::alive(*pid))).await;
    assert!(dead, "some of {pids:?} live on");
}
