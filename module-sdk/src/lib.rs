//! Write modules for Mainstay, and for any machine that speaks the Viam protocol.
//!
//! A module is a program that the machine starts. It offers *models*: kinds of sensors, motors and so on. For each one
//! that a configuration asks for, the SDK makes a resource and lets calls reach it. A whole sensor module:
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
//! * **Attributes** are a type: [`FromConfig::Attributes`]. What does not fit is refused with its path.
//! * **Dependencies** are attributes too: a field of type [`Dependency<dyn Motor>`](Dependency) declares that the motor
//!   which it names must be there, and [`resolve`](Dependency::resolve) gives it as an `Arc<dyn Motor>`, wherever on
//!   the machine it lives.
//! * **Errors** come from `?`; one with a code of one's choice from [`Error`]'s constructors.
//! * **Logs** go to the machine, with the resource's name, through the macros of [`tracing`].
//! * **Work between calls** belongs into [`Config::tasks`], which ends with the resource.
//! * **Commands** of one's own: [`Resource::do_command`].
//! * **An API of one's own**: [`ResourceApi`], in a few lines around the service that `tonic` generates. The example
//!   `jukebox` has one with all four kinds of calls.
//!
//! A module's `Cargo.toml` names `mainstay-module` and, for attributes, `serde`.
//!
//! # Waiting
//!
//! A module runs on one thread. Methods must not block it: every other call waits meanwhile. Wait with `tokio`'s
//! timers and sockets, and put what blocks (a driver in C, long arithmetic) into [`spawn_blocking`].
//!
//! When the caller gives up, or its deadline passes, a method ends at its next `await`: its future is dropped. What
//! must not be left half done, such as a motor that turns, belongs into a guard with `Drop`. A panic ends its own call
//! with INTERNAL and nothing else.

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
    client::{Connection, Remote, Robot},
    config::{Config, Tasks},
    dependencies::{Dependencies, Dependency, Neighbour, OptionalDependency},
    error::{Code, Error, Result},
    module::Module,
    registry::Resources,
    resource::{Accepts, FromConfig, Halting, Needs, Resource, ResourceApi},
    run::{Args, Running, run},
    server::Service,
    value::{NO_EXTRA, Object, Value},
};

/// Everything that a usual module needs.
pub mod prelude {
    pub use async_trait::async_trait;
    pub use serde::Deserialize;

    pub use crate::{
        Board, Camera, Config, Dependencies, Dependency, Encoder, Error, FromConfig, Generic, GenericService, Module,
        Motor, NO_EXTRA, Needs, Neighbour, Object, OptionalDependency, Resource, Result, Sensor, Value, object, run,
    };
}

/// Largest message in either direction, in bytes. The core's limit is the same.
pub const MAX_MESSAGE: usize = 32 * 1024 * 1024;

/// How many bytes a peer may send on one stream before it waits: a camera's picture goes through at once.
const STREAM_WINDOW: u32 = 16 * 1024 * 1024;
/// The same for all streams of a connection together: without practical limit, or one stream whose reader sleeps would
/// stop every other.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
/// Largest piece of a message. Larger ones cost less each, smaller ones let small calls pass between them.
const MAX_FRAME: u32 = 256 * 1024;
/// How many bytes of one answer may wait for the socket.
const SEND_BUFFER: usize = 1024 * 1024;

/// Runs something that blocks on a thread of its own, and waits for it without holding up other calls.
///
/// # Errors
/// INTERNAL when it panics.
pub async fn spawn_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::internal(format_args!("blocking work: {error}")))
}
