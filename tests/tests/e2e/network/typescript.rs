//! The TypeScript SDK in Node: gRPC-web and gRPC, in the clear and over TLS.

use mainstay_tests::world::{Place, World};
use serde_json::json;

use super::rover;

#[tokio::test]
async fn it_drives_a_motor_in_every_way() {
    let place = Place::new();
    let ca = place.make_keys(&place.file("machine.json")).await;
    let ca = place.write("ca.pem", &ca);
    let secure = place
        .start(rover().set("network", json!({ "bind_address": "127.0.0.1:0", "tls": "own" })))
        .await;
    let clear = World::settled(rover()).await;
    for (world, scheme) in [(&clear, "http"), (&secure, "https")] {
        let port = world.address().rsplit_once(':').expect("a port").1;
        for way in ["web", "grpc"] {
            let host = format!("{scheme}://localhost:{port}");
            let got = world.node("drive.mjs", &[&host, way], Some(&ca)).await;
            let text = "no node found with api rdk:component:motor and name nobody";
            let expected = json!({ "powered": [true, 0.5], "names": ["left"], "refused": [5, text] });
            assert_eq!(got, expected, "{scheme} {way}");
        }
    }
    secure.shutdown().await.with_code(0).left_nothing_behind();
}
