//! Another policy for a module that runs, waits or rests.

use super::*;

/// A module of that policy that failed once or more, `ms` later treated by another one: the action that follows at
/// once, and the state.
fn treated(before: &Policy, failures: u64, after: &Policy) -> (bool, State, Instant) {
    let zero = Instant::now();
    let mut life = Lifecycle::new(before, START_TIMEOUT, 1);
    let mut now = zero;
    life.handle(Want(true), now);
    for number in 1..=failures {
        life.handle(exited(number), now);
        if number < failures {
            now = life.deadline().unwrap_or(now);
            life.handle(Tick, now);
        }
    }
    life.treat(after, START_TIMEOUT);
    let started = life.handle(Input::PolicyChanged, now).is_some();
    (started, life.state(), now)
}

#[test]
fn another_policy_counts_for_the_pause_that_is_under_way_and_for_one_that_rests() {
    let with = |change: &dyn Fn(&mut RestartPolicy)| {
        let mut policy = policy();
        change(&mut policy.restart);
        policy
    };
    let second = Duration::from_secs(1);
    let waits = |(started, state, now): (bool, State, Instant), pause: Duration| {
        assert!(!started);
        assert_eq!(state, State::Waiting { until: now + pause });
    };
    // After three failures it waits a second.
    waits(treated(&policy(), 3, &policy()), second);
    waits(
        treated(&policy(), 3, &with(&|restart| restart.max_delay = second / 4)),
        second / 4,
    );
    waits(
        treated(&policy(), 3, &with(&|restart| restart.then = 8 * second)),
        second,
    );
    let never = with(&|restart| restart.when = RestartWhen::Never);
    let limit = with(&|restart| restart.limit = Some(3));
    let looser = with(&|restart| restart.limit = Some(4));
    let rests = |before: &Policy, failures, after: &Policy| match treated(before, failures, after) {
        (false, State::GivenUp(rest), _) => Some(rest),
        (true, State::Starting { .. }, _) => None,
        other => panic!("{other:?}"),
    };
    assert_eq!(rests(&policy(), 3, &never), Some(GivenUp::Never));
    assert_eq!(rests(&policy(), 3, &limit), Some(GivenUp::GaveUp { failures: 3 }));
    assert_eq!(rests(&limit, 3, &limit), Some(GivenUp::GaveUp { failures: 3 }));
    assert_eq!(rests(&limit, 3, &looser), None);
    assert_eq!(rests(&never, 1, &never), Some(GivenUp::Never));
    assert_eq!(rests(&never, 1, &policy()), None);
}

#[test]
fn another_policy_leaves_a_process_alone_and_counts_for_its_end() {
    let zero = Instant::now();
    let mut life = Lifecycle::new(&policy(), START_TIMEOUT, 1);
    life.handle(Want(true), zero);
    life.handle(answered(1), zero);
    let mut after = policy();
    after.stop.grace = Duration::from_secs(3);
    after.restart.when = RestartWhen::Never;
    life.treat(&after, START_TIMEOUT);
    assert_eq!(life.handle(Input::PolicyChanged, zero), None);
    assert_eq!(life.state(), State::Ready { since: zero });
    assert_eq!(life.handle(failed(1), zero), Some(Action::Terminate));
    assert_eq!(
        life.deadline(),
        Some(zero + Duration::from_secs(1)),
        "a third of its grace"
    );
    life.handle(exited(1), zero);
    assert_eq!(life.state(), State::GivenUp(GivenUp::Never));
}
