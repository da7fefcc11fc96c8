//! The lifecycle against a toy process that dies, hangs, ignores signals and talks after its end, in thousands of
//! schedules. Each is the same for the same seed; a failure names its seed and what led there.

use std::time::{Duration, Instant};

use super::*;

const SEEDS: u64 = 5_000;
const STEPS: u32 = 150;

/// The process as the system has it.
struct FakeProcess {
    life: u64,
    /// Ended, and not reaped.
    ended: bool,
    /// Time at which it was told to end.
    term_at: Option<Instant>,
    killed: bool,
    /// Told to end because it was of no use.
    failed: bool,
    /// Ends at SIGTERM.
    obeys: bool,
}

/// Counts of what the schedules have coverage, so that a simulation that meets nothing fails.
#[derive(Debug, Default)]
struct Coverage {
    starts: u64,
    longest: Duration,
    gave_up: u64,
    done: u64,
    quiet: u64,
    kills: u64,
    given_up: u64,
    stale: u64,
    hangs: u64,
    bursts: u64,
    used_up: u64,
}

struct Simulation<'a> {
    coverage: &'a mut Coverage,
    policy: Policy,
    lifecycle: Lifecycle,
    chance: Jitter,
    zero: Instant,
    now: Instant,
    wanted: bool,
    process: Option<FakeProcess>,
    starts: u64,
    ends: u64,
    /// Dies again and again, and nobody interferes for long.
    sick: bool,
    /// Expected number of failures in a row.
    failures: u32,
    /// Expected number of them that were answered by a start at once.
    at_once: u32,
    /// The newest process became READY.
    was_ready: bool,
    /// Set if somebody asked for a new process while this one lived.
    asked: bool,
    /// READY without interruption.
    ready_since: Option<Instant>,
    log: Vec<String>,
}

impl<'a> Simulation<'a> {
    fn new(seed: u64, coverage: &'a mut Coverage) -> Self {
        let mut chance = Jitter(seed);
        let mut policy = Policy::default();
        policy.restart.when = [
            RestartWhen::Always,
            RestartWhen::Always,
            RestartWhen::OnFailure,
            RestartWhen::Never,
        ][below(&mut chance, 4)];
        policy.restart.limit = [None, None, Some(1), Some(4)][below(&mut chance, 4)];
        policy.restart.burst = [5, 0, 1, 2][(seed % 4) as usize];
        policy.restart.max_delay = Duration::from_secs([30, 4][below(&mut chance, 2)]);
        policy.stop.grace = Duration::from_secs([10, 1, 0][below(&mut chance, 3)]);
        let zero = Instant::now();
        Self {
            coverage,
            lifecycle: Lifecycle::new(&policy, Duration::from_secs(20), seed),
            policy,
            chance,
            zero,
            now: zero,
            wanted: false,
            process: None,
            starts: 0,
            ends: 0,
            sick: seed.is_multiple_of(3),
            failures: 0,
            at_once: 0,
            was_ready: false,
            asked: false,
            ready_since: None,
            log: Vec::new(),
        }
    }

    fn pick(&mut self, count: usize) -> usize {
        below(&mut self.chance, count)
    }

    /// Anything that may happen at this moment, and many a thing that may not.
    fn step(&mut self) {
        let life = self.lifecycle.life();
        if self.sick && self.wanted && self.pick(40) > 0 {
            return self.suffer(life);
        }
        let talk = |chance: usize, life| {
            [
                Input::Answered { life },
                Input::Failed { life },
                Input::Unresponsive { life },
                Input::Responded { life },
                Input::Hung { life },
                Input::Drain { life },
                Input::Underway {
                    life,
                    limit: Duration::from_secs(7),
                },
            ][chance]
        };
        match self.pick(20) {
            0..=4 => self.sleep(),
            5 => self.feed(Input::Want(false)),
            6 | 7 => self.feed(Input::Want(true)),
            8 => self.feed(Input::Restart),
            9 | 10 => {
                let ticks = self.pick(2);
                (0..=ticks).for_each(|_| self.feed(Input::Tick));
            }
            // A process of before, or one that never was, has its say.
            11 => {
                let stale = if self.pick(2) == 0 {
                    life + 1
                } else {
                    life.saturating_sub(1)
                };
                let input = match self.pick(10) {
                    7 => Input::Ended { life: stale },
                    8 => Input::Empty { life: stale },
                    9 => Input::Exited {
                        life: stale,
                        clean: true,
                    },
                    what => talk(what, stale),
                };
                self.feed(input);
            }
            12..=14 => self.feed(Input::Answered { life }),
            what => {
                let Some(process) = &mut self.process else { return };
                if process.ended {
                    return self.feed(Input::Empty { life });
                }
                let terminating = process.term_at.is_some();
                // What is told to end does so sooner or later; what was killed, too.
                let ends = what == 15 || (terminating && (process.obeys || process.killed) && what < 18);
                if what == 19 && process.killed {
                    return self.feed(Input::Stuck { life });
                }
                if ends {
                    process.ended = true;
                    return self.feed(Input::Ended { life });
                }
                let what = self.pick(7);
                self.feed(talk(what, life));
            }
        }
    }

    /// The next thing in the life of a module that dies again and again.
    fn suffer(&mut self, life: u64) {
        match (&mut self.process, self.lifecycle.deadline()) {
            (Some(process), _) if process.ended => self.feed(Input::Empty { life }),
            (Some(process), _) if process.term_at.is_none() => {
                let starting = matches!(self.lifecycle.state(), State::Starting { .. });
                if starting && below(&mut self.chance, 3) > 0 {
                    return self.feed(Input::Answered { life });
                }
                process.ended = true;
                self.feed(Input::Ended { life });
            }
            (_, Some(deadline)) => {
                self.now = self.now.max(deadline);
                self.feed(Input::Tick);
            }
            _ => self.feed(Input::Restart),
        }
    }

    fn sleep(&mut self) {
        let ms = match self.pick(6) {
            0 => 0,
            1 => 10,
            2 => 400,
            3 => 3_000,
            4 => 70_000,
            _ => match self.lifecycle.deadline() {
                Some(deadline) => {
                    self.now = self.now.max(deadline);
                    return;
                }
                None => 1,
            },
        };
        self.now += Duration::from_millis(ms);
    }

    fn feed(&mut self, input: Input) {
        let (before, life) = (self.lifecycle.state(), self.lifecycle.life());
        self.foresee(input, before);
        let action = self.lifecycle.handle(input, self.now);
        let at = self.now - self.zero;
        let after = self.lifecycle.state();
        self.log
            .push(format!("{at:?} {input:?}: {before:?} → {action:?} {after:?}"));
        if input.life().is_some_and(|of| of != life) {
            assert_eq!((action, after), (None, before), "the word of another process counted");
            self.coverage.stale += 1;
            return;
        }
        match action {
            None => {}
            Some(Action::Start { life }) => self.start(input, before, life),
            Some(Action::Terminate) => self.terminate(input, before),
            Some(Action::TerminateGroup) => {
                let term_at = self.term_at();
                let early = self.now < term_at + self.policy.stop.grace / 3;
                assert!(
                    !early || matches!(input, Input::Ended { .. }),
                    "the group was told too early"
                );
            }
            Some(Action::KillGroup) => {
                assert!(
                    self.now >= self.term_at() + self.policy.stop.grace,
                    "killed before its grace was over"
                );
                self.coverage.kills += 1;
                if let Some(process) = &mut self.process {
                    process.killed = true;
                }
            }
            Some(Action::Reap) => self.reap(input),
            Some(Action::GiveUp) => self.give_up(),
        }
    }

    fn term_at(&self) -> Instant {
        let term_at = self.process.as_ref().and_then(|process| process.term_at);
        term_at.expect("a stronger word follows a first one")
    }

    /// Keeps the books of failures, independently of the lifecycle's own.
    fn foresee(&mut self, input: Input, before: State) {
        let own = input.life().is_none_or(|life| life == self.lifecycle.life());
        let alive = self.process.as_ref().is_some_and(|process| !process.ended);
        let leaves = match input {
            Input::Unresponsive { .. } | Input::Failed { .. } | Input::Hung { .. } | Input::Ended { .. } => own,
            Input::Drain { .. } => own,
            Input::Restart => self.wanted,
            Input::Want(wanted) => !wanted,
            _ => false,
        };
        if leaves
            && let Some(since) = self.ready_since.take()
            && self.now - since >= self.policy.restart.quiet
        {
            (self.failures, self.at_once) = (0, 0);
            self.coverage.quiet += 1;
        }
        match input {
            Input::Answered { .. } if own && alive && matches!(before, State::Starting { .. }) => {
                self.ready_since = Some(self.now);
                self.was_ready = true;
            }
            Input::Responded { .. } if own && before == State::Unresponsive => self.ready_since = Some(self.now),
            Input::Want(wanted) => {
                self.wanted = wanted;
                if !wanted {
                    (self.failures, self.at_once, self.asked) = (0, 0, false);
                }
            }
            Input::Restart if self.wanted => (self.failures, self.at_once, self.asked) = (0, 0, true),
            Input::Drain { .. } if own && matches!(before, State::Ready { .. } | State::Unresponsive) => {
                (self.failures, self.at_once, self.asked) = (0, 0, true);
            }
            Input::Hung { .. } if own => self.coverage.hangs += 1,
            _ => {}
        }
    }

    fn start(&mut self, input: Input, before: State, life: u64) {
        assert!(self.process.is_none(), "two processes at once");
        assert!(self.wanted, "started although nobody wants it");
        self.starts += 1;
        self.coverage.starts += 1;
        assert_eq!(life, self.starts, "processes are counted one by one");
        let cause = match (before, input) {
            (State::Stopped, Input::Want(true)) | (State::Waiting { .. } | State::GivenUp(_), Input::Restart) => true,
            (State::Waiting { until }, Input::Tick) => until <= self.now,
            (_, Input::Exited { .. }) => true,
            _ => false,
        };
        assert!(cause, "started without cause");
        (self.asked, self.ready_since, self.was_ready) = (false, None, false);
        if self.pick(8) == 0 {
            // The program cannot be run.
            return self.exit(life, false, false);
        }
        self.process = Some(FakeProcess {
            life,
            ended: false,
            term_at: None,
            killed: false,
            failed: false,
            obeys: self.pick(3) > 0,
        });
    }

    fn terminate(&mut self, input: Input, before: State) {
        let overdue = matches!(before, State::Starting { until } if until <= self.now);
        let cause = match input {
            Input::Tick => overdue,
            Input::Want(false) | Input::Restart | Input::Failed { .. } | Input::Hung { .. } => true,
            _ => false,
        };
        assert!(cause, "ended without cause");
        self.ready_since = None;
        let process = self.process.as_mut().expect("there is something to end");
        assert!(process.term_at.is_none(), "told twice");
        process.term_at = Some(self.now);
        process.failed = !matches!(input, Input::Want(_) | Input::Restart);
    }

    fn give_up(&mut self) {
        let process = self.process.take().expect("there is something to give up");
        assert!(
            process.killed && !process.ended,
            "given up though it was not killed, or had ended"
        );
        self.coverage.given_up += 1;
        self.asked |= !process.failed;
        self.exit(process.life, false, false);
    }

    fn reap(&mut self, input: Input) {
        let process = self.process.take().expect("there is something to reap");
        assert!(process.ended, "reaped while it lives");
        assert_eq!(process.life, self.lifecycle.life());
        if let Some(term_at) = process.term_at {
            let empty = matches!(input, Input::Empty { .. });
            assert!(
                empty || self.now >= term_at + self.policy.stop.grace,
                "what it forked had no time to end"
            );
        }
        let clean = self.pick(3) == 0;
        self.asked |= process.term_at.is_some() && !process.failed;
        self.exit(process.life, clean, process.term_at.is_none() && clean);
    }

    /// The process is gone: what follows is what the books say.
    fn exit(&mut self, life: u64, clean: bool, by_itself: bool) {
        self.ends += 1;
        let asked = self.asked;
        let starts = self.starts;
        let expected = if !self.wanted {
            Expected::Stopped
        } else if asked {
            Expected::Start
        } else {
            self.expect_failure(by_itself)
        };
        self.feed(Input::Exited { life, clean });
        let state = self.lifecycle.state();
        match expected {
            Expected::Stopped => assert_eq!(state, State::Stopped, "not wanted and not stopped"),
            Expected::Start => assert!(self.starts > starts, "no start at once: {state:?}"),
            Expected::GivenUp(rest) => assert_eq!(state, State::GivenUp(rest)),
            Expected::Pause(from, to) => {
                let State::Waiting { until } = state else {
                    panic!("does not wait: {state:?}");
                };
                let pause = until - self.now;
                assert!((from..=to).contains(&pause), "waits {pause:?}, not {from:?} to {to:?}");
                self.coverage.longest = self.coverage.longest.max(pause);
            }
        }
    }

    fn expect_failure(&mut self, by_itself: bool) -> Expected {
        let restart = &self.policy.restart;
        match restart.when {
            RestartWhen::Never => return Expected::GivenUp(GivenUp::Never),
            RestartWhen::OnFailure if by_itself => {
                self.coverage.done += 1;
                return Expected::GivenUp(GivenUp::Done);
            }
            _ => {}
        }
        self.failures += 1;
        let failures = self.failures;
        if restart.limit.is_some_and(|limit| failures >= limit) {
            self.coverage.gave_up += 1;
            return Expected::GivenUp(GivenUp::GaveUp { failures });
        }
        if failures == 1 || (self.was_ready && self.at_once < restart.burst) {
            self.at_once += 1;
            self.coverage.bursts += u64::from(failures > 1);
            return Expected::Start;
        }
        self.coverage.used_up += u64::from(self.was_ready && restart.burst > 1);
        let pauses = failures - self.at_once;
        let plain = Duration::from_millis(500 << (pauses - 1).min(16)).min(restart.max_delay);
        Expected::Pause(plain.mul_f64(0.799), plain.mul_f64(1.201))
    }

    /// Stops wanting the module: it comes to an end, and nothing is left.
    fn end(&mut self) {
        self.feed(Input::Want(false));
        for _ in 0..20 {
            let life = self.lifecycle.life();
            if let Some(process) = &mut self.process {
                if !process.ended && (process.obeys || process.killed) {
                    process.ended = true;
                    self.feed(Input::Ended { life });
                } else if process.ended && self.pick(2) == 0 {
                    self.feed(Input::Empty { life });
                }
            }
            if let Some(deadline) = self.lifecycle.deadline() {
                self.now = self.now.max(deadline);
                self.feed(Input::Tick);
            }
        }
        assert_eq!(self.lifecycle.state(), State::Stopped);
        assert_eq!(self.lifecycle.deadline(), None);
        assert!(self.process.is_none(), "a process is left");
        assert_eq!(self.starts, self.ends, "every start is answered by an end");
    }
}

enum Expected {
    Stopped,
    Start,
    GivenUp(GivenUp),
    Pause(Duration, Duration),
}

fn below(chance: &mut Jitter, count: usize) -> usize {
    let share = chance.next() * f64::from(u32::try_from(count).expect("small"));
    (0..count)
        .rev()
        .find(|at| share >= f64::from(u32::try_from(*at).expect("small")))
        .unwrap_or(0)
}

#[test]
fn whatever_happens_to_it_in_whatever_order_a_module_has_one_process_at_most_and_ends_as_wanted() {
    let mut coverage = Coverage::default();
    for seed in 0..SEEDS {
        let mut world = Simulation::new(seed, &mut coverage);
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..STEPS {
                world.step();
            }
            world.end();
        }));
        if run.is_err() {
            let last = &world.log[world.log.len().saturating_sub(30)..];
            panic!("seed {seed}, {:?}:\n{}", world.policy, last.join("\n"));
        }
    }
    // A simulation that meets nothing shows nothing.
    assert!(coverage.starts > 10 * SEEDS, "{coverage:?}");
    assert!(coverage.longest > Duration::from_secs(24), "{coverage:?}");
    let each = [
        coverage.gave_up,
        coverage.done,
        coverage.quiet,
        coverage.kills,
        coverage.given_up,
        coverage.stale,
        coverage.hangs,
        coverage.bursts,
        coverage.used_up,
    ];
    assert!(each.iter().all(|count| *count > 1_000), "{coverage:?}");
}
