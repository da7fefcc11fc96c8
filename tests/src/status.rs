//! Status of a machine, from its public service and from its control socket.

use std::fmt;

use mainstay_proto::mainstay::control::v1 as control;
use mainstay_proto::viam::robot::v1::{
    GetMachineStatusResponse, ModuleStatus, ResourceStatus, get_machine_status_response, module_status, resource_status,
};

/// Both statuses, fetched one right after the other.
#[derive(Clone, Default)]
pub struct Snapshot {
    /// Response of `RobotService.GetMachineStatus`.
    pub machine: GetMachineStatusResponse,
    /// Response of `ControlService.GetStatus`.
    pub control: control::Status,
}

impl Snapshot {
    /// True once the start-up plan has run to its end.
    pub fn running(&self) -> bool {
        self.machine.state() == get_machine_status_response::State::Running
    }

    /// Returns a resource by its simple name, or by `subtype/name` where that is ambiguous.
    pub fn resource(&self, name: &str) -> Option<&ResourceStatus> {
        self.machine.resources.iter().find(|resource| {
            resource.name.as_ref().is_some_and(|full| match name.split_once('/') {
                Some((subtype, name)) => full.subtype == subtype && full.name == name,
                None => full.name == name,
            })
        })
    }

    /// True if there is such a resource and it is READY.
    pub fn ready(&self, name: &str) -> bool {
        self.resource(name)
            .is_some_and(|resource| resource.state() == resource_status::State::Ready)
    }

    /// True if there is such a resource and it is UNHEALTHY.
    pub fn unhealthy(&self, name: &str) -> bool {
        self.resource(name)
            .is_some_and(|resource| resource.state() == resource_status::State::Unhealthy)
    }

    /// Returns the error of a resource; empty if there is none.
    pub fn resource_error(&self, name: &str) -> &str {
        self.resource(name).map_or("", |resource| &resource.error)
    }

    /// Returns a module by its name, as clients see it.
    pub fn module(&self, name: &str) -> Option<&ModuleStatus> {
        self.machine.modules.iter().find(|module| module.module_name == name)
    }

    /// True if there is such a module and it is READY.
    pub fn module_ready(&self, name: &str) -> bool {
        self.module(name)
            .is_some_and(|module| module.state() == module_status::State::Ready)
    }

    /// Returns the error of a module; empty if there is none.
    pub fn module_error(&self, name: &str) -> &str {
        self.module(name).map_or("", |module| &module.error)
    }

    /// Returns a module by its name, from the control socket.
    pub fn process(&self, name: &str) -> Option<&control::Module> {
        self.control.modules.iter().find(|module| module.name == name)
    }

    /// Returns a resource by its simple name, from the control socket.
    pub fn shown(&self, name: &str) -> Option<&control::Resource> {
        let named = |resource: &&control::Resource| resource.name.as_ref().is_some_and(|full| full.name == name);
        self.control.resources.iter().find(named)
    }

    /// True if the config is in this state.
    pub fn config_is(&self, state: control::ConfigState) -> bool {
        self.config().state() == state
    }

    /// Returns the state of the running config compared with its file.
    pub fn config(&self) -> control::ConfigStatus {
        self.control.config.clone().unwrap_or_default()
    }

    /// Returns the process id of a module, while it has one.
    pub fn pid(&self, module: &str) -> Option<i32> {
        i32::try_from(self.process(module)?.pid?).ok()
    }
}

/// Formats the status in brief, for the message of a failed test.
impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "machine {:?}", self.machine.state())?;
        let config = self.config();
        writeln!(
            f,
            "  config {:?}, revision {:?}: {:?}",
            config.state(),
            config.revision,
            config.reasons
        )?;
        for module in &self.machine.modules {
            writeln!(
                f,
                "  module {} {:?}, {} failures, pid {:?}: {}",
                module.module_name,
                module.state(),
                module.consecutive_failures,
                self.pid(&module.module_name),
                module.error
            )?;
        }
        for resource in &self.machine.resources {
            let name = resource.name.clone().unwrap_or_default();
            writeln!(
                f,
                "  resource {}:{}:{}/{} {:?}: {}",
                name.namespace,
                name.r#type,
                name.subtype,
                name.name,
                resource.state(),
                resource.error
            )?;
        }
        for diagnostic in &self.control.diagnostics {
            writeln!(f, "  diagnostic: {diagnostic}")?;
        }
        Ok(())
    }
}
