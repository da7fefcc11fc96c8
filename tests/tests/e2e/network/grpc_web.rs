//! gRPC-web and CORS, as browsers speak them: both encodings, HTTP/1.1 and HTTP/2, in the clear and over TLS.

use std::time::Duration;

use http::Method;
use mainstay_proto::grpc::health::v1::HealthCheckRequest;
use mainstay_tests::proc;
use mainstay_tests::raw::{RawConnection, RawRequest, talk, talk_over};
use mainstay_tests::tls::TlsClient;
use mainstay_tests::world::{PATIENCE, Place, World};
use nix::sys::signal::Signal;
use prost::Message as _;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::rover;

const IS_POWERED: &str = "/viam.component.motor.v1.MotorService/IsPowered";
const WATCH: &str = "/grpc.health.v1.Health/Watch";
const OK: &[u8] = b"\x80\0\0\0\x10grpc-status: 0\r\n";

/// A gRPC message that names a resource in its first field.
fn message(name: &str) -> Vec<u8> {
    let message = HealthCheckRequest {
        service: name.to_owned(),
    };
    let mut framed = vec![0];
    framed.extend(u32::try_from(message.encoded_len()).expect("short").to_be_bytes());
    framed.extend(message.encode_to_vec());
    framed
}

/// An HTTP/1.1 request as `fetch` makes it.
fn post(path: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nhost: robot\r\norigin: https://page.example\r\ncontent-type: {content_type}\r\n\
         x-grpc-web: 1\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

/// Head and body of an answer, chunks put together.
pub(super) fn parts(answer: &[u8]) -> (String, Vec<u8>) {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(answer[..end].to_vec()).expect("text");
    let mut rest = &answer[end + 4..];
    if !head.contains("transfer-encoding: chunked") {
        return (head, rest.to_vec());
    }
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|two| two == b"\r\n").expect("a length");
        let length = std::str::from_utf8(&rest[..line]).expect("text");
        let length = usize::from_str_radix(length, 16).expect("in hex");
        if length == 0 {
            return (head, body);
        }
        body.extend_from_slice(&rest[line + 2..line + 2 + length]);
        rest = &rest[line + 2 + length + 2..];
    }
}

pub fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let groups = bytes.chunks(3).map(|chunk| {
        let bits = chunk.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte)) << (8 * (3 - chunk.len()));
        let letter = |at: usize| match at <= chunk.len() {
            true => char::from(LETTERS[bits >> (18 - 6 * at) & 63]),
            false => '=',
        };
        (0..4).map(letter).collect::<String>()
    });
    groups.collect()
}

#[tokio::test]
async fn a_browser_calls_in_either_encoding_and_its_errors_are_in_the_head() {
    let place = Place::new();
    let ca = place.make_keys(&place.file("machine.json")).await;
    let machine = rover().set("network", json!({ "bind_address": "127.0.0.1:0", "tls": "own" }));
    let mut secure = place.start(machine).await;
    secure.trust(Some(&ca));
    secure.until(|now| now.ready("left")).await;
    let mut clear = World::settled(rover()).await;
    clear.until(|now| now.ready("left")).await;
    let over_tls = TlsClient {
        protocols: &[b"http/1.1"],
        ..TlsClient::trusting(&ca)
    };
    let mut expected = vec![0, 0, 0, 0, 0];
    expected.extend_from_slice(OK);
    for content_type in [
        "application/grpc-web",
        "application/grpc-web+proto",
        "application/grpc-web-text",
        "application/grpc-web-text+proto",
    ] {
        let is_text = content_type.contains("text");
        let body = |name| match is_text {
            true => base64(&message(name)).into_bytes(),
            false => message(name),
        };
        let good = post(IS_POWERED, content_type, &body("left"));
        let bad = post(IS_POWERED, content_type, &body("nobody"));
        for is_secure in [false, true] {
            let ask = async |request: &[u8]| {
                let answer = match is_secure {
                    false => talk(clear.address(), request).await,
                    true => talk_over(over_tls.connect(secure.address()).await.expect("a handshake"), request).await,
                };
                parts(&answer.expect("an answer"))
            };
            let (head, body) = ask(&good).await;
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            for line in [
                &format!("content-type: {content_type}\r\n"),
                "access-control-allow-origin: https://page.example",
                "access-control-allow-credentials: true",
                "grpc-status, grpc-message",
            ] {
                assert!(format!("{head}\r\n").contains(line), "{line}: {head}");
            }
            match is_text {
                false => assert_eq!(body, expected),
                // Message and trailers may come in parts of their own.
                true => assert!(
                    body == base64(&expected).as_bytes() || body == (base64(&[0; 5]) + &base64(OK)).as_bytes(),
                    "{body:?}"
                ),
            }
            let (head, body) = ask(&bad).await;
            assert!(
                head.starts_with("HTTP/1.1 200") && head.contains("grpc-status: 5"),
                "{head}"
            );
            assert!(
                head.contains("grpc-message: no%20node%20found") && body.is_empty(),
                "{head}"
            );
        }
    }
    // Over HTTP/2 it is the same.
    let stream = TlsClient::trusting(&ca)
        .connect(secure.address())
        .await
        .expect("a handshake");
    let connection = RawConnection::over(stream).await;
    let call = RawRequest::new(IS_POWERED).header("content-type", "application/grpc-web+proto");
    let answer = connection.call(call.bytes(&message("left"))).await;
    assert_eq!(
        (answer.http, &answer.body[..], answer.trailers.len()),
        (200, &expected[..], 0)
    );
}

#[tokio::test]
async fn each_message_of_a_stream_comes_at_once() {
    let mut world = World::settled(rover()).await;
    let pid = world
        .until(|now| now.ready("left"))
        .await
        .pid("builtin:fake")
        .expect("a process");
    for content_type in ["application/grpc-web+proto", "application/grpc-web-text"] {
        let is_text = content_type.contains("text");
        let form = |bytes: &[u8]| match is_text {
            true => base64(bytes).into_bytes(),
            false => bytes.to_vec(),
        };
        let mut stream = TcpStream::connect(world.address()).await.expect("open");
        let request = post(WATCH, content_type, &form(&message("left")));
        stream.write_all(&request).await.expect("sent");
        let mut seen = Vec::new();
        let mut until = async |part: Vec<u8>| {
            let read = async {
                let mut chunk = [0; 1024];
                while !seen.windows(part.len()).any(|window| window == part) {
                    let length = stream.read(&mut chunk).await.expect("it goes on");
                    assert!(length > 0, "{}", String::from_utf8_lossy(&seen));
                    seen.extend_from_slice(&chunk[..length]);
                }
                seen.clear();
            };
            tokio::time::timeout(PATIENCE, read).await.expect("in time");
        };
        until(form(&[0, 0, 0, 0, 2, 8, 1])).await;
        let pid = world.snapshot().await.pid("builtin:fake").unwrap_or(pid);
        proc::signal(pid, Signal::SIGKILL);
        until(form(&[0, 0, 0, 0, 2, 8, 2])).await;
        until(form(&[0, 0, 0, 0, 2, 8, 1])).await;
        drop(stream);
        world.until(|now| now.ready("left")).await;
    }
}

#[tokio::test]
async fn a_page_is_allowed_to_call_and_other_requests_get_the_answers_of_the_table() {
    let world = World::settled(rover()).await;
    let connection = RawConnection::open(world.address()).await;
    let asks = RawRequest::new(IS_POWERED)
        .method(Method::OPTIONS)
        .without("content-type")
        .header("origin", "http://localhost:5173")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type,x-grpc-web,rpc-host");
    let answer = connection.call(asks).await;
    assert_eq!(answer.http, 204);
    for (name, value) in [
        ("access-control-allow-origin", "http://localhost:5173"),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-methods", "POST"),
        ("access-control-allow-headers", "content-type,x-grpc-web,rpc-host"),
        (
            "vary",
            "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
        ),
    ] {
        assert_eq!(answer.headers[name], value, "{name}");
    }
    let bare = |path: &str, method: Method| RawRequest::new(path).method(method).without("content-type");
    for (request, status, part) in [
        (bare("/", Method::GET), 200, "I am a Mainstay machine"),
        (bare("/", Method::DELETE), 200, "I am a Mainstay machine"),
        (bare("/restart_status", Method::GET), 200, "\"restart_allowed\":true"),
        (bare(IS_POWERED, Method::POST), 400, ""),
        (bare("/viam/api/v1/version", Method::GET), 400, ""),
        (
            bare(IS_POWERED, Method::GET).header("content-type", "application/grpc-web"),
            400,
            "",
        ),
    ] {
        let answer = connection.call(request.clone()).await;
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(
            answer.http == status && body.contains(part) && body.is_empty() == part.is_empty(),
            "{request:?}: {answer:?}"
        );
    }
}

#[tokio::test]
async fn what_is_cut_short_or_no_call_at_all_costs_its_own_connection_at_most() {
    let world = World::settled(rover()).await;
    let whole = message("left");
    for content_type in ["application/grpc-web", "application/grpc-web-text"] {
        for body in [
            &whole[..0],
            &whole[..3],
            &whole[..7],
            b"\xff\xff\xff\xff\xff",
            b"====",
            b"AAAAA",
        ] {
            let answer = talk(world.address(), &post(IS_POWERED, content_type, body))
                .await
                .expect("an answer");
            let (head, _) = parts(&answer);
            assert!(
                head.starts_with("HTTP/1.1 200") && head.contains("grpc-status: ") && !head.contains("grpc-status: 0"),
                "{content_type} {body:?}: {head}"
            );
        }
        // A body of which the end never comes.
        let mut request = post(IS_POWERED, content_type, &whole);
        request.truncate(request.len() - 2);
        let mut stream = TcpStream::connect(world.address()).await.expect("open");
        stream.write_all(&request).await.expect("sent");
        drop(stream);
    }
    tokio::time::timeout(Duration::from_secs(5), world.snapshot())
        .await
        .expect("it answers");
    world.shutdown().await.with_code(0).left_nothing_behind();
}
