//! Sockets of the data path, below HTTP/2: [`coalescing_io`] (few system calls for many frames), [`unix_io`] (a module's
//! socket), [`sniff`](mod@sniff) (what a peer speaks).

pub mod coalescing_io;
pub mod sniff;
pub mod unix_io;

pub use coalescing_io::CoalescingIo;
pub use sniff::{Sniffed, sniff};
pub use unix_io::UnixIo;
