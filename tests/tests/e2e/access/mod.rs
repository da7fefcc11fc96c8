//! End-to-end tests of authentication and authorization: API keys, tokens, roles; a machine that asks nobody.

mod command_line;
mod control;
mod every_method;
mod external;
mod keys;
mod login;
mod modules;
mod parts;
mod python;
mod unasked;

use mainstay_proto::proto::rpc::v1::{AuthenticateRequest, AuthenticateResponse, Credentials};
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::raw::{RawConnection, RawRequest, RawResponse};
use serde_json::{Value, json};

pub const AUTHENTICATE: &str = "/proto.rpc.v1.AuthService/Authenticate";
pub const VERSION: &str = "/viam.robot.v1.RobotService/GetVersion";
pub const SECRET: &str = "hunter2-of-the-owner";

/// Keys by their ids, each with a secret that no output may hold.
fn keys(ids: &[(&str, Value)]) -> Value {
    let mut config = json!({ "keys": ids.iter().map(|(id, _)| *id).collect::<Vec<_>>() });
    for (id, key) in ids {
        config[*id] = key.clone();
    }
    json!([{ "type": "api-key", "config": config }])
}

/// A machine of a fake motor and a resource of the fixture, that asks for keys.
fn machine(auth: Value) -> Machine {
    Machine::new()
        .module(Module::fixture("eyes"))
        .resource(Resource::echo("lidar"))
        .resource(Resource::fake("left", "motor"))
        .set("auth", auth)
}

/// Asks for a token.
async fn ask(connection: &RawConnection, entity: &str, kind: &str, payload: &str) -> RawResponse {
    let request = AuthenticateRequest {
        entity: entity.to_owned(),
        credentials: Some(Credentials {
            r#type: kind.to_owned(),
            payload: payload.to_owned(),
        }),
    };
    connection.call(RawRequest::new(AUTHENTICATE).message(&request)).await
}

/// A token for whoever has this key.
async fn token(address: &str, entity: &str, payload: &str) -> String {
    let answer = ask(&RawConnection::open(address).await, entity, "api-key", payload).await;
    assert_eq!(answer.code, Some(0), "{answer:?}");
    answer.decode::<AuthenticateResponse>().access_token
}

/// A request with a token.
fn with(path: &str, token: &str) -> RawRequest {
    RawRequest::new(path).header("authorization", &format!("Bearer {token}"))
}

/// Code and text of an answer without a message in its request.
async fn outcome(connection: &RawConnection, request: RawRequest) -> (Option<i32>, String) {
    let answer = connection.call(request.frame(0, 0, &[])).await;
    (answer.code, answer.message)
}

/// `auth` with keys of these ids: `owner`, `operator` and `viewer` have the roles of these names, and `own` one of its own that may do
/// everything, whose rules name a service besides.
fn everybody(ids: &[&str], service: &str) -> Value {
    let keys_of: Vec<_> = ids.iter().map(|id| (*id, json!(SECRET))).collect();
    json!({
        "handlers": keys(&keys_of),
        "roles": {
            "owner": { "entities": ["owner"] },
            "operator": { "entities": ["operator"] },
            "viewer": { "entities": ["viewer"] },
            "mine": { "entities": ["own"], "allow": [{ "methods": ["*"] }, { "service": service }] },
        },
    })
}
