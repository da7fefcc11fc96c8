//! Before anything is touched, modules are asked what they think of a change, and changed ones are tried beside those
//! that run.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use mainstay_proto::mainstay::control::v1::ConfigState;
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::proc;
use mainstay_tests::status::Snapshot;
use mainstay_tests::traffic::Traffic;
use mainstay_tests::world::{Place, World};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

fn machine(apply: Value) -> Machine {
    with(Module::family("busy"), apply)
}

fn with(busy: Module, apply: Value) -> Machine {
    Machine::new()
        .module(busy)
        .resource(Resource::of("busy", "probe", "moved"))
        .set("apply", apply)
}

/// One that its module does not take.
fn strange(name: &str) -> Resource {
    Resource::of("busy", "probe", name).attributes(json!({ "fault": "validate-error" }))
}

fn is(state: ConfigState) -> impl Fn(&Snapshot) -> bool {
    move |now| now.config_is(state)
}

fn runs(revision: u64) -> impl Fn(&Snapshot) -> bool {
    move |now| now.config_is(ConfigState::Current) && now.config().revision == Some(revision)
}

fn refused(now: &Snapshot, reason: &str) {
    let reasons = now.config().reasons;
    assert!(reasons.iter().any(|told| told.contains(reason)), "{reasons:?}");
}

/// Counts the lines of the journal with this text.
fn count(journal: &Path, line: &str) -> usize {
    let text = fs::read_to_string(journal).unwrap_or_default();
    text.lines().filter(|told| *told == line).count()
}

#[tokio::test]
async fn a_change_that_goes_back_anyway_is_refused_for_what_a_running_module_says() {
    let revert = json!({ "on_failure": "revert", "window": "200ms" });
    let first = machine(revert);
    let mut world = World::settled(first.clone()).await;
    let before = world.until(runs(1)).await;
    world.rewrite(&first.clone().resource(strange("bad")));
    let now = world.until(is(ConfigState::Refused)).await;
    refused(&now, "attribute `rate_hz` must be positive");
    refused(&now, "rdk:component:sensor/bad");
    assert!(now.resource("bad").is_none(), "nothing was touched: {now:?}");
    assert_eq!((now.pid("busy"), now.config().revision), (before.pid("busy"), Some(1)));
    world.rewrite(&first.clone().resource(Resource::of("busy", "probe", "good")));
    world.until(|now| runs(2)(now) && now.ready("good")).await;
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn what_was_unhealthy_before_refuses_nothing() {
    let revert = json!({ "on_failure": "revert", "window": "200ms" });
    let first = machine(json!({})).resource(strange("bad"));
    let mut world = World::start(first).await;
    world.until(|now| now.running() && now.unhealthy("bad")).await;
    let worse = Resource::of("busy", "probe", "bad").attributes(json!({ "fault": "validate-error", "more": 1 }));
    world.rewrite(&machine(revert).resource(worse));
    world.until(runs(2)).await;
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn what_stays_applied_whatever_happens_is_asked_about_once() {
    let place = Place::new();
    let journal = place.file("journal");
    let path = journal.to_str().expect("a path in UTF-8").to_owned();
    let first = with(Module::family("busy").env("JOURNAL", &path), json!({}));
    let mut world = place.start(first.clone()).await;
    world.until(|now| runs(1)(now) && now.ready("moved")).await;
    let turned = Resource::of("busy", "probe", "moved").attributes(json!({ "turn": 1 }));
    let second = Machine::new()
        .module(Module::family("busy").env("JOURNAL", &path))
        .resource(turned)
        .resource(Resource::of("busy", "probe", "new"))
        .resource(strange("bad"))
        .set("apply", json!({}));
    world.rewrite(&second);
    let now = world
        .until(|now| runs(2)(now) && now.ready("new") && now.ready("moved") && now.unhealthy("bad"))
        .await;
    assert!(now.resource_error("bad").contains("must be positive"), "{now:?}");
    let asked = ["busy validate moved", "busy validate new", "busy add new []"].map(|line| count(&journal, line));
    assert_eq!(asked, [2, 1, 1], "the first one at the start, too");
    assert_eq!(count(&journal, "busy remove moved"), 1);
    // A module that hangs when it is asked holds nothing up for long.
    let silent = Resource::of("busy", "probe", "silent").attributes(json!({ "fault": "hang-validate" }));
    world.rewrite(
        &second
            .clone()
            .resource(silent)
            .resource(Resource::of("busy", "probe", "last")),
    );
    world.until(|now| now.ready("last")).await;
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_new_version_that_does_not_start_is_tried_in_a_spare_instance_and_changes_nothing() {
    let spare = json!({ "on_failure": "revert", "window": "200ms", "preflight": "spare" });
    let place = Place::new();
    let journal = place.file("journal");
    let path = journal.to_str().expect("a path in UTF-8").to_owned();
    let family = || Module::family("busy").env("JOURNAL", &path);
    let mut world = place.start(with(family(), spare.clone())).await;
    let before = world.until(|now| runs(1)(now) && now.ready("moved")).await;
    let pids = |world: &World| -> BTreeSet<_> { world.place.processes().iter().map(|process| process.pid).collect() };
    let sockets = |world: &World| -> BTreeSet<_> { world.place.sockets().into_iter().collect() };
    let (processes, files) = (pids(&world), sockets(&world));
    let traffic = Traffic::on(&world, &["moved"], Duration::from_millis(5));
    for (fault, reason) in [
        ("exit-at-once", "a spare instance of it does not start"),
        ("ready-error", "a spare instance of it does not start"),
    ] {
        world.rewrite(&with(family().env("FAULT", fault), spare.clone()));
        let now = world.until(is(ConfigState::Refused)).await;
        refused(&now, reason);
        refused(&now, "module busy");
        assert_eq!((now.pid("busy"), now.control.modules.len()), (before.pid("busy"), 1));
        assert_eq!((pids(&world), sockets(&world)), (processes.clone(), files.clone()));
        world.rewrite(&with(family(), spare.clone()));
        world.until(runs(1)).await;
    }
    // One that starts, and does not take its entry.
    let picky = with(family().env("VERSION", "2"), spare.clone()).resource(strange("bad"));
    world.rewrite(&picky);
    let now = world.until(is(ConfigState::Refused)).await;
    refused(&now, "must be positive");
    let calls = traffic.end();
    assert!(calls.failed.is_empty(), "{:?}", calls.failed);
    assert_eq!((pids(&world), sockets(&world)), (processes, files));
    // A good one takes over; the spare instance held nothing, and its data went with it.
    world.rewrite(&with(family().env("VERSION", "3"), spare));
    let now = world.until(|now| runs(2)(now) && now.ready("moved")).await;
    assert_ne!(now.pid("busy"), before.pid("busy"));
    assert_eq!(count(&journal, "busy add moved []"), 2);
    no_spare_below(world.place.folder());
    world.shutdown().await.with_code(0).left_nothing_behind();
}

/// No file or folder of a spare instance is left.
fn no_spare_below(home: &Path) {
    let mut open = vec![home.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            assert!(!name.contains("spare"), "{} is left", entry.path().display());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(entry.path());
            }
        }
    }
}

fn spare() -> Value {
    json!({ "on_failure": "revert", "window": "200ms", "preflight": "spare" })
}

/// A machine that tries a version which never becomes ready, and the journal of that.
async fn trying() -> (World, std::path::PathBuf) {
    let place = Place::new();
    let journal = place.file("journal");
    let family = Module::family("busy").env("JOURNAL", journal.to_str().expect("a path in UTF-8"));
    let mut world = place.start(with(family.clone(), spare())).await;
    world.until(|now| runs(1)(now) && now.ready("moved")).await;
    let starts = count(&journal, "busy start");
    world.rewrite(&with(family.env("FAULT", "hang-ready"), spare()));
    let begun = || count(&journal, "busy start") > starts;
    assert!(
        proc::eventually(Duration::from_secs(60), begun).await,
        "no spare instance was started"
    );
    (world, journal)
}

#[tokio::test]
async fn a_core_that_ends_while_it_tries_a_spare_instance_leaves_nothing_of_it() {
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        let (mut world, _) = trying().await;
        let whom = match signal {
            Signal::SIGKILL => world.pid(),
            _ => world.guardian(),
        };
        proc::signal(whom, signal);
        world.ended().await.left_nothing_behind();
        no_spare_below(world.place.folder());
    }
}

#[tokio::test]
async fn a_spare_instance_of_a_text_that_is_replaced_is_ended_at_once() {
    let (mut world, journal) = trying().await;
    let before = world.snapshot().await.pid("busy");
    let path = journal.to_str().expect("a path in UTF-8").to_owned();
    let family = Module::family("busy").env("JOURNAL", &path).env("VERSION", "2");
    world.rewrite(&with(family, spare()));
    // It would have had 5 min to become ready.
    let now = world.until(|now| runs(2)(now) && now.ready("moved")).await;
    assert_ne!(now.pid("busy"), before);
    let mine = |world: &World| {
        let processes = world.place.processes();
        processes
            .iter()
            .filter(|process| process.command.contains("misbehave"))
            .count()
    };
    assert!(
        proc::eventually(Duration::from_secs(30), || mine(&world) == 1).await,
        "{:?}",
        world.place.processes()
    );
    no_spare_below(world.place.folder());
    world.shutdown().await.with_code(0).left_nothing_behind();
}
