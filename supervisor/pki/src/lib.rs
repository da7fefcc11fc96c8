//! Certificates: read and checked ([`certificate`], [`pair`]), issued by the private CA of a machine ([`authority`]), and made
//! into what a TLS server needs ([`server`]); those of the parts of one machine ([`part`]), whose CA may move ([`transfer`]).
//!
//! Knows neither configs nor calls: files and times come in, values and errors with texts for people go out.

pub mod authority;
pub mod certificate;
pub mod files;
pub mod pair;
pub mod part;
pub mod server;
pub mod transfer;
