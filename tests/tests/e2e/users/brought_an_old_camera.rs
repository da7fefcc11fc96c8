//! Somebody has a camera in a module whose SDK is from before mime types.

use mainstay_proto::viam::component::camera::v1::{GetImagesRequest, GetImagesResponse};
use mainstay_proto::viam::service::vision::v1::{CaptureAllFromCameraRequest, CaptureAllFromCameraResponse};
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::world::World;
use serde_json::{Value, json};

const GET_IMAGES: &str = "/viam.component.camera.v1.CameraService/GetImages";
const CAPTURE_ALL: &str = "/viam.service.vision.v1.VisionService/CaptureAllFromCamera";
/// More than fits into one frame, or into a window.
const LARGE: usize = 1_500_000;

fn camera(name: &str, pictures: Value) -> Resource {
    let camera = Resource::new(name, "rdk:component:camera", "tests:python:old-camera");
    camera.attributes(json!({ "pictures": pictures }))
}

/// Type and length of each image.
fn seen(response: &GetImagesResponse) -> Vec<(&str, usize)> {
    let images = response.images.iter();
    images.map(|image| (&*image.mime_type, image.image.len())).collect()
}

#[tokio::test]
async fn pictures_have_types_for_clients_and_modules_and_are_what_they_were() {
    let machine = Machine::new()
        .module(Module::python("eyes", "old_camera.py"))
        .module(Module::fixture("peer"))
        .resource(camera(
            "eye",
            json!([
                { "format": 3 },
                { "format": 4, "size": LARGE },
                { "begins": "ffd8ffe0", "size": LARGE },
                { "format": 2, "begins": "ffd8ffe0" },
                { "begins": "00" },
                { "format": 3, "mime_type": "image/its-own" },
            ]),
        ))
        .resource(camera("modern", json!([{ "format": 3, "mime_type": "image/its-own" }])))
        .resource(camera("blind", json!([])))
        .resource(
            Resource::new("sight", "rdk:service:vision", "tests:python:old-vision")
                .attributes(json!({ "pictures": [{ "begins": "89504e470d0a1a0a", "size": LARGE }] })),
        )
        .resource(Resource::echo("peer"));
    let world = World::settled(machine).await;
    let ask = |name: &str| GetImagesRequest {
        name: name.into(),
        ..GetImagesRequest::default()
    };
    let expected = [
        ("image/jpeg", 100),
        ("image/png", LARGE),
        ("image/jpeg", LARGE),
        ("image/vnd.viam.dep", 100),
        ("", 100),
        ("image/its-own", 100),
    ];
    // Again and again: what is known of a module after its first answer must not take the types away.
    for _ in 0..3 {
        let images: GetImagesResponse = world.call(GET_IMAGES, &ask("eye")).await.expect("pictures");
        assert_eq!(seen(&images), expected);
        assert!(images.images[2].image.starts_with(b"\xff\xd8\xff\xe0\0"));
        assert!(images.images.iter().all(|image| image.source_name == "eye"));
        let images: GetImagesResponse = world.call(GET_IMAGES, &ask("modern")).await.expect("a picture");
        assert_eq!(seen(&images), [("image/its-own", 100)]);
        let images: GetImagesResponse = world.call(GET_IMAGES, &ask("blind")).await.expect("none");
        assert_eq!(seen(&images), []);
    }
    let images: GetImagesResponse = world
        .from_module("peer", GET_IMAGES, &ask("eye"))
        .await
        .expect("pictures");
    assert_eq!(seen(&images), expected, "another module's view");
    let request = CaptureAllFromCameraRequest {
        name: "sight".into(),
        camera_name: "eye".into(),
        return_image: true,
        ..CaptureAllFromCameraRequest::default()
    };
    let all: CaptureAllFromCameraResponse = world.call(CAPTURE_ALL, &request).await.expect("a picture");
    let image = all.image.expect("an image");
    assert_eq!((&*image.mime_type, image.image.len()), ("image/png", LARGE));
    world.shutdown().await.with_code(0).left_nothing_behind();
}
