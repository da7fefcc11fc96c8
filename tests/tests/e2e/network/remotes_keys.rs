//! Another machine asks who calls: this one shows the key of its config, and has the rights of that key.

use mainstay_tests::machine::{Machine, Resource};
use mainstay_tests::rpc;
use mainstay_tests::world::{Place, World};
use serde_json::{Value, json};
use tonic::Code;

use super::remotes::until_names;
use crate::sessions::set_power;

fn owner(key: &str, roles: Option<Value>) -> Machine {
    let mut auth = json!({ "handlers": [{ "type": "api-key", "config": { "keys": ["near"], "near": key } }] });
    if let Some(roles) = roles {
        auth["roles"] = roles;
    }
    Machine::new()
        .resource(Resource::fake("left", "motor"))
        .set("auth", auth)
}

fn user(far: &World, key: Option<&str>, insecure: bool) -> Machine {
    let mut remote =
        json!({ "name": "far", "address": far.address(), "insecure": insecure, "reconnect_interval": "100ms" });
    if let Some(key) = key {
        remote["auth"] = json!({ "entity": "near", "credentials": { "type": "api-key", "payload": key } });
    }
    Machine::new().set("remotes", json!([remote]))
}

#[tokio::test]
async fn the_key_of_the_config_opens_it_and_what_is_wrong_with_one_is_told() {
    let far = World::settled(owner("k-first-4711", None)).await;
    let mut near = World::start(user(&far, None, true)).await;
    let until_away = async |near: &mut World, text: &str| {
        let now = near.until(|now| now.resource_error("far").contains(text)).await;
        assert!(!now.ready("far"));
    };
    until_away(&mut near, "it wants credentials, and `remotes[].auth` has none").await;
    near.rewrite(&user(&far, Some("k-wrong-4711"), true));
    until_away(
        &mut near,
        "it does not take the credentials of `remotes[].auth`: invalid credentials",
    )
    .await;
    near.rewrite(&user(&far, Some("k-first-4711"), false));
    until_away(&mut near, "it speaks no TLS, and credentials are not sent in cleartext").await;
    near.rewrite(&user(&far, Some("k-first-4711"), true));
    until_names(&near, &["far:left"]).await;
    set_power(&near, "left", None).await.expect("moves");

    // Another key over there: known here at the next call, at the latest.
    far.rewrite(&owner("k-second-4711", None));
    let refused = loop {
        match set_power(&near, "left", None).await {
            Ok(()) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            Err(status) => break status,
        }
    };
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    until_away(&mut near, "it does not take the credentials of `remotes[].auth`").await;
    near.rewrite(&user(&far, Some("k-second-4711"), true));
    until_names(&near, &["far:left"]).await;
    set_power(&near, "left", None).await.expect("moves again");
    for secret in ["k-first-4711", "k-second-4711", "k-wrong-4711"] {
        let shown = [
            near.output(),
            far.output(),
            near.cli(&["status", "--json"]).await.stdout,
        ]
        .concat();
        assert!(
            !shown.contains(&format!("\"{secret}\"")) && !shown.contains(&format!("{secret} ")),
            "{secret} in {shown}"
        );
    }
}

#[tokio::test]
async fn this_machine_has_the_rights_of_its_key_over_there() {
    let far = World::settled(owner("key", Some(json!({ "viewer": { "entities": ["near"] } })))).await;
    let near = World::start(user(&far, Some("key"), true)).await;
    until_names(&near, &["far:left"]).await;
    assert!(!crate::sessions::powered(&near, "left").await, "a viewer may look");
    let refused = set_power(&near, "left", None)
        .await
        .expect_err("a viewer moves nothing");
    let (code, text) = rpc::code_and_text(&refused);
    assert_eq!(code, Code::PermissionDenied);
    assert!(text.contains("`near`") && text.contains("viewer"), "{text}");
    let denied = far.cli(&["explain", "--denied"]).await.stdout;
    for told in [
        "near",
        "viewer",
        "SetPower",
        "rdk:component:motor/left",
        "the last one: ",
    ] {
        assert!(denied.contains(told), "no `{told}` in {denied}");
    }
}

#[tokio::test]
async fn the_command_line_shows_a_key_to_a_machine_that_asks_for_one() {
    let far = World::settled(owner("key", None)).await;
    let address = far.address().to_owned();
    let plain = far.cli(&["status", "--address", &address]).await;
    assert!(
        plain.code == 1 && plain.stderr.contains("authentication required"),
        "{plain:?}"
    );
    let cleartext = far
        .cli(&["status", "--address", &address, "--api-key", "near:key"])
        .await;
    assert!(
        cleartext.stderr.contains("credentials are not sent in cleartext"),
        "{cleartext:?}"
    );
    let wrong = far
        .cli(&["status", "--address", &address, "--api-key", "near:no", "--insecure"])
        .await;
    assert!(
        wrong.code == 1 && wrong.stderr.contains("does not take the API key: invalid credentials"),
        "{wrong:?}"
    );
    let status = far
        .cli(&["status", "--address", &address, "--api-key", "near:key", "--insecure"])
        .await;
    assert!(status.code == 0 && status.stdout.contains("left"), "{status:?}");
}

#[tokio::test]
async fn by_tls_it_is_used_by_whoever_trusts_its_authority_and_has_a_key() {
    let place = Place::new();
    let ca = place.make_keys(&place.file("machine.json")).await;
    let mut network = owner("key", None).set("network", json!({ "bind_address": "127.0.0.1:0", "tls": "own" }));
    network = network.resource(Resource::fake("right", "motor"));
    let far = place.start(network).await;

    let mut stranger = World::start(user(&far, Some("key"), false)).await;
    let now = stranger
        .until(|now| now.resource_error("far").contains("certificate"))
        .await;
    assert!(
        now.resource_error("far")
            .contains("its certificate is not trusted here"),
        "{}",
        now.resource_error("far")
    );

    let place = Place::new();
    let file = place.write("ca.pem", &ca);
    let trusted = place.env("SSL_CERT_FILE", file.to_str().expect("a path in UTF-8"));
    let near = trusted.start(user(&far, Some("key"), false)).await;
    until_names(&near, &["far:left", "far:right"]).await;
    set_power(&near, "left", None).await.expect("moves");
    let address = far.address().to_owned();
    let status = near
        .cli(&["status", "--address", &address, "--api-key", "near:key"])
        .await;
    assert!(status.code == 0 && status.stdout.contains("left"), "{status:?}");
}
