//! The machine: what is wanted, what runs, and the steps from one to the other.
//!
//! `node` is what is known of one resource, `world` what is wanted and what runs (pure), `relations` who depends on whom,
//! `plan` the next steps (pure), `actor` takes them. `change` is what separates two configs (pure), `apply` takes another
//! config up: `adopt` the resources, `modules` the modules, which `wanted` reads from the config. `drain` waits for calls
//! before a resource is taken out, `forgotten` tells when those that are gone vanish from the view (pure), `restart` empties
//! a module and replaces its process, `preflight` asks modules about a config that is not applied, in a `spare` instance if
//! need be, `handle` is what others may ask, `setup` makes it all, `calls` is the wire to the modules, `view` is what
//! everybody else may see.

mod actor;
mod adopt;
pub mod apply;
mod calls;
pub mod change;
#[cfg(test)]
mod change_tests;
#[cfg(test)]
mod circle_tests;
mod drain;
mod failure;
mod forgotten;
mod handle;
mod lost;
mod modules;
pub mod node;
pub mod plan;
#[cfg(test)]
mod plan_tests;
pub mod preflight;
mod relations;
pub mod reload;
mod restart;
mod setup;
mod spare;
#[cfg(test)]
mod toy;
pub mod view;
mod wanted;
pub mod world;

pub use actor::Machine;
pub use apply::{Answers, Applied, ApplyError};
pub use calls::BUILD_TIMEOUT;
pub use failure::Failure;
pub use handle::{Handle, RestartError};
pub use setup::MachineOptions;
pub use spare::SpareError;
