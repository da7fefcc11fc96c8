//! Tests of the life of resources: a module on its socket, driven as the core does.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use mainstay_module::{Call, Code, prelude::*, spatial::Vector3};
use mainstay_proto::viam::{
    common::v1 as common,
    module::v1::{
        AddResourceRequest, ReadyRequest, ReconfigureResourceRequest, ValidateConfigRequest, ValidateConfigResponse,
    },
};
use support::{World, config, within};

/// Journal of the fixtures below, for the test that made them.
static EVENTS: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn event(text: impl Into<String>) {
    EVENTS.lock().unwrap().push(text.into());
}

/// Events of one name, so that tests may run in parallel.
fn events_of(name: &str) -> Vec<String> {
    let events = EVENTS.lock().unwrap();
    events
        .iter()
        .filter_map(|event| event.strip_prefix(&format!("{name} ")))
        .map(str::to_owned)
        .collect()
}

/// Sensor that reads another one, if it has that dependency.
struct Probe {
    name: String,
    source: Option<Arc<dyn Sensor>>,
    beside: Option<LocalDependency<Probe>>,
}

#[derive(Deserialize)]
struct ProbeAttributes {
    source: Option<Dependency<dyn Sensor>>,
    beside: Option<Dependency<dyn Sensor>>,
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

    fn validate(config: &Config<ProbeAttributes>) -> Result<DependencySpec> {
        match &config.attributes.fault {
            Some(fault) if fault == "config" => Err(Error::invalid_argument("whoops")),
            _ => Ok(DependencySpec::none()),
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
        let beside = attributes.beside.and_then(|beside| dependencies.local(beside.name()));
        event(format!("{name} made"));
        Ok(Self { name, source, beside })
    }
}

#[async_trait]
impl Sensor for Probe {
    async fn readings(&self, extra: &Object) -> Result<Object> {
        if let Some(source) = &self.source {
            return source.readings(extra).await;
        }
        if let Some(beside) = &self.beside {
            return beside.get()?.readings(extra).await;
        }
        let deadline = Call::current().deadline().is_some();
        Ok(object! {
            "name" => &self.name, "extra" => extra.clone(), "nan" => f64::NAN, "deadline" => deadline,
            "place" => Vector3 { x: 1.0, y: 2.0, z: 3.0 },
        })
    }
}

fn module() -> Module {
    Module::new().model::<dyn Sensor, Probe>("acme:test:probe")
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
    assert_eq!(handlers.len(), 1);
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
async fn dependencies_are_called_through_the_core_wherever_they_live() {
    let world = World::start(module()).await;
    world
        .add::<dyn Sensor>("near", "acme:test:probe", object! {}, &[])
        .await
        .unwrap();
    let given = ["rdk:component:sensor/near", "rdk:component:sensor/far"];
    let user = world
        .add::<dyn Sensor>("user", "acme:test:probe", object! { "source" => "near" }, &given)
        .await
        .unwrap();
    // That this core does not know its own module's resource shows that it was asked.
    let error = user.readings(NO_EXTRA).await.unwrap_err();
    assert_eq!(
        (error.code(), error.message()),
        (Code::NotFound, "the core knows no such sensor")
    );
    world.core.seen.send_modify(|seen| seen.calls.clear());

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
async fn a_neighbour_is_the_one_that_is_there_now() {
    let world = World::start(module()).await;
    let name = "rdk:component:sensor/beside1";
    let add = || world.add::<dyn Sensor>("beside1", "acme:test:probe", object! {}, &[]);
    add().await.unwrap();
    let user = world
        .add::<dyn Sensor>("user1", "acme:test:probe", object! { "beside" => "beside1" }, &[name])
        .await
        .unwrap();
    let read = async || user.readings(NO_EXTRA).await.map(|readings| readings["name"].clone());
    assert_eq!(read().await, Ok("beside1".into()));
    world.remove(name).await.unwrap();
    let error = read().await.unwrap_err();
    assert_eq!(
        (error.code(), error.message()),
        (Code::Unavailable, &*format!("`{name}` is not there at the moment"))
    );
    assert_eq!(
        events_of("beside1"),
        ["made", "task ended", "closed"],
        "nobody keeps it"
    );
    add().await.unwrap();
    assert_eq!(read().await, Ok("beside1".into()));
    assert_eq!(events_of("user1"), ["made"]);
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
    let gone = within(world.running.parent_lost()).await;
    assert!(gone.contains("the core is gone"), "{gone}");
}
