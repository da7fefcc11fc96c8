//! The fault table: every fault at every moment of a module's life, beside a healthy module that must not notice.
//!
//! One list makes the cells, one function runs any of them. An empty cell, a failed one and one that leaves something
//! behind fail the test; the table is printed in each case.

mod besides;
mod cell;
mod patient;
mod table;

use mainstay_tests::fixture::trap::{Deed, Moment};

pub use cell::core;
use patient::Patient;
use table::{Cell, all, fill, panic_text, show};

/// Cells of the Python module in each run of the tests: each fault and each moment at least twice, and
/// what only an interpreter does (a constructor or a handler that blocks the event loop). `cargo xtask faults` runs all.
const PYTHON: &[(Deed, &[Moment])] = &[
    (Deed::Exit0, &[Moment::Socket, Moment::After, Moment::Call]),
    (Deed::Exit2, &[Moment::Ready, Moment::Validate, Moment::Stream]),
    (
        Deed::Segv,
        &[Moment::Add, Moment::Remove, Moment::Call, Moment::Stream, Moment::Stop],
    ),
    (Deed::Abort, &[Moment::Ready, Moment::Add, Moment::Call]),
    (Deed::Freeze, &[Moment::After, Moment::Call, Moment::Stop]),
    (Deed::Spin, &[Moment::Validate, Moment::Stream, Moment::Call]),
    (Deed::Sleep, &[Moment::Add, Moment::Call, Moment::Remove]),
    (Deed::Deaf, &[Moment::Socket, Moment::After, Moment::Stop]),
];

/// The cells that the environment asks for: `FAULT_CELLS="segv@add freeze stream"`, or `FAULT_CELLS=all`.
fn chosen(otherwise: Vec<Cell>) -> Vec<Cell> {
    let Ok(words) = std::env::var("FAULT_CELLS") else {
        return otherwise;
    };
    let mut cells = all();
    cells.retain(|(deed, moment)| {
        let cell = format!("{deed}@{moment}");
        let mut words = words.split([' ', ',']);
        words.any(|word| word == "all" || word == cell || word == deed.word() || word == moment.word())
    });
    assert!(
        !cells.is_empty(),
        "FAULT_CELLS={words} names no cell; one is `segv@add`"
    );
    cells
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_at_every_moment_harms_nobody_else_and_leaves_nothing_behind() {
    fill(Patient::Fixture, chosen(all())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_faults_of_a_python_module_harm_nobody_else_and_leave_nothing_behind() {
    let few = PYTHON
        .iter()
        .flat_map(|(deed, moments)| moments.iter().map(|moment| (*deed, *moment)));
    fill(Patient::Python, chosen(few.collect())).await;
}
