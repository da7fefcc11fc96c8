//! The server as a whole: real processes, real sockets, real peers. One file per matter.

mod bad_config;
mod bad_requests;
mod cli;
mod client_py;
mod closed;
mod crash;
mod data_path;
mod examples;
mod guardian;
mod hang;
mod machine;
mod modules_py;
mod operations;
mod reflection;
mod robot;
mod safety;
mod sessions;
mod stop_all;
