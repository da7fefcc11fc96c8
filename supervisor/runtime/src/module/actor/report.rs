//! Report of a module: its published state, its events, its history, its lines in the log.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mainstay_model::process_end::{InFlight, ProcessEnd};
use mainstay_model::{ModuleName, ModulePhase};
use mainstay_proxy::operations::Operations;
use tokio::sync::mpsc;
use tracing::{Level, debug, error};

use super::ModuleEvent;
use super::connection::Connection;
use crate::module::entry::ModuleEntry;
use crate::module::output::Tail;
use crate::module::problem::{Outlook, Problem};
use crate::wall_clock;

/// Calls that broke off within this time before an end belong to it: its connection ends a moment before it is noticed.
const MOMENT: Duration = Duration::from_secs(1);

/// Report of one module, and its present failure.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) entry: Arc<ModuleEntry>,
    pub(super) operations: Operations,
    events: mpsc::UnboundedSender<(ModuleName, ModuleEvent)>,
    /// Last output of the present process.
    pub(super) tail: Tail,
    /// Start of the present process.
    pub(super) started: Instant,
    /// Time when it became unresponsive: calls that ended for that belong to its end, if that follows.
    pub(super) silent_since: Option<Instant>,
    /// Failure because of which the module is not READY.
    failure: Option<ModuleFailure>,
    /// Cause that was logged last, since it was ready.
    logged: Option<Arc<str>>,
}

/// Failure of a module that is not READY.
#[derive(Debug)]
struct ModuleFailure {
    problem: Problem,
    /// Life number of the process that failed.
    life: u64,
    /// Last output of the process.
    tail: Tail,
    /// True once the failure was logged.
    logged: bool,
}

impl Report {
    /// Nothing to report yet.
    pub(super) fn new(
        entry: Arc<ModuleEntry>,
        operations: Operations,
        events: mpsc::UnboundedSender<(ModuleName, ModuleEvent)>,
    ) -> Self {
        Self {
            tail: entry.output.begin(),
            entry,
            operations,
            events,
            started: Instant::now(),
            silent_since: None,
            failure: None,
            logged: None,
        }
    }

    /// The start of process number `life` begins.
    pub(super) fn begin(&mut self, life: u64) {
        self.tail = self.entry.output.begin();
        (self.started, self.silent_since) = (Instant::now(), None);
        self.entry.publish(|state| state.life = life);
    }

    /// Process number `life` runs, its own or that of its script.
    pub(super) fn spawned(&self, life: u64, pid: u32) {
        debug!(module = %self.entry.name, pid, life, "module started");
        let restarts = u32::try_from(life - 1).unwrap_or(u32::MAX);
        self.entry.publish(|state| {
            state.pid = Some(pid);
            state.started = Some(wall_clock::now());
            state.restarts = restarts;
        });
        self.send(ModuleEvent::Starting);
    }

    /// The module is READY.
    pub(super) fn ready(&mut self) {
        if let Some(failure) = &self.failure {
            // It is back before its last words were read; it died all the same.
            let lines = failure.tail.lines();
            let told = failure.problem.describe(&lines, &self.entry.name, Outlook::Starting);
            self.log_cause(&told.reason, &told.log);
        }
        (self.logged, self.failure) = (None, None);
        self.entry.publish(|state| {
            state.phase = ModulePhase::Ready;
            state.error = None;
            state.consecutive_failures = 0;
        });
    }

    /// The module ended as wanted.
    pub(super) fn stopped(&mut self) {
        self.failure = None;
        self.send(ModuleEvent::Stopped);
    }

    /// Publishes what happened last, for as long as nothing goes wrong.
    pub(super) fn last(&self, text: String) {
        self.entry.publish(|state| {
            state.last = Some(text.into());
            state.last_at = Some(wall_clock::now());
        });
    }

    /// Counts a failure of the present process, once. Its text depends on what follows: see `down`.
    pub(super) fn fail(&mut self, problem: Problem) {
        let life = self.life();
        if self.failure.as_ref().is_some_and(|failure| failure.life == life) {
            return;
        }
        self.entry.output.note(Level::ERROR, &problem.short);
        // Reaped or not, it is the process that was published last.
        self.entry.record_failure(self.entry.state().pid, &problem.short);
        let end = self.end(&problem.short);
        self.entry.history().failed(end);
        self.failure = Some(ModuleFailure {
            problem,
            life,
            tail: self.tail.clone(),
            logged: false,
        });
        let took = self.started.elapsed();
        self.entry.publish(|state| {
            state.last_at = Some(wall_clock::now());
            state.start_time = Some(took);
            state.consecutive_failures += 1;
        });
    }

    /// Adds to what went wrong with the present process; or else this is what went wrong.
    pub(super) fn add_or_fail(&mut self, problem: Problem) {
        let life = self.life();
        match self.failure.as_mut().filter(|failure| failure.life == life) {
            Some(failure) => {
                failure.problem = failure.problem.with(&problem.short);
                self.entry.history().add(life, &problem.short);
            }
            None => self.fail(problem),
        }
    }

    /// Publishes that the module cannot be used, why, and what comes next. `complete`: all that its last process printed is
    /// known.
    pub(super) fn down(&mut self, outlook: Outlook, pid: Option<u32>, complete: bool, connection: &mut Connection) {
        let Some(failure) = &self.failure else { return };
        let lines = failure.tail.lines();
        let told = failure.problem.describe(&lines, &self.entry.name, outlook);
        let (life, unstarted) = (failure.life, failure.problem.unstarted);
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
        connection.mark_down(told.cause.clone());
        // What is told without the last words of a process is worth a line only when it is complete.
        if complete {
            self.log_cause(&told.reason, &told.log);
        }
        self.send(ModuleEvent::Down {
            life,
            cause: told.cause,
            unstarted,
        });
    }

    /// Records what the present process printed, as far as it was read.
    pub(super) fn record_output(&self) {
        self.entry.history().set_output(self.life(), self.tail.lines());
    }

    /// Records what the process that failed printed, now that all of it was read.
    pub(super) fn complete_output(&self) {
        if let Some(failure) = &self.failure {
            self.entry.history().set_output(failure.life, failure.tail.lines());
        }
    }

    /// Records an end that was requested.
    pub(super) fn record_stop(&self) {
        self.entry.output.note(Level::INFO, "stopped");
        let end = self.end("");
        self.entry.history().asked(end);
    }

    /// Logs why the module is down: once for each reason, not once for each try.
    fn log_cause(&mut self, reason: &Arc<str>, cause: &str) {
        let Some(failure) = self.failure.as_mut().filter(|failure| !failure.logged) else {
            return;
        };
        failure.logged = true;
        if self.logged.as_ref() == Some(reason) {
            debug!(module = %self.entry.name, "{cause}");
        } else {
            error!(module = %self.entry.name, "{cause}");
            self.logged = Some(reason.clone());
        }
    }

    /// Record of the end of the present process, for `explain`.
    fn end(&self, cause: &str) -> ProcessEnd {
        let now = Instant::now();
        // What broke off before this process began belongs to another one.
        let moment = self.silent_since.or(now.checked_sub(MOMENT));
        let since = moment.map_or(self.started, |moment| moment.max(self.started));
        let calls = self.operations.in_flight(&self.entry.name, since, now);
        let in_flight = calls.into_iter().map(|(operation, about, age)| InFlight {
            method: operation.method.rsplit('/').next().unwrap_or_default().to_owned(),
            resource: about.resource,
            age,
            caller: about.caller.label(),
        });
        let phase = self.entry.state().phase;
        ProcessEnd {
            life: self.life(),
            at: Some(SystemTime::now()),
            up: self.started.elapsed(),
            was_ready: matches!(
                phase,
                ModulePhase::Ready | ModulePhase::Unresponsive | ModulePhase::Closing
            ),
            cause: cause.to_owned(),
            in_flight: in_flight.collect(),
            last_output: self.tail.lines(),
            ..ProcessEnd::default()
        }
    }

    /// Number of the present process.
    fn life(&self) -> u64 {
        self.entry.state().life
    }

    pub(super) fn send(&self, event: ModuleEvent) {
        // The machine is gone only when all of it is.
        let _gone = self.events.send((self.entry.name.clone(), event));
    }
}
