//! The machine: what is wanted, what runs, and the steps from one to the other.
//!
//! `node` is what is known of one resource, `world` what is wanted and what runs (pure), `relations` who depends on whom,
//! `plan` the next steps (pure), `actor` takes them. `change` is what separates two configs (pure), `apply` takes another
//! config up: `adopt` the resources, `modules` the modules, which `wanted` reads from the config. `drain` waits for calls
//! before a resource is taken out, `pending_removals` tells when those that are gone vanish from the view (pure), `restart` empties
//! a module and replaces its process, `preflight` asks modules about a config that is not applied, in a `spare` instance if
//! need be, `handle` is what others may ask, `setup` makes it all, `calls` is the wire to the modules, `view` is what
//! everybody else may see.

mod actor;
pub mod apply;
mod calls;
mod drain;
mod handle;
mod lost;
mod modules;
pub mod preflight;
pub mod reload;
mod restart;
mod setup;
mod spare;
pub mod view;

pub use crate::machine::actor::Machine;
pub use crate::machine::apply::{Answers, Applied, ApplyError};
pub use crate::machine::calls::BUILD_TIMEOUT;
pub use crate::machine::handle::{MachineHandle, RestartError};
pub use crate::machine::setup::MachineOptions;
pub use crate::machine::spare::SpareError;
