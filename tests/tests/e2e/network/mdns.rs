//! Machines are found by their names on the local network. Each test has a network of its own.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use mainstay_mdns::message::{Data, Kind, Message, Question, Record, query};
use mainstay_tests::machine::{Machine, Resource};
use mainstay_tests::netns::Namespace;
use mainstay_tests::world::{Finished, PATIENCE, Place, World, finish};
use mainstay_tests::{bins, python};
use serde_json::{Value, json};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

use super::rover;

const GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(224, 0, 0, 251), 5353);

/// A machine with a motor called `left` and a name, at an address.
fn named(fqdn: &str, address: &str) -> Machine {
    let network = json!({ "bind_address": address, "fqdn": fqdn, "allow_unauthenticated": true });
    rover().set("network", network)
}

async fn run_in(network: &Namespace, place: &Place, program: &Path, arguments: &[&str]) -> Finished {
    let mut command = network.command(place, program);
    command.args(arguments);
    finish(command).await
}

/// Runs the command line in a network, and returns the JSON that it prints.
async fn cli(network: &Namespace, place: &Place, arguments: &[&str]) -> Value {
    let Finished { stdout, stderr, .. } = run_in(network, place, &bins::mainstay(), arguments).await;
    serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}\n{stdout}\n{stderr}"))
}

/// Names that `mainstay discover` lists.
async fn discovered(network: &Namespace, place: &Place) -> Vec<String> {
    let found = cli(network, place, &["discover", "--json", "--timeout", "1s"]).await;
    let names = found.as_array().expect("a list").iter();
    names
        .map(|one| one["name"].as_str().unwrap_or_default().to_owned())
        .collect()
}

/// Names that a machine is told by, as its status has them.
async fn told(world: &World) -> (Vec<String>, String) {
    let mdns = world.snapshot().await.control.mdns.unwrap_or_default();
    (mdns.names, mdns.problem)
}

async fn until_told(world: &World, condition: impl Fn(&(Vec<String>, String)) -> bool) {
    let end = Instant::now() + PATIENCE;
    loop {
        let now = told(world).await;
        if condition(&now) {
            return;
        }
        assert!(Instant::now() < end, "{now:?}\n{}", world.output());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Listener on the group, on the loopback interface of a network.
struct Listener {
    socket: UdpSocket,
    heard: Receiver<Message>,
}

impl Listener {
    fn on_loopback(network: &Namespace) -> Self {
        let socket: UdpSocket = network.within(|| {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).expect("a socket");
            socket.set_reuse_address(true).expect("allowed");
            socket.set_reuse_port(true).expect("allowed");
            socket.bind(&SocketAddr::V4(GROUP).into()).expect("shared");
            // The loopback interface is the first that each network has.
            let lo = InterfaceIndexOrAddress::Index(1);
            socket.join_multicast_v4_n(GROUP.ip(), &lo).expect("joined");
            socket.set_multicast_if_v4(&Ipv4Addr::LOCALHOST).expect("allowed");
            socket.into()
        });
        let (sender, heard) = channel();
        let receiver = socket.try_clone().expect("a descriptor");
        thread::spawn(move || {
            let mut buffer = [0; 9000];
            while let Ok(length) = receiver.recv(&mut buffer) {
                let message = Message::read(&buffer[..length]).expect("machines write what can be read");
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        Self { socket, heard }
    }

    fn ask(&self, name: &str, kind: Kind) {
        let question = Question {
            name: name.to_owned(),
            kind,
        };
        let packet = query(&[question], false).expect("it fits");
        self.socket.send_to(&packet, GROUP).expect("sent");
    }

    /// Waits for the next response about an instance, which must be whole and alone in its packet.
    async fn response(&self, instance: &str) -> Vec<Record> {
        let end = Instant::now() + PATIENCE;
        let full = format!("{instance}._rpc._tcp.local");
        loop {
            assert!(Instant::now() < end, "nothing of {instance}");
            let Ok(mut message) = self.heard.try_recv() else {
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            };
            if !message.is_response {
                continue;
            }
            // What was asked for comes first.
            message.records.sort_by_key(|record| order(&record.data));
            let kinds: Vec<_> = message.records.iter().map(|record| kind(&record.data)).collect();
            assert_eq!(
                kinds,
                ["PTR", "SRV", "TXT", "A"],
                "one instance, and all of it: {message:?}"
            );
            if message.records[0].data == Data::Ptr(full.clone()) {
                return message.records;
            }
        }
    }
}

fn kind(data: &Data) -> &'static str {
    match data {
        Data::Ptr(_) => "PTR",
        Data::Srv { .. } => "SRV",
        Data::Txt(_) => "TXT",
        Data::A(_) => "A",
    }
}

fn order(data: &Data) -> usize {
    ["PTR", "SRV", "TXT", "A"]
        .iter()
        .position(|name| *name == kind(data))
        .expect("one of them")
}

fn lives(records: &[Record]) -> Vec<u32> {
    records.iter().map(|record| record.ttl).collect()
}

#[tokio::test]
async fn an_unmodified_python_client_and_the_command_line_find_a_machine_by_its_bare_name() {
    let (Some(network), Some(elsewhere)) = (Namespace::new(), Namespace::new()) else {
        return;
    };
    network.join(&elsewhere, "10.77.2.1/24", "10.77.2.2/24");
    let place = Place::new();
    let _world = network.place().start(named("rover.lab", "127.0.0.1:0")).await;
    let _other = network
        .place()
        .start(named("", "127.0.0.1:0").resource(Resource::fake("right", "motor")))
        .await;
    // Of the config file and the host.
    let host = nix::unistd::gethostname()
        .expect("a name")
        .into_string()
        .expect("in UTF-8");
    let derived = format!("machine-{}", host.to_lowercase().split('.').next().unwrap_or_default());
    let mut names = discovered(&network, &place).await;
    names.sort();
    assert_eq!(names, [derived.as_str(), "rover.lab"]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/clients/by_name.py");
    let arguments = [script.to_str().expect("UTF-8"), "", "rover.lab", "rover-lab", &derived];
    let Finished { code, stdout, stderr } = run_in(&network, &place, &python::interpreter(), &arguments).await;
    assert_eq!(code, 0, "{stdout}\n{stderr}");
    let told: Vec<Value> = stdout
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let left = json!(["left"]);
    assert_eq!(
        told,
        [
            json!({ "what": "rover.lab", "value": left }),
            json!({ "what": "rover-lab", "value": left }),
            json!({ "what": derived, "value": ["left", "right"] }),
        ],
        "{stderr}"
    );
    // Who may not call is not told.
    assert!(discovered(&elsewhere, &place).await.is_empty());
    let open = named("far.lab", "0.0.0.0:8080").resource(Resource::fake("right", "motor"));
    let _far = elsewhere.place().start(open).await;
    let arguments = [arguments[0], "", "far.lab"];
    let far = run_in(&network, &place, &python::interpreter(), &arguments).await;
    assert!(
        far.stdout
            .contains(r#"{"what": "far.lab", "value": ["left", "right"]}"#),
        "{}",
        far.stderr
    );
    for name in ["rover.lab", "ROVER-lab"] {
        let status = cli(&network, &place, &["status", "--json", "--address", name]).await;
        assert_eq!(status["resources"][0]["name"], "left");
    }
    let unknown = run_in(&network, &place, &bins::mainstay(), &["status", "--address", "nobody"]).await;
    assert_eq!(unknown.code, 3);
    assert!(
        unknown
            .stderr
            .contains("answered to the name `nobody` within 2s (mDNS)"),
        "{}",
        unknown.stderr
    );
}

#[tokio::test]
async fn a_machine_on_another_host_is_a_remote_by_its_name_and_is_found_again_at_another_address() {
    let (Some(here), Some(there)) = (Namespace::new(), Namespace::new()) else {
        return;
    };
    here.join(&there, "10.77.0.1/24", "10.77.0.2/24");
    let far = there.place().start(named("arm.lab", "0.0.0.0:8080")).await;
    let remote = json!([{ "name": "far", "address": "arm.lab", "insecure": true, "connection_check_interval": "1s", "reconnect_interval": "200ms" }]);
    let near = here
        .place()
        .env("MAINSTAY_NO_MDNS", "true")
        .start(Machine::new().set("remotes", remote));
    let mut near = near.await;
    near.until(|now| now.ready("far:left")).await;
    let place = Place::new();
    let found = cli(&here, &place, &["discover", "--json"]).await;
    assert_eq!(
        found,
        json!([{
            "name": "arm.lab", "addresses": ["10.77.0.2:8080"], "grpc": true, "webrtc": false, "tls": false, "api_keys": false,
            "txt": ["grpc", "server=mainstay"], "reach": "mainstay status --address arm.lab",
        }])
    );
    // Its host gets another address, and is told anew by itself.
    there.ip("address del 10.77.0.2/24 dev cable");
    there.ip("address add 10.77.0.9/24 dev cable");
    near.until(|now| now.unhealthy("far:left")).await;
    near.until(|now| now.ready("far:left")).await;
    // And another name, which the remote does not know.
    far.rewrite(&named("leg", "0.0.0.0:8080"));
    until_told(&far, |(names, _)| names == &["leg"]).await;
    assert_eq!(discovered(&here, &place).await, ["leg"]);
    let nobody = run_in(&there, &place, &bins::mainstay(), &["remotes", "--address", "arm.lab"]).await;
    assert_eq!(nobody.code, 3, "{}", nobody.stdout);
}

#[tokio::test]
async fn a_machine_announces_itself_whole_follows_its_config_and_says_goodbye() {
    let Some(network) = Namespace::new() else { return };
    let listener = Listener::on_loopback(&network);
    let world = network.place().start(named("rover.lab", "127.0.0.1:8080")).await;
    for instance in ["rover-lab", "rover.lab"] {
        let records = listener.response(instance).await;
        let host = format!("{instance}.local");
        assert_eq!(lives(&records), [3200, 3200, 3200, 120]);
        let service = Data::Srv {
            port: 8080,
            target: host.clone(),
        };
        assert_eq!(records[1].data, service);
        assert_eq!(
            (&records[3].name, &records[3].data),
            (&host, &Data::A(Ipv4Addr::LOCALHOST))
        );
    }
    listener.ask("_rpc._tcp.local", Kind::Ptr);
    listener.response("rover-lab").await;
    world.rewrite(&named("rover.lab", "127.0.0.1:8081"));
    until_told(&world, |(names, _)| names == &["rover-lab", "rover.lab"]).await;
    let port = |records: &[Record]| match records[1].data {
        Data::Srv { port, .. } => port,
        _ => 0,
    };
    while port(&listener.response("rover.lab").await) != 8081 {}
    world.rewrite(&named("leg", "127.0.0.1:8081"));
    while lives(&listener.response("rover.lab").await) != [0; 4] {}
    assert_eq!(lives(&listener.response("leg").await), [3200, 3200, 3200, 120]);
    // The flag in the config: gone, and then silent.
    let mut off = named("leg", "127.0.0.1:8081");
    off = off.set(
        "network",
        json!({ "bind_address": "127.0.0.1:8081", "fqdn": "leg", "mdns": false }),
    );
    world.rewrite(&off);
    while lives(&listener.response("leg").await) != [0; 4] {}
    until_told(&world, |(names, problem)| names.is_empty() && problem.is_empty()).await;
    world.rewrite(&named("leg", "127.0.0.1:8081"));
    while lives(&listener.response("leg").await) == [0; 4] {}
    world.shutdown().await.with_code(0).left_nothing_behind();
    while lives(&listener.response("leg").await) != [0; 4] {}
}

#[tokio::test]
async fn a_machine_with_the_flag_is_silent_beside_one_that_is_not() {
    let Some(network) = Namespace::new() else { return };
    for flag in ["--no-mdns", "--disable-mdns"] {
        let silent = network
            .place()
            .argument(flag)
            .start(named("silent", "127.0.0.1:0"))
            .await;
        let loud = network.place().start(named("loud", "127.0.0.1:0")).await;
        assert_eq!(told(&silent).await, (Vec::new(), String::new()));
        // Both were asked.
        assert_eq!(discovered(&network, &Place::new()).await, ["loud"]);
        loud.shutdown().await.with_code(0);
        silent.shutdown().await.with_code(0);
    }
    let nobody = run_in(
        &network,
        &Place::new(),
        &bins::mainstay(),
        &["discover", "--timeout", "300ms"],
    )
    .await;
    assert_eq!((nobody.code, nobody.stdout.as_str()), (3, ""));
    assert!(
        nobody.stderr.contains("no machine answered within 300 ms"),
        "{}",
        nobody.stderr
    );
}

#[tokio::test]
async fn a_machine_whose_port_of_mdns_is_taken_runs_and_says_so_until_it_is_free() {
    let Some(network) = Namespace::new() else { return };
    let taken = network.within(|| UdpSocket::bind("0.0.0.0:5353").expect("free"));
    let world = network.place().start(named("rover", "127.0.0.1:0")).await;
    until_told(&world, |(_, problem)| {
        problem.contains("UDP port 5353 of mDNS cannot be had")
    })
    .await;
    let status = world.cli(&["status"]).await;
    assert!(
        status.stdout.contains("mDNS: no other machine finds this one"),
        "{}",
        status.stdout
    );
    drop(taken);
    until_told(&world, |now| *now == (vec!["rover".to_owned()], String::new())).await;
    assert_eq!(world.output().matches("UDP port 5353").count(), 1, "said once");
}

#[tokio::test]
async fn two_machines_of_one_name_are_told_of_each_other() {
    let Some(network) = Namespace::new() else { return };
    let first = network.place().start(named("rover", "127.0.0.1:0")).await;
    until_told(&first, |(names, problem)| names == &["rover"] && problem.is_empty()).await;
    let second = network.place().start(named("rover", "127.0.0.1:0")).await;
    for world in [&first, &second] {
        until_told(world, |(_, problem)| problem.contains("is called `rover`, too")).await;
    }
    second.shutdown().await.with_code(0);
    until_told(&first, |(names, problem)| names == &["rover"] && problem.is_empty()).await;
}

#[tokio::test]
async fn a_machine_without_any_network_runs_and_is_told_of_when_there_is_one() {
    let (Some(here), Some(there)) = (Namespace::new(), Namespace::new()) else {
        return;
    };
    let world = here.place().start(named("rover", "0.0.0.0:8080")).await;
    until_told(&world, |(_, problem)| problem.contains("no interface that is up")).await;
    here.join(&there, "10.77.1.1/24", "10.77.1.2/24");
    until_told(&world, |now| *now == (vec!["rover".to_owned()], String::new())).await;
    assert_eq!(discovered(&there, &Place::new()).await, ["rover"]);
}
