//! REST at `/api/v1/…`, as `curl` and pages of browsers speak it: HTTP/1.1 and HTTP/2, in the clear and over TLS.

use std::time::Duration;

use http::Method;
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::raw::{RawConnection, RawRequest, RawResponse, talk, talk_over};
use mainstay_tests::tls::TlsClient;
use mainstay_tests::world::{PATIENCE, Place, World};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::grpc_web::parts;
use super::remotes::{remote, until_names};
use super::rover;

/// A request of HTTP/1.1 without its end; `target` is, for example, `GET /version`.
fn request(target: &str, headers: &str, body: &str) -> Vec<u8> {
    let (verb, path) = target.split_once(' ').expect("a method and a path");
    let length = body.len();
    format!("{verb} /api/v1{path} HTTP/1.1\r\nhost: robot\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
        .into_bytes()
}

/// Status, head and body of an answer over HTTP/1.1.
async fn ask(world: &World, target: &str, headers: &str, body: &str) -> (u16, String, String) {
    let answer = talk(world.address(), &request(target, headers, body)).await;
    let (head, body) = parts(&answer.expect("an answer"));
    let status = head.split(' ').nth(1).expect("a status").parse().expect("a number");
    (status, head, String::from_utf8(body).expect("text"))
}

/// The same without the head, and the body as JSON.
async fn json_of(world: &World, target: &str, body: &str) -> (u16, Value) {
    let (status, head, text) = ask(world, target, "", body).await;
    assert!(head.contains("content-type: application/json"), "{head}");
    (
        status,
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{target}: {error}: {text}")),
    )
}

/// A request over HTTP/2.
fn plain(verb: Method, path: &str) -> RawRequest {
    RawRequest::new(&format!("/api/v1{path}"))
        .method(verb)
        .without("content-type")
        .without("te")
}

fn body(answer: &RawResponse) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}

#[tokio::test]
async fn a_motor_is_driven_by_query_and_by_body_and_what_is_zero_is_left_out() {
    let mut world = World::settled(rover()).await;
    world.until(|now| now.ready("left")).await;
    let none = json!({});
    for (target, text, expected) in [
        ("GET /component/motor/left/powered", "", none.clone()),
        ("PUT /component/motor/left/power?power_pct=0.5", "", none.clone()),
        (
            "GET /component/motor/left/powered",
            "",
            json!({ "is_on": true, "power_pct": 0.5 }),
        ),
        (
            "PUT /component/motor/left/power",
            r#"{"powerPct":-1,"no_such_field":7}"#,
            none.clone(),
        ),
        (
            "GET /component/motor/left/powered",
            "",
            json!({ "is_on": true, "power_pct": -1 }),
        ),
        ("PUT /component/motor/left/stop", "", none.clone()),
        ("GET /component/motor/left/powered", "", none.clone()),
        ("GET /component/motor/%6Ceft/is_moving", "", none.clone()),
        ("GET /stop_all", "", none),
    ] {
        assert_eq!(json_of(&world, target, text).await, (200, expected), "{target}");
    }
    let (_, version) = json_of(&world, "GET /version", "").await;
    assert_eq!(version["platform"], "mainstay");
    let (_, names) = json_of(&world, "GET /resources/list", "").await;
    assert!(
        names["resources"]
            .as_array()
            .expect("a list")
            .iter()
            .any(|name| name["name"] == "left"),
        "{names}"
    );

    let nobody = "no node found with api rdk:component:motor and name nobody";
    for (target, text, status, code, message) in [
        ("GET /component/motor/nobody/powered", "", 404, 5, nobody),
        ("GET /nothing", "", 404, 5, "Not Found"),
        ("GET /", "", 404, 5, "Not Found"),
        (
            "POST /version",
            "",
            405,
            12,
            "Method Not Allowed: /api/v1/version takes GET",
        ),
        (
            "GET /component/motor/%ff/powered",
            "",
            400,
            3,
            "the path `/api/v1/component/motor/%ff/powered` must be",
        ),
        (
            "PUT /component/motor/left/power?power_pct=x",
            "",
            400,
            3,
            "parameter `power_pct` is `x`, but must be a double",
        ),
        (
            "PUT /component/motor/left/power",
            "{",
            400,
            3,
            "the body must be a viam.component.motor.v1.SetPowerRequest",
        ),
        ("GET /cloud_metadata", "", 400, 9, "cloud metadata not available"),
        ("GET /status", "", 501, 12, "method GetStatus not implemented"),
        ("GET /status/stream", "", 501, 12, ""),
    ] {
        let (got, answer) = json_of(&world, target, text).await;
        // Of methods that stream, the error is a line of the stream.
        let error = answer.get("error").unwrap_or(&answer);
        assert_eq!((got, &error["code"]), (status, &json!(code)), "{target}: {answer}");
        assert!(
            error["message"].as_str().expect("a text").starts_with(message),
            "{target}: {answer}"
        );
    }
    let late = ask(&world, "GET /version", "grpc-timeout: soon\r\n", "").await;
    assert!(late.0 == 400 && late.2.contains("malformed grpc-timeout"), "{late:?}");
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn what_moves_within_a_session_stops_when_nobody_keeps_it_alive() {
    let mut world = World::settled(rover().heartbeat_window("300ms")).await;
    world.until(|now| now.ready("left")).await;
    let (status, session) = json_of(&world, "POST /sessions", "").await;
    assert_eq!(
        (status, &session["heartbeat_window"]),
        (200, &json!("0.300s")),
        "{session}"
    );
    let id = session["id"].as_str().expect("an id");
    let power = "PUT /component/motor/left/power?power_pct=1";
    assert_eq!(ask(&world, power, &format!("viam-sid: {id}\r\n"), "").await.0, 200);
    let beat = format!("POST /sessions/{id}/heartbeat");
    assert_eq!(json_of(&world, &beat, "").await, (200, json!({})));
    let powered = async || json_of(&world, "GET /component/motor/left/powered", "").await;
    let end = std::time::Instant::now() + PATIENCE;
    while powered().await != (200, json!({})) {
        assert!(std::time::Instant::now() < end, "{}", world.output());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(json_of(&world, &beat, "").await.0, 400);
}

#[tokio::test]
async fn over_http2_and_tls_it_is_the_same_and_a_page_may_ask() {
    let place = Place::new();
    let ca = place.make_keys(&place.file("machine.json")).await;
    let machine = rover().set("network", json!({ "bind_address": "127.0.0.1:0", "tls": "own" }));
    let mut secure = place.start(machine).await;
    secure.trust(Some(&ca));
    secure.until(|now| now.ready("left")).await;
    let http1 = TlsClient {
        protocols: &[b"http/1.1"],
        ..TlsClient::trusting(&ca)
    };
    let stream = http1.connect(secure.address()).await.expect("a handshake");
    let power = request("PUT /component/motor/left/power", "", r#"{"power_pct":0.25}"#);
    let (head, _) = parts(&talk_over(stream, &power).await.expect("an answer"));
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let stream = TlsClient::trusting(&ca)
        .connect(secure.address())
        .await
        .expect("a handshake");
    let connection = RawConnection::over(stream).await;
    let answer = connection
        .call(plain(Method::GET, "/component/motor/left/powered"))
        .await;
    assert_eq!(
        (answer.http, body(&answer)),
        (200, json!({ "is_on": true, "power_pct": 0.25 }))
    );

    let page = |request: RawRequest| request.header("origin", "https://page.example");
    let answer = connection.call(page(plain(Method::GET, "/version"))).await;
    let opid = &answer.headers["grpc-metadata-opid"];
    assert_eq!(opid.len(), 36, "{opid:?}");
    for (name, value) in [
        ("access-control-allow-origin", "https://page.example"),
        ("access-control-allow-credentials", "true"),
        ("access-control-expose-headers", "grpc-metadata-opid"),
        ("content-type", "application/json"),
    ] {
        assert_eq!(answer.headers[name], value, "{name}");
    }
    let asked = plain(Method::OPTIONS, "/component/motor/left/power");
    let preflight = page(asked.clone())
        .header("access-control-request-method", "PUT")
        .header("access-control-request-headers", "authorization,content-type");
    let answer = connection.call(preflight).await;
    assert_eq!(answer.http, 204);
    assert_eq!(answer.headers["access-control-allow-methods"], "PUT");
    assert_eq!(
        answer.headers["access-control-allow-headers"],
        "authorization,content-type"
    );
    let answer = connection.call(asked).await;
    assert_eq!(
        (answer.http, &answer.headers["allow"]),
        (204, &"PUT, OPTIONS".parse().expect("a value"))
    );
    let answer = connection.call(page(plain(Method::GET, "/nothing"))).await;
    assert_eq!(
        (answer.http, &answer.headers["access-control-allow-origin"]),
        (404, &"https://page.example".parse().expect("a value"))
    );
    // A call by GET may move something, so none is made for HEAD.
    let answer = connection.call(plain(Method::HEAD, "/stop_all")).await;
    assert_eq!((answer.http, answer.body.len()), (405, 0));
    for path in ["/viam/api/v1/version", "/api", "/apis/v1/version"] {
        let answer = connection
            .call(RawRequest::new(path).method(Method::GET).without("content-type"))
            .await;
        assert_eq!((answer.http, answer.body.len()), (400, 0), "{path}");
    }
}

#[tokio::test]
async fn a_foreign_page_moves_nothing_by_a_picture_a_link_or_a_form() {
    let mut world = World::settled(rover()).await;
    world.until(|now| now.ready("left")).await;
    let form = "origin: https://page.example\r\ncontent-type: application/x-www-form-urlencoded\r\n";
    let picture = "sec-fetch-site: cross-site\r\nsec-fetch-mode: no-cors\r\n";
    for (target, headers, expected) in [
        ("GET /stop_all", picture, 403),
        (
            "GET /stop_all",
            "sec-fetch-site: none\r\nsec-fetch-mode: navigate\r\n",
            200,
        ),
        ("POST /sessions", form, 403),
        ("POST /sessions", "origin: http://robot\r\n", 200),
        ("POST /sessions", "", 200),
    ] {
        let (status, head, text) = ask(&world, target, headers, "").await;
        assert_eq!(status, expected, "{target} {headers}: {head} {text}");
        assert!(status == 200 || text.starts_with("{\"code\":7,"), "{text}");
    }
    world.shutdown().await.with_code(0).left_nothing_behind();
}

fn echo() -> Machine {
    Machine::new()
        .module(Module::fixture("eyes"))
        .resource(Resource::echo("lidar"))
}

#[tokio::test]
async fn an_api_that_only_a_module_knows_has_the_paths_of_its_annotations() {
    let world = World::settled(echo()).await;
    let (status, said) = json_of(&world, "GET /tests/echo/lidar/say?text=hello+there&padding_bytes=3", "").await;
    assert_eq!(
        (status, &said["text"], &said["padding"]),
        (200, &json!("hello there"), &json!("Wlpa"))
    );
    assert_eq!(said["headers"]["content-type"], "application/grpc");
    let (status, said) = json_of(&world, "POST /tests/echo/lidar/say", r#"{"text":"x","paddingBytes":1}"#).await;
    assert_eq!((status, &said["padding"]), (200, &json!("Wg==")));
    // A stream of requests, and one field of the answer.
    let sum = r#"{"name":"lidar","value":"4"} {"value":5}"#;
    assert_eq!(json_of(&world, "POST /tests/echo/sum", sum).await, (200, json!("9")));
    let (status, chat) = json_of(&world, "POST /tests/echo/chat", "{}").await;
    assert_eq!((status, &chat["code"]), (501, &json!(12)));
    for (code, status) in [
        (1, 499),
        (3, 400),
        (5, 404),
        (6, 409),
        (8, 429),
        (10, 409),
        (13, 500),
        (14, 503),
        (16, 401),
    ] {
        let target = format!("POST /tests/echo/lidar/fail?code={code}&message=so%20it%20is");
        let expected = json!({ "code": code, "message": "so it is" });
        assert_eq!(json_of(&world, &target, "").await, (status, expected), "{code}");
    }
    // Without its module, the paths are gone as well.
    world.replace(&Machine::new());
    let end = std::time::Instant::now() + PATIENCE;
    while json_of(&world, "GET /tests/echo/lidar/say", "").await.1["message"] != "Not Found" {
        assert!(std::time::Instant::now() < end, "{}", world.output());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_stream_comes_line_by_line_and_ends_with_whoever_reads_it() {
    let world = World::settled(echo()).await;
    let (status, _, text) = ask(&world, "GET /tests/echo/lidar/count?until=3", "", "").await;
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let values: Vec<_> = lines.iter().map(|line| &line["result"]["value"]).collect();
    assert_eq!((status, values), (200, vec![&json!(1), &json!(2), &json!(3)]));

    let mut stream = TcpStream::connect(world.address()).await.expect("open");
    let endless = request("GET /tests/echo/lidar/count?pause_ms=5", "", "");
    stream.write_all(&endless).await.expect("sent");
    let mut seen = Vec::new();
    let read = async {
        while !String::from_utf8_lossy(&seen).contains("{\"value\":3,") {
            let mut chunk = [0; 1024];
            let length = stream.read(&mut chunk).await.expect("it goes on");
            assert!(length > 0, "{}", String::from_utf8_lossy(&seen));
            seen.extend_from_slice(&chunk[..length]);
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("in time");
    drop(stream);
    world
        .until_report("lidar", |report| report.cancelled == 1 && report.running == 0)
        .await;

    // So does a call of one answer, over either protocol.
    let mut stream = TcpStream::connect(world.address()).await.expect("open");
    stream
        .write_all(&request("GET /tests/echo/lidar/say?delay_ms=600000", "", ""))
        .await
        .expect("sent");
    world.until_report("lidar", |report| report.running == 1).await;
    drop(stream);
    world
        .until_report("lidar", |report| report.cancelled == 2 && report.running == 0)
        .await;

    // It is an operation like any other, which REST itself can end.
    let connection = RawConnection::open(world.address()).await;
    let asked = connection.call(plain(Method::GET, "/tests/echo/lidar/say?delay_ms=600000"));
    let cancelled = async {
        world.until_report("lidar", |report| report.running == 1).await;
        let (_, listed) = json_of(&world, "GET /operations/list", "").await;
        let operation = listed["operations"].as_array().expect("a list").iter();
        let operation = operation.filter(|one| one["method"] == "/mainstay.tests.echo.v1.EchoService/Say");
        let ids: Vec<_> = operation.filter_map(|one| one["id"].as_str()).collect();
        assert_eq!(ids.len(), 1, "{listed}");
        let target = format!("POST /operations/cancel?id={}", ids[0]);
        assert_eq!(json_of(&world, &target, "").await, (200, json!({})));
    };
    let (answer, ()) = tokio::join!(asked, cancelled);
    assert_eq!(
        (answer.http, body(&answer)),
        (499, json!({ "code": 1, "message": "context canceled" }))
    );
    world.shutdown().await.with_code(0).left_nothing_behind();
}

/// A stream without end over HTTP/2, of which nothing is read but its head.
async fn unread(world: &World, timeout: Option<&str>) -> (h2::RecvStream, JoinSet<()>) {
    let stream = TcpStream::connect(world.address()).await.expect("open");
    let (sender, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    let mut driver = JoinSet::new();
    driver.spawn(async move {
        let _ = connection.await;
    });
    let mut request = http::Request::get("http://localhost/api/v1/tests/echo/lidar/count");
    if let Some(timeout) = timeout {
        request = request.header("grpc-timeout", timeout);
    }
    let mut sender = sender.ready().await.expect("open");
    let (response, _) = sender
        .send_request(request.body(()).expect("a request"), true)
        .expect("sent");
    (response.await.expect("an answer").into_body(), driver)
}

#[tokio::test]
async fn a_stream_that_nobody_reads_ends_at_its_deadline_and_with_the_machine() {
    let world = World::settled(echo()).await;
    let _late = unread(&world, Some("1S")).await;
    world.until_report("lidar", |report| report.running == 1).await;
    world
        .until_report("lidar", |report| report.cancelled == 1 && report.running == 0)
        .await;
    // Nor is it an operation any more.
    let listed = async {
        while json_of(&world, "GET /operations/list", "")
            .await
            .1
            .to_string()
            .contains("EchoService/Count")
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, listed).await.expect("it is over");

    let _unread = unread(&world, None).await;
    world.until_report("lidar", |report| report.running == 1).await;
    let remains = world.shutdown().await;
    remains.with_code(0).left_nothing_behind();
    assert!(remains.took < Duration::from_secs(5), "{:?}", remains.took);
}

#[tokio::test]
async fn what_another_machine_has_is_there_under_its_names() {
    let mut far = World::settled(
        rover()
            .module(Module::fixture("eyes"))
            .resource(Resource::echo("lidar")),
    )
    .await;
    far.until(|now| now.ready("left")).await;
    let near = World::start(Machine::new().set("remotes", json!([remote("far", &far)]))).await;
    until_names(&near, &["far:left", "far:lidar"]).await;
    let none = (200, json!({}));
    assert_eq!(
        json_of(&near, "PUT /component/motor/far:left/power?power_pct=0.5", "").await,
        none
    );
    let on = (200, json!({ "is_on": true, "power_pct": 0.5 }));
    assert_eq!(json_of(&near, "GET /component/motor/far%3Aleft/powered", "").await, on);
    assert_eq!(json_of(&far, "GET /component/motor/left/powered", "").await, on);
    assert_eq!(json_of(&near, "PUT /component/motor/left/stop", "").await, none);
    assert_eq!(json_of(&far, "GET /component/motor/left/powered", "").await, none);
    let (status, said) = json_of(&near, "GET /tests/echo/far:lidar/say?text=hi", "").await;
    assert_eq!((status, &said["text"]), (200, &json!("hi")));
}

#[tokio::test]
async fn what_is_too_much_or_cut_short_costs_its_own_connection_at_most() {
    let world = World::settled(echo()).await;
    let say = "POST /tests/echo/lidar/say";
    // A large picture goes through, both ways.
    let text = "x".repeat(3 << 20);
    let (status, said) = json_of(&world, say, &format!(r#"{{"text":"{text}","padding_bytes":2000000}}"#)).await;
    assert_eq!((status, said["text"].as_str().map(str::len)), (200, Some(3 << 20)));
    assert_eq!(
        said["padding"].as_str().map(str::len),
        Some(2_000_000_usize.div_ceil(3) * 4)
    );
    let (status, error) = json_of(&world, say, &format!("[{}1]", "1,".repeat(55_000))).await;
    assert_eq!((status, &error["code"]), (413, &json!(8)), "{error}");
    let form = format!("text=x&padding_bytes=1{}", "&a".repeat(1 << 20));
    let header = "content-type: application/x-www-form-urlencoded\r\n";
    let (status, _, text) = ask(&world, say, header, &form).await;
    assert_eq!(status, 413, "{text}");
    let (status, _, text) = ask(&world, say, header, "text=a+form&padding_bytes=1").await;
    assert!(status == 200 && text.contains("\"a form\""), "{text}");
    let huge = "POST /api/v1/tests/echo/lidar/say HTTP/1.1\r\nhost: robot\r\nconnection: close\r\n\
                content-length: 33554433\r\n\r\n{";
    let (head, text) = parts(&talk(world.address(), huge.as_bytes()).await.expect("an answer"));
    assert!(head.starts_with("HTTP/1.1 413"), "{head}");
    let error: Value = serde_json::from_slice(&text).expect("JSON");
    assert_eq!(
        error,
        json!({ "code": 8, "message": "the body of a request may have 33554432 bytes" })
    );
    for text in [
        "",
        "\0",
        "nul",
        "[]",
        "\"\u{e4}\"",
        "{\"text\":",
        "{\"text\":[[[[",
        "=&=&%",
    ] {
        let (status, answer) = json_of(&world, say, text).await;
        assert!(status == if text.is_empty() { 200 } else { 400 }, "{text}: {answer}");
    }
    let deep = "[".repeat(10_000);
    assert_eq!(json_of(&world, say, &deep).await.0, 400);
    // A body of which the end never comes.
    let mut cut = request(say, "", r#"{"text":"x"}"#);
    cut.truncate(cut.len() - 3);
    let mut stream = TcpStream::connect(world.address()).await.expect("open");
    stream.write_all(&cut).await.expect("sent");
    drop(stream);
    let connection = RawConnection::open(world.address()).await;
    let unfinished = plain(Method::POST, "/tests/echo/lidar/say")
        .bytes(b"{")
        .header("grpc-timeout", "50m");
    let answer = connection.call(unfinished.unfinished()).await;
    assert_eq!((answer.http, &body(&answer)["code"]), (504, &json!(4)), "{answer:?}");
    assert_eq!(json_of(&world, "GET /version", "").await.0, 200);
    world.shutdown().await.with_code(0).left_nothing_behind();
}
