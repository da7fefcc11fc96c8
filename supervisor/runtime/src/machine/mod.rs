//! The machine: what is wanted, what runs, and the steps from one to the other.
//!
//! `actor` takes the steps that core's `plan` decides. `apply` takes another config up, with `modules`, which come, change
//! and go, and `remotes`, the other machines. `drain` waits for calls before a resource is taken out, `restart` empties a module and replaces its process,
//! `lost` writes down what went with it. `preflight` asks modules about a config that is not applied, in a `spare` instance
//! if need be. `handle` is what others may ask, `setup` makes it all, `calls` is the wire to the modules, `view` is what
//! everybody else may see.

mod actor;
pub mod apply;
mod calls;
mod drain;
mod handle;
mod lost;
mod modules;
pub(crate) mod preflight;
pub mod reload;
mod remotes;
mod restart;
mod setup;
mod spare;
pub mod view;

pub use crate::machine::actor::Machine;
pub use crate::machine::apply::{Applied, ApplyError, DeclaredAnswers};
pub use crate::machine::calls::BUILD_TIMEOUT;
pub use crate::machine::handle::{MachineHandle, RestartError};
pub use crate::machine::setup::MachineOptions;
pub use crate::machine::spare::SpareError;
