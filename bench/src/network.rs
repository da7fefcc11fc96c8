//! Benchmark of the network's side: what TLS and a token add to a small call, handshakes, and memory of idle connections.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use mainstay_dial::{Encryption, Fallback, TlsSettings, dial};
use mainstay_module::prelude::*;
use mainstay_module::{Connect, Robot};
use serde_json::{Value, json};

use crate::Failure;
use crate::machine::Machine;
use crate::report::{self, median, millis};
use crate::system;

/// Id of the key, and the key.
const KEY: (&str, &str) = ("3f0b6d9e-8a57-4a41-9a5e-0f6f3c1d7a10", "bench");
/// Idle connections whose memory is measured.
const IDLE: u32 = 1_000;
/// Time for which handshakes are counted.
const HANDSHAKES: Duration = Duration::from_secs(2);

/// Machine that is asked, and a client of it.
struct Way {
    name: &'static str,
    machine: Machine,
    motor: Arc<dyn Motor>,
    p50: Vec<f64>,
    cpu: Vec<f64>,
}

/// Measures all of it and prints it.
pub async fn measure(programs: &Path, turn: Duration, turns: usize) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let certificate = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()])?;
    let (chain, key) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
    std::fs::write(&chain, certificate.cert.pem())?;
    std::fs::write(&key, certificate.signing_key.serialize_pem())?;
    let ca = certificate.cert.pem();
    let tls = json!({ "tls_cert_file": chain, "tls_key_file": key });
    let auth = json!({ "handlers": [{ "type": "api-key", "config": { "keys": [KEY.0], KEY.0: KEY.1 } }] });
    let mut ways = Vec::new();
    for (name, with_tls, with_key) in [
        ("cleartext", false, false),
        ("cleartext, token", false, true),
        ("TLS", true, false),
        ("TLS, token", true, true),
    ] {
        let mut config = json!({ "components": [{ "name": "left", "api": "rdk:component:motor", "model": "fake" }] });
        if with_tls {
            config["network"] = tls.clone();
        }
        if with_key {
            config["auth"] = auth.clone();
        }
        ways.push(way(programs, name, &config, with_tls.then_some(ca.as_str()), with_key).await?);
    }
    small_calls(&mut ways, turn, turns).await?;
    let [clear, _, encrypted, _] = &ways[..] else {
        return Err("four ways".into());
    };
    let trusting = TlsSettings::new(Some(ca.as_bytes()), None)?;
    handshakes(encrypted.machine.address()?, &trusting).await?;
    idle("  with TLS", &encrypted.machine, Encryption::On, &trusting).await?;
    idle("  cleartext", &clear.machine, Encryption::Off, &trusting).await?;
    for way in ways {
        way.machine.stop().await?;
    }
    Ok(())
}

async fn way(
    programs: &Path,
    name: &'static str,
    config: &Value,
    ca: Option<&str>,
    with_key: bool,
) -> Result<Way, Failure> {
    let machine = Machine::start(programs, config).await?;
    let mut connect: Connect = Robot::connect(machine.address()?);
    connect = match ca {
        Some(ca) => connect.ca_pem(ca),
        None => connect.insecure(),
    };
    if with_key {
        connect = connect.api_key(KEY.0, KEY.1);
    }
    let robot = connect.await.map_err(|error| error.to_string())?;
    let motor = robot.resource::<dyn Motor>("left").map_err(|error| error.to_string())?;
    Ok(Way {
        name,
        machine,
        motor,
        p50: Vec::new(),
        cpu: Vec::new(),
    })
}

/// Small calls over all ways, in turns.
async fn small_calls(ways: &mut [Way], turn: Duration, turns: usize) -> Result<(), Failure> {
    for round in 0..=turns {
        for way in &mut *ways {
            let before = system::used(way.machine.core())?.cpu;
            let mut times = Histogram::<u64>::new(3)?;
            let end = Instant::now() + turn;
            while Instant::now() < end {
                let begun = Instant::now();
                way.motor.is_moving().await.map_err(|error| error.to_string())?;
                times.record(u64::try_from(begun.elapsed().as_nanos())?)?;
            }
            // The first calls on a connection pay for what later ones find ready.
            if round > 0 {
                let cpu = system::used(way.machine.core())?.cpu.saturating_sub(before);
                way.p50.push(millis(Duration::from_nanos(times.value_at_quantile(0.5))));
                way.cpu.push(cpu.as_secs_f64() * 1e6 / times.len() as f64);
            }
        }
    }
    println!("\nNETWORK  {turns} turns of {turn:?} on each way, one caller, IsMoving of a fake motor; medians");
    let first = median(ways[0].p50.iter().copied());
    for way in ways {
        let p50 = median(way.p50.iter().copied());
        // Turn by turn, so that what else this host does spoils both alike.
        println!(
            "  {:<18} p50 {p50:>7.3} ms   {:>5.2} x cleartext   {:>5.0} µs of the core's processor",
            way.name,
            p50 / first,
            median(way.cpu.iter().copied())
        );
    }
    Ok(())
}

/// Full handshakes, one after the other.
async fn handshakes(address: &str, tls: &TlsSettings) -> Result<(), Failure> {
    let (begun, mut count) = (Instant::now(), 0_u32);
    while begun.elapsed() < HANDSHAKES {
        drop(dial(address, Encryption::On, Fallback::Never, tls).await?);
        count += 1;
    }
    let each = begun.elapsed() / count.max(1);
    report::line(
        "TLS handshakes, one client, its own work included",
        &format!("{:.0} /s", 1.0 / each.as_secs_f64()),
        "-",
    );
    Ok(())
}

/// Memory that the core takes for [`IDLE`] connections, each of which made one call.
async fn idle(what: &str, machine: &Machine, encryption: Encryption, tls: &TlsSettings) -> Result<(), Failure> {
    raise_file_limit()?;
    let before = system::rss(machine.core())?;
    let mut held = Vec::new();
    let mut connections = tokio::task::JoinSet::new();
    for _ in 0..IDLE {
        let (stream, _) = dial(machine.address()?, encryption, Fallback::Never, tls).await?;
        let (mut sender, connection) = h2::client::handshake(stream).await?;
        connections.spawn(connection);
        let request = http::Request::post("http://localhost/grpc.health.v1.Health/Check")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        let (answer, mut body) = sender.send_request(request, false)?;
        body.send_data(Bytes::from_static(&[0; 5]), true)?;
        let mut answer = answer.await?.into_body();
        while let Some(data) = answer.data().await {
            answer.flow_control().release_capacity(data?.len())?;
        }
        held.push(sender);
    }
    let each = system::rss(machine.core())?.saturating_sub(before) / u64::from(IDLE);
    report::line(
        &format!("{what}: memory of the core per idle connection, of {IDLE}"),
        &format!("{:.1} kB", each as f64 / 1e3),
        "40 kB with TLS",
    );
    drop((held, connections));
    // The core gives memory back every few seconds.
    tokio::time::sleep(Duration::from_secs(6)).await;
    report::line(
        &format!("{what}: and six seconds after they went"),
        &report::mb(system::rss(machine.core())?.saturating_sub(before)),
        "-",
    );
    Ok(())
}

/// Lets this process have a file for each connection.
fn raise_file_limit() -> Result<(), Failure> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, most, most)?)
}
