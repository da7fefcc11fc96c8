//! The services of the parts of one machine: owners and the main part have them, others do not, and what makes a main part is said by
//! a main part alone.

use mainstay_proto::mainstay::parts::v1::{FollowRequest, FollowResponse};
use mainstay_tests::machine::{Machine, Resource};
use mainstay_tests::raw::{RawConnection, RawRequest};
use mainstay_tests::world::World;
use tonic::Code;

use super::{SECRET, everybody, machine, outcome, token, with};

const DEFINITION: &str = include_str!("../../../../proto/proto/mainstay/parts/v1/parts.proto");
const FOLLOW: &str = "/mainstay.parts.v1.PartService/Follow";
const TAKE_OVER: &str = "/mainstay.parts.v1.PartService/TakeOver";

/// Paths of the methods for those who are a part already.
fn paths() -> Vec<String> {
    let (mut service, mut paths) = ("", Vec::new());
    for line in DEFINITION.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("service ") {
            service = rest.split(' ').next().unwrap_or_default();
        }
        let method = line.strip_prefix("rpc ").and_then(|rest| rest.split('(').next());
        let method = method.filter(|_| service != "JoinService");
        paths.extend(method.map(|method| format!("/mainstay.parts.v1.{service}/{method}")));
    }
    paths
}

async fn part_init(world: &World) {
    let config = world.config().to_str().expect("UTF-8");
    let made = world.cli(&["part", "init", config, "--name", "rover"]).await;
    assert_eq!(made.code, 0, "{made:?}");
}

#[tokio::test]
async fn only_a_main_part_says_who_is_the_main_part() {
    let ids = ["owner", "operator", "viewer", "own"];
    let config = machine(everybody(&ids, "mainstay.parts.v1.PartService"));
    let world = World::settled(config).await;
    part_init(&world).await;
    let paths = paths();
    assert!(paths.len() == 6 && paths.iter().any(|path| path == FOLLOW), "{paths:?}");
    let connection = RawConnection::open(world.address()).await;
    for path in &paths {
        let (code, text) = outcome(&connection, RawRequest::new(path)).await;
        assert_eq!((code, text.as_str()), (Some(16), "authentication required"), "{path}");
    }
    for id in ids {
        let token = token(world.address(), id, SECRET).await;
        for path in &paths {
            let (code, text) = outcome(&connection, with(path, &token).header("grpc-timeout", "5S")).await;
            let said = format!("{id} {path}: {code:?} {text}");
            match (id, path.as_str()) {
                // An owner may do everything, and is no main part.
                ("owner", FOLLOW | TAKE_OVER) => {
                    assert!(
                        code == Some(7) && text.contains("only the main part of the machine"),
                        "{said}"
                    );
                }
                ("owner", _) => assert!(!matches!(code, Some(7 | 12 | 16)), "{said}"),
                _ => assert!(code == Some(7) && text.contains(&format!("`{id}`")), "{said}"),
            }
        }
    }
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn where_nobody_is_asked_nobody_hands_a_part_over() {
    let world = World::settled(Machine::new().resource(Resource::echo("echo"))).await;
    part_init(&world).await;
    let connection = RawConnection::open(world.address()).await;
    for path in paths() {
        assert_eq!(outcome(&connection, RawRequest::new(&path)).await.0, Some(12), "{path}");
        let from_module: Result<FollowResponse, _> = world.from_module("echo", &path, &FollowRequest {}).await;
        assert_eq!(from_module.expect_err("refused").code(), Code::Unimplemented, "{path}");
    }
    world.shutdown().await.with_code(0).left_nothing_behind();
}
