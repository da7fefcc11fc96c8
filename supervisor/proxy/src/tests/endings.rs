//! However a call ends, both sides learn of it, and nothing of it stays.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use http::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};

use super::world::{ECHO, Fixture, answer, echo, message, named, ok_trailers, soon, until};

/// A module that answers with one message and then waits; it tells why its streams were reset.
async fn waiting_module(answers: bool) -> (Fixture, mpsc::UnboundedReceiver<Reason>) {
    let (sender, resets) = mpsc::unbounded_channel();
    let world = Fixture::new(move |_request, mut respond| {
        let sender = sender.clone();
        async move {
            let reason = if answers {
                let mut stream = answer(&mut respond);
                stream.send_data(message(b"first"), false).unwrap();
                std::future::poll_fn(|cx| stream.poll_reset(cx)).await
            } else {
                std::future::poll_fn(|cx| respond.poll_reset(cx)).await
            };
            let _ = sender.send(reason.unwrap());
        }
    })
    .await;
    (world, resets)
}

const GONE: &str = "resource rdk:component:testecho/e not available; reason=the connection to module `echo` was lost";

#[tokio::test]
async fn a_caller_that_cancels_or_leaves_cancels_in_the_module() {
    for answers in [false, true] {
        for leaves in [false, true] {
            let (world, mut resets) = waiting_module(answers).await;
            let mut client = world.client().await;
            let mut call = client.open(ECHO, &[]).await;
            call.stream.send_data(named(5), true).unwrap();
            until("the call is under way", || world.kept() == 1).await;
            if answers {
                let (mut stream, _, mut body) = call.head().await;
                assert_eq!(soon(body.data()).await.unwrap().unwrap(), message(b"first"));
                if leaves {
                    client.disconnect()
                } else {
                    stream.send_reset(Reason::CANCEL)
                }
            } else if leaves {
                client.disconnect();
            } else {
                drop(call);
            }
            assert_eq!(
                soon(resets.recv()).await,
                Some(Reason::CANCEL),
                "answers {answers}, leaves {leaves}"
            );
            until("the call is over", || world.kept() == 0).await;
        }
    }
}

#[tokio::test]
async fn a_cancelled_operation_ends_on_both_sides() {
    for answers in [false, true] {
        let (world, mut resets) = waiting_module(answers).await;
        let mut client = world.client().await;
        let mut call = client.open(ECHO, &[]).await;
        call.stream.send_data(named(5), false).unwrap();
        until("the call is under way", || world.kept() == 1).await;
        let cancel = world.core.cancel.clone();
        let got = if answers {
            let (_stream, headers, mut body) = call.head().await;
            assert_eq!(soon(body.data()).await.unwrap().unwrap(), message(b"first"));
            cancel.cancel();
            assert!(soon(body.data()).await.is_none());
            let trailers = soon(body.trailers()).await.unwrap().unwrap();
            super::world::Got {
                headers,
                body: Vec::new(),
                trailers,
            }
        } else {
            cancel.cancel();
            soon(call.finish()).await
        };
        assert_eq!(got.status(), (1, "context canceled".to_owned()));
        assert_eq!(soon(resets.recv()).await, Some(Reason::CANCEL));
        until("the call is over", || world.kept() == 0).await;
    }
}

#[tokio::test]
async fn the_core_ends_a_call_at_its_deadline_by_itself() {
    for answers in [false, true] {
        let (world, mut resets) = waiting_module(answers).await;
        let got = world
            .client()
            .await
            .call(ECHO, &[("grpc-timeout", "80m")], named(5))
            .await;
        assert_eq!(got.status(), (4, "context deadline exceeded".to_owned()));
        assert_eq!(got.body.is_empty(), !answers);
        assert_eq!(got.headers["opid"], super::world::OPID);
        assert_eq!(soon(resets.recv()).await, Some(Reason::CANCEL));
        until("the call is over", || world.kept() == 0).await;
    }
    let (world, _told) = waiting_module(true).await;
    let got = world
        .client()
        .await
        .call(ECHO, &[("grpc-timeout", "0n")], named(5))
        .await;
    assert_eq!(got.status(), (4, "context deadline exceeded".to_owned()));
}

#[tokio::test]
async fn a_deadline_counts_before_the_first_message_too() {
    let world = Fixture::new(echo).await;
    let mut client = world.client().await;
    let call = client.open(ECHO, &[("grpc-timeout", "50m")]).await;
    assert_eq!(soon(call.finish()).await.status().0, 4);
}

#[tokio::test]
async fn a_module_that_dies_makes_its_callers_see_unavailable() {
    for answers in [false, true] {
        let (world, _told) = waiting_module(answers).await;
        let mut client = world.client().await;
        let mut call = client.open(ECHO, &[]).await;
        call.stream.send_data(named(5), true).unwrap();
        until("the call is under way", || world.kept() == 1).await;
        if answers {
            let (_stream, headers, mut body) = call.head().await;
            assert_eq!(soon(body.data()).await.unwrap().unwrap(), message(b"first"));
            world.kill_module();
            assert!(soon(body.data()).await.is_none());
            let trailers = soon(body.trailers()).await.unwrap().unwrap();
            let (code, text) = super::world::Got {
                headers,
                body: Vec::new(),
                trailers,
            }
            .status();
            assert!(code == 14 && text.starts_with(GONE), "{code} {text}");
        } else {
            world.kill_module();
            let (code, text) = soon(call.finish()).await.status();
            assert!(code == 14 && text.starts_with(GONE), "{code} {text}");
        }
        soon(world.upstream.closed()).await;
        assert!(world.upstream.is_closed());
        let (code, text) = client.call(ECHO, &[], named(5)).await.status();
        assert!(code == 14 && text.starts_with(GONE), "{code} {text}");
        let (code, text) = client.call(super::world::STOP, &[], named(5)).await.status();
        assert!(code == 14 && text.starts_with(GONE), "{code} {text}");
        until("the call is over", || world.kept() == 0).await;
    }
}

/// Answer that a caller gets from a module that behaves like `reply`.
async fn answered<F>(reply: impl Fn(h2::server::SendResponse<Bytes>) -> F + Clone + Send + 'static) -> (u16, String)
where
    F: Future<Output = ()> + Send + 'static,
{
    let world = Fixture::new(move |_request, respond| reply(respond)).await;
    let mut client = world.client().await;
    let status = client.call(ECHO, &[], named(5)).await.status();
    until("the call is over", || world.kept() == 0).await;
    status
}

#[tokio::test]
async fn a_module_that_answers_garbage_gets_a_clean_error_in_its_name() {
    let who = "module `echo` for rdk:component:testecho/e";
    let http_500 = |mut respond: h2::server::SendResponse<Bytes>| async move {
        let response = Response::builder().status(500).body(()).unwrap();
        respond
            .send_response(response, false)
            .unwrap()
            .send_data(Bytes::from_static(b"oops"), true)
            .unwrap();
    };
    assert_eq!(
        answered(http_500).await,
        (2, format!("{who} answered HTTP 500 instead of gRPC"))
    );
    let no_trailers = |mut respond| async move {
        let mut stream = answer(&mut respond);
        stream.send_data(message(b"x"), true).unwrap();
    };
    assert_eq!(
        answered(no_trailers).await,
        (13, format!("{who} ended its answer without grpc-status"))
    );
    let no_status = |mut respond| async move {
        let mut stream = answer(&mut respond);
        stream.send_trailers(http::HeaderMap::new()).unwrap();
    };
    assert_eq!(
        answered(no_status).await,
        (13, format!("{who} ended its answer without grpc-status"))
    );
    let torn = |mut respond| async move {
        let mut stream = answer(&mut respond);
        stream.send_data(message(b"whole").slice(..7), false).unwrap();
        stream.send_trailers(ok_trailers()).unwrap();
    };
    assert_eq!(
        answered(torn).await,
        (13, format!("{who} ended its answer inside a message"))
    );
    let too_long = |mut respond| async move {
        let mut stream = answer(&mut respond);
        stream.send_data(message(b"fine"), false).unwrap();
        stream
            .send_data(Bytes::from_static(&[0, 2, 0, 0, 1, 9]), false)
            .unwrap();
        std::future::pending().await
    };
    assert_eq!(
        answered(too_long).await,
        (
            8,
            "grpc: received message larger than max (33554433 vs. 33554432)".to_owned()
        )
    );
    for (reason, code) in [
        (Reason::REFUSED_STREAM, 14),
        (Reason::INTERNAL_ERROR, 13),
        (Reason::CANCEL, 1),
    ] {
        let reset = move |mut respond: h2::server::SendResponse<Bytes>| async move { respond.send_reset(reason) };
        let (got, text) = answered(reset).await;
        assert!(
            got == code && text.starts_with(&format!("{who} ended the call: ")),
            "{reason:?}: {got} {text}"
        );
    }
    let silent_drop = |respond| async move { drop(respond) };
    let (_, text) = answered(silent_drop).await;
    assert!(text.starts_with(who), "{text}");
}

#[tokio::test]
async fn a_module_that_does_not_speak_http2_is_an_unavailable_one() {
    let world = Fixture::with_module(|listener| async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream
                .write_all(b"Hello, this is not HTTP/2 but a greeting in plain text.\r\n")
                .await;
            held.push(stream);
        }
    })
    .await;
    let (code, text) = world.client().await.call(ECHO, &[], named(5)).await.status();
    assert!(code == 14 && text.starts_with(GONE), "{code} {text}");
    soon(world.upstream.closed()).await;
}

#[tokio::test]
async fn http_1_gets_its_answer_and_tls_its_refusal() {
    let world = Fixture::new(echo).await;
    let speak = async |bytes: &[u8]| {
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut all = String::new();
        soon(stream.read_to_string(&mut all)).await.unwrap();
        all
    };
    let http = speak(b"GET / HTTP/1.1\r\nHost: rover\r\nConnection: close\r\n\r\n").await;
    assert!(http.starts_with("HTTP/1.1 200 OK\r\n"), "{http}");
    let tls = speak(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and so on").await;
    let (head, text) = tls.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{tls}");
    assert!(head.contains(&format!("Content-Length: {}\r\n", text.len())), "{tls}");
}

#[tokio::test]
async fn a_panic_ends_one_call_and_no_other() {
    let world = Fixture::new(echo).await;
    let mut client = world.client().await;
    let mut other = client.open(ECHO, &[]).await;
    other.stream.send_data(named(5), false).unwrap();
    let (code, text) = client.call("/panic", &[], named(5)).await.status();
    assert_eq!(code, 13);
    assert!(text.contains("a call that panics"), "{text}");
    other.stream.send_data(Bytes::new(), true).unwrap();
    assert_eq!(soon(other.finish()).await.status().0, 0);
}

#[tokio::test]
async fn a_server_that_stops_finishes_the_calls_in_flight_and_takes_no_more() {
    let go = Arc::new(Notify::new());
    let stop = tokio_util::sync::CancellationToken::new();
    let (client, server) = tokio::io::duplex(1 << 16);
    let service = {
        let go = Arc::clone(&go);
        move |_request| {
            let go = Arc::clone(&go);
            async move {
                go.notified().await;
                crate::status::respond(tonic::Status::ok("done"))
            }
        }
    };
    let served = crate::connection::serve_connection(server, service, Arc::default(), stop.clone());
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move { served.await.unwrap() });
    let (mut sender, connection) = h2::client::handshake(client).await.unwrap();
    tasks.spawn(async move { connection.await.unwrap() });
    let request = http::Request::post("http://rover/a").body(()).unwrap();
    let (response, _) = sender.send_request(request, true).unwrap();
    // The call must have arrived before the stop.
    tokio::time::sleep(Duration::from_millis(50)).await;
    stop.cancel();
    go.notify_one();
    assert_eq!(soon(response).await.unwrap().headers()["grpc-status"], "0");
    drop(sender);
    while let Some(ended) = soon(tasks.join_next()).await {
        ended.unwrap();
    }
}
