//! APIs of components and services, one module each: the trait that models implement, its value types, its gRPC service
//! and its client.
//!
//! Most methods take `extra`, an object of model-specific arguments, usually empty
//! ([`NO_EXTRA`](crate::NO_EXTRA)). A method fails with an [`Error`], whose gRPC code callers see. Methods
//! that a model need not implement return UNIMPLEMENTED by default, unless their text says otherwise.

//!
//! # An API of your own
//!
//! The attribute [`api`](macro@crate::api) makes a trait the API of a resource: it writes the gRPC service, which looks up the
//! resource by the name in each request and calls it, and the client for resources elsewhere. It takes the name of the
//! API and the service that `tonic` generated, whose messages are beside it.
//!
//! ```
//! # mod v1 { pub use mainstay_proto::viam::component::servo::v1::*; }
//! use mainstay_module::{api, prelude::*};
//!
//! /// Servo.
//! #[api("acme:component:servo", v1::ServoService { DoCommand, GetStatus, GetGeometries }, stop = stop)]
//! pub trait Servo: Resource {
//!     /// Turns to an angle.
//!     #[rpc(Move { angle_deg: degrees })]
//!     async fn turn(&self, degrees: u32, extra: &Object) -> Result<()>;
//!
//!     /// Returns the angle in degrees.
//!     #[rpc(GetPosition -> position_deg, optional)]
//!     async fn position(&self, extra: &Object) -> Result<u32>;
//!
//!     /// Stops at once.
//!     #[rpc(Stop)]
//!     async fn stop(&self, extra: &Object) -> Result<()>;
//!
//!     /// Returns whether it moves.
//!     #[rpc(IsMoving -> is_moving)]
//!     async fn is_moving(&self) -> Result<bool>;
//! }
//! ```
//!
//! Behind the service stand those of the methods `DoCommand`, `GetStatus` and `GetGeometries` that it has; `stop` names
//! the method that stops a resource before it is closed, `descriptors` the encoded `FileDescriptorSet` of an API that
//! machines do not know. In `#[rpc(…)]` stands the name of the method on the wire, and then, where needed:
//!
//! | Part | Meaning |
//! |---|---|
//! | `{ field: argument, field: self }` | fields that are not called as the arguments; `self` is the name of the resource, mostly in `name`, and `_` a field that nobody reads |
//! | `-> field`, `-> (a, b)` | the fields that carry the result; without it the whole answer does, by [`Message`](crate::wire::Message) |
//! | `optional` | a model need not have it: UNIMPLEMENTED by default |
//! | `stream` in front | answers are a [`Streaming`]; `announced` in front: the same, and an empty answer goes first |
//! | `serve = path`, `call = path` | functions of yours that answer `(resource, request)` and make the call `(client, arguments…)` |
//! | `upload`, `duplex` in front | requests are a stream, answers are one or many; `serve` takes `(resources, requests)` |
//!
//! What an argument or result is on the wire, [`Wire`](crate::wire::Wire) tells.

pub mod arm;
mod audio;
pub mod audio_in;
pub mod audio_out;
pub mod base;
pub mod board;
pub mod button;
pub mod camera;
pub mod data_manager;
pub mod discovery;
pub mod encoder;
pub mod gantry;
pub mod generic;
pub mod gripper;
pub mod input_controller;
pub mod kinematics;
pub mod mlmodel;
pub mod motion;
pub mod motor;
pub mod movement_sensor;
pub mod navigation;
mod outgoing;
pub mod pose_tracker;
pub mod power_sensor;
#[cfg(test)]
mod relay;
pub mod sensor;
pub mod servo;
pub mod shell;
pub mod slam;
pub mod switch;
pub mod video;
pub mod vision;
pub mod world;
pub mod world_state_store;

use std::pin::Pin;

use futures_core::Stream;

use crate::Result;

/// Answers that come one after the other. `Box::pin` converts any stream of results.
pub type Streaming<T> = Pin<Box<dyn Stream<Item = Result<T>> + Send>>;
