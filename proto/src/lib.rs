//! The wire protocol of Mainstay.
//!
//! * [`viam`], [`proto`], [`opentelemetry`], [`google`], [`mainstay`]: messages, clients and servers, one module per
//!   protobuf package, generated at build time from `proto/**/*.proto`. `bytes` fields are [`bytes::Bytes`], maps are
//!   ordered, well-known types are those of [`prost_types`]. Clients and servers take any transport.
//! * [`Api`], [`Model`], [`ResourceName`]: names of things, parsed once at the edge (crate `mainstay-ids`).
//! * [`words`]: words for enums of the control protocol.
//! * [`methods`]: what a router must know about each gRPC method.
//! * [`http_rules`]: by which paths of plain HTTP a method is reached.
//! * [`descriptors`]: the same files as encoded descriptors, for reflection.
//! * [`custom`]: both for APIs that only a module knows.
//! * [`raw`]: a codec for calls whose messages are bytes already.
//! * [`frames`], [`fields`], [`untyped_images`]: messages on the wire, followed, read and mended without decoding.

#[allow(
    missing_docs,
    unused_qualifications,
    clippy::all,
    clippy::large_futures,
    clippy::redundant_clone,
    rustdoc::all,
    reason = "generated: the .proto files hold the docs, and the generators choose the style"
)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/tree.rs"));
}

pub mod custom;
pub mod descriptors;
pub mod fields;
pub mod frames;
pub mod http_rules;
pub mod methods;
pub mod raw;
pub mod untyped_images;
mod wire_ids;
pub mod words;

pub use mainstay_ids::{Api, IdError, Model, ResourceName, check_module_name, check_name};

pub use self::generated::*;

/// Metadata of an answer to `ValidateConfig`: one value for each thing that the module would warn about. Modules made with
/// another SDK send none.
pub const VALIDATE_WARNING: &str = "mainstay-warning-bin";

/// Most warnings that are taken from one answer.
const MAX_WARNINGS: usize = 10;

/// Warnings in the metadata of an answer to `ValidateConfig`.
#[must_use]
pub fn validate_warnings(metadata: &tonic::metadata::MetadataMap) -> Vec<String> {
    let values = metadata.get_all_bin(VALIDATE_WARNING).iter().take(MAX_WARNINGS);
    let texts = values.filter_map(|value| String::from_utf8(value.to_bytes().ok()?.into()).ok());
    texts.collect()
}

/// Static data that the build script makes from the compiled `.proto` files, sorted for binary search.
mod tables {
    use crate::{
        descriptors::File,
        http_rules::HttpBinding,
        methods::{ApiParts, Kind, Method, Service},
    };

    include!(concat!(env!("OUT_DIR"), "/tables.rs"));
}
