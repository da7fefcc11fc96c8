//! A machine on another host, as far as the robot protocol tells: states and errors, but no pids, memory or restarts.

use mainstay_model::ModuleName;
use mainstay_proto::mainstay::control::v1 as control;
use mainstay_proto::viam::robot::v1::{
    GetMachineStatusResponse, GetVersionResponse, ModuleStatus, ResourceStatus, get_machine_status_response,
    module_status, resource_status,
};

/// Status of a machine as a client sees it, as a message of the control socket. Unknown fields stay unset.
pub fn from_robot(
    address: &str,
    status: GetMachineStatusResponse,
    version: Option<GetVersionResponse>,
) -> control::Status {
    let state = match status.state() {
        get_machine_status_response::State::Unspecified => control::MachineState::Unspecified,
        get_machine_status_response::State::Initializing => control::MachineState::Starting,
        get_machine_status_response::State::Running => control::MachineState::Running,
    };
    control::Status {
        revision: status.config.map(|config| config.revision).unwrap_or_default(),
        version: version.map(|version| version.version).unwrap_or_default(),
        state: state.into(),
        listeners: vec![control::Listener {
            address: address.to_owned(),
            ..control::Listener::default()
        }],
        modules: status.modules.into_iter().map(module).collect(),
        remotes: remotes(&status.resources),
        resources: status
            .resources
            .into_iter()
            .filter(|status| !is_remote(status))
            .map(resource)
            .collect(),
        ..control::Status::default()
    }
}

/// True for another machine, which peers list among the resources.
fn is_remote(status: &ResourceStatus) -> bool {
    status.name.as_ref().is_some_and(|name| name.r#type == "remote")
}

fn remotes(all: &[ResourceStatus]) -> Vec<control::Remote> {
    let remotes = all.iter().filter(|status| is_remote(status));
    remotes
        .map(|status| {
            let name = status.name.as_ref().map_or_else(String::new, |name| name.name.clone());
            let own = all.iter().filter(|other| other.remote.as_ref() == Some(&name));
            control::Remote {
                cause: status.error.clone(),
                since: status.last_updated,
                resources: u32::try_from(own.count()).unwrap_or(u32::MAX),
                name,
                ..control::Remote::default()
            }
        })
        .collect()
}

fn module(status: ModuleStatus) -> control::Module {
    let state = match status.state() {
        module_status::State::Unspecified => control::ModuleState::Unspecified,
        module_status::State::Pending => control::ModuleState::Pending,
        module_status::State::Starting => control::ModuleState::Starting,
        module_status::State::Ready => control::ModuleState::Ready,
        module_status::State::Unhealthy => control::ModuleState::BackOff,
        module_status::State::Closing => control::ModuleState::Stopping,
    };
    control::Module {
        name: status.module_name,
        state: state.into(),
        last: status.error,
        last_at: status.last_updated,
        ..control::Module::default()
    }
}

fn resource(status: ResourceStatus) -> control::Resource {
    let state = match status.state() {
        resource_status::State::Unspecified => control::ResourceState::Unspecified,
        resource_status::State::Unconfigured => control::ResourceState::Pending,
        resource_status::State::Configuring => control::ResourceState::Configuring,
        resource_status::State::Ready => control::ResourceState::Ready,
        resource_status::State::Removing => control::ResourceState::Removing,
        resource_status::State::Unhealthy => control::ResourceState::Unhealthy,
    };
    control::Resource {
        name: status.name,
        state: state.into(),
        error: status.error,
        last_updated: status.last_updated,
        module: status
            .remote
            .map(|remote| ModuleName::remote(&remote).to_string())
            .unwrap_or_default(),
        ..control::Resource::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remote_machine_keeps_its_states_and_errors() {
        let told = GetMachineStatusResponse {
            state: get_machine_status_response::State::Running.into(),
            modules: vec![ModuleStatus {
                module_name: "wheels".into(),
                state: module_status::State::Unhealthy.into(),
                error: "exit code 2".into(),
                ..ModuleStatus::default()
            }],
            resources: vec![ResourceStatus {
                state: resource_status::State::Unhealthy.into(),
                error: "no module".into(),
                ..ResourceStatus::default()
            }],
            ..GetMachineStatusResponse::default()
        };
        let status = from_robot("10.0.0.5:8080", told, None);
        assert_eq!(status.state(), control::MachineState::Running);
        assert_eq!(status.listeners[0].address, "10.0.0.5:8080");
        assert_eq!(
            (status.modules[0].state(), status.modules[0].last.as_str()),
            (control::ModuleState::BackOff, "exit code 2")
        );
        assert_eq!(
            (status.resources[0].state(), status.resources[0].error.as_str()),
            (control::ResourceState::Unhealthy, "no module")
        );
    }
}
