//! The machine: what is wanted, what runs, and the steps from one to the other.
//!
//! `node` is what is known of one resource, `world` what is wanted and what runs (pure), `plan` the next steps (pure), `actor` takes them, `restart`
//! empties a module and replaces its process, `handle` is what others may ask, `setup` makes it all
//! from a config, `calls` is the wire to the modules, `view` is what everybody else may see.

mod actor;
mod calls;
pub mod graph;
mod handle;
mod lost;
pub mod node;
pub mod plan;
#[cfg(test)]
mod plan_tests;
pub mod reload;
mod restart;
mod setup;
pub mod view;
pub mod world;

pub use actor::Machine;
pub use calls::BUILD_TIMEOUT;
pub use handle::{Handle, RestartError};
pub use setup::MachineOptions;
