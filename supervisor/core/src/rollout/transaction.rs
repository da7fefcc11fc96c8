//! Transaction of a new config: ask for leave, check, apply, watch, commit or go back. Pure: state, input and time in,
//! actions out. The driver is `driver` in the runtime; who is healthy is said by `health`.
//!
//! Two things go on side by side. A *candidate* is a text on its way to the machine: it waits for leave (`maintenance`)
//! and is checked. The *trial* is about what the machine was last told to be: it is being applied, is watched, or is
//! settled. A new text replaces the candidate, never waits for a trial, and is compared with what runs; the target of a
//! way back stays the last commit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mainstay_model::apply_state::{ApplyState, ConfigState};

use super::health::Verdict;
use super::messages::{Action, Direction, FileState, Input, Origin, Refusal, Revision, Ticket};

/// Pause before a text that was refused for what may pass is tried again, doubled each time.
const FIRST_RETRY: Duration = Duration::from_secs(2);
/// The longest such pause.
const LAST_RETRY: Duration = Duration::from_secs(60);
/// Pause before the maintenance sensor is asked again, doubled each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest such pause.
const LAST_PAUSE: Duration = Duration::from_secs(30);

/// State of the config that was applied last.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Trial {
    /// The applied config is the last commit.
    Settled,
    Applying {
        ticket: Ticket,
        direction: Direction,
    },
    Watching {
        ticket: Ticket,
        direction: Direction,
        until: Instant,
    },
    /// The last commit runs, and yet the machine is not as it was.
    Degraded(Vec<String>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum CandidateStage {
    Asking {
        pause: Duration,
    },
    Postponed {
        pause: Duration,
        until: Instant,
        reason: String,
    },
    Checking,
}

/// A text on its way to the machine.
#[derive(Clone, Debug)]
struct Candidate<T> {
    ticket: Ticket,
    revision: Revision<T>,
    stage: CandidateStage,
    /// The pause before this try and why the one before was refused, if it is not the first.
    again: Option<(Duration, Vec<String>)>,
}

/// A text of the file that was refused for what may pass.
#[derive(Clone, Debug)]
struct Retry<T> {
    revision: Revision<T>,
    reasons: Vec<String>,
    pause: Duration,
    until: Instant,
}

/// The state of it all.
#[derive(Debug)]
pub struct Transaction<T> {
    committed: Option<Revision<T>>,
    running: Revision<T>,
    /// Config that ran before, until the machine has taken up the new one.
    before: Option<Revision<T>>,
    trial: Trial,
    /// Time for which the last trial was, or is to be, watched.
    window: Duration,
    candidate: Option<Candidate<T>>,
    retry: Option<Retry<T>>,
    file: FileState,
    rejected: BTreeMap<Arc<str>, Vec<String>>,
    last_ticket: Ticket,
    stopped: bool,
    /// Actions that follow from the input at hand.
    actions: Vec<Action<T>>,
}

impl<T: Clone> Transaction<T> {
    /// A machine that starts with `first`, which is numbered [`Ticket`] 0; [`Input::Applied`] is due when its first
    /// pass is over. `committed` is the last good config, if there is one.
    pub fn new(first: Revision<T>, committed: Option<Revision<T>>, file: FileState) -> Self {
        let known = committed.as_ref().is_some_and(|kept| kept.digest == first.digest);
        let trial = if known {
            Trial::Settled
        } else {
            let (ticket, direction) = (Ticket::default(), Direction::Forward);
            Trial::Applying { ticket, direction }
        };
        Self {
            committed,
            window: first.revert.unwrap_or_default(),
            running: first,
            before: None,
            trial,
            candidate: None,
            retry: None,
            file,
            rejected: BTreeMap::new(),
            last_ticket: Ticket::default(),
            stopped: false,
            actions: Vec::new(),
        }
    }

    /// Config that was applied last.
    pub fn running(&self) -> &Revision<T> {
        &self.running
    }

    /// Config that a failed change goes back to.
    pub fn committed(&self) -> Option<&Revision<T>> {
        self.committed.as_ref()
    }

    /// True while health is of interest.
    pub fn is_on_trial(&self) -> bool {
        !matches!(self.trial, Trial::Settled)
    }

    /// True after a change that could not be taken back, until all is as well as before it.
    pub fn is_degraded(&self) -> bool {
        matches!(self.trial, Trial::Degraded(_))
    }

    /// True while something is under way that ends by itself, and soon.
    pub fn is_busy(&self) -> bool {
        let stage = self.candidate.as_ref().map(|candidate| &candidate.stage);
        matches!(stage, Some(CandidateStage::Asking { .. } | CandidateStage::Checking))
            || matches!(self.trial, Trial::Applying { .. })
    }

    /// Number of the text that came last.
    pub fn last_ticket(&self) -> Ticket {
        self.last_ticket
    }

    /// Time at which [`Input::Health`] is due even if nothing happens.
    pub fn deadline(&self) -> Option<Instant> {
        let watched = match &self.trial {
            Trial::Watching { until, .. } => Some(*until),
            _ => None,
        };
        let postponed = match self.candidate.as_ref().map(|candidate| &candidate.stage) {
            Some(CandidateStage::Postponed { until, .. }) => Some(*until),
            _ => None,
        };
        watched.into_iter().chain(postponed).chain(self.next_try()).min()
    }

    /// Time at which the file's text, which was refused for what may pass, is tried again.
    pub fn next_try(&self) -> Option<Instant> {
        self.retry.as_ref().map(|retry| retry.until)
    }

    /// True if this text is being tried again, and it is known that it was refused for these reasons.
    pub fn refused_before(&self, ticket: Ticket, reasons: &[String]) -> bool {
        let candidate = self.candidate.as_ref().filter(|candidate| candidate.ticket == ticket);
        let again = candidate.and_then(|candidate| candidate.again.as_ref());
        again.is_some_and(|(_, known)| known == reasons)
    }

    /// The state in one word, and why it is not `current`.
    pub fn state(&self) -> (ConfigState, Vec<String>) {
        match &self.trial {
            Trial::Degraded(reasons) => return (ConfigState::Degraded, reasons.clone()),
            Trial::Applying {
                direction: Direction::Back(why),
                ..
            }
            | Trial::Watching {
                direction: Direction::Back(why),
                ..
            } => {
                return (ConfigState::Reverted, why.clone());
            }
            _ => {}
        }
        if let Some(candidate) = &self.candidate {
            if let (CandidateStage::Checking, Some((_, reasons))) = (&candidate.stage, &candidate.again) {
                return (ConfigState::Refused, reasons.clone());
            }
            match &candidate.stage {
                CandidateStage::Postponed { reason, .. } => return (ConfigState::Waiting, vec![reason.clone()]),
                // Between two questions it waits all the same.
                CandidateStage::Asking { pause } if *pause > FIRST_PAUSE => return (ConfigState::Waiting, Vec::new()),
                _ => return (ConfigState::Applying, Vec::new()),
            }
        }
        match &self.file {
            FileState::Refused(reasons) => return (ConfigState::Refused, reasons.clone()),
            FileState::Away(why) => return (ConfigState::Away, vec![why.clone()]),
            FileState::Rejected(reasons) => return (ConfigState::Reverted, reasons.clone()),
            FileState::Holds(_) => {}
        }
        match &self.trial {
            Trial::Applying { .. } => (ConfigState::Applying, Vec::new()),
            Trial::Watching { .. } => (ConfigState::Watching, Vec::new()),
            _ if FileState::Holds(self.running.digest.clone()) != self.file => (ConfigState::Overridden, Vec::new()),
            _ => (ConfigState::Current, Vec::new()),
        }
    }

    /// Takes in what happened, and says what to do about it, in this order.
    pub fn handle(&mut self, input: Input<T>, now: Instant) -> Vec<Action<T>> {
        if self.stopped {
            return Vec::new();
        }
        match input {
            Input::Seen {
                revision,
                rejected,
                forced,
            } => self.seen(revision, rejected, forced),
            Input::Refused(reasons) => self.file_is(FileState::Refused(reasons)),
            Input::Away(why) => self.file_is(FileState::Away(why)),
            Input::Maintained(ticket, answer) => self.maintained(ticket, answer, now),
            Input::Checked(ticket, outcome) => self.checked(ticket, outcome, now),
            Input::Applied(ticket, outcome) => self.applied(ticket, outcome, now),
            Input::Health(verdict) => {
                self.ask_again(now);
                self.try_again(now);
                self.judge_trial(verdict, now);
            }
            Input::Stop => {
                self.stopped = true;
                self.retry = None;
                self.drop_candidate();
            }
        }
        std::mem::take(&mut self.actions)
    }

    fn seen(&mut self, revision: Revision<T>, rejected: Option<Vec<String>>, forced: bool) {
        let ticket = Ticket(self.last_ticket.0 + 1);
        self.last_ticket = ticket;
        let by_file = revision.origin == Origin::File;
        let rejected = self.rejected.get(&revision.digest).cloned().or(rejected);
        // What somebody asked for is not wanted any more only if somebody asks for more.
        if by_file {
            self.file_is(FileState::Holds(revision.digest.clone()));
        }
        match rejected {
            Some(_) if forced => {
                self.rejected.remove(&revision.digest);
                self.actions.push(Action::ForgetRejection(revision.digest.clone()));
            }
            Some(reasons) => return self.refuse(ticket, &revision, reasons, FileState::Rejected),
            None => {}
        }
        if !forced && revision.digest == self.running.digest {
            return;
        }
        let known = self.committed.as_ref().map(|committed| &committed.faults);
        if let (Some(known), true) = (known, revision.revert.is_some()) {
            let new: Vec<_> = revision.faults.difference(known).cloned().collect();
            if !new.is_empty() {
                return self.refuse(ticket, &revision, new, FileState::Refused);
            }
        }
        self.begin(ticket, revision, None);
    }

    /// A text sets out.
    fn begin(&mut self, ticket: Ticket, revision: Revision<T>, again: Option<(Duration, Vec<String>)>) {
        self.drop_candidate();
        self.retry = None;
        let (stage, action) = if revision.guarded {
            let pause = FIRST_PAUSE;
            (CandidateStage::Asking { pause }, Action::Ask(ticket, revision.clone()))
        } else {
            (CandidateStage::Checking, Action::Check(ticket, revision.clone()))
        };
        self.actions.push(action);
        self.candidate = Some(Candidate {
            ticket,
            revision,
            stage,
            again,
        });
    }

    /// Tries the file's text again, because what it was refused for may have passed.
    fn try_again(&mut self, now: Instant) {
        let Some(retry) = self.retry.take_if(|retry| retry.until <= now) else {
            return;
        };
        self.last_ticket.0 += 1;
        self.file = FileState::Holds(retry.revision.digest.clone());
        let again = Some((retry.pause, retry.reasons));
        self.begin(self.last_ticket, retry.revision, again);
    }

    fn refuse(
        &mut self,
        ticket: Ticket,
        revision: &Revision<T>,
        reasons: Vec<String>,
        file: fn(Vec<String>) -> FileState,
    ) {
        // The file may hold something else by now.
        if self.file == FileState::Holds(revision.digest.clone()) && revision.digest != self.running.digest {
            self.file = file(reasons.clone());
        }
        self.publish(ticket, ApplyState::Refused(reasons));
    }

    /// The file is another one; what it held until now is not wanted any more.
    fn file_is(&mut self, state: FileState) {
        self.file = state;
        self.retry = None;
        let candidate = self.candidate.as_ref();
        if candidate.is_some_and(|candidate| candidate.revision.origin == Origin::File) {
            self.drop_candidate();
        }
    }

    fn drop_candidate(&mut self) {
        if let Some(candidate) = self.candidate.take() {
            self.publish(candidate.ticket, ApplyState::Superseded);
        }
    }

    fn maintained(&mut self, ticket: Ticket, answer: Result<(), String>, now: Instant) {
        let Some(candidate) = self.candidate.as_mut().filter(|candidate| candidate.ticket == ticket) else {
            return;
        };
        let CandidateStage::Asking { pause } = candidate.stage else {
            return;
        };
        match answer {
            Ok(()) => {
                candidate.stage = CandidateStage::Checking;
                self.actions.push(Action::Check(ticket, candidate.revision.clone()));
            }
            Err(reason) => {
                let until = now + pause;
                let state = ApplyState::Waiting(reason.clone(), pause);
                candidate.stage = CandidateStage::Postponed { pause, until, reason };
                self.publish(ticket, state);
            }
        }
    }

    fn ask_again(&mut self, now: Instant) {
        let Some(candidate) = &mut self.candidate else { return };
        if let CandidateStage::Postponed { pause, until, .. } = candidate.stage
            && until <= now
        {
            let pause = (pause * 2).min(LAST_PAUSE);
            candidate.stage = CandidateStage::Asking { pause };
            self.actions
                .push(Action::Ask(candidate.ticket, candidate.revision.clone()));
        }
    }

    fn checked(&mut self, ticket: Ticket, outcome: Result<(), Refusal>, now: Instant) {
        let mine =
            |candidate: &mut Candidate<T>| candidate.ticket == ticket && candidate.stage == CandidateStage::Checking;
        let Some(Candidate { revision, again, .. }) = self.candidate.take_if(mine) else {
            return;
        };
        if let Err(Refusal { reasons, transient }) = outcome {
            self.refuse(ticket, &revision, reasons.clone(), FileState::Refused);
            let wanted = revision.origin == Origin::File && self.file == FileState::Refused(reasons.clone());
            if transient && wanted {
                let pause = again.map_or(FIRST_RETRY, |(pause, _)| (pause * 2).min(LAST_RETRY));
                let until = now + pause;
                self.retry = Some(Retry {
                    revision,
                    reasons,
                    pause,
                    until,
                });
            }
            return;
        }
        if let Trial::Applying { ticket, .. } | Trial::Watching { ticket, .. } = &self.trial {
            self.publish(*ticket, ApplyState::Superseded);
        }
        let fresh = matches!(self.trial, Trial::Settled | Trial::Degraded(_));
        self.window = revision.revert.unwrap_or_default();
        self.go(ticket, revision, Direction::Forward, fresh);
        self.publish(ticket, ApplyState::Applying);
    }

    fn go(&mut self, ticket: Ticket, revision: Revision<T>, direction: Direction, fresh: bool) {
        let old = std::mem::replace(&mut self.running, revision.clone());
        // A text that the machine may not have taken up is nothing to go back to.
        self.before = match self.trial {
            Trial::Applying { .. } => self.before.take().or(Some(old)),
            _ => Some(old),
        };
        self.trial = Trial::Applying {
            ticket,
            direction: direction.clone(),
        };
        self.actions.push(Action::Apply {
            ticket,
            revision,
            direction,
            fresh,
        });
    }

    fn applied(&mut self, number: Ticket, outcome: Result<(), String>, now: Instant) {
        let Trial::Applying { ticket, direction } = &self.trial else {
            return;
        };
        if *ticket != number {
            return;
        }
        let (ticket, direction) = (number, direction.clone());
        let before = self.before.take();
        match (direction, outcome) {
            (direction @ Direction::Forward, Ok(())) => {
                let committed = self.committed.as_ref();
                let back = committed.filter(|committed| committed.digest != self.running.digest);
                if self.running.revert.is_some() && back.is_some() {
                    self.watch(ticket, direction, now);
                    self.publish(ticket, ApplyState::Watching(self.window));
                } else {
                    self.commit(ticket);
                }
            }
            (Direction::Forward, Err(problem)) => {
                let failed = match before {
                    Some(before) => std::mem::replace(&mut self.running, before),
                    None => self.running.clone(),
                };
                let settled = self.committed.as_ref().map(|kept| &kept.digest) == Some(&self.running.digest);
                match self.running.revert {
                    // What ran on trial until now goes on, for nobody who would follow it.
                    Some(window) if !settled && self.committed.is_some() => {
                        self.window = window;
                        self.last_ticket.0 += 1;
                        self.watch(self.last_ticket, Direction::Forward, now);
                    }
                    _ => self.trial = Trial::Settled,
                }
                self.refuse(ticket, &failed, vec![problem], FileState::Refused);
            }
            (back @ Direction::Back(_), Ok(())) => self.watch(ticket, back, now),
            (Direction::Back(_), Err(problem)) => self.degrade(ticket, vec![problem]),
        }
    }

    fn watch(&mut self, ticket: Ticket, direction: Direction, now: Instant) {
        self.trial = Trial::Watching {
            ticket,
            direction,
            until: now + self.window,
        };
    }

    fn publish(&mut self, ticket: Ticket, state: ApplyState) {
        self.actions.push(Action::Publish(ticket, state));
    }

    fn commit(&mut self, ticket: Ticket) {
        self.trial = Trial::Settled;
        self.committed = Some(self.running.clone());
        self.actions.push(Action::Commit(ticket, self.running.clone()));
        self.publish(ticket, ApplyState::Committed);
    }

    fn judge_trial(&mut self, verdict: Verdict, now: Instant) {
        let (ticket, direction, over) = match &self.trial {
            Trial::Watching {
                ticket,
                direction,
                until,
            } => (*ticket, direction.clone(), *until <= now),
            Trial::Degraded(_) if verdict == Verdict::Healthy => {
                self.trial = Trial::Settled;
                return;
            }
            _ => return,
        };
        match (direction, verdict) {
            (Direction::Forward, Verdict::Died(reasons)) => self.revert(ticket, reasons),
            (Direction::Forward, Verdict::Unwell(reasons)) if over => self.revert(ticket, reasons),
            (Direction::Forward, Verdict::Healthy) if over => self.commit(ticket),
            // There is no need to wait until the end: nobody takes it back once more.
            (Direction::Back(reasons), Verdict::Healthy) => {
                self.trial = Trial::Settled;
                self.publish(ticket, ApplyState::Reverted(reasons));
            }
            (Direction::Back(_), Verdict::Died(reasons) | Verdict::Unwell(reasons)) if over => {
                self.degrade(ticket, reasons);
            }
            _ => {}
        }
    }

    /// What could not be taken back stays as it is.
    fn degrade(&mut self, ticket: Ticket, reasons: Vec<String>) {
        self.publish(ticket, ApplyState::Degraded(reasons.clone()));
        self.trial = Trial::Degraded(reasons);
    }

    /// Goes back to the last commit. There is one, or nothing would be watched.
    fn revert(&mut self, ticket: Ticket, reasons: Vec<String>) {
        let Some(target) = self.committed.clone() else {
            return;
        };
        let bad = self.running.clone();
        self.rejected.insert(bad.digest.clone(), reasons.clone());
        if self.file == FileState::Holds(bad.digest.clone()) {
            self.file = FileState::Rejected(reasons.clone());
        }
        let same = |candidate: &mut Candidate<T>| candidate.revision.digest == bad.digest;
        if let Some(candidate) = self.candidate.take_if(same) {
            self.publish(candidate.ticket, ApplyState::Refused(reasons.clone()));
        }
        self.actions.push(Action::Reject(bad, reasons.clone()));
        self.publish(ticket, ApplyState::Reverting(reasons.clone()));
        self.go(ticket, target, Direction::Back(reasons), false);
    }
}

#[cfg(test)]
mod simulation;

#[cfg(test)]
mod tests;
