//! The machine: what is wanted, what runs, and the steps from one to the other.
//!
//! `plan` decides (pure), `actor` does it, `calls` is the wire to the modules, `view` is what everybody else may see.

mod actor;
mod calls;
pub mod graph;
pub mod plan;
#[cfg(test)]
mod plan_tests;
pub mod view;

pub use actor::{Handle, Machine, MachineOptions, RestartError};
pub use calls::BUILD_TIMEOUT;
