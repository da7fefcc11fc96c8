//! The TypeScript SDK, in the clear and over TLS: in Node by gRPC-web and gRPC, and in a browser.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use mainstay_tests::node;
use mainstay_tests::world::{PATIENCE, Place, World};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::rover;

#[tokio::test]
async fn it_drives_a_motor_from_node() {
    let place = Place::new();
    let ca = place.make_keys(&place.file("machine.json")).await;
    let ca = place.write("ca.pem", &ca);
    let mut secure = place
        .start(rover().set("network", json!({ "bind_address": "127.0.0.1:0", "tls": "own" })))
        .await;
    secure.until(|now| now.ready("left")).await;
    let clear = World::settled(rover()).await;
    for (world, scheme) in [(&clear, "http"), (&secure, "https")] {
        let port = world.address().rsplit_once(':').expect("a port").1;
        for way in ["web", "grpc"] {
            let host = format!("{scheme}://localhost:{port}");
            let got = world.node("drive.mjs", &[&host, way], Some(&ca)).await;
            let text = "no node found with api rdk:component:motor and name nobody";
            let expected = json!({ "powered": [true, 0.5], "names": ["left"], "refused": [5, text] });
            assert_eq!(got, expected, "{scheme} {way}");
        }
    }
    secure.shutdown().await.with_code(0).left_nothing_behind();
}

/// Serves the page and the SDK, until the page says what came of it.
async fn serve_page(listener: TcpListener) -> Value {
    let page = include_str!("../../../node/page.html");
    let sdk = fs::read_to_string(node::packages().join("@viamrobotics/sdk/dist/main.umd.js")).expect("it is installed");
    loop {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut request = Vec::new();
        let mut chunk = [0; 4096];
        // A browser may open connections for later.
        let whole = |request: &[u8]| {
            let text = String::from_utf8_lossy(request).into_owned();
            let (head, body) = text.split_once("\r\n\r\n")?;
            let length = head
                .lines()
                .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            (body.len() >= length.unwrap_or(0)).then(|| (head.to_owned(), body.to_owned()))
        };
        let read = async {
            while whole(&request).is_none() {
                let length = stream.read(&mut chunk).await.ok().filter(|length| *length > 0)?;
                request.extend_from_slice(&chunk[..length]);
            }
            whole(&request)
        };
        let Ok(Some((head, body))) = timeout(Duration::from_millis(500), read).await else {
            continue;
        };
        let (kind, content) = match head.split(' ').nth(1) {
            Some("/sdk.js") => ("text/javascript", sdk.as_str()),
            Some("/result") => return serde_json::from_str(&body).expect("JSON"),
            _ => ("text/html", page),
        };
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{content}",
            content.len()
        );
        // A page that is closed meanwhile takes it no more.
        let _ = stream.write_all(answer.as_bytes()).await;
    }
}

#[tokio::test]
async fn a_page_in_chromium_drives_a_motor() {
    let place = Place::new();
    place.make_keys(&place.file("machine.json")).await;
    let mut secure = place
        .start(rover().set("network", json!({ "bind_address": "127.0.0.1:0", "tls": "own" })))
        .await;
    secure.until(|now| now.ready("left")).await;
    let clear = World::settled(rover()).await;
    for (world, scheme) in [(&clear, "http"), (&secure, "https")] {
        let port = world.address().rsplit_once(':').expect("a port").1;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let page = listener.local_addr().expect("bound");
        let mut command = world.place.command(Path::new("chromium"));
        command
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--ignore-certificate-errors",
            ])
            .arg(format!("--user-data-dir={}", world.place.file("chromium").display()))
            .arg(format!("http://{page}/?host={scheme}://localhost:{port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut browser = command.spawn().expect("`cargo xtask test` installs Debian's chromium");
        let told = timeout(PATIENCE, serve_page(listener)).await;
        let _ = browser.kill();
        let _ = browser.wait();
        let text = "no node found with api rdk:component:motor and name nobody";
        let expected = json!({ "powered": [true, 0.5], "refused": [5, text] });
        assert_eq!(told.expect("the page says something"), expected, "{scheme}");
    }
}
