//! The lifecycle by tables: inputs at seconds, and the actions that follow.

use mainstay_model::Restart as RestartPolicy;

use super::Input::{Restart, Tick, Want};
use super::*;

mod policy_change;
mod stop;

const LIFE: u64 = 1;

fn answered(life: u64) -> Input {
    Input::Answered { life }
}

fn failed(life: u64) -> Input {
    Input::Failed { life }
}

fn ended(life: u64) -> Input {
    Input::Ended { life }
}

fn empty(life: u64) -> Input {
    Input::Empty { life }
}

fn exited(life: u64) -> Input {
    Input::Exited { life, clean: false }
}

/// Without a burst, unless a test is about that: the second failure in a row is followed by the first pause then.
fn policy() -> Policy {
    with_burst(0)
}

fn with_burst(burst: u32) -> Policy {
    let mut policy = Policy::default();
    policy.restart.jitter = 0.0;
    policy.restart.burst = burst;
    policy.health.start_timeout = Some(Duration::from_secs(30));
    policy
}

/// Feeds inputs at milliseconds to a module with that policy; gives the actions, each as `ms:action`, and the state.
fn run(policy: &Policy, inputs: &[(u64, Input)]) -> (String, State) {
    let zero = Instant::now();
    let mut life = Lifecycle::new(policy, START_TIMEOUT, 1);
    let mut actions = Vec::new();
    for (ms, input) in inputs {
        if let Some(action) = life.handle(*input, zero + Duration::from_millis(*ms)) {
            let text = match action {
                Action::Start { .. } => "Start".to_owned(),
                action => format!("{action:?}"),
            };
            actions.push(format!("{ms}:{text}"));
        }
    }
    (actions.join(" "), life.state())
}

fn check(inputs: &[(u64, Input)], expected: &str) {
    assert_eq!(run(&policy(), inputs).0, expected, "{inputs:?}");
}

#[test]
fn a_wanted_module_starts_once_and_comes_back_at_once_and_then_after_growing_pauses() {
    check(
        &[
            (0, Want(true)),
            (0, Want(true)),
            (1_000, answered(1)),
            (5_000, exited(1)),
            (5_001, answered(2)),
            (6_000, exited(2)),
            (6_499, Tick),
            (6_500, Tick),
            (6_600, exited(3)),
            (7_599, Tick),
            (7_600, Tick),
        ],
        "0:Start 5000:Start 6500:Start 7600:Start",
    );
}

#[test]
fn a_failed_first_start_is_treated_like_any_other_failure() {
    check(
        &[
            (0, Want(true)),
            (10, exited(1)),
            (20, exited(2)),
            (519, Tick),
            (520, Tick),
        ],
        "0:Start 10:Start 520:Start",
    );
}

/// So many ends of a READY process, a second apart and each while it is READY: when the next one starts, after each.
fn kills(policy: &Policy, ends: u64) -> (Vec<u64>, State) {
    let zero = Instant::now();
    let mut life = Lifecycle::new(policy, START_TIMEOUT, 1);
    let mut now = zero;
    life.handle(Want(true), now);
    let mut pauses = Vec::new();
    for number in 1..=ends {
        life.handle(answered(number), now);
        now += Duration::from_secs(1);
        let end = now;
        life.handle(exited(number), now);
        now = match life.state() {
            State::Waiting { until } => until,
            _ => now,
        };
        life.handle(Tick, now);
        pauses.push(u64::try_from((now - end).as_millis()).expect("short"));
    }
    (pauses, life.state())
}

#[test]
fn a_burst_of_tries_at_once_comes_before_the_growing_pauses() {
    let standard = Policy::default().restart.burst;
    let (pauses, _) = kills(&with_burst(standard), 15);
    assert_eq!(pauses[..9], [0, 0, 0, 0, 0, 500, 1_000, 2_000, 4_000]);
    assert_eq!(pauses[9..], [8_000, 16_000, 30_000, 30_000, 30_000, 30_000]);
    assert_eq!(kills(&with_burst(0), 4).0, [0, 500, 1_000, 2_000]);
    // A limit counts the tries of the burst, too.
    let mut limited = with_burst(standard);
    limited.restart.limit = Some(7);
    let (pauses, state) = kills(&limited, 7);
    assert_eq!(pauses, [0, 0, 0, 0, 0, 500, 0]);
    assert_eq!(state, State::GivenUp(GivenUp::GaveUp { failures: 7 }));
}

#[test]
fn only_what_had_been_ready_earns_a_burst() {
    let check = |inputs: &[(u64, Input)], expected: &str| {
        assert_eq!(run(&with_burst(5), inputs).0, expected, "{inputs:?}");
    };
    // The second does not become READY; the third does, and what is left of the burst is its own.
    check(
        &[
            (0, Want(true)),
            (0, answered(1)),
            (1, exited(1)),
            (2, exited(2)),
            (502, Tick),
            (503, answered(3)),
            (504, exited(3)),
            (505, exited(4)),
            (1_504, Tick),
            (1_505, Tick),
        ],
        "0:Start 1:Start 502:Start 504:Start 1505:Start",
    );
    // One that hangs had been READY; one whose start takes too long had not.
    check(
        &[
            (0, Want(true)),
            (0, exited(1)),
            (0, answered(2)),
            (1, Input::Unresponsive { life: 2 }),
            (2, Input::Hung { life: 2 }),
            (3, exited(2)),
            (30_003, Tick),
            (30_004, exited(3)),
            (30_503, Tick),
            (30_504, Tick),
        ],
        "0:Start 0:Start 2:Terminate 3:Start 30003:Terminate 30504:Start",
    );
    // A start by hand and a quiet time give the whole burst back.
    let used_up = |again: Input, at| {
        let mut inputs = vec![(0, Want(true))];
        for life in 1..=5 {
            inputs.extend([(life, answered(life)), (life, exited(life))]);
        }
        inputs.extend([(6, answered(6)), (at, again)]);
        (7..12).for_each(|life| inputs.extend([(at, exited(life - 1)), (at, answered(life))]));
        inputs
    };
    let starts = |inputs: &[(u64, Input)]| run(&with_burst(5), inputs).0.matches("Start").count();
    assert_eq!(starts(&used_up(Tick, 10)), 6);
    assert_eq!(starts(&used_up(Tick, 60_006)), 11);
    assert_eq!(starts(&used_up(Restart, 10)), 11);
}

#[test]
fn only_uninterrupted_ready_makes_the_next_failure_the_first() {
    let begin = [
        (0, Want(true)),
        (0, answered(1)),
        (1_000, exited(1)),
        (1_000, answered(2)),
    ];
    let quiet = [(61_000, exited(2))];
    check(&[&begin[..], &quiet[..]].concat(), "0:Start 1000:Start 61000:Start");
    let early = [(60_999, exited(2)), (61_499, Tick)];
    check(&[&begin[..], &early[..]].concat(), "0:Start 1000:Start 61499:Start");
    let interrupted = [
        (50_000, Input::Unresponsive { life: 2 }),
        (51_000, Input::Responded { life: 2 }),
        (70_000, exited(2)),
        (70_500, Tick),
    ];
    check(
        &[&begin[..], &interrupted[..]].concat(),
        "0:Start 1000:Start 70500:Start",
    );
    // A process that needs long to become READY is not quiet.
    let slow = [
        (0, Want(true)),
        (1_000, exited(1)),
        (29_000, answered(2)),
        (80_000, exited(2)),
    ];
    check(&slow, "0:Start 1000:Start");
}

#[test]
fn the_policy_says_after_which_ends_it_is_started_again() {
    let clean = Input::Exited {
        life: LIFE,
        clean: true,
    };
    let done = State::GivenUp(GivenUp::Done);
    let never = State::GivenUp(GivenUp::Never);
    for (when, end, expected) in [
        (RestartWhen::Always, clean, None),
        (RestartWhen::OnFailure, clean, Some(done)),
        (RestartWhen::OnFailure, exited(1), None),
        (RestartWhen::Never, clean, Some(never)),
        (RestartWhen::Never, exited(1), Some(never)),
    ] {
        let mut policy = policy();
        policy.restart.when = when;
        let (actions, state) = run(&policy, &[(0, Want(true)), (0, answered(1)), (1, end)]);
        match expected {
            Some(rest) => assert_eq!((actions.as_str(), state), ("0:Start", rest), "{when:?} {end:?}"),
            None => assert_eq!(actions, "0:Start 1:Start", "{when:?} {end:?}"),
        }
    }
    // A process that hung and then ends with 0 has failed all the same.
    let mut policy = policy();
    policy.restart.when = RestartWhen::OnFailure;
    let hung = [
        (0, Want(true)),
        (0, answered(1)),
        (1, Input::Hung { life: 1 }),
        (2, clean),
    ];
    assert_eq!(run(&policy, &hung).0, "0:Start 1:Terminate 2:Start");
}

#[test]
fn a_module_that_gave_up_starts_again_when_somebody_asks() {
    let mut policy = policy();
    policy.restart.limit = Some(2);
    let fail = [(0, Want(true)), (1, exited(1)), (2, exited(2)), (900, Tick)];
    let (actions, state) = run(&policy, &fail);
    assert_eq!(actions, "0:Start 1:Start");
    assert_eq!(state, State::GivenUp(GivenUp::GaveUp { failures: 2 }));
    let again = [&fail[..], &[(1_000, Restart), (1_001, exited(3)), (1_002, exited(4))]].concat();
    let (actions, state) = run(&policy, &again);
    assert_eq!(actions, "0:Start 1:Start 1000:Start 1001:Start");
    assert_eq!(state, State::GivenUp(GivenUp::GaveUp { failures: 2 }));
    let off = [&fail[..], &[(1_000, Want(false)), (1_001, Want(true))]].concat();
    assert_eq!(run(&policy, &off).0, "0:Start 1:Start 1001:Start");
}

#[test]
fn a_start_that_takes_too_long_is_ended_and_tried_again() {
    check(
        &[(0, Want(true)), (29_999, Tick), (30_000, Tick), (31_000, exited(1))],
        "0:Start 30000:Terminate 31000:Start",
    );
    let mut policy = policy();
    policy.health.start_timeout = None;
    let late = [(0, Want(true)), (299_999, Tick), (300_000, Tick)];
    assert_eq!(run(&policy, &late).0, "0:Start 300000:Terminate");
}

#[test]
fn a_module_that_hangs_is_ended_and_comes_back() {
    let (actions, state) = run(
        &policy(),
        &[(0, Want(true)), (0, answered(1)), (1, Input::Unresponsive { life: 1 })],
    );
    assert_eq!((actions.as_str(), state), ("0:Start", State::Unresponsive));
    check(
        &[
            (0, Want(true)),
            (0, answered(1)),
            (1, Input::Unresponsive { life: 1 }),
            (2, Input::Hung { life: 1 }),
            (3, Input::Hung { life: 1 }),
            (3_336, Tick),
            (10_002, Tick),
            (10_003, ended(1)),
            (10_004, empty(1)),
            (10_004, exited(1)),
        ],
        "0:Start 2:Terminate 3336:TerminateGroup 10002:KillGroup 10004:Reap 10004:Start",
    );
}

#[test]
fn a_restart_needs_no_pause_and_forgets_the_failures() {
    check(
        &[(0, Want(true)), (1, answered(1)), (2, Restart), (3, exited(1))],
        "0:Start 2:Terminate 3:Start",
    );
    let failing = [(0, Want(true)), (1, exited(1)), (1, exited(2))];
    check(
        &[
            &failing[..],
            &[(1, Restart), (2, exited(3)), (3, exited(4)), (503, Tick)],
        ]
        .concat(),
        "0:Start 1:Start 1:Start 2:Start 503:Start",
    );
    // Asked for while a useless process is being ended, too.
    check(
        &[
            &failing[..],
            &[(501, Tick), (600, failed(3)), (601, Restart), (602, exited(3))],
        ]
        .concat(),
        "0:Start 1:Start 501:Start 600:Terminate 602:Start",
    );
    check(&[(0, Restart)], "");
}

#[test]
fn a_module_that_is_being_emptied_comes_back_however_it_ends() {
    let drain = [(0, Want(true)), (0, answered(1)), (1, Input::Drain { life: 1 })];
    assert_eq!(run(&policy(), &drain).1, State::Draining);
    for (rest, expected) in [
        (vec![(2, Restart), (3, exited(1))], "0:Start 2:Terminate 3:Start"),
        (vec![(2, ended(1)), (2, exited(1))], "0:Start 2:Reap 2:Start"),
        (vec![(2, failed(1)), (3, exited(1))], "0:Start 2:Terminate 3:Start"),
        (vec![(2, Want(false)), (3, exited(1))], "0:Start 2:Terminate"),
    ] {
        check(&[&drain[..], &rest].concat(), expected);
    }
}

#[test]
fn the_word_of_an_earlier_process_does_not_count() {
    let begin = [(0, Want(true)), (0, answered(1)), (1, exited(1))];
    let stale = [
        answered(1),
        failed(1),
        ended(1),
        empty(1),
        exited(1),
        Input::Unresponsive { life: 1 },
        Input::Hung { life: 1 },
        Input::Drain { life: 1 },
    ];
    for input in stale {
        let (actions, state) = run(&policy(), &[&begin[..], &[(2, input)]].concat());
        assert_eq!(actions, "0:Start 1:Start", "{input:?}");
        assert!(matches!(state, State::Starting { .. }), "{input:?}: {state:?}");
    }
}

#[test]
fn each_part_of_a_start_has_a_limit_of_its_own() {
    let part = |seconds| Input::Underway {
        life: LIFE,
        limit: Duration::from_secs(seconds),
    };
    // The usual limit is 30 s.
    check(
        &[(0, Want(true)), (0, part(100)), (30_000, Tick), (100_000, Tick)],
        "0:Start 100000:Terminate",
    );
    check(
        &[
            (0, Want(true)),
            (0, part(100)),
            (90_000, part(30)),
            (100_000, Tick),
            (120_000, Tick),
        ],
        "0:Start 120000:Terminate",
    );
    check(
        &[(0, Want(true)), (1, answered(LIFE)), (2, part(1)), (5_000, Tick)],
        "0:Start",
    );
}
