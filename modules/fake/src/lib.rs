//! The built-in module `fake`: components without hardware, for trying, teaching and testing.
//!
//! Each model is `rdk:builtin:fake` of its API. Behaviour is pure and separate from the API implementations:
//!
//! | Model | Pure part |
//! |---|---|
//! | [`FakeSensor`], [`FakeGeneric`] | – |
//! | [`FakeBoard`] | `pins`: values of pins, analogs and interrupts |
//! | [`FakeEncoder`] | `motion`: position as a function of time |
//! | [`FakeMotor`] | `drive`: power and duration of a movement; `shaft`: a new command replaces the running one |
//! | [`FakeCamera`] | `picture`: pixels, JPEG, point cloud |

mod board;
mod camera;
mod drive;
mod encoder;
mod generic;
mod motion;
mod motor;
mod names;
mod numbers;
mod picture;
mod pins;
mod sensor;
mod shaft;
mod spindle;

pub use board::FakeBoard;
pub use camera::FakeCamera;
pub use encoder::FakeEncoder;
pub use generic::FakeGeneric;
pub use motor::FakeMotor;
pub use sensor::FakeSensor;

use mainstay_module::prelude::*;

/// Model name of every fake.
pub const MODEL: &str = "rdk:builtin:fake";

/// Creates the module with all its models, not yet running.
pub fn module() -> Module {
    Module::new()
        .model::<dyn Board, FakeBoard>(MODEL)
        .model::<dyn Camera, FakeCamera>(MODEL)
        .model::<dyn Encoder, FakeEncoder>(MODEL)
        .model::<dyn Generic, FakeGeneric>(MODEL)
        .model::<dyn Motor, FakeMotor>(MODEL)
        .model::<dyn Sensor, FakeSensor>(MODEL)
        .model::<dyn GenericService, FakeGeneric>(MODEL)
}
