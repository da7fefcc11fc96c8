//! Buffered bytes that the core holds for those who do not read: bounded by stream, connection, peer and in all, and given back afterwards.

use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::{Builder, ResponseFuture, SendRequest};
use http::Request;
use mainstay_proto::viam::component::motor::v1::{StopRequest, StopResponse};
use mainstay_tests::echo::SayRequest;
use mainstay_tests::leaks;
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::proc;
use mainstay_tests::traffic::Traffic;
use mainstay_tests::world::{PATIENCE, World};
use nix::sys::signal::Signal;
use prost::Message as _;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::grpc_web::base64;

const SAY: &str = "/mainstay.tests.echo.v1.EchoService/Say";
const STOP: &str = "/viam.component.motor.v1.MotorService/Stop";
const BINARY: &str = "application/grpc";
/// gRPC-web in base64.
const TEXT: &str = "application/grpc-web-text";
/// Streams of one connection, and bytes of each.
const STREAMS: usize = 2_000;
const SIZE: usize = 480_000;
/// Floods take all processor time that there is, so they come one after the other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());
/// Time that the floods have.
const FLOOD: Duration = Duration::from_secs(6);

/// A machine with a motor, and an echo in a module of its own that is not ended for being silent.
async fn world() -> World {
    let health = json!({ "interval": "5s", "timeout": "60s", "kill_after": "120s" });
    let machine = Machine::new()
        .module(Module::fixture("eyes").set("health", health))
        .resource(Resource::echo("echo"))
        .resource(Resource::fake("left", "motor"));
    let mut world = World::settled(machine).await;
    world.until(|now| now.ready("echo") && now.ready("left")).await;
    world
}

/// A message to the echo in its frame.
fn message(request: &SayRequest) -> Bytes {
    let message = request.encode_to_vec();
    let mut framed = BytesMut::with_capacity(message.len() + 5);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).expect("small"));
    framed.put_slice(&message);
    framed.freeze()
}

fn large() -> Bytes {
    message(&SayRequest {
        name: "echo".into(),
        text: "x".repeat(SIZE),
        ..SayRequest::default()
    })
}

/// Begins a call and hands its whole request over.
fn begin(sender: &mut SendRequest<Bytes>, (content_type, message): (&str, Bytes)) -> Option<ResponseFuture> {
    let request = Request::post(format!("http://localhost{SAY}"))
        .header("content-type", content_type)
        .header("te", "trailers");
    let (answer, mut body) = sender.send_request(request.body(()).expect("a request"), false).ok()?;
    body.send_data(message, true).ok()?;
    Some(answer)
}

/// Makes [`STREAMS`] calls at once over a connection of its own, as far as the server lets it, and keeps them until the
/// end of the flood. The codes with which they ended meanwhile: `None` is none.
async fn flood(address: String, (content_type, message): (&str, Bytes)) -> Vec<Option<String>> {
    let end = tokio::time::Instant::now() + FLOOD;
    let stream = TcpStream::connect(address).await.expect("open");
    let (mut sender, connection) = Builder::new()
        .initial_max_send_streams(STREAMS)
        .handshake(stream)
        .await
        .expect("HTTP/2");
    let mut calls = JoinSet::new();
    calls.spawn(async move {
        let _ = connection.await;
        None
    });
    for _ in 0..STREAMS {
        match tokio::time::timeout_at(end, sender.ready()).await {
            Ok(Ok(ready)) => sender = ready,
            _ => break,
        }
        let Some(answer) = begin(&mut sender, (content_type, message.clone())) else {
            break;
        };
        calls.spawn(async move {
            let answer = tokio::time::timeout_at(end, answer).await.ok()?.ok()?;
            let code = answer.headers().get("grpc-status")?.to_str().ok()?;
            Some(code.to_owned())
        });
    }
    tokio::time::sleep_until(end).await;
    let mut codes = Vec::new();
    while let Ok(Some(code)) = timeout(Duration::from_millis(100), calls.join_next()).await {
        codes.push(code.expect("no panic"));
    }
    codes
}

/// Largest memory of the core in KiB while `work` runs, and what comes of the work.
async fn watched<T>(world: &World, work: impl Future<Output = T>) -> (u64, T) {
    let mut work = std::pin::pin!(work);
    let mut most = 0;
    loop {
        most = most.max(leaks::memory_kib(world.pid()));
        if let Ok(done) = timeout(Duration::from_millis(50), &mut work).await {
            return (most, done);
        }
    }
}

/// Waits until the core has given back all but `more` KiB.
async fn until_given_back(world: &World, before: u64, more: u64) -> u64 {
    let begun = Instant::now();
    loop {
        let now = leaks::memory_kib(world.pid());
        if now <= before + more {
            return now;
        }
        assert!(begun.elapsed() < PATIENCE, "{before} → {now} KiB are kept");
        sleep(Duration::from_millis(200)).await;
    }
}

/// Stops the motor over and over, for as long as the flood lasts; the slowest.
async fn stops(world: &World) -> Duration {
    let (end, mut slowest) = (Instant::now() + FLOOD, Duration::ZERO);
    while Instant::now() < end {
        let begun = Instant::now();
        let request = StopRequest {
            name: "left".into(),
            extra: None,
        };
        let _: StopResponse = world.call(STOP, &request).await.expect("Stop gets through");
        slowest = slowest.max(begun.elapsed());
        sleep(Duration::from_millis(50)).await;
    }
    slowest
}

/// Floods a module that does not read over so many connections; no more than `bound` KiB may be held for it. What a call
/// itself costs is several times as much in a debug build.
async fn floods_are_bounded(connections: usize, content_type: &'static str, bound: u64) {
    let _turn = ONE_AT_A_TIME.lock().await;
    let mut world = world().await;
    let motor = Traffic::of_motor(&world, "left", Duration::from_millis(10));
    sleep(Duration::from_millis(500)).await;
    let before = leaks::memory_kib(world.pid());
    let pid = world.snapshot().await.pid("eyes").expect("a process");
    proc::signal(pid, Signal::SIGSTOP);
    let message = match content_type {
        TEXT => base64(&large()).into(),
        _ => large(),
    };
    let mut floods = JoinSet::new();
    for _ in 0..connections {
        floods.spawn(flood(world.address().to_owned(), (content_type, message.clone())));
    }
    let work = async { tokio::join!(stops(&world), floods.join_all()) };
    let (most, (slowest, ended)) = watched(&world, work).await;
    proc::signal(pid, Signal::SIGCONT);
    let calls = motor.end();
    let ended: Vec<_> = ended.into_iter().flatten().flatten().collect();
    let refused = ended.iter().filter(|code| *code == "8").count();
    eprintln!(
        "{connections}: {before} → {most} KiB; {} calls, the slowest {:?}; the slowest Stop {slowest:?}; {} ended, {refused} refused",
        calls.answered,
        calls.slowest,
        ended.len()
    );
    calls.none_failed().expect("nobody else notices");
    assert!(refused > 0, "none was refused");
    assert!(most <= before + bound, "{before} → {most} KiB");
    let after = until_given_back(&world, before, 8 << 10).await;
    eprintln!("given back: {after} KiB");
    world.until(|now| now.ready("echo")).await;
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_calls_to_a_module_that_does_not_read_are_held_within_bounds() {
    floods_are_bounded(1, BINARY, 100 << 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_connections_of_one_peer_are_held_within_bounds_together() {
    floods_are_bounded(20, BINARY, 360 << 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_calls_of_browsers_in_base64_are_held_within_bounds() {
    floods_are_bounded(1, TEXT, 110 << 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_nobody_reads_are_held_within_bounds() {
    let _turn = ONE_AT_A_TIME.lock().await;
    unread_answers_are_bounded(BINARY).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_in_base64_that_nobody_reads_are_held_within_bounds() {
    unread_answers_are_bounded(TEXT).await;
}

/// Answers of 1 MB each, of which nothing is read: neither from the streams, nor from the socket.
async fn unread_answers_are_bounded(content_type: &str) {
    let mut world = world().await;
    let motor = Traffic::of_motor(&world, "left", Duration::from_millis(10));
    sleep(Duration::from_millis(500)).await;
    let before = leaks::memory_kib(world.pid());
    let request = message(&SayRequest {
        name: "echo".into(),
        delay_ms: 1_000,
        padding_bytes: 1_000_000,
        ..SayRequest::default()
    });
    let request = match content_type {
        TEXT => base64(&request).into(),
        _ => request,
    };
    let mut held = Vec::new();
    for _ in 0..3 {
        let stream = TcpStream::connect(world.address()).await.expect("open");
        let (mut sender, mut connection) = Builder::new()
            .initial_window_size(1 << 30)
            .initial_connection_window_size(1 << 30)
            .handshake(stream)
            .await
            .expect("HTTP/2");
        let mut answers = Vec::new();
        for _ in 0..100 {
            answers.extend(begin(&mut sender, (content_type, request.clone())));
        }
        let _sent = timeout(Duration::from_millis(500), &mut connection).await;
        held.push((connection, answers));
    }
    let (most, slowest) = watched(&world, stops(&world)).await;
    let calls = motor.end();
    eprintln!(
        "answers: {before} → {most} KiB; {} calls, the slowest {:?}; the slowest Stop {slowest:?}",
        calls.answered, calls.slowest
    );
    calls.none_failed().expect("nobody else notices");
    assert!(most <= before + (140 << 10), "{before} → {most} KiB");
    drop(held);
    until_given_back(&world, before, 8 << 10).await;
    world.until(|now| now.ready("echo")).await;
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn what_closed_connections_took_is_given_back() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let world = world().await;
    let before = leaks::memory_kib(world.pid());
    let mut open = Vec::new();
    for _ in 0..1_500 {
        let stream = TcpStream::connect(world.address()).await.expect("open");
        let (sender, mut connection) = h2::client::handshake(stream).await.expect("HTTP/2");
        let _settled = timeout(Duration::from_millis(1), &mut connection).await;
        open.push((sender, connection));
    }
    sleep(Duration::from_secs(1)).await;
    let most = leaks::memory_kib(world.pid());
    drop(open);
    // Nobody calls meanwhile.
    let after = until_given_back(&world, before, 8 << 10).await;
    eprintln!("1,500 connections: {before} → {most} → {after} KiB");
    world.shutdown().await.with_code(0).left_nothing_behind();
}
