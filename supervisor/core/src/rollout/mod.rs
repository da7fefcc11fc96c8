//! A new config on its way: asked for leave, checked, applied, watched, committed or taken back ([`transaction`]), and
//! whether it is healthy ([`health`]).

pub mod health;
pub mod messages;
pub mod transaction;

pub use messages::{Action, Direction, FileState, Input, Origin, Refusal, Revision, Ticket};
