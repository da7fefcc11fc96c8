//! State of all resources of a machine: what is wanted and what runs ([`world`], [`node`]), which step comes next
//! ([`plan`]), and what a config change means for whom ([`change`]).

pub mod adopt;
pub mod change;
mod circles;
pub mod desired;
pub mod imports;
pub mod node;
pub mod pending_removals;
pub mod plan;
mod relations;
pub mod removal;
mod retries;
#[cfg(test)]
mod simulator;
pub mod world;

pub use adopt::DesiredModules;
