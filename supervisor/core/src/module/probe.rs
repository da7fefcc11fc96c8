//! Prober of a module's process, which decides whether it still answers, as a function of state, input and time. Does
//! no IO and reads no clock.
//!
//! A *round* is one probe and its verdict. A missed probe makes the module unresponsive, which is only said; it hangs
//! when nothing at all was heard of it for `kill_after`. What keeps a module from answering for a good reason puts the
//! verdict off: a call of the core that it may be busy with, a debugger that holds it, or a core that was itself not
//! there to listen.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use mainstay_model::Health;

/// A timer later than this means that the core, or the whole host, stood still: its round counts for nothing.
const LATE: Duration = Duration::from_secs(1);
/// Time that a missed probe stays in the module's hands before another takes its place: a process that runs again
/// answers the one that lies there at once.
const RENEW: Duration = Duration::from_secs(5);
/// Longest time for the look for a tracer.
pub const LOOK_LIMIT: Duration = Duration::from_secs(1);
/// Shortest pause and shortest wait, whatever the config says: a probe must not become a load.
const SHORTEST: Duration = Duration::from_millis(10);

/// Event that the prober takes into account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// `deadline` is over.
    Tick,
    /// The module answered a probe, whatever the answer.
    Answered,
    /// The module sent a frame, or made a call.
    Responded,
    /// The core begins ValidateConfig, AddResource or RemoveResource.
    Begun {
        /// Number of the call.
        call: u64,
        /// Time at which the core gives it up.
        until: Instant,
    },
    /// The call is over, one way or the other.
    Ended {
        /// Number of the call.
        call: u64,
    },
    /// The look for a tracer ended: the process id of one, if there is one.
    Traced(Option<u32>),
    /// The evidence is written, as far as it can be had.
    Gathered,
}

/// Effect that the driver has to carry out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Send a probe; an older one counts no more.
    Probe,
    /// Look whether a debugger holds the process; `Traced` is the answer.
    LookForTracer,
    /// Say that it does not answer.
    Unresponsive {
        /// Time since the last response.
        silent: Duration,
        /// The debugger that holds it, if one does.
        tracer: Option<u32>,
    },
    /// Say that it answers again.
    Answering,
    /// Write down what it is doing, before it is ended; `Gathered` is the answer.
    Gather,
    /// The module hangs: end it. Nothing follows.
    Hung {
        /// Time since the last response.
        silent: Duration,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ProbeState {
    /// The next probe goes out at `until`.
    GivenUp { until: Instant },
    /// A probe is out since `since` and must be answered by `until`.
    Asked { since: Instant, until: Instant },
    /// The probe of a round that began at `since` was missed; a debugger may be why, which is looked for since `at`.
    Looking { since: Instant, at: Instant },
    /// The module is unresponsive; looked at again at `until`.
    Waiting { since: Instant, until: Instant },
    /// Evidence is being written.
    Gathering,
    /// The module hangs, and that was reported.
    Over,
}

/// Watches over one life of a module, from Ready on.
#[derive(Debug)]
pub struct Prober {
    health: Health,
    step: ProbeState,
    /// Time of the last response, moved on by what does not count as silence.
    heard: Instant,
    /// Set from a missed probe to the next answered one.
    unresponsive: bool,
    /// The core's own calls that run, and when each is given up.
    calls: BTreeMap<u64, Instant>,
    /// Time until which those calls excuse silence.
    excused: Option<Instant>,
}

impl Prober {
    /// Begins with a module that has just answered.
    pub fn new(mut health: Health, now: Instant) -> Self {
        health.interval = health.interval.max(SHORTEST);
        health.timeout = health.timeout.max(SHORTEST);
        Self {
            step: ProbeState::GivenUp {
                until: now + health.interval,
            },
            health,
            heard: now,
            unresponsive: false,
            calls: BTreeMap::new(),
            excused: None,
        }
    }

    /// Treats it like this from now on. A probe that is out keeps its limit.
    pub fn treat(&mut self, health: Health, now: Instant) {
        self.health = health;
        self.health.interval = self.health.interval.max(SHORTEST);
        self.health.timeout = self.health.timeout.max(SHORTEST);
        let silent_until = self.heard + self.health.kill_after;
        match &mut self.step {
            ProbeState::GivenUp { until } => *until = (*until).min(now + self.health.interval),
            ProbeState::Waiting { until, .. } => *until = (*until).min(silent_until.max(now)),
            ProbeState::Asked { .. } | ProbeState::Looking { .. } | ProbeState::Gathering | ProbeState::Over => {}
        }
    }

    /// Time at which the next `Tick` is due.
    pub fn deadline(&self) -> Option<Instant> {
        match self.step {
            ProbeState::GivenUp { until } | ProbeState::Asked { until, .. } | ProbeState::Waiting { until, .. } => {
                Some(self.excused.map_or(until, |excused| excused.min(until)))
            }
            ProbeState::Looking { .. } | ProbeState::Gathering | ProbeState::Over => None,
        }
    }

    /// Advances by one input and says what to do about it.
    pub fn handle(&mut self, input: Input, now: Instant) -> Option<Action> {
        if self.step == ProbeState::Over {
            return None;
        }
        self.forgive_lateness(now);
        match input {
            Input::Tick => self.tick(now),
            Input::Answered => {
                self.alive(now);
                self.step = ProbeState::GivenUp {
                    until: now + self.health.interval,
                };
                std::mem::take(&mut self.unresponsive).then_some(Action::Answering)
            }
            Input::Responded => {
                self.alive(now);
                // Whoever speaks again may also answer again, and is not ended while that is open.
                if let ProbeState::Waiting { .. } | ProbeState::Gathering = self.step {
                    self.step = ProbeState::GivenUp { until: now };
                }
                None
            }
            Input::Begun { call, until } => {
                self.calls.insert(call, until);
                // A call to a module that was silent before it cannot be why it is silent.
                if !self.unresponsive && self.silent(now) <= self.health.interval + self.health.timeout {
                    self.excused = self.excused.max(Some(until));
                }
                None
            }
            Input::Ended { call } => {
                let ended = self.calls.remove(&call);
                if ended.is_some() && ended == self.excused {
                    let excused = self.calls.values().filter(|until| Some(**until) <= ended);
                    self.excused = excused.max().copied();
                    // What was asked while silence was excused says nothing yet.
                    if self.excused.is_none() && matches!(self.step, ProbeState::Asked { .. }) {
                        self.restart_round(now);
                    }
                }
                None
            }
            Input::Traced(tracer) => self.looked(tracer, now),
            Input::Gathered => {
                let ProbeState::Gathering = self.step else { return None };
                self.step = ProbeState::Over;
                Some(Action::Hung {
                    silent: self.silent(now),
                })
            }
        }
    }

    fn silent(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.heard)
    }

    /// A sign of life: all calls that run now may keep it busy from here on.
    fn alive(&mut self, now: Instant) {
        self.heard = self.heard.max(now);
        self.excused = self.calls.values().max().copied();
    }

    /// The time from `since` to now was no silence of the module's.
    fn forgive(&mut self, since: Instant, now: Instant) {
        self.heard = (self.heard + now.saturating_duration_since(since)).min(now);
    }

    /// The probe that is out has all its time once more.
    fn restart_round(&mut self, now: Instant) {
        self.step = ProbeState::Asked {
            since: now,
            until: now + self.health.timeout,
        };
    }

    /// Whatever comes first after the core stood still: the round that ran meanwhile does not count, another begins.
    fn forgive_lateness(&mut self, now: Instant) {
        let Some(due) = self.deadline() else { return };
        if now.saturating_duration_since(due) > LATE {
            let since = match self.step {
                ProbeState::Asked { since, .. } | ProbeState::Waiting { since, .. } => since,
                _ => due,
            };
            self.forgive(since, now);
            self.excused = self.excused.filter(|until| *until > now);
            self.step = ProbeState::GivenUp { until: now };
        }
    }

    fn tick(&mut self, now: Instant) -> Option<Action> {
        self.deadline().filter(|due| *due <= now)?;
        let over = self.excused.is_some_and(|until| until <= now);
        if over {
            // That call's deadline was its time; now it has to answer.
            self.excused = None;
        }
        match (self.step, self.excused) {
            (ProbeState::Asked { .. }, Some(until)) => {
                self.step = ProbeState::Asked { since: now, until };
                None
            }
            (ProbeState::Asked { since, .. } | ProbeState::Waiting { since, .. }, _) if !over && !self.renews(now) => {
                self.step = ProbeState::Looking { since, at: now };
                Some(Action::LookForTracer)
            }
            (ProbeState::GivenUp { .. } | ProbeState::Asked { .. } | ProbeState::Waiting { .. }, _) => {
                self.restart_round(now);
                Some(Action::Probe)
            }
            (ProbeState::Looking { .. } | ProbeState::Gathering | ProbeState::Over, _) => None,
        }
    }

    /// True when a missed probe is to be replaced by another.
    fn renews(&self, now: Instant) -> bool {
        matches!(self.step, ProbeState::Waiting { .. })
            && (self.excused.is_some() || self.silent(now) < self.health.kill_after)
    }

    fn looked(&mut self, tracer: Option<u32>, now: Instant) -> Option<Action> {
        let ProbeState::Looking { since, at } = self.step else {
            return None;
        };
        if now.saturating_duration_since(at) > LATE + LOOK_LIMIT {
            self.forgive(since, now);
            self.restart_round(now);
            return Some(Action::Probe);
        }
        let silent = self.silent(now);
        if tracer.is_some() {
            self.heard = now;
        } else if self.unresponsive && silent >= self.health.kill_after && self.excused.is_none() {
            self.step = ProbeState::Gathering;
            return Some(Action::Gather);
        }
        let killed = self.heard + self.health.kill_after;
        self.step = ProbeState::Waiting {
            since: now,
            until: killed.max(now).min(now + RENEW),
        };
        if std::mem::replace(&mut self.unresponsive, true) {
            None
        } else {
            Some(Action::Unresponsive { silent, tracer })
        }
    }
}

#[cfg(test)]
mod tests;
