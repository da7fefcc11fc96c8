//! Record of the end of a process, for `explain`.

use std::time::{Duration, Instant, SystemTime};

use mainstay_core::module::history::{InFlight, ProcessEnd};
use mainstay_model::ModulePhase;
use tracing::Level;

use super::Actor;

/// Calls that broke off within this time before an end belong to it: its connection ends a moment before it is noticed.
const MOMENT: Duration = Duration::from_secs(1);

impl Actor {
    /// The process is of no use, or ended without being asked to.
    pub(super) fn record_failure(&self, cause: &str) {
        self.entry.output.note(Level::ERROR, cause);
        // Reaped or not, it is the process that was published last.
        self.entry.record_failure(self.entry.state().pid, cause);
        let end = self.end(cause);
        self.entry.history().failed(end);
    }

    /// Records an end that was requested.
    pub(super) fn record_stop(&self) {
        self.entry.output.note(Level::INFO, "stopped");
        let end = self.end("");
        self.entry.history().asked(end);
    }

    fn end(&self, cause: &str) -> ProcessEnd {
        let now = Instant::now();
        // What broke off before this process began belongs to another one.
        let since = now
            .checked_sub(MOMENT)
            .map_or(self.started, |moment| moment.max(self.started));
        let calls = self.operations.in_flight(&self.spec.name, since, now);
        let in_flight = calls.into_iter().map(|(operation, about, age)| InFlight {
            method: operation.method.rsplit('/').next().unwrap_or_default().to_owned(),
            resource: about.resource,
            age,
            caller: about.caller.label(),
        });
        let phase = self.entry.state().phase;
        ProcessEnd {
            life: self.lifecycle.life(),
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
}
