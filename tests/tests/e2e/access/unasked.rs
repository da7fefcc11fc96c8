//! A machine that asks nobody who they are: open to its own host alone, unless its config says otherwise.

use mainstay_tests::machine::{Machine, Resource};
use mainstay_tests::raw::{RawConnection, RawRequest};
use mainstay_tests::world::World;
use serde_json::json;

use super::{AUTHENTICATE, VERSION, outcome};

#[tokio::test]
async fn without_handlers_nobody_is_asked_and_there_is_nobody_to_ask() {
    let world = World::settled(Machine::new().resource(Resource::fake("left", "motor"))).await;
    let connection = RawConnection::open(world.address()).await;
    let dummy = RawRequest::new(VERSION).header("authorization", "Basic eDp5");
    assert_eq!(outcome(&connection, dummy).await.0, Some(0));
    let answer = outcome(&connection, RawRequest::new(AUTHENTICATE)).await;
    assert_eq!(answer, (Some(12), "Unimplemented".to_owned()));
}

#[tokio::test]
async fn a_machine_that_others_reach_says_loudly_whom_it_serves() {
    let open = |allowed: bool| {
        let network = json!({ "bind_address": "0.0.0.0:0", "allow_unauthenticated": allowed });
        Machine::new()
            .resource(Resource::fake("left", "motor"))
            .set("network", network)
    };
    for (allowed, log, status) in [
        (
            false,
            "only callers on this host are served",
            "no authentication: PROTECTED, ONLY THIS HOST IS SERVED",
        ),
        (
            true,
            "WHOEVER REACHES THE PORT MAY DO EVERYTHING",
            "no authentication: OPEN TO THE NETWORK",
        ),
    ] {
        let world = World::settled(open(allowed)).await;
        world.until_printed(log).await;
        // In the line that says where it serves, too.
        world.until_printed(status).await;
        let shown = world.cli(&["status"]).await.stdout;
        assert!(shown.contains(status), "{shown}");
        let port = world.address().rsplit_once(':').expect("host:port").1;
        let local = RawConnection::open(&format!("127.0.0.1:{port}")).await;
        assert_eq!(outcome(&local, RawRequest::new(VERSION)).await.0, Some(0));
    }
}
