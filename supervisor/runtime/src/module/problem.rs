//! Texts about a module that cannot be used: those of the wire protocol, and short ones for a table.

use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mainstay_core::module::lifecycle::{GivenUp, State};
use mainstay_model::ModuleName;
use mainstay_model::duration::show as show_duration;
use mainstay_process::child::{describe, exit_code};
use tracing::debug;

/// Lines of a failed module's output that are shown with the reason.
const LAST_LINES: usize = 5;

/// Problem of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Text of the wire protocol, for clients that know it.
    pub wire: String,
    /// Short text for a table.
    pub short: String,
    /// True if no process was started: what it lacks is on the host, whatever its entry says.
    pub unstarted: bool,
}

/// Next step after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outlook {
    /// The process is of no use and is being ended.
    Ending,
    /// A new process is being started.
    Starting,
    /// A new one will be.
    Waiting {
        /// Time of the next try.
        next_try: SystemTime,
    },
    /// No further try, unless somebody requests it.
    GivenUp(GivenUp),
}

impl Outlook {
    fn of(self, name: &ModuleName) -> String {
        let rest = match self {
            Self::Ending => return "it is being ended".to_owned(),
            Self::Starting => return "it is being started again".to_owned(),
            Self::Waiting { next_try } => return format!("next try at {}", clock(next_try)),
            Self::GivenUp(GivenUp::Never) => "not started again, as its `restart` is `never`".to_owned(),
            Self::GivenUp(GivenUp::Done) => "it stays stopped, as its `restart` is `on-failure`".to_owned(),
            Self::GivenUp(GivenUp::GaveUp { failures: 1 }) => "gave up after 1 failure".to_owned(),
            Self::GivenUp(GivenUp::GaveUp { failures }) => format!("gave up after {failures} failures in a row"),
        };
        format!("{rest}; `mainstay restart {name}` starts it")
    }
}

/// A moment, to the millisecond: `2026-11-21T16:43:01.512Z`.
fn clock(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let whole = Duration::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    prost_types::Timestamp::from(SystemTime::UNIX_EPOCH + whole).to_string()
}

/// Texts of a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureReport {
    /// Problem on one line: the same for the same failure.
    pub reason: Arc<str>,
    /// Problem and next step.
    pub cause: Arc<str>,
    /// The same in our own words, for the log.
    pub log: Arc<str>,
    /// Short text, with some lines of output.
    pub last: Arc<str>,
}

/// Text about a process that changed its user by itself.
pub fn changed_user(user: u32) -> String {
    format!(
        "it changed its user to {user} by itself, who cannot reach its sockets; let it be started as that user with `sandbox.user`"
    )
}

impl Problem {
    /// Problem of a process that was started.
    pub fn new(wire: impl Into<String>, short: impl Into<String>) -> Self {
        Self {
            wire: wire.into(),
            short: short.into(),
            unstarted: false,
        }
    }

    /// The module was not ready in time. `connected`: it listens on its socket, at least.
    pub fn overdue(name: &ModuleName, limit: Duration, connected: bool) -> Self {
        let limit = show_duration(limit);
        let (why, short) = if connected {
            (
                format!("error while waiting for module to be ready {name}: context deadline exceeded"),
                format!("listens on its socket but did not answer Ready within {limit}"),
            )
        } else {
            (
                format!("error while starting module {name}: module {name} timed out after {limit} during startup"),
                format!("did not open its socket within {limit}"),
            )
        };
        Self::new(format!("error adding module {name}: {why}"), short)
    }

    /// Problem of a process that was killed and stays, because it waits in the kernel.
    pub fn stuck(name: &ModuleName, pid: u32) -> Self {
        let short = format!(
            "process {pid} does not end though it was killed: it waits in the kernel (state D), where no signal reaches it; going on without it"
        );
        Self::new(format!("module {name}: {short}"), short)
    }

    /// The same with something more to know.
    pub fn with(&self, more: &str) -> Self {
        Self {
            wire: format!("{}; {more}", self.wire),
            short: format!("{}; {more}", self.short),
            unstarted: self.unstarted,
        }
    }

    /// The same of a process that became `user` by itself, if it did.
    pub fn of_user(self, user: Option<u32>) -> Self {
        match user {
            Some(user) => self.with(&changed_user(user)),
            None => self,
        }
    }

    /// Problem that the end of a process in `state` means; `None` if the end was requested.
    pub fn end(name: &ModuleName, state: State, status: io::Result<ExitStatus>) -> Option<Self> {
        match status {
            Ok(status) if matches!(state, State::Stopping { .. }) => {
                debug!(module = %name, "module stopped: {}", describe(status));
                None
            }
            Ok(status) => {
                let how = describe(status);
                let wire = match state {
                    State::Starting { .. } => format!(
                        "error adding module {name}: error while starting module {name}: module {name} exited too quickly after attempted startup; \
                         it might have a fatal runtime issue ({how})"
                    ),
                    _ => format!(
                        "module has unexpectedly exited; module: {name}, exit_code: {} ({how})",
                        exit_code(status)
                    ),
                };
                Some(Self::new(wire, how))
            }
            Err(error) => {
                let short = format!("ended; its exit status is unknown: {error}");
                Some(Self::new(format!("module {name} {short}"), short))
            }
        }
    }

    /// Failure report: the problem with the last output of module `name`, and the next step.
    pub fn describe(&self, printed: &[String], name: &ModuleName, outlook: Outlook) -> FailureReport {
        let lines: Vec<_> = printed.iter().filter(|line| !line.trim().is_empty()).collect();
        let said = lines.last().map(|last| format!("; last output: `{}`", last.trim()));
        let said = said.unwrap_or_default();
        let reason = format!("{}{said}", self.wire);
        let next = outlook.of(name);
        let mut last = self.short.clone();
        // A table has a column of its own for all but this.
        if let Outlook::GivenUp(_) = outlook {
            last = format!("{last}; {next}");
        }
        for line in &lines[lines.len().saturating_sub(LAST_LINES)..] {
            last.push('\n');
            last.push_str(line);
        }
        FailureReport {
            cause: format!("{reason}; {next}").into(),
            log: format!("{}{said}; {next}", self.short).into(),
            reason: reason.into(),
            last: last.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::time::Instant;

    use super::*;
    use mainstay_core::module::lifecycle::Escalation;

    #[test]
    fn the_end_of_a_process_is_told_in_the_words_of_the_wire() {
        let name = ModuleName::from("gear");
        let until = Instant::now();
        let end = |state, raw| Problem::end(&name, state, Ok(ExitStatus::from_raw(raw))).map(|problem| problem.wire);
        let ready = State::Ready { since: until };
        assert_eq!(
            end(ready, 9).as_deref(),
            Some("module has unexpectedly exited; module: gear, exit_code: -1 (killed by SIGKILL)")
        );
        let early = end(State::Starting { until }, 3 << 8).unwrap_or_default();
        assert!(
            early.contains("exited too quickly") && early.ends_with("(exit code 3)"),
            "{early}"
        );
        let stopping = State::Stopping {
            next: Escalation::KillGroup,
            until,
            failed: false,
        };
        assert_eq!(end(stopping, 0), None);
    }

    #[test]
    fn a_late_start_says_how_far_it_came() {
        let late = |limit, connected| Problem::overdue(&"gear".into(), Duration::from_secs(limit), connected).wire;
        assert_eq!(
            late(25, false),
            "error adding module gear: error while starting module gear: module gear timed out after 25s during startup"
        );
        assert_eq!(
            late(300, true),
            "error adding module gear: error while waiting for module to be ready gear: context deadline exceeded"
        );
    }

    #[test]
    fn the_last_line_that_says_something_belongs_to_the_cause() {
        let problem = Problem::new("it fell", "fell");
        let told = |lines: &[&str], outlook| {
            let lines: Vec<_> = lines.iter().map(|line| (*line).to_owned()).collect();
            let told = problem.describe(&lines, &"gear".into(), outlook);
            (told.cause.to_string(), told.last.to_string())
        };
        assert_eq!(
            told(&["", " "], Outlook::Starting),
            ("it fell; it is being started again".into(), "fell".into())
        );
        let next_try = SystemTime::UNIX_EPOCH + Duration::from_micros(1_800_000_000_500_900);
        assert_eq!(
            told(&["1", "2", "3", "4", "", "5", " 6 ", ""], Outlook::Waiting { next_try }),
            (
                "it fell; last output: `6`; next try at 2027-01-15T08:00:00.500Z".into(),
                "fell\n2\n3\n4\n5\n 6 ".into()
            )
        );
        let gave_up = Outlook::GivenUp(GivenUp::GaveUp { failures: 3 });
        let expected = "fell; gave up after 3 failures in a row; `mainstay restart gear` starts it";
        assert_eq!(told(&["x"], gave_up).1, format!("{expected}\nx"));
    }
}
