//! `tracing` in the config: records of calls in files and at a collector, the core's own and those of modules.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};
use std::time::Duration;

use mainstay_proto::opentelemetry::proto::trace::v1::{ResourceSpans, ScopeSpans, Span};
use mainstay_proto::viam::robot::v1::{SendTracesRequest, SendTracesResponse};
use mainstay_tests::echo::SayRequest;
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::proc::eventually;
use mainstay_tests::world::World;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tonic::codegen::{BoxFuture, Service};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use crate::data_path::say;
use crate::machine::command;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn machine(tracing: Value) -> Machine {
    Machine::new()
        .module(Module::fixture("one"))
        .resource(Resource::echo("echo"))
        .resource(Resource::generic("box"))
        .set("tracing", tracing)
}

/// A call in a trace of the caller's own, and what the module saw of it.
async fn say_in_trace(world: &World, flags: &str) -> String {
    let mut request: Request<SayRequest> = Request::new(say("echo", "hello"));
    let place = format!("00-{TRACE}-00f067aa0ba902b7-{flags}");
    request
        .metadata_mut()
        .insert("traceparent", place.parse().expect("a header"));
    let answer = world.echo().say(request).await.expect("an answer").into_inner();
    answer.headers.get("traceparent").cloned().unwrap_or_default()
}

fn spans_of(text: &str) -> Vec<Value> {
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
    let inner = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
    lines
        .flat_map(|line| inner(&line, "resourceSpans"))
        .flat_map(|spans| inner(&spans, "scopeSpans"))
        .flat_map(|scope| inner(&scope, "spans"))
        .collect()
}

#[tokio::test]
async fn calls_are_recorded_in_a_file_between_the_callers_span_and_the_modules() {
    let world = World::settled(machine(json!({ "enabled": true, "disk": true }))).await;
    let seen = say_in_trace(&world, "01").await;
    let unseen = say_in_trace(&world, "00").await;
    let missing = world.echo().say(say("nobody", "hello")).await;
    assert!(missing.is_err());
    let env = command(&world, "box", json!({ "env": "VIAM_MODULE_TRACING" })).await;
    let env = env.expect("an answer");
    assert_eq!(env["env"], "1", "the module is told to record, too");

    let theirs = SendTracesRequest {
        resource_spans: vec![ResourceSpans {
            scope_spans: vec![ScopeSpans {
                spans: vec![Span {
                    name: "inside the module".into(),
                    ..Span::default()
                }],
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    };
    let _sent: SendTracesResponse = world
        .from_module("echo", "/viam.robot.v1.RobotService/SendTraces", &theirs)
        .await
        .expect("taken");

    let file = world.place.file("home/trace/local-config/traces.jsonl");
    let read = || spans_of(&std::fs::read_to_string(&file).unwrap_or_default());
    let all_there = || read().iter().any(|span| span["name"] == "inside the module");
    assert!(eventually(Duration::from_secs(20), all_there).await, "{:?}", read());
    let spans = read();
    let said: Vec<_> = spans
        .iter()
        .filter(|span| span["name"] == "mainstay.tests.echo.v1.EchoService/Say")
        .collect();
    let (first, failed) = (said[0], said[1]);
    assert_eq!(
        said.len(),
        2,
        "one that is not recorded upstream is not recorded here: {said:?}"
    );
    assert_eq!(first["traceId"], TRACE);
    assert_eq!(first["parentSpanId"], "00f067aa0ba902b7");
    let own = first["spanId"].as_str().expect("an id");
    assert_eq!(
        seen,
        format!("00-{TRACE}-{own}-01"),
        "the module's span comes below ours"
    );
    assert!(
        unseen.starts_with(&format!("00-{TRACE}-")) && unseen.ends_with("-00"),
        "{unseen}"
    );
    let attribute = |key: &str| {
        let all = first["attributes"].as_array().expect("attributes");
        let found = all.iter().find(|pair| pair["key"] == key);
        found.map(|pair| pair["value"].clone()).unwrap_or_default()
    };
    assert_eq!(attribute("viam.resource")["stringValue"], "tests:component:echo/echo");
    assert_eq!(attribute("viam.module")["stringValue"], "one");
    assert_eq!(attribute("rpc.grpc.status_code")["intValue"], "0");
    assert_eq!(failed["status"]["code"], 2, "{failed}");
    world.shutdown().await.left_nothing_behind();
}

#[tokio::test]
async fn a_machine_that_is_not_traced_leaves_a_callers_trace_as_it_is() {
    let world = World::settled(machine(json!({ "enabled": true }))).await;
    assert_eq!(
        say_in_trace(&world, "01").await,
        format!("00-{TRACE}-00f067aa0ba902b7-01")
    );
    let env = command(&world, "box", json!({ "env": "VIAM_MODULE_TRACING" })).await;
    assert_eq!(env.expect("an answer")["env"], Value::Null);
    assert!(!world.place.file("home/trace").exists());
    world.shutdown().await.left_nothing_behind();
}

#[tokio::test]
async fn a_collector_gets_the_records_and_its_absence_harms_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    drop(listener);
    let endpoint = format!("localhost:{port}");
    let world = World::settled(machine(json!({ "enabled": true, "otlpendpoint": endpoint }))).await;
    say_in_trace(&world, "01").await;
    world.until_printed("traces do not reach `localhost:").await;

    let (collected, mut batches) = mpsc::unbounded_channel();
    let mut servers = JoinSet::new();
    let address = format!("127.0.0.1:{port}").parse().expect("an address");
    servers.spawn(
        tonic::transport::Server::builder()
            .add_service(Collector(collected))
            .serve(address),
    );
    let found = async {
        loop {
            say_in_trace(&world, "01").await;
            let batch = tokio::time::timeout(Duration::from_millis(300), batches.recv()).await;
            let Ok(Some(batch)) = batch else { continue };
            let batch: SendTracesRequest = batch;
            let scopes = batch.resource_spans.into_iter().flat_map(|spans| spans.scope_spans);
            if let Some(span) = scopes
                .flat_map(|scope| scope.spans)
                .find(|span| span.name.ends_with("EchoService/Say"))
            {
                return span;
            }
        }
    };
    let span = tokio::time::timeout(Duration::from_secs(30), found)
        .await
        .expect("a record of the call");
    assert_eq!(span.trace_id.len(), 16);
    world.until_printed("traces reach their collector again").await;
    world.shutdown().await.left_nothing_behind();
}

/// The one method of a collector, whose request has the form of SendTraces.
#[derive(Clone)]
struct Collector(mpsc::UnboundedSender<SendTracesRequest>);

impl NamedService for Collector {
    const NAME: &'static str = "opentelemetry.proto.collector.trace.v1.TraceService";
}

impl UnaryService<SendTracesRequest> for Collector {
    type Response = SendTracesResponse;
    type Future = Ready<Result<Response<SendTracesResponse>, Status>>;

    fn call(&mut self, request: Request<SendTracesRequest>) -> Self::Future {
        let _over = self.0.send(request.into_inner());
        ready(Ok(Response::new(SendTracesResponse {})))
    }
}

impl Service<http::Request<tonic::body::Body>> for Collector {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let collector = self.clone();
        Box::pin(async move {
            let codec: ProstCodec<SendTracesResponse, SendTracesRequest> = ProstCodec::default();
            Ok(Grpc::new(codec).unary(collector, request).await)
        })
    }
}
