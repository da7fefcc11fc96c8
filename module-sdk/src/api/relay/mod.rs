//! Test of every method of every API: a message goes into the gRPC service, whose resource is the client of the same API, and
//! must come out of that as it went in; so must the answer. The messages are made from the descriptors, with another value
//! in each field, so nobody has to think of a method: one that an API lacks is UNIMPLEMENTED, a field that it forgets is
//! missing.

mod fill;
mod peer;
mod python;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::uri::PathAndQuery;
use mainstay_proto::{descriptors, raw::RawCodec};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor};
use prost_types::{FileDescriptorProto, FileDescriptorSet};
use tokio::task::JoinSet;
use tonic::client::Grpc;

use self::{fill::Filler, peer::Peer};
use crate::{
    Resource, ResourceApi, ResourceChannel, Robot, Service,
    address::Address,
    client::origin,
    dependencies::LocalResource,
    registry::{ApiRegistry as _, Instance, Registry},
    server::Services,
};

/// Name of the resource in the service, and in the peer behind its client.
const NEAR: &str = "near";
const FAR: &str = "far";

/// Services of all APIs, each with one resource: the client of one in the peer.
fn services(peer: &Robot) -> Vec<(&'static str, Service)> {
    macro_rules! apis {
        ($($module:ident $api:ident),* $(,)?) => {
            vec![$({
                let client: Arc<dyn crate::api::$module::$api> =
                    ResourceApi::client(ResourceChannel::new(peer, FAR)).expect("every API has a client");
                serve::<dyn crate::api::$module::$api>(client.clone(), client)
            }),*]
        };
    }
    apis! {
        arm Arm, audio_in AudioIn, audio_out AudioOut, base Base, board Board, button Button, camera Camera,
        encoder Encoder, gantry Gantry, generic Generic, generic GenericService, gripper Gripper,
        input_controller InputController, motor Motor, movement_sensor MovementSensor, pose_tracker PoseTracker,
        power_sensor PowerSensor, sensor Sensor, servo Servo, switch Switch,
        data_manager DataManager, discovery Discovery, mlmodel MlModel, motion Motion, navigation Navigation,
        shell Shell, slam Slam, video Video, vision Vision, world_state_store WorldStateStore,
    }
}

fn serve<A: ResourceApi + ?Sized>(api_object: Arc<A>, resource: Arc<dyn Resource>) -> (&'static str, Service) {
    let registry = Registry::default();
    let resources = registry.resources::<A>();
    let label = Arc::new(crate::call::Label {
        name: format!("{}/{NEAR}", A::API),
        level: None,
    });
    let instance = Instance {
        resource,
        local: LocalResource {
            api_object: Arc::new(api_object),
            concrete: Arc::new(()),
        },
        tasks: crate::config::Tasks::new(label.clone()),
        label,
        geometry: None,
        halt: Box::new(|| None),
    };
    resources.insert(NEAR, &instance).expect("it is of this API");
    (A::API, A::serve(resources))
}

/// Standard APIs that have a gRPC service.
fn pool() -> DescriptorPool {
    let files = descriptors::files().iter();
    let file = files
        .map(|file| FileDescriptorProto::decode(file.bytes).expect("a descriptor"))
        .collect();
    DescriptorPool::from_file_descriptor_set(FileDescriptorSet { file }).expect("they belong together")
}

#[tokio::test]
async fn every_field_of_every_method_goes_through_service_and_client() {
    let folder = tempfile::tempdir().expect("a folder");
    let pool = pool();
    let peer = Peer::start(&folder.path().join("far.sock"));
    let robot = Robot::open(Address::Unix(folder.path().join("far.sock")))
        .await
        .expect("it listens");
    let services = services(&robot);
    let names: Vec<_> = services.iter().map(|(_, service)| service.name()).collect();
    let mut tasks = JoinSet::new();
    let client = serve_near(&mut tasks, folder.path().join("near.sock"), services).await;

    let mut wrong = BTreeMap::new();
    let mut seen = 0;
    for name in names {
        let service = pool.get_service_by_name(name).expect("a known service");
        for method in service.methods() {
            for choice in 0..fill::choices(&method.input()).max(fill::choices(&method.output())) {
                seen += 1;
                if let Err(error) = Box::pin(check(&client, &peer, &method, choice)).await {
                    wrong.insert(format!("{} ({choice})", method.full_name()), error);
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {seen}, the first: {:#?}",
        wrong.len(),
        wrong.first_key_value()
    );
    assert!(seen > 200, "{seen}");
}

/// Serves these at a socket, and returns a client of it.
async fn serve_near(tasks: &mut JoinSet<()>, path: PathBuf, services: Vec<(&'static str, Service)>) -> Robot {
    let near = Address::Unix(path);
    let listener = near.listen().await.expect("bound");
    let services: Services = services.into_iter().map(|(_, service)| service).collect();
    tasks.spawn(services.serve(listener, Default::default(), Default::default()));
    Robot::open(near).await.expect("it listens")
}

/// Sends one call through, and compares both ends.
async fn check(client: &Robot, peer: &Peer, method: &MethodDescriptor, choice: usize) -> Result<(), String> {
    let mut filler = Filler::new(choice);
    let requests = filler.requests(method, NEAR);
    let answers = filler.answers(method);
    peer.expect(
        answers
            .iter()
            .map(|answer| Bytes::from(answer.encode_to_vec()))
            .collect(),
    );
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    let path = PathAndQuery::try_from(path).map_err(|error| error.to_string())?;
    let sent: Vec<_> = requests
        .iter()
        .map(|request| Bytes::from(request.encode_to_vec()))
        .collect();
    let mut grpc = Grpc::with_origin(client.connection().clone(), origin());
    let call = grpc.streaming(tonic::Request::new(stream::iter(sent)), path, RawCodec);
    let got = async move {
        let stream = call.await?.into_inner();
        stream
            .collect::<Vec<_>>()
            .await
            .into_iter()
            .collect::<Result<Vec<_>, _>>()
    };
    let got = tokio::time::timeout(std::time::Duration::from_secs(5), got)
        .await
        .map_err(|_| "no end".to_owned())?;
    let got = got.map_err(|status| format!("{status:?}"))?;

    let arrived = peer.arrived();
    let first = arrived.first().ok_or("nothing arrived")?;
    let first = DynamicMessage::decode(method.input(), first.clone()).map_err(|error| error.to_string())?;
    if fill::name_of(&first).as_deref() != Some(FAR) {
        return Err(format!("the first message is for {:?}", fill::name_of(&first)));
    }
    compare("request", &method.input(), &requests, &arrived)?;
    let expected = fill::as_passed_on(method, &requests, answers);
    compare("answer", &method.output(), &expected, &got)
}

/// Compares messages but for the names of resources, and for the ids that clients make.
fn compare(
    what: &str,
    descriptor: &prost_reflect::MessageDescriptor,
    expected: &[DynamicMessage],
    got: &[Bytes],
) -> Result<(), String> {
    let got = got
        .iter()
        .map(|bytes| DynamicMessage::decode(descriptor.clone(), bytes.clone()));
    let got = got.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
    let (expected, got): (Vec<_>, Vec<_>) = (
        expected.iter().map(fill::nameless).collect(),
        got.iter().map(fill::nameless).collect(),
    );
    if expected == got {
        return Ok(());
    }
    let differing = expected.iter().zip(&got).find(|(expected, got)| expected != got);
    let short = |message: &DynamicMessage| message.to_string().chars().take(2000).collect::<String>();
    Err(match differing {
        Some((expected, got)) => format!("{what}:\n  expected {}\n  got      {}", short(expected), short(got)),
        None => format!("{what}: {} messages instead of {}", got.len(), expected.len()),
    })
}
