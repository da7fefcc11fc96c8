//! Tests of faults outside the table, each with its own expectation.

use std::time::{Duration, Instant};

use mainstay_proto::mainstay::control::v1::{ModuleState, ResourceState, Status as MachineStatus};
use mainstay_tests::echo::SayRequest;
use mainstay_tests::fixture::trap::{Deed, Moment};
use mainstay_tests::leaks;
use mainstay_tests::machine::Module;
use mainstay_tests::proc::{self, eventually};
use mainstay_tests::timeline::{self, Timeline};
use mainstay_tests::traffic::Traffic;
use mainstay_tests::world::{Place, World};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tonic::Code;

use super::cell::{self, core, last_lines, say, start, within};
use super::patient::{Patient, START_LIMIT};
use super::{panic_text, show};

/// Far more than any of this takes, because all of it is waited for beside other tests.
const LIMIT: Duration = Duration::from_secs(30);

/// Fault of the module.
#[derive(Clone, Copy)]
enum Wrong {
    /// A trap that springs once.
    Once(Deed, Moment),
    /// A trap that springs in each life.
    Always(Deed, Moment),
    /// A fault of `FAULT`, in each life.
    Fault(&'static str),
    /// Nothing by itself.
    Nothing,
}

/// Expectation of this fault, besides those of all: no call of the neighbour fails, nothing is left behind.
#[derive(Clone, Copy)]
enum Then {
    /// It goes on as if nothing were wrong, and can be restarted.
    GoesOn,
    /// It is started again and again, and its status says this.
    TriedAgain(&'static str),
    /// It is READY; its resource cannot be built, and says this.
    Useless(&'static str),
    /// It is ended with a cause that says this, and comes back.
    Ended(&'static str),
    /// When it is killed, what it left behind ends, too.
    TakesItsDaemonAlong,
    /// One call does not return: it ends by its deadline; everything else goes on.
    OneCallStuck,
    /// One answer is too large: that call fails; everything else goes on.
    OneAnswerTooLarge,
}

/// One row: its name, what is wrong, other keys of the module, what must be true.
struct Row(&'static str, Wrong, &'static [(&'static str, &'static str)], Then);

/// For a module whose only thread now and then waits until somebody has read what it printed.
const PATIENT: &[(&str, &str)] = &[("health", r#"{"interval": "200ms", "kill_after": "20s"}"#)];

const ROWS: &[Row] = &[
    Row(
        "daemon",
        Wrong::Once(Deed::Daemon, Moment::Call),
        &[],
        Then::TakesItsDaemonAlong,
    ),
    Row(
        "flooding stdout",
        Wrong::Once(Deed::Flood, Moment::Call),
        PATIENT,
        Then::GoesOn,
    ),
    Row(
        "binary on stderr",
        Wrong::Once(Deed::Binary, Moment::Call),
        PATIENT,
        Then::GoesOn,
    ),
    Row(
        "closing stdout",
        Wrong::Once(Deed::Close, Moment::Call),
        &[],
        Then::GoesOn,
    ),
    Row(
        "leaking memory to the limit",
        Wrong::Once(Deed::Leak, Moment::After),
        &[("limits", r#"{"memory": "64MiB"}"#)],
        Then::Ended("memory"),
    ),
    Row(
        "exhausting fds",
        Wrong::Once(Deed::Fds, Moment::Call),
        &[],
        Then::GoesOn,
    ),
    Row(
        "deleting its socket",
        Wrong::Once(Deed::Unlink, Moment::Call),
        &[],
        Then::GoesOn,
    ),
    Row(
        "a handler never returns",
        Wrong::Once(Deed::Never, Moment::Call),
        &[],
        Then::OneCallStuck,
    ),
    Row("a huge message", Wrong::Nothing, PATIENT, Then::OneAnswerTooLarge),
    Row(
        "never ready",
        Wrong::Once(Deed::Never, Moment::Ready),
        &[],
        Then::Ended("Ready"),
    ),
    Row(
        "crash loop",
        Wrong::Always(Deed::Exit2, Moment::After),
        &[],
        Then::TriedAgain("code 2"),
    ),
    Row(
        "garbage: bytes",
        Wrong::Fault("garbage-bytes"),
        &[],
        Then::TriedAgain(""),
    ),
    Row(
        "garbage: HTTP/1",
        Wrong::Fault("garbage-http"),
        &[],
        Then::TriedAgain(""),
    ),
    Row(
        "garbage: frames",
        Wrong::Fault("garbage-frames"),
        &[],
        Then::TriedAgain(""),
    ),
    Row(
        "garbage: Ready",
        Wrong::Fault("garbage-ready"),
        &[],
        Then::TriedAgain(""),
    ),
    Row(
        "no handlers",
        Wrong::Fault("no-handlers"),
        &[],
        Then::TriedAgain("offers no model"),
    ),
    Row(
        "wrong handlers",
        Wrong::Fault("bad-handlers"),
        &[],
        Then::Useless("tests:ill:echo"),
    ),
    Row(
        "unknown service",
        Wrong::Fault("unknown-service"),
        &[],
        Then::Useless("tests:ill:echo"),
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_other_fault_gets_its_own_answer() {
    let (mut report, mut failed) = (String::from("\nother faults\n"), 0);
    for rows in ROWS.chunks(4) {
        let mut running = JoinSet::new();
        for Row(name, wrong, keys, then) in rows {
            running.spawn(async move {
                let begun = Instant::now();
                let mut alone = JoinSet::new();
                // In a task of its own, so that a panic ends this row alone.
                alone.spawn(run(*wrong, keys, *then));
                let ended = alone.join_next().await.expect("one task");
                let result = ended.unwrap_or_else(|error| Err(panic_text(error)));
                (*name, result, begun.elapsed())
            });
        }
        while let Some(ended) = running.join_next().await {
            let (name, result, took) = ended.expect("its own task catches panics");
            let verdict = match result {
                Ok(()) => format!("ok {:.1} s", took.as_secs_f64()),
                Err(why) => {
                    failed += 1;
                    format!("FAILED: {why}")
                }
            };
            report.push_str(&format!("{name:30} {verdict}\n"));
        }
    }
    show(&report);
    assert_eq!(failed, 0, "failed rows");
}

async fn run(wrong: Wrong, keys: &[(&str, &str)], then: Then) -> Result<(), String> {
    let place = Place::new();
    let marker = place.file("sprung");
    let mut ill = match wrong {
        Wrong::Once(deed, moment) => Module::family("ill").trap(deed, moment, Some(&marker)),
        Wrong::Always(deed, moment) => Module::family("ill").trap(deed, moment, None),
        Wrong::Fault(fault) => Module::family("ill").env("FAULT", fault),
        Wrong::Nothing => Module::family("ill"),
    };
    for (key, value) in keys {
        ill = ill.set(key, serde_json::from_str::<Value>(value).unwrap_or(json!(null)));
    }
    let start_limit = match wrong {
        Wrong::Once(Deed::Never, Moment::Ready) => Duration::from_secs(3),
        Wrong::Fault(_) => Duration::from_secs(5),
        _ => START_LIMIT,
    };
    let world = start(place, Patient::Fixture, ill, start_limit).await;
    let played = played(&world, then).await;
    played.map_err(|why| format!("{why}\n{}", last_lines(&world.output(), 12)))?;
    world.shutdown().await.with_code(0).left_nothing_behind();
    Ok(())
}

async fn played(world: &World, then: Then) -> Result<(), String> {
    let begun = Instant::now();
    let timeline = Timeline::follow(world).await;
    let is_ready = |name: &'static str| move |state: &MachineStatus| timeline::ready(state, name);
    timeline
        .until(begun, LIMIT, "the neighbour READY", is_ready("calm"))
        .await?;
    let traffic = Traffic::on(world, &["calm"], Duration::from_millis(20));
    let module = |state: &MachineStatus| timeline::module(state, "ill").cloned().unwrap_or_default();
    let error =
        |state: &MachineStatus| timeline::resource(state, "sore").map_or(String::new(), |sore| sore.error.clone());
    // A module that never became ready has not told what it offers: its resource can only name it then.
    let why = |state: &MachineStatus| format!("{}\n{}", error(state), module(state).last);
    match then {
        Then::TriedAgain(word) => {
            let tried = |state: &MachineStatus| module(state).restarts >= 2 && why(state).contains(word);
            let what = format!("two more tries, and why: `{word}`");
            timeline.until(begun, LIMIT, &what, tried).await?;
        }
        Then::Useless(word) => {
            let told = |state: &MachineStatus| {
                module(state).state() == ModuleState::Ready
                    && timeline::resource(state, "sore").is_some_and(|sore| sore.state() == ResourceState::Unhealthy)
                    && error(state).contains(word)
            };
            timeline
                .until(begun, LIMIT, &format!("a useless module, and why: `{word}`"), told)
                .await?;
        }
        Then::Ended(word) => {
            let told = |state: &MachineStatus| !timeline::ready(state, "sore") && why(state).contains(word);
            let (after, _) = timeline
                .until(begun, LIMIT, &format!("its end, and why: `{word}`"), told)
                .await?;
            let back = |state: &MachineStatus| timeline::ready(state, "sore") && module(state).restarts >= 1;
            timeline.until(begun + after, LIMIT, "READY again", back).await?;
            within(LIMIT, "a call to the one that came back", say(world)).await??;
        }
        Then::GoesOn => {
            let (_, state) = timeline
                .until(begun, LIMIT, "the faulty one READY", is_ready("sore"))
                .await?;
            let before = leaks::memory_kib(core(world).await);
            let pid = module(&state).pid;
            let end = Instant::now() + Duration::from_secs(1);
            while Instant::now() < end {
                within(LIMIT, "a call to the faulty one", say(world)).await??;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            if module(&timeline.now()).pid != pid {
                return Err("it was restarted".to_owned());
            }
            let grown = leaks::memory_kib(core(world).await).saturating_sub(before);
            if grown > 30 << 10 {
                return Err(format!("the core grew by {grown} KiB"));
            }
            within(LIMIT, "RestartModule", cell::restart(world)).await??;
            timeline
                .until(Instant::now(), LIMIT, "READY again", is_ready("sore"))
                .await?;
            within(LIMIT, "a call to the restarted one", say(world)).await??;
        }
        Then::TakesItsDaemonAlong => {
            timeline
                .until(begun, LIMIT, "the faulty one READY", is_ready("sore"))
                .await?;
            let pid = within(LIMIT, "the call that leaves a daemon", say(world)).await??;
            let daemons = || {
                let all = world.place.processes();
                all.iter()
                    .filter(|process| process.command.starts_with("sleep "))
                    .count()
            };
            // It was forked before the call returned, and becomes `sleep` a moment later.
            if !eventually(LIMIT, || daemons() == 1).await {
                return Err(format!("{} daemons where there should be one", daemons()));
            }
            proc::signal(pid, Signal::SIGKILL);
            if !eventually(LIMIT, || daemons() == 0).await {
                return Err("the daemon outlives its module".to_owned());
            }
            let back = |state: &MachineStatus| timeline::ready(state, "sore") && module(state).restarts == 1;
            timeline.until(begun, LIMIT * 2, "READY again", back).await?;
        }
        Then::OneCallStuck => {
            let (_, state) = timeline
                .until(begun, LIMIT, "the faulty one READY", is_ready("sore"))
                .await?;
            let mut stuck = tonic::Request::new(sore(0));
            stuck.set_timeout(Duration::from_secs(2));
            let (mut echo, mut stuck_calls) = (world.echo(), JoinSet::new());
            stuck_calls.spawn(async move { echo.say(stuck).await });
            tokio::time::sleep(Duration::from_millis(200)).await;
            within(LIMIT, "a call beside the stuck one", say(world)).await??;
            match stuck_calls.join_next().await {
                Some(Ok(Err(status))) if matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled) => {}
                other => return Err(format!("the stuck call did not end by its deadline: {other:?}")),
            }
            within(LIMIT, "a call after the stuck one", say(world)).await??;
            if module(&timeline.now()).pid != module(&state).pid {
                return Err("it was restarted for one call, which nobody asked for".to_owned());
            }
        }
        Then::OneAnswerTooLarge => {
            let (_, state) = timeline
                .until(begun, LIMIT, "the faulty one READY", is_ready("sore"))
                .await?;
            match world.echo().say(sore(40 << 20)).await {
                Err(_) => {}
                Ok(_) => return Err("an answer of 40 MB came through".to_owned()),
            }
            // Whoever makes 40 MB on a busy machine may miss a probe, and is not called until it answers the next one.
            let after = async {
                while let Err(refused) = say(world).await {
                    eprintln!("after the huge one: {refused}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Ok(())
            };
            within(LIMIT, "a call after the huge one", after).await??;
            if module(&timeline.now()).pid != module(&state).pid {
                return Err("it was restarted for one answer".to_owned());
            }
        }
    }
    // A few calls after all of that.
    let before = traffic.so_far().answered;
    eventually(LIMIT, || traffic.so_far().answered > before + 5).await;
    traffic.end().none_failed()
}

fn sore(padding_bytes: u32) -> SayRequest {
    SayRequest {
        name: "sore".into(),
        padding_bytes,
        ..SayRequest::default()
    }
}
