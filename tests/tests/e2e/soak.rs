//! Crash cycles: the same module dies again and again, each time in another way, and the machine stays as it was.
//!
//! 100 cycles as a test; `cargo xtask soak` runs 2,000. `SOAK_CYCLES` and `SOAK_SEED` say otherwise.

use std::io::Write;
use std::time::{Duration, Instant};

use mainstay_tests::dice::{Dice, number};
use mainstay_tests::fixture::trap::Deed;
use mainstay_tests::leaks::{self, Held};
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::proc;
use mainstay_tests::traffic::Traffic;
use mainstay_tests::world::{PATIENCE, World};
use nix::sys::signal::Signal;
use serde_json::json;
use tonic::Code;

use crate::faults::core;
use crate::machine::command;

/// Cycles before the state that later ones are compared with.
const WARM_UP: u64 = 10;
/// Largest growth of the core over all cycles: an allocator keeps a little.
const GROWTH_KIB: u64 = 3 << 10;

/// Cause of the module's death.
#[derive(Debug, Clone, Copy)]
enum Death {
    Own(Deed),
    Killed(Signal),
}

const DEATHS: [Death; 7] = [
    Death::Own(Deed::Exit0),
    Death::Own(Deed::Exit2),
    Death::Own(Deed::Segv),
    Death::Own(Deed::Abort),
    Death::Killed(Signal::SIGKILL),
    Death::Killed(Signal::SIGTERM),
    Death::Killed(Signal::SIGQUIT),
];

/// Asks until the resource answers, and gives the process that did.
async fn answering(world: &World) -> i32 {
    let begun = Instant::now();
    loop {
        match command(world, "box", json!({ "who": true })).await {
            Ok(answer) => return answer["pid"].as_f64().expect("a process id") as i32,
            Err(status) => assert!(
                begun.elapsed() < PATIENCE && matches!(status.code(), Code::Unavailable | Code::FailedPrecondition),
                "after {:?}: {status}",
                begun.elapsed()
            ),
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// One death and one return; gives the time between.
async fn cycle(world: &World, death: Death) -> Duration {
    let before = answering(world).await;
    let begun = Instant::now();
    match death {
        Death::Own(deed) => {
            let call = command(world, "box", json!({ "deed": deed.word() })).await;
            let status = call.expect_err("its process ends before it answers");
            assert_eq!(status.code(), Code::Unavailable, "{death:?}: {status}");
        }
        Death::Killed(signal) => proc::signal(before, signal),
    }
    while answering(world).await == before {
        assert!(begun.elapsed() < PATIENCE, "{death:?} did not end it");
    }
    begun.elapsed()
}

fn progress(done: u64, cycles: u64, took: Duration, memory_kib: u64) {
    if std::env::var_os("SOAK_CYCLES").is_some() {
        let _ = writeln!(
            std::io::stderr(),
            "soak: {done} of {cycles} after {:.0} s, memory of the core {memory_kib} KiB",
            took.as_secs_f64()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_is_the_same_after_a_hundred_crashes() {
    let (cycles, seed) = (number("SOAK_CYCLES", 100), number("SOAK_SEED", 4));
    assert!(cycles >= 4, "SOAK_CYCLES={cycles}: four at least, one for each quarter");
    let restart = json!({ "first": "0s", "then": "10ms", "factor": 1, "jitter": 0 });
    let machine = Machine::new()
        .module(Module::family("well"))
        .module(Module::family("ill").set("restart", restart))
        .resource(Resource::of("well", "probe", "calm"))
        .resource(Resource::of("ill", "generic", "box"));
    let mut world = World::settled(machine).await;
    world.until(|now| now.ready("calm") && now.ready("box")).await;
    let core = core(&world).await;
    let traffic = Traffic::on(&world, &["calm"], Duration::from_millis(5));
    let mut dice = Dice::new(seed);
    for _ in 0..WARM_UP {
        cycle(&world, DEATHS[dice.roll(DEATHS.len())]).await;
    }
    let before = Held::at_rest(&world, core).await;
    let (begun, mut times) = (Instant::now(), Vec::new());
    // At 0, 25, 50, 75 and 100 %: what grows with every crash grows from each of these to the next.
    let mut memory = vec![leaks::memory_kib(core)];
    for done in 1..=cycles {
        times.push(cycle(&world, DEATHS[dice.roll(DEATHS.len())]).await);
        if (1..=4).any(|quarter| done == cycles * quarter / 4) {
            memory.push(leaks::memory_kib(core));
            progress(
                done,
                cycles,
                begun.elapsed(),
                memory.last().copied().unwrap_or_default(),
            );
        }
    }
    let took = begun.elapsed();
    let calls = traffic.end();
    let leaked = Held::no_more_than(&world, core, &before).await;
    let after = Held::of(&world, core).await;
    times.sort();
    let of = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1000.0;
    let on_the_way: Vec<_> = memory.iter().map(u64::to_string).collect();
    let _ = writeln!(
        std::io::stderr(),
        "soak: {cycles} crash cycles, seed {seed}, {:.0} s; death to answering again p50 {:.0} ms, p99 {:.0} ms, most {:.0} ms; \
         memory of the core at 0, 25, 50, 75, 100 %: {} KiB, then {} KiB; threads {} → {}; tasks {} → {}; \
         neighbour: {} calls, {} failed, slowest {:.0?}; leaks: {}",
        took.as_secs_f64(),
        of(50),
        of(99),
        of(100),
        on_the_way.join(" "),
        after.memory_kib,
        before.threads,
        after.threads,
        before.tasks,
        after.tasks,
        calls.answered,
        calls.failed.len(),
        calls.slowest,
        leaked.as_ref().map_or_else(String::as_str, |_| "none")
    );
    calls.none_failed().expect("the neighbour does not notice");
    leaked.expect("nothing leaks");
    assert!(
        after.memory_kib <= before.memory_kib + GROWTH_KIB,
        "the core grew from {} to {} KiB",
        before.memory_kib,
        after.memory_kib
    );
    world.shutdown().await.with_code(0).left_nothing_behind();
}
