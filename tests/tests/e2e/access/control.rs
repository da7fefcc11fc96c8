//! The control service on the network: owners have it, others do not, and where nobody is asked it is not there at all.

use std::collections::BTreeSet;

use mainstay_proto::mainstay::access::v1::WhoAmIResponse;
use mainstay_tests::raw::{RawConnection, RawRequest};
use mainstay_tests::world::World;
use serde_json::json;

use super::{SECRET, everybody, machine, outcome, token, with};

const SERVICE: &str = "/mainstay.control.v1.ControlService";
const WHO: &str = "/mainstay.access.v1.AccessService/WhoAmI";
const DEFINITION: &str = include_str!("../../../../proto/proto/mainstay/control/v1/control.proto");

/// Paths of all methods of the service.
fn paths() -> BTreeSet<String> {
    let names = DEFINITION.lines().filter_map(|line| line.trim().strip_prefix("rpc "));
    let names = names.filter_map(|line| line.split('(').next());
    names.map(|name| format!("{SERVICE}/{name}")).collect()
}

#[tokio::test]
async fn every_method_of_the_control_service_is_for_owners_alone() {
    let ids = ["owner", "operator", "viewer", "own", "nobody"];
    let config = machine(everybody(&ids, "mainstay.control.v1.ControlService"));
    let world = World::settled(config).await;
    let paths = paths();
    assert!(paths.len() >= 12, "{paths:?}");
    let connection = RawConnection::open(world.address()).await;
    for path in &paths {
        let (code, text) = outcome(&connection, RawRequest::new(path)).await;
        assert_eq!((code, text.as_str()), (Some(16), "authentication required"), "{path}");
    }
    for id in ids {
        let token = token(world.address(), id, SECRET).await;
        for path in paths.iter().map(String::as_str).chain([&*format!("{SERVICE}/Explode")]) {
            // None of them may last, even if it is a stream.
            let request = with(path, &token).header("grpc-timeout", "2S");
            let (code, text) = outcome(&connection, request).await;
            if id == "owner" {
                let served = !matches!(code, Some(7 | 16)) && (code != Some(12) || path.ends_with("/Explode"));
                assert!(served, "{path}: {code:?} {text}");
            } else {
                let named = text.contains(&format!("`{id}`")) && text.contains("the role owner");
                assert!(code == Some(7) && named, "{id} {path}: {code:?} {text}");
            }
        }
        let answer = connection.call(with(WHO, &token).frame(0, 0, &[])).await;
        let who = answer.decode::<WhoAmIResponse>();
        assert_eq!((who.entity.as_str(), who.credential.as_str()), (id, "api-key"));
        assert_eq!((who.unlimited, who.control), (id == "owner", id == "owner"), "{who:?}");
    }
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_machine_that_asks_nobody_has_no_control_service_on_its_port() {
    for open in [false, true] {
        let network = json!({ "bind_address": "127.0.0.1:0", "allow_unauthenticated": open });
        let world = World::settled(mainstay_tests::machine::Machine::new().set("network", network)).await;
        let connection = RawConnection::open(world.address()).await;
        for path in paths() {
            assert_eq!(outcome(&connection, RawRequest::new(&path)).await.0, Some(12), "{path}");
        }
        let answer = connection.call(RawRequest::new(WHO).frame(0, 0, &[])).await;
        let who = answer.decode::<WhoAmIResponse>();
        assert!(who.unlimited && !who.control && who.entity.is_empty(), "{who:?}");
        let refused = world.cli(&["logs", "--address", world.address()]).await;
        let told = refused.stderr.contains("asks nobody who they are") && refused.stderr.contains("ssh HOST");
        assert!(refused.code == 2 && told, "{refused:?}");
        world.shutdown().await.with_code(0).left_nothing_behind();
    }
}
