//! The fault table: every fault at every moment of a module's life, beside a healthy module that must not notice.
//!
//! One list makes the cells, one function runs any of them. An empty cell, a failed one and one that leaves something
//! behind fail the test; the table is printed in each case.

mod besides;
mod cell;

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mainstay_tests::fixture::trap::{Deed, Moment};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

pub use cell::core;
use cell::{Clean, Outcome};

/// The rows. The columns are the moments.
const FAULTS: [Deed; 8] = [
    Deed::Exit0,
    Deed::Exit2,
    Deed::Segv,
    Deed::Abort,
    Deed::Freeze,
    Deed::Spin,
    Deed::Sleep,
    Deed::Deaf,
];

/// Cells that cannot hold yet, and what is missing for it. They run all the same, and are shown as `not yet`.
const NOT_YET: &[(&[Deed], &[Moment], &str)] = &[];

/// Machines that run at the same time. Most of a cell's time is waiting.
const AT_ONCE: usize = 8;

/// Looks at some cells alone while one works on them: `FAULT_CELLS="segv@add freeze stream"`.
fn chosen(deed: Deed, moment: Moment) -> bool {
    let Ok(words) = std::env::var("FAULT_CELLS") else {
        return true;
    };
    let cell = format!("{deed}@{moment}");
    words
        .split(' ')
        .any(|word| word == cell || word == deed.word() || word == moment.word())
}

/// What one cell of the table came to.
enum Verdict {
    Holds(Outcome),
    /// What is missing, and what is seen because of that.
    NotYet(&'static str, String),
    Fails(String),
}

impl Verdict {
    fn short(&self) -> String {
        match self {
            Self::Holds(outcome) => format!("ok {:.1} s", outcome.took.as_secs_f64()),
            Self::NotYet(..) => "not yet".to_owned(),
            Self::Fails(_) => "FAILED".to_owned(),
        }
    }
}

fn not_yet(deed: Deed, moment: Moment) -> Option<&'static str> {
    let listed = NOT_YET
        .iter()
        .find(|(deeds, moments, _)| deeds.contains(&deed) && moments.contains(&moment));
    listed.map(|(_, _, reason)| *reason)
}

/// Prints past the test harness, which would keep it: the table is a result.
fn show(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_at_every_moment_harms_nobody_else_and_leaves_nothing_behind() {
    let begun = Instant::now();
    let clean = Arc::new(Clean::measure().await.expect("a machine without faults"));
    let cells = FAULTS
        .into_iter()
        .flat_map(|deed| Moment::ALL.into_iter().map(move |moment| (deed, moment)));
    // What waits longest goes first.
    let mut cells: Vec<_> = cells.filter(|(deed, moment)| chosen(*deed, *moment)).collect();
    let count = cells.len();
    cells.sort_by_key(|(deed, moment)| std::cmp::Reverse(cell::patience(*deed, *moment)));
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let (mut running, mut who) = (JoinSet::new(), BTreeMap::new());
    for (deed, moment) in cells {
        let (room, clean) = (Arc::clone(&room), Arc::clone(&clean));
        let task = running.spawn(async move {
            let _place = room.acquire_owned().await.expect("never closed");
            cell::run(deed, moment, &clean).await
        });
        who.insert(task.id(), (deed, moment));
    }
    let mut table = BTreeMap::new();
    while let Some(ended) = running.join_next_with_id().await {
        let (id, result) = match ended {
            Ok((id, result)) => (id, result),
            Err(error) => (error.id(), Err(panic_text(error))),
        };
        let (deed, moment) = who[&id];
        let verdict = match (result, not_yet(deed, moment)) {
            (Ok(outcome), listed) => {
                if listed.is_some() {
                    show(&format!("{deed}@{moment} holds by now: take it off NOT_YET\n"));
                }
                Verdict::Holds(outcome)
            }
            (Err(why), Some(reason)) => Verdict::NotYet(reason, first_line(&why)),
            (Err(why), None) => Verdict::Fails(why),
        };
        if std::env::var_os("FAULT_CELLS").is_some() {
            show(&format!(
                "{deed}@{moment} {} after {:.1?}\n",
                verdict.short(),
                begun.elapsed()
            ));
        }
        table.insert((deed, moment), verdict);
    }
    show(&render(&table, begun.elapsed()));
    assert_eq!(table.len(), count, "empty cells in the fault table");
    let failed = table.values().filter(|verdict| matches!(verdict, Verdict::Fails(_)));
    assert_eq!(failed.count(), 0, "failed cells in the fault table");
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

fn panic_text(error: tokio::task::JoinError) -> String {
    let panic = error.into_panic();
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "panicked".to_owned())
}

fn render(table: &BTreeMap<(Deed, Moment), Verdict>, took: Duration) -> String {
    let mut text = format!(
        "\nfault table, {} cells in {:.0} s\n{:8}",
        table.len(),
        took.as_secs_f64(),
        ""
    );
    for moment in Moment::ALL {
        text.push_str(&format!("{moment:>10}"));
    }
    text.push('\n');
    for deed in FAULTS {
        text.push_str(&format!("{deed:8}"));
        for moment in Moment::ALL {
            let short = table.get(&(deed, moment)).map_or("EMPTY".to_owned(), Verdict::short);
            text.push_str(&format!("{short:>10}"));
        }
        text.push('\n');
    }
    let slowest = |what: &str, of: fn(&Outcome) -> Option<Duration>, deeds: &[Deed]| {
        let holds = table.iter().filter_map(|((deed, _), verdict)| match verdict {
            Verdict::Holds(outcome) if deeds.contains(deed) => of(outcome),
            _ => None,
        });
        holds
            .max()
            .map_or(String::new(), |most| format!("{what}: {most:.0?} at most\n"))
    };
    let (deaths, hangs) = (&FAULTS[..4], &FAULTS[4..7]);
    text.push_str(&slowest("death to noticed", |outcome| outcome.noticed, deaths));
    text.push_str(&slowest(
        "death to back (pause of 500 ms included)",
        |outcome| outcome.back,
        deaths,
    ));
    text.push_str(&slowest("hang to noticed", |outcome| outcome.noticed, hangs));
    text.push_str(&slowest("hang to back", |outcome| outcome.back, hangs));
    text.push_str(&slowest("shutdown", |outcome| outcome.shutdown, &FAULTS));
    for ((deed, moment), verdict) in table {
        match verdict {
            Verdict::Fails(why) => text.push_str(&format!("{deed}@{moment} FAILED: {why}\n")),
            Verdict::NotYet(reason, seen) => {
                text.push_str(&format!("{deed}@{moment} not yet: {reason} (seen: {seen})\n"));
            }
            Verdict::Holds(_) => {}
        }
    }
    text
}
