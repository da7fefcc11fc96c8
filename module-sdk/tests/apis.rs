//! Tests of every API, implemented by one type and called through its client.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use mainstay_module::{
    Code,
    api::{board, camera, encoder, motor},
    prelude::*,
    spatial::{Geometry, Pose, Shape, Vector3},
};
use mainstay_proto::viam::{
    app::v1::{ComponentConfig, Frame},
    common::v1 as common,
    module::v1::AddResourceRequest,
};
use support::{World, config, within};

fn module() -> Module {
    Module::new()
        .model::<dyn Motor, Machine>("acme:test:machine")
        .model::<dyn Encoder, Machine>("acme:test:machine")
        .model::<dyn Board, Machine>("acme:test:machine")
        .model::<dyn Camera, Machine>("acme:test:machine")
        .model::<dyn Generic, Machine>("acme:test:machine")
        .model::<dyn GenericService, Machine>("acme:test:machine")
}

/// True if the motor was stopped when it was closed under power.
static STOPPED_BEFORE_CLOSED: AtomicBool = AtomicBool::new(false);

/// Resource that implements every API.
#[derive(Default)]
struct Machine {
    power: Mutex<f64>,
    stopped: AtomicBool,
    asked: Mutex<Vec<String>>,
}

impl Machine {
    fn note(&self, text: String) -> Result<()> {
        self.asked.lock().unwrap().push(text);
        Ok(())
    }
}

#[async_trait]
impl Resource for Machine {
    async fn do_command(&self, command: Object) -> Result<Object> {
        let asked = std::mem::take(&mut *self.asked.lock().unwrap());
        Ok(object! { "asked" => asked, "command" => command })
    }

    async fn close(&self) {
        STOPPED_BEFORE_CLOSED.fetch_or(self.stopped.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

impl FromConfig for Machine {
    type Attributes = ();

    async fn from_config(_: Config<()>, _: Dependencies) -> Result<Self> {
        Ok(Self::default())
    }
}

#[async_trait]
impl Motor for Machine {
    async fn set_power(&self, power: f64, _: &Object) -> Result<()> {
        *self.power.lock().unwrap() = power;
        Ok(())
    }
    async fn go_for(&self, rpm: f64, revolutions: f64, extra: &Object) -> Result<()> {
        self.note(format!("go_for {rpm} {revolutions} {}", extra.len()))
    }
    async fn go_to(&self, rpm: f64, position: f64, _: &Object) -> Result<()> {
        self.note(format!("go_to {rpm} {position}"))
    }
    async fn set_rpm(&self, rpm: f64, _: &Object) -> Result<()> {
        self.note(format!("set_rpm {rpm}"))
    }
    async fn reset_zero_position(&self, offset: f64, _: &Object) -> Result<()> {
        self.note(format!("reset {offset}"))
    }
    async fn position(&self, _: &Object) -> Result<f64> {
        Ok(2.5)
    }
    async fn properties(&self, _: &Object) -> Result<motor::Properties> {
        Ok(motor::Properties {
            position_reporting: true,
        })
    }
    async fn stop(&self, _: &Object) -> Result<()> {
        *self.power.lock().unwrap() = 0.0;
        self.stopped.store(true, Ordering::Relaxed);
        Ok(())
    }
    async fn powered(&self, _: &Object) -> Result<motor::Powered> {
        let power = *self.power.lock().unwrap();
        Ok(motor::Powered {
            on: power != 0.0,
            power,
        })
    }
    async fn is_moving(&self) -> Result<bool> {
        Ok(*self.power.lock().unwrap() != 0.0)
    }
}

#[async_trait]
impl Encoder for Machine {
    async fn position(&self, unit: Option<encoder::Unit>, _: &Object) -> Result<encoder::Position> {
        Ok(encoder::Position {
            value: 7.5,
            unit: unit.unwrap_or(encoder::Unit::Ticks),
        })
    }
    async fn properties(&self, _: &Object) -> Result<encoder::Properties> {
        Ok(encoder::Properties {
            ticks: true,
            degrees: false,
        })
    }
}

#[async_trait]
impl Board for Machine {
    async fn set_gpio(&self, pin: &str, high: bool, _: &Object) -> Result<()> {
        self.note(format!("gpio {pin} {high}"))
    }
    async fn gpio(&self, pin: &str, _: &Object) -> Result<bool> {
        Ok(pin == "high")
    }
    async fn set_pwm(&self, pin: &str, duty: f64, _: &Object) -> Result<()> {
        self.note(format!("pwm {pin} {duty}"))
    }
    async fn pwm_frequency(&self, _: &str, _: &Object) -> Result<u64> {
        Ok(u64::MAX)
    }
    async fn read_analog(&self, analog: &str, _: &Object) -> Result<board::Analog> {
        self.note(format!("analog {analog}"))?;
        Ok(board::Analog {
            value: -3,
            min: 0.5,
            max: 1000.0,
            step: 0.25,
        })
    }
    async fn digital_interrupt(&self, interrupt: &str, _: &Object) -> Result<i64> {
        Ok(interrupt.len() as i64)
    }
    async fn ticks(&self, interrupts: &[String], _: &Object) -> Result<board::Ticks> {
        if interrupts.iter().any(|name| name == "none") {
            return Err(Error::not_found("cant find DigitalInterrupt (none)"));
        }
        let interrupts = interrupts.to_vec(); // The stream outlives the request.
        let ticks = interrupts.into_iter().zip(1_u64..).map(|(pin, time_ns)| {
            assert_ne!(pin, "panic", "no such pin");
            Ok(board::Tick {
                pin,
                time_ns,
                high: true,
            })
        });
        Ok(Box::pin(stream::iter(ticks).chain(stream::pending())))
    }
    async fn set_power_mode(&self, mode: board::PowerMode, duration: Option<Duration>, _: &Object) -> Result<()> {
        self.note(format!("{mode:?} {duration:?}"))
    }
}

#[async_trait]
impl Camera for Machine {
    async fn images(&self, sources: &[String], _: &Object) -> Result<camera::Images> {
        let annotations = camera::Annotations {
            boxes: vec![camera::BoundingBox {
                label: "cat".into(),
                x_max: 0.5,
                ..Default::default()
            }],
            classifications: Vec::new(),
        };
        let image = camera::Image {
            source: sources.join("+"),
            mime_type: camera::JPEG.into(),
            bytes: Bytes::from(vec![7; 20 << 20]),
            annotations,
        };
        let captured_at = Some(std::time::SystemTime::UNIX_EPOCH + Duration::from_millis(1_500));
        Ok(camera::Images {
            images: vec![image],
            captured_at,
        })
    }
    async fn properties(&self) -> Result<camera::Properties> {
        Ok(camera::Properties {
            supports_pcd: true,
            frame_rate: Some(30.0),
            intrinsics: Some(camera::Intrinsics {
                width_px: 640,
                ..Default::default()
            }),
            extrinsics: Some(camera::Extrinsics::default()),
            ..Default::default()
        })
    }
}

impl Generic for Machine {}
impl GenericService for Machine {}

#[tokio::test]
async fn a_motor_answers_and_is_stopped_before_it_is_closed() {
    let world = World::start(module()).await;
    let motor = world
        .add::<dyn Motor>("m", "acme:test:machine", object! {}, &[])
        .await
        .unwrap();
    motor.set_power(-0.5, NO_EXTRA).await.unwrap();
    assert_eq!(
        motor.powered(NO_EXTRA).await,
        Ok(motor::Powered { on: true, power: -0.5 })
    );
    assert_eq!(motor.is_moving().await, Ok(true));
    motor.go_for(60.0, -2.0, &object! { "a" => 1 }).await.unwrap();
    motor.go_to(30.0, 1.5, NO_EXTRA).await.unwrap();
    motor.set_rpm(5.0, NO_EXTRA).await.unwrap();
    motor.reset_zero_position(0.25, NO_EXTRA).await.unwrap();
    assert_eq!(motor.position(NO_EXTRA).await, Ok(2.5));
    assert_eq!(
        motor.properties(NO_EXTRA).await,
        Ok(motor::Properties {
            position_reporting: true
        })
    );
    let asked = motor.do_command(object! {}).await.unwrap();
    let expected = vec!["go_for 60 -2 1", "go_to 30 1.5", "set_rpm 5", "reset 0.25"];
    assert_eq!(asked["asked"], expected.into());
    world.remove("rdk:component:motor/m").await.unwrap();
    assert!(STOPPED_BEFORE_CLOSED.load(Ordering::Relaxed));
}

#[tokio::test]
async fn an_encoder_answers_in_the_unit_asked_for() {
    let world = World::start(module()).await;
    let encoder = world
        .add::<dyn Encoder>("e", "acme:test:machine", object! {}, &[])
        .await
        .unwrap();
    for (asked, unit) in [
        (None, encoder::Unit::Ticks),
        (Some(encoder::Unit::Degrees), encoder::Unit::Degrees),
    ] {
        assert_eq!(
            encoder.position(asked, NO_EXTRA).await,
            Ok(encoder::Position { value: 7.5, unit })
        );
    }
    assert_eq!(
        encoder.properties(NO_EXTRA).await,
        Ok(encoder::Properties {
            ticks: true,
            degrees: false
        })
    );
    let error = encoder.reset_position(NO_EXTRA).await.unwrap_err();
    assert_eq!(
        error,
        Error::unimplemented("ResetPosition is not offered by this model")
    );
}

#[tokio::test]
async fn a_board_answers_and_streams_its_ticks() {
    let world = World::start(module()).await;
    let board = world
        .add::<dyn Board>("b", "acme:test:machine", object! {}, &[])
        .await
        .unwrap();
    board.set_gpio("3", true, NO_EXTRA).await.unwrap();
    board.set_pwm("4", 0.25, NO_EXTRA).await.unwrap();
    board
        .set_power_mode(board::PowerMode::OfflineDeep, Some(Duration::from_secs(2)), NO_EXTRA)
        .await
        .unwrap();
    assert_eq!(board.gpio("high", NO_EXTRA).await, Ok(true));
    assert_eq!(board.pwm_frequency("x", NO_EXTRA).await, Ok(u64::MAX));
    assert_eq!(board.digital_interrupt("four", NO_EXTRA).await, Ok(4));
    let analog = board::Analog {
        value: -3,
        min: 0.5,
        max: 1000.0,
        step: 0.25,
    };
    assert_eq!(board.read_analog("a", NO_EXTRA).await, Ok(analog));
    assert_eq!(
        board.write_analog("a", 1, NO_EXTRA).await.unwrap_err().code(),
        Code::Unimplemented
    );
    let asked = board.do_command(object! {}).await.unwrap();
    assert_eq!(
        asked["asked"],
        vec!["gpio 3 true", "pwm 4 0.25", "OfflineDeep Some(2s)", "analog a"].into()
    );

    let names = ["one", "two"].map(str::to_owned);
    let mut ticks = board.ticks(&names, NO_EXTRA).await.unwrap();
    for (pin, time_ns) in [("one", 1), ("two", 2)] {
        let tick = within(ticks.next()).await.unwrap();
        assert_eq!(
            tick,
            Ok(board::Tick {
                pin: pin.into(),
                time_ns,
                high: true
            })
        );
    }
    let mut ticks = board.ticks(&["panic".to_owned()], NO_EXTRA).await.unwrap();
    let panic = within(ticks.next()).await.unwrap().unwrap_err();
    assert_eq!(panic.code(), Code::Internal, "{panic}");
    let refused = board.ticks(&["none".to_owned()], NO_EXTRA).await.err().unwrap();
    assert_eq!(refused, Error::not_found("cant find DigitalInterrupt (none)"));
}

#[tokio::test]
async fn the_first_message_of_a_stream_of_ticks_is_empty() {
    use mainstay_proto::viam::component::board::v1::{StreamTicksRequest, StreamTicksResponse, board_service_client};
    let world = World::start(module()).await;
    world
        .add::<dyn Board>("raw", "acme:test:machine", object! {}, &[])
        .await
        .unwrap();
    let origin = http::Uri::from_static("http://localhost");
    let mut stub = board_service_client::BoardServiceClient::with_origin(world.robot.connection().clone(), origin);
    let mut request = tonic::Request::new(StreamTicksRequest {
        name: "raw".into(),
        pin_names: vec!["p".into()],
        extra: None,
    });
    request.set_timeout(Duration::from_millis(500));
    let mut ticks = stub.stream_ticks(request).await.unwrap().into_inner();
    assert_eq!(ticks.message().await.unwrap(), Some(StreamTicksResponse::default()));
    assert_eq!(ticks.message().await.unwrap().unwrap().pin_name, "p");
    // The module ends the stream itself when its deadline is over.
    assert_eq!(
        within(ticks.message()).await.unwrap_err().code(),
        Code::DeadlineExceeded
    );
}

#[tokio::test]
async fn a_camera_gives_pictures_of_twenty_megabytes() {
    let world = World::start(module()).await;
    let camera = world
        .add::<dyn Camera>("c", "acme:test:machine", object! {}, &[])
        .await
        .unwrap();
    let images = camera
        .images(&["left".to_owned(), "right".to_owned()], NO_EXTRA)
        .await
        .unwrap();
    let image = &images.images[0];
    assert_eq!(
        (&*image.source, &*image.mime_type, image.bytes.len()),
        ("left+right", "image/jpeg", 20 << 20)
    );
    assert_eq!(image.annotations.boxes[0].label, "cat");
    assert_eq!(
        images.captured_at,
        Some(std::time::SystemTime::UNIX_EPOCH + Duration::from_millis(1_500))
    );
    let twice = camera
        .images(&["a".to_owned(), "a".to_owned()], NO_EXTRA)
        .await
        .unwrap_err();
    assert_eq!(twice, Error::invalid_argument("duplicate source name in filter: a"));
    let properties = camera.properties().await.unwrap();
    assert_eq!((properties.supports_pcd, properties.frame_rate), (true, Some(30.0)));
    assert_eq!(properties.intrinsics.unwrap().width_px, 640);
    assert_eq!(properties.extrinsics, Some(camera::Extrinsics::default()));
    assert_eq!(
        camera.point_cloud(camera::PCD, NO_EXTRA).await.unwrap_err().code(),
        Code::Unimplemented
    );
}

#[tokio::test]
async fn generic_resources_answer_commands_and_one_name_may_have_several_apis() {
    let world = World::start(module()).await;
    let component = world
        .add::<dyn Generic>("g", "acme:test:machine", object! {}, &[])
        .await
        .unwrap();
    let service = world
        .add::<dyn GenericService>("g", "acme:test:machine", object! {}, &[])
        .await
        .unwrap();
    for resource in [&*component as &dyn Resource, &*service] {
        let answer = resource.do_command(object! { "x" => 1 }).await.unwrap();
        assert_eq!(answer["command"], object! { "x" => 1 }.into());
        assert_eq!(resource.status().await, Ok(object! {}));
    }
    world.remove("rdk:component:generic/g").await.unwrap();
    assert_eq!(service.status().await, Ok(object! {}));
    assert_eq!(component.status().await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn geometries_are_those_of_the_frame_when_the_model_has_none() {
    let world = World::start(module()).await;
    let shape = common::geometry::GeometryType::Box(common::RectangularPrism {
        dims_mm: Some(common::Vector3 {
            x: 10.0,
            y: 20.0,
            z: 30.0,
        }),
    });
    let geometry = common::Geometry {
        label: "crate".into(),
        geometry_type: Some(shape),
        center: None,
    };
    let config = ComponentConfig {
        frame: Some(Frame {
            geometry: Some(geometry),
            ..Frame::default()
        }),
        ..config::<dyn Motor>("framed", "acme:test:machine", object! {})
    };
    let request = AddResourceRequest {
        config: Some(config),
        dependencies: Vec::new(),
    };
    world.module().add_resource(request).await.unwrap();
    let motor = world.robot.resource::<dyn Motor>("framed").unwrap();
    let shape = Shape::Cuboid {
        dims_mm: Vector3 {
            x: 10.0,
            y: 20.0,
            z: 30.0,
        },
    };
    let expected = Geometry {
        center: Pose::default(),
        shape,
        label: "crate".into(),
    };
    assert_eq!(motor.geometries(NO_EXTRA).await, Ok(Some(vec![expected])));
}
