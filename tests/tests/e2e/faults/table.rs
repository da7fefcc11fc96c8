//! The table's cells, run side by side, and its print.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mainstay_tests::fixture::trap::{Deed, Moment};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::cell::{self, Clean, Outcome};
use super::patient::Patient;

/// The rows. The columns are the moments.
pub const FAULTS: [Deed; 8] = [
    Deed::Exit0,
    Deed::Exit2,
    Deed::Segv,
    Deed::Abort,
    Deed::Freeze,
    Deed::Spin,
    Deed::Sleep,
    Deed::Deaf,
];

/// A fault at a moment.
pub type Cell = (Deed, Moment);

/// All of them, in the order of the table.
pub fn all() -> Vec<Cell> {
    let row = |deed| Moment::ALL.into_iter().map(move |moment| (deed, moment));
    FAULTS.into_iter().flat_map(row).collect()
}

/// Prints past the test harness, which would keep it: the table is a result.
pub fn show(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Runs these cells and prints the table; fails the test when one of them fails or stays empty.
pub async fn fill(patient: Patient, mut cells: Vec<Cell>) {
    let begun = Instant::now();
    let clean = Arc::new(Clean::measure(patient).await.expect("a machine without faults"));
    let asked = cells.clone();
    // What waits longest goes first.
    cells.sort_by_key(|(deed, moment)| std::cmp::Reverse(patient.patience(*deed, *moment)));
    let room = Arc::new(Semaphore::new(patient.at_once()));
    let (mut running, mut who) = (JoinSet::new(), BTreeMap::new());
    for (deed, moment) in cells {
        let (room, clean) = (Arc::clone(&room), Arc::clone(&clean));
        let task = running.spawn(async move {
            let _place = room.acquire_owned().await.expect("never closed");
            cell::run(patient, deed, moment, &clean).await
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
        if std::env::var_os("FAULT_CELLS").is_some() {
            show(&format!(
                "{deed}@{moment} {} after {:.1?}\n",
                short(&result),
                begun.elapsed()
            ));
        }
        table.insert((deed, moment), result);
    }
    show(&render(patient, &asked, &table, begun.elapsed()));
    let empty: Vec<_> = asked.iter().filter(|cell| !table.contains_key(cell)).collect();
    assert!(empty.is_empty(), "empty cells in the fault table: {empty:?}");
    let failed: Vec<_> = table
        .iter()
        .filter(|(_, result)| result.is_err())
        .map(|(cell, _)| cell)
        .collect();
    assert!(failed.is_empty(), "failed cells in the fault table: {failed:?}");
}

type Table = BTreeMap<Cell, Result<Outcome, String>>;

fn short(result: &Result<Outcome, String>) -> String {
    match result {
        Ok(outcome) => format!("ok {:.1} s", outcome.took.as_secs_f64()),
        Err(_) => "FAILED".to_owned(),
    }
}

pub fn panic_text(error: tokio::task::JoinError) -> String {
    let panic = error.into_panic();
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "panicked".to_owned())
}

/// A cell that was not asked for shows `-`, one without a result `EMPTY`.
fn render(patient: Patient, asked: &[Cell], table: &Table, took: Duration) -> String {
    let mut text = format!(
        "\nfault table, {patient}, {} cells in {:.0} s\n{:8}",
        table.len(),
        took.as_secs_f64(),
        ""
    );
    for moment in Moment::ALL {
        let _ = write!(text, "{moment:>10}");
    }
    text.push('\n');
    for deed in FAULTS {
        let _ = write!(text, "{deed:8}");
        for moment in Moment::ALL {
            let cell = match table.get(&(deed, moment)) {
                Some(result) => short(result),
                None if asked.contains(&(deed, moment)) => "EMPTY".to_owned(),
                None => "-".to_owned(),
            };
            let _ = write!(text, "{cell:>10}");
        }
        text.push('\n');
    }
    let slowest = |what: &str, of: fn(&Outcome) -> Option<Duration>, deeds: &[Deed]| {
        let held = table.iter().filter(|((deed, _), _)| deeds.contains(deed));
        let most = held.filter_map(|(_, result)| of(result.as_ref().ok()?)).max();
        most.map_or(String::new(), |most| format!("{what}: {most:.0?} at most\n"))
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
    for ((deed, moment), result) in table {
        if let Err(why) = result {
            let _ = writeln!(text, "{deed}@{moment} FAILED: {why}");
        }
    }
    text
}
