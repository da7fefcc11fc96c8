//! The server as a whole: real processes, real sockets, real peers. One file per matter.

mod bad_config;
mod bad_requests;
mod bounds;
mod cli;
mod client_py;
mod closed;
mod config_cli;
mod config_live;
mod core_dies;
mod crash;
mod data_path;
mod developing;
mod drain;

mod examples;
mod faults;
mod figures;
mod guardian;
mod hang;
mod jobs;
mod machine;
mod many;
mod modules_py;
mod observability;
mod operations;
mod reflection;
mod reload;
mod restart;
mod robot;
mod safety;
mod service;
mod sessions;
mod soak;
mod stop_all;
mod traces;
