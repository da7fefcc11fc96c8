//! What server and command line share: `mainstay.control.v1`, the protocol of the control socket, as values and back
//! ([`messages`]), and the graph of dependencies with its drawings ([`diagram`]).
//!
//! Never opens a socket and never reads a file.

pub mod diagram;
pub mod messages;
