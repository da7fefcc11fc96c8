//! How a new config comes to the machine, and how it goes back: a file (or somebody at the control socket) offers a text, it
//! is checked, applied, watched, and committed or taken back.
//!
//! `transaction` decides (pure) in the words of `messages`, `driver` does what it says. `health` judges (pure) what `watcher` sees. `start` chooses what
//! a machine starts with.

mod driver;
pub mod health;
mod keeper;
pub mod maintenance;
mod messages;
pub mod network;
mod news;
mod preflight;
mod progress;
mod start;
mod status;
mod taken;
pub mod transaction;
mod watcher;

pub use driver::{Driver, Tools, canonical};
pub use network::{Addresses, Network};
pub use news::{News, State};
pub use progress::{Handle, Planned, Progress, channel};
pub use start::{Start, choose};
pub use status::Status;
pub use taken::{Overrides, Taken};
