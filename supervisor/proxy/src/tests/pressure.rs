//! Slow readers cost bounded memory and hold up nobody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::world::{ECHO, Fixture, STOP, answer, echo, message, named, ok_trailers, send_all, serve_h2, soon, until};
use crate::flow_control::{SEND_BUFFER, STREAM_WINDOW};

const FLOOD: &str = "/flood";

/// Streams at once whose reader sleeps.
const FLOODS: usize = 3;

/// Bytes that may be under way between a module and a client that reads nothing: the core's window, what it holds for
/// the client's socket, both sockets, and the client's own window.
const BOUND: usize = STREAM_WINDOW as usize + SEND_BUFFER + (8 << 20);

/// Waits until the count stands still.
async fn settled(count: &AtomicUsize) -> usize {
    let start = Instant::now();
    let mut last = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(150)).await;
        let now = count.load(Ordering::SeqCst);
        if now == last && now > 0 {
            return now;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "it never stops: {now} bytes");
        last = now;
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_its_module_back_and_nobody_else() {
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    let world = Fixture::new(move |request, mut respond| {
        let count = Arc::clone(&count);
        async move {
            if request.uri().path() != FLOOD {
                return echo(request, respond).await;
            }
            let mut stream = answer(&mut respond);
            let piece = message(&vec![1; 60_000]);
            while send_all(&mut stream, piece.clone()).await.is_ok() {
                count.fetch_add(piece.len(), Ordering::SeqCst);
            }
        }
    })
    .await;
    let mut builder = h2::client::Builder::new();
    let mut client = world
        .client_with(
            builder
                .initial_window_size(1 << 16)
                .initial_connection_window_size(1 << 20),
        )
        .await;
    let mut bodies = Vec::new();
    for _ in 0..FLOODS {
        let mut flood = client.open(FLOOD, &[]).await;
        flood.stream.send_data(named(1), true).unwrap();
        bodies.push(flood.head().await.2);
    }
    let held = settled(&sent).await;
    assert!(held <= FLOODS * BOUND, "{held} bytes are held");
    // The same client and the same module go on meanwhile.
    for size in [5, 300_000] {
        assert_eq!(client.call(ECHO, &[], named(size)).await.status().0, 0);
    }
    // And the stream itself goes on when it is read.
    let (mut body, mut read) = (bodies.remove(0), 0);
    while read < BOUND {
        let chunk = soon(body.data()).await.unwrap().unwrap();
        let _ = body.flow_control().release_capacity(chunk.len());
        read += chunk.len();
    }
}

#[tokio::test]
async fn a_module_that_does_not_read_holds_its_caller_back_and_nobody_else() {
    let mut builder = h2::server::Builder::new();
    builder
        .initial_window_size(1 << 16)
        .initial_connection_window_size(1 << 20);
    let world = Fixture::with_module(move |listener| {
        serve_h2(listener, builder, |request, respond| async move {
            if request.uri().path() == FLOOD {
                // Keeps the stream, reads nothing, says nothing.
                let _held = (request, respond);
                std::future::pending::<()>().await;
            } else {
                echo(request, respond).await;
            }
        })
    })
    .await;
    let mut client = world.client().await;
    let sent = Arc::new(AtomicUsize::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..FLOODS {
        let mut flood = client.open(FLOOD, &[]).await;
        let count = Arc::clone(&sent);
        tasks.spawn(async move {
            let _ = send_all(&mut flood.stream, named(10)).await;
            let piece = message(&vec![1; 60_000]);
            while send_all(&mut flood.stream, piece.clone()).await.is_ok() {
                count.fetch_add(piece.len(), Ordering::SeqCst);
            }
            flood.response.await.map(|_| ())
        });
    }
    let held = settled(&sent).await;
    assert!(held <= FLOODS * BOUND, "{held} bytes are held");
    for size in [5, 300_000] {
        assert_eq!(client.call(ECHO, &[], named(size)).await.status().0, 0);
    }
}

#[tokio::test]
async fn a_caller_that_writes_all_before_it_reads_does_not_lock_up() {
    let world = Fixture::new(echo).await;
    let mut builder = h2::client::Builder::new();
    let mut client = world.client_with(builder.initial_window_size(1 << 16)).await;
    let mut call = client.open(ECHO, &[]).await;
    // More than the way there holds by itself, less than it holds together with the way back.
    let request = named(STREAM_WINDOW as usize * 3 / 2);
    soon(send_all(&mut call.stream, request.clone())).await.unwrap();
    call.stream.send_data(Bytes::new(), true).unwrap();
    let got = soon(call.finish()).await;
    assert!(got.body == request);
}

#[tokio::test]
async fn stop_gets_through_when_a_module_takes_no_more_streams() {
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(4);
    let waiting = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&waiting);
    let world = Fixture::with_module(move |listener| {
        serve_h2(listener, builder, move |request, mut respond| {
            let count = Arc::clone(&count);
            async move {
                if request.uri().path() == STOP {
                    let mut stream = answer(&mut respond);
                    stream.send_data(message(b""), false).unwrap();
                    stream.send_trailers(ok_trailers()).unwrap();
                    return;
                }
                count.fetch_add(1, Ordering::SeqCst);
                std::future::pending::<()>().await;
            }
        })
    })
    .await;
    let mut client = world.client().await;
    let mut calls = Vec::new();
    for _ in 0..20 {
        let mut call = client.open(ECHO, &[]).await;
        call.stream.send_data(named(5), true).unwrap();
        calls.push(call);
    }
    until("the module is full", || {
        waiting.load(Ordering::SeqCst) == 4 && world.kept() == 20
    })
    .await;
    assert_eq!(client.call(STOP, &[], named(5)).await.status().0, 0);
    // A deadline counts for a call that still waits for its turn.
    let got = client.call(ECHO, &[("grpc-timeout", "50m")], named(5)).await;
    assert_eq!(got.status().0, 4);
    drop(calls);
    until("all calls are over", || world.kept() == 0).await;
}

#[tokio::test]
async fn many_streams_that_are_cancelled_at_once_do_not_cost_the_connection() {
    let world = Fixture::new(|request, mut respond| async move {
        if request.uri().path() != FLOOD {
            return echo(request, respond).await;
        }
        let mut stream = answer(&mut respond);
        while send_all(&mut stream, message(&[1; 300])).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut client = world.client().await;
    let mut floods = Vec::new();
    for _ in 0..60 {
        let mut flood = client.open(FLOOD, &[]).await;
        flood.stream.send_data(named(1), true).unwrap();
        floods.push(flood.head().await);
    }
    assert_eq!(world.kept(), 60);
    drop(floods);
    until("all calls are over", || world.kept() == 0).await;
    assert_eq!(client.call(ECHO, &[], named(5)).await.status().0, 0);
    assert!(!world.upstream.is_closed());
}

#[tokio::test]
async fn a_client_with_many_calls_at_a_full_module_lets_another_in_at_the_next_turn() {
    const ROOM: u32 = 4;
    let (arrived, mut arrivals) = tokio::sync::mpsc::unbounded_channel();
    let may_end = Arc::new(tokio::sync::Semaphore::new(0));
    let permits = Arc::clone(&may_end);
    let world = Fixture::with_module(move |listener| {
        let mut builder = h2::server::Builder::new();
        builder.max_concurrent_streams(ROOM);
        serve_h2(listener, builder, move |request, mut respond| {
            let (arrived, permits) = (arrived.clone(), Arc::clone(&permits));
            async move {
                let body = super::world::read_all(&mut request.into_body()).await.unwrap();
                arrived.send(body.len()).unwrap();
                permits.acquire().await.unwrap().forget();
                let mut stream = answer(&mut respond);
                stream.send_data(message(b""), false).unwrap();
                stream.send_trailers(ok_trailers()).unwrap();
            }
        })
    })
    .await;
    let (mut busy, mut other) = (world.client().await, world.client().await);
    // A first answer, so that the core knows how much room there is.
    may_end.add_permits(1);
    assert_eq!(busy.call(ECHO, &[], named(1)).await.status().0, 0);
    let one = soon(arrivals.recv()).await.unwrap();
    let mut calls = Vec::new();
    for _ in 0..40 {
        let mut call = busy.open(ECHO, &[]).await;
        call.stream.send_data(named(1), true).unwrap();
        calls.push(call);
    }
    until("all calls are there", || world.kept() == 40).await;
    for _ in 0..ROOM {
        assert_eq!(soon(arrivals.recv()).await, Some(one));
    }
    let mut call = other.open(ECHO, &[]).await;
    call.stream.send_data(named(2), true).unwrap();
    until("the other's call is there", || world.kept() == 41).await;
    // Stop has room of its own.
    let mut stop = other.open(STOP, &[]).await;
    stop.stream.send_data(named(3), true).unwrap();
    assert_eq!(soon(arrivals.recv()).await, Some(one + 2));
    may_end.add_permits(2);
    let next = [soon(arrivals.recv()).await, soon(arrivals.recv()).await];
    assert!(next.contains(&Some(one + 1)), "{next:?}");
    may_end.add_permits(100);
    assert_eq!(soon(stop.finish()).await.status().0, 0);
    assert_eq!(soon(call.finish()).await.status().0, 0);
    for call in calls {
        assert_eq!(soon(call.finish()).await.status().0, 0);
    }
    until("all calls are over", || world.kept() == 0).await;
}
