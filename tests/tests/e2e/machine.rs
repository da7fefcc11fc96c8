//! Start and end of a machine, and what it gives its modules.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use mainstay_proto::viam::common::v1::{DoCommandRequest, DoCommandResponse};
use mainstay_proto::viam::robot::v1::get_machine_status_response::State;
use mainstay_tests::echo::CountRequest;
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::proc::{self, eventually};
use mainstay_tests::status::Snapshot;
use mainstay_tests::world::{Place, World};
use mainstay_tests::{bins, raw, rpc};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio_stream::StreamExt;

pub const GENERIC_DO_COMMAND: &str = "/viam.component.generic.v1.GenericService/DoCommand";

/// Sends a DoCommand to a generic component.
pub async fn command(world: &World, name: &str, command: Value) -> Result<Value, tonic::Status> {
    let request = DoCommandRequest {
        name: name.into(),
        command: Some(rpc::to_struct(&command)),
    };
    let answer: DoCommandResponse = world.call(GENERIC_DO_COMMAND, &request).await?;
    Ok(answer.result.as_ref().map(rpc::from_struct).unwrap_or_default())
}

#[tokio::test]
async fn an_empty_machine_runs_and_ends_with_zero() {
    let world = World::settled(Machine::new()).await;
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_machine_serves_before_its_plan_is_done_and_says_so() {
    let machine = Machine::new()
        .module(Module::fixture("eyes"))
        .resource(Resource::probe("quick"))
        .resource(Resource::probe("slow").attributes(json!({ "build_ms": 2000 })));
    let mut world = World::start(machine).await;
    let early = world.until(|now| now.ready("quick")).await;
    assert_eq!(early.machine.state(), State::Initializing);
    assert!(!early.ready("slow"));
    let late = world.until(Snapshot::running).await;
    assert!(late.ready("slow") && late.ready("quick"), "{late:?}");
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn dependencies_are_built_first_and_closed_last() {
    let place = Place::new();
    let journal = place.file("journal");
    let path = journal.to_str().expect("a path in UTF-8");
    let machine = Machine::new()
        .module(Module::fixture("upper").env("JOURNAL", path))
        .module(Module::fixture("lower").env("JOURNAL", path))
        .resource(Resource::probe("roof").depends_on(&["wall"]))
        .resource(Resource::generic("wall").attributes(json!({ "needs": ["floor"], "build_ms": 100 })))
        .resource(Resource::echo("floor").attributes(json!({ "build_ms": 100 })));
    let mut world = place.start(machine).await;
    world.until(|now| now.running() && now.ready("roof")).await;
    // The folder lives as long as the world does.
    proc::signal(world.guardian(), Signal::SIGTERM);
    world.ended().await.with_code(0).left_nothing_behind();
    let text = fs::read_to_string(&journal).expect("the fixture wrote a journal");
    let at = |event: &str| {
        text.lines()
            .position(|line| line.contains(event))
            .unwrap_or_else(|| panic!("no `{event}` in\n{text}"))
    };
    assert!(
        at("added floor") < at("add wall [tests:component:echo/floor]"),
        "{text}"
    );
    assert!(at("added wall") < at("add roof [rdk:component:generic/wall]"), "{text}");
    assert!(
        at("remove roof") < at("remove wall") && at("remove wall") < at("remove floor"),
        "{text}"
    );
    assert!(at("remove floor") < at("sigterm"), "{text}");
}

#[tokio::test]
async fn optional_dependencies_are_handed_over_when_they_are_there() {
    let place = Place::new();
    let journal = place.file("journal");
    let machine = Machine::new()
        .module(Module::fixture("eyes").env("JOURNAL", journal.to_str().expect("a path in UTF-8")))
        .resource(Resource::probe("eye").attributes(json!({ "wants": ["lid", "glasses"] })))
        .resource(Resource::generic("lid"));
    let mut world = place.start(machine).await;
    world.until(|now| now.running() && now.ready("eye")).await;
    let text = fs::read_to_string(&journal).expect("the fixture wrote a journal");
    assert!(text.contains("add eye [rdk:component:generic/lid]"), "{text}");
}

#[tokio::test]
async fn what_does_not_depend_on_each_other_is_built_at_the_same_time() {
    let slow = |name: String| Resource::probe(&name).attributes(json!({ "build_ms": 1500 }));
    let machine = (0..6)
        .map(|number| slow(format!("probe{number}")))
        .fold(Machine::new(), Machine::resource);
    let mut world = World::start(machine.module(Module::fixture("eyes"))).await;
    let begun = Instant::now();
    world
        .until(|now| (0..6).all(|number| now.ready(&format!("probe{number}"))))
        .await;
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "one after the other: {:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn dependencies_may_be_given_by_their_full_names() {
    let machine = Machine::new()
        .module(Module::fixture("eyes"))
        .resource(Resource::probe("eye").depends_on(&["rdk:component:generic/twin"]))
        .resource(Resource::generic("twin"))
        .resource(Resource::probe("twin"));
    let mut world = World::start(machine).await;
    let now = world.until(Snapshot::running).await;
    assert!(now.ready("eye"), "{now:?}");
}

#[tokio::test]
async fn both_signals_stop_it_in_order() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let machine = Machine::new()
            .module(Module::fixture("eyes"))
            .resource(Resource::probe("probe"))
            .resource(Resource::fake("motor", "motor"));
        let world = World::settled(machine).await;
        assert!(
            world.place.processes().len() >= 3,
            "core, fixture and built-in module: {:?}",
            world.place.processes()
        );
        world.stop_with(signal).await.with_code(0).left_nothing_behind();
    }
}

#[tokio::test]
async fn a_machine_can_be_stopped_while_it_starts() {
    let machine = Machine::new()
        .module(Module::faulty("mute", "mute"))
        .module(Module::fixture("eyes"))
        .resource(Resource::probe("probe").attributes(json!({ "fault": "hang-build" })));
    let world = World::start(machine).await;
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_module_that_ignores_sigterm_is_killed_with_its_children() {
    let machine = Machine::new()
        .module(Module::faulty("stubborn", "stubborn"))
        .module(Module::faulty("family", "offspring"))
        .resource(Resource::probe("probe"));
    let mut world = World::start(machine).await;
    world
        .until(|now| now.module_ready("stubborn") && now.module_ready("family"))
        .await;
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_killed_core_takes_its_modules_along() {
    let machine = Machine::new()
        .module(Module::fixture("eyes"))
        .resource(Resource::fake("motor", "motor"));
    let mut world = World::settled(machine).await;
    proc::signal(world.pid(), Signal::SIGKILL);
    let remains = world.ended().await;
    assert!(remains.processes.is_empty(), "{:?}", remains.processes);
}

#[tokio::test]
async fn the_same_config_can_run_again_after_a_crash() {
    let place = Place::new();
    let machine = Machine::new().resource(Resource::fake("motor", "motor"));
    let text = machine.json().to_string();
    let mut world = place.start_text("machine.json", &text).await;
    world.until(Snapshot::running).await;
    proc::signal(world.pid(), Signal::SIGKILL);
    let _ = world.ended().await;
    let mut again = world.restart().await;
    again.until(|now| now.running() && now.ready("motor")).await;
    again.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_port_in_use_ends_it_before_any_module_starts() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("a bound socket").to_string();
    let place = Place::new();
    let journal = place.file("journal");
    let machine = Machine::new()
        .bind(&address)
        .module(Module::fixture("eyes").env("JOURNAL", journal.to_str().expect("a path in UTF-8")))
        .resource(Resource::probe("probe"));
    let ended = place.run_to_the_end("machine.json", &machine.json().to_string()).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains(&address), "{ended:?}");
    assert!(!journal.exists(), "a module was started");
    assert!(place.processes().is_empty() && place.sockets().is_empty());
}

#[tokio::test]
async fn a_module_gets_the_place_and_environment_of_the_protocol() {
    let place = Place::new().env("FROM_THE_HOST", "inherited");
    let home = place.file("home");
    let machine = Machine::new()
        .module(Module::fixture("eyes").env("OWN", "42").set("log_level", json!("warn")))
        .resource(Resource::generic("box"));
    let mut world = place.start(machine).await;
    world.until(|now| now.ready("box")).await;

    let answer = command(&world, "box", json!({ "place": true })).await.expect("answers");
    let folder = bins::folder();
    assert_eq!(
        answer["folder"],
        folder.to_str().expect("UTF-8"),
        "the working directory is the executable's"
    );
    assert_eq!(answer["data_exists"], true);
    let arguments: Vec<_> = answer["arguments"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert!(
        arguments[0].starts_with('/') && arguments[0].ends_with("/misbehave"),
        "{arguments:?}"
    );
    assert_eq!(arguments[2..], ["--log-level=warn"]);

    let expected = [
        ("VIAM_HOME", home.display().to_string()),
        (
            "VIAM_MODULE_DATA",
            home.join("module-data/local/eyes").display().to_string(),
        ),
        ("VIAM_MODULE_NAME", "eyes".to_owned()),
        ("VIAM_MODULE_ROOT", folder.display().to_string()),
        ("VIAM_MODULE_ADDRESS", arguments[1].to_owned()),
        ("OWN", "42".to_owned()),
        ("FROM_THE_HOST", "inherited".to_owned()),
    ];
    for (name, value) in expected {
        let answer = command(&world, "box", json!({ "env": name })).await.expect("answers");
        assert_eq!(answer["env"], value, "{name}");
    }
}

#[tokio::test]
async fn one_executable_may_serve_several_modules() {
    let machine = Machine::new()
        .module(Module::fixture("one"))
        .module(Module::fixture("two"))
        .resource(Resource::probe("probe"));
    let mut world = World::start(machine).await;
    let now = world.until(|now| now.running() && now.ready("probe")).await;
    assert!(now.module_ready("one") && now.module_ready("two"), "{now:?}");
    assert_ne!(now.pid("one"), now.pid("two"));
}

#[tokio::test]
async fn yaml_works_as_json_does_and_paths_may_be_relative_to_it() {
    let place = Place::new();
    for link in ["eyes", "home/ears"] {
        std::os::unix::fs::symlink(bins::find("misbehave"), place.file(link)).expect("the folder is writable");
    }
    let text = "\
# A comment, as people write them.
network:
  bind_address: 127.0.0.1:0
modules:
  - name: eyes
    type: local
    executable_path: ./eyes
  - name: ears
    type: local
    executable_path: ~/ears
components:
  - name: probe
    type: sensor
    model: tests:fixture:probe
    attributes: { rate_hz: 10, label: 'no', on: true }
";
    let mut world = place.start_text("machine.yaml", text).await;
    let now = world.until(|now| now.running() && now.ready("probe")).await;
    assert!(now.module_ready("eyes") && now.module_ready("ears"), "{now:?}");
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn one_module_that_never_gets_ready_holds_up_nobody_else() {
    let machine = Machine::new()
        .module(Module::faulty("dead", "no-socket"))
        .module(Module::faulty("mute", "mute"))
        .module(Module::fixture("eyes"))
        .resource(Resource::probe("probe"))
        .resource(Resource::fake("motor", "motor"));
    let mut world = World::start(machine).await;
    let now = world.until(|now| now.ready("probe") && now.ready("motor")).await;
    assert!(!now.module_ready("dead") && !now.module_ready("mute"), "{now:?}");
}

#[tokio::test]
async fn one_resource_that_hangs_in_its_module_holds_up_nobody_else() {
    let machine = Machine::new()
        .module(Module::fixture("eyes"))
        .resource(Resource::probe("stuck").attributes(json!({ "fault": "hang-build" })))
        .resource(Resource::probe("lower"))
        .resource(Resource::generic("upper").depends_on(&["lower"]));
    let mut world = World::start(machine).await;
    let now = world.until(|now| now.ready("upper")).await;
    assert!(!now.ready("stuck"), "{now:?}");
}

#[tokio::test]
async fn a_module_that_floods_its_output_is_drained() {
    let machine = Machine::new()
        .module(Module::faulty("loud", "flood"))
        .resource(Resource::generic("box"));
    let mut world = World::start(machine).await;
    world.until(|now| now.ready("box")).await;
    command(&world, "box", json!({ "print": "after the flood" }))
        .await
        .expect("answers");
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn the_port_speaks_http_for_health_checks_and_refuses_tls_in_words() {
    let world = World::settled(Machine::new()).await;
    let ask = "GET / HTTP/1.1\r\nhost: robot\r\nconnection: close\r\n\r\n";
    let answer = raw::talk(world.address(), ask.as_bytes()).await.expect("an answer");
    assert!(
        answer.starts_with(b"HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    // A TLS client hello: handshake record, version 3.1.
    let hello = [0x16, 0x03, 0x01, 0x00, 0x05, 0x01, 0x00, 0x00, 0x01, 0x03];
    let answer = raw::talk(world.address(), &hello).await.expect("an answer");
    assert!(
        answer.starts_with(b"HTTP/1.1 400"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    let rubbish = raw::talk(world.address(), &[0xff; 64]).await.unwrap_or_default();
    assert!(!rubbish.starts_with(b"HTTP/1.1 200"));
    let again = raw::talk(world.address(), ask.as_bytes()).await.expect("an answer");
    assert!(again.starts_with(b"HTTP/1.1 200"));
    assert!(eventually(Duration::from_secs(1), || proc::alive(world.pid())).await);
}

#[tokio::test]
async fn each_module_has_a_process_group_of_its_own() {
    let machine = Machine::new()
        .module(Module::fixture("one"))
        .module(Module::fixture("two"))
        .resource(Resource::fake("motor", "motor"));
    let world = World::settled(machine).await;
    let now = world.snapshot().await;
    for module in ["one", "two", "builtin:fake"] {
        let pid = nix::unistd::Pid::from_raw(now.pid(module).expect("a process"));
        assert_eq!(nix::unistd::getpgid(Some(pid)), Ok(pid), "{module}");
    }
}

#[tokio::test]
async fn a_hung_module_does_not_hold_up_the_end_for_ever() {
    let machine = Machine::new()
        .module(Module::fixture("eyes"))
        .resource(Resource::probe("probe"))
        .resource(Resource::generic("box").depends_on(&["probe"]))
        .resource(Resource::fake("motor", "motor"));
    let world = World::settled(machine).await;
    let hung = world.snapshot().await.pid("eyes").expect("a process");
    proc::signal(hung, Signal::SIGSTOP);
    // It may be ended by force, which is no failure of the machine.
    let remains = world.shutdown().await;
    remains.with_code(0).left_nothing_behind();
    // The protocol gives a module 20 s to take its resources out; then it is ended by force.
    assert!(remains.took < Duration::from_secs(25), "{:?}", remains.took);
}

#[tokio::test]
async fn connections_and_streams_that_stay_open_do_not_hold_up_the_end() {
    let machine = Machine::new()
        .module(Module::fixture("eyes"))
        .resource(Resource::echo("echo"));
    let world = World::settled(machine).await;
    let _silent = TcpStream::connect(world.address()).expect("the port is open");
    let _idle = raw::RawConnection::open(world.address()).await;
    let request = CountRequest {
        name: "echo".into(),
        until: 0,
        pause_ms: 5,
    };
    let mut stream = world.echo().count(request).await.expect("a stream").into_inner();
    stream.next().await.expect("endless").expect("a number");
    let remains = world.shutdown().await;
    remains.with_code(0).left_nothing_behind();
    assert!(remains.took < Duration::from_secs(5), "{:?}", remains.took);
}
