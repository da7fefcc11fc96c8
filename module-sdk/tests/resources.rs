//! A module on its socket, driven as a core drives it: the life of resources and the calls to them.

mod support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use mainstay_module::{
    Call, Code,
    api::{board, camera, encoder, motor},
    prelude::*,
    spatial::{Geometry, Pose, Shape, Vector3},
};
use mainstay_proto::viam::{
    app::v1::{ComponentConfig, Frame},
    common::v1 as common,
    module::v1::{
        AddResourceRequest, ReadyRequest, ReconfigureResourceRequest, ValidateConfigRequest, ValidateConfigResponse,
    },
};
use support::{World, config, within};

/// What the fixtures below lived through, for the test that made them.
static EVENTS: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn event(text: impl Into<String>) {
    EVENTS.lock().unwrap().push(text.into());
}

/// The events about one name, so that tests may run side by side.
fn events_of(name: &str) -> Vec<String> {
    let events = EVENTS.lock().unwrap();
    events
        .iter()
        .filter_map(|event| event.strip_prefix(&format!("{name} ")))
        .map(str::to_owned)
        .collect()
}

/// A sensor that reads another one, if it is given one.
struct Probe {
    name: String,
    source: Option<Arc<dyn Sensor>>,
}

#[derive(Deserialize)]
struct ProbeAttributes {
    source: Option<Dependency<dyn Sensor>>,
    #[expect(dead_code, reason = "declares itself by being read")]
    backup: Option<OptionalDependency<dyn Encoder>>,
    #[serde(default)]
    build_ms: u64,
    fault: Option<String>,
}

#[async_trait]
impl Resource for Probe {
    async fn do_command(&self, command: Object) -> Result<Object> {
        match command.get("do").and_then(Value::as_str) {
            Some("echo") => Ok(command),
            Some("panic") => panic!("asked to"),
            Some("hang") => {
                event(format!("{} hangs", self.name));
                let _guard = OnDrop(format!("{} let go", self.name));
                std::future::pending().await
            }
            _ => Err(Error::invalid_argument("what?")),
        }
    }

    async fn status(&self) -> Result<Object> {
        Ok(object! { "name" => &self.name })
    }

    async fn close(&self) {
        event(format!("{} closed", self.name));
    }
}

struct OnDrop(String);

impl Drop for OnDrop {
    fn drop(&mut self) {
        event(std::mem::take(&mut self.0));
    }
}

impl FromConfig for Probe {
    type Attributes = ProbeAttributes;

    fn validate(config: &Config<ProbeAttributes>) -> Result<Needs> {
        match &config.attributes.fault {
            Some(fault) if fault == "config" => Err(Error::invalid_argument("whoops")),
            _ => Ok(Needs::none()),
        }
    }

    async fn from_config(config: Config<ProbeAttributes>, dependencies: Dependencies) -> Result<Self> {
        let Config {
            name,
            attributes,
            tasks,
            ..
        } = config;
        let ended = OnDrop(format!("{name} task ended"));
        tasks.spawn(async move {
            let _ended = ended;
            std::future::pending().await
        });
        match attributes.fault.as_deref() {
            Some("panic") => panic!("no hardware"),
            Some("error") => Err("x".parse::<u8>().unwrap_err())?,
            Some("block") => std::thread::sleep(Duration::from_millis(300)),
            _ => {}
        }
        if attributes.build_ms > 0 {
            tokio::time::sleep(Duration::from_millis(attributes.build_ms)).await;
        }
        let source = attributes
            .source
            .map(|source| source.resolve(&dependencies))
            .transpose()?;
        event(format!("{name} made"));
        Ok(Self { name, source })
    }
}

#[async_trait]
impl Sensor for Probe {
    async fn readings(&self, extra: &Object) -> Result<Object> {
        if let Some(source) = &self.source {
            return source.readings(extra).await;
        }
        let deadline = Call::current().deadline().is_some();
        Ok(object! {
            "name" => &self.name, "extra" => extra.clone(), "nan" => f64::NAN, "deadline" => deadline,
            "place" => Vector3 { x: 1.0, y: 2.0, z: 3.0 },
        })
    }
}

fn module() -> Module {
    Module::new()
        .model::<dyn Sensor, Probe>("acme:test:probe")
        .model::<dyn Motor, Machine>("acme:test:machine")
        .model::<dyn Encoder, Machine>("acme:test:machine")
        .model::<dyn Board, Machine>("acme:test:machine")
        .model::<dyn Camera, Machine>("acme:test:machine")
        .model::<dyn Generic, Machine>("acme:test:machine")
        .model::<dyn GenericService, Machine>("acme:test:machine")
}

#[tokio::test]
async fn the_core_learns_what_the_module_offers_and_may_ask_again() {
    let world = World::start(module()).await;
    let ready = world.ready().await.unwrap();
    let handlers = ready.handlermap.unwrap().handlers;
    let first = handlers[0].subtype.as_ref().unwrap();
    assert_eq!(first.proto_service, "viam.component.sensor.v1.SensorService");
    let name = first.subtype.as_ref().unwrap();
    assert_eq!(
        (&*name.namespace, &*name.r#type, &*name.subtype, &*name.name),
        ("rdk", "component", "sensor", "")
    );
    assert_eq!(handlers[0].models, ["acme:test:probe"]);
    assert_eq!(handlers.len(), 7);
}

#[tokio::test]
async fn without_a_core_at_its_address_the_module_is_not_ready() {
    let world = World::start(module()).await;
    let nowhere = world.folder.path().join("nowhere.sock").display().to_string();
    let request = ReadyRequest {
        parent_address: nowhere,
        ..ReadyRequest::default()
    };
    assert_eq!(
        world.module().ready(request).await.unwrap_err().code(),
        Code::Unavailable
    );
    let error = world.module().ready(ReadyRequest::default()).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_resource_lives_from_add_to_remove() {
    let world = World::start(module()).await;
    let sensor = world
        .add::<dyn Sensor>("life", "acme:test:probe", object! {}, &[])
        .await
        .unwrap();
    let readings = sensor.readings(&object! { "n" => 1 }).await.unwrap();
    assert_eq!(readings["name"], "life".into());
    assert_eq!(readings["extra"], object! { "n" => 1 }.into());
    assert_eq!(readings["place"].as_vector3(), Some(Vector3 { x: 1.0, y: 2.0, z: 3.0 }));
    assert!(readings["nan"].as_f64().unwrap().is_nan());
    assert_eq!(
        sensor.do_command(object! { "do" => "echo" }).await,
        Ok(object! { "do" => "echo" })
    );
    assert_eq!(sensor.status().await, Ok(object! { "name" => "life" }));
    assert_eq!(sensor.geometries(NO_EXTRA).await, Ok(Some(Vec::new())));

    let again = world
        .add::<dyn Sensor>("life", "acme:test:probe", object! {}, &[])
        .await;
    assert_eq!(again.err().unwrap().code(), Code::AlreadyExists);
    world.remove("rdk:component:sensor/life").await.unwrap();
    assert_eq!(events_of("life"), ["made", "task ended", "closed"]);
    let gone = sensor.readings(NO_EXTRA).await.unwrap_err();
    assert_eq!(gone, Error::not_found("resource rdk:component:sensor/life not found"));
    assert_eq!(
        world.remove("rdk:component:sensor/life").await.unwrap_err().code(),
        Code::NotFound
    );
    world
        .add::<dyn Sensor>("life", "acme:test:probe", object! {}, &[])
        .await
        .unwrap();
}

#[tokio::test]
async fn what_cannot_be_made_is_told_and_leaves_its_name_free() {
    let world = World::start(module()).await;
    for (name, attributes, code, text) in [
        (
            "f1",
            object! { "build_ms" => "x" },
            Code::InvalidArgument,
            "rdk:component:sensor/f1: attribute `build_ms`",
        ),
        (
            "f2",
            object! { "fault" => "panic" },
            Code::Internal,
            "panic in the module: no hardware",
        ),
        (
            "f3",
            object! { "fault" => "error" },
            Code::Unknown,
            "invalid digit found in string",
        ),
        (
            "f4",
            object! { "source" => "other" },
            Code::NotFound,
            "`rdk:component:sensor/other` (given: none)",
        ),
    ] {
        let error = world
            .add::<dyn Sensor>(name, "acme:test:probe", attributes, &[])
            .await
            .err()
            .unwrap();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.message().contains(text), "{error}");
        world
            .add::<dyn Sensor>(name, "acme:test:probe", object! {}, &[])
            .await
            .unwrap();
    }
    let error = world
        .add::<dyn Sensor>("f5", "acme:test:ghost", object! {}, &[])
        .await
        .err()
        .unwrap();
    assert!(
        error
            .message()
            .contains("no model `acme:test:ghost` of API `rdk:component:sensor`"),
        "{error}"
    );
    assert_eq!(error.code(), Code::NotFound);
}

#[tokio::test]
async fn a_resource_that_takes_too_long_is_closed_and_leaves_its_name_free() {
    let world = World::start(module()).await;
    // One that waits is dropped where it waits; one that blocks is closed when it is done.
    for (name, attributes) in [
        ("slow", object! { "build_ms" => 60_000 }),
        ("stuck", object! { "fault" => "block" }),
    ] {
        let config = Some(config::<dyn Sensor>(name, "acme:test:probe", attributes));
        let mut request = tonic::Request::new(AddResourceRequest {
            config,
            dependencies: Vec::new(),
        });
        request.set_timeout(Duration::from_millis(100));
        let status = within(world.module().add_resource(request)).await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
        world
            .add::<dyn Sensor>(name, "acme:test:probe", object! {}, &[])
            .await
            .unwrap();
    }
    assert_eq!(events_of("slow"), ["task ended", "made"]);
    assert_eq!(events_of("stuck"), ["made", "task ended", "closed", "made"]);
}

#[tokio::test]
async fn resources_are_added_side_by_side() {
    let world = World::start(module()).await;
    let slow = world.add::<dyn Sensor>("side1", "acme:test:probe", object! { "build_ms" => 5_000 }, &[]);
    let quick = async {
        let twice = world
            .add::<dyn Sensor>("side1", "acme:test:probe", object! {}, &[])
            .await;
        world
            .add::<dyn Sensor>("side2", "acme:test:probe", object! {}, &[])
            .await
            .unwrap();
        twice.err().unwrap().code()
    };
    tokio::select! {
        biased;
        _ = slow => panic!("the slow one held up the quick one"),
        twice = quick => assert_eq!(twice, Code::AlreadyExists),
    }
}

#[tokio::test]
async fn a_dependency_in_the_same_module_is_used_directly_and_another_through_the_core() {
    let world = World::start(module()).await;
    world
        .add::<dyn Sensor>("near", "acme:test:probe", object! {}, &[])
        .await
        .unwrap();
    let given = ["rdk:component:sensor/near", "rdk:component:sensor/far"];
    let direct = world
        .add::<dyn Sensor>("direct", "acme:test:probe", object! { "source" => "near" }, &given)
        .await
        .unwrap();
    assert_eq!(direct.readings(NO_EXTRA).await.unwrap()["name"], "near".into());
    assert!(world.core.seen.borrow().calls.is_empty());

    let config = config::<dyn Sensor>("distant", "acme:test:probe", object! { "source" => "far" });
    let dependencies = given.map(str::to_owned).to_vec();
    world
        .module()
        .add_resource(AddResourceRequest {
            config: Some(config),
            dependencies,
        })
        .await
        .unwrap();
    let mut stub = mainstay_proto::viam::component::sensor::v1::sensor_service_client::SensorServiceClient::with_origin(
        world.robot.connection().clone(),
        http::Uri::from_static("http://localhost"),
    );
    let extra = Some(prost_types::Struct {
        fields: [("n".into(), prost_types::Value::default())].into(),
    });
    let mut request = tonic::Request::new(common::GetReadingsRequest {
        name: "distant".into(),
        extra,
    });
    request.set_timeout(Duration::from_secs(5));
    for (key, value) in [
        ("opid", "5b9a7e3e-0000-4000-8000-000000000001"),
        ("viam-metadata-who", "me"),
        ("odd", "no"),
    ] {
        request.metadata_mut().insert(key, value.parse().unwrap());
    }
    let readings = within(stub.get_readings(request)).await.unwrap().into_inner().readings;
    let number = |name: &str| readings[name].kind.clone();
    assert_eq!(number("celsius"), Some(prost_types::value::Kind::NumberValue(-4.0)));
    assert_eq!(number("extra"), Some(prost_types::value::Kind::NumberValue(1.0)));
    let seen = world.core.seen.borrow();
    let head = |key: &str| seen.calls[0].get(key).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(head("opid").as_deref(), Some("5b9a7e3e-0000-4000-8000-000000000001"));
    assert_eq!(head("viam-metadata-who").as_deref(), Some("me"));
    assert!(head("viam_client").unwrap().starts_with("rust;v"));
    assert!(head("grpc-timeout").is_some() && head("odd").is_none());
}

#[tokio::test]
async fn validation_names_the_dependencies() {
    let world = World::start(module()).await;
    let validate = async |attributes: Object| {
        let config = Some(config::<dyn Sensor>("v", "acme:test:probe", attributes));
        world.module().validate_config(ValidateConfigRequest { config }).await
    };
    let answer = validate(object! { "source" => "a", "backup" => "e" })
        .await
        .unwrap()
        .into_inner();
    let expected = ValidateConfigResponse {
        dependencies: vec!["rdk:component:sensor/a".into()],
        optional_dependencies: vec!["rdk:component:encoder/e".into()],
    };
    assert_eq!(answer, expected);
    let status = validate(object! { "fault" => "config" }).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::InvalidArgument, "rdk:component:sensor/v: whoops")
    );
    let status = validate(object! { "fault" => vec![1] }).await.unwrap_err();
    assert!(status.message().contains("attribute `fault`"), "{status}");
}

#[tokio::test]
async fn reconfiguring_closes_the_old_resource_and_keeps_it_when_the_new_config_is_wrong() {
    let world = World::start(module()).await;
    let sensor = world
        .add::<dyn Sensor>("again", "acme:test:probe", object! {}, &[])
        .await
        .unwrap();
    let reconfigure = async |attributes: Object| {
        let config = Some(config::<dyn Sensor>("again", "acme:test:probe", attributes));
        world
            .module()
            .reconfigure_resource(ReconfigureResourceRequest {
                config,
                dependencies: Vec::new(),
            })
            .await
    };
    assert!(reconfigure(object! { "build_ms" => -1 }).await.is_err());
    assert!(sensor.readings(NO_EXTRA).await.is_ok());
    assert!(reconfigure(object! { "build_ms" => 1 }).await.is_ok());
    assert!(sensor.readings(NO_EXTRA).await.is_ok());
    assert_eq!(events_of("again"), ["made", "task ended", "closed", "made"]);
}

#[tokio::test]
async fn a_panic_or_an_abandoned_call_ends_alone() {
    let world = World::start(module()).await;
    let sensor = world
        .add::<dyn Sensor>("alone", "acme:test:probe", object! {}, &[])
        .await
        .unwrap();
    let error = sensor.do_command(object! { "do" => "panic" }).await.unwrap_err();
    assert_eq!(error, Error::internal("panic in the module: asked to"));

    let hang = object! { "do" => "hang" };
    let abandoned = tokio::time::timeout(Duration::from_millis(200), sensor.do_command(hang)).await;
    assert!(abandoned.is_err());
    let let_go = async {
        while events_of("alone") != ["made", "hangs", "let go"] {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(let_go).await;
    assert!(sensor.readings(NO_EXTRA).await.is_ok());
}

#[tokio::test]
async fn stopping_closes_dependents_first_and_takes_the_socket_away() {
    let world = World::start(module()).await;
    world
        .add::<dyn Sensor>("stop1", "acme:test:probe", object! {}, &[])
        .await
        .unwrap();
    let given = ["rdk:component:sensor/stop1"];
    world
        .add::<dyn Sensor>("stop2", "acme:test:probe", object! { "source" => "stop1" }, &given)
        .await
        .unwrap();
    within(world.running.stop()).await;
    assert!(!world.folder.path().join("module.sock").exists());
    let all = EVENTS.lock().unwrap().clone();
    let closed: Vec<_> = all
        .iter()
        .filter(|event| event.starts_with("stop") && event.ends_with("closed"))
        .collect();
    assert_eq!(closed, ["stop2 closed", "stop1 closed"]);
}

#[tokio::test]
async fn the_module_notices_when_its_core_is_gone() {
    let world = World::start(module()).await;
    world.core.die().await;
    let gone = within(world.running.gone()).await;
    assert!(gone.contains("the core is gone"), "{gone}");
}

/// Every API at once, on one type.
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
        event(format!(
            "machine closed, stopped: {}",
            self.stopped.load(Ordering::Relaxed)
        ));
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
        let ticks = interrupts.to_vec().into_iter().zip(1_u64..);
        let ticks = ticks.map(|(pin, time_ns)| {
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
    assert!(events_of("machine").contains(&"closed, stopped: true".to_owned()));
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
