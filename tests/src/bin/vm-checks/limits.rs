//! Limits that cgroups hold: by the kernel, for all that a module forks, and for that module alone.

use std::time::{Duration, Instant};

use mainstay_tests::proc;
use mainstay_tests::world::{PATIENCE, World};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::Check;
use crate::held::{background, command, held, limited, neighbours, restart, shell, until_back};
use crate::service::ServiceCgroup;

pub const CHECKS: &[Check] = crate::checks![every_limit_is_held_for_its_module_alone];

/// Expected error of a module that the kernel killed.
const OOM: &str = "memory limit of 96 MiB reached: killed by the kernel (OOM)";

/// Runs all checks on one machine: on an emulated processor one takes many seconds to start.
async fn every_limit_is_held_for_its_module_alone() {
    let service = ServiceCgroup::new("limits");
    let limits = json!({ "memory": "96 MiB", "cpu": 0.9, "pids": 24, "open_files": 200 });
    let mut world = limited(&service, limits).await;
    let core = world.pid();
    let traffic = neighbours(&world);
    crate::step("each_life_has_a_cgroup_of_its_own_with_all_limits");
    each_life_has_a_cgroup(&service, &mut world).await;
    crate::step("processes_that_are_refused_are_told_of");
    processes_are_refused(&service, &mut world).await;
    crate::step("a_busy_module_gets_its_share_of_the_processor_and_no_more");
    a_busy_module_gets_its_share(&service, &mut world).await;
    crate::step("a_module_that_leaks_dies_as_a_whole_and_comes_back");
    a_leak_ends_the_whole_module(&mut world).await;
    crate::step("what_a_child_takes_counts_for_its_module");
    a_child_counts_for_its_module(&mut world).await;
    let now = world.snapshot().await.control.pid;
    assert_eq!(i32::try_from(now).ok(), Some(core), "the core lives on");
    traffic.end().none_failed().expect("no call of the neighbour failed");
    crate::step("nothing_is_left_at_the_end");
    world.shutdown().await.with_code(0).left_nothing_behind();
    service.is_as_new().await;
}

async fn each_life_has_a_cgroup(service: &ServiceCgroup, world: &mut World) {
    let now = world.snapshot().await;
    let shown: Vec<_> = held(&now)
        .limits
        .iter()
        .map(|limit| (limit.name.as_str(), limit.held.as_str()))
        .collect();
    let expected = [
        ("memory", "cgroup"),
        ("cpu", "cgroup"),
        ("pids", "cgroup"),
        ("open_files", "rlimit"),
    ];
    assert_eq!(shown, expected);
    let core = service.cgroup_of(world.pid());
    let tree = core.strip_suffix("-core").expect("the core is in its leaf").to_owned();
    assert!(tree.starts_with("/mainstay-"), "{core}");
    assert_eq!(
        service.cgroup_of(world.guardian()),
        core,
        "the guardian goes with the core"
    );
    let pid = now.pid("held").expect("it runs");
    let group = format!("{tree}/held-1");
    assert_eq!(service.cgroup_of(pid), group);
    let neighbour = format!("{tree}/still-1");
    assert_eq!(service.cgroup_of(now.pid("still").expect("it runs")), neighbour);
    for (file, value) in [
        ("memory.max", "100663296"),
        ("memory.oom.group", "1"),
        ("memory.swap.max", "0"),
        ("cpu.max", "90000 100000"),
        ("pids.max", "24"),
    ] {
        assert_eq!(service.read(&group, file), value, "{file}");
    }
    assert_eq!(service.read(&neighbour, "memory.max"), "max");
    // What it forks is in it, also out of its session.
    let child = background(world, "exec sleep 1000").await;
    assert_eq!(service.cgroup_of(child), group);
    restart(world).await.expect("it restarts");
    let now = until_back(world, pid).await;
    let next = service.cgroup_of(now.pid("held").expect("it runs"));
    assert_eq!(next, format!("{tree}/held-2"));
    let gone = || !service.below().iter().any(|path| path.ends_with("held-1"));
    assert!(proc::eventually(PATIENCE, gone).await, "{:?}", service.below());
    assert!(!proc::alive(child));
}

async fn processes_are_refused(service: &ServiceCgroup, world: &mut World) {
    let pid = world.snapshot().await.pid("held").expect("it runs");
    let group = service.cgroup_of(pid);
    let said = shell(world, "for i in $(seq 40); do sleep 1000 >/dev/null 2>&1 & done").await;
    assert!(said.contains("can't fork"), "{said}");
    assert!(service.count(&group, "pids.current", "") <= 24);
    assert!(service.count(&group, "pids.events", "max ") > 0);
    let refused = |text: &str| text.contains("were refused");
    let now = world
        .until(|now| held(now).limits.iter().any(|limit| refused(&limit.reached)))
        .await;
    assert_eq!(now.pid("held"), Some(pid), "it lives on");
    for verb in ["status", "explain"] {
        let shown = world.cli(&[verb, "held"]).await.stdout;
        assert!(refused(&shown), "{verb}: {shown}");
    }
    // The shell could not fork for that.
    for line in service.read(&group, "cgroup.procs").lines() {
        let other = line.parse().expect("a process id");
        if other != pid {
            proc::signal(other, Signal::SIGKILL);
        }
    }
}

async fn a_busy_module_gets_its_share(service: &ServiceCgroup, world: &mut World) {
    let group = service.cgroup_of(world.snapshot().await.pid("held").expect("it runs"));
    let mut loops = Vec::new();
    for _ in 0..2 {
        loops.push(background(world, "while :; do :; done").await);
    }
    let count = |key| service.count(&group, "cpu.stat", key);
    let (used, begun, throttled) = (count("usage_usec "), Instant::now(), count("nr_throttled "));
    let held_back = || count("nr_throttled ") >= throttled + 10;
    assert!(
        proc::eventually(PATIENCE, held_back).await,
        "{}",
        service.read(&group, "cpu.stat")
    );
    tokio::time::sleep(Duration::from_secs(1)).await;
    let share = (count("usage_usec ") - used) as f64 / begun.elapsed().as_micros() as f64;
    // Each loop would have taken a processor.
    assert!(share < 1.3, "{share} processors: {}", service.read(&group, "cpu.stat"));
    for pid in loops {
        proc::signal(pid, Signal::SIGKILL);
    }
}

async fn a_leak_ends_the_whole_module(world: &mut World) {
    let pid = world.snapshot().await.pid("held").expect("it runs");
    let child = background(world, "exec sleep 1000").await;
    command(world, json!({ "hoard_mib": 8 }))
        .await
        .expect("below the limit");
    assert_eq!(world.snapshot().await.pid("held"), Some(pid));
    let status = command(world, json!({ "hoard_mib": 160 })).await.expect_err("above it");
    assert_eq!(status.code(), tonic::Code::Unavailable, "{status:?}");
    let now = until_back(world, pid).await;
    assert!(held(&now).last.contains(OOM), "{:?}", held(&now).last);
    assert!(!proc::alive(child), "what it forked lives on");
    let explained = world.cli(&["explain", "held"]).await.stdout;
    assert!(explained.contains(OOM), "{explained}");
}

async fn a_child_counts_for_its_module(world: &mut World) {
    let pid = world.snapshot().await.pid("held").expect("it runs");
    // It holds all that it was given, for want of a line end.
    background(world, "exec tail /dev/zero").await;
    let now = until_back(world, pid).await;
    assert!(held(&now).last.contains(OOM), "{:?}", held(&now).last);
}
