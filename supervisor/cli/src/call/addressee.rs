//! Addressee of a call: from the name that was typed to the gRPC service that answers.

use mainstay_model::text::plain_lines;
use mainstay_proto::viam::common::v1::ResourceName;
use mainstay_proto::viam::robot::v1::robot_service_client::RobotServiceClient;
use mainstay_proto::viam::robot::v1::{
    GetMachineStatusRequest, ResourceNamesRequest, ResourceRpcSubtypesRequest, resource_status,
};
use mainstay_proto::{Api, methods};
use prost_reflect::{FieldDescriptor, Kind, MethodDescriptor};
use tonic::Code;

use super::resolve;
use crate::connection::MachineConnection;
use crate::failure::CliError;

/// The name field of almost every request.
const NAME_FIELD: &str = "name";

/// Addressee: a resource, or a service of the machine itself.
#[derive(Clone, Debug)]
pub struct Addressee {
    /// `None` when a service was named, which stands for the machine itself.
    pub resource: Option<ResourceName>,
    /// Full name of the gRPC service to call.
    pub service: String,
}

impl Addressee {
    /// Asks the machine who `query` is.
    ///
    /// # Errors
    /// No such resource or one that is not ready (exit 1), several of that name (exit 2).
    pub async fn find(connection: &MachineConnection, query: &str) -> Result<Self, CliError> {
        let mut robot = connection.robot();
        let all = robot
            .resource_names(ResourceNamesRequest {})
            .await?
            .into_inner()
            .resources;
        if resolve::matching(&all, query).is_empty() {
            if is_service_name(query) {
                return Ok(Self {
                    resource: None,
                    service: query.to_owned(),
                });
            }
            if let Some(why) = why_not_ready(&mut robot, query).await {
                return Err(CliError::wrong(why));
            }
        }
        let resource = resolve::resource(&all, query)?.clone();
        let service = service_of(&mut robot, &resource).await?;
        Ok(Self {
            resource: Some(resource),
            service,
        })
    }

    /// Name as short as possible, for file names.
    pub fn short_name(&self) -> &str {
        self.resource.as_ref().map_or(&self.service, |resource| &resource.name)
    }

    /// Name in full, for people.
    pub fn full_name(&self) -> String {
        self.resource
            .as_ref()
            .map_or_else(|| self.service.clone(), resolve::full)
    }

    /// The service that takes commands for any resource.
    pub fn generic_service(&self) -> &'static str {
        match &self.resource {
            Some(resource) if resource.r#type == "service" => "viam.service.generic.v1.GenericService",
            _ => "viam.component.generic.v1.GenericService",
        }
    }

    /// The field of the method's request that holds the resource's name, and so needs no typing.
    pub fn name_field(&self, method: &MethodDescriptor) -> Option<FieldDescriptor> {
        self.resource.as_ref().and_then(|_| name_field(method))
    }
}

/// The method table knows the handful of requests that call the name something else; custom APIs say `name`.
fn name_field(method: &MethodDescriptor) -> Option<FieldDescriptor> {
    let input = method.input();
    let known = methods::find(method.parent_service().full_name(), method.name());
    let field = match known {
        Some(known) => known.name_field.and_then(|number| input.get_field(number)),
        None => input.get_field_by_name(NAME_FIELD),
    };
    field.filter(|field| matches!(field.kind(), Kind::String) && !field.is_list())
}

/// Resource names have no dots, service names do.
fn is_service_name(name: &str) -> bool {
    name.contains('.') && !name.contains('/')
}

async fn service_of(
    robot: &mut RobotServiceClient<MachineConnection>,
    resource: &ResourceName,
) -> Result<String, CliError> {
    let known = match robot.resource_rpc_subtypes(ResourceRpcSubtypesRequest {}).await {
        Ok(answer) => answer.into_inner().resource_rpc_subtypes,
        // Some peers never offer it.
        Err(status) if status.code() == Code::Unimplemented => Vec::new(),
        Err(status) => return Err(status.into()),
    };
    let wanted = resolve::api(resource);
    let told = known
        .into_iter()
        .find(|entry| entry.subtype.as_ref().is_some_and(|api| resolve::api(api) == wanted));
    if let Some(entry) = told {
        return Ok(entry.proto_service);
    }
    let api = Api::new(&resource.namespace, &resource.r#type, &resource.subtype).ok();
    let standard = api.as_ref().and_then(methods::service_of_api);
    standard.map(|service| service.name.to_owned()).ok_or_else(|| {
        CliError::wrong(format!(
            "the machine does not say which gRPC service {wanted} is; does its module report that API?"
        ))
    })
}

/// A resource that is not offered may still be configured; then the reason matters more than the name.
async fn why_not_ready(robot: &mut RobotServiceClient<MachineConnection>, query: &str) -> Option<String> {
    let status = robot
        .get_machine_status(GetMachineStatusRequest {})
        .await
        .ok()?
        .into_inner();
    status.resources.into_iter().find_map(|resource| {
        let name = resource.name?;
        resolve::matching(std::slice::from_ref(&name), query).first()?;
        let state = resource_status::State::try_from(resource.state).ok()?;
        let state = state.as_str_name().trim_start_matches("STATE_").to_lowercase();
        let why = if resource.error.is_empty() {
            String::new()
        } else {
            format!(": {}", plain_lines(&resource.error))
        };
        Some(format!("{} is {state}{why}", resolve::full(&name)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_told_from_a_resource_by_its_dots() {
        let cases = [
            ("viam.robot.v1.RobotService", true),
            ("left-motor", false),
            ("motor/left", false),
            ("remote:left", false),
        ];
        for (name, is_service) in cases {
            assert_eq!(is_service_name(name), is_service, "{name}");
        }
    }
}
