//! Faulty module of a cell of the fault table, with the signs of its faults and the time limits for their handling.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use mainstay_tests::fixture::trap::{Deed, Moment};
use mainstay_tests::machine::Module;
use serde_json::json;

/// Pause before the first new start: long enough that the state before it is seen.
const PAUSE: Duration = Duration::from_millis(500);
/// From SIGTERM to SIGKILL.
pub const GRACE: Duration = Duration::from_secs(1);
/// Unanswered time after which a hanging process is killed.
const KILL_AFTER: Duration = Duration::from_secs(1);
/// Limit for a start that nothing is wrong with. Nothing is learnt from a machine that is only slow.
pub const START_LIMIT: Duration = Duration::from_secs(60);
/// Limit of ValidateConfig and of RemoveResource, which no config changes.
const VALIDATE_LIMIT: Duration = Duration::from_secs(5);
const REMOVE_LIMIT: Duration = Duration::from_secs(20);
/// Time that a machine under test may take beyond the configured times: five times the bar of 1 s, or of 3 s for a shutdown.
pub const SLACK: Duration = Duration::from_secs(5);
pub const SHUTDOWN_SLACK: Duration = Duration::from_secs(15);

/// The faulty module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patient {
    /// The fixture: one thread, no SDK.
    Fixture,
    /// `ill.py`, on the Python SDK.
    Python,
}

impl fmt::Display for Patient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fixture => "fixture",
            Self::Python => "Python SDK",
        })
    }
}

impl Patient {
    /// In good health, as module `ill`.
    pub fn well(self) -> Module {
        match self {
            Self::Fixture => Module::family("ill"),
            Self::Python => Module::python("ill", "ill.py"),
        }
    }

    /// With a trap; `marker` as in [`Module::trap`].
    pub fn trapped(self, deed: Deed, moment: Moment, marker: Option<&Path>) -> Module {
        self.well().trap(deed, moment, marker)
    }

    /// Limit for its start: short where the fault is that it does not come up, and no matter where it is another one.
    pub fn start_limit(self, deed: Deed, moment: Moment) -> Duration {
        match (self, shows(deed), moment) {
            (Self::Fixture, Shows::Silence, Moment::Socket | Moment::Ready) => Duration::from_secs(5),
            // An interpreter and its imports take a second of processor time, and some of them start at once.
            (Self::Python, Shows::Silence, Moment::Socket | Moment::Ready) => Duration::from_secs(12),
            _ => START_LIMIT,
        }
    }

    /// Limit for building its resource.
    pub fn build_limit(self) -> Duration {
        Duration::from_secs(3)
    }

    /// Machines with such a module that run at the same time. Most of a cell's time is waiting.
    pub fn at_once(self) -> usize {
        match self {
            Self::Fixture => 8,
            Self::Python => 5,
        }
    }

    /// Time of one start without fault.
    fn own_start(self) -> Duration {
        match self {
            Self::Fixture => Duration::ZERO,
            Self::Python => Duration::from_secs(10),
        }
    }

    /// Longest time from the fault to its being noticed; from the machine's start for a fault that is due then.
    pub fn notice(self, deed: Deed, moment: Moment) -> Duration {
        let own = match (shows(deed), moment) {
            (Shows::Silence, Moment::Socket | Moment::Ready) => self.start_limit(deed, moment),
            (Shows::Silence, Moment::Add) => self.build_limit(),
            (Shows::Silence, Moment::Validate) => VALIDATE_LIMIT,
            (Shows::Silence, Moment::Remove) => REMOVE_LIMIT,
            (Shows::Silence, _) => KILL_AFTER,
            _ => Duration::ZERO,
        };
        own + self.own_start() + SLACK
    }

    /// Longest time from the fault to being back.
    pub fn patience(self, deed: Deed, moment: Moment) -> Duration {
        let end = match shows(deed) {
            Shows::Silence => KILL_AFTER + GRACE,
            _ => Duration::ZERO,
        };
        self.notice(deed, moment) + end + PAUSE + self.own_start() + SLACK
    }
}

/// The policy of every module in these machines, as far as it has none of its own.
pub fn quick(module: Module, start_limit: Duration) -> Module {
    let start_timeout = format!("{}s", start_limit.as_secs());
    module
        .set_if_unset(
            "restart",
            json!({ "policy": "always", "first": "500ms", "then": "500ms", "factor": 1, "jitter": 0 }),
        )
        .set_if_unset(
            "health",
            json!({ "interval": "200ms", "timeout": "500ms", "kill_after": "1s", "start_timeout": start_timeout }),
        )
        .set_if_unset("stop", json!({ "drain": "0s", "grace": "1s" }))
}

/// Visible sign of a fault.
pub enum Shows<'a> {
    /// Its process ends; the cause names this.
    End(&'a str),
    /// Its process does nothing any more.
    Silence,
    /// Not until it is told to stop.
    Not,
}

pub fn shows(deed: Deed) -> Shows<'static> {
    match deed {
        Deed::Exit0 => Shows::End("code 0"),
        Deed::Exit2 => Shows::End("code 2"),
        Deed::Segv => Shows::End("SIGSEGV"),
        Deed::Abort => Shows::End("SIGABRT"),
        Deed::Freeze | Deed::Spin | Deed::Sleep => Shows::Silence,
        _ => Shows::Not,
    }
}
