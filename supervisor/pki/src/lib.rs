//! Certificates: read and checked ([`certificate`], [`pair`]), issued by the private CA of a machine ([`authority`]), and made
//! into what a TLS server needs ([`server`]).
//!
//! Knows neither configs nor calls: files and times come in, values and errors with texts for people go out.

pub mod authority;
pub mod certificate;
mod files;
pub mod pair;
pub mod server;
