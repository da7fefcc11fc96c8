//! Stand-in for the core, and a module that runs beside it on its own socket.

#![allow(clippy::unwrap_used, reason = "a test")]
#![allow(dead_code, reason = "each test program uses its own part")]

use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::Future,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mainstay_module::{MAX_MESSAGE_BYTES, Module, Object, ResourceApi, Result, Robot, Running};
use mainstay_proto::viam::{
    app::v1::ComponentConfig,
    common::v1::{GetReadingsRequest, GetReadingsResponse, LogEntry},
    module::v1::{
        AddResourceRequest, ReadyRequest, ReadyResponse, RemoveResourceRequest,
        module_service_client::ModuleServiceClient,
    },
    robot::v1::{LogRequest, LogResponse, ResourceNamesRequest, ResourceNamesResponse},
};
use prost::Message;
use tempfile::TempDir;
use tokio::{net::UnixListener, sync::watch, task::JoinSet};
use tonic::{Code, Request, Response, Status, body::Body, metadata::MetadataMap, server::UnaryService};
use tonic_prost::ProstCodec;

/// Requests that the stand-in core received.
#[derive(Default)]
pub struct Seen {
    pub logs: Vec<LogEntry>,
    /// Metadata of each call to the sensor `far`, which the stand-in itself serves.
    pub calls: Vec<MetadataMap>,
}

/// Minimal core: the services that a module calls.
pub struct Core {
    pub path: PathBuf,
    pub seen: watch::Sender<Seen>,
    tasks: Mutex<JoinSet<()>>,
}

impl Core {
    pub fn start(folder: &TempDir) -> Arc<Self> {
        let path = folder.path().join("parent.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let core = Arc::new(Self {
            path,
            seen: watch::Sender::new(Seen::default()),
            tasks: Mutex::default(),
        });
        let seen = core.seen.clone();
        core.tasks.lock().unwrap().spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let seen = seen.clone();
                let service = service_fn(move |request| answer(request, seen.clone()));
                let builder = http2::Builder::new(TokioExecutor::new());
                connections.spawn(async move { drop(builder.serve_connection(TokioIo::new(stream), service).await) });
            }
        });
        core
    }

    /// Aborts it with all connections, as a crash would.
    pub async fn die(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap());
        tasks.shutdown().await;
        std::fs::remove_file(&self.path).unwrap();
    }

    /// Waits for a log entry whose message contains this.
    pub async fn logged(&self, text: &str) -> LogEntry {
        let found = |seen: &Seen| seen.logs.iter().find(|entry| entry.message.contains(text)).cloned();
        let mut seen = self.seen.subscribe();
        let seen = within(seen.wait_for(|seen| found(seen).is_some())).await.unwrap();
        found(&seen).unwrap()
    }
}

async fn answer(
    request: http::Request<Incoming>,
    seen: watch::Sender<Seen>,
) -> std::result::Result<http::Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    Ok(match path.as_str() {
        "/viam.robot.v1.RobotService/ResourceNames" => {
            unary(request, |_: Request<ResourceNamesRequest>| {
                Ok(ResourceNamesResponse::default())
            })
            .await
        }
        "/viam.robot.v1.RobotService/Log" => {
            unary(request, move |request: Request<LogRequest>| {
                seen.send_modify(|seen| seen.logs.extend(request.into_inner().logs));
                Ok(LogResponse {})
            })
            .await
        }
        "/viam.component.sensor.v1.SensorService/GetReadings" => {
            unary(request, move |request: Request<GetReadingsRequest>| {
                seen.send_modify(|seen| seen.calls.push(request.metadata().clone()));
                let message = request.into_inner();
                if message.name != "far" {
                    return Err(Status::not_found("the core knows no such sensor"));
                }
                let number = |number| prost_types::Value {
                    kind: Some(prost_types::value::Kind::NumberValue(number)),
                };
                let extra = message.extra.unwrap_or_default().fields.len() as f64;
                let readings = [("celsius", number(-4.0)), ("extra", number(extra))];
                let readings = readings.map(|(name, value)| (name.to_owned(), value)).into();
                Ok(GetReadingsResponse { readings })
            })
            .await
        }
        path => Status::unimplemented(format!("the stand-in has no {path}")).into_http(),
    })
}

async fn unary<Q, A>(
    request: http::Request<Incoming>,
    answer: impl FnMut(Request<Q>) -> std::result::Result<A, Status> + Send,
) -> http::Response<Body>
where
    Q: Message + Default + Send + 'static,
    A: Message + Default + Send + 'static,
{
    struct Answer<F>(F);
    impl<Q, A: Send + 'static, F: FnMut(Request<Q>) -> std::result::Result<A, Status>> UnaryService<Q> for Answer<F> {
        type Response = A;
        type Future = Pin<Box<dyn Future<Output = std::result::Result<Response<A>, Status>> + Send>>;
        fn call(&mut self, request: Request<Q>) -> Self::Future {
            Box::pin(std::future::ready((self.0)(request).map(Response::new)))
        }
    }
    tonic::server::Grpc::new(ProstCodec::<A, Q>::default())
        .unary(Answer(answer), request)
        .await
}

/// Running module with a stand-in core.
pub struct World {
    pub folder: TempDir,
    pub core: Arc<Core>,
    pub running: Running,
    /// Client of the module's socket.
    pub robot: Robot,
}

impl World {
    /// Starts both and sends `Ready`, so that the module connects.
    pub async fn start(module: Module) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let core = Core::start(&folder);
        let socket = folder.path().join("module.sock").display().to_string();
        let running = module.start(&socket).await.unwrap();
        let robot = Robot::connect(&socket).await.unwrap();
        let world = Self {
            folder,
            core,
            running,
            robot,
        };
        assert!(world.ready().await.unwrap().ready);
        world
    }

    pub fn module(&self) -> ModuleServiceClient<mainstay_module::Connection> {
        module_client(&self.robot)
    }

    pub async fn ready(&self) -> Result<ReadyResponse> {
        let address = self.core.path.display().to_string();
        let request = ReadyRequest {
            parent_address: address.clone(),
            raw_parent_address: address,
            webrtc_offer: String::new(),
        };
        Ok(within(self.module().ready(request)).await?.into_inner())
    }

    pub async fn add<A: ResourceApi + ?Sized>(
        &self,
        name: &str,
        model: &str,
        attributes: Object,
        dependencies: &[&str],
    ) -> Result<Arc<A>> {
        let config = Some(config::<A>(name, model, attributes));
        let dependencies = dependencies.iter().map(ToString::to_string).collect();
        within(self.module().add_resource(AddResourceRequest { config, dependencies })).await?;
        self.robot.resource(name)
    }

    pub async fn remove(&self, full_name: &str) -> Result<()> {
        within(self.module().remove_resource(RemoveResourceRequest {
            name: full_name.to_owned(),
        }))
        .await?;
        Ok(())
    }
}

pub fn module_client(robot: &Robot) -> ModuleServiceClient<mainstay_module::Connection> {
    ModuleServiceClient::with_origin(robot.connection().clone(), http::Uri::from_static("http://localhost"))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
}

pub fn config<A: ResourceApi + ?Sized>(name: &str, model: &str, attributes: Object) -> ComponentConfig {
    ComponentConfig {
        name: name.to_owned(),
        api: A::API.to_owned(),
        model: model.to_owned(),
        attributes: Some(prost_types::Struct {
            fields: attributes.into_iter().map(wire_member).collect(),
        }),
        ..ComponentConfig::default()
    }
}

fn wire_member((name, value): (String, mainstay_module::Value)) -> (String, prost_types::Value) {
    use mainstay_module::Value;
    use prost_types::{ListValue, Struct, value::Kind};
    fn wire(value: Value) -> prost_types::Value {
        let kind = match value {
            Value::Null => Kind::NullValue(0),
            Value::Bool(truth) => Kind::BoolValue(truth),
            Value::Number(number) => Kind::NumberValue(number),
            Value::String(text) => Kind::StringValue(text),
            Value::List(list) => Kind::ListValue(ListValue {
                values: list.into_iter().map(wire).collect(),
            }),
            Value::Object(object) => Kind::StructValue(Struct {
                fields: object.into_iter().map(wire_member).collect(),
            }),
        };
        prost_types::Value { kind: Some(kind) }
    }
    (name, wire(value))
}

/// Awaits a future with a timeout.
pub async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), work)
        .await
        .expect("it took more than 10 s")
}

/// Collects the status codes of results by request.
pub fn codes<T>(results: impl IntoIterator<Item = (&'static str, Result<T>)>) -> BTreeMap<&'static str, Option<Code>> {
    results
        .into_iter()
        .map(|(asked, result)| (asked, result.err().map(|error| error.code())))
        .collect()
}
