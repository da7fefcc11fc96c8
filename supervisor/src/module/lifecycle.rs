//! A module's life as a function of state, input and time. Does no IO and reads no clock.

use std::time::{Duration, Instant};

/// How long a module may take from spawn to Ready, unless `VIAM_MODULE_STARTUP_TIMEOUT` says otherwise.
pub const START_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// Pause between a death and the next start.
pub const RESTART_DELAY: Duration = Duration::from_secs(1);
/// How long after SIGTERM to the process the whole group gets it too.
const GROUP_TERM_AFTER: Duration = Duration::from_millis(3_330);
/// How long after the first SIGTERM the group is killed.
const KILL_AFTER: Duration = Duration::from_secs(10);
/// A killed process that is not gone after this long is in the kernel's hands; it is killed once more.
const KILL_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Where the module is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// No process, and none is wanted.
    Stopped,
    /// The process runs and has not answered Ready; given up at `until`.
    Starting {
        /// When the start counts as failed.
        until: Instant,
    },
    /// It answered Ready.
    Ready,
    /// It was told to end; at `until` the next stronger word follows.
    Stopping {
        /// What is done at `until`.
        next: Stronger,
        /// When.
        until: Instant,
    },
    /// No process; started again at `until`.
    Waiting {
        /// When.
        until: Instant,
    },
}

/// What follows when a process does not end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stronger {
    /// SIGTERM to the whole group; SIGKILL at `kill`.
    TerminateGroup {
        /// When the patience ends.
        kill: Instant,
    },
    /// SIGKILL to the whole group.
    KillGroup,
    /// The process has ended, others of its group have not: SIGKILL to them.
    Reap,
}

/// What happens to a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Someone wants it to run, or not. Asking twice is harmless.
    Want(bool),
    /// Someone wants a new process, whatever the present one does.
    Restart,
    /// It answered Ready.
    Answered,
    /// It runs but is of no use: a failed handshake, or a lost connection.
    Failed,
    /// Its process has ended, but was not reaped; what it forked may live on.
    Ended,
    /// Nothing of its group lives any more.
    Empty,
    /// Its process was reaped, or could not be spawned.
    Exited,
    /// `deadline` is over.
    Tick,
}

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Spawn the process and shake hands.
    Start,
    /// SIGTERM to the process.
    Terminate,
    /// SIGTERM to its group.
    TerminateGroup,
    /// SIGKILL to its group.
    KillGroup,
    /// SIGKILL to what is left of its group, and forget the process; `Exited` is the answer.
    Reap,
}

/// One module's life.
#[derive(Debug)]
pub struct Lifecycle {
    state: State,
    wanted: bool,
    /// A restart was asked for: the next end is followed by a start at once.
    at_once: bool,
    start_timeout: Duration,
}

impl Lifecycle {
    /// A module that is not wanted yet.
    pub fn new(start_timeout: Duration) -> Self {
        Self {
            state: State::Stopped,
            wanted: false,
            at_once: false,
            start_timeout,
        }
    }

    /// Where it is.
    pub fn state(&self) -> State {
        self.state
    }

    /// When the next `Tick` is due.
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Starting { until } | State::Stopping { until, .. } | State::Waiting { until } => Some(until),
            State::Stopped | State::Ready => None,
        }
    }

    /// Advances by one input and says what to do about it.
    pub fn handle(&mut self, input: Input, now: Instant) -> Option<Action> {
        use State::{Ready, Starting, Stopped, Stopping, Waiting};
        match input {
            Input::Want(wanted) => self.wanted = wanted,
            Input::Restart => self.at_once = self.wanted,
            _ => {}
        }
        let (state, action) = match (self.state, input) {
            (Stopped, Input::Want(true)) | (Stopped | Waiting { .. }, Input::Restart) if self.wanted => self.start(now),
            (Waiting { until }, Input::Tick) if until <= now => self.start(now),
            (Starting { .. }, Input::Answered) => (Ready, None),
            (Starting { until }, Input::Tick) if until <= now => stop(now),
            (Starting { .. } | Ready, Input::Want(false) | Input::Failed) => stop(now),
            (Starting { .. } | Ready, Input::Restart) if self.wanted => stop(now),
            (
                Stopping {
                    next: Stronger::TerminateGroup { kill },
                    until,
                },
                Input::Tick,
            ) if until <= now => (
                Stopping {
                    next: Stronger::KillGroup,
                    until: kill,
                },
                Some(Action::TerminateGroup),
            ),
            (
                Stopping {
                    next: Stronger::KillGroup,
                    until,
                },
                Input::Tick,
            ) if until <= now => (
                Stopping {
                    next: Stronger::KillGroup,
                    until: now + KILL_AGAIN_AFTER,
                },
                Some(Action::KillGroup),
            ),
            // Nobody asked for this end, and a restart must not wait for what a dead process forked.
            (state @ (Starting { .. } | Ready), Input::Ended) => (state, Some(Action::Reap)),
            // A wrapper that does not `exec` ends at the signal; the module itself is still to hear of it.
            (
                Stopping {
                    next: Stronger::TerminateGroup { kill },
                    ..
                },
                Input::Ended,
            ) => (
                Stopping {
                    next: Stronger::Reap,
                    until: kill,
                },
                Some(Action::TerminateGroup),
            ),
            (
                Stopping {
                    next: Stronger::KillGroup,
                    until,
                },
                Input::Ended,
            ) => (
                Stopping {
                    next: Stronger::Reap,
                    until,
                },
                None,
            ),
            (
                state @ Stopping {
                    next: Stronger::Reap, ..
                },
                Input::Empty,
            ) => (state, Some(Action::Reap)),
            (
                state @ Stopping {
                    next: Stronger::Reap,
                    until,
                },
                Input::Tick,
            ) if until <= now => (state, Some(Action::Reap)),
            (Starting { .. } | Ready | Stopping { .. }, Input::Exited) if self.wanted && self.at_once => {
                self.start(now)
            }
            (Starting { .. } | Ready | Stopping { .. }, Input::Exited) if self.wanted => (
                Waiting {
                    until: now + RESTART_DELAY,
                },
                None,
            ),
            (Starting { .. } | Ready | Stopping { .. }, Input::Exited) | (Waiting { .. }, Input::Want(false)) => {
                (Stopped, None)
            }
            // Inputs race, so a late or repeated one is normal and changes nothing.
            (state, _) => (state, None),
        };
        self.state = state;
        action
    }

    fn start(&mut self, now: Instant) -> (State, Option<Action>) {
        self.at_once = false;
        (
            State::Starting {
                until: now + self.start_timeout,
            },
            Some(Action::Start),
        )
    }
}

fn stop(now: Instant) -> (State, Option<Action>) {
    let next = Stronger::TerminateGroup { kill: now + KILL_AFTER };
    (
        State::Stopping {
            next,
            until: now + GROUP_TERM_AFTER,
        },
        Some(Action::Terminate),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds inputs at seconds and compares the actions, each as `seconds:action`.
    fn check(inputs: &[(u64, Input)], expected: &str) {
        let zero = Instant::now();
        let mut life = Lifecycle::new(Duration::from_secs(30));
        let mut actions = Vec::new();
        for (seconds, input) in inputs {
            if let Some(action) = life.handle(*input, zero + Duration::from_secs(*seconds)) {
                actions.push(format!("{seconds}:{action:?}"));
            }
        }
        assert_eq!(actions.join(" "), expected, "{inputs:?}");
    }

    #[test]
    fn a_wanted_module_starts_once_and_comes_back_after_a_second() {
        use Input::{Answered, Exited, Tick, Want};
        check(
            &[
                (0, Want(true)),
                (0, Want(true)),
                (1, Answered),
                (5, Exited),
                (5, Tick),
                (6, Tick),
            ],
            "0:Start 6:Start",
        );
    }

    #[test]
    fn a_stop_grows_stronger_until_the_process_is_gone() {
        use Input::{Answered, Exited, Tick, Want};
        check(
            &[
                (0, Want(true)),
                (0, Answered),
                (1, Want(false)),
                (2, Tick),
                (5, Tick),
                (11, Tick),
                (12, Exited),
                (20, Tick),
            ],
            "0:Start 1:Terminate 5:TerminateGroup 11:KillGroup",
        );
    }

    #[test]
    fn a_start_that_takes_too_long_is_ended_and_tried_again() {
        use Input::{Exited, Tick, Want};
        check(
            &[(0, Want(true)), (29, Tick), (30, Tick), (31, Exited), (32, Tick)],
            "0:Start 30:Terminate 32:Start",
        );
    }

    #[test]
    fn a_restart_needs_no_pause() {
        use Input::{Answered, Exited, Restart, Tick, Want};
        check(
            &[(0, Want(true)), (1, Answered), (2, Restart), (3, Exited)],
            "0:Start 2:Terminate 3:Start",
        );
        check(&[(0, Want(true)), (1, Exited), (1, Restart)], "0:Start 1:Start");
        check(
            &[
                (0, Want(true)),
                (1, Exited),
                (2, Tick),
                (2, Answered),
                (3, Exited),
                (3, Tick),
            ],
            "0:Start 2:Start",
        );
        check(&[(0, Restart)], "");
    }

    #[test]
    fn a_change_of_mind_while_stopping_starts_again_after_the_end() {
        use Input::{Answered, Exited, Tick, Want};
        check(
            &[
                (0, Want(true)),
                (1, Answered),
                (2, Want(false)),
                (2, Want(true)),
                (3, Exited),
                (4, Tick),
            ],
            "0:Start 2:Terminate 4:Start",
        );
        check(&[(0, Want(true)), (1, Exited), (1, Want(false)), (9, Tick)], "0:Start");
    }

    #[test]
    fn what_a_stopped_process_forked_gets_the_rest_of_its_time() {
        use Input::{Answered, Empty, Ended, Exited, Tick, Want};
        let begin = [(0, Want(true)), (0, Answered), (1, Want(false))];
        let check = |rest: &[(u64, Input)], expected: &str| {
            check(&[&begin, rest].concat(), &format!("0:Start 1:Terminate {expected}"));
        };
        check(
            &[(1, Ended), (5, Tick), (6, Empty), (6, Exited), (20, Tick)],
            "1:TerminateGroup 6:Reap",
        );
        check(
            &[(1, Ended), (10, Tick), (11, Tick), (11, Exited)],
            "1:TerminateGroup 11:Reap",
        );
        check(
            &[(5, Tick), (6, Ended), (10, Tick), (11, Tick), (11, Exited)],
            "5:TerminateGroup 11:Reap",
        );
        check(
            &[(5, Tick), (11, Tick), (12, Ended), (12, Empty), (12, Exited)],
            "5:TerminateGroup 11:KillGroup 12:Reap",
        );
    }

    #[test]
    fn after_a_crash_nothing_waits_for_what_the_process_forked() {
        use Input::{Answered, Ended, Exited, Tick, Want};
        check(
            &[
                (0, Want(true)),
                (1, Answered),
                (5, Ended),
                (5, Exited),
                (6, Tick),
                (7, Ended),
                (7, Exited),
                (8, Tick),
            ],
            "0:Start 5:Reap 6:Start 7:Reap 8:Start",
        );
    }

    #[test]
    fn a_useless_process_is_ended_before_the_next_one_starts() {
        use Input::{Exited, Failed, Tick, Want};
        check(
            &[(0, Want(true)), (1, Failed), (1, Failed), (2, Exited), (3, Tick)],
            "0:Start 1:Terminate 3:Start",
        );
    }
}
