//! SDK for modules of Mainstay, and of any other machine that speaks the Viam module protocol.
//!
//! A *module* is a program that the machine starts and calls over gRPC. It registers *models*, implementations of an
//! API such as `rdk:component:sensor`. For each configured resource of a model, the SDK builds one instance of the
//! author's type and routes the gRPC calls for that resource to it. A complete sensor module:
//!
//! ```no_run
//! use mainstay_module::prelude::*;
//!
//! #[derive(Deserialize)]
//! struct Attributes {
//!     offset_celsius: Option<f64>,
//! }
//!
//! struct Station {
//!     offset: f64,
//! }
//!
//! impl Resource for Station {}
//!
//! impl FromConfig for Station {
//!     type Attributes = Attributes;
//!     async fn from_config(config: Config<Attributes>, _: Dependencies) -> Result<Self> {
//!         Ok(Self { offset: config.attributes.offset_celsius.unwrap_or_default() })
//!     }
//! }
//!
//! #[async_trait]
//! impl Sensor for Station {
//!     async fn readings(&self, _extra: &Object) -> Result<Object> {
//!         Ok(object! { "celsius" => 21.5 + self.offset })
//!     }
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     run(Module::new().model::<dyn Sensor, Station>("acme:weather:station"))
//! }
//! ```
//!
//! * **Attributes** are deserialized into a type of the author's: [`FromConfig::Attributes`]. A value of the wrong type
//!   fails the resource with an error that contains the attribute's path.
//! * **Dependencies** are attributes too: a field of type [`Dependency<dyn Motor>`](Dependency) declares that the motor
//!   it names is required, and [`resolve`](Dependency::resolve) returns it as an `Arc<dyn Motor>`, whichever process
//!   it runs in.
//! * **Errors**: `?` converts any error; [`Error`]'s constructors choose a gRPC code.
//! * **Logs**: the macros of [`tracing`] send log entries to the machine, under the name of the resource.
//! * **Background work** between calls is spawned on [`Config::tasks`] and cancelled when the resource is closed.
//! * **Custom commands**: [`Resource::do_command`].
//! * **Custom APIs**: [`ResourceApi`], in a few lines around the service that `tonic` generates. The example `jukebox`
//!   has one with all four kinds of gRPC methods.
//!
//! A module's `Cargo.toml` names `mainstay-module` and, for attributes, `serde`.
//!
//! # Concurrency and cancellation
//!
//! A module runs on one thread. A method that blocks the thread holds up every other call of the module: wait with
//! `tokio`'s timers and sockets, and run blocking code (a driver in C, long computations) with [`spawn_blocking`].
//!
//! When the caller cancels or its deadline passes, the method's future is dropped at its next `await`. Cleanup that
//! must happen even then, such as stopping a motor, belongs into a guard with `Drop`. A panic ends its own call with
//! INTERNAL and its text, affects no other call, and is logged at ERROR with resource, method and place.

mod address;
pub mod api;
mod attributes;
mod call;
mod client;
mod config;
mod dependencies;
mod error;
mod logs;
mod models;
mod module;
mod panics;
mod parent;
mod reflect;
mod registry;
mod resource;
mod run;
mod server;
mod service;
pub mod spatial;
mod value;

pub use tracing;

pub use self::{
    api::{
        board::Board,
        camera::Camera,
        encoder::Encoder,
        generic::{Generic, GenericService},
        motor::Motor,
        sensor::Sensor,
    },
    attributes::{from_object, to_object},
    call::Call,
    client::{Connection, ResourceChannel, Robot},
    config::{Config, Tasks},
    dependencies::{Dependencies, Dependency, LocalDependency, OptionalDependency},
    error::{Code, Error, Result},
    module::Module,
    registry::Resources,
    resource::{DependencySpec, FromConfig, Implements, Resource, ResourceApi, StopFuture},
    run::{Args, Running, run},
    server::Service,
    value::{NO_EXTRA, Object, Value},
};

/// Imports for a typical module: `use mainstay_module::prelude::*;`.
pub mod prelude {
    pub use async_trait::async_trait;
    pub use serde::Deserialize;

    pub use crate::{
        Board, Camera, Config, Dependencies, Dependency, DependencySpec, Encoder, Error, FromConfig, Generic,
        GenericService, LocalDependency, Module, Motor, NO_EXTRA, Object, OptionalDependency, Resource, Result, Sensor,
        Value, object, run,
    };
}

/// Largest gRPC message in either direction, in bytes (32 MiB). The core's limit is the same.
pub const MAX_MESSAGE_BYTES: usize = 32 * 1024 * 1024;

/// HTTP/2 flow-control window of one stream, in bytes: a camera's picture goes through at once.
const STREAM_WINDOW: u32 = 16 * 1024 * 1024;
/// HTTP/2 flow-control window of one connection, in bytes: without practical limit, or one stream whose reader sleeps
/// would stop every other.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
/// Largest HTTP/2 frame, in bytes. Larger frames cost less per byte, smaller ones let small calls pass between them.
const MAX_FRAME: u32 = 256 * 1024;
/// Send buffer of one stream, in bytes.
const SEND_BUFFER: usize = 1024 * 1024;

/// Runs blocking code on a separate thread and awaits its result, so that other calls go on meanwhile. Its log entries
/// carry the resource's name like those of the caller.
///
/// # Errors
/// INTERNAL if `work` panics.
pub async fn spawn_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let call = Call::current();
    tokio::task::spawn_blocking(move || call.run_sync(work))
        .await
        .map_err(|error| Error::internal(format_args!("blocking work: {error}")))
}
