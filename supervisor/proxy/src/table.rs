//! The route table: which resource a call means. An immutable snapshot, swapped whole when the machine changes.

use std::collections::HashMap;
use std::sync::Arc;

use mainstay_model::Phase;
use mainstay_proto::custom::CustomService;
use mainstay_proto::methods::{self, Kind};
use mainstay_proto::{Api, ResourceName};

use crate::resource::Resource;
use crate::status::CallError;
use crate::upstream::Upstream;

const GENERIC_COMPONENT: &str = "viam.component.generic.v1.GenericService";
const GENERIC_SERVICE: &str = "viam.service.generic.v1.GenericService";

/// Shape of a method: all that the core must know of it to pass a call on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MethodShape {
    /// Number of messages on each side: one or many; `None` where no descriptor tells.
    pub kind: Option<Kind>,
    /// Position of the resource's name in the first request message.
    pub name_path: NamePath,
    /// The call sets something moving: a session is answerable for it.
    pub actuates: bool,
    /// The call stops something and goes before all data.
    pub stops: bool,
    /// The service is described, and this method is not in it. It may be newer than we are, so its module decides.
    pub unknown: bool,
}

impl MethodShape {
    /// True if one message goes in and one out: such a call is expected to return.
    pub fn is_unary(&self) -> bool {
        self.kind == Some(Kind::Unary)
    }
}

/// Numbers of the fields that lead to the resource's name, from the outside in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamePath {
    /// Path as the method table has it.
    Standard(&'static [u32]),
    /// A field of the message itself.
    Field([u32; 1]),
    /// The message has no name.
    Nowhere,
}

impl NamePath {
    /// The numbers.
    pub fn as_slice(&self) -> &[u32] {
        match self {
            Self::Standard(path) => path,
            Self::Field(path) => path,
            Self::Nowhere => &[],
        }
    }
}

/// Method that stops what a resource is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopMethod {
    /// `/package.Service/Stop`.
    pub path: String,
    /// The request field for the resource's name.
    pub name_field: u32,
    /// The request field for a Struct of extra parameters, if it has one.
    pub extra_field: Option<u32>,
}

/// Service of gRPC and the resources that offer it.
#[derive(Debug)]
struct RoutedService {
    name: String,
    api: Api,
    standard: bool,
    custom: Option<Arc<CustomService>>,
    resources: HashMap<String, Arc<Resource>>,
    /// Shorter names of what other machines have; looked at where no resource has the name itself.
    aliases: HashMap<String, Vec<Arc<Resource>>>,
}

/// Name that several remotes have something by: it is nobody's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contested {
    /// The name.
    pub name: ResourceName,
    /// The remotes.
    pub remotes: Vec<String>,
}

/// A call's destination.
#[derive(Debug, Clone)]
pub struct Destination<'a> {
    /// The resource.
    pub resource: &'a Arc<Resource>,
    /// Connection of its module.
    pub upstream: Upstream,
    /// Path to ask for where it is not the one that the caller gave.
    pub path: Option<String>,
}

/// An API that a module offers.
#[derive(Debug, Clone, Copy)]
pub struct ModuleApi<'a> {
    /// The API.
    pub api: &'a Api,
    /// Name of the gRPC service.
    pub service: &'a str,
    /// Descriptors, for an API that only the module knows and told.
    pub custom: Option<&'a Arc<CustomService>>,
}

/// Routing table of the machine.
#[derive(Debug, Default)]
pub struct Table {
    services: HashMap<String, RoutedService>,
    service_of_api: HashMap<Api, String>,
    customs: Vec<Arc<CustomService>>,
    contested: Arc<[Contested]>,
}

impl Table {
    /// Builds the table of these resources. `offers` come in config order: the first to define a custom service is the
    /// one whose definition counts.
    pub fn new<'a>(
        resources: &[Arc<Resource>],
        contested: Arc<[Contested]>,
        offers: impl Iterator<Item = ModuleApi<'a>>,
    ) -> Self {
        let mut table = Self {
            contested,
            ..Self::default()
        };
        for offer in offers {
            if methods::service(offer.service).is_some() {
                continue;
            }
            table
                .service_of_api
                .entry(offer.api.clone())
                .or_insert_with(|| offer.service.to_owned());
            if let Some(custom) = offer.custom
                && !table.customs.iter().any(|known| known.name == custom.name)
            {
                table.customs.push(custom.clone());
            }
        }
        for resource in resources {
            let api = &resource.name.api;
            let Some(name) = table.service_of(api).map(str::to_owned) else {
                continue; // An API of a module that has not told its service yet.
            };
            let service = table.services.entry(name.clone()).or_insert_with(|| RoutedService {
                custom: table.customs.iter().find(|custom| custom.name == name).cloned(),
                name,
                api: api.clone(),
                standard: methods::service_of_api(api).is_some(),
                resources: HashMap::new(),
                aliases: HashMap::new(),
            });
            for alias in resource.origin.iter().flat_map(|origin| origin.aliases.iter()) {
                service.aliases.entry(alias.clone()).or_default().push(resource.clone());
            }
            service
                .resources
                .entry(resource.name.name.to_string())
                .or_insert_with(|| resource.clone());
        }
        table
    }

    /// The gRPC service of an API, standard or told by a module.
    pub fn service_of(&self, api: &Api) -> Option<&str> {
        methods::service_of_api(api)
            .map(|service| service.name)
            .or_else(|| self.service_of_api.get(api).map(String::as_str))
    }

    /// The API of a standard service as text; `None` for one that only a module knows.
    pub fn standard_api(&self, service: &str) -> Option<&'static str> {
        methods::service(service)?.api
    }

    /// Custom services that modules have told, with their descriptors; config order.
    pub fn customs(&self) -> &[Arc<CustomService>] {
        &self.customs
    }

    /// All resources, in no order.
    pub fn resources(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.services.values().flat_map(|service| service.resources.values())
    }

    /// A resource by its full name, or by one that means it.
    pub fn resource(&self, name: &ResourceName) -> Option<&Arc<Resource>> {
        let service = self.services.get(self.service_of(&name.api)?)?;
        service.find(&name.name).ok().flatten()
    }

    /// Method that stops a resource, if its API has one.
    pub fn stop_of(&self, name: &ResourceName) -> Option<StopMethod> {
        let service = self.service_of(&name.api)?;
        let (stops, name_field, extra_field) = match methods::find(service, "Stop") {
            Some(known) => (known.stops, known.name_field, known.extra_field),
            None => {
                let custom = self.customs.iter().find(|custom| custom.name == service)?;
                let known = custom.method("Stop")?;
                (known.stops, known.name_field, known.extra_field)
            }
        };
        let name_field = name_field.filter(|_| stops)?;
        Some(StopMethod {
            path: format!("/{service}/Stop"),
            name_field,
            extra_field,
        })
    }

    /// Shape of a method; `None` if nothing here serves it.
    pub fn shape(&self, service: &str, method: &str) -> Option<MethodShape> {
        if let Some(known) = methods::find(service, method) {
            if known.name_path.is_empty() {
                return None;
            }
            return Some(MethodShape {
                kind: Some(known.kind),
                name_path: NamePath::Standard(known.name_path),
                actuates: known.actuates,
                stops: known.stops,
                unknown: false,
            });
        }
        let routed = self.services.get(service)?;
        let known = routed.custom.as_ref().and_then(|custom| custom.method(method));
        Some(match known {
            Some(known) => MethodShape {
                kind: Some(known.kind),
                name_path: known
                    .name_field
                    .map_or(NamePath::Nowhere, |number| NamePath::Field([number])),
                actuates: known.actuates,
                stops: known.stops,
                unknown: false,
            },
            None => MethodShape {
                kind: None,
                name_path: NamePath::Field([1]),
                actuates: false,
                stops: false,
                unknown: routed.standard || routed.custom.is_some(),
            },
        })
    }

    /// Destination of a call of `service`/`method` for the resource `name`.
    pub fn lookup(&self, service: &str, method: &str, name: &str) -> Result<Destination<'_>, CallError> {
        let direct = match self.services.get(service) {
            Some(routed) => routed.find(name)?,
            None => None,
        };
        let found = direct.map(|resource| (resource, None));
        if let Some((resource, path)) = found.or_else(|| self.generic_command(service, method, name)) {
            let upstream = available(resource)?;
            return Ok(Destination {
                resource,
                upstream,
                path,
            });
        }
        let api = match (self.services.get(service), methods::service(service)) {
            (Some(routed), _) => routed.api.to_string(),
            (None, Some(standard)) => standard.api.unwrap_or_default().to_owned(),
            (None, None) => String::new(),
        };
        let contested = |contested: &&Contested| contested.name.name == name && contested.name.api.as_str() == api;
        Err(match self.contested.iter().find(contested) {
            Some(contested) => CallError::Ambiguous {
                api,
                name: name.to_owned(),
                remotes: contested.remotes.clone(),
                names: Vec::new(),
            },
            None => CallError::NoResource(api, name.to_owned()),
        })
    }

    /// The resource of a custom API that a generic DoCommand may mean, and the path to ask for.
    fn generic_command(&self, service: &str, method: &str, name: &str) -> Option<(&Arc<Resource>, Option<String>)> {
        if method != "DoCommand" || !(service == GENERIC_COMPONENT || service == GENERIC_SERVICE) {
            return None;
        }
        let customs = self.services.values().filter(|routed| !routed.standard);
        let named = customs.filter_map(|routed| Some((routed, routed.find(name).ok()??)));
        // A name may stand under several custom APIs: the same answer every time beats a random one.
        let (routed, resource) =
            named.min_by_key(|(routed, _)| (!same_kind(service, &routed.api), routed.name.as_str()))?;
        let own = routed.custom.as_ref().and_then(|custom| custom.method("DoCommand"));
        // An API with a DoCommand of its own gets the call there; the request is the same message.
        let path = own
            .filter(|own| own.name_field == Some(1))
            .map(|_| format!("/{}/DoCommand", routed.name));
        Some((resource, path))
    }
}

impl RoutedService {
    /// The resource that `name` means, by its own name or by a shorter one that means nothing else.
    fn find(&self, name: &str) -> Result<Option<&Arc<Resource>>, CallError> {
        if let Some(resource) = self.resources.get(name) {
            return Ok(Some(resource));
        }
        match self.aliases.get(name).map_or(&[][..], Vec::as_slice) {
            [] => Ok(None),
            [only] => Ok(Some(only)),
            several => {
                let origins = several.iter().filter_map(|resource| resource.origin.as_ref());
                let mut remotes: Vec<_> = origins.map(|origin| origin.remote.to_string()).collect();
                remotes.dedup();
                Err(CallError::Ambiguous {
                    api: self.api.to_string(),
                    name: name.to_owned(),
                    remotes,
                    names: several.iter().map(|resource| resource.name.name.clone()).collect(),
                })
            }
        }
    }
}

fn same_kind(service: &str, api: &Api) -> bool {
    (service == GENERIC_COMPONENT) == (api.kind() == "component")
}

/// The connection to a resource's module, or why there is none.
fn available(resource: &Resource) -> Result<Upstream, CallError> {
    let state = resource.state();
    if let Some(upstream) = &state.upstream {
        return Ok(upstream.clone());
    }
    let (reason, transient) = match (state.phase, state.for_callers()) {
        (Phase::Removing, _) => ("resource is pending removal".to_owned(), true),
        (Phase::Unhealthy, Some(error)) => (error.to_owned(), state.transient),
        (_, Some(error)) => (format!("resource not initialized yet; {error}"), true),
        (_, None) => ("resource not initialized yet".to_owned(), true),
    };
    Err(CallError::NotAvailable {
        resource: resource.label.clone(),
        reason,
        transient,
    })
}

#[cfg(test)]
mod tests {
    use mainstay_proto::Model;
    use mainstay_proto::custom::{DescriptorPool, ReflectedFile};
    use prost::Message as _;
    use prost_types::field_descriptor_proto::Type;
    use prost_types::{
        DescriptorProto, FieldDescriptorProto, FileDescriptorProto, MethodDescriptorProto, ServiceDescriptorProto,
    };

    use super::*;
    use crate::resource::Origin;

    /// Descriptors of a service with two methods: one whose request has a `name`, as its field 7, and one whose has none.
    fn pool() -> Arc<DescriptorPool> {
        let message = |name: &str, field: Vec<FieldDescriptorProto>| DescriptorProto {
            name: Some(name.into()),
            field,
            ..DescriptorProto::default()
        };
        let name = FieldDescriptorProto {
            name: Some("name".into()),
            number: Some(7),
            r#type: Some(Type::String.into()),
            ..FieldDescriptorProto::default()
        };
        let method = |name: &str, request: &str| MethodDescriptorProto {
            name: Some(name.into()),
            input_type: Some(format!(".acme.v1.{request}")),
            ..MethodDescriptorProto::default()
        };
        let file = FileDescriptorProto {
            name: Some("gizmo.proto".into()),
            package: Some("acme.v1".into()),
            message_type: vec![message("Named", vec![name]), message("Nameless", vec![])],
            service: vec![ServiceDescriptorProto {
                name: Some("Gizmo".into()),
                method: vec![method("Turn", "Named"), method("Anonymous", "Nameless")],
                options: None,
            }],
            ..FileDescriptorProto::default()
        };
        let file = ReflectedFile::read(file.encode_to_vec().into()).expect("a good file");
        Arc::new(DescriptorPool::from([(file.name.clone(), file)]))
    }

    /// A table with one resource of an API that only a module knows.
    fn custom(described: bool) -> Table {
        let name: ResourceName = "acme:component:gizmo/one".parse().expect("a name");
        let model: Model = "acme:demo:gizmo".parse().expect("a model");
        let service = "acme.v1.Gizmo";
        let read = described.then(|| Arc::new(CustomService::read(service, &pool()).expect("defined")));
        let offer = ModuleApi {
            api: &name.api.clone(),
            service,
            custom: read.as_ref(),
        };
        Table::new(
            &[Arc::new(Resource::new(name, model))],
            Arc::default(),
            std::iter::once(offer),
        )
    }

    #[test]
    fn a_name_of_another_machine_is_found_in_full_and_where_it_is_the_only_one_in_short() {
        let motor = |text: &str| -> ResourceName { format!("rdk:component:motor/{text}").parse().expect("a name") };
        let imported = |remote: &str, name: &str| {
            let origin = Origin {
                remote: remote.into(),
                name: name.into(),
                aliases: [name.to_owned()].into(),
                machines: Arc::default(),
            };
            Arc::new(Resource::of_remote(motor(&format!("{remote}:{name}")), origin))
        };
        let own = Arc::new(Resource::new(motor("here"), Model::builtin("fake")));
        let resources = [
            own,
            imported("b", "here"),
            imported("b", "left"),
            imported("b", "both"),
            imported("c", "both"),
        ];
        let contested = Contested {
            name: motor("same"),
            remotes: vec!["b".into(), "c".into()],
        };
        let table = Table::new(&resources, [contested].into(), std::iter::empty());
        let service = "viam.component.motor.v1.MotorService";
        let find = |name: &str| match table.services[service].find(name) {
            Ok(found) => found.map(|resource| resource.name.name.clone()).unwrap_or_default(),
            Err(error) => error.to_string(),
        };
        assert_eq!(find("b:left"), "b:left");
        assert_eq!(find("left"), "b:left");
        assert_eq!(find("here"), "here", "our own counts");
        assert_eq!(find("b:here"), "b:here");
        assert_eq!(
            find("both"),
            "found multiple nodes matching api rdk:component:motor and name both from remotes [b c]; ask for b:both or c:both"
        );
        assert_eq!(find("none"), "");
        let error = |name| {
            table
                .lookup(service, "Stop", name)
                .map(|_| ())
                .expect_err("it is nobody's")
        };
        assert_eq!(
            error("same").to_string(),
            "found multiple nodes matching api rdk:component:motor and name same from remotes [b c]; give one of these remotes a \
             `prefix` of its own"
        );
        assert_eq!(error("none").code(), tonic::Code::NotFound);
    }

    #[test]
    fn what_is_known_of_a_method_depends_on_who_describes_it() {
        let show = |described, method| {
            let shape = custom(described).shape("acme.v1.Gizmo", method).expect("served");
            (shape.name_path, shape.unknown)
        };
        assert_eq!(show(true, "Turn"), (NamePath::Field([7]), false));
        assert_eq!(show(true, "Anonymous"), (NamePath::Nowhere, false));
        assert_eq!(show(true, "New"), (NamePath::Field([1]), true));
        assert_eq!(show(false, "Turn"), (NamePath::Field([1]), false));
        assert_eq!(custom(true).shape("acme.v1.Other", "Turn"), None);
        assert_eq!(
            custom(true).shape("viam.component.motor.v1.MotorService", "New"),
            None,
            "no resource has this API"
        );
    }
}
