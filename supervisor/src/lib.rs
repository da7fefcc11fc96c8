//! Mainstay's core: it owns the config, the network and the module processes, and passes every call on.
//!
//! Read `machine::plan` for what happens on a change, `module::lifecycle` for what happens when a module dies,
//! `route::table` for where a call goes and `serve::door` for what every call meets on its way.

pub mod apply;
pub mod cgroup;
mod changes;
pub mod cli;
pub mod config;
pub mod config_file;
pub mod diagram;
pub mod duration;
pub mod events;
pub mod executable;
pub mod feed;
pub mod graph;
pub mod guardian;
pub mod identity;
pub mod jobs;
mod kin;
mod links;
mod log;
pub mod machine;
pub mod module;
pub mod offers;
pub mod operations;
mod packages;
pub mod phase;
pub mod policy;
pub mod robot;
mod rotating;
pub mod route;
pub mod run;
pub mod runtime_dir;
pub mod schedule;
pub mod serve;
pub mod service;
pub mod state_dir;
mod text;
pub mod traces;
mod usage;
