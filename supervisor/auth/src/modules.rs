//! Rights of modules: what one may call whose `modules[].access` says less than everything.

use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderMap;
use mainstay_model::{Config, ModuleAccess, ModuleName, Role};
use mainstay_proto::ResourceName;
use mainstay_proxy::gate::{ConnectionGate, Entered, GatedCall};
use mainstay_proxy::identity::Identity;
use mainstay_proxy::ingress::split;
use mainstay_proxy::status::CallError;
use mainstay_proxy::table::{Destination, Table};

use crate::access::Access;
use crate::methods::{Effect, effect};
use crate::roles::{AskedCall, AskedResource, Rights, cure, is_of_the_machine};
use crate::text::quoted;

/// Calls with which a module tells the machine something, as every SDK makes them.
const REPORTS: [(&str, &str); 2] = [
    ("viam.robot.v1.RobotService", "Log"),
    ("viam.robot.v1.RobotService", "SendTraces"),
];

/// Rights of one module that is limited.
#[derive(Debug, PartialEq, Eq)]
pub enum ModuleRights {
    /// What its resources depend on, and reading the machine.
    Dependencies,
    /// What its roles allow.
    Roles(Rights),
}

/// Rights of the modules of a config; those that may call everything are not in it.
pub fn of_config(config: &Config) -> HashMap<ModuleName, Arc<ModuleRights>> {
    let limited = config.modules.iter().filter_map(|module| {
        let rights = match &module.policy.access {
            ModuleAccess::Everything => return None,
            ModuleAccess::Dependencies => ModuleRights::Dependencies,
            ModuleAccess::Roles(names) => ModuleRights::Roles(Rights::of_roles(names, known(config))),
        };
        Some((ModuleName::from(module.name.as_str()), Arc::new(rights)))
    });
    limited.collect()
}

fn known(config: &Config) -> &[Role] {
    config.auth.roles.as_deref().unwrap_or_default()
}

impl ModuleRights {
    /// True if a call may be made of the machine itself, or, before its resource is known, of some resource.
    pub fn allow(&self, call: &AskedCall<'_>) -> bool {
        if is_always_allowed(call) || !is_of_the_machine(call.service) {
            return true;
        }
        match self {
            Self::Dependencies => effect(call.service, call.method) <= Effect::Read,
            Self::Roles(rights) => rights.allow(call),
        }
    }

    /// True if `module` may make this call of a resource.
    pub fn allow_of(
        &self,
        module: &ModuleName,
        call: &AskedCall<'_>,
        destination: &Destination<'_>,
        table: &Table,
    ) -> bool {
        is_always_allowed(call)
            || destination.resource.state().module.as_ref() == Some(module)
            || match self {
                Self::Dependencies => is_dependency(table, module, &destination.resource.name),
                Self::Roles(rights) => rights.allow(call),
            }
    }

    /// What limits the module, in words.
    pub fn shown(&self) -> String {
        match self {
            Self::Dependencies => "access: dependencies".to_owned(),
            Self::Roles(rights) => rights.shown(),
        }
    }

    /// What would allow a call, in words.
    pub fn cure(&self, module: &ModuleName, call: &AskedCall<'_>) -> String {
        let module = quoted(module.as_str());
        match (self, call.resource) {
            (Self::Dependencies, Some(resource)) => format!(
                "none of its resources depends on it; name `{}` in the `depends_on` of one of them, or give the module more `access`",
                quoted(resource.name)
            ),
            (Self::Dependencies, None) => format!(
                "with `access: dependencies` it may read the machine and change nothing; `access: {{roles: […]}}` of the module `{module}` may allow more"
            ),
            (Self::Roles(_), _) => format!("{}, in a role that `access.roles` of the module names", cure(call)),
        }
    }
}

/// True for what limits no module: what keeps it connected, what stops something, what it tells the machine.
fn is_always_allowed(call: &AskedCall<'_>) -> bool {
    effect(call.service, call.method) <= Effect::Stop || REPORTS.contains(&(call.service, call.method))
}

/// True if a resource of `module` was handed `name` when it was built, or is being built with it.
fn is_dependency(table: &Table, module: &ModuleName, name: &ResourceName) -> bool {
    table.resources().any(|resource| {
        let state = resource.state();
        state.module.as_ref() == Some(module) && state.dependencies.contains(name)
    })
}

impl Access {
    /// Refuses a module's call of a resource that its `access` leaves out.
    ///
    /// # Errors
    /// The caller's answer.
    pub fn admit_module(&self, module: &ModuleName, call: &GatedCall<'_>, table: &Table) -> Result<(), CallError> {
        let (Some(rights), Some(destination)) = (self.policy().modules.get(module).cloned(), call.destination) else {
            return Ok(());
        };
        let (service, method) = split(call.path).unwrap_or_default();
        let name = &destination.resource.name;
        let asked = AskedCall {
            service,
            method,
            resource: Some(AskedResource {
                name: &name.name,
                api: name.api.as_str(),
            }),
        };
        match rights.allow_of(module, &asked, destination, table) {
            true => Ok(()),
            false => Err(self.deny_module(module, &rights, &asked)),
        }
    }
}

/// Gate of a module's connection: who it is tells its socket, what it may its config.
#[derive(Debug)]
pub struct ModuleGate {
    access: Arc<Access>,
    identity: Arc<Identity>,
}

impl ModuleGate {
    /// Gate of the module that is `identity`.
    pub fn new(access: &Arc<Access>, identity: &Arc<Identity>) -> Self {
        Self {
            access: access.clone(),
            identity: identity.clone(),
        }
    }
}

impl ConnectionGate for ModuleGate {
    fn enter(&self, _: &HeaderMap, path: &str) -> Result<Entered, CallError> {
        let policy = self.access.policy();
        let limited = self.identity.module().and_then(|module| policy.modules.get(module));
        let denied = limited.is_some_and(|rights| {
            let (service, method) = split(path).unwrap_or_default();
            !service.is_empty()
                && !rights.allow(&AskedCall {
                    service,
                    method,
                    resource: None,
                })
        });
        Ok(Entered {
            identity: self.identity.clone(),
            denied,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;
    use std::time::Duration;

    use mainstay_model::{AccessRule, ModuleConfig, ModuleType, Policy, SourceSpan};

    use super::*;

    const MOTOR: &str = "viam.component.motor.v1.MotorService";
    const ROBOT: &str = "viam.robot.v1.RobotService";

    fn asked<'c>(service: &'c str, method: &'c str, resource: Option<&'c str>) -> AskedCall<'c> {
        AskedCall {
            service,
            method,
            resource: resource.map(|name| AskedResource {
                name,
                api: "rdk:component:motor",
            }),
        }
    }

    #[test]
    fn what_reads_the_machine_stops_something_or_keeps_a_module_alive_is_allowed_to_every_module() {
        let none = ModuleRights::Roles(Rights::of_roles(&[], &[]));
        for (service, method, by_dependencies, by_no_role) in [
            (ROBOT, "ResourceNames", true, true),
            (ROBOT, "Log", true, true),
            (ROBOT, "SendTraces", true, true),
            (ROBOT, "StopAll", true, true),
            (ROBOT, "GetMachineStatus", true, false),
            (ROBOT, "FrameSystemConfig", true, false),
            (ROBOT, "Shutdown", false, false),
            (ROBOT, "RestartModule", false, false),
            (ROBOT, "Tunnel", false, false),
            ("mainstay.control.v1.ControlService", "GetStatus", false, false),
            (
                "grpc.reflection.v1.ServerReflection",
                "ServerReflectionInfo",
                true,
                true,
            ),
            ("debug", "graph", true, false),
            // Of some resource, which is asked about when its name is known.
            (MOTOR, "SetPower", true, true),
            ("acme.v1.Gizmo", "Turn", true, true),
        ] {
            let call = asked(service, method, None);
            assert_eq!(
                ModuleRights::Dependencies.allow(&call),
                by_dependencies,
                "{service}/{method}"
            );
            assert_eq!(none.allow(&call), by_no_role, "{service}/{method}");
        }
    }

    #[test]
    fn roles_of_modules_are_those_of_keys_and_an_unknown_one_allows_nothing() {
        let rule = AccessRule {
            resource: Some("lamp*".to_owned()),
            ..AccessRule::default()
        };
        let roles = [Role {
            name: "night".to_owned(),
            entities: Vec::new(),
            allow: vec![rule],
        }];
        let rights = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            Rights::of_roles(&names, &roles)
        };
        for (names, lamp, left, reads) in [
            (&["night"][..], true, false, false),
            (&["night", "viewer"], true, false, true),
            (&["operator"], true, true, true),
            (&["nihgt"], false, false, false),
            (&[], false, false, false),
        ] {
            let rights = rights(names);
            assert_eq!(
                rights.allow(&asked(MOTOR, "SetPower", Some("lamp-1"))),
                lamp,
                "{names:?}"
            );
            assert_eq!(rights.allow(&asked(MOTOR, "SetPower", Some("left"))), left, "{names:?}");
            assert_eq!(
                rights.allow(&asked(MOTOR, "GetPosition", Some("left"))),
                reads,
                "{names:?}"
            );
        }
        assert_eq!(rights(&["night", "viewer"]).shown(), "roles night, viewer");
    }

    #[test]
    fn a_refusal_says_what_would_help() {
        let pilot = ModuleName::from("pilot");
        let cure = |rights: &ModuleRights, resource| rights.cure(&pilot, &asked(MOTOR, "SetPower", resource));
        let told = cure(&ModuleRights::Dependencies, Some("left"));
        assert!(told.contains("name `left` in the `depends_on`"), "{told}");
        let told = cure(&ModuleRights::Dependencies, None);
        assert!(told.contains("of the module `pilot`"), "{told}");
        let told = cure(&ModuleRights::Roles(Rights::default()), Some("left"));
        assert!(
            told.contains("operator and owner allow it") && told.contains("`access.roles`"),
            "{told}"
        );
    }

    #[test]
    fn a_config_limits_those_modules_that_say_so() {
        let mut config = Config::empty(Path::new("r.yaml"));
        let module = |name: &str, access| ModuleConfig {
            name: name.to_owned(),
            policy: Policy {
                access,
                ..Policy::default()
            },
            kind: ModuleType::Local,
            executable: name.into(),
            module_id: String::new(),
            log_level: None,
            env: BTreeMap::new(),
            tcp_mode: false,
            first_run_timeout: Duration::ZERO,
            status_error: None,
            place: SourceSpan::file(Path::new("r.yaml")),
            executable_place: SourceSpan::file(Path::new("r.yaml")),
            fault: None,
        };
        config.modules = vec![
            module("free", ModuleAccess::Everything),
            module("kept", ModuleAccess::Dependencies),
            module("seeing", ModuleAccess::Roles(vec![Role::VIEWER.to_owned()])),
        ];
        let mut limited: Vec<_> = of_config(&config)
            .into_iter()
            .map(|(name, rights)| (name.to_string(), rights.shown()))
            .collect();
        limited.sort();
        let expected = [("kept", "access: dependencies"), ("seeing", "role viewer")];
        assert_eq!(
            limited,
            expected.map(|(name, shown)| (name.to_owned(), shown.to_owned()))
        );
    }
}
