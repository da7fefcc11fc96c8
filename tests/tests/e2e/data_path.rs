//! Tests of the data path between client and module, in both directions, with an API that the server does not know.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use mainstay_proto::viam::common::v1::{GetReadingsRequest, GetReadingsResponse};
use mainstay_proto::viam::robot::v1::{StartSessionRequest, StartSessionResponse};
use mainstay_tests::echo::{ChatRequest, CountRequest, FailRequest, SayRequest, SumRequest};
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::raw::{RawConnection, RawRequest};
use mainstay_tests::world::World;
use mainstay_tests::{proc, rpc};
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{StreamExt, iter};
use tonic::{Code, Request};

use crate::machine::command;

async fn world() -> World {
    let machine = Machine::new()
        .module(Module::fixture("one"))
        .module(Module::fixture("two"))
        .resource(Resource::echo("echo"))
        .resource(Resource::generic("box"))
        .resource(Resource::probe("probe"));
    World::settled(machine).await
}

pub fn say(name: &str, text: &str) -> SayRequest {
    SayRequest {
        name: name.into(),
        text: text.into(),
        ..SayRequest::default()
    }
}

#[tokio::test]
async fn all_four_kinds_of_calls_reach_an_api_that_only_its_module_knows() {
    let mut world = world().await;
    let now = world.snapshot().await;
    let mut echo = world.echo();

    let said = echo.say(say("echo", "hello")).await.expect("unary");
    assert_eq!(
        said.metadata().get("x-echo-header").map(|value| value.as_bytes()),
        Some(&b"from the module"[..])
    );
    let said = said.into_inner();
    assert_eq!(said.text, "hello");
    let stamp = said.stamp.expect("a stamp");
    assert_eq!(
        now.pid(&stamp.nonce),
        i32::try_from(stamp.pid).ok(),
        "answered by the module itself"
    );

    let counted = echo
        .count(CountRequest {
            name: "echo".into(),
            until: 5,
            pause_ms: 1,
        })
        .await
        .expect("server stream");
    let counted: Vec<_> = counted
        .into_inner()
        .map(|item| item.expect("a number").value)
        .collect()
        .await;
    assert_eq!(counted, [1, 2, 3, 4, 5]);

    let values = [1, 2, 39].map(|value| SumRequest {
        name: "echo".into(),
        value,
    });
    let total = echo.sum(iter(values)).await.expect("client stream").into_inner().total;
    assert_eq!(total, 42);

    let (send, receive) = mpsc::channel(1);
    let line = |text: &str| ChatRequest {
        name: "echo".into(),
        text: text.into(),
    };
    send.send(line("a")).await.expect("open");
    let mut answers = echo
        .chat(ReceiverStream::new(receive))
        .await
        .expect("bidi")
        .into_inner();
    assert_eq!(answers.next().await.expect("an answer").expect("a line").text, "A");
    // The answer to the first came before the second was sent: nothing is collected on the way.
    send.send(line("b")).await.expect("open");
    assert_eq!(answers.next().await.expect("an answer").expect("a line").text, "B");
    drop(send);
    assert!(answers.next().await.is_none(), "our end of the stream ends theirs");

    let report = world.report("echo").await;
    assert_eq!((report.running, report.cancelled), (0, 0), "{report:?}");
    world.until(|now| now.running()).await;
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn errors_and_trailers_of_a_module_pass_unchanged() {
    let world = world().await;
    let long = "x".repeat(6000);
    for (code, message) in [
        (9, "the arm is folded"),
        (2, "non-ASCII: Grüße, 日本"),
        (16, ""),
        (5, long.as_str()),
    ] {
        let request = FailRequest {
            name: "echo".into(),
            code,
            message: message.into(),
            trailer: "bent at 12%".into(),
        };
        let status = world.echo().fail(request).await.expect_err("it was asked to fail");
        assert_eq!((status.code() as i32, status.message()), (code, message));
        assert_eq!(
            status.metadata().get("x-echo-trailer").map(|value| value.as_bytes()),
            Some(&b"bent at 12%"[..])
        );
    }
}

#[tokio::test]
async fn a_module_sees_the_metadata_of_the_protocol_and_no_other() {
    let world = world().await;
    let session: StartSessionResponse = world
        .call(
            "/viam.robot.v1.RobotService/StartSession",
            &StartSessionRequest::default(),
        )
        .await
        .expect("a session");
    let sent = [
        ("opid", "7a2c7a3e-0000-4000-8000-0123456789ab"),
        ("viam_client", "rust;v1;v2"),
        ("viam-metadata-fleet", "north"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", "a=1"),
        ("dtname", "abcdef"),
        ("authorization", "Bearer secret"),
        ("viam-sid", &session.id),
        ("rpc-host", "robot.local"),
        ("x-mine", "private"),
        ("cookie", "a=b"),
    ];
    let mut request = Request::new(say("echo", ""));
    for (name, value) in sent {
        request.metadata_mut().insert(name, value.parse().expect("ASCII"));
    }
    let answer = world.echo().say(request).await.expect("answers");
    assert_eq!(
        answer.metadata().get("opid").map(|value| value.as_bytes()),
        Some(sent[0].1.as_bytes())
    );
    let seen = answer.into_inner().headers;
    let passed: BTreeMap<_, _> = sent
        .iter()
        .filter_map(|(name, _)| Some((*name, seen.get(*name)?.as_str())))
        .collect();
    assert_eq!(passed, sent[..6].iter().copied().collect(), "{seen:?}");
    assert_eq!(seen.get("te").map(String::as_str), Some("trailers"));
    assert_eq!(seen.get("content-type").map(String::as_str), Some("application/grpc"));
}

/// `grpc-timeout` in seconds.
fn seconds(timeout: &str) -> f64 {
    let (digits, unit) = timeout.split_at(timeout.len() - 1);
    let scale = match unit {
        "H" => 3600.0,
        "M" => 60.0,
        "S" => 1.0,
        "m" => 1e-3,
        "u" => 1e-6,
        "n" => 1e-9,
        _ => panic!("unit of {timeout}"),
    };
    digits.parse::<f64>().expect("digits") * scale
}

#[tokio::test]
async fn every_unary_call_to_a_module_has_a_deadline_and_the_callers_own_counts() {
    let world = world().await;
    let seen = world
        .echo()
        .say(say("echo", ""))
        .await
        .expect("answers")
        .into_inner()
        .headers;
    let by_default = seconds(seen.get("grpc-timeout").expect("a default deadline"));
    assert!((590.0..=600.0).contains(&by_default), "{by_default}");

    let mut request = Request::new(say("echo", ""));
    request.set_timeout(Duration::from_secs(7));
    let seen = world.echo().say(request).await.expect("answers").into_inner().headers;
    let own = seconds(seen.get("grpc-timeout").expect("the caller's deadline"));
    assert!((5.0..=7.0).contains(&own), "{own}");

    // A stream may last as long as it likes.
    let request = CountRequest {
        name: "echo".into(),
        until: 1,
        pause_ms: 0,
    };
    let mut counted = world.echo().count(request).await.expect("a stream").into_inner();
    let seen = counted.next().await.expect("a message").expect("a number").headers;
    assert!(
        seen.contains_key("opid") && !seen.contains_key("grpc-timeout"),
        "{seen:?}"
    );
}

#[tokio::test]
async fn a_call_ends_at_its_deadline_although_the_module_hangs() {
    let mut world = world().await;
    let stamp = world
        .echo()
        .say(say("echo", ""))
        .await
        .expect("answers")
        .into_inner()
        .stamp
        .expect("a stamp");
    let pid = i32::try_from(stamp.pid).expect("a process id");
    proc::signal(pid, Signal::SIGSTOP);
    let begun = Instant::now();
    // Over bare HTTP/2: a client library would end the call by itself.
    let call = RawRequest::new("/mainstay.tests.echo.v1.EchoService/Say").header("grpc-timeout", "300m");
    let answer = RawConnection::open(world.address())
        .await
        .call(call.message(&say("echo", "")))
        .await;
    let took = begun.elapsed();
    proc::signal(pid, Signal::SIGCONT);
    assert_eq!(answer.code, Some(Code::DeadlineExceeded as i32), "{answer:?}");
    assert!((250..5000).contains(&took.as_millis()), "{took:?}");
    world.until(|now| now.ready("echo")).await;
}

#[tokio::test]
async fn a_caller_that_goes_away_ends_the_call_in_the_module() {
    let world = world().await;
    // A stream that is dropped.
    let mut stream = world
        .echo()
        .count(CountRequest {
            name: "echo".into(),
            until: 0,
            pause_ms: 1,
        })
        .await
        .expect("a stream")
        .into_inner();
    for _ in 0..3 {
        stream.next().await.expect("endless").expect("a number");
    }
    drop(stream);
    world
        .until_report("echo", |report| report.cancelled == 1 && report.running == 0)
        .await;

    // A unary call that is given up.
    let mut tasks = JoinSet::new();
    let mut echo = world.echo();
    tasks.spawn(async move {
        echo.say(SayRequest {
            delay_ms: 60_000,
            ..say("echo", "")
        })
        .await
        .map(drop)
    });
    world.until_report("echo", |report| report.running == 1).await;
    tasks.abort_all();
    world
        .until_report("echo", |report| report.cancelled == 2 && report.running == 0)
        .await;
}

#[tokio::test]
async fn large_messages_arrive_whole() {
    let world = world().await;
    let text: String = (0..4_000_000_u32)
        .map(|index| char::from(b'a' + (index % 23) as u8))
        .collect();
    let request = SayRequest {
        padding_bytes: 8 << 20,
        ..say("echo", &text)
    };
    let said = world.echo().say(request).await.expect("answers").into_inner();
    assert!(said.text == text, "the text was changed on the way");
    assert_eq!(said.padding.len(), 8 << 20);
    assert!(said.padding.iter().all(|&byte| byte == 0x5a));

    // Just below the limit of 32 MiB.
    let request = say("echo", &"x".repeat((32 << 20) - 100));
    let said = world.echo().say(request).await.map(|said| said.into_inner().text.len());
    // The stamp makes the answer longer than the request, and that may be too long.
    assert!(
        matches!(&said, Err(status) if status.code() == Code::ResourceExhausted),
        "{said:?}"
    );
    let request = say("echo", &"x".repeat(31 << 20));
    assert_eq!(
        world
            .echo()
            .say(request)
            .await
            .expect("answers")
            .into_inner()
            .text
            .len(),
        31 << 20
    );
}

#[tokio::test]
async fn many_calls_at_once_get_their_own_answers() {
    let world = world().await;
    let channel = world.channel();
    let mut tasks = JoinSet::new();
    for number in 0..300_u32 {
        let channel = channel.clone();
        tasks.spawn(async move {
            let text = format!("number {number}");
            let request = SayRequest {
                delay_ms: number % 7,
                ..say("echo", &text)
            };
            let mut echo = mainstay_tests::echo::echo_service_client::EchoServiceClient::new(channel);
            (text, echo.say(request).await.map(|said| said.into_inner().text))
        });
    }
    while let Some(done) = tasks.join_next().await {
        let (sent, got) = done.expect("no panic");
        assert_eq!(got.expect("an answer"), sent);
    }
}

#[tokio::test]
async fn a_reader_that_sleeps_holds_up_nobody_else() {
    let world = world().await;
    let channel = world.channel();
    let mut slow = mainstay_tests::echo::echo_service_client::EchoServiceClient::new(channel.clone());
    // Nobody reads these: the windows fill up.
    let _unread = slow
        .count(CountRequest {
            name: "echo".into(),
            until: 0,
            pause_ms: 0,
        })
        .await
        .expect("a stream");
    for _ in 0..20 {
        let mut echo = mainstay_tests::echo::echo_service_client::EchoServiceClient::new(channel.clone());
        echo.say(say("echo", "still there?")).await.expect("answers");
    }
}

#[tokio::test]
async fn a_module_reaches_the_resources_of_others_through_its_parent_socket() {
    let world = world().await;
    let request = GetReadingsRequest {
        name: "probe".into(),
        extra: None,
    };
    let path = "/viam.component.sensor.v1.SensorService/GetReadings";
    let direct: GetReadingsResponse = world.call(path, &request).await.expect("answers");
    let through: GetReadingsResponse = world.from_module("echo", path, &request).await.expect("answers");
    assert_eq!(direct, through);
    assert!(through.readings.contains_key("nonce"), "{through:?}");

    let request = GetReadingsRequest {
        name: "ghost".into(),
        extra: None,
    };
    let status = world
        .from_module::<_, GetReadingsResponse>("echo", path, &request)
        .await
        .expect_err("no such");
    assert_eq!(status.code(), Code::NotFound, "{status:?}");
}

#[tokio::test]
async fn commands_for_a_custom_resource_may_come_through_the_generic_service() {
    let world = world().await;
    let answer = command(&world, "echo", json!({ "say": "cheese" }))
        .await
        .expect("answers");
    assert_eq!(answer["say"], "cheese");
    assert!(answer["pid"].as_f64().is_some_and(|pid| pid > 1.0), "{answer}");
    let status = command(&world, "nobody", json!({ "say": "cheese" }))
        .await
        .expect_err("no such");
    assert_eq!(rpc::code_and_text(&status).0, Code::NotFound, "{status:?}");
}
