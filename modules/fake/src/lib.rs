//! The built-in module `fake`: components without hardware, for trying, teaching and testing.
//!
//! Each model is `rdk:builtin:fake` under its API. What they do is pure and lies apart from how they are called:
//!
//! | Model | Pure part |
//! |---|---|
//! | [`FakeSensor`], [`FakeGeneric`] | – |
//! | [`FakeBoard`] | `pins`: what pins, analogs and interrupts read |
//! | [`FakeEncoder`] | `motion`: where it stands at a time |
//! | [`FakeMotor`] | `drive`: power and time of a movement; `shaft`: the newest order counts |
//! | [`FakeCamera`] | `picture`: pixels, JPEG, points |

mod board;
mod camera;
mod drive;
mod encoder;
mod generic;
mod motion;
mod motor;
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

/// The model of every fake.
pub const MODEL: &str = "rdk:builtin:fake";

/// The module with all its models, not yet running.
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
