//! Every method of the wire, called without a token, with bad ones, and by each role; by gRPC and in JSON.

use http::Method;
use mainstay_proto::{http_rules, methods};
use mainstay_tests::raw::{RawConnection, RawRequest};
use mainstay_tests::world::World;
use serde_json::json;

use super::{AUTHENTICATE, external, keys, machine, token, with};

/// Calls that a role may make besides what the rules for all say; for the rest of the table see [`expected`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    Owner,
    Operator,
    Viewer,
    /// May restart modules and move what is called `l…`.
    Own,
    Nobody,
}

/// What must come of a call. `None`: the tables of the wire do not tell.
fn is_denied(role: Role, method: &methods::Method) -> Option<bool> {
    let (service, name) = (method.service, method.name);
    let basic = [
        "GetVersion",
        "ResourceNames",
        "ResourceRPCSubtypes",
        "StartSession",
        "SendSessionHeartbeat",
        "GetOperations",
        "OptionalWebRTCConfig",
    ];
    let admin = ["Shutdown", "RestartModule", "Tunnel", "Log", "SendTraces", "Shell"];
    let machine = service == "viam.robot.v1.RobotService" || service.starts_with("proto.rpc.");
    if role == Role::Owner || method.stops || name == "StopAll" || (machine && basic.contains(&name)) {
        return Some(false);
    }
    if admin.contains(&name) || service.starts_with("viam.app.") || service == "viam.module.v1.ModuleService" {
        return Some(!(role == Role::Own && name == "RestartModule"));
    }
    let command = name == "DoCommand" && !service.ends_with("ShellService");
    let reads = name.starts_with("Get") && method.api.is_some();
    match role {
        Role::Operator if method.actuates || command || reads => Some(false),
        Role::Viewer if method.actuates || name == "DoCommand" => Some(true),
        Role::Viewer if reads => Some(false),
        Role::Nobody if method.actuates || name == "DoCommand" || reads => Some(true),
        // Its rule is for motors, and the call below is for a resource called `left`.
        Role::Own if method.actuates => Some(!service.ends_with(".MotorService")),
        _ => None,
    }
}

/// A call for `left`, in the field where its method has the name.
fn call(method: &methods::Method, token: Option<&str>) -> RawRequest {
    let path = format!("/{}/{}", method.service, method.name);
    let request = match token {
        Some(token) => with(&path, token),
        None => RawRequest::new(&path),
    };
    // None of them may last, even if it is a stream.
    let request = request.header("grpc-timeout", "2S");
    let inner = [b"\x0a\x04left".as_slice()].concat();
    let message = match method.name_path {
        [] => Vec::new(),
        [1, 1] => [&[0x0a, 6][..], &inner].concat(),
        _ => inner,
    };
    request.frame(0, u32::try_from(message.len()).expect("short"), &message)
}

#[tokio::test]
async fn every_method_is_refused_to_whoever_may_not_call_it_and_to_nobody_else() {
    let ids = ["owner", "operator", "viewer", "own", "nobody"];
    let secret = |id: &str| format!("key-of-{id}");
    let handlers = keys(&ids.map(|id| (id, json!(secret(id)))));
    let rules = json!([
        { "resource": "l*", "api": "rdk:component:motor" },
        { "service": "viam.robot.v1.RobotService", "methods": ["RestartModule"] },
    ]);
    let config = machine(json!({
        "handlers": handlers,
        "external_auth_config": external::config(),
        "roles": {
            "owner": { "entities": ["owner"] },
            "operator": { "entities": ["operator"] },
            "viewer": { "entities": ["viewer"] },
            "mine": { "entities": ["own"], "allow": rules },
        },
    }))
    .set(
        "network",
        json!({ "bind_address": "127.0.0.1:0", "fqdn": "rover.example" }),
    );
    let world = World::settled(config).await;
    let foreign = {
        let other = machine(json!({ "handlers": keys(&[("owner", json!(secret("owner")))]) }));
        let other = World::settled(other).await;
        token(other.address(), "owner", &secret("owner")).await
    };
    let connection = RawConnection::open(world.address()).await;
    let all: Vec<_> = methods::services().iter().flat_map(|service| service.methods).collect();
    assert!(all.len() > 250, "{}", all.len());

    let foreign_words = "unauthenticated: this server did not sign this JWT with kid";
    for (token, words) in [
        (None, "authentication required"),
        (Some("x"), "unauthenticated: "),
        (Some("e30.e30.e30"), "unauthenticated: "),
        (Some(external::EXPIRED), "unauthenticated: token is expired"),
        (Some(external::ELSEWHERE), "invalid audience"),
        (Some(foreign.as_str()), foreign_words),
    ] {
        for method in &all {
            let path = format!("/{}/{}", method.service, method.name);
            let answer = connection.call(call(method, token)).await;
            if path == AUTHENTICATE {
                assert_eq!(answer.code, Some(3), "{path}: {answer:?}");
            } else {
                let right = answer.code == Some(16) && answer.message.starts_with(words);
                assert!(right, "{path} with {token:?}: {answer:?}");
            }
        }
    }

    let (mut wrong, mut told) = (Vec::new(), 0);
    for (id, role) in ids
        .into_iter()
        .zip([Role::Owner, Role::Operator, Role::Viewer, Role::Own, Role::Nobody])
    {
        let token = token(world.address(), id, &secret(id)).await;
        for method in &all {
            // The machine is still needed.
            if role == Role::Owner && method.name == "Shutdown" {
                continue;
            }
            let answer = connection.call(call(method, Some(&token))).await;
            let denied = answer.code == Some(7);
            let expected = is_denied(role, method);
            told += usize::from(expected.is_some());
            let named =
                !denied || (answer.message.contains(&format!("`{id}`")) && answer.message.contains("auth.roles"));
            if answer.code == Some(16) || !named || expected.is_some_and(|expected| expected != denied) {
                wrong.push(format!("{role:?} {}/{}: {answer:?}", method.service, method.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(told > 700, "{told} of {} are told", all.len() * 5);
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_request_in_json_is_refused_as_the_call_that_it_stands_for() {
    let handlers = keys(&[("viewer", json!("key-of-viewer"))]);
    let roles = json!({ "viewer": { "entities": ["viewer"] } });
    let world = World::settled(machine(json!({ "handlers": handlers, "roles": roles }))).await;
    let token = token(world.address(), "viewer", "key-of-viewer").await;
    let connection = RawConnection::open(world.address()).await;
    let ask = async |verb: &str, path: &str, token: Option<&str>| {
        let verb = Method::from_bytes(verb.as_bytes()).expect("a method");
        let request = RawRequest::new(path)
            .method(verb)
            .without("content-type")
            .header("grpc-timeout", "2S");
        let request = match token {
            Some(token) => request.header("authorization", &format!("Bearer {token}")),
            None => request,
        };
        connection.call(request).await
    };
    let (mut wrong, mut told) = (Vec::new(), 0);
    for binding in http_rules::all() {
        let Some(template) = binding.path.strip_prefix("/viam/api/") else {
            continue;
        };
        let parts = template
            .split('/')
            .map(|part| if part.starts_with('{') { "left" } else { part });
        let path = format!("/api/{}", parts.collect::<Vec<_>>().join("/"));
        for (token, words) in [(None, "authentication required"), (Some("x"), "unauthenticated: ")] {
            let answer = ask(&binding.verb, &path, token).await;
            let text = String::from_utf8_lossy(&answer.body);
            let right = answer.http == 401 && text.starts_with(&format!("{{\"code\":16,\"message\":\"{words}"));
            assert!(
                right && answer.headers["www-authenticate"] == "Bearer",
                "{path}: {answer:?}"
            );
        }
        let answer = ask(&binding.verb, &path, Some(&token)).await;
        let method = methods::find(&binding.service, &binding.method).expect("known");
        let expected = is_denied(Role::Viewer, method);
        told += usize::from(expected.is_some());
        if answer.http == 401 || expected.is_some_and(|denied| denied != (answer.http == 403)) {
            wrong.push(format!("{} {path}: {answer:?}", binding.verb));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(told > 170, "{told} are told");
    // Who may make no call learns of no path.
    assert_eq!(ask("GET", "/api/v1/nothing", None).await.http, 401);
    assert_eq!(ask("GET", "/api/v1/nothing", Some(&token)).await.http, 404);
    assert_eq!(ask("GET", "/api/v1/version", Some(&token)).await.http, 200);
    let answer = ask("PUT", "/api/v1/component/motor/left/power", Some(&token)).await;
    let text = String::from_utf8_lossy(&answer.body);
    assert!(
        answer.http == 403 && text.contains("`viewer`") && text.contains("\"code\":7"),
        "{answer:?}"
    );
    world.shutdown().await.with_code(0).left_nothing_behind();
}
