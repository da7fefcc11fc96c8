//! Random walks through the transaction, checked by model of our own.

use std::collections::HashSet;

use super::tests::{WINDOW, revision};
use super::*;

/// Numbers that are the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((bits ^ (bits >> 31)) >> 33).expect("31 bits") % limit
    }

    fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn one_of<'a, V>(&mut self, values: &'a [V]) -> &'a V {
        &values[self.below(values.len())]
    }
}

/// Model of the transaction, kept without its help.
struct ReferenceModel {
    /// Text that was applied last, and text that was kept last.
    applied: Arc<str>,
    kept: Arc<str>,
    /// Digests of texts that must not run any more.
    bad: HashSet<Arc<str>>,
    allowed: HashSet<Ticket>,
    checked: HashSet<Ticket>,
    begun: HashSet<Ticket>,
    over: HashSet<Ticket>,
    asking: Vec<Ticket>,
    checking: Vec<Ticket>,
    applying: Option<Ticket>,
    by_file: HashSet<Ticket>,
    guarded: HashSet<Arc<str>>,
    reverts: HashSet<Arc<str>>,
    /// Action that must come next.
    back: bool,
}

impl ReferenceModel {
    fn note(&mut self, action: &Action<()>) {
        assert!(
            !self.back || matches!(action, Action::Publish(..) | Action::Apply { .. }),
            "between a rejection and the way back: {action:?}"
        );
        match action {
            Action::Ask(ticket, _) => {
                self.begun.insert(*ticket);
                self.asking.push(*ticket);
            }
            Action::Check(ticket, revision) => {
                self.begun.insert(*ticket);
                assert!(
                    !self.guarded.contains(&revision.digest) || self.allowed.contains(ticket),
                    "not allowed"
                );
                self.checking.push(*ticket);
                if revision.origin == Origin::File {
                    self.by_file.insert(*ticket);
                }
            }
            Action::Apply {
                ticket,
                revision,
                direction,
                ..
            } => {
                if *direction == Direction::Forward {
                    assert!(self.checked.contains(ticket), "not checked");
                    assert!(
                        !self.bad.contains(&revision.digest),
                        "{} was taken back",
                        revision.digest
                    );
                    assert!(!self.back);
                } else {
                    assert!(self.back, "back for nothing");
                    assert_eq!(
                        revision.digest, self.kept,
                        "back to something else than the last commit"
                    );
                }
                self.back = false;
                self.applied = revision.digest.clone();
                self.applying = Some(*ticket);
            }
            Action::Commit(_, revision) => {
                assert_eq!(revision.digest, self.applied, "kept and not running");
                assert_eq!(self.applying, None, "kept before it is there");
                self.kept = revision.digest.clone();
            }
            Action::Reject(revision, _) => {
                assert_eq!(revision.digest, self.applied, "rejected and not running");
                assert_ne!(revision.digest, self.kept, "the last commit was rejected");
                assert!(self.reverts.contains(&revision.digest), "nobody asked for a way back");
                self.bad.insert(revision.digest.clone());
                self.back = true;
            }
            Action::ForgetRejection(digest) => {
                self.bad.remove(digest);
            }
            Action::Publish(ticket, state) => {
                assert!(
                    !self.over.contains(ticket),
                    "{ticket:?} goes on after its end: {state:?}"
                );
                if state.is_last() {
                    self.over.insert(*ticket);
                }
            }
        }
    }
}

#[test]
fn whatever_happens_the_last_text_wins_only_what_is_running_is_kept_and_back_is_the_last_commit() {
    let marks = ["", "~", "?", "~?"];
    let texts: Vec<String> = (0..8).map(|i| format!("t{i}{}", marks[i % 4])).collect();
    for seed in 0..1_000 {
        let mut random = Random(seed);
        let mut now = Instant::now();
        let first = random.one_of(&texts);
        let mut transaction = Transaction::new(
            revision(first),
            Some(revision("t0")),
            FileState::Holds(revision(first).digest),
        );
        let of = |mark: char| {
            let marked = texts.iter().filter(|text| text.contains(mark));
            marked.map(|text| revision(text).digest).collect()
        };
        let first_applied = (revision(first).digest != revision("t0").digest).then_some(Ticket(0));
        let mut model = ReferenceModel {
            applied: revision(first).digest,
            kept: "t0".into(),
            bad: HashSet::new(),
            allowed: HashSet::new(),
            checked: HashSet::new(),
            begun: HashSet::new(),
            over: HashSet::new(),
            asking: Vec::new(),
            checking: Vec::new(),
            applying: first_applied,
            by_file: HashSet::new(),
            guarded: of('?'),
            reverts: of('~'),
            back: false,
        };
        let mut last_seen = None;
        for step in 0..900 {
            // The storm is over at some time: then all goes well.
            let calm = step >= 200;
            let input = match random.below(10) {
                0 | 1 if !calm => {
                    let text = random.one_of(&texts);
                    let (mut revision, mut forced) = (revision(text), random.percent(30));
                    if random.percent(20) {
                        revision.origin = Origin::Command;
                        forced = true;
                    }
                    // What runs already does not stand in the way of what somebody asked for.
                    last_seen = (forced || revision.digest != model.applied).then(|| revision.digest.clone());
                    let rejected = None;
                    Input::Seen {
                        revision,
                        rejected,
                        forced,
                    }
                }
                2 if !calm && random.percent(20) => {
                    last_seen = None;
                    if random.percent(50) {
                        Input::Refused(vec!["bad".into()])
                    } else {
                        Input::Away("gone".into())
                    }
                }
                3 if !model.asking.is_empty() => {
                    let ticket = model.asking.remove(random.below(model.asking.len()));
                    if calm || random.percent(60) {
                        model.allowed.insert(ticket);
                        Input::Maintained(ticket, Ok(()))
                    } else {
                        Input::Maintained(ticket, Err("busy".into()))
                    }
                }
                4 | 5 if !model.checking.is_empty() => {
                    let ticket = model.checking.remove(random.below(model.checking.len()));
                    if calm || random.percent(90) {
                        model.checked.insert(ticket);
                        Input::Checked(ticket, Ok(()))
                    } else {
                        let transient = random.percent(50);
                        // What stands in the file is tried again then.
                        if !transient || !model.by_file.contains(&ticket) {
                            last_seen = None;
                        }
                        let reasons = vec!["bad".into()];
                        Input::Checked(ticket, Err(Refusal { reasons, transient }))
                    }
                }
                6 | 7 => match model.applying.take() {
                    Some(ticket) => Input::Applied(ticket, Ok(())),
                    // An answer that nobody waits for any more.
                    None => Input::Applied(Ticket(1_000_000), Ok(())),
                },
                _ => {
                    now += WINDOW / 10 * u32::try_from(random.below(6)).expect("small");
                    let reasons = vec!["bad".into()];
                    Input::Health(match random.below(8) {
                        0 if !calm => Verdict::Died(reasons),
                        1 if !calm => Verdict::Unwell(reasons),
                        _ => Verdict::Healthy,
                    })
                }
            };
            let shown = format!("seed {seed}, step {step}: {input:?}");
            for action in transaction.handle(input, now) {
                model.note(&action);
            }
            assert!(!model.back, "{shown}: nothing leads back");
            assert_eq!(transaction.running().digest, model.applied, "{shown}");
            assert_eq!(
                transaction.committed().map(|kept| &kept.digest),
                Some(&model.kept),
                "{shown}"
            );
        }
        assert_eq!(
            model.applied, model.kept,
            "seed {seed}: it never settled: {transaction:?}"
        );
        assert!(!transaction.is_on_trial(), "seed {seed}");
        assert_eq!(transaction.deadline(), None, "seed {seed}");
        if let Some(digest) = last_seen
            && !model.bad.contains(&digest)
        {
            assert_eq!(model.applied, digest, "seed {seed}: the last text does not run");
        }
        let open: Vec<_> = model.begun.difference(&model.over).collect();
        assert!(open.is_empty(), "seed {seed}: {open:?} were never told their end");
    }
}
