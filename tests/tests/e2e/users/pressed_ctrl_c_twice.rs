//! Somebody presses Ctrl-C, is impatient, and presses it again.

use std::time::{Duration, Instant};

use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::proc::{self, eventually};
use mainstay_tests::world::{PATIENCE, World};
use nix::sys::signal::Signal;

#[tokio::test]
async fn the_second_one_ends_all_at_once_and_nothing_is_said_to_be_started_again() {
    let machine = Machine::new()
        .module(Module::faulty("stubborn", "stubborn").env("MODELS", "stubborn"))
        .module(Module::fixture("eyes").env("NONCE", "eyes"))
        .resource(Resource::echo("echo"));
    let mut world = World::settled(machine).await;
    proc::signal(world.guardian(), Signal::SIGINT);
    world.until_printed("stopping").await;
    // The good one has ended, and the stubborn one has ten seconds.
    let begun = Instant::now();
    // Signals within a second count as one wish.
    let asked_twice = || {
        proc::signal(world.guardian(), Signal::SIGINT);
        world.output().contains("asked twice")
    };
    assert!(eventually(PATIENCE, asked_twice).await);
    let remains = world.ended().await;
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    let output = world.output();
    assert!(!output.contains("started again"), "{output}");
    assert!(!output.contains("ERROR"), "{output}");
    remains.with_code(0).left_nothing_behind();
}
