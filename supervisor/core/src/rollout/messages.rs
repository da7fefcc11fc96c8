//! Inputs and actions of the transaction, and the values in them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use mainstay_model::apply_state::ApplyState;

use super::health::Verdict;

/// Number of one text's way through the transaction; answers that carry an older one no longer count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Origin of a text that is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Machine's config file.
    File,
    /// Request over the control socket.
    Command,
}

/// A config that can be run, as far as the transaction has to know it.
#[derive(Clone, Debug)]
pub struct Revision<T> {
    /// Digest, which identifies the text.
    pub digest: Arc<str>,
    /// Origin of the text.
    pub origin: Origin,
    /// Time that it is watched before it counts, and goes back if it is not healthy. `None`: it stays as it is.
    pub revert: Option<Duration>,
    /// True if it names a maintenance sensor that is to be asked first.
    pub guarded: bool,
    /// Local errors of the config, without their places in the text.
    pub faults: BTreeSet<String>,
    /// The config itself.
    pub what: T,
}

/// State of the config file, compared with what runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileState {
    /// Text that runs, or is on its way.
    Holds(Arc<str>),
    /// A text that cannot be used, and why.
    Refused(Vec<String>),
    /// A text that was applied and taken back, and why.
    Rejected(Vec<String>),
    /// File is gone or cannot be read, and why.
    Away(String),
}

/// Reason why a text that was checked is not applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Reasons, in words.
    pub reasons: Vec<String>,
    /// True if nothing of it is the fault of the text: the same may be good in a moment.
    pub transient: bool,
}

impl Refusal {
    /// Refusal that only another text changes.
    pub fn of_text(reasons: Vec<String>) -> Self {
        Self {
            reasons,
            transient: false,
        }
    }
}

/// Event that the transaction takes into account.
#[derive(Clone, Debug)]
pub enum Input<T> {
    /// A text that can be run was seen, or asked for.
    Seen {
        /// The text.
        revision: Revision<T>,
        /// Reasons why it was taken back before, if it was.
        rejected: Option<Vec<String>>,
        /// True if somebody wants it now, even if nothing has changed and whatever happened to it before.
        forced: bool,
    },
    /// The file's text cannot be used.
    Refused(Vec<String>),
    /// The file is gone or cannot be read.
    Away(String),
    /// The maintenance sensor was asked: may it be applied now?
    Maintained(Ticket, Result<(), String>),
    /// The text was checked with all that can be checked before anything is touched.
    Checked(Ticket, Result<(), Refusal>),
    /// The machine has taken it up, and all that it touched had its first outcome; or it was not taken up at all.
    Applied(Ticket, Result<(), String>),
    /// Health of the machine; due when that changes, and when the deadline has come.
    Health(Verdict),
    /// The machine is to end.
    Stop,
}

/// Direction of a change of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Towards a new text.
    Forward,
    /// Back to the last commit, for these reasons.
    Back(Vec<String>),
}

/// Effect that the driver has to carry out.
#[derive(Clone, Debug)]
pub enum Action<T> {
    /// Ask the maintenance sensor of this config. Ends in [`Input::Maintained`].
    Ask(Ticket, Revision<T>),
    /// Check what can be checked. Ends in [`Input::Checked`].
    Check(Ticket, Revision<T>),
    /// Have the machine be this; whatever was applied before is no longer waited for. Ends in [`Input::Applied`].
    Apply {
        /// Number of the change.
        ticket: Ticket,
        /// Config that the machine shall run.
        revision: Revision<T>,
        /// Direction: from or to the last commit.
        direction: Direction,
        /// True if what is healthy now is what has to be healthy afterwards.
        fresh: bool,
    },
    /// Keep it as the last good config.
    Commit(Ticket, Revision<T>),
    /// Remember that it was taken back, and why.
    Reject(Revision<T>, Vec<String>),
    /// Forget that a text of this digest was taken back.
    ForgetRejection(Arc<str>),
    /// Publish the state to whoever follows this text.
    Publish(Ticket, ApplyState),
}
