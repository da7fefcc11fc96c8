//! Status of a machine, as it tells it: its state, its resources and modules, and the operations that run.

use std::time::SystemTime;

use mainstay_proto::{
    ResourceName,
    viam::robot::v1::{self as wire, get_machine_status_response::State as WireMachineState},
};

/// State of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MachineStatus {
    /// True once everything in its config was tried.
    pub running: bool,
    /// Revision of its config, where it has one.
    pub revision: String,
    /// Its resources, those that are not ready included.
    pub resources: Vec<ResourceStatus>,
    /// Its modules, where it tells them.
    pub modules: Vec<ModuleStatus>,
}

/// State of one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResourceStatus {
    /// Name with API.
    pub name: ResourceName,
    /// Its state.
    pub state: ResourceState,
    /// Reason why it cannot be called, while it is unhealthy.
    pub error: String,
    /// Time of the last change of its state.
    pub since: Option<SystemTime>,
}

/// States of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResourceState {
    /// The machine does not tell.
    Unknown,
    /// Known by name only.
    Unconfigured,
    /// Being built, or about to be.
    Configuring,
    /// Can be called.
    Ready,
    /// About to go.
    Removing,
    /// Cannot be called.
    Unhealthy,
}

/// State of one module.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ModuleStatus {
    /// Name in the config.
    pub name: String,
    /// Its state.
    pub state: ModuleState,
    /// Reason why it is unhealthy.
    pub error: String,
    /// Failed starts since it was last ready.
    pub consecutive_failures: u32,
}

/// States of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ModuleState {
    /// The machine does not tell.
    Unknown,
    /// In the config, but not started yet.
    Pending,
    /// Its process runs and has not said that it is ready.
    Starting,
    /// It serves.
    Ready,
    /// It does not run, or not well.
    Unhealthy,
    /// It is ending.
    Closing,
}

/// Call that runs on a machine.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Operation {
    /// Its id, a UUID.
    pub id: String,
    /// Path of the method, such as `/viam.component.motor.v1.MotorService/GoFor`.
    pub method: String,
    /// Its begin.
    pub started: Option<SystemTime>,
    /// Session that it belongs to.
    pub session: Option<String>,
}

impl MachineStatus {
    /// Returns a resource by its name, simple or full.
    #[must_use]
    pub fn resource(&self, name: &str) -> Option<&ResourceStatus> {
        let named = |resource: &&ResourceStatus| resource.name.name == name || resource.name.to_string() == name;
        self.resources.iter().find(named)
    }

    /// Returns true if the resource of this name, simple or full, can be called.
    #[must_use]
    pub fn is_ready(&self, name: &str) -> bool {
        self.resource(name)
            .is_some_and(|resource| resource.state == ResourceState::Ready)
    }

    /// Returns a module by its name.
    #[must_use]
    pub fn module(&self, name: &str) -> Option<&ModuleStatus> {
        self.modules.iter().find(|module| module.name == name)
    }
}

/// A time on the wire, where it is one.
fn time(stamp: Option<prost_types::Timestamp>) -> Option<SystemTime> {
    stamp.and_then(|stamp| SystemTime::try_from(stamp).ok())
}

impl From<wire::GetMachineStatusResponse> for MachineStatus {
    fn from(answer: wire::GetMachineStatusResponse) -> Self {
        Self {
            running: answer.state() == WireMachineState::Running,
            revision: answer.config.unwrap_or_default().revision,
            resources: answer.resources.into_iter().filter_map(resource).collect(),
            modules: answer.modules.into_iter().map(Into::into).collect(),
        }
    }
}

/// `None` for a name that is none.
fn resource(status: wire::ResourceStatus) -> Option<ResourceStatus> {
    use wire::resource_status::State;
    let state = match status.state() {
        State::Unspecified => ResourceState::Unknown,
        State::Unconfigured => ResourceState::Unconfigured,
        State::Configuring => ResourceState::Configuring,
        State::Ready => ResourceState::Ready,
        State::Removing => ResourceState::Removing,
        State::Unhealthy => ResourceState::Unhealthy,
    };
    Some(ResourceStatus {
        name: status.name?.try_into().ok()?,
        state,
        error: status.error,
        since: time(status.last_updated),
    })
}

impl From<wire::ModuleStatus> for ModuleStatus {
    fn from(status: wire::ModuleStatus) -> Self {
        use wire::module_status::State;
        let state = match status.state() {
            State::Unspecified => ModuleState::Unknown,
            State::Pending => ModuleState::Pending,
            State::Starting => ModuleState::Starting,
            State::Ready => ModuleState::Ready,
            State::Unhealthy => ModuleState::Unhealthy,
            State::Closing => ModuleState::Closing,
        };
        Self {
            state,
            name: status.module_name,
            error: status.error,
            consecutive_failures: status.consecutive_failures,
        }
    }
}

impl From<wire::Operation> for Operation {
    fn from(operation: wire::Operation) -> Self {
        Self {
            id: operation.id,
            method: operation.method,
            started: time(operation.started),
            session: operation.session_id,
        }
    }
}
