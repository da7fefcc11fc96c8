//! Ends of a process: how they grow stronger, and what the process forked.

use super::*;

#[test]
fn a_stop_grows_stronger_until_the_process_is_gone() {
    check(
        &[
            (0, Want(true)),
            (0, answered(1)),
            (1_000, Want(false)),
            (4_333, Tick),
            (4_334, Tick),
            (10_999, Tick),
            (11_000, Tick),
            (12_499, Tick),
            (12_500, Tick),
            (12_501, exited(1)),
            (20_000, Tick),
        ],
        "0:Start 1000:Terminate 4334:TerminateGroup 11000:KillGroup 12500:KillGroup",
    );
    let mut policy = policy();
    policy.stop.grace = Duration::ZERO;
    let (actions, _) = run(&policy, &[(0, Want(true)), (1, Want(false)), (1, Tick), (1, Tick)]);
    assert_eq!(actions, "0:Start 1:Terminate 1:TerminateGroup 1:KillGroup");
}

#[test]
fn a_killed_process_that_no_signal_reaches_is_not_waited_for() {
    let stuck = Input::Stuck { life: 1 };
    let begun = [(0, Want(true)), (0, answered(1)), (0, stuck)];
    let killed = [
        (4_333, stuck),
        (4_334, Tick),
        (11_000, Tick),
        (12_500, stuck),
        (12_500, exited(1)),
    ];
    let told = "Terminate 4334:TerminateGroup 11000:KillGroup 12500:GiveUp";
    for (why, expected, state) in [
        (Want(false), format!("0:Start 1000:{told}"), Some(State::Stopped)),
        (Restart, format!("0:Start 1000:{told} 12500:Start"), None),
        (
            Input::Hung { life: 1 },
            format!("0:Start 1000:{told} 12500:Start"),
            None,
        ),
    ] {
        let inputs = [&begun[..], &[(1_000, why)], &killed[..]].concat();
        let (actions, after) = run(&policy(), &inputs);
        assert_eq!(actions, expected, "{why:?}");
        assert!(state.is_none_or(|state| state == after), "{why:?}: {after:?}");
    }
}

#[test]
fn a_change_of_mind_while_stopping_starts_again_after_the_end() {
    check(
        &[
            (0, Want(true)),
            (1, answered(1)),
            (2, Want(false)),
            (2, Want(true)),
            (3, exited(1)),
        ],
        "0:Start 2:Terminate 3:Start",
    );
    check(
        &[
            (0, Want(true)),
            (1, exited(1)),
            (2, exited(2)),
            (3, Want(false)),
            (9_000, Tick),
        ],
        "0:Start 1:Start",
    );
}

#[test]
fn what_a_stopped_process_forked_gets_the_rest_of_its_time() {
    let begin = [(0, Want(true)), (0, answered(1)), (1_000, Want(false))];
    let check = |rest: &[(u64, Input)], expected: &str| {
        check(&[&begin, rest].concat(), &format!("0:Start 1000:Terminate {expected}"));
    };
    check(
        &[
            (1_000, ended(1)),
            (5_000, Tick),
            (6_000, empty(1)),
            (6_000, exited(1)),
            (20_000, Tick),
        ],
        "1000:TerminateGroup 6000:Reap",
    );
    check(
        &[(1_000, ended(1)), (10_000, Tick), (11_000, Tick), (11_000, exited(1))],
        "1000:TerminateGroup 11000:Reap",
    );
    check(
        &[
            (5_000, Tick),
            (6_000, ended(1)),
            (10_000, Tick),
            (11_000, Tick),
            (11_000, exited(1)),
        ],
        "5000:TerminateGroup 11000:Reap",
    );
    check(
        &[
            (5_000, Tick),
            (11_000, Tick),
            (12_000, ended(1)),
            (12_000, empty(1)),
            (12_000, exited(1)),
        ],
        "5000:TerminateGroup 11000:KillGroup 12000:Reap",
    );
}

#[test]
fn after_a_crash_nothing_waits_for_what_the_process_forked() {
    check(
        &[
            (0, Want(true)),
            (1, answered(1)),
            (5, ended(1)),
            (5, exited(1)),
            (7, ended(2)),
            (7, exited(2)),
            (507, Tick),
        ],
        "0:Start 5:Reap 5:Start 7:Reap 507:Start",
    );
}

#[test]
fn a_useless_process_is_ended_before_the_next_one_starts() {
    check(
        &[(0, Want(true)), (1, failed(1)), (1, failed(1)), (2, exited(1))],
        "0:Start 1:Terminate 2:Start",
    );
}
