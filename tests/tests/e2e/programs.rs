//! Programs in Rust that drive a machine with the SDK: keys, encryption, sessions, losses, and what they watch.

use std::net::TcpListener;
use std::process::Stdio;
use std::time::{Duration, Instant};

use mainstay_module::{Code, ConnectionState, Error, ModuleState, Robot, prelude::*};
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::proc;
use mainstay_tests::world::{PATIENCE, Place, World};
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::time::timeout;

const ID: &str = "3f0b6d9e-8a57-4a41-9a5e-0f6f3c1d7a10";

/// The rover, whose owner has this key.
fn rover(key: &str) -> Machine {
    Machine::new()
        .module(Module::fixture("eyes"))
        .resource(Resource::echo("lidar"))
        .resource(Resource::fake("left", "motor"))
        .set(
            "auth",
            json!({ "handlers": [{ "type": "api-key", "config": { "keys": [ID], ID: key } }] }),
        )
}

fn free_address() -> String {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    free.expect("a free port").to_string()
}

async fn refused(connect: mainstay_module::Connect) -> Error {
    let refused = timeout(PATIENCE, connect).await.expect("it never hangs");
    refused.err().expect("refused")
}

#[tokio::test]
async fn a_program_with_a_key_drives_a_machine_by_tls_and_what_is_wrong_with_others_is_told() {
    let place = Place::new();
    let ca = place.make_keys(&place.file("machine.json")).await;
    let network = json!({ "bind_address": "127.0.0.1:0", "tls": "own" });
    let mut world = place.start(rover("k-1").set("network", network)).await;
    world
        .until(|now| now.running() && now.ready("left") && now.ready("lidar"))
        .await;
    let address = world.address().to_owned();

    let robot = Robot::connect(&address)
        .api_key(ID, "k-1")
        .ca_pem(&ca)
        .await
        .expect("connects");
    let left = robot.resource::<dyn Motor>("left").expect("a client");
    left.set_power(0.5, NO_EXTRA).await.expect("moves");
    assert!(left.is_moving().await.expect("tells"));
    robot.stop_all().await.expect("stops");
    assert!(!left.is_moving().await.expect("tells"));
    let names = robot.resource_names().await.expect("names");
    assert!(
        names.iter().any(|name| name.to_string() == "rdk:component:motor/left"),
        "{names:?}"
    );
    let status = robot.machine_status().await.expect("a status");
    assert!(status.running && status.is_ready("lidar") && status.is_ready("rdk:component:motor/left"));
    assert_eq!(
        status.module("eyes").map(|module| module.state),
        Some(ModuleState::Ready),
        "{status:?}"
    );
    assert_eq!(robot.operations().await.expect("operations"), []);
    robot.cancel_operation(ID).await.expect("it is over");
    let by_simple_name = robot.do_command("left", object! { "command" => 1 }).await;
    let by_full_name = robot.do_command("rdk:component:motor/left", object! {}).await;
    for outcome in [by_simple_name, by_full_name] {
        assert!(
            !matches!(&outcome, Err(error) if error.code() == Code::NotFound),
            "{outcome:?}"
        );
    }
    let nobody = robot.do_command("nobody", object! {}).await.expect_err("nobody");
    assert_eq!(nobody.code(), Code::NotFound);
    assert_eq!(
        robot
            .resource::<dyn Motor>("rdk:component:camera/left")
            .err()
            .map(|error| error.code()),
        Some(Code::InvalidArgument)
    );
    robot.clone().close().await;
    let closed = left.is_moving().await.expect_err("closed");
    assert!(closed.message().contains("was closed by this program"), "{closed}");
    assert_eq!(robot.connection_state(), ConnectionState::Closed);

    let other = world.place.make_keys(&world.place.file("other.yaml")).await;
    let connect = || Robot::connect(&address);
    for (connect, code, text) in [
        (connect().ca_pem(&ca), Code::Unauthenticated, "wants to know who calls"),
        (
            connect().ca_pem(&ca).api_key(ID, "no"),
            Code::Unauthenticated,
            "does not take the api-key",
        ),
        (
            connect().ca_pem(&ca).bearer_token("x.y.z"),
            Code::Unauthenticated,
            "does not take the token",
        ),
        (
            connect().ca_pem(&ca).location_secret("k-1"),
            Code::InvalidArgument,
            "robot-location-secret",
        ),
        (
            connect().ca_pem(&other).api_key(ID, "k-1"),
            Code::FailedPrecondition,
            "is not trusted",
        ),
        (connect().api_key(ID, "k-1"), Code::FailedPrecondition, "is not trusted"),
        (
            connect().ca_pem(&ca).server_name("rover.example").api_key(ID, "k-1"),
            Code::FailedPrecondition,
            "NotValidForName",
        ),
        (
            connect().ca_file(world.place.file("nowhere.pem")),
            Code::InvalidArgument,
            "cannot read",
        ),
        (
            connect().ca_pem("no certificate"),
            Code::InvalidArgument,
            "holds no certificate",
        ),
        (
            connect().ca_pem(&ca).insecure(),
            Code::InvalidArgument,
            "leave one of both out",
        ),
        (
            connect().insecure().api_key(ID, "k-1"),
            Code::Unavailable,
            "cannot connect",
        ),
    ] {
        let error = refused(connect).await;
        assert!(
            error.code() == code && error.message().contains(text),
            "{error:?}, not {text}"
        );
        assert!(!error.message().contains("k-1"), "{error}");
    }
}

#[tokio::test]
async fn a_program_with_a_certificate_needs_no_key() {
    let place = Place::new();
    let ca = place.make_keys(&place.file("machine.json")).await;
    place.make_keys(&place.file("other.json")).await;
    for arguments in [
        ["laptop", "machine.json"],
        ["stranger", "machine.json"],
        ["foreign", "other.json"],
    ] {
        let issued = place.mainstay(&["keys", "client", arguments[0], arguments[1]]).await;
        assert_eq!(issued.code, 0, "{issued:?}");
    }
    let mut machine = rover("k-1").set("network", json!({ "bind_address": "127.0.0.1:0", "tls": "own" }));
    let mut auth = machine.json()["auth"].clone();
    auth["tls_auth_entities"] = json!(["laptop", "foreign"]);
    auth["roles"] = json!({ "viewer": { "entities": ["laptop"] } });
    machine = machine.set("auth", auth);
    let mut world = place.start(machine).await;
    world.until(|now| now.running() && now.ready("left")).await;
    let connect = |name: &str| {
        let file = |kind| world.place.file(&format!("{name}.{kind}"));
        Robot::connect(world.address())
            .ca_pem(&ca)
            .client_certificate(file("pem"), file("key"))
    };
    let robot = connect("laptop").await.expect("connects");
    let left = robot.resource::<dyn Motor>("left").expect("a client");
    assert!(!left.is_moving().await.expect("a viewer may look"));
    let refused_move = left.set_power(0.5, NO_EXTRA).await.expect_err("and move nothing");
    assert_eq!(refused_move.code(), Code::PermissionDenied, "{refused_move:?}");
    left.stop(NO_EXTRA).await.expect("but stop everything");
    // A name that the config does not list, one of another authority, and a key that is not the certificate's.
    let error = refused(connect("stranger")).await;
    assert_eq!(error.code(), Code::Unauthenticated, "{error:?}");
    let error = refused(connect("foreign")).await;
    assert!(
        matches!(
            error.code(),
            Code::Unauthenticated | Code::FailedPrecondition | Code::Unavailable
        ),
        "{error:?}"
    );
    let mixed = Robot::connect(world.address())
        .ca_pem(&ca)
        .client_certificate(world.place.file("laptop.pem"), world.place.file("stranger.key"));
    let error = refused(mixed).await;
    assert_eq!(error.code(), Code::InvalidArgument, "{error:?}");
}

#[tokio::test]
async fn cleartext_is_spoken_on_this_host_and_elsewhere_only_if_asked_for() {
    let world = World::settled(rover("k-1")).await;
    let address = world.address().to_owned();
    let robot = Robot::connect(&address).api_key(ID, "k-1").await.expect("connects");
    robot.resource_names().await.expect("names");
    let error = refused(Robot::connect(&address).api_key(ID, "k-1").server_name("localhost")).await;
    assert!(
        error.code() == Code::FailedPrecondition && error.message().contains("`.insecure()`"),
        "{error:?}"
    );
    let error = refused(Robot::connect(&free_address())).await;
    assert!(
        error.code() == Code::Unavailable && error.message().contains("refused"),
        "{error:?}"
    );
    // The control socket asks nobody.
    let socket = world.place.runtime_folders()[0].join("control.sock");
    let local = Robot::connect(socket.to_str().expect("UTF-8")).await.expect("connects");
    assert!(local.machine_status().await.expect("a status").is_ready("left"));
}

#[tokio::test]
async fn clients_outlive_a_restart_of_their_machine() {
    let address = free_address();
    let mut world = World::settled(rover("k-1").bind(&address)).await;
    let robot = Robot::connect(&address).api_key(ID, "k-1").await.expect("connects");
    let patient = Robot::connect(&address)
        .api_key(ID, "k-1")
        .wait(PATIENCE)
        .await
        .expect("connects");
    let left = robot.resource::<dyn Motor>("left").expect("a client");
    left.set_power(0.5, NO_EXTRA).await.expect("moves");
    let mut watch = robot.watch_every(Duration::from_millis(50));
    watch.until(|view| view.is_ready("left")).await.expect("seen");
    world.stop_core().await;
    let away = watch.until(|view| !view.is_connected()).await.expect("seen");
    assert!(away.status.is_none(), "{away:?}");
    let begun = Instant::now();
    let error = left.set_power(0.5, NO_EXTRA).await.expect_err("it is away");
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    let expected = format!("not connected to {address} for ");
    assert!(
        error.code() == Code::Unavailable && error.message().starts_with(&expected),
        "{error:?}"
    );
    // Names are told as soon as it is there, resources may take longer.
    let (names, _world) = tokio::join!(patient.resource_names(), world.restart());
    names.expect("it waited for the machine");
    let back = watch.until(|view| view.is_ready("left")).await.expect("seen");
    assert!(back.is_connected());
    left.set_power(0.25, NO_EXTRA)
        .await
        .expect("moves again, with another token and another session");
}

#[tokio::test]
async fn a_machine_that_falls_silent_is_given_up_and_taken_up_when_it_speaks() {
    let world = World::settled(rover("k-1")).await;
    let robot = Robot::connect(world.address())
        .api_key(ID, "k-1")
        .await
        .expect("connects");
    let left = robot.resource::<dyn Motor>("left").expect("a client");
    let mut watch = robot.watch();
    watch.until(|view| view.is_ready("left")).await.expect("seen");
    proc::signal(world.pid(), Signal::SIGSTOP);
    let begun = Instant::now();
    let waiting = timeout(PATIENCE, left.is_moving())
        .await
        .expect("it ends with the connection");
    let error = waiting.expect_err("nobody answers");
    eprintln!("figure: a silent machine is given up after {:?}", begun.elapsed());
    assert!(
        error.code() == Code::Unavailable && error.message().contains("silent for 15s"),
        "{error:?}"
    );
    let away = watch.until(|view| !view.is_connected()).await.expect("seen");
    assert!(away.status.is_none(), "{away:?}");
    proc::signal(world.pid(), Signal::SIGCONT);
    let back = timeout(PATIENCE, watch.until(|view| view.is_ready("left"))).await;
    back.expect("in time").expect("seen");
    left.set_power(0.5, NO_EXTRA).await.expect("moves");
}

#[tokio::test]
async fn a_token_that_ended_is_renewed_and_a_key_that_ended_is_told() {
    let world = World::settled(rover("k-1")).await;
    let robot = Robot::connect(world.address())
        .api_key(ID, "k-1")
        .await
        .expect("connects");
    let left = robot.resource::<dyn Motor>("left").expect("a client");
    left.set_power(0.5, NO_EXTRA).await.expect("moves");
    world.rewrite(&rover("k-2"));
    let end = Instant::now() + PATIENCE;
    let error = loop {
        match left.is_moving().await {
            Err(error) => break error,
            Ok(_) => assert!(Instant::now() < end, "the old key still counts"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(error.code(), Code::Unauthenticated, "{error:?}");
    assert!(error.message().contains("does not take the api-key"), "{error}");
    world.rewrite(&rover("k-1"));
    while let Err(error) = left.set_power(0.5, NO_EXTRA).await {
        assert!(
            error.code() == Code::Unauthenticated && Instant::now() < end,
            "{error:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_a_program_moves_stops_when_it_is_killed_and_when_it_lets_go() {
    let window = Duration::from_millis(500);
    let mut world = World::settled(rover("k-1").heartbeat_window("500ms")).await;
    world.until(|now| now.ready("left")).await;
    let socket = world.place.runtime_folders()[0].join("control.sock");
    let local = Robot::connect(socket.to_str().expect("UTF-8")).await.expect("connects");
    let seen = local.resource::<dyn Motor>("left").expect("a client");
    let until_moving = async |moving: bool| {
        let begun = Instant::now();
        while seen.is_moving().await.expect("tells") != moving {
            assert!(begun.elapsed() < PATIENCE, "moving is not {moving}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        begun.elapsed()
    };
    let mut command = world.place.command(&mainstay_tests::bins::find("drive"));
    command
        .args([world.address(), "left"])
        .env("DRIVE_KEY", format!("{ID}:k-1"));
    let mut program = command.stdout(Stdio::null()).spawn().expect("it starts");
    until_moving(true).await;
    // Longer than the window: the session is kept.
    tokio::time::sleep(window * 2).await;
    assert!(seen.is_moving().await.expect("tells"));
    program.kill().expect("it lives");
    program.wait().expect("it ends");
    let took = until_moving(false).await;
    eprintln!("figure: a motor of a killed program stops after {took:?}, at a window of {window:?}");
    assert!(took < window * 4, "{took:?}");

    let robot = Robot::connect(world.address())
        .api_key(ID, "k-1")
        .await
        .expect("connects");
    let left = robot.resource::<dyn Motor>("left").expect("a client");
    left.set_power(0.5, NO_EXTRA).await.expect("moves");
    drop(robot);
    tokio::time::sleep(window * 2).await;
    assert!(left.is_moving().await.expect("its client is there"));
    drop(left);
    until_moving(false).await;
    let robot = Robot::connect(world.address())
        .api_key(ID, "k-1")
        .without_sessions()
        .await
        .expect("connects");
    robot
        .resource::<dyn Motor>("left")
        .expect("a client")
        .set_power(0.5, NO_EXTRA)
        .await
        .expect("moves");
    drop(robot);
    tokio::time::sleep(window * 2).await;
    assert!(seen.is_moving().await.expect("tells"), "it was asked to go on");
}

#[tokio::test]
async fn a_watch_sees_a_module_die_and_come_back() {
    // A pause, in which nobody can miss that it is away.
    let restart = json!({ "first": "300ms", "burst": 0, "then": "300ms" });
    let mut machine = rover("k-1");
    machine = machine.module(Module::family("nose").set("restart", restart));
    let machine = machine.resource(Resource::of("nose", "echo", "sniffer"));
    let world = World::settled(machine).await;
    let robot = Robot::connect(world.address())
        .api_key(ID, "k-1")
        .await
        .expect("connects");
    let mut watch = robot.watch_every(Duration::from_millis(10));
    watch.until(|view| view.is_ready("sniffer")).await.expect("seen");
    let pid = world.snapshot().await.pid("nose").expect("a process");
    proc::signal(pid, Signal::SIGKILL);
    let away = watch.until(|view| view.is_connected() && view.status.is_some() && !view.is_ready("sniffer"));
    let away = timeout(PATIENCE, away).await.expect("in time").expect("seen");
    assert!(away.is_ready("left"), "{away:?}");
    let back = timeout(PATIENCE, watch.until(|view| view.is_ready("sniffer"))).await;
    back.expect("in time").expect("seen");
    drop(robot);
    let ended = async { while watch.changed().await.is_some() {} };
    timeout(PATIENCE, ended).await.expect("it ends with its robot");
}

#[tokio::test]
async fn a_server_of_the_python_sdk_is_used_though_it_has_neither_sessions_nor_a_status() {
    let place = World::start(Machine::new()).await;
    let address = free_address();
    let port = address.rsplit_once(':').expect("a port").1;
    let mut server = place.start_python("serve_components.py", &[port]);
    let robot = Robot::connect(&address)
        .insecure()
        .wait(PATIENCE)
        .await
        .expect("connects");
    let wheel = robot.resource::<dyn Motor>("wheel").expect("a client");
    wheel.set_power(0.5, NO_EXTRA).await.expect("moves");
    assert!(wheel.is_moving().await.expect("tells"));
    let thermometer = robot.resource::<dyn Sensor>("thermometer").expect("a client");
    assert_eq!(
        thermometer.readings(NO_EXTRA).await.expect("readings")["celsius"].as_f64(),
        Some(21.5)
    );
    let heard = robot
        .do_command("rdk:component:sensor/thermometer", object! { "a" => 1 })
        .await;
    assert_eq!(heard.expect("heard"), object! { "heard" => object! { "a" => 1 } });
    let watch = robot.watch_every(Duration::from_millis(20));
    assert!(watch.now().is_connected());
    server.kill().expect("it lives");
    server.wait().expect("it ends");
    let mut watch = watch;
    watch.until(|view| !view.is_connected()).await.expect("seen");
}
