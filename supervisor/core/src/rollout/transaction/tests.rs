//! Ways of a text through the transaction, step by step.

use super::*;

pub(super) const WINDOW: Duration = Duration::from_secs(10);

/// A text by its name and marks: `~` goes back if it is not healthy, `?` asks the sensor first, `!` has a local error.
pub(super) fn revision(text: &str) -> Revision<()> {
    let name = text.trim_end_matches(['~', '?', '!', '@']);
    Revision {
        digest: name.into(),
        origin: if text.contains('@') {
            Origin::Command
        } else {
            Origin::File
        },
        revert: text.contains('~').then_some(WINDOW),
        guarded: text.contains('?'),
        faults: text
            .contains('!')
            .then(|| format!("{name} is faulty"))
            .into_iter()
            .collect(),
        what: (),
    }
}

fn word(action: &Action<()>) -> String {
    match action {
        Action::Ask(_, revision) => format!("ask {}", revision.digest),
        Action::Check(_, revision) => format!("check {}", revision.digest),
        Action::Apply {
            revision,
            direction,
            fresh,
            ..
        } => {
            let direction = if matches!(direction, Direction::Back(_)) {
                "back to"
            } else {
                "apply"
            };
            format!("{direction} {}{}", revision.digest, if *fresh { " afresh" } else { "" })
        }
        Action::Commit(_, revision) => format!("commit {}", revision.digest),
        Action::Reject(revision, _) => format!("reject {}", revision.digest),
        Action::ForgetRejection(digest) => format!("pardon {digest}"),
        Action::Publish(_, state) => match state {
            ApplyState::Waiting(_, pause) => format!("waits {}", pause.as_secs()),
            ApplyState::Watching(_) => "watches".into(),
            ApplyState::Refused(_) => "refused".into(),
            ApplyState::Reverted(_) => "reverted".into(),
            ApplyState::Degraded(_) => "degraded".into(),
            ApplyState::Superseded => "superseded".into(),
            ApplyState::Applying | ApplyState::Committed | ApplyState::Reverting(_) => String::new(),
        },
    }
}

/// Plays a script: each line is what happens, `→`, what is done about it, `|`, and the state after that.
/// The machine starts with `a`, which is the last commit.
fn play(script: &str) {
    let zero = Instant::now();
    let mut now = zero;
    let mut transaction = Transaction::new(revision("a"), Some(revision("a")), FileState::Holds("a".into()));
    // What was asked for last of each kind: that is what an answer is to.
    let (mut asked, mut checked, mut applied) = (Ticket(99), Ticket(99), Ticket(99));
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (happens, rest) = line.split_once('→').expect("an arrow");
        let (expected, state) = rest.split_once('|').expect("a state");
        let (verb, what) = happens.trim().split_once(' ').unwrap_or((happens.trim(), ""));
        let bad = || vec!["bad".to_owned()];
        let seen = |rejected: Option<Vec<String>>, forced| Input::Seen {
            revision: revision(what),
            rejected,
            forced,
        };
        let input = match verb {
            "see" => seen(None, false),
            "known" => seen(Some(bad()), false),
            "insist" => seen(None, true),
            "unusable" => Input::Refused(bad()),
            "gone" => Input::Away("gone".into()),
            "allowed" => Input::Maintained(asked, Ok(())),
            "forbidden" => Input::Maintained(asked, Err("busy".into())),
            "good" => Input::Checked(checked, Ok(())),
            "bad" => Input::Checked(checked, Err(Refusal::of_text(bad()))),
            "unlucky" => Input::Checked(
                checked,
                Err(Refusal {
                    reasons: bad(),
                    transient: true,
                }),
            ),
            "done" => Input::Applied(applied, Ok(())),
            "failed" => Input::Applied(applied, Err("no".into())),
            "late" => Input::Applied(Ticket(98), Ok(())),
            "stop" => Input::Stop,
            _ => {
                if let Ok(seconds) = what.parse() {
                    now += Duration::from_secs(seconds);
                }
                Input::Health(match verb {
                    "healthy" => Verdict::Healthy,
                    "unwell" => Verdict::Unwell(bad()),
                    "died" => Verdict::Died(bad()),
                    verb => panic!("{verb}"),
                })
            }
        };
        let actions = transaction.handle(input, now);
        for action in &actions {
            match action {
                Action::Ask(ticket, _) => asked = *ticket,
                Action::Check(ticket, _) => checked = *ticket,
                Action::Apply { ticket, .. } => applied = *ticket,
                _ => {}
            }
        }
        let words: Vec<_> = actions.iter().map(word).filter(|word| !word.is_empty()).collect();
        assert_eq!(words.join(", "), expected.trim(), "{line}");
        assert_eq!(transaction.state().0.to_string(), state.trim(), "{line}");
    }
}

#[test]
fn what_is_refused_for_what_may_pass_is_tried_again_until_it_is_taken_or_another_text_comes() {
    play(
        "see b      → check b        | applying
         unlucky    → refused        | refused
         healthy 1  →                | refused
         healthy 1  → check b        | refused
         unlucky    → refused        | refused
         healthy 3  →                | refused
         healthy 1  → check b        | refused
         good       → apply b afresh | applying
         done       → commit b       | current
         see c      → check c        | applying
         unlucky    → refused        | refused
         see d      → check d        | applying
         bad        → refused        | refused
         healthy 99 →                | refused
         see e      → check e        | applying
         unlucky    → refused        | refused
         gone       →                | away
         healthy 99 →                | away",
    );
    // Somebody who asks for it is told, and asks again; whoever asks for something else does not want it any more.
    play(
        "insist b@  → check b        | applying
         unlucky    → refused        | current
         healthy 99 →                | current
         see c      → check c        | applying
         unlucky    → refused        | refused
         insist d@  → check d        | applying
         good       → apply d afresh | refused
         done       → commit d       | refused
         healthy 99 →                | refused",
    );
    // A sensor that has to allow it is asked each time; the pause grows up to a minute.
    play(
        "see b?     → ask b          | applying
         allowed    → check b        | applying
         unlucky    → refused        | refused
         healthy 2  → ask b          | applying
         allowed    → check b        | refused
         unlucky    → refused        | refused
         healthy 4  → ask b          | applying
         allowed    → check b        | refused
         unlucky    → refused        | refused
         healthy 60 → ask b          | applying
         stop       → superseded     | overridden",
    );
}

#[test]
fn a_text_that_stays_as_it_is_counts_when_it_is_applied() {
    play(
        "see b   → check b        | applying
         good    → apply b afresh | applying
         done    → commit b       | current
         see b   →                | current
         insist b → check b       | applying
         bad     → refused        | current",
    );
}

#[test]
fn a_newer_text_waits_for_nothing_and_older_answers_do_not_count() {
    play(
        "see b   → check b               | applying
         see c   → superseded, check c   | applying
         good    → apply c afresh        | applying
         see d   → check d               | applying
         good    → superseded, apply d   | applying
         late    →                       | applying
         done    → commit d              | current",
    );
}

#[test]
fn a_text_on_trial_counts_when_its_window_is_over() {
    play(
        "see b~     → check b        | applying
         good       → apply b afresh | applying
         done       → watches        | watching
         unwell 9   →                | watching
         healthy    →                | watching
         healthy 1  → commit b       | current",
    );
}

#[test]
fn a_text_on_trial_goes_back_when_a_module_dies_or_its_window_ends_badly() {
    play(
        "see b~     → check b             | applying
         good       → apply b afresh      | applying
         done       → watches             | watching
         died       → reject b, back to a | reverted
         done       →                     | reverted
         healthy    → reverted            | reverted
         see b~     → refused             | reverted
         see a      →                     | current
         see c~     → check c             | applying
         good       → apply c afresh      | applying
         done       → watches             | watching
         unwell 10  → reject c, back to a | reverted
         done       →                     | reverted
         unwell 9   →                     | reverted
         unwell 1   → degraded            | degraded
         healthy    →                     | reverted
         insist c~  → pardon c, check c   | applying",
    );
}

#[test]
fn the_target_of_a_way_back_stays_the_last_commit() {
    play(
        "see b~     → check b             | applying
         good       → apply b afresh      | applying
         done       → watches             | watching
         see c~     → check c             | applying
         good       → superseded, apply c | applying
         done       → watches             | watching
         died       → reject c, back to a | reverted
         see b~     → check b             | reverted
         good       → superseded, apply b | applying
         done       → watches             | watching
         healthy 10 → commit b            | current",
    );
}

#[test]
fn a_way_back_that_fails_is_not_taken_back() {
    play(
        "see b~     → check b             | applying
         good       → apply b afresh      | applying
         done       → watches             | watching
         died       → reject b, back to a | reverted
         failed     → degraded            | degraded
         unwell 99  →                     | degraded
         see c      → check c             | degraded
         good       → apply c afresh      | applying
         done       → commit c            | current",
    );
}

#[test]
fn what_cannot_be_used_or_taken_up_changes_nothing_and_is_told() {
    play(
        "unusable   →                | refused
         gone       →                | away
         see a      →                | current
         see b      → check b        | applying
         unusable   → superseded     | refused
         good       →                | refused
         see b      → check b        | applying
         bad        → refused        | refused
         see c      → check c        | applying
         good       → apply c afresh | applying
         failed     → refused        | refused
         see b~!    → refused        | refused
         known d    → refused        | reverted
         see e!     → check e        | applying
         good       → apply e afresh | applying
         done       → commit e       | current
         see e~!    →                | current
         stop       →                | current
         see f      →                | current",
    );
}

#[test]
fn a_sensor_that_does_not_allow_it_is_asked_again_and_again() {
    play(
        "see b?      → ask b               | applying
         forbidden   → waits 1             | waiting for maintenance
         healthy     →                     | waiting for maintenance
         healthy 1   → ask b               | waiting for maintenance
         forbidden   → waits 2             | waiting for maintenance
         healthy 1   →                     | waiting for maintenance
         healthy 1   → ask b               | waiting for maintenance
         forbidden   → waits 4             | waiting for maintenance
         insist b?   → superseded, ask b   | applying
         allowed     → check b             | applying
         forbidden   →                     | applying
         good        → apply b afresh      | applying
         done        → commit b            | current
         see c?      → ask c               | applying
         see b?      → superseded          | current
         allowed     →                     | current",
    );
}

#[test]
fn a_text_that_somebody_asks_for_runs_until_the_file_changes() {
    play(
        "insist b@~ → check b        | applying
         good       → apply b afresh | applying
         done       → watches        | watching
         healthy 10 → commit b       | overridden
         gone       →                | away
         see c      → check c        | applying
         insist d@  → superseded, check d | applying
         good       → apply d afresh | applying
         done       → commit d       | overridden
         insist d   → check d        | applying
         good       → apply d afresh | applying
         done       → commit d       | current",
    );
}

#[test]
fn a_start_tries_the_text_of_the_file_and_goes_back_to_the_last_commit() {
    let now = Instant::now();
    let holds = FileState::Holds("b".into());
    let words = |actions: Vec<Action<()>>| {
        let words: Vec<_> = actions.iter().map(word).filter(|word| !word.is_empty()).collect();
        words.join(", ")
    };
    let done = || Input::Applied(Ticket(0), Ok(()));
    for (first, committed, expected) in [
        ("b", Some("a"), "commit b"),
        ("b~", None, "commit b"),
        ("b~", Some("b"), ""),
        ("b~", Some("a"), "watches"),
    ] {
        let mut transaction = Transaction::new(revision(first), committed.map(revision), holds.clone());
        assert_eq!(
            words(transaction.handle(done(), now)),
            expected,
            "{first} {committed:?}"
        );
        if expected == "watches" {
            let died = Input::Health(Verdict::Died(Vec::new()));
            assert_eq!(words(transaction.handle(died, now)), "reject b, back to a");
        }
    }
}
