//! Remotes that list garbage, far too much, or something else each time, that are slow, and that close each connection: they cost
//! themselves alone.

use std::time::{Duration, Instant};

use mainstay_proto::viam::common::v1::ResourceName;
use mainstay_tests::leaks;
use mainstay_tests::liar::{Liar, component};
use mainstay_tests::machine::{Machine, Resource};
use mainstay_tests::world::{PATIENCE, World};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::remotes::{names, until_names};
use crate::sessions::{powered, set_power};

/// A machine with a motor of its own, which has the machine at this address as its remote `far`.
async fn near(address: &str) -> World {
    let far = json!({ "name": "far", "address": address, "insecure": true, "connection_check_interval": "300ms", "reconnect_interval": "10ms" });
    let machine = Machine::new()
        .resource(Resource::fake("own", "motor"))
        .set("remotes", json!([far]));
    let mut near = World::start(machine).await;
    near.until(|now| now.ready("own")).await;
    near
}

/// Waits until a condition holds. The machine's own motor answers all the while, and soon.
async fn while_it_works(near: &World, what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < end, "{what}: {}", near.output());
        let begun = Instant::now();
        set_power(near, "own", None).await.expect("moves");
        assert!(powered(near, "own").await);
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
        sleep(Duration::from_millis(10)).await;
    }
}

fn times(near: &World, text: &str) -> usize {
    near.output().matches(text).count()
}

#[tokio::test]
async fn names_that_are_none_are_left_out_and_told_once() {
    let liar = Liar::start();
    let nameless = ResourceName::default();
    let long = "n".repeat(600);
    let deep = "a:b:c:d:e:f:g:h:i";
    let bad = ["", "a/b", "a\nb", "\u{1b}[2J", long.as_str(), deep, "builtin"];
    let mut list = vec![nameless, component("", "left"), component("no such\napi", "left")];
    list.extend(bad.iter().map(|name| component("motor", name)));
    list.extend(std::iter::repeat_n(component("motor", "left"), 3));
    list.push(component("motor", "größe"));
    liar.lists(vec![list]);
    let near = near(&liar.address()).await;
    until_names(&near, &["far:größe", "far:left", "own"]).await;
    let before = liar.asked();
    while_it_works(&near, "it is asked again", async || liar.asked() > before + 5).await;
    let text = "5 of its resources have names that cannot be called";
    assert_eq!(times(&near, text), 1, "{}", near.output());
    assert!(!near.output().contains('\u{1b}'), "{}", near.output());
    let status = near.cli(&["remotes"]).await;
    assert!(status.stdout.contains("far"), "{status:?}");
    near.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_list_that_is_far_too_long_is_cut_or_refused_and_costs_bounded_memory() {
    let many = |count: usize| -> Vec<_> {
        (0..count)
            .map(|i| component("motor", &format!("a-rather-long-name-of-a-motor-{i}")))
            .collect()
    };
    let liar = Liar::start();
    let near = near(&liar.address()).await;
    let before = leaks::memory_kib(near.pid());
    // Some 60 MB.
    liar.lists(vec![many(1_000_000)]);
    while_it_works(&near, "it is refused", async || {
        near.output().contains("grpc: received message larger than max")
    })
    .await;
    assert_eq!(names(&near).await, ["own"]);
    liar.lists(vec![many(100_000)]);
    while_it_works(&near, "a part of it is used", async || {
        names(&near).await.len() == 10_001
    })
    .await;
    assert!(
        near.output()
            .contains("only the first 10000 of its 100000 resources are used"),
        "{}",
        near.output()
    );
    liar.lists(vec![many(2)]);
    while_it_works(&near, "the rest is forgotten", async || names(&near).await.len() == 3).await;
    let end = Instant::now() + PATIENCE;
    let mut now = leaks::memory_kib(near.pid());
    while now > before + 64 * 1024 {
        assert!(Instant::now() < end, "{before} → {now} KiB are kept");
        sleep(Duration::from_millis(200)).await;
        now = leaks::memory_kib(near.pid());
    }
    near.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn one_that_says_something_else_each_time_ends_as_it_says_last() {
    let liar = Liar::start();
    let list = |api: &str, names: &[&str]| names.iter().map(|name| component(api, name)).collect::<Vec<_>>();
    liar.lists(vec![
        list("motor", &["left", "right"]),
        list("sensor", &["left", "up"]),
        Vec::new(),
        list("motor", &["own", "far", "far:left", "left"]),
    ]);
    let near = near(&liar.address()).await;
    let pid = near.snapshot().await.pid("builtin:fake");
    while_it_works(&near, "it says much", async || liar.asked() > 60).await;
    liar.lists(vec![list("motor", &["left", "own"])]);
    until_names(&near, &["far:left", "far:own", "own"]).await;
    assert_eq!(near.snapshot().await.pid("builtin:fake"), pid);
    let lines = near.output().lines().count();
    assert!(lines < 100, "{lines} lines: {}", near.output());
    near.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn one_that_is_slow_to_answer_delays_nobody() {
    let liar = Liar::start();
    liar.lists(vec![vec![component("motor", "left")]]);
    liar.takes(Duration::from_secs(3));
    let begun = Instant::now();
    let near = near(&liar.address()).await;
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    while_it_works(&near, "it answers", async || names(&near).await == ["far:left", "own"]).await;
    // Longer than any answer is waited for.
    liar.takes(Duration::from_secs(3600));
    while_it_works(&near, "it is given up", async || names(&near).await == ["own"]).await;
    near.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn one_that_closes_each_connection_is_told_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let (count, mut closed) = tokio::sync::watch::channel(0_u32);
    let mut closing = JoinSet::new();
    closing.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(stream);
            count.send_modify(|count| *count += 1);
        }
    });
    let near = near(&address).await;
    while_it_works(&near, "it closed often", async || *closed.borrow_and_update() > 12).await;
    let told = times(&near, "remote is not connected");
    assert_eq!(told, 1, "{}", near.output());
    near.shutdown().await.with_code(0).left_nothing_behind();
}
