//! API keys and their tokens, right and wrong, changed and removed; external tokens.

use std::time::{Duration, Instant};

use mainstay_tests::raw::{self, RawConnection, RawRequest};
use mainstay_tests::world::{PATIENCE, World};
use serde_json::json;

use super::{AUTHENTICATE, SECRET, VERSION, ask, external, keys, machine, outcome, token, with};

const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const UNAUTHENTICATED: Option<i32> = Some(16);

#[tokio::test]
async fn nothing_is_answered_before_somebody_proved_who_they_are() {
    let config = machine(json!({ "handlers": keys(&[("k-1", json!(SECRET))]) })).set("enable_web_profile", json!(true));
    let world = World::settled(config).await;
    let connection = RawConnection::open(world.address()).await;
    let required = (UNAUTHENTICATED, "authentication required".to_owned());
    for path in [
        VERSION,
        REFLECTION,
        "/viam.component.motor.v1.MotorService/Stop",
        "/acme.v1.Nobody/Knows",
        "/grpc.health.v1.Health/Check",
        "/proto.rpc.v1.ExternalAuthService/AuthenticateTo",
        "/mainstay.control.v1.ControlService/GetStatus",
    ] {
        assert_eq!(outcome(&connection, RawRequest::new(path)).await, required, "{path}");
    }
    let bearer = "expected authorization header with prefix: Bearer ";
    for value in ["Basic ZmFrZSB1c2VybmFtZTpmYWtlIHBhc3N3b3Jk", "bearer x", "x"] {
        let request = RawRequest::new(VERSION).header("authorization", value);
        assert_eq!(
            outcome(&connection, request).await,
            (UNAUTHENTICATED, bearer.to_owned())
        );
    }

    for (entity, kind, payload, code, text) in [
        ("k-1", "api-key", "guess", 16, "invalid credentials"),
        ("k-2", "api-key", SECRET, 16, "invalid credentials"),
        ("", "api-key", "", 16, "invalid credentials"),
        (
            "k-1",
            "magic",
            SECRET,
            3,
            "do not know how to handle credential type \"magic\"",
        ),
        (
            "k-1",
            "external",
            SECRET,
            3,
            "do not know how to handle credential type \"external\"",
        ),
    ] {
        let answer = ask(&connection, entity, kind, payload).await;
        assert_eq!(
            (answer.code, answer.message.as_str()),
            (Some(code), text),
            "{entity} {kind}"
        );
    }
    let empty = outcome(&connection, RawRequest::new(AUTHENTICATE)).await;
    assert_eq!(empty, (Some(3), "credentials required".to_owned()));

    let good = token(world.address(), "k-1", SECRET).await;
    assert_eq!(outcome(&connection, with(VERSION, &good)).await.0, Some(0));
    let again = outcome(&connection, with(AUTHENTICATE, &good)).await;
    assert_eq!(
        again,
        (Some(3), "already authenticated; cannot re-authenticate".to_owned())
    );
    let cut = &good[..good.len() - 3];
    let (code, text) = outcome(&connection, with(VERSION, cut)).await;
    assert_eq!(code, UNAUTHENTICATED);
    assert!(text.starts_with("unauthenticated: "), "{text}");

    let page = |head: &str| format!("GET /debug/graph HTTP/1.1\r\nhost: robot\r\n{head}connection: close\r\n\r\n");
    for (head, status) in [
        (String::new(), "401"),
        (format!("authorization: Bearer {good}\r\n"), "200"),
    ] {
        let answer = raw::talk(world.address(), page(&head).as_bytes())
            .await
            .expect("an answer");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert_eq!(answer.split(' ').nth(1), Some(status), "{answer}");
    }
    let hello = raw::talk(
        world.address(),
        b"GET / HTTP/1.1\r\nhost: robot\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert!(hello.expect("an answer").starts_with(b"HTTP/1.1 200"));

    let mut shown = world.output();
    for verb in [&["status"][..], &["status", "--json"], &["events"], &["logs"]] {
        let ended = world.cli(verb).await;
        shown = shown + &ended.stdout + &ended.stderr;
    }
    assert!(shown.contains("authentication required"), "{shown}");
    for secret in [SECRET, "guess", good.as_str()] {
        assert!(!shown.contains(secret), "`{secret}` is shown: {shown}");
    }
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_changed_key_ends_its_tokens_at_once_and_nothing_else() {
    let before = json!({ "handlers": keys(&[("a", json!(SECRET)), ("b", json!("other"))]) });
    let mut world = World::settled(machine(before)).await;
    let pid = world
        .until(|now| now.ready("lidar") && now.ready("left"))
        .await
        .pid("eyes");
    let (first, other) = (
        token(world.address(), "a", SECRET).await,
        token(world.address(), "b", "other").await,
    );
    let old = RawConnection::open(world.address()).await;
    assert_eq!(outcome(&old, with(VERSION, &first)).await.0, Some(0));
    assert_eq!(outcome(&old, with(VERSION, &other)).await.0, Some(0));

    let after = json!({ "handlers": keys(&[("a", json!("changed")), ("b", json!("other"))]) });
    world.rewrite(&machine(after));
    let end = Instant::now() + PATIENCE;
    let new = loop {
        let answer = ask(&RawConnection::open(world.address()).await, "a", "api-key", "changed").await;
        if answer.code == Some(0) {
            break answer
                .decode::<mainstay_proto::proto::rpc::v1::AuthenticateResponse>()
                .access_token;
        }
        assert!(Instant::now() < end, "the new key is not taken: {answer:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let fresh = RawConnection::open(world.address()).await;
    for connection in [&old, &fresh] {
        let (code, text) = outcome(connection, with(VERSION, &first)).await;
        assert_eq!(code, UNAUTHENTICATED);
        let words = "unauthenticated: this server did not sign this JWT with kid \"";
        assert!(text.starts_with(words), "{text}");
        assert_eq!(
            outcome(connection, with(VERSION, &other)).await.0,
            Some(0),
            "another key's token"
        );
        assert_eq!(outcome(connection, with(VERSION, &new)).await.0, Some(0));
    }
    let now = world.snapshot().await;
    assert_eq!(now.pid("eyes"), pid, "no module is started again");
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_hashed_key_is_as_good_as_the_key() {
    // `hunter2`, hashed with little memory.
    let hash = "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$M0iJfWwX0/61FSBvCvLjOh4BKZDGk3svXNX+KnPuDno";
    let config = machine(json!({ "handlers": keys(&[("h", json!({ "key_hash": hash }))]) }));
    let world = World::settled(config).await;
    let connection = RawConnection::open(world.address()).await;
    for _ in 0..2 {
        assert_eq!(ask(&connection, "h", "api-key", "hunter3").await.code, UNAUTHENTICATED);
        assert_eq!(ask(&connection, "h", "api-key", hash).await.code, UNAUTHENTICATED);
        let token = token(world.address(), "h", "hunter2").await;
        assert_eq!(outcome(&connection, with(VERSION, &token)).await.0, Some(0));
    }
    let shown = world.cli(&["status", "--json"]).await.stdout + &world.output();
    assert!(!shown.contains("M0iJfWwX0"), "{shown}");
}

#[tokio::test]
async fn a_guesser_is_slowed_down_and_a_client_elsewhere_is_not() {
    let config = machine(json!({ "handlers": keys(&[("a", json!(SECRET))]) })).bind("0.0.0.0:0");
    let world = World::settled(config).await;
    let port = world.address().rsplit_once(':').expect("host:port").1.to_owned();
    let guesser = RawConnection::open(&format!("127.0.0.1:{port}")).await;
    let begun = Instant::now();
    for number in 0..9 {
        assert_eq!(
            ask(&guesser, "a", "api-key", &number.to_string()).await.code,
            UNAUTHENTICATED
        );
    }
    assert!(begun.elapsed() >= Duration::from_millis(600), "{:?}", begun.elapsed());
    // Those who have a token are not asked again, and whoever comes from another address never waits.
    let stream = std::net::SocketAddr::from(([127, 0, 0, 2], 0));
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind(stream).expect("all of 127.0.0.0/8 is ours");
    let address = format!("127.0.0.1:{port}").parse().expect("an address");
    let elsewhere = RawConnection::over(socket.connect(address).await.expect("the port is open")).await;
    let begun = Instant::now();
    assert_eq!(ask(&elsewhere, "a", "api-key", SECRET).await.code, Some(0));
    assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn an_external_token_counts_for_its_machine_and_its_time() {
    let mut config = machine(json!({
        "handlers": keys(&[("a", json!(SECRET))]),
        "external_auth_config": external::config(),
        "roles": { "viewer": { "entities": ["ann"] }, "owner": { "entities": ["a"] } },
    }));
    let network = json!({ "bind_address": "127.0.0.1:0", "fqdn": "rover.example" });
    config = config.set("network", network);
    let world = World::settled(config).await;
    let connection = RawConnection::open(world.address()).await;
    assert_eq!(outcome(&connection, with(VERSION, external::GOOD)).await.0, Some(0));
    let shutdown = outcome(
        &connection,
        with("/viam.robot.v1.RobotService/Shutdown", external::GOOD),
    )
    .await;
    assert!(
        shutdown.0 == Some(7) && shutdown.1.contains("`ann` (role viewer)"),
        "{shutdown:?}"
    );
    let answer = ask(&connection, "ann", "external", external::GOOD).await;
    let words = "direct authentication not supported for \"external\"";
    assert_eq!((answer.code, answer.message.as_str()), (Some(12), words));
    for (token, begin) in [
        (external::EXPIRED, "unauthenticated: token is expired by "),
        (external::ELSEWHERE, "invalid audience"),
        (
            &external::GOOD[..external::GOOD.len() - 8],
            "unauthenticated: crypto/rsa: verification error",
        ),
    ] {
        let (code, text) = outcome(&connection, with(VERSION, token)).await;
        assert!(code == UNAUTHENTICATED && text.starts_with(begin), "{text}");
    }
}
