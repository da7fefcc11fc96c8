//! The built-in module `fake`: components without hardware, for trying, teaching and testing.
//!
//! Each model is `rdk:builtin:fake` of its API. Behaviour is pure and separate from the API implementations:
//!
//! | Model | Pure part |
//! |---|---|
//! | [`FakeSensor`], [`FakeGeneric`], those in `small` and `services` | – |
//! | [`FakeAudioIn`], [`FakeAudioOut`], [`FakeInputController`] | – |
//! | [`FakeArm`], [`SimulatedArm`] | `models`: known arms; `inverse`: joint positions for a pose |
//! | [`FakeGantry`], [`FakeGripper`] | the SDK's `kinematics` |
//! | [`FakeSlam`] | `map`, `pose`: the room, and the way through it |
//! | [`FakeVision`] | `object`: the box that it sees |
//! | [`FakeWorldStateStore`] | `solids`: where they are as a function of time |
//! | [`FakeBoard`] | `pins`: values of pins, analogs and interrupts |
//! | [`FakeEncoder`] | `motion`: position as a function of time |
//! | [`FakeMotor`] | `drive`: power and duration of a movement; `shaft`: a new command replaces the running one |
//! | [`FakeCamera`] | `picture`: pixels, JPEG, point cloud |

mod arm;
mod audio;
mod board;
mod camera;
mod drive;
mod encoder;
mod gantry;
mod generic;
mod input;
mod motion;
mod motor;
mod names;
mod numbers;
mod picture;
mod pins;
mod sensor;
mod services;
mod shaft;
mod slam;
mod small;
mod spindle;
mod vision;
mod world;

pub use arm::{FakeArm, SimulatedArm};
pub use audio::{FakeAudioIn, FakeAudioOut};
pub use board::FakeBoard;
pub use camera::FakeCamera;
pub use encoder::FakeEncoder;
pub use gantry::{FakeGantry, FakeGripper};
pub use generic::FakeGeneric;
pub use input::FakeInputController;
pub use motor::FakeMotor;
pub use sensor::FakeSensor;
pub use services::{FakeDiscovery, FakeMlModel, FakeVideo};
pub use slam::FakeSlam;
pub use small::{FakeBase, FakeButton, FakeMovementSensor, FakePowerSensor, FakeServo, FakeSwitch};
pub use vision::FakeVision;
pub use world::FakeWorldStateStore;

use mainstay_module::prelude::*;

/// Model name of every fake.
pub const MODEL: &str = "rdk:builtin:fake";

/// Creates the module with all its models, not yet running.
pub fn module() -> Module {
    Module::new()
        .model::<dyn Arm, FakeArm>(MODEL)
        .model::<dyn Arm, SimulatedArm>("rdk:builtin:simulated")
        .model::<dyn AudioIn, FakeAudioIn>(MODEL)
        .model::<dyn AudioOut, FakeAudioOut>(MODEL)
        .model::<dyn Base, FakeBase>(MODEL)
        .model::<dyn Board, FakeBoard>(MODEL)
        .model::<dyn Button, FakeButton>(MODEL)
        .model::<dyn Camera, FakeCamera>(MODEL)
        .model::<dyn Encoder, FakeEncoder>(MODEL)
        .model::<dyn Gantry, FakeGantry>(MODEL)
        .model::<dyn Generic, FakeGeneric>(MODEL)
        .model::<dyn Gripper, FakeGripper>(MODEL)
        .model::<dyn InputController, FakeInputController>(MODEL)
        .model::<dyn Motor, FakeMotor>(MODEL)
        .model::<dyn MovementSensor, FakeMovementSensor>(MODEL)
        .model::<dyn PowerSensor, FakePowerSensor>(MODEL)
        .model::<dyn Sensor, FakeSensor>(MODEL)
        .model::<dyn Servo, FakeServo>(MODEL)
        .model::<dyn Switch, FakeSwitch>(MODEL)
        .model::<dyn Discovery, FakeDiscovery>(MODEL)
        .model::<dyn GenericService, FakeGeneric>(MODEL)
        .model::<dyn MlModel, FakeMlModel>(MODEL)
        .model::<dyn Slam, FakeSlam>(MODEL)
        .model::<dyn Video, FakeVideo>(MODEL)
        .model::<dyn Vision, FakeVision>(MODEL)
        .model::<dyn WorldStateStore, FakeWorldStateStore>(MODEL)
}
