//! The config as a file that people and programs change while the machine runs, and what is kept of it for a bad day.
//!
//! `watch` tells of each new content: `stable_read` reads only what nobody is writing, `debounce` (pure) decides what is worth telling and when,
//! `notifier` follows the folders. `last_good` keeps what worked, and what was refused; `machine_log` is the log beside it.

mod debounce;
pub mod last_good;
pub mod machine_log;
pub mod notifier;
mod stable_read;
pub mod state_dir;
pub mod watch;

pub use crate::store::last_good::{KeptConfig, LastGood, Rejection, StoreError};
pub use crate::store::watch::{ConfigWatch, Observation};
