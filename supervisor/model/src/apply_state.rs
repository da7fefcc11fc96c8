//! Progress of a config on its way, and the state of the machine's config in one word.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::plan::Plan;

/// Step in the progress of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplyState {
    /// The maintenance sensor does not allow it, for this reason; asked again after this pause.
    Waiting(String, Duration),
    /// The text is being applied.
    Applying,
    /// The text is applied and watched for this long.
    Watching(Duration),
    /// The text counts.
    Committed,
    /// Refused without any change, for these reasons.
    Refused(Vec<String>),
    /// The text is being taken back, for these reasons.
    Reverting(Vec<String>),
    /// The last commit runs again, for these reasons.
    Reverted(Vec<String>),
    /// The last commit was applied again, and these parts are not well.
    Degraded(Vec<String>),
    /// Another text came before this one was done, or its file went away.
    Superseded,
}

impl ApplyState {
    /// True if nothing follows.
    pub fn is_last(&self) -> bool {
        use ApplyState::{Committed, Degraded, Refused, Reverted, Superseded};
        matches!(self, Committed | Refused(_) | Reverted(_) | Degraded(_) | Superseded)
    }
}

/// Progress of the application of a text.
#[derive(Clone, Debug)]
pub enum Progress {
    /// Plan that is being carried out.
    Plan(Arc<Plan>),
    /// A step was taken.
    State(ApplyState),
}

/// The state of the config in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigState {
    /// The file's text runs.
    Current,
    /// The file's text cannot be used; the one before runs.
    Refused,
    /// The file is gone or cannot be read; its last text runs.
    Away,
    /// The maintenance sensor does not allow the file's text yet.
    Waiting,
    /// A text is being applied.
    Applying,
    /// A text is applied and watched; it may go back.
    Watching,
    /// The file's text was applied and taken back.
    Reverted,
    /// A text was taken back, and the machine is not as it was before.
    Degraded,
    /// Another text than the file's runs, because somebody asked for it.
    Overridden,
}

impl fmt::Display for ConfigState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Current => "current",
            Self::Refused => "refused",
            Self::Away => "away",
            Self::Waiting => "waiting for maintenance",
            Self::Applying => "applying",
            Self::Watching => "watching",
            Self::Reverted => "reverted",
            Self::Degraded => "degraded",
            Self::Overridden => "overridden",
        })
    }
}
