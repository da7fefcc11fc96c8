//! Decisions of a machine, as functions of state, input and time: what a module's process shall do next, what a config
//! change does to whom, whether a change counts or goes back, who depends on whom.
//!
//! Never does IO, reads no clock and spawns nothing: time and answers come in as arguments, and drivers
//! (`mainstay-runtime`) do what is said here. Its Cargo.toml proves it.
//!
//! Reading order: [`module`] (one process: lifecycle, back-off, probe, limits, history), [`machine`] (all resources:
//! world and plan; then what a config change means), [`remote`] (what is taken from other machines), [`rollout`] (a config on
//! trial), [`graph`] (names and circles).

pub mod graph;
pub mod machine;
pub mod module;
pub mod remote;
pub mod rollout;
