//! The jukebox on its socket, driven as a machine drives it: four kinds of calls, commands, and what it tells about
//! its own API.

#![allow(clippy::unwrap_used, reason = "a test")]

use futures_util::{StreamExt, stream};
use jukebox::api::{
    LoadRequest, PlayRequest, SingRequest, SongsRequest, StopRequest, jukebox_service_client::JukeboxServiceClient,
};
use mainstay_module::{Code, Connection, Robot, Running, prelude::*};
use mainstay_proto::viam::{
    app::v1::ComponentConfig,
    module::v1::{AddResourceRequest, module_service_client::ModuleServiceClient},
};
use prost::Message;
use prost_types::{ListValue, Struct, value::Kind};
use tempfile::TempDir;
use tonic_reflection::pb::v1alpha::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

struct World {
    _folder: TempDir,
    _running: Running,
    robot: Robot,
    jukebox: JukeboxServiceClient<Connection>,
}

fn origin() -> http::Uri {
    http::Uri::from_static("http://localhost")
}

fn value(kind: Kind) -> prost_types::Value {
    prost_types::Value { kind: Some(kind) }
}

async fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("m.sock").display().to_string();
    let running = jukebox::module().start(&socket).await.unwrap();
    let robot = Robot::connect(&socket).await.unwrap();
    let songs = ["Rain", "Sun"]
        .map(|song| value(Kind::StringValue(song.into())))
        .to_vec();
    let attributes = [("songs".to_owned(), value(Kind::ListValue(ListValue { values: songs })))];
    let config = ComponentConfig {
        name: "pub".into(),
        api: "acme:component:jukebox".into(),
        model: "acme:fun:jukebox".into(),
        attributes: Some(Struct {
            fields: attributes.into(),
        }),
        ..ComponentConfig::default()
    };
    let request = AddResourceRequest {
        config: Some(config),
        dependencies: Vec::new(),
    };
    ModuleServiceClient::with_origin(robot.connection().clone(), origin())
        .add_resource(request)
        .await
        .unwrap();
    let jukebox = JukeboxServiceClient::with_origin(robot.connection().clone(), origin());
    World {
        _folder: folder,
        _running: running,
        robot,
        jukebox,
    }
}

#[tokio::test]
async fn all_four_kinds_of_calls_reach_the_jukebox() {
    let World { mut jukebox, robot, .. } = world().await;
    let name = || "pub".to_owned();
    let play = |song: &str| PlayRequest {
        name: name(),
        song: song.into(),
    };
    assert_eq!(jukebox.play(play("Rain")).await.unwrap().into_inner().seconds, 64);
    let missing = jukebox.play(play("Snow")).await.unwrap_err();
    assert_eq!(
        (missing.code(), missing.message()),
        (Code::NotFound, "there is no song `Snow` in this jukebox")
    );

    let songs = jukebox.songs(SongsRequest { name: name() }).await.unwrap().into_inner();
    let songs: Vec<_> = songs.map(|song| song.unwrap().song).collect().await;
    assert_eq!(songs, ["Rain", "Sun"]);

    let load = [("pub", "Snow"), ("", "Hail")].map(|(name, song)| LoadRequest {
        name: name.into(),
        song: song.into(),
    });
    assert_eq!(jukebox.load(stream::iter(load)).await.unwrap().into_inner().songs, 4);

    let lines = ["one", "two"].map(|line| SingRequest {
        name: name(),
        line: line.into(),
    });
    let sung = jukebox.sing(stream::iter(lines)).await.unwrap().into_inner();
    let sung: Vec<_> = sung.map(|line| line.unwrap().line).collect().await;
    assert_eq!(sung, ["one, la la", "two, la la"]);

    // Programs send the commands of a component like this one to the generic service.
    let generic = robot.resource::<dyn Generic>("pub").unwrap();
    assert_eq!(
        generic.do_command(object! {}).await,
        Ok(object! { "playing" => "Rain" })
    );
    jukebox.stop(StopRequest { name: name() }).await.unwrap();
    assert_eq!(
        generic.do_command(object! {}).await,
        Ok(object! { "playing" => None::<String> })
    );

    let nobody = jukebox.stop(StopRequest { name: "inn".into() }).await.unwrap_err();
    assert_eq!(
        (nobody.code(), nobody.message()),
        (Code::NotFound, "resource acme:component:jukebox/inn not found")
    );
}

#[tokio::test]
async fn the_module_tells_what_its_api_looks_like() {
    let World { robot, .. } = world().await;
    let mut reflection = ServerReflectionClient::with_origin(robot.connection().clone(), origin());
    let ask = |request| ServerReflectionRequest {
        host: String::new(),
        message_request: Some(request),
    };
    let questions = [
        ask(MessageRequest::FileContainingSymbol(
            "acme.jukebox.v1.JukeboxService".into(),
        )),
        ask(MessageRequest::ListServices(String::new())),
    ];
    let answers = reflection
        .server_reflection_info(stream::iter(questions))
        .await
        .unwrap()
        .into_inner();
    let answers: Vec<_> = answers
        .map(|answer| answer.unwrap().message_response.unwrap())
        .collect()
        .await;
    let MessageResponse::FileDescriptorResponse(file) = &answers[0] else {
        panic!("{:?}", answers[0])
    };
    let file = prost_types::FileDescriptorProto::decode(&*file.file_descriptor_proto[0]).unwrap();
    assert_eq!(
        (file.name(), file.service[0].method.len()),
        ("acme/jukebox/v1/jukebox.proto", 5)
    );
    let MessageResponse::ListServicesResponse(services) = &answers[1] else {
        panic!("{:?}", answers[1])
    };
    assert!(
        services
            .service
            .iter()
            .any(|service| service.name == "acme.jukebox.v1.JukeboxService")
    );
}
