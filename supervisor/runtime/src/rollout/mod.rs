//! Rollout of a new config and its rollback: a file (or a client of the control socket) offers a text, it is checked,
//! applied, watched, and committed or taken back.
//!
//! `driver` does what core's `transaction` says. `reader` reads texts, `preflight` checks them, `maintenance` asks the sensor,
//! `certificates` keeps what clients are shown, `watcher` sees how the machine is, `store_writer` keeps what worked, `start` chooses what a machine starts with.

pub mod certificates;
pub mod driver;
mod loaded_config;
pub mod maintenance;
pub mod network;
pub mod part_watch;
mod preflight;
mod progress;
mod reader;
mod start;
mod status;
mod store_writer;
mod watcher;

/// Target of log events that answer what somebody just did: each is written, however often the same was written before.
pub const ASKED_FOR: &str = "asked_for";

pub use crate::rollout::driver::{Driver, Reload, Tools};
pub use crate::rollout::loaded_config::{LoadedConfig, Overrides};
pub use crate::rollout::network::{Addresses, ClientListeners};
pub use crate::rollout::progress::{DryRun, RolloutHandle, channel};
pub use crate::rollout::start::{Start, choose};
pub use crate::rollout::status::Status;
