//! Where calls go and how they get there: bytes in, the same bytes out.

pub mod batch;
pub mod body;
pub mod call;
pub mod custom;
pub mod deadline;
mod fate;
pub mod flow;
pub mod forward;
pub mod frames;
pub mod heap;
pub mod metadata;
pub mod peek;
pub mod resource;
pub mod scan;
pub mod status;
pub mod table;
pub mod unix_io;
pub mod upstream;

#[cfg(test)]
mod tests;
