//! A new config on its way: asked for leave, checked, applied, watched, committed or taken back ([`Transaction`]), and
//! whether it is healthy ([`health`]).

pub mod health;
mod messages;
mod transaction;

pub use messages::{Action, Direction, FileState, Input, Origin, Refusal, Revision, Ticket};
pub use transaction::Transaction;
