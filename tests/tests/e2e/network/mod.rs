//! The machine among others: remotes, and what clients meet on the way.

mod remotes;
mod remotes_keys;
mod remotes_lost;
mod tunnel;
