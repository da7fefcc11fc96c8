//! TLS: with the machine's own certificate and with files, changed while it runs, and told to people.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use mainstay_proto::mainstay::control::v1::ConfigState;
use mainstay_tests::machine::Machine;
use mainstay_tests::python::interpreter;
use mainstay_tests::raw::{RawConnection, RawRequest, talk, talk_over};
use mainstay_tests::tls::{TLS12, TLS13, TlsClient, shown};
use mainstay_tests::world::{PATIENCE, Place, World, finish};
use serde_json::json;

use super::rover;
use crate::client_py::results;

const VERSION: &str = "/viam.robot.v1.RobotService/GetVersion";

/// The rover with these keys of `network`.
fn with(keys: &serde_json::Value) -> Machine {
    let mut network = json!({ "bind_address": "127.0.0.1:0" });
    for (key, value) in keys.as_object().expect("a map") {
        network[key] = value.clone();
    }
    rover().set("network", network)
}

fn files(certificate: &Path, key: &Path) -> serde_json::Value {
    json!({ "tls_cert_file": certificate.to_str(), "tls_key_file": key.to_str() })
}

/// A machine with a certificate of its own, and its CA.
async fn own() -> (World, String) {
    let place = Place::new();
    let ca = place.make_keys(&place.file("machine.json")).await;
    let mut world = place.start(with(&json!({ "tls": "own" }))).await;
    world.trust(Some(&ca));
    world.until(|now| now.ready("left")).await;
    (world, ca)
}

/// Serial number of the certificate that a new connection is shown.
async fn serial(world: &World, ca: &str) -> Option<String> {
    let stream = TlsClient::trusting(ca).connect(world.address()).await.ok()?;
    Some(shown(&stream).serial)
}

#[tokio::test]
async fn it_serves_tls_with_its_own_certificate_to_whoever_trusts_its_ca() {
    let place = Place::new();
    let text = with(&json!({ "tls": "own" })).json().to_string();
    let ended = place.run_to_the_end("machine.json", &text).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(
        ended.stderr.contains("there are no keys in") && ended.stderr.contains("mainstay keys init"),
        "{ended:?}"
    );
    let (world, ca) = own().await;
    let shown_status = world.cli(&["status"]).await.stdout;
    assert!(
        shown_status.contains("(TLS, certificate of ") && shown_status.contains("; no authentication: loopback only)"),
        "{shown_status}"
    );
    assert!(
        world
            .output()
            .contains(&format!("serving on {} (TLS, certificate of ", world.address()))
    );
    for versions in [TLS12, TLS13] {
        let client = TlsClient {
            versions,
            ..TlsClient::trusting(&ca)
        };
        let connection = RawConnection::over(client.connect(world.address()).await.expect("a handshake")).await;
        assert_eq!(
            connection.call(RawRequest::new(VERSION).message(&())).await.code,
            Some(0)
        );
    }
    // HTTP/1.1, agreed upon or not.
    let http1: &'static [&'static [u8]] = &[b"http/1.1"];
    for protocols in [http1, &[]] {
        let client = TlsClient {
            protocols,
            ..TlsClient::trusting(&ca)
        };
        let stream = client.connect(world.address()).await.expect("a handshake");
        let answer = talk_over(stream, b"GET / HTTP/1.1\r\nhost: robot\r\nconnection: close\r\n\r\n").await;
        let answer = String::from_utf8_lossy(&answer.expect("an answer")).into_owned();
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.contains("Mainstay"),
            "{answer}"
        );
    }
    // Another CA's clients go, and it is said why.
    let other = world.place.make_keys(&world.place.file("other.yaml")).await;
    assert!(TlsClient::trusting(&other).connect(world.address()).await.is_err());
    world
        .until_printed("a client from 127.0.0.1 does not accept the certificate of this machine")
        .await;
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn who_speaks_cleartext_to_tls_or_tls_to_cleartext_is_told() {
    let (world, ca) = own().await;
    let answer = talk(world.address(), b"GET / HTTP/1.1\r\nhost: robot\r\n\r\n").await;
    let answer = String::from_utf8(answer.expect("an answer")).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert!(
        head.starts_with("HTTP/1.1 400") && body.contains("https://"),
        "{answer}"
    );
    assert!(
        head.contains(&format!("Content-Length: {}\r\n", body.len())),
        "{answer}"
    );
    let begun = Instant::now();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    assert_eq!(talk(world.address(), preface).await.expect("a plain close"), b"");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());

    let clear = World::settled(rover()).await;
    assert!(TlsClient::trusting(&ca).connect(clear.address()).await.is_err());
    let answer = talk(clear.address(), b"\x16\x03\x01\x02\0\x01")
        .await
        .expect("an answer");
    assert!(answer.starts_with(b"HTTP/1.1 400"), "{answer:?}");
}

#[tokio::test]
async fn files_that_are_replaced_are_taken_up_and_no_call_is_dropped() {
    let place = Place::new();
    let (ca, file) = place.certificate_file("first").await;
    let (other_ca, other) = place.certificate_file("second").await;
    let mut world = place.start(with(&files(&file, &file))).await;
    world.trust(Some(&ca));
    world.until(|now| now.ready("left")).await;
    let held = TlsClient::trusting(&ca)
        .connect(world.address())
        .await
        .expect("a handshake");
    let first = shown(&held).serial;
    let held = RawConnection::over(held).await;
    // Half of a pair, as a tool leaves it for a moment, and what is none at all: what works stays.
    fs::write(&file, "-----BEGIN CERTIFICATE-----\nAAAA").expect("written");
    world
        .until_printed("the certificate that clients are shown stays the one from before: a certificate in")
        .await;
    assert_eq!(serial(&world, &ca).await.as_ref(), Some(&first));
    fs::copy(&other, &file).expect("copied");
    let end = Instant::now() + PATIENCE;
    while serial(&world, &other_ca).await.is_none() {
        assert!(Instant::now() < end, "{}", world.output());
        let answer = held.call(RawRequest::new(VERSION).message(&())).await;
        assert_eq!(answer.code, Some(0), "{answer:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(held.call(RawRequest::new(VERSION).message(&())).await.code, Some(0));
    world.trust(Some(&other_ca));
    world.until(|now| now.ready("left")).await;
    assert!(
        world
            .output()
            .contains("new connections are shown another certificate: TLS, certificate of ")
    );
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn what_the_config_says_of_tls_is_taken_up_while_it_runs_and_what_cannot_be_is_refused() {
    let place = Place::new();
    let (ca, file) = place.certificate_file("first").await;
    let mut world = place.start(rover()).await;
    world.until(|now| now.ready("left")).await;
    let clear = RawConnection::open(world.address()).await;
    let call = async |connection: &RawConnection| connection.call(RawRequest::new(VERSION).message(&())).await.code;
    assert_eq!(call(&clear).await, Some(0));
    let until_served = async |world: &World, is_secure: bool| {
        let end = Instant::now() + PATIENCE;
        while serial(world, &ca).await.is_some() != is_secure {
            assert!(Instant::now() < end, "{}", world.output());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    world.rewrite(&with(&files(&file, &file)));
    until_served(&world, true).await;
    world.trust(Some(&ca));
    world.until(|now| now.config_is(ConfigState::Current)).await;
    let secure = TlsClient::trusting(&ca)
        .connect(world.address())
        .await
        .expect("a handshake");
    let secure = RawConnection::over(secure).await;
    assert_eq!((call(&clear).await, call(&secure).await), (Some(0), Some(0)));

    // Neither files that are not there nor keys that were not made disturb what runs.
    for keys in [files(Path::new("none.pem"), &file), json!({ "tls": "own" })] {
        world.rewrite(&with(&keys));
        world.until(|now| now.config_is(ConfigState::Refused)).await;
        assert!(serial(&world, &ca).await.is_some());
        world.rewrite(&with(&files(&file, &file)));
        world.until(|now| now.config_is(ConfigState::Current)).await;
    }

    let mut keys = files(&file, &file);
    keys["no_tls"] = true.into();
    world.rewrite(&with(&keys));
    until_served(&world, false).await;
    world.trust(None);
    world.until(|now| now.ready("left")).await;
    assert_eq!((call(&clear).await, call(&secure).await), (Some(0), Some(0)));
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn files_that_cannot_be_served_are_named_by_check_and_at_the_start() {
    let place = Place::new();
    let (_, good) = place.certificate_file("good").await;
    let (_, other) = place.certificate_file("other").await;
    let expired = place.write("expired.pem", &expired_certificate());
    let empty = place.write("empty.pem", "");
    for (certificate, key, text) in [
        (&place.file("none.pem"), &good, "none.pem`: No such file"),
        (&empty, &good, "empty.pem` holds no certificate"),
        (&good, &empty, "empty.pem` holds no private key"),
        (&good, &other, "is not that of the certificate in"),
    ] {
        let config = with(&files(certificate, key)).json().to_string();
        let ended = place.run_to_the_end("machine.json", &config).await;
        assert!(ended.code == 1 && ended.stderr.contains(text), "{text}: {ended:?}");
        let checked = place.mainstay(&["check", "machine.json"]).await;
        assert!(
            checked.code == 1 && checked.stdout.contains(text),
            "{text}: {checked:?}"
        );
    }
    // A clock may be wrong, so this is served, and said.
    let config = with(&files(&expired, &expired)).json().to_string();
    place.write("machine.json", &config);
    let checked = place.mainstay(&["check", "machine.json"]).await;
    assert!(
        checked.code == 0 && checked.stdout.contains("expired.pem` has expired on 2021-01-01"),
        "{checked:?}"
    );
    let world = place.start_text("machine.json", &config).await;
    world.until_printed("has expired on 2021-01-01").await;
    world.until_printed("EXPIRED ON 2021-01-01").await;
    let status = world.cli(&["status"]).await.stdout;
    assert!(status.contains("EXPIRED ON 2021-01-01"), "{status}");
}

/// Certificate and key that counted in 2020.
fn expired_certificate() -> String {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    params.self_signed(&key).expect("signed").pem() + &key.serialize_pem()
}

#[tokio::test]
async fn keys_are_made_once_listed_and_handed_to_clients() {
    let place = Place::new();
    let config = place.write("rover.yaml", &rover().json().to_string());
    let none = place.mainstay(&["keys", "list", "rover.yaml"]).await;
    assert!(
        none.code == 1 && none.stderr.contains("make them: mainstay keys init rover.yaml"),
        "{none:?}"
    );
    let ca = place.make_keys(&config).await;
    assert!(ca.starts_with("-----BEGIN CERTIFICATE-----"), "{ca}");
    let again = place.mainstay(&["keys", "init", "rover.yaml"]).await;
    assert!(
        again.code == 1 && again.stderr.contains("there are keys already"),
        "{again:?}"
    );
    let issued = place.mainstay(&["keys", "client", "laptop", "rover.yaml"]).await;
    assert_eq!(issued.code, 0, "{issued:?}");
    let mode = |name: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        fs::metadata(place.file(name)).expect("written").permissions().mode() & 0o777
    };
    assert_eq!((mode("laptop.pem"), mode("laptop.key")), (0o600, 0o600));
    let bad = place.mainstay(&["keys", "client", "../laptop", "rover.yaml"]).await;
    assert!(
        bad.code == 1 && bad.stderr.contains("is no name for a client"),
        "{bad:?}"
    );
    let listed = place.mainstay(&["keys", "list", "rover.yaml", "--json"]).await.stdout;
    let listed: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
    let kinds: Vec<_> = listed["certificates"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| one["kind"].as_str().expect("a word"))
        .collect();
    assert_eq!(kinds, ["ca", "machine", "client"]);
}

#[tokio::test]
async fn the_python_sdk_connects_over_tls_with_its_default_options() {
    let (world, ca) = own().await;
    let ca = world.place.write("ca.pem", &ca);
    let port = world.address().rsplit_once(':').expect("a port").1.to_owned();
    for (trusts, expected) in [(true, ["default", "direct"].as_slice()), (false, &["direct"])] {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/clients/tls_ways.py");
        let mut command = world.place.command(&interpreter());
        command.arg(program).arg(&port).env("PYTHONDONTWRITEBYTECODE", "1");
        if trusts {
            command.env("SSL_CERT_FILE", &ca);
        }
        let ended = finish(command).await;
        assert_eq!(ended.code, 0, "{ended:?}");
        let lines = ended.stdout.lines().filter(|line| line.starts_with('{'));
        let got = results(lines.map(|line| serde_json::from_str(line).expect("JSON")).collect());
        let connected = got.iter().filter(|(_, value)| **value == json!([true, 0.5]));
        let connected: Vec<&str> = connected.map(|(what, _)| what.as_str()).collect();
        assert_eq!(connected, expected, "SSL_CERT_FILE: {trusts}; {got:?}");
    }
    world.shutdown().await.with_code(0).left_nothing_behind();
}
