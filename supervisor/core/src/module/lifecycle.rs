//! A module's life as a function of state, input and time. Does no IO and reads no clock.

use std::time::{Duration, Instant};

use mainstay_model::{Policy, Restart, RestartWhen};

use super::backoff::{Backoff, Next};

/// Longest time from spawn to Ready, unless the module's config or `VIAM_MODULE_STARTUP_TIMEOUT` says otherwise.
pub const START_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// A killed process that is not gone after this long is in the kernel's hands: it is killed once more, or given up if
/// no signal reaches it.
const KILL_AGAIN_AFTER: Duration = Duration::from_millis(1_500);

/// State of a module's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// No process, and none is wanted.
    Stopped,
    /// The process runs and has not answered Ready; given up at `until`.
    Starting {
        /// Time at which the start counts as failed.
        until: Instant,
    },
    /// Answered Ready, and answers since then.
    Ready {
        /// Start of this state, without interruption since.
        since: Instant,
    },
    /// Answers nothing any more after it was READY; it may recover.
    Unresponsive,
    /// Runs, and will be restarted: its resources are being taken out.
    Draining,
    /// Runs, and is being ended; at `until` the next escalation follows.
    Stopping {
        /// Next escalation.
        next: Escalation,
        /// Time of the next escalation.
        until: Instant,
        /// True if nobody asked for this end: the process was of no use.
        failed: bool,
    },
    /// No process; started again at `until`.
    Waiting {
        /// Time of the next start.
        until: Instant,
    },
    /// No process, and none will be started before somebody asks for it.
    GivenUp(GivenUp),
}

/// Reason why a module that is wanted is not started again by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GivenUp {
    /// `restart: never`.
    Never,
    /// `restart: on-failure`, and it exited with code 0.
    Done,
    /// Failed so often in a row that the limit is reached.
    GaveUp {
        /// Number of failures in a row.
        failures: u32,
    },
}

/// Next measure against a process that does not end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escalation {
    /// SIGTERM to the whole group; SIGKILL at `kill`.
    TerminateGroup {
        /// Time of SIGKILL.
        kill: Instant,
    },
    /// SIGKILL to the whole group.
    KillGroup,
    /// The process has ended, others of its group have not: SIGKILL to them.
    Reap,
}

/// Event of a module. One that concerns a process carries its `life`; one of an earlier process does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Someone wants it to run, or not. Asking twice is harmless.
    Want(bool),
    /// Someone is about to want a new process; this one is being emptied for that.
    Drain {
        /// Number of the process.
        life: u64,
    },
    /// Someone wants a new process, whatever the present one does and however often it failed: a person, a changed
    /// config, a changed program.
    Restart,
    /// The start goes on with a part that has a limit of its own: unpacking, a script for the first run, the module
    /// itself.
    Underway {
        /// Number of the process.
        life: u64,
        /// Longest time for that part.
        limit: Duration,
    },
    /// The process answered Ready.
    Answered {
        /// Number of the process.
        life: u64,
    },
    /// The process runs but is of no use: a failed handshake, or a lost connection.
    Failed {
        /// Number of the process.
        life: u64,
    },
    /// The process missed a probe.
    Unresponsive {
        /// Number of the process.
        life: u64,
    },
    /// The process, which was unresponsive, sent something again.
    Responded {
        /// Number of the process.
        life: u64,
    },
    /// The process was unresponsive for so long that it is to be ended: it hangs.
    Hung {
        /// Number of the process.
        life: u64,
    },
    /// The process has ended, but was not reaped; what it forked may live on.
    Ended {
        /// Number of the process.
        life: u64,
    },
    /// The process was killed and waits in the kernel where no signal reaches it (state D): not a step of its program
    /// is made any more, whenever that wait ends.
    Stuck {
        /// Number of the process.
        life: u64,
    },
    /// The process group is empty.
    Empty {
        /// Number of the process.
        life: u64,
    },
    /// The process was reaped, or could not be spawned.
    Exited {
        /// Number of the process.
        life: u64,
        /// True if it ended with exit code 0.
        clean: bool,
    },
    /// Another policy applies from now on; see [`Lifecycle::treat`].
    PolicyChanged,
    /// `deadline` is over.
    Tick,
}

impl Input {
    /// Number of the process that it concerns; `None`: none in particular.
    fn life(self) -> Option<u64> {
        match self {
            Self::Want(_) | Self::Restart | Self::PolicyChanged | Self::Tick => None,
            Self::Drain { life }
            | Self::Underway { life, .. }
            | Self::Answered { life }
            | Self::Failed { life }
            | Self::Unresponsive { life }
            | Self::Responded { life }
            | Self::Hung { life }
            | Self::Ended { life }
            | Self::Stuck { life }
            | Self::Empty { life }
            | Self::Exited { life, .. } => Some(life),
        }
    }
}

/// Effect that the driver has to carry out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Spawn process number `life` and shake hands.
    Start {
        /// Counts the processes, from 1.
        life: u64,
    },
    /// SIGTERM to the process.
    Terminate,
    /// SIGTERM to its group.
    TerminateGroup,
    /// SIGKILL to its group.
    KillGroup,
    /// SIGKILL to what is left of its group, and forget the process; `Exited` is the answer.
    Reap,
    /// Name the process and wait for it no longer; `Exited` is the answer.
    GiveUp,
}

/// Lifecycle of one module.
#[derive(Debug)]
pub struct Lifecycle {
    state: State,
    wanted: bool,
    /// A restart was asked for: the next end is followed by a start at once.
    at_once: bool,
    life: u64,
    /// The newest process answered Ready once.
    was_ready: bool,
    backoff: Backoff,
    chance: Jitter,
    restart: Restart,
    grace: Duration,
    start_timeout: Duration,
}

impl Lifecycle {
    /// A module that is not wanted yet. `start_timeout` counts where `policy` has none of its own; `seed` decides about
    /// the jitter.
    pub fn new(policy: &Policy, start_timeout: Duration, seed: u64) -> Self {
        Self {
            state: State::Stopped,
            wanted: false,
            at_once: false,
            life: 0,
            was_ready: false,
            backoff: Backoff::default(),
            chance: Jitter(seed),
            restart: policy.restart.clone(),
            grace: policy.stop.grace,
            start_timeout: policy.health.start_timeout.unwrap_or(start_timeout),
        }
    }

    /// Treats it like this from now on, the present process included. [`Input::PolicyChanged`] has to follow: a pause
    /// may be over sooner then, and one that rests may be tried again. A start and an end that are under way keep their
    /// limits.
    pub fn treat(&mut self, policy: &Policy, start_timeout: Duration) {
        self.restart = policy.restart.clone();
        self.grace = policy.stop.grace;
        self.start_timeout = policy.health.start_timeout.unwrap_or(start_timeout);
    }

    /// Counts this many earlier processes.
    #[must_use]
    pub fn after(mut self, life: u64) -> Self {
        self.life = life;
        self
    }

    /// Current state.
    pub fn state(&self) -> State {
        self.state
    }

    /// Number of the newest process, from 1; 0 before the first.
    pub fn life(&self) -> u64 {
        self.life
    }

    /// Limit from spawn to Ready.
    pub fn start_timeout(&self) -> Duration {
        self.start_timeout
    }

    /// Time at which the next `Tick` is due.
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Starting { until } | State::Stopping { until, .. } | State::Waiting { until } => Some(until),
            State::Stopped | State::Ready { .. } | State::Unresponsive | State::Draining | State::GivenUp(_) => None,
        }
    }

    /// Advances by one input and says what to do about it.
    pub fn handle(&mut self, input: Input, now: Instant) -> Option<Action> {
        use State::{Draining, GivenUp, Ready, Starting, Stopped, Stopping, Unresponsive, Waiting};
        if input.life().is_some_and(|life| life != self.life) {
            return None;
        }
        self.remember(input, now);
        let (state, action) = match (self.state, input) {
            (Stopped, Input::Want(true)) => self.start(now),
            (Waiting { .. } | GivenUp(_), Input::Restart) if self.wanted => self.start(now),
            (Waiting { until }, Input::Tick) if until <= now => self.start(now),
            (Waiting { until }, Input::PolicyChanged) => (self.recompute_wait(until, now), None),
            (GivenUp(rest), Input::PolicyChanged) if self.wanted => match self.still_given_up(rest) {
                Some(rest) => (GivenUp(rest), None),
                None => self.start(now),
            },
            (Waiting { .. } | GivenUp(_), Input::Want(false)) => (Stopped, None),
            (Starting { .. }, Input::Underway { limit, .. }) => (Starting { until: now + limit }, None),
            (Starting { .. }, Input::Answered { .. }) => {
                self.was_ready = true;
                (Ready { since: now }, None)
            }
            (Starting { until }, Input::Tick) if until <= now => self.stop(true, now),
            (Ready { .. }, Input::Unresponsive { .. }) => (Unresponsive, None),
            (Unresponsive, Input::Responded { .. }) => (Ready { since: now }, None),
            (Ready { .. } | Unresponsive, Input::Drain { .. }) => (Draining, None),
            (Ready { .. } | Unresponsive | Draining, Input::Hung { .. }) => self.stop(true, now),
            (Starting { .. } | Ready { .. } | Unresponsive | Draining, Input::Failed { .. }) => self.stop(true, now),
            (Starting { .. } | Ready { .. } | Unresponsive | Draining, Input::Want(false)) => self.stop(false, now),
            (Starting { .. } | Ready { .. } | Unresponsive | Draining, Input::Restart) if self.wanted => {
                self.stop(false, now)
            }
            // Nobody asked for this end, and a restart must not wait for what a dead process forked.
            (state @ (Starting { .. } | Ready { .. } | Unresponsive | Draining), Input::Ended { .. }) => {
                (state, Some(Action::Reap))
            }
            (Starting { .. } | Ready { .. } | Unresponsive | Draining, Input::Exited { clean, .. }) => {
                self.exited(Some(clean), now)
            }
            (Stopping { failed, .. }, Input::Exited { .. }) => self.exited(failed.then_some(false), now),
            (Stopping { next, until, failed }, input) => stopping(next, until, failed, input, now),
            // Inputs race, so a late or repeated one is normal and changes nothing.
            (state, _) => (state, None),
        };
        self.state = state;
        action
    }

    /// Takes in what counts in whatever state it comes.
    fn remember(&mut self, input: Input, now: Instant) {
        match self.state {
            State::Ready { since } if now.saturating_duration_since(since) >= self.restart.quiet => {
                self.backoff.reset();
            }
            _ => {}
        }
        match input {
            Input::Want(wanted) => {
                if !wanted {
                    self.at_once = false;
                    self.backoff.reset();
                }
                self.wanted = wanted;
            }
            Input::Restart if self.wanted => self.owe_a_start(),
            Input::Drain { .. } if matches!(self.state, State::Ready { .. } | State::Unresponsive) => {
                self.owe_a_start();
            }
            _ => {}
        }
    }

    fn owe_a_start(&mut self) {
        self.at_once = true;
        self.backoff.reset();
    }

    fn start(&mut self, now: Instant) -> (State, Option<Action>) {
        self.at_once = false;
        self.life += 1;
        self.was_ready = false;
        let until = now + self.start_timeout;
        (State::Starting { until }, Some(Action::Start { life: self.life }))
    }

    fn stop(&self, failed: bool, now: Instant) -> (State, Option<Action>) {
        let state = State::Stopping {
            next: Escalation::TerminateGroup { kill: now + self.grace },
            until: now + self.grace / 3,
            failed,
        };
        (state, Some(Action::Terminate))
    }

    /// The process is gone. `clean`: by itself, and with exit code 0 or not; `None`: somebody asked for it.
    fn exited(&mut self, clean: Option<bool>, now: Instant) -> (State, Option<Action>) {
        let clean = match clean {
            _ if !self.wanted => return (State::Stopped, None),
            None => return self.start(now),
            Some(_) if self.at_once => return self.start(now),
            Some(clean) => clean,
        };
        match self.restart.when {
            RestartWhen::Never => return (State::GivenUp(GivenUp::Never), None),
            RestartWhen::OnFailure if clean => return (State::GivenUp(GivenUp::Done), None),
            RestartWhen::OnFailure | RestartWhen::Always => {}
        }
        match self.backoff.failed(&self.restart, self.was_ready, self.chance.next()) {
            Next::After(Duration::ZERO) => self.start(now),
            Next::After(pause) => (State::Waiting { until: now + pause }, None),
            Next::GiveUp(failures) => (State::GivenUp(GivenUp::GaveUp { failures }), None),
        }
    }

    /// State after the policy has changed in a pause that was to end at `until`. The pause never grows.
    fn recompute_wait(&mut self, until: Instant, now: Instant) -> State {
        if self.restart.when == RestartWhen::Never {
            return State::GivenUp(GivenUp::Never);
        }
        match self.backoff.next(&self.restart, self.chance.next()) {
            Next::After(pause) => State::Waiting {
                until: until.min(now + pause),
            },
            Next::GiveUp(failures) => State::GivenUp(GivenUp::GaveUp { failures }),
        }
    }

    /// Reason why the module stays given up under the present policy, if it does.
    fn still_given_up(&self, rest: GivenUp) -> Option<GivenUp> {
        match (self.restart.when, rest) {
            (RestartWhen::Never, _) => Some(GivenUp::Never),
            (RestartWhen::OnFailure, GivenUp::Done) => Some(rest),
            (_, GivenUp::GaveUp { failures }) if self.restart.limit.is_some_and(|limit| failures >= limit) => {
                Some(rest)
            }
            _ => None,
        }
    }
}

/// The words to a process that is to end grow stronger until it is gone.
fn stopping(next: Escalation, until: Instant, failed: bool, input: Input, now: Instant) -> (State, Option<Action>) {
    let stay = |next, until| State::Stopping { next, until, failed };
    match (next, input) {
        (Escalation::TerminateGroup { kill }, Input::Tick) if until <= now => {
            (stay(Escalation::KillGroup, kill), Some(Action::TerminateGroup))
        }
        (Escalation::KillGroup, Input::Tick) if until <= now => {
            let again = stay(Escalation::KillGroup, now + KILL_AGAIN_AFTER);
            (again, Some(Action::KillGroup))
        }
        // A wrapper that does not `exec` ends at the signal; the module itself is still to hear of it.
        (Escalation::TerminateGroup { kill }, Input::Ended { .. }) => {
            (stay(Escalation::Reap, kill), Some(Action::TerminateGroup))
        }
        (Escalation::KillGroup, Input::Stuck { .. }) => {
            let again = stay(Escalation::KillGroup, now + KILL_AGAIN_AFTER);
            (again, Some(Action::GiveUp))
        }
        (Escalation::KillGroup, Input::Ended { .. }) => (stay(Escalation::Reap, until), None),
        (Escalation::Reap, Input::Empty { .. }) => (stay(next, until), Some(Action::Reap)),
        (Escalation::Reap, Input::Tick) if until <= now => (stay(next, until), Some(Action::Reap)),
        _ => (stay(next, until), None),
    }
}

/// A row of numbers that looks like chance and is the same for the same seed (SplitMix64).
#[derive(Debug)]
struct Jitter(u64);

impl Jitter {
    /// From 0 to 1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        f64::from(u32::try_from(bits >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX)
    }
}

#[cfg(test)]
mod simulation;

#[cfg(test)]
mod tests;
