//! The doors: who may come in where, and what each of them meets.
//!
//! Every socket leads to the same `door`, which knows who is calling; what differs is the identity.

mod configs;
pub mod connection;
pub mod control;
pub mod door;
mod feeds;
mod listen;
pub mod reflection;
mod sniff;
mod vigil;
mod web;
pub mod wire;

pub use listen::{serve_control, serve_parents, serve_tcp};
