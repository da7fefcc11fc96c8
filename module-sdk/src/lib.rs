#![doc = include_str!("guide.md")]

// The macros name this crate as their users do.
extern crate self as mainstay_module;

#[doc(hidden)]
#[allow(missing_docs, reason = "for the code that `api` writes")]
#[path = "private.rs"]
pub mod __private;
mod address;
pub mod api;
mod attributes;
mod call;
mod client;
mod config;
mod dependencies;
mod error;
pub mod image;
#[cfg(feature = "frames")]
pub mod kinematics;
mod logs;
mod models;
mod module;
mod panics;
mod parent;
pub mod pcd;
mod reflect;
mod registry;
mod resource;
mod run;
mod server;
mod service;
pub mod spatial;
mod value;
pub mod wire;

pub use mainstay_module_macros::api;
pub use mainstay_proto::{Api, ResourceName};
pub use tracing;

pub use self::{
    api::{
        Streaming,
        arm::Arm,
        audio_in::AudioIn,
        audio_out::AudioOut,
        base::Base,
        board::Board,
        button::Button,
        camera::Camera,
        data_manager::DataManager,
        discovery::Discovery,
        encoder::Encoder,
        gantry::Gantry,
        generic::{Generic, GenericService},
        gripper::Gripper,
        input_controller::InputController,
        mlmodel::MlModel,
        motion::Motion,
        motor::Motor,
        movement_sensor::MovementSensor,
        navigation::Navigation,
        pose_tracker::PoseTracker,
        power_sensor::PowerSensor,
        sensor::Sensor,
        servo::Servo,
        shell::Shell,
        slam::Slam,
        switch::Switch,
        video::Video,
        vision::Vision,
        world_state_store::WorldStateStore,
    },
    attributes::{from_object, to_object},
    call::Call,
    client::{
        Connect, Connection, ResourceChannel, ResponseBody, Robot,
        status::{MachineStatus, ModuleState, ModuleStatus, Operation, ResourceState, ResourceStatus},
        watch::{ConnectionState, MachineView, Watch},
    },
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

/// Guide: a module with an API of its own. The page is the one in `docs/`, which a test follows.
#[doc = include_str!("../../docs/custom-api.md")]
pub mod custom_api {}

/// Imports for a typical module: `use mainstay_module::prelude::*;`.
pub mod prelude {
    pub use async_trait::async_trait;
    pub use serde::Deserialize;

    pub use crate::{
        Arm, AudioIn, AudioOut, Base, Board, Button, Camera, Config, DataManager, Dependencies, Dependency,
        DependencySpec, Discovery, Encoder, Error, FromConfig, Gantry, Generic, GenericService, Gripper,
        InputController, LocalDependency, MlModel, Module, Motion, Motor, MovementSensor, NO_EXTRA, Navigation, Object,
        OptionalDependency, PoseTracker, PowerSensor, Resource, Result, Robot, Sensor, Servo, Shell, Slam, Streaming,
        Switch, Value, Video, Vision, WorldStateStore, object, run,
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
