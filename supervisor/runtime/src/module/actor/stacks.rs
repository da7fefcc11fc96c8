//! Stacks of a process that hangs: asked for right before it is killed, because whoever prints them ends with that, and
//! put with its evidence.

use std::path::PathBuf;
use std::time::Duration;

use mainstay_process::evidence;
use tokio::time::sleep;
use tracing::warn;

use super::report::Report;

/// Time to print them.
const PRINTING: Duration = Duration::from_millis(300);

/// Text for a process that ended before.
const ENDED: &str = "not taken: it ended before it had to be killed";
/// Text for a process that prints none, with the cure.
const NONE: &str = "none: no process of this module prints its stacks when it gets SIGABRT.
Python does if its faulthandler is on. The variable PYTHONFAULTHANDLER, which modules get, turns it on, but frozen programs
(PyInstaller) and `python -E` or `-I` do not look at it; `faulthandler.enable()` in the first line of the module always does.
";

/// Evidence of the present process, which its stacks are missing from.
#[derive(Debug, Default)]
pub(super) struct Stacks {
    /// Folder of the evidence.
    folder: Option<PathBuf>,
    /// Processes that were asked, and the number of the first line that is their answer.
    asked: Option<(Vec<u32>, u64)>,
}

impl Stacks {
    /// The process is to be ended; its stacks go to this folder, if it has one.
    pub(super) fn of(folder: Option<PathBuf>) -> Self {
        Self { folder, asked: None }
    }

    /// Has process `pid` print its stacks, once, and waits for that.
    pub(super) async fn ask(&mut self, pid: u32, report: &Report) {
        if self.asked.is_some() {
            return;
        }
        let from = report.tail.end();
        let asked = evidence::run_with_limit(evidence::LIMIT, move || evidence::ask_for_stacks(pid)).await;
        let asked = asked.unwrap_or_default();
        if !asked.is_empty() {
            sleep(PRINTING).await;
        }
        self.asked = Some((asked, from));
    }

    /// Writes down what was printed, now that the process is gone.
    pub(super) async fn record(&mut self, report: &Report) {
        let Self { folder, asked } = std::mem::take(self);
        let Some(folder) = folder else { return };
        let text = match asked {
            None => ENDED.to_owned(),
            Some((asked, _)) if asked.is_empty() => NONE.to_owned(),
            Some((asked, from)) => {
                let lines = report.tail.since(from);
                format!("SIGABRT to {asked:?}; what was printed then:\n{}\n", lines.join("\n"))
            }
        };
        if let Some(problem) = evidence::add(folder, "stacks.txt", text).await {
            warn!(module = %report.entry.name, "evidence about a module that hangs: {problem}");
        }
    }
}
