//! Machine with two modules of the fixture: `held`, with limits, and its neighbour `still`.

use std::time::Duration;

use mainstay_proto::mainstay::control::v1 as control;
use mainstay_proto::viam::common::v1::{DoCommandRequest, DoCommandResponse};
use mainstay_proto::viam::robot::v1::restart_module_request::IdOrName;
use mainstay_proto::viam::robot::v1::{RestartModuleRequest, RestartModuleResponse};
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::rpc;
use mainstay_tests::status::Snapshot;
use mainstay_tests::traffic::Traffic;
use mainstay_tests::world::{PATIENCE, World};
use serde_json::{Value, json};

use crate::service::ServiceCgroup;

/// Creates the config; `set` are further keys of the module `held`.
pub fn machine(set: &[(&str, Value)]) -> Machine {
    let mut module = Module::family("held");
    for (key, value) in set {
        module = module.set(key, value.clone());
    }
    Machine::new()
        .module(module)
        .module(Module::family("still"))
        .resource(Resource::of("held", "generic", "thing"))
        .resource(Resource::of("still", "probe", "watch"))
}

/// Starts the machine in the service's cgroup.
pub async fn start(service: &ServiceCgroup, set: &[(&str, Value)]) -> World {
    let mut world = service.place().start(machine(set)).await;
    world.until(|now| now.ready("thing") && now.ready("watch")).await;
    world
}

/// Starts the module `held` with these limits, without a neighbour.
pub async fn alone(service: &ServiceCgroup, limits: Value) -> World {
    let machine = Machine::new()
        .module(Module::family("held").set("limits", limits))
        .resource(Resource::of("held", "generic", "thing"));
    let mut world = service.place().start(machine).await;
    world.until(|now| now.ready("thing")).await;
    world
}

/// Starts the machine with these limits alone.
pub async fn limited(service: &ServiceCgroup, limits: Value) -> World {
    start(service, &[("limits", limits)]).await
}

/// Starts callers of the neighbour; none of their calls may fail.
pub fn neighbours(world: &World) -> Traffic {
    Traffic::on(world, &["watch"], Duration::from_millis(20))
}

/// Sends a command to the held module.
pub async fn command(world: &World, command: Value) -> Result<Value, tonic::Status> {
    let request = DoCommandRequest {
        name: "thing".into(),
        command: Some(rpc::to_struct(&command)),
    };
    let path = "/viam.component.generic.v1.GenericService/DoCommand";
    let answer = tokio::time::timeout(PATIENCE, world.call::<_, DoCommandResponse>(path, &request)).await;
    let answer = answer.unwrap_or_else(|_| panic!("no answer to {command}"))?;
    Ok(answer.result.as_ref().map(rpc::from_struct).unwrap_or_default())
}

/// Restarts the held module, as a client does.
///
/// # Errors
/// The machine's status.
pub async fn restart(world: &World) -> Result<RestartModuleResponse, tonic::Status> {
    let request = RestartModuleRequest {
        id_or_name: Some(IdOrName::ModuleName("held".into())),
    };
    world.call("/viam.robot.v1.RobotService/RestartModule", &request).await
}

/// Runs a script in the held module's shell and returns its output.
pub async fn shell(world: &World, script: &str) -> String {
    let answer = command(world, json!({ "shell": script })).await.expect("it answers");
    answer["output"].as_str().unwrap_or_default().trim().to_owned()
}

/// Runs a script in the background of the held module, in a new session; returns its process id.
pub async fn background(world: &World, script: &str) -> i32 {
    let file = world.place.file("background.pid");
    let _earlier = std::fs::remove_file(&file);
    let script = format!(
        "(setsid sh -c 'echo $$ > {0}.new; mv {0}.new {0}; {script}' >/dev/null 2>&1 </dev/null &)",
        file.display()
    );
    shell(world, &script).await;
    let read = || {
        std::fs::read_to_string(&file)
            .ok()
            .and_then(|text| text.trim().parse().ok())
    };
    assert!(
        mainstay_tests::proc::eventually(PATIENCE, || read().is_some()).await,
        "it never ran"
    );
    read().expect("it was there")
}

/// Returns the status of the held module from the control socket.
pub fn held(now: &Snapshot) -> &control::Module {
    now.process("held").expect("it is in the config")
}

/// Waits until the held module runs in a process other than `pid` and works again.
pub async fn until_back(world: &mut World, pid: i32) -> Snapshot {
    world
        .until(|now| now.ready("thing") && now.pid("held").is_some_and(|new| new != pid))
        .await
}
