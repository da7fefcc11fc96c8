//! Tests of the systemd unit and its notifications.

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use mainstay_proto::viam::robot::v1::ResourceStatus;
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::proc::{self, eventually};
use mainstay_tests::world::{PATIENCE, Place};
use mainstay_tests::{bins, rpc};
use nix::sys::signal::Signal;
use nix::time::{ClockId, clock_gettime};

/// A service manager that takes what it is told as it comes: the kernel keeps ten messages, and the rest is lost.
struct Manager {
    said: Arc<Mutex<Vec<String>>>,
    over: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl Manager {
    fn listen(socket: UnixDatagram) -> Self {
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .expect("a socket");
        let (said, over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (list, end) = (Arc::clone(&said), Arc::clone(&over));
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 1024];
            while !end.load(Ordering::SeqCst) {
                if let Ok(length) = socket.recv(&mut buffer) {
                    let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                    list.lock().unwrap_or_else(PoisonError::into_inner).push(text);
                }
            }
        });
        Self {
            said,
            over,
            reader: Some(reader),
        }
    }

    /// All that was said so far, in order.
    fn heard(&self) -> Vec<String> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until something was said that begins so.
    async fn hears(&self, beginning: &str) {
        let told = eventually(PATIENCE, || self.heard().iter().any(|text| text.starts_with(beginning)));
        assert!(told.await, "no {beginning}: {:?}", self.heard());
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// Signs of life, without which the watchdog barks.
fn beats(texts: &[String]) -> usize {
    texts.iter().filter(|text| *text == "WATCHDOG=1").count()
}

#[tokio::test]
async fn the_service_manager_hears_of_readiness_beats_and_the_end() {
    let name = format!("mainstay-e2e-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("short");
    let manager = Manager::listen(UnixDatagram::bind_addr(&address).expect("free"));
    let place = Place::new()
        .env("NOTIFY_SOCKET", &format!("@{name}"))
        .env("WATCHDOG_USEC", "40000");
    let machine = Machine::new()
        .module(Module::fixture("eyes"))
        .resource(Resource::generic("box"));
    let mut world = place.start(machine).await;
    manager.hears("READY=1").await;
    assert!(eventually(PATIENCE, || beats(&manager.heard()) >= 3).await);
    let mut texts = manager.heard();
    texts.retain(|text| text != "WATCHDOG=1");
    assert!(
        texts[0].starts_with("READY=1\nSTATUS=serving on ") && texts[0].contains("1 of 1 resources ready"),
        "{texts:?}"
    );
    world.until(|now| now.running() && now.ready("box")).await;
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
    manager.hears("STOPPING=1").await;
}

/// Time since a moment of the monotonic clock, given in microseconds.
fn ago(monotonic_usec: u64) -> Duration {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("there is such a clock");
    Duration::from(now).saturating_sub(Duration::from_micros(monotonic_usec))
}

#[tokio::test]
async fn a_change_is_announced_before_it_begins_and_readiness_follows_when_it_is_over() {
    const BUILDS: Duration = Duration::from_millis(400);
    let name = format!("mainstay-e2e-reload-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("short");
    let manager = Manager::listen(UnixDatagram::bind_addr(&address).expect("free"));
    let place = Place::new().env("NOTIFY_SOCKET", &format!("@{name}"));
    let machine = || {
        let eyes = Module::fixture("eyes");
        Machine::new().module(eyes).resource(Resource::generic("box"))
    };
    let mut world = place.start(machine()).await;
    world.until(|now| now.running() && now.ready("box")).await;
    manager.hears("READY=1").await;
    let late = Resource::generic("late").attributes(serde_json::json!({ "build_ms": BUILDS.as_millis() as u64 }));
    world.rewrite(&machine().resource(late));
    manager.hears("RELOADING=1").await;
    let readiness = |texts: &[String]| texts.iter().filter(|text| text.starts_with("READY=1")).count();
    let over = eventually(PATIENCE, || readiness(&manager.heard()) == 2).await;
    let texts = manager.heard();
    assert!(over, "{texts:?}");
    let now = world.snapshot().await;
    assert!(
        now.ready("late"),
        "READY=1 was said before the change was over: {now:?}"
    );
    let [first, announced, second] = &texts[..] else {
        panic!("once each: {texts:?}")
    };
    assert!(
        first.starts_with("READY=1") && second.contains("STATUS=config: current"),
        "{texts:?}"
    );
    let usec = announced.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
    let usec = usec
        .and_then(|usec| usec.parse().ok())
        .expect("RELOADING=1 with its time");
    let announced = ago(usec);
    let named = |resource: &&ResourceStatus| resource.name.as_ref().is_some_and(|name| name.name == "late");
    let status = now.machine.resources.iter().find(named).expect("configured");
    let ready = SystemTime::try_from(status.last_updated.expect("a time")).expect("a time");
    let ready = ready.elapsed().unwrap_or_default();
    assert!(
        announced >= ready + BUILDS,
        "announced {announced:?} ago, READY {ready:?} ago after being built for {BUILDS:?}"
    );
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn on_a_socket_with_a_path_beats_come_before_readiness_and_go_on_until_the_end() {
    // Not among the machine's own folders: its sockets have to be gone at the end.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("notify");
    let manager = Manager::listen(UnixDatagram::bind(&path).expect("free"));
    let place = Place::new()
        .env("NOTIFY_SOCKET", path.to_str().expect("UTF-8"))
        .env("WATCHDOG_USEC", "40000");
    // A start that takes long enough for the watchdog to bark.
    let late = Module::faulty("late", "mute").set("health", serde_json::json!({ "start_timeout": "400ms" }));
    let machine = Machine::new().module(late).module(Module::fixture("eyes"));
    let mut world = place.start(machine).await;
    manager.hears("READY=1").await;
    let texts = manager.heard();
    let beats_before = texts.iter().take_while(|text| *text == "WATCHDOG=1").count();
    assert!(
        beats_before >= 3 && texts[beats_before].starts_with("READY=1"),
        "{texts:?}"
    );

    // It must go on beating while a deaf module uses up its grace.
    world.until(|now| now.module_ready("eyes")).await;
    let eyes = world.snapshot().await.pid("eyes").expect("a process");
    proc::signal(eyes, Signal::SIGSTOP);
    world.shutdown().await.with_code(0).left_nothing_behind();
    manager.hears("STOPPING=1").await;
    let texts = manager.heard().split_off(beats_before + 1);
    let stopping = texts.iter().position(|text| text.starts_with("STOPPING=1"));
    let stopping = stopping.unwrap_or_else(|| panic!("{texts:?}"));
    assert_eq!(texts.len(), beats(&texts) + 1, "nothing else: {texts:?}");
    assert!(beats(&texts[stopping..]) >= 3, "{texts:?}");
}

#[tokio::test]
async fn systemd_finds_no_fault_with_the_unit() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("packaging/mainstay.service");
    let text = fs::read_to_string(&unit).expect("the unit is there");
    // By its name: systemd finds it in /usr/local/bin and in /usr/bin.
    let installed = "ExecStart=mainstay run ";
    assert!(text.contains(installed), "{text}");
    let place = Place::new();
    let built = text.replace(installed, &format!("ExecStart={} run ", bins::mainstay().display()));
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
