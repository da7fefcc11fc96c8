//! `mainstay.control.v1`, the protocol of the control socket: values of the core as messages and back.
//!
//! Never opens a socket; server and command line both speak through it.

pub mod graph;
pub mod messages;
