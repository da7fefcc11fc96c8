//! Values of the core as messages: config entries as modules get them ([`entry`]), plans, diagnostics and differences as the
//! control protocol has them ([`control`]), lines of the log ([`log`]), and the graph of dependencies with its drawings
//! ([`diagram`]), which server and command line share; types that are known at run time alone ([`descriptors`]).
//!
//! Never opens a socket, never reads a file, decides nothing.

pub mod control;
pub mod descriptors;
pub mod diagram;
pub mod entry;
pub mod log;
