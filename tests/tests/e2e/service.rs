//! What the service manager hears and is told to do.

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process::Command;

use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::proc::{self, eventually};
use mainstay_tests::world::{PATIENCE, Place};
use mainstay_tests::{bins, rpc};
use nix::sys::signal::Signal;

/// Messages to the service manager, without the beats of the watchdog, and how many of those there were.
fn heard(manager: &UnixDatagram) -> (Vec<String>, usize) {
    manager.set_nonblocking(true).expect("a socket");
    let mut buffer = [0; 1024];
    let (mut texts, mut beats) = (Vec::new(), 0);
    while let Ok(length) = manager.recv(&mut buffer) {
        match String::from_utf8_lossy(&buffer[..length]).into_owned() {
            beat if beat == "WATCHDOG=1" => beats += 1,
            text => texts.push(text),
        }
    }
    (texts, beats)
}

#[tokio::test]
async fn the_service_manager_hears_of_readiness_beats_and_the_end() {
    let name = format!("mainstay-e2e-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("short");
    let manager = UnixDatagram::bind_addr(&address).expect("free");
    let place = Place::new()
        .env("NOTIFY_SOCKET", &format!("@{name}"))
        .env("WATCHDOG_USEC", "40000");
    let machine = Machine::new()
        .module(Module::fixture("eyes"))
        .resource(Resource::generic("box"));
    let mut world = place.start(machine).await;
    world.until(|now| now.running() && now.ready("box")).await;
    let (mut texts, mut beats) = (Vec::new(), 0);
    let told = eventually(PATIENCE, || {
        let (more, beaten) = heard(&manager);
        texts.extend(more);
        beats += beaten;
        !texts.is_empty() && beats >= 3
    });
    assert!(told.await, "{texts:?}, {beats} beats");
    assert!(
        texts[0].starts_with("READY=1\nSTATUS=serving on ") && texts[0].contains("1 of 1 resources ready"),
        "{texts:?}"
    );
    // What is meant for us is not for modules.
    let mut command = mainstay_proto::viam::common::v1::DoCommandRequest {
        name: "box".into(),
        ..Default::default()
    };
    let text = prost_types::Value {
        kind: Some(prost_types::value::Kind::StringValue("NOTIFY_SOCKET".into())),
    };
    command.command = Some(prost_types::Struct {
        fields: [("env".to_owned(), text)].into(),
    });
    let path = "/viam.component.generic.v1.GenericService/DoCommand";
    let answer: mainstay_proto::viam::common::v1::DoCommandResponse =
        rpc::call(world.channel(), path, &command).await.expect("answers");
    let value = answer.result.expect("a result").fields["env"].kind.clone();
    assert!(
        !matches!(&value, Some(prost_types::value::Kind::StringValue(text)) if !text.is_empty()),
        "{value:?}"
    );
    world.shutdown().await.with_code(0).left_nothing_behind();
    let (texts, _) = heard(&manager);
    assert!(texts.iter().any(|text| text.starts_with("STOPPING=1")), "{texts:?}");
}

/// All that was said, in order.
fn all_heard(manager: &UnixDatagram, texts: &mut Vec<String>) {
    manager.set_nonblocking(true).expect("a socket");
    let mut buffer = [0; 1024];
    while let Ok(length) = manager.recv(&mut buffer) {
        texts.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
    }
}

#[tokio::test]
async fn on_a_socket_with_a_path_beats_come_before_readiness_and_go_on_until_the_end() {
    // Not among the machine's own folders: its sockets have to be gone at the end.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("free");
    let place = Place::new()
        .env("NOTIFY_SOCKET", path.to_str().expect("UTF-8"))
        .env("WATCHDOG_USEC", "40000");
    // A start that takes long enough for the watchdog to bark.
    let late = Module::faulty("late", "mute").set("health", serde_json::json!({ "start_timeout": "400ms" }));
    let machine = Machine::new().module(late).module(Module::fixture("eyes"));
    let mut world = place.start(machine).await;
    let mut texts = Vec::new();
    let ready = eventually(PATIENCE, || {
        all_heard(&manager, &mut texts);
        texts.iter().any(|text| text.starts_with("READY=1"))
    });
    assert!(ready.await, "{texts:?}");
    let beats_before = texts.iter().take_while(|text| *text == "WATCHDOG=1").count();
    assert!(
        beats_before >= 3 && texts[beats_before].starts_with("READY=1"),
        "{texts:?}"
    );

    // It must go on beating while a deaf module uses up its grace.
    world.until(|now| now.module_ready("eyes")).await;
    let eyes = world.snapshot().await.pid("eyes").expect("a process");
    proc::signal(eyes, Signal::SIGSTOP);
    texts.clear();
    world.shutdown().await.with_code(0).left_nothing_behind();
    all_heard(&manager, &mut texts);
    let stopping = texts.iter().position(|text| text.starts_with("STOPPING=1"));
    let stopping = stopping.unwrap_or_else(|| panic!("{texts:?}"));
    let beats = |texts: &[String]| texts.iter().filter(|text| *text == "WATCHDOG=1").count();
    assert_eq!(texts.len(), beats(&texts) + 1, "nothing else: {texts:?}");
    assert!(beats(&texts[stopping..]) >= 3, "{texts:?}");
}

#[tokio::test]
async fn systemd_finds_no_fault_with_the_unit() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("packaging/mainstay.service");
    let text = fs::read_to_string(&unit).expect("the unit is there");
    let installed = "/usr/local/bin/mainstay";
    assert!(text.contains(&format!("ExecStart={installed} run ")), "{text}");
    let place = Place::new();
    let built = text.replace(installed, bins::mainstay().to_str().expect("UTF-8"));
    let copy = place.write("mainstay.service", &built);
    let verified = Command::new("systemd-analyze").arg("verify").arg(&copy).output();
    match verified {
        Err(error) => eprintln!("SKIPPED: there is no systemd-analyze: {error}"),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            // It also speaks of units of the host that are none of ours.
            let ours: Vec<_> = said.lines().filter(|line| line.contains("mainstay")).collect();
            assert!(output.status.success() && ours.is_empty(), "{said}");
        }
    }
}
