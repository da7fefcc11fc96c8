//! `rdk:component:generic` and `rdk:service:generic`: resources with no other method than `do_command`.

use async_trait::async_trait;
use mainstay_proto::viam::{
    common::v1::{
        DoCommandRequest, DoCommandResponse, GetGeometriesRequest, GetGeometriesResponse, GetStatusRequest,
        GetStatusResponse,
    },
    component::generic::v1::{
        generic_service_client::GenericServiceClient as ComponentStub,
        generic_service_server::{GenericService as ComponentMethods, GenericServiceServer as ComponentServer},
    },
    service::generic::v1::{
        generic_service_client::GenericServiceClient as ServiceStub,
        generic_service_server::{GenericService as ServiceMethods, GenericServiceServer as ServiceServer},
    },
};
use tonic::{Request, Response, Status};

use super::{
    Serve,
    macros::{resource_api, serve},
};
use crate::Resource;

/// Component that fits no other API (`rdk:component:generic`). Its functions are in [`Resource::do_command`].
///
/// ```
/// use mainstay_module::prelude::*;
///
/// struct Lamp;
///
/// #[async_trait]
/// impl Resource for Lamp {
///     async fn do_command(&self, command: Object) -> Result<Object> {
///         Ok(object! { "shines" => command.contains_key("on") })
///     }
/// }
///
/// impl Generic for Lamp {}
/// ```
pub trait Generic: Resource {}

/// Service that fits no other API (`rdk:service:generic`). Its functions are in [`Resource::do_command`].
///
/// ```
/// use mainstay_module::prelude::*;
///
/// struct Greeter;
///
/// #[async_trait]
/// impl Resource for Greeter {
///     async fn do_command(&self, command: Object) -> Result<Object> {
///         let name = command.get("name").and_then(Value::as_str);
///         let name = name.ok_or_else(|| Error::invalid_argument("`name` is missing"))?;
///         Ok(object! { "greeting" => format!("Hello, {name}!") })
///     }
/// }
///
/// impl GenericService for Greeter {}
/// ```
pub trait GenericService: Resource {}

resource_api!(
    dyn Generic = "rdk:component:generic" via ComponentServer, ComponentStub as ComponentClient with get_geometries
);

resource_api!(dyn GenericService = "rdk:service:generic" via ServiceServer, ServiceStub as ServiceClient);

// By hand, because a command may also be for a custom component.
#[async_trait]
impl ComponentMethods for Serve<dyn Generic> {
    async fn do_command(&self, request: Request<DoCommandRequest>) -> Result<Response<DoCommandResponse>, Status> {
        Ok(Response::new(self.0.do_command_of_any(request.into_inner()).await?))
    }

    async fn get_status(&self, request: Request<GetStatusRequest>) -> Result<Response<GetStatusResponse>, Status> {
        Ok(Response::new(self.0.status(request.into_inner()).await?))
    }

    async fn get_geometries(
        &self,
        request: Request<GetGeometriesRequest>,
    ) -> Result<Response<GetGeometriesResponse>, Status> {
        Ok(Response::new(self.0.geometries(request.into_inner()).await?))
    }
}

serve! {
    impl ServiceMethods for dyn GenericService {}
}

impl Generic for ComponentClient {}

impl GenericService for ServiceClient {}
