//! Peers that are slow, half open, too many or hostile: each costs itself alone, and a motor answers somebody else throughout.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mainstay_tests::bins;
use mainstay_tests::leaks;
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::proc;
use mainstay_tests::raw::{RawConnection, RawRequest};
use mainstay_tests::traffic::Traffic;
use mainstay_tests::world::{PATIENCE, Place, World};
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::rover;

const VERSION: &str = "/viam.robot.v1.RobotService/GetVersion";
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
/// Length of each flood.
const FLOOD: Duration = Duration::from_secs(2);
/// Longest time that a peer which does not come to the point is kept, with room for a busy test machine.
const KEPT: Duration = Duration::from_secs(13);

/// Sends the beginning of something, and waits until the server closes.
async fn until_closed(address: String, beginning: Vec<u8>) -> Duration {
    let mut stream = TcpStream::connect(address).await.expect("open");
    stream.write_all(&beginning).await.expect("sent");
    let begun = Instant::now();
    let mut rest = Vec::new();
    // However it closes.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    begun.elapsed()
}

#[tokio::test]
async fn who_does_not_come_to_the_point_is_let_go_within_ten_seconds() {
    let place = Place::new();
    let ca = place.make_keys(&place.file("machine.json")).await;
    let mut secure = place
        .start(rover().set("network", json!({ "bind_address": "127.0.0.1:0", "tls": "own" })))
        .await;
    secure.trust(Some(&ca));
    secure.until(|now| now.ready("left")).await;
    let mut clear = World::settled(rover()).await;
    clear.until(|now| now.ready("left")).await;
    let motors = [&secure, &clear].map(|world| Traffic::of_motor(world, "left", Duration::from_millis(10)));
    let with_preface = |rest: &[u8]| [PREFACE, rest].concat();
    let clear_beginnings = [
        Vec::new(),
        b"PRI * HT".to_vec(),
        PREFACE.to_vec(),
        with_preface(b"\0\0\x06\x04\0\0\0\0\0\0\x03"),
        b"GET / HTTP/1.1\r\nhost: ".to_vec(),
        b"\x16".to_vec(),
    ];
    let secure_beginnings = [
        Vec::new(),
        b"\x16".to_vec(),
        b"\x16\x03\x01\x02\0\x01\0".to_vec(),
        PREFACE[..7].to_vec(),
    ];
    let mut peers = JoinSet::new();
    for _ in 0..10 {
        for beginning in &clear_beginnings {
            peers.spawn(until_closed(clear.address().to_owned(), beginning.clone()));
        }
        for beginning in &secure_beginnings {
            peers.spawn(until_closed(secure.address().to_owned(), beginning.clone()));
        }
    }
    while let Some(kept) = peers.join_next().await {
        let kept = kept.expect("no panic");
        assert!(kept < KEPT, "{kept:?}");
    }
    for motor in motors {
        motor.end().none_failed().expect("nobody else notices");
    }
    clear.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_one_connection_cost_no_memory_and_nobody_else() {
    let mut world = World::settled(rover()).await;
    world.until(|now| now.ready("left")).await;
    let motor = Traffic::of_motor(&world, "left", Duration::from_millis(10));
    let before = leaks::memory_kib(world.pid());
    let ping = b"\0\0\x08\x06\0\0\0\0\0mainstay".as_slice();
    let headers = {
        // A call that is begun and reset at once, over and over: `:method POST`, `:scheme http`, `:path /`.
        let mut frames = Vec::new();
        for stream in (1..4_000_u32).step_by(2) {
            frames.extend_from_slice(&[0, 0, 3, 1, 4]);
            frames.extend_from_slice(&stream.to_be_bytes());
            frames.extend_from_slice(&[0x83, 0x86, 0x84]);
            frames.extend_from_slice(&[0, 0, 4, 3, 0]);
            frames.extend_from_slice(&stream.to_be_bytes());
            frames.extend_from_slice(&[0, 0, 0, 8]);
        }
        frames
    };
    for flood in [ping.repeat(20_000), SETTINGS.repeat(20_000), headers] {
        let mut peers = JoinSet::new();
        for _ in 0..4 {
            let (address, flood) = (world.address().to_owned(), flood.clone());
            peers.spawn(async move {
                let end = Instant::now() + FLOOD;
                while Instant::now() < end {
                    let mut stream = TcpStream::connect(&address).await.expect("open");
                    // Nothing of the answers is read, so at some point nothing more is taken; or the connection is ended.
                    let sending = async {
                        stream.write_all(&[PREFACE, SETTINGS].concat()).await?;
                        loop {
                            stream.write_all(&flood).await?;
                        }
                    };
                    let left = end.saturating_duration_since(Instant::now());
                    let _: Result<std::io::Result<()>, _> = tokio::time::timeout(left, sending).await;
                }
            });
        }
        while peers.join_next().await.is_some() {}
    }
    let after = leaks::memory_kib(world.pid());
    assert!(after < before + (40 << 10), "{before} → {after} KiB");
    let calls = motor.end();
    calls.none_failed().expect("nobody else notices");
    eprintln!(
        "{} calls, the slowest {:?}; {before} → {after} KiB",
        calls.answered, calls.slowest
    );
    world.shutdown().await.with_code(0).left_nothing_behind();
}

/// A world whose core may have few files open.
async fn with_few_files() -> World {
    let place = Place::new();
    let server = place.write(
        "limited.sh",
        &format!(
            "#!/bin/sh\nulimit -n 1024\nexec {} \"$@\"\n",
            bins::mainstay().display()
        ),
    );
    fs::set_permissions(&server, fs::Permissions::from_mode(0o755)).expect("ours");
    let machine = Machine::new()
        .module(Module::fixture("eyes"))
        .resource(Resource::probe("probe"))
        .resource(Resource::fake("left", "motor"));
    let mut world = place.server(&server).start(machine).await;
    world.until(|now| now.ready("probe") && now.ready("left")).await;
    world
}

#[tokio::test]
async fn a_thousand_idle_connections_keep_nobody_out_when_files_are_few() {
    let mut world = with_few_files().await;
    let motor = Traffic::of_motor(&world, "left", Duration::from_millis(20));
    let held = RawConnection::open(world.address()).await;
    assert_eq!(held.call(RawRequest::new(VERSION).message(&())).await.code, Some(0));
    // Some said nothing, the others are in the middle of nothing.
    let mut idle = Vec::new();
    for number in 0..1_200 {
        let Ok(mut stream) = TcpStream::connect(world.address()).await else {
            continue;
        };
        if number % 2 == 0 {
            let _ = stream.write_all(&[PREFACE, SETTINGS].concat()).await;
        }
        idle.push(stream);
    }
    for _ in 0..20 {
        let begun = Instant::now();
        let connection = RawConnection::open(world.address()).await;
        let answer = connection.call(RawRequest::new(VERSION).message(&())).await;
        assert_eq!(answer.code, Some(0), "{answer:?}");
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    }
    // A module that dies comes back meanwhile.
    let pid = world.snapshot().await.pid("eyes").expect("a process");
    proc::signal(pid, Signal::SIGKILL);
    world
        .until(|now| now.ready("probe") && now.pid("eyes") != Some(pid))
        .await;
    motor.end().none_failed().expect("a client that calls is not idle");
    drop(idle);
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_call_that_runs_keeps_its_connection_when_others_need_room() {
    let mut world = with_few_files().await;
    let (mut stream, _connection) = watch(&world).await;
    let mut idle = Vec::new();
    for _ in 0..1_200 {
        idle.extend(TcpStream::connect(world.address()).await.ok());
    }
    world.until(|now| now.ready("probe")).await;
    let first = tokio::time::timeout(PATIENCE, stream.data()).await.expect("in time");
    assert!(first.is_some_and(|chunk| chunk.is_ok()), "the watch goes on");
    let next = tokio::time::timeout(Duration::from_millis(200), stream.data()).await;
    assert!(next.is_err(), "it is still open: {next:?}");
}

/// A watch of a resource's health, over a connection of its own.
async fn watch(world: &World) -> (h2::RecvStream, JoinSet<()>) {
    let stream = TcpStream::connect(world.address()).await.expect("open");
    let (sender, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    let mut driver = JoinSet::new();
    driver.spawn(async move {
        let _ = connection.await;
    });
    let request = http::Request::post("http://localhost/grpc.health.v1.Health/Watch")
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    let mut sender = sender.ready().await.expect("open");
    let (response, mut body) = sender
        .send_request(request.body(()).expect("a request"), false)
        .expect("sent");
    body.send_data(Bytes::from_static(&[0, 0, 0, 0, 0]), true)
        .expect("sent");
    (response.await.expect("an answer").into_body(), driver)
}
