//! Publishing a module: its state, its events, its lines in the log.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use mainstay_core::module::lifecycle::State;
use mainstay_model::ModulePhase;
use mainstay_process::child::Process;
use tracing::{debug, error};

use super::{Actor, Event, RestartReason};
use crate::module::output::Tail;
use crate::module::problem::{Outlook, Problem};

/// Failure of a module that is not READY.
#[derive(Debug)]
pub(super) struct ModuleFailure {
    problem: Problem,
    /// Life number of the process that failed.
    life: u64,
    /// Last output of the process.
    tail: Tail,
    /// True once the failure was logged.
    logged: bool,
}

impl Actor {
    /// Publishes at once that the process runs, but is of no use. The caller has to give that to the lifecycle, too.
    pub(super) fn fault(&mut self, problem: Problem) {
        self.fail(problem);
        self.down(Outlook::Ending);
    }

    /// Publishes the reason of a restart, for as long as nothing goes wrong.
    pub(super) fn publish_restart(&self, reason: &RestartReason) {
        self.entry.publish(|state| {
            state.last = Some(reason.to_string().into());
            state.last_at = Some(SystemTime::now());
        });
    }

    /// Counts a failure of the present process, once. Its text depends on what follows: see `publish`.
    pub(super) fn fail(&mut self, problem: Problem) {
        let life = self.lifecycle.life();
        if self.failure.as_ref().is_some_and(|failure| failure.life == life) {
            return;
        }
        self.record_failure(&problem.short);
        self.failure = Some(ModuleFailure {
            problem,
            life,
            tail: self.tail.clone(),
            logged: false,
        });
        let took = self.started.elapsed();
        self.entry.publish(|state| {
            state.last_at = Some(SystemTime::now());
            state.start_time = Some(took);
            state.consecutive_failures += 1;
        });
    }

    /// Adds to what went wrong with the present process; or else this is what went wrong.
    pub(super) fn add_or_fail(&mut self, problem: Problem) {
        let life = self.lifecycle.life();
        match self.failure.as_mut().filter(|failure| failure.life == life) {
            Some(failure) => {
                failure.problem = failure.problem.with(&problem.short);
                self.entry.history().add(life, &problem.short);
            }
            None => self.fail(problem),
        }
    }

    /// Publishes that the module cannot be used, why, and what comes next.
    fn down(&mut self, outlook: Outlook) {
        let Some(failure) = &self.failure else { return };
        let told = failure
            .problem
            .describe(&failure.tail.lines(), &self.spec.name, outlook);
        let (life, unstarted) = (failure.life, failure.problem.unstarted);
        let pid = self.process.as_ref().map(Process::pid);
        self.entry.publish(|state| {
            state.phase = match outlook {
                Outlook::Starting => ModulePhase::Starting,
                _ => ModulePhase::Unhealthy,
            };
            state.error = Some(told.cause.clone());
            state.last = Some(told.last);
            state.next_try = match outlook {
                Outlook::Waiting { next_try } => Some(next_try),
                _ => None,
            };
            state.pid = pid;
        });
        if let Some(upstream) = self.upstream.take() {
            upstream.mark_down(told.cause.clone());
        }
        // What is told without the last words of a process is worth a line only when it is complete.
        if self.output_drain.is_none() {
            self.log_cause(&told.reason, &told.cause);
        }
        self.send(Event::Down {
            life,
            cause: told.cause,
            unstarted,
        });
    }

    /// Completes the report of an end, once all that the process printed is known.
    pub(super) fn complete(&mut self) {
        if let Some(trouble) = &self.failure {
            self.entry.history().set_output(trouble.life, trouble.tail.lines());
        }
        if let Some(outlook) = self.outlook() {
            self.down(outlook);
        }
    }

    /// Logs why the module is down: once for each reason, not once for each try.
    fn log_cause(&mut self, reason: &Arc<str>, cause: &str) {
        let Some(failure) = self.failure.as_mut().filter(|failure| !failure.logged) else {
            return;
        };
        failure.logged = true;
        if self.logged.as_ref() == Some(reason) {
            debug!(module = %self.spec.name, "{cause}");
        } else {
            error!(module = %self.spec.name, "{cause}");
            self.logged = Some(reason.clone());
        }
    }

    /// Next step for a module that failed; `None` for one that is in order, or was told to end.
    fn outlook(&self) -> Option<Outlook> {
        match self.lifecycle.state() {
            State::Starting { .. } => Some(Outlook::Starting),
            State::Waiting { until } => Some(Outlook::Waiting {
                next_try: SystemTime::now() + until.saturating_duration_since(Instant::now()),
            }),
            State::GivenUp(rest) => Some(Outlook::GivenUp(rest)),
            State::Stopping { failed: true, .. } => Some(Outlook::Ending),
            State::Stopping { failed: false, .. }
            | State::Stopped
            | State::Ready { .. }
            | State::Unresponsive
            | State::Draining => None,
        }
    }

    /// Publishes the state that the lifecycle has come to.
    pub fn publish(&mut self, before: State) {
        let after = self.lifecycle.state();
        if before == after {
            return;
        }
        let phase = match after {
            State::Starting { .. } => ModulePhase::Starting,
            State::Ready { .. } => return self.publish_ready(before),
            State::Unresponsive => ModulePhase::Unresponsive,
            State::Draining => ModulePhase::Closing,
            State::Stopping { failed: true, .. } | State::Waiting { .. } | State::GivenUp(_) => ModulePhase::Unhealthy,
            State::Stopping { failed: false, .. } | State::Stopped => ModulePhase::Closing,
        };
        if phase == ModulePhase::Closing
            && after != State::Draining
            && let Some(upstream) = self.upstream.take()
        {
            upstream.mark_down(format!("module {} was stopped", self.spec.name).into());
        }
        let pid = self.process.as_ref().map(Process::pid);
        self.entry.publish(|state| {
            state.phase = phase;
            state.pid = pid;
            state.next_try = None;
        });
        match self.outlook() {
            // A stop grows stronger; that is no news.
            Some(Outlook::Ending) | None => {}
            Some(outlook) => self.down(outlook),
        }
        if after == State::Stopped {
            self.failure = None;
            self.send(Event::Stopped);
        }
    }

    fn publish_ready(&mut self, before: State) {
        if let Some(failure) = &self.failure {
            // It is back before its last words were read; it died all the same.
            let told = failure
                .problem
                .describe(&failure.tail.lines(), &self.spec.name, Outlook::Starting);
            self.log_cause(&told.reason, &told.cause);
        }
        (self.logged, self.failure) = (None, None);
        self.entry.publish(|state| {
            state.phase = ModulePhase::Ready;
            state.error = None;
            state.consecutive_failures = 0;
        });
        // Whoever was only silent for a while has lost nothing.
        if let State::Starting { .. } = before {
            self.watch();
        }
        if let (State::Starting { .. }, Some(upstream)) = (before, &self.upstream) {
            self.send(Event::Ready {
                life: self.lifecycle.life(),
                upstream: upstream.clone(),
                handlers: self.entry.handlers(),
            });
        }
    }

    /// True while process number `life` is expected to answer Ready.
    pub(super) fn is_starting(&self, life: u64) -> bool {
        life == self.lifecycle.life() && matches!(self.lifecycle.state(), State::Starting { .. })
    }

    pub(super) fn send(&self, event: Event) {
        // The machine is gone only when all of it is.
        let _gone = self.events.send((self.spec.name.clone(), event));
    }
}
