//! What the transaction hears, what it says, and what both are about.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::health::Verdict;
use super::news::News;

/// Number of one text's way through the transaction; answers that carry an older one no longer count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Who wants a text to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It stands in the machine's config file.
    File,
    /// Somebody asked for it over the control socket.
    Command,
}

/// A config that can be run, as far as the transaction has to know it.
#[derive(Clone, Debug)]
pub struct Revision<T> {
    /// Tells it from other texts.
    pub digest: Arc<str>,
    /// Who wants it.
    pub origin: Origin,
    /// How long it is watched before it counts, and goes back if it is not healthy. `None`: it stays as it is.
    pub revert: Option<Duration>,
    /// It names a maintenance sensor that is to be asked first.
    pub guarded: bool,
    /// Its local errors, without their places in the text.
    pub faults: BTreeSet<String>,
    /// The config itself.
    pub what: T,
}

/// What the config file holds, compared with what runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum File {
    /// This text, which runs, or is on its way.
    Holds(Arc<str>),
    /// A text that cannot be used, and why.
    Refused(Vec<String>),
    /// A text that was applied and taken back, and why.
    Rejected(Vec<String>),
    /// It is gone or cannot be read, and why.
    Away(String),
}

/// Why a text that was checked is not applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// In words.
    pub reasons: Vec<String>,
    /// Nothing of it is the fault of the text: the same may be good in a moment.
    pub transient: bool,
}

impl Refusal {
    /// One that only another text changes.
    pub fn of_text(reasons: Vec<String>) -> Self {
        Self {
            reasons,
            transient: false,
        }
    }
}

/// Something happened.
#[derive(Clone, Debug)]
pub enum Input<T> {
    /// A text that can be run was seen, or asked for.
    Seen {
        /// The text.
        revision: Revision<T>,
        /// Why it was taken back before, if it was.
        rejected: Option<Vec<String>>,
        /// Somebody wants it now, even if nothing has changed and whatever happened to it before.
        forced: bool,
    },
    /// The file's text cannot be used.
    Refused(Vec<String>),
    /// The file is gone or cannot be read.
    Away(String),
    /// The maintenance sensor was asked: may it be applied now?
    Maintained(Ticket, Result<(), String>),
    /// It was checked with all that can be checked before anything is touched.
    Checked(Ticket, Result<(), Refusal>),
    /// The machine has taken it up, and all that it touched had its first outcome; or it was not taken up at all.
    Applied(Ticket, Result<(), String>),
    /// How things are; to be told when that changes, and when the deadline has come.
    Look(Verdict),
    /// The machine is to end.
    Stop,
}

/// Which way the machine goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To a new text.
    Forward,
    /// To the last commit, for these reasons.
    Back(Vec<String>),
}

/// Something to be done.
#[derive(Clone, Debug)]
pub enum Action<T> {
    /// Ask the maintenance sensor of this config. Ends in [`Input::Maintained`].
    Ask(Ticket, Revision<T>),
    /// Check what can be checked. Ends in [`Input::Checked`].
    Check(Ticket, Revision<T>),
    /// Have the machine be this; whatever was applied before is no longer waited for. Ends in [`Input::Applied`].
    Apply {
        /// Its number.
        ticket: Ticket,
        /// What it shall be.
        revision: Revision<T>,
        /// From or to the last commit.
        direction: Direction,
        /// What is healthy now is what has to be healthy afterwards.
        fresh: bool,
    },
    /// Keep it as the last good config.
    Commit(Ticket, Revision<T>),
    /// Remember that it was taken back, and why.
    Reject(Revision<T>, Vec<String>),
    /// Forget that a text of this digest was taken back.
    Pardon(Arc<str>),
    /// Tell whoever follows this text.
    Tell(Ticket, News),
}
