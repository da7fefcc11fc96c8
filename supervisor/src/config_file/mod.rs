//! The config as a file that people and programs change while the machine runs, and what is kept of it for a bad day.
//!
//! `watch` tells of each new content: `steady` reads only what nobody is writing, `news` (pure) decides what is worth telling and when,
//! `eyes` follows the folders. `last_good` keeps what worked, and what was refused.

mod eyes;
pub mod last_good;
mod news;
mod steady;
pub mod watch;

pub use last_good::{Kept, LastGood, Problem, Rejection};
pub use watch::{Seen, Watch};
