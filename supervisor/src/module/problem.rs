//! Why a module cannot be used, in words: those of the wire protocol, and few for a table.

use std::io;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use tracing::debug;

use super::lifecycle::State;
use super::process::{describe, exit_code};
use crate::config::show_duration;
use crate::identity::ModuleName;

/// Lines of a failed module's output that are shown with the reason.
const LAST_LINES: usize = 5;

/// What went wrong with a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// In the words of the wire protocol, for clients that know these texts.
    pub wire: String,
    /// In few words, for a table.
    pub short: String,
}

impl Problem {
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
        Self {
            wire: format!("error adding module {name}: {why}"),
            short,
        }
    }

    /// What the end of its process in `state` means; `None` if it was asked for.
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
                Some(Self { wire, short: how })
            }
            Err(error) => {
                let short = format!("ended; its exit status is unknown: {error}");
                Some(Self {
                    wire: format!("module {name} {short}"),
                    short,
                })
            }
        }
    }

    /// With what the module printed last: the whole on one line, and the short form with some lines of output.
    pub fn with_output(&self, printed: &[String]) -> (Arc<str>, Arc<str>) {
        let lines: Vec<_> = printed.iter().filter(|line| !line.trim().is_empty()).collect();
        let cause = match lines.last() {
            Some(last) => format!("{}; last output: `{}`", self.wire, last.trim()).into(),
            None => self.wire.as_str().into(),
        };
        let mut last = self.short.clone();
        for line in &lines[lines.len().saturating_sub(LAST_LINES)..] {
            last.push('\n');
            last.push_str(line);
        }
        (cause, last.into())
    }
}

/// Why a program cannot be run, with the cure where one is known.
pub fn cannot_run(executable: &Path, error: &io::Error) -> String {
    let path = executable.display();
    match error.kind() {
        io::ErrorKind::NotFound if executable.exists() => {
            format!("cannot run `{path}`: its interpreter (first line, `#!…`) or loader does not exist")
        }
        io::ErrorKind::NotFound => format!("cannot run `{path}`: no such file; correct `executable_path`"),
        io::ErrorKind::PermissionDenied => format!("cannot run `{path}`: not executable; try `chmod +x {path}`"),
        _ => format!("cannot run `{path}`: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::time::Instant;

    use super::*;
    use crate::module::lifecycle::Stronger;

    #[test]
    fn the_end_of_a_process_is_told_in_the_words_of_the_wire() {
        let name = ModuleName::from("gear");
        let until = Instant::now();
        let end = |state, raw| Problem::end(&name, state, Ok(ExitStatus::from_raw(raw))).map(|problem| problem.wire);
        assert_eq!(
            end(State::Ready, 9).as_deref(),
            Some("module has unexpectedly exited; module: gear, exit_code: -1 (killed by SIGKILL)")
        );
        let early = end(State::Starting { until }, 3 << 8).unwrap_or_default();
        assert!(
            early.contains("exited too quickly") && early.ends_with("(exit code 3)"),
            "{early}"
        );
        let next = Stronger::KillGroup;
        assert_eq!(end(State::Stopping { next, until }, 0), None);
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
        let problem = Problem {
            wire: "it fell".into(),
            short: "fell".into(),
        };
        let printed = |lines: &[&str]| {
            let lines: Vec<_> = lines.iter().map(|line| (*line).to_owned()).collect();
            let (cause, last) = problem.with_output(&lines);
            (cause.to_string(), last.to_string())
        };
        assert_eq!(printed(&["", " "]), ("it fell".into(), "fell".into()));
        assert_eq!(
            printed(&["1", "2", "3", "4", "", "5", " 6 ", ""]),
            ("it fell; last output: `6`".into(), "fell\n2\n3\n4\n5\n 6 ".into())
        );
    }
}
