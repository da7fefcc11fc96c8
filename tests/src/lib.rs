//! Library of the end-to-end tests, which are in `tests/e2e/`.
//!
//! * [`world`]: a real `mainstay run` with its own folders, and the checks that nothing of it stays behind
//! * [`machine`]: machine configs, written as code
//! * [`status`]: the machine's status, as predicates for tests
//! * [`raw`]: bare HTTP/2, for requests that no client library would send
//! * [`rpc`]: gRPC calls by path and bytes, and typed clients
//! * [`netns`]: networks of a test's own
//! * [`node`]: programs written with the TypeScript SDK, as clients
//! * [`tls`]: connections of clients that speak TLS
//! * [`terminal`]: the command line at a terminal, where it asks
//! * [`liar`]: a server that says it is a machine, and lists what a test wants
//! * [`python`]: programs written with the Python SDK, as modules and as clients
//! * [`timeline`]: all states of a machine; [`traffic`]: callers that record each failed call; [`leaks`]: system resources
//!   that it holds
//! * [`markdown`], [`transcript`]: the blocks of the pages for users, and what commands in them print
//! * [`tracer`]: a debugger that stops a process
//! * [`fixture`]: the module that misbehaves on demand (`src/bin/misbehave.rs`)

pub mod bins;
pub mod dice;
pub mod fixture;
pub mod leaks;
pub mod liar;
pub mod machine;
pub mod markdown;
pub mod netns;
pub mod node;
pub mod place;
pub mod proc;
pub mod python;
pub mod raw;
pub mod rpc;
pub mod status;
pub mod terminal;
pub mod timeline;
pub mod tls;
pub mod tracer;
pub mod traffic;
pub mod transcript;
pub mod walk;
pub mod world;

/// Types generated from the tests' custom API, which no part of the server knows.
pub mod echo {
    #![allow(
        missing_docs,
        unused_qualifications,
        clippy::all,
        reason = "generated; the comments are in the .proto file"
    )]
    tonic::include_proto!("mainstay.tests.echo.v1");

    /// Full name of its gRPC service.
    pub const SERVICE: &str = "mainstay.tests.echo.v1.EchoService";
    /// Name of the API.
    pub const API: &str = "tests:component:echo";
    /// Encoded `FileDescriptorSet` of the API, with all imports.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/echo.binpb"));
    /// Path of [`DESCRIPTORS`] on disk, for the Python module.
    pub const DESCRIPTOR_PATH: &str = concat!(env!("OUT_DIR"), "/echo.binpb");
}
