//! Requests that no client library would send, over bare HTTP/2. The codes are those of the design, the texts of the
//! protocol.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::Method;
use mainstay_proto::viam::common::v1::GetReadingsRequest;
use mainstay_tests::echo::{SayRequest, SayResponse};
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::raw::{RawConnection, RawRequest, RawResponse};
use mainstay_tests::world::World;
use prost::Message;
use tonic::Code;

const READINGS: &str = "/viam.component.sensor.v1.SensorService/GetReadings";
const SAY: &str = "/mainstay.tests.echo.v1.EchoService/Say";

async fn world() -> (World, RawConnection) {
    let machine = Machine::new()
        .module(Module::fixture("eyes"))
        .resource(Resource::probe("probe"))
        .resource(Resource::echo("echo"));
    let world = World::settled(machine).await;
    let connection = RawConnection::open(world.address()).await;
    (world, connection)
}

fn readings(name: &str) -> GetReadingsRequest {
    GetReadingsRequest {
        name: name.into(),
        extra: None,
    }
}

fn say(name: &str) -> SayRequest {
    SayRequest {
        name: name.into(),
        text: "hello".into(),
        ..SayRequest::default()
    }
}

/// A string field by hand.
fn field(number: u8, text: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    prost::encoding::encode_varint(text.len() as u64, &mut bytes);
    bytes.extend_from_slice(text);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("a Vec takes everything");
    encoder.finish().expect("a Vec takes everything")
}

#[track_caller]
fn check(what: &str, answer: &RawResponse, code: Code, text: &str) {
    assert_eq!(answer.http, 200, "{what}: {answer:?}");
    assert_eq!(answer.code, Some(code as i32), "{what}: {answer:?}");
    assert!(answer.message.contains(text), "{what}: no `{text}` in {answer:?}");
    // Clients parse the text as a header.
    assert!(answer.message.is_ascii(), "{what}: {answer:?}");
}

#[tokio::test]
async fn each_bad_request_gets_its_code_and_the_connection_lives_on() {
    let (world, connection) = world().await;
    let nameless = field(2, b"x");
    let long = [field(2, &[b'x'; 70 << 10]), field(1, b"echo")].concat();
    let truncated = field(1, b"pro");
    let cases = [
        (
            "no such service",
            RawRequest::new("/no.such.v1.Service/Do").message(&readings("probe")),
            Code::Unimplemented,
            "",
        ),
        (
            "no such method",
            RawRequest::new("/viam.component.sensor.v1.SensorService/Nope").message(&readings("probe")),
            Code::Unimplemented,
            "",
        ),
        (
            "no such custom method",
            RawRequest::new("/mainstay.tests.echo.v1.EchoService/Nope").message(&say("echo")),
            Code::Unimplemented,
            "",
        ),
        (
            "no such method of the robot",
            RawRequest::new("/viam.robot.v1.RobotService/Nope").message(&readings("")),
            Code::Unimplemented,
            "",
        ),
        (
            "a path that is none",
            RawRequest::new("/x").message(&readings("probe")),
            Code::Unimplemented,
            "malformed method name",
        ),
        (
            "no such resource",
            RawRequest::new(READINGS).message(&readings("ghost")),
            Code::NotFound,
            "no node found with api rdk:component:sensor and name ghost",
        ),
        (
            "no such custom resource",
            RawRequest::new(SAY).message(&say("ghost")),
            Code::NotFound,
            "tests:component:echo",
        ),
        (
            "the name of another API",
            RawRequest::new(READINGS).message(&readings("echo")),
            Code::NotFound,
            "echo",
        ),
        (
            "an API that nobody has",
            RawRequest::new("/viam.component.arm.v1.ArmService/Stop").message(&readings("a")),
            Code::NotFound,
            "",
        ),
        (
            "empty name",
            RawRequest::new(READINGS).message(&readings("")),
            Code::InvalidArgument,
            "",
        ),
        (
            "no name",
            RawRequest::new(READINGS).frame(0, 3, &nameless),
            Code::InvalidArgument,
            "",
        ),
        (
            "no name, custom",
            RawRequest::new(SAY).frame(0, 3, &nameless),
            Code::InvalidArgument,
            "",
        ),
        (
            "empty message",
            RawRequest::new(READINGS).frame(0, 0, &[]),
            Code::InvalidArgument,
            "",
        ),
        ("no message", RawRequest::new(READINGS), Code::InvalidArgument, ""),
        (
            "half a frame header",
            RawRequest::new(READINGS).bytes(&[0, 0, 0]),
            Code::InvalidArgument,
            "",
        ),
        (
            "truncated in the name",
            RawRequest::new(READINGS).frame(0, 100, &truncated[..3]),
            Code::InvalidArgument,
            "",
        ),
        (
            "not protobuf",
            RawRequest::new(READINGS).frame(0, 4, &[0xff; 4]),
            Code::InvalidArgument,
            "",
        ),
        (
            "a name that is not UTF-8",
            RawRequest::new(READINGS).frame(0, 4, &field(1, &[0xc3, 0x28])),
            Code::InvalidArgument,
            "",
        ),
        (
            "the name too far in",
            RawRequest::new(SAY).frame(0, long.len() as u32, &long),
            Code::InvalidArgument,
            "",
        ),
        (
            "too large, told from its header alone",
            RawRequest::new(SAY).frame(0, 64 << 20, &field(1, b"echo")).unfinished(),
            Code::ResourceExhausted,
            "received message larger than max (67108864 vs. 33554432)",
        ),
        (
            "too large for the core itself",
            RawRequest::new("/viam.robot.v1.RobotService/ResourceNames")
                .frame(0, 64 << 20, &field(1, b"echo"))
                .unfinished(),
            Code::ResourceExhausted,
            "received message larger than max (67108864 vs. 33554432)",
        ),
        (
            "too large for one of its services that takes small messages only",
            RawRequest::new("/grpc.health.v1.Health/Check")
                .frame(0, 5 << 20, &field(1, b"echo"))
                .unfinished(),
            Code::ResourceExhausted,
            "received message larger than max (5242880 vs. 4194304)",
        ),
        (
            "compressed, but not said how",
            RawRequest::new(READINGS).frame(1, 7, &readings("probe").encode_to_vec()),
            Code::Internal,
            "compressed flag set with identity or empty encoding",
        ),
        (
            "compressed in an unknown way",
            RawRequest::new(READINGS)
                .header("grpc-encoding", "br")
                .frame(1, 7, &readings("probe").encode_to_vec()),
            Code::Unimplemented,
            "br",
        ),
        (
            "said to be gzip, but is not",
            RawRequest::new(READINGS)
                .header("grpc-encoding", "gzip")
                .frame(1, 7, &readings("probe").encode_to_vec()),
            Code::InvalidArgument,
            "",
        ),
        (
            "a deadline that is over",
            RawRequest::new(READINGS)
                .header("grpc-timeout", "0n")
                .message(&readings("probe")),
            Code::DeadlineExceeded,
            "deadline exceeded",
        ),
    ];
    for (what, call, code, text) in cases {
        check(what, &connection.call(call).await, code, text);
    }
    // After all of this, on the same connection.
    let good = connection
        .call(RawRequest::new(READINGS).message(&readings("probe")))
        .await;
    check("a good one", &good, Code::Ok, "");
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_message_cut_short_after_the_name_does_not_hang_or_succeed() {
    let (world, connection) = world().await;
    for path in [READINGS, SAY] {
        let name = if path == SAY { "echo" } else { "probe" };
        let answer = connection
            .call(RawRequest::new(path).frame(0, 100, &field(1, name.as_bytes())))
            .await;
        assert!(
            answer.code.is_some_and(|code| code != 0) || answer.reset.is_some(),
            "{answer:?}"
        );
    }
    let good = connection
        .call(RawRequest::new(READINGS).message(&readings("probe")))
        .await;
    check("a good one", &good, Code::Ok, "");
    drop(world);
}

#[tokio::test]
async fn http_that_is_no_grpc_is_refused_as_http() {
    let (_world, connection) = world().await;
    let cases = [
        (
            "bad timeout",
            RawRequest::new(READINGS)
                .header("grpc-timeout", "soon")
                .message(&readings("probe")),
            400..500,
        ),
        (
            "not gRPC",
            RawRequest::new(READINGS)
                .header("content-type", "text/plain")
                .message(&readings("probe")),
            400..500,
        ),
        (
            "no content type",
            RawRequest::new(READINGS)
                .without("content-type")
                .message(&readings("probe")),
            400..500,
        ),
        ("GET", RawRequest::new(READINGS).method(Method::GET), 400..500),
    ];
    for (what, call, expected) in cases {
        let answer = connection.call(call).await;
        assert!(expected.contains(&answer.http), "{what}: {answer:?}");
    }
}

#[tokio::test]
async fn the_last_of_several_names_counts() {
    let (_world, connection) = world().await;
    let bytes = [field(1, b"ghost"), field(2, b"hello"), field(1, b"echo")].concat();
    let answer = connection
        .call(RawRequest::new(SAY).frame(0, bytes.len() as u32, &bytes))
        .await;
    check("last one good", &answer, Code::Ok, "");
    let bytes = [field(1, b"echo"), field(1, b"ghost")].concat();
    let answer = connection
        .call(RawRequest::new(SAY).frame(0, bytes.len() as u32, &bytes))
        .await;
    check("last one bad", &answer, Code::NotFound, "ghost");
}

#[tokio::test]
async fn a_gzip_request_is_routed_and_forwarded_as_it_came() {
    let (_world, connection) = world().await;
    let packed = gzip(&say("echo").encode_to_vec());
    let call = RawRequest::new(SAY)
        .header("grpc-encoding", "gzip")
        .frame(1, packed.len() as u32, &packed);
    let answer = connection.call(call).await;
    check("gzip", &answer, Code::Ok, "");
    let said: SayResponse = answer.decode();
    assert_eq!(
        (
            said.text.as_str(),
            said.headers.get("grpc-encoding").map(String::as_str)
        ),
        ("hello", Some("gzip"))
    );

    let packed = gzip(&say("ghost").encode_to_vec());
    let call = RawRequest::new(SAY)
        .header("grpc-encoding", "gzip")
        .frame(1, packed.len() as u32, &packed);
    check(
        "gzip, unknown name",
        &connection.call(call).await,
        Code::NotFound,
        "ghost",
    );
}

#[tokio::test]
async fn a_bomb_of_gzip_costs_nothing() {
    let (_world, connection) = world().await;
    let packed = gzip(&[field(2, &vec![b'x'; 8 << 20]), field(1, b"echo")].concat());
    let call = RawRequest::new(SAY)
        .header("grpc-encoding", "gzip")
        .frame(1, packed.len() as u32, &packed);
    check(
        "the name too far in",
        &connection.call(call).await,
        Code::InvalidArgument,
        "",
    );
}

#[tokio::test]
async fn an_answer_that_is_too_large_fails_its_own_call_alone() {
    let (world, connection) = world().await;
    let request = SayRequest {
        padding_bytes: 33 << 20,
        ..say("echo")
    };
    let answer = connection.call(RawRequest::new(SAY).message(&request)).await;
    assert_eq!(answer.code, Some(Code::ResourceExhausted as i32), "{}", answer.message);
    assert!(
        answer.message.contains("received message larger than max ("),
        "{}",
        answer.message
    );
    let good = connection.call(RawRequest::new(SAY).message(&say("echo"))).await;
    check("a good one", &good, Code::Ok, "");
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn errors_carry_the_operation_that_they_belong_to() {
    let (_world, connection) = world().await;
    for call in [
        RawRequest::new("/viam.component.sensor.v1.SensorService/Nope").message(&readings("probe")),
        RawRequest::new(READINGS).message(&readings("ghost")),
    ] {
        let answer = connection.call(call).await;
        assert!(answer.headers.contains_key("opid"), "{answer:?}");
    }
}
