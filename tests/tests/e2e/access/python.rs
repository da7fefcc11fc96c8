//! The Python SDK with API keys.

use mainstay_tests::world::World;
use serde_json::json;

use super::{SECRET, keys, machine};
use crate::client_py::results;

const OWNER: &str = "3f0b6d9e-8a57-4a41-9a5e-0f6f3c1d7a10";
const VIEWER: &str = "5d1c9a44-0f0e-4f7f-8b64-7d5b9d1e2c33";

#[tokio::test]
async fn it_authenticates_and_its_rights_are_those_of_its_key() {
    let config = machine(json!({
        "handlers": keys(&[(OWNER, json!(SECRET)), (VIEWER, json!("of-the-viewer"))]),
        "roles": { "owner": { "entities": [OWNER] }, "viewer": { "entities": [VIEWER] } },
    }));
    let mut world = World::settled(config).await;
    world.until(|now| now.ready("left")).await;
    let arguments = [OWNER, SECRET, VIEWER, "of-the-viewer"];
    let got = results(world.python("with_keys.py", &arguments).await);
    let same = |what: &str, value: serde_json::Value| assert_eq!(got.get(what), Some(&value), "{what}: {got:#?}");
    same("owner moves", json!(null));
    same("owner sees it move", json!([true, 0.5]));
    same("viewer sees it move", json!([true, 0.5]));
    same("viewer stops it", json!(null));
    same("viewer sees it stand", json!([false, 0.0]));
    let refused = got["viewer moves"].as_array().expect("a refusal");
    assert_eq!(refused[0], "PERMISSION_DENIED", "{got:#?}");
    let text = refused[1].as_str().unwrap_or_default();
    for part in [VIEWER, "role viewer", "SetPower", "left", "auth.roles"] {
        assert!(text.contains(part), "no `{part}`: {text}");
    }
    for what in ["wrong key", "no key"] {
        let text = got[what].as_str().unwrap_or_default();
        assert!(!text.is_empty(), "{what}: {got:#?}");
    }
    let sessions = got["sessions"].as_u64().unwrap_or_default();
    assert!(sessions >= 1, "{got:#?}");
    assert!(!world.output().contains(SECRET));
    world.shutdown().await.with_code(0).left_nothing_behind();
}
