//! The data path against real sockets: a client and a module that speak HTTP/2 frame by frame, the forwarder between.

mod endings;
mod kinds;
mod pressure;
mod tls;
mod world;
