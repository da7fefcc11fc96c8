//! State of all resources of a machine: what is wanted and what runs ([`world`], [`node`]), which step comes next
//! ([`plan`]), and what a config change means for whom ([`change`]).

pub mod adopt;
pub mod change;
#[cfg(test)]
mod change_tests;
#[cfg(test)]
mod circle_tests;
mod circles;
mod dependents_lost;
pub mod desired;
pub mod failure;
pub mod node;
pub mod pending_removals;
pub mod plan;
#[cfg(test)]
mod plan_tests;
mod relations;
pub mod removal;
mod retries;
#[cfg(test)]
mod simulator;
pub mod world;

pub use adopt::DesiredModules;
