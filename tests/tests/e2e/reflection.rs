//! The machine describes itself, APIs of its modules included, in both versions of the reflection protocol.

use std::collections::BTreeSet;

use mainstay_proto::viam::common::v1::{GetReadingsRequest, GetReadingsResponse};
use mainstay_tests::echo;
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::world::World;
use prost::Message;
use prost_types::FileDescriptorProto;
use tokio_stream::{StreamExt, iter};
use tonic_reflection::pb::{v1, v1alpha};

use crate::data_path::say;

/// Response of either version to one request.
#[derive(Debug)]
enum Said {
    Files(Vec<FileDescriptorProto>, Vec<Vec<u8>>),
    Services(Vec<String>),
    Error(i32),
}

#[derive(Debug, Clone)]
enum Ask {
    File(String),
    Symbol(String),
    Services,
}

macro_rules! asker {
    ($name:ident, $version:ident) => {
        /// Asks all questions on one stream.
        async fn $name(world: &World, questions: &[Ask]) -> Vec<Said> {
            use $version::server_reflection_request::MessageRequest;
            use $version::server_reflection_response::MessageResponse;
            let requests: Vec<_> = questions
                .iter()
                .map(|question| $version::ServerReflectionRequest {
                    host: String::new(),
                    message_request: Some(match question.clone() {
                        Ask::File(name) => MessageRequest::FileByFilename(name),
                        Ask::Symbol(name) => MessageRequest::FileContainingSymbol(name),
                        Ask::Services => MessageRequest::ListServices(String::new()),
                    }),
                })
                .collect();
            let mut client = $version::server_reflection_client::ServerReflectionClient::new(world.channel());
            let answers = client
                .server_reflection_info(iter(requests))
                .await
                .expect("a stream")
                .into_inner();
            let said = answers.map(
                |answer| match answer.expect("an answer").message_response.expect("one of them") {
                    MessageResponse::FileDescriptorResponse(files) => {
                        let decode = |bytes: &Vec<u8>| FileDescriptorProto::decode(&bytes[..]).expect("a descriptor");
                        let files = files.file_descriptor_proto;
                        Said::Files(files.iter().map(decode).collect(), files)
                    }
                    MessageResponse::ListServicesResponse(list) => {
                        Said::Services(list.service.into_iter().map(|service| service.name).collect())
                    }
                    MessageResponse::ErrorResponse(error) => Said::Error(error.error_code),
                    other => panic!("{other:?}"),
                },
            );
            said.collect().await
        }
    };
}

asker!(ask_v1, v1);
asker!(ask_v1alpha, v1alpha);

async fn ask(world: &World, version: &str, questions: &[Ask]) -> Vec<Said> {
    match version {
        "v1" => ask_v1(world, questions).await,
        _ => ask_v1alpha(world, questions).await,
    }
}

async fn world() -> World {
    let machine = Machine::new()
        .module(Module::fixture("eyes"))
        .resource(Resource::echo("echo"))
        .resource(Resource::fake("motor", "motor"));
    World::settled(machine).await
}

#[tokio::test]
async fn services_of_modules_are_listed_beside_the_standard_ones() {
    let world = world().await;
    for version in ["v1", "v1alpha"] {
        let said = ask(&world, version, &[Ask::Services]).await;
        let [Said::Services(names)] = &said[..] else {
            panic!("{said:?}")
        };
        for expected in [
            echo::SERVICE,
            "viam.robot.v1.RobotService",
            "viam.component.motor.v1.MotorService",
            "viam.component.sensor.v1.SensorService",
            "grpc.reflection.v1.ServerReflection",
        ] {
            assert!(
                names.iter().any(|name| name == expected),
                "{version}: no {expected} in {names:?}"
            );
        }
        let unique: BTreeSet<_> = names.iter().collect();
        assert_eq!(unique.len(), names.len(), "{version}: {names:?}");
    }
}

#[tokio::test]
async fn a_symbol_comes_with_its_file_and_all_imports_once_per_stream() {
    let world = world().await;
    for version in ["v1", "v1alpha"] {
        for symbol in [
            echo::SERVICE,
            "mainstay.tests.echo.v1.SayRequest",
            "mainstay.tests.echo.v1.EchoService.Say",
        ] {
            let said = ask(
                &world,
                version,
                &[Ask::Symbol(symbol.into()), Ask::Symbol(symbol.into())],
            )
            .await;
            let [Said::Files(files, _), second] = &said[..] else {
                panic!("{version}: {symbol}: {said:?}")
            };
            let names: BTreeSet<_> = files.iter().map(FileDescriptorProto::name).collect();
            assert_eq!(names.len(), files.len(), "{version}: a file twice");
            assert!(
                names.contains("mainstay/tests/echo/v1/echo.proto"),
                "{version}: {names:?}"
            );
            for file in files {
                for import in &file.dependency {
                    assert!(
                        names.contains(import.as_str()),
                        "{version}: {import} is missing among {names:?}"
                    );
                }
            }
            let Said::Files(again, _) = second else {
                panic!("{version}: {second:?}")
            };
            assert!(again.len() <= 1, "{version}: imports were sent again: {}", again.len());
        }
    }
}

#[tokio::test]
async fn method_options_survive_the_way_through_the_machine() {
    let world = world().await;
    // `safety_heartbeat_monitored = true`: field 84260 of MethodOptions as a varint.
    let mut option = Vec::new();
    prost::encoding::encode_varint(84260 << 3, &mut option);
    option.push(1);
    for (symbol, file) in [
        (echo::SERVICE, "mainstay/tests/echo/v1/echo.proto"),
        ("viam.component.motor.v1.MotorService", "component/motor/v1/motor.proto"),
    ] {
        let said = ask(&world, "v1", &[Ask::Symbol(symbol.into())]).await;
        let [Said::Files(files, bytes)] = &said[..] else {
            panic!("{said:?}")
        };
        let at = files
            .iter()
            .position(|found| found.name() == file)
            .expect("the file itself");
        assert!(
            bytes[at].windows(option.len()).any(|window| window == option),
            "{symbol} lost its options"
        );
    }
}

#[tokio::test]
async fn files_are_found_by_name_and_what_is_unknown_is_not_found() {
    let world = world().await;
    for version in ["v1", "v1alpha"] {
        let questions = [
            Ask::File("mainstay/tests/echo/v1/stamp.proto".into()),
            Ask::File("component/motor/v1/motor.proto".into()),
            Ask::File("no/such.proto".into()),
            Ask::Symbol("no.such.Symbol".into()),
            Ask::Services,
        ];
        let said = ask(&world, version, &questions).await;
        let [
            Said::Files(stamp, _),
            Said::Files(motor, _),
            Said::Error(5),
            Said::Error(5),
            Said::Services(_),
        ] = &said[..]
        else {
            panic!("{version}: {said:?}")
        };
        assert!(
            stamp
                .iter()
                .any(|file| file.name() == "mainstay/tests/echo/v1/stamp.proto")
        );
        assert!(motor.iter().any(|file| file.name() == "component/motor/v1/motor.proto"));
    }
}

#[tokio::test]
async fn modules_may_speak_either_version_and_none_costs_no_more_than_what_needs_it() {
    for version in ["v1", "v1alpha"] {
        let machine = Machine::new()
            .module(Module::fixture("eyes").env("REFLECTION", version))
            .resource(Resource::echo("echo"));
        let world = World::settled(machine).await;
        let said = world
            .echo()
            .say(say("echo", version))
            .await
            .expect("answers")
            .into_inner();
        assert_eq!(said.text, version);
        let answers = ask(&world, "v1", &[Ask::Symbol(echo::SERVICE.into())]).await;
        assert!(matches!(&answers[..], [Said::Files(..)]), "{version}: {answers:?}");
    }
    let machine = Machine::new()
        .module(Module::fixture("eyes").env("REFLECTION", "none"))
        .resource(Resource::probe("probe"))
        .resource(Resource::echo("echo"));
    let mut world = World::start(machine).await;
    let now = world.until(|now| now.running() && now.ready("probe")).await;
    assert!(now.module_ready("eyes"), "{now:?}");
    let request = GetReadingsRequest {
        name: "probe".into(),
        extra: None,
    };
    let path = "/viam.component.sensor.v1.SensorService/GetReadings";
    let _: GetReadingsResponse = world
        .call(path, &request)
        .await
        .expect("a standard API needs no reflection");
}
