//! Two hosts and the cable between them: cut, mended, slow and lossy.

use std::time::{Duration, Instant};

use mainstay_tests::machine::{Machine, Resource};
use mainstay_tests::netns::Namespace;
use mainstay_tests::world::{PATIENCE, World};
use serde_json::json;

const POWER: &str = r#"{"power_pct": 0.5}"#;

/// Two hosts with a cable, and a machine on each; that of the first has that of the second as its remote `far`. `None` where
/// networks cannot be made.
async fn hosts() -> Option<(Namespace, Namespace, World, World)> {
    let (here, there) = (Namespace::new()?, Namespace::new()?);
    here.join(&there, "10.78.0.1/24", "10.78.0.2/24");
    let network = |address: &str| json!({ "bind_address": address, "allow_unauthenticated": true, "mdns": false, "sessions": { "heartbeat_window": "500ms" } });
    let far = Machine::new()
        .resource(Resource::fake("left", "motor"))
        .resource(Resource::fake("eye", "camera"))
        .set("network", network("10.78.0.2:8080"));
    let far = there.place().start(far).await;
    let remote = json!([{ "name": "far", "address": "10.78.0.2:8080", "insecure": true, "connection_check_interval": "1s", "reconnect_interval": "200ms" }]);
    let near = Machine::new()
        .resource(Resource::fake("own", "motor"))
        .set("network", network("127.0.0.1:0"))
        .set("remotes", remote);
    let mut near = here.place().start(near).await;
    near.until(|now| now.ready("far:left") && now.ready("far:eye")).await;
    Some((here, there, near, far))
}

async fn moves(world: &World, motor: &str) -> bool {
    let answer = world.cli(&["call", motor, "is_moving", "--json"]).await;
    assert_eq!(answer.code, 0, "{answer:?}");
    answer.stdout.contains("true")
}

#[tokio::test]
async fn a_cut_cable_stops_what_was_moved_over_it_and_all_is_as_before_when_it_is_mended() {
    let Some((here, _there, mut near, far)) = hosts().await else {
        return;
    };
    let moved = near.cli(&["call", "far:left", "set_power", POWER]).await;
    assert_eq!(moved.code, 0, "{moved:?}");
    assert!(moves(&far, "left").await);
    here.ip("link set cable down");
    let cut = Instant::now();
    while moves(&far, "left").await {
        assert!(cut.elapsed() < PATIENCE, "it moves on");
    }
    let stopped = cut.elapsed();
    let now = near.until(|now| now.unhealthy("far:left")).await;
    eprintln!(
        "figure: a cable is cut: stopped after {stopped:?} at a window of 500 ms, noticed after {:?} at an interval of 1 s",
        cut.elapsed()
    );
    let why = now.resource_error("far:left");
    assert!(why.contains("10.78.0.2:8080"), "{why}");
    let refused = near.cli(&["call", "far:left", "set_power", POWER]).await;
    assert!(refused.code != 0 && refused.stderr.contains("far"), "{refused:?}");
    let own = near.cli(&["call", "own", "set_power", POWER]).await;
    assert_eq!(own.code, 0, "{own:?}");
    here.ip("link set cable up");
    here.ip("route replace default dev cable");
    near.until(|now| now.ready("far:left") && now.ready("far:eye")).await;
    let moved = near.cli(&["call", "far:left", "set_power", POWER]).await;
    assert_eq!(moved.code, 0, "{moved:?}");
    assert!(moves(&far, "left").await);
}

#[tokio::test]
async fn over_a_slow_line_that_loses_packets_small_calls_and_pictures_arrive_whole() {
    let Some((here, there, near, far)) = hosts().await else {
        return;
    };
    // 4 Mbit/s; what does not fit into a queue of four packets is lost.
    for host in [&here, &there] {
        host.tc("qdisc replace dev cable root tbf rate 4mbit burst 3200 limit 6000");
    }
    let pictures = async {
        let mut seen = Vec::new();
        for _ in 0..5 {
            let picture = near.cli(&["call", "far:eye", "get_images", "--json"]).await;
            assert_eq!(picture.code, 0, "{picture:?}");
            seen.push(picture.stdout.len());
        }
        seen
    };
    let small = async {
        let mut slowest = Duration::ZERO;
        for _ in 0..20 {
            let begun = Instant::now();
            let moved = near.cli(&["call", "far:left", "set_power", POWER]).await;
            assert_eq!(moved.code, 0, "{moved:?}");
            slowest = slowest.max(begun.elapsed());
        }
        slowest
    };
    let (seen, slowest) = tokio::join!(pictures, small);
    eprintln!("figure: pictures of {seen:?} bytes of JSON, the slowest small call beside them took {slowest:?}");
    let direct = far.cli(&["call", "eye", "get_images", "--json"]).await.stdout.len();
    assert!(
        seen.iter().all(|seen| seen.abs_diff(direct) < direct / 10),
        "{seen:?} {direct}"
    );
    let queues = [here, there].map(|host| host.tc("-s qdisc show dev cable"));
    assert!(queues.iter().any(|queue| !queue.contains("dropped 0,")), "{queues:?}");
    let now = near.snapshot().await;
    assert!(now.ready("far:left"), "{}", near.output());
    assert!(
        !near.output().contains("remote is not connected"),
        "the connection was given up: {}",
        near.output()
    );
}
